import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { Effect, Exit, Layer, Stream } from "effect"
import { ResourceStore } from "#protocol/store/ResourceStore.ts"
import * as Store from "#runtime/store/Store.ts"

const layers = { memory: Store.layerMemory(), sqlite: Store.layerSqlite({ filename: ":memory:" }) } as const

const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.constantFrom(
    "",
    "\0",
    "a\0b",
    "\ud83d",
    "a/b",
    "../..",
    "%",
    "_",
    "' OR 1=1 --",
    "x".repeat(5_000),
    "1e400",
    "-0",
  ),
)
const key = fc.record({ kind: text, namespace: text, name: text })
const number = fc.oneof(
  fc.integer(),
  fc.double(),
  fc.constantFrom(Number.NaN, Infinity, -Infinity, -1, 2 ** 53, 2 ** 64, 1e308, -0, 0.5),
)
const labels = fc.dictionary(text, text, { maxKeys: 4 })

/** The last record that every question below must leave alone. */
const good = { kind: "Network", namespace: "default", name: "kept" }

for (const [name, layer] of Object.entries(layers)) {
  describe(`the ${name} store, asked for anything,`, () => {
    it.live("answers or refuses, is never broken by it, and keeps what it has", () =>
      Effect.gen(function* () {
        const store = yield* ResourceStore
        yield* store.commit({
          writes: [
            { _tag: "Put", key: good, uid: "u", labels: { app: "web" }, references: [], value: { a: 1 } },
          ],
          claims: [{ pool: "vni", value: "200", owner: good }],
        })
        const noDefect = <A, E>(effect: Effect.Effect<A, E>) =>
          Effect.map(Effect.exit(effect), (exit) => {
            if (Exit.isSuccess(exit)) return
            for (const reason of exit.cause.reasons)
              assert.strictEqual(reason._tag, "Fail", `a defect: ${JSON.stringify(reason)}`)
          })
        yield* Effect.promise(() =>
          fc.assert(
            fc.asyncProperty(key, text, labels, number, fc.anything(), (of, word, some, at, value) =>
              Effect.runPromise(
                Effect.gen(function* () {
                  yield* noDefect(store.get(of))
                  yield* noDefect(store.referrers(of))
                  yield* noDefect(store.events(of))
                  yield* noDefect(store.list({ kind: of.kind, namespace: of.namespace, labels: some }))
                  yield* noDefect(store.list({ kind: "Network", labels: some }))
                  yield* noDefect(store.claims(word))
                  yield* noDefect(store.commandResult(word))
                  const first = store
                    .changes(at)
                    .pipe(Stream.take(1), Stream.runDrain, Effect.timeoutOption(1))
                  yield* noDefect(first)
                  yield* noDefect(
                    store.commit({
                      writes: [
                        {
                          _tag: "Put",
                          key: of,
                          uid: word,
                          labels: some,
                          references: [of],
                          value,
                          expectedRevision: at,
                        },
                      ],
                      claims: [{ pool: word, value: word, owner: of }],
                      events: [{ about: of, type: "Normal", reason: word, message: word }],
                      command: { id: word, result: value },
                    }),
                  )
                  yield* noDefect(
                    store.commit({ writes: [{ _tag: "Remove", key: of, expectedRevision: at }] }),
                  )
                }),
              ),
            ),
            { numRuns: 150 },
          ),
        )
        const { records } = yield* store.list({ kind: "Network", labels: { app: "web" } })
        assert.deepStrictEqual(
          records.map((record) => [record.key, record.value]),
          [[good, { a: 1 }]],
        )
        assert.strictEqual((yield* store.claims("vni"))[0]?.owner.name, "kept")
        yield* store.commit({ writes: [{ _tag: "Remove", key: good }] })
      }).pipe(Effect.provide(Layer.fresh(layer))),
    )
  })
}
