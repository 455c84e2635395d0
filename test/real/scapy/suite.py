"""What every scenario script shares: a dataplane of its own in a network namespace of its own, a client, and ports.

The script plays whoever used dpservice before: it starts the program by its command line, programs it through
`dpdkironcore.v1` alone, and stands on the kernel's side of the TAPs, as VMs on some and as the fabric's router on the
others. It knows nothing of the program but these. Packets are built and read with scapy, and moved over sockets that
stay open, so that nothing ever sleeps: who waits for a packet has a deadline, and who waits for none sends another one
behind it, whose way through the dataplane is known.

A script registers scenarios and calls `main()`. The test (scapy-harness.ts) asks for them by name, one at a time, over
stdin and stdout, a line of JSON each, and makes the calls that a scenario asks for:

    in   {"run": NAME}                                    out  {"done": NAME, "error": TEXT or null}
    in   {"code": …, "details": …, "response": {…}}       out  {"call": METHOD, "request": {…}}
"""
import atexit
import base64
import ctypes
import errno
import fcntl
import ipaddress
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
SO_RCVBUFFORCE = 33
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(CLONE_NEWNET) != 0:
    sys.exit("unshare: " + os.strerror(ctypes.get_errno()))
for scope in ("all", "default"):
    with open(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6", "w") as setting:
        setting.write("1")

import logging  # noqa: E402

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.config import conf  # noqa: E402  (it looks at the namespace's devices)

conf.verb = 0
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, TCPerror, UDPerror, ICMPerror  # noqa: E402,F401
from scapy.layers.inet6 import (  # noqa: E402,F401
    IPv6, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded,
    ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_RS, ICMPv6NDOptSrcLLAddr, ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptMTU, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPerror6, PadN,
)
from scapy.layers.l2 import ARP, Ether  # noqa: E402,F401
from scapy.packet import Raw  # noqa: E402,F401
from scapy.utils import checksum  # noqa: E402

UNDERLAY = "fc00:1::"
ROUTER = "fc00:ffff::1"
REMOTE = "fc00:2::d0:1"
ROUTER_MAC = "9a:9a:9a:9a:9a:9a"
PF_MACS = ("90:3c:b3:33:72:fb", "90:3c:b3:33:72:fc")
GATEWAY, GATEWAY6 = "169.254.0.1", "fe80::1"
BROADCAST = "ff:ff:ff:ff:ff:ff"
PUBLIC = "203.0.113.9"
SECONDS = 4.0

scenarios = {}


def scenario(name):
    """Its name is what the test file's test is called: a behaviour."""
    def register(function):
        scenarios[name] = function
        return function
    return register


# --- the test, which makes calls for us

def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class Refused(Exception):
    pass


def call(method, **request):
    """The response of a call that must succeed, as the JSON form of its message."""
    say({"call": method, "request": request})
    answer = json.loads(sys.stdin.readline())
    if answer["code"] != 0:
        raise Refused(f"{method}: gRPC {answer['code']} {answer['details']}")
    status = answer["response"].get("status", {})
    if status.get("code", 0) != 0:
        raise Refused(f"{method}: {status['code']} {status['message']}")
    return answer["response"]


def refused(method, **request):
    """The reason for which a call is refused."""
    try:
        call(method, **request)
    except Refused as reason:
        return str(reason)
    raise AssertionError(f"{method} was not refused")


def counters():
    """Drops by reason: only for the report of a failure."""
    say({"counters": True})
    return json.loads(sys.stdin.readline())


def text(value):
    return base64.b64encode(str(value).encode()).decode()


def untext(value):
    return base64.b64decode(value).decode()


def address(value):
    return {"ipver": "IPV6" if ":" in value else "IPV4", "address": text(value)}


def prefix(value):
    ip, length = value.split("/")
    return {"ip": address(ip), "length": int(length)}


def add_route(vni, where, hop=REMOTE, hop_vni=None):
    call("createRoute", vni=vni, route={
        "prefix": prefix(where), "nexthopVni": vni if hop_vni is None else hop_vni, "nexthopAddress": address(hop)})


def remove_route(vni, where, hop=REMOTE):
    call("deleteRoute", vni=vni, route={"prefix": prefix(where), "nexthopVni": vni, "nexthopAddress": address(hop)})


def add_neighbor_nat(ip, vni, least, most, underlay):
    call("createNeighborNat", natIp=address(ip), vni=vni, minPort=least, maxPort=most, underlayRoute=text(underlay))


def remove_neighbor_nat(ip, vni, least, most):
    call("deleteNeighborNat", natIp=address(ip), vni=vni, minPort=least, maxPort=most)


def add_balancer(name, vni, ip, ports):
    """Ports as "TCP/80". The underlay address."""
    pairs = [port.split("/") for port in ports]
    return untext(call("createLoadBalancer", loadbalancerId=text(name), vni=vni, loadbalancedIp=address(ip),
                       loadbalancedPorts=[{"protocol": kind, "port": int(port)} for kind, port in pairs])
                  ["underlayRoute"])


def remove_balancer(name):
    call("deleteLoadBalancer", loadbalancerId=text(name))


def add_target(name, target):
    call("createLoadBalancerTarget", loadbalancerId=text(name), targetIp=address(target))


def remove_target(name, target):
    call("deleteLoadBalancerTarget", loadbalancerId=text(name), targetIp=address(target))


# --- devices

def set_flags(device, up):
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    request = struct.pack("16sh14x", device.encode(), 0)
    flags = struct.unpack("16sh14x", fcntl.ioctl(control, 0x8913, request))[1]
    flags = flags | 1 if up else flags & ~1
    fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", device.encode(), flags))
    control.close()


def set_mtu(device, mtu):
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    fcntl.ioctl(control, 0x8922, struct.pack("16si12x", device.encode(), mtu))
    control.close()


def device_mac(device):
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    answer = fcntl.ioctl(control, 0x8927, struct.pack("16s24x", device.encode()))
    control.close()
    return answer[18:24].hex(":")


def is_noise(frame):
    """What a gateway or a fabric says unasked: neighbours and routers."""
    if ARP in frame:
        return True
    return IPv6 in frame and frame[IPv6].nh == 58 and bytes(frame[IPv6].payload)[:1] in (b"\x85", b"\x86", b"\x87",
                                                                                       b"\x88", b"\x8f")


class Port:
    """The kernel's side of one TAP."""

    def __init__(self, device):
        self.device = device
        # Guests send longer packets than they were told, and suites of tests too.
        set_mtu(device, 9100)
        set_flags(device, True)
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self.socket.bind((device, 3))
        self.socket.setblocking(False)

    def send(self, frame):
        self.socket.send(bytes(frame))

    def read(self, seconds):
        """The next frame that the dataplane sent, or None."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                data, sender = self.socket.recvfrom(1 << 17)
            except OSError as error:
                if error.errno == errno.ENETDOWN:  # said once, when the device goes down
                    continue
                if not isinstance(error, BlockingIOError):
                    raise
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                    return None
                continue
            if sender[2] != socket.PACKET_OUTGOING:
                return Ether(data)

    def drain(self):
        frames = []
        while (frame := self.read(0)) is not None:
            frames.append(frame)
        return frames

    def take(self, what="packet", match=None, seconds=SECONDS):
        """The next frame that matches; without a match, that is no noise. Its checksums are right."""
        deadline, others = time.monotonic() + seconds, []
        while (frame := self.read(max(0, deadline - time.monotonic()))) is not None:
            if match(frame) if match else not is_noise(frame):
                verify(frame)
                return frame
            others.append(frame)
        seen = "; ".join(other.summary() for other in others[:5]) or "nothing"
        raise AssertionError(f"{self.device}: no {what} came in {seconds} s, but {seen}")


def sums(data, what):
    """Checksums of an IP packet, and of what an ICMP error quotes, as far as they can be known."""
    if not data:
        return
    if data[0] >> 4 == 4:
        header, total = (data[0] & 15) * 4, struct.unpack("!H", data[2:4])[0]
        assert checksum(data[:header]) == 0, f"{what}: checksum of the IPv4 header"
        protocol, body = data[9], data[header:total]
        fragment = struct.unpack("!H", data[6:8])[0] & 0x3fff
        pseudo = data[12:20] + struct.pack("!HH", protocol, len(body))
        whole = len(data) >= total and not fragment
    else:
        protocol, length = data[6], struct.unpack("!H", data[4:6])[0]
        body, whole = data[40:40 + length], len(data) >= 40 + length
        if protocol in (4, 41):
            return sums(body, what + ", inner")
        pseudo = data[8:40] + struct.pack("!II", len(body), protocol)
    if protocol == 1:
        assert not whole or checksum(body) == 0, f"{what}: checksum of ICMP"
        if whole and body[0] in (3, 4, 5, 11, 12):
            sums(body[8:], what + ", quoted")
    elif protocol == 58 and whole:
        assert checksum(pseudo + body) == 0, f"{what}: checksum of ICMPv6"
        if body[0] < 128:
            sums(body[8:], what + ", quoted")
    elif protocol in (6, 17) and whole and not (protocol == 17 and body[6:8] == b"\0\0" and data[0] >> 4 == 4):
        assert checksum(pseudo + body) == 0, f"{what}: checksum of L4 ({protocol})"


def verify(frame):
    if frame.type in (0x0800, 0x86dd):
        sums(bytes(frame.payload), frame.summary())


# --- who is there

class Vm:
    """A VM of this host: its port, and its interface as a client makes it."""

    def __init__(self, number, vni, ipv4="0.0.0.0", ipv6="::", **more):
        self.id, self.number, self.vni, self.ipv4, self.ipv6 = f"vm{number}", number, vni, ipv4, ipv6
        self.port = vm_ports[number - 1]
        self.mac = vm_macs[number - 1]
        self.more = more
        self.underlay = ""

    def create(self):
        answer = call("createInterface", interfaceId=text(self.id), vni=self.vni, deviceName=f"net_tap{self.number + 1}",
                      ipv4Config={"primaryAddress": text(self.ipv4)}, ipv6Config={"primaryAddress": text(self.ipv6)},
                      **self.more)
        self.underlay = untext(answer["underlayRoute"])
        return self

    def delete(self):
        call("deleteInterface", interfaceId=text(self.id))

    def frame(self, packet, to=PF_MACS[0]):
        """As it sends it: with any destination, for nothing on this link looks at it."""
        return Ether(src=self.mac, dst=to) / packet

    def send(self, packet, to=PF_MACS[0]):
        self.port.send(self.frame(packet, to))

    def take(self, what="packet", match=None, seconds=SECONDS):
        """The next IP packet that reaches the VM, without its frame."""
        frame = self.port.take(what, match, seconds)
        assert frame.dst == self.mac, f"{self.id}: the frame is for {frame.dst}"
        return frame.payload

    def add_prefix(self, where):
        return untext(call("createPrefix", interfaceId=text(self.id), prefix=prefix(where))["underlayRoute"])

    def remove_prefix(self, where):
        call("deletePrefix", interfaceId=text(self.id), prefix=prefix(where))

    def add_balancer_prefix(self, where):
        return untext(call("createLoadBalancerPrefix", interfaceId=text(self.id), prefix=prefix(where))
                      ["underlayRoute"])

    def remove_balancer_prefix(self, where):
        call("deleteLoadBalancerPrefix", interfaceId=text(self.id), prefix=prefix(where))

    def add_vip(self, ip):
        return untext(call("createVip", interfaceId=text(self.id), vipIp=address(ip))["underlayRoute"])

    def remove_vip(self):
        call("deleteVip", interfaceId=text(self.id))

    def add_nat(self, ip, least, most):
        return untext(call("createNat", interfaceId=text(self.id), natIp=address(ip), minPort=least, maxPort=most)
                      ["underlayRoute"])

    def remove_nat(self):
        call("deleteNat", interfaceId=text(self.id))

    def add_rule(self, name, direction="INGRESS", action="ACCEPT", source="0.0.0.0/0", destination="0.0.0.0/0",
                 priority=1000, **filters):
        """Filters as tcp=(source, destination), udp=…, each a range or None, or icmp=(type, code)."""
        filled = {}
        for kind, value in filters.items():
            if kind == "icmp":
                filled[kind] = {"icmpType": value[0], "icmpCode": value[1]}
                continue
            (low, high), (first, last) = [ports or (-1, -1) for ports in value]
            filled[kind] = {"srcPortLower": low, "srcPortUpper": high, "dstPortLower": first, "dstPortUpper": last}
        rule = {"id": text(name), "direction": direction, "action": action, "priority": priority,
                "sourcePrefix": prefix(source), "destinationPrefix": prefix(destination)}
        call("createFirewallRule", interfaceId=text(self.id), rule={**rule, "protocolFilter": filled})

    def remove_rule(self, name):
        call("deleteFirewallRule", interfaceId=text(self.id), ruleId=text(name))


class Uplink:
    """The fabric: sends to underlay addresses, and takes what the host sends."""

    def __init__(self, number):
        self.port = Port(f"dtap{number}")
        self.mac = PF_MACS[number]

    def send(self, destination, packet, source=ROUTER, to=None, nh=None):
        kind = nh if nh is not None else 4 if isinstance(packet, IP) else 41
        self.port.send(Ether(src=ROUTER_MAC, dst=to or self.mac) /
                       IPv6(src=source, dst=destination, nh=kind, hlim=64) / packet)

    def take(self, what="packet", match=None, seconds=SECONDS):
        """The outer packet."""
        return self.port.take(what, match, seconds)[IPv6]

    def inner(self, source=None, destination=None, what="packet", match=None, seconds=SECONDS):
        """What is in the next outer packet, whose addresses must be these; and its headers what they always are."""
        outer = self.take(what, match, seconds)
        inner = outer.payload
        assert outer.nh == (4 if isinstance(inner, IP) else 41), f"next header {outer.nh}"
        assert outer.hlim == 64 and outer.tc == 0, f"hop limit {outer.hlim}, class {outer.tc}"
        assert outer.plen == len(bytes(inner)), f"payload length {outer.plen} of {len(bytes(inner))}"
        for name, have, want in (("source", outer.src, source), ("destination", outer.dst, destination)):
            assert want is None or same(have, want), f"outer {name} {have}, not {want}: {inner.summary()}"
        return inner


def same(one, other):
    return ipaddress.ip_address(one) == ipaddress.ip_address(other)


def equal(have, want, what=""):
    assert have == want, f"{what or 'value'}: {have!r}, not {want!r}"


def unchanged(have, want):
    """The packet is what was sent, byte for byte."""
    have, want = bytes(have), bytes(want)
    if have != want:
        raise AssertionError(f"changed on the way\n  sent {want.hex()}\n  came {have.hex()}")


vm_ports, uplinks, vm_macs = [], [], []
VM_COUNT = 5
process = None
folder = tempfile.mkdtemp(prefix="real-")
atexit.register(shutil.rmtree, folder, ignore_errors=True)
log_path = os.path.join(folder, "log")


def forward_calls(path, port):
    """Lets the test, which is in another namespace, call the dataplane's TCP port."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)

    def pump(source, sink):
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            pass
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def accept():
        while True:
            near, _ = listener.accept()
            far = socket.create_connection(("127.0.0.1", port))
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for pair in ((near, far), (far, near)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def start(*flags, uplink_flags=("",), mtu=1500):
    """Starts the dataplane with VM_COUNT ports for VMs; the last one is the barrier's. FERRITE_TEST_FLAGS adds options."""
    global process
    set_flags("lo", True)
    vm_macs.extend(f"66:66:66:66:66:{number:02x}" for number in range(VM_COUNT))
    arguments = [os.environ["FERRITE_DATAPLANE"], "--grpc-port", "1337", "--underlay", UNDERLAY + "1",
                 "--dhcp-mtu", str(mtu), "--nic-type", "tap", "--no-offload", "--enable-ipv6-overlay",
                 "--no-stats", "--color", "auto", "--log-format=text", "--graphtrace-loglevel=1"]
    for number, more in enumerate(uplink_flags):
        arguments += ["--uplink", f"net_tap{number}=vtap:dtap{number},mac={PF_MACS[number]}{more}"]
    for number, mac in enumerate(vm_macs):
        arguments += ["--port", f"net_tap{number + 2}=vtap:dtapvf_{number},mac={mac}"]
    with open(log_path, "w") as log:
        process = subprocess.Popen([*arguments, *flags, *os.environ.get("FERRITE_TEST_FLAGS", "").split()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    deadline = time.monotonic() + 30
    while 'msg="listening"' not in read_log():
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the dataplane did not start:\n{read_log()}")
        time.sleep(0.02)
    vm_ports.extend(Port(f"dtapvf_{number}") for number in range(VM_COUNT))
    uplinks.extend(Uplink(number) for number in range(len(uplink_flags)))
    path = os.path.join(folder, "grpc.sock")
    forward_calls(path, 1337)
    say({"address": f"unix:{path}"})
    call("initialize")
    global probe
    probe = Vm(VM_COUNT, 999, "192.0.2.1").create()
    return uplinks[0]


def read_log():
    with open(log_path) as log:
        return log.read()


probe = None
sentinels = 0


def barrier(sender):
    """Everything that `sender` (a VM or an uplink) sent before has been decided when this returns."""
    global sentinels
    sentinels += 1
    if isinstance(sender, Uplink):
        sender.send(probe.underlay, IP(src="192.0.2.2", dst="192.0.2.1") / UDP(sport=sentinels & 0xffff, dport=7))
        probe.port.take("sentinel", lambda frame: UDP in frame and frame[UDP].sport == sentinels & 0xffff)
    else:
        sender.port.send(Ether(src=sender.mac, dst=BROADCAST) / ARP(hwsrc=sender.mac, psrc="0.0.0.0", pdst=GATEWAY))
        sender.port.take("sentinel", lambda frame: ARP in frame and frame[ARP].op == 2 and frame[ARP].psrc == GATEWAY)


def nothing(sender, *receivers):
    """Nothing of what `sender` sent came out anywhere; the sender itself hears nothing either."""
    heard = []
    if isinstance(sender, Uplink):
        barrier(sender)
    else:
        # What is there already must not be lost to the barrier's wait.
        port, kept = sender.port, []
        port.send(Ether(src=sender.mac, dst=BROADCAST) / ARP(hwsrc=sender.mac, psrc="0.0.0.0", pdst=GATEWAY))
        port.take("sentinel", lambda frame: (ARP in frame and frame[ARP].op == 2) or (kept.append(frame) or False))
        heard += [f"{port.device}: {frame.summary()}" for frame in kept if not is_noise(frame)]
    for receiver in receivers or [sender, *everybody()]:
        frame = receiver.port.read(0.01)
        while frame is not None:
            if not is_noise(frame) and not (UDP in frame and frame[UDP].dport == 7):
                heard.append(f"{receiver.port.device}: {frame.summary()}")
            frame = receiver.port.read(0)
    assert not heard, "came out: " + "; ".join(heard)


class Listener:
    """Whoever is at a port."""

    def __init__(self, port):
        self.port = port


def everybody():
    return [*uplinks, *map(Listener, vm_ports)]


def main():
    say({"ready": True})
    for line in sys.stdin:
        name = json.loads(line)["run"]
        for one in everybody():
            one.port.drain()
        error = None
        before = counters()
        try:
            scenarios[name]()
        except (AssertionError, Refused) as failure:
            where = [f"{os.path.basename(at.filename)}:{at.lineno}" for at in traceback.extract_tb(failure.__traceback__)]
            error = f"{failure}\n  at {' '.join(where[1:])}"
        except Exception:
            error = traceback.format_exc()
        if error is not None:
            after = counters()
            moved = [f"{key} +{int(value) - int(before.get(key, 0))}" for key, value in sorted(after.items())
                     if int(value) != int(before.get(key, 0)) and not key.startswith("port.")]
            error += "\n  counters: " + ", ".join(moved)
            if process.poll() is not None:
                error += f"\n  the dataplane ended with {process.returncode}:\n{read_log()[-4000:]}"
        say({"done": name, "error": error})
    process.terminate()
    try:
        status = process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        status = "killed"
    log = read_log()[-20000:]
    shutil.rmtree(folder)
    say({"ended": status, "log": log})
