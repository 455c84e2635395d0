import { assert, describe, it } from "@effect/vitest"
import { formatAge } from "#protocol/resource/Kind.ts"
import { findKind, kinds, references } from "#protocol/resource/Kinds.ts"
import {
  InvalidSelector,
  matches,
  parseSelector,
  formatSelector,
  requirementsOf,
} from "#protocol/resource/LabelSelector.ts"
import { formatProviderId, nodeOf, parseProviderId, vniOf } from "#protocol/resource/ProviderId.ts"
import type { Manifest } from "#protocol/resource/Resource.ts"
import { network, nic, now, stored } from "./resource-cases.ts"

describe("Kinds", () => {
  it("are found by every name that people type", () => {
    const found = [
      "nic",
      "nics",
      "NetworkInterfaces",
      "networkinterface",
      "net",
      "networks",
      "no",
      "nodes",
      "Node",
    ]
    assert.deepStrictEqual(
      found.map((name) => findKind(name)?.kind),
      [
        "NetworkInterface",
        "NetworkInterface",
        "NetworkInterface",
        "NetworkInterface",
        "Network",
        "Network",
        "Node",
        "Node",
        "Node",
      ],
    )
    assert.strictEqual(findKind("nics.networking.ironcore.dev")?.kind, "NetworkInterface")
    assert.isUndefined(findKind("nics.example.org"))
    assert.isUndefined(findKind("vips"))
  })

  it("have no name in common", () => {
    const names = kinds.flatMap(({ kind, plural, singular, shortNames }) => [
      ...new Set([kind.toLowerCase(), plural, singular, ...shortNames]),
    ])
    assert.strictEqual(new Set(names).size, names.length)
  })

  it("refer to what a manifest names", () => {
    const interfaceOn = stored(nic({ providerID: "ironcore-net://default/nic-a/host-1/u" }))
    assert.deepStrictEqual(references(interfaceOn), [
      { kind: "Network", namespace: "default", name: "blue" },
      { kind: "Node", namespace: "", name: "host-1" },
    ])
    const leaving: Manifest = { ...interfaceOn, status: { attachment: { node: "host-2" } } }
    assert.strictEqual(references(leaving)[2]?.name, "host-2")
    const peered = stored(
      network({
        peerings: [
          { name: "p", networkRef: { name: "red" } },
          { name: "q", networkRef: { namespace: "x", name: "red" } },
        ],
      }),
    )
    assert.deepStrictEqual(
      references(peered).map(({ namespace }) => namespace),
      ["default", "x"],
    )
  })

  const row = (manifest: Manifest, wide: boolean) =>
    Object.fromEntries(
      (findKind(manifest.kind)?.columns ?? [])
        .filter((column) => wide || !column.wide)
        .map(({ name, value }) => [name, value(manifest, now + 100_000_000)]),
    )

  it("show a fresh interface", () => {
    assert.deepStrictEqual(row(stored(nic({ machineRef: { name: "vm" } })), false), {
      NAME: "nic-a",
      NETWORK: "blue",
      MACHINE: "vm",
      IPS: "",
      PREFIXES: "",
      VIRTUALIP: "",
      STATE: "Pending",
      AGE: "100s",
    })
  })

  it("show where an interface is and how long it took", () => {
    const manifest: Manifest = {
      ...stored(nic({ providerID: "ironcore-net://default/nic-a/host-1/u" })),
      status: {
        state: "Available",
        ips: ["10.0.0.1", "fd01::1"],
        vni: 200,
        attachment: {
          node: "host-1",
          device: "tap0",
          underlayAddress: "fd00::1",
          acceptedMicros: 1_000,
          programmedMicros: 13_500,
        },
      },
    }
    const { IPS, VNI, NODE, DEVICE, UNDERLAY, PROGRAMMED, WAITING } = row(manifest, true)
    assert.deepStrictEqual(
      [IPS, VNI, NODE, DEVICE, UNDERLAY, PROGRAMMED, WAITING],
      ["10.0.0.1,fd01::1", "200", "host-1", "tap0", "fd00::1", "12.5ms", "<none>"],
    )
  })

  it("show an empty network", () => {
    assert.deepStrictEqual(row(stored(network()), true), {
      NAME: "blue",
      STATE: "Pending",
      PROVIDERID: "",
      AGE: "100s",
      VNI: "<none>",
      PEERINGS: "<none>",
    })
  })

  it("tell ages coarser with time", () => {
    const ages = [-5, 0, 119, 120, 599, 600, 10_799, 10_800, 28_800, 172_800, 691_200, 63_072_000]
    assert.deepStrictEqual(ages.map(formatAge), [
      "0s",
      "0s",
      "119s",
      "2m",
      "9m59s",
      "10m",
      "179m",
      "3h",
      "8h",
      "2d",
      "8d",
      "2y",
    ])
  })
})

describe("A providerID", () => {
  it("is read as it was written", () => {
    const id = { namespace: "default", name: "blue.x", id: "200", uid: "u-1" }
    assert.deepStrictEqual(parseProviderId(formatProviderId(id)), id)
    assert.strictEqual(vniOf(formatProviderId(id)), 200)
    assert.strictEqual(nodeOf("ironcore-net://d/n/host-1/u"), "host-1")
  })

  it("is none of ours in any other form", () => {
    const others = [
      undefined,
      "",
      "ironcore-net://",
      "ironcore-net://a/b/c",
      "ironcore-net://a/b/c/d/e",
      "x://a/b/c/d",
      "ironcore-net://A/b/c/d",
      "ironcore-net://a/b/c/",
    ]
    for (const text of others) assert.isUndefined(parseProviderId(text))
    assert.isUndefined(nodeOf("ironcore-net://a/b/Host/u"))
  })
})

describe("A label selector", () => {
  const labels = { app: "web", "example.org/tier": "a" }
  const selects = (line: string) => {
    const parsed = parseSelector(line)
    return parsed instanceof InvalidSelector ? undefined : matches(parsed, labels)
  }

  it("selects by Kubernetes' rules", () => {
    const yes = [
      "",
      " ",
      "app",
      "app=web",
      "app==web",
      "app = web",
      "app!=db",
      "other!=x",
      "!other",
      "app in (db, web)",
      "app notin (db)",
      "other notin (x)",
      "app=web,example.org/tier in (a,b),!old",
    ]
    const no = [
      "app=db",
      "!app",
      "other",
      "other=",
      "app!=web",
      "app notin (web,db)",
      "app in ()",
      "app=web,other",
    ]
    for (const line of yes) assert.isTrue(selects(line), line)
    for (const line of no) assert.isFalse(selects(line), line)
  })

  it("refuses what it can't read", () => {
    const wrong = [
      "=",
      "app=web=x",
      "app in web",
      "app in (a",
      "app)",
      ",",
      "app,",
      "a b",
      "app=b c",
      "app>5",
      "-a=b",
      `a=${"b".repeat(64)}`,
      "a,".repeat(3000),
      "!",
    ]
    for (const line of wrong) assert.isUndefined(selects(line), line)
  })

  it("is the same on one line and in a manifest", () => {
    const requirements = requirementsOf({
      matchLabels: { app: "web" },
      matchExpressions: [
        { key: "tier", operator: "In", values: ["a", "b"] },
        { key: "old", operator: "DoesNotExist" },
      ],
    })
    assert.strictEqual(formatSelector(requirements), "app=web,tier in (a,b),!old")
    assert.deepStrictEqual(parseSelector(formatSelector(requirements)), requirements)
  })
})
