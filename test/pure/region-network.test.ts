import { assert, describe, it } from "@effect/vitest"
import { planNetwork } from "#actors/region/NetworkPlan.ts"
import { findCondition } from "#protocol/resource/Conditions.ts"
import { key, networkDocument, nicDocument, Region } from "./region-model.ts"

const conditionOf = (region: Region, name: string, type = "Allocated") =>
  findCondition(region.network(name)?.status?.conditions, type)

const claimsOf = (region: Region) => [...region.claims].map(([value, owner]) => `${value} ${owner.name}`)

const asked = (name: string, vni: number) =>
  networkDocument(name, { providerID: `ironcore-net://default/${name}/${vni}/u-1` })

describe("A Network", () => {
  it("gets the lowest free VNI, its claim and its providerID in one commit", () => {
    const region = new Region()
    region.apply(networkDocument("blue"))
    const plan = region.plan(key("Network", "blue")) ?? assert.fail()
    assert.deepStrictEqual(plan.claims, [{ pool: "vni", value: "200", owner: key("Network", "blue") }])
    region.settle()
    const { metadata, spec, status } = region.network("blue") ?? assert.fail()
    assert.strictEqual(spec.providerID, `ironcore-net://default/blue/200/${metadata.uid}`)
    assert.deepStrictEqual(metadata.finalizers, ["networking.ironcore.dev/network"])
    assert.strictEqual(status?.state, "Available")
    assert.strictEqual(metadata.generation, 2)
  })

  it("gets a VNI that is released before any later one", () => {
    const region = new Region()
    for (const name of ["blue", "red"]) region.apply(networkDocument(name))
    region.settle()
    region.delete(key("Network", "blue"))
    region.settle()
    region.apply(networkDocument("green"))
    region.settle()
    assert.deepStrictEqual(claimsOf(region), ["vni|201 red", "vni|200 green"])
  })

  it("waits where all VNIs are in use, and gets the first that is released", () => {
    const region = new Region({ first: 200, last: 200 })
    for (const name of ["blue", "red"]) region.apply(networkDocument(name))
    region.settle()
    assert.strictEqual(conditionOf(region, "red")?.reason, "PoolExhausted")
    assert.strictEqual(region.network("red")?.status?.state, "Pending")
    assert.include(region.events, "red Warning PoolExhausted")
    region.delete(key("Network", "blue"))
    region.settle()
    assert.deepStrictEqual(claimsOf(region), ["vni|200 red"])
    assert.strictEqual(conditionOf(region, "red")?.status, "True")
  })

  it("gets the VNI that it asks for, or learns whose it is", () => {
    const region = new Region()
    region.apply(asked("blue", 4711))
    region.apply(asked("red", 4711))
    region.settle()
    assert.deepStrictEqual(claimsOf(region), ["vni|4711 blue"])
    const waiting = conditionOf(region, "red")
    assert.strictEqual(waiting?.reason, "VniTaken")
    assert.include(waiting?.message, "Network/default/blue")
    region.delete(key("Network", "blue"))
    region.settle()
    assert.deepStrictEqual(claimsOf(region), ["vni|4711 red"])
  })

  it("finds out by a failed commit that what it knew of claims was stale", () => {
    const region = new Region()
    region.apply(asked("blue", 4711))
    region.settle()
    region.apply(asked("red", 4711))
    region.step(key("Network", "red"), true)
    assert.strictEqual(conditionOf(region, "red")?.reason, "VniTaken")
  })

  it("stays as long as interfaces reference it, and says which", () => {
    const region = new Region()
    region.apply(networkDocument("blue"))
    for (let i = 0; i < 10; i++) region.apply(nicDocument(`nic-${i}`, "blue", [`10.0.0.${i + 1}`]))
    region.settle()
    region.delete(key("Network", "blue"))
    region.settle()
    const held = conditionOf(region, "blue", "Deleting")
    assert.deepStrictEqual([held?.status, held?.reason], ["True", "InUse"])
    assert.include(held?.message, "default/nic-0, default/nic-1")
    assert.include(held?.message, "and 2 more")
    for (let i = 0; i < 10; i++) region.delete(key("NetworkInterface", `nic-${i}`))
    region.settle()
    assert.strictEqual(region.records.size, 0)
    assert.strictEqual(region.claims.size, 0)
  })

  it("goes at once where it was never planned", () => {
    const region = new Region()
    region.apply(networkDocument("blue"))
    region.delete(key("Network", "blue"))
    region.step(key("Network", "blue"))
    assert.strictEqual(region.records.size, 0)
  })

  it("is not held by networks that peer with it, and says that peerings are not served", () => {
    const region = new Region()
    region.apply(networkDocument("blue"))
    region.apply(networkDocument("red", { peerings: [{ name: "p", networkRef: { name: "blue" } }] }))
    region.settle()
    assert.strictEqual(conditionOf(region, "red", "PeeringsReady")?.reason, "NotServed")
    region.delete(key("Network", "blue"))
    region.settle()
    assert.isUndefined(region.network("blue"))
  })

  it("waits for a pool that has not answered", () => {
    const region = new Region()
    region.apply(networkDocument("blue"))
    const network = region.network("blue") ?? assert.fail()
    const observed = { nowMicros: 0, referrers: [], proposal: undefined, vniOwner: undefined }
    const plan = planNetwork(network, observed)
    assert.deepStrictEqual(plan.claims, [])
    assert.strictEqual(plan.waiting[0]?.reason, "VniPending")
  })
})
