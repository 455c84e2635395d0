/** Values that several kinds hold: addresses, prefixes, families, references by name. */
import { Schema } from "effect"
import { parseAddress, parsePrefix } from "../net/Address.ts"
import { checked, DnsLabel, DnsSubdomain } from "./Names.ts"

/** An address as text. Kept canonical: defaults rewrite what a user wrote. */
export const Ip = checked((text) =>
  parseAddress(text) === undefined
    ? "must be an IP address as 10.0.0.1 or fd00::1, without leading zeros or a zone"
    : undefined,
)

/** `10.0.0.0/8`, `fd00::/8`. Host bits are kept as written; arithmetic masks them. */
export const IpPrefix = checked((text) =>
  parsePrefix(text) === undefined
    ? "must be a prefix as 10.0.0.0/8 or fd00::/64, the length at most 32 for IPv4 and 128 for IPv6"
    : undefined,
)

export const IpFamily = Schema.Literals(["IPv4", "IPv6"])
export type IpFamily = typeof IpFamily.Type

/** Names something in the same namespace. */
export const LocalReference = Schema.Struct({ name: DnsSubdomain })

/** As `LocalReference`, for kinds whose names are DNS labels. */
export const LocalLabelReference = Schema.Struct({ name: DnsLabel })

export const minVni = 200
export const maxVni = 16_777_215

/** VNI of a network: 24 bits, the first 200 are left to the operator. */
export const Vni = Schema.Int.check(Schema.isBetween({ minimum: minVni, maximum: maxVni }))
export type Vni = typeof Vni.Type

/** Microseconds since the epoch. */
export const Micros = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))

/** A list with a stated bound. */
export const listOf = <S extends Schema.Top>(element: S, most: number) =>
  Schema.Array(element).check(
    Schema.makeFilter(
      (list: ReadonlyArray<unknown>) =>
        list.length <= most || `has ${list.length} elements; must have at most ${most}`,
    ),
  )
