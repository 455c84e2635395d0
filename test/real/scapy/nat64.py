"""VMs with IPv6 reach IPv4 by 64:ff9b::/96, and services of the underlay by addresses of their own."""
from suite import *

NAT = "198.51.100.10"
UDP_SERVICE, TCP_SERVICE = ("1.2.3.4", 5353, "fc00:5::53", 53), ("1.2.3.5", 8080, "fc00:5::80", 80)
uplink = start("--udp-virtsvc", "%s,%d,%s,%d" % UDP_SERVICE, "--tcp-virtsvc", "%s,%d,%s,%d" % TCP_SERVICE,
               "--udp-virtsvc", "169.254.1.1,123,fc00:5::123,123")
vm1 = Vm(1, 100, "10.0.0.1", "2001:db8:1::1").create()
vm2 = Vm(2, 100, "0.0.0.0", "2001:db8:1::2").create()
vm3 = Vm(3, 100, "10.0.0.3", "2001:db8:1::3").create()
for where in ("0.0.0.0/0", "::/0"):
    add_route(100, where, ROUTER)
nat1 = vm1.add_nat(NAT, 100, 200)
nat2 = vm2.add_nat(NAT, 200, 300)
MAPPED = "64:ff9b::cb00:7109"  # 203.0.113.9


@scenario("TCP, UDP and ping leave as IPv4 from the NAT address, and answers come back as IPv6")
def _():
    for vm, underlay in ((vm1, nat1), (vm2, nat2)):
        for out, back in (
                (TCP(sport=4000, dport=443, flags="S", seq=9), lambda port: TCP(sport=443, dport=port, flags="SA")),
                (UDP(sport=4000, dport=53) / b"query", lambda port: UDP(sport=53, dport=port) / b"answer"),
                (ICMPv6EchoRequest(id=4000, seq=2, data=b"ping"),
                 lambda port: ICMP(type=0, id=port, seq=2) / b"ping")):
            vm.send(IPv6(src=vm.ipv6, dst=MAPPED, hlim=33, tc=0x20, fl=0x777) / out)
            inner = uplink.inner(vm.underlay, ROUTER)
            assert isinstance(inner, IP), inner.summary()
            equal((inner.src, inner.dst, inner.ttl, inner.tos, str(inner.flags), inner.id),
                  (NAT, PUBLIC, 33, 0x20, "DF", 0))
            port = inner[ICMP].id if ICMP in inner else inner.payload.sport
            assert (100 if vm is vm1 else 200) <= port < (200 if vm is vm1 else 300)
            uplink.send(underlay, IP(src=PUBLIC, dst=NAT, ttl=44, tos=0x28) / back(port))
            got = vm.take()
            equal((got.src, got.dst, got.hlim, got.tc, got.fl), (MAPPED, vm.ipv6, 44, 0x28, 0))
            if isinstance(out, ICMPv6EchoRequest):
                equal((got[ICMPv6EchoReply].id, got[ICMPv6EchoReply].seq, got[ICMPv6EchoReply].data), (4000, 2, b"ping"))
            else:
                equal(got.payload.dport, 4000)


@scenario("errors of IPv4 routers come to the VM as ICMPv6 about its own packet")
def _():
    vm1.send(IPv6(src=vm1.ipv6, dst=MAPPED) / UDP(sport=5000, dport=33434) / b"trace me")
    sent = uplink.inner()
    for (kind, code, mtu), (kind6, code6, mtu6) in (((11, 0, 0), (3, 0, 0)), ((3, 3, 0), (1, 4, 0)),
                                                   ((3, 1, 0), (1, 0, 0)), ((3, 4, 1400), (2, 0, 1420))):
        uplink.send(nat1, IP(src="192.0.2.254", dst=NAT) / ICMP(type=kind, code=code, nexthopmtu=mtu) / sent)
        got = vm1.take(f"{kind}/{code}")
        equal((got.src, got.dst, got.payload.type, got.payload.code), ("64:ff9b::c000:2fe", vm1.ipv6, kind6, code6))
        equal((got[IPerror6].src, got[IPerror6].dst, got[UDPerror].sport), (vm1.ipv6, MAPPED, 5000))
        if mtu:
            equal(got[ICMPv6PacketTooBig].mtu, mtu6)


@scenario("without a NAT, or by a longer prefix, IPv6 stays IPv6")
def _():
    packet = IPv6(src=vm3.ipv6, dst=MAPPED) / UDP(sport=1, dport=2) / b"x"
    vm3.send(packet)
    unchanged(uplink.inner(vm3.underlay, ROUTER), packet)
    add_route(100, "64:ff9b::/96", REMOTE)
    packet = IPv6(src=vm1.ipv6, dst=MAPPED) / UDP(sport=1, dport=3) / b"x"
    vm1.send(packet)
    unchanged(uplink.inner(vm1.underlay, REMOTE), packet)
    remove_route(100, "64:ff9b::/96")
    packet = IPv6(src=vm1.ipv6, dst="2001:db8:9::9") / UDP(sport=1, dport=2) / b"x"
    vm1.send(packet)
    unchanged(uplink.inner(vm1.underlay, ROUTER), packet)


@scenario("fragments and other protocols are not translated")
def _():
    vm1.send(IPv6(src=vm1.ipv6, dst=MAPPED) / IPv6ExtHdrFragment(id=1, m=1) / UDP(sport=1, dport=2, len=2000) / (b"x" * 64))
    vm1.send(IPv6(src=vm1.ipv6, dst=MAPPED, nh=47) / Raw(b"\0\0\x08\0abcd"))
    nothing(vm1)


@scenario("a virtual service is reached as a plain IPv6 packet from an address of the host, and answers as itself")
def _():
    for layer, (ip, port, target, target_port) in ((UDP, UDP_SERVICE), (TCP, TCP_SERVICE)):
        for vm in (vm1, vm3):
            payload = layer(sport=6000, dport=port) / b"question"
            vm.send(IP(src=vm.ipv4, dst=ip, ttl=40) / payload)
            out = uplink.take()
            equal((out.dst, out.nh, out.hlim, out.payload.dport, bytes(out.payload.payload)),
                  (target, 17 if layer is UDP else 6, 40, target_port, b"question"))
            assert out.src.startswith("fc00:1::d0ff:40"), out.src
            assert 1024 <= out.payload.sport
            uplink.port.send(Ether(src=ROUTER_MAC, dst=uplink.mac) / IPv6(src=target, dst=out.src, hlim=50) /
                             layer(sport=target_port, dport=out.payload.sport) / b"answer")
            got = vm.take()
            equal((got.src, got.dst, got.payload.sport, got.payload.dport, bytes(got.payload.payload)),
                  (ip, vm.ipv4, port, 6000, b"answer"))


@scenario("a virtual service at a link-local address is reached, and DHCP tells the way there")
def _():
    vm1.send(IP(src=vm1.ipv4, dst="169.254.1.1") / UDP(sport=123, dport=123) / (b"t" * 48))
    out = uplink.take()
    equal((out.dst, out[UDP].dport), ("fc00:5::123", 123))
    from scapy.layers.dhcp import BOOTP, DHCP
    vm1.port.send(Ether(src=vm1.mac, dst=BROADCAST) / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) /
                  BOOTP(chaddr=bytes.fromhex(vm1.mac.replace(":", "")), xid=3) /
                  DHCP(options=[("message-type", "discover"), "end"]))
    answer = vm1.port.take("offer", lambda frame: DHCP in frame)
    assert b"\x18\xa9\xfe\x01" in bytes(answer[DHCP]), "no route to 169.254.1.0/24"


@scenario("other ports of a service's address, and answers that nobody asked for, are not the service")
def _():
    vm1.send(IP(src=vm1.ipv4, dst=UDP_SERVICE[0]) / UDP(sport=1, dport=99) / b"x")
    equal(uplink.inner(vm1.underlay, ROUTER).dst, UDP_SERVICE[0])
    vm3.send(IP(src=vm3.ipv4, dst=UDP_SERVICE[0]) / UDP(sport=6500, dport=UDP_SERVICE[1]) / b"question")
    out = uplink.take()
    for source, sport, dport in (("fc00:5::54", 53, out[UDP].sport), (UDP_SERVICE[2], 54, out[UDP].sport),
                                 (UDP_SERVICE[2], 53, out[UDP].sport ^ 1)):
        uplink.port.send(Ether(src=ROUTER_MAC, dst=uplink.mac) / IPv6(src=source, dst=out.src) /
                         UDP(sport=sport, dport=dport) / b"not asked")
    nothing(uplink)


main()
