/**
 * Edges: ways out of the overlay, to a network outside.
 *
 * Outside an edge is a router with its own addresses: it answers ARP, neighbour solicitations and echo for them, learns
 * its gateways from what they say of themselves, and asks for one that it does not know when it has a packet for it,
 * which is dropped. It is no NAT: packets pass as they are, one hop older.
 */
import { HashMap } from "effect"
import { broadcastMac, multicastMac, solicitedNode } from "./address.ts"
import { aged, answerEcho, answerError, ttlOf } from "./answer.ts"
import { passTo, withPorts } from "./arrive.ts"
import { type Bytes, u16 } from "./bytes.ts"
import {
  decodeArp,
  decodeEthernet,
  encodeArp,
  encodeEthernet,
  type Ethernet,
  etherTypes,
} from "./ethernet.ts"
import { decodeIpv6, encodeIpv6, protocols } from "./ip.ts"
import { wayTo } from "./leave.ts"
import { groupOf } from "./nat.ts"
import { decodeNeighbour, encodeNeighbour, isNeighbour } from "./neighbour.ts"
import { type Edge, find } from "./tables.ts"
import { drop, drops, mayError, type Packet, tally, type Turn } from "./turn.ts"
import { isEchoRequest, parseIp, type Tuple } from "./tuple.ts"

const send = (turn: Turn, edge: Edge, destination: string, type: number, payload: Bytes): void => {
  tally(turn, `port.${edge.device}.tx_packets`)
  turn.outputs.push({
    _tag: "ToPort",
    device: edge.opened,
    frame: encodeEthernet({ destination, source: edge.mac, type, payload }),
  })
}

const typeOf = (tuple: Tuple): number => (tuple.family === 4 ? etherTypes.ipv4 : etherTypes.ipv6)

const learn = (turn: Turn, edge: Edge, gateway: Partial<Edge["gateways"]>): void => {
  const known = { ...edge, gateways: { ...edge.gateways, ...gateway } }
  turn.state = { ...turn.state, edges: HashMap.set(turn.state.edges, edge.spec.name, known) }
}

const arp = (turn: Turn, edge: Edge, frame: Ethernet): void => {
  const packet = decodeArp(frame.payload)
  const own = edge.spec.outsideIpv4
  if (packet === undefined || own === undefined) return drop(turn, drops.unhandled)
  if (packet.senderIp === edge.spec.gatewayIpv4) learn(turn, edge, { ipv4: packet.senderMac })
  if (packet.operation !== "request" || packet.targetIp !== own) return drop(turn, drops.unhandled)
  send(
    turn,
    edge,
    packet.senderMac,
    etherTypes.arp,
    encodeArp({
      operation: "reply",
      senderMac: edge.mac,
      senderIp: own,
      targetMac: packet.senderMac,
      targetIp: packet.senderIp,
    }),
  )
}

/** True: it was a message of neighbour discovery, and is done with. */
const neighbour = (turn: Turn, edge: Edge, frame: Ethernet): boolean => {
  const packet = decodeIpv6(frame.payload)
  if (packet === undefined || !isNeighbour(packet)) return false
  const message = decodeNeighbour(packet)
  const own = edge.spec.outsideIpv6
  if (message?._tag === "NeighbourAdvertisement" && message.target === edge.spec.gatewayIpv6)
    learn(turn, edge, { ipv6: message.targetMac ?? frame.source })
  if (message?._tag !== "NeighbourSolicitation" || own === undefined || message.target !== own) {
    drop(turn, drops.unhandled)
    return true
  }
  const addresses = { source: own, destination: packet.source === "::" ? "ff02::1" : packet.source }
  const payload = encodeNeighbour(addresses, {
    _tag: "NeighbourAdvertisement",
    target: own,
    targetMac: edge.mac,
    router: true,
    solicited: packet.source !== "::",
    override: true,
  })
  const to = packet.source === "::" ? multicastMac("ff02::1") : frame.source
  send(
    turn,
    edge,
    to,
    etherTypes.ipv6,
    encodeIpv6({ ...addresses, protocol: protocols.icmpv6, hopLimit: 255, payload }),
  )
  return true
}

/** A frame on a port that is no interface's. */
export const fromOutside = (turn: Turn, device: string, bytes: Bytes): void => {
  const edge = HashMap.toValues(turn.state.edges).find((one) => one.opened === device)
  if (edge === undefined) return drop(turn, drops.noInterface)
  tally(turn, `port.${edge.device}.rx_packets`)
  const frame = decodeEthernet(bytes)
  if (frame === undefined) return drop(turn, drops.malformed)
  if (frame.type === etherTypes.arp) return arp(turn, edge, frame)
  if (frame.type !== etherTypes.ipv4 && frame.type !== etherTypes.ipv6) return drop(turn, drops.notIp)
  const tuple = parseIp(frame.payload)
  if (tuple === undefined || typeOf(tuple) !== frame.type) return drop(turn, drops.malformed)
  if (tuple.family === 6 && neighbour(turn, edge, frame)) return
  if (frame.destination !== edge.mac) return drop(turn, drops.notGateway)
  const packet: Packet = {
    bytes: frame.payload.subarray(0, tuple.length),
    tuple,
    context: `e${edge.spec.name}`,
    vm: undefined,
    outer: undefined,
    passed: 0,
  }
  const { outsideIpv4, outsideIpv6 } = edge.spec
  if (tuple.destination !== outsideIpv4 && tuple.destination !== outsideIpv6)
    return inward(turn, edge, packet, frame)
  const answer = isEchoRequest(tuple) ? answerEcho(packet.bytes, tuple) : undefined
  if (answer === undefined) drop(turn, drops.unhandled)
  else send(turn, edge, frame.source, frame.type, answer)
}

/** Where outside finds an address: the neighbour that has the port, or the next hop of the longest prefix. */
const place = (turn: Turn, edge: Edge, address: string, port: number, tuple: Tuple): string | undefined => {
  const { vni } = edge.spec
  const range = find(turn.state.neighborNats, groupOf(vni, address))?.find(
    ({ maxPort, minPort }) => port >= minPort && port < maxPort,
  )
  if (range !== undefined) return range.underlayAddress
  const way = wayTo(turn.state, vni, address, tuple)
  if (way._tag === "Local") return way.entry.underlayAddress
  return way._tag === "Miss" ? undefined : way.address
}

/** An ICMP error of the edge about a packet; false: there is none to make. */
const complaint = (
  edge: Edge,
  packet: Packet,
  what: {
    readonly type4: readonly [number, number]
    readonly type6: readonly [number, number]
    readonly rest: number
  },
): Bytes | undefined => {
  const { bytes, tuple } = packet
  const source = tuple.family === 4 ? edge.spec.outsideIpv4 : edge.spec.outsideIpv6
  const [type, code] = tuple.family === 4 ? what.type4 : what.type6
  return source === undefined ? undefined : answerError(bytes, tuple, { type, code, rest: what.rest, source })
}

const tooOld = { type4: [11, 0], type6: [3, 0], rest: 0 } as const

const inward = (turn: Turn, edge: Edge, arrived: Packet, frame: Ethernet): void => {
  const packet = withPorts(turn, arrived, `e${edge.spec.name}`)
  if (packet === undefined) return drop(turn, drops.fragment)
  const { bytes, tuple } = packet
  const to = place(turn, edge, tuple.destination, tuple.destinationPort, tuple)
  if (to === undefined) return drop(turn, drops.edgeUnknown)
  const complain = (what: Parameters<typeof complaint>[2]): void => {
    const error = complaint(edge, packet, what)
    if (error !== undefined && mayError(turn, `e${edge.spec.name}`))
      send(turn, edge, frame.source, frame.type, error)
  }
  if (ttlOf(bytes, tuple) <= 1) {
    drop(turn, drops.edgeTtl)
    return complain(tooOld)
  }
  const { mtu } = turn.state.config
  if (bytes.length > mtu && (tuple.family === 6 || (u16(bytes, 6) & 0x4000) !== 0)) {
    drop(turn, drops.tooBig)
    return complain({ type4: [3, 4], type6: [2, 0], rest: mtu })
  }
  const underlay = edge.underlayAddress
  passTo(
    turn,
    { ...packet, bytes: aged(bytes, tuple), outer: { source: underlay, destination: underlay } },
    to,
    underlay,
  )
}

/** A packet of the overlay to an edge. */
export const arriveAtEdge = (turn: Turn, arrived: Packet, name: string): void => {
  const edge = find(turn.state.edges, name)
  if (edge === undefined) return drop(turn, drops.edgeUnknown)
  const packet = withPorts(turn, { ...arrived, context: `e${name}` }, `e${name}`)
  if (packet === undefined) return drop(turn, drops.fragment)
  const { bytes, tuple } = packet
  if (place(turn, edge, tuple.source, tuple.sourcePort, tuple) === undefined)
    return drop(turn, drops.edgeSource)
  if (ttlOf(bytes, tuple) <= 1) {
    drop(turn, drops.edgeTtl)
    const error = complaint(edge, packet, tooOld)
    const back = place(turn, edge, tuple.source, tuple.sourcePort, tuple)
    if (error === undefined || back === undefined || !mayError(turn, `e${name}`)) return
    const made = parseIp(error)
    if (made !== undefined) passTo(turn, { ...packet, bytes: error, tuple: made }, back, edge.underlayAddress)
    return
  }
  outward(turn, edge, tuple, aged(bytes, tuple))
}

const outward = (turn: Turn, edge: Edge, tuple: Tuple, bytes: Bytes): void => {
  const { gatewayIpv4, gatewayIpv6, outsideIpv4, outsideIpv6 } = edge.spec
  const mac = tuple.family === 4 ? edge.gateways.ipv4 : edge.gateways.ipv6
  if (mac !== undefined) return send(turn, edge, mac, typeOf(tuple), bytes)
  drop(turn, drops.edgeGateway)
  if (tuple.family === 4 && gatewayIpv4 !== undefined && outsideIpv4 !== undefined)
    return send(
      turn,
      edge,
      broadcastMac,
      etherTypes.arp,
      encodeArp({
        operation: "request",
        senderMac: edge.mac,
        senderIp: outsideIpv4,
        targetMac: "00:00:00:00:00:00",
        targetIp: gatewayIpv4,
      }),
    )
  if (tuple.family === 4 || gatewayIpv6 === undefined || outsideIpv6 === undefined) return
  const addresses = { source: outsideIpv6, destination: solicitedNode(gatewayIpv6) }
  const payload = encodeNeighbour(addresses, {
    _tag: "NeighbourSolicitation",
    target: gatewayIpv6,
    sourceMac: edge.mac,
  })
  send(
    turn,
    edge,
    multicastMac(addresses.destination),
    etherTypes.ipv6,
    encodeIpv6({ ...addresses, protocol: protocols.icmpv6, hopLimit: 255, payload }),
  )
}
