/**
 * The built ferrite-dataplane as a process of a test, and plain gRPC calls to it: grpc-js with the generated
 * descriptors, nothing of our own client between the test and the wire.
 *
 * `FERRITE_DATAPLANE` names another binary than `dataplane/build/ferrite-dataplane`.
 */
import { create, type DescMethod, type MessageShape, type DescMessage } from "@bufbuild/protobuf"
import * as grpc from "@grpc/grpc-js"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { service as healthDefinition } from "grpc-health-check"
import { afterAll, assert } from "vitest"
import { DPDKironcore } from "#gen/dpdkironcore/v1/dpdk_pb.ts"
import { DataplaneService } from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import { definitionOf } from "#runtime/grpc/GrpcService.ts"

export const binary =
  process.env["FERRITE_DATAPLANE"] ??
  path.resolve(import.meta.dirname, "../../dataplane/build/ferrite-dataplane")

/** Why the real dataplane cannot run here, or undefined. */
export const missing: string | undefined = !fs.existsSync(binary)
  ? `${binary} is not built (meson compile -C dataplane/build)`
  : process.getuid?.() !== 0
    ? "the dataplane needs root"
    : undefined

const Ironcore = grpc.makeGenericClientConstructor(definitionOf(DPDKironcore), "DPDKironcore")
const Ferrite = grpc.makeGenericClientConstructor(definitionOf(DataplaneService), "DataplaneService")
const Health = grpc.makeGenericClientConstructor(healthDefinition as grpc.ServiceDefinition, "Health")

export interface Answer<Response> {
  /** gRPC code; 0: `response` is there. */
  readonly code: number
  readonly details: string
  readonly response: Response
}

/** Calls by the name of their method, untyped: what is sent may well be wrong. */
export type Client = Record<string, any> & grpc.Client

/** A unary call; never rejects. */
export const ask = (client: Client, name: string, request: unknown): Promise<Answer<any>> =>
  new Promise((resolve) =>
    client[name](
      request,
      new grpc.Metadata(),
      { deadline: Date.now() + 20_000 },
      (error: grpc.ServiceError | null, response: unknown) =>
        resolve({ code: error?.code ?? 0, details: error?.details ?? "", response }),
    ),
  )

/** A stream's messages, and how it ended. */
export const collect = (call: grpc.ClientReadableStream<any>) =>
  new Promise<{ readonly messages: ReadonlyArray<any>; readonly code: number; readonly details: string }>(
    (resolve) => {
      const messages: Array<any> = []
      call.on("data", (message) => messages.push(message))
      call.on("error", () => undefined)
      call.on("status", (status) => resolve({ messages, code: status.code, details: status.details }))
    },
  )

/** One Apply stream, asked batch by batch. */
export const applyStream = (client: Client) => {
  const call: grpc.ClientDuplexStream<any, any> = client["apply"](new grpc.Metadata())
  const waiting: Array<(answer: any) => void> = []
  const ended = new Promise<{ code: number; details: string }>((resolve) => {
    call.on("error", () => undefined)
    call.on("status", (status) => {
      resolve({ code: status.code, details: status.details })
      for (const answer of waiting.splice(0)) answer(undefined)
    })
  })
  call.on("data", (response) => waiting.shift()?.(response))
  return {
    ended,
    end: () => call.end(),
    cancel: () => call.cancel(),
    /** undefined when the stream ended instead. */
    send: (sequence: bigint, operations: ReadonlyArray<any>): Promise<any> =>
      new Promise((resolve) => {
        waiting.push(resolve)
        call.write(
          create(DataplaneService.method.apply.input, {
            sequence,
            operations: operations.map((operation) => ({ operation })),
          }),
        )
      }),
  }
}

export const until = async (what: string, holds: () => boolean | Promise<boolean>, millis = 15_000) => {
  const deadline = Date.now() + millis
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not within ${millis} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export const makeFolder = () => fs.mkdtempSync(path.join(os.tmpdir(), "ferrite-front-"))

export interface Dataplane {
  readonly address: string
  readonly socket: string
  readonly ironcore: Client
  readonly ferrite: Client
  readonly health: Client
  /** Everything it wrote to stderr so far. */
  readonly log: () => string
  /** Sends SIGTERM and waits; the exit code, null when it had to be killed. */
  readonly stop: () => Promise<number | null>
  readonly call: (name: keyof typeof DPDKironcore.method, init?: any) => Promise<Answer<any>>
}

const children = new Set<childProcess.ChildProcess>()

// A test that failed half way leaves no process behind.
afterAll(() => {
  for (const child of children) child.kill("SIGKILL")
})

export const spawn = (folder: string, more: ReadonlyArray<string> = []) => {
  const child = childProcess.spawn(
    binary,
    [
      `--grpc=unix:${path.join(folder, "grpc.sock")}`,
      "--underlay=fd00:f:1::/64",
      "--uplink=none",
      `--name=front-${process.pid}`,
      ...more,
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  )
  children.add(child)
  child.on("exit", () => children.delete(child))
  return child
}

/** Starts one in `folder` and waits until it serves. */
export const start = async (folder: string, more: ReadonlyArray<string> = []): Promise<Dataplane> => {
  const child = spawn(folder, more)
  const socket = path.join(folder, "grpc.sock")
  const address = `unix:${socket}`
  let log = ""
  child.stderr.on("data", (chunk: Buffer) => (log += chunk.toString()))
  const exited = new Promise<number | null>((resolve) => child.on("exit", (code) => resolve(code)))
  await until("the dataplane listens", () => {
    if (child.exitCode !== null) throw new Error(`the dataplane ended:\n${log}`)
    return log.includes('msg="listening"')
  })
  const insecure = grpc.credentials.createInsecure()
  const ironcore = new Ironcore(address, insecure) as unknown as Client
  const ferrite = new Ferrite(address, insecure) as unknown as Client
  const health = new Health(address, insecure) as unknown as Client
  return {
    address,
    socket,
    ironcore,
    ferrite,
    health,
    log: () => log,
    stop: async () => {
      child.kill("SIGTERM")
      const kill = setTimeout(() => child.kill("SIGKILL"), 10_000)
      const code = await exited
      clearTimeout(kill)
      for (const client of [ironcore, ferrite, health]) client.close()
      return code
    },
    call: (name, init = {}) => {
      const method: DescMethod = DPDKironcore.method[name]
      return ask(ironcore, name, create(method.input, init) as MessageShape<DescMessage>)
    },
  }
}

/** What a call should answer, by the plane on which it fails; `dataplane` is there by the time of the call. */
export const expecting = (dataplane: () => Dataplane) => ({
  invalid: async (name: keyof typeof DPDKironcore.method, init: unknown, expected: string) => {
    const answer = await dataplane().call(name, init)
    assert.deepStrictEqual(
      [name, answer.code, answer.details],
      [name, grpc.status.INVALID_ARGUMENT, expected],
    )
  },
  status: async (name: keyof typeof DPDKironcore.method, init: unknown, code: number, message: string) => {
    const answer = await dataplane().call(name, init)
    assert.deepStrictEqual(
      [name, answer.code, answer.response?.status?.code, answer.response?.status?.message],
      [name, 0, code, message],
    )
    return answer.response
  },
})
