"""Rules of interfaces, as clients of dpservice write them; and that they are held."""
from suite import *

uplink = start()
FAR = "10.1.0.9"
FAR6 = "2001:db8:2::9"
vms = {}


def fresh(number, vni=100):
    """An interface that has no rules and no flows."""
    if number in vms:
        vms[number].delete()
    vms[number] = Vm(number, vni, f"10.0.0.{number}", f"2001:db8:1::{number}").create()
    barrier(vms[number])  # its MAC is known then
    return vms[number]


fresh(4)  # keeps the VNI and its routes
add_route(100, "10.1.0.0/16")
add_route(100, "2001:db8:2::/64")


def comes(vm, packet):
    uplink.send(vm.underlay, packet, REMOTE)
    unchanged(vm.take(packet.summary()), packet)


def stays(vm, *packets):
    for packet in packets:
        uplink.send(vm.underlay, packet, REMOTE)
    nothing(uplink)


def leaves(vm, packet):
    vm.send(packet)
    unchanged(uplink.inner(vm.underlay, what=packet.summary()), packet)


def kept(vm, *packets):
    for packet in packets:
        vm.send(packet)
    nothing(vm)


def udp(vm, sport=1, dport=2):
    return IP(src=FAR, dst=vm.ipv4) / UDP(sport=sport, dport=dport) / b"x"


def out(vm, sport=1, dport=2):
    return IP(src=vm.ipv4, dst=FAR) / UDP(sport=sport, dport=dport) / b"x"


@scenario("an interface without a rule accepts everything")
def _():
    vm = fresh(1)
    comes(vm, udp(vm))
    leaves(vm, out(vm))


@scenario("with a rule of ingress, only what rules accept comes in, and everything leaves")
def _():
    vm = fresh(1)
    vm.add_rule("ssh", tcp=(None, (22, 22)))
    comes(vm, IP(src=FAR, dst=vm.ipv4) / TCP(sport=5, dport=22, flags="S"))
    stays(vm, IP(src=FAR, dst=vm.ipv4) / TCP(sport=5, dport=23, flags="S"), udp(vm, 5, 22),
          IP(src=FAR, dst=vm.ipv4) / ICMP(id=1))
    leaves(vm, out(vm))


@scenario("with a rule of egress, only what rules accept leaves, and ingress is closed too")
def _():
    vm = fresh(1)
    vm.add_rule("dns", "EGRESS", udp=(None, (53, 53)))
    leaves(vm, out(vm, 9, 53))
    kept(vm, out(vm, 9, 54), IP(src=vm.ipv4, dst=FAR) / TCP(sport=9, dport=53, flags="S"))
    stays(vm, udp(vm, 7, 8))


@scenario("answers to what was accepted come in without a rule, and ICMP errors about it")
def _():
    vm = fresh(1)
    vm.add_rule("nothing", tcp=(None, (1, 1)))
    stays(vm, udp(vm, 53, 1000))
    leaves(vm, out(vm, 1000, 53))
    comes(vm, udp(vm, 53, 1000))
    stays(vm, udp(vm, 53, 1001))
    quoted = out(vm, 1000, 53)
    comes(vm, IP(src="10.1.0.254", dst=vm.ipv4) / ICMP(type=3, code=3) / quoted)
    stays(vm, IP(src="10.1.0.254", dst=vm.ipv4) / ICMP(type=3, code=3) / out(vm, 1002, 53))


@scenario("DROP rules drop, the lowest priority number decides, and of equals the older one")
def _():
    vm = fresh(1)
    vm.add_rule("all", priority=1000)
    vm.add_rule("not-7", action="DROP", priority=500, udp=(None, (7000, 7999)))
    vm.add_rule("but-77", priority=100, udp=(None, (7700, 7700)))
    vm.add_rule("older", priority=50, udp=(None, (9000, 9000)))
    vm.add_rule("younger", action="DROP", priority=50, udp=(None, (9000, 9000)))
    comes(vm, udp(vm, 1, 6999))
    comes(vm, udp(vm, 1, 7700))
    comes(vm, udp(vm, 1, 8000))
    comes(vm, udp(vm, 1, 9000))
    stays(vm, udp(vm, 1, 7000), udp(vm, 1, 7999))


@scenario("source and destination prefixes and source ports are matched")
def _():
    vm = fresh(1)
    vm.add_prefix("10.60.0.0/24")
    vm.add_rule("one", source="10.1.0.8/31", destination="10.0.0.1/32", udp=((100, 200), None))
    comes(vm, udp(vm, 100))
    comes(vm, udp(vm, 200))
    stays(vm, udp(vm, 99), udp(vm, 201),
          IP(src="10.1.0.10", dst=vm.ipv4) / UDP(sport=100, dport=2),
          IP(src="10.1.0.7", dst=vm.ipv4) / UDP(sport=100, dport=2))
    vm.remove_prefix("10.60.0.0/24")


@scenario("ICMP is matched by type and code, and -1 is any")
def _():
    vm = fresh(1)
    vm.add_rule("echo", icmp=(8, -1))
    vm.add_rule("stamp", icmp=(13, 0))
    stays(vm, IP(src=FAR, dst=vm.ipv4) / ICMP(type=13, code=1), IP(src=FAR, dst=vm.ipv4) / ICMP(type=0, id=4), udp(vm))
    comes(vm, IP(src=FAR, dst=vm.ipv4) / ICMP(type=8, id=3))
    comes(vm, IP(src=FAR, dst=vm.ipv4) / ICMP(type=13))
    vm.add_rule("any", icmp=(-1, -1))
    comes(vm, IP(src=FAR, dst=vm.ipv4) / ICMP(type=0, id=4))


@scenario("IPv6 has rules of its own, with prefixes longer than 32")
def _():
    vm = fresh(1)
    packet = IPv6(src=FAR6, dst=vm.ipv6) / UDP(sport=1, dport=2) / b"x"
    echo = IPv6(src=FAR6, dst=vm.ipv6) / ICMPv6EchoRequest(id=6)
    vm.add_rule("four", udp=(None, None))
    comes(vm, udp(vm))
    stays(vm, packet, echo)
    vm.add_rule("six", source="2001:db8:2::/64", destination="::/0", udp=(None, None))
    vm.add_rule("ping6", source="2001:db8:2::/64", destination="2001:db8:1::1/128", icmp=(128, 0))
    comes(vm, packet)
    comes(vm, echo)
    stays(vm, IPv6(src="2001:db8:2:1::9", dst=vm.ipv6) / UDP(sport=1, dport=2))
    got = call("getFirewallRule", interfaceId=text(vm.id), ruleId=text("six"))["rule"]
    equal((got["sourcePrefix"]["length"], got["protocolFilter"]["udp"]["dstPortLower"]), (64, -1))


@scenario("between VMs of a host the sender's egress and the receiver's ingress are both asked")
def _():
    one, two = fresh(1), fresh(2)
    two.add_rule("in", udp=(None, (80, 90)))
    one.add_rule("out", "EGRESS", udp=(None, (85, 95)))
    for port, passes in ((80, False), (85, True), (90, True), (95, False)):
        packet = IP(src=one.ipv4, dst=two.ipv4) / UDP(sport=5, dport=port) / b"x"
        one.send(packet)
        if passes:
            unchanged(two.take(), packet)
            back = IP(src=two.ipv4, dst=one.ipv4) / UDP(sport=port, dport=5) / b"y"
            two.send(back)
            unchanged(one.take(), back)
        else:
            nothing(one)


@scenario("removing a rule ends the flows that it let in, and a new rule that denies does too")
def _():
    vm = fresh(1)
    vm.add_rule("a", udp=(None, (1000, 1000)))
    vm.add_rule("b", udp=(None, (2000, 2000)))
    comes(vm, udp(vm, 5, 1000))
    comes(vm, udp(vm, 5, 2000))
    vm.remove_rule("a")
    stays(vm, udp(vm, 5, 1000))
    comes(vm, udp(vm, 5, 2000))
    vm.add_rule("no", action="DROP", priority=1)
    stays(vm, udp(vm, 5, 2000))
    vm.remove_rule("no")
    comes(vm, udp(vm, 5, 2000))
    vm.remove_rule("b")
    comes(vm, udp(vm, 5, 3000))


@scenario("rules are listed as they were made, and one id is taken once")
def _():
    vm = fresh(1)
    vm.add_rule("x", priority=7, source="10.1.0.0/16", tcp=((1, 2), (3, 4)))
    vm.add_rule("y", "EGRESS", icmp=(8, 0))
    rules = call("listFirewallRules", interfaceId=text(vm.id))["rules"]
    equal(sorted(untext(one["id"]) for one in rules), ["x", "y"])
    rule = next(one for one in rules if untext(one["id"]) == "x")
    equal((rule["priority"], rule["action"], untext(rule["sourcePrefix"]["ip"]["address"]), rule["sourcePrefix"]["length"],
           rule["protocolFilter"]["tcp"]),
          (7, "ACCEPT", "10.1.0.0", 16,
           {"srcPortLower": 1, "srcPortUpper": 2, "dstPortLower": 3, "dstPortUpper": 4}))
    try:
        vm.add_rule("x")
        raise AssertionError("taken twice")
    except Refused as reason:
        equal(str(reason), "createFirewallRule: 202 ALREADY_EXISTS")
    equal(refused("deleteFirewallRule", interfaceId=text(vm.id), ruleId=text("z")), "deleteFirewallRule: 201 NOT_FOUND")
    equal(refused("listFirewallRules", interfaceId=text("nobody")), "listFirewallRules: 205 NO_VM")


@scenario("rules of a VM with public addresses are about its own address, both ways")
def _():
    vm = fresh(1)
    add_route(100, "0.0.0.0/0", ROUTER)
    vip = vm.add_vip("198.51.100.1")
    vm.add_rule("in", destination="10.0.0.1/32", tcp=(None, (22, 22)))
    vm.add_rule("out", "EGRESS", source="10.0.0.1/32", udp=(None, (53, 53)))
    uplink.send(vip, IP(src=PUBLIC, dst="198.51.100.1") / TCP(sport=5, dport=22, flags="S"))
    equal(vm.take().dst, "10.0.0.1")
    vm.send(IP(src="10.0.0.1", dst=PUBLIC) / TCP(sport=22, dport=5, flags="SA"))
    equal(uplink.inner(vm.underlay, ROUTER).src, "198.51.100.1")
    uplink.send(vip, IP(src=PUBLIC, dst="198.51.100.1") / TCP(sport=5, dport=23, flags="S"))
    nothing(uplink)
    nat = vm.add_nat("198.51.100.2", 100, 200)
    vm.send(IP(src="10.0.0.1", dst=PUBLIC) / UDP(sport=1000, dport=53) / b"q")
    port = uplink.inner(vm.underlay, ROUTER)[UDP].sport
    uplink.send(nat, IP(src=PUBLIC, dst="198.51.100.2") / UDP(sport=53, dport=port) / b"a")
    equal(vm.take()[UDP].dport, 1000)
    kept(vm, IP(src="10.0.0.1", dst=PUBLIC) / UDP(sport=1000, dport=54) / b"q")
    remove_route(100, "0.0.0.0/0", ROUTER)


@scenario("a deleted interface takes its public addresses, prefixes and rules along, and others may have them")
def _():
    add_route(100, "0.0.0.0/0", ROUTER)
    vm = fresh(1)
    prefixes = [vm.add_prefix("10.70.0.0/24"), vm.add_balancer_prefix("198.51.100.60/32")]
    olds = [*prefixes, vm.add_vip("198.51.100.1"), vm.add_nat("198.51.100.2", 100, 200)]
    vm.add_rule("closed", action="DROP")
    vm.delete()
    for underlay, destination in zip(olds, ("10.70.0.1", "198.51.100.60", "198.51.100.1", "198.51.100.2")):
        uplink.send(underlay, IP(src=PUBLIC, dst=destination) / ICMP(id=1))
    nothing(uplink)
    other = fresh(2)
    news = [other.add_prefix("10.70.0.0/24"), other.add_balancer_prefix("198.51.100.60/32"),
            other.add_vip("198.51.100.1"), other.add_nat("198.51.100.2", 100, 200)]
    assert not set(news) & set(olds)
    uplink.send(news[0], IP(src=PUBLIC, dst="10.70.0.1") / UDP(sport=1, dport=2))
    other.take()
    uplink.send(news[2], IP(src=PUBLIC, dst="198.51.100.1") / UDP(sport=1, dport=2))
    other.take()
    del vms[1]
    again = fresh(1)
    comes(again, udp(again))
    remove_route(100, "0.0.0.0/0", ROUTER)


@scenario("services of the gateway need no rule")
def _():
    vm = fresh(1)
    vm.add_rule("none", action="DROP", priority=0)
    vm.add_rule("none-out", "EGRESS", "DROP", priority=0)
    barrier(vm)
    vm.send(IP(src=vm.ipv4, dst=GATEWAY) / ICMP(id=1) / b"x")
    equal(vm.take()[ICMP].type, 0)


@scenario("a hundred rules of an interface decide as few do")
def _():
    vm = fresh(1)
    for number in range(100):
        vm.add_rule(f"r{number}", priority=number, source=f"10.1.{number}.0/24",
                    action="DROP" if number % 3 == 0 else "ACCEPT", udp=(None, (number, number + 100)))
    for number in (0, 1, 33, 50, 98, 99):
        packet = IP(src=f"10.1.{number}.9", dst=vm.ipv4) / UDP(sport=1, dport=number + 50) / b"x"
        if number % 3 == 0:
            stays(vm, packet)
        else:
            comes(vm, packet)
    stays(vm, IP(src="10.1.1.9", dst=vm.ipv4) / UDP(sport=1, dport=102))


main()
