/** Model VMs on model hosts: leases, pings and transfers, over an underlay that may lose packets. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import type { InterfaceSpec, Operation } from "#protocol/dataplane/Dataplane.ts"
import * as Model from "#runtime/dataplane/ModelDataplane.ts"
import { make as makeUnderlay, ModelUnderlay } from "#runtime/dataplane/ModelUnderlay.ts"
import * as ModelVm from "#runtime/dataplane/ModelVm.ts"

const nic = (id: string, vni: number, host: number): InterfaceSpec => ({
  id,
  vni,
  ipv4: `10.0.0.${host}`,
  ipv6: `fd00::${host}`,
  device: `vtap:${id}`,
  hostname: id,
})

/** Two hosts, a VM of VNI 200 on each and one more on the first; and one of VNI 201 with an address that is taken. */
const region = Effect.gen(function* () {
  const underlay = makeUnderlay()
  const host = (prefix: string) =>
    Model.make({ underlayPrefix: prefix, mtu: 1_450 }).pipe(Effect.provideService(ModelUnderlay, underlay))
  const hosts = [yield* host("fd00:f:1::/64"), yield* host("fd00:f:2::/64")] as const
  const sessions = hosts.map((model) => model.session())
  for (const session of sessions) yield* session.connect
  const [first, second] = sessions
  if (first === undefined || second === undefined) return yield* Effect.die("two hosts")
  const place = (session: typeof first, spec: InterfaceSpec) =>
    Effect.map(session.apply([{ _tag: "CreateInterface", spec }]), ([result]) => {
      assert.strictEqual(result?.code, 0)
      return { spec, nextHop: result?.interface?.underlayAddress ?? "" }
    })
  const a = yield* place(first, nic("a", 200, 1))
  const b = yield* place(first, nic("b", 200, 2))
  const c = yield* place(second, nic("c", 200, 3))
  yield* place(second, nic("d", 201, 1))
  const routesTo = ({ nextHop, spec }: typeof a): ReadonlyArray<Operation> =>
    [`${spec.ipv4}/32`, `${spec.ipv6}/128`].map((prefix) => ({
      _tag: "PutRoute",
      route: { vni: spec.vni, prefix, nextHop, nextHopVni: spec.vni },
    }))
  yield* first.apply(routesTo(c))
  yield* second.apply([...routesTo(a), ...routesTo(b)])
  const plug = (index: 0 | 1, id: string, last: number) =>
    ModelVm.plug(hosts[index], `vtap:${id}`, `52:54:00:00:00:0${last}`)
  return {
    underlay,
    hosts,
    a: yield* plug(0, "a", 1),
    b: yield* plug(0, "b", 2),
    c: yield* plug(1, "c", 3),
    d: yield* plug(1, "d", 4),
  }
}).pipe(Random.withSeed("vms"))

const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 255)

describe("a model VM", () => {
  it.effect("leases what its interface has", () =>
    Effect.gen(function* () {
      const { a } = yield* region
      assert.deepStrictEqual(yield* a.configure, { ipv4: "10.0.0.1", ipv6: "fd00::1" })
      assert.deepInclude(yield* a.vm, { mtu: 1_450, hostname: "a", gateway4: "169.254.0.1" })
    }),
  )

  it.effect("pings its gateway and its network on both hosts, by both families, and no other network", () =>
    Effect.gen(function* () {
      const { a, b, c, d, hosts } = yield* region
      for (const vm of [a, b, c, d]) yield* vm.configure
      for (const address of ["169.254.0.1", "fe80::1", "10.0.0.2", "10.0.0.3", "fd00::2", "fd00::3"])
        assert.isTrue(yield* a.ping(address), address)
      assert.isTrue(yield* c.ping("10.0.0.1"))
      assert.isFalse(yield* d.ping("10.0.0.3"))
      assert.isFalse(yield* d.ping("fd00::2"))
      assert.isFalse(yield* a.ping("10.0.0.99"))
      const counters = yield* hosts[0].session().connect.pipe(
        Effect.andThen(hosts[0].snapshot),
        Effect.map((state) => new Map(state?.counters)),
      )
      assert.strictEqual(counters.get("drop.route_miss"), 1n)
    }),
  )

  it.effect("sends bytes over TCP, to the same host and across, unchanged", () =>
    Effect.gen(function* () {
      const { a, b, c } = yield* region
      for (const vm of [a, b, c]) yield* vm.configure
      yield* b.listen(80)
      yield* c.listen(80)
      const data = bytes(300_000)
      for (const [to, vm] of [
        ["10.0.0.2", b],
        ["10.0.0.3", c],
        ["fd00::3", c],
      ] as const) {
        assert.isTrue(yield* a.transfer(to, 80, data))
        const received = (yield* vm.events).filter((event) => event._tag === "Received")
        assert.strictEqual(received.length, 1)
        assert.deepEqual(received[0]?.data, data)
      }
      assert.isTrue(yield* a.transfer("10.0.0.2", 80, new Uint8Array(0)))
    }),
  )

  it.effect("is refused where nobody listens", () =>
    Effect.gen(function* () {
      const { a, c } = yield* region
      yield* a.configure
      yield* c.configure
      assert.isFalse(yield* a.transfer("10.0.0.3", 81, bytes(10)))
      assert.isTrue((yield* a.events).some((event) => event._tag === "Refused" && event.port === 81))
    }),
  )

  it.effect("brings every byte through an underlay that drops and duplicates", () =>
    Effect.gen(function* () {
      const { a, c, underlay } = yield* region
      yield* a.configure
      yield* c.configure
      yield* c.listen(80)
      const random = yield* Random.Random
      yield* underlay.setFault(() => {
        const chance = random.nextDoubleUnsafe()
        return chance < 0.1 ? "drop" : chance < 0.2 ? "duplicate" : "pass"
      })
      const data = bytes(120_000)
      yield* a.transfer("10.0.0.3", 80, data, 0)
      let sent = false
      for (let round = 0; round < 200 && !sent; round++) {
        yield* a.tick
        yield* c.tick
        sent = (yield* a.events).some((event) => event._tag === "Sent")
      }
      assert.isTrue(sent)
      const received = (yield* c.events).filter((event) => event._tag === "Received")
      assert.deepEqual(
        received.map((event) => event.data),
        [data],
      )
      assert.isAbove((yield* underlay.statistics).dropped, 0)
    }).pipe(Random.withSeed("loss")),
  )

  it.effect("is cut off by a partition, and back when it heals", () =>
    Effect.gen(function* () {
      const { a, b, c, underlay } = yield* region
      for (const vm of [a, b, c]) yield* vm.configure
      yield* underlay.partition("fd00:f:1::/64", "fd00:f:2::/64")
      assert.isFalse(yield* a.ping("10.0.0.3"))
      assert.isTrue(yield* a.ping("10.0.0.2"))
      yield* underlay.heal
      assert.isTrue(yield* a.ping("10.0.0.3"))
    }),
  )
})
