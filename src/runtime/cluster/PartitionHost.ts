/**
 * Runs partitions on this controller: each is a table of cells, one per resource that has something to do.
 *
 * A partition stays resident once it was woken (there are 256, a few hundred bytes each): its cells may be in the
 * middle of a backoff, which no message tells the cluster about. Defects never reach the cluster, whose own way
 * with them is to repeat the poisonous message for ever; the cells supervise.
 *
 * `LocalPartitions` is this controller's register of them, so that hints need no message.
 */
import { Cause, Context, Duration, Effect, Layer, Option, type Schema } from "effect"
import { Entity, type Sharding } from "effect/cluster"
import { formatKey, parseKey, type ResourceKey } from "#protocol/resource/Resource.ts"
import { ResourceStore } from "#protocol/store/ResourceStore.ts"
import type { ActorFailed, ActorStopped, Busy } from "../supervision/ActorError.ts"
import * as Cells from "../supervision/Cells.ts"
import { describeCause } from "../supervision/RestartPolicy.ts"
import {
  type AskPayload,
  CommandRefused,
  Partition,
  partitionFrom,
  partitionOf,
  RegionUnavailable,
  scopedCommandId,
} from "./Partition.ts"
import { type HandleError, RegionActors, unknownKind } from "./RegionActors.ts"

export type PartitionCells = Cells.Cells<AskPayload, Schema.Json, HandleError>

/** Requests that wait in one partition; more are answered Busy. */
const partitionMailbox = 4_096
/** Cells of one partition that work at a time: a region that wakes as a whole is 8,192 fibers, not one per resource. */
const cellConcurrency = 32

export class LocalPartitions extends Context.Service<LocalPartitions, Map<number, PartitionCells>>()(
  "ferrite/LocalPartitions",
) {
  static readonly layer: Layer.Layer<LocalPartitions> = Layer.sync(LocalPartitions, () => new Map())
}

/** Cells of one partition. Lives as long as the partition is on this controller. */
const makeCells = Effect.fnUntraced(function* (options: Cells.CellOptions | undefined) {
  const actors = yield* RegionActors
  const store = yield* ResourceStore

  const handle = Effect.fnUntraced(function* (_id: string, { key, commandId, command }: AskPayload) {
    const behaviour = actors.behaviour(key.kind)
    if (behaviour === undefined) return yield* unknownKind(key.kind)
    const scoped = scopedCommandId(key, commandId, command)
    const answered = yield* Effect.mapError(
      store.commandResult(scoped),
      ({ reason }) => new RegionUnavailable({ reason }),
    )
    if (Option.isSome(answered)) return answered.value as Schema.Json
    return yield* behaviour.handle(key, command, scoped)
  })

  /** For people. Its message is the same for the same failure, so that the store counts it. */
  const note = (key: ResourceKey, reason: string, message: string) =>
    store
      .commit({ events: [{ about: key, type: "Warning", reason, message }] })
      .pipe(Effect.catch((error) => Effect.logWarning("an event was not stored", error)))

  return yield* Cells.make<AskPayload, Schema.Json, HandleError>({
    handle,
    look: (id) =>
      Effect.suspend(() => {
        const key = parseKey(id)
        return actors.behaviour(key.kind)?.look(key) ?? Effect.void
      }),
    onFailure: Effect.fnUntraced(function* (id, cause, attempt) {
      const key = parseKey(id)
      if (Cause.hasDies(cause)) yield* note(key, "ActorFailed", describeCause(cause))
      yield* actors.behaviour(key.kind)?.onFailure?.(key, cause, attempt) ?? Effect.void
    }),
    onEscalate: Effect.fnUntraced(function* (id, cause) {
      const key = parseKey(id)
      yield* note(key, "ActorStopped", `failed too often and rests: ${describeCause(cause)}`)
      yield* actors.behaviour(key.kind)?.onEscalate?.(key, cause) ?? Effect.void
    }),
    options: { concurrency: cellConcurrency, ...options },
  })
})

/** The partition entity. `cells` are the bounds of each partition's cells. */
export const layer = (
  cells?: Cells.CellOptions,
): Layer.Layer<never, never, Sharding.Sharding | RegionActors | ResourceStore | LocalPartitions> =>
  Partition.toLayer(
    Effect.gen(function* () {
      const local = yield* LocalPartitions
      const { entityId } = yield* Entity.CurrentAddress
      const partition = partitionFrom(entityId)
      const hosted = yield* makeCells(cells)
      if (partition !== undefined) {
        yield* Effect.acquireRelease(
          Effect.sync(() => local.set(partition, hosted)),
          () => Effect.sync(() => local.get(partition) === hosted && local.delete(partition)),
        )
      }
      const ask = (
        payload: AskPayload,
      ): Effect.Effect<Schema.Json, HandleError | Busy | ActorStopped | ActorFailed> =>
        // Two partitions that both answer for a resource would be two writers.
        partitionOf(payload.key) === partition
          ? hosted.ask(formatKey(payload.key), payload)
          : Effect.fail(new CommandRefused({ refusal: { tag: "WrongPartition", entityId } }))
      return Partition.of({
        Ask: ({ payload }) => ask(payload),
        Hint: ({ payload }) =>
          Effect.forEach(
            payload.keys.filter((key) => partitionOf(key) === partition),
            (key) => hosted.hint(formatKey(key)),
            { discard: true },
          ),
      })
    }),
    {
      concurrency: "unbounded",
      mailboxCapacity: partitionMailbox,
      maxIdleTime: Duration.infinity,
      disableFatalDefects: true,
    },
  )
