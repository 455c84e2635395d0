/**
 * The actors of a region as their host sees them: what to do with a command for a key, and with a hint. One
 * behaviour per kind; the lead of the region gives the table, partitions run it.
 *
 * Both functions read what they need from the store and write what they decide in one commit. `handle` puts
 * `commandId` and its reply into that commit: a command that comes again is then answered from the store.
 */
import { type Cause, Context, Effect, Layer, type Schema } from "effect"
import type { ResourceKey } from "#protocol/resource/Resource.ts"
import { CommandRefused, type RegionUnavailable, type TaggedJson } from "./Partition.ts"

export type HandleError = CommandRefused | RegionUnavailable

export interface Behaviour {
  /** The reply is JSON. `commandId` is unique in the region: to be stored as it is. */
  readonly handle: (
    key: ResourceKey,
    command: TaggedJson,
    commandId: string,
  ) => Effect.Effect<Schema.Json, HandleError>
  /** Looks at the truth, plans and acts. A failure is retried with backoff. */
  readonly look: (key: ResourceKey) => Effect.Effect<void, HandleError>
  /** A failure of this actor, before its restart; an event is written already. `attempt` counts from 1. */
  readonly onFailure?: (
    key: ResourceKey,
    cause: Cause.Cause<HandleError>,
    attempt: number,
  ) => Effect.Effect<void>
  /** It failed too often and rests; an event is written already. */
  readonly onEscalate?: (key: ResourceKey, cause: Cause.Cause<HandleError>) => Effect.Effect<void>
}

export class RegionActors extends Context.Service<
  RegionActors,
  {
    /** Kinds that have actors: whatever else is in the store is never woken. */
    readonly kinds: ReadonlyArray<string>
    readonly behaviour: (kind: string) => Behaviour | undefined
  }
>()("ferrite/RegionActors") {
  /** For `Layer.effect`, where behaviours need services. */
  static readonly table = (behaviours: Readonly<Record<string, Behaviour>>): RegionActors["Service"] => ({
    kinds: Object.keys(behaviours).sort(),
    behaviour: (kind) => (Object.hasOwn(behaviours, kind) ? behaviours[kind] : undefined),
  })

  static readonly layer = (behaviours: Readonly<Record<string, Behaviour>>): Layer.Layer<RegionActors> =>
    Layer.succeed(RegionActors, RegionActors.table(behaviours))
}

export const unknownKind = (kind: string): CommandRefused =>
  new CommandRefused({ refusal: { tag: "UnknownKind", kind } })
