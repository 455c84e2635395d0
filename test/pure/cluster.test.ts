import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Latch, Layer, Option, Schema, Scope } from "effect"
import { Sharding } from "effect/cluster"
import { TestClock } from "effect/testing"
import type { ResourceKey } from "#protocol/resource/Resource.ts"
import { ResourceStore, StoreUnavailable } from "#protocol/store/ResourceStore.ts"
import {
  CommandRefused,
  entityIdOf,
  Partition,
  partitionFrom,
  partitionOf,
  partitions,
} from "#runtime/cluster/Partition.ts"
import { LocalPartitions } from "#runtime/cluster/PartitionHost.ts"
import { Region } from "#runtime/cluster/Region.ts"
import { RegionActors, type Behaviour } from "#runtime/cluster/RegionActors.ts"
import * as RegionCluster from "#runtime/cluster/RegionCluster.ts"
import { layerMemory, layerSqlite } from "#runtime/store/Store.ts"
import { network, nic, put, remove } from "./store-contract.ts"

const key = (kind: string, name: string): ResourceKey => ({ kind, namespace: "default", name })

/** A region whose actors count: `Add` changes a record, durable with its command; everything is noted. */
const region = (
  options: RegionCluster.SingleOptions = {},
  store: Layer.Layer<ResourceStore, unknown> = layerMemory(),
) => {
  const notes: Array<string> = []
  const gate = Latch.makeUnsafe()
  const note = (text: string) => Effect.sync(() => void notes.push(text))
  const layer = Layer.unwrap(
    Effect.gen(function* () {
      const store = yield* ResourceStore
      const add = Effect.fnUntraced(
        function* (key: ResourceKey, amount: number, commandId: string) {
          const record = yield* store.get(key)
          const count =
            Option.match(record, { onNone: () => 0, onSome: ({ value }) => value as number }) + amount
          const reply = { count }
          const expectedRevision = Option.match(record, {
            onNone: () => 0,
            onSome: ({ revision }) => revision,
          })
          yield* store.commit({
            writes: [put(key, count, { expectedRevision })],
            command: { id: commandId, result: reply },
          })
          return reply
        },
        Effect.mapError((error) => new CommandRefused({ refusal: { tag: error._tag } })),
      )
      const counter: Behaviour = {
        handle: (key, command, commandId) =>
          Effect.gen(function* () {
            yield* note(`${command.tag} ${key.name}`)
            switch (command.tag) {
              case "Add":
                return yield* add(key, command["amount"] as number, commandId)
              case "Boom":
                return yield* Effect.die(new Error("boom"))
              case "Wait":
                yield* gate.await
                return "waited"
              default:
                return yield* new CommandRefused({ refusal: { tag: "Unknown", got: command } })
            }
          }),
        look: (key) => note(`look ${key.kind}/${key.name}`),
        onEscalate: (key, cause) => note(`escalated ${key.name}: ${Cause.pretty(cause).split("\n")[0]}`),
      }
      const actors = RegionActors.layer({ Network: counter, NetworkInterface: counter })
      return RegionCluster.layerSingle({ checkSerialization: true, ...options }).pipe(Layer.provide(actors))
    }),
  ).pipe(Layer.provideMerge(store))
  const looks = () => {
    const found = notes.filter((text) => text.startsWith("look ")).map((text) => text.slice(5))
    notes.length = 0
    return found.sort()
  }
  return { layer, notes, gate, looks }
}

const started = TestClock.adjust(100)

/** For a moment in which no time passes: lets fibers run until there is nothing left to do. */
const settle = TestClock.adjust(0).pipe(Effect.andThen(TestClock.adjust(1)))

describe("partitions", () => {
  it("a key's partition is a fixed function of its name", () => {
    // FNV-1a of the formatted key, computed by hand with another implementation: it must never change.
    assert.strictEqual(partitionOf({ kind: "", namespace: "", name: "" }), fnv("//") % 256)
    assert.strictEqual(partitionOf(nic("nic-a")), fnv("NetworkInterface/default/nic-a") % 256)
    assert.strictEqual(fnv("foobar"), 0xbf9cf968)
  })

  it("spreads resources evenly", () => {
    const counts = Array<number>(partitions).fill(0)
    for (let index = 0; index < 25_600; index++) counts[partitionOf(nic(`nic-${index}`))]!++
    assert.isAbove(Math.min(...counts), 50)
    assert.isBelow(Math.max(...counts), 150)
  })

  it("entity ids name partitions, and nothing else does", () => {
    for (let index = 0; index < partitions; index++)
      assert.strictEqual(partitionFrom(entityIdOf(index)), index)
    for (const wrong of ["partition-256", "partition--1", "partition-", "x", "partition-1a", ""]) {
      assert.isUndefined(partitionFrom(wrong))
    }
  })
})

const fnv = (text: string): number => {
  let hash = 2166136261n
  for (const byte of Buffer.from(text)) hash = ((hash ^ BigInt(byte)) * 16777619n) % 2n ** 32n
  return Number(hash)
}

describe("a region on one controller", () => {
  it.effect("answers a command once it is durable", () => {
    const { layer } = region()
    return Effect.gen(function* () {
      yield* started
      const { ask } = yield* Region
      const store = yield* ResourceStore
      assert.deepStrictEqual(yield* ask(network("n"), { tag: "Add", amount: 2 }), { count: 2 })
      assert.strictEqual(Option.getOrThrow(yield* store.get(network("n"))).value, 2)
      assert.deepStrictEqual(yield* ask(network("n"), { tag: "Add", amount: 3 }), { count: 5 })
    }).pipe(Effect.provide(layer))
  })

  it.effect("runs on SQLite just as well", () => {
    const { layer } = region({}, layerSqlite({ filename: ":memory:" }))
    return Effect.gen(function* () {
      yield* started
      const { ask } = yield* Region
      const replies = yield* Effect.all(
        Array.from({ length: 100 }, (_, index) => ask(network(`n${index % 10}`), { tag: "Add", amount: 1 })),
        { concurrency: "unbounded" },
      )
      assert.strictEqual(replies.length, 100)
      const store = yield* ResourceStore
      const { records } = yield* store.list({ kind: "Network" })
      assert.deepStrictEqual(
        records.map(({ value }) => value),
        Array(10).fill(10),
      )
    }).pipe(Effect.provide(layer))
  })

  it.effect("a command that is sent again is answered, not repeated, also by another incarnation", () => {
    const { layer, notes } = region()
    return Effect.gen(function* () {
      yield* started
      const { ask } = yield* Region
      const add = { tag: "Add", amount: 1 }
      const [first, twin] = yield* Effect.all(
        [ask(nic("a"), add, { commandId: "c1" }), ask(nic("a"), add, { commandId: "c1" })],
        { concurrency: "unbounded" },
      )
      assert.deepStrictEqual([first, twin], [{ count: 1 }, { count: 1 }])
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(yield* ask(nic("a"), add, { commandId: "c1" }), { count: 1 })
      assert.deepStrictEqual(yield* ask(nic("b"), add, { commandId: "c1" }), { count: 1 })
      assert.deepStrictEqual(yield* ask(nic("a"), add), { count: 2 })
      assert.deepStrictEqual(
        notes.filter((text) => text.startsWith("Add")),
        ["Add a", "Add b", "Add a"],
      )
    }).pipe(Effect.provide(layer))
  })

  it.effect("refusals keep their content, unknown kinds are refused", () => {
    const { layer } = region()
    return Effect.gen(function* () {
      yield* started
      const { ask } = yield* Region
      const refused = yield* Effect.flip(ask(nic("a"), { tag: "Dance", steps: [1, null, { x: true }] }))
      assert.deepInclude(refused, {
        _tag: "CommandRefused",
        refusal: { tag: "Unknown", got: { tag: "Dance", steps: [1, null, { x: true }] } },
      })
      const unknown = yield* Effect.flip(ask(key("Volcano", "v"), { tag: "Add", amount: 1 }))
      assert.deepInclude(unknown, {
        _tag: "CommandRefused",
        refusal: { tag: "UnknownKind", kind: "Volcano" },
      })
    }).pipe(Effect.provide(layer))
  })

  it.effect("a defect is answered as ActorFailed and recorded; others in its partition go on", () => {
    const { layer, notes } = region({
      cells: { backoff: { firstMillis: 500, factor: 2, capMillis: 500, jitter: 0 } },
    })
    return Effect.gen(function* () {
      yield* started
      const { ask } = yield* Region
      const neighbour = Array.from({ length: 10_000 }, (_, index) => nic(`n${index}`)).find(
        (key) => partitionOf(key) === partitionOf(nic("a")),
      )!
      const error = yield* Effect.flip(ask(nic("a"), { tag: "Boom" }))
      assert.deepInclude(error, { _tag: "ActorFailed", actor: "NetworkInterface/default/a", attempt: 1 })
      assert.deepStrictEqual(yield* ask(neighbour, { tag: "Add", amount: 1 }), { count: 1 })
      const waiting = yield* Effect.forkChild(ask(nic("a"), { tag: "Add", amount: 1 }))
      yield* TestClock.adjust(400)
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust(200)
      assert.deepStrictEqual(yield* Fiber.join(waiting), { count: 1 })
      yield* settle
      assert.include(notes, "look NetworkInterface/a")
      const store = yield* ResourceStore
      assert.deepInclude((yield* store.events(nic("a")))[0], {
        type: "Warning",
        reason: "ActorFailed",
        message: "boom",
      })
    }).pipe(Effect.provide(layer))
  })

  it.effect("an actor that fails too often rests, says so, and comes back", () => {
    const { layer, notes } = region({
      cells: { intensity: { failures: 2, windowMillis: 60_000 }, coolDownMillis: 20_000 },
    })
    return Effect.gen(function* () {
      yield* started
      const { ask } = yield* Region
      for (let index = 0; index < 3; index++) {
        yield* Effect.flip(ask(nic("a"), { tag: "Boom" }))
        yield* TestClock.adjust("1 second")
      }
      assert.include(notes, "escalated a: Error: boom")
      const error = yield* Effect.flip(ask(nic("a"), { tag: "Add", amount: 1 }))
      assert.deepInclude(error, { _tag: "ActorStopped", retryAfterMillis: 19_000 })
      const store = yield* ResourceStore
      assert.deepStrictEqual(
        (yield* store.events(nic("a"))).map(({ reason, count }) => [reason, count]),
        [
          ["ActorFailed", 3],
          ["ActorStopped", 1],
        ],
      )
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(yield* ask(nic("a"), { tag: "Add", amount: 1 }), { count: 1 })
    }).pipe(Effect.provide(layer))
  })

  it.effect("a full mailbox is answered Busy", () => {
    const { layer, gate } = region({ cells: { mailbox: 2 } })
    return Effect.gen(function* () {
      yield* started
      const { ask } = yield* Region
      const asked = yield* Effect.forEach(["Wait", "Wait", "Wait"], (tag) =>
        Effect.forkChild(ask(nic("a"), { tag })),
      )
      yield* settle
      assert.deepInclude(yield* Effect.flip(ask(nic("a"), { tag: "Wait" })), { _tag: "Busy" })
      yield* gate.open
      assert.deepStrictEqual(yield* Effect.forEach(asked, Fiber.join), ["waited", "waited", "waited"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("an answer that does not come is not waited for without end", () => {
    const { layer } = region()
    return Effect.gen(function* () {
      yield* started
      const { ask } = yield* Region
      const fiber = yield* Effect.forkChild(
        Effect.flip(ask(nic("a"), { tag: "Wait" }, { timeout: "5 seconds" })),
      )
      yield* TestClock.adjust("5 seconds")
      assert.deepInclude(yield* Fiber.join(fiber), {
        _tag: "RegionUnavailable",
        reason: "NetworkInterface/default/a did not answer within 5s",
      })
    }).pipe(Effect.provide(layer))
  })

  it.effect("a partition that was asked for another's key refuses it", () => {
    const { layer } = region()
    return Effect.gen(function* () {
      yield* started
      const client = yield* Partition.client
      const wrong = entityIdOf((partitionOf(nic("a")) + 1) % partitions)
      const error = yield* Effect.flip(
        client(wrong).Ask({ key: nic("a"), commandId: "c", command: { tag: "Add", amount: 1 } }),
      )
      assert.deepInclude(error, {
        _tag: "CommandRefused",
        refusal: { tag: "WrongPartition", entityId: wrong },
      })
    }).pipe(Effect.provide(layer))
  })

  it.effect("partitions stay, however long nothing happens", () => {
    const { layer } = region()
    return Effect.gen(function* () {
      yield* started
      const { ask } = yield* Region
      yield* ask(nic("a"), { tag: "Add", amount: 1 })
      yield* TestClock.adjust("3 hours")
      const sharding = yield* Sharding.Sharding
      assert.strictEqual(yield* sharding.activeEntityCount, 1)
      const local = yield* LocalPartitions
      assert.deepStrictEqual([...local.keys()], [partitionOf(nic("a"))])
      assert.strictEqual(local.get(partitionOf(nic("a")))!.resident(), 0)
    }).pipe(Effect.provide(layer))
  })

  it.live("goes down within its time although a command does not end, and answers who waits", () =>
    Effect.gen(function* () {
      const { layer, notes } = region({ sharding: { entityTerminationTimeout: "200 millis" } })
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(layer, scope)
      const { ask } = yield* Effect.provideContext(Region, context)
      yield* ask(nic("a"), { tag: "Add", amount: 1 })
      const stuck = yield* Effect.forkChild(Effect.exit(ask(nic("a"), { tag: "Wait" })))
      while (!notes.includes("Wait a")) yield* Effect.sleep(5)
      const closed = yield* Scope.close(scope, Exit.void).pipe(Effect.timeoutOption("10 seconds"))
      assert.isTrue(Option.isSome(closed))
      assert.isTrue(Exit.isFailure(yield* Fiber.join(stuck)))
    }),
  )

  it.effect("what was committed is found by the next incarnation of the region", () => {
    const restarted = Effect.gen(function* () {
      const store = yield* ResourceStore
      const kept = Layer.succeed(ResourceStore, store)
      const one = region({}, kept)
      const first = Effect.gen(function* () {
        yield* started
        return yield* (yield* Region).ask(nic("a"), { tag: "Add", amount: 1 }, { commandId: "c1" })
      })
      assert.deepStrictEqual(yield* Effect.provide(first, one.layer), { count: 1 })
      const two = region({}, kept)
      const second = Effect.gen(function* () {
        yield* started
        assert.deepStrictEqual(two.looks(), ["NetworkInterface/a"])
        return yield* (yield* Region).ask(nic("a"), { tag: "Add", amount: 1 }, { commandId: "c1" })
      })
      assert.deepStrictEqual(yield* Effect.provide(second, two.layer), { count: 1 })
      assert.strictEqual(Option.getOrThrow(yield* store.get(nic("a"))).value, 1)
    })
    return Effect.provide(restarted, layerMemory())
  })
})

describe("the change feed wakes", () => {
  const commit = (...writes: ReadonlyArray<ReturnType<typeof put> | ReturnType<typeof remove>>) =>
    Effect.flatMap(ResourceStore, (store) => store.commit({ writes }))

  it.effect("actors at both ends of a record's edges, and only actors", () => {
    const { layer, looks } = region()
    return Effect.gen(function* () {
      yield* started
      yield* commit(
        put(network("n"), 0),
        put(nic("a"), 0, { references: [network("n")] }),
        put(nic("b"), 0, { references: [network("n"), key("Node", "host-1")] }),
        put(nic("c"), 0),
      )
      yield* settle
      looks()
      yield* commit(put(network("n"), 1))
      yield* settle
      assert.deepStrictEqual(looks(), ["NetworkInterface/a", "NetworkInterface/b"])
      yield* commit(put(nic("a"), 1, { references: [network("n")] }))
      yield* settle
      assert.deepStrictEqual(looks(), ["Network/n"])
      yield* commit(put(key("Node", "host-1"), 1))
      yield* settle
      assert.deepStrictEqual(looks(), ["NetworkInterface/b"])
      yield* commit(put(key("HostInterface", "u"), 1, { references: [nic("c")] }))
      yield* settle
      assert.deepStrictEqual(looks(), ["NetworkInterface/c"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("the ends that an edit or a removal took away", () => {
    const { layer, looks } = region()
    return Effect.gen(function* () {
      yield* started
      yield* commit(
        put(nic("a"), 0, { references: [network("old")] }),
        put(nic("b"), 0, { references: [network("b")] }),
      )
      yield* settle
      looks()
      yield* commit(put(nic("a"), 0, { references: [network("new")] }))
      yield* settle
      assert.deepStrictEqual(looks(), ["Network/new", "Network/old"])
      yield* commit(remove(nic("b")))
      yield* settle
      assert.deepStrictEqual(looks(), ["Network/b"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("whoever else its owner names", () => {
    const { layer, looks } = region({
      waker: {
        alsoWake: ({ _tag, record }) =>
          Effect.succeed(_tag === "Remove" && record.key.name === "a" ? [nic("sibling")] : []),
      },
    })
    return Effect.gen(function* () {
      yield* started
      yield* commit(put(nic("a"), 0))
      yield* commit(remove(nic("a")))
      yield* settle
      assert.deepStrictEqual(looks(), ["NetworkInterface/sibling"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("every actor when the controller starts", () => {
    const { layer, looks } = region()
    return Effect.gen(function* () {
      const store = yield* ResourceStore
      yield* store.commit({ writes: Array.from({ length: 600 }, (_, index) => put(nic(`n${index}`), 0)) })
      yield* store.commit({ writes: [put(key("Node", "host-1"), 0), put(network("n"), 0)] })
      yield* started
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(looks().length, 601)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(looks(), [])
    }).pipe(Effect.provide(layer))
  })

  it.effect("every actor when the feed does not reach back to where it was", () => {
    // The waker fails for a while, the region moves on, and the feed is compacted meanwhile.
    let away = false
    const alsoWake = () => (away ? Effect.fail(new StoreUnavailable({ reason: "away" })) : Effect.succeed([]))
    const { layer, looks } = region({ waker: { alsoWake } })
    return Effect.gen(function* () {
      yield* started
      yield* commit(put(nic("a"), 0), put(network("n"), 0))
      yield* settle
      away = true
      yield* commit(put(network("n"), 1))
      yield* settle
      yield* commit(put(network("n"), 2), put(nic("b"), 0))
      yield* (yield* ResourceStore).compact(3)
      looks()
      away = false
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(looks(), ["Network/n", "NetworkInterface/a", "NetworkInterface/b"])
      yield* commit(put(nic("b"), 1, { references: [network("n")] }))
      yield* settle
      assert.deepStrictEqual(looks(), ["Network/n"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("hints to an actor coalesce and need nobody to wait", () => {
    const { layer, looks } = region()
    return Effect.gen(function* () {
      const { hint } = yield* Region
      for (let index = 0; index < 1_000; index++) yield* hint(nic("a"))
      yield* started
      assert.deepStrictEqual(looks(), ["NetworkInterface/a"])
    }).pipe(Effect.provide(layer))
  })
})

describe("payloads between controllers", () => {
  const decode = Schema.decodeUnknownOption(
    Partition.protocol.requests.get("Ask")!.payloadSchema as Schema.Codec<unknown>,
  )
  const good = { key: nic("a"), commandId: "c", command: { tag: "Add", amount: 1 } }
  it("are checked", () => {
    assert.isTrue(Option.isSome(decode(good)))
    for (const bad of [
      { ...good, commandId: "" },
      { ...good, commandId: "x".repeat(129) },
      { ...good, command: { amount: 1 } },
      { ...good, command: { tag: "Add", amount: 1n } },
      { ...good, key: { kind: "Network" } },
      null,
    ]) {
      assert.isTrue(Option.isNone(decode(bad)))
    }
  })
})
