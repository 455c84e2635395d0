/**
 * `ferrite.dataplane.v1` against the built program: batches and their order, the digest, rates, and what a client
 * that breaks the rules does to the others.
 */
import { create } from "@bufbuild/protobuf"
import * as grpc from "@grpc/grpc-js"
import * as fs from "node:fs"
import * as net from "node:net"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { DataplaneService } from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import type { FirewallSpec, Operation } from "#protocol/dataplane/Dataplane.ts"
import { digestOf, firewallDigest } from "#protocol/dataplane/digest.ts"
import * as Wire from "#protocol/dataplane/wire.ts"
import {
  applyStream,
  ask,
  collect,
  type Dataplane,
  makeFolder,
  missing,
  until,
  start,
} from "./dataplane-grpc-harness.ts"
import { fnv1a, ports, putRoute } from "./dataplane-grpc-requests.ts"

if (missing !== undefined) console.warn(`SKIPPED test/real/dataplane-grpc-apply: ${missing}`)

describe.skipIf(missing !== undefined)("ferrite.dataplane.v1", () => {
  const folder = makeFolder()
  let dataplane: Dataplane

  beforeAll(async () => {
    dataplane = await start(folder, ports)
    await dataplane.call("initialize")
  })
  afterAll(async () => {
    await dataplane.stop()
    fs.rmSync(folder, { recursive: true })
  })

  const state = async () =>
    (await ask(dataplane.ferrite, "getState", create(DataplaneService.method.getState.input))).response
  const listAll = () => collect(dataplane.ferrite["listAll"](create(DataplaneService.method.listAll.input)))
  const createInterface = (over: Record<string, unknown> = {}) => ({
    case: "createInterface",
    value: { id: "vm-1", vni: 100, ipv4: "10.0.0.1", ipv6: "fd00::1", device: "p0", ...over },
  })

  it("answers each operation of a batch in order, and goes on after one that failed", async () => {
    const stream = applyStream(dataplane.ferrite)
    const answer = await stream.send(7n, [
      createInterface(),
      createInterface(),
      createInterface({ vni: 101 }),
      createInterface({ id: "vm 1" }),
      createInterface({ ipv4: "", ipv6: "" }),
      putRoute(100, "10.1.2.3/16"),
      putRoute(100, "10.1.0.0/16", "fd00:f:3::1"),
      putRoute(100, "10.1.0.0/16", "10.0.0.1"),
      putRoute(100, "10.1.0.0"),
      putRoute(999, "10.1.0.0/16"),
      { case: "deleteRoute", value: { vni: 100, prefix: "10.2.0.0/16" } },
      { case: "deleteInterface", value: "nobody" },
      { case: undefined },
      { case: "resetVni", value: 999 },
    ])
    assert.strictEqual(answer.sequence, 7n)
    assert.deepStrictEqual(
      answer.results.map((result: any) => [result.code, result.message]),
      [
        [0, "Success"],
        [0, "Success"],
        [202, "ALREADY_EXISTS"],
        [3, "Invalid interface_id"],
        [3, "Invalid ipv4_config.primary_address and ipv6_config.primary_address combination"],
        [0, "Success"],
        [0, "Success"],
        [204, "BAD_IPVER"],
        [3, "Invalid route.prefix.length"],
        [206, "NO_VNI"],
        [302, "ROUTE_NOT_FOUND"],
        [201, "NOT_FOUND"],
        [3, "Invalid operation"],
        [0, "Success"],
      ],
    )
    const [first, second] = answer.results
    assert.deepStrictEqual(first.interface, second.interface)
    assert.match(first.interface.gatewayMac, /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/)
    const { messages, code } = await listAll()
    assert.strictEqual(code, 0)
    assert.deepStrictEqual(
      messages.map((message) => message.item.case),
      ["interface", "route", "summary"],
    )
    assert.strictEqual(messages[1].item.value.nextHop, "fd00:f:3::1")
    const expected = fnv1a("i|vm-1|100|10.0.0.1|fd00::1|p0|") ^ fnv1a("r|100|10.1.0.0/16|fd00:f:3::1|100")
    assert.strictEqual(answer.digest, expected)
    assert.strictEqual(messages[2].item.value.digest, expected)
    assert.strictEqual((await state()).digest, expected)
    const cleared = await stream.send(8n, [{ case: "deleteInterface", value: "vm-1" }])
    assert.strictEqual(cleared.digest, 0n)
    stream.end()
    assert.strictEqual((await stream.ended).code, 0)
  })

  it("takes a hundred thousand routes in batches of a thousand", async () => {
    const count = 100_000
    const stream = applyStream(dataplane.ferrite)
    await stream.send(0n, [createInterface()])
    const batches = Array.from({ length: count / 1_000 }, (_, batch) =>
      Array.from({ length: 1_000 }, (_, i) => {
        const n = batch * 1_000 + i
        return putRoute(100, `${16 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}.0/24`)
      }),
    )
    const started = performance.now()
    const answers = await Promise.all(batches.map((batch, i) => stream.send(BigInt(i + 1), batch)))
    const seconds = (performance.now() - started) / 1_000
    console.info(`Apply: ${count} routes in ${seconds.toFixed(2)} s, ${Math.round(count / seconds)} a second`)
    assert.deepStrictEqual(
      answers.map((answer) => answer.sequence),
      batches.map((_, i) => BigInt(i + 1)),
    )
    assert.isTrue(answers.every((answer) => answer.results.every((result: any) => result.code === 0)))
    const listing = performance.now()
    const { messages } = await listAll()
    console.info(`ListAll: ${messages.length} items in ${Math.round(performance.now() - listing)} ms`)
    const batching = performance.now()
    const batched = create(DataplaneService.method.listAll.input, { batched: true })
    const batchesListed = (await collect(dataplane.ferrite["listAll"](batched))).messages
    console.info(`ListAll: ${batchesListed.length} batches in ${Math.round(performance.now() - batching)} ms`)
    let digest = 0n
    for (const { item } of messages)
      if (item.case === "route")
        digest ^= fnv1a(
          `r|${item.value.vni}|${item.value.prefix}|${item.value.nextHop}|${item.value.nextHopVni}`,
        )
      else if (item.case === "interface") digest ^= fnv1a("i|vm-1|100|10.0.0.1|fd00::1|p0|")
    const summary = await state()
    assert.deepStrictEqual([summary.routes, summary.digest], [BigInt(count), digest])
    await stream.send(0n, [{ case: "deleteInterface", value: "vm-1" }])
    assert.deepStrictEqual([(await state()).routes, (await state()).digest], [0n, 0n])
    stream.end()
  })

  const everything: ReadonlyArray<Operation> = [
    {
      _tag: "CreateInterface",
      spec: {
        id: "vm-1",
        vni: 100,
        ipv4: "10.0.0.1",
        ipv6: "fd00::1",
        device: "p0",
        hostname: "one",
        totalRate: 100,
        publicRate: 50,
        pxe: { server: "fd00::9", file: "boot.ipxe" },
        spoofCheckOff: true,
        flowLimit: 1_000,
        flowRate: 10,
        underlayAddress: "fd00:f:1::8000:0:9",
      },
    },
    {
      _tag: "PutRoute",
      route: {
        vni: 100,
        prefix: "10.1.0.0/16",
        nextHop: "fd00:f:2::1",
        nextHopVni: 100,
        hops: [
          { address: "fd00:f:3::1", vni: 100, weight: 256 },
          { address: "fd00:f:2::1", vni: 100, weight: 1 },
        ],
      },
    },
    { _tag: "PutAliasPrefix", prefix: { interface: "vm-1", prefix: "10.2.0.0/16" } },
    {
      _tag: "PutBalancerPrefix",
      prefix: { interface: "vm-1", prefix: "fd00:2::/64", underlayAddress: "fd00:f:1::8000:0:1" },
    },
    { _tag: "PutVip", vip: { interface: "vm-1", ip: "1.1.1.1" } },
    { _tag: "PutNat", nat: { interface: "vm-1", ip: "1.1.1.2", minPort: 1_024, maxPort: 65_536 } },
    {
      _tag: "PutNeighborNat",
      nat: { vni: 100, ip: "1.1.1.2", minPort: 0, maxPort: 1_024, underlayAddress: "fd00:f:2::2" },
    },
    {
      _tag: "PutLoadBalancer",
      balancer: {
        id: "lb-1",
        vni: 100,
        ip: "1.1.1.3",
        ports: [
          { protocol: 17, first: 53, last: 53 },
          { protocol: 6, first: 80, last: 90 },
        ],
        targets: ["fd00:f:2::10", "fd00:f:2::2"],
      },
    },
    {
      _tag: "PutFirewall",
      firewall: {
        interface: "vm-1",
        ingress: "drop",
        egress: "rules",
        rules: [
          { id: "any", egress: false, accept: true, priority: 2, protocol: 0 },
          {
            id: "web",
            egress: true,
            accept: false,
            priority: 1,
            source: "10.0.0.0/8",
            protocol: 6,
            destinationPorts: { first: 0, last: 80 },
          },
          {
            id: "ping",
            egress: false,
            accept: true,
            priority: 1,
            destination: "::/0",
            protocol: 1,
            icmpType: 0,
          },
        ],
      },
    },
  ]

  it("lists every kind in batches, and says the digest of what it lists", async () => {
    const stream = applyStream(dataplane.ferrite)
    const encoded = everything.map((operation) => Wire.encodeOperation(operation).operation)
    const apply = async (sequence: bigint) => {
      const answer = await stream.send(sequence, encoded)
      assert.deepStrictEqual(
        answer.results.map((result: any) => result.message),
        everything.map(() => "Success"),
      )
      return answer
    }
    const first = await apply(1n)
    assert.strictEqual(first.results[3].underlayAddress, "fd00:f:1::8000:0:1")
    const { digest } = first
    const listing = Wire.emptyListing()
    const request = create(DataplaneService.method.listAll.input, { batched: true })
    const { messages } = await collect(dataplane.ferrite["listAll"](request))
    for (const message of messages) Wire.decodeItem(listing, message)
    const whole = Wire.finishListing(listing)
    assert.strictEqual(whole.state.digest, digest)
    assert.strictEqual(
      digestOf(
        whole.interfaces.map(({ spec }) => spec),
        whole.routes,
        whole,
      ),
      digest,
    )
    const [interfaceOf, routeOf] = everything
    assert.deepStrictEqual(
      whole.interfaces[0]?.spec,
      interfaceOf?._tag === "CreateInterface" ? interfaceOf.spec : undefined,
    )
    assert.deepStrictEqual(whole.routes[0]?.hops?.length, routeOf?._tag === "PutRoute" ? 2 : 0)
    assert.deepStrictEqual(whole.loadBalancers[0]?.spec.targets, ["fd00:f:2::2", "fd00:f:2::10"])
    const [firewall] = everything.flatMap((operation) =>
      operation._tag === "PutFirewall" ? [operation.firewall] : [],
    )
    assert.strictEqual(
      firewallDigest(firewall as FirewallSpec),
      firewallDigest(whole.firewalls[0] as FirewallSpec),
    )
    assert.strictEqual(whole.state.tables?.get("endpoints")?.used, 5n)
    // Putting what is there changes nothing, not even an underlay address.
    const second = await apply(2n)
    assert.strictEqual(second.digest, digest)
    assert.deepStrictEqual(
      second.results.map((result: any) => result.underlayAddress),
      first.results.map((result: any) => result.underlayAddress),
    )
    const gone = await stream.send(3n, [
      { case: "deleteLoadBalancer", value: "lb-1" },
      { case: "deleteInterface", value: "vm-1" },
    ])
    assert.strictEqual(gone.digest, 0n)
    assert.deepStrictEqual((await stream.send(4n, [{ case: "deleteEdge", value: "e" }])).results[0].code, 201)
    stream.end()
  })

  it("shows counters by name", async () => {
    const request = create(DataplaneService.method.getCounters.input)
    const { counters } = (await ask(dataplane.ferrite, "getCounters", request)).response
    const names = counters.map((counter: any) => counter.name)
    assert.isNotEmpty(names)
    assert.deepStrictEqual(names, names.toSorted())
  })

  it("ends only the stream whose batch is too long", async () => {
    const [good, bad] = [applyStream(dataplane.ferrite), applyStream(dataplane.ferrite)]
    assert.strictEqual((await good.send(1n, [])).sequence, 1n)
    const reset = { case: "resetVni", value: 1 }
    assert.lengthOf(
      (
        await bad.send(
          1n,
          Array.from({ length: 4_096 }, () => reset),
        )
      ).results,
      4_096,
    )
    assert.isUndefined(
      await bad.send(
        2n,
        Array.from({ length: 4_097 }, () => reset),
      ),
    )
    assert.strictEqual((await bad.ended).code, grpc.status.INVALID_ARGUMENT)
    assert.strictEqual((await good.send(2n, [])).sequence, 2n)
    good.end()
  })

  it("gives the places of abandoned streams back", async () => {
    const list = () => dataplane.ferrite["listAll"](create(DataplaneService.method.listAll.input))
    const batch = Array.from({ length: 500 }, () => ({ case: "resetVni", value: 1 }))
    for (let round = 0; round < 5; ++round) {
      const streams = Array.from({ length: 60 }, () => applyStream(dataplane.ferrite))
      const answers = streams.map((stream) => stream.send(1n, batch))
      const calls = [...Array.from({ length: 8 }, list), dataplane.health["Watch"]({ service: "" })]
      const ends = calls.map(collect)
      await answers[round * 10]
      for (const stream of streams) stream.cancel()
      for (const call of calls) call.cancel()
      await Promise.all([...ends, ...streams.map((stream) => stream.ended)])
    }
    // All 64 places of Apply are free again, and there is no 65th.
    await until("the places are free", async () => {
      const streams = Array.from({ length: 65 }, () => applyStream(dataplane.ferrite))
      const answers = await Promise.all(streams.map((stream) => stream.send(1n, [])))
      for (const stream of streams) stream.end()
      const ends = await Promise.all(streams.map((stream) => stream.ended))
      const refused = ends.filter((end) => end.code === grpc.status.RESOURCE_EXHAUSTED)
      assert.isNotEmpty(refused)
      return refused.length === 1 && answers.filter((answer) => answer !== undefined).length === 64
    })
    assert.strictEqual((await listAll()).code, 0)
  })

  it("survives malformed and oversized messages, and bytes that are no HTTP/2", async () => {
    const same = (value: Buffer) => value
    const raw = (path: string, message: Buffer) =>
      new Promise<number>((resolve) =>
        dataplane.ironcore.makeUnaryRequest(path, same, same, message, (error) => resolve(error?.code ?? 0)),
      )
    const path = "/dpdkironcore.v1.DPDKironcore/CreateRoute"
    assert.notStrictEqual(await raw(path, Buffer.from([0x0a, 0xff, 0xff, 0xff])), 0)
    assert.strictEqual(await raw(path, Buffer.alloc(17 << 20)), grpc.status.RESOURCE_EXHAUSTED)
    assert.strictEqual(
      await raw("/dpdkironcore.v1.DPDKironcore/Nothing", Buffer.alloc(0)),
      grpc.status.UNIMPLEMENTED,
    )
    const broken = dataplane.ferrite.makeBidiStreamRequest(
      "/ferrite.dataplane.v1.DataplaneService/Apply",
      same,
      same,
    )
    broken.write(Buffer.from([0x12, 0x05, 0xff]))
    assert.lengthOf((await collect(broken)).messages, 0)
    for (let i = 0; i < 20; ++i)
      await new Promise<void>((resolve) => {
        const socket = net.connect(dataplane.socket, () => {
          socket.write(Buffer.from(Array.from({ length: 512 }, (_, at) => (at * 37 + i * 101) & 255)))
          socket.end()
        })
        socket.on("error", () => resolve())
        socket.on("close", () => resolve())
        socket.resume()
      })
    assert.strictEqual((await dataplane.call("checkInitialized")).response.status.code, 0)
  })
})
