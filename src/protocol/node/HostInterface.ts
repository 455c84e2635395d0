/**
 * One network interface as its host has to realise it: the compiled form of a NetworkInterface.
 *
 * Region actors write it to the store (kind `HostInterface`, namespace = node, name = uid), the node service
 * streams it, the agent keeps it in its journal. All three hold the same JSON, in the field names of
 * `ferrite.node.v1.HostInterface`, and decode it with the one schema here. Text that is empty means absent and
 * does not survive decoding; addresses come out canonical.
 */
import { Result, Schema } from "effect"
import { Ipv4Text, Ipv6Text } from "./Text.ts"

/** Kind of the records in the store. */
export const hostInterfaceKind = "HostInterface"

/** 24 bits, as on every wire that carries one. */
export const maxVni = 0xff_ff_ff

export const NodeName = Schema.String.check(
  Schema.isPattern(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, { expected: "a DNS label" }),
)

export const InterfaceUid = Schema.String.check(
  Schema.isPattern(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, { expected: "a uid in lower case" }),
)

export const Vni = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: maxVni }))

/** Revisions, generations, microseconds: what a double counts exactly. */
export const Counter = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))

/** `NAME` or `KIND:DEVICE`. */
const Device = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9_.:/-]{1,108}$/, { expected: "NAME or KIND:DEVICE" }),
)

const ResourceName = Schema.String.check(
  Schema.isPattern(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, { expected: "a DNS name" }),
)

const Hostname = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$/, { expected: "a host name" }),
)

export const HostInterface = Schema.Struct({
  /** Of the NetworkInterface; the interface's id in the dataplane. */
  uid: InterfaceUid,
  namespace: ResourceName,
  name: ResourceName,
  /** `metadata.generation` of the NetworkInterface that this was compiled from. */
  generation: Counter,
  vni: Vni,
  ipv4: Schema.optionalKey(Ipv4Text),
  ipv6: Schema.optionalKey(Ipv6Text),
  hostname: Schema.optionalKey(Hostname),
  /** Absent: the agent picks a TAP named after the uid. */
  device: Schema.optionalKey(Device),
  /** When the attachment was accepted, microseconds since the epoch. */
  acceptedMicros: Counter,
}).check(
  Schema.makeFilter((value) =>
    value.ipv4 === undefined && value.ipv6 === undefined ? "at least one of ipv4 and ipv6" : undefined,
  ),
)
export type HostInterface = typeof HostInterface.Type

const decode = Schema.decodeUnknownResult(HostInterface)

const withoutEmptyText = (value: unknown): unknown =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).filter(([, field]) => field !== "" && field !== undefined))
    : value

/** From JSON of the store or the journal, or from a message. The failure says which field breaks which rule. */
export const decodeHostInterface = (value: unknown): Result.Result<HostInterface, Schema.SchemaError> =>
  decode(withoutEmptyText(value))
