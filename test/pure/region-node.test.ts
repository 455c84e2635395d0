import { assert, describe, it } from "@effect/vitest"
import { type NodeObserved, planNode } from "#actors/region/NodePlan.ts"
import { isEmpty } from "#actors/region/Plan.ts"
import { findCondition } from "#protocol/resource/Conditions.ts"
import type { Node } from "#protocol/resource/Node.ts"
import { key, Region } from "./region-model.ts"

const hello = { instance: "i-1", underlayPrefix: "fd00:f:1::/64", dataplane: "native", version: "1" }
const live: NodeObserved = {
  nowMicros: 1_700_000_000_000_000,
  hello,
  lease: "Live",
  underlayOwner: undefined,
}

const fresh = (): Node => {
  const region = new Region()
  region.apply({ apiVersion: "ferrite.dev/v1alpha1", kind: "Node", metadata: { name: "host-1" } })
  return region.node("host-1") ?? assert.fail()
}

const after = (node: Node, observed: NodeObserved): Node => {
  const { next } = planNode(node, observed)
  return next._tag === "Put" ? next.manifest : node
}

const deleted = (node: Node): Node => ({
  ...node,
  metadata: { ...node.metadata, deletionTimestamp: "2023-11-14T22:13:20Z" },
})

describe("A Node", () => {
  it("is ready with its first Hello and holds its underlay prefix", () => {
    const plan = planNode(fresh(), { ...live, hello: { ...hello, underlayPrefix: "FD00:F:1:0::1/64" } })
    assert.deepStrictEqual(plan.claims, [
      { pool: "underlay", value: "fd00:f:1::/64", owner: key("Node", "host-1") },
    ])
    const { status } = after(fresh(), live)
    assert.strictEqual(status?.state, "Ready")
    assert.deepStrictEqual(
      [status?.underlayPrefix, status?.dataplane, status?.version, status?.instance],
      ["fd00:f:1::/64", "native", "1", "i-1"],
    )
    assert.isTrue(isEmpty(planNode(after(fresh(), live), live)))
  })

  it("without an agent is pending", () => {
    const node = after(fresh(), { ...live, hello: undefined, lease: "Unknown" })
    assert.strictEqual(node.status?.state, "Pending")
    assert.strictEqual(findCondition(node.status?.conditions, "Ready")?.reason, "NoAgent")
  })

  it("is lost when its lease ends, and ready when its agent comes back", () => {
    const ready = after(fresh(), live)
    const lost = after(ready, { ...live, lease: "Expired" })
    assert.strictEqual(lost.status?.state, "Lost")
    assert.strictEqual(lost.status?.underlayPrefix, "fd00:f:1::/64")
    assert.strictEqual(after(lost, { ...live, lease: "Unknown" }).status?.state, "Lost")
    assert.strictEqual(after(lost, live).status?.state, "Ready")
  })

  it("keeps its state while a new controller gives it time", () => {
    const ready = after(fresh(), live)
    assert.isTrue(isEmpty(planNode(ready, { ...live, hello: undefined, lease: "Unknown" })))
  })

  it("is refused with the underlay prefix of another", () => {
    const plan = planNode(fresh(), { ...live, underlayOwner: key("Node", "host-2") })
    assert.deepStrictEqual(plan.claims, [])
    const node = plan.next._tag === "Put" ? plan.next.manifest : assert.fail()
    const condition = findCondition(node.status?.conditions, "Ready")
    assert.strictEqual(condition?.reason, "UnderlayTaken")
    assert.include(condition?.message, "host-2")
    assert.notStrictEqual(node.status?.state, "Ready")
  })

  it("may come back with another underlay prefix and gives the old one back", () => {
    const plan = planNode(after(fresh(), live), {
      ...live,
      hello: { ...hello, underlayPrefix: "fd00:f:9::/64" },
    })
    assert.deepStrictEqual(
      plan.claims.map(({ value }) => value),
      ["fd00:f:9::/64"],
    )
    assert.deepStrictEqual(
      plan.releases.map(({ value }) => value),
      ["fd00:f:1::/64"],
    )
  })

  it("is not deleted under a connected agent", () => {
    const ready = deleted(after(fresh(), live))
    const held = after(ready, live)
    assert.strictEqual(findCondition(held.status?.conditions, "Deleting")?.reason, "AgentConnected")
    assert.strictEqual(planNode(held, { ...live, lease: "Unknown" }).next._tag, "Keep")
    const plan = planNode(held, { ...live, lease: "Expired" })
    assert.strictEqual(plan.next._tag, "Remove")
    assert.deepStrictEqual(
      plan.releases.map(({ value }) => value),
      ["fd00:f:1::/64"],
    )
  })
})
