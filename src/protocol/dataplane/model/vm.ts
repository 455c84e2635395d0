/**
 * A VM, as small as a test needs it: an endpoint that behaves like a Linux guest towards its gateway.
 *
 * It asks for its addresses (DHCPv4, router solicitation and DHCPv6), resolves the gateway, answers ARP, neighbour
 * solicitations and echo requests, pings, and moves bytes over TCP. `turn` is a pure reducer: an input in, the next
 * VM with frames to send and events out. It has no clock; `Tick` sends again what was not answered.
 */
import {
  broadcastMac,
  formatIpv4,
  isLinkLocal,
  linkLocal,
  multicastMac,
  parseIpv4,
  solicitedNode,
} from "./address.ts"
import { type Bytes, empty, fromAscii, u16, u8 } from "./bytes.ts"
import * as Dhcp4 from "./dhcp4.ts"
import * as Dhcp6 from "./dhcp6.ts"
import { decodeArp, decodeEthernet, encodeArp, encodeEthernet, etherTypes } from "./ethernet.ts"
import { decodeIpv4, decodeIpv6, encodeIpv4, encodeIpv6, type Ipv4, type Ipv6, protocols } from "./ip.ts"
import { decodeNeighbour, encodeNeighbour, isNeighbour } from "./neighbour.ts"
import * as Tcp from "./tcp.ts"
import * as Transport from "./transport.ts"

export interface Vm {
  readonly mac: string
  readonly mtu: number
  readonly ipv4: string | undefined
  readonly ipv6: string | undefined
  readonly hostname: string | undefined
  readonly gateway4: string | undefined
  readonly gatewayMac4: string | undefined
  readonly gatewayMac6: string | undefined
  /** IPv4 packets that wait for the gateway's MAC. At most 64. */
  readonly waiting: ReadonlyArray<Bytes>
  readonly transaction: number
  /** Asked for and not yet granted. */
  readonly asking4: boolean
  readonly asking6: boolean
  readonly listening: ReadonlySet<number>
  /** Key: local port, remote address, remote port. */
  readonly connections: ReadonlyMap<string, Tcp.Connection>
  readonly nextPort: number
}

export type VmInput =
  | { readonly _tag: "Frame"; readonly frame: Bytes }
  /** Asks for an IPv4 address. */
  | { readonly _tag: "Dhcp4" }
  /** Asks for a router and an IPv6 address. */
  | { readonly _tag: "Dhcp6" }
  /** `data`: bytes of the echo. */
  | { readonly _tag: "Ping"; readonly to: string; readonly sequence: number; readonly data?: Bytes }
  | { readonly _tag: "Listen"; readonly port: number }
  /** Sends bytes over a new connection, and closes. */
  | { readonly _tag: "Transfer"; readonly to: string; readonly port: number; readonly data: Bytes }
  /** Time passed: send again what was not answered. */
  | { readonly _tag: "Tick" }

export type VmEvent =
  | { readonly _tag: "Leased"; readonly address: string }
  | { readonly _tag: "Pong"; readonly from: string; readonly sequence: number; readonly bytes: number }
  /** All of a transfer arrived here. */
  | { readonly _tag: "Received"; readonly from: string; readonly port: number; readonly data: Bytes }
  /** All of a transfer of ours was acknowledged, and both sides closed. */
  | { readonly _tag: "Sent"; readonly to: string; readonly port: number; readonly bytes: number }
  | { readonly _tag: "Refused"; readonly to: string; readonly port: number }

export interface VmTurn {
  readonly vm: Vm
  readonly frames: ReadonlyArray<Bytes>
  readonly events: ReadonlyArray<VmEvent>
}

const maxWaiting = 64
const maxConnections = 1_024

export const make = (mac: string): Vm => ({
  mac,
  mtu: 1_500,
  ipv4: undefined,
  ipv6: undefined,
  hostname: undefined,
  gateway4: undefined,
  gatewayMac4: undefined,
  gatewayMac6: undefined,
  waiting: [],
  transaction: 1,
  asking4: false,
  asking6: false,
  listening: new Set(),
  connections: new Map(),
  nextPort: 40_000,
})

/** With addresses set by hand, as a guest that was configured without DHCP. */
export const configured = (
  mac: string,
  addresses: { readonly ipv4?: string; readonly ipv6?: string },
  gateway4 = "169.254.0.1",
): Vm => ({ ...make(mac), ipv4: addresses.ipv4, ipv6: addresses.ipv6, gateway4 })

const still = (vm: Vm): VmTurn => ({ vm, frames: [], events: [] })
const sending = (vm: Vm, ...frames: ReadonlyArray<Bytes>): VmTurn => ({ vm, frames, events: [] })
const then = (first: VmTurn, next: (vm: Vm) => VmTurn): VmTurn => {
  const second = next(first.vm)
  return {
    vm: second.vm,
    frames: [...first.frames, ...second.frames],
    events: [...first.events, ...second.events],
  }
}

export const turn = (vm: Vm, input: VmInput): VmTurn => {
  switch (input._tag) {
    case "Frame":
      return receive(vm, input.frame)
    case "Dhcp4":
      return discover({ ...vm, asking4: true, transaction: vm.transaction + 1 })
    case "Dhcp6":
      return solicit({ ...vm, asking6: true, transaction: vm.transaction + 1 })
    case "Ping":
      return ping(vm, input.to, input.sequence, input.data ?? fromAscii("ferrite"))
    case "Listen":
      return still({ ...vm, listening: new Set([...vm.listening, input.port]) })
    case "Transfer":
      return transfer(vm, input.to, input.port, input.data)
    case "Tick":
      return tick(vm)
  }
}

// Sending

const sourceFor = (vm: Vm, to: string): string | undefined =>
  parseIpv4(to) !== undefined ? vm.ipv4 : isLinkLocal(to) ? linkLocal(vm.mac) : vm.ipv6

/** An IP packet to the gateway; for IPv4 it waits until the gateway's MAC is known. */
const sendIp = (vm: Vm, packet: Bytes): VmTurn => {
  if (u8(packet, 0) >>> 4 === 6)
    return sending(
      vm,
      encodeEthernet({
        destination: vm.gatewayMac6 ?? multicastMac("ff02::2"),
        source: vm.mac,
        type: etherTypes.ipv6,
        payload: packet,
      }),
    )
  if (vm.gatewayMac4 === undefined)
    return then(still({ ...vm, waiting: [...vm.waiting, packet].slice(-maxWaiting) }), askGateway)
  return sending(
    vm,
    encodeEthernet({ destination: vm.gatewayMac4, source: vm.mac, type: etherTypes.ipv4, payload: packet }),
  )
}

const askGateway = (vm: Vm): VmTurn =>
  sending(
    vm,
    encodeEthernet({
      destination: broadcastMac,
      source: vm.mac,
      type: etherTypes.arp,
      payload: encodeArp({
        operation: "request",
        senderMac: vm.mac,
        senderIp: vm.ipv4 ?? "0.0.0.0",
        targetMac: "00:00:00:00:00:00",
        targetIp: vm.gateway4 ?? "169.254.0.1",
      }),
    }),
  )

const encodeIp = (source: string, destination: string, protocol: number, payload: Bytes): Bytes =>
  parseIpv4(destination) !== undefined
    ? encodeIpv4({ source, destination, protocol, payload })
    : encodeIpv6({ source, destination, protocol, payload })

const ping = (vm: Vm, to: string, sequence: number, data: Bytes): VmTurn => {
  const source = sourceFor(vm, to)
  if (source === undefined) return still(vm)
  const echo = { reply: false, identifier: 1, sequence, data }
  const payload =
    parseIpv4(to) !== undefined
      ? encodeIp(source, to, protocols.icmp, Transport.encodeEcho4(echo))
      : encodeIp(source, to, protocols.icmpv6, Transport.encodeEcho6({ source, destination: to }, echo))
  return sendIp(vm, payload)
}

// Addresses

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

const discover = (vm: Vm): VmTurn => sending(vm, dhcp4Frame(vm, Dhcp4.messageTypes.discover, []))

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

const solicit = (vm: Vm): VmTurn =>
  sending(
    vm,
    neighbourFrame(vm, { mac: multicastMac("ff02::2"), address: "ff02::2" }, linkLocal(vm.mac), {
      _tag: "RouterSolicitation",
      sourceMac: vm.mac,
    }),
    dhcp6Frame(vm),
  )

// Receiving

const receive = (vm: Vm, bytes: Bytes): VmTurn => {
  const frame = decodeEthernet(bytes)
  if (frame === undefined) return still(vm)
  const group = (Number.parseInt(frame.destination.slice(0, 2), 16) & 1) !== 0
  if (frame.destination !== vm.mac && !group) return still(vm)
  if (frame.type === etherTypes.arp) return receiveArp(vm, frame.payload)
  if (frame.type === etherTypes.ipv4) {
    const packet = decodeIpv4(frame.payload)
    return packet?.intact === true ? receive4(vm, packet) : still(vm)
  }
  const packet = frame.type === etherTypes.ipv6 ? decodeIpv6(frame.payload) : undefined
  return packet === undefined ? still(vm) : receive6(vm, packet, frame.source)
}

const receiveArp = (vm: Vm, payload: Bytes): VmTurn => {
  const arp = decodeArp(payload)
  if (arp === undefined) return still(vm)
  if (arp.operation === "reply" && arp.senderIp === vm.gateway4) {
    const known = { ...vm, gatewayMac4: arp.senderMac, waiting: [] }
    return vm.waiting.reduce((all, packet) => then(all, (next) => sendIp(next, packet)), still(known))
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

const receive4 = (vm: Vm, packet: Ipv4): VmTurn => {
  if (packet.protocol === protocols.udp) {
    const udp = Transport.decodeUdp(packet, packet.payload)
    const offer = udp?.destinationPort === 68 ? Dhcp4.decodeDhcp4(udp.payload) : undefined
    return offer === undefined ? still(vm) : receiveDhcp4(vm, offer)
  }
  if (packet.destination !== vm.ipv4) return still(vm)
  if (packet.protocol === protocols.tcp) return receiveTcp(vm, packet)
  const echo = packet.protocol === protocols.icmp ? Transport.decodeEcho4(packet.payload) : undefined
  if (echo === undefined) return still(vm)
  return echo.reply
    ? ponged(vm, packet.source, echo)
    : sendIp(
        vm,
        encodeIp(
          packet.destination,
          packet.source,
          protocols.icmp,
          Transport.encodeEcho4({ ...echo, reply: true }),
        ),
      )
}

const ponged = (vm: Vm, from: string, echo: Transport.Echo): VmTurn => ({
  vm,
  frames: [],
  events: [{ _tag: "Pong", from, sequence: echo.sequence, bytes: echo.data.length }],
})

const receiveDhcp4 = (vm: Vm, message: Dhcp4.Dhcp4): VmTurn => {
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

const receive6 = (vm: Vm, packet: Ipv6, sourceMac: string): VmTurn => {
  if (isNeighbour(packet)) return receiveNeighbour(vm, packet)
  if (packet.protocol === protocols.udp) {
    const udp = Transport.decodeUdp(packet, packet.payload)
    const reply = udp?.destinationPort === 546 ? Dhcp6.decodeDhcp6(udp.payload) : undefined
    return reply === undefined ? still(vm) : receiveDhcp6({ ...vm, gatewayMac6: sourceMac }, reply)
  }
  if (packet.destination !== vm.ipv6 && packet.destination !== linkLocal(vm.mac)) return still(vm)
  if (packet.protocol === protocols.tcp) return receiveTcp(vm, packet)
  const echo =
    packet.protocol === protocols.icmpv6 ? Transport.decodeEcho6(packet, packet.payload) : undefined
  if (echo === undefined) return still(vm)
  if (echo.reply) return ponged(vm, packet.source, echo)
  const addresses = { source: packet.destination, destination: packet.source }
  return sendIp(
    vm,
    encodeIp(
      addresses.source,
      addresses.destination,
      protocols.icmpv6,
      Transport.encodeEcho6(addresses, { ...echo, reply: true }),
    ),
  )
}

const receiveNeighbour = (vm: Vm, packet: Ipv6): VmTurn => {
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

const receiveDhcp6 = (vm: Vm, message: Dhcp6.Dhcp6): VmTurn => {
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

// TCP

const keyOf = (localPort: number, remote: Tcp.Peer): string => `${localPort} ${remote.address} ${remote.port}`

/** Room for 40 bytes of IPv6 and 20 of TCP. */
const segmentBytes = (vm: Vm): number => Math.max(1, vm.mtu - 60)

const sendSegments = (vm: Vm, key: string, next: Tcp.Turn): VmTurn => {
  const { local, remote } = next.connection
  const addresses = { source: local.address, destination: remote.address }
  const kept = { ...vm, connections: new Map(vm.connections).set(key, next.connection) }
  return next.segments.reduce(
    (all, segment) =>
      then(all, (now) =>
        sendIp(
          now,
          encodeIp(
            addresses.source,
            addresses.destination,
            protocols.tcp,
            Transport.encodeTcp(addresses, segment),
          ),
        ),
      ),
    still(kept),
  )
}

const transfer = (vm: Vm, to: string, port: number, data: Bytes): VmTurn => {
  const source = sourceFor(vm, to)
  if (source === undefined || vm.connections.size >= maxConnections) return still(vm)
  const local = { address: source, port: vm.nextPort }
  const remote = { address: to, port }
  return sendSegments(
    { ...vm, nextPort: vm.nextPort === 65_535 ? 40_000 : vm.nextPort + 1 },
    keyOf(local.port, remote),
    Tcp.open(local, remote, data, segmentBytes(vm)),
  )
}

const receiveTcp = (vm: Vm, packet: Ipv4 | Ipv6): VmTurn => {
  const segment = Transport.decodeTcp(packet, packet.payload)
  if (segment === undefined) return still(vm)
  const local = { address: packet.destination, port: segment.destinationPort }
  const remote = { address: packet.source, port: segment.sourcePort }
  const key = keyOf(local.port, remote)
  const present = vm.connections.get(key)
  if (present !== undefined) {
    const next = Tcp.receive(present, segment)
    const after = sendSegments(vm, key, next)
    return { ...after, events: [...after.events, ...changes(present, next.connection)] }
  }
  const opening = segment.flags.syn === true && segment.flags.ack !== true
  if (opening && vm.listening.has(local.port) && vm.connections.size < maxConnections)
    return sendSegments(vm, key, Tcp.accept(local, remote, segment, segmentBytes(vm)))
  return segment.flags.rst === true ? still(vm) : refuse(vm, local, remote, segment)
}

const refuse = (vm: Vm, local: Tcp.Peer, remote: Tcp.Peer, segment: Transport.Tcp): VmTurn => {
  const addresses = { source: local.address, destination: remote.address }
  const length =
    segment.payload.length + (segment.flags.syn === true ? 1 : 0) + (segment.flags.fin === true ? 1 : 0)
  const reset = Transport.encodeTcp(addresses, {
    sourcePort: local.port,
    destinationPort: remote.port,
    sequence: segment.flags.ack === true ? segment.acknowledgement : 0,
    acknowledgement: (segment.sequence + length) % 0x1_0000_0000,
    flags: { rst: true, ack: true },
    window: 0,
    payload: empty,
  })
  return sendIp(vm, encodeIp(addresses.source, addresses.destination, protocols.tcp, reset))
}

const changes = (before: Tcp.Connection, after: Tcp.Connection): ReadonlyArray<VmEvent> => {
  const events: Array<VmEvent> = []
  if (!after.active && after.remoteClosed && !before.remoteClosed)
    events.push({
      _tag: "Received",
      from: after.remote.address,
      port: after.local.port,
      data: Tcp.receivedBytes(after),
    })
  const to = after.remote.address
  const { port } = after.remote
  if (after.active && Tcp.finished(after) && !Tcp.finished(before))
    events.push({ _tag: "Sent", to, port, bytes: after.data.length })
  if (after.active && after.reset && !before.reset) events.push({ _tag: "Refused", to, port })
  return events
}

const tick = (vm: Vm): VmTurn => {
  const open = new Map([...vm.connections].filter(([, c]) => !c.reset && !Tcp.finished(c)))
  let all = still({ ...vm, connections: open })
  if (vm.asking4) all = then(all, discover)
  if (vm.asking6) all = then(all, solicit)
  if (vm.waiting.length > 0) all = then(all, askGateway)
  for (const [key, connection] of open)
    all = then(all, (now) => sendSegments(now, key, Tcp.retransmit(connection)))
  return all
}

/** The frame with which a guest checks that nobody has its address (RFC 4862 §5.4). */
export const duplicateProbe = (vm: Vm, target: string): Bytes =>
  neighbourFrame(vm, { mac: multicastMac(solicitedNode(target)), address: solicitedNode(target) }, "::", {
    _tag: "NeighbourSolicitation",
    target,
    sourceMac: undefined,
  })
