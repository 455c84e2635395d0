"""One public address of one VM: out, in, and between VMs of a host."""
from suite import *

VIP, VIP2 = "198.51.100.1", "198.51.100.2"
uplink = start()
vm1 = Vm(1, 100, "10.0.0.1", "2001:db8:1::1").create()
vm2 = Vm(2, 100, "10.0.0.2").create()
add_route(100, "0.0.0.0/0", ROUTER)
add_route(100, "::/0", ROUTER)
add_route(100, "10.1.0.0/16")
vip = vm1.add_vip(VIP)


@scenario("a VIP has an underlay address of its own, and is given once in a VNI")
def _():
    got = call("getVip", interfaceId=text("vm1"))
    equal((untext(got["vipIp"]["address"]), untext(got["underlayRoute"])), (VIP, vip))
    assert vip != vm1.underlay
    equal(refused("createVip", interfaceId=text("vm1"), vipIp=address(VIP2)), "createVip: 343 SNAT_EXISTS")
    equal(refused("createVip", interfaceId=text("vm2"), vipIp=address(VIP)), "createVip: 323 DNAT_EXISTS")
    equal(refused("createVip", interfaceId=text("vm2"), vipIp=address("2001:db8::1")), "createVip: 204 BAD_IPVER")
    equal(refused("getVip", interfaceId=text("vm2")), "getVip: 341 SNAT_NO_DATA")


@scenario("what leaves by the default route has the VIP as source and keeps its ports, and its answers come back")
def _():
    for out, back in ((TCP(sport=1000, dport=443, flags="S"), TCP(sport=443, dport=1000, flags="SA")),
                      (UDP(sport=1000, dport=53) / b"q", UDP(sport=53, dport=1000) / b"a"),
                      (ICMP(id=9, seq=2) / b"ping", ICMP(type=0, id=9, seq=2) / b"ping")):
        packet = IP(src=vm1.ipv4, dst=PUBLIC, ttl=9, id=5) / out
        vm1.send(packet)
        inner = uplink.inner(vm1.underlay, ROUTER)
        unchanged(inner, IP(src=VIP, dst=PUBLIC, ttl=9, id=5) / out)
        uplink.send(vip, IP(src=PUBLIC, dst=VIP, id=6) / back)
        unchanged(vm1.take(), IP(src=PUBLIC, dst=vm1.ipv4, id=6) / back)


@scenario("connections from outside reach the VM, ports and ping alike")
def _():
    for inward, outward in ((TCP(sport=5000, dport=22, flags="S"), TCP(sport=22, dport=5000, flags="SA")),
                            (UDP(sport=5000, dport=53) / b"q", UDP(sport=53, dport=5000) / b"a"),
                            (ICMP(id=77, seq=1) / b"ping", ICMP(type=0, id=77, seq=1) / b"ping")):
        uplink.send(vip, IP(src=PUBLIC, dst=VIP) / inward)
        unchanged(vm1.take(), IP(src=PUBLIC, dst=vm1.ipv4) / inward)
        vm1.send(IP(src=vm1.ipv4, dst=PUBLIC) / outward)
        unchanged(uplink.inner(vm1.underlay, ROUTER), IP(src=VIP, dst=PUBLIC) / outward)


@scenario("other prefixes than the default route are reached with the VM's own address, and IPv6 is not translated")
def _():
    packet = IP(src=vm1.ipv4, dst="10.1.0.9") / UDP(sport=1, dport=2) / b"x"
    vm1.send(packet)
    unchanged(uplink.inner(vm1.underlay, REMOTE), packet)
    packet = IPv6(src=vm1.ipv6, dst="2001:db8:ffff::1") / UDP(sport=1, dport=2) / b"x"
    vm1.send(packet)
    unchanged(uplink.inner(vm1.underlay, ROUTER), packet)


@scenario("the VIP's underlay address takes nothing but packets for the VIP, and the interface's none for the VIP")
def _():
    uplink.send(vip, IP(src=PUBLIC, dst=vm1.ipv4) / UDP(sport=1, dport=2))
    uplink.send(vip, IP(src=PUBLIC, dst=VIP2) / UDP(sport=1, dport=2))
    uplink.send(vm1.underlay, IP(src=PUBLIC, dst=VIP) / UDP(sport=1, dport=2))
    nothing(uplink)


@scenario("a VM that calls its own VIP hears itself from the VIP")
def _():
    for out, back in ((TCP(sport=1111, dport=80, flags="S"), TCP(sport=80, dport=1111, flags="SA")),
                      (UDP(sport=1111, dport=80) / b"q", UDP(sport=80, dport=1111) / b"a")):
        vm1.send(IP(src=vm1.ipv4, dst=VIP) / out)
        unchanged(vm1.take(), IP(src=VIP, dst=vm1.ipv4) / out)
        vm1.send(IP(src=vm1.ipv4, dst=VIP) / back)
        unchanged(vm1.take(), IP(src=VIP, dst=vm1.ipv4) / back)
    nothing(vm1)


@scenario("another VM of the host reaches the VIP without the fabric, and is answered from it")
def _():
    for out, back in ((TCP(sport=2222, dport=80, flags="S"), TCP(sport=80, dport=2222, flags="SA")),
                      (ICMP(id=5, seq=1) / b"p", ICMP(type=0, id=5, seq=1) / b"p")):
        vm2.send(IP(src=vm2.ipv4, dst=VIP) / out)
        unchanged(vm1.take(), IP(src=vm2.ipv4, dst=vm1.ipv4) / out)
        vm1.send(IP(src=vm1.ipv4, dst=vm2.ipv4) / back)
        unchanged(vm2.take(), IP(src=VIP, dst=vm2.ipv4) / back)
    nothing(vm2)


@scenario("two VMs with VIPs talk to each other by them")
def _():
    vm2.add_vip(VIP2)
    vm2.send(IP(src=vm2.ipv4, dst=VIP) / UDP(sport=3, dport=4) / b"q")
    got = vm1.take()
    equal((got.dst, got[UDP].dport), (vm1.ipv4, 4))
    vm1.send(IP(src=vm1.ipv4, dst=got.src) / UDP(sport=4, dport=3) / b"a")
    back = vm2.take()
    equal((back.src, back.dst), (VIP, vm2.ipv4))
    vm2.remove_vip()


@scenario("ICMP errors about a VIP's connections reach the VM with its own address inside, and leave with the VIP inside")
def _():
    vm1.send(IP(src=vm1.ipv4, dst=PUBLIC) / UDP(sport=1200, dport=33434) / b"trace")
    sent = uplink.inner(vm1.underlay, ROUTER)
    for kind, code in ((11, 0), (3, 3), (3, 4), (12, 0)):
        uplink.send(vip, IP(src="192.0.2.254", dst=VIP) / ICMP(type=kind, code=code, nexthopmtu=1400 if code == 4 else 0)
                    / sent)
        error = vm1.take("error")
        equal((error.src, error.dst, error[ICMP].type, error[IPerror].src, error[IPerror].dst, error[UDPerror].sport),
              ("192.0.2.254", vm1.ipv4, kind, vm1.ipv4, PUBLIC, 1200))
    uplink.send(vip, IP(src=PUBLIC, dst=VIP) / UDP(sport=1, dport=9999) / b"nobody")
    got = vm1.take()
    vm1.send(IP(src=vm1.ipv4, dst=PUBLIC) / ICMP(type=3, code=3) / got)
    error = uplink.inner(vm1.underlay, ROUTER)
    equal((error.src, error[ICMP].code, error[IPerror].src, error[IPerror].dst), (VIP, 3, PUBLIC, VIP))


@scenario("fragments are translated, later ones too")
def _():
    from scapy.layers.inet import fragment
    data = bytes(range(256)) * 6
    sent = fragment(IP(src=vm1.ipv4, dst=PUBLIC, id=4711) / UDP(sport=7000, dport=8000) / data, 600)
    want = fragment(IP(src=VIP, dst=PUBLIC, id=4711) / UDP(sport=7000, dport=8000) / data, 600)
    for piece, expected in zip(sent, want):
        vm1.send(piece)
        unchanged(uplink.inner(vm1.underlay, ROUTER), expected)
    back = fragment(IP(src=PUBLIC, dst=VIP, id=4712) / UDP(sport=8000, dport=7000) / data, 600)
    want = fragment(IP(src=PUBLIC, dst=vm1.ipv4, id=4712) / UDP(sport=8000, dport=7000) / data, 600)
    for piece, expected in zip(back, want):
        uplink.send(vip, piece)
        unchanged(vm1.take(), expected)


@scenario("a removed VIP is neither source nor destination any more, at once, and another VM may have it")
def _():
    packet = IP(src=vm1.ipv4, dst=PUBLIC) / UDP(sport=1000, dport=53) / b"q"
    vm1.send(packet)
    equal(uplink.inner().src, VIP)
    vm1.remove_vip()
    vm1.send(packet)
    # The flow's first packet after the change may end it; what follows is decided as a new one.
    vm1.send(packet)
    equal(uplink.take("untranslated", lambda frame: IP in frame and frame[IP].src == vm1.ipv4)[IP].src, vm1.ipv4)
    uplink.send(vip, IP(src=PUBLIC, dst=VIP) / UDP(sport=53, dport=1000) / b"a")
    nothing(uplink)
    again = vm2.add_vip(VIP)
    assert again != vip
    uplink.send(again, IP(src=PUBLIC, dst=VIP) / UDP(sport=53, dport=1000) / b"a")
    equal(vm2.take().dst, vm2.ipv4)
    vm2.remove_vip()


main()
