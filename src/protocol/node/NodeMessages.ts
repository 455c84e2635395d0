/**
 * What an agent and a controller say to each other, as checked values.
 *
 * `NodeCodec.ts` makes them from `ferrite.node.v1` and back; sessions on both sides, in process or over gRPC,
 * only ever see these. A message names at most one interface, or one bounded batch of routes.
 */
import { Schema } from "effect"
import { Counter, HostInterface, InterfaceUid, NodeName, Vni } from "./HostInterface.ts"
import { Ipv6Text, PrefixText, UnderlayPrefix } from "./Text.ts"

/** Entries of one RouteReport; a longer report travels as several, the first of them `full`. */
export const maxRouteEntries = 4096

/** Interfaces of one host: TAP devices and underlay indices end far above. */
export const maxHostInterfaces = 16_384

const Instance = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9._:-]{1,64}$/, { expected: "1 to 64 of [A-Za-z0-9._:-]" }),
)
const ShortText = Schema.String.check(Schema.isMaxLength(64))
const Reason = Schema.String.check(Schema.isPattern(/^[A-Z][A-Za-z0-9]{0,63}$/, { expected: "CamelCase" }))

/** Longer texts are cut by `clip` where they are made. */
export const maxMessageLength = 1024

export const clip = (text: string): string =>
  text.length <= maxMessageLength ? text : `${text.slice(0, maxMessageLength - 1)}…`

/** First message of an agent. */
export const Hello = Schema.TaggedStruct("Hello", {
  node: NodeName,
  /** New with every start of the agent's process. */
  instance: Instance,
  /** Last revision whose state the agent's journal holds entirely; 0: none. */
  revision: Counter,
  underlayPrefix: UnderlayPrefix,
  dataplane: Schema.Literals(["native", "model"]),
  version: ShortText,
  /** Region of the journal; empty: none. */
  regionUid: ShortText,
})
export type Hello = typeof Hello.Type

export const Heartbeat = Schema.TaggedStruct("Heartbeat", {
  sequence: Counter,
  /**
   * Every change up to this revision has had its effect in the dataplane or was reported as failed. What was
   * removed at or before it is gone from the host. 0: not known yet.
   */
  settledRevision: Counter,
})
export type Heartbeat = typeof Heartbeat.Type

const about = {
  uid: InterfaceUid,
  /** Of the HostInterface that this is about. */
  generation: Counter,
}
const why = { reason: Reason, message: Schema.String.check(Schema.isMaxLength(maxMessageLength)) }

/** What became of an interface on its host. */
export const InterfaceReport = Schema.Union([
  Schema.TaggedStruct("InterfaceReport", { ...about, state: Schema.Literal("Pending"), ...why }),
  Schema.TaggedStruct("InterfaceReport", {
    ...about,
    state: Schema.Literal("Realised"),
    underlayAddress: Ipv6Text,
    /** As the dataplane named it: TAP, PCI address, socket path. */
    device: Schema.String.check(Schema.isBetweenLength(1, 108)),
    /** When the dataplane acknowledged it, microseconds since the epoch. */
    realisedMicros: Counter,
  }),
  Schema.TaggedStruct("InterfaceReport", { ...about, state: Schema.Literal("Failed"), ...why }),
  Schema.TaggedStruct("InterfaceReport", { ...about, state: Schema.Literal("Removed") }),
])
export type InterfaceReport = typeof InterfaceReport.Type

export const RouteReportEntry = Schema.Struct({
  vni: Vni,
  prefix: PrefixText,
  nextHop: Ipv6Text,
  /** True: the dataplane no longer has it. */
  removed: Schema.Boolean,
  programmedMicros: Counter,
})
export type RouteReportEntry = typeof RouteReportEntry.Type

/** Routes to other hosts that this host's dataplane has acknowledged, or no longer has. */
export const RouteReport = Schema.TaggedStruct("RouteReport", {
  entries: Schema.Array(RouteReportEntry).check(Schema.isMaxLength(maxRouteEntries)),
  /** What was reported before and is not named here or after is gone. */
  full: Schema.Boolean,
})
export type RouteReport = typeof RouteReport.Type

export const AgentMessage = Schema.Union([Hello, Heartbeat, InterfaceReport, RouteReport])
export type AgentMessage = typeof AgentMessage.Type

const Millis = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 3_600_000 }))

/** Answers Hello. */
export const Welcome = Schema.TaggedStruct("Welcome", {
  heartbeatMillis: Millis,
  leaseMillis: Millis,
  regionUid: ShortText.check(Schema.isNonEmpty()),
  /** Everything follows; what is not named before CaughtUp is gone. */
  full: Schema.Boolean,
})
export type Welcome = typeof Welcome.Type

/** Answers a Heartbeat, after everything that the agent said before it has been taken. */
export const Lease = Schema.TaggedStruct("Lease", { sequence: Counter, leaseMillis: Millis })
export type Lease = typeof Lease.Type

export const Upsert = Schema.TaggedStruct("Upsert", { revision: Counter, interface: HostInterface })
export type Upsert = typeof Upsert.Type

export const Removal = Schema.TaggedStruct("Removal", { revision: Counter, uid: InterfaceUid })
export type Removal = typeof Removal.Type

/** All desired state up to this revision has been sent. */
export const CaughtUp = Schema.TaggedStruct("CaughtUp", { revision: Counter })
export type CaughtUp = typeof CaughtUp.Type

export const ControllerMessage = Schema.Union([Welcome, Lease, Upsert, Removal, CaughtUp])
export type ControllerMessage = typeof ControllerMessage.Type

/** A message that breaks the protocol. It ends the session that it came on, and only that. */
export class MalformedMessage extends Schema.TaggedError<MalformedMessage>()("MalformedMessage", {
  /** Path in the message, as `hello.node`. */
  field: Schema.String,
  reason: Schema.String,
}) {
  override get message(): string {
    return `${this.field}: ${this.reason}`
  }
}
