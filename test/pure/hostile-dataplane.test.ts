// A dataplane that refuses, dies in the midst of a batch, answers nonsense or nothing at all, in a whole region under
// the test's clock. What it does to one interface is said there; the others, and what was acknowledged, stay.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Result } from "effect"
import { TestClock } from "effect/testing"
import { digestOf } from "#protocol/dataplane/digest.ts"
import { type Dataplane, DataplaneGone, type Operation, statusCodes } from "#protocol/dataplane/Dataplane.ts"
import { listInterfaces, listRoutes } from "#protocol/dataplane/model/control.ts"
import { Ids } from "#protocol/Ids.ts"
import { decodeManifest } from "#protocol/resource/Decode.ts"
import type { NetworkInterface } from "#protocol/resource/NetworkInterface.ts"
import * as ModelRegion from "#runtime/ModelRegion.ts"
import * as Store from "#runtime/store/Store.ts"

const apiVersion = "networking.ironcore.dev/v1alpha1"
const hosts = [1, 2].map((n) => ({ name: `host-${n}`, underlayPrefix: `fd00:f:${n}::/64` }))
const options = { commandId: undefined, dryRun: false, uid: undefined }
const settle = TestClock.adjust("50 millis")
const soon = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    yield* settle
    return yield* Fiber.join(fiber)
  })

const nicNames = ["nic-1", "nic-2", "nic-3", "nic-4", "nic-5", "nic-6"]
const addressOf = (name: string) => `10.0.0.${name.slice(4)}`
/** Odd ones on host-1, even ones on host-2. */
const hostOf = (name: string) => `host-${2 - (Number(name.slice(4)) % 2)}`

const makeRegion = Effect.gen(function* () {
  const region = yield* ModelRegion.make({ hosts, version: "test" })
  yield* settle
  const apply = Effect.fnUntraced(function* (document: unknown) {
    const commands = yield* region.commands
    return yield* soon(commands.apply(Result.getOrThrow(decodeManifest(document)), options))
  })
  const addNic = Effect.fnUntraced(function* (name: string) {
    const commands = yield* region.commands
    yield* apply({
      apiVersion,
      kind: "NetworkInterface",
      metadata: { name },
      spec: { networkRef: { name: "blue" }, ipFamilies: ["IPv4"], ips: [{ value: addressOf(name) }] },
    })
    yield* soon(commands.attach({ namespace: "default", name }, hostOf(name), options))
  })
  const removeNic = Effect.fnUntraced(function* (name: string) {
    const commands = yield* region.commands
    yield* soon(commands.delete({ kind: "NetworkInterface", namespace: "default", name }, options))
  })
  const read = (name: string) =>
    Effect.map(
      region.store.get({ kind: "NetworkInterface", namespace: "default", name }),
      (record) => Option.getOrThrow(record).value as NetworkInterface,
    )
  const condition = (name: string, type: string) =>
    Effect.map(read(name), ({ status }) => status?.conditions?.find((each) => each.type === type))
  const model = (name: string) => region.hosts.find((each) => each.name === name)!.model
  yield* apply({ apiVersion, kind: "Network", metadata: { name: "blue" } })
  return { ...region, addNic, removeNic, read, condition, model }
})
type Region = Effect.Success<typeof makeRegion>

/** Nothing acknowledged is lost, nothing leaks: store, claims and both dataplanes say the same. */
const checkInvariants = Effect.fnUntraced(function* (region: Region, wanted: ReadonlyArray<string>) {
  const nics = (yield* region.store.list({ kind: "NetworkInterface" })).records
  assert.deepStrictEqual(
    nics.map(({ key }) => key.name),
    [...wanted].sort(),
    "interfaces in the store",
  )
  for (const { key, value } of nics) {
    const { conditions = [], state } = (value as NetworkInterface).status ?? {}
    assert.strictEqual(state, "Available", `${key.name} ${JSON.stringify(conditions)}`)
    assert.deepStrictEqual(
      conditions.filter(({ status }) => status !== "True"),
      [],
      key.name,
    )
  }
  const uids = new Map(nics.map(({ key, uid }) => [key.name, uid]))
  const compiled = (yield* region.store.list({ kind: "HostInterface" })).records
  assert.deepStrictEqual(
    compiled.map(({ key }) => `${key.namespace} ${key.name}`).sort(),
    wanted.map((name) => `${hostOf(name)} ${uids.get(name)}`).sort(),
    "HostInterfaces",
  )
  assert.deepStrictEqual(
    (yield* region.store.claims("ip/200")).map(({ value }) => value).sort(),
    wanted.map(addressOf).sort(),
    "claims of addresses",
  )
  for (const { model, name } of region.hosts) {
    const state = yield* model.snapshot
    assert(state !== undefined, `${name} runs`)
    const [interfaces, routes] = [listInterfaces(state), listRoutes(state)]
    const here = wanted.filter((nic) => hostOf(nic) === name)
    assert.deepStrictEqual(
      interfaces.map(({ spec }) => spec.id).sort(),
      here.map((nic) => uids.get(nic)!).sort(),
      `interfaces of ${name}`,
    )
    const others = here.length === 0 ? [] : wanted.filter((nic) => hostOf(nic) !== name)
    assert.deepStrictEqual(
      routes.map(({ prefix }) => prefix).sort(),
      others.map((nic) => `${addressOf(nic)}/32`).sort(),
      `routes of ${name}`,
    )
    assert.strictEqual(
      digestOf(
        interfaces.map(({ spec }) => spec),
        routes,
      ),
      state.digest,
      `digest of ${name}`,
    )
  }
})

const test = (name: string, body: Effect.Effect<void, any, any>) =>
  it.effect(
    name,
    () => body.pipe(Effect.provide(Layer.merge(Ids.layer, Store.layerMemory()))) as Effect.Effect<void>,
  )

const isCreate = (operation: Operation) => operation._tag === "CreateInterface"

describe("a dataplane that refuses", () => {
  test(
    "an interface is heard: its reason is on that interface, holds up no other, and is asked again",
    Effect.gen(function* () {
      const region = yield* makeRegion
      yield* region.addNic("nic-1")
      yield* region.addNic("nic-2")
      const refused = (operation: Operation) =>
        operation._tag === "CreateInterface" && operation.spec.ipv4 === addressOf("nic-3")
      for (const [code, reason] of [
        [statusCodes.OUT_OF_MEMORY, "OutOfMemory"],
        [statusCodes.PORT_START, "PortStart"],
        [999_999, "DataplaneRefused"],
      ] as const) {
        yield* region.model("host-1").refuse((operation) => (refused(operation) ? code : undefined))
        yield* region.addNic("nic-3")
        yield* region.addNic("nic-5")
        yield* TestClock.adjust("2 seconds")
        const realised = yield* region.condition("nic-3", "Realised")
        assert.strictEqual(realised?.status, "False")
        assert.strictEqual(realised?.reason, reason)
        assert.match(realised?.message ?? "", /the dataplane refused to create the interface/)
        assert.strictEqual((yield* region.read("nic-3")).status?.state, "Error")
        assert.strictEqual(
          (yield* region.read("nic-5")).status?.state,
          "Available",
          "the next one is not held up",
        )
        assert.strictEqual((yield* region.read("nic-1")).status?.state, "Available", "nor the one before")
        yield* region.model("host-1").refuse(undefined)
        yield* TestClock.adjust("60 seconds")
        yield* checkInvariants(region, ["nic-1", "nic-2", "nic-3", "nic-5"])
        yield* region.removeNic("nic-3")
        yield* region.removeNic("nic-5")
        yield* TestClock.adjust("5 seconds")
        yield* checkInvariants(region, ["nic-1", "nic-2"])
      }
    }),
  )

  test(
    "a deletion keeps the interface and its address until it gives in",
    Effect.gen(function* () {
      const region = yield* makeRegion
      for (const name of ["nic-1", "nic-2"]) yield* region.addNic(name)
      yield* region
        .model("host-1")
        .refuse(({ _tag }) => (_tag === "DeleteInterface" ? statusCodes.PORT_START : undefined))
      yield* region.removeNic("nic-1")
      yield* TestClock.adjust("20 seconds")
      const going = yield* region.read("nic-1")
      assert.isDefined(going.metadata.deletionTimestamp)
      assert.include(
        (yield* region.store.claims("ip/200")).map(({ value }) => value),
        addressOf("nic-1"),
        "nobody else may have the address yet",
      )
      yield* region.model("host-1").refuse(undefined)
      yield* TestClock.adjust("60 seconds")
      yield* checkInvariants(region, ["nic-2"])
    }),
  )

  test(
    "routes leaves its interfaces realised, says which host is not programmed, and catches up",
    Effect.gen(function* () {
      const region = yield* makeRegion
      yield* region.addNic("nic-2")
      yield* region
        .model("host-2")
        .refuse(({ _tag }) => (_tag === "PutRoute" ? statusCodes.ROUTE_INSERT : undefined))
      yield* region.addNic("nic-1")
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* region.condition("nic-1", "Realised"))?.status, "True")
      const programmed = yield* region.condition("nic-1", "Programmed")
      assert.strictEqual(programmed?.status, "False")
      assert.include(programmed?.message ?? "", "host-2")
      yield* region.model("host-2").refuse(undefined)
      yield* TestClock.adjust("60 seconds")
      yield* checkInvariants(region, ["nic-1", "nic-2"])
    }),
  )
})

describe("a dataplane that dies", () => {
  test(
    "at any operation of its batches is brought to where it should be by the next ones",
    Effect.gen(function* () {
      const region = yield* makeRegion
      for (const name of nicNames.slice(0, 4)) yield* region.addNic(name)
      for (let after = 0; after < 8; after++) {
        const model = region.model(after % 2 === 0 ? "host-1" : "host-2")
        yield* model.crashAfter(after)
        yield* region.addNic("nic-5")
        yield* region.addNic("nic-6")
        yield* region.removeNic("nic-1")
        yield* TestClock.adjust("5 seconds")
        if ((yield* model.snapshot) === undefined) {
          yield* model.restart
        } else yield* model.crashAfter(Number.POSITIVE_INFINITY)
        yield* TestClock.adjust("30 seconds")
        yield* checkInvariants(region, nicNames.slice(1))
        yield* region.removeNic("nic-5")
        yield* region.removeNic("nic-6")
        yield* region.addNic("nic-1")
        yield* TestClock.adjust("10 seconds")
        yield* checkInvariants(region, nicNames.slice(0, 4))
      }
    }),
  )

  test(
    "is forgiven a short absence, and said on its interfaces after a long one",
    Effect.gen(function* () {
      const region = yield* makeRegion
      for (const name of nicNames.slice(0, 2)) yield* region.addNic(name)
      yield* region.model("host-1").crash
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* region.condition("nic-1", "Realised"))?.status, "True")
      yield* TestClock.adjust("15 seconds")
      const realised = yield* region.condition("nic-1", "Realised")
      assert.strictEqual(realised?.status, "False")
      assert.strictEqual(realised?.reason, "DataplaneUnavailable")
      assert.strictEqual((yield* region.read("nic-2")).status?.state, "Available")
      yield* region.model("host-1").restart
      yield* TestClock.adjust("10 seconds")
      yield* checkInvariants(region, nicNames.slice(0, 2))
    }),
  )

  test(
    "again and again while interfaces come and go, with its agent dying as well, ends where it should",
    Effect.gen(function* () {
      const region = yield* makeRegion
      for (const name of nicNames.slice(0, 4)) yield* region.addNic(name)
      for (let round = 0; round < 6; round++) {
        const host = region.hosts[round % 2]!
        yield* host.model.crashAfter(round)
        yield* region.addNic("nic-5")
        yield* host.model.restart
        yield* TestClock.adjust("100 millis")
        yield* host.agent.stop
        yield* region.removeNic("nic-2")
        yield* host.model.restart
        yield* host.agent.start
        yield* TestClock.adjust("100 millis")
        yield* host.model.crash
        yield* region.removeNic("nic-5")
        yield* TestClock.adjust("1 second")
        yield* host.model.crashAfter(Number.POSITIVE_INFINITY)
        yield* host.model.restart
        yield* TestClock.adjust("40 seconds")
        yield* checkInvariants(region, ["nic-1", "nic-3", "nic-4"])
        yield* region.addNic("nic-2")
        yield* TestClock.adjust("5 seconds")
      }
    }),
  )

  test(
    "with its interfaces being deleted leaves nothing behind once it is back",
    Effect.gen(function* () {
      const region = yield* makeRegion
      for (const name of nicNames) yield* region.addNic(name)
      yield* region.model("host-1").crash
      for (const name of ["nic-1", "nic-3", "nic-5"]) yield* region.removeNic(name)
      yield* TestClock.adjust("5 seconds")
      yield* region.model("host-1").restart
      yield* TestClock.adjust("30 seconds")
      yield* checkInvariants(region, ["nic-2", "nic-4", "nic-6"])
    }),
  )
})

/** Lets one host's next agent speak with a dataplane that is not quite itself. */
const corrupt = Effect.fnUntraced(function* (
  region: Region,
  name: string,
  make: (honest: Dataplane["Service"]) => Dataplane["Service"],
) {
  const host = region.hosts.find((each) => each.name === name)!
  const honest = host.model.session
  const writable = host.model as { session: () => Dataplane["Service"] }
  writable.session = () => make(honest())
  yield* host.agent.start
  return Effect.sync(() => {
    writable.session = honest
  })
})

describe("a dataplane that lies", () => {
  for (const [what, lie] of [
    [
      "answers fewer results than operations",
      (honest) => ({ apply: (batch) => Effect.map(honest.apply(batch), (all) => all.slice(1)) }),
    ],
    [
      "answers more results than operations",
      (honest) => ({
        apply: (batch) => Effect.map(honest.apply(batch), (all) => [...all, { code: 0, message: "" }]),
      }),
    ],
    [
      "says that it created what it did not describe",
      (honest) => ({
        apply: (batch) =>
          Effect.map(honest.apply(batch), (all) => all.map(({ code, message }) => ({ code, message }))),
      }),
    ],
    [
      "takes a batch and is gone",
      (honest) => ({
        apply: (batch) =>
          Effect.andThen(honest.apply(batch), Effect.fail(new DataplaneGone({ reason: "gone" }))),
      }),
    ],
    [
      "has another digest than its listing",
      (honest) => ({
        state: Effect.map(honest.state, (state) => ({ ...state, digest: "0".repeat(16) as never })),
      }),
    ],
    [
      "is never the same process twice",
      (honest) => {
        let count = 0
        return {
          listAll: Effect.map(honest.listAll, (all) => ({
            ...all,
            state: { ...all.state, uuid: `uuid-${++count}` },
          })),
        }
      },
    ],
    [
      "refuses with a code and no words",
      () => ({ apply: (batch) => Effect.succeed(batch.map(() => ({ code: 205, message: "" }))) }),
    ],
  ] as ReadonlyArray<readonly [string, (honest: Dataplane["Service"]) => Partial<Dataplane["Service"]>]>) {
    test(
      `and ${what} harms its own host only, without a busy loop, and what is true counts when it is honest again`,
      Effect.gen(function* () {
        const region = yield* makeRegion
        for (const name of ["nic-1", "nic-2"]) yield* region.addNic(name)
        let calls = 0
        const heal = yield* corrupt(region, "host-1", (honest) => {
          const { apply, listAll, ...rest } = { ...honest, ...lie(honest) }
          const counted = <A, E>(effect: Effect.Effect<A, E>) =>
            Effect.suspend(() => {
              if (++calls > 5_000) return Effect.die(new Error("a busy loop"))
              return effect
            })
          return { ...rest, apply: (batch) => counted(apply(batch)), listAll: counted(listAll) }
        })
        yield* region.addNic("nic-3")
        yield* region.addNic("nic-4")
        yield* TestClock.adjust("20 seconds")
        assert.isBelow(calls, 1_000, "calls in 20 s")
        assert.strictEqual(
          (yield* region.condition("nic-4", "Realised"))?.status,
          "True",
          "the other host goes on",
        )
        yield* region.removeNic("nic-1")
        yield* TestClock.adjust("5 seconds")
        yield* heal
        yield* region.hosts[0]!.agent.start
        yield* TestClock.adjust("60 seconds")
        yield* checkInvariants(region, ["nic-2", "nic-3", "nic-4"])
      }),
    )
  }

  test(
    "by silence leaves the other host alone, is told on its interfaces, and is forgiven",
    Effect.gen(function* () {
      const region = yield* makeRegion
      for (const name of ["nic-1", "nic-2"]) yield* region.addNic(name)
      // As the native layer does with one that hangs: each call ends with its deadline.
      const hang = Effect.andThen(
        Effect.sleep("5 seconds"),
        Effect.fail(new DataplaneGone({ reason: "not answered" })),
      )
      const heal = yield* corrupt(region, "host-1", (honest) => ({
        ...honest,
        apply: (batch) => (batch.some(isCreate) ? hang : honest.apply(batch)),
        state: hang,
      }))
      yield* region.addNic("nic-3")
      yield* region.addNic("nic-4")
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual((yield* region.condition("nic-4", "Realised"))?.status, "True")
      const waiting = yield* region.condition("nic-3", "Realised")
      assert.strictEqual(waiting?.status, "False")
      assert.match(`${waiting?.reason} ${waiting?.message}`, /Dataplane/)
      yield* heal
      yield* region.hosts[0]!.agent.start
      yield* TestClock.adjust("30 seconds")
      yield* checkInvariants(region, ["nic-1", "nic-2", "nic-3", "nic-4"])
    }),
  )
})
