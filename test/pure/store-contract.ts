/**
 * What every layer of `ResourceStore` has to do, as one suite. A layer joins by calling `storeContract` with its
 * name and a way to make a fresh store; the tests know nothing else of it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, type Layer, Option, Queue, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { ResourceKey } from "#protocol/resource/Resource.ts"
import {
  ResourceStore,
  type ChangeBatch,
  type CommitError,
  type Commit,
  type Put,
  type StoreUnavailable,
} from "#protocol/store/ResourceStore.ts"
import { limits } from "#runtime/store/CommitPlan.ts"
import type { StoreOptions } from "#runtime/store/StoreOptions.ts"

export const nic = (name: string, namespace = "default"): ResourceKey => ({
  kind: "NetworkInterface",
  namespace,
  name,
})
export const network = (name: string, namespace = "default"): ResourceKey => ({
  kind: "Network",
  namespace,
  name,
})

export const put = (key: ResourceKey, value: unknown, more: Partial<Put> = {}): Put => ({
  _tag: "Put",
  key,
  uid: `uid-${key.name}`,
  labels: {},
  references: [],
  value,
  ...more,
})

export const remove = (key: ResourceKey, expectedRevision?: number) =>
  ({ _tag: "Remove", key, ...(expectedRevision === undefined ? {} : { expectedRevision }) }) as const

const write = (...writes: NonNullable<Commit["writes"]>) =>
  Effect.flatMap(ResourceStore, (store) => store.commit({ writes }))

const brief = (batches: ReadonlyArray<ChangeBatch>) =>
  batches.map(({ revision, changes }) => [
    revision,
    ...changes.map(({ _tag, record }) => `${_tag} ${record.key.name} ${JSON.stringify(record.value)}`),
  ])

const takeBatches = (from: number, count: number) =>
  Effect.flatMap(ResourceStore, (store) => Stream.runCollect(Stream.take(store.changes(from), count)))

/** A watcher that takes a batch only when the test says so. */
const heldWatcher = Effect.fnUntraced(function* (from: number) {
  const store = yield* ResourceStore
  const seen: Array<ChangeBatch> = []
  const gate = yield* Queue.unbounded<void>()
  const fiber = yield* Effect.forkChild(
    Stream.runForEach(store.changes(from), (batch) =>
      Effect.andThen(
        Effect.sync(() => seen.push(batch)),
        Queue.take(gate),
      ),
    ),
  )
  return { seen, fiber, release: (count: number) => Queue.offerAll(gate, Array(count).fill(undefined)) }
})

export const storeContract = (
  name: string,
  fresh: (options?: StoreOptions) => Layer.Layer<ResourceStore, StoreUnavailable>,
) => {
  const test = (
    behaviour: string,
    body: () => Effect.Effect<void, unknown, ResourceStore>,
    options?: StoreOptions,
  ) => it.effect(behaviour, () => Effect.suspend(body).pipe(Effect.provide(fresh(options))))

  describe(`${name}: records`, () => {
    test("a new store is at revision 0 and has a uid of its own", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        assert.strictEqual(yield* store.revision, 0)
        assert.match(store.regionUid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
        assert.isTrue(Option.isNone(yield* store.get(nic("a"))))
      }))

    test("each commit that changes something gets the next revision", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        assert.deepStrictEqual(yield* write(put(nic("a"), 1), put(nic("b"), 1)), {
          revision: 1,
          changed: true,
        })
        assert.deepStrictEqual(yield* write(put(nic("a"), 2)), { revision: 2, changed: true })
        assert.strictEqual(Option.getOrThrow(yield* store.get(nic("a"))).revision, 2)
        assert.strictEqual(Option.getOrThrow(yield* store.get(nic("b"))).revision, 1)
        assert.strictEqual(yield* store.revision, 2)
      }))

    test("a record comes back as it was put", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        const value = {
          spec: { ips: ["10.0.0.1"], "ä/€": null, nested: { deep: [1, 2.5, true] } },
          text: "\u0000\n",
        }
        yield* write(
          put(nic("a"), value, {
            labels: { app: "web", "x/y": "" },
            references: [network("n"), network("m")],
          }),
        )
        const record = Option.getOrThrow(yield* store.get(nic("a")))
        assert.deepStrictEqual(record, {
          key: nic("a"),
          uid: "uid-a",
          revision: 1,
          labels: { app: "web", "x/y": "" },
          references: [network("m"), network("n")],
          value,
        })
      }))

    test("a stored value does not change with the object it was made of", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        const value = { ips: ["10.0.0.1"] }
        yield* write(put(nic("a"), value))
        value.ips.push("10.0.0.2")
        assert.deepStrictEqual(Option.getOrThrow(yield* store.get(nic("a"))).value, { ips: ["10.0.0.1"] })
      }))

    test("a write that changes nothing is not a write, whatever the order of its keys", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        const more = { labels: { a: "1", b: "2" }, references: [network("n"), network("m")] }
        yield* write(put(nic("a"), { x: { p: 1, q: [1] }, y: 2 }, more))
        const again = {
          labels: { b: "2", a: "1" },
          references: [network("m"), network("n"), network("m")],
        }
        const same = yield* write(put(nic("a"), { y: 2, x: { q: [1], p: 1 }, gone: undefined }, again))
        assert.deepStrictEqual(same, { revision: 1, changed: false })
        assert.deepStrictEqual(yield* write(remove(nic("never"))), { revision: 1, changed: false })
        for (const change of [
          put(nic("a"), { x: { p: 1, q: [1] }, y: 3 }, more),
          put(nic("a"), { x: { p: 1, q: [1] }, y: 3 }, { ...more, labels: { a: "1" } }),
          put(nic("a"), { x: { p: 1, q: [1] }, y: 3 }, { labels: { a: "1" } }),
          put(nic("a"), { x: { p: 1, q: [1] }, y: 3 }, { labels: { a: "1" }, uid: "another" }),
        ]) {
          assert.isTrue((yield* write(change)).changed)
        }
        assert.strictEqual(yield* store.revision, 5)
      }))

    test("in a commit where only some writes change something, only those are changes", () =>
      Effect.gen(function* () {
        yield* write(put(nic("a"), 1), put(nic("b"), 1))
        yield* write(put(nic("a"), 1), put(nic("b"), 2))
        const store = yield* ResourceStore
        assert.strictEqual(Option.getOrThrow(yield* store.get(nic("a"))).revision, 1)
        assert.deepStrictEqual(brief(yield* takeBatches(1, 1)), [[2, "Put b 2"]])
      }))
  })

  describe(`${name}: expected revisions`, () => {
    test("expecting 0 creates, and fails when the record exists", () =>
      Effect.gen(function* () {
        yield* write(put(nic("a"), 1, { expectedRevision: 0 }))
        const error = yield* Effect.flip(write(put(nic("a"), 2, { expectedRevision: 0 })))
        assert.deepInclude(error, { _tag: "RevisionConflict", key: nic("a"), expected: 0, actual: 1 })
      }))

    test("a write names the revision it replaces", () =>
      Effect.gen(function* () {
        yield* write(put(nic("a"), 1))
        yield* write(put(nic("other"), 1))
        yield* write(put(nic("a"), 2, { expectedRevision: 1 }))
        const late = yield* Effect.flip(write(put(nic("a"), 9, { expectedRevision: 1 })))
        assert.deepInclude(late, { _tag: "RevisionConflict", expected: 1, actual: 3 })
        const gone = yield* Effect.flip(write(put(nic("b"), 9, { expectedRevision: 7 })))
        assert.deepInclude(gone, { _tag: "RevisionConflict", expected: 7, actual: 0 })
        const removal = yield* Effect.flip(write(remove(nic("a"), 1)))
        assert.deepInclude(removal, { _tag: "RevisionConflict", expected: 1, actual: 3 })
        assert.strictEqual((yield* write(remove(nic("a"), 3))).revision, 4)
      }))

    test("a stale expectation fails even when the write would change nothing", () =>
      Effect.gen(function* () {
        yield* write(put(nic("a"), 1))
        const error = yield* Effect.flip(write(put(nic("a"), 1, { expectedRevision: 0 })))
        assert.strictEqual(error._tag, "RevisionConflict")
      }))

    test("a commit is all or nothing", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        yield* write(put(nic("a"), 1))
        yield* Effect.flip(
          store.commit({
            writes: [put(nic("b"), 1), put(nic("a"), 2, { expectedRevision: 0 })],
            claims: [{ pool: "vni", value: "200", owner: network("n") }],
            events: [{ about: nic("b"), type: "Normal", reason: "Made", message: "b" }],
            command: { id: "c1", result: "done" },
          }),
        )
        assert.isTrue(Option.isNone(yield* store.get(nic("b"))))
        assert.deepStrictEqual(yield* store.claims("vni"), [])
        assert.deepStrictEqual(yield* store.events(nic("b")), [])
        assert.isTrue(Option.isNone(yield* store.commandResult("c1")))
        assert.strictEqual(yield* store.revision, 1)
      }))

    test("of many writers who expect the same revision, one wins, and each who reloads gets through", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        yield* write(put(nic("count"), 0))
        const increment: Effect.Effect<void, CommitError | StoreUnavailable> = Effect.gen(function* () {
          const record = Option.getOrThrow(yield* store.get(nic("count")))
          const next = put(nic("count"), (record.value as number) + 1, { expectedRevision: record.revision })
          yield* Effect.catchTag(store.commit({ writes: [next] }), "RevisionConflict", () => increment)
        })
        yield* Effect.all(
          Array.from({ length: 40 }, () => increment),
          { concurrency: "unbounded" },
        )
        assert.strictEqual(Option.getOrThrow(yield* store.get(nic("count"))).value, 40)
        assert.strictEqual(yield* store.revision, 41)
      }))

    test("commits at the same time each get a revision of their own, and one that fails spoils no other", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        yield* write(put(nic("taken"), 1))
        const results = yield* Effect.all(
          Array.from({ length: 200 }, (_, index) =>
            Effect.exit(
              store.commit({
                writes: [
                  put(nic(`n${index}`), index),
                  index % 10 === 3
                    ? put(nic("taken"), 2, { expectedRevision: 0 })
                    : put(network(`n${index}`), index),
                ],
              }),
            ),
          ),
          { concurrency: "unbounded" },
        )
        const revisions = results.flatMap((exit) => (exit._tag === "Success" ? [exit.value.revision] : []))
        assert.strictEqual(revisions.length, 180)
        assert.deepStrictEqual(
          [...revisions].sort((a, b) => a - b),
          Array.from({ length: 180 }, (_, index) => index + 2),
        )
        assert.isTrue(Option.isNone(yield* store.get(nic("n3"))))
        assert.strictEqual((yield* store.list({ kind: "Network" })).records.length, 180)
      }))
  })

  describe(`${name}: lists and edges`, () => {
    test("a list is of one kind, ordered by namespace and name, at one revision", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        yield* write(
          put(nic("b", "b"), 1),
          put(nic("a", "b-c"), 1),
          put(nic("z", "a"), 1),
          put(nic("B", "b"), 1),
          put(nic("b-1", "b"), 1),
          put(network("n"), 1),
        )
        const all = yield* store.list({ kind: "NetworkInterface" })
        assert.deepStrictEqual(
          all.records.map(({ key }) => `${key.namespace}/${key.name}`),
          ["a/z", "b/B", "b/b", "b/b-1", "b-c/a"],
        )
        assert.strictEqual(all.revision, 1)
        const one = yield* store.list({ kind: "NetworkInterface", namespace: "b" })
        assert.deepStrictEqual(
          one.records.map(({ key }) => key.name),
          ["B", "b", "b-1"],
        )
        assert.deepStrictEqual(yield* store.list({ kind: "Nothing" }), { records: [], revision: 1 })
      }))

    test("labels select records, and follow them", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        const names = (labels: Record<string, string>) =>
          Effect.map(store.list({ kind: "NetworkInterface", labels }), ({ records }) =>
            records.map(({ key }) => key.name).join(),
          )
        yield* write(
          put(nic("a"), 1, { labels: { app: "web", tier: "1" } }),
          put(nic("b"), 1, { labels: { app: "web", tier: "2" } }),
          put(nic("c"), 1, { labels: { app: "db" } }),
          put(network("a"), 1, { labels: { app: "web" } }),
        )
        assert.strictEqual(yield* names({ app: "web" }), "a,b")
        assert.strictEqual(yield* names({ app: "web", tier: "2" }), "b")
        assert.strictEqual(yield* names({ app: "web", tier: "3" }), "")
        assert.strictEqual(yield* names({}), "a,b,c")
        yield* write(put(nic("a"), 1, { labels: { app: "db" } }), remove(nic("c")))
        assert.strictEqual(yield* names({ app: "web" }), "b")
        assert.strictEqual(yield* names({ app: "db" }), "a")
      }))

    test("referrers are the records whose references name a key, whether it exists or not", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        const of = (key: ResourceKey) =>
          Effect.map(store.referrers(key), (keys) => keys.map(({ name }) => name).join())
        yield* write(
          put(nic("b"), 1, { references: [network("n")] }),
          put(nic("a"), 1, { references: [network("n"), network("m")] }),
        )
        assert.strictEqual(yield* of(network("n")), "a,b")
        assert.strictEqual(yield* of(network("m")), "a")
        yield* write(put(nic("a"), 1, { references: [network("m")] }))
        assert.strictEqual(yield* of(network("n")), "b")
        yield* write(remove(nic("b")))
        assert.strictEqual(yield* of(network("n")), "")
        assert.strictEqual(yield* of(network("m")), "a")
      }))
  })

  describe(`${name}: claims`, () => {
    const claim = (value: string, owner: ResourceKey, pool = "vni") => ({ pool, value, owner })

    test("a value has one owner; claiming one's own again is no change", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        assert.isTrue((yield* store.commit({ claims: [claim("200", network("a"))] })).changed)
        const again = yield* store.commit({ claims: [claim("200", network("a"))] })
        assert.deepStrictEqual(again, { revision: 1, changed: false })
        const taken = yield* Effect.flip(
          store.commit({ writes: [put(network("b"), 1)], claims: [claim("200", network("b"))] }),
        )
        assert.deepInclude(taken, { _tag: "ClaimTaken", pool: "vni", value: "200", owner: network("a") })
        assert.isTrue(Option.isNone(yield* store.get(network("b"))))
        yield* store.commit({ claims: [claim("200", network("b"), "another pool")] })
      }))

    test("of many who claim one value at once, one gets it", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        const exits = yield* Effect.all(
          Array.from({ length: 50 }, (_, index) =>
            Effect.exit(store.commit({ claims: [claim("200", network(`n${index}`))] })),
          ),
          { concurrency: "unbounded" },
        )
        assert.strictEqual(exits.filter((exit) => exit._tag === "Success").length, 1)
        assert.strictEqual((yield* store.claims("vni")).length, 1)
      }))

    test("only the owner releases, and what is released can be claimed, in the same commit too", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        yield* store.commit({ claims: [claim("200", network("a"))] })
        const foreign = yield* store.commit({ releases: [claim("200", network("b"))] })
        assert.deepStrictEqual(foreign, { revision: 1, changed: false })
        yield* store.commit({ releases: [claim("200", network("a"))], claims: [claim("200", network("b"))] })
        assert.deepStrictEqual(yield* store.claims("vni"), [claim("200", network("b"))])
        const nothing = yield* store.commit({
          releases: [claim("200", network("b"))],
          claims: [claim("200", network("b"))],
        })
        assert.isFalse(nothing.changed)
        yield* store.commit({ releases: [claim("200", network("b"))] })
        assert.deepStrictEqual(yield* store.claims("vni"), [])
      }))

    test("the claims of a removed record stay until they are released", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        yield* store.commit({ writes: [put(network("a"), 1)], claims: [claim("200", network("a"))] })
        yield* write(remove(network("a")))
        assert.deepStrictEqual(yield* store.claims("vni"), [claim("200", network("a"))])
        yield* store.commit({ releases: [claim("200", network("a"))] })
        assert.deepStrictEqual(yield* store.claims("vni"), [])
      }))

    test("claims are listed by number where they are numbers", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        const values = ["1000", "x", "200", "16777215", "999", "a"]
        yield* store.commit({ claims: values.map((value) => claim(value, network("a"))) })
        assert.deepStrictEqual(
          (yield* store.claims("vni")).map(({ value }) => value),
          ["200", "999", "1000", "16777215", "a", "x"],
        )
      }))
  })

  describe(`${name}: change feed`, () => {
    test("every change once, in order, a batch per revision, from any revision", () =>
      Effect.gen(function* () {
        yield* write(put(nic("a"), 1), put(nic("b"), 1))
        yield* write(put(nic("a"), 2))
        const store = yield* ResourceStore
        yield* store.commit({ claims: [{ pool: "vni", value: "1", owner: nic("a") }] })
        yield* write(remove(nic("b")), put(nic("c"), 3))
        const expected = [
          [1, "Put a 1", "Put b 1"],
          [2, "Put a 2"],
          [4, "Remove b 1", "Put c 3"],
        ]
        for (const from of [0, 1, 2, 3]) {
          const rest = expected.filter(([revision]) => (revision as number) > from)
          assert.deepStrictEqual(brief(yield* takeBatches(from, rest.length)), rest)
        }
        const [batch] = yield* takeBatches(3, 1)
        assert.deepStrictEqual(
          batch!.changes.map(({ revision, record }) => [revision, record.revision]),
          [
            [4, 4],
            [4, 4],
          ],
        )
      }))

    test("a watcher at the head waits for the next commit, without polling", () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(takeBatches(0, 2))
        yield* TestClock.adjust("1 hour")
        assert.isUndefined(fiber.pollUnsafe())
        yield* write(put(nic("a"), 1))
        yield* write(put(nic("a"), 2))
        // No time passes from here on: whoever polled would not see it.
        assert.deepStrictEqual(brief(yield* Fiber.join(fiber)), [
          [1, "Put a 1"],
          [2, "Put a 2"],
        ])
      }))

    test("watchers go their own pace: a slow one misses nothing and holds nobody up", () =>
      Effect.gen(function* () {
        const slow = yield* heldWatcher(0)
        const quick = yield* Effect.forkChild(takeBatches(0, 3_000))
        for (let round = 0; round < 30; round++) {
          yield* Effect.all(
            Array.from({ length: 100 }, (_, index) => write(put(nic(`n${index}`), round))),
            { concurrency: "unbounded" },
          )
        }
        const all = yield* Fiber.join(quick)
        assert.deepStrictEqual(
          all.map(({ revision }) => revision),
          Array.from({ length: 3_000 }, (_, i) => i + 1),
        )
        assert.strictEqual(slow.seen.length, 1)
        yield* slow.release(3_000)
        const last = yield* takeBatches(2_999, 1)
        while (slow.seen.length < 3_000) yield* Effect.yieldNow
        assert.deepStrictEqual(brief(slow.seen), brief(all))
        assert.strictEqual(last[0]!.revision, 3_000)
        yield* Fiber.interrupt(slow.fiber)
      }))

    test("a commit larger than a page arrives whole", () =>
      Effect.gen(function* () {
        yield* write(put(nic("first"), 1))
        yield* write(...Array.from({ length: 1_000 }, (_, index) => put(nic(`n${index}`), index)))
        yield* write(put(nic("last"), 1))
        const batches = yield* takeBatches(0, 3)
        assert.deepStrictEqual(
          batches.map(({ changes }) => changes.length),
          [1, 1_000, 1],
        )
        assert.strictEqual(batches[1]!.changes[999]!.record.key.name, "n999")
      }))

    test("a compacted revision is answered as such, and the oldest that is left still works", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        for (let index = 1; index <= 10; index++) yield* write(put(nic("a"), index))
        yield* store.compact(6)
        yield* store.compact(3)
        const error = yield* Effect.flip(takeBatches(5, 1))
        assert.deepInclude(error, { _tag: "Compacted", from: 5, oldest: 6 })
        assert.deepStrictEqual(brief(yield* takeBatches(6, 1)), [[7, "Put a 7"]])
        assert.strictEqual(Option.getOrThrow(yield* store.get(nic("a"))).value, 10)
        yield* store.compact(1_000)
        assert.deepInclude(yield* Effect.flip(takeBatches(9, 1)), { _tag: "Compacted", oldest: 10 })
        const fiber = yield* Effect.forkChild(takeBatches(10, 1))
        yield* Effect.yieldNow
        yield* write(put(nic("a"), 11))
        assert.deepStrictEqual(brief(yield* Fiber.join(fiber)), [[11, "Put a 11"]])
      }))

    test("a watcher that lags behind a compaction is told so", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        for (let index = 1; index <= 600; index++) yield* write(put(nic("a"), index))
        const slow = yield* heldWatcher(0)
        yield* Effect.yieldNow
        yield* store.compact(590)
        yield* slow.release(600)
        const error = yield* Effect.flip(Fiber.join(slow.fiber))
        assert.deepInclude(error, { _tag: "Compacted", oldest: 590 })
      }))

    test("a revision that the store has not reached is answered as compacted: list again", () =>
      Effect.gen(function* () {
        yield* write(put(nic("a"), 1))
        assert.deepInclude(yield* Effect.flip(takeBatches(2, 1)), { _tag: "Compacted", from: 2, oldest: 1 })
      }))

    test(
      "the feed is cut by itself, and always keeps the changes it promises",
      () =>
        Effect.gen(function* () {
          for (let index = 1; index <= 300; index++) yield* write(put(nic("a"), index), put(nic("b"), index))
          const error = yield* Effect.flip(takeBatches(0, 1))
          assert.strictEqual(error._tag, "Compacted")
          const oldest = (error as { readonly oldest: number }).oldest
          assert.isAtLeast(300 - oldest, 50)
          assert.isAtMost(300 - oldest, 56)
          assert.strictEqual((yield* takeBatches(oldest, 300 - oldest)).length, 300 - oldest)
        }),
      { keepChanges: 100 },
    )

    test("a watcher that is interrupted leaves nothing behind, and another takes its place", () =>
      Effect.gen(function* () {
        const started = yield* Deferred.make<void>()
        const store = yield* ResourceStore
        yield* write(put(nic("a"), 1))
        const fiber = yield* Effect.forkChild(
          Stream.runForEach(store.changes(0), () => Deferred.succeed(started, undefined)),
        )
        yield* Deferred.await(started)
        yield* Fiber.interrupt(fiber)
        yield* write(put(nic("a"), 2))
        assert.deepStrictEqual(brief(yield* takeBatches(1, 1)), [[2, "Put a 2"]])
      }))
  })

  describe(`${name}: events and commands`, () => {
    const note = (message: string, about = nic("a")) =>
      ({ about, type: "Normal", reason: "Tried", message }) as const

    test("equal events are counted, the latest is last, and they are no change", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        yield* write(put(nic("a"), 1))
        yield* store.commit({ events: [note("one")] })
        yield* TestClock.adjust("5 seconds")
        yield* store.commit({ events: [note("two")] })
        yield* TestClock.adjust("5 seconds")
        assert.deepStrictEqual(yield* store.commit({ events: [note("one")] }), {
          revision: 1,
          changed: false,
        })
        assert.deepStrictEqual(yield* store.events(nic("a")), [
          { ...note("two"), firstSeenMillis: 5_000, lastSeenMillis: 5_000, count: 1 },
          { ...note("one"), firstSeenMillis: 0, lastSeenMillis: 10_000, count: 2 },
        ])
        assert.deepStrictEqual(yield* store.events(nic("b")), [])
      }))

    test("a resource keeps its 64 newest events", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        yield* write(put(nic("a"), 1))
        yield* store.commit({ events: Array.from({ length: 100 }, (_, index) => note(`m${index}`)) })
        const messages = (yield* store.events(nic("a"))).map(({ message }) => message)
        assert.deepStrictEqual(
          messages,
          Array.from({ length: 64 }, (_, index) => `m${index + 36}`),
        )
      }))

    test("events outlive their resource for an hour, and stay while it is there", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        yield* store.commit({
          writes: [put(nic("a"), 1), put(nic("b"), 1)],
          events: [note("a"), note("b", nic("b"))],
        })
        yield* TestClock.adjust("2 hours")
        yield* write(remove(nic("a")))
        yield* TestClock.adjust("59 minutes")
        assert.strictEqual((yield* store.events(nic("a"))).length, 1)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* store.events(nic("a"))).length, 0)
        assert.strictEqual((yield* store.events(nic("b"))).length, 1)
        yield* store.commit({ events: [note("late")] })
        assert.deepStrictEqual(
          (yield* store.events(nic("a"))).map(({ message }) => message),
          ["late"],
        )
      }))

    test("overlong messages are cut, not refused", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        yield* store.commit({ events: [note("x".repeat(5_000))] })
        assert.strictEqual((yield* store.events(nic("a")))[0]!.message.length, limits.messageLength)
      }))

    test("a command's result is found again; the first answer stays", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        yield* store.commit({ writes: [put(nic("a"), 1)], command: { id: "c1", result: { revision: 1 } } })
        yield* store.commit({ command: { id: "c2", result: null } })
        yield* store.commit({ command: { id: "c1", result: "another" } })
        assert.deepStrictEqual(yield* store.commandResult("c1"), Option.some({ revision: 1 }))
        assert.deepStrictEqual(yield* store.commandResult("c2"), Option.some(null))
        assert.deepStrictEqual(yield* store.commandResult("c3"), Option.none())
      }))

    test(
      "the oldest command results go first",
      () =>
        Effect.gen(function* () {
          const store = yield* ResourceStore
          for (let index = 0; index < 15; index++) {
            yield* store.commit({ command: { id: `c${index}`, result: index } })
            yield* store.commit({ command: { id: `c${index}`, result: "again" } })
          }
          const left = yield* Effect.filter(
            Array.from({ length: 15 }, (_, index) => index),
            (index) => Effect.map(store.commandResult(`c${index}`), Option.isSome),
          )
          assert.deepStrictEqual(left, [5, 6, 7, 8, 9, 10, 11, 12, 13, 14])
        }),
      { keepCommands: 10 },
    )
  })

  describe(`${name}: bounds`, () => {
    const many = (count: number) => Array.from({ length: count }, (_, index) => put(nic(`n${index}`), index))
    const refused: ReadonlyArray<readonly [string, Commit, RegExp]> = [
      ["1,001 writes", { writes: many(1_001) }, /1001 writes/],
      [
        "writes, claims and releases of more than 1,000 together",
        {
          writes: many(500),
          claims: Array.from({ length: 501 }, (_, i) => ({ pool: "p", value: `${i}`, owner: nic("a") })),
        },
        /1001 writes, claims/,
      ],
      ["a value over 1 MiB", { writes: [put(nic("a"), "x".repeat(limits.valueBytes))] }, /bytes/],
      ["a value that is not JSON", { writes: [put(nic("a"), undefined)] }, /not JSON/],
      ["a bigint", { writes: [put(nic("a"), { n: 1n })] }, /bigint/],
      ["a record written twice", { writes: [put(nic("a"), 1), remove(nic("a"))] }, /twice/],
      ["a name with a slash", { writes: [put(nic("a/b"), 1)] }, /"\/"/],
      ["an empty name", { writes: [put(nic(""), 1)] }, /empty/],
      ["a name that is too long", { writes: [put(nic("a".repeat(254)), 1)] }, /253/],
      [
        "a negative expected revision",
        { writes: [put(nic("a"), 1, { expectedRevision: -1 })] },
        /no revision/,
      ],
      ["an empty claim", { claims: [{ pool: "p", value: "", owner: nic("a") }] }, /value/],
      ["an empty command id", { command: { id: "", result: 1 } }, /id/],
      [
        "too many labels",
        {
          writes: [put(nic("a"), 1, { labels: Object.fromEntries(many(257).map((_, i) => [`l${i}`, ""])) })],
        },
        /257 labels/,
      ],
    ]
    for (const [what, commit, reason] of refused) {
      test(`${what}: refused, with the reason`, () =>
        Effect.gen(function* () {
          const store = yield* ResourceStore
          const error = yield* Effect.flip(store.commit(commit))
          assert.strictEqual(error._tag, "CommitRejected")
          assert.match((error as { readonly reason: string }).reason, reason)
          assert.strictEqual(yield* store.revision, 0)
        }))
    }

    test("cyclic and deep values are refused, not followed", () =>
      Effect.gen(function* () {
        const cycle: Record<string, unknown> = {}
        cycle["self"] = cycle
        const error = yield* Effect.flip(write(put(nic("a"), cycle)))
        assert.strictEqual(error._tag, "CommitRejected")
      }))

    test("1,000 writes, and a value of 1 MiB, are accepted", () =>
      Effect.gen(function* () {
        yield* write(...many(1_000))
        yield* write(put(nic("big"), "x".repeat(limits.valueBytes - 2)))
        const store = yield* ResourceStore
        assert.strictEqual((yield* store.list({ kind: "NetworkInterface" })).records.length, 1_001)
      }))

    test("an empty commit is no change", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        assert.deepStrictEqual(yield* store.commit({}), { revision: 0, changed: false })
      }))
  })
}
