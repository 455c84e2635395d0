/** Ethernet II frames and ARP (RFC 826) for IPv4. A frame of a port has no FCS and may carry padding. */
import { ipv4At, macAt, macBytes, parseIpv4 } from "./address.ts"
import { type Bytes, concat, put16, u16 } from "./bytes.ts"

export const etherTypes = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const

export interface Ethernet {
  readonly destination: string
  readonly source: string
  readonly type: number
  readonly payload: Bytes
}

export const decodeEthernet = (frame: Bytes): Ethernet | undefined =>
  frame.length < 14
    ? undefined
    : {
        destination: macAt(frame, 0),
        source: macAt(frame, 6),
        type: u16(frame, 12),
        payload: frame.subarray(14),
      }

export const encodeEthernet = (frame: Ethernet): Bytes =>
  concat(macBytes(frame.destination), macBytes(frame.source), put16(frame.type), frame.payload)

export interface Arp {
  /** "other": known to nobody here; written as 0. */
  readonly operation: "request" | "reply" | "other"
  readonly senderMac: string
  readonly senderIp: string
  readonly targetMac: string
  readonly targetIp: string
}

const operations: Readonly<Record<number, Arp["operation"]>> = { 1: "request", 2: "reply" }

export const decodeArp = (bytes: Bytes): Arp | undefined => {
  if (bytes.length < 28 || u16(bytes, 0) !== 1 || u16(bytes, 2) !== 0x0800 || u16(bytes, 4) !== 0x0604)
    return undefined
  const operation = u16(bytes, 6)
  return {
    operation: operations[operation] ?? "other",
    senderMac: macAt(bytes, 8),
    senderIp: ipv4At(bytes, 14),
    targetMac: macAt(bytes, 18),
    targetIp: ipv4At(bytes, 24),
  }
}

const four = (ip: string): Bytes => parseIpv4(ip) ?? new Uint8Array(4)

export const encodeArp = (arp: Arp): Bytes =>
  concat(
    [0, 1, 8, 0, 6, 4],
    put16({ request: 1, reply: 2, other: 0 }[arp.operation]),
    macBytes(arp.senderMac),
    four(arp.senderIp),
    macBytes(arp.targetMac),
    four(arp.targetIp),
  )
