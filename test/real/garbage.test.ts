// Garbage on every port of a region: the services live on, at once, and who behaves notices nothing.
import { assert, describe, it } from "@effect/vitest"
import { create, toBinary } from "@bufbuild/protobuf"
import * as grpc from "@grpc/grpc-js"
import * as http from "node:http"
import * as fs from "node:fs"
import { Context, Effect, Layer, Queue, References, Result, Scope, Stream } from "effect"
import { GatewayService } from "#gen/ferrite/gateway/v1/gateway_pb.ts"
import { NodeService, SessionRequestSchema } from "#gen/ferrite/node/v1/node_pb.ts"
import { Ids } from "#protocol/Ids.ts"
import * as Message from "#protocol/metalbond/Message.ts"
import { RouteDistribution } from "#protocol/metalbond/RouteDistribution.ts"
import * as Controller from "#runtime/Controller.ts"
import * as GrpcClient from "#runtime/grpc/GrpcClient.ts"
import type { GrpcError } from "#runtime/grpc/GrpcError.ts"
import * as GrpcServer from "#runtime/grpc/GrpcServer.ts"
import { layer as layerReflector, Reflector } from "#runtime/metalbond/Reflector.ts"
import * as RouteClient from "#runtime/metalbond/RouteDistributionClient.ts"
import { parseAddress } from "#runtime/metalbond/Transport.ts"
import * as DataplaneHarness from "./dataplane-grpc-harness.ts"
import { garbage, holdOpen, noise, type Target, tcp, throwAt } from "./garbage-bytes.ts"

const apiVersion = "networking.ironcore.dev/v1alpha1"
const promptMillis = 5_000
const maxGrowthBytes = 150 * 1024 * 1024

const layerController = Controller.layer({ listen: "127.0.0.1:0", store: undefined }).pipe(
  Layer.provide(Ids.layer),
)
const layerRoutes = layerReflector({ listen: "[::1]:0", http: "[::1]:0" })

const prompt = <A, E>(what: string, effect: Effect.Effect<A, E>) =>
  effect.pipe(
    Effect.timeoutOrElse({
      duration: promptMillis,
      orElse: () => Effect.die(new Error(`${what} took longer than ${promptMillis} ms`)),
    }),
    Effect.orDie,
  )

const hello = (node: string, prefix = "fd00:f:1::/64", more: object = {}) => ({
  message: {
    case: "hello" as const,
    value: {
      node,
      instance: `${node}-1`,
      underlayPrefix: prefix,
      dataplane: "model",
      version: "test",
      ...more,
    },
  },
})

/** A controller with one good agent and one good watcher, and a question that both must have an answer to. */
const makeController = Effect.gen(function* () {
  const context = yield* Layer.build(layerController)
  const { port } = Context.get(context, Controller.Listening)
  const address = `127.0.0.1:${port}`
  const gateway = yield* GrpcClient.make(GatewayService, address)
  const node = yield* GrpcClient.make(NodeService, address)

  const say = yield* Queue.unbounded<unknown>()
  const heard = yield* Queue.unbounded<string>()
  const agent = { end: undefined as string | undefined }
  yield* Queue.offer(say, hello("good"))
  yield* Stream.runForEach(node.session(Stream.fromQueue(say) as never), ({ message }) =>
    Queue.offer(heard, message.case === "lease" ? `lease ${message.value.sequence}` : String(message.case)),
  ).pipe(
    Effect.catch((error: GrpcError) => Effect.sync(() => void (agent.end = error.message))),
    Effect.forkScoped,
  )
  const watched = yield* Queue.unbounded<string>()
  yield* Stream.runForEach(gateway.watch({ kind: "Network" }), ({ resource }) =>
    resource?.key === undefined ? Effect.void : Queue.offer(watched, resource.key.name),
  ).pipe(Effect.ignore, Effect.forkScoped)

  const until = <A>(queue: Queue.Queue<A>, wanted: A) =>
    Effect.gen(function* () {
      while ((yield* Queue.take(queue)) !== wanted);
    })
  yield* prompt("the first welcome", until(heard, "welcome"))
  let round = 0
  /** The service answers, the watcher sees it, and the agent's session is the one it was. */
  const isWell = (after: string) =>
    Effect.gen(function* () {
      const name = `net-${++round}`
      yield* gateway.apply({ json: JSON.stringify({ apiVersion, kind: "Network", metadata: { name } }) })
      yield* until(watched, name)
      yield* Queue.offer(say, { message: { case: "heartbeat", value: { sequence: BigInt(round) } } })
      yield* until(heard, `lease ${round}`)
      yield* gateway.delete({ key: { kind: "Network", name } })
      assert.isUndefined(agent.end, after)
    }).pipe((effect) => prompt(`a good answer after ${after}`, effect))
  return {
    address,
    gateway,
    node,
    isWell,
    target: { name: "controller", at: tcp("127.0.0.1", port) } satisfies Target,
  }
})

/** A reflector with two good clients: what one announces, the other hears. */
const makeReflector = Effect.gen(function* () {
  const reflector = Context.get(yield* Layer.build(layerRoutes), Reflector)
  const client = (originator: string) =>
    Effect.map(
      Layer.build(Layer.fresh(RouteClient.layer({ reflectors: [reflector.address], originator }))),
      (context) => Context.get(context, RouteDistribution),
    )
  const [announcer, listener] = [yield* client("good-1"), yield* client("good-2")]
  yield* listener.subscribe(new Set([100]))
  const heard = yield* Queue.unbounded<string>()
  yield* Stream.runForEach(listener.updates, (update) => Queue.offer(heard, JSON.stringify(update))).pipe(
    Effect.forkScoped,
  )
  let round = 0
  const isWell = (after: string) =>
    Effect.gen(function* () {
      const prefix = `10.${(++round >> 8) & 255}.${round & 255}.1/32`
      const nextHop = {
        address: "fd00:f:1::1",
        vni: 100,
        type: "STANDARD" as const,
        natPortFrom: 0,
        natPortTo: 0,
      }
      yield* announcer.announce([{ vni: 100, prefix, nextHop }] as never)
      while (!(yield* Queue.take(heard)).includes(prefix));
    }).pipe((effect) => prompt(`a good route after ${after}`, effect))
  const at = (address: string) => {
    const { host, port } = parseAddress(address)!
    return tcp(host, port)
  }
  return {
    reflector,
    isWell,
    target: { name: "reflector", at: at(reflector.address) } satisfies Target,
    httpTarget: { name: "reflector's HTTP", at: at(reflector.httpAddress!) } satisfies Target,
  }
})

const heapAfter = Effect.sync(() => {
  globalThis.gc?.()
  return process.memoryUsage().rss
})

/** All of it, and some of it ended by reset, byte by byte, in crowds, and half-open. */
const pelt = Effect.fnUntraced(function* (target: Target, isWell: (after: string) => Effect.Effect<void>) {
  const before = yield* heapAfter
  yield* isWell("nothing")
  for (const [name, bytes] of garbage) {
    yield* throwAt(target, bytes)
    yield* throwAt(target, bytes, { leave: "reset", lingerMillis: 10 })
    yield* isWell(`${name} at the ${target.name}`)
  }
  yield* Effect.forEach(garbage, ([, bytes]) => throwAt(target, bytes.subarray(0, 200), { chunk: 1 }), {
    concurrency: 8,
    discard: true,
  })
  yield* isWell("garbage byte by byte")
  yield* Effect.scoped(
    Effect.gen(function* () {
      yield* holdOpen(target, 200, Buffer.alloc(0))
      yield* holdOpen(target, 100, Buffer.from("PRI * HTTP/2.0\r\n\r\nSM"))
      yield* holdOpen(target, 100, Buffer.from("0100", "hex"))
      yield* holdOpen(target, 100, Buffer.from("GET / HTTP/1.1\r\nX: "))
      yield* isWell("500 half-open connections")
    }),
  )
  yield* isWell("500 connections at once gone")
  yield* Effect.forEach(
    Array.from({ length: 500 }).keys(),
    (n) => throwAt(target, noise(100, n), { leave: "reset", lingerMillis: 5 }),
    { concurrency: 50, discard: true },
  )
  yield* isWell("a flood of 500 connections")
  const grown = (yield* heapAfter) - before
  assert.isBelow(grown, maxGrowthBytes, `the process grew by ${Math.round(grown / 1e6)} MB`)
})

const live = <A, E>(name: string, test: Effect.Effect<A, E, Scope.Scope>, options: { skip?: boolean } = {}) =>
  (options.skip === true ? it.skip : it)(name, () =>
    Effect.runPromise(Effect.scoped(test).pipe(Effect.provideService(References.MinimumLogLevel, "Fatal"))),
  )

/** Calls whose messages are bytes. */
const rawClient = (address: string, path: string, stream: boolean) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const pass = (bytes: Buffer) => bytes
      const Raw = grpc.makeGenericClientConstructor(
        {
          call: {
            path,
            requestStream: stream,
            responseStream: stream,
            requestSerialize: pass,
            requestDeserialize: pass,
            responseSerialize: pass,
            responseDeserialize: pass,
          },
        },
        "raw",
      )
      return new Raw(address, grpc.credentials.createInsecure(), { "grpc.max_send_message_length": -1 })
    }),
    (client) => Effect.sync(() => client.close()),
  )

const rawUnary = (address: string, path: string, bytes: Buffer) =>
  Effect.scoped(
    Effect.flatMap(rawClient(address, path, false), (client) =>
      Effect.callback<{ readonly code: number; readonly details: string }>((resume) => {
        client["call"]!(bytes, (error: grpc.ServiceError | null) =>
          resume(Effect.succeed({ code: error?.code ?? 0, details: error?.details ?? "" })),
        )
      }),
    ),
  )

const protobufGarbage: ReadonlyArray<readonly [string, Buffer]> = [
  ["noise", noise(500)],
  ["an endless varint", Buffer.alloc(100, 0xff)],
  ["a length beyond the end", Buffer.from("0affffffff0f", "hex")],
  ["text that is no UTF-8", Buffer.from("0a04fffefdfc", "hex")],
  ["nested groups", Buffer.alloc(50_000, 0x0b)],
  ["an unknown wire type", Buffer.from("0f", "hex")],
  ["five megabytes", Buffer.alloc(5_000_000, 0x0a)],
]

describe("the controller's port", () => {
  live(
    "takes any garbage without a word to who behaves",
    Effect.gen(function* () {
      const { isWell, target } = yield* makeController
      yield* pelt(target, isWell)
    }),
  )

  live(
    "answers every method with a status when the message is no message",
    Effect.gen(function* () {
      const { address, isWell } = yield* makeController
      const methods = [...GatewayService.methods, ...NodeService.methods].map(
        ({ name, parent }) => `/${parent.typeName}/${name}`,
      )
      for (const path of [
        ...methods,
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/no.Service/None",
        "/",
      ]) {
        for (const [name, bytes] of protobufGarbage) {
          const { code } = yield* prompt(`${path} with ${name}`, rawUnary(address, path, bytes))
          // OK where the bytes happen to be fields that nobody knows.
          assert.notStrictEqual(code, grpc.status.UNKNOWN, `${path} with ${name}`)
          if (name === "five megabytes") assert.notStrictEqual(code, grpc.status.OK, path)
        }
        yield* isWell(`garbage at ${path}`)
      }
    }),
  )

  live(
    "ends a call whose message says a wrong length, and that call only",
    Effect.gen(function* () {
      const { address, isWell } = yield* makeController
      const http2 = yield* Effect.promise(() => import("node:http2"))
      for (const [name, frame] of [
        ["beyond the limit", Buffer.from("00ffffffff", "hex")],
        ["longer than the call", Buffer.from("000000ffff0a", "hex")],
        ["shorter than the message", Buffer.from("00000000010a0141", "hex")],
        ["of a compression that nobody named", Buffer.from("010000000401020304", "hex")],
        ["of a flag that is none", Buffer.from("ff0000000100", "hex")],
        ["cut in its header", Buffer.from("0000", "hex")],
      ] as const) {
        const status = yield* prompt(
          name,
          Effect.callback<string>((resume) => {
            const session = http2.connect(`http://${address}`)
            session.on("error", () => undefined)
            const call = session.request({
              ":method": "POST",
              ":path": "/ferrite.gateway.v1.GatewayService/Apply",
              "content-type": "application/grpc",
              te: "trailers",
            })
            let seen = "no status"
            const look = (headers: Record<string, unknown>) => {
              if (headers["grpc-status"] !== undefined) seen = String(headers["grpc-status"])
            }
            call.on("response", look)
            call.on("trailers", look)
            call.on("error", () => undefined)
            call.on("data", () => undefined)
            call.on("close", () => {
              session.destroy()
              resume(Effect.succeed(seen))
            })
            call.end(frame)
          }),
        )
        assert.notStrictEqual(status, "0", name)
        yield* isWell(`a length ${name}`)
      }
    }),
  )

  live(
    "closes connections that never speak HTTP/2, by its keepalive",
    Effect.gen(function* () {
      const { port } = yield* GrpcServer.make({
        address: "127.0.0.1:0",
        options: { "grpc.keepalive_time_ms": 100, "grpc.keepalive_timeout_ms": 100 },
        setup: () => Effect.void,
      })
      const target = { name: "server", at: tcp("127.0.0.1", port) }
      for (const bytes of [Buffer.alloc(0), Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")]) {
        const ending = yield* throwAt(target, bytes, { lingerMillis: 10_000 })
        assert.strictEqual(ending, "closed by the service")
      }
    }),
  )
})

describe("an agent that breaks the protocol", () => {
  live(
    "loses its own session with a status that says why, and no other",
    Effect.gen(function* () {
      const { address, gateway, isWell, node } = yield* makeController
      const session = (...messages: ReadonlyArray<unknown>) =>
        Effect.map(
          Effect.result(
            prompt(
              "the session's end",
              Effect.result(
                Stream.runDrain(
                  node.session(Stream.concat(Stream.fromIterable(messages), Stream.never) as never),
                ),
              ),
            ),
          ),
          (outer) => {
            assert(Result.isSuccess(outer) && Result.isFailure(outer.success))
            return `${grpc.status[outer.success.failure.code]}: ${outer.success.failure.message}`
          },
        )
      const report = (more: object) => ({
        message: {
          case: "interfaceReport",
          value: {
            uid: "00000000-0000-4000-8000-000000000001",
            state: 2,
            generation: 1n,
            underlayAddress: "fd00:f:9::1",
            device: "tap0",
            ...more,
          },
        },
      })
      const entry = (more: object = {}) => ({
        vni: 200,
        prefix: "10.0.0.1/32",
        nextHop: "fd00:f:1::1",
        programmedMicros: 1n,
        ...more,
      })
      const routes = (...entries: ReadonlyArray<unknown>) => ({
        message: { case: "routeReport", value: { entries, full: true } },
      })
      const bad = hello("bad", "fd00:f:9::/64")
      for (const [name, wanted, messages] of [
        ["nothing known first", /INVALID_ARGUMENT: .*message/, [{}]],
        [
          "a heartbeat first",
          /INVALID_ARGUMENT: .*before Hello/,
          [{ message: { case: "heartbeat", value: {} } }],
        ],
        ["a report first", /INVALID_ARGUMENT: .*before Hello/, [report({})]],
        ["two hellos", /INVALID_ARGUMENT: .*second hello/, [bad, bad]],
        ["a name that is none", /INVALID_ARGUMENT: .*DNS label.*node/, [hello("../etc")]],
        ["no name", /INVALID_ARGUMENT: .*node/, [hello("")]],
        ["a prefix of IPv4", /INVALID_ARGUMENT: .*underlayPrefix/, [hello("bad", "10.0.0.0/8")]],
        ["a prefix of another length", /INVALID_ARGUMENT: .*underlayPrefix/, [hello("bad", "fd00::/48")]],
        [
          "another's prefix",
          /FAILED_PRECONDITION: .*fd00:f:1::\/64.*good/,
          [hello("thief", "fd00:f:1::/64")],
        ],
        [
          "a revision beyond all",
          /INVALID_ARGUMENT: .*revision/,
          [hello("bad", "fd00:f:9::/64", { revision: 2n ** 64n - 1n })],
        ],
        [
          "10,000 routes",
          /INVALID_ARGUMENT: .*10000 entries, at most 4096/,
          [bad, routes(...Array.from({ length: 10_000 }, () => entry()))],
        ],
        ["a next hop of IPv4", /INVALID_ARGUMENT: .*nextHop/, [bad, routes(entry({ nextHop: "10.0.0.1" }))]],
        [
          "a prefix with host bits",
          /INVALID_ARGUMENT: .*prefix/,
          [bad, routes(entry({ prefix: "10.0.0.1/8" }))],
        ],
        ["a VNI of 32 bits", /INVALID_ARGUMENT: .*vni/, [bad, routes(entry({ vni: 2 ** 32 - 1 }))]],
        [
          "an underlay address of IPv4",
          /INVALID_ARGUMENT: .*underlayAddress/,
          [bad, report({ underlayAddress: "10.0.0.1" })],
        ],
        ["a uid that is none", /INVALID_ARGUMENT: .*uid/, [bad, report({ uid: "x".repeat(36) })]],
        ["a state that is none", /INVALID_ARGUMENT: .*state/, [bad, report({ state: 99 })]],
        [
          "a device without end",
          /INVALID_ARGUMENT: .*device/,
          [bad, report({ device: "x".repeat(100_000) })],
        ],
      ] as const) {
        const end = yield* session(...messages)
        assert.match(end, wanted, name)
        assert.isBelow(end.length, 2_000, name)
        yield* isWell(`an agent that says ${name}`)
      }
      const nodes = yield* gateway.list({ kind: "Node" })
      assert.notInclude(
        nodes.resources.map(({ key }) => key?.name),
        "../etc",
      )
      const cut = toBinary(SessionRequestSchema, create(SessionRequestSchema, bad)).subarray(0, 7)
      yield* Effect.scoped(
        Effect.flatMap(rawClient(address, "/ferrite.node.v1.NodeService/Session", true), (client) =>
          Effect.callback<void>((resume) => {
            const call: grpc.ClientDuplexStream<Buffer, Buffer> = client["call"]!()
            call.on("data", () => undefined)
            call.on("error", () => resume(Effect.void))
            call.write(Buffer.from(cut))
          }),
        ),
      )
      yield* isWell("an agent that is cut off in the midst of a message")
    }),
  )

  live(
    "may report interfaces and routes that nobody knows: they change nothing",
    Effect.gen(function* () {
      const { gateway, isWell, node } = yield* makeController
      const uids = Array.from(
        { length: 2_000 },
        (_, n) => `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`,
      )
      const reports = uids.map((uid) => ({
        message: {
          case: "interfaceReport" as const,
          value: { uid, state: 2, generation: 1n, underlayAddress: "fd00:f:9::1", device: "tap0" },
        },
      }))
      const entries = Array.from({ length: 4_096 }, (_, n) => ({
        vni: 1 + n,
        prefix: "10.0.0.1/32",
        nextHop: "fd00:f:9::1",
        programmedMicros: 1n,
      }))
      const requests = [
        hello("strange", "fd00:f:9::/64"),
        ...reports,
        { message: { case: "routeReport" as const, value: { entries, full: true } } },
        { message: { case: "heartbeat" as const, value: { sequence: 7n, settledRevision: 2n ** 50n } } },
      ]
      const leased = yield* prompt(
        "a lease after strange reports",
        node.session(Stream.concat(Stream.fromIterable(requests), Stream.never) as never).pipe(
          Stream.filter(({ message }) => message.case === "lease"),
          Stream.take(1),
          Stream.runCollect,
        ),
      )
      assert.lengthOf(leased, 1)
      assert.lengthOf((yield* gateway.list({ kind: "NetworkInterface" })).resources, 0)
      yield* isWell("reports of what nobody knows")
    }),
  )
})

describe("the reflector's port", () => {
  live(
    "takes any garbage without a word to who behaves",
    Effect.gen(function* () {
      const { isWell, reflector, target } = yield* makeReflector
      yield* pelt(target, isWell)
      yield* prompt(
        "forgetting the strangers",
        Effect.gen(function* () {
          while (reflector.machine.peers.size > 2) yield* Effect.sleep(10)
        }),
      )
      assert.isTrue(
        [...reflector.machine.peers.values()].every(({ session }) => session.originator.startsWith("good")),
      )
    }),
  )

  live(
    "ends the session of a peer that breaks the protocol, with the reason counted, wherever its bytes are cut",
    Effect.gen(function* () {
      const { isWell, reflector, target } = yield* makeReflector
      const hex = (text: string) => Buffer.from(text, "hex")
      const [helloFrame, keepalive] = [hex("010002010805"), hex("01000002")]
      for (const [reason, bytes] of [
        ["FrameTooLong", hex("01ffff05")],
        ["BadVersion", hex("0200020108051111")],
        ["UnknownType", Buffer.concat([helloFrame, hex("01000009")])],
        ["UnknownType", hex("01000000")],
        ["KeepaliveZero", hex("010002010800")],
        ["KeepaliveZero", hex("01000001")],
        ["HelloExpected", keepalive],
        ["HelloExpected", hex("010002030817")],
        ["MalformedPayload", hex("01000201ffff")],
        ["MalformedPayload", Buffer.concat([helloFrame, keepalive, hex("01000205ffff")])],
        ["MissingNextHop", Buffer.concat([helloFrame, keepalive, hex("01000c0510171a0812040a0000001818")])],
        ["MissingDestination", Buffer.concat([helloFrame, keepalive, hex("010002051017")])],
        ["NotNegotiated", Buffer.concat([helloFrame, keepalive, Message.encode(Message.endOfTable(0))])],
      ] as const) {
        const ended = () => reflector.machine.endings.get(reason) ?? 0
        for (const chunk of [bytes.length, 1]) {
          const before = ended()
          assert.strictEqual(
            yield* throwAt(target, bytes, { chunk, lingerMillis: promptMillis }),
            "closed by the service",
            reason,
          )
          assert.strictEqual(ended(), before + 1, `${reason} in chunks of ${chunk}`)
        }
        yield* isWell(reason)
      }
    }),
  )
})

describe("the reflector's HTTP port", () => {
  live(
    "takes any garbage, and answers who asks",
    Effect.gen(function* () {
      const { httpTarget, isWell } = yield* makeReflector
      const ask = (options: http.RequestOptions, body = "") =>
        Effect.callback<{ readonly status: number; readonly bytes: number }>((resume) => {
          const request = http.request(
            { ...httpTarget.at, agent: false, ...options } as http.RequestOptions,
            (response) => {
              let bytes = 0
              response.on("data", (chunk: Buffer) => (bytes += chunk.length))
              response.on("end", () => resume(Effect.succeed({ status: response.statusCode ?? 0, bytes })))
            },
          )
          request.on("error", () => resume(Effect.succeed({ status: 0, bytes: 0 })))
          request.end(body)
        })
      const isUp = (after: string) =>
        Effect.gen(function* () {
          const { status } = yield* prompt(`/healthz after ${after}`, ask({ path: "/healthz" }))
          assert.strictEqual(status, 200, after)
          yield* isWell(after)
        })
      yield* pelt(httpTarget, isUp)
      for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
        assert.include([404, 405, 501], (yield* ask({ method, path: "/routes.json" })).status, method)
      for (const path of [
        "/%",
        "/%00",
        "/../../etc/passwd",
        "//",
        "/routes.json/..",
        `/${"a/".repeat(3_000)}`,
        `/?${"q".repeat(10_000)}`,
        "/routes.json?x=%ff",
      ])
        assert.include([200, 400, 404, 414, 431], (yield* ask({ path })).status, path.slice(0, 40))
      assert.include([0, 414, 431], (yield* ask({ path: `/${"x".repeat(100_000)}` })).status)
      assert.include([0, 431], (yield* ask({ path: "/healthz", headers: { x: "y".repeat(100_000) } })).status)
      for (const path of ["/routes.json", "/peers.json", "/metrics", "/readyz"])
        assert.strictEqual((yield* ask({ path })).status, 200, path)
      yield* ask({ method: "POST", path: "/routes.json" }, "x".repeat(2_000_000))
      yield* isUp("everything")
    }),
  )
})

describe("the native dataplane's socket", () => {
  live(
    "takes any garbage and forwards on",
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(Effect.sync(DataplaneHarness.makeFolder), (path) =>
        Effect.sync(() => fs.rmSync(path, { recursive: true })),
      )
      const dataplane = yield* Effect.acquireRelease(
        Effect.promise(() => DataplaneHarness.start(folder)),
        ({ stop }) => Effect.promise(stop),
      )
      const uuid = Effect.map(
        Effect.promise(() => DataplaneHarness.ask(dataplane.ferrite, "getState", {})),
        ({ code, response }) => (code === 0 ? String(response.uuid) : `status ${code}`),
      )
      const first = yield* uuid
      const isWell = (after: string) =>
        prompt(`the dataplane's state after ${after}`, uuid).pipe(
          Effect.map((now) => assert.strictEqual(now, first, `${after}\n${dataplane.log().slice(-2_000)}`)),
        )
      yield* pelt({ name: "dataplane", at: { path: dataplane.socket } }, isWell)
      for (const path of [
        "/ferrite.dataplane.v1.DataplaneService/GetState",
        "/ferrite.dataplane.v1.DataplaneService/ListAll",
        "/dpdkironcore.v1.DPDKironcore/CreateInterface",
        "/dpdkironcore.v1.DPDKironcore/CreateRoute",
        "/no.Service/None",
      ])
        for (const [name, bytes] of protobufGarbage) {
          const { code } = yield* prompt(`${path} with ${name}`, rawUnary(dataplane.address, path, bytes))
          assert.notStrictEqual(code, grpc.status.UNKNOWN, `${path} with ${name}`)
          yield* isWell(`${name} at ${path}`)
        }
    }),
    { skip: DataplaneHarness.missing !== undefined },
  )
})
