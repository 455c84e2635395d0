"""Two links to the fabric: flows by weight, a link that goes down, and one that comes back."""
from suite import *

first = start(uplink_flags=(",weight=3", f",weight=1,peer={ROUTER_MAC}"))
second = uplinks[1]
vm1 = Vm(1, 100, "10.0.0.1", "2001:db8:1::1").create()
add_route(100, "10.1.0.0/16")
add_route(100, "2001:db8:2::/64")
FLOWS = 200


def flow(number, six):
    head = IPv6(src=vm1.ipv6, dst="2001:db8:2::9") if six else IP(src=vm1.ipv4, dst="10.1.0.9")
    return head / UDP(sport=1000 + number, dport=53) / b"x"


def spread(six):
    """Which link each flow leaves by."""
    found = {}
    for number in range(FLOWS):
        vm1.send(flow(number, six))
    barrier(vm1)
    for number, link in enumerate(uplinks):
        while len(found) < FLOWS and (frame := link.port.read(0.02)) is not None:
            if not is_noise(frame) and UDP in frame:
                verify(frame)
                found[frame[UDP].sport - 1000] = number
    return found


def wait_for(condition, what):
    """The state of a link is looked at ten times a second."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if condition():
            return
    raise AssertionError(what)


@scenario("flows of both families are shared by weight, and each stays on its link")
def _():
    for six in (False, True):
        found = spread(six)
        equal(len(found), FLOWS)
        share = sum(1 for link in found.values() if link == 0) / FLOWS
        assert 0.6 < share < 0.9, f"{share} by the first link, of weight 3 to 1"
        equal(spread(six), found)


@scenario("packets from either link are delivered")
def _():
    for link in uplinks:
        packet = IP(src="10.1.0.9", dst=vm1.ipv4) / UDP(sport=1, dport=2) / b"x"
        link.send(vm1.underlay, packet)
        unchanged(vm1.take(), packet)


@scenario("when a link goes down everything leaves by the other, IPv6 too, and comes back with it")
def _():
    before = {six: spread(six) for six in (False, True)}
    for down, other in ((0, 1), (1, 0)):
        set_flags(uplinks[down].port.device, False)
        number = [0]

        def moved():
            vm1.send(flow(next(n for n, link in before[False].items() if link == down), False))
            frame = uplinks[other].port.read(0.05)
            return frame is not None and UDP in frame

        wait_for(moved, f"flows of link {down} did not move")
        for six in (False, True):
            uplinks[other].port.drain()
            found = spread(six)
            equal(set(found.values()), {other})
            equal(len(found), FLOWS)
        set_flags(uplinks[down].port.device, True)

        def returned():
            uplinks[down].port.drain()
            vm1.send(flow(next(n for n, link in before[False].items() if link == down), False))
            frame = uplinks[down].port.read(0.05)
            return frame is not None and UDP in frame

        wait_for(returned, f"flows of link {down} did not come back")
        for link in uplinks:
            link.port.drain()
        for six in (False, True):
            equal(spread(six), before[six])


@scenario("each frame carries the MAC of the link that it leaves by")
def _():
    for number in range(20):
        vm1.send(flow(number, False))
    barrier(vm1)
    seen = 0
    for link in uplinks:
        for frame in link.port.drain():
            if UDP in frame:
                equal(frame.src, link.mac)
                seen += 1
    equal(seen, 20)


@scenario("a link with a peer sends its packets to it, and asks nobody for a neighbour")
def _():
    for number in range(40):
        vm1.send(flow(number, False))
    barrier(vm1)
    frames = second.port.drain()
    equal({(frame.dst, frame[IPv6].nh) for frame in frames}, {(ROUTER_MAC, 4)})


@scenario("a link without one sends to who was heard on it last, and before that to everybody")
def _():
    first.send(vm1.underlay, IP(src="10.1.0.9", dst=vm1.ipv4) / UDP(sport=1, dport=2) / b"x")
    vm1.take()
    for number in range(40):
        vm1.send(flow(number, False))
    barrier(vm1)
    equal({frame.dst for frame in first.port.drain() if UDP in frame}, {ROUTER_MAC})


main()
