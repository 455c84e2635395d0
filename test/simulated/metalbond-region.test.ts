// Reflectors and hosts in one process, on a network in memory and virtual time.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Message from "#protocol/metalbond/Message.ts"
import { RouteDistribution, type RouteAnnouncement } from "#protocol/metalbond/RouteDistribution.ts"
import { layerHost, layerNetwork, MemoryNetwork } from "#runtime/metalbond/Memory.ts"
import {
  layerTransport as layerReflector,
  type Options as ReflectorOptions,
  Reflector,
} from "#runtime/metalbond/Reflector.ts"
import {
  layerTransport as layerClient,
  type Options as ClientOptions,
} from "#runtime/metalbond/RouteDistributionClient.ts"

const a = "[fd00::a]:4711"
const b = "[fd00::b]:4711"

const route = (prefix: string, address: string, vni = 200): RouteAnnouncement => ({
  vni,
  prefix,
  nextHop: { address, vni: 0, type: "STANDARD", natPortFrom: 0, natPortTo: 0 },
})

/** A role that a test may end before its own end. */
interface Running<Service> {
  readonly service: Service
  readonly stop: Effect.Effect<void>
}

const startReflector = Effect.fnUntraced(function* (
  address: string,
  options: Partial<ReflectorOptions> = {},
) {
  const network = yield* MemoryNetwork
  const scope = yield* Scope.fork(yield* Effect.scope)
  const context = yield* Layer.buildWithScope(
    layerReflector({ keepaliveSeconds: 3, startupMillis: 15_000, ...options, listen: address }).pipe(
      Layer.provide(layerHost("reflector")),
      Layer.provide(Layer.succeed(MemoryNetwork, network)),
    ),
    scope,
  )
  const service = yield* Effect.provideContext(Reflector, context)
  const running: Running<Reflector["Service"]> = { service, stop: Scope.close(scope, Exit.void) }
  return running
})

/** What a dataplane that applies every update of one VNI has, with the number of updates that changed it. */
interface Dataplane {
  readonly routes: Map<string, string>
  removals: number
  readonly levels: Set<number>
}

const startHost = Effect.fnUntraced(function* (name: string, options: Partial<ClientOptions> = {}) {
  const network = yield* MemoryNetwork
  const scope = yield* Scope.fork(yield* Effect.scope)
  const context = yield* Layer.buildWithScope(
    layerClient({ reflectors: [a, b], originator: name, ...options }).pipe(
      Layer.provide(layerHost(name)),
      Layer.provide(Layer.succeed(MemoryNetwork, network)),
    ),
    scope,
  )
  const service = yield* Effect.provideContext(RouteDistribution, context)
  const dataplane: Dataplane = { routes: new Map(), removals: 0, levels: new Set() }
  const applying = yield* service.updates.pipe(
    Stream.runForEach(({ changes, level }) =>
      Effect.sync(() => {
        for (const { prefix, nextHops } of changes)
          if (nextHops.length > 0)
            dataplane.routes.set(prefix, nextHops.map(({ address }) => address).join(" "))
          else if (dataplane.routes.delete(prefix)) dataplane.removals++
        for (const vni of level ?? []) dataplane.levels.add(vni)
      }),
    ),
    Effect.forkIn(scope),
  )
  const running: Running<RouteDistribution["Service"]> & { readonly dataplane: Dataplane } = {
    service,
    dataplane,
    stop: Effect.andThen(Fiber.interrupt(applying), Scope.close(scope, Exit.void)),
  }
  return running
})

const region = <A, E>(name: string, test: Effect.Effect<A, E, MemoryNetwork | Scope.Scope>) =>
  it.effect(name, () => test.pipe(Effect.scoped, Effect.provide(layerNetwork)))

const settle = TestClock.adjust(50)
const one = { "10.0.0.1/32": "fd00::1" }
const seen = (host: { readonly dataplane: Dataplane }) => Object.fromEntries(host.dataplane.routes)

describe("two hosts and two reflectors", () => {
  region(
    "a route reaches the other host, and leaves it when it is withdrawn",
    Effect.gen(function* () {
      yield* startReflector(a)
      yield* startReflector(b)
      const left = yield* startHost("host-1")
      const right = yield* startHost("host-2")
      yield* right.service.subscribe(new Set([200]))
      yield* left.service.announce([route("10.0.0.1/32", "fd00::1"), route("10.0.0.1/32", "fd00::9", 201)])
      yield* settle
      assert.deepStrictEqual(seen(right), one)
      assert.deepStrictEqual(
        (yield* right.service.reflectors).map(({ state }) => state),
        ["Established", "Established"],
      )
      yield* left.service.announce([])
      yield* settle
      assert.deepStrictEqual(seen(right), {})
    }),
  )
  region(
    "sessions live on keepalives alone",
    Effect.gen(function* () {
      const reflector = yield* startReflector(a)
      const host = yield* startHost("host-1", { reflectors: [a] })
      yield* host.service.announce([route("10.0.0.1/32", "fd00::1")])
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(reflector.service.machine.table.size, 1)
      assert.strictEqual(reflector.service.machine.lastId, 1)
    }),
  )
  region(
    "losing one reflector changes nothing, announcing and withdrawing go on",
    Effect.gen(function* () {
      const first = yield* startReflector(a)
      yield* startReflector(b)
      const left = yield* startHost("host-1")
      const right = yield* startHost("host-2")
      yield* right.service.subscribe(new Set([200]))
      yield* left.service.announce([route("10.0.0.1/32", "fd00::1"), route("10.0.0.2/32", "fd00::1")])
      yield* TestClock.adjust("20 seconds")
      yield* first.stop
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(seen(right), { ...one, "10.0.0.2/32": "fd00::1" })
      yield* left.service.announce([route("10.0.0.1/32", "fd00::1"), route("10.0.0.3/32", "fd00::1")])
      yield* settle
      // Withdrawn at b; a may not be heard, so what it had stays until it is back or its hold ends.
      assert.deepStrictEqual(seen(right), { ...one, "10.0.0.2/32": "fd00::1", "10.0.0.3/32": "fd00::1" })
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(seen(right), { ...one, "10.0.0.3/32": "fd00::1" })
    }),
  )
  region(
    "a reflector that restarts takes no route out of any dataplane",
    Effect.gen(function* () {
      const hosts: Array<Effect.Success<ReturnType<typeof startHost>>> = []
      const first = yield* startReflector(a)
      for (let n = 1; n <= 5; n++) {
        const host = yield* startHost(`host-${n}`, { reflectors: [a] })
        yield* host.service.subscribe(new Set([200]))
        yield* host.service.announce([route(`10.0.0.${n}/32`, `fd00::${n}`)])
        hosts.push(host)
      }
      yield* TestClock.adjust("20 seconds")
      for (const host of hosts) assert.strictEqual(host.dataplane.routes.size, 4)
      yield* first.stop
      yield* TestClock.adjust("20 seconds")
      const second = yield* startReflector(a)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(second.service.machine.table.size, 5)
      // One host's route really went meanwhile: swept when the reflector is level.
      yield* hosts[4]!.service.announce([])
      yield* TestClock.adjust("3 minutes")
      for (const host of hosts.slice(0, 4)) {
        assert.strictEqual(host.dataplane.routes.size, 3)
        assert.strictEqual(host.dataplane.removals, 1)
      }
    }),
  )
  region(
    "an agent that restarts keeps its routes at the others, minus those that are gone",
    Effect.gen(function* () {
      yield* startReflector(a)
      yield* startReflector(b)
      const left = yield* startHost("host-1")
      const right = yield* startHost("host-2")
      yield* right.service.subscribe(new Set([200]))
      yield* left.service.announce([route("10.0.0.1/32", "fd00::1"), route("10.0.0.2/32", "fd00::1")])
      yield* TestClock.adjust("20 seconds")
      yield* left.stop
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(right.dataplane.removals, 0)
      const again = yield* startHost("host-1")
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(right.dataplane.removals, 0)
      yield* again.service.announce([route("10.0.0.1/32", "fd00::1")])
      yield* settle
      assert.deepStrictEqual(seen(right), one)
    }),
  )
  region(
    "a host that does not come back leaves after its restart time",
    Effect.gen(function* () {
      yield* startReflector(a)
      yield* startReflector(b)
      const left = yield* startHost("host-1", { restartSeconds: 10 })
      const right = yield* startHost("host-2")
      yield* right.service.subscribe(new Set([200]))
      yield* left.service.announce([route("10.0.0.1/32", "fd00::1")])
      yield* TestClock.adjust("20 seconds")
      yield* left.stop
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(seen(right), one)
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(seen(right), {})
    }),
  )
  region(
    "a host of v1 leaves with its connection, and a v1 host gets the same table",
    Effect.gen(function* () {
      yield* startReflector(a)
      const left = yield* startHost("host-1", { restartSeconds: 0, reflectors: [a] })
      const right = yield* startHost("host-2", { restartSeconds: 0, reflectors: [a] })
      yield* right.service.subscribe(new Set([200]))
      yield* left.service.announce([route("10.0.0.1/32", "fd00::1")])
      yield* right.service.announce([route("10.0.0.2/32", "fd00::2")])
      yield* settle
      assert.deepStrictEqual(seen(right), one)
      yield* left.stop
      yield* settle
      assert.deepStrictEqual(seen(right), {})
    }),
  )
})

describe("a network that fails", () => {
  region(
    "a partition shorter than the keepalive time-out is not noticed",
    Effect.gen(function* () {
      const network = yield* MemoryNetwork
      const reflector = yield* startReflector(a)
      const left = yield* startHost("host-1", { reflectors: [a] })
      const right = yield* startHost("host-2", { reflectors: [a] })
      yield* right.service.subscribe(new Set([200]))
      yield* settle
      yield* network.partition({ to: a })
      yield* left.service.announce([route("10.0.0.1/32", "fd00::1")])
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(seen(right), {})
      yield* network.heal
      yield* settle
      assert.deepStrictEqual(seen(right), one)
      assert.strictEqual(reflector.service.machine.lastId, 2)
    }),
  )
  region(
    "a longer one ends sessions on both sides, and heals by itself",
    Effect.gen(function* () {
      const network = yield* MemoryNetwork
      const reflector = yield* startReflector(a)
      const left = yield* startHost("host-1", { reflectors: [a] })
      const right = yield* startHost("host-2", { reflectors: [a] })
      yield* right.service.subscribe(new Set([200]))
      yield* left.service.announce([route("10.0.0.1/32", "fd00::1")])
      yield* TestClock.adjust("20 seconds")
      yield* network.partition({ from: "host-1" })
      yield* TestClock.adjust("30 seconds")
      assert.notStrictEqual((yield* left.service.reflectors)[0]?.state, "Established")
      assert.strictEqual(reflector.service.machine.endings.get("KeepaliveTimeout"), 1)
      assert.deepStrictEqual(seen(right), one)
      yield* network.heal
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* left.service.reflectors)[0]?.state, "Established")
      yield* left.service.announce([])
      yield* settle
      assert.deepStrictEqual(seen(right), {})
    }),
  )
  region(
    "a client comes back within 5 seconds of a reflector's return, and at once after a reset",
    Effect.gen(function* () {
      const network = yield* MemoryNetwork
      const host = yield* startHost("host-1", { reflectors: [a] })
      yield* TestClock.adjust("10 minutes")
      const reflector = yield* startReflector(a)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* host.service.reflectors)[0]?.state, "Established")
      yield* TestClock.adjust("1 minute")
      yield* network.disconnect({ to: a })
      yield* TestClock.adjust(50)
      assert.strictEqual((yield* host.service.reflectors)[0]?.state, "Established")
      assert.strictEqual(reflector.service.machine.lastId, 2)
    }),
  )
})

describe("a peer that falls silent", () => {
  const peer = Effect.fnUntraced(function* (...intervals: ReadonlyArray<number>) {
    const network = yield* MemoryNetwork
    const connection = yield* network.transport("peer").connect(a)
    for (const keepaliveSeconds of intervals)
      connection.write(Message.encode(Message.hello({ keepaliveSeconds })))
    connection.write(Message.encode(Message.keepalive))
    return connection
  })
  region(
    "is cut off after 2.5 of its intervals, however long the ones before were",
    Effect.gen(function* () {
      const { service } = yield* startReflector(a, { keepaliveSeconds: 60 })
      yield* peer(1)
      yield* peer(60, 1)
      yield* TestClock.adjust(2_499)
      assert.strictEqual(service.machine.peers.size, 2)
      yield* TestClock.adjust(1)
      assert.strictEqual(service.machine.peers.size, 0)
      assert.deepStrictEqual([...service.machine.endings], [["KeepaliveTimeout", 2]])
    }),
  )
})

describe("updates", () => {
  region(
    "begin with the present table, are coalesced for a slow reader, and say when a VNI is level",
    Effect.gen(function* () {
      yield* startReflector(a)
      const left = yield* startHost("host-1", { reflectors: [a] })
      const right = yield* startHost("host-2", { reflectors: [a] })
      yield* right.service.subscribe(new Set([200]))
      yield* left.service.announce([route("10.0.0.1/32", "fd00::1")])
      yield* settle
      assert.deepStrictEqual([...right.dataplane.levels], [])
      const late = yield* right.service.updates.pipe(Stream.take(2), Stream.runCollect, Effect.forkChild)
      yield* TestClock.adjust("15 seconds")
      const [first, second] = yield* Fiber.join(late)
      assert.deepStrictEqual(first?.changes, yield* right.service.table(200))
      assert.deepStrictEqual(second, { changes: [], level: [200] })
      assert.deepStrictEqual([...right.dataplane.levels], [200])

      let taken = 0
      const slow = yield* right.service.updates.pipe(
        Stream.runForEach(() =>
          Effect.andThen(
            Effect.sleep(100),
            Effect.sync(() => taken++),
          ),
        ),
        Effect.forkChild,
      )
      for (let n = 0; n < 50; n++) {
        yield* left.service.announce([route("10.0.0.1/32", `fd00::${n + 2}`)])
        yield* TestClock.adjust(1)
      }
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(slow)
      assert.isAtMost(taken, 3)
      assert.deepStrictEqual(seen(right), { "10.0.0.1/32": "fd00::51" })
    }),
  )
  region(
    "leave out announcements that cannot be sent, and send the rest",
    Effect.gen(function* () {
      const reflector = yield* startReflector(a)
      const host = yield* startHost("host-1", { reflectors: [a] })
      yield* host.service.announce([route("10.0.0.1", "fd00::1"), route("10.0.0.2/32", "fd00::1")])
      yield* settle
      assert.strictEqual(reflector.service.machine.table.size, 1)
    }),
  )
})
