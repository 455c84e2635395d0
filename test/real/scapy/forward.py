"""Packets between VMs, of one host and of two, as they are on the wire; and what is not passed on."""
from suite import *

uplink = start()
vm1 = Vm(1, 100, "10.0.0.1", "2001:db8:1::1").create()
vm2 = Vm(2, 100, "10.0.0.2", "2001:db8:1::2").create()
vm3 = Vm(3, 200, "10.0.0.2", "2001:db8:1::2").create()
FAR, FAR6 = "10.1.2.3", "2001:db8:2::3"
add_route(100, "10.1.0.0/16")
add_route(100, "2001:db8:2::/64")
add_route(100, "0.0.0.0/0", ROUTER)
add_route(100, "::/0", ROUTER)

PAYLOADS = (UDP(sport=1000, dport=2000) / b"hello", TCP(sport=1001, dport=80, flags="S", seq=5), ICMP(id=7, seq=1) / b"x")


def ip(vm, destination):
    six = ":" in destination
    return (IPv6 if six else IP)(src=vm.ipv6 if six else vm.ipv4, dst=destination)


@scenario("a VM that never spoke is reached at its device's MAC")
def _():
    vm2.send(ip(vm2, vm1.ipv4) / UDP(sport=9, dport=9) / b"first")
    frame = vm1.port.take()
    equal((frame.dst, frame[IP].src, frame[Raw].load), (device_mac(vm1.port.device), vm2.ipv4, b"first"))


@scenario("VMs of one host reach each other, whatever MAC they send to, and nothing changes on the way")
def _():
    for to in (vm2.mac, PF_MACS[0], vm1.mac, "02:00:00:00:00:01"):
        for payload in PAYLOADS:
            for packet in (ip(vm1, vm2.ipv4) / payload, *([ip(vm1, vm2.ipv6) / payload] if ICMP not in payload else [])):
                vm1.send(packet, to)
                unchanged(vm2.take(), packet)
    packet = ip(vm1, vm2.ipv6) / ICMPv6EchoRequest(id=4, data=b"six")
    vm1.send(packet)
    unchanged(vm2.take(), packet)
    answer = ip(vm2, vm1.ipv6) / ICMPv6EchoReply(id=4, data=b"six")
    vm2.send(answer)
    unchanged(vm1.take(), answer)


@scenario("a VM with the same addresses in another VNI hears nothing of it")
def _():
    vm3.send(ip(vm3, "10.0.0.1") / PAYLOADS[0])
    vm3.send(ip(vm3, "2001:db8:1::1") / PAYLOADS[0])
    nothing(vm3)
    vm1.send(ip(vm1, vm2.ipv4) / PAYLOADS[0])
    vm2.take()
    nothing(vm1)


@scenario("a packet for a VM of another host leaves from its VM's underlay address to the next hop")
def _():
    for packet in (*(ip(vm1, FAR) / payload for payload in PAYLOADS), *(ip(vm1, FAR6) / one for one in PAYLOADS[:2]),
                   ip(vm1, FAR6) / ICMPv6EchoRequest(id=1)):
        vm1.send(packet, vm2.mac)
        unchanged(uplink.inner(vm1.underlay, REMOTE), packet)


@scenario("the outer frame carries the uplink's MAC and an IPv6 header without flow of the wrong kind")
def _():
    vm1.send(ip(vm1, FAR) / PAYLOADS[0])
    frame = uplink.port.take()
    equal((frame.src, frame.type, frame[IPv6].version, frame[IPv6].tc), (PF_MACS[0], 0x86dd, 6, 0))


@scenario("a packet from another host is delivered by its outer destination, and to whatever MAC the fabric sends")
def _():
    for to in (PF_MACS[0], BROADCAST, "33:33:00:00:00:01", ROUTER_MAC, "02:00:00:00:00:09"):
        for packet in (IP(src=FAR, dst=vm1.ipv4) / PAYLOADS[0], IPv6(src=FAR6, dst=vm1.ipv6) / PAYLOADS[0]):
            uplink.send(vm1.underlay, packet, REMOTE, to)
            frame = vm1.port.take()
            unchanged(frame.payload, packet)
            equal(frame.dst, vm1.mac)


@scenario("the fabric may use the uplink's own MAC as its source")
def _():
    packet = IP(src=FAR, dst=vm1.ipv4) / PAYLOADS[0]
    uplink.port.send(Ether(src=PF_MACS[0], dst=PF_MACS[0]) / IPv6(src=REMOTE, dst=vm1.underlay, nh=4) / packet)
    unchanged(vm1.take(), packet)


@scenario("a conversation with another host goes both ways, of both families")
def _():
    for there, here in ((FAR, vm1.ipv4), (FAR6, vm1.ipv6)):
        kind = IPv6 if ":" in there else IP
        for flags, out in (("S", True), ("SA", False), ("A", True), ("PA", False), ("FA", True), ("FA", False)):
            tcp = TCP(sport=4000, dport=443, flags=flags) if out else TCP(sport=443, dport=4000, flags=flags)
            if out:
                vm1.send(kind(src=here, dst=there) / tcp)
                equal(uplink.inner(vm1.underlay, REMOTE)[TCP].flags, flags)
            else:
                uplink.send(vm1.underlay, kind(src=there, dst=here) / tcp, REMOTE)
                equal(vm1.take()[TCP].flags, flags)


@scenario("what the fabric sends to an address that is nobody's, or for somebody else inside, is dropped")
def _():
    packet = IP(src=FAR, dst=vm1.ipv4) / PAYLOADS[0]
    wrong = ipaddress.ip_address(vm1.underlay) + 1
    uplink.send(str(wrong), packet)
    uplink.send("fc00:1::1", packet)
    uplink.send("fc00:9::1", packet)
    uplink.send(vm1.underlay, IP(src=FAR, dst="10.0.0.99") / PAYLOADS[0])
    uplink.send(vm1.underlay, IPv6(src=FAR6, dst=vm1.ipv6) / PAYLOADS[0], nh=4)
    uplink.send(vm1.underlay, Raw(b"\x45\0"), nh=4)
    nothing(uplink)


@scenario("the longest prefix decides, a new route is used at once and a removed one no more")
def _():
    vm1.send(ip(vm1, "10.1.9.9") / PAYLOADS[0])
    uplink.inner(vm1.underlay, REMOTE)
    add_route(100, "10.1.9.0/24", "fc00:3::1")
    vm1.send(ip(vm1, "10.1.9.9") / PAYLOADS[0])
    uplink.inner(vm1.underlay, "fc00:3::1")
    remove_route(100, "10.1.9.0/24", "fc00:3::1")
    vm1.send(ip(vm1, "10.1.9.9") / PAYLOADS[0])
    uplink.inner(vm1.underlay, REMOTE)
    remove_route(100, "10.1.0.0/16")
    vm1.send(ip(vm1, "10.1.9.9") / PAYLOADS[0])
    uplink.inner(vm1.underlay, ROUTER)
    add_route(100, "10.1.0.0/16")


@scenario("a destination without a route is dropped")
def _():
    vm3.send(ip(vm3, "172.16.0.1") / PAYLOADS[0])
    vm3.send(ip(vm3, "2001:db8:9::1") / PAYLOADS[0])
    nothing(vm3)


@scenario("IPv6 routes are listed beside IPv4 ones, and a second one is refused")
def _():
    routes = call("listRoutes", vni=100)["routes"]
    equal(sorted(f"{untext(one['prefix']['ip']['address'])}/{one['prefix'].get('length', 0)}" for one in routes),
          ["0.0.0.0/0", "10.1.0.0/16", "2001:db8:2::/64", "::/0"])
    equal(refused("createRoute", vni=100, route={"prefix": prefix("10.1.0.0/16"), "nexthopVni": 100,
                                                "nexthopAddress": address(REMOTE)}), "createRoute: 301 ROUTE_EXISTS")
    equal(refused("createRoute", vni=77, route={"prefix": prefix("10.1.0.0/16"), "nexthopVni": 100,
                                               "nexthopAddress": address(REMOTE)}), "createRoute: 206 NO_VNI")


@scenario("neither hop limits nor classes nor DF are touched, inside of the tunnel")
def _():
    packet = IP(src=vm1.ipv4, dst=FAR, ttl=1, tos=0xb8, flags="DF", id=99) / PAYLOADS[0]
    vm1.send(packet)
    unchanged(uplink.inner(), packet)
    packet = IPv6(src=vm1.ipv6, dst=FAR6, hlim=1, tc=0xb8, fl=0x12345) / PAYLOADS[0]
    vm1.send(packet)
    unchanged(uplink.inner(), packet)


@scenario("other protocols than TCP, UDP and ICMP pass between VMs: SCTP, GRE, ESP")
def _():
    for proto, body in ((132, struct.pack("!HHII", 5, 6, 1, 0)), (47, b"\0\0\x08\0abcd"), (50, b"\0\0\0\1\0\0\0\1data")):
        packet = IP(src=vm1.ipv4, dst=vm2.ipv4, proto=proto) / Raw(body)
        vm1.send(packet)
        unchanged(vm2.take(f"protocol {proto}"), packet)
        packet = IPv6(src=vm1.ipv6, dst=FAR6, nh=proto) / Raw(body)
        vm1.send(packet)
        unchanged(uplink.inner(), packet)


@scenario("IPv4 options pass, and what lies about its length does not")
def _():
    from scapy.layers.inet import IPOption_Timestamp
    packet = IP(src=vm1.ipv4, dst=vm2.ipv4, options=[IPOption_Timestamp()]) / PAYLOADS[0]
    vm1.send(packet)
    unchanged(vm2.take(), packet)
    vm1.send(IP(src=vm1.ipv4, dst=vm2.ipv4, len=400) / PAYLOADS[0])
    vm1.send(IP(src=vm1.ipv4, dst=vm2.ipv4, ihl=15, len=30) / PAYLOADS[0])
    vm1.send(IP(src=vm1.ipv4, dst=vm2.ipv4, proto=6) / Raw(b"\0\1\0\2"))
    nothing(vm1)


@scenario("IPv6 extension headers pass: hop-by-hop, destination options, routing, and several of them")
def _():
    from scapy.layers.inet6 import IPv6ExtHdrRouting
    options = PadN(optdata=b"\0" * 4)
    for chain in (IPv6ExtHdrHopByHop(options=[options]), IPv6ExtHdrDestOpt(options=[options]),
                  IPv6ExtHdrRouting(addresses=[], segleft=0),
                  IPv6ExtHdrHopByHop(options=[options]) / IPv6ExtHdrDestOpt(options=[options])):
        for end in (UDP(sport=1, dport=2) / b"x", TCP(sport=1, dport=3, flags="S"), ICMPv6EchoRequest(id=8)):
            packet = IPv6(src=vm1.ipv6, dst=vm2.ipv6) / chain / end
            vm1.send(packet)
            unchanged(vm2.take(), packet)
            packet = IPv6(src=vm1.ipv6, dst=FAR6) / chain / end
            vm1.send(packet)
            unchanged(uplink.inner(), packet)
    packet = IPv6(src=vm1.ipv6, dst=vm2.ipv6)
    for _i in range(9):
        packet = packet / IPv6ExtHdrDestOpt(options=[options])
    vm1.send(packet / UDP(sport=1, dport=2))
    nothing(vm1)


@scenario("fragments of both families pass once the first one came, and unknown later ones do not")
def _():
    from scapy.layers.inet import fragment
    from scapy.layers.inet6 import fragment6
    data = bytes(range(256)) * 8
    for destination, out in ((vm2.ipv4, vm2), (FAR, uplink)):
        pieces = fragment(IP(src=vm1.ipv4, dst=destination, id=77) / UDP(sport=5, dport=6) / data, 1000)
        assert len(pieces) == 3
        for piece in pieces:
            vm1.send(piece)
            unchanged(out.take() if out is vm2 else uplink.inner(vm1.underlay), piece)
    for destination, out in ((vm2.ipv6, vm2), (FAR6, uplink)):
        whole = IPv6(src=vm1.ipv6, dst=destination) / IPv6ExtHdrFragment(id=88) / UDP(sport=5, dport=6) / data
        pieces = fragment6(whole, 1000)
        assert len(pieces) >= 3
        for piece in pieces:
            vm1.send(piece)
            unchanged(out.take() if out is vm2 else uplink.inner(vm1.underlay), piece)
    vm1.send(IP(src=vm1.ipv4, dst=FAR, id=1234, frag=100, proto=17) / Raw(b"later"))
    nothing(vm1)


@scenario("a VM sends from no address but its own, neither IPv4 nor IPv6 nor ARP")
def _():
    vm1.send(IP(src="10.0.0.77", dst=vm2.ipv4) / PAYLOADS[0])
    vm1.send(IP(src=vm2.ipv4, dst=FAR) / PAYLOADS[0])
    vm1.send(IPv6(src="2001:db8:1::77", dst=vm2.ipv6) / PAYLOADS[0])
    vm1.send(IP(src="0.0.0.0", dst=FAR) / PAYLOADS[0])
    nothing(vm1)


@scenario("a frame from another MAC is dropped, until the VM says by ARP that it has a new one")
def _():
    new = "02:aa:bb:cc:dd:ee"
    vm1.send(ip(vm1, vm2.ipv4) / PAYLOADS[0])
    vm2.take()
    packet = ip(vm1, vm2.ipv4) / UDP(sport=77, dport=77)
    vm1.port.send(Ether(src=new, dst=PF_MACS[0]) / packet)
    nothing(vm1)
    for mac in (new, vm1.mac):
        vm1.port.send(Ether(src=mac, dst=BROADCAST) / ARP(op=1, hwsrc=mac, psrc=vm1.ipv4, pdst=GATEWAY))
        vm1.port.take("ARP reply", lambda frame: ARP in frame and frame.dst == mac)
        vm1.port.send(Ether(src=mac, dst=PF_MACS[0]) / packet)
        vm2.take()
        vm2.send(ip(vm2, vm1.ipv4) / UDP(sport=77, dport=77))
        equal(vm1.port.take().dst, mac)


@scenario("multicast and broadcast of a VM reach nobody")
def _():
    for destination in ("224.0.0.251", "255.255.255.255", "239.1.1.1", "127.0.0.1"):
        vm1.send(IP(src=vm1.ipv4, dst=destination) / PAYLOADS[0], BROADCAST)
    vm1.send(IPv6(src=vm1.ipv6, dst="ff02::fb") / PAYLOADS[0], "33:33:00:00:00:fb")
    vm1.send(IPv6(src="fe80::6466:66ff:fe66:6600", dst="ff02::16") / PAYLOADS[0], "33:33:00:00:00:16")
    nothing(vm1)


@scenario("an alias prefix is reached by its route and its underlay address, and its VM sends from it")
def _():
    underlay = vm2.add_prefix("10.20.0.0/24")
    underlay6 = vm2.add_prefix("2001:db8:20::/64")
    equal(len({underlay, underlay6, vm2.underlay}), 3, "addresses")
    listed = call("listPrefixes", interfaceId=text("vm2"))["prefixes"]
    equal(sorted(untext(one["underlayRoute"]) for one in listed), sorted([underlay, underlay6]))
    for destination, outer, far in (("10.20.0.5", underlay, FAR), ("2001:db8:20::5", underlay6, FAR6)):
        kind = IPv6 if ":" in destination else IP
        packet = ip(vm1, destination) / PAYLOADS[0]
        vm1.send(packet)
        unchanged(vm2.take(), packet)
        back = kind(src=destination, dst=packet.src) / UDP(sport=2000, dport=1000) / b"back"
        vm2.send(back)
        unchanged(vm1.take(), back)
        packet = kind(src=far, dst=destination) / PAYLOADS[0]
        uplink.send(outer, packet, REMOTE)
        unchanged(vm2.take(), packet)
        back = kind(src=destination, dst=far) / UDP(sport=2000, dport=1000) / b"back"
        vm2.send(back)
        unchanged(uplink.inner(vm2.underlay, REMOTE), back)
    uplink.send(underlay, IP(src=FAR, dst="10.21.0.5") / PAYLOADS[0])
    nothing(uplink)
    for where in ("10.20.0.0/24", "2001:db8:20::/64"):
        vm2.remove_prefix(where)
    uplink.send(underlay, IP(src=FAR, dst="10.20.0.5") / PAYLOADS[0])
    nothing(uplink)
    vm2.send(IP(src="10.20.0.5", dst=FAR) / PAYLOADS[0])
    nothing(vm2)


@scenario("a next hop in this host's own prefix is reached without the fabric")
def _():
    add_route(100, "10.30.0.0/16", vm3.underlay, 200)
    vm1.send(ip(vm1, "10.30.0.1") / PAYLOADS[0])
    nothing(vm1)
    remove_route(100, "10.30.0.0/16", vm3.underlay)
    underlay = vm2.add_balancer_prefix("10.40.0.1/32")
    add_route(100, "10.40.0.1/32", underlay)
    packet = ip(vm1, "10.40.0.1") / PAYLOADS[0]
    vm1.send(packet)
    unchanged(vm2.take(), packet)
    nothing(vm1)
    remove_route(100, "10.40.0.1/32", underlay)
    vm2.remove_balancer_prefix("10.40.0.1/32")


@scenario("a packet longer than the MTU is answered by the size that fits, of both families")
def _():
    data = b"x" * 1500
    for destination in (vm2.ipv4, FAR):
        vm1.send(IP(src=vm1.ipv4, dst=destination, flags="DF") / UDP(sport=1, dport=2) / data)
        error = vm1.take("frag needed", lambda frame: ICMP in frame)
        equal((error[ICMP].type, error[ICMP].code, error[ICMP].nexthopmtu, error.dst, error[IPerror].dst,
               error[UDPerror].dport), (3, 4, 1500, vm1.ipv4, destination, 2))
        time_passes()
    for destination in (vm2.ipv6, FAR6):
        vm1.send(IPv6(src=vm1.ipv6, dst=destination) / UDP(sport=1, dport=2) / data)
        error = vm1.take("too big", lambda frame: ICMPv6PacketTooBig in frame)
        equal((error[ICMPv6PacketTooBig].mtu, error[IPerror6].dst), (1500, destination))
        time_passes()
    nothing(vm1)


def time_passes():
    """Errors are made at most once in 10 ms and interface."""
    select.select([], [], [], 0.011)


@scenario("a longer packet that may be fragmented arrives, in pieces that fit the link")
def _():
    from scapy.layers.inet import defragment
    packet = IP(src=vm1.ipv4, dst=FAR, id=4242) / UDP(sport=1, dport=2) / (bytes(range(250)) * 12)
    vm1.send(packet)
    pieces = [IP(bytes(uplink.inner(vm1.underlay, REMOTE)))]
    while pieces[-1].flags.MF:
        pieces.append(IP(bytes(uplink.inner(vm1.underlay, REMOTE))))
    assert len(pieces) > 1 and all(len(bytes(piece)) <= 1500 for piece in pieces)
    whole = IP(bytes(defragment(pieces)[0]))
    verify(Ether() / whole)
    unchanged(whole[UDP], packet[UDP])
    nothing(vm1)


@scenario("a packet of exactly the MTU passes, out, in and between VMs")
def _():
    for kind, source, near, far, overhead in ((IP, vm1.ipv4, vm2.ipv4, FAR, 28), (IPv6, vm1.ipv6, vm2.ipv6, FAR6, 48)):
        for destination in (near, far):
            packet = kind(src=source, dst=destination) / UDP(sport=1, dport=2) / (b"y" * (1500 - overhead))
            equal(len(bytes(packet)), 1500)
            vm1.send(packet)
            unchanged(vm2.take() if destination == near else uplink.inner(), packet)
        packet = kind(src=far, dst=source) / UDP(sport=1, dport=2) / (b"y" * (1500 - overhead))
        uplink.send(vm1.underlay, packet, REMOTE)
        unchanged(vm1.take(), packet)


@scenario("scapy's own senders and sniffers see the same: srp1 and a thread that answers")
def _():
    from scapy.sendrecv import AsyncSniffer, sendp, srp1
    from scapy.config import conf as scapy_conf
    scapy_conf.ifaces.reload()
    ready = threading.Event()

    def answer(frame):
        if UDP in frame and frame[UDP].dport == 4321:
            sendp(Ether(src=vm2.mac, dst=frame.src) / IP(src=frame[IP].dst, dst=frame[IP].src) /
                  UDP(sport=4321, dport=frame[UDP].sport) / b"pong", iface=vm2.port.device, verbose=False)

    sniffer = AsyncSniffer(iface=vm2.port.device, prn=answer, started_callback=ready.set, store=False,
                           lfilter=lambda frame: frame.src != vm2.mac or UDP in frame)
    sniffer.start()
    assert ready.wait(3)
    reply = srp1(Ether(src=vm1.mac, dst=vm2.mac) / IP(src=vm1.ipv4, dst=vm2.ipv4) / UDP(sport=1234, dport=4321) /
                 b"ping", iface=vm1.port.device, timeout=3, verbose=False)
    assert reply is not None and reply[Raw].load == b"pong", reply
    sniffer.stop()


@scenario("a deleted interface is gone at once, and its device serves another VM of another VNI")
def _():
    vm4 = Vm(4, 100, "10.0.0.4").create()
    barrier(vm4)
    vm1.send(ip(vm1, vm4.ipv4) / PAYLOADS[0])
    vm4.take()
    vm4.delete()
    vm1.send(ip(vm1, vm4.ipv4) / PAYLOADS[0])
    uplink.inner(vm1.underlay, ROUTER)
    uplink.send(vm4.underlay, IP(src=FAR, dst="10.0.0.4") / PAYLOADS[0])
    nothing(uplink)
    vm4.send(ip(vm4, vm1.ipv4) / PAYLOADS[0])
    nothing(uplink)
    old = vm4.underlay
    vm4 = Vm(4, 200, "10.0.0.4").create()
    assert vm4.underlay != old
    uplink.send(old, IP(src=FAR, dst="10.0.0.4") / PAYLOADS[0])
    nothing(uplink)
    vm4.send(ip(vm4, vm3.ipv4) / PAYLOADS[0])
    vm3.take()
    vm4.delete()


@scenario("a preferred underlay address is taken, and refused where it is taken already")
def _():
    wanted = "fc00:1::8000:0:77"
    vm4 = Vm(4, 100, "10.0.0.4", preferredUnderlayRoute=text(wanted)).create()
    assert same(vm4.underlay, wanted), vm4.underlay
    uplink.send(wanted, IP(src=FAR, dst="10.0.0.4") / PAYLOADS[0])
    vm4.port.take()
    equal(refused("createPrefix", interfaceId=text("vm4"), prefix=prefix("10.50.0.0/24"),
                  preferredUnderlayRoute=text(wanted)), "createPrefix: 401 VNF_INSERT")
    vm4.delete()


@scenario("a second Initialize forgets routes and neighbours, and leaves interfaces with their prefixes in place")
def _():
    before = call("checkInitialized")["uuid"]
    vm2.add_prefix("10.20.0.0/24")
    add_neighbor_nat("198.51.100.1", 100, 100, 200, REMOTE)
    equal(call("initialize")["uuid"], before)
    equal(call("listRoutes", vni=100).get("routes", []), [])
    equal(call("listNeighborNats", natIp=address("0.0.0.0")).get("natEntries", []), [])
    vm1.send(ip(vm1, FAR) / PAYLOADS[0])
    nothing(vm1)
    for destination in (vm2.ipv4, vm2.ipv6, "10.20.0.1"):
        packet = ip(vm1, destination) / PAYLOADS[0]
        vm1.send(packet)
        unchanged(vm2.take(), packet)
    vm2.remove_prefix("10.20.0.0/24")
    add_route(100, "10.1.0.0/16")
    add_route(100, "2001:db8:2::/64")
    vm1.send(ip(vm1, FAR) / PAYLOADS[0])
    uplink.inner(vm1.underlay, REMOTE)


@scenario("a virtual network is in use while it has an interface, and its reset forgets routes alone")
def _():
    equal(call("checkVniInUse", vni=100, type="VNI_IPV4")["inUse"], True)
    assert not call("checkVniInUse", vni=101, type="VNI_IPV4").get("inUse", False)
    vm2.add_prefix("10.20.0.0/24")
    call("resetVni", vni=100, type="VNI_BOTH")
    vm1.send(ip(vm1, FAR) / PAYLOADS[0])
    nothing(vm1)
    for destination in (vm2.ipv4, "10.20.0.1"):
        packet = ip(vm1, destination) / PAYLOADS[0]
        vm1.send(packet)
        unchanged(vm2.take(), packet)
    vm2.remove_prefix("10.20.0.0/24")
    add_route(100, "10.1.0.0/16")
    add_route(100, "2001:db8:2::/64")


@scenario("frames that are not IP, with a tag or cut short reach nobody")
def _():
    from scapy.layers.l2 import Dot1Q
    packet = ip(vm1, vm2.ipv4) / PAYLOADS[0]
    vm1.port.send(Ether(src=vm1.mac, dst=vm2.mac) / Dot1Q(vlan=5) / packet)
    vm1.port.send(Ether(src=vm1.mac, dst=vm2.mac, type=0x88b5) / b"anything")
    for length in (14, 20, 33, 37):
        vm1.port.send(bytes(vm1.frame(packet))[:length])
    vm1.port.send(Ether(src=vm1.mac, dst=vm2.mac, type=0x86dd) / packet)
    nothing(vm1)
    uplink.port.send(Ether(src=ROUTER_MAC, dst=uplink.mac) / IP(src=FAR, dst=vm1.ipv4) / PAYLOADS[0])
    uplink.port.send(Ether(src=ROUTER_MAC, dst=uplink.mac) / IPv6(src=REMOTE, dst=vm1.underlay) / PAYLOADS[0])
    whole = bytes(Ether(src=ROUTER_MAC, dst=uplink.mac) / IPv6(src=REMOTE, dst=vm1.underlay, nh=4) / packet)
    for length in (14, 53, 54, 60, 73):
        uplink.port.send(whole[:length])
    nothing(uplink)


@scenario("damaged frames of any kind leave the dataplane as it was")
def _():
    import random
    chance = random.Random(4711)
    kinds = [ip(vm1, vm2.ipv4) / PAYLOADS[1], ip(vm1, FAR6) / IPv6ExtHdrDestOpt() / UDP(sport=1, dport=2) / b"x",
             ip(vm1, GATEWAY) / ICMP(), IP(src=vm1.ipv4, dst=FAR) / ICMP(type=3, code=4) / ip(vm2, vm1.ipv4) / PAYLOADS[0],
             IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / Raw(bytes(300)),
             IPv6(src=vm1.ipv6, dst=FAR6) / IPv6ExtHdrFragment(id=7, m=1) / UDP(sport=1, dport=2) / b"12345678"]
    frames = [bytes(vm1.frame(packet)) for packet in kinds]
    outers = [bytes(Ether(src=ROUTER_MAC, dst=uplink.mac) /
                    IPv6(src=REMOTE, dst=vm1.underlay, nh=4 if IP in packet else 41) / packet) for packet in kinds]
    for port, samples in ((vm1.port, frames), (uplink.port, outers)):
        for _i in range(3000):
            frame = bytearray(chance.choice(samples))
            for _j in range(chance.randrange(1, 5)):
                frame[chance.randrange(14, len(frame))] = chance.randrange(256)
            if chance.random() < 0.3:
                frame = frame[:chance.randrange(14, len(frame))]
            try:
                port.socket.send(bytes(frame))
            except OSError:
                select.select([], [port.socket], [], 1)
            if _i % 200 == 0:
                barrier(vm1 if port is vm1.port else uplink)
    barrier(vm1)
    barrier(uplink)
    for one in everybody():
        one.port.drain()
    packet = ip(vm1, vm2.ipv4) / UDP(sport=4711, dport=4712) / b"alive"
    vm1.send(packet)
    unchanged(vm2.take(), packet)


main()
