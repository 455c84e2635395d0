/** The model's flows: how long they live, what refuses them, firewalls, limits and rates, spoofing, fragments. */
import { assert, describe, it } from "@effect/vitest"
import type { FirewallRule, FirewallSpec, Operation } from "#protocol/dataplane/Dataplane.ts"
import { concat, put16 } from "#protocol/dataplane/model/bytes.ts"
import { encodeArp, encodeEthernet, etherTypes } from "#protocol/dataplane/model/ethernet.ts"
import { flowsOf } from "#protocol/dataplane/model/flow.ts"
import { encodeIpv4, protocols } from "#protocol/dataplane/model/ip.ts"
import { bucket, meter, take } from "#protocol/dataplane/model/rate.ts"
import { all, echo, router, tcp, udp, type World, world } from "./dataplane-world.ts"

const rule = (more: Partial<FirewallRule>): FirewallRule => ({
  id: "r",
  egress: false,
  accept: true,
  priority: 1_000,
  protocol: 0,
  ...more,
})
const firewall = (
  id: string,
  rules: ReadonlyArray<FirewallRule>,
  more: Partial<FirewallSpec> = {},
): Operation => ({
  _tag: "PutFirewall",
  firewall: { interface: id, ingress: "accept", egress: "accept", rules, ...more },
})

/** VM a, closed to whatever it did not begin, behind a route to everywhere. */
const closed = () => {
  const w = world()
  const underlay = w.create("a", { ipv4: "10.0.0.1", ipv6: "fd00::1" })
  w.route("10.0.0.0/8")
  w.apply(firewall("a", [], { ingress: "drop" }))
  return { w, underlay }
}

const flows = (w: World): number => flowsOf(w.state().flows, "i1")

describe("a flow", () => {
  it("of UDP lives 30 s until it is answered, and 180 s then", () => {
    const { w, underlay } = closed()
    const request = udp("10.0.0.1:1", "10.9.9.9:53")
    const reply = udp("10.9.9.9:53", "10.0.0.1:1")
    w.send("a", request)
    w.wait(30)
    assert.lengthOf(w.arrive(underlay, reply), 1)
    w.wait(180)
    assert.lengthOf(w.arrive(underlay, reply), 1)
    w.wait(180.001)
    assert.lengthOf(w.arrive(underlay, reply), 0)
    assert.strictEqual(w.dropped("firewall_ingress"), 1)
    assert.strictEqual(flows(w), 0)
    w.send("a", request)
    w.wait(30.001)
    assert.lengthOf(w.arrive(underlay, reply), 0)
  })

  const shake = (w: World, underlay: string) => {
    w.send("a", tcp("10.0.0.1:1", "10.9.9.9:80", { syn: true }))
    w.arrive(underlay, tcp("10.9.9.9:80", "10.0.0.1:1", { syn: true, ack: true }))
  }
  const data = tcp("10.9.9.9:80", "10.0.0.1:1", { ack: true }, "data")

  it("of TCP lives 30 s until both directions have acknowledged, and a day then", () => {
    const { w, underlay } = closed()
    shake(w, underlay)
    w.wait(30.001)
    assert.lengthOf(w.arrive(underlay, data), 0)
    shake(w, underlay)
    w.send("a", tcp("10.0.0.1:1", "10.9.9.9:80", { ack: true }))
    w.wait(86_400)
    assert.lengthOf(w.arrive(underlay, data), 1)
    w.wait(86_400.001)
    assert.lengthOf(w.arrive(underlay, data), 0)
  })

  it("of TCP lives 30 s more after a FIN or RST of either side", () => {
    for (const last of [{ fin: true, ack: true }, { rst: true }]) {
      const { w, underlay } = closed()
      shake(w, underlay)
      w.send("a", tcp("10.0.0.1:1", "10.9.9.9:80", { ack: true }))
      w.arrive(underlay, tcp("10.9.9.9:80", "10.0.0.1:1", last))
      w.wait(30)
      assert.lengthOf(w.arrive(underlay, data), 1)
      w.wait(30.001)
      assert.lengthOf(w.arrive(underlay, data), 0)
    }
  })

  it("of TCP that ended begins anew with a SYN", () => {
    const { w, underlay } = closed()
    shake(w, underlay)
    w.send("a", tcp("10.0.0.1:1", "10.9.9.9:80", { ack: true }))
    w.arrive(underlay, tcp("10.9.9.9:80", "10.0.0.1:1", { rst: true }))
    shake(w, underlay)
    w.send("a", tcp("10.0.0.1:1", "10.9.9.9:80", { ack: true }))
    w.wait(1_000)
    assert.lengthOf(w.arrive(underlay, data), 1)
  })

  it("lives as long as the engine was told", () => {
    const w = world({ flowTimeout: 5 })
    const underlay = w.create("a", { ipv4: "10.0.0.1" })
    w.route("10.0.0.0/8")
    w.apply(firewall("a", [], { ingress: "drop" }))
    w.send("a", udp("10.0.0.1:1", "10.9.9.9:53"))
    w.wait(5.001)
    assert.lengthOf(w.arrive(underlay, udp("10.9.9.9:53", "10.0.0.1:1")), 0)
  })

  it("follows its route when that is replaced, and is missed when it is gone", () => {
    const { w } = closed()
    const packet = udp("10.0.0.1:1", "10.9.9.9:53")
    w.send("a", packet)
    w.route("10.0.0.0/8", "fd00:f:7::7")
    assert.strictEqual(w.send("a", packet)[0]?.outer?.destination, "fd00:f:7::7")
    w.route("10.9.0.0/16", "fd00:f:8::8")
    assert.strictEqual(w.send("a", packet)[0]?.outer?.destination, "fd00:f:8::8")
    w.apply({ _tag: "ResetVni", vni: 100 })
    assert.lengthOf(w.send("a", packet), 0)
    assert.strictEqual(w.dropped("route_miss"), 1)
  })

  it("to a VM that came to this host goes to it, and its answers come back", () => {
    const { w } = closed()
    w.send("a", udp("10.0.0.1:1", "10.9.9.9:53"))
    w.create("b", { ipv4: "10.9.9.9" })
    assert.deepEqual(all(w.send("a", udp("10.0.0.1:1", "10.9.9.9:53"))), ["b 10.0.0.1:1 > 10.9.9.9:53"])
    assert.deepEqual(all(w.send("b", udp("10.9.9.9:53", "10.0.0.1:1"))), ["a 10.9.9.9:53 > 10.0.0.1:1"])
  })

  it("that a new one takes a key of ends, and its port is free", () => {
    const w = world()
    w.create("a", { ipv4: "10.0.0.1" })
    w.route("10.0.0.0/8")
    const vip = w.apply({ _tag: "PutVip", vip: { interface: "a", ip: "203.0.113.1" } })
    w.send("a", udp("10.0.0.1:1", "10.9.9.9:53"))
    w.arrive(vip, udp("10.9.9.9:53", "203.0.113.1:1"))
    assert.strictEqual(flows(w), 1)
    assert.strictEqual(w.send("a", udp("10.0.0.1:1", "10.9.9.9:53"))[0]?.tuple.source, "203.0.113.1")
  })

  it("is no longer alive for packets that lead nowhere", () => {
    const { w, underlay } = closed()
    w.send("a", udp("10.0.0.1:1", "10.9.9.9:53"))
    w.apply({ _tag: "ResetVni", vni: 100 })
    w.wait(20)
    w.send("a", udp("10.0.0.1:1", "10.9.9.9:53"))
    w.wait(20)
    assert.lengthOf(w.arrive(underlay, udp("10.9.9.9:53", "10.0.0.1:1")), 0)
  })

  it("ends with its interface", () => {
    const { w } = closed()
    w.create("b", { ipv4: "10.0.0.2" })
    w.send("a", udp("10.0.0.1:1", "10.0.0.2:53"))
    assert.strictEqual(flows(w), 1)
    w.apply({ _tag: "DeleteInterface", id: "b" })
    assert.strictEqual(flows(w), 0)
  })
})

describe("a firewall", () => {
  it("tries low priorities first, and equal ones in the order of the list", () => {
    const { w, underlay } = closed()
    const put = (a: number, b: number) =>
      w.apply(firewall("a", [rule({ id: "x", priority: a, accept: false }), rule({ id: "y", priority: b })]))
    put(2, 1)
    assert.lengthOf(w.arrive(underlay, udp("10.9.9.9:1", "10.0.0.1:1")), 1)
    put(1, 1)
    assert.lengthOf(w.arrive(underlay, udp("10.9.9.9:2", "10.0.0.1:1")), 0)
    assert.strictEqual(w.dropped("firewall_ingress"), 1)
  })

  it("matches prefixes, ports, protocols and ICMP of its family", () => {
    const { w, underlay } = closed()
    const passes = (more: Partial<FirewallRule>, packet: Uint8Array): boolean => {
      w.apply(firewall("a", [rule(more)], { ingress: "drop" }))
      w.wait(86_401)
      return w.arrive(underlay, packet).length === 1
    }
    const dns = udp("10.9.9.9:1000", "10.0.0.1:53")
    assert.isTrue(passes({ source: "10.9.0.0/16" }, dns))
    assert.isFalse(passes({ source: "10.8.0.0/16" }, dns))
    assert.isTrue(passes({ destination: "10.0.0.1/32", protocol: 17 }, dns))
    assert.isFalse(passes({ protocol: 6 }, dns))
    assert.isFalse(passes({ source: "::/0" }, dns))
    assert.isTrue(passes({ protocol: 17, destinationPorts: { first: 50, last: 53 } }, dns))
    assert.isFalse(passes({ protocol: 17, destinationPorts: { first: 54, last: 60 } }, dns))
    assert.isFalse(passes({ protocol: 17, sourcePorts: { first: 0, last: 999 } }, dns))
    assert.isTrue(passes({ protocol: 1, icmpType: 8 }, echo("10.9.9.9", "10.0.0.1")))
    assert.isFalse(passes({ protocol: 1, icmpType: 0 }, echo("10.9.9.9", "10.0.0.1")))
    assert.isTrue(passes({ protocol: 1 }, echo("fd00::9", "fd00::1")))
    assert.isFalse(passes({ protocol: 1, source: "0.0.0.0/0" }, echo("fd00::9", "fd00::1")))
  })

  it("with the default `rules` refuses only where the direction has some", () => {
    const { w } = closed()
    const send = (port: number) => w.send("a", udp(`10.0.0.1:${port}`, "10.9.9.9:53")).length
    w.apply(firewall("a", [], { egress: "rules" }))
    assert.strictEqual(send(1), 1)
    w.apply(firewall("a", [rule({ id: "in" })], { egress: "rules" }))
    assert.strictEqual(send(2), 1)
    w.apply(firewall("a", [rule({ egress: true, protocol: 6 })], { egress: "rules" }))
    assert.strictEqual(send(3), 0)
    assert.strictEqual(w.dropped("firewall_egress"), 1)
  })

  it("that closes ends the flow at its next packet, in whichever direction", () => {
    const { w, underlay } = closed()
    w.send("a", udp("10.0.0.1:1", "10.9.9.9:53"))
    w.apply(firewall("a", [rule({ egress: true, accept: false })]))
    assert.lengthOf(w.arrive(underlay, udp("10.9.9.9:53", "10.0.0.1:1")), 0)
    assert.strictEqual(w.dropped("firewall_egress"), 1)
    assert.strictEqual(flows(w), 0)
  })

  it("is asked twice between VMs of one host: the sender's egress, the receiver's ingress", () => {
    const { w } = closed()
    w.create("b", { ipv4: "10.0.0.2" })
    w.send("b", udp("10.0.0.2:1", "10.0.0.1:1"))
    assert.strictEqual(w.dropped("firewall_ingress"), 1)
    w.apply(firewall("b", [], { egress: "drop" }))
    w.send("b", udp("10.0.0.2:1", "10.0.0.1:1"))
    assert.strictEqual(w.dropped("firewall_egress"), 1)
  })

  it("of an interface that has none is what the engine was told", () => {
    const w = world({ firewallDefault: { ingress: "drop", egress: "accept" } })
    const underlay = w.create("a", { ipv4: "10.0.0.1" })
    assert.lengthOf(w.arrive(underlay, udp("10.9.9.9:1", "10.0.0.1:1")), 0)
    w.apply(firewall("a", []))
    assert.lengthOf(w.arrive(underlay, udp("10.9.9.9:1", "10.0.0.1:1")), 1)
    w.apply({ _tag: "DeleteFirewall", interface: "a" })
    assert.lengthOf(w.arrive(underlay, udp("10.9.9.9:2", "10.0.0.1:1")), 0)
  })
})

describe("limits", () => {
  it("bound an interface's flows, and one that is gone makes room", () => {
    const w = world()
    w.create("a", { ipv4: "10.0.0.1", flowLimit: 2 })
    w.route("10.0.0.0/8")
    const send = (port: number) => w.send("a", udp(`10.0.0.1:${port}`, "10.9.9.9:53")).length
    assert.deepEqual([send(1), send(2), send(3), send(1)], [1, 1, 0, 1])
    assert.strictEqual(w.dropped("flow_limit"), 1)
    w.wait(30.001)
    assert.strictEqual(send(3), 1)
  })

  it("bound its new flows a second", () => {
    const w = world()
    w.create("a", { ipv4: "10.0.0.1", flowRate: 10 })
    w.route("10.0.0.0/8")
    const burst = (from: number) =>
      Array.from(
        { length: 20 },
        (_, i) => w.send("a", udp(`10.0.0.1:${from + i}`, "10.9.9.9:53")).length,
      ).filter((sent) => sent === 1).length
    assert.strictEqual(burst(1), 10)
    assert.strictEqual(w.dropped("flow_rate"), 10)
    w.wait(0.25)
    assert.strictEqual(burst(100), 2)
    w.wait(60)
    assert.strictEqual(burst(200), 10)
  })

  it("charge a flow to the sender on this host, else to the receiver", () => {
    const w = world()
    const a = w.create("a", { ipv4: "10.0.0.1", flowLimit: 1 })
    w.create("b", { ipv4: "10.0.0.2" })
    assert.lengthOf(w.send("b", udp("10.0.0.2:1", "10.0.0.1:1")), 1)
    assert.lengthOf(w.arrive(a, udp("10.9.9.9:1", "10.0.0.1:1")), 1)
    assert.lengthOf(w.arrive(a, udp("10.9.9.9:2", "10.0.0.1:1")), 0)
    assert.strictEqual(w.dropped("flow_limit"), 1)
  })
})

describe("rates", () => {
  it("fill by whole thousandths, so that no time is lost however often one asks", () => {
    let often = { ...bucket(3, 1_000, 0), level: 0 }
    for (let now = 1; now <= 100_000; now++) often = take(often, now, 0).bucket
    assert.strictEqual(often.level, 300_000)
    const [all, more] = [take(bucket(3, 2, 0), 0, 2), take(bucket(3, 2, 0), 0, 3)]
    assert.isTrue(all.taken)
    assert.isFalse(more.taken)
    assert.strictEqual(meter(1, 0).burst, 131_072)
    assert.strictEqual(meter(1_000, 0).burst, 6_250_000)
  })

  it("bound all that a VM sends, and what of it goes outside", () => {
    const w = world()
    w.create("a", { ipv4: "10.0.0.1", totalRate: 2, publicRate: 1 })
    w.route("10.0.0.0/8")
    w.route("0.0.0.0/0")
    const packet = (to: string) => udp("10.0.0.1:1", `${to}:1`, "x".repeat(972))
    const sent = (to: string, count: number) =>
      Array.from({ length: count }, () => w.send("a", packet(to)).length).filter((n) => n === 1).length
    assert.strictEqual(sent("10.9.9.9", 200), 131)
    assert.strictEqual(w.dropped("meter_total"), 69)
    w.wait(10)
    assert.strictEqual(sent("198.51.100.9", 131), 131)
    w.wait(0.5)
    assert.strictEqual(sent("198.51.100.9", 100), 62)
    assert.strictEqual(w.dropped("meter_public"), 38)
  })

  it("bound what the gateway answers, kind by kind", () => {
    const w = world()
    w.create("a", { ipv4: "10.0.0.1" })
    const ask = () => w.send("a", echo("10.0.0.1", "169.254.0.1")).length
    const answers = Array.from({ length: 150 }, ask).filter((n) => n === 1).length
    assert.strictEqual(answers, 100)
    assert.strictEqual(w.dropped("service_rate"), 50)
    w.wait(0.1)
    assert.strictEqual(Array.from({ length: 20 }, ask).filter((n) => n === 1).length, 10)
  })

  it("change with their interface in place", () => {
    const w = world()
    w.create("a", { ipv4: "10.0.0.1" })
    w.create("a", { ipv4: "10.0.0.1", flowLimit: 1, totalRate: 5 })
    w.route("10.0.0.0/8")
    assert.lengthOf(w.send("a", udp("10.0.0.1:1", "10.9.9.9:1")), 1)
    assert.lengthOf(w.send("a", udp("10.0.0.1:2", "10.9.9.9:1")), 0)
    const spec = {
      id: "a",
      vni: 100,
      ipv4: "10.0.0.1",
      ipv6: undefined,
      device: "vtap:a",
      hostname: undefined,
    }
    const bad: Operation = { _tag: "CreateInterface", spec: { ...spec, totalRate: 1, publicRate: 2 } }
    assert.strictEqual(w.try(bad).code, 383)
  })
})

describe("spoofing", () => {
  const spoofed = () => {
    const w = world()
    w.create("a", { ipv4: "10.0.0.1", ipv6: "fd00::1" })
    w.route("10.0.0.0/8")
    w.route("fd00::/16")
    return w
  }

  it("is any source but the interface's addresses and prefixes", () => {
    const w = spoofed()
    w.apply({ _tag: "PutAliasPrefix", prefix: { interface: "a", prefix: "10.0.5.0/24" } })
    w.apply({ _tag: "PutBalancerPrefix", prefix: { interface: "a", prefix: "10.0.6.6/32" } })
    for (const source of ["10.0.0.1", "10.0.5.77", "10.0.6.6"])
      assert.lengthOf(w.send("a", udp(`${source}:1`, "10.9.9.9:1")), 1)
    for (const source of ["10.0.0.2", "10.0.6.7"])
      assert.lengthOf(w.send("a", udp(`${source}:1`, "10.9.9.9:1")), 0)
    assert.strictEqual(w.dropped("spoof"), 2)
  })

  it("is another MAC than the first one, until ARP says that it is the VM's", () => {
    const w = spoofed()
    const other = "52:54:00:ff:ff:ff"
    w.send("a", udp("10.0.0.1:1", "10.9.9.9:1"))
    assert.lengthOf(w.send("a", udp("10.0.0.1:1", "10.9.9.9:1"), other), 0)
    assert.strictEqual(w.dropped("spoof"), 1)
    w.frame(
      "a",
      encodeEthernet({
        destination: "ff:ff:ff:ff:ff:ff",
        source: other,
        type: etherTypes.arp,
        payload: encodeArp({
          operation: "request",
          senderMac: other,
          senderIp: "10.0.0.1",
          targetMac: "00:00:00:00:00:00",
          targetIp: "10.0.0.9",
        }),
      }),
    )
    assert.lengthOf(w.send("a", udp("10.0.0.1:1", "10.9.9.9:1"), other), 1)
  })

  it("is a DHCP server's message", () => {
    const w = spoofed()
    assert.lengthOf(w.send("a", udp("10.0.0.1:67", "10.9.9.9:68")), 0)
    assert.lengthOf(w.send("a", udp("[fd00::1]:547", "[fd00::9]:546")), 0)
    assert.strictEqual(w.dropped("spoof"), 2)
  })

  it("is not looked for where the interface says so", () => {
    const w = spoofed()
    w.create("a", { ipv4: "10.0.0.1", ipv6: "fd00::1", spoofCheckOff: true })
    assert.lengthOf(w.send("a", udp("192.0.2.7:1", "10.9.9.9:1")), 1)
    assert.lengthOf(w.send("a", udp("192.0.2.7:1", "10.9.9.9:1"), "52:54:00:ff:ff:ff"), 1)
  })

  it("does not mean the destination MAC: any that is no group's is the gateway's", () => {
    const w = spoofed()
    const payload = udp("10.0.0.1:1", "10.9.9.9:1")
    const to = (destination: string) =>
      w.frame(
        "a",
        encodeEthernet({ destination, source: "52:54:00:00:00:61", type: etherTypes.ipv4, payload }),
      )
    assert.lengthOf(to("02:99:99:99:99:99"), 1)
    assert.lengthOf(to("ff:ff:ff:ff:ff:ff"), 0)
    assert.strictEqual(w.dropped("not_gateway"), 1)
  })
})

describe("fragments", () => {
  const whole = udp("10.0.0.1:1000", "198.51.100.9:53", "x".repeat(40))
  const piece = (offset: number, more: boolean, payload: Uint8Array, identification = 5) => {
    const out = encodeIpv4({
      source: "10.0.0.1",
      destination: "198.51.100.9",
      protocol: protocols.udp,
      identification,
      dontFragment: false,
      payload,
    })
    const sum = (out[10] ?? 0) * 256 + (out[11] ?? 0)
    const word = (more ? 0x2000 : 0) | (offset / 8)
    out.set(put16(word), 6)
    const folded = (~sum & 0xffff) + word
    out.set(put16(~((folded & 0xffff) + (folded >>> 16)) & 0xffff), 10)
    return out
  }
  const natted = () => {
    const w = world()
    w.create("a", { ipv4: "10.0.0.1" })
    w.route("0.0.0.0/0")
    w.apply({ _tag: "PutNat", nat: { interface: "a", ip: "203.0.113.1", minPort: 1_000, maxPort: 2_000 } })
    return w
  }

  it("behind the first one take its ports, and so its flow", () => {
    const w = natted()
    const l4 = whole.subarray(20)
    const [first] = w.send("a", piece(0, true, l4.subarray(0, 24)))
    const [second] = w.send("a", piece(24, false, l4.subarray(24)))
    assert.strictEqual(first?.tuple.source, "203.0.113.1")
    assert.strictEqual(second?.tuple.source, "203.0.113.1")
    assert.strictEqual(second?.outer?.destination, router)
    assert.strictEqual(flows(w), 1)
    // Joined again they are one intact datagram.
    const [direct] = natted().send("a", whole)
    assert.deepEqual(
      concat(first?.bytes.subarray(20) ?? [], second?.bytes.subarray(20) ?? []),
      direct?.bytes.subarray(20),
    )
  })

  it("without a first one, or 30 s behind it, are dropped", () => {
    const w = natted()
    const l4 = whole.subarray(20)
    assert.lengthOf(w.send("a", piece(24, false, l4.subarray(24))), 0)
    w.send("a", piece(0, true, l4.subarray(0, 24)))
    assert.lengthOf(w.send("a", piece(24, false, l4.subarray(24), 6)), 0)
    w.wait(30)
    assert.lengthOf(w.send("a", piece(24, false, l4.subarray(24))), 1)
    w.wait(0.001)
    assert.lengthOf(w.send("a", piece(24, false, l4.subarray(24))), 0)
    assert.strictEqual(w.dropped("fragment"), 3)
  })

  it("are remembered for 256 packets of an interface, the oldest forgotten first", () => {
    const w = natted()
    const l4 = whole.subarray(20)
    for (let i = 0; i < 257; i++) w.send("a", piece(0, true, l4.subarray(0, 24), i))
    assert.lengthOf(w.send("a", piece(24, false, l4.subarray(24), 0)), 0)
    assert.lengthOf(w.send("a", piece(24, false, l4.subarray(24), 1)), 1)
  })

  it("that are first and too short for ports are malformed", () => {
    const w = natted()
    assert.lengthOf(w.send("a", piece(0, true, whole.subarray(20, 26))), 0)
    assert.strictEqual(w.dropped("malformed"), 1)
  })
})
