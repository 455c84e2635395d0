/**
 * Scenarios of an existing client, one test each: the Python script that plays it (test/real/scapy/), its dataplane and
 * its packets are in a network namespace of their own, which goes with the process. Calls are made from here, with
 * grpc-js and the generated descriptors.
 *
 * Needs root, /dev/net/tun, scapy for /usr/bin/python3 (Debian: python3-scapy) and the built program
 * (`FERRITE_DATAPLANE`, else dataplane/build/ferrite-dataplane).
 */
import { type DescMethodUnary, fromJson, toJson, type JsonObject, create } from "@bufbuild/protobuf"
import * as grpc from "@grpc/grpc-js"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as readline from "node:readline"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { DPDKironcore } from "#gen/dpdkironcore/v1/dpdk_pb.ts"
import { DataplaneService } from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import { definitionOf } from "#runtime/grpc/GrpcService.ts"
import { ask, binary, type Client, missing as missingProgram } from "./dataplane-grpc-harness.ts"

const python = "/usr/bin/python3"
const Ironcore = grpc.makeGenericClientConstructor(definitionOf(DPDKironcore), "DPDKironcore")
const Ferrite = grpc.makeGenericClientConstructor(definitionOf(DataplaneService), "DataplaneService")

const hasScapy = () =>
  fs.existsSync("/usr/lib/python3/dist-packages/scapy") ||
  (fs.existsSync(python) && childProcess.spawnSync(python, ["-c", "import scapy"]).status === 0)

const missing =
  missingProgram ??
  (!fs.existsSync("/dev/net/tun")
    ? "/dev/net/tun"
    : !hasScapy()
      ? "python3-scapy (apt-get install python3-scapy)"
      : undefined)

interface Message {
  readonly address?: string
  readonly call?: keyof typeof DPDKironcore.method
  readonly request?: JsonObject
  readonly counters?: true
  readonly ready?: true
  readonly done?: string
  readonly error?: string | null
  readonly ended?: number | "killed"
  readonly log?: string
}

/** The script's process: runs one scenario at a time. */
class Player {
  private readonly process: childProcess.ChildProcessByStdio<
    import("node:stream").Writable,
    import("node:stream").Readable,
    null
  >
  private readonly messages: AsyncIterator<string>
  private ironcore: Client | undefined
  private ferrite: Client | undefined

  constructor(script: string) {
    this.process = childProcess.spawn(python, [script], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, FERRITE_DATAPLANE: binary, PYTHONDONTWRITEBYTECODE: "1" },
    })
    this.process.stdin.on("error", () => undefined)
    this.messages = readline.createInterface({ input: this.process.stdout })[Symbol.asyncIterator]()
  }

  private say(message: object) {
    this.process.stdin.write(`${JSON.stringify(message)}\n`)
  }

  private async answer(message: Message) {
    if (message.address !== undefined) {
      const insecure = grpc.credentials.createInsecure()
      this.ironcore = new Ironcore(message.address, insecure) as unknown as Client
      this.ferrite = new Ferrite(message.address, insecure) as unknown as Client
    } else if (message.counters) {
      const request = create(DataplaneService.method.getCounters.input)
      const { response } = await ask(this.ferrite!, "getCounters", request)
      const counters: Array<{ name: string; value: bigint }> = response?.counters ?? []
      this.say(Object.fromEntries(counters.map(({ name, value }) => [name, String(value)])))
    } else if (message.call !== undefined) {
      const method = DPDKironcore.method[message.call] as DescMethodUnary
      const { code, details, response } = await ask(
        this.ironcore!,
        message.call,
        fromJson(method.input, message.request ?? {}),
      )
      this.say({ code, details, response: code === 0 ? toJson(method.output, response) : {} })
    }
  }

  /** Answers until the message comes that ends a wait. */
  private async until(ends: (message: Message) => boolean): Promise<Message> {
    for (;;) {
      const line = await this.messages.next()
      if (line.done) throw new Error(`the script ended (${this.process.exitCode ?? this.process.signalCode})`)
      const message = JSON.parse(line.value) as Message
      if (ends(message)) return message
      await this.answer(message)
    }
  }

  /** When the dataplane serves and everything is set up that all scenarios share. */
  async ready() {
    await this.until((message) => message.ready === true)
  }

  async run(name: string) {
    this.say({ run: name })
    return (await this.until((message) => message.done === name)).error
  }

  /** How the dataplane ended. */
  async end() {
    this.process.stdin.end()
    const message = await this.until((one) => one.ended !== undefined)
    this.ironcore?.close()
    this.ferrite?.close()
    return message
  }

  kill() {
    this.process.kill("SIGKILL")
  }
}

/** The scenarios of a script, by the names that it gives them. */
export const scenarios = (title: string, name: string) => {
  const script = path.join(import.meta.dirname, "scapy", name)
  const names = [...fs.readFileSync(script, "utf8").matchAll(/^@scenario\("(.+)"\)$/gm)].map(
    ([, found]) => found!,
  )
  if (missing !== undefined) console.warn(`SKIPPED ${name}: no ${missing}`)

  describe.skipIf(missing !== undefined)(title, () => {
    let player: Player | undefined

    beforeAll(async () => {
      player = new Player(script)
      await player.ready()
    })
    afterAll(async () => {
      try {
        const { ended, log } = await player!.end()
        if (process.env["FERRITE_TEST_LOG"] !== undefined) process.stderr.write(log ?? "")
        assert.strictEqual(ended, 0, `the dataplane's end:\n${log}`)
      } finally {
        player!.kill()
      }
    })

    for (const scenario of names)
      it(scenario, async () => {
        const error = await player!.run(scenario)
        if (error !== null && error !== undefined) assert.fail(error)
      })
  })
}
