import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import {
  canonicalAddress,
  canonicalRoute,
  containsAddress,
  containsPrefix,
  formatAddress,
  formatPrefix,
  hostRoute,
  overlaps,
  parseAddress,
  parsePrefix,
} from "#protocol/net/Address.ts"

const address = fc.oneof(
  fc.bigInt({ min: 0n, max: (1n << 32n) - 1n }).map((value) => ({ family: "IPv4" as const, value })),
  fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }).map((value) => ({ family: "IPv6" as const, value })),
)

/** Bits of an address as text: the slow truth about prefixes. */
const bits = (value: bigint, width: number) => value.toString(2).padStart(width, "0")

describe("Addresses", () => {
  it("have one text", () => {
    const texts = {
      "FD00::0:1": "fd00::1",
      "10.0.0.1": "10.0.0.1",
      "0:0:0:0:0:0:0:0": "::",
      "2001:db8:0:0:1:0:0:1": "2001:db8::1:0:0:1",
    }
    for (const [text, canonical] of Object.entries(texts))
      assert.strictEqual(canonicalAddress(text), canonical)
    for (const text of ["", "10.0.0", "10.0.0.01", "fe80::1%1", "::g", " ::1", "1".repeat(100)])
      assert.isUndefined(canonicalAddress(text))
  })

  it("are read as they were written", () => {
    fc.assert(fc.property(address, (of) => assert.deepStrictEqual(parseAddress(formatAddress(of)), of)))
  })

  it("never make parsing throw", () => {
    fc.assert(
      fc.property(fc.string(), (text) => void [parseAddress(text), parsePrefix(text), canonicalRoute(text)]),
    )
  })
})

describe("Prefixes", () => {
  it("have one text as routes, and keep their host bits as written", () => {
    assert.strictEqual(canonicalRoute("10.1.2.3/8"), "10.0.0.0/8")
    assert.strictEqual(canonicalRoute("FD00::1/64"), "fd00::/64")
    assert.strictEqual(canonicalRoute("10.0.0.1/0"), "0.0.0.0/0")
    assert.strictEqual(formatPrefix(parsePrefix("10.1.2.3/8") ?? assert.fail()), "10.1.2.3/8")
    assert.strictEqual(hostRoute("fd00::1"), "fd00::1/128")
    for (const text of [
      "10.0.0.0",
      "10.0.0.0/33",
      "10.0.0.0/08",
      "10.0.0.0/",
      "/8",
      "10.0.0.0/-1",
      "fd00::/129",
      "10.0.0.0/8/8",
    ]) {
      assert.isUndefined(canonicalRoute(text), text)
    }
  })

  it("contain what has their leading bits", () => {
    fc.assert(
      fc.property(address, address, fc.nat(128), fc.nat(128), (a, b, first, second) => {
        const widthA = a.family === "IPv4" ? 32 : 128
        const widthB = b.family === "IPv4" ? 32 : 128
        const outer = parsePrefix(`${formatAddress(a)}/${first % (widthA + 1)}`) ?? assert.fail()
        const inner = parsePrefix(`${formatAddress(b)}/${second % (widthB + 1)}`) ?? assert.fail()
        const lead =
          a.family === b.family &&
          bits(b.value, widthB).startsWith(bits(a.value, widthA).slice(0, outer.length))
        assert.strictEqual(containsAddress(outer, b), lead)
        assert.strictEqual(containsPrefix(outer, inner), lead && inner.length >= outer.length)
        assert.strictEqual(
          overlaps(outer, inner),
          containsPrefix(outer, inner) || containsPrefix(inner, outer),
        )
        const route = parsePrefix(formatPrefix({ ...outer, address: outer.network })) ?? assert.fail()
        assert.strictEqual(route.address, outer.network)
      }),
    )
  })
})
