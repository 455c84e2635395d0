/**
 * Packets as the generator writes and reads them: raw, with any field wrong that should be.
 *
 * Apart from the model on purpose: a reader that shares the model's mistakes would answer as the model expects.
 */
import { bytesOf, ipv4At, ipv6At } from "#protocol/dataplane/model/address.ts"
import {
  type Bytes,
  concat,
  hex,
  internetChecksum,
  put16,
  put32,
  u16,
  u32,
  u8,
} from "#protocol/dataplane/model/bytes.ts"
import { transportChecksum } from "#protocol/dataplane/model/ip.ts"

export const flag = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 } as const

export interface Ends {
  readonly source: string
  readonly destination: string
}

export interface IpOptions {
  readonly ttl?: number
  readonly trafficClass?: number
  readonly identification?: number
  readonly dontFragment?: boolean
  /** Bytes from the start of the whole payload, a multiple of 8. */
  readonly offset?: number
  readonly more?: boolean
  /** IPv4 options, padded to words. */
  readonly options?: Bytes
  /** IPv6 extension headers: type and bytes after "next header". */
  readonly headers?: ReadonlyArray<readonly [number, Bytes]>
  readonly flowLabel?: number
}

const isV6 = (address: string): boolean => address.includes(":")

const ipv4 = (ends: Ends, protocol: number, payload: Bytes, with_: IpOptions): Bytes => {
  const options = with_.options ?? new Uint8Array(0)
  const words = 5 + options.length / 4
  const flags =
    (with_.dontFragment === true ? 0x4000 : 0) |
    (with_.more === true ? 0x2000 : 0) |
    ((with_.offset ?? 0) >>> 3)
  const header = concat(
    [0x40 | words, with_.trafficClass ?? 0],
    put16(words * 4 + payload.length),
    put16(with_.identification ?? 0),
    put16(flags),
    [with_.ttl ?? 64, protocol, 0, 0],
    bytesOf(ends.source),
    bytesOf(ends.destination),
    options,
  )
  header.set(put16(internetChecksum(header)), 10)
  return concat(header, payload)
}

const ipv6 = (ends: Ends, protocol: number, payload: Bytes, with_: IpOptions): Bytes => {
  const fragment: ReadonlyArray<readonly [number, Bytes]> =
    with_.offset !== undefined || with_.more === true
      ? [
          [
            44,
            concat(
              [0],
              put16((with_.offset ?? 0) | (with_.more === true ? 1 : 0)),
              put32(with_.identification ?? 0),
            ),
          ],
        ]
      : []
  const chain = [...(with_.headers ?? []), ...fragment]
  const rest = concat(...chain.map(([, bytes], i) => concat([chain[i + 1]?.[0] ?? protocol], bytes)), payload)
  return concat(
    put32((0x6000_0000 | ((with_.trafficClass ?? 0) << 20) | (with_.flowLabel ?? 0)) >>> 0),
    put16(rest.length),
    [chain[0]?.[0] ?? protocol, with_.ttl ?? 64],
    bytesOf(ends.source),
    bytesOf(ends.destination),
    rest,
  )
}

export const ip = (ends: Ends, protocol: number, payload: Bytes, with_: IpOptions = {}): Bytes =>
  isV6(ends.source) ? ipv6(ends, protocol, payload, with_) : ipv4(ends, protocol, payload, with_)

const sealed = (ends: Ends, protocol: number, segment: Bytes, at: number): Bytes => {
  const out = concat(segment)
  const sum = transportChecksum(ends.source, ends.destination, protocol, out)
  out.set(put16(sum === 0 && protocol === 17 ? 0xffff : sum), at)
  return out
}

export const udp = (ends: Ends, source: number, destination: number, data: Bytes, checksum = true): Bytes => {
  const segment = concat(put16(source), put16(destination), put16(8 + data.length), [0, 0], data)
  return checksum ? sealed(ends, 17, segment, 6) : segment
}

export interface TcpFields {
  readonly source: number
  readonly destination: number
  readonly sequence: number
  readonly acknowledgement: number
  readonly flags: number
  readonly data?: Bytes
  readonly options?: Bytes
}

export const tcp = (ends: Ends, fields: TcpFields): Bytes => {
  const options = fields.options ?? new Uint8Array(0)
  return sealed(
    ends,
    6,
    concat(
      put16(fields.source),
      put16(fields.destination),
      put32(fields.sequence),
      put32(fields.acknowledgement),
      [(5 + options.length / 4) << 4, fields.flags],
      put16(8192),
      [0, 0, 0, 0],
      options,
      fields.data ?? new Uint8Array(0),
    ),
    16,
  )
}

export const icmp = (ends: Ends, type: number, code: number, rest: number, data: Bytes): Bytes => {
  const message = concat([type, code, 0, 0], put32(rest), data)
  if (isV6(ends.source)) return sealed(ends, 58, message, 2)
  message.set(put16(internetChecksum(message)), 2)
  return message
}

export const icmpProtocol = (ends: Ends): number => (isV6(ends.source) ? 58 : 1)

export const echo = (ends: Ends, reply: boolean, identifier: number, sequence: number, data: Bytes): Bytes =>
  icmp(ends, isV6(ends.source) ? (reply ? 129 : 128) : reply ? 0 : 8, 0, (identifier << 16) | sequence, data)

/** Adler is not what SCTP has, and nobody on the way looks. */
export const sctp = (source: number, destination: number, data: Bytes): Bytes =>
  concat(put16(source), put16(destination), put32(0x1234_5678), put32(0), data)

/** What can be read from an IP packet. */
export interface Seen extends Ends {
  readonly family: 4 | 6
  /** Behind extension headers. */
  readonly protocol: number
  readonly fragment: "whole" | "first" | "later"
  readonly ttl: number
  /** From the L4 header on. */
  readonly l4: Bytes
  readonly sourcePort: number
  readonly destinationPort: number
  readonly bytes: Bytes
}

const ports = (protocol: number, l4: Bytes): readonly [number, number] => {
  if (protocol === 6 || protocol === 17 || protocol === 132) return [u16(l4, 0), u16(l4, 2)]
  const type = u8(l4, 0)
  const isEcho =
    (protocol === 1 && (type === 0 || type === 8)) || (protocol === 58 && (type === 128 || type === 129))
  return isEcho ? [u16(l4, 4), u16(l4, 4)] : [0, 0]
}

/** `undefined`: not an IP packet. Lengths are taken as far as there are bytes. */
export const read = (bytes: Bytes): Seen | undefined => {
  if (u8(bytes, 0) >>> 4 === 4 && bytes.length >= 20) {
    const header = (u8(bytes, 0) & 15) * 4
    const end = Math.min(bytes.length, u16(bytes, 2))
    if (header < 20 || end < header) return undefined
    const place = u16(bytes, 6)
    const protocol = u8(bytes, 9)
    const l4 = bytes.subarray(header, end)
    const fragment = (place & 0x1fff) !== 0 ? "later" : (place & 0x2000) !== 0 ? "first" : "whole"
    const [sourcePort, destinationPort] = fragment === "later" ? [0, 0] : ports(protocol, l4)
    return {
      family: 4,
      source: ipv4At(bytes, 12),
      destination: ipv4At(bytes, 16),
      ttl: u8(bytes, 8),
      protocol,
      fragment,
      l4,
      sourcePort,
      destinationPort,
      bytes: bytes.subarray(0, end),
    }
  }
  if (u8(bytes, 0) >>> 4 !== 6 || bytes.length < 40) return undefined
  const end = Math.min(bytes.length, 40 + u16(bytes, 4))
  let protocol = u8(bytes, 6)
  let at = 40
  let fragment: Seen["fragment"] = "whole"
  for (let walked = 0; walked < 8 && [0, 43, 44, 60].includes(protocol) && at + 8 <= end; walked++) {
    const next = u8(bytes, at)
    if (protocol === 44) {
      const place = u16(bytes, at + 2)
      fragment = (place & 0xfff8) !== 0 ? "later" : (place & 1) !== 0 ? "first" : "whole"
      at += 8
    } else at += 8 + u8(bytes, at + 1) * 8
    protocol = next
  }
  const l4 = bytes.subarray(Math.min(at, end), end)
  const [sourcePort, destinationPort] = fragment === "later" ? [0, 0] : ports(protocol, l4)
  return {
    family: 6,
    source: ipv6At(bytes, 8),
    destination: ipv6At(bytes, 24),
    ttl: u8(bytes, 7),
    protocol,
    fragment,
    l4,
    sourcePort,
    destinationPort,
    bytes: bytes.subarray(0, end),
  }
}

export const isIcmpError = (seen: Seen): boolean =>
  seen.protocol === 1
    ? [3, 4, 5, 11, 12].includes(u8(seen.l4, 0))
    : seen.protocol === 58 && u8(seen.l4, 0) >= 1 && u8(seen.l4, 0) <= 4

export const macs = (text: string): Bytes =>
  Uint8Array.from(text.split(":"), (digits) => Number.parseInt(digits, 16))

export const frame = (destination: string, source: string, type: number, payload: Bytes): Bytes =>
  concat(macs(destination), macs(source), put16(type), payload)

export const ipFrame = (destination: string, source: string, packet: Bytes): Bytes =>
  frame(destination, source, u8(packet, 0) >>> 4 === 6 ? 0x86dd : 0x0800, packet)

/** An outer packet with the inner one. */
export const outer = (source: string, destination: string, packet: Bytes, protocol?: number): Bytes =>
  ip({ source, destination }, protocol ?? (u8(packet, 0) >>> 4 === 6 ? 41 : 4), packet)

const protocolNames: Readonly<Record<number, string>> = {
  1: "ICMP",
  6: "TCP",
  17: "UDP",
  58: "ICMPv6",
  132: "SCTP",
}

const flagNames = (flags: number): string =>
  Object.entries(flag)
    .filter(([, bit]) => (flags & bit) !== 0)
    .map(([name]) => name.toUpperCase())
    .join("|") || "none"

const detail = (seen: Seen): string => {
  const { l4, protocol } = seen
  if (seen.fragment === "later") return ""
  if (protocol === 6)
    return ` ${flagNames(u8(l4, 13))} seq ${u32(l4, 4)} ack ${u32(l4, 8)} data ${l4.length - (u8(l4, 12) >>> 4) * 4}`
  if (protocol === 1 || protocol === 58) {
    const about = isIcmpError(seen) ? read(l4.subarray(8)) : undefined
    return ` type ${u8(l4, 0)} code ${u8(l4, 1)}${about === undefined ? "" : ` about [${sayIp(about.bytes)}]`}`
  }
  return ""
}

const ported = (address: string, port: number): string =>
  port === 0 ? address : address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`

/** An IP packet in one line. */
export const sayIp = (bytes: Bytes): string => {
  const seen = read(bytes)
  if (seen === undefined) return `no IP packet, ${bytes.length} bytes ${hex(bytes.subarray(0, 24))}`
  const name = protocolNames[seen.protocol] ?? `protocol ${seen.protocol}`
  const piece = seen.fragment === "whole" ? "" : ` (${seen.fragment} fragment)`
  const inner =
    seen.family === 6 && (seen.protocol === 4 || seen.protocol === 41) ? ` [${sayIp(seen.l4)}]` : ""
  return `${name} ${ported(seen.source, seen.sourcePort)} > ${ported(seen.destination, seen.destinationPort)}${piece}${detail(seen)} ttl ${seen.ttl} length ${bytes.length}${inner}`
}

/** A frame in one line. */
export const sayFrame = (bytes: Bytes): string => {
  const type = u16(bytes, 12)
  const ends = `${hex(bytes.subarray(6, 12))} > ${hex(bytes.subarray(0, 6))}`
  if (type === 0x0800 || type === 0x86dd) return `${ends} ${sayIp(bytes.subarray(14))}`
  return `${ends} type ${type.toString(16)} ${hex(bytes.subarray(14, 60))}`
}
