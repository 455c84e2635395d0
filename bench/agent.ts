/**
 * What agents cost: hosts with model dataplanes, real sessions in memory, one process, the machine's own clock.
 *
 * `node bench/agent.ts [hosts] [interfaces]`. Prints; asserts nothing. The model programs about as fast as a
 * native dataplane answers, so the figures are those of the control path.
 */
import { Clock, Context, Effect, Layer, References } from "effect"
import { Ids } from "#protocol/Ids.ts"
import { hostInterfaceKind } from "#protocol/node/HostInterface.ts"
import { NodeEvents } from "#protocol/node/NodeEvents.ts"
import { ResourceStore } from "#protocol/store/ResourceStore.ts"
import { layerModel, ModelDataplane } from "#runtime/dataplane/ModelDataplane.ts"
import { ModelUnderlay } from "#runtime/dataplane/ModelUnderlay.ts"
import * as MetalbondMemory from "#runtime/metalbond/Memory.ts"
import * as Reflector from "#runtime/metalbond/Reflector.ts"
import * as RouteDistributionClient from "#runtime/metalbond/RouteDistributionClient.ts"
import { Agent } from "#runtime/node/Agent.ts"
import { layerMemory as linkInMemory } from "#runtime/node/ControllerLinks.ts"
import { emptyMemory, layerMemory as journalInMemory } from "#runtime/node/Journal.ts"
import { NodeSessions } from "#runtime/node/NodeSessions.ts"
import { layerMemory } from "#runtime/store/Store.ts"

const hosts = Number(process.argv[2] ?? 10)
const interfaces = Number(process.argv[3] ?? 2000)

const millis = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1e6)
const uidOf = (n: number) => `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`

const program = Effect.gen(function* () {
  /** By prefix: hosts that have acknowledged a route to it. By uid: realised. */
  const acknowledged = new Map<string, number>()
  const realised = new Set<string>()
  const events = Layer.succeed(
    NodeEvents,
    NodeEvents.of({
      hello: () => Effect.void,
      lost: () => Effect.void,
      settled: () => Effect.void,
      interfaceReport: (_node, report) =>
        Effect.sync(() => {
          if (report.state === "Realised") realised.add(report.uid)
        }),
      routeReport: (_node, report) =>
        Effect.sync(() => {
          for (const { prefix } of report.entries)
            acknowledged.set(prefix, (acknowledged.get(prefix) ?? 0) + 1)
        }),
    }),
  )
  const shared = yield* Layer.build(
    NodeSessions.layer().pipe(
      Layer.provide(events),
      Layer.provideMerge(layerMemory()),
      Layer.merge(Layer.mergeAll(Ids.layer, MetalbondMemory.layer, ModelUnderlay.layer)),
    ),
  )
  const outside = Layer.succeedContext(shared)
  const store = Context.get(shared, ResourceStore)
  yield* Layer.build(Reflector.layerTransport({ listen: "[fd00::1]:4711" }).pipe(Layer.provide(outside)))
  for (let n = 1; n <= hosts; n++) {
    const underlayPrefix = `fd00:f:${n.toString(16)}::/64`
    yield* Layer.build(
      Agent.layer({ node: `host-${n}`, underlayPrefix, dataplane: "model", version: "bench" }).pipe(
        Layer.provide([
          layerModel.pipe(Layer.provide(ModelDataplane.layer({ underlayPrefix }))),
          linkInMemory,
          journalInMemory(emptyMemory()),
          RouteDistributionClient.layerTransport({ reflectors: ["[fd00::1]:4711"], originator: `host-${n}` }),
        ]),
        Layer.provide(outside),
        Layer.fresh,
      ),
    )
  }
  const addressOf = (n: number) => `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`
  const put = (n: number) => ({
    _tag: "Put" as const,
    key: { kind: hostInterfaceKind, namespace: `host-${(n % hosts) + 1}`, name: uidOf(n) },
    uid: uidOf(n),
    labels: {},
    references: [],
    value: {
      uid: uidOf(n),
      namespace: "default",
      name: `nic-${n}`,
      generation: 1,
      vni: 200,
      ipv4: addressOf(n),
      acceptedMicros: 0,
    },
  })
  const until = (good: () => boolean) =>
    Effect.gen(function* () {
      while (!good()) yield* Effect.sleep(1)
    })
  const programmed = (n: number) =>
    realised.has(uidOf(n)) && acknowledged.get(`${addressOf(n)}/32`) === hosts - 1

  for (let n = 0; n < hosts; n++) yield* store.commit({ writes: [put(n)] })
  yield* until(() => Array.from({ length: hosts }, (_, n) => n).every(programmed))

  const single: Array<number> = []
  for (let n = hosts; n < hosts + 200; n++) {
    const before = yield* millis
    yield* store.commit({ writes: [put(n)] })
    yield* until(() => programmed(n))
    single.push((yield* millis) - before)
  }
  single.sort((a, b) => a - b)
  const at = (share: number) => single[Math.floor(single.length * share)]!.toFixed(1)
  console.log(`one NIC, committed to programmed on ${hosts} hosts: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`)

  const first = hosts + 200
  const before = yield* millis
  for (let n = first; n < first + interfaces; n += 100) {
    yield* store.commit({
      writes: Array.from({ length: Math.min(100, first + interfaces - n) }, (_, k) => put(n + k)),
    })
  }
  yield* until(() => {
    for (let n = first + interfaces - 1; n >= first; n--) if (!programmed(n)) return false
    return true
  })
  const took = (yield* millis) - before
  const routes = interfaces * (hosts - 1)
  console.log(
    `${interfaces} NICs at once: ${took.toFixed(0)} ms, ${((interfaces / took) * 1000).toFixed(0)} NICs/s, ${((routes / took) * 1000).toFixed(0)} routes/s over all hosts`,
  )
  console.log(`rss ${(process.memoryUsage().rss / 2 ** 20).toFixed(0)} MiB`)
})

await Effect.runPromise(
  Effect.scoped(program).pipe(Effect.provideService(References.MinimumLogLevel, "Error")),
)
process.exit(0)
