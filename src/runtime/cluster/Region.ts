/**
 * How everyone else speaks with the actors of a region, wherever they are: `ask` a command, `hint` to look.
 */
import { Context, Duration, Effect, Layer, Random, type Schema } from "effect"
import { Sharding } from "effect/cluster"
import { uidFrom } from "#protocol/Ids.ts"
import { formatKey, type ResourceKey } from "#protocol/resource/Resource.ts"
import { Busy } from "../supervision/ActorError.ts"
import { LocalPartitions } from "./PartitionHost.ts"
import {
  type AskError,
  entityIdOf,
  maxHints,
  Partition,
  partitionOf,
  RegionUnavailable,
  type TaggedJson,
} from "./Partition.ts"

export interface AskOptions {
  /** Names the command, so that it may be sent again. Omitted: drawn from `Random`. At most 128 characters. */
  readonly commandId?: string
  /** How long to wait for the answer, a move of the partition to another controller included. Default 30 seconds. */
  readonly timeout?: Duration.Input
}

export class Region extends Context.Service<
  Region,
  {
    /** The actor's reply, once what it says is durable. */
    readonly ask: (
      key: ResourceKey,
      command: TaggedJson,
      options?: AskOptions,
    ) => Effect.Effect<Schema.Json, AskError>
    /** Makes the actor look at the truth. Never waits, may be lost, carries no data. */
    readonly hint: (key: ResourceKey) => Effect.Effect<void>
  }
>()("ferrite/Region") {}

const defaultTimeout: Duration.Input = "30 seconds"
/** Keys that wait for one partition to wake; beyond, hints are lost. */
const leavingKeys = 65_536
/** A hint that finds no controller for so long is dropped. */
const hintTimeout: Duration.Input = "10 seconds"

const make = Effect.gen(function* () {
  const client = yield* Partition.client
  const local = yield* LocalPartitions
  const scope = yield* Effect.scope
  /** Keys on their way to partitions that are not here, or not yet awake: one message a partition at a time. */
  const leaving = new Map<number, Map<string, ResourceKey>>()

  const ask = Effect.fnUntraced(function* (key: ResourceKey, command: TaggedJson, options?: AskOptions) {
    const commandId = options?.commandId ?? uidFrom(yield* Random.Random)
    const timeout = options?.timeout ?? defaultTimeout
    const actor = formatKey(key)
    return yield* client(entityIdOf(partitionOf(key)))
      .Ask({ key, commandId, command })
      .pipe(
        Effect.catchTags({
          MailboxFull: () => Effect.fail(new Busy({ actor, retryAfterMillis: 1_000 })),
          AlreadyProcessingMessage: () => Effect.fail(new Busy({ actor, retryAfterMillis: 1_000 })),
          PersistenceError: () =>
            Effect.fail(new RegionUnavailable({ reason: "the cluster's storage is away" })),
          EntityNotAssignedToRunner: () =>
            Effect.fail(new RegionUnavailable({ reason: `the partition of ${actor} is moving` })),
        }),
        Effect.timeoutOrElse({
          duration: timeout,
          orElse: () =>
            Effect.fail(
              new RegionUnavailable({
                reason: `${actor} did not answer within ${Duration.format(Duration.fromInputUnsafe(timeout))}`,
              }),
            ),
        }),
      )
  })

  const send = (partition: number) =>
    Effect.suspend(() => {
      const keys = [...(leaving.get(partition) ?? new Map<string, ResourceKey>()).values()]
      leaving.delete(partition)
      const starts = Array.from({ length: Math.ceil(keys.length / maxHints) }, (_, index) => index * maxHints)
      return Effect.forEach(
        starts,
        (start) =>
          client(entityIdOf(partition)).Hint(
            { keys: keys.slice(start, start + maxHints) },
            { discard: true },
          ),
        { discard: true },
      )
    }).pipe(
      Effect.timeoutOption(hintTimeout),
      Effect.catchCause((cause) => Effect.logDebug("hints were lost", cause)),
      Effect.ensuring(Effect.sync(() => leaving.delete(partition))),
    )

  const hint = (key: ResourceKey) =>
    Effect.suspend(() => {
      const partition = partitionOf(key)
      const cells = local.get(partition)
      if (cells !== undefined) return cells.hint(formatKey(key))
      const waiting = leaving.get(partition)
      if (waiting !== undefined) {
        if (waiting.size < leavingKeys) waiting.set(formatKey(key), key)
        return Effect.void
      }
      leaving.set(partition, new Map([[formatKey(key), key]]))
      // Let those who come with this one join its message.
      return Effect.asVoid(Effect.forkIn(Effect.andThen(Effect.yieldNow, send(partition)), scope))
    })

  return Region.of({ ask, hint })
})

export const layer: Layer.Layer<Region, never, Sharding.Sharding | LocalPartitions> = Layer.effect(
  Region,
  make,
)
