/**
 * ICMP echo, UDP and TCP segments. Each codec takes the addresses because checksums cover them.
 */
import { type Bytes, concat, internetChecksum, put16, put32, u16, u32, u8 } from "./bytes.ts"
import { protocols, transportChecksum } from "./ip.ts"

export interface Addresses {
  readonly source: string
  readonly destination: string
}

export interface Echo {
  readonly reply: boolean
  readonly identifier: number
  readonly sequence: number
  readonly data: Bytes
}

const echo = (bytes: Bytes, request: number, reply: number): Echo | undefined => {
  const type = u8(bytes, 0)
  if (bytes.length < 8 || u8(bytes, 1) !== 0 || (type !== request && type !== reply)) return undefined
  return {
    reply: type === reply,
    identifier: u16(bytes, 4),
    sequence: u16(bytes, 6),
    data: bytes.subarray(8),
  }
}

/** ICMP echo request (8) or reply (0); anything else, or a wrong checksum, is `undefined`. */
export const decodeEcho4 = (bytes: Bytes): Echo | undefined =>
  internetChecksum(bytes) === 0 ? echo(bytes, 8, 0) : undefined

export const encodeEcho4 = (value: Echo): Bytes => {
  const out = concat(
    [value.reply ? 0 : 8, 0, 0, 0],
    put16(value.identifier),
    put16(value.sequence),
    value.data,
  )
  out.set(put16(internetChecksum(out)), 2)
  return out
}

/** ICMPv6 echo request (128) or reply (129). */
export const decodeEcho6 = (addresses: Addresses, bytes: Bytes): Echo | undefined =>
  transportChecksum(addresses.source, addresses.destination, protocols.icmpv6, bytes) === 0
    ? echo(bytes, 128, 129)
    : undefined

/** Puts the checksum into an ICMPv6 message whose field is zero. */
export const sealIcmpv6 = (addresses: Addresses, message: Bytes): Bytes => {
  const out = concat(message)
  out.set(put16(transportChecksum(addresses.source, addresses.destination, protocols.icmpv6, out)), 2)
  return out
}

export const encodeEcho6 = (addresses: Addresses, value: Echo): Bytes =>
  sealIcmpv6(
    addresses,
    concat([value.reply ? 129 : 128, 0, 0, 0], put16(value.identifier), put16(value.sequence), value.data),
  )

export interface Udp {
  readonly sourcePort: number
  readonly destinationPort: number
  readonly payload: Bytes
}

/** The payload behind a UDP header, unchecked: on a virtual link a guest may leave checksums to its device. */
export const trustedUdp = (bytes: Bytes): Udp | undefined =>
  bytes.length < 8
    ? undefined
    : { sourcePort: u16(bytes, 0), destinationPort: u16(bytes, 2), payload: bytes.subarray(8) }

/** A checksum of zero over IPv4 means that there is none (RFC 768); over IPv6 it is refused (RFC 8200 §8.1). */
export const decodeUdp = (addresses: Addresses, bytes: Bytes): Udp | undefined => {
  const length = u16(bytes, 4)
  if (bytes.length < 8 || length < 8 || length > bytes.length) return undefined
  const segment = bytes.subarray(0, length)
  const unchecked = u16(bytes, 6) === 0 && addresses.source.includes(".") && !addresses.source.includes(":")
  if (
    !unchecked &&
    (u16(bytes, 6) === 0 ||
      transportChecksum(addresses.source, addresses.destination, protocols.udp, segment) !== 0)
  )
    return undefined
  return {
    sourcePort: u16(bytes, 0),
    destinationPort: u16(bytes, 2),
    payload: segment.subarray(8),
  }
}

export const encodeUdp = (addresses: Addresses, value: Udp): Bytes => {
  const out = concat(
    put16(value.sourcePort),
    put16(value.destinationPort),
    put16(8 + value.payload.length),
    [0, 0],
    value.payload,
  )
  const sum = transportChecksum(addresses.source, addresses.destination, protocols.udp, out)
  out.set(put16(sum === 0 ? 0xffff : sum), 6)
  return out
}

export interface Tcp {
  readonly sourcePort: number
  readonly destinationPort: number
  /** 32 bits. */
  readonly sequence: number
  readonly acknowledgement: number
  readonly flags: TcpFlags
  readonly window: number
  readonly payload: Bytes
}

export interface TcpFlags {
  readonly fin?: boolean
  readonly syn?: boolean
  readonly rst?: boolean
  readonly psh?: boolean
  readonly ack?: boolean
}

/** Options are skipped. A wrong checksum is `undefined`. */
export const decodeTcp = (addresses: Addresses, bytes: Bytes): Tcp | undefined => {
  const header = (u8(bytes, 12) >>> 4) * 4
  if (bytes.length < 20 || header < 20 || header > bytes.length) return undefined
  if (transportChecksum(addresses.source, addresses.destination, protocols.tcp, bytes) !== 0) return undefined
  const flags = u8(bytes, 13)
  return {
    sourcePort: u16(bytes, 0),
    destinationPort: u16(bytes, 2),
    sequence: u32(bytes, 4),
    acknowledgement: u32(bytes, 8),
    flags: {
      fin: (flags & 1) !== 0,
      syn: (flags & 2) !== 0,
      rst: (flags & 4) !== 0,
      psh: (flags & 8) !== 0,
      ack: (flags & 16) !== 0,
    },
    window: u16(bytes, 14),
    payload: bytes.subarray(header),
  }
}

export const encodeTcp = (addresses: Addresses, value: Tcp): Bytes => {
  const { fin, syn, rst, psh, ack } = value.flags
  const flags =
    (fin === true ? 1 : 0) |
    (syn === true ? 2 : 0) |
    (rst === true ? 4 : 0) |
    (psh === true ? 8 : 0) |
    (ack === true ? 16 : 0)
  const out = concat(
    put16(value.sourcePort),
    put16(value.destinationPort),
    put32(value.sequence),
    put32(value.acknowledgement),
    [0x50, flags],
    put16(value.window),
    [0, 0, 0, 0],
    value.payload,
  )
  out.set(put16(transportChecksum(addresses.source, addresses.destination, protocols.tcp, out)), 16)
  return out
}
