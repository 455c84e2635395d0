import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Option, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { formatKey } from "#protocol/resource/Resource.ts"
import {
  ResourceStore,
  type Commit,
  type CommitError,
  type Committed,
} from "#protocol/store/ResourceStore.ts"
import { canonicalJson, parseFrozen } from "#runtime/store/CanonicalJson.ts"
import { layerMemory, layerSqlite } from "#runtime/store/Store.ts"
import { network, nic } from "./store-contract.ts"
import { describeContent, describeRecord, Oracle } from "./store-oracle.ts"

const keys = [nic("a"), nic("b"), nic("a", "other"), network("n"), network("m")]
const keyOf = fc.constantFrom(...keys)
const labels = fc.dictionary(fc.constantFrom("app", "tier"), fc.constantFrom("x", "y"), { maxKeys: 2 })
const value = fc.oneof(
  fc.constantFrom<unknown>(1, 2, null, { a: 1, b: [2] }, { b: [2], a: 1 }),
  fc.jsonValue({ maxDepth: 3 }),
)
const claim = fc.record({
  pool: fc.constantFrom("p", "q"),
  value: fc.constantFrom("9", "10", "x"),
  owner: keyOf,
})

/** `expects` is made a revision when the course is run: what the record has then, or something else. */
const write = fc.record({
  key: keyOf,
  remove: fc.boolean(),
  expects: fc.constantFrom("anything", "anything", "present", "absent", "wrong"),
  uid: fc.constantFrom("u1", "u2"),
  labels,
  references: fc.array(keyOf, { maxLength: 3 }),
  value,
})
type Write = typeof write extends fc.Arbitrary<infer W> ? W : never
const commit = fc.record({
  writes: fc.uniqueArray(write, { maxLength: 3, selector: ({ key }) => formatKey(key) }),
  claims: fc.array(claim, { maxLength: 2 }),
  releases: fc.array(claim, { maxLength: 2 }),
  events: fc.array(
    fc.record({
      about: keyOf,
      type: fc.constantFrom("Normal" as const, "Warning" as const),
      reason: fc.constantFrom("R", "S"),
      message: fc.constantFrom("m", "n"),
    }),
    { maxLength: 2 },
  ),
  command: fc.option(
    fc.record({
      id: fc.constantFrom("c1", "c2", "c3", "c4", "c5", "c6"),
      result: fc.constantFrom(1, "two", null),
    }),
    { nil: undefined },
  ),
})
type Step = { readonly commits: ReadonlyArray<CommitOf>; readonly thenMillis: number }
type CommitOf = typeof commit extends fc.Arbitrary<infer C> ? C : never
/** Commits of one step are sent at once. */
const course: fc.Arbitrary<ReadonlyArray<Step>> = fc.array(
  fc.record({
    commits: fc.array(commit, { minLength: 1, maxLength: 5 }),
    thenMillis: fc.constantFrom(0, 0, 1_000, 4_000_000),
  }),
  { maxLength: 25 },
)

const toCommit = (oracle: Oracle, { command, writes, ...rest }: CommitOf): Commit => ({
  ...rest,
  writes: writes.map((write) => toWrite(oracle, write)),
  ...(command === undefined ? {} : { command }),
})

const toWrite = (oracle: Oracle, { remove, expects, ...put }: Write) => {
  const present =
    oracle.records.find((record) => formatKey(record.put.key) === formatKey(put.key))?.revision ?? 0
  const expectedRevision =
    expects === "present" ? present : expects === "absent" ? 0 : expects === "wrong" ? present + 1 : undefined
  const expected = expectedRevision === undefined ? {} : { expectedRevision }
  return remove
    ? ({ _tag: "Remove", key: put.key, ...expected } as const)
    : ({ _tag: "Put", ...put, ...expected } as const)
}

const inWords = (exit: Exit.Exit<Committed, CommitError>): string => {
  if (Exit.isSuccess(exit)) return `${exit.value.changed ? "changed" : "same"} ${exit.value.revision}`
  const error = Option.getOrThrow(Exit.findErrorOption(exit))
  switch (error._tag) {
    case "RevisionConflict":
      return `RevisionConflict ${formatKey(error.key)} ${error.expected} ${error.actual}`
    case "ClaimTaken":
      return `ClaimTaken ${error.pool} ${error.value} ${formatKey(error.owner)}`
    default:
      return `${error._tag} ${error.reason}`
  }
}

/** All that can be seen of a store, in words. */
const observe = Effect.fnUntraced(function* (
  store: ResourceStore["Service"],
  commands: ReadonlyArray<string>,
) {
  const seen: Record<string, unknown> = { revision: yield* store.revision }
  for (const kind of ["NetworkInterface", "Network"]) {
    for (const query of [{}, { app: "x" }, { app: "y", tier: "x" }]) {
      const { records, revision } = yield* store.list({ kind, labels: query })
      seen[`${kind} ${JSON.stringify(query)}`] = [revision, ...records.map(describeRecord).sort()]
    }
  }
  for (const key of keys) {
    seen[`referrers ${formatKey(key)}`] = (yield* store.referrers(key)).map(formatKey)
    seen[`get ${formatKey(key)}`] = Option.getOrUndefined(Option.map(yield* store.get(key), describeRecord))
  }
  for (const pool of ["p", "q"]) {
    seen[`claims ${pool}`] = (yield* store.claims(pool)).map(
      ({ value, owner }) => `${value} ${formatKey(owner)}`,
    )
  }
  for (const id of commands) seen[`command ${id}`] = Option.getOrUndefined(yield* store.commandResult(id))
  return seen
})

const expected = (oracle: Oracle): Record<string, unknown> => {
  const seen: Record<string, unknown> = { revision: oracle.revision }
  for (const kind of ["NetworkInterface", "Network"]) {
    for (const query of [{}, { app: "x" }, { app: "y", tier: "x" }]) {
      seen[`${kind} ${JSON.stringify(query)}`] = [oracle.revision, ...oracle.list(kind, query)]
    }
  }
  for (const key of keys) {
    seen[`referrers ${formatKey(key)}`] = oracle.referrers(key)
    seen[`get ${formatKey(key)}`] = oracle
      .list(key.kind)
      .find((text) => text.startsWith(`${formatKey(key)} `))
  }
  const rank = (text: string) => ({ "9": 0, "10": 1, x: 2 })[text]!
  for (const pool of ["p", "q"]) {
    seen[`claims ${pool}`] = oracle.claims
      .filter((claim) => claim.pool === pool)
      .sort((a, b) => rank(a.value) - rank(b.value))
      .map(({ value, owner }) => `${value} ${formatKey(owner)}`)
  }
  return seen
}

const feedOf = (
  store: ResourceStore["Service"],
  from: number,
  count: number,
): Effect.Effect<ReadonlyArray<ReadonlyArray<string | number>>, unknown> =>
  Effect.map(Stream.runCollect(Stream.take(store.changes(from), count)), (batches) =>
    batches.map(({ revision, changes }) => [
      revision,
      ...changes.map(({ _tag, record }) => `${_tag} ${formatKey(record.key)} ${describeContent(record)}`),
    ]),
  )

const runCourse = Effect.fnUntraced(
  function* (steps: ReadonlyArray<Step>) {
    const memory = yield* Effect.provide(ResourceStore, layerMemory())
    const sqlite = yield* ResourceStore
    const oracle = new Oracle()
    for (const { commits, thenMillis } of steps) {
      // What a commit expects is fixed before its step: of those sent together, some will be late.
      const made = commits.map((one) => toCommit(oracle, one))
      const words = made.map((one) => oracle.commit(one))
      for (const store of [memory, sqlite]) {
        const exits = yield* Effect.forEach(made, (one) => Effect.exit(store.commit(one)), {
          concurrency: "unbounded",
        })
        assert.deepStrictEqual(exits.map(inWords), words)
      }
      yield* TestClock.adjust(thenMillis)
      for (const key of keys) {
        assert.deepStrictEqual(yield* sqlite.events(key), yield* memory.events(key))
        assert.deepStrictEqual(yield* sqlite.get(key), yield* memory.get(key))
      }
    }
    const commands = ["c1", "c2", "c3", "c4", "c5", "c6"]
    const inMemory = yield* observe(memory, commands)
    assert.deepStrictEqual(yield* observe(sqlite, commands), inMemory)
    assert.deepInclude(inMemory, expected(oracle))
    for (const from of [0, 1, Math.floor(oracle.revision / 2), oracle.revision]) {
      const rest: ReadonlyArray<ReadonlyArray<string | number>> = oracle.feed.filter(
        ([revision]) => revision > from,
      )
      if (from > oracle.revision || rest.length === 0) continue
      assert.deepStrictEqual(yield* feedOf(memory, from, rest.length), rest)
      assert.deepStrictEqual(yield* feedOf(sqlite, from, rest.length), rest)
    }
  },
  (effect) =>
    effect.pipe(
      Effect.provide(layerSqlite({ filename: ":memory:" }).pipe(Layer.provideMerge(TestClock.layer()))),
      Effect.scoped,
    ),
)

describe("any course of commits", () => {
  it("has the outcome that the oracle says, in memory and on SQLite", async () => {
    await fc.assert(
      fc.asyncProperty(course, (steps) => Effect.runPromise(runCourse(steps))),
      { numRuns: 80 },
    )
  })
})

const text = fc.oneof(
  fc.constantFrom("a", "b", "", "a/b", "ä", "\u0000", "\ud800", "x".repeat(300), "x".repeat(2_000), "\u2028"),
  fc.string({ unit: "binary" }),
)
const anyKey = fc.record({ kind: text, namespace: text, name: text })
const anyClaim = fc.record({ pool: text, value: text, owner: anyKey })
const anyCommit = fc.record(
  {
    writes: fc.array(
      fc.record({
        _tag: fc.constantFrom("Put" as const, "Remove" as const),
        key: anyKey,
        uid: text,
        labels: fc.dictionary(text, text, { maxKeys: 3 }),
        references: fc.array(anyKey, { maxLength: 3 }),
        value: fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true, maxDepth: 2 }),
        expectedRevision: fc.oneof(fc.constantFrom(0, 1, -1, NaN, Infinity, 0.5, 2 ** 60), fc.integer()),
      }),
      { maxLength: 3 },
    ),
    claims: fc.array(anyClaim, { maxLength: 2 }),
    releases: fc.array(anyClaim, { maxLength: 2 }),
    events: fc.array(
      fc.record({ about: anyKey, type: fc.constant("Normal" as const), reason: text, message: text }),
      {
        maxLength: 2,
      },
    ),
    command: fc.record({ id: text, result: fc.anything() }),
  },
  { requiredKeys: [] },
)
/** Most names good, so that what is wrong is somewhere else. */
const soundNames = <A>(value: A, seed: number): A =>
  JSON.parse(
    JSON.stringify(value, (name, member: unknown) =>
      ["kind", "namespace", "name", "pool", "uid", "id"].includes(name) && typeof member === "string"
        ? `k${(member.length + seed) % 3}`
        : typeof member === "bigint"
          ? Number(member)
          : member,
    ),
  ) as A

describe("any input", () => {
  it("is committed or refused with a reason, alike in memory and on SQLite, and breaks nothing", async () => {
    const both = Effect.fnUntraced(
      function* (commits: ReadonlyArray<Commit>, from: number) {
        const memory = yield* Effect.provide(ResourceStore, layerMemory())
        const sqlite = yield* ResourceStore
        for (const one of commits) {
          const exits = [
            yield* Effect.exit(memory.commit(one)),
            yield* Effect.exit(sqlite.commit(one)),
          ] as const
          assert.strictEqual(inWords(exits[1]), inWords(exits[0]))
          assert.isFalse(inWords(exits[1]).startsWith("StoreUnavailable"))
          for (const { key } of one.writes ?? []) {
            assert.deepStrictEqual(yield* sqlite.get(key), yield* memory.get(key))
            assert.deepStrictEqual(yield* sqlite.referrers(key), yield* memory.referrers(key))
            const { kind, namespace } = key
            assert.deepStrictEqual(
              yield* sqlite.list({ kind, namespace }),
              yield* memory.list({ kind, namespace }),
            )
          }
          for (const { about } of one.events ?? []) {
            const [left, right] = [yield* memory.events(about), yield* sqlite.events(about)]
            assert.deepStrictEqual(
              right.map(({ reason, message, count }) => [reason, message, count]),
              left.map(({ reason, message, count }) => [reason, message, count]),
            )
          }
          for (const { pool } of one.claims ?? []) {
            assert.deepStrictEqual(yield* sqlite.claims(pool), yield* memory.claims(pool))
          }
          const id = one.command?.id ?? ""
          assert.deepStrictEqual(yield* sqlite.commandResult(id), yield* memory.commandResult(id))
        }
        for (const store of [memory, sqlite]) {
          const first = Stream.runHead(store.changes(from)).pipe(Effect.timeoutOption(0), Effect.exit)
          const exit = yield* Effect.map(first, (exit) => Exit.isSuccess(exit) || Exit.hasFails(exit))
          assert.isTrue(exit)
          yield* store.compact(from)
        }
        assert.strictEqual(yield* sqlite.revision, yield* memory.revision)
      },
      (effect) => effect.pipe(Effect.provide(layerSqlite({ filename: ":memory:" })), Effect.scoped),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(anyCommit, fc.nat(5)), { maxLength: 6 }),
        fc.constantFrom(0, -1, 1, NaN, Infinity, 1.5, 2 ** 70),
        (commits, from) =>
          Effect.runPromise(
            both(
              commits.map(([one, seed]) => (seed < 2 ? one : soundNames(one, seed)) as Commit),
              from,
            ),
          ),
      ),
      { numRuns: 100 },
    )
  })
})

describe("canonical JSON", () => {
  it("is the same text for equal values, reads back as the value, and differs for others", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (one, other) => {
        const text = canonicalJson(one)
        assert.deepStrictEqual(parseFrozen(text), JSON.parse(JSON.stringify(one)))
        assert.strictEqual(canonicalJson(shuffled(one)), text)
        const equal = isDeepEqual(JSON.parse(JSON.stringify(one)), JSON.parse(JSON.stringify(other)))
        assert.strictEqual(canonicalJson(other) === text, equal)
      }),
    )
  })

  it("refuses what has no text, whatever it is", () => {
    fc.assert(
      fc.property(fc.anything({ withBigInt: true, withDate: true, withMap: true }), (value) => {
        try {
          JSON.parse(canonicalJson(value))
        } catch (cause) {
          assert.instanceOf(cause, Error)
          assert.isFalse(cause instanceof RangeError)
        }
      }),
    )
  })
})

/** The same value with the keys of its objects in reverse. */
const shuffled = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(shuffled)
    : typeof value === "object" && value !== null
      ? Object.fromEntries(
          Object.entries(value)
            .toReversed()
            .map(([name, member]) => [name, shuffled(member)]),
        )
      : value

const isDeepEqual = (one: unknown, other: unknown): boolean => {
  try {
    assert.deepStrictEqual(one, other)
    return true
  } catch {
    return false
  }
}
