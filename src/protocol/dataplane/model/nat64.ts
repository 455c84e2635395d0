/**
 * From IPv6 to IPv4 and back (RFC 7915): TCP, UDP, echo, and ICMP errors with the packet that they quote.
 *
 * New headers: traffic class = TOS, hop limit = TTL; IPv4: identification 0, DF; IPv6: flow label 0. Options and
 * extension headers are left out. Checksums are changed by the difference, but UDP's "none", which IPv6 does not know, is
 * computed. An error is at most 576 bytes long as IPv4, 1,280 as IPv6: more of the quoted packet is cut, and so are
 * extensions (RFC 4884). What cannot be translated is `undefined`: fragments, other protocols, a routing header with
 * segments left, ICMP without a counterpart.
 */
import { bytesOf } from "./address.ts"
import { type Bytes, concat, internetChecksum, put16, put32, u16, u32, u8 } from "./bytes.ts"
import { errorTo4, errorTo6, type IcmpError } from "./nat64-errors.ts"
import { encodeIpv4, protocols, pseudoHeader, transportChecksum } from "./ip.ts"
import { adjusted, mendEcho } from "./translate.ts"
import { parseQuoted, type Tuple } from "./tuple.ts"

/** What a packet becomes. Ports: `undefined` is keep. Of an echo, its identifier is the one that is said. */
export interface Side {
  readonly source: string
  readonly destination: string
  readonly sourcePort?: number
  readonly destinationPort?: number
}

const headerLength = { 4: 20, 6: 40 } as const
const errorLimit = { 4: 576, 6: 1_280 } as const

const familyOf = (side: Side): 4 | 6 => (side.source.includes(":") ? 6 : 4)

const translatable = (tuple: Tuple): boolean =>
  tuple.fragment === "whole" &&
  (tuple.protocol === protocols.tcp || tuple.protocol === protocols.udp || tuple.icmp === "echo")

const sum = (bytes: Bytes): number => ~internetChecksum(bytes) & 0xffff

const protocolFor = (tuple: Tuple, family: 4 | 6): number =>
  tuple.icmp === "none" ? tuple.protocol : family === 4 ? protocols.icmp : protocols.icmpv6

/** What the checksum loses and gains by the other IP header; ICMP has no pseudo header, ICMPv6 has. */
const pseudoDelta = (tuple: Tuple, side: Side): number => {
  const length = tuple.length - tuple.l4
  const icmp = tuple.icmp !== "none"
  const of = (addresses: { readonly source: string; readonly destination: string }, family: 4 | 6): number =>
    icmp
      ? family === 4
        ? 0
        : sum(pseudoHeader(addresses.source, addresses.destination, protocols.icmpv6, length))
      : sum(concat(bytesOf(addresses.source), bytesOf(addresses.destination)))
  return (~of(tuple, tuple.family) & 0xffff) + of(side, familyOf(side))
}

const echoTypes: Readonly<Record<number, number>> = { 8: 128, 0: 129, 128: 8, 129: 0 }

/** Puts a word over another; what becomes of the sum. */
const replace = (bytes: Bytes, at: number, value: number): number => {
  const old = u16(bytes, at)
  bytes.set(put16(value), at)
  return (~old & 0xffff) + value
}

/** L4 as it becomes; `bytes` may be cut short when quoted, and is changed. */
const changeL4 = (bytes: Bytes, tuple: Tuple, side: Side): void => {
  const echo = tuple.icmp === "echo"
  const identifier = side.sourcePort ?? side.destinationPort
  let delta = pseudoDelta(tuple, side)
  if (echo) {
    delta += replace(bytes, 0, ((echoTypes[tuple.icmpType] ?? 0) << 8) | tuple.icmpCode)
    if (identifier !== undefined) delta += replace(bytes, 4, identifier)
  } else {
    if (side.sourcePort !== undefined) delta += replace(bytes, 0, side.sourcePort)
    if (side.destinationPort !== undefined) delta += replace(bytes, 2, side.destinationPort)
  }
  const udp = tuple.protocol === protocols.udp
  const field = echo ? 2 : udp ? 6 : 16
  if (field + 2 > bytes.length || (udp && u16(bytes, field) === 0)) return
  const value = adjusted(u16(bytes, field), delta)
  bytes.set(put16(udp && value === 0 ? 0xffff : value), field)
  if (echo && familyOf(side) === 4) mendEcho(bytes, 0)
}

/** The other family's header of a packet, for `length` bytes behind it. */
const headerOf = (packet: Bytes, tuple: Tuple, side: Side, length: number): Bytes => {
  const protocol = protocolFor(tuple, familyOf(side))
  if (familyOf(side) === 6)
    return concat(
      put32(0x6000_0000 + u8(packet, 1) * 0x10_0000),
      put16(length),
      [protocol, u8(packet, 8)],
      bytesOf(side.source),
      bytesOf(side.destination),
    )
  const header = encodeIpv4({ ...side, protocol, ttl: u8(packet, 7), payload: new Uint8Array(0) })
  header[1] = (u16(packet, 0) >>> 4) & 0xff
  header.set(put16(20 + length), 2)
  header.set([0, 0], 10)
  header.set(put16(internetChecksum(header)), 10)
  return header
}

/** A routing header with addresses left to visit: the destination is not yet the packet's. */
const hasSegmentsLeft = (packet: Bytes, tuple: Tuple): boolean => {
  let next = u8(packet, 6)
  for (let at = 40; tuple.family === 6 && at < tuple.l4;) {
    if (next === 43 && u8(packet, at + 3) !== 0) return true
    const size = next === 44 ? 8 : 8 + u8(packet, at + 1) * 8
    next = u8(packet, at)
    at += size
  }
  return false
}

/** IPv6 has no UDP without a checksum: the one for the header that it has now. */
const completed = (l4: Bytes, tuple: Tuple): boolean => {
  const length = u16(l4, 4)
  if (length < 8 || length > l4.length) return false
  const value = transportChecksum(tuple.source, tuple.destination, protocols.udp, l4.subarray(0, length))
  l4.set(put16(value === 0 ? 0xffff : value), 6)
  return true
}

const changePacket = (packet: Bytes, tuple: Tuple, side: Side): Bytes | undefined => {
  const l4 = packet.slice(tuple.l4, tuple.length)
  const family = familyOf(side)
  if (headerLength[family] + l4.length > 0xffff || hasSegmentsLeft(packet, tuple)) return undefined
  if (family === 6 && tuple.protocol === protocols.udp && u16(l4, 6) === 0 && !completed(l4, tuple))
    return undefined
  changeL4(l4, tuple, side)
  return concat(headerOf(packet, tuple, side, l4.length), l4)
}

const changeError = (packet: Bytes, tuple: Tuple, side: Side, quoted: Side): Bytes | undefined => {
  const family = familyOf(side)
  const icmp = packet.subarray(tuple.l4, tuple.length)
  const asked: IcmpError = { type: u8(icmp, 0), code: u8(icmp, 1), rest: u32(icmp, 4), quoted: 0 }
  const error = family === 4 ? errorTo4(asked) : errorTo6(asked, u16(icmp, 10))
  if (error === undefined || tuple.fragment !== "whole" || icmp.length < 28) return undefined
  const inner = icmp.subarray(8, error.quoted === 0 ? icmp.length : Math.min(icmp.length, 8 + error.quoted))
  const about = parseQuoted(inner)
  if (about === undefined || about.family !== tuple.family || !translatable(about)) return undefined
  const outer = headerLength[family]
  const said = about.length - about.l4
  if (said + outer > 0xffff) return undefined
  const l4 = inner.slice(about.l4, Math.min(inner.length, about.length))
  changeL4(l4, about, quoted)
  const message = concat(
    [error.type, error.code, 0, 0],
    put32(error.rest),
    headerOf(inner, about, quoted, said),
    l4.subarray(0, errorLimit[family] - 2 * outer - 8),
  )
  const checksum =
    family === 4
      ? internetChecksum(message)
      : transportChecksum(side.source, side.destination, protocols.icmpv6, message)
  message.set(put16(checksum), 2)
  return concat(headerOf(packet, tuple, side, message.length), message)
}

/** The packet in the other family; `quoted`: what becomes of the packet that an error quotes. */
export const convert = (packet: Bytes, tuple: Tuple, side: Side, quoted?: Side): Bytes | undefined => {
  if (tuple.icmp === "error")
    return quoted === undefined ? undefined : changeError(packet, tuple, side, quoted)
  return translatable(tuple) ? changePacket(packet, tuple, side) : undefined
}

/** 64:ff9b::/96, behind which the IPv4 Internet is. */
const prefix = Uint8Array.from([0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0])

export const isBehindPrefix = (address: Bytes): boolean =>
  address.length === 16 && prefix.every((byte, i) => byte === address[i])

export const prefixed = (ipv4: Bytes): Bytes => concat(prefix, ipv4)
