import { create, toBinary } from "@bufbuild/protobuf"
import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Clock, Context, Effect, Layer, Queue, Stream } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { NodeService, SessionRequestSchema } from "#gen/ferrite/node/v1/node_pb.ts"
import { Ids } from "#protocol/Ids.ts"
import { hostInterfaceKind } from "#protocol/node/HostInterface.ts"
import { ResourceStore } from "#protocol/store/ResourceStore.ts"
import { layerModel, ModelDataplane } from "#runtime/dataplane/ModelDataplane.ts"
import { ModelUnderlay } from "#runtime/dataplane/ModelUnderlay.ts"
import * as GrpcClient from "#runtime/grpc/GrpcClient.ts"
import type { GrpcError } from "#runtime/grpc/GrpcError.ts"
import * as GrpcServer from "#runtime/grpc/GrpcServer.ts"
import * as MetalbondMemory from "#runtime/metalbond/Memory.ts"
import * as Reflector from "#runtime/metalbond/Reflector.ts"
import * as RouteDistributionClient from "#runtime/metalbond/RouteDistributionClient.ts"
import { Agent } from "#runtime/node/Agent.ts"
import { layerGrpc } from "#runtime/node/ControllerLinks.ts"
import { layerSqlite } from "#runtime/node/Journal.ts"
import { addNodeService } from "#runtime/node/NodeService.ts"
import { NodeSessions } from "#runtime/node/NodeSessions.ts"
import { layerMemory } from "#runtime/store/Store.ts"
import { layerTold, nic, told, uidOf } from "../simulated/agent-region.ts"

const makeController = Effect.gen(function* () {
  const region = told()
  const context = yield* Layer.build(
    NodeSessions.layer({ heartbeatMillis: 200, leaseMillis: 2_000, helloMillis: 300 }).pipe(
      Layer.provide(layerTold(region)),
      Layer.provideMerge(layerMemory()),
    ),
  )
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "ferrite-agent-"))),
    (path) => Effect.sync(() => fs.rmSync(path, { recursive: true })),
  )
  const address = `unix:${folder}/controller.sock`
  yield* GrpcServer.make({ address, setup: (server) => Effect.provide(addNodeService(server), context) })
  return { address, folder, region, store: Context.get(context, ResourceStore) }
})

const hello = {
  message: {
    case: "hello",
    value: {
      node: "host-1",
      instance: "i-1",
      underlayPrefix: "fd00:f:1::/64",
      dataplane: "model",
      version: "test",
    },
  },
} as const

const until = <A>(look: Effect.Effect<A>, good: (seen: A) => boolean) =>
  Effect.gen(function* () {
    for (let tries = 0; tries < 500; tries++) {
      const seen = yield* look
      if (good(seen)) return seen
      yield* Effect.sleep(2)
    }
    return yield* Effect.die(new Error(`it never came to that: ${JSON.stringify(yield* look)}`))
  })

describe("the node service over gRPC", () => {
  it.live("ends a session that breaks the protocol with a status that says why, and only that one", () =>
    Effect.gen(function* () {
      const { address } = yield* makeController
      const client = yield* GrpcClient.make(NodeService, address)
      const ended = (
        requests: Stream.Stream<Parameters<typeof create<typeof SessionRequestSchema>>[1] & object>,
      ) => Effect.flip(Stream.runDrain(client.session(requests as never))) as Effect.Effect<GrpcError>
      const open = Stream.concat(Stream.make(hello), Stream.never)

      const good = yield* Queue.unbounded<string>()
      yield* Effect.forkScoped(
        Stream.runForEach(client.session(open), ({ message }) => Queue.offer(good, String(message.case))),
      )
      assert.strictEqual(yield* Queue.take(good), "welcome")

      const noName = yield* ended(
        Stream.make({ message: { case: "hello", value: { ...hello.message.value, node: "Not A Name" } } }),
      )
      assert.strictEqual(noName.code, grpc.status.INVALID_ARGUMENT)
      assert.match(noName.message, /hello: .*DNS label.*node/)
      const nothing = yield* ended(Stream.make({}))
      assert.strictEqual(nothing.code, grpc.status.INVALID_ARGUMENT)
      const early = yield* ended(Stream.make({ message: { case: "heartbeat", value: { sequence: 1n } } }))
      assert.match(early.message, /Heartbeat before Hello/)
      const silent = yield* ended(Stream.never)
      assert.strictEqual(silent.code, grpc.status.DEADLINE_EXCEEDED)
      assert.match(silent.message, /no hello within 300 ms/)
      const huge = yield* ended(
        Stream.make({
          message: { case: "hello", value: { ...hello.message.value, version: "x".repeat(5_000_000) } },
        }),
      )
      assert.strictEqual(huge.code, grpc.status.RESOURCE_EXHAUSTED)
      assert.strictEqual(yield* Queue.take(good), "caughtUp", "the good one still hears")
    }),
  )

  it.live("survives bytes that are no message", () =>
    Effect.gen(function* () {
      const { address } = yield* makeController
      const Raw = grpc.makeGenericClientConstructor(
        {
          session: {
            path: "/ferrite.node.v1.NodeService/Session",
            requestStream: true,
            responseStream: true,
            requestSerialize: (bytes: Buffer) => bytes,
            requestDeserialize: (bytes: Buffer) => bytes,
            responseSerialize: (bytes: Buffer) => bytes,
            responseDeserialize: (bytes: Buffer) => bytes,
          },
        },
        "raw",
      )
      const raw = yield* Effect.acquireRelease(
        Effect.sync(() => new Raw(address, grpc.credentials.createInsecure())),
        (client) => Effect.sync(() => client.close()),
      )
      const status = yield* Effect.callback<number>((resume) => {
        const call: grpc.ClientDuplexStream<Buffer, Buffer> = raw["session"]!(new grpc.Metadata())
        call.on("data", () => undefined)
        call.on("error", (error: grpc.ServiceError) => resume(Effect.succeed(error.code)))
        const wire = toBinary(SessionRequestSchema, create(SessionRequestSchema, hello))
        call.write(Buffer.from(wire.subarray(0, wire.length - 5)))
      })
      assert.include([grpc.status.INTERNAL, grpc.status.CANCELLED, grpc.status.INVALID_ARGUMENT], status)
      const client = yield* GrpcClient.make(NodeService, address)
      const [first] = yield* Stream.runCollect(
        Stream.take(client.session(Stream.concat(Stream.make(hello), Stream.never)), 1),
      )
      assert.strictEqual(first?.message.case, "welcome")
    }),
  )

  it.live("an agent on a socket and a file does what one in memory does", () =>
    Effect.gen(function* () {
      const { address, folder, region, store } = yield* makeController
      const outside = yield* Layer.build(
        Layer.mergeAll(
          Ids.layer,
          ModelDataplane.layer({ underlayPrefix: "fd00:f:1::/64" }).pipe(Layer.provide(ModelUnderlay.layer)),
        ),
      )
      const model = Context.get(outside, ModelDataplane)
      const agent = Agent.layer({
        node: "host-1",
        underlayPrefix: "fd00:f:1::/64",
        dataplane: "model",
        version: "test",
      }).pipe(
        Layer.provide(
          Layer.mergeAll(
            layerModel,
            layerGrpc([`unix:${folder}/nobody.sock`, address]),
            layerSqlite(path.join(folder, "journal.sqlite")),
            RouteDistributionClient.layerTransport({
              reflectors: ["[fd00::1]:4711"],
              originator: "host-1",
            }).pipe(
              Layer.provide(Reflector.layerTransport({ listen: "[fd00::1]:4711" })),
              Layer.provide(MetalbondMemory.layer),
            ),
          ),
        ),
        Layer.provide(Layer.succeedContext(outside)),
      )
      const put = (n: number) =>
        store.commit({
          writes: [
            {
              _tag: "Put",
              key: { kind: hostInterfaceKind, namespace: "host-1", name: uidOf(n) },
              uid: uidOf(n),
              labels: {},
              references: [],
              value: nic(n),
            },
          ],
        })
      const realised = (n: number) =>
        until(
          Effect.sync(() => region.interfaces.get(uidOf(n))?.state),
          (state) => state === "Realised",
        )
      yield* put(1)
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Layer.build(agent)
          yield* realised(1)
          const latencies: Array<number> = []
          for (let n = 2; n < 32; n++) {
            const before = yield* Clock.currentTimeNanos
            yield* put(n)
            yield* realised(n)
            latencies.push(Number((yield* Clock.currentTimeNanos) - before) / 1e6)
          }
          latencies.sort((a, b) => a - b)
          yield* Effect.logInfo("committed to reported, milliseconds", {
            p50: latencies[15],
            max: latencies.at(-1),
          })
        }),
      )
      region.lines.length = 0
      yield* Effect.scoped(
        Effect.gen(function* () {
          const context = yield* Layer.build(agent)
          const { status } = Context.get(context, Agent)
          yield* until(
            status,
            ({ controller, interfaces }) => controller.connected && interfaces.realised === 31,
          )
          assert.include(region.lines, "host-1 hello 31")
        }),
      )
      const state = yield* model.snapshot
      assert.isDefined(state)
    }),
  )
})
