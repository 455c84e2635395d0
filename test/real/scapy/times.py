"""How long flows live, with --flow-timeout 2: what ends is seen by what is let in, and by ports that are free again."""
from suite import *

NAT = "198.51.100.10"
T = 2
uplink = start("--flow-timeout", str(T))
vm1 = Vm(1, 100, "10.0.0.1").create()
vm2 = Vm(2, 100, "10.0.0.2").create()
vm3 = Vm(3, 100, "10.0.0.3").create()
add_route(100, "0.0.0.0/0", ROUTER)
nat = vm1.add_nat(NAT, 1000, 1100)
small = vm2.add_nat(NAT, 2000, 2003)
vm3.add_rule("closed", tcp=(None, (1, 1)))


def inbound(port, kind=UDP, **more):
    return IP(src=PUBLIC, dst=NAT) / kind(sport=53, dport=port, **more)


def out(vm, payload):
    vm.send(IP(src=vm.ipv4, dst=PUBLIC) / payload)
    return uplink.inner(vm.underlay, ROUTER)


def is_in(vm, underlay, packet):
    uplink.send(underlay, packet)
    return vm.take(packet.summary())


def talk(sport):
    """A TCP connection of vm1 that is established; its public port."""
    port = out(vm1, TCP(sport=sport, dport=53, flags="S")).sport
    is_in(vm1, nat, inbound(port, TCP, flags="SA"))
    out(vm1, TCP(sport=sport, dport=53, flags="A"))
    return port


@scenario("idle flows end after the timeout, established and answered ones do not, and ports come back")
def _():
    # All kinds begin together, so that one wait is enough for all.
    unanswered = out(vm1, UDP(sport=100, dport=53) / b"q")[UDP].sport
    answered = out(vm1, UDP(sport=101, dport=53) / b"q")[UDP].sport
    is_in(vm1, nat, inbound(answered))
    half = out(vm1, TCP(sport=102, dport=53, flags="S"))[TCP].sport
    established = talk(103)
    finished = talk(104)
    out(vm1, TCP(sport=104, dport=53, flags="FA"))
    is_in(vm1, nat, inbound(finished, TCP, flags="FA"))
    reset = talk(105)
    is_in(vm1, nat, inbound(reset, TCP, flags="R"))
    ecn = out(vm1, TCP(sport=106, dport=53, flags="SEC"))[TCP].sport
    is_in(vm1, nat, inbound(ecn, TCP, flags="SAE"))
    out(vm1, TCP(sport=106, dport=53, flags="PA") / b"at once")
    is_in(vm1, nat, inbound(half, TCP, flags="SA"))
    # vm2 uses up its three ports.
    for sport in range(3):
        out(vm2, UDP(sport=200 + sport, dport=53) / b"q")
    vm2.send(IP(src=vm2.ipv4, dst=PUBLIC) / UDP(sport=203, dport=53))
    nothing(vm2)
    # And vm3 is asked by nobody but whom it asked.
    vm3.send(IP(src=vm3.ipv4, dst=PUBLIC) / UDP(sport=300, dport=53) / b"q")
    uplink.take()
    began = time.monotonic()
    # What is used does not end: the first of vm2's ports is, once in a while. The ports of what ended are free when the
    # whole table was looked at, which takes two seconds more.
    while time.monotonic() < began + T + 2.3:
        select.select([], [], [], 0.4)
        out(vm2, UDP(sport=200, dport=53) / b"again")
    for name, port, kind in (("unanswered", unanswered, UDP), ("half open", half, TCP), ("finished", finished, TCP),
                             ("reset", reset, TCP)):
        uplink.send(nat, inbound(port, kind, **({"flags": "A"} if kind is TCP else {})))
    uplink.send(vm3.underlay, IP(src=PUBLIC, dst=vm3.ipv4) / UDP(sport=53, dport=300))
    nothing(uplink)
    is_in(vm1, nat, inbound(answered))
    is_in(vm1, nat, inbound(established, TCP, flags="A"))
    is_in(vm1, nat, inbound(ecn, TCP, flags="A"))
    ports = {out(vm2, UDP(sport=210 + sport, dport=54) / b"q")[UDP].sport for sport in range(2)}
    equal(len(ports), 2)
    assert out(vm2, UDP(sport=200, dport=53))[UDP].sport not in ports


@scenario("a new SYN on the ports of a connection that ended begins a new one")
def _():
    port = talk(400)
    out(vm1, TCP(sport=400, dport=53, flags="FA"))
    is_in(vm1, nat, inbound(port, TCP, flags="FA"))
    again = talk(400)
    began = time.monotonic()
    while time.monotonic() < began + T + 0.3:
        select.select([], [], [], 0.5)
    is_in(vm1, nat, inbound(again, TCP, flags="A"))


main()
