import { assert, describe, it } from "@effect/vitest"
import { execFileSync, spawn } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import * as path from "node:path"

const root = path.resolve(import.meta.dirname, "../..")
const launcher = path.join(root, "ferrite")
const run = path.join(root, ".ferrite/run")
const native = process.getuid?.() === 0 && existsSync(path.join(root, "dataplane/build/ferrite-dataplane"))

const start = (...args: ReadonlyArray<string>) => {
  const child = spawn(launcher, ["demo", ...args], { stdio: ["ignore", "pipe", "pipe"] })
  let output = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => (output += chunk.toString()))
  }
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve))
  /** Until the demo has said this; fails when it ends first. */
  const says = async (text: string) => {
    let over = false
    void ended.then(() => (over = true))
    while (!output.includes(text)) {
      assert.isFalse(over, `ended before it said "${text}":\n${output}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  return { child, ended, says, output: () => output }
}

const commandLine = (pid: string): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")
  } catch {
    return ""
  }
}

/** What a demo of this checkout could have left in the machine. */
const leftovers = (): ReadonlyArray<string> => {
  const namespaces = existsSync("/run/netns") ? readdirSync("/run/netns") : []
  const links = execFileSync("ip", ["-o", "link", "show"], { encoding: "utf8" }).split("\n")
  const processes = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => `${pid} ${commandLine(pid)}`)
    .filter((line) => line.includes(`${run}/`))
  return [
    ...namespaces.filter((name) => /^ferrite-(host-|vm-|underlay)/.test(name)),
    ...links.filter((line) => line.includes("ftap-")),
    ...processes,
    ...(existsSync(run) ? readdirSync(run).filter((name) => name !== "logs") : []),
  ]
}

const shown = [
  "VMs plugged in, addresses by DHCP",
  "$ ferrite get nics",
  "nic-a pings nic-b",
  "nic-a pings nic-c",
  "nic-a sends to nic-c",
  "nic-d saw 0",
  "not reached, as it should be",
  "From accepted to programmed",
  "All checks are good",
]

describe.skipIf(!native)("the demo on the native dataplane", { timeout: 900_000 }, () => {
  it("that is killed leaves its end to the next one, which shows everything and leaves nothing", async () => {
    const killed = start()
    await killed.says("Ctrl-C removes everything")
    const second = start()
    assert.strictEqual(await second.ended, 1)
    assert.include(second.output(), "a demo is running already")
    killed.child.kill("SIGKILL")
    await killed.ended
    const demo = start("--exit")
    assert.strictEqual(await demo.ended, 0, demo.output())
    assert.include(demo.output(), "removed what an earlier demo left behind")
    for (const part of shown) assert.include(demo.output(), part)
    assert.notInclude(demo.output(), "✗")
    assert.deepStrictEqual(leftovers(), [])
  })

  it("puts real frames on a bridge with --underlay veth, and leaves nothing", async () => {
    const demo = start("--exit", "--underlay", "veth")
    assert.strictEqual(await demo.ended, 0, demo.output())
    for (const part of shown) assert.include(demo.output(), part)
    assert.deepStrictEqual(leftovers(), [])
  })

  it("leaves nothing when it is interrupted on its way up", async () => {
    const demo = start()
    await demo.says("region started")
    demo.child.kill("SIGINT")
    assert.strictEqual(await demo.ended, 130)
    assert.deepStrictEqual(leftovers(), [])
  })
})

describe("the demo on the model dataplane", { timeout: 120_000 }, () => {
  it("shows the same without root, says that it is the model, and serves other terminals meanwhile", async () => {
    const demo = start("--dataplane", "model")
    await demo.says("Ctrl-C ends it")
    assert.include(demo.output(), "on the model dataplane")
    for (const part of shown.slice(1, -1)) assert.include(demo.output(), part)
    assert.notInclude(demo.output(), "✗")
    const nics = execFileSync(launcher, ["get", "nics", "-o", "name"], { encoding: "utf8" })
    assert.deepStrictEqual(
      nics.trim().split("\n"),
      ["nic-a", "nic-b", "nic-c", "nic-d"].map((name) => `networkinterface/${name}`),
    )
    demo.child.kill("SIGINT")
    assert.strictEqual(await demo.ended, 0)
    assert.isFalse(existsSync(`${run}/gateway`))
  })
})
