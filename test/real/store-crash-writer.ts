/**
 * Commits as fast as it can and says on stdout what was acknowledged, one line each, until it is killed.
 * The first argument is the store's file, the second names this life of the writer.
 */
import { Effect } from "effect"
import { writeSync } from "node:fs"
import { ResourceStore } from "#protocol/store/ResourceStore.ts"
import { layerSqlite } from "#runtime/store/Store.ts"

const [filename = "", life = ""] = process.argv.slice(2)

const writer = (index: number) =>
  Effect.gen(function* () {
    const store = yield* ResourceStore
    const key = { kind: "Counter", namespace: life, name: `writer-${index}` }
    for (let count = 1; ; count++) {
      const { revision } = yield* store.commit({
        writes: [{ _tag: "Put", key, uid: `${life}-${index}`, labels: {}, references: [], value: { count } }],
        claims: [{ pool: "count", value: `${life}/${index}/${count}`, owner: key }],
        command: { id: `${life}/${index}/${count}`, result: { count } },
      })
      // Synchronous: the line is in the pipe before anything else happens.
      writeSync(1, `${index} ${count} ${revision}\n`)
    }
  })

await Effect.runPromise(
  Effect.all(
    Array.from({ length: 16 }, (_, index) => writer(index)),
    { concurrency: "unbounded" },
  ).pipe(Effect.provide(layerSqlite({ filename }))),
)
