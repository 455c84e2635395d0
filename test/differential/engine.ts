/**
 * Cases through the native engine: a driver of `ferrite-replay` (dataplane/test/replay/replay.cpp says its format).
 *
 * One process for as long as the scope lives. A whole case is written at once and its answers are read as they come,
 * so a case costs one round trip. A process that ends or says nothing for too long is `EngineGone`.
 */
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { create, fromBinary, fromJson, toBinary } from "@bufbuild/protobuf"
import { Data, Effect, Exit, Queue, Scope } from "effect"
import {
  ApplyRequestSchema,
  ApplyResponseSchema,
  OperationSchema,
} from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import {
  type Case,
  type Command,
  gatewayMac,
  host,
  type Observation,
  type Options,
  type Outcome,
} from "./case.ts"

const root = new URL("../..", import.meta.url).pathname
const program = process.env["FERRITE_REPLAY"] ?? join(root, "dataplane/build/test/replay/ferrite-replay")
const deadline = "20 seconds"

/** What this machine lacks; `undefined`: nothing. */
export const missing = (): string | undefined =>
  existsSync(program)
    ? undefined
    : `${program} (build it: meson setup dataplane/build dataplane && ninja -C dataplane/build)`

export class EngineGone extends Data.TaggedError("EngineGone")<{ readonly message: string }> {}

export interface Engine {
  readonly run: (one: Case) => Effect.Effect<Outcome, EngineGone>
  /** Parts of the fast path, one by one: see dataplane/test/replay/pieces.h. */
  readonly call: (calls: ReadonlyArray<Uint8Array>) => Effect.Effect<ReadonlyArray<Uint8Array>, EngineGone>
}

const optionLines = (options: Options): ReadonlyArray<string> => [
  `--underlay=${host.prefix}/64`,
  `--uplink=${options.uplink ? "ring:up" : "none"}`,
  `--mtu=${options.mtu}`,
  `--seed=${options.seed}`,
  // More flows than any case has, and a table that is swept quickly.
  "--flow-capacity=16384",
  `--flow-timeout=${options.flowTimeoutSeconds}`,
  ...(options.flowLimit === undefined ? [] : [`--flow-limit=${options.flowLimit}`]),
  ...(options.firewallDefault === undefined
    ? []
    : [
        `--firewall-default=ingress=${options.firewallDefault.ingress},egress=${options.firewallDefault.egress}`,
      ]),
  ...(options.services ?? []).map(
    ({ ip, port, protocol, target, targetPort }) =>
      `--${protocol === 6 ? "tcp" : "udp"}-virtsvc=${ip},${port},${target},${targetPort}`,
  ),
  ...host.dns4.map((server) => `--dhcp-dns=${server}`),
  ...host.dns6.map((server) => `--dhcpv6-dns=${server}`),
  ...host.ports.map((port) => `--port=${port}=ring:${port},mac=${gatewayMac(port)}`),
]

const named = (kind: string, port: string, bytes: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from(kind), Uint8Array.of(port.length), Buffer.from(port), bytes])

const encode = (command: Command): Uint8Array => {
  switch (command._tag) {
    case "Apply":
      return Buffer.concat([
        Buffer.from("A"),
        toBinary(
          ApplyRequestSchema,
          create(ApplyRequestSchema, {
            operations: command.operations.map((change) => fromJson(OperationSchema, change)),
          }),
        ),
      ])
    case "Frame":
      return command.segment === undefined
        ? named(command.partial === true ? "P" : "F", command.port, command.bytes)
        : named("S", command.port, Buffer.concat([put16(command.segment), command.bytes]))
    case "Uplink":
      return Buffer.concat([Buffer.from("U"), command.bytes])
    case "Advance": {
      const out = Buffer.alloc(5, "T")
      out.writeUInt32BE(command.milliseconds, 1)
      return out
    }
  }
}

const put16 = (value: number): Uint8Array => Uint8Array.of(value >>> 8, value & 0xff)

const sized = (body: Uint8Array): Uint8Array => {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(body.length)
  return Buffer.concat([head, body])
}

const decode = (answer: Buffer): { readonly reply: Buffer; readonly emitted: Observation["emitted"] } => {
  const emitted: Array<{ readonly port: string; readonly bytes: Uint8Array }> = []
  let at = 4 + answer.readUInt32BE(0)
  const reply = answer.subarray(4, at)
  while (at < answer.length) {
    const name = answer.readUInt8(at)
    const length = answer.readUInt32BE(at + 1 + name)
    const from = at + 5 + name
    emitted.push({
      port: answer.toString("latin1", at + 1, at + 1 + name),
      bytes: Uint8Array.from(answer.subarray(from, from + length)),
    })
    at = from + length
  }
  return { reply, emitted }
}

const countersOf = (text: string): ReadonlyMap<string, bigint> =>
  new Map(
    text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => [line.slice(0, line.lastIndexOf(" ")), BigInt(line.slice(line.lastIndexOf(" ") + 1))]),
  )

const spawned: Effect.Effect<Engine, never, Scope.Scope> = Effect.gen(function* () {
  const answers = yield* Queue.unbounded<Buffer | EngineGone>()
  let said = ""
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => spawn(program, { stdio: ["pipe", "pipe", "pipe"] })),
    (running) => Effect.sync(() => running.kill("SIGKILL")),
  )
  let pending: Buffer = Buffer.alloc(0)
  child.stdout.on("data", (chunk: Buffer) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    let at = 0
    while (pending.length - at >= 4 && pending.length - at - 4 >= pending.readUInt32BE(at)) {
      const end = at + 4 + pending.readUInt32BE(at)
      Queue.offerUnsafe(answers, pending.subarray(at + 4, end))
      at = end
    }
    pending = pending.subarray(at)
  })
  child.stderr.on("data", (chunk: Buffer) => {
    said = `${said}${chunk.toString()}`.slice(-8192)
  })
  child.stdin.on("error", () => undefined)
  child.on("close", (code, signal) => {
    const message = `ferrite-replay ended (${code ?? signal})\n${said}`
    Queue.offerUnsafe(answers, new EngineGone({ message }))
  })
  const take = Effect.gen(function* () {
    const answer = yield* Queue.take(answers)
    return Buffer.isBuffer(answer) ? answer : yield* answer
  })
  const all = (count: number) =>
    Effect.gen(function* () {
      const out: Array<Buffer> = []
      while (out.length < count) out.push(yield* take)
      return out
    }).pipe(
      Effect.timeoutOrElse({
        duration: deadline,
        orElse: () => Effect.fail(new EngineGone({ message: `no answer in ${deadline}\n${said}` })),
      }),
    )
  const plain: Options = { seed: 0, mtu: 1500, uplink: true, flowTimeoutSeconds: 30 }
  const begin = (options: Options): Uint8Array =>
    Buffer.concat([Buffer.from("R"), Buffer.from(optionLines(options).join("\n"))])
  return {
    call: Effect.fnUntraced(function* (calls: ReadonlyArray<Uint8Array>) {
      const bodies = [begin(plain), ...calls.map((one) => Buffer.concat([Buffer.from("X"), one]))]
      child.stdin.write(Buffer.concat(bodies.map(sized)))
      return (yield* all(bodies.length)).slice(1).map((answer) => Uint8Array.from(decode(answer).reply))
    }),
    run: Effect.fnUntraced(function* (one: Case) {
      const bodies = [begin(one.options), ...one.commands.map(encode), Buffer.from("C")]
      child.stdin.write(Buffer.concat(bodies.map(sized)))
      const got = (yield* all(bodies.length)).map(decode)
      const observations = one.commands.map((command, i): Observation => {
        const answer = got[i + 1]
        return {
          results:
            command._tag === "Apply" && answer !== undefined
              ? fromBinary(ApplyResponseSchema, answer.reply).results.map(({ code, message }) => ({
                  code,
                  message,
                }))
              : [],
          emitted: answer?.emitted ?? [],
        }
      })
      return { observations, counters: countersOf(got.at(-1)?.reply.toString() ?? "") }
    }),
  }
})

/** A process, and another one after one that is gone. */
export const start: Effect.Effect<Engine, never, Scope.Scope> = Effect.gen(function* () {
  const scope = yield* Effect.scope
  let current: { readonly scope: Scope.Closeable; readonly engine: Engine } | undefined
  const using = Effect.fnUntraced(function* <A>(work: (engine: Engine) => Effect.Effect<A, EngineGone>) {
    if (current === undefined) {
      const child = yield* Scope.fork(scope)
      current = { scope: child, engine: yield* Scope.provide(spawned, child) }
    }
    const { engine, scope: child } = current
    return yield* Effect.onError(work(engine), () => {
      current = undefined
      return Scope.close(child, Exit.void)
    })
  })
  return {
    run: (one) => using((engine) => engine.run(one)),
    call: (calls) => using((engine) => engine.call(calls)),
  }
})
