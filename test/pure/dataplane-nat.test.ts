/** The model's VIPs, NATs, neighbour NATs and NAT64, packet by packet. */
import { assert, describe, it } from "@effect/vitest"
import type { Operation } from "#protocol/dataplane/Dataplane.ts"
import { bytesOf } from "#protocol/dataplane/model/address.ts"
import { u16, u8 } from "#protocol/dataplane/model/bytes.ts"
import { murmur3 } from "#protocol/dataplane/model/murmur.ts"
import { answerError } from "#protocol/dataplane/model/answer.ts"
import { parseIp, parseQuoted } from "#protocol/dataplane/model/tuple.ts"
import { all, echo, isIntact, router, said, tcp, udp, type World, world } from "./dataplane-world.ts"

const vip = (id: string, ip: string): Operation => ({ _tag: "PutVip", vip: { interface: id, ip } })
const nat = (id: string, ip: string, minPort: number, maxPort: number): Operation => ({
  _tag: "PutNat",
  nat: { interface: id, ip, minPort, maxPort },
})

/** VM a at 10.0.0.1 with the Internet behind a default route. */
const outside = (options = {}): World => {
  const w = world(options)
  w.create("a", { ipv4: "10.0.0.1" })
  w.route("0.0.0.0/0")
  return w
}

describe("a VIP", () => {
  it("is the source of what its VM sends by the default route, and of nothing else", () => {
    const w = outside()
    w.route("10.0.0.0/8", "fd00:f:2::5")
    w.apply(vip("a", "203.0.113.1"))
    assert.deepEqual(all(w.send("a", udp("10.0.0.1:1000", "198.51.100.9:53"))), [
      `underlay 203.0.113.1:1000 > 198.51.100.9:53 by ${router}`,
    ])
    assert.deepEqual(all(w.send("a", udp("10.0.0.1:1000", "10.9.9.9:53"))), [
      "underlay 10.0.0.1:1000 > 10.9.9.9:53 by fd00:f:2::5",
    ])
  })

  it("carries every protocol both ways, and its packets come to the VM's own address", () => {
    const w = outside()
    const underlay = w.apply(vip("a", "203.0.113.1"))
    assert.deepEqual(all(w.arrive(underlay, tcp("198.51.100.9:4000", "203.0.113.1:80", { syn: true }))), [
      "a 198.51.100.9:4000 > 10.0.0.1:80",
    ])
    assert.deepEqual(all(w.send("a", tcp("10.0.0.1:80", "198.51.100.9:4000", { syn: true, ack: true }))), [
      `underlay 203.0.113.1:80 > 198.51.100.9:4000 by ${router}`,
    ])
    assert.deepEqual(all(w.arrive(underlay, echo("198.51.100.9", "203.0.113.1"))), [
      "a 198.51.100.9:7 > 10.0.0.1:7",
    ])
    assert.deepEqual(all(w.arrive(underlay, udp("198.51.100.9:1", "10.0.0.1:2"))), [])
    assert.strictEqual(w.dropped("inner_foreign"), 1)
  })

  it("called by a neighbour or by its own VM answers as itself", () => {
    const w = outside()
    w.create("b", { ipv4: "10.0.0.2" })
    w.apply(vip("a", "203.0.113.1"))
    assert.deepEqual(all(w.send("b", udp("10.0.0.2:9", "203.0.113.1:53"))), ["a 10.0.0.2:9 > 10.0.0.1:53"])
    assert.deepEqual(all(w.send("a", udp("10.0.0.1:53", "10.0.0.2:9"))), ["b 203.0.113.1:53 > 10.0.0.2:9"])
    assert.deepEqual(all(w.send("a", udp("10.0.0.1:9", "203.0.113.1:53"))), ["a 203.0.113.1:9 > 10.0.0.1:53"])
    assert.deepEqual(all(w.send("a", udp("10.0.0.1:53", "203.0.113.1:9"))), ["a 203.0.113.1:53 > 10.0.0.1:9"])
    assert.deepEqual(all(w.send("a", echo("10.0.0.1", "203.0.113.1"))), ["a 203.0.113.1:7 > 10.0.0.1:7"])
    assert.deepEqual(all(w.send("a", echo("10.0.0.1", "203.0.113.1", 7, true))), [
      "a 203.0.113.1:7 > 10.0.0.1:7",
    ])
  })

  it("that is taken away ends the flows that need it", () => {
    const w = outside()
    w.apply(vip("a", "203.0.113.1"))
    w.send("a", udp("10.0.0.1:1000", "198.51.100.9:53"))
    w.apply({ _tag: "DeleteVip", interface: "a" })
    assert.deepEqual(all(w.send("a", udp("10.0.0.1:1000", "198.51.100.9:53"))), [])
    assert.strictEqual(w.dropped("flow_ended"), 1)
    assert.deepEqual(all(w.send("a", udp("10.0.0.1:1000", "198.51.100.9:53"))), [
      `underlay 10.0.0.1:1000 > 198.51.100.9:53 by ${router}`,
    ])
  })
})

describe("a NAT", () => {
  const seeded = (): World => outside({ seed: 42 })

  it("begins its search for a port where the hash says, and keeps it for all destinations", () => {
    const w = seeded()
    w.apply(nat("a", "203.0.113.1", 1_000, 2_000))
    const hash = murmur3(Uint8Array.from([0, 0, 0, 100, 10, 0, 0, 1, 0x13, 0x88, 17]), 42)
    const port = 1_000 + (hash % 1_000)
    assert.deepEqual(all(w.send("a", udp("10.0.0.1:5000", "198.51.100.9:53"))), [
      `underlay 203.0.113.1:${port} > 198.51.100.9:53 by ${router}`,
    ])
    assert.deepEqual(all(w.send("a", udp("10.0.0.1:5000", "198.51.100.10:53"))), [
      `underlay 203.0.113.1:${port} > 198.51.100.10:53 by ${router}`,
    ])
  })

  it("wins over the VIP, and has its replies back at the port that sent", () => {
    const w = seeded()
    w.apply(vip("a", "203.0.113.7"))
    const underlay = w.apply(nat("a", "203.0.113.1", 1_000, 2_000))
    const [sent] = w.send("a", tcp("10.0.0.1:5000", "198.51.100.9:80", { syn: true }))
    assert.strictEqual(sent?.tuple.source, "203.0.113.1")
    const port = sent?.tuple.sourcePort ?? 0
    assert.deepEqual(
      all(w.arrive(underlay, tcp("198.51.100.9:80", `203.0.113.1:${port}`, { syn: true, ack: true }))),
      ["a 198.51.100.9:80 > 10.0.0.1:5000"],
    )
    assert.deepEqual(
      all(w.arrive(underlay, tcp("198.51.100.8:80", `203.0.113.1:${port}`, { syn: true }))),
      [],
    )
    assert.strictEqual(w.dropped("nat_unknown"), 1)
  })

  it("translates the identifier of an echo and no protocol without ports", () => {
    const w = seeded()
    const underlay = w.apply(nat("a", "203.0.113.1", 1_000, 1_001))
    assert.deepEqual(all(w.send("a", echo("10.0.0.1", "198.51.100.9", 55))), [
      `underlay 203.0.113.1:1000 > 198.51.100.9:1000 by ${router}`,
    ])
    assert.deepEqual(all(w.arrive(underlay, echo("198.51.100.9", "203.0.113.1", 1_000, true))), [
      "a 198.51.100.9:55 > 10.0.0.1:55",
    ])
    const gre = udp("10.0.0.1:1", "198.51.100.9:2")
    gre[9] = 47
    w.send("a", gre)
    assert.strictEqual(w.dropped("nat_protocol"), 1)
  })

  it("with no port left shares one as long as the remote ends differ, and then is exhausted", () => {
    const w = seeded()
    w.apply(nat("a", "203.0.113.1", 1_000, 1_002))
    const ports = [1, 2, 3].map(
      (port) => w.send("a", udp(`10.0.0.1:${port}`, `198.51.100.${port}:53`))[0]?.tuple.sourcePort,
    )
    assert.sameMembers(ports.slice(0, 2), [1_000, 1_001])
    assert.include([1_000, 1_001], ports[2])
    assert.lengthOf(w.send("a", udp("10.0.0.1:4", "198.51.100.1:53")), 1)
    assert.lengthOf(w.send("a", udp("10.0.0.1:5", "198.51.100.1:53")), 0)
    assert.strictEqual(w.dropped("nat_exhausted"), 1)
  })

  it("gives a port back when the last flow that uses it is gone", () => {
    const w = seeded()
    w.apply(nat("a", "203.0.113.1", 1_000, 1_001))
    const dns = (port: number) => w.send("a", udp(`10.0.0.1:${port}`, "198.51.100.9:53"))
    assert.lengthOf(dns(1), 1)
    w.wait(20)
    assert.lengthOf(dns(2), 0)
    w.wait(10)
    assert.lengthOf(dns(2), 0)
    w.wait(0.001)
    assert.lengthOf(dns(2), 1)
  })

  it("whose range moves away from a port ends its flow", () => {
    const w = seeded()
    const underlay = w.apply(nat("a", "203.0.113.1", 1_000, 1_001))
    w.send("a", udp("10.0.0.1:1", "198.51.100.9:53"))
    assert.strictEqual(w.apply(nat("a", "203.0.113.1", 2_000, 2_001)), underlay)
    assert.lengthOf(w.send("a", udp("10.0.0.1:1", "198.51.100.9:53")), 0)
    assert.strictEqual(w.dropped("flow_ended"), 1)
    assert.strictEqual(w.send("a", udp("10.0.0.1:1", "198.51.100.9:53"))[0]?.tuple.sourcePort, 2_000)
  })

  it("answers an echo request to its address on the way it came", () => {
    const w = seeded()
    const underlay = w.apply(nat("a", "203.0.113.1", 1_000, 2_000))
    const [answer] = w.arrive(underlay, echo("198.51.100.9", "203.0.113.1", 9_999), "fd00:f:77::3")
    assert.deepEqual(answer?.outer, { source: underlay, destination: "fd00:f:77::3" })
    assert.strictEqual(said(answer), "underlay 203.0.113.1:9999 > 198.51.100.9:9999")
    assert.strictEqual(answer?.tuple.icmpType, 0)
    assert.strictEqual(u8(answer?.bytes ?? new Uint8Array(0), 8), 64)
  })

  it("shares its address with another of the host, and either's endpoint takes the other's replies", () => {
    const w = seeded()
    w.create("b", { ipv4: "10.0.0.2" })
    w.apply(nat("a", "203.0.113.1", 1_000, 2_000))
    assert.strictEqual(w.try(nat("b", "203.0.113.1", 1_999, 3_000)).code, 202)
    const second = w.apply(nat("b", "203.0.113.1", 2_000, 3_000))
    const port = w.send("a", udp("10.0.0.1:1", "198.51.100.9:53"))[0]?.tuple.sourcePort
    assert.deepEqual(all(w.arrive(second, udp("198.51.100.9:53", `203.0.113.1:${port}`))), [
      "a 198.51.100.9:53 > 10.0.0.1:1",
    ])
  })

  it("sends on what a neighbour's range has, with the outer source that it came to", () => {
    const w = seeded()
    const underlay = w.apply(nat("a", "203.0.113.1", 1_000, 2_000))
    const neighbour: Operation = {
      _tag: "PutNeighborNat",
      nat: { vni: 100, ip: "203.0.113.1", minPort: 2_000, maxPort: 3_000, underlayAddress: "fd00:f:5::5" },
    }
    w.apply(neighbour)
    const packet = udp("198.51.100.9:53", "203.0.113.1:2999")
    const [relayed] = w.arrive(underlay, packet)
    assert.deepEqual(relayed?.outer, { source: underlay, destination: "fd00:f:5::5" })
    assert.deepEqual(relayed?.bytes, packet)
    assert.lengthOf(w.arrive(underlay, udp("198.51.100.9:53", "203.0.113.1:3000")), 0)
    assert.strictEqual(w.dropped("nat_unknown"), 1)
    assert.lengthOf(w.arrive(underlay, echo("198.51.100.9", "203.0.113.1", 2_500)), 1)
    w.apply({
      ...neighbour,
      _tag: "DeleteNeighborNat",
      vni: 100,
      ip: "203.0.113.1",
      minPort: 2_000,
      maxPort: 3_000,
    })
    assert.lengthOf(w.arrive(underlay, packet), 0)
  })

  it("is passed over from endpoint to endpoint of a host only so often", () => {
    const w = seeded()
    const underlay = w.apply(nat("a", "203.0.113.1", 1_000, 2_000))
    w.apply({
      _tag: "PutNeighborNat",
      nat: { vni: 100, ip: "203.0.113.1", minPort: 2_000, maxPort: 3_000, underlayAddress: underlay },
    })
    assert.lengthOf(w.arrive(underlay, udp("198.51.100.9:53", "203.0.113.1:2999")), 0)
    assert.strictEqual(w.dropped("route_miss"), 1)
  })
})

describe("an ICMP error", () => {
  const about = (packet: Uint8Array, source: string, type = 3, code = 4, rest = 1_400): Uint8Array => {
    const tuple = parseIp(packet)
    const error = tuple === undefined ? undefined : answerError(packet, tuple, { type, code, rest, source })
    assert.isDefined(error)
    return error ?? new Uint8Array(0)
  }
  const quoted = (bytes: Uint8Array): Uint8Array => bytes.subarray((parseIp(bytes)?.l4 ?? 0) + 8)

  it("about what a NAT sent comes to its VM, and quotes what the VM sent byte for byte", () => {
    const w = outside()
    const underlay = w.apply(nat("a", "203.0.113.1", 1_000, 2_000))
    for (const sent of [
      udp("10.0.0.1:5000", "198.51.100.9:53"),
      tcp("10.0.0.1:5001", "198.51.100.9:80", { syn: true }),
      echo("10.0.0.1", "198.51.100.9", 77),
    ]) {
      const [out] = w.send("a", sent)
      const [error] = w.arrive(underlay, about(out?.bytes ?? sent, "192.0.2.254"))
      assert.strictEqual(error?.to, "a")
      assert.strictEqual(error?.tuple.source, "192.0.2.254")
      assert.strictEqual(error?.tuple.destination, "10.0.0.1")
      assert.deepEqual(quoted(error?.bytes ?? sent), sent)
    }
  })

  it("of a VM behind a VIP has the VIP as source and quotes what came to the VIP", () => {
    const w = outside()
    const underlay = w.apply(vip("a", "203.0.113.1"))
    const came = udp("198.51.100.9:4000", "203.0.113.1:53")
    const [delivered] = w.arrive(underlay, came)
    const [error] = w.send("a", about(delivered?.bytes ?? came, "10.0.0.1", 3, 3, 0))
    assert.strictEqual(error?.tuple.source, "203.0.113.1")
    assert.strictEqual(error?.tuple.destination, "198.51.100.9")
    assert.deepEqual(quoted(error?.bytes ?? came), came)
  })

  it("about nothing alive is as any other packet, and about something does not keep it alive", () => {
    const w = outside()
    const underlay = w.apply(nat("a", "203.0.113.1", 1_000, 2_000))
    const [out] = w.send("a", udp("10.0.0.1:5000", "198.51.100.9:53"))
    const error = about(out?.bytes ?? new Uint8Array(0), "192.0.2.254")
    w.wait(30)
    assert.lengthOf(w.arrive(underlay, error), 1)
    w.wait(0.001)
    assert.lengthOf(w.arrive(underlay, error), 0)
    assert.strictEqual(w.dropped("nat_unknown"), 1)
  })

  it("passes the firewall that the flow passed", () => {
    const w = outside()
    const underlay = w.create("b", { ipv4: "10.0.0.2" })
    w.apply({
      _tag: "PutFirewall",
      firewall: { interface: "b", ingress: "drop", egress: "accept", rules: [] },
    })
    const [out] = w.send("b", udp("10.0.0.2:1", "198.51.100.9:53"))
    assert.lengthOf(w.arrive(underlay, about(out?.bytes ?? new Uint8Array(0), "192.0.2.254")), 1)
    assert.lengthOf(w.arrive(underlay, about(udp("10.0.0.2:2", "198.51.100.9:53"), "192.0.2.254")), 0)
    assert.strictEqual(w.dropped("firewall_ingress"), 1)
  })
})

describe("NAT64", () => {
  const wide = () => {
    const w = world()
    w.create("a", { ipv4: "10.0.0.1", ipv6: "fd00::1" })
    w.route("::/0")
    const underlay = w.apply(nat("a", "203.0.113.1", 1_000, 2_000))
    return { w, underlay }
  }

  it("takes TCP, UDP and echo to IPv4 and back, header and checksums", () => {
    const { w, underlay } = wide()
    for (const [sent, answer] of [
      [
        tcp("[fd00::1]:5000", "[64:ff9b::c633:6409]:80", { syn: true }),
        (port: number) => tcp("198.51.100.9:80", `203.0.113.1:${port}`, { syn: true, ack: true }),
      ],
      [
        udp("[fd00::1]:5000", "[64:ff9b::c633:6409]:53"),
        (port: number) => udp("198.51.100.9:53", `203.0.113.1:${port}`),
      ],
      [
        echo("fd00::1", "64:ff9b::c633:6409", 77),
        (port: number) => echo("198.51.100.9", "203.0.113.1", port, true),
      ],
    ] as const) {
      const [out] = w.send("a", sent)
      assert.strictEqual(out?.outer?.destination, router)
      assert.strictEqual(out?.tuple.family, 4)
      assert.strictEqual(out?.tuple.source, "203.0.113.1")
      assert.strictEqual(out?.tuple.destination, "198.51.100.9")
      assert.strictEqual(u16(out?.bytes ?? sent, 4), 0)
      assert.strictEqual(u16(out?.bytes ?? sent, 6), 0x4000)
      const [back] = w.arrive(underlay, answer(out?.tuple.sourcePort ?? 0))
      assert.strictEqual(back?.to, "a")
      assert.strictEqual(back?.tuple.source, "64:ff9b::c633:6409")
      assert.strictEqual(back?.tuple.destination, "fd00::1")
      assert.strictEqual(back?.tuple.destinationPort, parseIp(sent)?.sourcePort)
    }
  })

  it("translates an error with what it quotes", () => {
    const { w, underlay } = wide()
    const sent = udp("[fd00::1]:5000", "[64:ff9b::c633:6409]:53")
    const [out] = w.send("a", sent)
    assert.isDefined(out)
    if (out === undefined) return
    const error = answerError(out.bytes, out.tuple, { type: 3, code: 4, rest: 1_400, source: "192.0.2.254" })
    const [came] = w.arrive(underlay, error ?? sent)
    assert.strictEqual(came?.tuple.source, "64:ff9b::c000:2fe")
    assert.strictEqual(came?.tuple.icmpType, 2)
    assert.strictEqual(u16(came?.bytes ?? sent, 46), 1_420)
    const inner = came?.bytes.subarray(48) ?? sent
    const about = parseQuoted(inner)
    assert.strictEqual(about?.source, "fd00::1")
    assert.strictEqual(about?.sourcePort, 5_000)
    assert.isTrue(about !== undefined && isIntact(inner, about))
  })

  it("is for the prefix behind the default route only, and takes no fragments", () => {
    const { w } = wide()
    assert.strictEqual(w.send("a", udp("[fd00::1]:1", "[2001:db8::1]:2"))[0]?.tuple.family, 6)
    const fragment = udp("[fd00::1]:1", "[64:ff9b::c633:6409]:2")
    const cut = new Uint8Array(fragment.length + 8)
    cut.set(fragment.subarray(0, 40))
    cut.set([17, 0, 0, 1, 0, 0, 0, 9], 40)
    cut.set(fragment.subarray(40), 48)
    cut[6] = 44
    cut[5] = (cut[5] ?? 0) + 8
    assert.lengthOf(w.send("a", cut), 0)
    assert.strictEqual(w.dropped("fragment"), 1)
    w.route("64:ff9b::/96", "fd00:f:2::5")
    assert.strictEqual(w.send("a", udp("[fd00::1]:3", "[64:ff9b::c633:6409]:2"))[0]?.tuple.family, 6)
  })
})

describe("a virtual service", () => {
  it("is reached by a plain IPv6 packet, and answers as the IPv4 address that was called", () => {
    const w = world({
      services: [{ protocol: 17, ip: "169.254.1.1", port: 53, target: "2001:db8::53", targetPort: 5_353 }],
    })
    w.create("a", { ipv4: "10.0.0.1" })
    const [out] = w.send("a", udp("10.0.0.1:1", "169.254.1.1:53"))
    assert.isUndefined(out?.outer)
    assert.strictEqual(out?.tuple.destination, "2001:db8::53")
    assert.strictEqual(out?.tuple.destinationPort, 5_353)
    assert.isAtLeast(out?.tuple.sourcePort ?? 0, 1_024)
    assert.deepEqual([...bytesOf(out?.tuple.source ?? "::").subarray(8, 11)], [0xd0, 0xff, 0x40])
    const answer = udp(`[2001:db8::53]:5353`, `[${out?.tuple.source}]:${out?.tuple.sourcePort}`)
    assert.deepEqual(all(w.plain(answer)), ["a 169.254.1.1:53 > 10.0.0.1:1"])
  })
})
