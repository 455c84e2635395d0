// The other way round: an agent whose controller, reflector and dataplane all answer garbage, and a gateway whose
// client opens more than it should.
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect, Fiber, Layer, References, Result, type Scope, Stream } from "effect"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { GatewayService } from "#gen/ferrite/gateway/v1/gateway_pb.ts"
import { Ids } from "#protocol/Ids.ts"
import * as Controller from "#runtime/Controller.ts"
import * as GatewayClient from "#runtime/gateway/GatewayClient.ts"
import * as GrpcClient from "#runtime/grpc/GrpcClient.ts"
import * as Hypervisor from "#runtime/Hypervisor.ts"
import { Agent } from "#runtime/node/Agent.ts"
import { garbage, http2Frame } from "./garbage-bytes.ts"

const live = <A, E>(name: string, test: Effect.Effect<A, E, Scope.Scope>) =>
  it(name, () =>
    Effect.runPromise(Effect.scoped(test).pipe(Effect.provideService(References.MinimumLogLevel, "Fatal"))),
  )

/** As a gRPC server begins, so that clients go on to make calls. */
const settings = http2Frame(4, 0, 0, Buffer.alloc(0))
const answers = [
  ...garbage.map(([, bytes]) => bytes.subarray(0, 20_000)),
  Buffer.concat([
    settings,
    http2Frame(4, 1, 0, Buffer.alloc(0)),
    http2Frame(1, 4, 1, Buffer.of(0x88)),
    http2Frame(0, 1, 1, Buffer.alloc(50, 0xff)),
  ]),
  Buffer.concat([settings, http2Frame(7, 0, 0, Buffer.alloc(8))]),
  Buffer.concat([settings, http2Frame(3, 0, 1, Buffer.from([0, 0, 0, 2]))]),
]

/** Answers every connection with the next garbage; every fourth it leaves hanging. */
const garbageServer = Effect.acquireRelease(
  Effect.callback<{ readonly port: number; readonly connections: () => number; readonly close: () => void }>(
    (resume) => {
      let connections = 0
      const open = new Set<net.Socket>()
      const server = net.createServer((socket) => {
        open.add(socket)
        socket.on("error", () => undefined)
        socket.on("data", () => undefined)
        socket.on("close", () => open.delete(socket))
        const bytes = answers[connections++ % answers.length]!
        if (connections % 4 !== 0) socket.end(bytes)
        else socket.write(bytes)
      })
      server.listen(0, "127.0.0.1", () => {
        const close = () => {
          server.close()
          for (const socket of open) socket.destroy()
        }
        resume(
          Effect.succeed({
            port: (server.address() as net.AddressInfo).port,
            connections: () => connections,
            close,
          }),
        )
      })
    },
  ),
  ({ close }) => Effect.sync(close),
)

const eventually = <A>(what: string, look: Effect.Effect<A>, good: (seen: A) => boolean, millis = 20_000) =>
  Effect.gen(function* () {
    const until = (yield* Clock.currentTimeMillis) + millis
    while (true) {
      const seen = yield* look
      if (good(seen)) return seen
      assert.isBelow(yield* Clock.currentTimeMillis, until, `${what}: ${JSON.stringify(seen)}`)
      yield* Effect.sleep(10)
    }
  })

describe("an agent among servers that answer garbage", () => {
  live(
    "goes on trying with pauses, says what is wrong, and finds the good controller beside the bad one",
    Effect.gen(function* () {
      const [badController, badReflector, badDataplane] = [
        yield* garbageServer,
        yield* garbageServer,
        yield* garbageServer,
      ]
      const good = Context.get(
        yield* Layer.build(
          Controller.layer({ listen: "127.0.0.1:0", store: undefined }).pipe(Layer.provide(Ids.layer)),
        ),
        Controller.Listening,
      )
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "ferrite-garbage-"))),
        (made) => Effect.sync(() => fs.rmSync(made, { recursive: true })),
      )
      const agent = (controllers: readonly [string, ...ReadonlyArray<string>], journal: string) =>
        Effect.map(
          Layer.build(
            Layer.fresh(
              Hypervisor.layer({
                node: "host-1",
                controllers,
                reflectors: [`127.0.0.1:${badReflector.port}`],
                dataplane: `127.0.0.1:${badDataplane.port}`,
                underlayPrefix: "fd00:f:1::/64",
                journal: path.join(folder, journal),
                version: "test",
              }).pipe(Layer.provide(Ids.layer)),
            ),
          ),
          (context) => Context.get(context, Agent).status,
        )
      const startMillis = yield* Clock.currentTimeMillis
      const lost = yield* agent([`127.0.0.1:${badController.port}`], "lost.sqlite")
      yield* eventually(
        "several tries at each",
        Effect.sync(() => [badController, badReflector, badDataplane].map((server) => server.connections())),
        (all) => all.every((count) => count >= 3),
      )
      const state = yield* lost
      assert.isFalse(state.controller.connected)
      assert.isNotEmpty(state.controller.reason)
      assert.isFalse(state.dataplane.connected)
      assert.isNotEmpty(state.dataplane.reason)

      const found = yield* agent(
        [`127.0.0.1:${badController.port}`, `127.0.0.1:${good.port}`],
        "found.sqlite",
      )
      yield* eventually("the good controller", found, ({ controller }) => controller.connected)
      const client = yield* GatewayClient.make(`127.0.0.1:${good.port}`)
      assert.lengthOf((yield* client.list({ kind: "Node" })).resources, 1)

      const seconds = ((yield* Clock.currentTimeMillis) - startMillis) / 1000
      for (const server of [badController, badReflector, badDataplane])
        assert.isBelow(server.connections(), 60 + 40 * seconds, "pauses between tries")
    }),
  )

  live(
    "is what a user's client meets as well: an error it can show, within its deadline",
    Effect.gen(function* () {
      const server = yield* garbageServer
      const client = yield* GatewayClient.make(`127.0.0.1:${server.port}`)
      for (let tries = 0; tries < 12; tries++) {
        const outcome = yield* Effect.result(client.list({ kind: "Network" }, { deadlineMillis: 300 }))
        assert(Result.isFailure(outcome))
        assert.notStrictEqual(outcome.failure.status, "OK")
        assert.isNotEmpty(outcome.failure.message)
      }
    }),
  )
})

describe("a client that opens thousands of watches", () => {
  live(
    "does not keep another from its answer, and leaves nothing behind",
    Effect.gen(function* () {
      const { port } = Context.get(
        yield* Layer.build(
          Controller.layer({ listen: "127.0.0.1:0", store: undefined }).pipe(Layer.provide(Ids.layer)),
        ),
        Controller.Listening,
      )
      const good = yield* GatewayClient.make(`127.0.0.1:${port}`)
      yield* Effect.scoped(
        Effect.gen(function* () {
          const greedy = yield* GrpcClient.make(GatewayService, `127.0.0.1:${port}`)
          const watches = yield* Effect.forEach(Array.from({ length: 3_000 }), () =>
            Effect.forkChild(Effect.ignore(Stream.runDrain(greedy.watch({ kind: "Network" })))),
          )
          for (let n = 0; n < 20; n++) {
            const json = JSON.stringify({
              apiVersion: "networking.ironcore.dev/v1alpha1",
              kind: "Network",
              metadata: { name: `net-${n}` },
            })
            yield* good.apply({ json }, { deadlineMillis: 5_000 })
          }
          assert.lengthOf((yield* good.list({ kind: "Network" }, { deadlineMillis: 5_000 })).resources, 20)
          yield* Fiber.interruptAll(watches)
        }),
      )
      assert.lengthOf((yield* good.list({ kind: "Network" }, { deadlineMillis: 5_000 })).resources, 20)
    }),
  )
})
