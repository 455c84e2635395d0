import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Result } from "effect"
import { TestClock } from "effect/testing"
import { Ids } from "#protocol/Ids.ts"
import { decodeManifest } from "#protocol/resource/Decode.ts"
import type { NetworkInterface } from "#protocol/resource/NetworkInterface.ts"
import type { Node } from "#protocol/resource/Node.ts"
import { plug } from "#runtime/dataplane/ModelVm.ts"
import * as ModelRegion from "#runtime/ModelRegion.ts"
import * as Store from "#runtime/store/Store.ts"

const group = "networking.ironcore.dev/v1alpha1"
const network = (name: string) => ({ apiVersion: group, kind: "Network", metadata: { name } })
const nic = (name: string, of: string, ...ips: ReadonlyArray<string>) => ({
  apiVersion: group,
  kind: "NetworkInterface",
  metadata: { name },
  spec: {
    networkRef: { name: of },
    ipFamilies: ips.map((ip) => (ip.includes(":") ? "IPv6" : "IPv4")),
    ips: ips.map((value) => ({ value })),
  },
})

const hosts = [1, 2].map((n) => ({ name: `host-${n}`, underlayPrefix: `fd00:f:${n}::/64` }))

/** The manifests of first light: three interfaces of blue, one of red with an address of blue. */
const manifests = [
  network("blue"),
  network("red"),
  nic("nic-a", "blue", "10.0.0.1", "fd01::1"),
  nic("nic-b", "blue", "10.0.0.2", "fd01::2"),
  nic("nic-c", "blue", "10.0.0.3", "fd01::3"),
  nic("nic-d", "red", "10.0.0.1", "fd01::1"),
]
const places = { "nic-a": "host-1", "nic-b": "host-1", "nic-c": "host-2", "nic-d": "host-2" } as const
type Name = keyof typeof places

const settle = TestClock.adjust("50 millis")
const options = { commandId: undefined, dryRun: false, uid: undefined }

const soon = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    yield* settle
    return yield* Fiber.join(fiber)
  })

const light = Effect.fnUntraced(function* (reflectors = 1) {
  const region = yield* ModelRegion.make({ hosts, reflectors, version: "test" })
  yield* settle
  const apply = Effect.fnUntraced(function* (document: unknown) {
    const commands = yield* region.commands
    return yield* soon(commands.apply(Result.getOrThrow(decodeManifest(document)), options))
  })
  const attach = Effect.fnUntraced(function* (name: string, node: string) {
    const commands = yield* region.commands
    return yield* soon(commands.attach({ namespace: "default", name }, node, options))
  })
  const remove = Effect.fnUntraced(function* (kind: string, name: string) {
    const commands = yield* region.commands
    return yield* soon(commands.delete({ kind, namespace: "default", name }, options))
  })
  const find = (kind: string, name: string) =>
    region.store.get({ kind, namespace: kind === "Node" ? "" : "default", name })
  const read = (name: string) =>
    Effect.map(
      find("NetworkInterface", name),
      (record) => Option.getOrThrow(record).value as NetworkInterface,
    )
  const host = (name: string) => region.hosts.find((each) => each.name === name)!
  const vm = Effect.fnUntraced(function* (name: Name) {
    const { status } = yield* read(name)
    const plugged = yield* plug(
      host(places[name]).model,
      `vtap:${status?.attachment?.device}`,
      `02:00:00:00:00:0${name.charCodeAt(4) - 96}`,
    )
    const leased = yield* plugged.configure
    return { ...plugged, leased }
  })
  return { ...region, apply, attach, remove, read, find, host, vm }
})

/** First light, up: everything applied, attached and plugged in. */
const lit = Effect.fnUntraced(function* (reflectors = 1) {
  const region = yield* light(reflectors)
  for (const manifest of manifests) yield* region.apply(manifest)
  for (const [name, node] of Object.entries(places)) yield* region.attach(name, node)
  yield* settle
  const vms = {
    a: yield* region.vm("nic-a"),
    b: yield* region.vm("nic-b"),
    c: yield* region.vm("nic-c"),
    d: yield* region.vm("nic-d"),
  }
  return { ...region, vms }
})

const provided = <A, E>(effect: Effect.Effect<A, E, any>) =>
  effect.pipe(Effect.provide(Layer.merge(Ids.layer, Store.layerMemory()))) as Effect.Effect<A, E>

const conditionsOf = (nic: NetworkInterface) =>
  Object.fromEntries((nic.status?.conditions ?? []).map(({ type, status }) => [type, status]))

describe("first light, simulated", () => {
  it.effect("what was applied becomes available, programmed and reachable, and nothing else does", () =>
    provided(
      Effect.gen(function* () {
        const { read, vms } = yield* lit()
        for (const name of Object.keys(places)) {
          const nic = yield* read(name)
          assert.strictEqual(nic.status?.state, "Available", name)
          assert.deepStrictEqual(
            conditionsOf(nic),
            {
              NetworkReady: "True",
              AddressReady: "True",
              Attached: "True",
              Realised: "True",
              Programmed: "True",
            },
            name,
          )
        }
        assert.deepStrictEqual(vms.a.leased, { ipv4: "10.0.0.1", ipv6: "fd01::1" })
        assert.isTrue(yield* vms.a.ping("10.0.0.2"), "same host")
        assert.isTrue(yield* vms.a.ping("10.0.0.3"), "across hosts")
        assert.isTrue(yield* vms.c.ping("fd01::1"), "IPv6 across hosts")
        assert.isTrue(yield* vms.b.ping("10.0.0.1"))
        yield* vms.d.events
        assert.isFalse(yield* vms.d.ping("10.0.0.2"), "red does not reach blue")
        assert.isTrue(yield* vms.c.ping("10.0.0.1"), "blue's 10.0.0.1, not red's on the same host")
        assert.deepStrictEqual(yield* vms.d.events, [], "red's VM saw nothing of it")
        yield* vms.c.listen(80)
        assert.isTrue(yield* vms.a.transfer("10.0.0.3", 80, new Uint8Array(100_000).fill(7)))
      }),
    ),
  )

  it.effect("deleting in any order leaves nothing behind", () =>
    provided(
      Effect.gen(function* () {
        const { hosts, remove, store } = yield* lit()
        yield* remove("Network", "blue")
        for (const name of ["nic-c", "nic-a", "nic-d", "nic-b"]) yield* remove("NetworkInterface", name)
        yield* TestClock.adjust("5 seconds")
        yield* remove("Network", "red")
        yield* settle
        for (const kind of ["Network", "NetworkInterface", "HostInterface"]) {
          assert.deepStrictEqual(
            (yield* store.list({ kind })).records.map(({ key }) => key.name),
            [],
            kind,
          )
        }
        for (const pool of ["vni", "ip/200", "ip/201"])
          assert.deepStrictEqual(yield* store.claims(pool), [], pool)
        for (const { model } of hosts) {
          const listing = yield* Effect.orDie(
            Effect.gen(function* () {
              const session = model.session()
              yield* session.connect
              return yield* session.listAll
            }),
          )
          assert.deepStrictEqual([listing.interfaces, listing.routes], [[], []])
        }
      }),
    ),
  )

  it.effect("a detached interface is gone from its host and comes up on another with its address", () =>
    provided(
      Effect.gen(function* () {
        const region = yield* lit()
        const commands = yield* region.commands
        yield* soon(commands.detach({ namespace: "default", name: "nic-a" }, options))
        yield* TestClock.adjust("5 seconds")
        assert.isFalse(yield* region.vms.c.ping("10.0.0.1"))
        yield* region.attach("nic-a", "host-2")
        yield* settle
        const { status } = yield* region.read("nic-a")
        assert.strictEqual(status?.attachment?.node, "host-2")
        const moved = yield* plug(
          region.host("host-2").model,
          `vtap:${status?.attachment?.device}`,
          "02:00:00:00:00:0a",
        )
        yield* moved.configure
        assert.isTrue(yield* region.vms.b.ping("10.0.0.1"), "from its old host")
        assert.isTrue(yield* region.vms.c.ping("10.0.0.1"), "on its new host")
      }),
    ),
  )

  it.effect("restarting an agent, the controller or the reflector disturbs no packet", () =>
    provided(
      Effect.gen(function* () {
        const { controller, hosts, read, reflectors, vms } = yield* lit()
        const flows = Effect.fnUntraced(function* (when: string) {
          assert.isTrue(yield* vms.a.ping("10.0.0.3"), when)
          assert.isTrue(yield* vms.c.ping("fd01::2"), when)
        })
        for (const [name, process] of [
          ["agent", hosts[1]!.agent],
          ["controller", controller],
          ["reflector", reflectors[0]!],
        ] as const) {
          yield* process.stop
          for (let second = 0; second < 5; second++) {
            yield* TestClock.adjust("1 second")
            yield* flows(`${name} away for ${second + 1} s`)
          }
          yield* process.start
          for (let second = 0; second < 10; second++) {
            yield* TestClock.adjust("1 second")
            yield* flows(`${name} back for ${second + 1} s`)
          }
          assert.deepStrictEqual(
            (yield* read("nic-c")).status?.conditions?.filter(({ status }) => status !== "True"),
            [],
            name,
          )
        }
        assert.strictEqual((yield* read("nic-c")).status?.state, "Available")
      }),
    ),
  )

  it.effect("an interface that is attached while the agent is away comes up when it is back", () =>
    provided(
      Effect.gen(function* () {
        const region = yield* lit()
        yield* region.host("host-2").agent.stop
        yield* region.apply(nic("nic-e", "blue", "10.0.0.5"))
        yield* region.attach("nic-e", "host-2")
        yield* settle
        assert.strictEqual((yield* region.read("nic-e")).status?.state, "Pending")
        yield* region.host("host-2").agent.start
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual((yield* region.read("nic-e")).status?.state, "Available")
      }),
    ),
  )

  it.effect("a silent host is lost after its lease, says so, and is ready again when it is back", () =>
    provided(
      Effect.gen(function* () {
        const region = yield* lit()
        const state = Effect.map(
          region.find("Node", "host-2"),
          (record) => (Option.getOrThrow(record).value as Node).status?.state,
        )
        assert.strictEqual(yield* state, "Ready")
        yield* region.host("host-2").agent.stop
        yield* TestClock.adjust("15 seconds")
        assert.strictEqual(yield* state, "Lost")
        const reasons = (yield* region.read("nic-c")).status?.conditions?.map(({ reason }) => reason)
        assert.include(reasons ?? [], "NodeLost")
        yield* region.host("host-2").agent.start
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(yield* state, "Ready")
        assert.strictEqual((yield* region.read("nic-c")).status?.state, "Available")
      }),
    ),
  )

  it.effect("a dataplane that starts again gets everything back", () =>
    provided(
      Effect.gen(function* () {
        const region = yield* lit()
        yield* region.host("host-2").model.restart
        yield* TestClock.adjust("10 seconds")
        const back = yield* region.vm("nic-c")
        assert.deepStrictEqual(back.leased, { ipv4: "10.0.0.3", ipv6: "fd01::3" })
        assert.isTrue(yield* region.vms.a.ping("10.0.0.3"))
        assert.isTrue(yield* back.ping("10.0.0.2"))
      }),
    ),
  )

  it.effect(
    "losing one of two reflectors changes nothing, and what changes meanwhile arrives by the other",
    () =>
      provided(
        Effect.gen(function* () {
          const region = yield* lit(2)
          yield* region.reflectors[0]!.stop
          yield* TestClock.adjust("1 second")
          assert.isTrue(yield* region.vms.a.ping("10.0.0.3"))
          yield* region.apply(nic("nic-e", "blue", "10.0.0.5"))
          yield* region.attach("nic-e", "host-2")
          yield* settle
          const { status } = yield* region.read("nic-e")
          assert.strictEqual(status?.conditions?.find(({ type }) => type === "Programmed")?.status, "True")
          yield* region.reflectors[0]!.start
          yield* TestClock.adjust("30 seconds")
          assert.isTrue(yield* region.vms.a.ping("10.0.0.3"))
        }),
      ),
  )

  it.effect("a controller that has just started knows who else is in a network", () =>
    provided(
      Effect.gen(function* () {
        const region = yield* lit()
        yield* region.controller.start
        yield* TestClock.adjust("5 seconds")
        const commands = yield* region.commands
        yield* soon(commands.detach({ namespace: "default", name: "nic-c" }, options))
        yield* TestClock.adjust("5 seconds")
        yield* region.attach("nic-c", "host-2")
        yield* settle
        const { status } = yield* region.read("nic-c")
        const programmed = status?.conditions?.find(({ type }) => type === "Programmed")
        assert.strictEqual(programmed?.message, "routed by host-1")
      }),
    ),
  )

  it.effect("a node that is to be deleted stays as long as its agent does, whatever restarts", () =>
    provided(
      Effect.gen(function* () {
        const region = yield* lit()
        const before = (yield* region.read("nic-c")).status?.attachment
        const node = Effect.map(
          region.find("Node", "host-2"),
          Option.map(({ uid }) => uid),
        )
        const uid = yield* node
        const commands = yield* region.commands
        yield* soon(commands.delete({ kind: "Node", namespace: "", name: "host-2" }, options))
        for (const process of [region.controller, region.host("host-2").agent]) {
          yield* process.start
          yield* TestClock.adjust("30 seconds")
          assert.isTrue(yield* region.vms.a.ping("10.0.0.3"))
        }
        assert.deepStrictEqual(yield* node, uid)
        assert.strictEqual((yield* region.read("nic-c")).status?.attachment?.device, before?.device)
        yield* region.host("host-2").agent.stop
        yield* TestClock.adjust("30 seconds")
        assert.isTrue(Option.isNone(yield* node), "gone with its agent")
      }),
    ),
  )
})
