/**
 * What becomes of one packet: the model's fast path, as a function.
 *
 * `step` takes the state, one input (a frame that a VM sent, or an IPv6 packet that came from the underlay) and the time,
 * and gives the next state with what leaves. It is total: every drop has a reason and a counter `drop.<reason>`.
 * The rules are those of docs/packet-path.md, in its order; stages count as the native engine's do, but for
 * `stage.decide`, which is not counted.
 *
 * This file has the way of a VM's frame until it is known what flow it is of: the gateway's own services, the sender's
 * addresses, what is never routed, the total rate. `begin.ts` has new flows, `live.ts` live ones, `arrive.ts` the underlay.
 */
import { HashMap } from "effect"
import { isLinkLocal } from "./address.ts"
import { fromUnderlay, withPorts } from "./arrive.ts"
import { begin } from "./begin.ts"
import type { Bytes } from "./bytes.ts"
import { interfaceOwner } from "./create.ts"
import { fromOutside } from "./edge.ts"
import { decodeArp, decodeEthernet, etherTypes } from "./ethernet.ts"
import {
  answerArp,
  answerEcho4,
  answerEcho6,
  answerNeighbour,
  isGroupMac,
  leaseIpv4,
  leaseIpv6,
  unroutable,
} from "./gateway.ts"
import { decodeIpv4, decodeIpv6, type Ipv4, type Ipv6, protocols } from "./ip.ts"
import { has, toPort } from "./leave.ts"
import { followError, followLive } from "./live.ts"
import { isNeighbour } from "./neighbour.ts"
import { meter } from "./rate.ts"
import { serviceOf } from "./service.ts"
import { find, gatewayIpv4, gatewayIpv6, type Interface, type ModelState } from "./tables.ts"
import {
  allowed,
  drop,
  drops,
  expire,
  type Output,
  perSecond,
  type Sender,
  tally,
  type Turn,
} from "./turn.ts"
import { parseIp, type Tuple } from "./tuple.ts"

export { encapsulate, openedDevice } from "./leave.ts"
export { drops, type Output } from "./turn.ts"

export type Input =
  /** A frame that the VM on an opened device sent. `device`: KIND:DEVICE. */
  | { readonly _tag: "FromPort"; readonly device: string; readonly frame: Bytes }
  /** An IPv6 packet of the underlay, without its link header. */
  | { readonly _tag: "FromUnderlay"; readonly packet: Bytes }

export interface Next {
  readonly state: ModelState
  readonly outputs: ReadonlyArray<Output>
}

/** Outputs name the device as `KIND:DEVICE`, as inputs do. `now`: milliseconds, of any clock that does not go back. */
export const step = (state: ModelState, input: Input, now = 0): Next => {
  const turn: Turn = { state: expire(state, now), outputs: [], now }
  if (input._tag === "FromPort") fromPort(turn, input.device, input.frame)
  else {
    tally(turn, "stage.decap.packets")
    fromUnderlay(turn, input.packet)
  }
  return { state: turn.state, outputs: turn.outputs }
}

const fromPort = (turn: Turn, device: string, bytes: Bytes): void => {
  tally(turn, "stage.classify.packets")
  const id = find(turn.state.devices, device)
  const entry = id === undefined ? undefined : find(turn.state.interfaces, id)
  if (entry === undefined) return fromOutside(turn, device, bytes)
  tally(turn, `port.${entry.device}.rx_packets`)
  const frame = decodeEthernet(bytes)
  if (frame === undefined || frame.payload.length === 0) return drop(turn, drops.malformed)
  const vm: Sender = { entry, frame }
  if (frame.type === etherTypes.arp) return arp(turn, vm)
  if (frame.type !== etherTypes.ipv4 && frame.type !== etherTypes.ipv6) return drop(turn, drops.notIp)
  const tuple = parseIp(frame.payload)
  if (tuple === undefined) return drop(turn, drops.malformed)
  if (frame.type === etherTypes.ipv4) {
    const packet = decodeIpv4(frame.payload)
    return packet === undefined ? drop(turn, drops.malformed) : ipv4(turn, vm, packet, tuple)
  }
  const packet = decodeIpv6(frame.payload)
  return packet === undefined ? drop(turn, drops.malformed) : ipv6(turn, vm, packet, tuple)
}

/** The VM's MAC is what it last said about itself; group addresses are nobody's. */
const learn = (turn: Turn, vm: Sender): Sender => {
  const { entry, frame } = vm
  if (frame.source === entry.vmMac || isGroupMac(frame.source)) return vm
  const known = { ...entry, vmMac: frame.source }
  turn.state = {
    ...turn.state,
    interfaces: HashMap.set(turn.state.interfaces, entry.spec.id, known),
  }
  return { ...vm, entry: known }
}

type Service = "arp" | "nd" | "dhcp" | "echo"

/** Of one kind and interface, a second and at once. */
const answersASecond = 100

/** A service of the gateway has answered, or has nothing to say. */
const served = (
  turn: Turn,
  { entry }: Sender,
  kind: Service,
  stage: string,
  answer: () => Bytes | undefined,
): void => {
  tally(turn, "stage.local.packets")
  if (!perSecond(turn, `${entry.index} ${kind}`, answersASecond)) return drop(turn, drops.serviceRate)
  const frame = answer()
  if (frame === undefined) return drop(turn, drops.unhandled)
  tally(turn, `stage.${stage}.packets`)
  toPort(turn, entry, frame)
}

const isOwn = (entry: Interface, address: string): boolean =>
  entry.spec.spoofCheckOff === true || has(entry, address)

/** Requests for the gateway are answered, and nothing else: every other neighbour is behind it. */
const arp = (turn: Turn, vm: Sender): void => {
  const packet = decodeArp(vm.frame.payload)
  if (packet === undefined) return served(turn, vm, "arp", "arp", () => undefined)
  // 0.0.0.0 is a probe (RFC 5227).
  if (packet.senderIp !== "0.0.0.0" && !isOwn(vm.entry, packet.senderIp)) return drop(turn, drops.spoof)
  const learned = packet.senderMac === vm.frame.source ? learn(turn, vm) : vm
  served(turn, learned, "arp", "arp", () => answerArp(learned.entry, learned.frame, packet))
}

const isUdpTo = (tuple: Tuple, port: number): boolean =>
  tuple.protocol === protocols.udp && tuple.fragment === "whole" && tuple.destinationPort === port

/** Only the gateway leases addresses. */
const isLease = (tuple: Tuple): boolean =>
  tuple.protocol === protocols.udp &&
  ((tuple.family === 4 && tuple.sourcePort === 67 && tuple.destinationPort === 68) ||
    (tuple.family === 6 && tuple.sourcePort === 547 && tuple.destinationPort === 546))

const ipv4 = (turn: Turn, vm: Sender, packet: Ipv4, tuple: Tuple): void => {
  const { entry, frame } = vm
  const own = isOwn(entry, packet.source)
  const toGateway = packet.destination === gatewayIpv4
  if (
    isUdpTo(tuple, 67) &&
    (toGateway || packet.destination === "255.255.255.255") &&
    (own || packet.source === "0.0.0.0")
  ) {
    const learned = learn(turn, vm)
    return served(turn, learned, "dhcp", "dhcp4", () => leaseIpv4(turn.state.config, learned.entry, packet))
  }
  if (isLease(tuple) || !own) return drop(turn, drops.spoof)
  const known = recognized(turn, vm)
  if (known === undefined) return drop(turn, drops.spoof)
  if (toGateway && !isGroupMac(frame.destination))
    return served(turn, known, "echo", "echo", () => answerEcho4(known.entry, frame, packet))
  // Virtual services may have link-local addresses.
  if (unroutable(packet.destination) && serviceOf(turn.state, tuple) === undefined)
    return drop(turn, drops.multicast)
  routed(turn, known, packet.packet, tuple)
}

const ipv6 = (turn: Turn, vm: Sender, packet: Ipv6, tuple: Tuple): void => {
  const { entry, frame } = vm
  const own = isOwn(entry, packet.source)
  const toGateway = packet.destination === gatewayIpv6
  // On its own link a VM speaks as its address, as any link-local one, or as nobody yet.
  if (!own && !isLinkLocal(packet.source) && packet.source !== "::") return drop(turn, drops.spoof)
  if (isNeighbour(packet)) {
    const learned = learn(turn, vm)
    return served(turn, learned, "nd", "nd", () =>
      answerNeighbour(turn.state.config, learned.entry, frame, packet),
    )
  }
  if (isUdpTo(tuple, 547) && (toGateway || packet.destination.startsWith("ff"))) {
    const learned = learn(turn, vm)
    return served(turn, learned, "dhcp", "dhcp6", () =>
      leaseIpv6(turn.state.config, learned.entry, frame, packet),
    )
  }
  if (isLease(tuple)) return drop(turn, drops.spoof)
  const known = recognized(turn, vm)
  if (known === undefined) return drop(turn, drops.spoof)
  if (toGateway && !isGroupMac(frame.destination))
    return served(turn, known, "echo", "echo", () => answerEcho6(known.entry, frame, packet))
  if (unroutable(packet.destination)) return drop(turn, drops.multicast)
  if (!own) return drop(turn, drops.spoof)
  routed(turn, known, packet.packet, tuple)
}

/** The sender, unless another MAC than the interface's speaks for it. The first one becomes it. */
const recognized = (turn: Turn, vm: Sender): Sender | undefined => {
  const { entry, frame } = vm
  const stranger = !isGroupMac(entry.vmMac) && frame.source !== entry.vmMac
  return stranger && entry.spec.spoofCheckOff !== true ? undefined : learn(turn, vm)
}

/** A packet that is for somebody else than the gateway. */
const routed = (turn: Turn, vm: Sender, bytes: Bytes, tuple: Tuple): void => {
  const { entry, frame } = vm
  if (isGroupMac(frame.destination)) return drop(turn, drops.notGateway)
  const rate = entry.spec.totalRate ?? 0
  if (rate > 0 && !allowed(turn, `${entry.index} total`, meter(rate, turn.now), bytes.length))
    return drop(turn, drops.meterTotal)
  const context = `p${entry.index}`
  const packet = withPorts(
    turn,
    { bytes, tuple, context, vm, outer: undefined, passed: 0 },
    interfaceOwner(entry),
  )
  if (packet === undefined) return drop(turn, drops.fragment)
  if (followError(turn, packet) || followLive(turn, packet)) return
  begin(turn, packet, vm)
}
