// The bytes of metalbond v1, both ways, and what a decoder does with everything else.
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import * as Frame from "#protocol/metalbond/Frame.ts"
import * as Message from "#protocol/metalbond/Message.ts"
import type { Reason } from "#protocol/metalbond/MetalbondError.ts"
import { formatRoute, fromAnnouncement, type Route, routeKey } from "#protocol/metalbond/Route.ts"
import type { NextHop } from "#protocol/metalbond/RouteDistribution.ts"

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"))
const hex = (data: Uint8Array): string => Buffer.from(data).toString("hex")

const route = (vni: number, prefix: string, address: string, hop: Partial<NextHop> = {}): Route =>
  Result.getOrThrow(
    fromAnnouncement({
      vni,
      prefix,
      nextHop: { address, vni: 0, type: "STANDARD", natPortFrom: 0, natPortTo: 0, ...hop },
    }),
  )
const nat = route(23, "203.0.113.7/32", "2001:db8::3", { type: "NAT", natPortFrom: 1024, natPortTo: 2047 })

/** Frames that existing peers produced. */
const golden: ReadonlyArray<readonly [string, Message.Message, string]> = [
  ["HELLO of a client, 5 s", Message.hello({ keepaliveSeconds: 5 }), "01 0002 01 0805"],
  ["HELLO of a client, 2 s", Message.hello({ keepaliveSeconds: 2 }), "01 0002 01 0802"],
  ["HELLO of a reflector", Message.hello({ keepaliveSeconds: 3, isServer: true }), "01 0004 01 0803 1001"],
  ["KEEPALIVE", Message.keepalive, "01 0000 02"],
  ["SUBSCRIBE 23", Message.subscribe(23), "010002030817"],
  ["SUBSCRIBE 100", Message.subscribe(100), "010002030864"],
  ["SUBSCRIBE 16777215", Message.subscribe(16777215), "0100050308ffffff07"],
  ["SUBSCRIBE 0", Message.subscribe(0), "01000003"],
  ["UNSUBSCRIBE 23", Message.unsubscribe(23), "010002040817"],
  [
    "ADD STANDARD",
    Message.announce(route(23, "10.0.0.0/24", "2001:db8::1")),
    "01 0020 05 1017 1a08 12040a000000 1818 2212 0a10 20010db8000000000000000000000001",
  ],
  [
    "REMOVE STANDARD",
    Message.withdraw(route(23, "10.0.0.0/24", "2001:db8::1")),
    "01 0022 05 0801 1017 1a0812040a000000181822120a1020010db8000000000000000000000001",
  ],
  [
    "ADD LOADBALANCER_TARGET",
    Message.announce(route(23, "2001:db8:1::/48", "2001:db8::2", { type: "LOADBALANCER_TARGET" })),
    "01 0030 05 1017 1a16 0801 1210 20010db8000100000000000000000000 1830 2214 0a10 20010db8000000000000000000000002 1802",
  ],
  [
    "ADD NAT",
    Message.announce(nat),
    "01 0028 05 1017 1a08 1204cb007107 1820 221a 0a10 20010db8000000000000000000000003 1801 208008 28ff0f",
  ],
  [
    "REMOVE NAT",
    Message.withdraw(nat),
    "01002a05080110171a081204cb0071071820221a0a1020010db8000000000000000000000003180120800828ff0f",
  ],
  [
    "ADD default route over IPv4",
    Message.announce(route(23, "0.0.0.0/0", "192.0.2.1")),
    "01 0012 05 1017 1a06 120400000000 2206 0a04 c0000201",
  ],
  [
    "ADD IPv6 default route",
    Message.announce(route(100, "::/0", "2001:db8::ff")),
    "01002c0510641a14080112100000000000000000000000000000000022120a1020010db80000000000000000000000ff",
  ],
]

const decodeAll = (data: Uint8Array) => Message.decodeChunk(Frame.emptyDecoder, data)
const reasonOf = (data: string): Reason | undefined => decodeAll(bytes(data)).error?.reason
const only = (data: string): Message.Message => {
  const decoded = decodeAll(bytes(data))
  assert.isUndefined(decoded.error)
  assert.strictEqual(decoded.messages.length, 1)
  return decoded.messages[0]!
}
const relayed = (data: string): string => hex(Message.encode(only(data)))
const frame = (type: number, payload: string): string => {
  const length = bytes(payload).length
  return `01${length.toString(16).padStart(4, "0")}${type.toString(16).padStart(2, "0")}${payload.replaceAll(" ", "")}`
}
const hop = "22120a1020010db8000000000000000000000001"

describe("golden frames", () => {
  for (const [name, message, frameHex] of golden) {
    it(`${name} is encoded byte for byte`, () => {
      assert.strictEqual(hex(Message.encode(message)), hex(bytes(frameHex)))
    })
    it(`${name} is understood`, () => {
      assert.deepStrictEqual(only(frameHex), message)
    })
  }
  it("HELLO with graceful restart adds fields that v1 peers skip", () => {
    const message = Message.hello({ keepaliveSeconds: 3, restartSeconds: 60, originator: "host-1" })
    assert.strictEqual(hex(Message.encode(message)), "01000e01080380013c8a0106686f73742d31")
    assert.deepStrictEqual(only(hex(Message.encode(message))), message)
  })
  it("END_OF_TABLE is type 6", () => {
    assert.strictEqual(hex(Message.encode(Message.endOfTable(23))), "010002060817")
    assert.strictEqual(hex(Message.encode(Message.endOfTable(0))), "01000006")
  })
})

describe("what comes in", () => {
  const refused: ReadonlyArray<readonly [string, Reason, string]> = [
    ["another version", "BadVersion", "02000002"],
    ["text", "BadVersion", hex(Buffer.from("GET / HTTP/1.1\r\n\r\n"))],
    ["a length that reaches into nowhere", "FrameTooLong", "01ffff02"],
    ["a length one over the limit", "FrameTooLong", "01400105"],
    ["type 0", "UnknownType", "01000000"],
    ["type 7", "UnknownType", "01000007"],
    ["type 255", "UnknownType", "010000ff"],
    ["HELLO without an interval", "KeepaliveZero", "01000001"],
    ["HELLO with interval 0", "KeepaliveZero", frame(1, "0800")],
    ["an originator of 65 bytes", "BadOriginator", frame(1, `0803 8a0141${"61".repeat(65)}`)],
    ["an originator that is not UTF-8", "MalformedPayload", frame(1, "0803 8a0101ff")],
    ["SUBSCRIBE that is no protobuf", "MalformedPayload", frame(3, "08")],
    ["UPDATE that is no protobuf", "MalformedPayload", frame(5, "1aff")],
    ["UPDATE without anything", "MissingDestination", frame(5, "")],
    ["UPDATE without destination", "MissingDestination", frame(5, `1017${hop}`)],
    ["UPDATE without next hop", "MissingNextHop", frame(5, "1017 1a08 12040a000000 1818")],
    ["a prefix of 5 bytes", "BadAddressLength", frame(5, `1017 1a09 12050a00000000 1818 ${hop}`)],
    ["an empty prefix", "BadAddressLength", frame(5, `1017 1a02 1818 ${hop}`)],
    ["a next hop of 3 bytes", "BadAddressLength", frame(5, "1017 1a08 12040a000000 1818 2205 0a03c00002")],
    ["an empty next hop", "BadAddressLength", frame(5, "1017 1a08 12040a000000 1818 2200")],
    ["/33 of an IPv4 prefix", "PrefixTooLong", frame(5, `1017 1a08 12040a000000 1821 ${hop}`)],
    [
      "the length that others relay as -1",
      "PrefixTooLong",
      frame(5, `1017 1a0c 12040a000000 18ffffffff0f ${hop}`),
    ],
    [
      "a NAT port over 65535",
      "BadNatPort",
      frame(5, "1017 1a08 1204cb007107 1820 221b 0a10 20010db8000000000000000000000003 1801 20f0a204 28ff0f"),
    ],
  ]
  for (const [name, reason, data] of refused)
    it(`${name} ends the session as ${reason}`, () => {
      assert.strictEqual(reasonOf(data), reason)
    })

  it("host bits are kept, and part of the identity", () => {
    const withHostBits = frame(5, `1017 1a08 12040a001707 1810 ${hop}`)
    const masked = frame(5, `1017 1a08 12040a000000 1810 ${hop}`)
    assert.strictEqual(relayed(withHostBits), withHostBits)
    const [left, right] = [only(withHostBits), only(masked)]
    assert(left._tag === "Update" && right._tag === "Update")
    assert.notStrictEqual(routeKey(left.route), routeKey(right.route))
    assert.strictEqual(formatRoute(left.route), "23 10.0.23.7/16 via 2001:db8::1")
  })
  it("an ipVersion against the number of bytes is kept", () => {
    const odd = frame(5, `1017 1a0a 0801 12040a000000 1818 ${hop}`)
    assert.strictEqual(relayed(odd), odd)
  })
  it("an unknown action is an ADD", () => {
    assert.strictEqual(
      relayed(frame(5, `0807 1017 1a08 12040a000000 1818 ${hop}`)),
      frame(5, `1017 1a08 12040a000000 1818 ${hop}`),
    )
  })
  it("an unknown next hop type is kept", () => {
    const odd = frame(5, "1017 1a08 12040a000000 1818 2214 0a10 20010db8000000000000000000000001 1807")
    assert.strictEqual(relayed(odd), odd)
  })
  it("ports on a hop that is not NAT are dropped", () => {
    assert.strictEqual(
      relayed(
        frame(5, "1017 1a08 12040a000000 1818 2218 0a10 20010db8000000000000000000000001 208008 28ff0f"),
      ),
      frame(5, `1017 1a08 12040a000000 1818 ${hop}`),
    )
  })
  it("vni 0, a vni over 24 bits and a target vni are kept", () => {
    const zero = frame(5, `1a08 12040a000000 1818 ${hop}`)
    assert.strictEqual(relayed(zero), zero)
    const large = frame(5, `10ffffffff0f 1a08 12040a000000 1818 ${hop}`)
    assert.strictEqual(relayed(large), large)
    const target = frame(5, "1017 1a08 12040a000000 1818 2214 0a10 20010db8000000000000000000000001 1005")
    assert.strictEqual(relayed(target), target)
  })
  it("unknown fields are dropped", () => {
    assert.strictEqual(
      relayed(frame(5, `1017 1a08 12040a000000 1818 ${hop} 7a0161 9a0601ff`)),
      frame(5, `1017 1a08 12040a000000 1818 ${hop}`),
    )
  })
  it("a KEEPALIVE with a payload is a KEEPALIVE", () => {
    assert.deepStrictEqual(only("01000302ffffff"), Message.keepalive)
  })
  it("a payload over what we send is taken up to 16 KiB", () => {
    const padding = `7afb7f${"00".repeat(16_379)}`
    const longest = frame(3, `0817${padding}`)
    assert.strictEqual(longest.slice(2, 6), "4000")
    assert.deepStrictEqual(only(longest), Message.subscribe(23))
  })
  it("what precedes an error is still valid", () => {
    const decoded = decodeAll(bytes("01000203081701000001"))
    assert.deepStrictEqual(decoded.messages, [Message.subscribe(23)])
    assert.strictEqual(decoded.error?.reason, "KeepaliveZero")
  })
})

const arbitraryStream = fc
  .array(
    fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom(...golden.map(([, , data]) => bytes(data))) },
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 40 }) },
      {
        weight: 1,
        arbitrary: fc
          .tuple(fc.integer({ min: 1, max: 6 }), fc.uint8Array({ maxLength: 60 }))
          .map(([type, payload]) => Frame.encode(type, payload)),
      },
    ),
    { maxLength: 30 },
  )
  .map((parts) => Uint8Array.from(Buffer.concat(parts)))

const run = (chunks: ReadonlyArray<Uint8Array>) => {
  const messages: Array<Message.Message> = []
  let decoder = Frame.emptyDecoder
  for (const chunk of chunks) {
    const decoded = Message.decodeChunk(decoder, chunk)
    decoder = decoded.decoder
    messages.push(...decoded.messages)
    if (decoded.error !== undefined) return { messages, reason: decoded.error.reason, rest: "" }
  }
  return { messages, reason: undefined, rest: hex(decoder.rest) }
}

describe("the decoder", () => {
  it("gives the same for every way to cut a stream, whatever the bytes", () => {
    fc.assert(
      fc.property(arbitraryStream, fc.array(fc.nat(2000)), (stream, cuts) => {
        const at = [...new Set(cuts.map((cut) => cut % (stream.length + 1)))].sort((a, b) => a - b)
        const chunks = [0, ...at].map((start, index) => stream.slice(start, at[index] ?? stream.length))
        assert.deepStrictEqual(run(chunks), run([stream]))
      }),
      { numRuns: 500 },
    )
  })
  it("gives the same byte by byte", () => {
    const stream = Buffer.concat(golden.map(([, , data]) => bytes(data)))
    const decoded = run([...stream].map((byte) => Uint8Array.of(byte)))
    assert.deepStrictEqual(
      decoded.messages,
      golden.map(([, message]) => message),
    )
  })
  it("never holds more than a frame, and none of the chunk", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 70_000, size: "max" }), { maxLength: 3 }), (chunks) => {
        let decoder = Frame.emptyDecoder
        for (const chunk of chunks.map((data) => Uint8Array.of(1, 0x40, 0, 5, ...data.slice(0, 20_000)))) {
          const decoded = Frame.decode(decoder, chunk)
          decoder = decoded.decoder
          assert.isAtMost(decoder.rest.length, Frame.maxPayloadReceived + Frame.headerBytes)
          assert.strictEqual(decoder.rest.buffer.byteLength, decoder.rest.length)
          if (decoded.error !== undefined) return
        }
      }),
      { numRuns: 50 },
    )
  })
  it("gives back every message that can be said", () => {
    const address = fc.oneof(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
    )
    const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
    const anyRoute = fc
      .tuple(
        u32,
        fc.constantFrom(0, 1),
        address,
        fc.nat(128),
        address,
        u32,
        fc.nat(5),
        fc.nat(65535),
        fc.nat(65535),
      )
      .map(([vni, ipVersion, prefix, length, targetAddress, targetVni, type, from, to]): Route => ({
        vni,
        destination: { ipVersion, prefix, prefixLength: Math.min(length, prefix.length * 8) },
        hop: {
          targetAddress,
          targetVni,
          type,
          natPortFrom: type === 1 ? from : 0,
          natPortTo: type === 1 ? to : 0,
        },
      }))
    fc.assert(
      fc.property(anyRoute, fc.boolean(), (some, remove) => {
        const message = remove ? Message.withdraw(some) : Message.announce(some)
        assert.deepStrictEqual(decodeAll(Message.encode(message)).messages, [message])
      }),
      { numRuns: 300 },
    )
  })
})

describe("announcements", () => {
  const invalid = (announcement: Parameters<typeof fromAnnouncement>[0]) => {
    const result = fromAnnouncement(announcement)
    assert(Result.isFailure(result))
    return result.failure.field
  }
  const nextHop: NextHop = { address: "2001:db8::1", vni: 0, type: "STANDARD", natPortFrom: 0, natPortTo: 0 }
  it("are masked, so that ours are canonical", () => {
    assert.strictEqual(
      formatRoute(route(23, "10.0.23.7/16", "2001:db8::1")),
      "23 10.0.0.0/16 via 2001:db8::1",
    )
    assert.strictEqual(formatRoute(nat), "23 203.0.113.7/32 via 2001:db8::3 NAT 1024-2047")
  })
  it("that cannot be sent name their field", () => {
    assert.strictEqual(invalid({ vni: -1, prefix: "10.0.0.0/8", nextHop }), "vni")
    assert.strictEqual(invalid({ vni: 1, prefix: "10.0.0.0", nextHop }), "prefix")
    assert.strictEqual(invalid({ vni: 1, prefix: "10.0.0.0/33", nextHop }), "prefix")
    assert.strictEqual(invalid({ vni: 1, prefix: "ten/8", nextHop }), "prefix")
    assert.strictEqual(
      invalid({ vni: 1, prefix: "10.0.0.0/8", nextHop: { ...nextHop, address: "x" } }),
      "nextHop.address",
    )
    assert.strictEqual(
      invalid({
        vni: 1,
        prefix: "10.0.0.0/8",
        nextHop: { ...nextHop, type: "NAT", natPortFrom: 9, natPortTo: 8 },
      }),
      "nextHop.natPortFrom",
    )
  })
})
