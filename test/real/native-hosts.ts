/**
 * Contract hosts of native dataplanes: two processes on one wire, and a frame bridge that plays their guests.
 *
 * Needs root, /dev/net/tun, Python 3 and the built program; `missing` says what is not there. Everything lives in
 * one temporary folder and in the bridge's own network namespace, and goes with the layer's scope.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Layer, Queue, type Scope } from "effect"
import type { Bytes } from "#protocol/dataplane/model/bytes.ts"
import * as Native from "#runtime/dataplane/NativeDataplane.ts"
import { type ContractHost, ContractHosts, NoFrame, settings } from "../contract/dataplane-hosts.ts"

const root = new URL("../..", import.meta.url).pathname
const program = process.env["FERRITE_DATAPLANE"] ?? join(root, "dataplane/build/ferrite-dataplane")
const bridgeProgram = join(root, "test/real/frame-bridge.py")
const python = "/usr/bin/python3"
const frameDeadline = "5 seconds"

/** What this machine lacks for the native engine; `undefined`: nothing. */
export const missing = (): string | undefined => {
  if (process.getuid?.() !== 0) return "root"
  if (!existsSync(program))
    return `${program} (build it: meson setup dataplane/build dataplane && ninja -C dataplane/build)`
  if (!existsSync("/dev/net/tun")) return "/dev/net/tun"
  if (!existsSync(python)) return python
  return undefined
}

/** Ends a process of ours, and waits until it is gone. */
const stop = (child: ChildProcess, signal: NodeJS.Signals): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill(signal)
  }).pipe(
    Effect.timeoutOption("5 seconds"),
    Effect.andThen(
      Effect.sync(() => {
        child.kill("SIGKILL")
      }),
    ),
  )

const run = (command: string, ...args: ReadonlyArray<string>): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    execFile(command, args, (error, _, stderr) =>
      resume(error === null ? Effect.void : Effect.die(new Error(`${command} ${args.join(" ")}: ${stderr}`))),
    )
  })

interface Bridge {
  readonly attach: (name: string) => Effect.Effect<void>
  readonly send: (name: string, frame: Bytes) => Effect.Effect<void>
  readonly frames: (name: string) => Queue.Queue<Bytes>
}

/** See frame-bridge.py for what is spoken. */
const startBridge: Effect.Effect<Bridge, never, Scope.Scope> = Effect.gen(function* () {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => spawn(python, [bridgeProgram], { stdio: ["pipe", "pipe", "inherit"] })),
    (process) => stop(process, "SIGTERM"),
  )
  const queues = new Map<string, Queue.Queue<Bytes>>()
  const runSync = Effect.runSyncWith(yield* Effect.context<never>())
  const opened = yield* Queue.unbounded<string>()
  const frames = (name: string): Queue.Queue<Bytes> => {
    const present = queues.get(name)
    if (present !== undefined) return present
    const made = runSync(Queue.unbounded<Bytes>())
    queues.set(name, made)
    return made
  }
  const obey = (message: Buffer): void => {
    const body = message.subarray(1)
    switch (String.fromCharCode(message[0] ?? 0)) {
      case "A":
        Queue.offerUnsafe(opened, body.toString())
        return
      case "F": {
        const length = body[0] ?? 0
        Queue.offerUnsafe(
          frames(body.subarray(1, 1 + length).toString()),
          Uint8Array.from(body.subarray(1 + length)),
        )
        return
      }
      case "E":
        process.stderr.write(`frame bridge: ${body.toString()}\n`)
        return
      default:
        Queue.offerUnsafe(opened, "")
    }
  }
  let pending = Buffer.alloc(0)
  child.stdout.on("data", (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk])
    while (pending.length >= 4 && pending.length >= 4 + pending.readUInt32BE(0)) {
      const end = 4 + pending.readUInt32BE(0)
      obey(pending.subarray(4, end))
      pending = pending.subarray(end)
    }
  })
  const say = (kind: string, ...parts: ReadonlyArray<Uint8Array>): void => {
    const body = Buffer.concat([Buffer.from(kind), ...parts])
    const head = Buffer.alloc(4)
    head.writeUInt32BE(body.length)
    child.stdin.write(Buffer.concat([head, body]))
  }
  const awaitOpened = (name: string) =>
    Queue.take(opened).pipe(
      Effect.timeoutOrElse({
        duration: "10 seconds",
        orElse: () => Effect.die(new Error(`the frame bridge did not open ${name}`)),
      }),
      Effect.repeat({ until: (answer) => answer === name }),
      Effect.asVoid,
    )
  yield* awaitOpened("")
  return {
    attach: (name) =>
      Effect.gen(function* () {
        yield* run("ip", "link", "set", name, "netns", String(child.pid))
        yield* Effect.sync(() => say("A", Buffer.from(name)))
        yield* awaitOpened(name)
      }),
    send: (name, frame) => Effect.sync(() => say("F", Uint8Array.of(name.length), Buffer.from(name), frame)),
    frames,
  }
})

const kernelName = (device: string): string => device.slice(device.indexOf(":") + 1)

const nativeHost = Effect.fnUntraced(function* (
  name: string,
  underlayPrefix: string,
  folder: string,
  bridge: Bridge,
) {
  const address = `unix:${join(folder, `${name}.sock`)}`
  const log = join(folder, `${name}.log`)
  const { dns4, dns6, mtu } = settings
  const start = Effect.sync(() => {
    const output = openSync(log, "a")
    const child = spawn(
      program,
      [
        `--grpc=${address}`,
        `--underlay=${underlayPrefix}`,
        `--uplink=wire:${join(folder, "wire")}`,
        `--name=${name}`,
        `--mtu=${mtu}`,
        ...dns4.map((server) => `--dhcp-dns=${server}`),
        ...dns6.map((server) => `--dhcpv6-dns=${server}`),
      ],
      { stdio: ["ignore", output, output] },
    )
    closeSync(output)
    return child
  })
  let child = yield* start
  yield* Effect.addFinalizer(() => Effect.suspend(() => stop(child, "SIGTERM")))
  yield* Effect.addFinalizer((exit) =>
    Effect.sync(() => {
      if (exit._tag === "Failure" || process.env["FERRITE_TEST_LOG"] !== undefined)
        process.stderr.write(`--- ${name}\n${readFileSync(log, "utf8")}`)
    }),
  )
  return {
    dataplane: yield* Native.make({ address }),
    underlayPrefix,
    attach: (device) => bridge.attach(kernelName(device)),
    send: (device, frame) => bridge.send(kernelName(device), frame),
    receiveUntil: (device, fits, what) =>
      Effect.suspend(() => {
        const seen: Array<Bytes> = []
        return Queue.take(bridge.frames(kernelName(device))).pipe(
          Effect.tap((frame) => Effect.sync(() => seen.push(frame))),
          Effect.repeat({ until: fits }),
          Effect.as(seen),
          Effect.timeoutOrElse({
            duration: frameDeadline,
            orElse: () =>
              Effect.fail(
                new NoFrame({
                  message: `${device}: no ${what} in ${frameDeadline}, ${seen.length} other frames`,
                }),
              ),
          }),
        )
      }),
    restart: Effect.gen(function* () {
      yield* stop(child, "SIGKILL")
      child = yield* start
    }),
  } satisfies ContractHost as ContractHost
})

export const layerNativeHosts: Layer.Layer<ContractHosts> = Layer.effect(
  ContractHosts,
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "fdt-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
    )
    const bridge = yield* startBridge
    let next = 0
    return {
      first: yield* nativeHost("first", settings.prefixes[0], folder, bridge),
      second: yield* nativeHost("second", settings.prefixes[1], folder, bridge),
      device: () => `vtap:fdt${process.pid.toString(36)}-${(next++).toString(36)}`,
    }
  }),
)
