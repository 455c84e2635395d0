import { assert, describe, it } from "@effect/vitest"
import { Effect, Random, References } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { listInterfaces } from "#protocol/dataplane/model/control.ts"
import type { HostInterface } from "#protocol/node/HostInterface.ts"
import { emptyMemory } from "#runtime/node/Journal.ts"
import { type Hypervisor, makeRegion, nic, uidOf } from "./agent-region.ts"

/** How many scenarios, and the seed of the first; a failure names its own. `FERRITE_SEED` runs that one alone. */
const scenarios = 15
const firstSeed = 20_261_122

const host = fc.nat({ max: 2 })
const event = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("put" as const),
      host,
      n: fc.integer({ min: 1, max: 6 }),
      vni: fc.constantFrom(200, 201),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("remove" as const), n: fc.integer({ min: 1, max: 6 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("kill agent" as const), host }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("start agent" as const), host }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("lose journal" as const), host }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restart dataplane" as const), host }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("crash in batch" as const), host, after: fc.nat({ max: 3 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("kill controller" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("start controller" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("compact" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("kill reflector" as const), one: fc.nat({ max: 1 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("start reflector" as const), one: fc.nat({ max: 1 }) }),
  },
)
const step = fc.record({ event, millis: fc.constantFrom(0, 0, 1, 5, 50, 1_000, 15_000) })

const scenario = Effect.fnUntraced(function* (seed: number) {
  const [steps = []] = fc.sample(fc.array(step, { minLength: 10, maxLength: 40 }), { seed, numRuns: 1 })
  const region = yield* makeRegion()
  const hosts = yield* Effect.forEach([1, 2, 3], region.hypervisor)
  yield* Effect.forEach(hosts, ({ agent }) => agent.start)
  /** Where each interface is asked for. */
  const placed = new Map<number, { readonly on: Hypervisor; readonly as: HostInterface }>()
  let generation = 0

  for (const { event: one, millis } of steps) {
    switch (one.do) {
      case "put": {
        const on = hosts[one.host]!
        const before = placed.get(one.n)
        if (before !== undefined && before.on !== on) yield* region.remove(before.on, one.n)
        const as = nic(one.n, { vni: one.vni, generation: ++generation })
        yield* region.put(on, as)
        placed.set(one.n, { on, as })
        break
      }
      case "remove": {
        const before = placed.get(one.n)
        if (before !== undefined) yield* region.remove(before.on, one.n)
        placed.delete(one.n)
        break
      }
      case "kill agent":
        yield* hosts[one.host]!.agent.kill
        break
      case "start agent":
        yield* hosts[one.host]!.agent.start
        break
      case "lose journal":
        yield* hosts[one.host]!.agent.kill
        hosts[one.host]!.journal = emptyMemory()
        yield* hosts[one.host]!.agent.start
        break
      case "restart dataplane":
        yield* hosts[one.host]!.model.restart
        break
      case "crash in batch":
        yield* hosts[one.host]!.model.crashAfter(one.after)
        break
      case "kill controller":
        yield* region.killController
        break
      case "start controller":
        yield* region.startController
        break
      case "compact":
        yield* region.store.compact(yield* region.store.revision)
        break
      case "kill reflector":
        yield* region.reflectors[one.one]!.kill
        break
      case "start reflector":
        yield* region.reflectors[one.one]!.start
    }
    yield* TestClock.adjust(millis)
  }

  // Everything runs again, and has the time that it takes: a hold time at most.
  yield* region.startController
  yield* Effect.forEach(region.reflectors, ({ start }) => start)
  for (const each of hosts) {
    yield* each.model.crashAfter(Number.POSITIVE_INFINITY)
    if ((yield* each.model.snapshot) === undefined) yield* each.model.restart
    yield* each.agent.start
  }
  yield* TestClock.adjust("3 minutes")

  const addresses = new Map<string, string>()
  for (const { model } of hosts) {
    for (const { spec, underlayAddress } of listInterfaces((yield* model.snapshot)!)) {
      addresses.set(spec.id, underlayAddress)
    }
  }
  const revision = yield* region.store.revision
  for (const each of hosts) {
    const mine = [...placed.values()].filter(({ on }) => on === each).map(({ as }) => as)
    assert.deepStrictEqual(
      yield* each.interfaces,
      mine.map(({ uid }) => uid).sort(),
      `${each.name} has what is asked for`,
    )
    const used = new Set(mine.map(({ vni }) => vni))
    const wanted = [...placed.values()]
      .filter(({ as, on }) => on !== each && used.has(as.vni))
      .map(({ as }) => `${as.vni} ${as.ipv4}/32 ${addresses.get(as.uid)}`)
    assert.deepStrictEqual(yield* each.routes, wanted.sort(), `${each.name} reaches the others`)
    const status = yield* each.agent.current().status
    assert.strictEqual(status.revision, revision, `${each.name} has heard all`)
    if (revision > 0) assert.strictEqual(region.told.settled.get(each.name), revision, `${each.name} settled`)
    assert.strictEqual(each.journal.interfaces.size, mine.length, `the journal of ${each.name}`)
    assert.strictEqual(each.journal.removed.size, 0, `${each.name} owes no report`)
  }
  for (const [n, { as, on }] of placed) {
    const report = region.told.byNode.get(`${on.name} ${uidOf(n)}`)
    assert.include(report, { state: "Realised", generation: as.generation }, `the report of ${n}`)
    assert.strictEqual((report as { underlayAddress?: string }).underlayAddress, addresses.get(as.uid))
  }
})

describe("a region of agents", () => {
  const given = process.env["FERRITE_SEED"]
  const seeds =
    given === undefined ? Array.from({ length: scenarios }, (_, index) => firstSeed + index) : [Number(given)]
  it.effect.each(seeds)("comes to what is asked for whatever dies meanwhile, seed %i", (seed) =>
    scenario(seed).pipe(
      Random.withSeed(seed),
      Effect.provideService(References.MinimumLogLevel, "None"),
      Effect.onError(() =>
        Effect.sync(() => {
          process.stderr.write(
            `replay: FERRITE_SEED=${seed} npx vitest run test/simulated/agent-chaos.test.ts\n`,
          )
        }),
      ),
    ),
  )
})
