/** The model's edges: from outside into the overlay, and out of it. */
import { assert, describe, it } from "@effect/vitest"
import { bytesOf } from "#protocol/dataplane/model/address.ts"
import {
  decodeArp,
  decodeEthernet,
  encodeArp,
  encodeEthernet,
  etherTypes,
} from "#protocol/dataplane/model/ethernet.ts"
import { step } from "#protocol/dataplane/model/pipeline.ts"
import { find } from "#protocol/dataplane/model/tables.ts"
import { echo, said, udp, type World, world } from "./dataplane-world.ts"

const gateway = "52:54:00:00:00:fe"

/** An edge of VNI 100 on vtap:e, at 192.0.2.2 with its gateway at 192.0.2.1. */
const edged = (options = {}): { readonly w: World; readonly mac: string; readonly underlay: string } => {
  const w = world(options)
  const underlay = w.apply({
    _tag: "PutEdge",
    edge: { name: "e", vni: 100, device: "vtap:e", outsideIpv4: "192.0.2.2", gatewayIpv4: "192.0.2.1" },
  })
  w.route("203.0.113.0/24", "fd00:f:5::5")
  w.apply({
    _tag: "PutNeighborNat",
    nat: { vni: 100, ip: "203.0.113.7", minPort: 1_000, maxPort: 2_000, underlayAddress: "fd00:f:6::6" },
  })
  return { w, mac: find(w.state().edges, "e")?.mac ?? "", underlay }
}

const into = (w: World, mac: string, packet: Uint8Array) =>
  w.frame("e", encodeEthernet({ destination: mac, source: gateway, type: etherTypes.ipv4, payload: packet }))

const aged = (packet: Uint8Array, ttl: number): Uint8Array => {
  const out = packet.slice()
  const sum =
    (~((out[10] ?? 0) * 256 + (out[11] ?? 0)) & 0xffff) + (~((out[8] ?? 0) * 256) & 0xffff) + ttl * 256
  out[8] = ttl
  const folded = (sum & 0xffff) + (sum >>> 16)
  const value = ~((folded & 0xffff) + (folded >>> 16)) & 0xffff
  out[10] = value >>> 8
  out[11] = value & 0xff
  return out
}

describe("an edge", () => {
  it("sends what comes from outside to the neighbour that has the port, else by the longest prefix", () => {
    const { mac, underlay, w } = edged()
    const [nat] = into(w, mac, udp("198.51.100.9:53", "203.0.113.7:1999"))
    assert.deepEqual(nat?.outer, { source: underlay, destination: "fd00:f:6::6" })
    assert.strictEqual(nat?.bytes[8], 63)
    const [other] = into(w, mac, udp("198.51.100.9:53", "203.0.113.7:2000"))
    assert.deepEqual(other?.outer, { source: underlay, destination: "fd00:f:5::5" })
    assert.lengthOf(into(w, mac, udp("198.51.100.9:53", "203.0.114.7:1999")), 0)
    assert.strictEqual(w.dropped("edge_unknown"), 1)
  })

  it("tells senders of what is too old or too long", () => {
    const { mac, w } = edged({ mtu: 600 })
    const [old] = into(w, mac, aged(udp("198.51.100.9:53", "203.0.113.7:1"), 1))
    assert.deepEqual([said(old), old?.tuple.icmpType], ["e 192.0.2.2:0 > 198.51.100.9:0", 11])
    w.wait(0.01)
    const [long] = into(w, mac, udp("198.51.100.9:53", "203.0.113.7:1", "x".repeat(600)))
    assert.deepEqual([long?.tuple.icmpType, long?.tuple.icmpCode], [3, 4])
  })

  it("asks for its gateway, and then sends out by it what has a source that outside would find", () => {
    const { underlay, w } = edged()
    const packet = udp("203.0.113.9:1", "198.51.100.9:53")
    const asked = step(w.state(), {
      _tag: "FromUnderlay",
      packet: Uint8Array.from([
        0x60,
        0,
        0,
        0,
        0,
        packet.length,
        4,
        64,
        ...Array(16).fill(0),
        ...bytesOf(underlay),
        ...packet,
      ]),
    })
    const question = asked.outputs[0]?._tag === "ToPort" ? decodeEthernet(asked.outputs[0].frame) : undefined
    assert.strictEqual(decodeArp(question?.payload ?? packet)?.targetIp, "192.0.2.1")
    const reply = encodeArp({
      operation: "reply",
      senderMac: gateway,
      senderIp: "192.0.2.1",
      targetMac: question?.source ?? "",
      targetIp: "192.0.2.2",
    })
    w.frame(
      "e",
      encodeEthernet({
        destination: question?.source ?? "",
        source: gateway,
        type: etherTypes.arp,
        payload: reply,
      }),
    )
    const [out] = w.arrive(underlay, packet)
    assert.strictEqual(said(out), "e 203.0.113.9:1 > 198.51.100.9:53")
    assert.strictEqual(out?.bytes[8], 63)
    assert.lengthOf(w.arrive(underlay, udp("10.0.0.1:1", "198.51.100.9:53")), 0)
    assert.strictEqual(w.dropped("edge_source"), 1)
    const [late] = w.arrive(underlay, aged(packet, 1))
    assert.deepEqual(late?.outer, { source: underlay, destination: "fd00:f:5::5" })
    assert.strictEqual(late?.tuple.icmpType, 11)
  })

  it("answers ARP and echo for its own address", () => {
    const { mac, w } = edged()
    const [answer] = into(w, mac, echo("198.51.100.9", "192.0.2.2"))
    assert.strictEqual(said(answer), "e 192.0.2.2:7 > 198.51.100.9:7")
  })

  it("hands a packet for a VM of its own host over", () => {
    const { mac, w } = edged()
    w.create("a", { ipv4: "203.0.114.1" })
    assert.strictEqual(
      said(into(w, mac, udp("198.51.100.9:53", "203.0.114.1:1"))[0]),
      "a 198.51.100.9:53 > 203.0.114.1:1",
    )
  })

  it("takes a port and a VNI for itself, and gives them back", () => {
    const { w } = edged()
    assert.strictEqual(
      w.try({
        _tag: "CreateInterface",
        spec: { id: "x", vni: 1, ipv4: "10.0.0.1", ipv6: undefined, device: "vtap:e", hostname: undefined },
      }).code,
      202,
    )
    w.apply({ _tag: "DeleteEdge", name: "e" })
    assert.strictEqual(w.state().digest, 0n)
    assert.strictEqual(w.try({ _tag: "DeleteEdge", name: "e" }).code, 201)
  })
})
