/** The model's load balancers, hop sets and prefixes, and the hashes that they choose by. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { Operation } from "#protocol/dataplane/Dataplane.ts"
import { bytesOf } from "#protocol/dataplane/model/address.ts"
import { concat, fromAscii, put16, u32 } from "#protocol/dataplane/model/bytes.ts"
import { balancerSlots, buildMaglev, byAddress, hopSlots } from "#protocol/dataplane/model/maglev.ts"
import { murmur3 } from "#protocol/dataplane/model/murmur.ts"
import { all, echo, router, said, tcp, udp, type World, world } from "./dataplane-world.ts"

describe("Murmur", () => {
  it("is MurmurHash3 x86 32-bit", () => {
    for (const [text, seed, hash] of [
      ["", 0, 0],
      ["", 1, 0x514e28b7],
      ["", 0xffffffff, 0x81f16f39],
      ["test", 0x9747b28c, 0x704b81dc],
      ["Hello, world!", 0x9747b28c, 0x24884cba],
      ["The quick brown fox jumps over the lazy dog", 0x9747b28c, 0x2fa826cd],
      ["aaa", 0x9747b28c, 0x283e0130],
      ["aa", 0x9747b28c, 0x5d211726],
      ["a", 0x9747b28c, 0x7fa09ea6],
    ] as const)
      assert.strictEqual(murmur3(fromAscii(text), seed), hash, text)
  })
})

const targetsOf = (count: number): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, i) => `fd00:f:${(i + 2).toString(16)}::1`).toSorted(byAddress)

describe("a Maglev table", () => {
  const shares = (table: Uint16Array, members: number): ReadonlyArray<number> => {
    const counts = Array.from<number>({ length: members }).fill(0)
    for (const member of table) counts[member] = (counts[member] ?? 0) + 1
    return counts
  }
  const table = (addresses: ReadonlyArray<string>, slots: number, weights?: ReadonlyArray<number>) =>
    buildMaglev(
      addresses.map((address, i) => ({ address, weight: weights?.[i] ?? 1 })),
      slots,
    )

  it("gives every member the same number of slots, but for one", () => {
    for (const count of [1, 2, 3, 64, 65, 300]) {
      const counts = shares(table(targetsOf(count), balancerSlots(count)), count)
      assert.isAtMost(Math.max(...counts) - Math.min(...counts), 1)
    }
  })

  it("gives weighted members their share", () => {
    const counts = shares(table(targetsOf(3), hopSlots, [1, 2, 5]), 3)
    for (const [i, weight] of [1, 2, 5].entries()) assert.closeTo(counts[i] ?? 0, (hopSlots * weight) / 8, 3)
    assert.isTrue(shares(table(targetsOf(32), hopSlots, [256]), 32).every((count) => count > 0))
  })

  it("moves few slots of others when a member goes", () => {
    const before = targetsOf(20)
    const after = before.filter((_, i) => i !== 7)
    const [a, b] = [table(before, 1_021), table(after, 1_021)]
    let moved = 0
    for (const [slot, member] of a.entries())
      if (member !== 7 && before[member] !== after[b[slot] ?? 0]) moved++
    assert.isAtMost(moved, 200)
  })
})

const balancer = (targets: ReadonlyArray<string>, more = {}): Operation => ({
  _tag: "PutLoadBalancer",
  balancer: {
    id: "lb",
    vni: 100,
    ip: "10.0.0.100",
    ports: [
      { protocol: 6, first: 80, last: 80 },
      { protocol: 17, first: 5_000, last: 5_010 },
    ],
    targets,
    ...more,
  },
})

/** Clients of a load balancer at 10.0.0.100, as they come from the underlay. */
const clients = (count: number): ReadonlyArray<Uint8Array> =>
  Array.from({ length: count }, (_, i) =>
    tcp(`198.51.100.${i % 250}:${1_000 + i}`, "10.0.0.100:80", { syn: true }),
  )

describe("a load balancer", () => {
  it("chooses a target by the hash of the flow, and leaves the packet as it is", () => {
    const w = world({ seed: 7 })
    const targets = targetsOf(5)
    const underlay = w.apply(balancer(targets.toReversed()))
    const slots = buildMaglev(
      targets.map((address) => ({ address, weight: 1 })),
      1_021,
    )
    for (const packet of clients(50)) {
      const [out] = w.arrive(underlay, packet)
      const key = concat([6], packet.subarray(12, 20), packet.subarray(20, 24))
      assert.strictEqual(out?.outer?.destination, targets[slots[murmur3(key, 7) % 1_021] ?? 0])
      assert.strictEqual(out?.outer?.source, underlay)
      assert.deepEqual(out?.bytes, packet)
    }
  })

  it("keeps a flow's target while others come and go", () => {
    const w = world()
    const underlay = w.apply(balancer(targetsOf(5)))
    const packets = clients(200)
    const chosen = packets.map((packet) => w.arrive(underlay, packet)[0]?.outer?.destination)
    w.apply(balancer(targetsOf(50)))
    assert.deepEqual(
      packets.map((packet) => w.arrive(underlay, packet)[0]?.outer?.destination),
      chosen,
    )
  })

  it("resets the flows of a target that was removed, once in 10 ms, and chooses anew", () => {
    const w = world()
    const [first = ""] = targetsOf(1)
    const underlay = w.apply(balancer([first]))
    const data = (port: number) =>
      tcp(`198.51.100.9:${port}`, "10.0.0.100:80", { ack: true }, "data", {
        sequence: 5,
        acknowledgement: 77,
      })
    for (const port of [1, 2]) assert.lengthOf(w.arrive(underlay, data(port)), 1)
    w.apply(balancer(["fd00:f:99::1"]))
    const [reset] = w.arrive(underlay, data(1), "fd00:f:77::1")
    assert.strictEqual(said(reset), "underlay 10.0.0.100:80 > 198.51.100.9:1")
    assert.deepEqual(reset?.outer, { source: underlay, destination: "fd00:f:77::1" })
    assert.strictEqual(reset?.tuple.tcpFlags, 4)
    assert.strictEqual(u32(reset?.bytes ?? new Uint8Array(0), 24), 77)
    assert.lengthOf(w.arrive(underlay, data(2)), 0)
    assert.strictEqual(w.dropped("flow_ended"), 2)
    assert.strictEqual(w.arrive(underlay, data(1))[0]?.outer?.destination, "fd00:f:99::1")
  })

  it("says to senders of datagrams that a target is gone", () => {
    const w = world()
    const underlay = w.apply(balancer(targetsOf(1)))
    const packet = udp("198.51.100.9:1", "10.0.0.100:5010")
    w.arrive(underlay, packet)
    w.apply(balancer([]))
    const [error] = w.arrive(underlay, packet)
    assert.deepEqual([error?.tuple.icmpType, error?.tuple.icmpCode], [3, 13])
    assert.strictEqual(error?.tuple.source, "10.0.0.100")
    w.arrive(underlay, packet)
    assert.strictEqual(w.dropped("balancer_empty"), 1)
  })

  it("has only its ports, answers echo, and is nothing but its address", () => {
    const w = world()
    const underlay = w.apply(balancer(targetsOf(2)))
    w.arrive(underlay, udp("198.51.100.9:1", "10.0.0.100:5011"))
    w.arrive(underlay, udp("198.51.100.9:1", "10.0.0.100:80"))
    assert.strictEqual(w.dropped("balancer_port"), 2)
    const [answer] = w.arrive(underlay, echo("198.51.100.9", "10.0.0.100"))
    assert.deepEqual(answer?.outer, { source: underlay, destination: router })
    assert.strictEqual(answer?.tuple.icmpType, 0)
    w.arrive(underlay, udp("198.51.100.9:1", "10.0.0.101:5000"))
    assert.strictEqual(w.dropped("inner_foreign"), 1)
  })

  /** Load balancer and target on this host, the target at a load balancer prefix of VM b. */
  const local = (): { readonly w: World; readonly underlay: string } => {
    const w = world()
    w.create("b", { ipv4: "10.0.0.2" })
    const target = w.apply({
      _tag: "PutBalancerPrefix",
      prefix: { interface: "b", prefix: "10.0.0.100/32" },
    })
    return { w, underlay: w.apply(balancer([target])) }
  }

  it("with a target on its own host hands over, and the target answers the client itself", () => {
    const { underlay, w } = local()
    w.route("0.0.0.0/0")
    assert.deepEqual(all(w.arrive(underlay, tcp("198.51.100.9:1", "10.0.0.100:80", { syn: true }))), [
      "b 198.51.100.9:1 > 10.0.0.100:80",
    ])
    assert.deepEqual(all(w.send("b", tcp("10.0.0.100:80", "198.51.100.9:1", { syn: true, ack: true }))), [
      `underlay 10.0.0.100:80 > 198.51.100.9:1 by ${router}`,
    ])
  })

  it("is reached by a VM of its own host without any route", () => {
    const { w } = local()
    w.create("a", { ipv4: "10.0.0.1" })
    w.apply({
      _tag: "PutFirewall",
      firewall: { interface: "a", ingress: "drop", egress: "accept", rules: [] },
    })
    assert.deepEqual(all(w.send("a", tcp("10.0.0.1:1", "10.0.0.100:80", { syn: true }))), [
      "b 10.0.0.1:1 > 10.0.0.100:80",
    ])
    assert.deepEqual(all(w.send("b", tcp("10.0.0.100:80", "10.0.0.1:1", { syn: true, ack: true }))), [
      "a 10.0.0.100:80 > 10.0.0.1:1",
    ])
    const echoed = w.send("a", echo("10.0.0.1", "10.0.0.100"))
    assert.deepEqual(all(echoed), ["a 10.0.0.100:7 > 10.0.0.1:7"])
  })

  it("elsewhere answers a VM of this host directly, past its closed firewall", () => {
    const w = world()
    const a = w.create("a", { ipv4: "10.0.0.1" })
    w.apply({
      _tag: "PutFirewall",
      firewall: { interface: "a", ingress: "drop", egress: "accept", rules: [] },
    })
    w.apply(balancer(["fd00:f:7::1"]))
    assert.deepEqual(all(w.send("a", tcp("10.0.0.1:1", "10.0.0.100:80", { syn: true }))), [
      "underlay 10.0.0.1:1 > 10.0.0.100:80 by fd00:f:7::1",
    ])
    assert.deepEqual(all(w.arrive(a, tcp("10.0.0.100:80", "10.0.0.1:1", { syn: true, ack: true }))), [
      "a 10.0.0.100:80 > 10.0.0.1:1",
    ])
    assert.lengthOf(w.arrive(a, tcp("10.0.0.100:80", "10.0.0.1:2", { syn: true, ack: true })), 0)
  })

  it("refuses what another has: its address, an underlay address, a bad port, an IPv4 target", () => {
    const w = world()
    w.apply(balancer([]))
    const code = (operation: Operation) => w.try(operation).code
    assert.strictEqual(code(balancer([], { id: "other" })), 202)
    w.create("a", { ipv4: "10.0.0.1" })
    w.apply({ _tag: "PutVip", vip: { interface: "a", ip: "10.0.0.101" } })
    assert.strictEqual(code(balancer([], { ip: "10.0.0.101" })), 202)
    assert.strictEqual(code(balancer([], { ip: "10.0.0.102" })), 0)
    w.apply({ _tag: "DeleteInterface", id: "a" })
    assert.strictEqual(code(balancer(["10.0.0.1"])), 204)
    assert.strictEqual(code(balancer([], { ports: [{ protocol: 1, first: 1, last: 1 }] })), 3)
    assert.strictEqual(code(balancer([], { underlayAddress: "fd00:f:1::5" })), 3)
    assert.strictEqual(code({ _tag: "DeleteLoadBalancer", id: "lb" }), 0)
    assert.strictEqual(code({ _tag: "DeleteLoadBalancer", id: "lb" }), 201)
    assert.strictEqual(w.state().digest, 0n)
  })
})

describe("a route with several hops", () => {
  it("gives each flow one of them by its hash and each hop its share", () => {
    const w = world({ seed: 3 })
    w.create("a", { ipv4: "10.0.0.1" })
    const hops = [
      { address: "fd00:f:2::1", vni: 100, weight: 1 },
      { address: "fd00:f:3::1", vni: 100, weight: 3 },
    ]
    w.apply({
      _tag: "PutRoute",
      route: { vni: 100, prefix: "0.0.0.0/0", nextHop: "::", nextHopVni: 0, hops: hops.toReversed() },
    })
    const counts = new Map<string, number>()
    for (let port = 1; port <= 400; port++) {
      const packet = udp(`10.0.0.1:${port}`, "198.51.100.9:53")
      const [out] = w.send("a", packet)
      const [again] = w.send("a", packet)
      const hop = out?.outer?.destination ?? ""
      assert.strictEqual(again?.outer?.destination, hop)
      const key = concat([17], bytesOf("10.0.0.1"), bytesOf("198.51.100.9"), put16(port), put16(53))
      const slot = buildMaglev(hops, hopSlots)[murmur3(key, 3) % hopSlots] ?? 0
      assert.strictEqual(hop, hops[slot]?.address)
      counts.set(hop, (counts.get(hop) ?? 0) + 1)
    }
    assert.closeTo(counts.get("fd00:f:3::1") ?? 0, 300, 40)
  })

  it("lists them by address, and a single one as a route without them", () => {
    const w = world()
    w.create("a", { ipv4: "10.0.0.1" })
    const put = (hops: ReadonlyArray<string>) =>
      w.try({
        _tag: "PutRoute",
        route: {
          vni: 100,
          prefix: "10.1.0.0/16",
          nextHop: "::",
          nextHopVni: 0,
          hops: hops.map((address) => ({ address, vni: 100, weight: 1 })),
        },
      }).code
    assert.strictEqual(put(["fd00:f:3::1", "fd00:f:2::1"]), 0)
    assert.strictEqual(put(["fd00:f:3::1", "fd00:f:3::1"]), 3)
    assert.strictEqual(put(["10.0.0.1", "fd00:f:3::1"]), 204)
    assert.strictEqual(put(["fd00:f:3::1"]), 0)
  })
})

describe("an alias prefix", () => {
  it("is routed to its VM in its VNI, and reached by its own underlay address", () => {
    const w = world()
    w.create("a", { ipv4: "10.0.0.1" })
    w.create("b", { ipv4: "10.0.0.2" })
    const alias: Operation = { _tag: "PutAliasPrefix", prefix: { interface: "b", prefix: "10.0.5.0/24" } }
    const underlay = w.apply(alias)
    assert.strictEqual(w.apply(alias), underlay)
    assert.deepEqual([...bytesOf(underlay).subarray(8, 11)], [0xd0, 6, 0])
    assert.deepEqual(all(w.send("a", udp("10.0.0.1:1", "10.0.5.9:2"))), ["b 10.0.0.1:1 > 10.0.5.9:2"])
    assert.deepEqual(all(w.arrive(underlay, udp("10.9.9.9:1", "10.0.5.77:2"))), [
      "b 10.9.9.9:1 > 10.0.5.77:2",
    ])
    assert.lengthOf(w.arrive(underlay, udp("10.9.9.9:1", "10.0.0.2:2")), 0)
    assert.strictEqual(
      w.try({ ...alias, prefix: { interface: "a", prefix: "10.0.5.0/24" } } as Operation).code,
      301,
    )
    w.apply({ _tag: "DeleteAliasPrefix", interface: "b", prefix: "10.0.5.0/24" })
    assert.lengthOf(w.arrive(underlay, udp("10.9.9.9:1", "10.0.5.77:2")), 0)
    assert.strictEqual(w.dropped("outer_stale"), 1)
    assert.lengthOf(w.send("a", udp("10.0.0.1:1", "10.0.5.9:2")), 0)
  })

  it("has the underlay address that is asked for, if that is the client's to choose", () => {
    const w = world()
    w.create("a", { ipv4: "10.0.0.1" })
    const put = (underlayAddress: string): Operation => ({
      _tag: "PutAliasPrefix",
      prefix: { interface: "a", prefix: "10.0.5.0/24", underlayAddress },
    })
    assert.strictEqual(w.apply(put("fd00:f:1:0:d006:8000:0:5")), "fd00:f:1:0:d006:8000:0:5")
    assert.strictEqual(w.try(put("fd00:f:1:0:d006:0:0:5")).code, 3)
    assert.strictEqual(w.try(put("fd00:f:2:0:d006:8000:0:5")).code, 3)
    assert.strictEqual(
      w.try({
        _tag: "PutVip",
        vip: { interface: "a", ip: "203.0.113.1", underlayAddress: "fd00:f:1:0:d006:8000:0:5" },
      }).code,
      401,
    )
    const [delivered] = w.arrive("fd00:f:1:0:d006:8000:0:5", udp("10.9.9.9:1", "10.0.5.1:2"))
    assert.strictEqual(delivered?.to, "a")
  })
})

describe("a host without an uplink", () => {
  it("drops what would leave, and makes no flow of it", () => {
    const w = world({ uplink: false })
    w.create("a", { ipv4: "10.0.0.1", flowLimit: 1 })
    w.route("0.0.0.0/0")
    for (const port of [1, 2]) assert.lengthOf(w.send("a", udp(`10.0.0.1:${port}`, "198.51.100.9:1")), 0)
    assert.strictEqual(w.dropped("no_uplink"), 2)
  })
})

describe("too long a packet", () => {
  it("is judged as it would leave: what NAT64 makes shorter may pass", () => {
    const w = world({ mtu: 1_300 })
    w.create("a", { ipv4: "10.0.0.1", ipv6: "fd00::1" })
    w.route("::/0")
    w.apply({ _tag: "PutNat", nat: { interface: "a", ip: "203.0.113.1", minPort: 1_000, maxPort: 2_000 } })
    const long = (size: number) => udp("[fd00::1]:1", "[64:ff9b::c633:6409]:2", "x".repeat(size - 48))
    assert.strictEqual(w.send("a", long(1_320))[0]?.to, "underlay")
    const [complaint] = w.send("a", long(1_321))
    assert.strictEqual(complaint?.to, "a")
    assert.strictEqual(complaint?.tuple.icmpType, 2)
    assert.lengthOf(w.send("a", long(1_321)), 0)
    w.wait(0.01)
    assert.lengthOf(w.send("a", long(1_321)), 1)
    assert.strictEqual(w.dropped("too_big"), 3)
  })
})

describe("the model", () => {
  const full = (): { readonly w: World; readonly endpoints: ReadonlyArray<string> } => {
    const w = world({
      services: [{ protocol: 17, ip: "169.254.1.1", port: 53, target: "2001:db8::53", targetPort: 53 }],
    })
    const endpoints = [
      w.create("a", {
        ipv4: "10.0.0.1",
        ipv6: "fd00::1",
        totalRate: 5,
        publicRate: 5,
        flowLimit: 50,
        flowRate: 500,
      }),
      w.create("b", { ipv4: "10.0.0.2", ipv6: "fd00::2" }),
    ]
    w.route("0.0.0.0/0")
    w.route("::/0")
    endpoints.push(
      w.apply({ _tag: "PutNat", nat: { interface: "a", ip: "203.0.113.1", minPort: 1_000, maxPort: 1_010 } }),
      w.apply({ _tag: "PutVip", vip: { interface: "b", ip: "203.0.113.2" } }),
      w.apply({ _tag: "PutBalancerPrefix", prefix: { interface: "b", prefix: "10.0.0.100/32" } }),
      w.apply({ _tag: "PutAliasPrefix", prefix: { interface: "b", prefix: "fd00:5::/64" } }),
    )
    endpoints.push(w.apply(balancer([endpoints[4] ?? "", "fd00:f:7::1"])))
    w.apply({
      _tag: "PutNeighborNat",
      nat: {
        vni: 100,
        ip: "203.0.113.1",
        minPort: 2_000,
        maxPort: 3_000,
        underlayAddress: endpoints[6] ?? "",
      },
    })
    endpoints.push(w.state().serviceAddresses[0] ?? "")
    return { w, endpoints }
  }

  it("carries or counts whatever bytes come, from VMs and at every kind of endpoint, with right checksums of its own", () => {
    const { endpoints, w } = full()
    const addresses4 = [
      "10.0.0.1",
      "10.0.0.2",
      "10.0.0.100",
      "203.0.113.1",
      "203.0.113.2",
      "198.51.100.9",
      "169.254.1.1",
    ]
    const addresses6 = ["fd00::1", "fd00::2", "fd00:5::9", "64:ff9b::c633:6409", "2001:db8::53"]
    const address = (from: ReadonlyArray<string>) => fc.constantFrom(...from)
    const port = fc.constantFrom(53, 80, 1_000, 1_005, 2_500, 5_000)
    const made = fc
      .tuple(
        fc.constantFrom(4, 6),
        fc.constantFrom("udp", "tcp", "echo"),
        fc.infiniteStream(fc.nat(999)),
        port,
        port,
      )
      .chain(([family, kind, , a, b]) =>
        fc
          .tuple(
            address(family === 4 ? addresses4 : addresses6),
            address(family === 4 ? addresses4 : addresses6),
          )
          .map(([source, destination]) => {
            const wrap = (text: string) => (family === 4 ? text : `[${text}]`)
            const [from, to] = [`${wrap(source)}:${a}`, `${wrap(destination)}:${b}`]
            return kind === "udp"
              ? udp(from, to)
              : kind === "tcp"
                ? tcp(from, to, { syn: a < b, ack: a >= b, fin: a === 80 })
                : echo(source, destination, a, b === 80)
          }),
      )
    const damage = fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 3 })
    const where = fc.nat(endpoints.length + 1)
    fc.assert(
      fc.property(
        fc.oneof(
          made.map((bytes) => ({ bytes, whole: true })),
          fc.uint8Array({ maxLength: 120 }).map((bytes) => ({ bytes, whole: false })),
        ),
        damage,
        where,
        fc.nat(20_000),
        ({ bytes, whole }, changes, at, gap) => {
          const packet = Uint8Array.from(bytes)
          for (const [index, value] of changes) if (index < packet.length) packet[index] = value
          w.wait(gap / 1_000)
          const before = w.state()
          const feed = () => {
            if (at < 2) w.send(at === 0 ? "a" : "b", packet)
            else if (at === endpoints.length + 1) w.plain(packet)
            else w.arrive(endpoints[at - 2] ?? "", packet)
          }
          if (whole && changes.length === 0) feed()
          else w.blindly(feed)
          assert.notStrictEqual(w.state(), before)
        },
      ),
      { numRuns: 3_000 },
    )
  })

  it("does 10,000 packets of 2,000 flows in seconds", () => {
    const w = world()
    const underlay = w.create("a", { ipv4: "10.0.0.1" })
    w.route("0.0.0.0/0")
    w.apply({ _tag: "PutNat", nat: { interface: "a", ip: "203.0.113.1", minPort: 1_024, maxPort: 65_535 } })
    const packets = Array.from({ length: 2_000 }, (_, i) => udp(`10.0.0.1:${1_000 + i}`, "198.51.100.9:53"))
    for (let round = 0; round < 5; round++)
      for (const packet of packets) {
        w.wait(0.001)
        assert.lengthOf(w.send("a", packet), 1)
      }
    assert.lengthOf(w.arrive(underlay, udp("198.51.100.9:53", "10.0.0.1:1")), 1)
  }, 20_000)
})
