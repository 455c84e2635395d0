import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Result } from "effect"
import { TestClock } from "effect/testing"
import { RegionCommands } from "#protocol/gateway/RegionCommands.ts"
import { NodeEvents } from "#protocol/node/NodeEvents.ts"
import { decodeManifest } from "#protocol/resource/Decode.ts"
import type { Network } from "#protocol/resource/Network.ts"
import type { NetworkInterface } from "#protocol/resource/NetworkInterface.ts"
import { vniOf } from "#protocol/resource/ProviderId.ts"
import { ResourceStore } from "#protocol/store/ResourceStore.ts"
import * as RegionLive from "#runtime/region/RegionLive.ts"
import * as Store from "#runtime/store/Store.ts"

const region = (options: RegionLive.RegionOptions = {}) =>
  RegionLive.layer(options).pipe(Layer.provideMerge(Store.layerMemory()))

const manifest = (document: unknown) => {
  const decoded = decodeManifest(document)
  assert.isTrue(Result.isSuccess(decoded), JSON.stringify(decoded))
  return Result.getOrThrow(decoded)
}

const network = (name: string) =>
  manifest({ apiVersion: "networking.ironcore.dev/v1alpha1", kind: "Network", metadata: { name } })

const nic = (name: string, ip: string, of = "blue") =>
  manifest({
    apiVersion: "networking.ironcore.dev/v1alpha1",
    kind: "NetworkInterface",
    metadata: { name },
    spec: { networkRef: { name: of }, ipFamilies: ["IPv4"], ips: [{ value: ip }] },
  })

const always = { dryRun: false, commandId: undefined }

const settle = TestClock.adjust("20 millis")

const read = <A>(kind: string, name: string) =>
  Effect.gen(function* () {
    const store = yield* ResourceStore
    const namespace = kind === "Node" ? "" : "default"
    return Option.map(yield* store.get({ kind, namespace, name }), ({ value }) => value as A)
  })

const condition = (of: NetworkInterface | Network | undefined, type: string) =>
  of?.status?.conditions?.find((each) => each.type === type)

const hello = (node: string, n: number) => ({
  _tag: "Hello" as const,
  node,
  instance: `${node}-1`,
  revision: 0,
  underlayPrefix: `fd00:f:${n}::/64`,
  dataplane: "model" as const,
  version: "test",
  regionUid: "",
})

/** Runs an effect that needs the clock to move. */
const within = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    yield* settle
    return yield* Fiber.join(fiber)
  })

describe("a region's actors", () => {
  it.effect("a network gets the lowest free VNI, once", () =>
    Effect.gen(function* () {
      const commands = yield* RegionCommands
      const first = yield* within(commands.apply(network("blue"), always))
      assert.strictEqual(first.outcome, "Created")
      yield* within(commands.apply(network("red"), always))
      const again = yield* within(commands.apply(network("blue"), always))
      assert.strictEqual(again.outcome, "Unchanged")
      const vnis = [yield* read<Network>("Network", "blue"), yield* read<Network>("Network", "red")].map(
        (each) => vniOf(Option.getOrUndefined(each)?.spec.providerID),
      )
      assert.deepStrictEqual(vnis, [200, 201])
    }).pipe(Effect.provide(region())),
  )

  it.effect("an interface waits for its network, then for its node, and says so", () =>
    Effect.gen(function* () {
      const commands = yield* RegionCommands
      const events = yield* NodeEvents
      yield* within(commands.apply(nic("nic-a", "10.0.0.1"), always))
      const waiting = Option.getOrUndefined(yield* read<NetworkInterface>("NetworkInterface", "nic-a"))
      assert.strictEqual(condition(waiting, "NetworkReady")?.reason, "NetworkNotFound")
      yield* within(commands.apply(network("blue"), always))
      yield* within(commands.attach({ namespace: "default", name: "nic-a" }, "host-1", always))
      yield* settle
      const homeless = Option.getOrUndefined(yield* read<NetworkInterface>("NetworkInterface", "nic-a"))
      assert.strictEqual(condition(homeless, "NetworkReady")?.status, "True")
      assert.strictEqual(condition(homeless, "Attached")?.reason, "NodeNotFound")
      yield* within(events.hello("host-1", hello("host-1", 1)))
      yield* settle
      const store = yield* ResourceStore
      const { records } = yield* store.list({ kind: "HostInterface", namespace: "host-1" })
      assert.strictEqual(records.length, 1)
    }).pipe(Effect.provide(region())),
  )

  it.effect("two interfaces of one network never have one address", () =>
    Effect.gen(function* () {
      const commands = yield* RegionCommands
      yield* within(commands.apply(network("blue"), always))
      yield* within(commands.apply(nic("nic-a", "10.0.0.1"), always))
      yield* within(commands.apply(nic("nic-b", "10.0.0.1"), always))
      yield* settle
      const second = Option.getOrUndefined(yield* read<NetworkInterface>("NetworkInterface", "nic-b"))
      assert.strictEqual(condition(second, "AddressReady")?.reason, "AddressTaken")
      yield* within(
        commands.delete(
          { kind: "NetworkInterface", namespace: "default", name: "nic-a" },
          { commandId: undefined, uid: undefined },
        ),
      )
      yield* settle
      const heir = Option.getOrUndefined(yield* read<NetworkInterface>("NetworkInterface", "nic-b"))
      assert.strictEqual(condition(heir, "AddressReady")?.status, "True")
    }).pipe(Effect.provide(region())),
  )

  it.effect("a full pool is said, and the first VNI that is released goes to who waits", () =>
    Effect.gen(function* () {
      const commands = yield* RegionCommands
      yield* within(commands.apply(network("blue"), always))
      yield* within(commands.apply(network("red"), always))
      const red = Option.getOrUndefined(yield* read<Network>("Network", "red"))
      assert.strictEqual(condition(red, "Allocated")?.reason, "PoolExhausted")
      yield* within(
        commands.delete(
          { kind: "Network", namespace: "default", name: "blue" },
          { commandId: undefined, uid: undefined },
        ),
      )
      yield* settle
      const now = Option.getOrUndefined(yield* read<Network>("Network", "red"))
      assert.strictEqual(vniOf(now?.spec.providerID), 200)
    }).pipe(Effect.provide(region({ vniRange: { first: 200, last: 200 } }))),
  )

  it.effect("a network in use stays until its last interface is gone", () =>
    Effect.gen(function* () {
      const commands = yield* RegionCommands
      const remove = (kind: string, name: string) =>
        within(
          commands.delete({ kind, namespace: "default", name }, { commandId: undefined, uid: undefined }),
        )
      yield* within(commands.apply(network("blue"), always))
      yield* within(commands.apply(nic("nic-a", "10.0.0.1"), always))
      const held = yield* remove("Network", "blue")
      assert.isTrue(Option.isSome(held))
      assert.strictEqual(
        condition(Option.getOrUndefined(yield* read<Network>("Network", "blue")), "Deleting")?.reason,
        "InUse",
      )
      yield* remove("NetworkInterface", "nic-a")
      yield* settle
      assert.isTrue(Option.isNone(yield* read("Network", "blue")))
      const store = yield* ResourceStore
      assert.deepStrictEqual(yield* store.claims("vni"), [])
      assert.deepStrictEqual(yield* store.claims("ip/200"), [])
    }).pipe(Effect.provide(region())),
  )

  it.effect("a repeated command is answered, not repeated", () =>
    Effect.gen(function* () {
      const commands = yield* RegionCommands
      const store = yield* ResourceStore
      const options = { dryRun: false, commandId: "c-1" }
      const first = yield* within(commands.apply(network("blue"), options))
      const revision = yield* store.revision
      const second = yield* within(commands.apply(network("blue"), options))
      assert.deepStrictEqual([first.outcome, second.outcome], ["Created", "Created"])
      assert.strictEqual(yield* store.revision, revision)
    }).pipe(Effect.provide(region())),
  )

  it.effect("a command under the id of another is done, not answered with what that one did", () =>
    Effect.gen(function* () {
      const commands = yield* RegionCommands
      yield* within(commands.apply(network("blue"), { dryRun: false, commandId: "k" }))
      yield* within(
        commands.delete(
          { kind: "Network", namespace: "default", name: "blue" },
          { commandId: "k", uid: undefined },
        ),
      )
      yield* settle
      assert.isTrue(Option.isNone(yield* read("Network", "blue")))
    }).pipe(Effect.provide(region())),
  )
})
