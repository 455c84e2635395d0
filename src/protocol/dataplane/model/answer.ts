/**
 * Answers that are made from the packet being answered: the reply to an echo request, a TCP reset, an ICMP error that
 * quotes it. They go to the packet's source with TTL 64. Callers limit the rate. `undefined`: there is no answer to such
 * a packet.
 */
import { bytesOf, isGroup, isZero } from "./address.ts"
import { type Bytes, concat, internetChecksum, put16, put32, u16, u32, u8 } from "./bytes.ts"
import { encodeIpv4, encodeIpv6, protocols, transportChecksum } from "./ip.ts"
import { sealIcmpv6 } from "./transport.ts"
import { tcpFlag, type Tuple } from "./tuple.ts"

/** Bytes of the quoted packet: all of the error is 576 or 1,280 then. */
export const quoteLimit = { 4: 548, 6: 1_232 } as const

interface Addresses {
  readonly source: string
  readonly destination: string
}

const wrap = (tuple: Tuple, addresses: Addresses, protocol: number, payload: Bytes): Bytes =>
  tuple.family === 4
    ? encodeIpv4({ ...addresses, protocol, dontFragment: false, payload })
    : encodeIpv6({ ...addresses, protocol, payload })

/** The request turned round: all but addresses, type and time to live stays as it was. */
export const answerEcho = (packet: Bytes, tuple: Tuple): Bytes | undefined => {
  const request = tuple.family === 4 ? 8 : 128
  if (tuple.icmp !== "echo" || tuple.icmpType !== request || tuple.icmpCode !== 0) return undefined
  if (tuple.fragment !== "whole") return undefined
  const out = packet.slice(0, tuple.length)
  if (tuple.family === 4) {
    out.set(packet.subarray(12, 16), 16)
    out.set(packet.subarray(16, 20), 12)
    out[8] = 64
    out.set([0, 0], 10)
    out.set(put16(internetChecksum(out.subarray(0, tuple.l4))), 10)
    out[tuple.l4] = 0
  } else {
    out.set(packet.subarray(8, 24), 24)
    out.set(packet.subarray(24, 40), 8)
    out[7] = 64
    out[tuple.l4] = 129
  }
  out.set([0, 0], tuple.l4 + 2)
  const message = out.subarray(tuple.l4)
  const sum =
    tuple.family === 4
      ? internetChecksum(message)
      : transportChecksum(tuple.destination, tuple.source, protocols.icmpv6, message)
  out.set(put16(sum), tuple.l4 + 2)
  return out
}

/** RFC 9293 3.10.7.1. None to a reset, nor to a fragment. */
export const answerReset = (packet: Bytes, tuple: Tuple): Bytes | undefined => {
  if (tuple.protocol !== protocols.tcp || tuple.fragment !== "whole") return undefined
  if ((tuple.tcpFlags & tcpFlag.rst) !== 0) return undefined
  const header = (u8(packet, tuple.l4 + 12) >>> 4) * 4
  if (header < 20 || tuple.l4 + header > tuple.length) return undefined
  const acknowledges = (tuple.tcpFlags & tcpFlag.ack) !== 0
  const counted =
    ((tuple.tcpFlags & tcpFlag.syn) !== 0 ? 1 : 0) + ((tuple.tcpFlags & tcpFlag.fin) !== 0 ? 1 : 0)
  const length = tuple.length - tuple.l4 - header + counted
  const addresses = { source: tuple.destination, destination: tuple.source }
  const segment = concat(
    put16(tuple.destinationPort),
    put16(tuple.sourcePort),
    put32(acknowledges ? u32(packet, tuple.l4 + 8) : 0),
    put32(acknowledges ? 0 : (u32(packet, tuple.l4 + 4) + length) % 0x1_0000_0000),
    [0x50, acknowledges ? tcpFlag.rst : tcpFlag.rst | tcpFlag.ack],
    [0, 0, 0, 0, 0, 0],
  )
  segment.set(put16(transportChecksum(addresses.source, addresses.destination, protocols.tcp, segment)), 16)
  return wrap(tuple, addresses, protocols.tcp, segment)
}

/** None about an error, a later fragment, or a packet from or to a group or from nobody. */
const mayBeTold = (tuple: Tuple): boolean => {
  if (tuple.fragment === "later" || tuple.icmp === "error") return false
  if (isGroup(tuple.source) || isGroup(tuple.destination)) return false
  if (tuple.family === 4) return u8(bytesOf(tuple.source), 0) !== 0
  // An error of a kind yet unknown.
  if (tuple.icmp !== "none" && tuple.icmpType < 128) return false
  return !isZero(bytesOf(tuple.source))
}

/** An ICMP or ICMPv6 error from `source` that quotes the packet; `rest`: the four bytes behind the checksum. */
export const answerError = (
  packet: Bytes,
  tuple: Tuple,
  error: { readonly type: number; readonly code: number; readonly rest: number; readonly source: string },
): Bytes | undefined => {
  if (!mayBeTold(tuple)) return undefined
  const addresses = { source: error.source, destination: tuple.source }
  const quoted = packet.subarray(0, Math.min(tuple.length, quoteLimit[tuple.family]))
  const message = concat([error.type, error.code, 0, 0], put32(error.rest), quoted)
  if (tuple.family === 6) return wrap(tuple, addresses, protocols.icmpv6, sealIcmpv6(addresses, message))
  message.set(put16(internetChecksum(message)), 2)
  return wrap(tuple, addresses, protocols.icmp, message)
}

/** Time to live of a packet. */
export const ttlOf = (packet: Bytes, tuple: Tuple): number => u8(packet, tuple.family === 4 ? 8 : 7)

/** The packet with its time to live one less. */
export const aged = (packet: Bytes, tuple: Tuple): Bytes => {
  const out = packet.slice()
  if (tuple.family === 6) {
    out[7] = u8(packet, 7) - 1
    return out
  }
  const old = u16(out, 8)
  out[8] = u8(packet, 8) - 1
  const sum = (~u16(out, 10) & 0xffff) + (~old & 0xffff) + u16(out, 8)
  const folded = (sum & 0xffff) + (sum >>> 16)
  out.set(put16(~((folded & 0xffff) + (folded >>> 16)) & 0xffff), 10)
  return out
}
