/**
 * Load balancers: a packet for one goes on unchanged to one of its targets, the same one as long as its flow lives.
 *
 * A flow has no reply direction here, for the target answers the client itself; unless the client is a VM of this host.
 */
import { bytesOf } from "./address.ts"
import { passTo } from "./arrive.ts"
import { answerEcho, answerError, answerReset } from "./answer.ts"
import { createFlow } from "./create.ts"
import { accepts } from "./firewall.ts"
import { flowKey, type Found } from "./flow.ts"
import { protocols } from "./ip.ts"
import { deliver, encapsulate, toUnderlay } from "./leave.ts"
import { followError, liveFlow, renew } from "./live.ts"
import { choiceHash } from "./murmur.ts"
import { type Balancer, find, settings } from "./tables.ts"
import { isOwnPrefix } from "./underlay.ts"
import { nothing } from "./translate.ts"
import { drop, drops, endFlow, interfaceOf, mayError, type Packet, tally, type Turn } from "./turn.ts"
import { flip, isEchoRequest, parseIp, type Tuple } from "./tuple.ts"

/** Back to where the packet came from: the VM, or what stands in the outer source, from the address that it came to. */
export const sendBack = (turn: Turn, packet: Packet, answer: Uint8Array, from: string): void => {
  if (packet.vm !== undefined) return deliver(turn, packet.vm.entry, answer)
  if (packet.outer === undefined) return
  const tuple = isOwnPrefix(turn.state, packet.outer.source) ? parseIp(answer) : undefined
  // An edge of this host asked.
  if (tuple !== undefined) return passTo(turn, { ...packet, bytes: answer, tuple }, packet.outer.source, from)
  if (!settings(turn.state.config).uplink) return drop(turn, drops.noUplink)
  tally(turn, "stage.encap.packets")
  toUnderlay(turn, encapsulate(from, packet.outer.source, answer))
}

const serves = (balancer: Balancer, tuple: Tuple): boolean =>
  balancer.spec.ports.some(
    ({ first, last, protocol }) =>
      protocol === tuple.protocol && tuple.destinationPort >= first && tuple.destinationPort <= last,
  )

/** A packet whose destination is the balancer's address. */
export const arriveAtBalancer = (turn: Turn, packet: Packet, balancer: Balancer): void => {
  const { tuple } = packet
  if (isEchoRequest(tuple)) {
    const answer = answerEcho(packet.bytes, tuple)
    if (answer === undefined) return drop(turn, drops.natUnknown)
    return sendBack(turn, packet, answer, balancer.underlayAddress)
  }
  if (followError(turn, packet)) return
  if (!serves(balancer, tuple)) return drop(turn, drops.balancerPort)
  const found = liveFlow(turn, packet.context, tuple)
  if (found !== undefined) {
    relayToTarget(turn, packet, found)
    return
  }
  if (balancer.slots.length === 0) return drop(turn, drops.balancerEmpty)
  const slot = choiceHash(tuple, settings(turn.state.config).seed) % balancer.slots.length
  const target = balancer.spec.targets[balancer.slots[slot] ?? 0]
  if (target === undefined) return drop(turn, drops.balancerEmpty)
  if (!isOwnPrefix(turn.state, target) && !settings(turn.state.config).uplink)
    return drop(turn, drops.noUplink)
  const sender = packet.outer === undefined ? packet.vm?.entry.index : undefined
  // What a target elsewhere answers to a VM of this host comes to that VM; what a target here answers is of its own flow.
  const answered = sender !== undefined && !isOwnPrefix(turn.state, target)
  createFlow(turn, packet, {
    replyKey: answered ? flowKey(`i${sender}`, flip(tuple)) : undefined,
    translated: tuple,
    sender,
    receiver: undefined,
    translation: { _tag: "Balancer", id: balancer.spec.id, target },
    forward: nothing,
    back: nothing,
    owner: `b${balancer.spec.id}`,
  })
  passTo(turn, packet, target, balancer.underlayAddress)
}

/** Of a live flow. True, for it is done with; false: the balancer is gone, and the flow with it. */
export const relayToTarget = (turn: Turn, packet: Packet, found: Found): boolean => {
  const { flow, id } = found
  const { translation } = flow
  const balancer = translation._tag === "Balancer" ? find(turn.state.balancers, translation.id) : undefined
  if (translation._tag !== "Balancer" || balancer === undefined) {
    turn.state = endFlow(turn.state, id)
    return false
  }
  const sender = flow.sender === undefined ? undefined : interfaceOf(turn.state, flow.sender)
  if (
    flow.epoch !== turn.state.epoch &&
    sender !== undefined &&
    !accepts(sender.firewall, flow.original, true)
  ) {
    turn.state = endFlow(turn.state, id)
    drop(turn, drops.firewallEgress)
    return true
  }
  const error = packet.tuple.icmp === "error"
  if (!error && !serves(balancer, flow.original)) {
    drop(turn, drops.balancerPort)
    return true
  }
  if (!balancer.spec.targets.includes(translation.target)) {
    turn.state = endFlow(turn.state, id)
    endWithAnswer(turn, packet, balancer)
    return true
  }
  if (!error) renew(turn, found, packet.tuple)
  if (found.reply) {
    if (sender === undefined) drop(turn, drops.routeMiss)
    else deliver(turn, sender, packet.bytes)
    return true
  }
  passTo(turn, packet, translation.target, balancer.underlayAddress)
  return true
}

/** The target is none any more: its clients are told, so that they connect again. */
const endWithAnswer = (turn: Turn, packet: Packet, balancer: Balancer): void => {
  const { bytes, tuple } = packet
  drop(turn, drops.flowEnded)
  const answer =
    tuple.protocol === protocols.tcp
      ? answerReset(bytes, tuple)
      : answerError(bytes, tuple, {
          type: tuple.family === 4 ? 3 : 1,
          code: tuple.family === 4 ? 13 : 1,
          rest: 0,
          source: tuple.destination,
        })
  if (answer !== undefined && mayError(turn, `b${balancer.spec.id}`))
    sendBack(turn, packet, answer, balancer.underlayAddress)
}

export const isBalancerAddress = (balancer: Balancer, packet: Packet): boolean =>
  bytesOf(balancer.spec.ip).length === (packet.tuple.family === 4 ? 4 : 16) &&
  packet.tuple.destination === balancer.spec.ip
