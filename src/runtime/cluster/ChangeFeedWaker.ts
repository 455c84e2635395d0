/**
 * Wakes the actors of this controller when what they look at changes. It follows the store's change feed and, for
 * each changed record, hints the actors at both ends of its edges: the records that refer to it and those that it
 * refers to, or referred to before. A hint says nothing but "look".
 *
 * Whoever starts late or lags so far that the feed is compacted does not know what it missed: it lists the region
 * and hints every actor. Of partitions that a controller takes over it hints every actor too.
 *
 * Memory: the edges of every record that has an actor (`Edges`).
 */
import { Duration, Effect, Layer, Stream } from "effect"
import { Sharding } from "effect/cluster"
import { formatKey, parseKey, type ResourceKey } from "#protocol/resource/Resource.ts"
import { ResourceStore, type Change, type StoreUnavailable } from "#protocol/store/ResourceStore.ts"
import * as Supervisor from "../supervision/Supervisor.ts"
import { Edges } from "./Edges.ts"
import { entityIdOf, Partition, partitionOf, partitions } from "./Partition.ts"
import { Region } from "./Region.ts"
import { RegionActors } from "./RegionActors.ts"

export interface WakerOptions {
  /** Runs before the whole region is hinted, at the start and after a compaction: to read what `alsoWake` keeps. */
  readonly begin?: Effect.Effect<void, StoreUnavailable>
  /** Others to wake for a change, beyond the ends of its edges. */
  readonly alsoWake?: (change: Change) => Effect.Effect<ReadonlyArray<ResourceKey>, StoreUnavailable>
  /** How soon partitions that were taken over are noticed. Default 1 second. */
  readonly ownershipInterval?: Duration.Input
}

/** Hints that are given before other fibers get a turn. */
const hintRun = 256

const make = Effect.fnUntraced(function* (options: WakerOptions) {
  const store = yield* ResourceStore
  const region = yield* Region
  const actors = yield* RegionActors
  const sharding = yield* Sharding.Sharding
  const kinds = new Set(actors.kinds)
  const shards = Array.from({ length: partitions }, (_, partition) => {
    const entityId = entityIdOf(partition) as Parameters<typeof Partition.getShardGroup>[0]
    return sharding.getShardId(entityId, Partition.getShardGroup(entityId))
  })
  const isOurs = (partition: number) => sharding.hasShardId(shards[partition]!)

  /** Undefined until the region was listed once. */
  let known: Edges | undefined
  let cursor = 0
  /** Partitions whose actors were all hinted since they came here. */
  const owned = new Set<number>()

  const hintAll = Effect.fnUntraced(function* (ids: Iterable<string>, only: (partition: number) => boolean) {
    let given = 0
    for (const id of ids) {
      const key = parseKey(id)
      if (!kinds.has(key.kind) || !only(partitionOf(key))) continue
      yield* region.hint(key)
      if (++given % hintRun === 0) yield* Effect.yieldNow
    }
  })

  /** The feed is followed from the oldest of the lists: what is seen twice is only hinted twice. */
  const listRegion = Effect.gen(function* () {
    const found = new Edges()
    cursor = yield* store.revision
    if (options.begin !== undefined) yield* options.begin
    for (const kind of kinds) {
      const { records } = yield* store.list({ kind })
      for (const { key, references } of records) found.set(key, references)
    }
    known = found
    yield* hintAll(found.records, (partition) => owned.has(partition))
    return found
  })

  const endsOf = Effect.fnUntraced(function* (edges: Edges, change: Change) {
    const { key, references } = change.record
    const id = formatKey(key)
    const ends = [...edges.referencesOf(id), ...references.map(formatKey), ...edges.referrersOf(id)]
    if (change._tag === "Remove") edges.delete(id)
    else if (kinds.has(key.kind)) edges.set(key, references)
    if (options.alsoWake !== undefined) ends.push(...(yield* options.alsoWake(change)).map(formatKey))
    return ends
  })

  const follow = Effect.gen(function* () {
    const edges = known ?? (yield* listRegion)
    yield* Stream.runForEachArray(
      store.changes(cursor),
      Effect.fnUntraced(function* (batches) {
        const ends = new Set<string>()
        for (const { changes } of batches) {
          for (const change of changes) {
            for (const end of yield* endsOf(edges, change)) ends.add(end)
          }
        }
        yield* hintAll(ends, isOurs)
        cursor = batches.at(-1)!.revision
      }),
    )
  }).pipe(
    // Compacted, or broken off in the middle of a batch: what was missed is unknown, so list again.
    Effect.onError(() => Effect.sync(() => (known = undefined))),
  )

  /** Answers whether there was anything to take over: then there may soon be more. */
  const takeOver = Effect.gen(function* () {
    if (known === undefined) return true
    const fresh = new Set<number>()
    for (let partition = 0; partition < partitions; partition++) {
      if (!isOurs(partition)) owned.delete(partition)
      else if (!owned.has(partition)) fresh.add(partition)
    }
    for (const partition of fresh) owned.add(partition)
    if (fresh.size > 0) yield* hintAll(known.records, (partition) => fresh.has(partition))
    return fresh.size > 0 || owned.size === 0
  })
  const interval = options.ownershipInterval ?? "1 second"
  const watchOwnership = Effect.gen(function* () {
    while (true) {
      const more = yield* takeOver
      yield* Effect.sleep(more ? "20 millis" : interval)
    }
  })

  yield* Supervisor.start({ name: "change feed waker", child: follow, intensity: "never" })
  yield* Supervisor.start({ name: "partition take-over", child: watchOwnership, intensity: "never" })
})

export const layer = (
  options: WakerOptions = {},
): Layer.Layer<never, never, Region | RegionActors | ResourceStore | Sharding.Sharding> =>
  Layer.effectDiscard(make(options))
