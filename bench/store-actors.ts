/**
 * What actors cost above the store: commands through the cluster to their cells and back, durable; and waking a
 * whole region. `./node_modules/.bin/node bench/store-actors.ts [seconds]`; figures are printed, never asserted.
 */
import { Effect, Layer, Option } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { performance } from "node:perf_hooks"
import { ResourceStore } from "#protocol/store/ResourceStore.ts"
import { RegionUnavailable } from "#runtime/cluster/Partition.ts"
import { Region } from "#runtime/cluster/Region.ts"
import { RegionActors } from "#runtime/cluster/RegionActors.ts"
import * as RegionCluster from "#runtime/cluster/RegionCluster.ts"
import { layerMemory, layerSqlite } from "#runtime/store/Store.ts"
import * as Cells from "#runtime/supervision/Cells.ts"

const seconds = Number(process.argv[2] ?? 3)
const callers = 64
const folder = mkdtempSync(join(tmpdir(), "ferrite-actors-bench-"))
const print = (what: string, figure: string) => console.log(`${what.padEnd(52)} ${figure}`)

const rate = <E, R>(what: string, once: (index: number) => Effect.Effect<unknown, E, R>) =>
  Effect.gen(function* () {
    const cpu = process.cpuUsage()
    const start = performance.now()
    const end = start + seconds * 1_000
    const latencies: Array<number> = []
    let next = 0
    const caller = Effect.gen(function* () {
      while (performance.now() < end) {
        const before = performance.now()
        yield* once(next++)
        latencies.push(performance.now() - before)
      }
    })
    yield* Effect.all(
      Array.from({ length: callers }, () => caller),
      { concurrency: "unbounded" },
    )
    const elapsed = performance.now() - start
    const used = process.cpuUsage(cpu)
    latencies.sort((a, b) => a - b)
    const at = (share: number) => latencies[Math.floor(latencies.length * share)]!.toFixed(2)
    print(
      what,
      `${Math.round((latencies.length / elapsed) * 1_000)}/s, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, ${((used.user + used.system) / 1_000 / latencies.length).toFixed(3)} CPU ms each`,
    )
  })

const key = (index: number) => ({
  kind: "Counter",
  namespace: `ns-${index % 100}`,
  name: `c-${index % 10_000}`,
})

const cellsAlone = Effect.gen(function* () {
  const cells = yield* Cells.make<number, number, never>({
    name: "bench",
    handle: (_id, n) => Effect.succeed(n + 1),
  })
  yield* rate("cells alone, 10,000 actors", (index) => cells.ask(`c-${index % 10_000}`, index))
}).pipe(Effect.scoped)

const region = Effect.gen(function* () {
  const { ask, hint } = yield* Region
  yield* ask(key(0), { tag: "Get" })
  yield* rate("ask through the cluster, no write", (index) => ask(key(index), { tag: "Get" }))
  yield* rate("ask through the cluster, durable", (index) => ask(key(index), { tag: "Add" }))
  const store = yield* ResourceStore
  for (let start = 0; start < 100_000; start += 500) {
    yield* store.commit({
      writes: Array.from({ length: 500 }, (_, index) => ({
        _tag: "Put" as const,
        key: { kind: "Counter", namespace: "woken", name: `c-${start + index}` },
        uid: "u",
        labels: {},
        references: [],
        value: { count: 0, padding: "x".repeat(300) },
      })),
    })
  }
  const { records } = yield* store.list({ kind: "Counter" })
  looked = 0
  const cpu = process.cpuUsage()
  const start = performance.now()
  for (const record of records) yield* hint(record.key)
  while (looked < records.length) yield* Effect.sleep(1)
  const used = process.cpuUsage(cpu)
  print(
    `waking ${records.length} actors, a read each`,
    `${(performance.now() - start).toFixed(0)} ms, ${((used.user + used.system) / 1_000 / records.length).toFixed(3)} CPU ms each, RSS ${Math.round(process.memoryUsage().rss / 1_048_576)} MiB`,
  )
})

let looked = 0
const actors = Layer.effect(
  RegionActors,
  Effect.gen(function* () {
    const store = yield* ResourceStore
    return RegionActors.table({
      Counter: {
        handle: (key, command, commandId) =>
          Effect.gen(function* () {
            if (command.tag === "Get") return null
            const record = Option.getOrUndefined(yield* store.get(key))
            const count = ((record?.value as { readonly count: number } | undefined)?.count ?? 0) + 1
            const value = { count, padding: "x".repeat(300) }
            yield* store.commit({
              writes: [
                {
                  _tag: "Put",
                  key,
                  uid: "u",
                  labels: {},
                  references: [],
                  value,
                  expectedRevision: record?.revision ?? 0,
                },
              ],
              command: { id: commandId, result: count },
            })
            return count
          }).pipe(Effect.mapError((error) => new RegionUnavailable({ reason: error._tag }))),
        look: (key) =>
          Effect.andThen(
            Effect.orDie(store.get(key)),
            Effect.sync(() => looked++),
          ),
      },
    })
  }),
)

const run = (name: string, store: Layer.Layer<ResourceStore, unknown>) =>
  Effect.gen(function* () {
    console.log(`\n${name}`)
    yield* region
  }).pipe(Effect.provide(RegionCluster.layerSingle().pipe(Layer.provide(actors), Layer.provideMerge(store))))

await Effect.runPromise(
  Effect.gen(function* () {
    yield* cellsAlone
    yield* run("memory", layerMemory())
    yield* run("sqlite, synchronous FULL", layerSqlite({ filename: join(folder, "actors.sqlite") }))
  }).pipe(Effect.ensuring(Effect.sync(() => rmSync(folder, { recursive: true })))),
)
