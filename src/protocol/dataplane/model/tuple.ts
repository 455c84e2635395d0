/**
 * What a packet says: family, protocol, addresses, ports, and where its L4 begins.
 *
 * Of TCP, UDP and SCTP the ports, of echo the identifier as both; everything else has ports 0. A whole packet must hold
 * the fixed header of its L4 (TCP 20, SCTP 12, UDP, ICMP and ICMPv6 8 bytes), a first fragment and a quoted packet 8
 * bytes of it. What does not is malformed: `undefined`.
 */
import { type Family, ipv4At, ipv6At } from "./address.ts"
import { type Bytes, u16, u32, u8 } from "./bytes.ts"
import { protocols } from "./ip.ts"

export interface Tuple {
  readonly family: Family
  /** After IPv6 extension headers. */
  readonly protocol: number
  readonly source: string
  readonly destination: string
  readonly sourcePort: number
  readonly destinationPort: number
  readonly fragment: "whole" | "first" | "later"
  readonly icmp: "none" | "echo" | "error" | "other"
  /** Of a fragment. */
  readonly fragmentId: number
  readonly tcpFlags: number
  readonly icmpType: number
  readonly icmpCode: number
  /** Offset of L4 from the start of the packet. */
  readonly l4: number
  /** Bytes of the packet, as its header says. */
  readonly length: number
}

export const tcpFlag = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 } as const

const sctp = 132
const least: Readonly<Record<number, number>> = { 6: 20, 17: 8, [sctp]: 12 }

/** The same packet's way back. */
export const flip = (tuple: Tuple): Tuple => ({
  ...tuple,
  source: tuple.destination,
  destination: tuple.source,
  sourcePort: tuple.destinationPort,
  destinationPort: tuple.sourcePort,
})

export const isEchoRequest = (tuple: Tuple): boolean =>
  tuple.icmp === "echo" && tuple.icmpType === (tuple.family === 4 ? 8 : 128)

interface Header {
  readonly family: Family
  readonly protocol: number
  readonly source: string
  readonly destination: string
  readonly fragment: Tuple["fragment"]
  readonly fragmentId: number
  readonly l4: number
  readonly length: number
}

const icmpKind = (family: Family, protocol: number, type: number): Tuple["icmp"] => {
  if (protocol !== (family === 4 ? protocols.icmp : protocols.icmpv6)) return "none"
  if (family === 4)
    return type === 0 || type === 8 ? "echo" : [3, 4, 5, 11, 12].includes(type) ? "error" : "other"
  return type === 128 || type === 129 ? "echo" : type >= 1 && type <= 4 ? "error" : "other"
}

const isIcmp = (header: Header): boolean =>
  header.protocol === (header.family === 4 ? protocols.icmp : protocols.icmpv6)

/** `have`: where what is there of the packet ends. */
const withL4 = (bytes: Bytes, header: Header, have: number, quoted: boolean): Tuple | undefined => {
  const { l4, protocol } = header
  const none = {
    ...header,
    sourcePort: 0,
    destinationPort: 0,
    icmp: "none" as const,
    tcpFlags: 0,
    icmpType: 0,
    icmpCode: 0,
  }
  if (header.fragment === "later") return none
  const size = have - l4
  const fixed = least[protocol] ?? (isIcmp(header) ? 8 : 0)
  const wanted = header.fragment === "first" || (quoted && fixed > 0) ? 8 : fixed
  if (size < wanted) return undefined
  if (fixed === 0) return none
  if (!isIcmp(header))
    return {
      ...none,
      sourcePort: u16(bytes, l4),
      destinationPort: u16(bytes, l4 + 2),
      tcpFlags: protocol === protocols.tcp && size >= 14 ? u8(bytes, l4 + 13) : 0,
    }
  const icmp = icmpKind(header.family, protocol, u8(bytes, l4))
  const identifier = icmp === "echo" ? u16(bytes, l4 + 4) : 0
  return {
    ...none,
    icmp,
    icmpType: u8(bytes, l4),
    icmpCode: u8(bytes, l4 + 1),
    sourcePort: identifier,
    destinationPort: identifier,
  }
}

const header4 = (bytes: Bytes): Header | undefined => {
  const l4 = (u8(bytes, 0) & 15) * 4
  const length = u16(bytes, 2)
  if (l4 < 20 || length < l4 || bytes.length < l4) return undefined
  const offset = u16(bytes, 6) & 0x1fff
  const more = (u16(bytes, 6) & 0x2000) !== 0
  const fragment = offset !== 0 ? "later" : more ? "first" : "whole"
  return {
    family: 4,
    protocol: u8(bytes, 9),
    source: ipv4At(bytes, 12),
    destination: ipv4At(bytes, 16),
    fragment,
    fragmentId: fragment === "whole" ? 0 : u16(bytes, 4),
    l4,
    length,
  }
}

const extension = { hopByHop: 0, routing: 43, fragment: 44, destination: 60 } as const
const most: Readonly<Record<number, number>> = { 0: 1, 43: 1, 44: 1, 60: 2 }
const extensionLimit = 8

/** Hop-by-hop, routing, destination options and fragment headers are walked; AH and ESP are protocols of their own. */
const header6 = (bytes: Bytes, end: number): Header | undefined => {
  const seen = new Map<number, number>()
  let protocol = u8(bytes, 6)
  let l4 = 40
  let fragment: Tuple["fragment"] = "whole"
  let fragmentId = 0
  for (let count = 0; protocol in most && fragment !== "later"; count++) {
    const times = (seen.get(protocol) ?? 0) + 1
    if (count === extensionLimit || times > (most[protocol] ?? 0) || end < l4 + 8) return undefined
    seen.set(protocol, times)
    const size = protocol === extension.fragment ? 8 : (u8(bytes, l4 + 1) + 1) * 8
    if (end < l4 + size) return undefined
    if (protocol === extension.fragment) {
      const offset = u16(bytes, l4 + 2) & 0xfff8
      const more = (u16(bytes, l4 + 2) & 1) !== 0
      fragment = offset !== 0 ? "later" : more ? "first" : "whole"
      fragmentId = fragment === "whole" ? 0 : u32(bytes, l4 + 4)
    }
    protocol = u8(bytes, l4)
    l4 += size
  }
  return {
    family: 6,
    protocol,
    source: ipv6At(bytes, 8),
    destination: ipv6At(bytes, 24),
    fragment,
    fragmentId,
    l4,
    length: 40 + u16(bytes, 4),
  }
}

/** An IP packet, perhaps with a trailer. */
export const parseIp = (bytes: Bytes): Tuple | undefined => {
  const version = u8(bytes, 0) >>> 4
  if (version === 4) {
    if (bytes.length < 20 || bytes.length < u16(bytes, 2)) return undefined
    const header = header4(bytes)
    return header === undefined ? undefined : withL4(bytes, header, header.length, false)
  }
  const length = 40 + u16(bytes, 4)
  if (version !== 6 || bytes.length < length || length > 0xffff) return undefined
  const header = header6(bytes, length)
  return header === undefined ? undefined : withL4(bytes, header, length, false)
}

/** The packet that an ICMP error quotes, usually cut short; `length` is what its header says, not what is there. */
export const parseQuoted = (bytes: Bytes): Tuple | undefined => {
  const version = u8(bytes, 0) >>> 4
  const header =
    version === 4 && bytes.length >= 20
      ? header4(bytes)
      : version === 6 && bytes.length >= 40 && 40 + u16(bytes, 4) <= 0xffff
        ? header6(bytes, Math.min(bytes.length, 40 + u16(bytes, 4)))
        : undefined
  return header === undefined ? undefined : withL4(bytes, header, Math.min(bytes.length, header.length), true)
}
