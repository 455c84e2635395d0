/**
 * Live flows: a packet with the key of either direction takes that direction's decision, and an ICMP error that of the
 * packet which it quotes.
 *
 * After a change of the tables a flow is decided anew with the next packet: the firewalls over its first packet, its
 * translation, and whether it still goes between this host and where it went.
 */
import { HashMap } from "effect"
import { bytesOf, format } from "./address.ts"
import type { Bytes } from "./bytes.ts"
import { find } from "./find.ts"
import { accepts } from "./firewall.ts"
import { findFlow, type Flow, flowKey, type Found, hasEnded, touch } from "./flow.ts"
import { protocols } from "./ip.ts"
import { deliver, isTooBig, leave, rewrittenPacket, wayTo } from "./leave.ts"
import { convert, prefixed } from "./nat64.ts"
import { passTo } from "./arrive.ts"
import { relayToTarget } from "./balance.ts"
import { sendOutside, serviceReply, serviceRequest } from "./service.ts"
import { settings } from "./tables.ts"
import { translate, translateError, turned } from "./translate.ts"
import { drop, drops, endFlow, holderOf, interfaceOf, type Packet, type Turn } from "./turn.ts"
import { flip, parseQuoted, tcpFlag, type Tuple } from "./tuple.ts"

type Verdict = "stands" | (typeof drops)["firewallEgress" | "firewallIngress" | "flowEnded"]

const stillTranslated = (turn: Turn, flow: Flow): boolean => {
  const { translation } = flow
  if (!("interface" in translation)) return true
  const entry = interfaceOf(turn.state, translation.interface)
  if (translation._tag === "VipIn" || translation._tag === "VipOut") return entry?.vip?.ip === translation.ip
  const nat = entry?.nat
  return (
    nat !== undefined &&
    nat.ip === translation.ip &&
    translation.port >= nat.min &&
    translation.port < nat.max
  )
}

/** A flow of a VM by a route whose other end is no longer on this host, or is now. */
const hasMoved = (turn: Turn, flow: Flow): boolean => {
  const sender = flow.sender === undefined ? undefined : interfaceOf(turn.state, flow.sender)
  const tag = flow.translation._tag
  if (sender === undefined || tag === "VipIn" || tag === "Service" || tag === "Balancer") return false
  const way = wayTo(turn.state, sender.spec.vni, flow.original.destination, flow.original)
  if (way._tag === "Miss") return flow.receiver !== undefined
  const receiver =
    way._tag === "Local"
      ? way.entry
      : way._tag === "Endpoint"
        ? holderOf(turn.state, find(turn.state.underlay, way.address))
        : undefined
  return receiver?.index !== flow.receiver
}

const decideAnew = (turn: Turn, flow: Flow): Verdict => {
  const sender = flow.sender === undefined ? undefined : interfaceOf(turn.state, flow.sender)
  const receiver = flow.receiver === undefined ? undefined : interfaceOf(turn.state, flow.receiver)
  if (sender !== undefined && !accepts(sender.firewall, flow.original, true)) return drops.firewallEgress
  if (receiver !== undefined && !accepts(receiver.firewall, flow.translated, false))
    return drops.firewallIngress
  return stillTranslated(turn, flow) ? "stands" : drops.flowEnded
}

/** False: there is none any more, and the packet is as one of no flow. */
const settle = (turn: Turn, packet: Packet, found: Found): boolean | "dropped" => {
  const { epoch } = turn.state
  const verdict: Verdict = found.flow.epoch === epoch ? "stands" : decideAnew(turn, found.flow)
  if (verdict !== "stands") {
    turn.state = endFlow(turn.state, found.id)
    drop(turn, verdict)
    return "dropped"
  }
  // Where a flow goes is asked for what VMs send; what comes from the underlay has arrived.
  if (packet.vm !== undefined && packet.outer === undefined && hasMoved(turn, found.flow)) {
    turn.state = endFlow(turn.state, found.id)
    return false
  }
  const all = HashMap.set(turn.state.flows.all, found.id, { ...found.flow, epoch })
  turn.state = { ...turn.state, flows: { ...turn.state.flows, all } }
  return true
}

/** The live flow that a packet is of. A SYN in the original direction of one that ended begins another. */
export const liveFlow = (turn: Turn, context: string, tuple: Tuple): Found | undefined => {
  const found = findFlow(turn.state.flows, flowKey(context, tuple))
  if (found === undefined) return undefined
  // As flows remember it: with RST an ACK is none.
  const acknowledges = (tuple.tcpFlags & tcpFlag.ack) !== 0 && (tuple.tcpFlags & tcpFlag.rst) === 0
  const opens = tuple.protocol === protocols.tcp && (tuple.tcpFlags & tcpFlag.syn) !== 0 && !acknowledges
  if (!opens || found.reply || !hasEnded(found.flow)) return found
  turn.state = endFlow(turn.state, found.id)
  return undefined
}

export const renew = (turn: Turn, found: Found, tuple: Tuple): void => {
  const flow = find(turn.state.flows.all, found.id) ?? found.flow
  const { flowTimeout } = settings(turn.state.config)
  turn.state = {
    ...turn.state,
    flows: touch(turn.state.flows, { ...found, flow }, tuple, turn.now, flowTimeout),
  }
}

/** True: the packet was of a live flow, and is done with. */
export const followLive = (turn: Turn, packet: Packet): boolean => {
  const found = liveFlow(turn, packet.context, packet.tuple)
  if (found === undefined) return false
  const settled = settle(turn, packet, found)
  if (settled !== true) return settled === "dropped"
  if (found.flow.translation._tag === "Balancer") return relayToTarget(turn, packet, found)
  const nowhere = goesNowhere(turn, found, packet.tuple)
  if (nowhere !== undefined) {
    drop(turn, nowhere)
    return true
  }
  if (!hasWay(turn, found, packet.tuple)) return true
  renew(turn, found, packet.tuple)
  const out = changed(packet, found)
  if (out === undefined) drop(turn, packet.tuple.fragment === "whole" ? drops.natProtocol : drops.fragment)
  else send(turn, packet, found, packet.tuple, out)
  return true
}

/** Why there is no way on for packets of this direction now; they do not renew their flow. */
const goesNowhere = (
  turn: Turn,
  found: Found,
  key: Tuple,
): "drop.no_uplink" | "drop.route_miss" | undefined => {
  const { flow, reply } = found
  if (flow.translation._tag === "Service" && !reply) return undefined
  const to = reply ? flow.sender : flow.receiver
  const from = reply ? flow.receiver : flow.sender
  const entry = from === undefined ? undefined : interfaceOf(turn.state, from)
  if ((to !== undefined && interfaceOf(turn.state, to) !== undefined) || entry === undefined) return undefined
  const way = wayTo(turn.state, entry.spec.vni, key.destination, key)
  if (way._tag === "Remote") return settings(turn.state.config).uplink ? undefined : drops.noUplink
  const unknown = way._tag === "Endpoint" && find(turn.state.underlay, way.address) === undefined
  return way._tag === "Miss" || unknown ? drops.routeMiss : undefined
}

/** False: its direction leads nowhere now, which does not keep the flow alive. */
const hasWay = (turn: Turn, found: Found, key: Tuple): boolean => {
  const { flow, reply } = found
  if (flow.translation._tag === "Service" || (reply ? flow.sender : flow.receiver) !== undefined) return true
  const from = reply ? flow.receiver : flow.sender
  const entry = from === undefined ? undefined : interfaceOf(turn.state, from)
  const way = entry === undefined ? undefined : wayTo(turn.state, entry.spec.vni, key.destination, key)
  const lost =
    way === undefined ||
    way._tag === "Miss" ||
    (way._tag === "Endpoint" && find(turn.state.underlay, way.address) === undefined)
  if (lost) drop(turn, drops.routeMiss)
  return !lost
}

/** The packet as it goes on in its direction. */
const changed = (packet: Packet, found: Found): Bytes | undefined => {
  const { flow, reply } = found
  const { bytes, tuple } = packet
  if (flow.translation._tag === "Service")
    return reply ? serviceReply(packet, flow) : serviceRequest(packet, flow)
  if (flow.translation._tag === "Nat64") return convert(bytes, tuple, sideOf(flow, reply))
  return translate(bytes, tuple, reply ? flow.back : flow.forward)
}

const sideOf = (flow: Flow, reply: boolean) =>
  reply
    ? {
        source: flow.original.destination,
        destination: flow.original.source,
        destinationPort: flow.original.sourcePort,
      }
    : {
        source: flow.translated.source,
        destination: flow.translated.destination,
        sourcePort: flow.translated.sourcePort,
      }

/** On the flow's way. `key`: a tuple of its direction as it came, by which a hop is chosen. */
const send = (turn: Turn, packet: Packet, found: Found, key: Tuple, out: Bytes): void => {
  const { flow, reply } = found
  if (flow.translation._tag === "Service" && !reply) return sendOutside(turn, packet, out)
  const to = reply ? flow.sender : flow.receiver
  const receiver = to === undefined ? undefined : interfaceOf(turn.state, to)
  if (receiver !== undefined) {
    if (!isTooBig(turn, packet, out)) deliver(turn, receiver, out)
    return
  }
  const from = reply ? flow.receiver : flow.sender
  const entry = from === undefined ? undefined : interfaceOf(turn.state, from)
  if (entry === undefined) return drop(turn, drops.routeMiss)
  const way = wayTo(turn.state, entry.spec.vni, key.destination, key)
  if (way._tag === "Remote") return leave(turn, packet, entry, way, out)
  if (way._tag === "Miss") return drop(turn, drops.routeMiss)
  // Whoever began it has come to this host.
  if (way._tag === "Local") {
    if (!isTooBig(turn, packet, out)) deliver(turn, way.entry, out)
    return
  }
  if (find(turn.state.underlay, way.address)?._tag === "Edge") return leave(turn, packet, entry, way, out)
  if (!isTooBig(turn, packet, out))
    passTo(turn, rewrittenPacket(packet, out), way.address, entry.underlayAddress)
}

/** True: the packet was an error about a live flow, and is done with. */
export const followError = (turn: Turn, packet: Packet): boolean => {
  const { bytes, tuple } = packet
  if (tuple.icmp !== "error" || tuple.fragment !== "whole") return false
  const about = parseQuoted(bytes.subarray(tuple.l4 + 8, tuple.length))
  if (about === undefined || about.family !== tuple.family || about.fragment === "later") return false
  const key = flip(about)
  const found = findFlow(turn.state.flows, flowKey(packet.context, key))
  if (found === undefined) return false
  const settled = settle(turn, packet, found)
  if (settled !== true) return settled === "dropped"
  if (found.flow.translation._tag === "Balancer") return relayToTarget(turn, packet, found)
  const out = changedError(packet, found, key)
  if (out === undefined) drop(turn, drops.natProtocol)
  else send(turn, packet, found, key, out)
  return true
}

/** The error as it goes on in the direction of `key`, that of the packets which its sender was sending. */
const changedError = (packet: Packet, found: Found, key: Tuple): Bytes | undefined => {
  const { flow, reply } = found
  const { bytes, tuple } = packet
  if (flow.translation._tag === "Service") return undefined
  if (flow.translation._tag === "Nat64") {
    const side = sideOf(flow, reply)
    const quoted = {
      source: side.destination,
      destination: side.source,
      ...("sourcePort" in side ? { destinationPort: side.sourcePort } : { sourcePort: side.destinationPort }),
    }
    // The error may come from, or go to, a router on the way.
    const ends = reply
      ? { source: format(prefixed(bytesOf(tuple.source))) }
      : { destination: format(bytesOf(tuple.destination).slice(12)) }
    return convert(bytes, tuple, { ...side, ...ends }, quoted)
  }
  if (tuple.family === 6) return bytes
  const rewrite = reply ? flow.back : flow.forward
  const outer = {
    ...(rewrite.destination === undefined ? {} : { destination: rewrite.destination }),
    ...(rewrite.source === undefined || tuple.source !== key.source ? {} : { source: rewrite.source }),
  }
  return translateError(bytes, tuple, outer, turned(rewrite))
}
