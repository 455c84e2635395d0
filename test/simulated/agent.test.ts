import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { defaultDevice } from "#actors/host/InterfaceIdentity.ts"
import { statusCodes } from "#protocol/dataplane/Dataplane.ts"
import { emptyMemory } from "#runtime/node/Journal.ts"
import { makeRegion, nic, settle, uidOf } from "./agent-region.ts"

/** Two hypervisors with one interface each, in one network, and all at rest. */
const twoHosts = Effect.gen(function* () {
  const region = yield* makeRegion()
  const a = yield* region.hypervisor(1)
  const b = yield* region.hypervisor(2)
  yield* a.agent.start
  yield* b.agent.start
  yield* settle
  yield* region.put(a, nic(1))
  yield* region.put(b, nic(2))
  // A reflector that has just started says only after 15 seconds that it knows all.
  yield* TestClock.adjust("20 seconds")
  region.told.lines.length = 0
  a.operations()
  b.operations()
  return { region, a, b }
})

describe("an agent", () => {
  it.effect("makes an interface, announces it, and every host of the network routes to it, in no time", () =>
    Effect.gen(function* () {
      const { a, b, region } = yield* twoHosts
      assert.deepStrictEqual(yield* a.interfaces, [uidOf(1)])
      yield* region.put(a, nic(3, { ipv6: "fd01::3" }))
      yield* settle
      assert.deepStrictEqual(yield* a.interfaces, [uidOf(1), uidOf(3)])
      const routes = (yield* b.routes).map((route) => route.split(" ")[1])
      assert.deepStrictEqual(routes, ["10.0.0.1/32", "10.0.0.3/32", "fd01::3/128"])
      assert.deepStrictEqual(region.told.lines, ["host-1 3 Realised"])
      assert.sameMembers(
        region.told.routes.flatMap(({ entries }) => entries.map(({ prefix }) => prefix)),
        ["10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32", "fd01::3/128"],
        "each route was told once",
      )
    }),
  )

  it.effect("does not start as a node that can't be", () =>
    Effect.gen(function* () {
      const region = yield* makeRegion()
      const host = yield* region.hypervisor(0x1_0000)
      const exit = yield* Effect.exit(host.agent.start)
      assert.match(JSON.stringify(exit), /AgentMisconfigured.*IPv6 \/64.*underlayPrefix/)
    }),
  )

  it.effect("takes an interface down, and its routes go everywhere", () =>
    Effect.gen(function* () {
      const { a, b, region } = yield* twoHosts
      yield* region.remove(a, 1)
      yield* settle
      assert.deepStrictEqual(yield* a.interfaces, [])
      assert.deepStrictEqual(yield* a.routes, [], "no interface of the network is left here")
      assert.deepStrictEqual(yield* b.routes, [])
      assert.deepStrictEqual(region.told.lines, ["host-1 1 Removed"])
      assert.deepStrictEqual(a.journal.removed.size, 1)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(a.journal.removed.size, 0, "a lease came after the report")
      assert.strictEqual(region.told.settled.get("host-1"), yield* region.store.revision)
    }),
  )

  it.effect("restarts without disturbing its dataplane, and resumes from its journal by the difference", () =>
    Effect.gen(function* () {
      const { a, b, region } = yield* twoHosts
      const routesOfB = yield* b.routes
      const routesOfA = yield* a.routes
      yield* a.agent.kill
      yield* TestClock.adjust("3 seconds")
      yield* region.put(a, nic(3))
      yield* a.agent.start
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(a.operations(), 1, "one interface was new")
      assert.deepStrictEqual(yield* a.routes, routesOfA)
      assert.includeMembers([...(yield* b.routes)], [...routesOfB])
      assert.strictEqual(b.operations(), 1, "and one route")
      assert.deepStrictEqual(region.told.lines, ["host-1 hello 2", "host-1 1 Realised", "host-1 3 Realised"])
    }),
  )

  it.effect("comes back from its journal with no controller, onto an empty dataplane", () =>
    Effect.gen(function* () {
      const { a, b, region } = yield* twoHosts
      yield* region.killController
      yield* a.agent.kill
      yield* a.model.restart
      assert.deepStrictEqual(yield* a.interfaces, [])
      yield* a.agent.start
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* a.interfaces, [uidOf(1)])
      assert.strictEqual((yield* a.routes).length, 1)
      const [route] = yield* b.routes
      const other = a.model.session()
      yield* other.connect
      const [state] = (yield* other.listAll).interfaces
      assert.strictEqual(
        route,
        `200 10.0.0.1/32 ${state!.underlayAddress}`,
        "its new underlay address is known",
      )
      assert.isFalse((yield* a.agent.current().status).controller.connected)
    }),
  )

  it.effect("keeps the host as it is for as long as there is no controller", () =>
    Effect.gen(function* () {
      const { a, b, region } = yield* twoHosts
      yield* region.killController
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual([a.operations(), b.operations()], [0, 0])
      assert.deepStrictEqual(yield* a.interfaces, [uidOf(1)])
      yield* region.put(a, nic(3))
      yield* region.remove(a, 1)
      yield* region.startController
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* a.interfaces, [uidOf(3)])
      assert.include(region.told.lines, "host-1 hello 2", "it resumed, it did not start over")
    }),
  )

  it.effect(
    "without its journal leaves everything as it finds it until it has caught up, then removes orphans",
    () =>
      Effect.gen(function* () {
        const { a, b, region } = yield* twoHosts
        yield* region.put(a, nic(3))
        yield* TestClock.adjust("1 second")
        const routesOfB = yield* b.routes
        yield* a.agent.kill
        a.journal = emptyMemory()
        a.reachable = false
        yield* region.remove(a, 3)
        a.operations()
        b.operations()
        yield* a.agent.start
        yield* TestClock.adjust("10 minutes")
        assert.deepStrictEqual(yield* a.interfaces, [uidOf(1), uidOf(3)])
        assert.deepStrictEqual(yield* b.routes, routesOfB, "it announces what it found")
        assert.deepStrictEqual([a.operations(), b.operations()], [0, 0])
        a.reachable = true
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* a.interfaces, [uidOf(1)])
        assert.include(region.told.lines, "host-1 3 Removed")
      }),
  )

  it.effect("replays everything onto a dataplane that restarted, and tells its new addresses", () =>
    Effect.gen(function* () {
      const { a, b, region } = yield* twoHosts
      const before = yield* b.routes
      yield* a.model.restart
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* a.interfaces, [uidOf(1)])
      assert.strictEqual((yield* a.routes).length, 1)
      assert.notDeepEqual(yield* b.routes, before)
      assert.strictEqual(b.operations(), 1, "one route was replaced, none removed")
      assert.deepStrictEqual(region.told.lines, ["host-1 1 Realised"])
    }),
  )

  it.effect("finishes a batch in which its dataplane died", () =>
    Effect.gen(function* () {
      const { a, b, region } = yield* twoHosts
      yield* a.model.crashAfter(3)
      for (let n = 3; n < 13; n++) yield* region.put(a, nic(n))
      yield* settle
      assert.deepStrictEqual(yield* a.interfaces, [])
      yield* TestClock.adjust("1 second")
      assert.isFalse((yield* a.agent.current().status).dataplane.connected)
      yield* a.model.restart
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* a.interfaces).length, 11)
      assert.strictEqual((yield* b.routes).length, 11)
      assert.strictEqual((yield* a.agent.current().status).interfaces.realised, 11)
    }),
  )

  it.effect("reports a refused interface with its reason, asks again, and holds up no other", () =>
    Effect.gen(function* () {
      const { a, region } = yield* twoHosts
      yield* a.model.refuse((operation) =>
        operation._tag === "CreateInterface" && operation.spec.device === defaultDevice(uidOf(3))
          ? statusCodes.PORT_START
          : undefined,
      )
      yield* region.put(a, nic(3))
      yield* region.put(a, nic(4))
      yield* settle
      assert.deepStrictEqual(region.told.lines, ["host-1 3 Failed", "host-1 4 Realised"])
      assert.include(region.told.interfaces.get(uidOf(3)), { reason: "PortStart" })
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(region.told.lines.length, 2, "told once")
      yield* a.model.refuse(undefined)
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(yield* a.interfaces, [uidOf(1), uidOf(3), uidOf(4)])
      assert.strictEqual(region.told.lines.at(-1), "host-1 3 Realised")
    }),
  )

  it.effect("a controller that comes and goes costs the dataplane nothing", () =>
    Effect.gen(function* () {
      const { a, b, region } = yield* twoHosts
      for (let n = 3; n < 8; n++) {
        yield* region.killController
        yield* region.put(a, nic(n))
        yield* TestClock.adjust(`${n} seconds`)
        yield* region.startController
        yield* TestClock.adjust("10 seconds")
      }
      assert.strictEqual(a.operations(), 5, "one interface each time")
      assert.strictEqual((yield* b.routes).length, 6)
      assert.strictEqual((yield* a.agent.current().status).revision, yield* region.store.revision)
    }),
  )

  it.effect("tells a new controller everything that it knows", () =>
    Effect.gen(function* () {
      const { region } = yield* twoHosts
      yield* region.killController
      region.told.interfaces.clear()
      region.told.routes.length = 0
      yield* region.startController
      yield* TestClock.adjust("10 seconds")
      assert.sameMembers([...region.told.interfaces.keys()], [uidOf(1), uidOf(2)])
      assert.sameDeepMembers(
        region.told.routes.map(({ entries, full }) => ({
          full,
          prefixes: entries.map(({ prefix }) => prefix),
        })),
        [
          { full: true, prefixes: ["10.0.0.2/32"] },
          { full: true, prefixes: ["10.0.0.1/32"] },
        ],
      )
      assert.strictEqual(region.told.settled.get("host-1"), 2)
    }),
  )

  it.effect("gives up what another region asked for, and only once the new one has said all", () =>
    Effect.gen(function* () {
      const { a, region } = yield* twoHosts
      yield* a.agent.kill
      a.journal.regionUid = "another region"
      a.journal.interfaces.set(uidOf(9), nic(9))
      a.reachable = false
      yield* a.agent.start
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* a.interfaces, [uidOf(1), uidOf(9)])
      a.reachable = true
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* a.interfaces, [uidOf(1)])
      assert.deepStrictEqual([...a.journal.interfaces.keys()], [uidOf(1)])
      assert.strictEqual(a.journal.regionUid, region.store.regionUid)
    }),
  )

  it.effect("the loss of a reflector, or of all, changes nothing in the dataplane", () =>
    Effect.gen(function* () {
      const { a, b, region } = yield* twoHosts
      const routes = yield* b.routes
      yield* region.reflectors[0]!.kill
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* b.routes, routes)
      yield* region.reflectors[1]!.kill
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* b.routes, routes)
      yield* region.reflectors[1]!.start
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* b.routes, routes)
      assert.deepStrictEqual([a.operations(), b.operations()], [0, 0])
    }),
  )

  it.effect("restarted while no reflector is there, it keeps the routes that it finds", () =>
    Effect.gen(function* () {
      const { a, b, region } = yield* twoHosts
      const routes = yield* b.routes
      yield* b.agent.kill
      yield* Effect.forEach(region.reflectors, ({ kill }) => kill)
      yield* b.agent.start
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(yield* b.routes, routes)
      yield* region.remove(a, 1)
      yield* Effect.forEach(region.reflectors, ({ start }) => start)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* b.routes, [], "whoever would know has said that it is gone")
    }),
  )

  it.effect("puts right what somebody else changed in the dataplane", () =>
    Effect.gen(function* () {
      const { a } = yield* twoHosts
      const routes = yield* a.routes
      const other = a.model.session()
      yield* other.connect
      yield* other.apply([
        { _tag: "DeleteRoute", vni: 200, prefix: "10.0.0.2/32" },
        {
          _tag: "PutRoute",
          route: { vni: 200, prefix: "10.9.0.0/16", nextHop: "fd00:f:9::1", nextHopVni: 200 },
        },
      ])
      assert.notDeepEqual(yield* a.routes, routes)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* a.routes, routes)
    }),
  )

  it.effect("an interface that moves to another host is reached there", () =>
    Effect.gen(function* () {
      const { a, b, region } = yield* twoHosts
      yield* region.put(a, nic(5))
      yield* region.put(a, nic(6))
      yield* settle
      yield* region.remove(a, 5)
      yield* region.put(b, nic(5))
      yield* TestClock.adjust("1 second")
      assert.isTrue((yield* a.routes).some((route) => route.startsWith("200 10.0.0.5/32 fd00:f:2:")))
      assert.isFalse((yield* b.routes).some((route) => route.startsWith("200 10.0.0.5/32")))
    }),
  )

  it.effect("tells of a thousand interfaces and routes without losing its lease", () =>
    Effect.gen(function* () {
      const { a, b, region } = yield* twoHosts
      for (let n = 10; n < 1010; n++) {
        yield* region.put(a, nic(n, { ipv4: `10.1.${n >> 8}.${n & 255}` }))
      }
      yield* TestClock.adjust("20 seconds")
      const status = yield* a.agent.current().status
      assert.strictEqual(status.interfaces.realised, 1001)
      assert.strictEqual((yield* b.agent.current().status).routes, 1001)
      assert.strictEqual(region.told.lines.filter((line) => line.endsWith("Realised")).length, 1000)
      // Everything once more, after a break.
      yield* region.killController
      region.told.interfaces.clear()
      region.told.routes.length = 0
      yield* region.startController
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(region.told.interfaces.size, 1002)
      assert.strictEqual(
        region.told.routes.reduce((sum, { entries }) => sum + entries.length, 0),
        1002,
      )
      assert.notInclude(region.told.lines, "host-1 lost")
    }),
  )

  it.effect("networks with the same addresses do not meet", () =>
    Effect.gen(function* () {
      const { a, b, region } = yield* twoHosts
      yield* region.put(a, nic(5, { vni: 300, ipv4: "10.0.0.2" }))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(
        (yield* a.routes).map((route) => route.slice(0, 15)),
        ["200 10.0.0.2/32"],
      )
      assert.deepStrictEqual(
        (yield* b.routes).map((route) => route.slice(0, 15)),
        ["200 10.0.0.1/32"],
      )
    }),
  )
})
