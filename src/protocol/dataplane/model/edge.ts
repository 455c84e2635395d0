/**
 * Edges: ways out of the overlay, to a network outside.
 *
 * Outside an edge is a router with its own addresses, and stands for whatever address it would find in the overlay: it
 * answers ARP and neighbour solicitations for all of these, and echo for its own. It is no NAT: packets pass as they are,
 * one hop older.
 */
import { HashMap } from "effect"
import { broadcastMac, bytesOf, multicastMac, solicitedNode } from "./address.ts"
import { aged, answerEcho, answerError, ttlOf } from "./answer.ts"
import { passTo, withPorts } from "./arrive.ts"
import { type Bytes, u16 } from "./bytes.ts"
import {
  type Arp,
  decodeArp,
  decodeEthernet,
  encodeArp,
  encodeEthernet,
  type Ethernet,
  etherTypes,
} from "./ethernet.ts"
import { decodeIpv6, encodeIpv6, protocols } from "./ip.ts"
import { inPrefix, wayTo } from "./leave.ts"
import { groupOf } from "./nat.ts"
import { decodeNeighbour, encodeNeighbour, isNeighbour, type Neighbour } from "./neighbour.ts"
import { type Edge, find, key, lookup, type OutsideNeighbour, type Route } from "./tables.ts"
import { drop, drops, holderOf, mayError, type Packet, tally, type Turn } from "./turn.ts"
import { isEchoRequest, parseIp, parseQuoted, type Tuple } from "./tuple.ts"

/** Packets that wait for a neighbour; for all of an edge; and how long, in milliseconds, as everything below. */
const held = { each: 16, all: 256, millis: 3_000 } as const
/** A neighbour that was silent for so long is asked again, at most so often, and so many times before it is unknown. */
const asking = { after: 30_000, every: 1_000, tries: 3 } as const

const send = (turn: Turn, edge: Edge, destination: string, type: number, payload: Bytes): void => {
  tally(turn, `port.${edge.device}.tx_packets`)
  turn.outputs.push({
    _tag: "ToPort",
    device: edge.opened,
    frame: encodeEthernet({ destination, source: edge.mac, type, payload }),
  })
}

const typeOf = (tuple: Tuple): number => (tuple.family === 4 ? etherTypes.ipv4 : etherTypes.ipv6)
const isWide = (address: string): boolean => address.includes(":")
const ownOf = (edge: Edge, address: string) => (isWide(address) ? edge.outside6 : edge.outside4)
const isOwn = (edge: Edge, address: string): boolean => ownOf(edge, address)?.address === address

const onLink = (edge: Edge, address: string): boolean => {
  const own = ownOf(edge, address)
  return own !== undefined && inPrefix(bytesOf(address), own.address, own.length)
}

const setNeighbour = (turn: Turn, edge: Edge, address: string, neighbour: OutsideNeighbour): void => {
  const known = find(turn.state.edges, edge.spec.name) ?? edge
  const neighbours = HashMap.set(known.neighbours, address, neighbour)
  turn.state = {
    ...turn.state,
    edges: HashMap.set(turn.state.edges, edge.spec.name, { ...known, neighbours }),
  }
}

const neighbourOf = (turn: Turn, edge: Edge, address: string): OutsideNeighbour | undefined =>
  find((find(turn.state.edges, edge.spec.name) ?? edge).neighbours, address)

/** Without the packets that have waited for too long. */
const fresh = (turn: Turn, neighbour: OutsideNeighbour): OutsideNeighbour => {
  const kept = neighbour.held.filter(({ at }) => turn.now - at <= held.millis)
  for (let i = kept.length; i < neighbour.held.length; i++) drop(turn, drops.edgeGateway)
  return { ...neighbour, held: kept }
}

/** True: somebody whom we asked for has spoken. Whatever waits for it goes. */
const learn = (turn: Turn, edge: Edge, address: string, mac: string): boolean => {
  const neighbour = neighbourOf(turn, edge, address)
  if (neighbour === undefined || neighbour.fixed || (Number.parseInt(mac.slice(0, 2), 16) & 1) !== 0)
    return false
  const { held: waiting } = fresh(turn, neighbour)
  for (const { bytes, type } of waiting) send(turn, edge, mac, type, bytes)
  setNeighbour(turn, edge, address, {
    ...neighbour,
    mac,
    tries: 0,
    nextAt: turn.now + asking.after,
    held: [],
  })
  return true
}

/** Asks for a neighbour where that is due. */
const ask = (turn: Turn, edge: Edge, address: string, neighbour: OutsideNeighbour): OutsideNeighbour => {
  const own = ownOf(edge, address)
  if (neighbour.fixed || turn.now < neighbour.nextAt || own === undefined) return neighbour
  if (isWide(address)) {
    const addresses = { source: own.address, destination: solicitedNode(address) }
    const payload = encodeNeighbour(addresses, {
      _tag: "NeighbourSolicitation",
      target: address,
      sourceMac: edge.mac,
    })
    const packet = encodeIpv6({ ...addresses, protocol: protocols.icmpv6, hopLimit: 255, payload })
    send(turn, edge, multicastMac(addresses.destination), etherTypes.ipv6, packet)
  } else {
    const question: Arp = {
      operation: "request",
      senderMac: edge.mac,
      senderIp: own.address,
      targetMac: "00:00:00:00:00:00",
      targetIp: address,
    }
    send(turn, edge, broadcastMac, etherTypes.arp, encodeArp(question))
  }
  return {
    ...neighbour,
    mac: neighbour.tries >= asking.tries ? undefined : neighbour.mac,
    tries: neighbour.tries + 1,
    nextAt: turn.now + asking.every,
  }
}

const arp = (turn: Turn, edge: Edge, frame: Ethernet): void => {
  const packet = decodeArp(frame.payload)
  if (packet === undefined) return drop(turn, drops.unhandled)
  const learned = learn(turn, edge, packet.senderIp, packet.senderMac)
  const { senderIp, senderMac, targetIp } = packet
  const asked = packet.operation === "request" && senderIp !== targetIp && edge.outside4 !== undefined
  if (asked && (isOwn(edge, targetIp) || standsFor(turn, edge, targetIp)))
    return send(
      turn,
      edge,
      senderMac,
      etherTypes.arp,
      encodeArp({
        operation: "reply",
        senderMac: edge.mac,
        senderIp: targetIp,
        targetMac: senderMac,
        targetIp: senderIp,
      }),
    )
  if (!learned) drop(turn, drops.unhandled)
}

/** True: it was a message of neighbour discovery, and is done with. */
const neighbour = (turn: Turn, edge: Edge, frame: Ethernet): boolean => {
  const packet = decodeIpv6(frame.payload)
  if (packet === undefined || !isNeighbour(packet)) return false
  const message = decodeNeighbour(packet)
  if (
    message?._tag === "NeighbourAdvertisement" &&
    learn(turn, edge, message.target, message.targetMac ?? frame.source)
  )
    return true
  if (message?._tag === "NeighbourSolicitation" && edge.outside6 !== undefined) {
    const own = isOwn(edge, message.target)
    if (own || standsFor(turn, edge, message.target)) {
      advertise(turn, edge, frame, packet.source, message, own)
      return true
    }
  }
  drop(turn, drops.unhandled)
  return true
}

const advertise = (
  turn: Turn,
  edge: Edge,
  frame: Ethernet,
  asker: string,
  { target }: Neighbour & { _tag: "NeighbourSolicitation" },
  own: boolean,
): void => {
  const probe = asker === "::"
  const addresses = { source: target, destination: probe ? "ff02::1" : asker }
  const payload = encodeNeighbour(addresses, {
    _tag: "NeighbourAdvertisement",
    target,
    targetMac: edge.mac,
    router: true,
    solicited: !probe,
    override: own,
  })
  const answer = encodeIpv6({ ...addresses, protocol: protocols.icmpv6, hopLimit: 255, payload })
  send(turn, edge, probe ? multicastMac("ff02::1") : frame.source, etherTypes.ipv6, answer)
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
    context: `eo${edge.spec.name}`,
    vm: undefined,
    outer: undefined,
    passed: 0,
  }
  if (!isOwn(edge, tuple.destination)) return inward(turn, edge, packet, frame)
  const answer = isEchoRequest(tuple) ? answerEcho(packet.bytes, tuple) : undefined
  if (answer === undefined) drop(turn, drops.unhandled)
  else send(turn, edge, frame.source, frame.type, answer)
}

/** The longest prefix that is not the way of last resort: that one leads to edges, and is not behind them. */
const routeTo = (turn: Turn, edge: Edge, address: string): Route | undefined => {
  const table = find(turn.state.vnis, edge.spec.vni)
  const route = table === undefined ? undefined : lookup(table, address)
  return route === undefined || route.prefix.length === 0 ? undefined : route
}

/** A VIP or load balancer of this host. */
const serviceAt = (turn: Turn, edge: Edge, address: string): string | undefined => {
  const endpoint = find(turn.state.addresses, groupOf(edge.spec.vni, address))
  return endpoint?._tag === "Balancer"
    ? find(turn.state.balancers, endpoint.id)?.underlayAddress
    : holderOf(turn.state, endpoint)?.vip?.underlayAddress
}

/**
 * Where outside finds an address: the neighbour that has the port, a VIP or load balancer of this host, or the next hop of
 * the longest prefix; never the edge itself.
 */
const place = (turn: Turn, edge: Edge, address: string, port: number, tuple: Tuple): string | undefined => {
  const { vni } = edge.spec
  const range = find(turn.state.neighborNats, groupOf(vni, address))?.find(
    ({ maxPort, minPort }) => port >= minPort && port < maxPort,
  )
  const hop = range?.underlayAddress ?? serviceAt(turn, edge, address) ?? nextHop(turn, edge, address, tuple)
  return hop === edge.underlayAddress ? undefined : hop
}

const nextHop = (turn: Turn, edge: Edge, address: string, tuple: Tuple): string | undefined => {
  const route = routeTo(turn, edge, address)
  if (route === undefined) return undefined
  if (route.local !== undefined) {
    const entry = find(turn.state.interfaces, route.local)
    const own = entry?.prefixes.find(({ prefix, routed }) => routed && key(prefix) === key(route.prefix))
    return own?.underlayAddress ?? entry?.underlayAddress
  }
  const way = wayTo(turn.state, edge.spec.vni, address, tuple)
  return "address" in way ? way.address : undefined
}

/** Whether a neighbour outside is told that an address is here: it is found by more than what the link's own prefix says. */
const standsFor = (turn: Turn, edge: Edge, address: string): boolean => {
  const ranges = find(turn.state.neighborNats, groupOf(edge.spec.vni, address))
  if ((ranges !== undefined && ranges.length > 0) || serviceAt(turn, edge, address) !== undefined) return true
  const route = routeTo(turn, edge, address)
  if (route === undefined) return false
  return !onLink(edge, address) || route.prefix.length > (ownOf(edge, address)?.length ?? 0)
}

/** The port of the side in the overlay, by which neighbours share an address. */
const portOf = ({ bytes, tuple }: Packet, side: "sourcePort" | "destinationPort"): number => {
  if (tuple.icmp !== "error") return tuple[side]
  const quoted = parseQuoted(bytes.subarray(tuple.l4 + 8, tuple.length))
  return quoted?.[side === "sourcePort" ? "destinationPort" : "sourcePort"] ?? 0
}

/** An ICMP error of the edge about a packet; `undefined`: there is none to make. */
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
  const source = (tuple.family === 4 ? edge.outside4 : edge.outside6)?.address
  const [type, code] = tuple.family === 4 ? what.type4 : what.type6
  return source === undefined ? undefined : answerError(bytes, tuple, { type, code, rest: what.rest, source })
}

const tooOld = { type4: [11, 0], type6: [3, 0], rest: 0 } as const

const inward = (turn: Turn, edge: Edge, arrived: Packet, frame: Ethernet): void => {
  const packet = withPorts(turn, arrived, `e${edge.spec.name}`)
  if (packet === undefined) return drop(turn, drops.fragment)
  const { bytes, tuple } = packet
  const to = place(turn, edge, tuple.destination, portOf(packet, "destinationPort"), tuple)
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
  inside(turn, edge, { ...packet, bytes: aged(bytes, tuple) }, to)
}

/** Into the overlay, as a packet of the edge. */
const inside = (turn: Turn, edge: Edge, packet: Packet, to: string): void => {
  const from = edge.underlayAddress
  passTo(turn, { ...packet, vm: undefined, outer: { source: from, destination: from } }, to, from)
}

/** A packet of the overlay to an edge. */
export const arriveAtEdge = (turn: Turn, arrived: Packet, name: string): void => {
  const edge = find(turn.state.edges, name)
  if (edge === undefined) return drop(turn, drops.edgeUnknown)
  const packet = withPorts(turn, { ...arrived, context: `e${name}` }, `e${name}`)
  if (packet === undefined) return drop(turn, drops.fragment)
  const { bytes, tuple } = packet
  const back = place(turn, edge, tuple.source, portOf(packet, "sourcePort"), tuple)
  if (back === undefined) return drop(turn, drops.edgeSource)
  if (isOwn(edge, tuple.destination)) {
    const answer = isEchoRequest(tuple) ? answerEcho(bytes, tuple) : undefined
    return answer === undefined ? drop(turn, drops.unhandled) : answerTo(turn, edge, packet, answer, back)
  }
  if (ttlOf(bytes, tuple) <= 1) {
    drop(turn, drops.edgeTtl)
    const error = complaint(edge, packet, tooOld)
    if (error !== undefined && mayError(turn, `e${name}`)) answerTo(turn, edge, packet, error, back)
    return
  }
  const on = { ...packet, bytes: aged(bytes, tuple) }
  const port = tuple.icmp === "error" ? 0 : tuple.destinationPort
  const near = place(turn, edge, tuple.destination, port, tuple)
  if (near === undefined) outward(turn, edge, on)
  else inside(turn, edge, on, near)
}

const answerTo = (turn: Turn, edge: Edge, packet: Packet, bytes: Bytes, back: string): void => {
  const tuple = parseIp(bytes)
  if (tuple !== undefined) inside(turn, edge, { ...packet, bytes, tuple }, back)
}

const heldBy = (turn: Turn, edge: Edge): number =>
  HashMap.reduce(
    (find(turn.state.edges, edge.spec.name) ?? edge).neighbours,
    0,
    (sum, one) => sum + one.held.length,
  )

const nobody: OutsideNeighbour = { mac: undefined, fixed: false, tries: 0, nextAt: 0, held: [] }

const outward = (turn: Turn, edge: Edge, { bytes, tuple }: Packet): void => {
  const gateway = tuple.family === 4 ? edge.spec.gatewayIpv4 : edge.spec.gatewayIpv6
  const next = onLink(edge, tuple.destination) ? tuple.destination : gateway
  if (next === undefined) return drop(turn, drops.edgeGateway)
  const asked = ask(turn, edge, next, neighbourOf(turn, edge, next) ?? nobody)
  setNeighbour(turn, edge, next, asked)
  if (asked.mac !== undefined) return send(turn, edge, asked.mac, typeOf(tuple), bytes)
  const left = fresh(turn, asked)
  setNeighbour(turn, edge, next, left)
  if (left.held.length >= held.each || heldBy(turn, edge) >= held.all) return drop(turn, drops.edgeGateway)
  const waiting = { type: typeOf(tuple), bytes, at: turn.now }
  setNeighbour(turn, edge, next, { ...left, held: [...left.held, waiting] })
}
