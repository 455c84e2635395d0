/**
 * How an actor says no for reasons of its own, apart from what its commands mean. Schemas, because they travel
 * between controllers. `actor` is the name by which people know it, `retryAfterMillis` when asking again makes sense.
 */
import { Schema } from "effect"

const retry = { actor: Schema.String, retryAfterMillis: Schema.Int }

/** The mailbox is full, or too many actors are awake: nothing was done. */
export class Busy extends Schema.TaggedError<Busy>()("Busy", retry) {}

/** The actor failed too often and rests, or its host is going down: nothing is known about this command. */
export class ActorStopped extends Schema.TaggedError<ActorStopped>()("ActorStopped", retry) {}

/** The actor failed on this command, a bug of ours, and is restarted: nothing is known about this command. */
export class ActorFailed extends Schema.TaggedError<ActorFailed>()("ActorFailed", {
  ...retry,
  /** Failures in a row, this one included. */
  attempt: Schema.Int,
}) {}

export const ActorError = Schema.Union([Busy, ActorStopped, ActorFailed])
export type ActorError = typeof ActorError.Type
