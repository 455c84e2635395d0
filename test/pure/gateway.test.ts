import * as grpc from "@grpc/grpc-js"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Queue, Stream } from "effect"
import { GatewayService, Outcome, WatchResponse_Type } from "#gen/ferrite/gateway/v1/gateway_pb.ts"
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.ts"
import { ResourceStore } from "#protocol/store/ResourceStore.ts"
import * as Gateway from "#runtime/gateway/Gateway.ts"
import * as GatewayClient from "#runtime/gateway/GatewayClient.ts"
import * as GrpcClient from "#runtime/grpc/GrpcClient.ts"
import { detailsOf } from "#runtime/grpc/GrpcError.ts"
import * as GrpcServer from "#runtime/grpc/GrpcServer.ts"
import * as Store from "#runtime/store/Store.ts"
import { layerFake } from "./gateway-fake.ts"

const Region = layerFake.pipe(Layer.provideMerge(Store.layerMemory()))

const serve = Effect.gen(function* () {
  const { port } = yield* GrpcServer.make({ address: "127.0.0.1:0", setup: Gateway.addTo })
  return `127.0.0.1:${port}`
})

const start = Effect.flatMap(serve, GatewayClient.make)

const network = (name: string, labels: Record<string, string> = {}) =>
  JSON.stringify({
    apiVersion: "networking.ironcore.dev/v1alpha1",
    kind: "Network",
    metadata: { name, labels },
  })

const nic = (name: string, networkName = "blue") =>
  JSON.stringify({
    apiVersion: "networking.ironcore.dev/v1alpha1",
    kind: "NetworkInterface",
    metadata: { name },
    spec: { networkRef: { name: networkName }, ips: [{ value: "10.0.0.1" }] },
  })

const networks = { kind: "Network", namespace: "", labelSelector: "" }

describe("the gateway", () => {
  it.live("answers an applied manifest with the resource, its revision and the outcome", () =>
    Effect.gen(function* () {
      const gateway = yield* start
      const first = yield* gateway.apply({ json: network("blue") })
      assert.strictEqual(first.outcome, Outcome.CREATED)
      assert.isTrue(first.resource!.revision > 0n)
      const manifest = JSON.parse(first.resource!.json)
      assert.strictEqual(manifest.metadata.namespace, "default")
      assert.strictEqual(manifest.metadata.resourceVersion, String(first.resource!.revision))
      const second = yield* gateway.apply({ json: network("blue") })
      assert.strictEqual(second.outcome, Outcome.UNCHANGED)
      const third = yield* gateway.apply({ json: network("blue", { tier: "a" }), namespace: "default" })
      assert.strictEqual(third.outcome, Outcome.CONFIGURED)
    }).pipe(Effect.provide(Region)),
  )

  it.live("writes nothing on a dry run", () =>
    Effect.gen(function* () {
      const gateway = yield* start
      const dry = yield* gateway.apply({ json: network("blue"), dryRun: true })
      assert.strictEqual(dry.outcome, Outcome.CREATED)
      const missing = yield* Effect.flip(
        gateway.get({ key: { kind: "Network", namespace: "default", name: "blue" } }),
      )
      assert.strictEqual(missing.status, "NOT_FOUND")
      assert.strictEqual(missing.resource, "Network default/blue")
    }).pipe(Effect.provide(Region)),
  )

  it.live("names every wrong field of a manifest", () =>
    Effect.gen(function* () {
      const gateway = yield* start
      const problem = yield* Effect.flip(
        gateway.apply({
          json: JSON.stringify({
            apiVersion: "networking.ironcore.dev/v1alpha1",
            kind: "NetworkInterface",
            metadata: { name: "Nic_A" },
            spec: { networkRef: { name: "blue" }, ips: [{ value: "10.0.0.300" }], colour: "red" },
          }),
        }),
      )
      assert.strictEqual(problem.status, "INVALID_ARGUMENT")
      const fields = problem.violations.map(({ field }) => field)
      for (const field of ["metadata.name", "spec.ips[0].value", "spec.colour"]) assert.include(fields, field)
    }).pipe(Effect.provide(Region)),
  )

  it.live("refuses what is no JSON, no key, no selector, no revision", () =>
    Effect.gen(function* () {
      const gateway = yield* start
      const field = <A>(
        call: Effect.Effect<A, { readonly violations: ReadonlyArray<{ readonly field: string }> }>,
      ) => Effect.map(Effect.flip(call), ({ violations }) => violations[0]?.field)
      assert.strictEqual(yield* field(gateway.apply({ json: "{" })), "")
      assert.strictEqual(yield* field(gateway.apply({ json: `"${"x".repeat(2 ** 20)}"` })), "")
      assert.strictEqual(
        yield* field(gateway.apply({ json: network("a"), commandId: "x".repeat(129) })),
        "command_id",
      )
      assert.strictEqual(yield* field(gateway.apply({ json: network("a"), namespace: "A/b" })), "namespace")
      assert.strictEqual(yield* field(gateway.get({})), "key.kind")
      assert.strictEqual(yield* field(gateway.get({ key: { kind: "HostInterface", name: "x" } })), "key.kind")
      assert.strictEqual(yield* field(gateway.get({ key: { kind: "Network", name: "../x" } })), "key.name")
      assert.strictEqual(yield* field(gateway.list({ kind: "Pod" })), "kind")
      assert.strictEqual(
        yield* field(gateway.list({ ...networks, labelSelector: "a in (" })),
        "label_selector",
      )
      assert.strictEqual(yield* field(gateway.attach({ name: "nic-a", node: "" })), "node")
      const far = Stream.runDrain(gateway.watch({ ...networks, fromRevision: 2n ** 60n }))
      assert.strictEqual(yield* field(far), "from_revision")
    }).pipe(Effect.provide(Region)),
  )

  it.live("lists by namespace and labels, by name", () =>
    Effect.gen(function* () {
      const gateway = yield* start
      yield* gateway.apply({ json: network("c", { tier: "web" }) })
      yield* gateway.apply({ json: network("a", { tier: "db" }) })
      yield* gateway.apply({ json: network("b", { tier: "web" }), namespace: "prod" })
      const names = (request: { namespace?: string; labelSelector?: string }) =>
        Effect.map(gateway.list({ ...networks, ...request }), ({ resources }) =>
          resources.map(({ key }) => `${key!.namespace}/${key!.name}`),
        )
      assert.deepStrictEqual(yield* names({}), ["default/a", "default/c", "prod/b"])
      assert.deepStrictEqual(yield* names({ namespace: "default" }), ["default/a", "default/c"])
      assert.deepStrictEqual(yield* names({ labelSelector: "tier in (web),!old" }), ["default/c", "prod/b"])
      assert.deepStrictEqual(yield* names({ labelSelector: "tier!=web" }), ["default/a"])
    }).pipe(Effect.provide(Region)),
  )

  it.live("refuses a list that is too large for one answer, and tells it as a watch", () =>
    Effect.gen(function* () {
      const gateway = yield* start
      const store = yield* ResourceStore
      for (let index = 0; index < 40; index++) {
        const name = `n-${index}`
        const metadata = { name, namespace: "default", annotations: { note: "x".repeat(250_000) } }
        const key = { kind: "Network", namespace: "default", name }
        const value = { apiVersion: "networking.ironcore.dev/v1alpha1", kind: "Network", metadata, spec: {} }
        yield* store.commit({ writes: [{ _tag: "Put", key, uid: name, labels: {}, references: [], value }] })
      }
      const problem = yield* Effect.flip(gateway.list(networks))
      assert.deepStrictEqual([problem.status, problem.reason], ["RESOURCE_EXHAUSTED", "LIST_TOO_LARGE"])
      const present = yield* gateway.watch(networks).pipe(
        Stream.takeUntil(({ type }) => type === WatchResponse_Type.BOOKMARK),
        Stream.runCount,
      )
      assert.strictEqual(present, 41)
    }).pipe(Effect.provide(Region)),
  )

  it.live("computes routes from what interfaces report, of one VNI or of all", () =>
    Effect.gen(function* () {
      const gateway = yield* start
      const store = yield* ResourceStore
      const report = (name: string, vni: number, realised: "True" | "False") => {
        const key = { kind: "NetworkInterface", namespace: "default", name }
        const condition = {
          type: "Realised",
          status: realised,
          reason: "R",
          message: "",
          lastTransitionTime: "",
        }
        const value = {
          metadata: { name, namespace: "default" },
          spec: { networkRef: { name: "blue" } },
          status: {
            vni,
            ips: ["10.0.0.2", "fd01::2"],
            conditions: [condition],
            attachment: { node: "host-1", underlayAddress: "fd00:f:1::1" },
          },
        }
        return store.commit({ writes: [{ _tag: "Put", key, uid: name, labels: {}, references: [], value }] })
      }
      yield* report("nic-a", 201, "True")
      yield* report("nic-b", 200, "True")
      yield* report("nic-c", 200, "False")
      const { routes } = yield* gateway.listRoutes({})
      assert.deepStrictEqual(
        routes.map(({ owner, prefix, vni }) => [vni, prefix, owner]),
        [
          [200, "10.0.0.2/32", "default/nic-b"],
          [200, "fd01::2/128", "default/nic-b"],
          [201, "10.0.0.2/32", "default/nic-a"],
          [201, "fd01::2/128", "default/nic-a"],
        ],
      )
      assert.strictEqual((yield* gateway.listRoutes({ vni: 201 })).routes.length, 2)
    }).pipe(Effect.provide(Region)),
  )

  it.live("attaches once: again to the same node is the same answer, another node is refused", () =>
    Effect.gen(function* () {
      const gateway = yield* start
      yield* gateway.apply({ json: nic("nic-a") })
      const first = yield* gateway.attach({ name: "nic-a", node: "host-1" })
      assert.match(first.handle, /^ironcore-net:\/\/default\/nic-a\/host-1\//)
      assert.strictEqual((yield* gateway.attach({ name: "nic-a", node: "host-1" })).handle, first.handle)
      const other = yield* Effect.flip(gateway.attach({ name: "nic-a", node: "host-2" }))
      assert.deepStrictEqual([other.status, other.reason], ["ALREADY_EXISTS", "ALREADY_ATTACHED"])
      yield* gateway.detach({ name: "nic-a" })
      const again = yield* Effect.flip(gateway.detach({ name: "nic-a" }))
      assert.deepStrictEqual([again.status, again.reason], ["FAILED_PRECONDITION", "NOT_ATTACHED"])
    }).pipe(Effect.provide(Region)),
  )

  it.live("describes a resource with its events and its neighbours", () =>
    Effect.gen(function* () {
      const gateway = yield* start
      yield* gateway.apply({ json: network("blue") })
      yield* gateway.apply({ json: nic("nic-a") })
      const blue = yield* gateway.describe({ key: { kind: "Network", name: "blue" } })
      assert.deepStrictEqual(
        blue.referrers.map(({ name }) => name),
        ["nic-a"],
      )
      assert.strictEqual(blue.events[0]?.reason, "Applied")
      const nicA = yield* gateway.describe({ key: { kind: "NetworkInterface", name: "nic-a" } })
      assert.deepStrictEqual(
        nicA.references.map(({ kind, name }) => `${kind} ${name}`),
        ["Network blue"],
      )
    }).pipe(Effect.provide(Region)),
  )

  it.live("gives up with its caller when an actor never answers", () =>
    Effect.gen(function* () {
      const address = yield* serve
      const gateway = yield* GatewayClient.make(address)
      const call = yield* Effect.forkChild(
        Effect.flip(gateway.apply({ json: network("silent") }, { deadlineMillis: 300 })),
      )
      assert.strictEqual((yield* Fiber.join(call)).status, "DEADLINE_EXCEEDED")
    }).pipe(Effect.provide(Region)),
  )
})

const typeNames: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(WatchResponse_Type).map(([name, value]) => [value, name]),
)

/** Messages of a watch, one at a time. */
const follow = (
  gateway: GatewayClient.GatewayClient,
  request: { labelSelector?: string; fromRevision?: bigint },
) =>
  Effect.gen(function* () {
    const queue = yield* Queue.unbounded<string>()
    yield* gateway.watch({ ...networks, ...request }).pipe(
      Stream.runForEach(({ resource, type }) =>
        Queue.offer(queue, `${typeNames[type]} ${resource?.key?.name ?? ""}`.trim()),
      ),
      Effect.forkScoped,
    )
    const next = Queue.take(queue)
    return { next }
  })

describe("a watch", () => {
  it.live("tells the present state, a bookmark, then every change", () =>
    Effect.gen(function* () {
      const gateway = yield* start
      yield* gateway.apply({ json: network("a") })
      const { next } = yield* follow(gateway, {})
      assert.deepStrictEqual([yield* next, yield* next], ["ADDED a", "BOOKMARK"])
      yield* gateway.apply({ json: network("b") })
      yield* gateway.apply({ json: network("a", { tier: "web" }) })
      yield* gateway.delete({ key: { kind: "Network", name: "a" } })
      assert.deepStrictEqual([yield* next, yield* next, yield* next], ["ADDED b", "MODIFIED a", "DELETED a"])
    }).pipe(Effect.provide(Region)),
  )

  it.live("tells a resource that leaves the selection as deleted, one that enters as added", () =>
    Effect.gen(function* () {
      const gateway = yield* start
      yield* gateway.apply({ json: network("a", { tier: "web" }) })
      yield* gateway.apply({ json: network("b", { tier: "db" }) })
      const { next } = yield* follow(gateway, { labelSelector: "tier=web" })
      assert.deepStrictEqual([yield* next, yield* next], ["ADDED a", "BOOKMARK"])
      yield* gateway.apply({ json: network("a", { tier: "db" }) })
      yield* gateway.apply({ json: network("b", { tier: "web" }) })
      assert.deepStrictEqual([yield* next, yield* next], ["DELETED a", "ADDED b"])
    }).pipe(Effect.provide(Region)),
  )

  it.live("resumes after a revision, and says so when that is gone", () =>
    Effect.gen(function* () {
      const gateway = yield* start
      const { resource } = yield* gateway.apply({ json: network("a") })
      yield* gateway.apply({ json: network("b") })
      const { next } = yield* follow(gateway, { fromRevision: resource!.revision })
      assert.strictEqual(yield* next, "ADDED b")
      const store = yield* ResourceStore
      yield* store.compact(yield* store.revision)
      const problem = yield* Effect.flip(
        Stream.runDrain(gateway.watch({ ...networks, fromRevision: resource!.revision })),
      )
      assert.deepStrictEqual([problem.status, problem.reason], ["OUT_OF_RANGE", "COMPACTED"])
    }).pipe(Effect.provide(Region)),
  )
})

it.live("another language's client finds the error's details in the standard trailer", () =>
  Effect.gen(function* () {
    const address = yield* serve
    const calls = yield* GrpcClient.make(GatewayService, address)
    yield* calls.apply({ json: nic("nic-a") })
    const error = yield* Effect.flip(calls.detach({ name: "nic-a" }))
    assert.strictEqual(error.code, grpc.status.FAILED_PRECONDITION)
    assert.strictEqual(detailsOf(error, ErrorInfoSchema)[0]?.domain, "ferrite.dev")
  }).pipe(Effect.provide(Region)),
)
