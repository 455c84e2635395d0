"""Rates of interfaces: what leaves to the world, and all."""
from suite import *

uplink = start()
LIMITS = {"totalRate": "100", "publicRate": "8"}
vm1 = Vm(1, 100, "10.0.0.1", "2001:db8:1::1", meteringParameters=LIMITS).create()
vm2 = Vm(2, 100, "10.0.0.2", meteringParameters={"totalRate": "8"}).create()
vm3 = Vm(3, 100, "10.0.0.3").create()
for where in ("0.0.0.0/0", "::/0"):
    add_route(100, where, ROUTER)
add_route(100, "10.1.0.0/16")
BUCKET = 128 * 1024


def flood(vm, destination, count, sport):
    """How many of so many packets of 1,400 bytes, sent at once, come out by the uplink, and how long it took."""
    packet = (IP(src=vm.ipv4, dst=destination) / UDP(sport=sport, dport=9)) / (b"m" * 1372)
    frame = bytes(vm.frame(packet))
    uplink.port.drain()
    began = time.monotonic()
    for _i in range(count):
        while True:
            try:
                vm.port.socket.send(frame)
                break
            except (BlockingIOError, OSError):
                select.select([], [vm.port.socket], [], 1)
    barrier(vm)
    took = time.monotonic() - began
    data, came = b"", 0
    while (frame := uplink.port.read(0.02)) is not None:
        came += UDP in frame and frame[UDP].sport == sport
    return came * 1400, took


@scenario("what an interface was given is what it has")
def _():
    got = call("getInterface", interfaceId=text("vm1"))["interface"]
    equal((got["meteringParams"]["totalRate"], got["meteringParams"]["publicRate"]), ("100", "8"))
    equal(refused("createInterface", interfaceId=text("bad"), vni=100, deviceName="net_tap5",
                  ipv4Config={"primaryAddress": text("10.0.0.9")}, ipv6Config={"primaryAddress": text("::")},
                  meteringParameters={"totalRate": "1", "publicRate": "2"}), "createInterface: 383 PORT_METER")


@scenario("packets by the default route are held to the public rate, others are not")
def _():
    passed, took = flood(vm1, PUBLIC, 400, 1000)
    allowed = BUCKET + took * 1e6 + 3000
    assert BUCKET - 3000 <= passed <= allowed, f"{passed} bytes passed in {took:.3f} s, {allowed:.0f} allowed"
    passed, took = flood(vm1, "10.1.0.9", 100, 1001)
    equal(passed, 140000, "bytes by another route")


@scenario("everything that a VM sends is held to the total rate")
def _():
    passed, took = flood(vm2, "10.1.0.9", 400, 1002)
    allowed = BUCKET + took * 1e6 + 3000
    assert BUCKET - 3000 <= passed <= allowed, f"{passed} bytes passed in {took:.3f} s, {allowed:.0f} allowed"


@scenario("an interface without rates is held to none")
def _():
    passed, _took = flood(vm3, PUBLIC, 400, 1003)
    equal(passed, 560000)


main()
