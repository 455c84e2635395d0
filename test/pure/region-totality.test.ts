import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { planNetworkInterface } from "#actors/region/NetworkInterfacePlan.ts"
import { planNetwork } from "#actors/region/NetworkPlan.ts"
import { planNode } from "#actors/region/NodePlan.ts"
import type { Plan } from "#actors/region/Plan.ts"
import type { Manifest } from "#protocol/resource/Resource.ts"
import { networking } from "./region-model.ts"

// Planners get what others wrote, at any moment, in any mixture: whatever it is, they answer.

const any = fc.constantFrom
const maybe = <A>(arbitrary: fc.Arbitrary<A>) => fc.option(arbitrary, { nil: undefined })
const uid = "00000000-0000-4000-8000-000000000001"
const address = any("10.0.0.1", "10.0.0.2", "fd00::1", "nonsense")
const nodeName = any("host-1", "host-2")
const owner = fc.record({
  kind: any("NetworkInterface", "Network", "Node"),
  namespace: any("default", ""),
  name: any("a", "b", "host-1"),
})
const conditions = fc.array(
  fc.record({
    type: any(
      "Allocated",
      "NetworkReady",
      "AddressReady",
      "Attached",
      "Realised",
      "Programmed",
      "Ready",
      "Deleting",
    ),
    status: any("True" as const, "False" as const, "Unknown" as const),
    reason: any("Allocated", "NodeLost", "NotAsked", "X"),
    message: fc.string(),
    lastTransitionTime: any("2023-11-14T22:13:20Z", ""),
  }),
  { maxLength: 6 },
)
const metadata = (name: string) =>
  fc.record(
    {
      name: fc.constant(name),
      namespace: fc.constant("default"),
      uid: fc.constant(uid),
      generation: fc.nat(9),
      creationTimestamp: fc.constant("2023-11-14T22:13:20Z"),
      deletionTimestamp: fc.constant("2023-11-14T22:13:20Z"),
      finalizers: fc.array(
        any("ferrite.dev/host-interface", "networking.ironcore.dev/network", "ferrite.dev/node", "other"),
        { maxLength: 2 },
      ),
    },
    { requiredKeys: ["name", "namespace", "uid", "generation", "creationTimestamp"] },
  )

const network = fc.record({
  apiVersion: fc.constant(networking as "networking.ironcore.dev/v1alpha1"),
  kind: fc.constant("Network" as const),
  metadata: metadata("blue"),
  spec: fc.record(
    { providerID: any("ironcore-net://default/blue/200/u", "ironcore-net://default/blue/300/u", "x") },
    { requiredKeys: [] },
  ),
  status: fc.record({ conditions }, { requiredKeys: [] }),
})

const node = fc.record({
  apiVersion: fc.constant("ferrite.dev/v1alpha1" as const),
  kind: fc.constant("Node" as const),
  metadata: metadata("host-1"),
  spec: fc.constant({}),
  status: fc.record(
    {
      state: any("Pending" as const, "Ready" as const, "Lost" as const),
      conditions,
      underlayPrefix: any("fd00:f:1::/64", "x"),
    },
    { requiredKeys: [] },
  ),
})

const attachment = fc.record(
  {
    node: nodeName,
    generation: fc.nat(9),
    device: fc.constant("tap0"),
    underlayAddress: fc.constant("fd00::9"),
    acceptedMicros: fc.nat(),
    realisedMicros: fc.nat(),
    programmedMicros: fc.nat(),
  },
  { requiredKeys: ["node"] },
)

const networkInterface = fc.record({
  apiVersion: fc.constant(networking as "networking.ironcore.dev/v1alpha1"),
  kind: fc.constant("NetworkInterface" as const),
  metadata: metadata("a"),
  spec: fc.record(
    {
      networkRef: fc.constant({ name: "blue" }),
      ipFamilies: fc.constant(["IPv4" as const]),
      ips: fc.array(fc.record({ value: address }, { requiredKeys: [] }), { maxLength: 2 }),
      providerID: any("ironcore-net://default/a/host-1/u", "ironcore-net://default/a/host-2/u", "x", ""),
    },
    { requiredKeys: ["networkRef", "ipFamilies", "ips"] },
  ),
  status: fc.record(
    {
      state: any("Pending" as const, "Available" as const, "Error" as const),
      conditions,
      ips: fc.uniqueArray(address, { maxLength: 3 }),
      vni: any(200, 300),
      attachment,
    },
    { requiredKeys: [] },
  ),
})

const hostInterface = fc.record({
  uid: fc.constant(uid),
  namespace: fc.constant("default"),
  name: fc.constant("a"),
  generation: fc.nat(9),
  vni: any(200, 300),
  ipv4: any("10.0.0.1", "10.0.0.2"),
  acceptedMicros: fc.nat(),
})

const about = { _tag: fc.constant("InterfaceReport" as const), uid: fc.constant(uid), generation: fc.nat(9) }
const why = { reason: any("Busy", "Refused"), message: fc.string() }
const report = fc.oneof(
  fc.record({ ...about, state: fc.constant("Pending" as const), ...why }),
  fc.record({ ...about, state: fc.constant("Failed" as const), ...why }),
  fc.record({ ...about, state: fc.constant("Removed" as const) }),
  fc.record({
    ...about,
    state: fc.constant("Realised" as const),
    underlayAddress: fc.constant("fd00::8"),
    device: fc.constant("tap1"),
    realisedMicros: fc.nat(),
  }),
)

const peer = fc.record(
  {
    node: nodeName,
    lost: fc.boolean(),
    route: any("Acknowledged" as const, "Waiting" as const, "Withdrawn" as const),
    programmedMicros: fc.nat(),
  },
  { requiredKeys: ["node", "lost", "route"] },
)

const nowMicros = fc.nat().map((n) => 1_700_000_000_000_000 + n)

/** True of every plan: nothing is taken and given at once, at most one host is asked, each once. */
const sane = (plan: Plan<Manifest>): void => {
  const name = ({ pool, value }: { readonly pool: string; readonly value: string }) => `${pool}|${value}`
  const releases = new Set(plan.releases.map(name))
  for (const claim of plan.claims) assert.isFalse(releases.has(name(claim)))
  assert.isAtMost(plan.hosts.filter(({ _tag }) => _tag === "Put").length, 1)
  assert.strictEqual(new Set(plan.hosts.map((change) => change.node)).size, plan.hosts.length)
  if (plan.next._tag === "Remove") assert.deepStrictEqual(plan.claims, [])
}

describe("Planners answer whatever they are shown", () => {
  it("of a NetworkInterface", () => {
    const observed = fc.record({
      nowMicros,
      network: maybe(network),
      nodes: fc.array(fc.tuple(nodeName, node), { maxLength: 2 }).map((entries) => new Map(entries)),
      hostInterface: maybe(hostInterface),
      report: maybe(report),
      settled: fc.boolean(),
      addressOwners: fc.array(fc.tuple(address, owner), { maxLength: 2 }).map((entries) => new Map(entries)),
      peers: maybe(fc.array(peer, { maxLength: 3 })),
    })
    fc.assert(
      fc.property(networkInterface, observed, (nic, facts) => sane(planNetworkInterface(nic, facts))),
      { numRuns: 2000 },
    )
  })

  it("of a Network", () => {
    const observed = fc.record({
      nowMicros,
      referrers: fc.array(owner, { maxLength: 3 }),
      proposal: any(200, 16_777_215, "Exhausted" as const, undefined),
      vniOwner: maybe(owner),
    })
    fc.assert(
      fc.property(network, observed, (of, facts) => sane(planNetwork(of, facts))),
      { numRuns: 1000 },
    )
  })

  it("of a Node", () => {
    const hello = fc.record({
      instance: fc.string(),
      underlayPrefix: any("fd00:f:1::/64", "FD00:F:1::1/64", "x"),
      dataplane: fc.string(),
      version: fc.string(),
    })
    const observed = fc.record({
      nowMicros,
      hello: maybe(hello),
      lease: any("Live" as const, "Expired" as const, "Unknown" as const),
      underlayOwner: maybe(owner),
    })
    fc.assert(
      fc.property(node, observed, (of, facts) => sane(planNode(of, facts))),
      { numRuns: 1000 },
    )
  })
})
