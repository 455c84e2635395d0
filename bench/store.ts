/**
 * What the store does in a second: commits of one resource with 64 writers, reads and lists at 100,000 records.
 * `./node_modules/.bin/node bench/store.ts [seconds]`; figures are printed, never asserted.
 */
import { Effect, Layer, Stream } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { performance } from "node:perf_hooks"
import { ResourceStore, type Put } from "#protocol/store/ResourceStore.ts"
import { layerMemory, layerSqlite } from "#runtime/store/Store.ts"

const seconds = Number(process.argv[2] ?? 3)
const writers = 64
const folder = mkdtempSync(join(tmpdir(), "ferrite-store-bench-"))

const nic = (index: number, generation: number): Put => ({
  _tag: "Put",
  key: { kind: "NetworkInterface", namespace: `ns-${index % 100}`, name: `nic-${index}` },
  uid: `00000000-0000-4000-8000-${String(index).padStart(12, "0")}`,
  labels: { app: `app-${index % 1000}` },
  references: [{ kind: "Network", namespace: `ns-${index % 100}`, name: "blue" }],
  value: {
    apiVersion: "networking.ironcore.dev/v1alpha1",
    kind: "NetworkInterface",
    metadata: { name: `nic-${index}`, generation, creationTimestamp: "2026-01-01T00:00:00Z" },
    spec: { networkRef: { name: "blue" }, ipFamilies: ["IPv4"], ips: [{ value: "10.0.0.1" }], generation },
    status: {
      state: "Available",
      conditions: [{ type: "Realised", status: "True", reason: "Ok", message: "" }],
    },
  },
})

const print = (what: string, figure: string) => console.log(`${what.padEnd(52)} ${figure}`)

const timed = <A, E, R>(
  what: string,
  effect: Effect.Effect<A, E, R>,
  show: (millis: number, value: A) => string,
) =>
  Effect.gen(function* () {
    const start = performance.now()
    const value = yield* effect
    print(what, show(performance.now() - start, value))
    return value
  })

const load = Effect.gen(function* () {
  const store = yield* ResourceStore
  const latencies: Array<number> = []
  const cpu = process.cpuUsage()
  const start = performance.now()
  const end = start + seconds * 1_000
  let generation = 0
  const writer = (index: number) =>
    Effect.gen(function* () {
      while (performance.now() < end) {
        const before = performance.now()
        yield* store.commit({ writes: [nic(index, generation++)] })
        latencies.push(performance.now() - before)
      }
    })
  yield* Effect.all(
    Array.from({ length: writers }, (_, index) => writer(index)),
    { concurrency: "unbounded" },
  )
  const elapsed = performance.now() - start
  const used = process.cpuUsage(cpu)
  latencies.sort((a, b) => a - b)
  const at = (share: number) => latencies[Math.floor(latencies.length * share)]!.toFixed(2)
  print(
    `commits of one resource, ${writers} writers`,
    `${Math.round((latencies.length / elapsed) * 1_000)}/s, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, ${((used.user + used.system) / 1_000 / latencies.length).toFixed(3)} CPU ms each`,
  )
})

const large = Effect.gen(function* () {
  const store = yield* ResourceStore
  const count = 100_000
  yield* timed(
    "load 100,000 records, 500 a commit",
    Effect.gen(function* () {
      for (let start = 1_000; start < 1_000 + count; start += 500) {
        yield* store.commit({ writes: Array.from({ length: 500 }, (_, index) => nic(start + index, 1)) })
      }
    }),
    (millis) => `${Math.round(count / (millis / 1_000))} records/s`,
  )
  const gets = 20_000
  yield* timed(
    "get",
    Effect.gen(function* () {
      for (let index = 0; index < gets; index++)
        yield* store.get(nic(1_000 + ((index * 7_919) % count), 0).key)
    }),
    (millis) => `${((millis * 1_000) / gets).toFixed(1)} us each`,
  )
  yield* timed(
    "list of a kind, 100,000 records",
    store.list({ kind: "NetworkInterface" }),
    (millis, { records }) => `${millis.toFixed(0)} ms for ${records.length}`,
  )
  yield* timed(
    "list of a namespace",
    store.list({ kind: "NetworkInterface", namespace: "ns-7" }),
    (millis, { records }) => `${millis.toFixed(1)} ms for ${records.length}`,
  )
  yield* timed(
    "list by label",
    store.list({ kind: "NetworkInterface", labels: { app: "app-7" } }),
    (millis, { records }) => `${millis.toFixed(1)} ms for ${records.length}`,
  )
  yield* timed(
    "referrers of a network",
    store.referrers({ kind: "Network", namespace: "ns-7", name: "blue" }),
    (millis, keys) => `${millis.toFixed(1)} ms for ${keys.length}`,
  )
  const head = yield* store.revision
  yield* timed(
    "replay of the last 50,000 changes",
    Stream.runFold(
      Stream.take(store.changes(head - 100), 100),
      () => 0,
      (sum, batch) => sum + batch.changes.length,
    ),
    (millis, changes) => `${Math.round(changes / (millis / 1_000))} changes/s`,
  )
})

const run = (name: string, layer: Layer.Layer<ResourceStore, unknown>) =>
  Effect.gen(function* () {
    console.log(`\n${name}`)
    yield* load
    yield* large
  }).pipe(Effect.provide(layer))

await Effect.runPromise(
  Effect.gen(function* () {
    yield* run("memory", layerMemory())
    yield* run("sqlite, synchronous FULL", layerSqlite({ filename: join(folder, "full.sqlite") }))
    yield* run(
      "sqlite, synchronous NORMAL",
      layerSqlite({ filename: join(folder, "normal.sqlite"), synchronous: "NORMAL" }),
    )
  }).pipe(Effect.ensuring(Effect.sync(() => rmSync(folder, { recursive: true })))),
)
