import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Latch, Layer, Option } from "effect"
import { TestClock } from "effect/testing"
import type { ResourceKey } from "#protocol/resource/Resource.ts"
import { ResourceStore } from "#protocol/store/ResourceStore.ts"
import * as ChangeFeedWaker from "#runtime/cluster/ChangeFeedWaker.ts"
import { partitionOf, RegionUnavailable } from "#runtime/cluster/Partition.ts"
import * as PartitionHost from "#runtime/cluster/PartitionHost.ts"
import * as Region from "#runtime/cluster/Region.ts"
import { RegionActors } from "#runtime/cluster/RegionActors.ts"
import { layerMemory } from "#runtime/store/Store.ts"
import * as ClusterRunners from "./cluster-runners.ts"

const counter = (index: number): ResourceKey => ({ kind: "Counter", namespace: "default", name: `c${index}` })
const keys = Array.from({ length: 60 }, (_, index) => counter(index))

const leases = {
  shardLockExpiration: "6 seconds",
  refreshAssignmentsInterval: "1 second",
  runnerHealthCheckInterval: "1 hour",
} as const

/** One controller: its own cells, waker and notes; the store is the region's. */
const controller = (name: string, store: ResourceStore["Service"], gate: Latch.Latch) => {
  const looks: Array<string> = []
  const add = Effect.fnUntraced(
    function* (key: ResourceKey, commandId: string, late: boolean) {
      const record = yield* store.get(key)
      const count = Option.match(record, { onNone: () => 0, onSome: ({ value }) => value as number }) + 1
      const expectedRevision = Option.match(record, { onNone: () => 0, onSome: ({ revision }) => revision })
      const write = {
        _tag: "Put",
        key,
        uid: "u",
        labels: {},
        references: [],
        value: count,
        expectedRevision,
      } as const
      const reply = { count, by: name }
      yield* store.commit({ writes: [write], command: { id: commandId, result: reply } })
      // Durable, and not answered yet: here a controller dies worst.
      if (late) yield* gate.await
      return reply
    },
    Effect.mapError((error) => new RegionUnavailable({ reason: error._tag })),
  )
  const actors = RegionActors.layer({
    Counter: {
      handle: (key, { tag }, commandId) => add(key, commandId, tag === "AddLate"),
      look: (key) => Effect.sync(() => void looks.push(key.name)),
    },
  })
  const layer = ChangeFeedWaker.layer().pipe(
    Layer.provideMerge(Region.layer),
    Layer.provideMerge(PartitionHost.layer()),
    Layer.provideMerge(PartitionHost.LocalPartitions.layer),
    Layer.provide(actors),
    Layer.provide(Layer.succeed(ResourceStore, store)),
  )
  return { name, layer, looks }
}

describe("two controllers", () => {
  it.effect(
    "share the partitions; when one is killed the other takes over, wakes its actors, repeats nothing",
    () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        const gate = yield* Latch.make()
        const cluster = yield* ClusterRunners.make(leases)
        const [one, two] = [controller("one", store, gate), controller("two", store, gate)]
        const a = yield* cluster.start(1, one.layer)
        const b = yield* cluster.start(2, two.layer)
        yield* TestClock.adjust("5 seconds")

        const { ask } = yield* Effect.provideContext(Region.Region, a.context)
        const replies = (yield* Effect.forEach(keys, (key) =>
          ask(key, { tag: "Add" }, { commandId: "first" }),
        )) as unknown as ReadonlyArray<{ readonly count: number; readonly by: string }>
        const ownedByTwo = keys.filter((_, index) => replies[index]!.by === "two")
        assert.isAbove(ownedByTwo.length, 5)
        assert.isBelow(ownedByTwo.length, 55)

        const victim = ownedByTwo[0]!
        const waiting = yield* Effect.forkChild(
          ask(victim, { tag: "AddLate" }, { commandId: "late", timeout: "1 minute" }),
        )
        yield* TestClock.adjust("1 second")
        assert.strictEqual(Option.getOrThrow(yield* store.get(victim)).value, 2)
        one.looks.length = 0
        yield* b.kill
        yield* TestClock.adjust("3 seconds")
        assert.isUndefined(waiting.pollUnsafe())

        yield* TestClock.adjust("12 seconds")
        assert.deepStrictEqual(yield* Fiber.join(waiting), { count: 2, by: "two" })
        assert.strictEqual(Option.getOrThrow(yield* store.get(victim)).value, 2)
        const wakened = new Set(one.looks)
        for (const key of ownedByTwo) assert.isTrue(wakened.has(key.name), `${key.name} ${partitionOf(key)}`)
        for (const key of ownedByTwo.slice(1)) {
          assert.deepInclude(yield* ask(key, { tag: "Add" }, { commandId: "second" }), {
            count: 2,
            by: "one",
          })
          assert.deepInclude(yield* ask(key, { tag: "Add" }, { commandId: "first" }), { count: 1 })
        }
      }).pipe(Effect.provide(layerMemory())),
  )
})
