"""Load balancers: packets go to a target unchanged, and the target answers the client itself."""
from suite import *

LB, LB6, LB2 = "198.51.100.50", "2001:db8:50::1", "198.51.100.51"
FAR = "fc00:2::d0:%d"
uplink = start()
vm1 = Vm(1, 100, "10.0.0.1", "2001:db8:1::1").create()
vm2 = Vm(2, 100, "10.0.0.2", "2001:db8:1::2").create()
vm3 = Vm(3, 100, "10.0.0.3", "2001:db8:1::3").create()
add_route(100, "0.0.0.0/0", ROUTER)
add_route(100, "::/0", ROUTER)
lb = add_balancer("lb", 100, LB, ["TCP/80", "UDP/53"])
lb6 = add_balancer("lb6", 100, LB6, ["TCP/80"])


def syn(sport, destination=LB, dport=80, source=PUBLIC):
    return IP(src=source, dst=destination) / TCP(sport=sport, dport=dport, flags="S", seq=7)


def syn6(sport):
    return IPv6(src="2001:db8:ffff::9", dst=LB6) / TCP(sport=sport, dport=80, flags="S", seq=7)


def chosen(packet, underlay, source):
    """The target that it is relayed to, unchanged."""
    uplink.send(underlay, packet)
    outer = uplink.take()
    unchanged(outer.payload, packet)
    assert same(outer.src, source), f"outer source {outer.src}, not {source}"
    equal((outer.hlim, outer.nh), (64, 4 if isinstance(packet, IP) else 41))
    return outer.dst


@scenario("a balancer is listed with its ports, and an address is balanced once")
def _():
    got = call("getLoadBalancer", loadbalancerId=text("lb"))
    equal((untext(got["loadbalancedIp"]["address"]), got["vni"], untext(got["underlayRoute"]),
           sorted((one["protocol"], one["port"]) for one in got["loadbalancedPorts"])),
          (LB, 100, lb, [("TCP", 80), ("UDP", 53)]))
    equal(refused("createLoadBalancer", loadbalancerId=text("other"), vni=100, loadbalancedIp=address(LB),
                  loadbalancedPorts=[]), "createLoadBalancer: 202 ALREADY_EXISTS")
    equal(refused("createLoadBalancerTarget", loadbalancerId=text("none"), targetIp=address(FAR % 1)),
          "createLoadBalancerTarget: 422 NO_LB")


@scenario("without a target nothing comes out, and a ping of its address is answered, of both families")
def _():
    uplink.send(lb, syn(1000))
    uplink.send(lb6, syn6(1000))
    nothing(uplink)
    uplink.send(lb, IP(src=PUBLIC, dst=LB, ttl=3) / ICMP(id=5, seq=6) / b"hello")
    answer = uplink.inner(lb, ROUTER)
    equal((answer.src, answer.dst, answer.ttl, answer[ICMP].type, answer[ICMP].id, answer[ICMP].seq, answer[Raw].load),
          (LB, PUBLIC, 64, 0, 5, 6, b"hello"))
    uplink.send(lb6, IPv6(src="2001:db8:ffff::9", dst=LB6, hlim=3) / ICMPv6EchoRequest(id=5, seq=6, data=b"hello"))
    answer = uplink.inner(lb6, ROUTER)
    equal((answer.src, answer.dst, answer.hlim, answer[ICMPv6EchoReply].id, answer[ICMPv6EchoReply].data),
          (LB6, "2001:db8:ffff::9", 64, 5, b"hello"))


@scenario("a connection is relayed to one of the remote targets, and stays there when others come and go")
def _():
    targets = [FAR % i for i in range(1, 4)]
    for target in targets:
        add_target("lb", target)
    listed = call("listLoadBalancerTargets", loadbalancerId=text("lb"))["targetIps"]
    equal([untext(one["address"]) for one in listed], targets)
    first = {sport: chosen(syn(sport), lb, lb) for sport in range(2000, 2040)}
    equal(set(first.values()), set(targets), "targets used")
    for sport, target in first.items():
        equal(chosen(syn(sport), lb, lb), target)
    add_target("lb", FAR % 4)
    for sport, target in first.items():
        packet = IP(src=PUBLIC, dst=LB) / TCP(sport=sport, dport=80, flags="A", seq=8)
        equal(chosen(packet, lb, lb), target)
    fresh = {chosen(syn(sport), lb, lb) for sport in range(3000, 3060)}
    equal(fresh, {FAR % i for i in range(1, 5)}, "targets of new connections")


@scenario("connections of a removed target end with a reset and the others stay")
def _():
    first = {}
    for sport in range(4000, 4030):
        first[sport] = chosen(syn(sport), lb, lb)
        chosen(IP(src=PUBLIC, dst=LB) / TCP(sport=sport, dport=80, flags="A", seq=8), lb, lb)
    gone = FAR % 2
    assert gone in first.values()
    remove_target("lb", gone)
    for sport, target in first.items():
        packet = IP(src=PUBLIC, dst=LB) / TCP(sport=sport, dport=80, flags="PA", seq=8, ack=99) / b"more"
        if target != gone:
            equal(chosen(packet, lb, lb), target)
            continue
        uplink.send(lb, packet)
        reset = uplink.inner(lb, ROUTER, what="reset")
        equal((reset.src, reset.dst, reset[TCP].sport, reset[TCP].dport, str(reset[TCP].flags), reset[TCP].seq),
              (LB, PUBLIC, 80, sport, "R", 99))
        again = chosen(syn(sport), lb, lb)
        assert again != gone
        select.select([], [], [], 0.011)
    equal(refused("deleteLoadBalancerTarget", loadbalancerId=text("lb"), targetIp=address(gone)),
          "deleteLoadBalancerTarget: 201 NOT_FOUND")


@scenario("a datagram for a removed target is answered with an ICMP error, and the next one finds another")
def _():
    packet = IP(src=PUBLIC, dst=LB) / UDP(sport=4900, dport=53) / b"q"
    gone = chosen(packet, lb, lb)
    remove_target("lb", gone)
    uplink.send(lb, packet)
    error = uplink.inner(lb, ROUTER)
    equal((error.src, error.dst, error[ICMP].type, error[ICMP].code, error[UDPerror].sport), (LB, PUBLIC, 3, 13, 4900))
    assert chosen(packet, lb, lb) != gone
    add_target("lb", gone)


@scenario("ports that are not served, other protocols and other addresses are dropped")
def _():
    uplink.send(lb, syn(5000, dport=81))
    uplink.send(lb, IP(src=PUBLIC, dst=LB) / UDP(sport=5000, dport=80))
    uplink.send(lb, IP(src=PUBLIC, dst=LB, proto=47) / Raw(b"\0\0\x08\0abcd"))
    uplink.send(lb, syn(5000, destination=LB2))
    uplink.send(lb, IP(src=PUBLIC, dst=LB) / ICMP(type=13))
    nothing(uplink)
    assert chosen(IP(src=PUBLIC, dst=LB) / UDP(sport=5000, dport=53) / b"q", lb, lb).startswith("fc00:2::")


@scenario("an ICMP error goes to the target whose answer it is about")
def _():
    for sport in range(6000, 6010):
        target = chosen(syn(sport), lb, lb)
        quoted = IP(src=LB, dst=PUBLIC) / TCP(sport=80, dport=sport, flags="SA")
        error = IP(src="192.0.2.254", dst=LB) / ICMP(type=3, code=4, nexthopmtu=1400) / quoted
        equal(chosen(error, lb, lb), target)


@scenario("fragments of one datagram reach one target")
def _():
    from scapy.layers.inet import fragment
    for number in range(4):
        pieces = fragment(IP(src=PUBLIC, dst=LB, id=100 + number) / UDP(sport=6100 + number, dport=53) / (b"z" * 2000), 800)
        equal(len({chosen(piece, lb, lb) for piece in pieces}), 1)


@scenario("IPv6 is balanced alike, its errors and resets too")
def _():
    for number in (1, 2):
        add_target("lb6", FAR % number)
    first = {sport: chosen(syn6(sport), lb6, lb6) for sport in range(7000, 7020)}
    equal(set(first.values()), {FAR % 1, FAR % 2})
    sport = 7000
    quoted = IPv6(src=LB6, dst="2001:db8:ffff::9") / TCP(sport=80, dport=sport, flags="SA")
    error = IPv6(src="2001:db8:ffff::fe", dst=LB6) / ICMPv6PacketTooBig(mtu=1400) / quoted
    equal(chosen(error, lb6, lb6), first[sport])
    remove_target("lb6", first[sport])
    uplink.send(lb6, IPv6(src="2001:db8:ffff::9", dst=LB6) / TCP(sport=sport, dport=80, flags="A", seq=8, ack=98))
    reset = uplink.inner(lb6, ROUTER)
    equal((reset.src, reset.dst, str(reset[TCP].flags), reset[TCP].seq), (LB6, "2001:db8:ffff::9", "R", 98))


@scenario("a target of this host gets the packet by its prefix, and answers the client with the balancer's address")
def _():
    local = {vm: vm.add_balancer_prefix(LB2 + "/32") for vm in (vm1, vm2)}
    lb2 = add_balancer("lb2", 100, LB2, ["TCP/80"])
    for underlay in local.values():
        add_target("lb2", underlay)
    hit = set()
    for sport in range(8000, 8016):
        packet = syn(sport, LB2)
        uplink.send(lb2, packet)
        barrier(uplink)
        got = [vm for vm in local if (frame := vm.port.read(0.01)) is not None and
               bytes(frame.payload) == bytes(packet)]
        equal(len(got), 1, "VMs that got it")
        hit.add(got[0])
        got[0].send(IP(src=LB2, dst=PUBLIC) / TCP(sport=80, dport=sport, flags="SA", ack=8))
        answer = uplink.inner(got[0].underlay, ROUTER)
        equal((answer.src, answer.dst, answer[TCP].sport), (LB2, PUBLIC, 80))
    equal(len(hit), 2, "VMs used")
    # From another host's balancer, the same address is a target.
    packet = syn(8100, LB2)
    uplink.send(local[vm1], packet, "fc00:2::1b")
    unchanged(vm1.take(), packet)
    for vm in local:
        vm.remove_balancer_prefix(LB2 + "/32")
    uplink.send(local[vm1], packet)
    nothing(uplink)
    remove_balancer("lb2")
    uplink.send(lb2, packet)
    nothing(uplink)


@scenario("a target of this host takes IPv6 by its prefix, and nothing of another address")
def _():
    target = vm2.add_balancer_prefix("2001:db8:51::1/128")
    lb2 = add_balancer("lb2", 100, "2001:db8:51::1", ["TCP/443"])
    add_target("lb2", target)
    packet = IPv6(src="2001:db8:ffff::9", dst="2001:db8:51::1") / TCP(sport=8200, dport=443, flags="S")
    uplink.send(lb2, packet)
    unchanged(vm2.take(), packet)
    vm2.send(IPv6(src="2001:db8:51::1", dst="2001:db8:ffff::9") / TCP(sport=443, dport=8200, flags="SA"))
    equal(uplink.inner(vm2.underlay, ROUTER).src, "2001:db8:51::1")
    uplink.send(target, IPv6(src="2001:db8:ffff::9", dst="2001:db8:51::2") / TCP(sport=8200, dport=443, flags="S"))
    nothing(uplink)
    remove_balancer("lb2")
    vm2.remove_balancer_prefix("2001:db8:51::1/128")


@scenario("a VM of this host calls a balancer of this host, whose target is another VM of it")
def _():
    target = vm1.add_balancer_prefix(LB2 + "/32")
    add_balancer("lb2", 100, LB2, ["TCP/80"])
    add_target("lb2", target)
    for flags, seq in (("S", 7), ("A", 8)):
        packet = IP(src=vm3.ipv4, dst=LB2) / TCP(sport=9000, dport=80, flags=flags, seq=seq)
        vm3.send(packet)
        unchanged(vm1.take(), packet)
        if flags == "S":
            back = IP(src=LB2, dst=vm3.ipv4) / TCP(sport=80, dport=9000, flags="SA", ack=8)
            vm1.send(back)
            unchanged(vm3.take(), back)
    nothing(vm3)
    remove_target("lb2", target)
    add_target("lb2", FAR % 9)
    packet = IP(src=vm3.ipv4, dst=LB2) / TCP(sport=9001, dport=80, flags="S")
    vm3.send(packet)
    outer = uplink.take()
    unchanged(outer.payload, packet)
    assert same(outer.dst, FAR % 9), outer.dst
    remove_balancer("lb2")
    vm1.remove_balancer_prefix(LB2 + "/32")


@scenario("a VM of this host pings a balancer of this host, and hears nothing from a port that it does not serve")
def _():
    vm3.send(IP(src=vm3.ipv4, dst=LB) / ICMP(id=12, seq=1) / b"x")
    answer = vm3.take()
    equal((answer.src, answer.dst, answer[ICMP].type, answer[ICMP].id), (LB, vm3.ipv4, 0, 12))
    vm3.send(IPv6(src=vm3.ipv6, dst=LB6) / ICMPv6EchoRequest(id=12))
    equal(vm3.take().payload.type, 129)
    vm3.send(IP(src=vm3.ipv4, dst=LB) / TCP(sport=9100, dport=443, flags="S"))
    nothing(vm3)


@scenario("a route to a balancer of this host is one to its targets, from another virtual network too")
def _():
    vm4 = Vm(4, 300, "10.9.0.4").create()
    add_route(300, LB + "/32", lb, 100)
    packet = IP(src="10.9.0.4", dst=LB) / TCP(sport=9300, dport=80, flags="S")
    vm4.send(packet)
    outer = uplink.take()
    unchanged(outer.payload, packet)
    assert same(outer.src, lb) and outer.dst.startswith("fc00:2::d0:"), outer.summary()
    vm4.delete()


@scenario("a connection that carries on after its balancer was removed and made anew finds a target again")
def _():
    before = add_balancer("lb3", 100, LB2, ["TCP/80"])
    add_target("lb3", FAR % 7)
    chosen(syn(9100, LB2), before, before)
    remove_balancer("lb3")
    after = add_balancer("lb3", 100, LB2, ["TCP/80"])
    assert before != after
    add_target("lb3", FAR % 7)
    uplink.send(before, syn(9100, LB2))
    nothing(uplink)
    assert same(chosen(syn(9100, LB2), after, after), FAR % 7)
    remove_balancer("lb3")


main()
