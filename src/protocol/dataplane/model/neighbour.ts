/**
 * IPv6 neighbour discovery (RFC 4861) as a gateway and its hosts need it: solicitations and advertisements of
 * neighbours and routers. All are refused with a hop limit below 255, which nobody can forge from another link.
 */
import { ipv6At, macAt, macBytes, parseIpv6 } from "./address.ts"
import { type Bytes, concat, put16, put32, u16, u32, u8 } from "./bytes.ts"
import { type Ipv6, protocols, transportChecksum } from "./ip.ts"
import { type Addresses, sealIcmpv6 } from "./transport.ts"

export type Neighbour =
  | { readonly _tag: "RouterSolicitation"; readonly sourceMac: string | undefined }
  | {
      readonly _tag: "RouterAdvertisement"
      readonly sourceMac: string | undefined
      /** M: addresses come by DHCPv6. */
      readonly managed: boolean
      /** O: other settings come by DHCPv6. */
      readonly other: boolean
      readonly lifetimeSeconds: number
      readonly mtu: number | undefined
    }
  | {
      readonly _tag: "NeighbourSolicitation"
      readonly target: string
      readonly sourceMac: string | undefined
    }
  | {
      readonly _tag: "NeighbourAdvertisement"
      readonly target: string
      readonly targetMac: string | undefined
      readonly router: boolean
      readonly solicited: boolean
      readonly override: boolean
    }

const types = {
  routerSolicitation: 133,
  routerAdvertisement: 134,
  solicitation: 135,
  advertisement: 136,
} as const

export const isNeighbour = (packet: Ipv6): boolean =>
  packet.protocol === protocols.icmpv6 && u8(packet.payload, 0) >= 133 && u8(packet.payload, 0) <= 137

interface Options {
  readonly source: string | undefined
  readonly target: string | undefined
  readonly mtu: number | undefined
}

/** `undefined`: an option of length zero or beyond the end; the whole message is refused then (RFC 4861 §4.6). */
const options = (bytes: Bytes): Options | undefined => {
  let out: Options = { source: undefined, target: undefined, mtu: undefined }
  for (let at = 0; at < bytes.length;) {
    const length = u8(bytes, at + 1) * 8
    if (length === 0 || at + length > bytes.length) return undefined
    const type = u8(bytes, at)
    if (type === 1) out = { ...out, source: macAt(bytes, at + 2) }
    if (type === 2) out = { ...out, target: macAt(bytes, at + 2) }
    if (type === 5) out = { ...out, mtu: u32(bytes, at + 4) }
    at += length
  }
  return out
}

const minimum: Readonly<Record<number, number>> = { 133: 8, 134: 16, 135: 24, 136: 24 }

export const decodeNeighbour = (packet: Ipv6): Neighbour | undefined => {
  const bytes = packet.payload
  const start = minimum[u8(bytes, 0)]
  if (packet.protocol !== protocols.icmpv6 || packet.hopLimit !== 255 || u8(bytes, 1) !== 0) return undefined
  if (start === undefined || bytes.length < start) return undefined
  if (transportChecksum(packet.source, packet.destination, protocols.icmpv6, bytes) !== 0) return undefined
  const found = options(bytes.subarray(start))
  if (found === undefined) return undefined
  const flags = u8(bytes, 4)
  switch (u8(bytes, 0)) {
    case types.routerSolicitation:
      return { _tag: "RouterSolicitation", sourceMac: found.source }
    case types.routerAdvertisement:
      return {
        _tag: "RouterAdvertisement",
        sourceMac: found.source,
        managed: (u8(bytes, 5) & 0x80) !== 0,
        other: (u8(bytes, 5) & 0x40) !== 0,
        lifetimeSeconds: u16(bytes, 6),
        mtu: found.mtu,
      }
    case types.solicitation:
      return { _tag: "NeighbourSolicitation", target: ipv6At(bytes, 8), sourceMac: found.source }
    default:
      return {
        _tag: "NeighbourAdvertisement",
        target: ipv6At(bytes, 8),
        targetMac: found.target,
        router: (flags & 0x80) !== 0,
        solicited: (flags & 0x40) !== 0,
        override: (flags & 0x20) !== 0,
      }
  }
}

const sixteen = (ip: string): Bytes => parseIpv6(ip) ?? new Uint8Array(16)
const macOption = (type: 1 | 2, mac: string | undefined): Bytes =>
  mac === undefined ? new Uint8Array(0) : concat([type, 1], macBytes(mac))

/** The ICMPv6 message with its checksum. */
export const encodeNeighbour = (addresses: Addresses, message: Neighbour): Bytes => {
  switch (message._tag) {
    case "RouterSolicitation":
      return sealIcmpv6(
        addresses,
        concat([types.routerSolicitation, 0, 0, 0, 0, 0, 0, 0], macOption(1, message.sourceMac)),
      )
    case "RouterAdvertisement":
      return sealIcmpv6(
        addresses,
        concat(
          [types.routerAdvertisement, 0, 0, 0, 64, (message.managed ? 0x80 : 0) | (message.other ? 0x40 : 0)],
          put16(message.lifetimeSeconds),
          put32(0),
          put32(0),
          macOption(1, message.sourceMac),
          message.mtu === undefined ? [] : [5, 1, 0, 0, ...put32(message.mtu)],
        ),
      )
    case "NeighbourSolicitation":
      return sealIcmpv6(
        addresses,
        concat(
          [types.solicitation, 0, 0, 0, 0, 0, 0, 0],
          sixteen(message.target),
          macOption(1, message.sourceMac),
        ),
      )
    case "NeighbourAdvertisement":
      return sealIcmpv6(
        addresses,
        concat(
          [
            types.advertisement,
            0,
            0,
            0,
            (message.router ? 0x80 : 0) | (message.solicited ? 0x40 : 0) | (message.override ? 0x20 : 0),
            0,
            0,
            0,
          ],
          sixteen(message.target),
          macOption(2, message.targetMac),
        ),
      )
  }
}
