"""What a VM asks its gateway before it does anything else: ARP, neighbours and routers, DHCP of both families."""
from suite import *
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import (
    DHCP6OptBootFileUrl, DHCP6OptClientArchType, DHCP6OptClientId, DHCP6OptDNSServers, DHCP6OptIA_NA,
    DHCP6OptIAAddress, DHCP6OptRapidCommit, DHCP6OptServerId, DHCP6OptStatusCode, DHCP6OptUserClass, DHCP6_Advertise,
    DHCP6_Confirm, DHCP6_Release, DHCP6_Reply, DHCP6_Request, DHCP6_Solicit, DUID_LL, USER_CLASS_DATA,
)

MTU = 1337
DNS, DNS6 = ["8.8.4.4", "8.8.8.8"], ["2001:4860:4860::6464", "2001:4860:4860::8844"]
start("--dhcp-dns", DNS[0], "--dhcp-dns", DNS[1], "--dhcpv6-dns", DNS6[0], "--dhcpv6-dns", DNS6[1], mtu=MTU)
vm1 = Vm(1, 100, "10.0.0.1", "2001:db8:1::1", hostname="one").create()
vm2 = Vm(2, 100, "10.0.0.2", pxeConfig={"nextServer": "192.0.2.80", "bootFilename": "boot.ipxe"}).create()
vm3 = Vm(3, 100, "10.0.0.3", "2001:db8:1::3",
         pxeConfig={"nextServer": "2001:db8::80", "bootFilename": "boot6.ipxe"}).create()
LINK_LOCAL = "fe80::6466:66ff:fe66:6600"


def arp(vm, target, source=None, to=BROADCAST):
    vm.port.send(Ether(src=vm.mac, dst=to) / ARP(op=1, hwsrc=vm.mac, psrc=source or vm.ipv4, pdst=target))


@scenario("ARP for the gateway is answered with the port's MAC, and for nobody else")
def _():
    for source in (vm1.ipv4, "0.0.0.0"):
        arp(vm1, GATEWAY, source)
        answer = vm1.port.take("ARP reply", lambda frame: ARP in frame)
        equal((answer.dst, answer[ARP].op, answer[ARP].psrc, answer[ARP].hwsrc, answer[ARP].hwdst, answer[ARP].pdst),
              (vm1.mac, 2, GATEWAY, vm1.mac, vm1.mac, source))
    for other in (vm2.ipv4, vm1.ipv4, "10.0.0.254", "169.254.0.2"):
        arp(vm1, other)
    nothing(vm1)
    assert not [frame for frame in vm2.port.drain() if ARP in frame]


@scenario("a unicast ARP request is answered too, and one that is too short is not")
def _():
    arp(vm1, GATEWAY, to=vm1.mac)
    vm1.port.take("ARP reply", lambda frame: ARP in frame and frame[ARP].op == 2)
    vm1.port.send(bytes(Ether(src=vm1.mac, dst=BROADCAST) / ARP(hwsrc=vm1.mac, pdst=GATEWAY))[:30])
    nothing(vm1)


@scenario("the gateway's link-local address is resolved by neighbour discovery, and no other is")
def _():
    def ask(target, source=LINK_LOCAL):
        vm1.port.send(Ether(src=vm1.mac, dst="33:33:ff:00:00:01") / IPv6(src=source, dst="ff02::1:ff00:1", hlim=255) /
                      ICMPv6ND_NS(tgt=target) / ICMPv6NDOptSrcLLAddr(lladdr=vm1.mac))
    for source in (LINK_LOCAL, vm1.ipv6):
        ask(GATEWAY6, source)
        answer = vm1.port.take("advertisement", lambda frame: ICMPv6ND_NA in frame)
        equal((answer.dst, answer[IPv6].src, answer[IPv6].dst, answer[IPv6].hlim, answer[ICMPv6ND_NA].tgt,
               answer[ICMPv6ND_NA].R, answer[ICMPv6ND_NA].S, answer[ICMPv6NDOptDstLLAddr].lladdr),
              (vm1.mac, GATEWAY6, source, 255, GATEWAY6, 1, 1, vm1.mac))
    ask("2001:db8:1::3")
    ask("fe80::2")
    nothing(vm1)
    assert not [frame for frame in vm1.port.drain() + vm3.port.drain() if ICMPv6ND_NA in frame]


@scenario("a router solicitation is answered with managed configuration, the MTU and no prefix")
def _():
    for source in (LINK_LOCAL, "::"):
        vm1.port.send(Ether(src=vm1.mac, dst="33:33:00:00:00:02") / IPv6(src=source, dst="ff02::2", hlim=255) /
                      ICMPv6ND_RS())
        answer = vm1.port.take("router advertisement", lambda frame: ICMPv6ND_RA in frame)
        equal((answer[IPv6].src, answer[IPv6].hlim, answer[ICMPv6ND_RA].M, answer[ICMPv6ND_RA].O,
               answer[ICMPv6ND_RA].routerlifetime > 0, answer[ICMPv6NDOptMTU].mtu,
               answer[ICMPv6NDOptSrcLLAddr].lladdr), (GATEWAY6, 255, 1, 1, True, MTU, vm1.mac))
        assert b"\x03\x04" not in bytes(answer[ICMPv6ND_RA].payload)[:2]


def bootp(vm, kind, *options, xid=7):
    mac = bytes.fromhex(vm.mac.replace(":", ""))
    vm.port.send(Ether(src=vm.mac, dst=BROADCAST) / IP(src="0.0.0.0", dst="255.255.255.255") /
                 UDP(sport=68, dport=67) / BOOTP(chaddr=mac, xid=xid) /
                 DHCP(options=[("message-type", kind), *options, "end"]))
    frame = vm.port.take("DHCP answer", lambda frame: DHCP in frame)
    assert frame.dst in (vm.mac, BROADCAST)
    equal((frame[UDP].sport, frame[UDP].dport, frame[BOOTP].xid, frame[BOOTP].op), (67, 68, xid, 2))
    said = {}
    for option in frame[DHCP].options:
        if isinstance(option, tuple):
            said[option[0]] = list(option[1:]) if len(option) > 2 else option[1]
    return frame[BOOTP], said


def raw_options(bootp):
    """Options by number, for scapy has names and forms of its own for some."""
    data, options, at = bytes(bootp[DHCP]), {}, 0
    while at < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        options[data[at]] = data[at + 2:at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    return options


@scenario("DHCP offers and acknowledges the configured address with mask, MTU, DNS, routes and hostname")
def _():
    for kind, answered in (("discover", 2), ("request", 5)):
        answer, said = bootp(vm1, kind)
        options = raw_options(answer)
        equal((answer.yiaddr, said["message-type"], said["server_id"], said["subnet_mask"], said["lease_time"]),
              (vm1.ipv4, answered, GATEWAY, "255.255.255.255", 0xffffffff))
        equal(struct.unpack("!H", options[26])[0], MTU, "MTU")
        equal([socket.inet_ntoa(options[6][at:at + 4]) for at in range(0, len(options[6]), 4)], DNS, "DNS")
        equal(options[12], b"one", "hostname")
        gateway = socket.inet_aton(GATEWAY)
        equal(options[121], b"\x10\xa9\xfe" + bytes(4) + b"\x00" + gateway, "routes")


@scenario("a DHCP client that asks for another address is told that it has none, and one without a hostname gets none")
def _():
    answer, said = bootp(vm1, "request", ("requested_addr", "10.0.0.77"), ("server_id", GATEWAY))
    equal(said["message-type"], 6)
    answer, said = bootp(vm2, "request", ("requested_addr", vm2.ipv4), ("server_id", GATEWAY))
    equal((said["message-type"], answer.yiaddr, 12 in raw_options(answer)), (5, vm2.ipv4, False))


@scenario("PXE firmware is sent to the loader by TFTP, iPXE to the boot file by HTTP, and neither leaks to other clients")
def _():
    answer, _said = bootp(vm2, "discover", ("vendor_class_id", b"PXEClient:Arch:00007:UNDI:003001"))
    equal((answer.siaddr, answer.file.rstrip(b"\0"), raw_options(answer)[3]),
          ("192.0.2.80", b"ipxe/x86_64/ipxe.new", socket.inet_aton(GATEWAY)))
    answer, _said = bootp(vm2, "request", ("user_class", b"iPXE"))
    equal(answer.file.rstrip(b"\0"), b"http://192.0.2.80/boot.ipxe")
    answer, _said = bootp(vm1, "discover")
    equal((answer.siaddr, answer.file.rstrip(b"\0"), 3 in raw_options(answer)), ("0.0.0.0", b"", False))
    answer, _said = bootp(vm2, "discover")
    equal((answer.file.rstrip(b"\0"), 3 in raw_options(answer)), (b"", False))


def dhcp6(vm, message, *options):
    source = "fe80::6466:66ff:fe66:66%02x" % (vm.number - 1)
    request = message(trid=0x1234)
    for option in (DHCP6OptClientId(duid=DUID_LL(lladdr=vm.mac)), *options):
        request = request / option
    vm.port.send(Ether(src=vm.mac, dst="33:33:00:01:00:02") / IPv6(src=source, dst="ff02::1:2") /
                 UDP(sport=546, dport=547) / request)
    frame = vm.port.take("DHCPv6 answer", lambda frame: UDP in frame and frame[UDP].dport == 546)
    equal((frame.dst, frame[IPv6].src, frame[IPv6].dst, frame[UDP].payload.trid),
          (vm.mac, GATEWAY6, source, 0x1234))
    return frame[UDP].payload


@scenario("DHCPv6 advertises, commits rapidly, replies, confirms and releases the one address for ever, with DNS")
def _():
    association = DHCP6OptIA_NA(iaid=5)
    offer = dhcp6(vm1, DHCP6_Solicit, association)
    assert isinstance(offer, DHCP6_Advertise)
    server = offer[DHCP6OptServerId]
    rapid = dhcp6(vm1, DHCP6_Solicit, DHCP6OptRapidCommit(), association)
    assert isinstance(rapid, DHCP6_Reply) and DHCP6OptRapidCommit in rapid
    reply = dhcp6(vm1, DHCP6_Request, DHCP6OptServerId(duid=server.duid), association)
    assert isinstance(reply, DHCP6_Reply)
    for answer in (offer, rapid, reply):
        lease = answer[DHCP6OptIA_NA]
        given = lease.ianaopts[0]
        equal((lease.iaid, given.addr, given.validlft, given.preflft, answer[DHCP6OptDNSServers].dnsservers),
              (5, vm1.ipv6, 0xffffffff, 0xffffffff, DNS6))
        assert DHCP6OptBootFileUrl not in answer
    mine = DHCP6OptIA_NA(iaid=5, ianaopts=[DHCP6OptIAAddress(addr=vm1.ipv6)])
    equal(dhcp6(vm1, DHCP6_Confirm, mine)[DHCP6OptStatusCode].statuscode, 0)
    other = DHCP6OptIA_NA(iaid=5, ianaopts=[DHCP6OptIAAddress(addr="2001:db8:1::99")])
    equal(dhcp6(vm1, DHCP6_Confirm, other)[DHCP6OptStatusCode].statuscode, 4)
    released = dhcp6(vm1, DHCP6_Release, DHCP6OptServerId(duid=server.duid), mine)
    equal(released[DHCP6OptStatusCode].statuscode, 0)


@scenario("DHCPv6 has no address for a VM without IPv6")
def _():
    answer = dhcp6(vm2, DHCP6_Solicit, DHCP6OptIA_NA(iaid=9))
    equal(answer[DHCP6OptIA_NA].ianaopts[0].statuscode, 2)


@scenario("DHCPv6 tells the loader to firmware and the boot file to iPXE, and to nobody else")
def _():
    association = DHCP6OptIA_NA(iaid=5)
    firmware = dhcp6(vm3, DHCP6_Solicit, association, DHCP6OptClientArchType(archtypes=[7]))
    equal(firmware[DHCP6OptBootFileUrl].optdata, b"tftp://[2001:db8::80]/ipxe/x86_64/ipxe.new")
    loader = dhcp6(vm3, DHCP6_Solicit, association, DHCP6OptClientArchType(archtypes=[7]),
                   DHCP6OptUserClass(userclassdata=[USER_CLASS_DATA(data=b"iPXE")]))
    equal(loader[DHCP6OptBootFileUrl].optdata, b"http://[2001:db8::80]/boot6.ipxe")
    assert DHCP6OptBootFileUrl not in dhcp6(vm3, DHCP6_Solicit, association)
    assert DHCP6OptBootFileUrl not in dhcp6(vm1, DHCP6_Solicit, association,
                                            DHCP6OptClientArchType(archtypes=[7]))


@scenario("the gateway answers echo of both families")
def _():
    for packet in (IP(src=vm1.ipv4, dst=GATEWAY) / ICMP(id=3, seq=1) / b"abc",
                   IPv6(src=vm1.ipv6, dst=GATEWAY6) / ICMPv6EchoRequest(id=3, seq=1, data=b"abc"),
                   IPv6(src=LINK_LOCAL, dst=GATEWAY6) / ICMPv6EchoRequest(id=3, seq=1, data=b"abc")):
        vm1.send(packet)
        answer = vm1.take("echo reply")
        equal((answer.src, answer.dst, answer.payload.type, answer.payload.id),
              (packet.dst, packet.src, 0 if isinstance(packet, IP) else 129, 3))


@scenario("a DHCP server inside a VM reaches nobody")
def _():
    vm1.send(IP(src=vm1.ipv4, dst=vm2.ipv4) / UDP(sport=67, dport=68) / b"offer")
    vm1.send(IPv6(src=vm1.ipv6, dst=vm3.ipv6) / UDP(sport=547, dport=546) / b"advertise")
    nothing(vm1)


@scenario("a message that a VM sends to its own port's MAC, with that MAC as its own, is answered as any")
def _():
    # Suites often give the VM the MAC that the port was started with, which is the gateway's too.
    vm1.port.send(Ether(src=vm1.mac, dst=vm1.mac) / IP(src=vm1.ipv4, dst=vm2.ipv4) / UDP(sport=1, dport=2) / b"x")
    equal(vm2.take("packet").src, vm1.ipv4)


@scenario("the gRPC server of --grpc-port knows the version, its interfaces and their devices")
def _():
    version = call("getVersion", clientProtocol="1", clientName="real", clientVersion="1")
    assert version["serviceProtocol"] and version["serviceVersion"]
    listed = call("listInterfaces")["interfaces"]
    equal([untext(one["id"]) for one in listed], ["vm1", "vm2", "vm3", "vm5"])
    equal([one["pciName"] for one in listed], ["net_tap2", "net_tap3", "net_tap4", "net_tap6"])
    equal(refused("createInterface", interfaceId=text("again"), vni=100, deviceName="net_tap2",
                  ipv4Config={"primaryAddress": text("10.0.0.9")}, ipv6Config={"primaryAddress": text("::")}),
          "createInterface: 202 ALREADY_EXISTS")
    equal(refused("createInterface", interfaceId=text("pf"), vni=100, deviceName="net_tap0",
                  ipv4Config={"primaryAddress": text("10.0.0.9")}, ipv6Config={"primaryAddress": text("::")}),
          "createInterface: 202 ALREADY_EXISTS")
    equal(refused("createInterface", interfaceId=text("none"), vni=100, deviceName="net_tap99",
                  ipv4Config={"primaryAddress": text("10.0.0.9")}, ipv6Config={"primaryAddress": text("::")}),
          "createInterface: 201 NOT_FOUND")


main()
