/**
 * What becomes of one packet: the model's fast path, as a function.
 *
 * `step` takes the state and one input, a frame that a VM sent or an IPv6 packet that came from the underlay,
 * and gives the next state (learned MACs, counters) with what leaves. It is total: every drop has a reason and a
 * counter `drop.<reason>`, and stages count as the native engine's do, but for its flow cache, which the model
 * does not have: `stage.decide` is not counted.
 *
 * From a VM: the gateway's own services (`gateway.ts`) first, then the source must be the interface's, then the
 * longest prefix of its VNI decides: a local interface gets the packet, a next hop gets it as IPv4 or IPv6 in IPv6.
 * From the underlay: the outer destination is the whole context; the inner one must belong to that interface.
 */
import { HashMap } from "effect"
import { bytesOf, isLinkLocal } from "./address.ts"
import { type Bytes, equal, u16, u8 } from "./bytes.ts"
import { decodeArp, decodeEthernet, encodeEthernet, type Ethernet, etherTypes } from "./ethernet.ts"
import {
  answerArp,
  answerEcho4,
  answerEcho6,
  answerNeighbour,
  isGroupMac,
  leaseIpv4,
  leaseIpv6,
  tooBig,
  unroutable,
} from "./gateway.ts"
import { decodeIpv4, decodeIpv6, encodeIpv6, type Ipv4, type Ipv6, protocols } from "./ip.ts"
import { isNeighbour } from "./neighbour.ts"
import {
  count,
  find,
  gatewayIpv4,
  gatewayIpv6,
  type Interface,
  lookup,
  type ModelState,
  type Route,
} from "./tables.ts"

export type Input =
  /** A frame that the VM on an opened device sent. `device`: KIND:DEVICE. */
  | { readonly _tag: "FromPort"; readonly device: string; readonly frame: Bytes }
  /** An IPv6 packet of the underlay, without its link header. */
  | { readonly _tag: "FromUnderlay"; readonly packet: Bytes }

export type Output =
  | { readonly _tag: "ToPort"; readonly device: string; readonly frame: Bytes }
  | { readonly _tag: "ToUnderlay"; readonly packet: Bytes }

export interface Next {
  readonly state: ModelState
  readonly outputs: ReadonlyArray<Output>
}

export const drops = {
  malformed: "drop.malformed",
  notIp: "drop.not_ip",
  noInterface: "drop.no_interface",
  notGateway: "drop.not_gateway",
  spoof: "drop.spoof",
  multicast: "drop.multicast",
  unhandled: "drop.unhandled",
  routeMiss: "drop.route_miss",
  tooBig: "drop.too_big",
  outerMalformed: "drop.outer_malformed",
  outerUnknown: "drop.outer_unknown",
  outerStale: "drop.outer_stale",
  innerForeign: "drop.inner_foreign",
} as const

const drop = (state: ModelState, reason: string): Next => ({ state: count(state, reason), outputs: [] })

/** What a frame of a VM is looked at with. */
interface Context {
  readonly state: ModelState
  readonly entry: Interface
  readonly frame: Ethernet
}

/** Outputs name the device as `KIND:DEVICE`, as inputs do. */
export const step = (state: ModelState, input: Input): Next => {
  if (input._tag === "FromUnderlay") return fromUnderlay(count(state, "stage.decap.packets"), input.packet)
  const id = find(state.devices, input.device)
  const entry = id === undefined ? undefined : find(state.interfaces, id)
  const classified = count(state, "stage.classify.packets")
  if (entry === undefined) return drop(classified, drops.noInterface)
  const received = count(classified, `port.${entry.device}.rx_packets`)
  const frame = decodeEthernet(input.frame)
  if (frame === undefined) return drop(received, drops.malformed)
  const context: Context = { state: received, entry, frame }
  switch (frame.type) {
    case etherTypes.arp:
      return arp(context)
    case etherTypes.ipv4: {
      const packet = decodeIpv4(frame.payload)
      return packet === undefined ? drop(received, drops.malformed) : ipv4(context, packet)
    }
    case etherTypes.ipv6: {
      const packet = decodeIpv6(frame.payload)
      return packet === undefined ? drop(received, drops.malformed) : ipv6(context, packet)
    }
    default:
      return drop(received, drops.notIp)
  }
}

/** The VM's MAC is what it last said about itself; group addresses are nobody's. */
const learn = (context: Context): Context => {
  const { entry, frame, state } = context
  if (frame.source === entry.vmMac || isGroupMac(frame.source)) return context
  const known = { ...entry, vmMac: frame.source }
  return {
    ...context,
    entry: known,
    state: { ...state, interfaces: HashMap.set(state.interfaces, entry.spec.id, known) },
  }
}

/** KIND:DEVICE behind the name that the interface was asked with. */
export const openedDevice = (state: ModelState, entry: Interface): string =>
  state.config.ports.get(entry.spec.device) ?? entry.spec.device

const toPort = (state: ModelState, entry: Interface, frame: Bytes): Next => ({
  state: count(state, `port.${entry.device}.tx_packets`),
  outputs: [{ _tag: "ToPort", device: openedDevice(state, entry), frame }],
})

/** A service of the gateway has answered, or has nothing to say. */
const served = ({ entry, state }: Context, stage: string, answer: Bytes | undefined): Next => {
  const local = count(state, "stage.local.packets")
  return answer === undefined
    ? drop(local, drops.unhandled)
    : toPort(count(local, `stage.${stage}.packets`), entry, answer)
}

/** Requests for the gateway are answered, and nothing else: every other neighbour is behind it. */
const arp = (context: Context): Next => {
  const packet = decodeArp(context.frame.payload)
  if (packet === undefined) return served(context, "arp", undefined)
  // 0.0.0.0 is a probe (RFC 5227).
  if (packet.senderIp !== "0.0.0.0" && packet.senderIp !== context.entry.spec.ipv4)
    return drop(context.state, drops.spoof)
  const learned = packet.senderMac === context.frame.source ? learn(context) : context
  return served(learned, "arp", answerArp(learned.entry, learned.frame, packet))
}

const ipv4 = (context: Context, packet: Ipv4): Next => {
  const { entry, frame, state } = context
  const own = packet.source === entry.spec.ipv4
  const toGateway = packet.destination === gatewayIpv4
  const toGatewayMac = frame.destination === entry.gatewayMac
  const dhcp =
    packet.protocol === protocols.udp &&
    !packet.fragment &&
    packet.payload.length >= 4 &&
    u16(packet.payload, 2) === 67
  if (dhcp && (toGateway || packet.destination === "255.255.255.255") && (own || packet.source === "0.0.0.0"))
    return served(learn(context), "dhcp4", leaseIpv4(state.config, entry, packet))
  if (!own) return drop(state, drops.spoof)
  if (toGateway && toGatewayMac) return served(learn(context), "echo", answerEcho4(entry, frame, packet))
  if (unroutable(packet.destination)) return drop(state, drops.multicast)
  if (!toGatewayMac) return drop(state, drops.notGateway)
  return route(learn(context), packet)
}

const ipv6 = (context: Context, packet: Ipv6): Next => {
  const { entry, frame, state } = context
  const own = packet.source === entry.spec.ipv6
  const toGateway = packet.destination === gatewayIpv6
  const toGatewayMac = frame.destination === entry.gatewayMac
  // On its own link a VM speaks as its address, as any link-local one, or as nobody yet.
  if (!own && !isLinkLocal(packet.source) && packet.source !== "::") return drop(state, drops.spoof)
  if (isNeighbour(packet))
    return served(learn(context), "nd", answerNeighbour(state.config, entry, frame, packet))
  const dhcp =
    packet.protocol === protocols.udp && packet.payload.length >= 4 && u16(packet.payload, 2) === 547
  if (dhcp && (toGateway || packet.destination.startsWith("ff")))
    return served(learn(context), "dhcp6", leaseIpv6(state.config, entry, frame, packet))
  if (toGateway && toGatewayMac) return served(context, "echo", answerEcho6(entry, frame, packet))
  if (unroutable(packet.destination)) return drop(state, drops.multicast)
  if (!own) return drop(state, drops.spoof)
  if (!toGatewayMac) return drop(state, drops.notGateway)
  return route(learn(context), packet)
}

/** By the longest prefix of the sender's VNI: to an interface of this host, or into the underlay. */
const route = (context: Context, packet: Ipv4 | Ipv6): Next => {
  const { entry, frame, state } = context
  const table = find(state.vnis, entry.spec.vni)
  const found = table === undefined ? undefined : lookup(table, packet.destination)
  if (found === undefined) return drop(state, drops.routeMiss)
  const receiver = receiverOf(state, found)
  if (receiver === "missing" || (receiver !== "remote" && !receives(receiver, entry, packet.destination)))
    return drop(state, drops.routeMiss)
  // Without leave to refuse, a long packet goes on: the uplink fragments where its medium is too small.
  if (packet.packet.length > state.config.mtu && (!("ttl" in packet) || packet.dontFragment)) {
    const complaint = tooBig(state.config, entry, frame, packet)
    const dropped = count(count(state, drops.tooBig), "stage.too_big.packets")
    return complaint === undefined ? { state: dropped, outputs: [] } : toPort(dropped, entry, complaint)
  }
  if (receiver !== "remote") return deliver(state, receiver, packet.packet)
  return {
    state: count(state, "stage.encap.packets"),
    outputs: [
      { _tag: "ToUnderlay", packet: encapsulate(entry.underlayAddress, found.nextHop, packet.packet) },
    ],
  }
}

/** A next hop inside this host's own prefix is an interface here: no need to leave. */
const receiverOf = (state: ModelState, found: Route): Interface | "remote" | "missing" => {
  if (found.local !== undefined) return find(state.interfaces, found.local) ?? "missing"
  if (!isOwnPrefix(state, found.nextHop)) return "remote"
  const id = find(state.underlay, found.nextHop)
  return (id === undefined ? undefined : find(state.interfaces, id)) ?? "missing"
}

const receives = (receiver: Interface, sender: Interface, destination: string): boolean =>
  receiver.spec.id !== sender.spec.id &&
  (destination === receiver.spec.ipv4 || destination === receiver.spec.ipv6)

const isOwnPrefix = (state: ModelState, address: string): boolean =>
  equal(
    bytesOf(address).subarray(0, 8),
    bytesOf(state.config.underlayPrefix.split("/")[0] ?? "").subarray(0, 8),
  )

/** Outer IPv6 header: hop limit 64, no traffic class; a flow label is free, the model writes zero. */
export const encapsulate = (source: string, destination: string, packet: Bytes): Bytes =>
  encodeIpv6({
    source,
    destination,
    protocol: versionOf(packet) === 4 ? protocols.ipv4 : protocols.ipv6,
    payload: packet,
  })

const versionOf = (packet: Bytes): number => u8(packet, 0) >>> 4

const deliver = (state: ModelState, receiver: Interface, packet: Bytes): Next =>
  toPort(
    count(state, "stage.deliver.packets"),
    receiver,
    encodeEthernet({
      destination: receiver.vmMac,
      source: receiver.gatewayMac,
      type: versionOf(packet) === 4 ? etherTypes.ipv4 : etherTypes.ipv6,
      payload: packet,
    }),
  )

const fromUnderlay = (state: ModelState, bytes: Bytes): Next => {
  const outer = decodeIpv6(bytes)
  if (outer === undefined) return drop(state, drops.outerMalformed)
  const isIpv4 = outer.protocol === protocols.ipv4
  const inner = isIpv4
    ? decodeIpv4(outer.payload)
    : outer.protocol === protocols.ipv6
      ? decodeIpv6(outer.payload)
      : undefined
  if (inner === undefined) return drop(state, drops.outerMalformed)
  const id = find(state.underlay, outer.destination)
  const receiver = id === undefined ? undefined : find(state.interfaces, id)
  if (receiver === undefined)
    return drop(state, isOurs(state, outer.destination) ? drops.outerStale : drops.outerUnknown)
  const own = isIpv4 ? receiver.spec.ipv4 : receiver.spec.ipv6
  if (inner.destination !== own) return drop(state, drops.innerForeign)
  return deliver(state, receiver, inner.packet)
}

/** An address that this host has given to an interface at some time, or could have. */
const isOurs = (state: ModelState, address: string): boolean => {
  const bytes = bytesOf(address)
  return isOwnPrefix(state, address) && u8(bytes, 8) === 0xd0 && u8(bytes, 9) === 1 && u8(bytes, 10) === 0
}
