"""VMs of one host in two virtual networks, who meet by public addresses and the fabric's router."""
from suite import *

uplink = start()
VIP1, VIP3, NAT2, NAT4, LB = "198.51.100.1", "198.51.100.3", "198.51.100.12", "198.51.100.14", "198.51.100.50"
vm1 = Vm(1, 100, "10.0.0.1").create()
vm2 = Vm(2, 100, "10.0.0.2").create()
vm3 = Vm(3, 200, "10.0.0.1").create()
vm4 = Vm(4, 200, "10.0.0.2").create()
for vm in (vm1, vm2, vm3, vm4):
    barrier(vm)
for vni in (100, 200):
    add_route(vni, "0.0.0.0/0", ROUTER)
# Where the router sends what is for each public address.
ways = {VIP1: vm1.add_vip(VIP1), VIP3: vm3.add_vip(VIP3), NAT2: vm2.add_nat(NAT2, 100, 200),
        NAT4: vm4.add_nat(NAT4, 300, 400)}


def through(sender, packet, receiver):
    """What the receiver gets of it, by the fabric; and the router's view of it."""
    sender.send(packet)
    inner = uplink.inner(sender.underlay, ROUTER)
    uplink.send(ways[inner.dst], inner)
    return receiver.take(), inner


@scenario("VIP to VIP: each sees the other's")
def _():
    got, _seen = through(vm1, IP(src=vm1.ipv4, dst=VIP3) / TCP(sport=1000, dport=80, flags="S"), vm3)
    equal((got.src, got.dst, got[TCP].dport), (VIP1, vm3.ipv4, 80))
    got, _seen = through(vm3, IP(src=vm3.ipv4, dst=VIP1) / TCP(sport=80, dport=1000, flags="SA"), vm1)
    equal((got.src, got.dst, got[TCP].sport), (VIP3, vm1.ipv4, 80))


@scenario("NAT to VIP, and the answer finds back")
def _():
    for payload, answer in ((TCP(sport=1001, dport=80, flags="S"), lambda port: TCP(sport=80, dport=port, flags="SA")),
                            (ICMP(id=1001) / b"x", lambda port: ICMP(type=0, id=port) / b"x")):
        got, _seen = through(vm2, IP(src=vm2.ipv4, dst=VIP3) / payload, vm3)
        port = got[ICMP].id if ICMP in got else got[TCP].sport
        assert got.src == NAT2 and 100 <= port < 200
        back, _seen = through(vm3, IP(src=vm3.ipv4, dst=NAT2) / answer(port), vm2)
        equal((back.src, back.dst, back[ICMP].id if ICMP in back else back[TCP].dport), (VIP3, vm2.ipv4, 1001))


@scenario("a ping from a VM behind a NAT to another NAT of the host is answered by the host")
def _():
    vm2.send(IP(src=vm2.ipv4, dst=NAT4) / ICMP(id=77, seq=3) / b"x")
    inner = uplink.inner(vm2.underlay, ROUTER)
    uplink.send(ways[NAT4], inner)
    answer = uplink.inner(ways[NAT4], ROUTER)
    equal((answer.src, answer.dst, answer[ICMP].type), (NAT4, NAT2, 0))
    uplink.send(ways[NAT2], answer)
    equal((vm2.take()[ICMP].id), 77)


@scenario("NAT and VIP to a balancer of another virtual network, whose target is a VM of the host")
def _():
    target = vm3.add_balancer_prefix(LB + "/32")
    ways[LB] = add_balancer("lb", 200, LB, ["TCP/80"])
    add_target("lb", target)
    for client, public in ((vm2, NAT2), (vm1, VIP1)):
        for out, back in (("S", "SA"), ("A", "PA"), ("FA", "FA")):
            got, seen = through(client, IP(src=client.ipv4, dst=LB) / TCP(sport=2000, dport=80, flags=out), vm3)
            equal((got.src, got.dst, got[TCP].sport), (public, LB, seen[TCP].sport))
            answer, _seen = through(vm3, IP(src=LB, dst=public) / TCP(sport=80, dport=got[TCP].sport, flags=back), client)
            equal((answer.src, answer.dst, answer[TCP].dport), (LB, client.ipv4, 2000))
    remove_balancer("lb")
    vm3.remove_balancer_prefix(LB + "/32")


@scenario("addresses that both networks use do not mix up their connections")
def _():
    for vm, public in ((vm1, VIP1), (vm3, VIP3)):
        vm.send(IP(src=vm.ipv4, dst=PUBLIC) / UDP(sport=5000, dport=53) / public.encode())
        inner = uplink.inner(vm.underlay, ROUTER)
        equal((inner.src, inner[UDP].sport), (public, 5000))
    for vm, public in ((vm3, VIP3), (vm1, VIP1)):
        uplink.send(ways[public], IP(src=PUBLIC, dst=public) / UDP(sport=53, dport=5000) / b"a")
        equal(vm.take().dst, vm.ipv4)
    nothing(uplink)


main()
