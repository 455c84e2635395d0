/**
 * A demo that runs beside a test, as a user would have it in another terminal: started by the launcher, asked by the
 * CLI, its VMs entered through their namespaces, ended by SIGINT. Waits poll with a deadline; nothing else waits.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import * as path from "node:path"
import { setTimeout as pause } from "node:timers/promises"

export const root = path.resolve(import.meta.dirname, "../..")
export const runFolder = path.join(root, ".ferrite/run")

export interface Ran {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export const run = (command: string, args: ReadonlyArray<string>, input?: string): Ran => {
  const { status, stderr, stdout } = spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
    timeout: 60_000,
    maxBuffer: 64 * 1024 * 1024,
    ...(input === undefined ? {} : { input }),
  })
  return { status: status ?? -1, stdout, stderr }
}

export const ferrite = (...args: ReadonlyArray<string>): Ran => run(path.join(root, "ferrite"), args)

export const ferriteWith = (input: string, ...args: ReadonlyArray<string>): Ran =>
  run(path.join(root, "ferrite"), args, input)

/** Runs in the VM of an interface. */
export const inVm = (nic: string, ...command: ReadonlyArray<string>): Ran =>
  run("ip", ["netns", "exec", `ferrite-vm-${nic}`, ...command])

export const startInVm = (nic: string, ...command: ReadonlyArray<string>): ChildProcess =>
  spawn("ip", ["netns", "exec", `ferrite-vm-${nic}`, ...command], { stdio: ["ignore", "pipe", "pipe"] })

/** All that a child wrote, once it has ended. */
export const outputOf = (child: ChildProcess): Promise<string> =>
  new Promise((resolve) => {
    let text = ""
    child.stdout?.on("data", (chunk) => (text += String(chunk)))
    child.stderr?.on("data", (chunk) => (text += String(chunk)))
    child.once("close", () => resolve(text))
  })

/** The first value that is not undefined. */
export const eventually = async <A>(
  what: string,
  seconds: number,
  probe: () => A | undefined,
): Promise<A> => {
  const deadline = Date.now() + seconds * 1000
  for (;;) {
    const value = probe()
    if (value !== undefined) return value
    if (Date.now() > deadline) throw new Error(`${what}: not within ${seconds} s`)
    await pause(50)
  }
}

export const until = (what: string, seconds: number, holds: () => boolean): Promise<true> =>
  eventually(what, seconds, () => (holds() ? true : undefined))

/** Process ids of the running demo, by name; the newest life of each. */
export const pidOf = (name: string): number | undefined =>
  readFileSync(path.join(runFolder, "ledger.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { readonly _tag: string; readonly name: string; readonly pid: number })
    .findLast((entry) => entry._tag === "Process" && entry.name === name)?.pid

export interface RunningDemo {
  readonly output: () => string
  /** SIGINT; its exit status. */
  readonly stop: () => Promise<number | null>
}

export const startDemo = async (...args: ReadonlyArray<string>): Promise<RunningDemo> => {
  const child = spawn(path.join(root, "ferrite"), ["demo", ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  })
  let text = ""
  child.stdout.on("data", (chunk) => (text += String(chunk)))
  child.stderr.on("data", (chunk) => (text += String(chunk)))
  const ended = new Promise<number | null>((resolve) => child.once("close", (status) => resolve(status)))
  const up = () => /Ctrl-C/.test(text)
  await until("the demo is up", 600, () => up() || child.exitCode !== null)
  if (!up()) throw new Error(`the demo did not come up:\n${text}`)
  return {
    output: () => text,
    stop: () => {
      child.kill("SIGINT")
      return ended
    },
  }
}

export const canRunReal = process.getuid?.() === 0
