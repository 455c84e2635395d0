"""Interfaces with an MTU of 9000: whole packets through the fabric and everything that rewrites them."""
from suite import *

NAT = "198.51.100.10"
uplink = start(mtu=9000)
vm1 = Vm(1, 100, "10.0.0.1", "2001:db8:1::1").create()
vm2 = Vm(2, 100, "10.0.0.2", "2001:db8:1::2").create()
add_route(100, "0.0.0.0/0", ROUTER)
add_route(100, "::/0", ROUTER)
add_route(100, "10.1.0.0/16")
for vm in (vm1, vm2):
    barrier(vm)  # their MACs are known then
nat = vm1.add_nat(NAT, 1000, 2000)
DATA = bytes(range(256)) * 34 + b"end"


@scenario("packets of 9000 bytes pass between VMs, to another host and from it, of both families")
def _():
    for kind, source, near, far, head in ((IP, vm1.ipv4, vm2.ipv4, "10.1.0.9", 28),
                                          (IPv6, vm1.ipv6, vm2.ipv6, "2001:db8:9::9", 48)):
        data = (DATA * 2)[:9000 - head]
        packet = kind(src=source, dst=near) / UDP(sport=1, dport=2) / data
        equal(len(bytes(packet)), 9000)
        vm1.send(packet)
        unchanged(vm2.take(), packet)
        packet = kind(src=source, dst=far) / UDP(sport=1, dport=2) / data
        vm1.send(packet)
        unchanged(uplink.inner(vm1.underlay), packet)
        packet = kind(src=far, dst=source) / UDP(sport=2, dport=1) / data
        uplink.send(vm1.underlay, packet)
        unchanged(vm1.take(), packet)


@scenario("a jumbo packet is translated by a NAT and back")
def _():
    vm1.send(IP(src=vm1.ipv4, dst=PUBLIC) / UDP(sport=4000, dport=53) / DATA)
    inner = uplink.inner(vm1.underlay, ROUTER)
    equal((inner.src, bytes(inner[UDP].payload) == DATA), (NAT, True))
    uplink.send(nat, IP(src=PUBLIC, dst=NAT) / UDP(sport=53, dport=inner[UDP].sport) / DATA)
    got = vm1.take()
    equal((got[UDP].dport, bytes(got[UDP].payload) == DATA), (4000, True))


@scenario("a jumbo packet is translated to IPv4 and back")
def _():
    vm1.send(IPv6(src=vm1.ipv6, dst="64:ff9b::cb00:7109") / UDP(sport=4100, dport=53) / DATA)
    inner = uplink.inner(vm1.underlay, ROUTER)
    equal((inner.src, bytes(inner[UDP].payload) == DATA), (NAT, True))
    uplink.send(nat, IP(src=PUBLIC, dst=NAT) / UDP(sport=53, dport=inner[UDP].sport) / DATA)
    got = vm1.take()
    equal((got[UDP].dport, bytes(got[UDP].payload) == DATA), (4100, True))


@scenario("a ping of 8900 bytes to a NAT address is answered whole")
def _():
    data = DATA[:8700]
    uplink.send(nat, IP(src=PUBLIC, dst=NAT) / ICMP(id=5, seq=1) / data)
    answer = uplink.inner(nat, ROUTER)
    equal((answer.dst, bytes(answer[ICMP].payload) == data), (PUBLIC, True))


@scenario("9001 bytes are too many, and the VM is told how many fit")
def _():
    vm1.send(IP(src=vm1.ipv4, dst="10.1.0.9", flags="DF") / UDP(sport=1, dport=2) / (b"z" * 8973))
    error = vm1.take("frag needed", lambda frame: ICMP in frame)
    equal((error[ICMP].type, error[ICMP].code, error[ICMP].nexthopmtu), (3, 4, 9000))
    nothing(vm1)


main()
