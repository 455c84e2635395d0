/** The life of the program: its identity, its devices and its address, from start to SIGTERM. */
import * as fs from "node:fs"
import * as net from "node:net"
import { assert, describe, it } from "vitest"
import { collect, makeFolder, missing, spawn, start, until } from "./dataplane-grpc-harness.ts"
import { interfaceRequest, text } from "./dataplane-grpc-requests.ts"

if (missing !== undefined) console.warn(`SKIPPED test/real/dataplane-grpc-process: ${missing}`)

describe.skipIf(missing !== undefined)("the process of a dataplane", () => {
  it("has another uuid after each start, and tells watchers before it ends", async () => {
    const folder = makeFolder()
    const uuids: Array<string> = []
    for (let i = 0; i < 2; ++i) {
      const dataplane = await start(folder)
      const watch = collect(dataplane.health["Watch"]({ service: "" }))
      uuids.push((await dataplane.call("initialize")).response.uuid)
      assert.strictEqual((await dataplane.call("checkInitialized")).response.uuid, uuids[i])
      assert.strictEqual(await dataplane.stop(), 0)
      assert.deepStrictEqual(
        (await watch).messages.map((message) => message.status),
        ["SERVING", "NOT_SERVING"],
      )
      assert.isFalse(fs.existsSync(dataplane.socket))
    }
    for (const uuid of uuids)
      assert.match(uuid, /^[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$/)
    assert.notStrictEqual(uuids[0], uuids[1])
    fs.rmSync(folder, { recursive: true })
  })

  it("makes TAPs on demand, and SIGTERM leaves none", async () => {
    const folder = makeFolder()
    const dataplane = await start(folder)
    const names = [0, 1].map((i) => `ffr${process.pid}-${i}`)
    const exists = (name: string | undefined) => fs.existsSync(`/sys/class/net/${name}`)
    await dataplane.call("initialize")
    for (const [i, name] of names.entries()) {
      const request = interfaceRequest({
        interfaceId: text(`vm-${i}`),
        ipv4Config: { primaryAddress: text(`10.0.0.${i + 1}`) },
        deviceName: `vtap:${name}`,
      })
      const made = (await dataplane.call("createInterface", request)).response
      assert.deepStrictEqual([made.status.code, made.vf?.name], [0, name])
      assert.isTrue(exists(name))
    }
    assert.strictEqual(
      (await dataplane.call("deleteInterface", { interfaceId: text("vm-0") })).response.status.code,
      0,
    )
    await until("the TAP of a deleted interface is gone", () => !exists(names[0]))
    assert.isTrue(exists(names[1]))
    assert.strictEqual(await dataplane.stop(), 0)
    assert.isFalse(exists(names[1]))
    fs.rmSync(folder, { recursive: true })
  })

  it("refuses an address that another one serves, and takes over a stale socket", async () => {
    const folder = makeFolder()
    const dataplane = await start(folder)
    const second = spawn(folder)
    let log = ""
    second.stderr.on("data", (chunk: Buffer) => (log += chunk.toString()))
    const code = await new Promise((resolve) => second.on("close", resolve))
    assert.strictEqual(code, 1)
    assert.include(log, "--grpc: another program listens")
    assert.strictEqual((await dataplane.call("initialize")).response.status.code, 0)
    assert.strictEqual(await dataplane.stop(), 0)
    const holder = net.createServer()
    await new Promise<void>((resolve) => holder.listen(`${dataplane.socket}-alive`, resolve))
    fs.renameSync(`${dataplane.socket}-alive`, dataplane.socket)
    await new Promise((resolve) => holder.close(resolve))
    assert.isTrue(fs.existsSync(dataplane.socket))
    const third = await start(folder)
    assert.strictEqual((await third.call("initialize")).response.status.code, 0)
    assert.strictEqual(await third.stop(), 0)
    fs.rmSync(folder, { recursive: true })
  })
})
