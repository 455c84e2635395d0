/**
 * Ways out: the longest prefix of a VNI, the next hop of a flow, the port of an interface, the uplink.
 */
import { bytesOf } from "./address.ts"
import { passTo } from "./arrive.ts"
import { type Bytes, u16, u8 } from "./bytes.ts"
import { encodeEthernet, etherTypes } from "./ethernet.ts"
import { tooBig } from "./gateway.ts"
import { decodeIpv4, decodeIpv6, encodeIpv6, protocols } from "./ip.ts"
import { choiceHash } from "./murmur.ts"
import { meter } from "./rate.ts"
import { find, type Interface, lookup, type ModelState, type Route, settings } from "./tables.ts"
import { isOwnPrefix } from "./underlay.ts"
import { allowed, drop, drops, mayError, type Packet, tally, type Turn } from "./turn.ts"
import { parseIp, type Tuple } from "./tuple.ts"

/** Where a destination is. */
export type Way =
  | { readonly _tag: "Miss" }
  | { readonly _tag: "Local"; readonly entry: Interface }
  /** An underlay address of this host. */
  | { readonly _tag: "Endpoint"; readonly address: string; readonly route: Route }
  | { readonly _tag: "Remote"; readonly address: string; readonly route: Route }

const hopOf = (state: ModelState, route: Route, tuple: Tuple): string => {
  if (route.hops === undefined) return route.nextHop
  const { list, slots } = route.hops
  const slot = choiceHash(tuple, settings(state.config).seed) % slots.length
  return list[slots[slot] ?? 0]?.address ?? route.nextHop
}

/** `tuple`: the packet as the VM sent it, by which one of several hops is chosen. */
export const wayTo = (state: ModelState, vni: number, destination: string, tuple: Tuple): Way => {
  const table = find(state.vnis, vni)
  const route = table === undefined ? undefined : lookup(table, destination)
  if (route === undefined) return { _tag: "Miss" }
  if (route.local !== undefined) {
    const entry = find(state.interfaces, route.local)
    return entry === undefined ? { _tag: "Miss" } : { _tag: "Local", entry }
  }
  const address = hopOf(state, route, tuple)
  return isOwnPrefix(state, address)
    ? { _tag: "Endpoint", address, route }
    : { _tag: "Remote", address, route }
}

export const versionOf = (packet: Bytes): number => u8(packet, 0) >>> 4

/** Outer IPv6 header: hop limit 64, no traffic class; a flow label is free, the model writes zero. */
export const encapsulate = (source: string, destination: string, packet: Bytes): Bytes =>
  encodeIpv6({
    source,
    destination,
    protocol: versionOf(packet) === 4 ? protocols.ipv4 : protocols.ipv6,
    payload: packet,
  })

/** KIND:DEVICE behind the name that the interface was asked with. */
export const openedDevice = (state: ModelState, entry: Interface): string =>
  state.config.ports.get(entry.spec.device) ?? entry.spec.device

export const toPort = (turn: Turn, entry: Interface, frame: Bytes): void => {
  tally(turn, `port.${entry.device}.tx_packets`)
  turn.outputs.push({ _tag: "ToPort", device: openedDevice(turn.state, entry), frame })
}

export const toUnderlay = (turn: Turn, packet: Bytes): void => {
  turn.outputs.push({ _tag: "ToUnderlay", packet })
}

export const deliver = (turn: Turn, receiver: Interface, packet: Bytes): void => {
  tally(turn, "stage.deliver.packets")
  toPort(
    turn,
    receiver,
    encodeEthernet({
      destination: receiver.vmMac,
      source: receiver.gatewayMac,
      type: versionOf(packet) === 4 ? etherTypes.ipv4 : etherTypes.ipv6,
      payload: packet,
    }),
  )
}

/** True: too long for where it goes, and its sender was told. `out`: the packet as it would leave. */
export const isTooBig = (turn: Turn, packet: Packet, out: Bytes): boolean => {
  const { vm } = packet
  // Without leave to refuse, a long packet goes on: the uplink fragments where its medium is too small.
  if (vm === undefined || out.length <= turn.state.config.mtu) return false
  if (versionOf(out) === 4 && (u16(out, 6) & 0x4000) === 0) return false
  drop(turn, drops.tooBig)
  if (!mayError(turn, `${vm.entry.index} error`)) return true
  tally(turn, "stage.too_big.packets")
  const sent = packet.tuple.family === 4 ? decodeIpv4(packet.bytes) : decodeIpv6(packet.bytes)
  const complaint =
    sent === undefined ? undefined : tooBig(turn.state.config, vm.entry, vm.frame, sent, packet.tuple)
  if (complaint !== undefined) toPort(turn, vm.entry, complaint)
  return true
}

/** To a next hop of the overlay: what the uplink and the sender's public rate say, then out. */
export const leave = (
  turn: Turn,
  packet: Packet,
  from: Interface,
  way: Way & { _tag: "Remote" | "Endpoint" },
  out: Bytes,
): void => {
  if (way._tag === "Remote" && !settings(turn.state.config).uplink) return drop(turn, drops.noUplink)
  if (isTooBig(turn, packet, out)) return
  const rate = from.spec.publicRate ?? 0
  if (
    rate > 0 &&
    way.route.prefix.length === 0 &&
    !allowed(turn, `${from.index} public`, meter(rate, turn.now), out.length)
  )
    return drop(turn, drops.meterPublic)
  // An edge of this host.
  if (way._tag === "Endpoint")
    return passTo(turn, rewrittenPacket(packet, out), way.address, from.underlayAddress)
  tally(turn, "stage.encap.packets")
  toUnderlay(turn, encapsulate(from.underlayAddress, way.address, out))
}

/** Whether an address is the interface's: its primary one, or in one of its prefixes. */
export const has = (entry: Interface, address: string): boolean => {
  if (address === entry.spec.ipv4 || address === entry.spec.ipv6) return true
  if (entry.prefixes.length === 0) return false
  const bytes = bytesOf(address)
  return entry.prefixes.some(({ prefix }) => inPrefix(bytes, prefix.address, prefix.length))
}

export const inPrefix = (address: Bytes, network: string, length: number): boolean => {
  const bytes = bytesOf(network)
  if (bytes.length !== address.length) return false
  for (let bit = 0; bit < length; bit += 8) {
    const difference = u8(address, bit >>> 3) ^ u8(bytes, bit >>> 3)
    if (difference >>> (8 - Math.min(8, length - bit)) !== 0) return false
  }
  return true
}

/** As it is after a rewrite. */
export const rewrittenPacket = (packet: Packet, bytes: Bytes): Packet => {
  if (bytes === packet.bytes) return packet
  const { destinationPort, sourcePort } = packet.tuple
  const tuple = parseIp(bytes) ?? packet.tuple
  return {
    ...packet,
    bytes,
    tuple: tuple.fragment === "later" ? { ...tuple, sourcePort, destinationPort } : tuple,
  }
}
