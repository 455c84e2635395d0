/**
 * How a model VM gets on its link: DHCPv4, router solicitation and DHCPv6, ARP and neighbour discovery.
 */
import { broadcastMac, formatIpv4, linkLocal, multicastMac, parseIpv4, solicitedNode } from "./address.ts"
import { type Bytes, empty, u16 } from "./bytes.ts"
import * as Dhcp4 from "./dhcp4.ts"
import * as Dhcp6 from "./dhcp6.ts"
import { decodeArp, encodeArp, encodeEthernet, etherTypes } from "./ethernet.ts"
import { encodeIpv6, type Ipv6, protocols } from "./ip.ts"
import { decodeNeighbour, encodeNeighbour } from "./neighbour.ts"
import * as Transport from "./transport.ts"
import { encodeIp, sending, sendIp, still, followed, type Vm, type VmTurn } from "./vm-state.ts"

const udpFrame = (
  vm: Vm,
  to: { readonly mac: string; readonly address: string },
  source: string,
  ports: { readonly from: number; readonly to: number },
  payload: Bytes,
): Bytes => {
  const addresses = { source, destination: to.address }
  const datagram = Transport.encodeUdp(addresses, {
    sourcePort: ports.from,
    destinationPort: ports.to,
    payload,
  })
  return encodeEthernet({
    destination: to.mac,
    source: vm.mac,
    type: parseIpv4(source) === undefined ? etherTypes.ipv6 : etherTypes.ipv4,
    payload: encodeIp(source, to.address, protocols.udp, datagram),
  })
}

const dhcp4Frame = (vm: Vm, type: number, more: ReadonlyArray<readonly [number, Bytes]>): Bytes =>
  udpFrame(
    vm,
    { mac: broadcastMac, address: "255.255.255.255" },
    "0.0.0.0",
    { from: 68, to: 67 },
    Dhcp4.encodeDhcp4({
      reply: false,
      transaction: vm.transaction,
      broadcast: false,
      clientAddress: "0.0.0.0",
      yourAddress: "0.0.0.0",
      relay: "0.0.0.0",
      clientMac: vm.mac,
      options: new Map([[Dhcp4.optionCodes.messageType, Uint8Array.of(type)], ...more]),
    }),
  )

export const discover = (vm: Vm): VmTurn => sending(vm, dhcp4Frame(vm, Dhcp4.messageTypes.discover, []))

const dhcp6Frame = (vm: Vm): Bytes =>
  udpFrame(
    vm,
    { mac: multicastMac("ff02::1:2"), address: "ff02::1:2" },
    linkLocal(vm.mac),
    { from: 546, to: 547 },
    Dhcp6.encodeDhcp6({
      type: Dhcp6.messageTypes.solicit,
      transaction: vm.transaction,
      options: [
        { code: Dhcp6.optionCodes.clientId, value: Dhcp6.duid(vm.mac) },
        { code: Dhcp6.optionCodes.rapidCommit, value: empty },
        {
          code: Dhcp6.optionCodes.identityAssociation,
          value: Dhcp6.encodeAssociation({ id: 1, addresses: [], status: undefined }),
        },
      ],
    }),
  )

const neighbourFrame = (
  vm: Vm,
  to: { readonly mac: string; readonly address: string },
  source: string,
  message: Parameters<typeof encodeNeighbour>[1],
): Bytes => {
  const addresses = { source, destination: to.address }
  return encodeEthernet({
    destination: to.mac,
    source: vm.mac,
    type: etherTypes.ipv6,
    payload: encodeIpv6({
      ...addresses,
      protocol: protocols.icmpv6,
      hopLimit: 255,
      payload: encodeNeighbour(addresses, message),
    }),
  })
}

export const solicit = (vm: Vm): VmTurn =>
  sending(
    vm,
    neighbourFrame(vm, { mac: multicastMac("ff02::2"), address: "ff02::2" }, linkLocal(vm.mac), {
      _tag: "RouterSolicitation",
      sourceMac: vm.mac,
    }),
    dhcp6Frame(vm),
  )

export const receiveArp = (vm: Vm, payload: Bytes): VmTurn => {
  const arp = decodeArp(payload)
  if (arp === undefined) return still(vm)
  if (arp.operation === "reply" && arp.senderIp === vm.gateway4) {
    const known = { ...vm, gatewayMac4: arp.senderMac, waiting: [] }
    return vm.waiting.reduce((all, packet) => followed(all, (next) => sendIp(next, packet)), still(known))
  }
  if (arp.operation !== "request" || vm.ipv4 === undefined || arp.targetIp !== vm.ipv4) return still(vm)
  return sending(
    vm,
    encodeEthernet({
      destination: arp.senderMac,
      source: vm.mac,
      type: etherTypes.arp,
      payload: encodeArp({
        operation: "reply",
        senderMac: vm.mac,
        senderIp: vm.ipv4,
        targetMac: arp.senderMac,
        targetIp: arp.senderIp,
      }),
    }),
  )
}

export const receiveDhcp4 = (vm: Vm, message: Dhcp4.Dhcp4): VmTurn => {
  if (!vm.asking4 || !message.reply || message.transaction !== vm.transaction || message.clientMac !== vm.mac)
    return still(vm)
  const { messageTypes: types, optionCodes: codes } = Dhcp4
  const server = message.options.get(codes.serverId) ?? empty
  if (Dhcp4.messageType(message) === types.offer)
    return sending(
      vm,
      dhcp4Frame(vm, types.request, [
        [codes.serverId, server],
        [codes.requestedAddress, parseIpv4(message.yourAddress) ?? empty],
      ]),
    )
  if (Dhcp4.messageType(message) !== types.ack) return still(vm)
  const mtu = message.options.get(codes.mtu)
  const hostname = message.options.get(codes.hostname)
  return {
    vm: {
      ...vm,
      asking4: false,
      ipv4: message.yourAddress,
      gateway4: formatIpv4(server),
      mtu: mtu === undefined ? vm.mtu : u16(mtu, 0),
      hostname: hostname === undefined ? vm.hostname : String.fromCharCode(...hostname),
    },
    frames: [],
    events: [{ _tag: "Leased", address: message.yourAddress }],
  }
}

export const receiveNeighbour = (vm: Vm, packet: Ipv6): VmTurn => {
  const message = decodeNeighbour(packet)
  if (message?._tag === "RouterAdvertisement")
    return still({ ...vm, gatewayMac6: message.sourceMac ?? vm.gatewayMac6, mtu: message.mtu ?? vm.mtu })
  if (message?._tag !== "NeighbourSolicitation") return still(vm)
  const own = message.target === vm.ipv6 || message.target === linkLocal(vm.mac)
  if (!own || message.sourceMac === undefined) return still(vm)
  return sending(
    vm,
    neighbourFrame(vm, { mac: message.sourceMac, address: packet.source }, message.target, {
      _tag: "NeighbourAdvertisement",
      target: message.target,
      targetMac: vm.mac,
      router: false,
      solicited: true,
      override: true,
    }),
  )
}

export const receiveDhcp6 = (vm: Vm, message: Dhcp6.Dhcp6): VmTurn => {
  if (!vm.asking6 || message.transaction !== vm.transaction || message.type !== Dhcp6.messageTypes.reply)
    return still(vm)
  const value = Dhcp6.option(message.options, Dhcp6.optionCodes.identityAssociation)
  const address = value === undefined ? undefined : Dhcp6.decodeAssociation(value)?.addresses[0]?.address
  if (address === undefined) return still(vm)
  return {
    vm: { ...vm, asking6: false, ipv6: address },
    frames: [],
    events: [{ _tag: "Leased", address }],
  }
}

/** The frame with which a guest checks that nobody has its address (RFC 4862 §5.4). */
export const duplicateProbe = (vm: Vm, target: string): Bytes =>
  neighbourFrame(vm, { mac: multicastMac(solicitedNode(target)), address: solicitedNode(target) }, "::", {
    _tag: "NeighbourSolicitation",
    target,
    sourceMac: undefined,
  })
