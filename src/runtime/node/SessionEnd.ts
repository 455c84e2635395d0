/**
 * Why a controller ends an agent's session.
 */
import { Schema } from "effect"

export class SessionEnd extends Schema.TaggedError<SessionEnd>()("SessionEnd", {
  kind: Schema.Literals([
    /** A message broke the protocol. */
    "Malformed",
    /** No hello in time. */
    "Late",
    /** The region won't have this node. */
    "Refused",
    /** A newer agent of the node took over. */
    "Replaced",
    /** The agent takes changes more slowly than they come. */
    "Slow",
    /** No heartbeat within the lease. */
    "Expired",
    /** This controller has as many nodes as it serves. */
    "Full",
    /** The store can't answer, or the controller is going down. */
    "Unavailable",
    /** The agent is gone. */
    "Gone",
  ]),
  reason: Schema.String,
}) {
  override get message(): string {
    return this.reason
  }
}
