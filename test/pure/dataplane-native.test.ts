/** The client of a native dataplane against servers that lie, hang, die or are none. */
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { create } from "@bufbuild/protobuf"
import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Deferred, Effect, Exit, Fiber, Scope, Stream } from "effect"
import * as fc from "fast-check"
import { DPDKironcore } from "#gen/dpdkironcore/v1/dpdk_pb.ts"
import {
  ApplyResponseSchema,
  DataplaneService,
  GetCountersResponseSchema,
  GetStateResponseSchema,
  ListAllResponseSchema,
} from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import type { Operation } from "#protocol/dataplane/Dataplane.ts"
import * as Wire from "#protocol/dataplane/wire.ts"
import * as Native from "#runtime/dataplane/NativeDataplane.ts"
import { GrpcError } from "#runtime/grpc/GrpcError.ts"
import * as GrpcServer from "#runtime/grpc/GrpcServer.ts"

type Handlers = GrpcServer.Handlers<typeof DataplaneService, never>

const uuid = "01234567-89AB-4CDE-8F01-23456789ABCD"
const summary = {
  uuid,
  initialized: true,
  digest: 0n,
  interfaces: 0,
  routes: 0n,
  underlayPrefix: "fd00:f:1::/64",
  version: "test",
}
const remove: Operation = { _tag: "DeleteInterface", id: "nic" }
const done = { code: 0, message: "Success" }

const honest: Handlers = {
  apply: (requests) =>
    Stream.map(requests, ({ operations, sequence }) => ({ sequence, results: operations.map(() => done) })),
  listAll: () => Stream.make({ item: { case: "summary" as const, value: summary } }),
  getState: () => Effect.succeed(summary),
  getCounters: () => Effect.succeed({ counters: [{ name: "stage.encap.packets", value: 7n }] }),
}

const serve = (address: string, handlers: Handlers) =>
  Effect.orDie(
    GrpcServer.make({
      address,
      setup: (server) =>
        Effect.andThen(
          GrpcServer.addService(server, DataplaneService, handlers),
          GrpcServer.addService(server, DPDKironcore, {
            initialize: () => Effect.succeed({ uuid }),
          } as unknown as GrpcServer.Handlers<typeof DPDKironcore, never>),
        ),
    }),
  )

const socket = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "fdt-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
  ),
  (folder) => `unix:${join(folder, "dataplane.sock")}`,
)

/** A client of a server that differs from an honest one. */
const facing = (handlers: Partial<Handlers>, deadlineMillis = 2_000) =>
  Effect.gen(function* () {
    const address = yield* socket
    yield* serve(address, { ...honest, ...handlers })
    return yield* Native.make({ address, deadlineMillis, listDeadlineMillis: deadlineMillis })
  })

const protocolError = Effect.fnUntraced(function* (attempt: Effect.Effect<unknown, unknown>, reason: RegExp) {
  const error = (yield* Effect.flip(attempt)) as { readonly _tag: string; readonly reason: string }
  assert.strictEqual(error._tag, "DataplaneProtocolError")
  assert.match(error.reason, reason)
})

const gone = Effect.fnUntraced(function* (attempt: Effect.Effect<unknown, unknown>, reason = /./) {
  const error = (yield* Effect.flip(attempt)) as { readonly _tag: string; readonly reason: string }
  assert.strictEqual(error._tag, "DataplaneGone")
  assert.match(error.reason, reason)
})

describe("a session", () => {
  it.live("is opened where nobody listens, speaks no HTTP/2, or closes: gone, within the deadline", () =>
    Effect.gen(function* () {
      const address = yield* socket
      const client = yield* Native.make({ address, deadlineMillis: 500 })
      yield* gone(client.connect)
      const noise = yield* Effect.acquireRelease(
        Effect.sync(() =>
          createServer((peer) => {
            peer.on("error", () => undefined)
            peer.write("220 welcome to my mail server\r\n".repeat(100))
          }).listen(address.slice("unix:".length)),
        ),
        (server) => Effect.sync(() => server.close()),
      )
      assert.isDefined(noise)
      yield* gone(client.connect)
      yield* gone(client.listAll, /not connected/)
    }),
  )

  it.live("initializes once where nobody has, and refuses an Initialize without effect", () =>
    Effect.gen(function* () {
      let asked = 0
      const eventually = yield* facing({
        getState: () => Effect.sync(() => ({ ...summary, initialized: asked++ > 0 })),
      })
      assert.deepInclude(yield* eventually.connect, { uuid, initialized: true })
      const never = yield* facing({ getState: () => Effect.succeed({ ...summary, initialized: false }) })
      yield* protocolError(never.connect, /without effect/)
    }),
  )

  for (const [name, lie, reason] of [
    ["no UUID", { uuid: "me" }, /uuid/],
    ["no prefix", { underlayPrefix: "" }, /underlay_prefix/],
    ["an IPv4 prefix", { underlayPrefix: "10.0.0.0/8" }, /underlay_prefix/],
    ["a prefix of another length", { underlayPrefix: "fd00::/48" }, /underlay_prefix/],
    ["an endless version", { version: "v".repeat(1_000) }, /version/],
  ] as const)
    it.live(`refuses a state with ${name}`, () =>
      Effect.gen(function* () {
        const client = yield* facing({ getState: () => Effect.succeed({ ...summary, ...lie }) })
        yield* protocolError(client.connect, reason)
      }),
    )

  it.live("ends with an answer out of sequence, of another length, or of nonsense", () =>
    Effect.gen(function* () {
      for (const [answer, reason] of [
        [{ results: [done], sequence: 99n }, /sequence 99/],
        [{ results: [], sequence: 1n }, /0 for 1/],
        [{ results: [done, done], sequence: 1n }, /2 for 1/],
        [{ results: [{ code: 4_000_000_000, message: "" }], sequence: 1n }, /status code/],
        [{ results: [{ code: 201, message: "m".repeat(10_000) }], sequence: 1n }, /message/],
      ] as const) {
        const client = yield* facing({
          apply: (requests) => Stream.map(requests, () => answer as never),
        })
        yield* client.connect
        yield* protocolError(client.apply([remove]), reason)
        yield* gone(client.apply([remove]))
        yield* client.connect
        assert.deepInclude(yield* client.state, { uuid })
      }
    }),
  )

  it.live("ends with an answer that nobody asked for", () =>
    Effect.gen(function* () {
      const client = yield* facing({
        apply: (requests) =>
          Stream.concat(Stream.fromIterable([{ sequence: 77n, results: [done] }]), Stream.drain(requests)),
      })
      yield* client.connect
      yield* Effect.exit(client.apply([remove]))
      yield* gone(client.apply([remove]))
    }),
  )

  it.live("checks what a created interface and a listing say", () =>
    Effect.gen(function* () {
      const spec = { id: "nic", vni: 200, ipv4: "10.0.0.1", ipv6: "", device: "vtap:nic", hostname: "" }
      const made = { spec, underlayAddress: "fd00:f:1:0:d001::1", device: "nic", gatewayMac: "" }
      const wanted: Operation = {
        _tag: "CreateInterface",
        spec: { ...spec, ipv6: undefined, hostname: undefined },
      }
      const route = { vni: 200, prefix: "10.0.0.0/8", nextHop: "fd00::1", nextHopVni: 200 }
      const nothing = { ...made, spec: undefined }
      for (const [entry, reason] of [
        [undefined, /no interface/],
        [nothing, /no spec/],
        [{ ...made, spec: { ...spec, id: "other" } }, /is "other", not "nic"/],
        [{ ...made, spec: { ...spec, ipv4: "10.0.0.01" } }, /ipv4/],
        [{ ...made, spec: { ...spec, ipv6: "FD00::1" } }, /canonical/],
        [{ ...made, underlayAddress: "10.0.0.1" }, /underlay_address/],
        [{ ...made, underlayAddress: "" }, /underlay_address/],
        [{ ...made, device: "" }, /device/],
      ] as const) {
        const client = yield* facing({
          apply: (requests) =>
            Stream.map(requests, ({ sequence }) => ({
              sequence,
              results: [entry === undefined ? done : { ...done, interface: entry as typeof made }],
            })),
        })
        yield* client.connect
        yield* protocolError(client.apply([wanted]), reason)
      }
      const interfaceItem = { item: { case: "interface" as const, value: made } }
      const routeItem = (more: Partial<typeof route>) => ({
        item: { case: "route" as const, value: { ...route, ...more } },
      })
      const end = (interfaces: number, routes: bigint) => ({
        item: { case: "summary" as const, value: { ...summary, interfaces, routes } },
      })
      for (const [items, reason] of [
        [[], /without a summary/],
        [[interfaceItem], /without a summary/],
        [[{}], /without a value/],
        [[end(1, 0n)], /counts otherwise/],
        [[end(0, 0n), interfaceItem], /follows the summary/],
        [[routeItem({}), interfaceItem, end(1, 1n)], /follows a route/],
        [[routeItem({ prefix: "10.0.0.1/8" }), end(0, 1n)], /masked/],
        [[routeItem({ prefix: "10.0.0.0/40" }), end(0, 1n)], /longer than its family/],
        [[routeItem({ nextHop: "10.0.0.1" }), end(0, 1n)], /next_hop/],
      ] as const) {
        const client = yield* facing({ listAll: () => Stream.fromIterable(items as ReadonlyArray<never>) })
        yield* client.connect
        yield* protocolError(client.listAll, reason)
      }
      const client = yield* facing({
        listAll: () => Stream.make(interfaceItem, routeItem({}), end(1, 1n)),
      })
      yield* client.connect
      const listing = yield* client.listAll
      assert.deepStrictEqual(listing.routes, [route])
      assert.strictEqual(listing.interfaces[0]?.spec.ipv6, undefined)
    }),
  )

  it.live("is gone when a batch is not answered in time, and everything that waits with it", () =>
    Effect.gen(function* () {
      const client = yield* facing({ apply: (requests) => Stream.drain(requests) }, 300)
      yield* client.connect
      const attempts = Array.from({ length: 200 }, () => Effect.exit(client.apply([remove])))
      const exits = yield* Effect.all(attempts, { concurrency: "unbounded" })
      assert.isTrue(exits.every(Exit.isFailure))
      yield* gone(client.state, /not answered in 300 ms/)
      yield* client.connect
    }),
  )

  it.live("is gone when the process answers as another one", () =>
    Effect.gen(function* () {
      let asked = 0
      const other = "FFFFFFFF-89AB-4CDE-8F01-23456789ABCD"
      const client = yield* facing({
        getState: () => Effect.sync(() => ({ ...summary, uuid: asked++ === 0 ? uuid : other })),
      })
      yield* client.connect
      yield* gone(client.state, /restarted/)
      yield* gone(client.counters)
    }),
  )

  it.live("takes ABORTED, as before Initialize, for a restart, and UNIMPLEMENTED for another contract", () =>
    Effect.gen(function* () {
      const aborted = yield* facing({
        apply: () => Stream.fail(GrpcError.of(grpc.status.ABORTED, "not initialized")),
      })
      yield* aborted.connect
      yield* gone(aborted.apply([remove]), /not initialized/)
      const other = yield* facing({
        listAll: () => Stream.fail(GrpcError.of(grpc.status.UNIMPLEMENTED, "no such method")),
      })
      yield* other.connect
      yield* protocolError(other.listAll, /no such method/)
    }),
  )

  it.live("survives the process again and again: gone, then connected to the next one", () =>
    Effect.gen(function* () {
      const address = yield* socket
      const client = yield* Native.make({ address, deadlineMillis: 2_000 })
      for (let life = 0; life < 4; life++) {
        const scope = yield* Scope.make()
        const received = yield* Deferred.make<void>()
        yield* Scope.provide(
          serve(address, {
            ...honest,
            // The odd ones die in the midst of a batch.
            apply: (requests) =>
              life % 2 === 0
                ? honest.apply(requests)
                : Stream.mapEffect(requests, () =>
                    Effect.andThen(Deferred.succeed(received, undefined), Effect.never),
                  ),
          }),
          scope,
        )
        yield* client.connect
        if (life % 2 === 0) assert.deepStrictEqual(yield* client.apply([remove]), [done])
        const waiting = yield* Effect.forkChild(Effect.exit(client.apply([remove])))
        if (life % 2 === 1) yield* Deferred.await(received)
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
        const exit = yield* Fiber.join(waiting)
        if (life % 2 === 1) assert.isTrue(Exit.isFailure(exit))
        yield* Fiber.join(closing)
        yield* gone(client.listAll)
      }
    }),
  )

  it.live("refuses what has no form on the wire without a word to the server", () =>
    Effect.gen(function* () {
      const client = yield* facing({})
      yield* client.connect
      yield* protocolError(client.apply([{ _tag: "ResetVni", vni: -1 }]), /unsigned 32-bit/)
      yield* protocolError(client.apply([{ _tag: "ResetVni", vni: 1.5 }]), /unsigned 32-bit/)
      yield* protocolError(client.apply([{ _tag: "DeleteRoute", vni: 2 ** 32, prefix: "::/0" }]), /32-bit/)
      yield* protocolError(client.apply(Array.from({ length: 4_097 }, () => remove)), /more than 4096/)
      assert.deepStrictEqual(yield* client.apply([remove]), [done])
      assert.deepStrictEqual(yield* client.apply([]), [])
    }),
  )
})

describe("decoding", () => {
  const text = fc.oneof(
    fc.string({ maxLength: 80 }),
    fc.constantFrom("", "10.0.0.1", "fd00::1", "fd00:f:1::/64", uuid),
  )
  const number = fc.nat(0xffff_ffff)
  const spec = fc.record({ id: text, vni: number, ipv4: text, ipv6: text, device: text, hostname: text })
  const entry = fc.record({ spec, underlayAddress: text, device: text, gatewayMac: text })
  const state = fc.record({
    uuid: text,
    initialized: fc.boolean(),
    digest: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    interfaces: number,
    routes: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    underlayPrefix: text,
    version: text,
  })
  const route = fc.record({ vni: number, prefix: text, nextHop: text, nextHopVni: number })

  it("any message is a value or a violation that names its field", () => {
    const total = (decode: () => unknown): void => {
      const outcome = Wire.checked(decode)
      if (!outcome.ok) assert.match(outcome.reason, /^[a-z0-9_.]+: /)
    }
    fc.assert(
      fc.property(state, entry, route, number, (summary, made, way, code) => {
        total(() => Wire.decodeState(create(GetStateResponseSchema, summary)))
        const response = create(ApplyResponseSchema, { results: [{ code, message: "", interface: made }] })
        const operations: ReadonlyArray<Operation> = [
          {
            _tag: "CreateInterface",
            spec: { ...made.spec, ipv4: undefined, ipv6: undefined, hostname: undefined },
          },
        ]
        total(() => Wire.decodeResults(response, operations))
        const listing = Wire.emptyListing()
        for (const item of [
          { case: "interface" as const, value: made },
          { case: "route" as const, value: way },
          { case: "summary" as const, value: summary },
        ])
          total(() => Wire.decodeItem(listing, create(ListAllResponseSchema, { item })))
        total(() =>
          Wire.decodeCounters(
            create(GetCountersResponseSchema, { counters: [{ name: made.device, value: 1n }] }),
          ),
        )
      }),
      { numRuns: 500 },
    )
  })
})
