/**
 * The region's door with real packets: two hypervisors and an edge on one wire, VMs and a small internet as network
 * namespaces with the kernel's own stack.
 *
 *   vm1 (VIP) vm2 (NAT)   vm3 (NAT) vm4          VNI 100, 10.0.0.0/24, 2001:db8:1::/64
 *        \ first /            \ second /
 *         ------- wire --------------- edge      VNI 200: public addresses and where they are
 *                                        | 198.51.100.2/24, 2001:db8:ff::2/64
 *                                       isp      198.51.100.1: a plain segment, no route to any public IPv4 address
 *                                        | MTU 1400
 *                                       far      203.0.113.7: web server
 *
 * Needs root, /dev/net/tun, Python 3, curl and iperf3, and the built program (FERRITE_DATAPLANE names another).
 */
import { create } from "@bufbuild/protobuf"
import * as grpc from "@grpc/grpc-js"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { DPDKironcore } from "#gen/dpdkironcore/v1/dpdk_pb.ts"
import { DataplaneService } from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import { definitionOf } from "#runtime/grpc/GrpcService.ts"
import { applyStream, ask, binary, type Client, collect, missing, until } from "./dataplane-grpc-harness.ts"

const Ironcore = grpc.makeGenericClientConstructor(definitionOf(DPDKironcore), "DPDKironcore")
const Ferrite = grpc.makeGenericClientConstructor(definitionOf(DataplaneService), "DataplaneService")
const has = (program: string) => childProcess.spawnSync("which", [program]).status === 0
const lacking =
  missing ??
  (!fs.existsSync("/dev/net/tun")
    ? "/dev/net/tun"
    : ["ip", "curl", "iperf3", "ping"].find((program) => !has(program)))
if (lacking !== undefined) console.warn(`SKIPPED test/real/edge: ${lacking}`)

const python = "/usr/bin/python3"
const ns = (name: string) => `edg-${name}`
const vip = "198.51.100.50"
const shared = "198.51.100.60"
const balanced = "198.51.100.70"
const web = "203.0.113.7"

interface Ran {
  readonly status: number | null
  readonly out: string
}

const run = (command: string, ...args: ReadonlyArray<string>): Promise<Ran> =>
  new Promise((resolve) =>
    childProcess.execFile(command, args, { timeout: 40_000 }, (error, stdout, stderr) =>
      resolve({
        status: error === null ? 0 : typeof error.code === "number" ? error.code : 1,
        out: stdout + stderr,
      }),
    ),
  )
const inside = (name: string, ...args: ReadonlyArray<string>): Promise<Ran> =>
  run("ip", "netns", "exec", ns(name), ...args)
const must = async (ran: Promise<Ran>): Promise<string> => {
  const { out, status } = await ran
  if (status !== 0) throw new Error(`status ${status}: ${out}`)
  return out
}

/** Answers every GET with where it runs and who asked. */
const webServer = `
import http.server, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"
    def do_GET(self):
        size = int(self.path[1:] or 0)
        body = (sys.argv[1] + " " + self.client_address[0]).encode() + b"x" * size
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 256
Server(("::", 80), Handler).serve_forever()
`

/** Sends one UDP datagram and waits for its echo; or echoes. */
const udpEcho = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 7))
while True:
    data, who = s.recvfrom(65535)
    s.sendto(("%s:%d " % who).encode() + data, who)
`
const udpAsk = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.sendto(b"a" * int(sys.argv[2]), (sys.argv[1], 7))
print(s.recv(65535)[:40].decode())
`
/** Who answers a UDP datagram with few hops to live: the kernel's own view, by its error queue. */
const traceroute = `
import socket, struct, sys
for ttl in range(1, 5):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
    s.setsockopt(socket.IPPROTO_IP, 11, 1)
    s.settimeout(2)
    s.connect((sys.argv[1], 33434 + ttl))
    s.send(b"hello")
    import select, time
    end = time.time() + 2
    while time.time() < end:
        try:
            data, aux, flags, who = s.recvmsg(512, 512, 0x2000)
        except (BlockingIOError, socket.timeout, OSError):
            time.sleep(0.02)
            continue
        for level, kind, value in aux:
            if level == 0 and kind == 11:
                print(socket.inet_ntoa(value[20:24]), value[5], value[6])
                end = 0
`

describe.skipIf(lacking !== undefined)("a region's door", { timeout: 120_000 }, () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "edg-"))
  const children: Array<childProcess.ChildProcess> = []
  const namespaces = ["vm1", "vm2", "vm3", "vm4", "isp", "far"]
  const dataplanes: Record<string, { readonly client: Client; readonly log: () => string }> = {}

  const dataplane = async (name: string, prefix: string, ...more: ReadonlyArray<string>) => {
    const address = `unix:${path.join(folder, `${name}.sock`)}`
    const child = childProcess.spawn(
      binary,
      [
        `--grpc=${address}`,
        `--underlay=${prefix}`,
        `--uplink=wire:${path.join(folder, "wire")}`,
        `--name=${name}`,
        ...more,
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    )
    children.push(child)
    let log = ""
    child.stderr.on("data", (data) => (log += data))
    const client = new Ferrite(address, grpc.credentials.createInsecure()) as unknown as Client
    dataplanes[name] = { client, log: () => log }
    await until(
      `${name} answers: ${log}`,
      async () => (await ask(client, "getState", create(DataplaneService.method.getState.input))).code === 0,
    )
    const ironcore = new Ironcore(address, grpc.credentials.createInsecure()) as unknown as Client
    const { code } = await ask(ironcore, "initialize", create(DPDKironcore.method.initialize.input))
    assert.strictEqual(code, 0)
  }

  /** Underlay addresses, where there are any. */
  const apply = async (name: string, ...operations: ReadonlyArray<any>): Promise<ReadonlyArray<string>> => {
    const stream = applyStream(dataplanes[name]!.client)
    const answer = await stream.send(1n, operations)
    stream.end()
    for (const [i, result] of answer.results.entries())
      assert.deepStrictEqual([result.code, result.message], [0, "Success"], JSON.stringify(operations[i]))
    return answer.results.map(
      (result: any) => result.underlayAddress || result.interface?.underlayAddress || "",
    )
  }
  const counters = async (name: string): Promise<ReadonlyMap<string, bigint>> => {
    const request = create(DataplaneService.method.getCounters.input)
    const { response } = await ask(dataplanes[name]!.client, "getCounters", request)
    return new Map(response.counters.map((one: any) => [one.name, one.value]))
  }
  const counter = async (name: string, of: string) => (await counters(name)).get(of) ?? 0n

  const background = async (name: string, ...args: ReadonlyArray<string>) => {
    children.push(
      childProcess.spawn("ip", ["netns", "exec", ns(name), ...args], { stdio: "ignore", detached: false }),
    )
  }

  const plug = async (name: string, device: string) => {
    await must(run("ip", "link", "set", device, "netns", ns(name)))
    await must(inside(name, "ip", "link", "set", device, "up"))
    await must(inside(name, "ip", "link", "set", "lo", "up"))
  }
  const guest = async (name: string, ipv4: string, ipv6: string) => {
    const device = ns(name)
    await plug(name, device)
    await must(inside(name, "sysctl", "-qw", `net.ipv6.conf.${device}.accept_ra=0`))
    await must(inside(name, "ip", "addr", "add", `${ipv4}/32`, "dev", device))
    await must(inside(name, "ip", "addr", "add", `${ipv6}/128`, "dev", device, "nodad"))
    await must(inside(name, "ip", "route", "add", "169.254.0.1", "dev", device))
    await must(inside(name, "ip", "route", "add", "default", "via", "169.254.0.1", "dev", device))
    await must(inside(name, "ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", device))
  }

  const route = (vni: number, prefix: string, nextHop: string, nextHopVni = vni) => ({
    case: "putRoute",
    value: { vni, prefix, nextHop, nextHopVni },
  })
  const vm = (name: string, last: number) => ({
    case: "createInterface",
    value: {
      id: name,
      vni: 100,
      ipv4: `10.0.0.${last}`,
      ipv6: `2001:db8:1::${last}`,
      device: `vtap:${ns(name)}`,
    },
  })
  const edgeSpec = {
    name: "door",
    vni: 200,
    device: "outside",
    outsideIpv4: "198.51.100.2/24",
    outsideIpv6: "2001:db8:ff::2/64",
    gatewayIpv4: "198.51.100.1",
    gatewayIpv6: "2001:db8:ff::1",
  }

  const build = async () => {
    for (const name of namespaces) await must(run("ip", "netns", "add", ns(name)))
    await dataplane("first", "fd00:f:1::/64")
    await dataplane("second", "fd00:f:2::/64")
    await dataplane("door", "fd00:f:e::/64", `--port=outside=vtap:${ns("out")}`)
    const [door] = await apply("door", { case: "putEdge", value: edgeSpec })
    const [vm1, , , vip1, target1, nat2] = await apply(
      "first",
      vm("vm1", 1),
      vm("vm2", 2),
      { case: "putRoute", value: { vni: 100, prefix: "0.0.0.0/0", nextHop: door, nextHopVni: 200 } },
      { case: "putVip", value: { interface: "vm1", ip: vip } },
      { case: "putBalancerPrefix", value: { interface: "vm1", prefix: `${balanced}/32` } },
      { case: "putNat", value: { interface: "vm2", ip: shared, minPort: 1024, maxPort: 2048 } },
      route(100, "::/0", door!, 200),
    )
    const [, , target4, nat3, routed] = await apply(
      "second",
      vm("vm3", 3),
      vm("vm4", 4),
      { case: "putBalancerPrefix", value: { interface: "vm4", prefix: `${balanced}/32` } },
      { case: "putNat", value: { interface: "vm3", ip: shared, minPort: 2048, maxPort: 3072 } },
      { case: "putAliasPrefix", value: { interface: "vm4", prefix: "2001:db8:a::/64" } },
      route(100, "0.0.0.0/0", door!, 200),
      route(100, "::/0", door!, 200),
    )
    const balancer = {
      case: "putLoadBalancer",
      value: {
        id: "web",
        vni: 200,
        ip: balanced,
        ports: [{ protocol: 6, first: 80, last: 80 }],
        targets: [target1, target4],
      },
    }
    const [balancer1] = await apply("first", balancer)
    const [balancer2] = await apply("second", balancer)
    await apply(
      "door",
      route(200, `${vip}/32`, vip1!),
      {
        case: "putRoute",
        value: {
          vni: 200,
          prefix: `${balanced}/32`,
          hops: [
            { address: balancer1, vni: 200, weight: 1 },
            { address: balancer2, vni: 200, weight: 1 },
          ],
        },
      },
      route(200, "2001:db8:1::1/128", vm1!),
      route(200, "2001:db8:a::/64", routed!),
      {
        case: "putNeighborNat",
        value: { vni: 200, ip: shared, minPort: 1024, maxPort: 2048, underlayAddress: nat2 },
      },
      {
        case: "putNeighborNat",
        value: { vni: 200, ip: shared, minPort: 2048, maxPort: 3072, underlayAddress: nat3 },
      },
    )
    for (const [name, last] of [
      ["vm1", 1],
      ["vm2", 2],
      ["vm3", 3],
      ["vm4", 4],
    ] as const)
      await guest(name, `10.0.0.${last}`, `2001:db8:1::${last}`)
    for (const name of ["vm1", "vm4"])
      await must(inside(name, "ip", "addr", "add", `${balanced}/32`, "dev", "lo"))
    await must(inside("vm4", "ip", "addr", "add", "2001:db8:a::1/128", "dev", ns("vm4"), "nodad"))

    await plug("isp", ns("out"))
    await must(inside("isp", "ip", "addr", "add", "198.51.100.1/24", "dev", ns("out")))
    await must(inside("isp", "ip", "addr", "add", "2001:db8:ff::1/64", "dev", ns("out"), "nodad"))
    // Public IPv4 needs nothing here; prefixes that are not of the segment are routed to the edge.
    for (const prefix of ["2001:db8:1::/64", "2001:db8:a::/64"])
      await must(inside("isp", "ip", "-6", "route", "add", prefix, "via", "2001:db8:ff::2"))
    await must(inside("isp", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"))
    await must(
      inside("isp", "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv4.icmp_msgs_per_sec=10000"),
    )
    await must(
      run(
        "ip",
        "link",
        "add",
        "edg-a",
        "netns",
        ns("isp"),
        "type",
        "veth",
        "peer",
        "name",
        "edg-b",
        "netns",
        ns("far"),
      ),
    )
    for (const [name, device, ipv4, ipv6] of [
      ["isp", "edg-a", "203.0.113.1/24", "2001:db8:f::1/64"],
      ["far", "edg-b", `${web}/24`, "2001:db8:f::7/64"],
    ] as const) {
      await must(inside(name, "ip", "addr", "add", ipv4, "dev", device))
      await must(inside(name, "ip", "addr", "add", ipv6, "dev", device, "nodad"))
      await must(inside(name, "ip", "link", "set", device, "mtu", "1400", "up"))
      await must(inside(name, "ip", "link", "set", "lo", "up"))
    }
    await must(inside("far", "ip", "route", "add", "default", "via", "203.0.113.1"))
    await must(inside("far", "ip", "-6", "route", "add", "default", "via", "2001:db8:f::1"))
    for (const name of ["vm1", "vm4", "far"]) await background(name, python, "-c", webServer, name)
    await background("far", python, "-c", udpEcho)
    await until(
      "the web server far away",
      async () => (await inside("far", "curl", "-s", `http://${web}/`)).status === 0,
    )
    for (const name of ["vm1", "vm4"])
      await until(name, async () => (await inside(name, "curl", "-s", `http://${balanced}/`)).status === 0)
  }

  const clear = async () => {
    for (const child of children.splice(0)) child.kill("SIGKILL")
    for (const name of namespaces) await run("ip", "netns", "del", ns(name))
  }

  beforeAll(async () => {
    await clear()
    await build()
  }, 120_000)
  afterAll(async () => {
    if (process.env["FERRITE_TEST_LOG"] !== undefined)
      for (const [name, { log }] of Object.entries(dataplanes)) console.log(`--- ${name}\n${log()}`)
    await clear()
    fs.rmSync(folder, { recursive: true, force: true })
  }, 60_000)

  it("is listed as it was put, and put again changes nothing", async () => {
    const before = (await ask(dataplanes["door"]!.client, "getState", {})).response
    await apply("door", { case: "putEdge", value: edgeSpec })
    const after = (await ask(dataplanes["door"]!.client, "getState", {})).response
    assert.strictEqual(after.digest, before.digest)
    const { messages } = await collect(
      dataplanes["door"]!.client["listAll"](create(DataplaneService.method.listAll.input)),
    )
    const edges = messages.flatMap(({ item }) => (item.case === "batch" ? item.value.edges : []))
    assert.strictEqual(edges.length, 1)
    const { device, gatewayIpv4, gatewayIpv6, name, outsideIpv4, outsideIpv6, vni } = edges[0].spec
    assert.deepStrictEqual(
      { name, vni, device, outsideIpv4, outsideIpv6, gatewayIpv4, gatewayIpv6 },
      edgeSpec,
    )
    assert.strictEqual(edges[0].device, ns("out"))
  })

  it("answers echo for its own addresses", async () => {
    await must(inside("isp", "ping", "-c3", "-i0.2", "-W2", "198.51.100.2"))
    await must(inside("isp", "ping", "-c3", "-i0.2", "-W2", "2001:db8:ff::2"))
  })

  it("lets a VM with a VIP be reached, and reach out, on a segment that routes nothing to it", async () => {
    await must(inside("far", "ping", "-c3", "-i0.2", "-W2", vip))
    assert.match(await must(inside("far", "curl", "-sm5", `http://${vip}/`)), /^vm1 ::ffff:203\.0\.113\.7/)
    assert.match(await must(inside("vm1", "curl", "-sm5", `http://${web}/`)), /^far ::ffff:198\.51\.100\.50/)
    await must(inside("vm1", "ping", "-c3", "-i0.2", "-W2", web))
    assert.isAbove(Number(await counter("door", "stage.edge_arp.packets")), 0)
  })

  for (const [name, first] of [
    ["vm2", 1024],
    ["vm3", 2048],
  ] as const)
    it(`brings what answers ${name} by a shared address back to its host`, async () => {
      assert.match(await must(inside(name, "curl", "-sm5", `http://${web}/`)), /^far ::ffff:198\.51\.100\.60/)
      await must(inside(name, "ping", "-c3", "-i0.2", "-W2", web))
      const [, port] =
        /^198\.51\.100\.60:(\d+) /.exec(await must(inside(name, python, "-c", udpAsk, web, "20"))) ?? []
      assert.isTrue(Number(port) >= first && Number(port) < first + 1024, `port ${port}`)
    })

  it("carries fragments both ways", async () => {
    await must(inside("vm2", "ping", "-c2", "-i0.2", "-W3", "-Mdont", "-s3000", web))
    assert.match(await must(inside("vm3", python, "-c", udpAsk, web, "4000")), /^198\.51\.100\.60:/)
  })

  it("serves a balanced address from both hosts to many clients", async () => {
    for (let last = 10; last < 40; last++)
      await must(inside("far", "ip", "addr", "add", `203.0.113.${last}/32`, "dev", "lo"))
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        must(
          inside(
            "far",
            "curl",
            "-sm10",
            "--interface",
            `203.0.113.${10 + (i % 30)}`,
            `http://${balanced}/1000`,
          ),
        ),
      ),
    )
    const servers = answers.map((text) => text.slice(0, 3))
    for (const [i, text] of answers.entries())
      assert.match(text, new RegExp(`^vm[14] ::ffff:203\\.0\\.113\\.${10 + (i % 30)}x{1000}$`))
    assert.isAbove(servers.filter((server) => server === "vm1").length, 10)
    assert.isAbove(servers.filter((server) => server === "vm4").length, 10)
  })

  it("tells VMs of errors outside: who is on the way, and how long packets may be", async () => {
    const hops = (await must(inside("vm2", python, "-c", traceroute, web))).trim().split("\n")
    assert.deepStrictEqual(hops, ["198.51.100.2 11 0", "198.51.100.1 11 0", `${web} 3 3`, `${web} 3 3`])
    const refused = await inside("vm3", "ping", "-c2", "-i0.3", "-W1", "-Mdo", "-s1440", web)
    assert.match(refused.out, /mtu ?= ?1400/i)
    assert.match(await must(inside("vm3", "curl", "-sm10", `http://${web}/200000`)), /^far .*x{1000}/)
    // What comes in is longer than the path from here: far sends 1400, VMs take 1500.
    assert.match(await must(inside("far", "curl", "-sm10", `http://${vip}/200000`)), /^vm1 .*x{1000}/)
  })

  it("tells the internet that a hop limit ran out", async () => {
    const hops = (await must(inside("far", python, "-c", traceroute, vip))).trim().split("\n")
    assert.deepStrictEqual(hops.slice(0, 3), ["203.0.113.1 11 0", "198.51.100.2 11 0", `${vip} 3 3`])
  })

  it("takes a VM with IPv6 alone to a web server with IPv4 alone", async () => {
    const answer = await must(inside("vm3", "curl", "-sm10", "-g", `http://[64:ff9b::${web}]/100000`))
    assert.match(answer, /^far ::ffff:198\.51\.100\.60x{1000}/)
  })

  it("routes IPv6 to a VM's address and to a prefix behind another", async () => {
    await must(inside("far", "ping", "-c2", "-i0.2", "-W2", "2001:db8:1::1"))
    await must(inside("far", "ping", "-c2", "-i0.2", "-W2", "2001:db8:a::1"))
    assert.match(
      await must(inside("far", "curl", "-sm5", "-g", "http://[2001:db8:a::1]/100000")),
      /^vm4 2001:db8:f::7x/,
    )
    const answer = await must(inside("vm1", "curl", "-sm10", "-g", "http://[2001:db8:f::7]/100000"))
    assert.match(answer, /^far 2001:db8:1::1x/)
  })

  it("lets VMs behind a shared address reach a VIP of the region by the edge", async () => {
    assert.match(await must(inside("vm3", "curl", "-sm5", `http://${vip}/`)), /^vm1 ::ffff:198\.51\.100\.60/)
  })

  it("drops what has no source outside would find, and what is for nobody", async () => {
    const before = await counters("door")
    await inside("vm4", "ping", "-c2", "-i0.2", "-W1", web) // no VIP, no NAT
    await must(
      inside("isp", "ip", "neigh", "replace", "198.51.100.99", "dev", ns("out"), "lladdr", await macOfEdge()),
    )
    await inside("isp", "ping", "-c2", "-i0.2", "-W1", "198.51.100.99")
    const after = await counters("door")
    const grown = (name: string) => Number((after.get(name) ?? 0n) - (before.get(name) ?? 0n))
    assert.strictEqual(grown("drop.edge_source"), 2)
    assert.strictEqual(grown("drop.edge_unknown"), 2)
  })
  const macOfEdge = async () =>
    /lladdr (\S+)/.exec(await must(inside("isp", "ip", "neigh", "show", "198.51.100.2")))?.[1] ?? "none"

  it("keeps packets while it asks for a gateway", async () => {
    const held = await counter("door", "stage.edge_held.packets")
    await apply("door", { case: "putEdge", value: { ...edgeSpec, gatewayMac: "02:00:00:00:00:01" } })
    assert.notStrictEqual((await inside("vm1", "ping", "-c1", "-W1", web)).status, 0)
    await apply("door", { case: "putEdge", value: edgeSpec })
    await must(inside("vm1", "ping", "-c1", "-W2", web))
    assert.strictEqual(Number((await counter("door", "stage.edge_held.packets")) - held), 1)
  })

  it("passes TCP at speed", async () => {
    await must(inside("isp", "iperf3", "-s", "-D", "-1", "-p", "5300"))
    const out = JSON.parse(
      await must(inside("vm1", "iperf3", "-c", "198.51.100.1", "-p", "5300", "-t", "4", "-J")),
    )
    await must(inside("isp", "iperf3", "-s", "-D", "-1", "-p", "5301"))
    const back = JSON.parse(
      await must(inside("vm2", "iperf3", "-c", "198.51.100.1", "-p", "5301", "-t", "4", "-R", "-J")),
    )
    const rate = (report: any) => report.end.sum_received.bits_per_second / 1e9
    console.log(`TCP by the edge: out ${rate(out).toFixed(2)} Gbit/s, in ${rate(back).toFixed(2)} Gbit/s`)
    assert.isAbove(rate(out), 0.05)
    assert.isAbove(rate(back), 0.05)
  })
})
