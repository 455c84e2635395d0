import { create } from "@bufbuild/protobuf"
import * as grpc from "@grpc/grpc-js"
import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Stream } from "effect"
import {
  DataplaneService,
  file_ferrite_dataplane_v1_dataplane,
} from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import { BadRequestSchema } from "#gen/google/rpc/error_details_pb.ts"
import * as GrpcClient from "#runtime/grpc/GrpcClient.ts"
import { detail, detailsOf, GrpcError } from "#runtime/grpc/GrpcError.ts"
import { addHealth, addReflection } from "#runtime/grpc/GrpcMeta.ts"
import * as GrpcServer from "#runtime/grpc/GrpcServer.ts"

const start = (interrupted: Deferred.Deferred<string>) =>
  Effect.gen(function* () {
    const server = yield* GrpcServer.make({
      address: "127.0.0.1:0",
      setup: (server) =>
        Effect.gen(function* () {
          yield* addReflection(server, [file_ferrite_dataplane_v1_dataplane])
          yield* addHealth(server, ["ferrite.dataplane.v1.DataplaneService"])
          yield* GrpcServer.addService(server, DataplaneService, {
            apply: (requests) =>
              Stream.map(requests, (request) => ({ sequence: request.sequence, results: [] })).pipe(
                Stream.ensuring(Deferred.succeed(interrupted, "apply")),
              ),
            listAll: () =>
              Stream.range(1, 20_000).pipe(
                Stream.map((vni) => ({ item: { case: "route" as const, value: { vni } } })),
              ),
            getState: () =>
              Effect.fail(
                GrpcError.of(grpc.status.INVALID_ARGUMENT, "two fields are wrong", [
                  detail(BadRequestSchema, {
                    fieldViolations: [{ field: "spec.ips[0]", description: "no address" }],
                  }),
                ]),
              ),
            getCounters: () =>
              Effect.never.pipe(Effect.onInterrupt(() => Deferred.succeed(interrupted, "unary"))),
          })
        }),
    })
    return yield* GrpcClient.make(DataplaneService, `127.0.0.1:${server.port}`)
  })

it.live("a failed call carries its status and details", () =>
  Effect.gen(function* () {
    const client = yield* start(yield* Deferred.make<string>())
    const error = yield* Effect.flip(client.getState({}))
    assert.strictEqual(error.code, grpc.status.INVALID_ARGUMENT)
    assert.strictEqual(error.message, "two fields are wrong")
    assert.deepStrictEqual(
      detailsOf(error, BadRequestSchema)[0],
      create(BadRequestSchema, { fieldViolations: [{ field: "spec.ips[0]", description: "no address" }] }),
    )
  }),
)

it.live("a deadline ends the call and interrupts its handler", () =>
  Effect.gen(function* () {
    const interrupted = yield* Deferred.make<string>()
    const client = yield* start(interrupted)
    const error = yield* Effect.flip(client.getCounters({}, { deadlineMillis: 100 }))
    assert.strictEqual(error.code, grpc.status.DEADLINE_EXCEEDED)
    assert.strictEqual(yield* Deferred.await(interrupted), "unary")
  }),
)

it.live("a long answer arrives whole, and its reader may stop early", () =>
  Effect.gen(function* () {
    const client = yield* start(yield* Deferred.make<string>())
    const count = yield* Stream.runFold(
      client.listAll({}),
      () => 0,
      (n) => n + 1,
    )
    assert.strictEqual(count, 20_000)
    assert.lengthOf(yield* Stream.runCollect(Stream.take(client.listAll({}), 3)), 3)
  }),
)

it.live("both directions of a stream flow, and interrupting the reader ends the handler", () =>
  Effect.gen(function* () {
    const interrupted = yield* Deferred.make<string>()
    const client = yield* start(interrupted)
    const echoed = yield* client
      .apply(Stream.range(1, 1000).pipe(Stream.map((n) => ({ sequence: BigInt(n) }))))
      .pipe(Stream.runCollect)
    assert.strictEqual(echoed.at(-1)?.sequence, 1000n)
    const other = yield* Deferred.make<string>()
    const second = yield* start(other)
    const endless = Stream.concat(Stream.succeed({ sequence: 1n }), Stream.never)
    const first = yield* Deferred.make<void>()
    const reader = yield* Effect.forkChild(
      Stream.runForEach(second.apply(endless), () => Deferred.succeed(first, undefined)),
    )
    yield* Deferred.await(first)
    yield* Fiber.interrupt(reader)
    assert.strictEqual(yield* Deferred.await(other), "apply")
  }),
)

it.live("a server that is not there is UNAVAILABLE", () =>
  Effect.gen(function* () {
    const client = yield* GrpcClient.make(DataplaneService, "127.0.0.1:1")
    const error = yield* Effect.flip(client.getState({}, { deadlineMillis: 5000 }))
    assert.strictEqual(error.code, grpc.status.UNAVAILABLE)
  }),
)
