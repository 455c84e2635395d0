/**
 * Packets at an endpoint: what came from the underlay, and what one endpoint of this host passes on to another.
 */
import { answerEcho } from "./answer.ts"
import { arriveAtBalancer, isBalancerAddress, sendBack } from "./balance.ts"
import { createFlow, interfaceOwner, mayBegin } from "./create.ts"
import { arriveAtEdge } from "./edge.ts"
import { accepts } from "./firewall.ts"
import { flowKey, undo } from "./flow.ts"
import { recall, remember } from "./fragments.ts"
import { decodeIpv4, decodeIpv6, protocols } from "./ip.ts"
import { deliver, encapsulate, has, inPrefix, isTooBig, toUnderlay } from "./leave.ts"
import { followError, followLive } from "./live.ts"
import { groupOf } from "./nat.ts"
import { arriveAtService } from "./service-arrive.ts"
import { bytesOf } from "./address.ts"
import type { Bytes } from "./bytes.ts"
import { type Endpoint, find, type Interface, settings } from "./tables.ts"
import { isOurs, isOwnPrefix } from "./underlay.ts"
import { nothing, type Rewrite, rewritten, translate } from "./translate.ts"
import { drop, drops, holderOf, type Packet, tally, type Turn } from "./turn.ts"
import { flip, isEchoRequest, parseIp, parseQuoted } from "./tuple.ts"
import type { Translation } from "./flow.ts"

/** Endpoints that a packet may be passed on to by others, one after the other. */
const mostPassed = 4

/** An outer packet. */
export const fromUnderlay = (turn: Turn, bytes: Bytes): void => {
  const outer = decodeIpv6(bytes)
  if (outer === undefined) return drop(turn, drops.outerMalformed)
  const endpoint = find(turn.state.underlay, outer.destination)
  if (outer.protocol !== protocols.ipv4 && outer.protocol !== protocols.ipv6)
    return endpoint?._tag === "Service"
      ? arriveAtService(turn, outer.packet, endpoint.service)
      : drop(turn, drops.outerMalformed)
  const inner = outer.protocol === protocols.ipv4 ? decodeIpv4(outer.payload) : decodeIpv6(outer.payload)
  if (inner === undefined) return drop(turn, drops.outerMalformed)
  const tuple = parseIp(inner.packet)
  if (tuple === undefined) return drop(turn, drops.malformed)
  // A virtual service has no tunnel.
  if (endpoint === undefined || endpoint._tag === "Service")
    return drop(turn, isOurs(turn.state, outer.destination) ? drops.outerStale : drops.outerUnknown)
  const { destination, source } = outer
  const packet: Packet = {
    bytes: inner.packet,
    tuple,
    context: "",
    vm: undefined,
    outer: { source, destination },
    passed: 0,
  }
  arriveAt(turn, packet, endpoint)
}

/** On to an underlay address, with `from` as the outer source: out, or to an endpoint of this host. */
export const passTo = (turn: Turn, packet: Packet, to: string, from: string): void => {
  const near = isOwnPrefix(turn.state, to)
  if (!near && !settings(turn.state.config).uplink) return drop(turn, drops.noUplink)
  if (isTooBig(turn, packet, packet.bytes)) return
  if (near) {
    const endpoint = find(turn.state.underlay, to)
    if (endpoint === undefined || packet.passed >= mostPassed) return drop(turn, drops.routeMiss)
    return arriveAt(
      turn,
      { ...packet, outer: { source: from, destination: to }, passed: packet.passed + 1 },
      endpoint,
    )
  }
  tally(turn, "stage.encap.packets")
  toUnderlay(turn, encapsulate(from, to, packet.bytes))
}

/** A packet of a VM that has come to an endpoint by a route keeps the port that it came from. */
const contextAt = (packet: Packet, own: string): string => (packet.outer === undefined ? packet.context : own)

export const arriveAt = (turn: Turn, packet: Packet, endpoint: Endpoint): void => {
  const { destination } = packet.tuple
  if (endpoint._tag === "Balancer") {
    const balancer = find(turn.state.balancers, endpoint.id)
    if (balancer === undefined || !isBalancerAddress(balancer, packet)) return drop(turn, drops.innerForeign)
    const context = contextAt(packet, `b${endpoint.id}`)
    const known = withPorts(turn, { ...packet, context }, `b${endpoint.id}`)
    return known === undefined ? drop(turn, drops.fragment) : arriveAtBalancer(turn, known, balancer)
  }
  if (endpoint._tag === "Edge") return arriveAtEdge(turn, packet, endpoint.name)
  const entry = holderOf(turn.state, endpoint)
  if (entry === undefined) return drop(turn, drops.innerForeign)
  switch (endpoint._tag) {
    case "Nat":
      return arriveAtNat(turn, packet, entry)
    case "Vip":
      return entry.vip?.ip === destination && entry.spec.ipv4 !== undefined
        ? inbound(turn, packet, entry, entry.vip.ip)
        : drop(turn, drops.innerForeign)
    case "Prefix": {
      const inside = inPrefix(bytesOf(destination), endpoint.prefix.address, endpoint.prefix.length)
      return inside ? inbound(turn, packet, entry) : drop(turn, drops.innerForeign)
    }
    default:
      return destination === entry.spec.ipv4 || destination === entry.spec.ipv6
        ? inbound(turn, packet, entry)
        : drop(turn, drops.innerForeign)
  }
}

/** The first fragment leaves its ports, a later one takes them; `undefined`: nobody knows them. */
export const withPorts = (turn: Turn, packet: Packet, owner: string): Packet | undefined => {
  const { context, tuple } = packet
  if (tuple.fragment === "first")
    turn.state = {
      ...turn.state,
      fragments: remember(turn.state.fragments, context, tuple, owner, turn.now),
    }
  if (tuple.fragment !== "later") return packet
  const known = recall(turn.state.fragments, context, tuple, turn.now)
  return known === undefined ? undefined : { ...packet, tuple: known }
}

/** To an interface, by its own address, one of its prefixes or its VIP. */
const inbound = (turn: Turn, arrived: Packet, entry: Interface, vip?: string): void => {
  const fromVm = arrived.outer === undefined
  const packet = fromVm
    ? arrived
    : withPorts(turn, { ...arrived, context: `i${entry.index}` }, interfaceOwner(entry))
  if (packet === undefined) return drop(turn, drops.fragment)
  if (!fromVm && (followError(turn, packet) || followLive(turn, packet))) return
  toInterface(turn, packet, entry, vip)
}

/** A new flow to an interface of this host. `vip`: what it was called by. */
export const toInterface = (turn: Turn, packet: Packet, entry: Interface, vip?: string): void => {
  const sender = packet.outer === undefined ? packet.vm?.entry : undefined
  const own = sender?.index === entry.index
  if (own && vip === undefined) return drop(turn, drops.routeMiss)
  if (vip === undefined && !has(entry, packet.tuple.destination)) return drop(turn, drops.innerForeign)
  const forward: Rewrite =
    vip === undefined || entry.spec.ipv4 === undefined
      ? nothing
      : { destination: entry.spec.ipv4, ...(own ? { source: vip } : {}) }
  const translated = rewritten(packet.tuple, forward)
  if (!accepts(entry.firewall, translated, false)) return drop(turn, drops.firewallIngress)
  if (sender === undefined && !mayBegin(turn, entry)) return
  const translation: Translation =
    vip === undefined ? { _tag: "None" } : { _tag: "VipIn", interface: entry.index, ip: vip }
  createFlow(turn, packet, {
    replyKey: flowKey(`p${entry.index}`, flip(translated)),
    translated,
    sender: sender?.index,
    receiver: entry.index,
    translation,
    forward,
    back: undo(packet.tuple, forward),
    owner: interfaceOwner(sender ?? entry),
  })
  const out = translate(packet.bytes, packet.tuple, forward)
  if (!isTooBig(turn, packet, out)) deliver(turn, entry, out)
}

/** The port by which neighbours share an address. */
const natPort = (packet: Packet): number => {
  const { bytes, tuple } = packet
  if (tuple.icmp !== "error") return tuple.destinationPort
  return parseQuoted(bytes.subarray(tuple.l4 + 8, tuple.length))?.sourcePort ?? 0
}

export const natContext = (vni: number, ip: string): string => `n${groupOf(vni, ip)}`

const arriveAtNat = (turn: Turn, arrived: Packet, entry: Interface): void => {
  const { nat } = entry
  const { vni } = entry.spec
  if (nat === undefined || arrived.tuple.destination !== nat.ip) return drop(turn, drops.innerForeign)
  const context = natContext(vni, nat.ip)
  const packet = withPorts(turn, { ...arrived, context }, interfaceOwner(entry))
  if (packet === undefined) return drop(turn, drops.fragment)
  if (followError(turn, packet) || followLive(turn, packet)) return
  const port = natPort(packet)
  const neighbor = find(turn.state.neighborNats, groupOf(vni, nat.ip))?.find(
    ({ maxPort, minPort }) => port >= minPort && port < maxPort,
  )
  const from = packet.outer?.destination ?? nat.underlayAddress
  if (neighbor !== undefined)
    return settings(turn.state.config).uplink
      ? passTo(turn, packet, neighbor.underlayAddress, from)
      : drop(turn, drops.noUplink)
  const answer = isEchoRequest(packet.tuple) ? answerEcho(packet.bytes, packet.tuple) : undefined
  if (answer === undefined) return drop(turn, drops.natUnknown)
  sendBack(turn, packet, answer, from)
}
