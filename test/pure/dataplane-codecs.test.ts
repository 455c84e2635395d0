/** Frame codecs of the model: what is encoded decodes to itself, and no bytes make a decoder throw. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import {
  format,
  formatIpv4,
  formatIpv6,
  formatMac,
  linkLocal,
  mask,
  multicastMac,
  parseAddress,
  parseIpv4,
  parseIpv6,
  parsePrefix,
  prefixText,
  solicitedNode,
} from "#protocol/dataplane/model/address.ts"
import {
  type Bytes,
  equal,
  fnv1a64,
  fromAscii,
  hex,
  internetChecksum,
} from "#protocol/dataplane/model/bytes.ts"
import * as Dhcp4 from "#protocol/dataplane/model/dhcp4.ts"
import * as Dhcp6 from "#protocol/dataplane/model/dhcp6.ts"
import { decodeArp, decodeEthernet, encodeArp, encodeEthernet } from "#protocol/dataplane/model/ethernet.ts"
import {
  decodeIpv4,
  decodeIpv6,
  encodeIpv4,
  encodeIpv6,
  protocols,
  transportChecksum,
} from "#protocol/dataplane/model/ip.ts"
import { decodeNeighbour, encodeNeighbour, type Neighbour } from "#protocol/dataplane/model/neighbour.ts"
import {
  decodeEcho4,
  decodeEcho6,
  decodeTcp,
  decodeUdp,
  encodeEcho4,
  encodeEcho6,
  encodeTcp,
  encodeUdp,
} from "#protocol/dataplane/model/transport.ts"

const bytes = (size: number) => fc.uint8Array({ minLength: size, maxLength: size })
const ipv4 = bytes(4).map(formatIpv4)
/** Many zero groups, so that shortening is tried. */
const ipv6 = fc
  .array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 })
  .map((groups) => formatIpv6(Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 255]))))
const mac = bytes(6).map(formatMac)
const data = fc.uint8Array({ maxLength: 80 })
const port = fc.nat(0xffff)
const uint32 = fc.nat(0xffff_ffff)
const addresses = fc.oneof(
  fc.record({ source: ipv4, destination: ipv4 }),
  fc.record({ source: ipv6, destination: ipv6 }).filter(({ source }) => !source.includes(".")),
)
const addresses6 = fc.record({ source: ipv6, destination: ipv6 })

const holds = <A>(arbitrary: fc.Arbitrary<A>, property: (value: A) => void): void =>
  fc.assert(fc.property(arbitrary, property), { numRuns: 300 })

describe("addresses", () => {
  it("have one canonical text", () => {
    for (const [text, canonical] of [
      ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
      ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
      ["0:0:0:0:0:0:0:0", "::"],
      ["0:0:0:0:0:0:0:1", "::1"],
      ["1:0:0:0:0:0:0:0", "1::"],
      ["::ffff:1.2.3.4", "::ffff:1.2.3.4"],
      ["::FFFF:102:304", "::ffff:1.2.3.4"],
      ["64:ff9b::1.2.3.4", "64:ff9b::102:304"],
    ] as const)
      assert.strictEqual(formatIpv6(parseIpv6(text) ?? new Uint8Array(0)), canonical)
  })

  it("are not read from what inet_pton refuses", () => {
    for (const text of [
      "",
      "1.2.3",
      "1.2.3.4.5",
      "01.2.3.4",
      "1.2.3.256",
      " 1.2.3.4",
      "1.2.3.4 ",
      "0x1.2.3.4",
      ":",
      ":::",
      "::1::",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "1:2:3:4:5:6:7:8::",
      "12345::",
      "fe80::1%1",
      "::1.2.3",
      "1.2.3.4::",
      "::1.2.3.4:1",
      ":1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:",
    ])
      assert.isUndefined(parseAddress(text), text)
  })

  it("and prefixes survive text and back", () => {
    holds(bytes(16), (value) => assert.deepEqual(parseIpv6(formatIpv6(value)), value))
    holds(bytes(4), (value) => assert.deepEqual(parseIpv4(formatIpv4(value)), value))
    holds(fc.tuple(bytes(16), fc.nat(128)), ([value, length]) => {
      const prefix = parsePrefix(`${formatIpv6(value)}/${length}`)
      if (typeof prefix === "string") throw new Error(prefix)
      assert.strictEqual(prefix.address, format(mask(value, length)))
      assert.deepEqual(parsePrefix(prefixText(prefix)), prefix)
    })
  })

  it("a mask keeps the first bits and clears the others", () => {
    holds(fc.tuple(bytes(4), fc.nat(32)), ([value, length]) => {
      const number = BigInt(`0x${hex(value)}`)
      const expected = (number >> BigInt(32 - length)) << BigInt(32 - length)
      assert.strictEqual(BigInt(`0x${hex(mask(value, length))}`), expected)
    })
  })

  it("of a link follow from a MAC", () => {
    assert.strictEqual(linkLocal("52:54:00:12:34:56"), "fe80::5054:ff:fe12:3456")
    assert.strictEqual(solicitedNode("fd00::ab:cdef"), "ff02::1:ffab:cdef")
    assert.strictEqual(multicastMac("ff02::1:2"), "33:33:00:01:00:02")
  })
})

describe("checksums", () => {
  it("are those of the RFCs' examples", () => {
    // RFC 1071 §3.
    assert.strictEqual(
      internetChecksum(Uint8Array.of(0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7)),
      0xffff - 0xddf2,
    )
    assert.strictEqual(fnv1a64(fromAscii("")), 0xcbf29ce484222325n)
    assert.strictEqual(fnv1a64(fromAscii("a")), 0xaf63dc4c8601ec8cn)
    assert.strictEqual(fnv1a64(fromAscii("foobar")), 0x85944171f73967e8n)
  })

  it("of a packet are right, and any changed bit is seen", () => {
    holds(
      fc.record({ addresses, udp: fc.record({ sourcePort: port, destinationPort: port, payload: data }) }),
      ({ addresses, udp }) => {
        const datagram = encodeUdp(addresses, udp)
        assert.strictEqual(
          transportChecksum(addresses.source, addresses.destination, protocols.udp, datagram),
          0,
        )
        const broken = Uint8Array.from(datagram)
        broken[0] = (broken[0] ?? 0) ^ 0x10
        assert.isUndefined(decodeUdp(addresses, broken))
      },
    )
  })
})

describe("a packet that is encoded decodes to itself", () => {
  it("Ethernet and ARP", () => {
    holds(fc.record({ destination: mac, source: mac, type: port, payload: data }), (value) =>
      assert.deepEqual(decodeEthernet(encodeEthernet(value)), value),
    )
    holds(
      fc.record({
        operation: fc.constantFrom("request" as const, "reply" as const),
        senderMac: mac,
        senderIp: ipv4,
        targetMac: mac,
        targetIp: ipv4,
      }),
      (value) => assert.deepEqual(decodeArp(encodeArp(value)), value),
    )
  })

  it("IPv4 and IPv6, also behind padding", () => {
    const fields = { protocol: fc.nat(255), payload: data }
    holds(fc.record({ source: ipv4, destination: ipv4, ttl: fc.nat(255), ...fields }), (value) => {
      const padded = Uint8Array.from([...encodeIpv4(value), 0, 0, 0])
      assert.deepInclude(decodeIpv4(padded), { ...value, intact: true })
    })
    holds(fc.record({ source: ipv6, destination: ipv6, hopLimit: fc.nat(255), ...fields }), (value) => {
      const padded = Uint8Array.from([...encodeIpv6(value), 0, 0, 0])
      assert.deepInclude(decodeIpv6(padded), value)
    })
  })

  it("echo, UDP and TCP", () => {
    holds(fc.record({ reply: fc.boolean(), identifier: port, sequence: port, data }), (value) =>
      assert.deepEqual(decodeEcho4(encodeEcho4(value)), value),
    )
    holds(
      fc.tuple(addresses6, fc.record({ reply: fc.boolean(), identifier: port, sequence: port, data })),
      ([ends, value]) => assert.deepEqual(decodeEcho6(ends, encodeEcho6(ends, value)), value),
    )
    holds(
      fc.tuple(addresses, fc.record({ sourcePort: port, destinationPort: port, payload: data })),
      ([ends, value]) => assert.deepEqual(decodeUdp(ends, encodeUdp(ends, value)), value),
    )
    const flags = fc.record({
      fin: fc.boolean(),
      syn: fc.boolean(),
      rst: fc.boolean(),
      psh: fc.boolean(),
      ack: fc.boolean(),
    })
    holds(
      fc.tuple(
        addresses,
        fc.record({
          sourcePort: port,
          destinationPort: port,
          sequence: uint32,
          acknowledgement: uint32,
          flags,
          window: port,
          payload: data,
        }),
      ),
      ([ends, value]) => assert.deepEqual(decodeTcp(ends, encodeTcp(ends, value)), value),
    )
  })

  it("neighbour discovery", () => {
    const optionalMac = fc.option(mac, { nil: undefined })
    const message: fc.Arbitrary<Neighbour> = fc.oneof(
      fc.record({ _tag: fc.constant("RouterSolicitation" as const), sourceMac: optionalMac }),
      fc.record({
        _tag: fc.constant("NeighbourSolicitation" as const),
        target: ipv6,
        sourceMac: optionalMac,
      }),
      fc.record({
        _tag: fc.constant("RouterAdvertisement" as const),
        sourceMac: optionalMac,
        managed: fc.boolean(),
        other: fc.boolean(),
        lifetimeSeconds: port,
        mtu: fc.option(uint32, { nil: undefined }),
      }),
      fc.record({
        _tag: fc.constant("NeighbourAdvertisement" as const),
        target: ipv6,
        targetMac: optionalMac,
        router: fc.boolean(),
        solicited: fc.boolean(),
        override: fc.boolean(),
      }),
    )
    holds(fc.tuple(addresses6, message), ([ends, value]) => {
      const packet = (hopLimit: number) =>
        decodeIpv6(
          encodeIpv6({
            ...ends,
            protocol: protocols.icmpv6,
            hopLimit,
            payload: encodeNeighbour(ends, value),
          }),
        )
      const right = packet(255)
      assert.deepEqual(right === undefined ? undefined : decodeNeighbour(right), value)
      const forwarded = packet(254)
      assert.isUndefined(forwarded === undefined ? undefined : decodeNeighbour(forwarded))
    })
  })

  it("DHCPv4 and DHCPv6", () => {
    const option4 = fc.tuple(fc.integer({ min: 1, max: 254 }), fc.uint8Array({ maxLength: 255 }))
    holds(
      fc.record({
        reply: fc.boolean(),
        transaction: uint32,
        broadcast: fc.boolean(),
        clientAddress: ipv4,
        yourAddress: ipv4,
        relay: ipv4,
        clientMac: mac,
        options: fc.array(option4, { maxLength: 8 }).map((entries) => new Map<number, Bytes>(entries)),
      }),
      (value) => assert.deepEqual(Dhcp4.decodeDhcp4(Dhcp4.encodeDhcp4(value)), value),
    )
    holds(
      fc.record({
        type: fc.nat(255),
        transaction: fc.nat(0xff_ffff),
        options: fc.array(fc.record({ code: port, value: data }), { maxLength: 8 }),
      }),
      (value) => assert.deepEqual(Dhcp6.decodeDhcp6(Dhcp6.encodeDhcp6(value)), value),
    )
    holds(
      fc.record({
        id: uint32,
        addresses: fc.array(fc.record({ address: ipv6, validSeconds: uint32 }), { maxLength: 3 }),
        status: fc.option(port, { nil: undefined }),
      }),
      (value) => assert.deepEqual(Dhcp6.decodeAssociation(Dhcp6.encodeAssociation(value)), value),
    )
  })
})

describe("decoders", () => {
  const ends = { source: "10.0.0.1", destination: "10.0.0.2" }
  const ends6 = { source: "fd00::1", destination: "fd00::2" }
  const decoders: Readonly<Record<string, (input: Bytes) => unknown>> = {
    ethernet: decodeEthernet,
    arp: decodeArp,
    ipv4: decodeIpv4,
    ipv6: decodeIpv6,
    echo4: decodeEcho4,
    echo6: (input) => decodeEcho6(ends6, input),
    udp: (input) => decodeUdp(ends, input),
    tcp: (input) => decodeTcp(ends, input),
    dhcp4: Dhcp4.decodeDhcp4,
    dhcp6: Dhcp6.decodeDhcp6,
    association: Dhcp6.decodeAssociation,
    neighbour: (input) => {
      const packet = decodeIpv6(encodeIpv6({ ...ends6, protocol: 58, hopLimit: 255, payload: input }))
      return packet === undefined ? undefined : decodeNeighbour(packet)
    },
  }
  for (const [name, decode] of Object.entries(decoders))
    it(`${name}: any bytes are decoded or refused`, () => {
      holds(fc.uint8Array({ maxLength: 400 }), (input) => void decode(input))
      // Cut short at every place.
      const whole = Uint8Array.from({ length: 300 }, (_, i) => (i * 37) & 255)
      for (let length = 0; length <= whole.length; length++) decode(whole.subarray(0, length))
      assert.isTrue(
        equal(
          whole,
          Uint8Array.from({ length: 300 }, (_, i) => (i * 37) & 255),
        ),
      )
    })
})
