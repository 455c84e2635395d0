import { assert, describe, it } from "@effect/vitest"
import { faults, network, specOf, updateFaults } from "./resource-cases.ts"

const peering = (spec: object = {}) => ({ name: "p", networkRef: { name: "red" }, ...spec })

const prefixes = (...list: ReadonlyArray<object>) => network({ peerings: [peering({ prefixes: list })] })

const providerID = (vni: number | string) => `ironcore-net://default/blue/${vni}/uid-1`

const cases: ReadonlyArray<readonly [string, unknown, ReadonlyArray<string>]> = [
  ["nothing but a name", network(), []],
  ["an empty spec", network({}), []],
  ["no name", network({}, { name: "" }), ["metadata.name Required"]],
  ["a name that is no DNS subdomain", network({}, { name: "foo*" }), ["metadata.name Invalid"]],
  ["a name of 253 characters", network({}, { name: `${"a.".repeat(126)}a` }), []],
  ["a name of 254 characters", network({}, { name: `${"a.".repeat(126)}aa` }), ["metadata.name Invalid"]],
  ["a bad namespace", network({}, { namespace: "a.b" }), ["metadata.namespace Invalid"]],

  ["a VNI asked for", network({ providerID: providerID(4711) }), []],
  ["a VNI below the range", network({ providerID: providerID(199) }), ["spec.providerID Invalid"]],
  ["the first VNI", network({ providerID: providerID(200) }), []],
  ["the last VNI", network({ providerID: providerID(16_777_215) }), []],
  ["a VNI above the range", network({ providerID: providerID(16_777_216) }), ["spec.providerID Invalid"]],
  ["a VNI with leading zeros", network({ providerID: providerID("0200") }), ["spec.providerID Invalid"]],
  ["another provider's id", network({ providerID: "aws://vpc-1" }), ["spec.providerID Invalid"]],

  [
    "peering with itself",
    network({ peerings: [peering({ networkRef: { name: "blue" } })] }),
    ["spec.peerings[0].networkRef Forbidden"],
  ],
  [
    "peering with itself by namespace",
    network({ peerings: [peering({ networkRef: { namespace: "default", name: "blue" } })] }),
    ["spec.peerings[0].networkRef Forbidden"],
  ],
  [
    "peering with its namesake elsewhere",
    network({ peerings: [peering({ networkRef: { namespace: "other", name: "blue" } })] }),
    [],
  ],
  [
    "two peerings of one name",
    network({ peerings: [peering(), peering({ networkRef: { name: "green" } })] }),
    ["spec.peerings[1].name Duplicate"],
  ],
  [
    "two peerings with one network",
    network({
      peerings: [peering(), peering({ name: "q", networkRef: { namespace: "default", name: "red" } })],
    }),
    ["spec.peerings[1].networkRef Duplicate"],
  ],
  [
    "a peering without name",
    network({ peerings: [{ networkRef: { name: "red" } }] }),
    ["spec.peerings[0].name Required"],
  ],
  [
    "a peering without network",
    network({ peerings: [{ name: "p" }] }),
    ["spec.peerings[0].networkRef Required"],
  ],
  [
    "a peering with a bad network name",
    network({ peerings: [peering({ networkRef: { name: "Red" } })] }),
    ["spec.peerings[0].networkRef.name Invalid"],
  ],

  [
    "many literal prefixes",
    prefixes(
      { name: "a", prefix: "10.0.0.0/24" },
      { name: "b", prefix: "10.0.1.0/24" },
      { name: "c", prefix: "fd00::/64" },
    ),
    [],
  ],
  [
    "a prefix that is none",
    prefixes({ name: "a", prefix: "10.0.0.0/33" }),
    ["spec.peerings[0].prefixes[0].prefix Invalid"],
  ],
  ["a prefix entry that names no range", prefixes({ name: "a" }), ["spec.peerings[0].prefixes[0] Required"]],
  [
    "a prefix entry that names two ranges",
    prefixes({ name: "a", prefix: "10.0.0.0/8", prefixRef: { name: "x" } }),
    ["spec.peerings[0].prefixes[0] Forbidden"],
  ],
  [
    "two prefixes of one name",
    prefixes({ name: "a", prefix: "10.0.0.0/8" }, { name: "a", prefix: "11.0.0.0/8" }),
    ["spec.peerings[0].prefixes[1].name Duplicate"],
  ],
  [
    "two prefixes of one name in different peerings",
    network({
      peerings: [
        peering({ prefixes: [{ name: "a", prefix: "10.0.0.0/8" }] }),
        peering({
          name: "q",
          networkRef: { name: "green" },
          prefixes: [{ name: "a", prefix: "11.0.0.0/8" }],
        }),
      ],
    }),
    ["spec.peerings[1].prefixes[0].name Duplicate"],
  ],
  [
    "one prefixRef twice",
    prefixes({ name: "a", prefixRef: { name: "x" } }, { name: "b", prefixRef: { name: "x" } }),
    ["spec.peerings[0].prefixes[1].prefixRef Duplicate"],
  ],

  [
    "a claim of itself",
    network({ incomingPeerings: [{ name: "blue" }] }),
    ["spec.incomingPeerings[0] Forbidden"],
  ],
  [
    "a claim twice",
    network({ incomingPeerings: [{ name: "red" }, { name: "red", namespace: "default" }] }),
    ["spec.incomingPeerings[1] Duplicate"],
  ],
  [
    "claims of namesakes in two namespaces",
    network({ incomingPeerings: [{ name: "red" }, { name: "red", namespace: "other" }] }),
    [],
  ],
  [
    "a claim without name",
    network({ incomingPeerings: [{ namespace: "x" }] }),
    ["spec.incomingPeerings[0].name Required"],
  ],
  [
    "a claim with a bad name",
    network({ incomingPeerings: [{ name: "Foo*" }] }),
    ["spec.incomingPeerings[0].name Invalid"],
  ],
  [
    "a claim with a bad namespace",
    network({ incomingPeerings: [{ name: "foo", namespace: "Foo*" }] }),
    ["spec.incomingPeerings[0].namespace Invalid"],
  ],
  [
    "more peerings than allowed",
    network({
      peerings: Array.from({ length: 257 }, (_, i) =>
        peering({ name: `p${i}`, networkRef: { name: `n${i}` } }),
      ),
    }),
    ["spec.peerings Invalid"],
  ],
]

describe("Network", () => {
  for (const [what, document, expected] of cases) {
    it(`${expected.length === 0 ? "takes" : "refuses"} ${what}`, () => {
      assert.deepStrictEqual(faults(document), expected)
    })
  }

  it("tells everything that is wrong at once", () => {
    const document = network(
      {
        providerID: "foo",
        peering: [],
        peerings: [
          peering({
            networkRef: { name: "blue" },
            prefixes: [
              { name: "a", prefix: 5 },
              { name: "a", prefix: "10.0.0.0/8" },
            ],
          }),
        ],
      },
      { name: "blue", labels: { "a b": "x", ok: 5 } },
    )
    assert.deepStrictEqual(faults(document), [
      "metadata.labels.ok TypeInvalid",
      'metadata.labels["a b"] Invalid',
      "spec.peering NotSupported",
      "spec.providerID Invalid",
      "spec.peerings[0].prefixes[0].prefix TypeInvalid",
      "spec.peerings[0].networkRef Forbidden",
      "spec.peerings[0].prefixes[1].name Duplicate",
    ])
  })

  it("writes prefixes in one form and keeps their host bits", () => {
    const spec = specOf(prefixes({ name: "a", prefix: "FD00:0::1/64" }))
    assert.deepStrictEqual(spec["peerings"], [peering({ prefixes: [{ name: "a", prefix: "fd00::1/64" }] })])
  })

  it("keeps providerID once it is set", () => {
    const set = network({ providerID: providerID(300) })
    assert.deepStrictEqual(updateFaults(set, network({ providerID: providerID(301) })), [
      "spec.providerID Forbidden",
    ])
    assert.deepStrictEqual(updateFaults(set, network({ peerings: [peering()] })), [])
    assert.deepStrictEqual(updateFaults(network({}), set), [])
  })

  it("may change its peerings", () => {
    assert.deepStrictEqual(
      updateFaults(network({ peerings: [peering()] }), network({ peerings: [peering({ name: "q" })] })),
      [],
    )
  })
})
