"""One public address of many VMs, by ranges of ports."""
from suite import *

NAT = "198.51.100.10"
uplink = start()
vm1 = Vm(1, 100, "10.0.0.1", "2001:db8:1::1").create()
vm2 = Vm(2, 100, "10.0.0.2").create()
vm3 = Vm(3, 100, "10.0.0.3").create()
add_route(100, "0.0.0.0/0", ROUTER)
add_route(100, "10.1.0.0/16")
nat1 = vm1.add_nat(NAT, 100, 1100)
nat2 = vm2.add_nat(NAT, 1100, 2100)
nat3 = vm3.add_nat("198.51.100.11", 500, 504)
OTHER = "203.0.113.77"


def ports_of(packet):
    layer = packet.payload
    return (layer.id, layer.id) if ICMP in packet else (layer.sport, layer.dport)


def out(vm, payload, destination=PUBLIC):
    """Sends it and takes what leaves: the port that it got, checked to be otherwise what was sent."""
    packet = IP(src=vm.ipv4, dst=destination, ttl=33) / payload
    vm.send(packet)
    inner = uplink.inner(vm.underlay, ROUTER)
    equal((inner.src, inner.dst, inner.ttl, bytes(inner.payload.payload)),
          (call_nat(vm), destination, 33, bytes(payload.payload)))
    if ICMP not in inner:
        equal(inner.payload.dport, payload.dport)
    return ports_of(inner)[0]


def call_nat(vm):
    return NAT if vm is not vm3 else "198.51.100.11"


@scenario("a NAT tells its address, range and underlay address, and ranges of one address must not overlap")
def _():
    got = call("getNat", interfaceId=text("vm1"))
    equal((untext(got["natIp"]["address"]), got["minPort"], got["maxPort"], untext(got["underlayRoute"])),
          (NAT, 100, 1100, nat1))
    equal(len({nat1, nat2, nat3, vm1.underlay}), 4)
    local = call("listLocalNats", natIp=address(NAT))["natEntries"]
    equal(sorted((untext(one["natIp"]["address"]), untext(one["actualNatIp"]["address"]), one["minPort"]) for one in local),
          [("10.0.0.1", NAT, 100), ("10.0.0.2", NAT, 1100)])
    equal(refused("createNat", interfaceId=text("vm1"), natIp=address(NAT), minPort=5000, maxPort=5001),
          "createNat: 343 SNAT_EXISTS")


@scenario("TCP, UDP and ping leave with a port of the range and come back to the VM's own")
def _():
    for payload, answer in (
            (TCP(sport=4000, dport=443, flags="S"), lambda port: TCP(sport=443, dport=port, flags="SA")),
            (UDP(sport=4000, dport=53) / b"query", lambda port: UDP(sport=53, dport=port) / b"answer"),
            (ICMP(id=4000, seq=3) / b"ping", lambda port: ICMP(type=0, id=port, seq=3) / b"ping")):
        for vm, underlay, least, most in ((vm1, nat1, 100, 1100), (vm2, nat2, 1100, 2100)):
            port = out(vm, payload)
            assert least <= port < most, port
            equal(out(vm, payload), port)
            uplink.send(underlay, IP(src=PUBLIC, dst=NAT) / answer(port))
            got = vm.take()
            equal((got.src, got.dst, ports_of(got)[1], type(got.payload)), (PUBLIC, vm.ipv4, 4000, type(payload)))


@scenario("a source port has one public port for all destinations, and two source ports have two")
def _():
    first = out(vm1, UDP(sport=6000, dport=53) / b"a")
    equal(out(vm1, UDP(sport=6000, dport=53) / b"b", OTHER), first)
    equal(out(vm1, UDP(sport=6000, dport=123) / b"c", OTHER), first)
    assert out(vm1, UDP(sport=6001, dport=53) / b"d") != first
    # By address and port of whom was asked: who was not asked is not let in.
    uplink.send(nat1, IP(src=OTHER, dst=NAT) / UDP(sport=123, dport=first) / b"in")
    equal(vm1.take()[UDP].dport, 6000)
    uplink.send(nat1, IP(src=OTHER, dst=NAT) / UDP(sport=124, dport=first) / b"no")
    nothing(uplink)


@scenario("every port of a range is used before one is shared, and shared ports differ in their destination")
def _():
    ports = [out(vm3, UDP(sport=7000 + i, dport=53) / b"x") for i in range(4)]
    equal(sorted(ports), [500, 501, 502, 503])
    # None is free; the fifth may share a port towards another destination, and not towards the same.
    packet = IP(src=vm3.ipv4, dst=PUBLIC) / UDP(sport=7004, dport=53) / b"none left"
    vm3.send(packet)
    nothing(vm3)
    shared = out(vm3, UDP(sport=7004, dport=53) / b"x", OTHER)
    assert shared in ports
    uplink.send(nat3, IP(src=OTHER, dst="198.51.100.11") / UDP(sport=53, dport=shared) / b"a")
    equal(vm3.take()[UDP].dport, 7004)
    # Other protocols have ports of their own.
    assert 500 <= out(vm3, TCP(sport=7000, dport=80, flags="S")) < 504


@scenario("only the default route is translated")
def _():
    packet = IP(src=vm1.ipv4, dst="10.1.0.5") / UDP(sport=1, dport=2) / b"x"
    vm1.send(packet)
    unchanged(uplink.inner(vm1.underlay, REMOTE), packet)
    packet = IP(src=vm1.ipv4, dst=vm2.ipv4) / UDP(sport=1, dport=2) / b"x"
    vm1.send(packet)
    unchanged(vm2.take(), packet)


@scenario("other protocols do not pass a NAT")
def _():
    vm1.send(IP(src=vm1.ipv4, dst=PUBLIC, proto=47) / Raw(b"\0\0\x08\0abcd"))
    vm1.send(IP(src=vm1.ipv4, dst=PUBLIC) / ICMP(type=13))
    nothing(vm1)


@scenario("what nobody asked for is dropped, and a ping of the NAT address is answered by the host")
def _():
    uplink.send(nat1, IP(src=PUBLIC, dst=NAT) / TCP(sport=1, dport=1099, flags="S"))
    uplink.send(nat1, IP(src=PUBLIC, dst=NAT) / UDP(sport=1, dport=1099))
    uplink.send(nat1, IP(src=PUBLIC, dst=vm1.ipv4) / UDP(sport=1, dport=1099))
    nothing(uplink)
    request = IP(src=PUBLIC, dst=NAT, ttl=7, id=3) / ICMP(id=0x40, seq=5) / b"are you there"
    uplink.send(nat1, request)
    answer = uplink.inner(nat1, ROUTER)
    equal((answer.src, answer.dst, answer.ttl, answer[ICMP].type, answer[ICMP].id, answer[ICMP].seq, answer[Raw].load),
          (NAT, PUBLIC, 64, 0, 0x40, 5, b"are you there"))


@scenario("ports of a neighbour are sent on to it, whatever the protocol, and no more once it is gone")
def _():
    neighbour = "fc00:2::d0:3"
    add_neighbor_nat(NAT, 100, 30000, 30100, neighbour)
    for payload in (TCP(sport=80, dport=30000, flags="SA"), UDP(sport=53, dport=30099) / b"x",
                    ICMP(type=0, id=30050), ICMP(type=8, id=30050)):
        packet = IP(src=PUBLIC, dst=NAT, ttl=9) / payload
        uplink.send(nat1, packet)
        unchanged(uplink.inner(nat1, neighbour), packet)
    quoted = IP(src=NAT, dst=PUBLIC) / UDP(sport=30007, dport=33434) / b"abcd"
    packet = IP(src="192.0.2.254", dst=NAT) / ICMP(type=11) / quoted
    uplink.send(nat1, packet)
    unchanged(uplink.inner(nat1, neighbour), packet)
    uplink.send(nat1, IP(src=PUBLIC, dst=NAT) / UDP(sport=53, dport=30100))
    nothing(uplink)
    listed = call("listNeighborNats", natIp=address(NAT))["natEntries"]
    equal([(one["minPort"], one["maxPort"], untext(one["underlayRoute"])) for one in listed], [(30000, 30100, neighbour)])
    equal(refused("createNeighborNat", natIp=address(NAT), vni=100, minPort=30050, maxPort=30200,
                  underlayRoute=text("fc00:4::1")), "createNeighborNat: 202 ALREADY_EXISTS")
    equal(refused("deleteNeighborNat", natIp=address(NAT), vni=100, minPort=30000, maxPort=30099),
          "deleteNeighborNat: 201 NOT_FOUND")
    remove_neighbor_nat(NAT, 100, 30000, 30100)
    uplink.send(nat1, IP(src=PUBLIC, dst=NAT) / UDP(sport=53, dport=30000))
    nothing(uplink)


@scenario("fragments for a neighbour follow the first one")
def _():
    from scapy.layers.inet import fragment
    neighbour = "fc00:2::d0:4"
    add_neighbor_nat(NAT, 100, 30000, 30100, neighbour)
    for piece in fragment(IP(src=PUBLIC, dst=NAT, id=321) / UDP(sport=53, dport=30003) / (b"n" * 2500), 1000):
        uplink.send(nat1, piece)
        unchanged(uplink.inner(nat1, neighbour), piece)
    remove_neighbor_nat(NAT, 100, 30000, 30100)


@scenario("an address of an alias prefix is translated too, and answered there")
def _():
    vm1.add_prefix("10.20.0.0/24")
    vm1.send(IP(src="10.20.0.5", dst=PUBLIC) / UDP(sport=4000, dport=53) / b"alias")
    inner = uplink.inner(vm1.underlay, ROUTER)
    assert inner.src == NAT and 100 <= inner[UDP].sport < 1100
    own = out(vm1, UDP(sport=4000, dport=53) / b"own")
    assert own != inner[UDP].sport
    uplink.send(nat1, IP(src=PUBLIC, dst=NAT) / UDP(sport=53, dport=inner[UDP].sport) / b"a")
    got = vm1.take()
    equal((got.dst, got[UDP].dport), ("10.20.0.5", 4000))
    vm1.remove_prefix("10.20.0.0/24")


@scenario("a range of one port serves each destination once and every protocol")
def _():
    vm2.remove_nat()
    one = vm2.add_nat(NAT, 50000, 50001)
    for payload in (UDP(sport=1, dport=53) / b"x", TCP(sport=1, dport=53, flags="S"), ICMP(id=1) / b"x"):
        equal(out(vm2, payload), 50000)
    equal(out(vm2, UDP(sport=2, dport=53) / b"x", OTHER), 50000)
    for destination, sport in ((PUBLIC, 1), (OTHER, 2)):
        uplink.send(one, IP(src=destination, dst=NAT) / UDP(sport=53, dport=50000) / b"a")
        equal(vm2.take()[UDP].dport, sport)
    vm2.send(IP(src=vm2.ipv4, dst=PUBLIC) / UDP(sport=2, dport=53) / b"x")
    nothing(vm2)
    vm2.remove_nat()
    globals()["nat2"] = vm2.add_nat(NAT, 1100, 2100)


@scenario("a VM may reach the NAT address's neighbours on other hosts by the router, not by itself")
def _():
    vm1.send(IP(src=vm1.ipv4, dst=NAT) / UDP(sport=9, dport=30000) / b"x")
    inner = uplink.inner(vm1.underlay, ROUTER)
    equal((inner.src, inner.dst), (NAT, NAT))


@scenario("ICMP errors about translated packets come to the VM with its own port and address inside")
def _():
    for payload, of in ((UDP(sport=8000, dport=33434) / b"trace me please", UDPerror),
                        (TCP(sport=8000, dport=80, flags="S"), TCPerror), (ICMP(id=8000, seq=1) / b"ping", ICMPerror)):
        vm1.send(IP(src=vm1.ipv4, dst=PUBLIC) / payload)
        sent = uplink.inner()
        for kind, code in ((11, 0), (3, 0), (3, 1), (3, 3), (3, 4), (3, 13), (4, 0), (12, 0)):
            for cut in (28, len(bytes(sent))):
                mtu = 1280 if (kind, code) == (3, 4) else 0
                uplink.send(nat1, IP(src="192.0.2.254", dst=NAT) / ICMP(type=kind, code=code, nexthopmtu=mtu) /
                            Raw(bytes(sent)[:cut]))
                error = vm1.take(f"error {kind}/{code}")
                equal((error.src, error.dst, error[ICMP].type, error[ICMP].code, error[IPerror].src, error[IPerror].dst),
                      ("192.0.2.254", vm1.ipv4, kind, code, vm1.ipv4, PUBLIC))
                equal(error[of].id if of is ICMPerror else error[of].sport, 8000)
                if mtu:
                    equal(error[ICMP].nexthopmtu, mtu)
                # Quoted whole, it is what the VM sent, checksums included.
                if cut != 28:
                    unchanged(bytes(error[ICMP].payload), IP(src=vm1.ipv4, dst=PUBLIC, id=sent.id) / payload)
    uplink.send(nat1, IP(src="192.0.2.254", dst=NAT) / ICMP(type=11) /
                IP(src=NAT, dst=PUBLIC) / UDP(sport=1098, dport=33434))
    nothing(uplink)


@scenario("a VM's own ICMP error about an answer leaves with the public port inside")
def _():
    port = out(vm1, UDP(sport=8100, dport=53) / b"q")
    uplink.send(nat1, IP(src=PUBLIC, dst=NAT) / UDP(sport=53, dport=port) / b"late")
    got = vm1.take()
    vm1.send(IP(src=vm1.ipv4, dst=PUBLIC) / ICMP(type=3, code=3) / got)
    error = uplink.inner(vm1.underlay, ROUTER)
    equal((error.src, error.dst, error[IPerror].src, error[IPerror].dst, error[UDPerror].dport),
          (NAT, PUBLIC, PUBLIC, NAT, port))


@scenario("fragments of UDP and ping pass, both ways, and reassemble to what was sent")
def _():
    from scapy.layers.inet import defragment, fragment
    data = bytes(range(256)) * 10
    for payload, back, of in (
            (UDP(sport=8200, dport=53) / data, lambda port: UDP(sport=53, dport=port) / data, UDP),
            (ICMP(id=8200, seq=1) / data, lambda port: ICMP(type=0, id=port, seq=1) / data, ICMP)):
        pieces = []
        for piece in fragment(IP(src=vm1.ipv4, dst=PUBLIC, id=55) / payload, 1000):
            vm1.send(piece)
            pieces.append(IP(bytes(uplink.inner(vm1.underlay, ROUTER))))
        whole = IP(bytes(defragment(pieces)[0]))
        verify(Ether() / whole)
        port = ports_of(whole)[0]
        assert whole.src == NAT and 100 <= port < 1100 and bytes(whole[of].payload) == data
        pieces = []
        for piece in fragment(IP(src=PUBLIC, dst=NAT, id=56) / back(port), 1000):
            uplink.send(nat1, piece)
            pieces.append(IP(bytes(vm1.take())))
        whole = IP(bytes(defragment(pieces)[0]))
        verify(Ether() / whole)
        equal((whole.dst, ports_of(whole)[1], bytes(whole[of].payload) == data), (vm1.ipv4, 8200, True))
    uplink.send(nat1, IP(src=PUBLIC, dst=NAT, id=999, frag=50, proto=17) / Raw(b"nobody's"))
    nothing(uplink)


@scenario("a datagram without checksum has none afterwards")
def _():
    vm1.send(IP(src=vm1.ipv4, dst=PUBLIC) / UDP(sport=8300, dport=53, chksum=0) / b"x")
    equal(uplink.inner()[UDP].chksum, 0)


@scenario("a VM with VIP and NAT leaves by the NAT and is reached by both")
def _():
    vip = vm2.add_vip("198.51.100.20")
    port = out(vm2, UDP(sport=8400, dport=53) / b"q")
    assert 1100 <= port < 2100
    uplink.send(nat2, IP(src=PUBLIC, dst=NAT) / UDP(sport=53, dport=port) / b"a")
    equal(vm2.take()[UDP].dport, 8400)
    uplink.send(vip, IP(src=PUBLIC, dst="198.51.100.20") / TCP(sport=999, dport=22, flags="S"))
    equal(vm2.take()[TCP].dport, 22)
    vm2.send(IP(src=vm2.ipv4, dst=PUBLIC) / TCP(sport=22, dport=999, flags="SA"))
    back = uplink.inner(vm2.underlay, ROUTER)
    equal((back.src, back[TCP].sport), ("198.51.100.20", 22))
    vm2.remove_vip()


@scenario("a removed NAT ends its connections, and a new one begins them anew")
def _():
    port = out(vm2, UDP(sport=8500, dport=53) / b"q")
    vm2.remove_nat()
    uplink.send(nat2, IP(src=PUBLIC, dst=NAT) / UDP(sport=53, dport=port) / b"a")
    nothing(uplink)
    fresh = vm2.add_nat(NAT, 40000, 40010)
    vm2.send(IP(src=vm2.ipv4, dst=PUBLIC) / UDP(sport=8500, dport=53) / b"may end the old flow")
    vm2.send(IP(src=vm2.ipv4, dst=PUBLIC) / UDP(sport=8500, dport=53) / b"q")
    inner = uplink.inner(vm2.underlay, ROUTER, match=lambda frame: IP in frame and frame[IP].src == NAT)
    assert 40000 <= inner[UDP].sport < 40010
    uplink.send(fresh, IP(src=PUBLIC, dst=NAT) / UDP(sport=53, dport=inner[UDP].sport) / b"a")
    equal(vm2.take()[UDP].dport, 8500)


@scenario("a NAT of the same address on both sides of a call is two NATs")
def _():
    # Both VMs behind one address call one server from one port: the server sees two ports.
    one = out(vm1, TCP(sport=9000, dport=80, flags="S"))
    two = out(vm2, TCP(sport=9000, dport=80, flags="S"))
    assert one != two


main()
