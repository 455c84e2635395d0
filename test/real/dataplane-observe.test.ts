/**
 * What a running dataplane shows of its packets: captures, traces, flows, counters, metrics. One dataplane with TAPs in
 * namespaces, and an uplink that leads to nobody.
 */
import { create } from "@bufbuild/protobuf"
import * as grpc from "@grpc/grpc-js"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { DPDKironcore, IpVersion } from "#gen/dpdkironcore/v1/dpdk_pb.ts"
import { DataplaneService } from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import { CaptureDirection, FlowEventKind, ObserveService } from "#gen/ferrite/dataplane/v1/observe_pb.ts"
import { definitionOf } from "#runtime/grpc/GrpcService.ts"
import {
  applyStream,
  ask,
  binary,
  type Client,
  collect,
  makeFolder,
  missing,
  until,
} from "./dataplane-grpc-harness.ts"

const name = `obs${process.pid % 100_000}`
const folder = makeFolder()
const metricsPort = 20_000 + (process.pid % 20_000)
const vms = { a: "10.0.0.1", b: "10.0.0.2" } as const

const run = (command: string, ...args: ReadonlyArray<string>) => {
  const done = childProcess.spawnSync(command, args, { encoding: "utf8", timeout: 30_000 })
  return { status: done.status, output: `${done.stdout}${done.stderr}` }
}
const must = (command: string, ...args: ReadonlyArray<string>): string => {
  const { output, status } = run(command, ...args)
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${output}`)
  return output
}
const inVm = (vm: string, ...args: ReadonlyArray<string>) =>
  run("ip", "netns", "exec", `${name}-${vm}`, ...args)

let child: childProcess.ChildProcess
let observe: Client
let ferrite: Client
let ironcore: Client

const clientOf = (service: any): Client =>
  new (grpc.makeGenericClientConstructor(definitionOf(service), "Service"))(
    `unix:${folder}/grpc.sock`,
    grpc.credentials.createInsecure(),
  ) as unknown as Client

const stream = (method: keyof typeof ObserveService.method, init: any): grpc.ClientReadableStream<any> =>
  observe[method](create(ObserveService.method[method].input as any, init), new grpc.Metadata(), {
    deadline: Date.now() + 40_000,
  })
const trace = async (init: any) => {
  const answer = await ask(observe, "trace", create(ObserveService.method.trace.input, init))
  assert.strictEqual(answer.code, 0, answer.details)
  return answer.response as {
    steps: Array<{
      decision: string
      rule: string
      text: string
      route: string
      address: string
      port: number
    }>
    drop: string
    packet: Uint8Array
    byUplink: boolean
    toInterface: string
  }
}
const from = (source: string, destination: string, more: any = {}) => ({
  case: "description",
  value: { source, destination, ...more },
})
const counters = async (): Promise<Map<string, bigint>> => {
  const { response } = await ask(
    ferrite,
    "getCounters",
    create(DataplaneService.method.getCounters.input, {}),
  )
  return new Map(response.counters.map((each: any) => [each.name, each.value]))
}
const listed = async (init: any = {}): Promise<Array<any>> => {
  const { messages } = await collect(stream("listFlows", init))
  return messages.flatMap((message) => message.flows)
}

/** A VM: a namespace with the TAP of its interface, which knows the gateway. */
const boot = (vm: keyof typeof vms, gateway: string) => {
  const space = `${name}-${vm}`
  must("ip", "netns", "add", space)
  must("ip", "link", "set", `${name}${vm}`, "netns", space)
  const ip = (...args: ReadonlyArray<string>) => must("ip", "-n", space, ...args)
  ip("addr", "add", `${vms[vm]}/24`, "dev", `${name}${vm}`)
  ip("link", "set", `${name}${vm}`, "up")
  ip("link", "set", "lo", "up")
  for (const other of ["10.0.0.1", "10.0.0.2", "10.0.0.254"].filter((address) => address !== vms[vm]))
    ip("neigh", "add", other, "lladdr", gateway, "dev", `${name}${vm}`, "nud", "permanent")
  ip("route", "add", "default", "via", "10.0.0.254", "dev", `${name}${vm}`)
}

const setUp = async () => {
  fs.mkdirSync(path.join(folder, "wire"))
  child = childProcess.spawn(
    binary,
    [
      `--grpc=unix:${folder}/grpc.sock`,
      "--underlay=fd00:f:1::/64",
      `--uplink=up=wire:${folder}/wire`,
      `--metrics=127.0.0.1:${metricsPort}`,
      `--name=${name}`,
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  )
  let log = ""
  child.stderr?.on("data", (chunk: Buffer) => (log += chunk.toString()))
  await until("the dataplane listens", () => {
    if (child.exitCode !== null) throw new Error(log)
    return log.includes('msg="listening"')
  })
  observe = clientOf(ObserveService)
  ferrite = clientOf(DataplaneService)
  ironcore = clientOf(DPDKironcore)
  await ask(ironcore, "initialize", create(DPDKironcore.method.initialize.input, {}))
  const apply = applyStream(ferrite)
  const created = (id: string, vni: number, ipv4: string, device: string) => ({
    case: "createInterface",
    value: { id, vni, ipv4, device },
  })
  const answer = await apply.send(1n, [
    created("vm-a", 100, vms.a, `vtap:${name}a`),
    created("vm-b", 100, vms.b, `vtap:${name}b`),
    created("vm-c", 200, "10.0.0.9", `vtap:${name}c`),
    { case: "putRoute", value: { vni: 100, prefix: "0.0.0.0/0", nextHop: "fd00:f:9::1" } },
    { case: "putNat", value: { interface: "vm-a", ip: "203.0.113.1", minPort: 1024, maxPort: 2048 } },
    {
      case: "putFirewall",
      value: {
        interface: "vm-b",
        ingress: 0,
        rules: [
          { id: "no-telnet", accept: false, protocol: 6, destinationPorts: { first: 23, last: 23 } },
          { id: "from-friends", accept: true, source: "10.0.0.0/24" },
        ],
      },
    },
  ])
  for (const result of answer.results) assert.strictEqual(result.code, 0, result.message)
  apply.end()
  boot("a", answer.results[0].interface.gatewayMac)
  boot("b", answer.results[1].interface.gatewayMac)
  await until("the VMs hear each other", () => inVm("a", "ping", "-c1", "-W1", vms.b).status === 0)
}

describe.skipIf(missing !== undefined)("what a dataplane shows", () => {
  beforeAll(setUp, 60_000)
  afterAll(async () => {
    for (const client of [observe, ferrite, ironcore]) client?.close()
    if (child !== undefined && child.exitCode === null) {
      const exited = new Promise((resolve) => child.on("exit", resolve))
      child.kill("SIGTERM")
      await exited
    }
    for (const vm of Object.keys(vms)) run("ip", "netns", "del", `${name}-${vm}`)
    fs.rmSync(folder, { recursive: true, force: true })
  }, 30_000)

  it("a capture during traffic has every packet that its filter matches, and costs none", async () => {
    const call = stream("capture", {
      interfaces: ["vm-a"],
      filter: `icmp and host ${vms.b}`,
      filterInner: true,
      packetLimit: 1000n,
    })
    const ended = collect(call)
    await new Promise((resolve) => call.once("data", resolve))
    const ping = inVm("a", "ping", "-q", "-i", "0.002", "-c", "500", vms.b)
    assert.include(ping.output, " 0% packet loss")
    const { code, details, messages } = await ended
    assert.strictEqual(code, 0, details)
    const file = path.join(folder, "a.pcapng")
    fs.writeFileSync(file, Buffer.concat(messages.map(({ pcapng }) => pcapng)))
    const lines = must("tcpdump", "-n", "-tt", "--nano", "-r", file)
      .split("\n")
      .filter((line) => line.includes("ICMP echo"))
    assert.strictEqual(lines.length, 1000)
    assert.strictEqual(
      lines.filter((line) => line.includes(`${vms.a} > ${vms.b}: ICMP echo request`)).length,
      500,
    )
    assert.strictEqual(
      lines.filter((line) => line.includes(`${vms.b} > ${vms.a}: ICMP echo reply`)).length,
      500,
    )
  }, 60_000)

  it("a capture ends with its client, and others go on", async () => {
    const calls = Array.from({ length: 8 }, () => stream("capture", { snapLength: 64 }))
    const ends = calls.map((call) => {
      const status = new Promise<number>((resolve) => call.on("status", ({ code }) => resolve(code)))
      call.on("error", () => undefined)
      return status
    })
    await Promise.all(calls.map((call) => new Promise((resolve) => call.once("data", resolve))))
    const ninth = await collect(stream("capture", {}))
    assert.strictEqual(ninth.code, grpc.status.RESOURCE_EXHAUSTED)
    for (const call of calls) call.cancel()
    assert.deepStrictEqual(new Set(await Promise.all(ends)), new Set([grpc.status.CANCELLED]))
    await until("places are free again", async () => {
      const again = await collect(stream("capture", { seconds: 1, interfaces: ["vm-b"] }))
      return again.code === 0
    })
  }, 60_000)

  it("refuses what cannot be captured, in words", async () => {
    const filter = await collect(stream("capture", { interfaces: ["vm-a"], filter: "tcp porrt 80" }))
    assert.strictEqual(filter.code, grpc.status.INVALID_ARGUMENT)
    assert.include(filter.details, "syntax error")
    const unknown = await collect(stream("capture", { interfaces: ["vm-z"] }))
    assert.deepStrictEqual(
      [unknown.code, unknown.details],
      [grpc.status.NOT_FOUND, "there is no interface or port vm-z"],
    )
  })

  it("a capture at the uplink has outer packets, by what is in them", async () => {
    const call = stream("capture", {
      uplinks: ["up"],
      direction: CaptureDirection.OUT,
      filter: "dst host 198.51.100.7",
      filterInner: true,
      packetLimit: 1n,
    })
    const ended = collect(call)
    await new Promise((resolve) => call.once("data", resolve))
    inVm("a", "ping", "-c1", "-W1", "198.51.100.7")
    const { messages } = await ended
    const file = path.join(folder, "up.pcapng")
    fs.writeFileSync(file, Buffer.concat(messages.map(({ pcapng }) => pcapng)))
    assert.match(
      must("tcpdump", "-n", "-r", file),
      /fd00:f:9::1: .*203\.0\.113\.1 > 198\.51\.100\.7: ICMP echo/,
    )
  }, 30_000)

  it("a trace names the rule that accepts, and the one that refuses", async () => {
    const allowed = await trace({
      interface: "vm-a",
      packet: from(vms.a, vms.b, { protocol: 6, sourcePort: 5000, destinationPort: 80 }),
    })
    assert.deepStrictEqual([allowed.drop, allowed.toInterface], ["", "vm-b"])
    assert.deepInclude(
      allowed.steps.map(({ decision, rule }) => [decision, rule]),
      ["accepted", "from-friends"],
    )
    const denied = await trace({
      interface: "vm-a",
      packet: from(vms.a, vms.b, { protocol: 6, sourcePort: 5000, destinationPort: 23 }),
    })
    assert.strictEqual(denied.drop, "drop.firewall_ingress")
    assert.strictEqual(denied.packet.length, 0)
    assert.deepInclude(
      denied.steps.map(({ decision, rule }) => [decision, rule]),
      ["denied", "no-telnet"],
    )
  })

  it("a trace says that there is no route", async () => {
    const lost = await trace({ interface: "vm-c", packet: from("10.0.0.9", "192.0.2.1") })
    assert.strictEqual(lost.drop, "drop.route_miss")
    assert.include(
      lost.steps.map(({ text }) => text),
      "no route in VNI 200",
    )
  })

  it("a trace shows what NAT makes of a packet, and that a question changes nothing", async () => {
    const before = await listed({ address: "198.51.100.8" })
    const out = await trace({
      interface: "vm-a",
      packet: from(vms.a, "198.51.100.8", { protocol: 6, sourcePort: 5001, destinationPort: 443 }),
    })
    assert.isTrue(out.byUplink)
    const nat = out.steps.find(({ decision }) => decision === "nat")
    assert.strictEqual(nat?.address, "203.0.113.1")
    assert.isTrue((nat?.port ?? 0) >= 1024 && (nat?.port ?? 0) < 2048)
    assert.strictEqual(out.steps.find(({ decision }) => decision === "remote")?.route, "100 0.0.0.0/0")
    // The inner source of the packet that would leave.
    assert.deepStrictEqual([...out.packet.subarray(52, 56)], [203, 0, 113, 1])
    assert.deepStrictEqual(await listed({ address: "198.51.100.8" }), before)
    await trace({
      interface: "vm-a",
      inject: true,
      packet: from(vms.a, "198.51.100.8", { protocol: 6, sourcePort: 5001, destinationPort: 443 }),
    })
    const [flow] = await listed({ address: "198.51.100.8" })
    assert.deepInclude(flow, {
      interface: "vm-a",
      source: vms.a,
      sourcePort: 5001,
      protocol: 6,
      fromVm: true,
    })
    assert.strictEqual(flow.translation.source, "203.0.113.1")
  })

  it("live packets are traced as they pass", async () => {
    const ended = collect(
      stream("traceLive", { interfaces: ["vm-a"], filter: "icmp", filterInner: true, count: 3, seconds: 20 }),
    )
    await new Promise((resolve) => setTimeout(resolve, 300))
    const ping = inVm("a", "ping", "-q", "-i", "0.01", "-c", "20", vms.b)
    assert.include(ping.output, " 0% packet loss")
    const { code, messages } = await ended
    assert.strictEqual(code, 0)
    assert.strictEqual(messages.length, 3)
    for (const { interface: where, trace: seen } of messages) {
      assert.strictEqual(where, "vm-a")
      assert.strictEqual(seen.toInterface, "vm-b")
      assert.include(
        ["begun", "live", "again"],
        seen.steps.find((step: any) => step.stage === 2 && step.decision !== "none")?.decision,
      )
    }
  }, 30_000)

  it("flows are told as they begin and are refused, by their rule", async () => {
    const call = stream("flows", { kinds: [FlowEventKind.BEGUN, FlowEventKind.REFUSED] })
    const events: Array<any> = []
    call.on("data", (message) => events.push(...message.events))
    call.on("error", () => undefined)
    await new Promise((resolve) => setTimeout(resolve, 400))
    inVm("a", "timeout", "1", "bash", "-c", `echo > /dev/tcp/${vms.b}/23`)
    inVm("a", "timeout", "1", "bash", "-c", `echo > /dev/tcp/${vms.b}/8080`)
    await until("both are told", () => events.length >= 2)
    call.cancel()
    const refused = events.find(({ flow }) => flow.destinationPort === 23)
    assert.deepInclude(refused, { kind: FlowEventKind.REFUSED })
    assert.deepInclude(refused.flow, { rule: "no-telnet", source: vms.a, destination: vms.b, protocol: 6 })
    const begun = events.find(({ flow }) => flow.destinationPort === 8080)
    assert.deepInclude(begun, { kind: FlowEventKind.BEGUN })
    assert.strictEqual(begun.flow.rule, "from-friends")
  }, 30_000)

  it("counters have names of interfaces, rules, NATs and tables; Prometheus reads them", async () => {
    const all = await counters()
    assert.isTrue((all.get("interface.vm-a.rx_packets") ?? 0n) > 500n)
    assert.isTrue((all.get("interface.vm-b.tx_packets") ?? 0n) > 500n)
    assert.isTrue((all.get("firewall.vm-b.no-telnet.packets") ?? 0n) > 0n)
    assert.isTrue((all.get("nat.vm-a.tcp.ports") ?? 0n) > 0n)
    assert.strictEqual(all.get("table.interfaces.used"), 3n)
    const answer = await fetch(`http://127.0.0.1:${metricsPort}/metrics`)
    assert.strictEqual(answer.status, 200)
    const text = await answer.text()
    for (const line of text.split("\n").filter((each) => each !== "" && !each.startsWith("#")))
      assert.match(line, /^[a-z_]+\{node_name="[^"]+"(,[a-z_]+="[^"]*")*\} [0-9.]+$/)
    assert.match(text, /^ferrite_interface_rx_packets_total\{.*interface="vm-a"\} [0-9]+$/m)
    assert.match(text, /^ferrite_drops_total\{.*reason="firewall_ingress"\} [1-9]/m)
    assert.match(text, /^dps_nat_used_ports_count\{.*interface="vm-a"\} [1-9]/m)
    assert.strictEqual((await fetch(`http://127.0.0.1:${metricsPort}/other`)).status, 404)
    assert.strictEqual(
      (await fetch(`http://127.0.0.1:${metricsPort}/metrics`, { method: "POST" })).status,
      405,
    )
  })

  it("CaptureStart of dpdkironcore.v1 mirrors to a sink, in order of its codes", async () => {
    const call = async (method: keyof typeof DPDKironcore.method, init: any = {}) =>
      (await ask(ironcore, method, create(DPDKironcore.method[method].input as any, init))).response
    const text = (value: string) => new TextEncoder().encode(value)
    const config = (device: string) => ({
      captureConfig: {
        sinkNodeIp: { ipver: IpVersion.IPV6, address: text("fd00:f:9::77") },
        udpSrcPort: 3000,
        udpDstPort: 3001,
        interfaces: [{ interfaceType: 1, spec: { case: "vfName", value: text(device) } }],
      },
    })
    assert.strictEqual((await call("captureStop")).status.code, 211)
    assert.strictEqual((await call("captureStart", config("nothing"))).status.code, 201)
    assert.strictEqual((await call("captureStart", config(`vtap:${name}a`))).status.code, 0)
    assert.strictEqual((await call("captureStart", config(`vtap:${name}a`))).status.code, 210)
    assert.isTrue((await call("captureStatus")).isActive)
    const seen = stream("capture", { uplinks: ["all"], filter: "udp dst port 3001", packetLimit: 2n })
    const ended = collect(seen)
    await new Promise((resolve) => seen.once("data", resolve))
    inVm("a", "ping", "-c", "2", "-i", "0.1", vms.b)
    assert.strictEqual((await ended).code, 0)
    const stopped = await call("captureStop")
    assert.deepStrictEqual([stopped.status.code, stopped.stoppedInterfaceCnt], [0, 1])
    assert.isFalse((await call("captureStatus")).isActive)
  }, 30_000)
})
