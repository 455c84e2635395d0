/**
 * A route as the wire has it, its identity, and its translation to and from the text form of
 * `RouteDistribution`.
 *
 * Identity is by the bytes as announced: existing peers do not mask host bits, `10.0.23.7/16` and
 * `10.0.0.0/16` are two destinations to them, and a reflector that folded them would answer one peer's REMOVE
 * with another's route. So the reflector keeps bytes, and only the client, at the very end, masks: two wire
 * destinations of one prefix are then two sources of it. `ipVersion` belongs to the identity for the same
 * reason, even where it contradicts the number of bytes.
 */
import { Result, Schema } from "effect"
import { NetAddress } from "effect/net"
import type { NextHop, NextHopType, RouteAnnouncement } from "./RouteDistribution.ts"

export interface Destination {
  /** 0 IPv4, 1 IPv6, as sent; the number of bytes decides the family. */
  readonly ipVersion: number
  /** 4 or 16 bytes, host bits kept. */
  readonly prefix: Uint8Array
  readonly prefixLength: number
}

export interface Hop {
  /** 4 or 16 bytes. */
  readonly targetAddress: Uint8Array
  readonly targetVni: number
  /** Open: numbers we do not know are kept and relayed. */
  readonly type: number
  /** Zero unless the type is NAT. */
  readonly natPortFrom: number
  readonly natPortTo: number
}

export interface Route {
  readonly vni: number
  readonly destination: Destination
  readonly hop: Hop
}

export const hopType = { standard: 0, nat: 1, loadBalancerTarget: 2 } as const
const hopTypeNames: ReadonlyArray<NextHopType> = ["STANDARD", "NAT", "LOADBALANCER_TARGET"]

const hexOfByte = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))
const hex = (bytes: Uint8Array): string => {
  let text = ""
  for (let i = 0; i < bytes.length; i++) text += hexOfByte[bytes[i]!]!
  return text
}

export const destinationKey = (d: Destination): string => `${d.ipVersion}/${hex(d.prefix)}/${d.prefixLength}`
export const hopKey = (h: Hop): string =>
  h.type === hopType.nat
    ? `${hex(h.targetAddress)}/${h.targetVni}/${h.type}/${h.natPortFrom}-${h.natPortTo}`
    : `${hex(h.targetAddress)}/${h.targetVni}/${h.type}`
/** Identity of (vni, destination, hop). */
export const routeKey = (r: Route): string => `${r.vni}|${destinationKey(r.destination)}|${hopKey(r.hop)}`

export const formatAddress = (bytes: Uint8Array): string =>
  NetAddress.formatIp(
    bytes.length === 4 ? NetAddress.ipv4FromBytesUnsafe(bytes) : NetAddress.ipv6FromBytesUnsafe(bytes),
  )

/** CIDR text; `masked` clears the host bits. */
export const formatPrefix = (d: Destination, masked: boolean): string =>
  `${formatAddress(masked ? mask(d.prefix, d.prefixLength) : d.prefix)}/${d.prefixLength}`

const mask = (bytes: Uint8Array, prefixLength: number): Uint8Array => {
  const out = Uint8Array.from(bytes)
  for (let i = 0; i < out.length; i++) {
    const bits = Math.min(8, Math.max(0, prefixLength - i * 8))
    out[i]! &= 0xff << (8 - bits)
  }
  return out
}

/** One line for people: `23 10.0.0.0/24 via 2001:db8::1`. */
export const formatRoute = ({ vni, destination, hop }: Route): string => {
  const kind =
    hop.type === hopType.standard
      ? ""
      : hop.type === hopType.nat
        ? ` NAT ${hop.natPortFrom}-${hop.natPortTo}`
        : hop.type === hopType.loadBalancerTarget
          ? " LB"
          : ` type ${hop.type}`
  return `${vni} ${formatPrefix(destination, false)} via ${formatAddress(hop.targetAddress)}${kind}`
}

/** The text form of a hop; undefined for types that this program cannot name (a client leaves them out). */
export const toNextHop = (hop: Hop): NextHop | undefined => {
  const name = hopTypeNames[hop.type]
  if (name === undefined) return undefined
  return {
    address: formatAddress(hop.targetAddress),
    vni: hop.targetVni,
    type: name,
    natPortFrom: hop.natPortFrom,
    natPortTo: hop.natPortTo,
  }
}

/** An announcement that cannot be put on the wire: the field and the rule it breaks. */
export class InvalidRoute extends Schema.TaggedError<InvalidRoute>()("InvalidRoute", {
  field: Schema.String,
  value: Schema.String,
  rule: Schema.String,
}) {
  override get message(): string {
    return `route ${this.field} "${this.value}": ${this.rule}`
  }
}

const addressBytes = (text: string): Uint8Array | undefined => {
  const parsed = NetAddress.ipFromString(text)
  if (Result.isFailure(parsed)) return undefined
  const ip = parsed.success
  return Uint8Array.from(
    NetAddress.isIpv4Address(ip) ? NetAddress.ipv4ToOctets(ip) : NetAddress.ipv6ToOctets(ip),
  )
}
const isUint = (n: number, max: number) => Number.isInteger(n) && n >= 0 && n <= max

/** Text to wire; host bits are masked, so that what we announce is canonical. */
export const fromAnnouncement = (a: RouteAnnouncement): Result.Result<Route, InvalidRoute> => {
  const invalid = (field: string, value: unknown, rule: string) =>
    Result.fail(new InvalidRoute({ field, value: String(value), rule }))
  if (!isUint(a.vni, 0xffff_ffff)) return invalid("vni", a.vni, "an integer from 0 to 4294967295")
  const slash = a.prefix.lastIndexOf("/")
  const prefix = addressBytes(slash < 0 ? a.prefix : a.prefix.slice(0, slash))
  if (prefix === undefined) return invalid("prefix", a.prefix, "an IPv4 or IPv6 prefix in CIDR notation")
  const lengthText = a.prefix.slice(slash + 1)
  const prefixLength = slash < 0 || !/^\d{1,3}$/.test(lengthText) ? -1 : Number(lengthText)
  if (!isUint(prefixLength, prefix.length * 8))
    return invalid("prefix", a.prefix, `a prefix length from 0 to ${prefix.length * 8}`)
  const targetAddress = addressBytes(a.nextHop.address)
  if (targetAddress === undefined)
    return invalid("nextHop.address", a.nextHop.address, "an IPv4 or IPv6 address")
  if (!isUint(a.nextHop.vni, 0xffff_ffff))
    return invalid("nextHop.vni", a.nextHop.vni, "an integer from 0 to 4294967295")
  const nat = a.nextHop.type === "NAT"
  const { natPortFrom, natPortTo } = a.nextHop
  if (nat && !(isUint(natPortFrom, 65_535) && isUint(natPortTo, 65_535) && natPortFrom <= natPortTo))
    return invalid(
      "nextHop.natPortFrom",
      `${natPortFrom}-${natPortTo}`,
      "ports from 0 to 65535, first <= last",
    )
  return Result.succeed({
    vni: a.vni,
    destination: { ipVersion: prefix.length === 4 ? 0 : 1, prefix: mask(prefix, prefixLength), prefixLength },
    hop: {
      targetAddress,
      targetVni: a.nextHop.vni,
      type: hopTypeNames.indexOf(a.nextHop.type),
      natPortFrom: nat ? natPortFrom : 0,
      natPortTo: nat ? natPortTo : 0,
    },
  })
}
