/**
 * Rewrites of a packet's addresses and ports, with every checksum that depends on them.
 *
 * Checksums are changed by the difference (RFC 1624, equation 3), so a wrong one stays wrong. UDP's "none" (0) stays.
 * Later fragments have no L4, and a first fragment may be too short for its checksum: then that field is not touched.
 * Packets are never changed in place: what goes in may be in somebody else's hands.
 */
import { bytesOf } from "./address.ts"
import { type Bytes, internetChecksum, put16, u16 } from "./bytes.ts"
import { protocols } from "./ip.ts"
import { parseQuoted, type Tuple } from "./tuple.ts"

/** What is not said stays. The identifier of an echo is `sourcePort`, or `destinationPort` where only that is said. */
export interface Rewrite {
  readonly source?: string
  readonly destination?: string
  readonly sourcePort?: number
  readonly destinationPort?: number
}

export const nothing: Rewrite = {}

export const isNothing = (rewrite: Rewrite): boolean =>
  rewrite.source === undefined &&
  rewrite.destination === undefined &&
  rewrite.sourcePort === undefined &&
  rewrite.destinationPort === undefined

/** What the tuple of a rewritten packet is. */
export const rewritten = (tuple: Tuple, rewrite: Rewrite): Tuple => ({
  ...tuple,
  source: rewrite.source ?? tuple.source,
  destination: rewrite.destination ?? tuple.destination,
  sourcePort:
    tuple.icmp === "echo"
      ? (rewrite.sourcePort ?? rewrite.destinationPort ?? tuple.sourcePort)
      : (rewrite.sourcePort ?? tuple.sourcePort),
  destinationPort:
    tuple.icmp === "echo"
      ? (rewrite.sourcePort ?? rewrite.destinationPort ?? tuple.destinationPort)
      : (rewrite.destinationPort ?? tuple.destinationPort),
})

/** The rewrite of the packet that an error about this direction's packets quotes: the other side of it. */
export const turned = (rewrite: Rewrite): Rewrite => ({
  ...(rewrite.source === undefined ? {} : { destination: rewrite.source }),
  ...(rewrite.destination === undefined ? {} : { source: rewrite.destination }),
  ...(rewrite.sourcePort === undefined ? {} : { destinationPort: rewrite.sourcePort }),
  ...(rewrite.destinationPort === undefined ? {} : { sourcePort: rewrite.destinationPort }),
})

const fold = (sum: number): number => {
  let out = sum
  while (out > 0xffff) out = (out & 0xffff) + Math.floor(out / 0x1_0000)
  return out
}

/** A checksum after a sum of "old ones out, new ones in". */
export const adjusted = (checksum: number, delta: number): number =>
  ~fold((~checksum & 0xffff) + delta) & 0xffff

/** Puts 16-bit words over others; what becomes of their sum. */
const replace = (packet: Bytes, at: number, value: Bytes | ReadonlyArray<number>): number => {
  let delta = 0
  for (let i = 0; i < value.length; i += 2) delta += ~u16(packet, at + i) & 0xffff
  packet.set(value, at)
  for (let i = 0; i < value.length; i += 2) delta += u16(packet, at + i)
  return delta
}

const replaceAddresses = (packet: Bytes, rewrite: Rewrite): number => {
  let delta = 0
  if (rewrite.source !== undefined) delta += replace(packet, 12, bytesOf(rewrite.source))
  if (rewrite.destination !== undefined) delta += replace(packet, 16, bytesOf(rewrite.destination))
  if (delta !== 0) packet.set(put16(adjusted(u16(packet, 10), delta)), 10)
  return delta
}

const replacePorts = (packet: Bytes, tuple: Tuple, rewrite: Rewrite): number => {
  const identifier = rewrite.sourcePort ?? rewrite.destinationPort
  if (tuple.icmp === "echo")
    return identifier === undefined ? 0 : replace(packet, tuple.l4 + 4, put16(identifier))
  let delta = 0
  if (rewrite.sourcePort !== undefined) delta += replace(packet, tuple.l4, put16(rewrite.sourcePort))
  if (rewrite.destinationPort !== undefined)
    delta += replace(packet, tuple.l4 + 2, put16(rewrite.destinationPort))
  return delta
}

/** `end`: where what is there of the packet ends. */
const replaceAll = (packet: Bytes, tuple: Tuple, rewrite: Rewrite, end: number): void => {
  const addresses = replaceAddresses(packet, rewrite)
  if (tuple.fragment === "later") return
  const udp = tuple.protocol === protocols.udp
  if (tuple.icmp !== "echo" && !udp && tuple.protocol !== protocols.tcp) return
  const delta = replacePorts(packet, tuple, rewrite) + (tuple.icmp === "echo" ? 0 : addresses)
  const field = tuple.l4 + (tuple.icmp === "echo" ? 2 : udp ? 6 : 16)
  const old = u16(packet, field)
  if (delta === 0 || field + 2 > end || (udp && old === 0)) return
  packet.set(put16(adjusted(old, delta)), field)
  if (udp && u16(packet, field) === 0) packet.set([0xff, 0xff], field)
  if (tuple.icmp === "echo") mendEcho(packet, tuple.l4)
}

/** The words of an echo reply may all be zero, and then its checksum is 0xffff, to which differences never come. */
export const mendEcho = (packet: Bytes, l4: number): void => {
  if (packet.subarray(l4, l4 + 8).every((byte) => byte === 0)) packet.set([0xff, 0xff], l4 + 2)
}

/** An IPv4 packet with other addresses and ports. */
export const translate = (packet: Bytes, tuple: Tuple, rewrite: Rewrite): Bytes => {
  if (isNothing(rewrite)) return packet
  const out = packet.slice()
  replaceAll(out, tuple, rewrite, tuple.length)
  return out
}

/**
 * An IPv4 ICMP error: its own addresses by `outer`, addresses and ports of the packet that it quotes by `quoted` (as
 * they stand in it). Quoted checksums are changed where they are quoted; the ICMP checksum is made anew. `undefined`:
 * the quoted packet is damaged.
 */
export const translateError = (
  packet: Bytes,
  tuple: Tuple,
  outer: Rewrite,
  quoted: Rewrite,
): Bytes | undefined => {
  if (isNothing(outer) && isNothing(quoted)) return packet
  const out = packet.slice()
  const inner = out.subarray(tuple.l4 + 8, tuple.length)
  const about = parseQuoted(inner)
  if (about === undefined || about.family !== 4) return undefined
  replaceAddresses(out, outer)
  replaceAll(inner, about, quoted, Math.min(inner.length, about.length))
  out.set([0, 0], tuple.l4 + 2)
  out.set(put16(internetChecksum(out.subarray(tuple.l4, tuple.length))), tuple.l4 + 2)
  return out
}
