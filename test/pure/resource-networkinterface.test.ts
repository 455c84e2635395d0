import { assert, describe, it } from "@effect/vitest"
import { faults, nic, specOf, updateFaults } from "./resource-cases.ts"

const template = (spec: object, more: object = {}) => ({
  ephemeral: { prefixTemplate: { spec: { parentRef: { name: "root" }, ...spec }, ...more } },
})
const virtualIP = (spec: object, more: object = {}) => ({
  ephemeral: { virtualIPTemplate: { spec: { type: "Public", ipFamily: "IPv4", ...spec }, ...more } },
})
const at = "spec.ips[0].ephemeral.prefixTemplate"
const vip = "spec.virtualIP.ephemeral.virtualIPTemplate"

const cases: ReadonlyArray<readonly [string, unknown, ReadonlyArray<string>]> = [
  ["one address", nic(), []],
  ["no name", nic({}, { name: undefined }), ["metadata.name Required"]],
  ["a bad name", nic({}, { name: "foo*" }), ["metadata.name Invalid"]],
  ["no networkRef", nic({ networkRef: undefined }), ["spec.networkRef Required"]],
  ["an empty networkRef", nic({ networkRef: {} }), ["spec.networkRef.name Required"]],
  ["a networkRef with an empty name", nic({ networkRef: { name: "" } }), ["spec.networkRef.name Required"]],
  ["a bad networkRef", nic({ networkRef: { name: "foo*" } }), ["spec.networkRef.name Invalid"]],
  ["a machineRef", nic({ machineRef: { name: "vm-1", uid: "11111111-1111-4111-8111-111111111111" } }), []],
  ["a bad machineRef", nic({ machineRef: { name: "foo*" } }), ["spec.machineRef.name Invalid"]],
  ["a machineRef that is no label", nic({ machineRef: { name: "a.b" } }), ["spec.machineRef.name Invalid"]],

  ["no families and no addresses", nic({ ipFamilies: [], ips: [] }), ["spec.ipFamilies Required"]],
  ["no addresses", nic({ ips: undefined }), ["spec.ips Required"]],
  ["an unknown family", nic({ ipFamilies: ["IPv5"] }), ["spec.ipFamilies[0] NotSupported"]],
  ["an empty family", nic({ ipFamilies: [""] }), ["spec.ipFamilies[0] Required"]],
  [
    "one family twice",
    nic({ ipFamilies: ["IPv4", "IPv4"], ips: [{ value: "10.0.0.1" }, { value: "10.0.0.2" }] }),
    ["spec.ipFamilies[1] Duplicate"],
  ],
  [
    "both families",
    nic({ ipFamilies: ["IPv6", "IPv4"], ips: [{ value: "fd00::1" }, { value: "10.0.0.1" }] }),
    [],
  ],
  ["fewer addresses than families", nic({ ipFamilies: ["IPv4", "IPv6"] }), ["spec.ips Invalid"]],
  [
    "more addresses than families",
    nic({ ips: [{ value: "10.0.0.1" }, { value: "fd00::1" }] }),
    ["spec.ips Invalid"],
  ],
  ["an address of another family", nic({ ips: [{ value: "fd00::1" }] }), ["spec.ips[0].value Invalid"]],
  ["an address that is none", nic({ ips: [{ value: "10.0.0.256" }] }), ["spec.ips[0].value Invalid"]],
  ["an address with leading zeros", nic({ ips: [{ value: "10.0.0.01" }] }), ["spec.ips[0].value Invalid"]],
  [
    "an address with a zone",
    nic({ ipFamilies: ["IPv6"], ips: [{ value: "fe80::1%eth0" }] }),
    ["spec.ips[0].value Invalid"],
  ],
  ["the unspecified address", nic({ ips: [{ value: "0.0.0.0" }] }), ["spec.ips[0].value Invalid"]],
  [
    "a multicast address",
    nic({ ipFamilies: ["IPv6"], ips: [{ value: "ff02::1" }] }),
    ["spec.ips[0].value Invalid"],
  ],
  ["a loopback address", nic({ ips: [{ value: "127.1.2.3" }] }), ["spec.ips[0].value Invalid"]],
  [
    "an IPv4-mapped address",
    nic({ ipFamilies: ["IPv6"], ips: [{ value: "::ffff:10.0.0.1" }] }),
    ["spec.ips[0].value Invalid"],
  ],
  ["an address without source", nic({ ips: [{}] }), ["spec.ips[0] Required"]],
  [
    "an address with two sources",
    nic({ ips: [{ value: "10.0.0.1", ...template({}) }] }),
    ["spec.ips[0] Forbidden"],
  ],

  ["an ephemeral address", nic({ ips: [template({ ipFamily: "IPv4", prefixLength: 32 })] }), []],
  [
    "a template with a name",
    nic({ ips: [template({}, { metadata: { name: "foo" } })] }),
    [`${at}.metadata.name Forbidden`],
  ],
  [
    "a template with a namespace and a generateName",
    nic({ ips: [template({}, { metadata: { namespace: "foo", generateName: "x", labels: { a: "b" } } })] }),
    [`${at}.metadata.namespace Forbidden`, `${at}.metadata.generateName Forbidden`],
  ],
  [
    "a template with labels",
    nic({ ips: [template({}, { metadata: { labels: { a: "b" }, annotations: { c: "d" } } })] }),
    [],
  ],
  [
    "a template of another family",
    nic({ ips: [template({ ipFamily: "IPv6" })] }),
    [`${at}.spec.ipFamily Invalid`],
  ],
  [
    "a template that is not one address",
    nic({ ips: [template({ prefix: "10.0.0.0/24" })] }),
    [`${at}.spec.prefix Forbidden`],
  ],
  [
    "a template with a short length",
    nic({ ips: [template({ prefixLength: 24 })] }),
    [`${at}.spec.prefixLength Forbidden`],
  ],
  [
    "a template with an impossible length",
    nic({ ips: [template({ prefixLength: 33 })] }),
    [`${at}.spec.prefixLength Invalid`],
  ],
  [
    "a template that is a root without prefix",
    nic({ ips: [{ ephemeral: { prefixTemplate: { spec: {} } } }] }),
    [`${at}.spec.prefix Required`],
  ],
  ["no template", nic({ ips: [{ ephemeral: {} }] }), [`${at} Required`]],
  [
    "a name too long for the Prefix of an ephemeral address",
    nic(
      { ips: [template({})] },
      { name: `${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(60)}` },
    ),
    ["spec.ips[0] Invalid"],
  ],

  [
    "prefixes",
    nic({ prefixes: [{ value: "10.1.0.0/16" }, template({ ipFamily: "IPv6", prefixLength: 64 })] }),
    [],
  ],
  ["a bad prefix", nic({ prefixes: [{ value: "10.1.0.0" }] }), ["spec.prefixes[0].value Invalid"]],
  ["a prefix without source", nic({ prefixes: [{}] }), ["spec.prefixes[0] Required"]],
  [
    "a prefix template that asks for nothing",
    nic({ prefixes: [template({ ipFamily: "IPv6" })] }),
    ["spec.prefixes[0].ephemeral.prefixTemplate.spec Required"],
  ],
  [
    "a prefix template that contradicts itself",
    nic({ prefixes: [template({ prefix: "10.0.0.0/8", prefixLength: 9 })] }),
    ["spec.prefixes[0].ephemeral.prefixTemplate.spec.prefixLength Invalid"],
  ],

  ["a virtualIPRef", nic({ virtualIP: { virtualIPRef: { name: "vip" } } }), []],
  [
    "a bad virtualIPRef",
    nic({ virtualIP: { virtualIPRef: { name: "foo*" } } }),
    ["spec.virtualIP.virtualIPRef.name Invalid"],
  ],
  ["an ephemeral virtualIP", nic({ virtualIP: virtualIP({ reclaimPolicy: "Retain" }) }), []],
  ["an ephemeral virtualIP without template", nic({ virtualIP: { ephemeral: {} } }), [`${vip} Required`]],
  [
    "an ephemeral virtualIP with an unknown reclaimPolicy",
    nic({ virtualIP: virtualIP({ reclaimPolicy: "Keep" }) }),
    [`${vip}.spec.reclaimPolicy NotSupported`],
  ],
  [
    "an ephemeral virtualIP of an unknown type",
    nic({ virtualIP: virtualIP({ type: "Private" }) }),
    [`${vip}.spec.type NotSupported`],
  ],
  [
    "an ephemeral virtualIP with a name",
    nic({ virtualIP: virtualIP({}, { metadata: { name: "x" } }) }),
    [`${vip}.metadata.name Forbidden`],
  ],
  ["a virtualIP without source", nic({ virtualIP: {} }), ["spec.virtualIP Required"]],
  [
    "a virtualIP with two sources",
    nic({ virtualIP: { virtualIPRef: { name: "vip" }, ...virtualIP({}) } }),
    ["spec.virtualIP Forbidden"],
  ],
  ["attributes", nic({ attributes: { "any key": "any value" } }), []],
  ["attributes that are no strings", nic({ attributes: { mtu: 1500 } }), ["spec.attributes.mtu TypeInvalid"]],
  ["our providerID", nic({ providerID: "ironcore-net://default/nic-a/host-1/u-1" }), []],
  ["another provider's id", nic({ providerID: "libvirt://1" }), []],
  [
    "a providerID of ours that is wrong",
    nic({ providerID: "ironcore-net://host-1" }),
    ["spec.providerID Invalid"],
  ],
]

describe("NetworkInterface", () => {
  for (const [what, document, expected] of cases) {
    it(`${expected.length === 0 ? "takes" : "refuses"} ${what}`, () => {
      assert.deepStrictEqual(faults(document), expected)
    })
  }
})

describe("Defaults of a NetworkInterface", () => {
  const ipsOf = (spec: object) => specOf(nic({ ipFamilies: undefined, ...spec }))

  it("derive families from addresses", () => {
    const spec = ipsOf({ ips: [{ value: "FD00::0:1" }, { value: "10.0.0.1" }] })
    assert.deepStrictEqual(spec["ipFamilies"], ["IPv6", "IPv4"])
    assert.deepStrictEqual(spec["ips"], [{ value: "fd00::1" }, { value: "10.0.0.1" }])
  })

  it("derive a template's family from its prefix alone", () => {
    const spec = ipsOf({ ips: [template({ prefix: "10.0.0.5/32" })] })
    assert.deepStrictEqual(spec["ipFamilies"], ["IPv4"])
    assert.deepStrictEqual(spec["ips"], [template({ prefix: "10.0.0.5/32", ipFamily: "IPv4" })])
  })

  it("give a template the family of its place and the length of one address", () => {
    const spec = specOf(nic({ ipFamilies: ["IPv4", "IPv6"], ips: [template({}), template({})] }))
    assert.deepStrictEqual(spec["ips"], [
      template({ ipFamily: "IPv4", prefixLength: 32 }),
      template({ ipFamily: "IPv6", prefixLength: 128 }),
    ])
  })

  it("derive no family where a template does not say one", () => {
    assert.deepStrictEqual(faults(nic({ ipFamilies: undefined, ips: [template({})] })), [
      "spec.ipFamilies Required",
      `${at}.spec.ipFamily Required`,
    ])
  })

  it("report a wrong address only once, at the address", () => {
    assert.deepStrictEqual(faults(nic({ ipFamilies: undefined, ips: [{ value: "10.0.0.x" }] })), [
      "spec.ips[0].value Invalid",
    ])
  })
})

describe("A stored NetworkInterface", () => {
  const changes: ReadonlyArray<readonly [string, object, ReadonlyArray<string>]> = [
    ["networkRef", { networkRef: { name: "red" } }, ["spec.networkRef Forbidden"]],
    ["ipFamilies", { ipFamilies: ["IPv6"], ips: [{ value: "fd00::1" }] }, ["spec.ipFamilies Forbidden"]],
    ["attributes", { attributes: { a: "c" } }, ["spec.attributes Forbidden"]],
    ["attributes by omission", { attributes: undefined }, ["spec.attributes Forbidden"]],
    ["machineRef", { machineRef: { name: "vm-2" } }, []],
    ["ips", { ips: [{ value: "10.0.0.2" }] }, []],
    ["virtualIP", { virtualIP: { virtualIPRef: { name: "x" } } }, []],
    ["prefixes", { prefixes: [{ value: "10.0.0.0/8" }] }, []],
    ["providerID", { providerID: "ironcore-net://default/nic-a/host-1/u-1" }, []],
  ]
  for (const [what, change, expected] of changes) {
    it(`${expected.length === 0 ? "may change" : "keeps"} ${what}`, () => {
      const first = nic({ attributes: { a: "b" } })
      assert.deepStrictEqual(updateFaults(first, nic({ attributes: { a: "b" }, ...change })), expected)
    })
  }

  it("tells every immutable field that would change", () => {
    const next = nic({ networkRef: { name: "red" }, ipFamilies: ["IPv6"], ips: [{ value: "fd00::1" }] })
    assert.deepStrictEqual(updateFaults(nic(), next), [
      "spec.networkRef Forbidden",
      "spec.ipFamilies Forbidden",
    ])
  })
})
