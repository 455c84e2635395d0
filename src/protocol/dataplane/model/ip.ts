/**
 * IPv4 (RFC 791) and IPv6 (RFC 8200) headers.
 *
 * A decoded packet keeps `packet`, its bytes without Ethernet padding: forwarding copies these and never
 * re-encodes. IPv6 extension headers are not walked: `protocol` is the first next header.
 */
import { ipv4At, ipv6At, parseIpv4, parseIpv6 } from "./address.ts"
import { type Bytes, concat, internetChecksum, put16, put32, u16, u32, u8 } from "./bytes.ts"

export const protocols = { icmp: 1, ipv4: 4, tcp: 6, udp: 17, ipv6: 41, icmpv6: 58 } as const

export interface Ipv4 {
  readonly source: string
  readonly destination: string
  readonly protocol: number
  readonly ttl: number
  readonly trafficClass: number
  readonly identification: number
  /** Part of a packet: offset is not zero or more fragments follow. */
  readonly fragment: boolean
  readonly dontFragment: boolean
  /** The header's checksum is right. A forwarder does not look; who receives the packet does. */
  readonly intact: boolean
  readonly payload: Bytes
  readonly packet: Bytes
}

export const decodeIpv4 = (bytes: Bytes): Ipv4 | undefined => {
  if (bytes.length < 20 || u8(bytes, 0) >>> 4 !== 4) return undefined
  const header = (u8(bytes, 0) & 0x0f) * 4
  const total = u16(bytes, 2)
  if (header < 20 || total < header || bytes.length < total) return undefined
  return {
    source: ipv4At(bytes, 12),
    destination: ipv4At(bytes, 16),
    protocol: u8(bytes, 9),
    ttl: u8(bytes, 8),
    trafficClass: u8(bytes, 1),
    identification: u16(bytes, 4),
    fragment: (u16(bytes, 6) & 0x3fff) !== 0,
    dontFragment: (u16(bytes, 6) & 0x4000) !== 0,
    intact: internetChecksum(bytes.subarray(0, header)) === 0,
    payload: bytes.subarray(header, total),
    packet: bytes.subarray(0, total),
  }
}

export interface Ipv4Fields {
  readonly source: string
  readonly destination: string
  readonly protocol: number
  readonly ttl?: number
  readonly identification?: number
  /** Default true, as Linux sends. */
  readonly dontFragment?: boolean
  readonly payload: Bytes
}

export const encodeIpv4 = (packet: Ipv4Fields): Bytes => {
  const header = concat(
    [0x45, 0],
    put16(20 + packet.payload.length),
    put16(packet.identification ?? 0),
    [packet.dontFragment === false ? 0 : 0x40, 0, packet.ttl ?? 64, packet.protocol, 0, 0],
    parseIpv4(packet.source) ?? new Uint8Array(4),
    parseIpv4(packet.destination) ?? new Uint8Array(4),
  )
  header.set(put16(internetChecksum(header)), 10)
  return concat(header, packet.payload)
}

export interface Ipv6 {
  readonly source: string
  readonly destination: string
  readonly protocol: number
  readonly hopLimit: number
  readonly trafficClass: number
  readonly flowLabel: number
  readonly payload: Bytes
  readonly packet: Bytes
}

export const decodeIpv6 = (bytes: Bytes): Ipv6 | undefined => {
  if (bytes.length < 40 || u8(bytes, 0) >>> 4 !== 6) return undefined
  const total = 40 + u16(bytes, 4)
  if (bytes.length < total) return undefined
  const first = u32(bytes, 0)
  return {
    source: ipv6At(bytes, 8),
    destination: ipv6At(bytes, 24),
    protocol: u8(bytes, 6),
    hopLimit: u8(bytes, 7),
    trafficClass: (first >>> 20) & 0xff,
    flowLabel: first & 0xf_ffff,
    payload: bytes.subarray(40, total),
    packet: bytes.subarray(0, total),
  }
}

export interface Ipv6Fields {
  readonly source: string
  readonly destination: string
  readonly protocol: number
  readonly hopLimit?: number
  readonly flowLabel?: number
  readonly payload: Bytes
}

const sixteen = (ip: string): Bytes => parseIpv6(ip) ?? new Uint8Array(16)

export const encodeIpv6 = (packet: Ipv6Fields): Bytes =>
  concat(
    put32(0x6000_0000 + (packet.flowLabel ?? 0)),
    put16(packet.payload.length),
    [packet.protocol, packet.hopLimit ?? 64],
    sixteen(packet.source),
    sixteen(packet.destination),
    packet.payload,
  )

/** What a transport checksum covers beside the segment (RFC 9293 §3.1, RFC 8200 §8.1). Both addresses of one family. */
export const pseudoHeader = (
  source: string,
  destination: string,
  protocol: number,
  length: number,
): Bytes => {
  const from = parseIpv4(source)
  const to = parseIpv4(destination)
  return from !== undefined && to !== undefined
    ? concat(from, to, [0, protocol], put16(length))
    : concat(sixteen(source), sixteen(destination), put32(length), [0, 0, 0, protocol])
}

/** Zero when the checksum inside `segment` is right; with the field zeroed, the value to put there. */
export const transportChecksum = (
  source: string,
  destination: string,
  protocol: number,
  segment: Bytes,
): number => internetChecksum(pseudoHeader(source, destination, protocol, segment.length), segment)
