/**
 * Arithmetic on addresses and prefixes that `effect/net` leaves out: numbers, masks, canonical text.
 *
 * Text in, text out, for whoever keeps addresses as JSON (manifests, claims, routes): equal addresses have equal
 * text once they went through here. Parsing is effect's; zones (`%eth0`), leading zeros and short forms of IPv4 are
 * not addresses. Tables with a million routes keep numbers of their own and use this at their border only.
 */
import { Result } from "effect"
import * as NetAddress from "effect/net/NetAddress"

export type Family = "IPv4" | "IPv6"

/** 32 or 128. */
export const widthOf = (family: Family): 32 | 128 => (family === "IPv4" ? 32 : 128)

export interface Address {
  readonly family: Family
  readonly value: bigint
}

/** `address` keeps its host bits; `network` is masked. */
export interface Prefix {
  readonly family: Family
  readonly address: bigint
  readonly network: bigint
  readonly length: number
}

/** 49 is the longest text that an address can have, with room for `::ffff:255.255.255.255`. */
const longestAddress = 49

const fromNet = (ip: NetAddress.IpAddress): Address => {
  if (NetAddress.isIpv4Address(ip)) {
    return {
      family: "IPv4",
      value: BigInt(NetAddress.ipv4ToOctets(ip).reduce((n, octet) => n * 256 + octet, 0)),
    }
  }
  return {
    family: "IPv6",
    value: NetAddress.ipv6ToSegments(ip).reduce((n, segment) => (n << 16n) | BigInt(segment), 0n),
  }
}

const toBytes = (address: Address): Uint8Array => {
  const bytes = new Uint8Array(widthOf(address.family) / 8)
  let rest = address.value
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn)
    rest >>= 8n
  }
  return bytes
}

/** Undefined where the text is no address. */
export const parseAddress = (text: string): Address | undefined => {
  if (text.length > longestAddress) return undefined
  const parsed = NetAddress.ipFromString(text)
  return Result.isSuccess(parsed) ? fromNet(parsed.success) : undefined
}

/** RFC 5952 for IPv6, dotted for IPv4. */
export const formatAddress = (address: Address): string =>
  NetAddress.formatIp(
    address.family === "IPv4"
      ? NetAddress.ipv4FromBytesUnsafe(toBytes(address))
      : NetAddress.ipv6FromBytesUnsafe(toBytes(address)),
  )

/** The one text of an address; undefined where it is none. */
export const canonicalAddress = (text: string): string | undefined => {
  const address = parseAddress(text)
  return address && formatAddress(address)
}

/** All ones in the first `length` bits. */
const mask = (family: Family, length: number): bigint => {
  const width = BigInt(widthOf(family))
  const ones = (1n << width) - 1n
  return ones ^ (ones >> BigInt(length))
}

/** `10.0.0.1/8`: host bits may be set. Undefined where the text is no prefix. */
export const parsePrefix = (text: string): Prefix | undefined => {
  const slash = text.lastIndexOf("/")
  const digits = text.slice(slash + 1)
  if (slash < 0 || !/^(0|[1-9][0-9]{0,2})$/.test(digits)) return undefined
  const address = parseAddress(text.slice(0, slash))
  const length = Number(digits)
  if (address === undefined || length > widthOf(address.family)) return undefined
  return {
    family: address.family,
    address: address.value,
    network: address.value & mask(address.family, length),
    length,
  }
}

/** With host bits as they are. */
export const formatPrefix = (prefix: Prefix): string =>
  `${formatAddress({ family: prefix.family, value: prefix.address })}/${prefix.length}`

/** The one text of a route: host bits masked. Undefined where the text is no prefix. */
export const canonicalRoute = (text: string): string | undefined => {
  const prefix = parsePrefix(text)
  return prefix && formatPrefix({ ...prefix, address: prefix.network })
}

/** The route to one address: `/32` or `/128`. Undefined where the text is no address. */
export const hostRoute = (text: string): string | undefined => {
  const address = parseAddress(text)
  return address && `${formatAddress(address)}/${widthOf(address.family)}`
}

/** Whether every address of `inner` is one of `outer`. */
export const containsPrefix = (outer: Prefix, inner: Prefix): boolean =>
  outer.family === inner.family &&
  outer.length <= inner.length &&
  (inner.network & mask(outer.family, outer.length)) === outer.network

export const containsAddress = (outer: Prefix, address: Address): boolean =>
  outer.family === address.family && (address.value & mask(outer.family, outer.length)) === outer.network

export const overlaps = (a: Prefix, b: Prefix): boolean => containsPrefix(a, b) || containsPrefix(b, a)
