import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import * as fc from "fast-check"
import { Clock, Effect, Layer, Result, Stream } from "effect"
import { GatewayService } from "#gen/ferrite/gateway/v1/gateway_pb.ts"
import { Ids } from "#protocol/Ids.ts"
import { ResourceStore } from "#protocol/store/ResourceStore.ts"
import * as Controller from "#runtime/Controller.ts"
import { fromGrpc } from "#runtime/gateway/GatewayStatus.ts"
import * as GrpcClient from "#runtime/grpc/GrpcClient.ts"
import type { GrpcError } from "#runtime/grpc/GrpcError.ts"

const layerController = Controller.layer({ listen: "127.0.0.1:0", store: undefined }).pipe(
  Layer.provide(Ids.layer),
)

const connect = Effect.gen(function* () {
  const { port } = yield* Controller.Listening
  return yield* GrpcClient.make(GatewayService, `127.0.0.1:${port}`)
})

/** What the gateway's contract says, without INTERNAL, UNKNOWN, UNAVAILABLE. */
const contract = new Set([
  grpc.status.INVALID_ARGUMENT,
  grpc.status.NOT_FOUND,
  grpc.status.ALREADY_EXISTS,
  grpc.status.FAILED_PRECONDITION,
  grpc.status.ABORTED,
  grpc.status.OUT_OF_RANGE,
  grpc.status.RESOURCE_EXHAUSTED,
])

/** `spec.ips[0].value`, `metadata.labels["a/b"]`, or empty for the whole document. */
const path =
  /^$|^(?:[A-Za-z_]\w*|\["(?:[^"\\]|\\.)*"?\]?|\[\d+\])(?:\.[A-Za-z_]\w*|\[\d+\]|\["(?:[^"\\]|\\.)*"\])*/s

/** A failure that a person can use; everything else is a bug. */
const checkFailure = (error: GrpcError): void => {
  assert.isTrue(contract.has(error.code), `${grpc.status[error.code]}: ${error.message}`)
  assert.isNotEmpty(error.message)
  assert.isTrue(error.message.isWellFormed())
  const detailBytes = error.details.reduce((sum, { value }) => sum + value.length, 0)
  assert.isBelow(Buffer.byteLength(error.message) + detailBytes, 8 * 1024, "trailers that any client takes")
  if (error.code !== grpc.status.INVALID_ARGUMENT) return
  const { violations } = fromGrpc(error)
  assert.isNotEmpty(violations, error.message)
  for (const { field, message, reason } of violations) {
    assert.match(field, path)
    assert.match(reason, /^[A-Z][A-Za-z]+$/)
    assert.isNotEmpty(message)
  }
}

const call = <A>(effect: Effect.Effect<A, GrpcError>) =>
  Effect.map(Effect.result(Effect.timeout(effect, "10 seconds")), (result) => {
    if (Result.isSuccess(result)) return
    assert(result.failure._tag === "GrpcError", "not answered in time")
    checkFailure(result.failure)
  })

const apiVersion = "networking.ironcore.dev/v1alpha1"
const manifests = [
  {
    apiVersion,
    kind: "Network",
    metadata: { name: "blue", namespace: "default", labels: { app: "web" }, annotations: { note: "x" } },
    spec: { providerID: "", peerings: [{ name: "p", networkRef: { name: "red" } }] },
  },
  {
    apiVersion,
    kind: "NetworkInterface",
    metadata: { name: "nic-a", namespace: "default" },
    spec: {
      networkRef: { name: "blue" },
      ipFamilies: ["IPv4", "IPv6"],
      ips: [{ value: "10.0.0.1" }, { value: "fd01::1" }],
      prefixes: [{ value: "10.1.0.0/24" }],
      virtualIP: { virtualIPRef: { name: "vip" } },
    },
    status: { state: "Available", ips: ["10.0.0.1"] },
  },
  {
    apiVersion: "ferrite.dev/v1alpha1",
    kind: "Node",
    metadata: { name: "host-1" },
    spec: { unschedulable: false },
  },
]

const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 80 }),
  fc.string({
    unit: fc.constantFrom("\0", "\n", "\u001b[31m", "😀", "a", "/", "..", "%", "\u202e", "é"),
    maxLength: 300,
  }),
  fc.constantFrom(
    "__proto__",
    "constructor",
    "toString",
    "-1",
    "1e999",
    "NaN",
    "10.0.0.1/33",
    "::ffff:10.0.0.1",
    "0x10",
  ),
)
const value = fc.oneof(
  text,
  fc.constantFrom(null, true, 0, -1, 1.5, 1e308, 2 ** 53, [], {}, [[]], [null], { a: { b: [{}] } }),
  fc.jsonValue({ depthSize: "medium" }),
)

type Json = unknown
const paths = (json: Json, at: ReadonlyArray<string> = []): ReadonlyArray<ReadonlyArray<string>> =>
  typeof json === "object" && json !== null
    ? [at, ...Object.entries(json).flatMap(([key, member]) => paths(member, [...at, key]))]
    : [at]

const replaced = (json: Json, [key, ...rest]: ReadonlyArray<string>, by: Json): Json => {
  if (key === undefined) return by
  if (Array.isArray(json)) return json.map((each, n) => (String(n) === key ? replaced(each, rest, by) : each))
  return { ...(json as object), [key]: replaced((json as Record<string, Json> | null)?.[key], rest, by) }
}

/** A good manifest in which something is wrong, or that is no manifest at all. */
const manifest = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom(...manifests).chain((good) =>
      fc
        .array(fc.tuple(fc.constantFrom(...paths(good)), fc.option(text, { freq: 3 }), value), {
          minLength: 1,
          maxLength: 4,
        })
        .map((changes) =>
          JSON.stringify(
            changes.reduce<Json>((json, [at, added, by]) => {
              const where = added === null ? at : [...at.slice(0, -1), added]
              const known = paths(json).map((each) => each.join("\n"))
              return known.includes(where.slice(0, -1).join("\n")) ? replaced(json, where, by) : json
            }, good),
          ),
        ),
    ),
  },
  { weight: 1, arbitrary: fc.json() },
  { weight: 1, arbitrary: text },
)

const key = fc.record({
  kind: fc.oneof(fc.constantFrom("Network", "NetworkInterface", "Node", "HostInterface", ""), text),
  namespace: fc.oneof(fc.constantFrom("", "default"), text),
  name: fc.oneof(fc.constantFrom("blue", "nic-a", "host-1", ""), text),
})
const revision = fc.oneof(
  fc.constant(0n),
  fc.bigInt({ min: 1n, max: 50n }),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
)
const selector = fc.oneof(
  text,
  fc.string({
    unit: fc.constantFrom("a", "=", "!", ",", "(", ")", " in ", " notin ", " ", "/", "😀"),
    maxLength: 200,
  }),
  fc.constantFrom(
    "a".repeat(5_000),
    "a,".repeat(2_000),
    `a in (${"b,".repeat(2_000)})`,
    `${" ".repeat(4_000)}!`,
  ),
)

const property = <A>(arbitrary: fc.Arbitrary<A>, ask: (input: A) => Effect.Effect<void>, numRuns = 80) =>
  Effect.promise(() =>
    fc.assert(
      fc.asyncProperty(arbitrary, (input) => Effect.runPromise(ask(input))),
      { numRuns },
    ),
  )

describe("whatever a user sends", () => {
  it.live("as a manifest is applied, or refused with a status and the path of each wrong field", () =>
    Effect.gen(function* () {
      const client = yield* connect
      yield* property(
        fc.tuple(
          manifest,
          fc.oneof({ weight: 3, arbitrary: fc.constant("") }, { weight: 1, arbitrary: text }),
          fc.boolean(),
        ),
        ([json, namespace, dryRun]) => call(client.apply({ json, namespace, dryRun })),
        250,
      )
      // What was taken can be read, all of it, by whoever asks.
      for (const kind of ["Network", "NetworkInterface", "Node"]) {
        const { resources } = yield* client.list({ kind })
        for (const { json, key } of resources) {
          assert.strictEqual(JSON.parse(json).metadata.name, key?.name)
          yield* client.describe({ key: key! })
          yield* client.apply({ json })
        }
      }
    }).pipe(Effect.provide(layerController)),
  )

  it.live("as key, uid, node or command id is answered by the contract", () =>
    Effect.gen(function* () {
      const client = yield* connect
      for (const good of manifests) yield* call(client.apply({ json: JSON.stringify(good) }))
      yield* property(key, (of) =>
        Effect.all([call(client.get({ key: of })), call(client.describe({ key: of }))], { discard: true }),
      )
      yield* property(fc.tuple(key, text, text, text), ([{ name, namespace }, node, commandId, uid]) =>
        Effect.all(
          [
            call(client.attach({ namespace, name, node, commandId })),
            call(client.attach({ name: "nic-a", node, commandId })),
            call(client.detach({ namespace, name, commandId })),
            call(client.delete({ key: { kind: "Network", name: "blue" }, uid, commandId })),
          ],
          { discard: true },
        ),
      )
      yield* property(key, (of) => call(client.delete({ key: of })))
    }).pipe(Effect.provide(layerController)),
  )

  it.live("as selector, revision or VNI is answered by the contract, and soon", () =>
    Effect.gen(function* () {
      const client = yield* connect
      yield* call(client.apply({ json: JSON.stringify(manifests[0]) }))
      yield* property(fc.tuple(key, selector), ([{ kind, namespace }, labelSelector]) =>
        Effect.gen(function* () {
          const before = yield* Clock.currentTimeMillis
          yield* call(client.list({ kind, namespace, labelSelector }))
          yield* call(client.list({ kind: "Network", labelSelector }))
          assert.isBelow((yield* Clock.currentTimeMillis) - before, 2_000)
        }),
      )
      yield* property(fc.tuple(selector, revision), ([labelSelector, fromRevision]) =>
        call(
          client
            .watch({ kind: "Network", labelSelector, fromRevision })
            .pipe(Stream.take(1), Stream.runDrain, Effect.timeoutOption("50 millis")),
        ),
      )
      yield* property(fc.nat(2 ** 32 - 1), (vni) => call(client.listRoutes({ vni })), 20)
    }).pipe(Effect.provide(layerController)),
  )

  it.live("as a watch from a revision that never was is told to list again, not kept waiting", () =>
    Effect.gen(function* () {
      const client = yield* connect
      const error = yield* Effect.flip(
        Stream.runDrain(client.watch({ kind: "Network", fromRevision: 10_000n })).pipe(
          Effect.timeout("5 seconds"),
        ),
      )
      assert(error._tag === "GrpcError")
      assert.strictEqual(error.code, grpc.status.OUT_OF_RANGE)
    }).pipe(Effect.provide(layerController)),
  )

  it.live("gets an answer that fits into trailers, however much is wrong and however long it is", () =>
    Effect.gen(function* () {
      const client = yield* connect
      const wide = (unit: string) =>
        Object.fromEntries(
          Array.from({ length: 500 }, (_, n) => [`${unit.repeat(60)}${n}`, unit.repeat(200)]),
        )
      const huge = "\u0001😀".repeat(200_000)
      const network = { apiVersion, kind: "Network", metadata: { name: "blue" } }
      for (const unit of ["k", "😀", "\0", "é", '"\\']) {
        const metadata = { name: "x", labels: wide(unit), annotations: wide(unit) }
        for (const bad of [
          { ...network, metadata },
          { ...network, spec: wide(unit) },
          { ...network, ...wide(unit) },
        ])
          yield* call(client.apply({ json: JSON.stringify(bad) }))
      }
      yield* call(client.apply({ json: huge }))
      yield* call(
        client.apply({ json: JSON.stringify({ ...network, metadata: { name: "x".repeat(200_000) } }) }),
      )
      yield* client.apply({ json: JSON.stringify(network) })
      yield* call(
        client.apply({
          json: JSON.stringify({ ...network, metadata: { name: "blue", uid: "u".repeat(200_000) } }),
        }),
      )
      yield* call(
        client.apply({
          json: JSON.stringify({
            ...network,
            metadata: { name: "blue", resourceVersion: "9".repeat(200_000) },
          }),
        }),
      )
      for (const long of [huge, "x".repeat(3_000_000)]) {
        yield* call(client.get({ key: { kind: long, name: long, namespace: long } }))
        yield* call(client.get({ key: { kind: "Network", name: long, namespace: long } }))
        yield* call(client.delete({ key: { kind: "Network", name: "blue" }, uid: long }))
        yield* call(client.attach({ name: "nic", node: long, commandId: "a" }))
        yield* call(client.list({ kind: "Network", labelSelector: long }))
        yield* call(client.detach({ name: "nic", commandId: long }))
      }
      // The connection that carried all this is still the same one, and good.
      assert.lengthOf((yield* client.list({ kind: "Network" })).resources, 1)
    }).pipe(Effect.provide(layerController)),
  )

  it.live("never makes the region forget what it accepted", () =>
    Effect.gen(function* () {
      const client = yield* connect
      const store = yield* ResourceStore
      const { resource } = yield* client.apply({
        json: JSON.stringify({ apiVersion, kind: "Network", metadata: { name: "kept" } }),
      })
      yield* property(
        fc
          .constantFrom(...paths(manifests[0]).filter((at) => at[0] === "spec" || at.length === 2))
          .chain((at) => fc.tuple(fc.constant(at), value)),
        ([at, by]) => {
          const hostile = replaced({ ...manifests[0], metadata: { name: "kept" } }, at, by) as {
            metadata?: object
          }
          return call(client.apply({ json: JSON.stringify(hostile) }))
        },
        150,
      )
      const { records } = yield* store.list({ kind: "Network" })
      assert.strictEqual(
        records.find(({ key }) => key.namespace === "default" && key.name === "kept")?.uid,
        resource?.uid,
      )
      const claims = yield* store.claims("vni")
      assert.strictEqual(claims.length, records.length, "each network has one VNI, none is left over")
    }).pipe(Effect.provide(layerController)),
  )
})
