import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { decodeManifest, decodeManifests, maxManifests } from "#protocol/resource/Decode.ts"
import { maxManifestBytes } from "#protocol/resource/Json.ts"
import {
  decoded,
  documentsOf,
  faults,
  fixture,
  network,
  networking,
  nic,
  specOf,
  stored,
  violationsOf,
} from "./resource-cases.ts"

const nested = (depth: number): unknown => (depth === 0 ? "x" : { a: nested(depth - 1) })

describe("A document", () => {
  const cases: ReadonlyArray<readonly [string, unknown, ReadonlyArray<string>]> = [
    ["null", null, [" TypeInvalid"]],
    ["a text", "Network", [" TypeInvalid"]],
    ["a list", [network()], [" TypeInvalid"]],
    ["an empty object", {}, ["kind Required", "apiVersion Required"]],
    ["an unknown kind", { ...network(), kind: "Networks" }, ["kind NotSupported"]],
    ["a kind that is no text", { ...network(), kind: 5 }, ["kind TypeInvalid"]],
    ["no apiVersion", { ...network(), apiVersion: "" }, ["apiVersion Required"]],
    ["another apiVersion", { ...network(), apiVersion: `${networking}2` }, ["apiVersion NotSupported"]],
    ["no metadata", { ...network(), metadata: undefined }, ["metadata Required"]],
    ["metadata that is no object", { ...network(), metadata: "blue" }, ["metadata TypeInvalid"]],
    ["a name that is no text", network({}, { name: 5 }), ["metadata.name TypeInvalid"]],
    ["a spec that is no object", { ...network(), spec: [] }, ["spec TypeInvalid"]],
    ["an unknown field", { ...network(), specs: {} }, ["specs NotSupported"]],
    ["an unknown field of metadata", network({}, { label: {} }), ["metadata.label NotSupported"]],
    ["an unknown field of spec", network({ vni: 5 }), ["spec.vni NotSupported"]],
    [
      "an unknown field deep in spec",
      network({ peerings: [{ name: "p", networkRef: { name: "r", uid: "x" } }] }),
      ["spec.peerings[0].networkRef.uid NotSupported"],
    ],
    ["generateName", network({}, { generateName: "x-" }), ["metadata.generateName Forbidden"]],
    ["ownerReferences", network({}, { ownerReferences: [] }), ["metadata.ownerReferences Forbidden"]],
    ["a label with a bad key", network({}, { labels: { "-a": "b" } }), ['metadata.labels["-a"] Invalid']],
    ["a label with a bad value", network({}, { labels: { a: "b c" } }), ["metadata.labels.a Invalid"]],
    [
      "a label with a long value",
      network({}, { labels: { a: "b".repeat(64) } }),
      ["metadata.labels.a Invalid"],
    ],
    [
      "a label with a bad prefix",
      network({}, { labels: { "A/b": "c" } }),
      ['metadata.labels["A/b"] Invalid'],
    ],
    [
      "too many labels",
      network({}, { labels: Object.fromEntries(Array.from({ length: 257 }, (_, i) => [`l${i}`, ""])) }),
      ["metadata.labels Invalid"],
    ],
    [
      "an annotation with a bad key",
      network({}, { annotations: { "a b": "" } }),
      ['metadata.annotations["a b"] Invalid'],
    ],
    [
      "half of a surrogate pair",
      network({}, { annotations: { a: "\uD800" } }),
      ["metadata.annotations.a Invalid"],
    ],
    ["a number that JSON has not", network({ vni: Number.NaN }), ["spec.vni TypeInvalid"]],
    ["a date", network({ at: new Date(0) }), ["spec.at TypeInvalid"]],
    [
      "a prototype",
      network(JSON.parse('{"__proto__":{"a":1}}') as Record<string, unknown>),
      ["spec Invalid"],
    ],
    ["too deep a tree", network({ a: nested(40) }), ["spec.a.a.a Invalid"]],
    ["too many values", network({ peerings: Array.from({ length: 20_001 }, () => 1) }), [" Invalid"]],
    ["too many bytes", network({}, { annotations: { a: "x".repeat(maxManifestBytes) } }), [" Invalid"]],
    [
      "too many bytes in UTF-8",
      network({}, { annotations: { a: "€".repeat(maxManifestBytes / 3) } }),
      [" Invalid"],
    ],
    [
      "a namespace where the kind has none",
      { apiVersion: "ferrite.dev/v1alpha1", kind: "Node", metadata: { name: "h", namespace: "x" } },
      ["metadata.namespace Forbidden"],
    ],
    [
      "a Node whose name is no label",
      { apiVersion: "ferrite.dev/v1alpha1", kind: "Node", metadata: { name: "a.b" } },
      ["metadata.name Invalid"],
    ],
  ]
  for (const [what, document, expected] of cases) {
    it(`with ${what} is refused`, () => assert.deepStrictEqual(faults(document), expected))
  }

  it("that refers to itself is refused", () => {
    const spec: Record<string, unknown> = {}
    spec["self"] = spec
    assert.strictEqual(violationsOf(network(spec)).length, 1)
  })

  it("that repeats one value a million times by aliases is refused quickly", () => {
    let value: unknown = "x".repeat(1000)
    for (let i = 0; i < 20; i++) value = { a: value, b: value }
    assert.strictEqual(violationsOf(network({ a: value })).length, 1)
  })

  it("has a bounded number of violations", () => {
    const spec = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`f${i}`, i]))
    assert.strictEqual(violationsOf(network(spec)).length, 64)
  })

  it("says what to do about a wrong field", () => {
    assert.strictEqual(
      violationsOf(nic({ networkref: {} }))[0]?.message,
      "unknown field; did you mean networkRef?",
    )
    assert.match(
      violationsOf(nic({ ips: [{ value: "10.0.0.256" }] }))[0]?.message ?? "",
      /"10\.0\.0\.256" must be an IP address/,
    )
  })

  it("is not changed by decoding", () => {
    const document = nic({ ips: [{ value: "10.0.0.1" }], ipFamilies: undefined, bad: 1 })
    const copy = structuredClone(document)
    decodeManifest(document)
    assert.deepStrictEqual(document, copy)
  })

  it("may have null for absent, and for the empty label", () => {
    const applied = decoded({
      ...network({ peerings: null }, { labels: { a: null }, annotations: null }),
      spec: null,
    })
    assert.deepStrictEqual(applied.labels, { a: "" })
    assert.deepStrictEqual(applied.spec, {})
  })

  it("gets the namespace of the request where it names none", () => {
    assert.strictEqual(decoded(network()).key.namespace, "default")
    const inTeam = decodeManifest(network(), { namespace: "team" })
    assert.strictEqual(Result.isSuccess(inTeam) && inTeam.success.key.namespace, "team")
    assert.strictEqual(decoded(network({}, { namespace: "mine" })).key.namespace, "mine")
  })

  it("loses its status and what the region sets in metadata", () => {
    const manifest = stored(nic())
    const printed = {
      ...manifest,
      metadata: {
        ...manifest.metadata,
        resourceVersion: "7",
        managedFields: [{}],
        finalizers: ["x"],
        deletionTimestamp: "now",
      },
      status: { state: "nonsense", anything: 1 },
    }
    const applied = decoded(printed)
    assert.deepStrictEqual(applied.spec, manifest.spec)
    assert.strictEqual(applied.uid, manifest.metadata.uid)
    assert.strictEqual(applied.resourceVersion, "7")
  })
})

describe("Documents", () => {
  it("are decoded each alone, lists taken apart, empty ones left out", () => {
    const list = { apiVersion: "v1", kind: "List", items: [network(), nic()] }
    const results = decodeManifests([null, network(), undefined, { kind: "Foo" }, list])
    assert.deepStrictEqual(results.map(Result.isSuccess), [true, false, true, true])
  })

  it("are refused where they are too many", () => {
    const results = decodeManifests(Array.from({ length: maxManifests + 1 }, () => network()))
    assert.deepStrictEqual(results.map(Result.isSuccess), [false])
  })
})

describe("Upstream's samples", () => {
  for (const file of ["network-sample.yaml", "networkinterface-sample.yaml", "network-peering.yaml"]) {
    it(`${file} applies unchanged`, () => {
      for (const document of fixture(file)) assert.deepStrictEqual(violationsOf(document), [])
    })
  }

  it("keep what they say", () => {
    const [first] = fixture("networkinterface-sample.yaml")
    assert.deepStrictEqual(specOf(first), {
      networkRef: { name: "network-sample" },
      ipFamilies: ["IPv4"],
      ips: [{ value: "10.0.0.1" }],
    })
  })
})

describe("The manifests of examples/first-light", () => {
  it("are valid, and two networks use one address", () => {
    const documents = ["networks.yaml", "interfaces.yaml"].flatMap((file) =>
      documentsOf(`../../examples/first-light/${file}`),
    )
    const keys = documents.map((document) => decoded(document).key)
    assert.deepStrictEqual(
      keys.map(({ name }) => name),
      ["blue", "red", "nic-a", "nic-b", "nic-c", "nic-d"],
    )
    const ipsOf = (name: string) => specOf(documents[keys.findIndex((key) => key.name === name)])["ips"]
    assert.deepStrictEqual(ipsOf("nic-a"), ipsOf("nic-d"))
  })
})
