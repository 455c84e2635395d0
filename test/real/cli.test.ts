import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"

const root = path.resolve(import.meta.dirname, "../..")
const main = path.join(root, "src/runtime/cli/main.ts")
const node = process.execPath
const folder = mkdtempSync(path.join(tmpdir(), "ferrite-cli-"))
const gateway = `unix:${folder}/gateway.sock`

/** As the launcher does: the second start of the program is the fast one. */
const env = {
  ...process.env,
  FERRITE_GATEWAY: gateway,
  NO_COLOR: "1",
  NODE_COMPILE_CACHE: path.join(root, ".ferrite/cache/node"),
}

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs the CLI to its end. */
const ferrite = (args: ReadonlyArray<string>, input = ""): Promise<Ended> =>
  new Promise((resolve) => {
    const child = execFile(
      node,
      ["--disable-warning=ExperimentalWarning", main, ...args],
      { env, timeout: 60_000 },
      (error, stdout, stderr) => resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    )
    child.stdin?.end(input)
  })

const network = (name: string, labels = "") =>
  `apiVersion: networking.ironcore.dev/v1alpha1\nkind: Network\nmetadata: {name: ${name}, labels: {${labels}}}\n`

const nic = (name: string, address: string) =>
  `apiVersion: networking.ironcore.dev/v1alpha1\nkind: NetworkInterface\nmetadata: {name: ${name}}\nspec: {networkRef: {name: blue}, ips: [{value: ${address}}]}\n`

let controller: ChildProcess | undefined

beforeAll(async () => {
  controller = spawn(node, [main, "controller", "--store", "memory", "--listen", gateway], {
    stdio: "ignore",
  })
  for (let attempt = 0; attempt < 60; attempt++) {
    if ((await ferrite(["get", "networks"])).code === 0) return
  }
  throw new Error("the controller does not answer")
})

afterAll(async () => {
  const ended = new Promise<number | null>((resolve) => controller?.once("exit", resolve))
  controller?.kill("SIGTERM")
  assert.strictEqual(await ended, 0, "a role that is told to end has not failed")
  rmSync(folder, { recursive: true, force: true })
})

describe("ferrite", { timeout: 120_000 }, () => {
  it("applies from standard input, waits, and shows what it has as a table, YAML and names", async () => {
    const applied = await ferrite(
      ["apply", "-f-", "--wait"],
      `${network("blue", "tier: web")}---\n${nic("nic-a", "10.0.0.1")}`,
    )
    assert.strictEqual(applied.stdout, "network/blue created\nnetworkinterface/nic-a created\n")
    const again = await ferrite(["apply", "-f", "-"], network("blue", "tier: web"))
    assert.strictEqual(again.stdout, "network/blue unchanged\n")
    const table = await ferrite(["get", "networks", "-owide"])
    assert.match(table.stdout, /^NAME +STATE +PROVIDERID +AGE +VNI +PEERINGS\nblue +Available +ironcore-net:/)
    const yaml = await ferrite(["get", "net", "blue", "-o", "yaml"])
    assert.match(yaml.stdout, /^apiVersion: networking\.ironcore\.dev\/v1alpha1\nkind: Network\n/)
    assert.strictEqual(
      (await ferrite(["get", "nets", "-l", "tier in (web)", "-o", "name"])).stdout,
      "network/blue\n",
    )
    // What was printed can be applied again.
    assert.strictEqual((await ferrite(["apply", "-f", "-"], yaml.stdout)).stdout, "network/blue unchanged\n")
  })

  it("gives every manifest its verdict, names the line and the fields, and ends with status 1", async () => {
    const ended = await ferrite(["apply", "-f", "-"], `${nic("nic-bad", "10.0.0.300")}---\n${network("red")}`)
    assert.strictEqual(ended.code, 1)
    assert.strictEqual(ended.stdout, "network/red created\n")
    assert.include(ended.stderr, "Error: standard input:1: NetworkInterface nic-bad is not valid")
    assert.include(ended.stderr, "  spec.ips[0].value: ")
  })

  it("attaches, tells what it waits for, describes, detaches and deletes", async () => {
    assert.strictEqual((await ferrite(["attach", "nic-a", "--node", "host-9"])).code, 0)
    const other = await ferrite(["attach", "nic-a", "--node", "host-8"])
    assert.include(other.stderr, "attached to node host-9")
    const late = await ferrite(["attach", "nic-a", "--node", "host-9", "--wait", "--timeout", "300ms"])
    assert.strictEqual(late.code, 1)
    assert.include(late.stderr, "NodeNotFound")
    const described = await ferrite(["describe", "nic", "nic-a"])
    for (const part of ["Conditions:", "NodeNotFound", "Refers to:  network/blue", "Events:"]) {
      assert.include(described.stdout, part)
    }
    const used = await ferrite(["delete", "network", "blue", "--timeout", "300ms"])
    assert.include(used.stderr, "default/nic-a")
    assert.strictEqual((await ferrite(["detach", "nic-a"])).stdout, "networkinterface/nic-a detached\n")
    const gone = await ferrite(["delete", "nic/nic-a"])
    assert.deepStrictEqual([gone.stdout, gone.code], ["networkinterface/nic-a deleted\n", 0])
    assert.strictEqual((await ferrite(["delete", "net", "blue", "--ignore-not-found"])).code, 0)
    assert.strictEqual((await ferrite(["delete", "net", "blue"])).code, 1)
  })

  it("follows changes until it is told to end", async () => {
    const child = spawn(node, [main, "get", "networks", "-w", "--gateway", gateway], {
      env,
      stdio: ["ignore", "pipe", "ignore"],
    })
    let seen = ""
    const arrives = (text: string) =>
      new Promise<void>((resolve) => {
        const look = () => (seen.includes(text) ? resolve() : undefined)
        child.stdout.on("data", look)
        look()
      })
    child.stdout.on("data", (chunk: Buffer) => (seen += chunk.toString()))
    await arrives("NAME")
    await ferrite(["apply", "-f", "-"], network("green"))
    await arrives("green")
    await ferrite(["delete", "network", "green"])
    await arrives("Deleted")
    child.kill("SIGINT")
    assert.strictEqual(await new Promise((resolve) => child.once("exit", resolve)), 130)
  })

  it("ends with status 2 and a hint where the command line is wrong", async () => {
    for (const args of [["nope"], ["get", "pods"], ["get", "nets", "--colour"], ["demo", "--hosts", "1"]]) {
      const ended = await ferrite(args)
      assert.strictEqual(ended.code, 2, args.join(" "))
      assert.match(ended.stderr, /^Error: /)
    }
    writeFileSync(
      `${folder}/other.yaml`,
      network("blue").replace("{name: blue", "{namespace: prod, name: blue"),
    )
    const contradiction = await ferrite(["apply", "-f", `${folder}/other.yaml`, "-n", "test"])
    assert.strictEqual(contradiction.code, 2)
  })

  it("says where it looked and what to do where no region answers", async () => {
    const ended = await ferrite(["get", "networks", "--gateway", `unix:${folder}/nobody.sock`])
    assert.strictEqual(ended.code, 1)
    assert.include(ended.stderr, `unix:${folder}/nobody.sock does not answer`)
    assert.include(ended.stderr, "ferrite demo")
  })

  it("has help with examples, and completions for shells", async () => {
    const help = await ferrite(["get", "--help"])
    assert.include(help.stdout, "ferrite get nics -o wide")
    const bash = await ferrite(["--completions", "bash"])
    assert.include(bash.stdout, "complete -F")
    assert.match((await ferrite(["--version"])).stdout, /ferrite.*\d+\.\d+\.\d+/)
  })
})
