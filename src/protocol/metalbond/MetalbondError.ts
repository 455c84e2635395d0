/**
 * Why a metalbond session ended. One closed set for both roles: it is the label of the reset counter, the
 * field `reason` of logs and of `peers.json`, and what tests assert. The protocol (v1) has no error message:
 * the peer only sees its TCP connection close.
 */
import { Schema } from "effect"

export const Reason = Schema.Literals([
  // The peer's bytes.
  "BadVersion",
  "FrameTooLong",
  "UnknownType",
  "MalformedPayload",
  "MissingDestination",
  "MissingNextHop",
  "BadAddressLength",
  "PrefixTooLong",
  "BadNatPort",
  "BadOriginator",
  "KeepaliveZero",
  // The peer's order of messages.
  "HelloExpected",
  "OriginatorChanged",
  "NotNegotiated",
  // Time.
  "ConnectTimeout",
  "HelloTimeout",
  "KeepaliveTimeout",
  "SlowReader",
  // Our limits.
  "TooManyPeers",
  "TooManyRoutes",
  "TooManySubscriptions",
  // The connection.
  "Superseded",
  "PeerClosed",
  "TransportFailed",
  "Shutdown",
])
export type Reason = typeof Reason.Type

/** A session's end: the reason for machines, the detail (field, value, rule) for people. */
export class MetalbondError extends Schema.TaggedError<MetalbondError>()("MetalbondError", {
  reason: Reason,
  detail: Schema.String,
}) {
  override get message(): string {
    return `${this.reason}: ${this.detail}`
  }
}

export const metalbondError = (reason: Reason, detail: string): MetalbondError =>
  new MetalbondError({ reason, detail })
