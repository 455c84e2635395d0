import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as fc from "fast-check"
import { apply } from "#protocol/resource/Apply.ts"
import { decodeManifest } from "#protocol/resource/Decode.ts"
import { sameJson } from "#protocol/resource/Json.ts"
import { kindOf, kinds } from "#protocol/resource/Kinds.ts"
import { maxViolations } from "#protocol/resource/Violation.ts"
import { networking, now } from "./resource-cases.ts"

const name = fc.stringMatching(/^[a-z]([-a-z0-9]{0,10}[a-z0-9])?$/)
const option = <A>(arbitrary: fc.Arbitrary<A>) => fc.option(arbitrary, { nil: undefined })
const octet = fc.integer({ min: 1, max: 223 }).filter((first) => first !== 127)
const ipv4 = fc.tuple(octet, fc.nat(255), fc.nat(255), fc.nat(255)).map((parts) => parts.join("."))
const ipv6 = fc
  .array(fc.nat(0xffff), { minLength: 7, maxLength: 7 })
  .map((parts) => ["FD00", ...parts.map((part) => part.toString(16).toUpperCase())].join(":"))
const prefix = fc.oneof(
  fc.tuple(ipv4, fc.nat(32)).map((parts) => parts.join("/")),
  fc.tuple(ipv6, fc.nat(128)).map((parts) => parts.join("/")),
)
const labels = fc.dictionary(
  fc.constantFrom("app", "example.org/tier", "a_b"),
  fc.constantFrom("", "web", "A.b-c"),
  { maxKeys: 3 },
)
const reference = fc.record({ name })

const sourceOf = (family: "IPv4" | "IPv6") => {
  const [value, length] = family === "IPv4" ? [ipv4, 32] : [ipv6, 128]
  const parent = fc.oneof(
    fc.record({ parentRef: reference }),
    fc.record({ parentSelector: fc.record({ matchLabels: labels }) }),
  )
  const wish = fc.oneof(
    fc.constant({ ipFamily: family }),
    fc.constant({ ipFamily: family, prefixLength: length }),
    value.map((text) => ({ prefix: `${text}/${length}` })),
  )
  const spec = fc.tuple(parent, wish).map(([from, what]) => ({ ...from, ...what }))
  return fc.oneof(
    fc.record({ value }),
    fc.record({
      ephemeral: fc.record({ prefixTemplate: fc.record({ metadata: fc.record({ labels }), spec }) }),
    }),
  )
}

const addresses = fc
  .constantFrom(["IPv4"] as const, ["IPv6"] as const, ["IPv6", "IPv4"] as const)
  .chain((families) =>
    fc.record({
      ipFamilies: fc.constantFrom(families, undefined),
      ips: fc.tuple(...families.map((family) => sourceOf(family))),
    }),
  )

const networkInterface = fc
  .tuple(
    addresses,
    fc.record({
      networkRef: reference,
      machineRef: option(fc.record({ name })),
      prefixes: option(fc.array(fc.record({ value: prefix }), { maxLength: 3 })),
      virtualIP: option(
        fc.oneof(
          fc.record({ virtualIPRef: reference }),
          fc.constant({
            ephemeral: {
              virtualIPTemplate: { spec: { type: "Public", ipFamily: "IPv6", reclaimPolicy: "Retain" } },
            },
          }),
        ),
      ),
      attributes: option(
        fc.dictionary(
          fc.string({ minLength: 1, maxLength: 5 }).filter((key) => key !== "__proto__"),
          fc.string(),
        ),
      ),
    }),
  )
  .map(([first, rest]) => ({ kind: "NetworkInterface", spec: { ...rest, ...first } }))

const network = fc
  .uniqueArray(name, { maxLength: 4 })
  .chain((names) =>
    fc.tuple(
      ...names.map((target) =>
        fc.record({
          name: fc.constant(target),
          networkRef: fc.record({
            name: fc.constant(`${target}-net`),
            namespace: option(fc.constant("other")),
          }),
          prefixes: option(
            prefix.map((text) => [
              { name: `${target}-0`, prefix: text },
              { name: `${target}-1`, prefixRef: { name: target } },
            ]),
          ),
        }),
      ),
    ),
  )
  .map((peerings) => ({ kind: "Network", spec: { peerings } }))

/** Documents that are valid, in many spellings. */
const valid = fc
  .tuple(
    fc.oneof(network, networkInterface),
    fc.record({ name: fc.constant("it"), labels, annotations: labels }),
  )
  .map(([{ kind, spec }, metadata]) => ({ apiVersion: networking, kind, metadata, spec }))

/** Breaks a document somewhere. */
const broken = fc
  .tuple(valid, fc.jsonValue({ maxDepth: 2 }), fc.nat(), fc.boolean())
  .map(([document, junk, seed, adds]) => {
    const copy = structuredClone(document) as unknown
    const places: Array<readonly [Record<string, unknown>, string]> = []
    const walk = (value: unknown): void => {
      if (typeof value !== "object" || value === null) return
      for (const key of Object.keys(value)) {
        places.push([value as Record<string, unknown>, key])
        walk((value as Record<string, unknown>)[key])
      }
    }
    walk(copy)
    const [parent, key] = places[seed % places.length] ?? assert.fail()
    parent[adds && !Array.isArray(parent) ? `${key}x` : key] = junk
    return copy
  })

const succeed = (document: unknown) => {
  const result = decodeManifest(document)
  if (Result.isFailure(result)) return assert.fail(`${result.failure.message} ${JSON.stringify(document)}`)
  return result.success
}

describe("Manifests", () => {
  it("that are valid decode, and what is stored satisfies the kind's schema", () => {
    fc.assert(
      fc.property(valid, (document) => {
        const result = apply(undefined, succeed(document), now, "11111111-1111-4111-8111-111111111111")
        assert.isTrue(Result.isSuccess(result))
        if (Result.isFailure(result)) return
        const { manifest } = result.success
        const schema = kindOf(manifest.kind)?.manifest ?? assert.fail()
        const decoded = Schema.decodeUnknownSync(schema)(structuredClone(manifest) as unknown, {
          onExcessProperty: "error",
        })
        assert.deepStrictEqual(Schema.encodeUnknownSync(schema)(decoded), manifest)
      }),
    )
  })

  it("survive being stored, printed and applied again unchanged: defaults are idempotent", () => {
    fc.assert(
      fc.property(valid, (document) => {
        const first = apply(undefined, succeed(document), now, "u")
        if (Result.isFailure(first)) return assert.fail(first.failure.message)
        const printed: unknown = JSON.parse(JSON.stringify(first.success.manifest))
        const again = apply(first.success.manifest, succeed(printed), now + 5e6, "v")
        if (Result.isFailure(again)) return assert.fail(again.failure.message)
        assert.deepStrictEqual(again.success, {
          manifest: first.success.manifest,
          outcome: "Unchanged",
          changed: false,
        })
      }),
    )
  })

  it("that are broken give violations with paths, or are still valid; nothing throws", () => {
    fc.assert(
      fc.property(broken, (document) => {
        const result = decodeManifest(document)
        if (Result.isSuccess(result)) {
          const schema = kindOf(result.success.key.kind)?.spec ?? assert.fail()
          Schema.decodeUnknownSync(schema)(result.success.spec, { onExcessProperty: "error" })
          return
        }
        const { violations } = result.failure
        assert.isAtLeast(violations.length, 1)
        assert.isAtMost(violations.length, maxViolations)
        for (const { field, message } of violations) {
          assert.match(field, /^($|apiVersion|kind|metadata|spec|\[|[a-zA-Z])/)
          assert.isAbove(message.length, 5)
        }
      }),
      { numRuns: 1000 },
    )
  })

  it("of any shape never throw", () => {
    const shape = fc.oneof(
      fc.anything({
        withBigInt: true,
        withDate: true,
        withMap: true,
        withNullPrototype: true,
        withSparseArray: true,
      }),
      fc.record({
        apiVersion: fc.constantFrom(networking, "ferrite.dev/v1alpha1"),
        kind: fc.constantFrom(...kinds.map(({ kind }) => kind)),
        metadata: fc.anything(),
        spec: fc.anything(),
      }),
    )
    fc.assert(
      fc.property(shape, (document) => void decodeManifest(document)),
      { numRuns: 1000 },
    )
  })
})

describe("Comparing JSON", () => {
  it("does not look at the order of keys", () => {
    assert.isTrue(sameJson({ a: 1, b: [1, { c: null }] }, { b: [1, { c: null }], a: 1, d: undefined }))
    assert.isFalse(sameJson({ a: 1 }, { a: 1, b: 2 }))
    assert.isFalse(sameJson([1, 2], [2, 1]))
    assert.isFalse(sameJson({}, []))
    assert.isFalse(sameJson(null, {}))
  })
})
