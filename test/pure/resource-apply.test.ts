import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { apply } from "#protocol/resource/Apply.ts"
import type { Manifest } from "#protocol/resource/Resource.ts"
import { decoded, network, networking, nic, now, stored } from "./resource-cases.ts"

const applyTo = (before: Manifest | undefined, document: unknown) => {
  const result = apply(before, decoded(document), now + 60_000_000, "22222222-2222-4222-8222-222222222222")
  if (Result.isFailure(result)) return assert.fail(result.failure.message)
  return result.success
}

describe("Applying a manifest", () => {
  it("makes a resource with its first generation", () => {
    const { manifest, outcome, changed } = applyTo(undefined, network({}, { labels: { a: "b" } }))
    assert.deepStrictEqual(manifest, {
      apiVersion: networking,
      kind: "Network",
      metadata: {
        name: "blue",
        namespace: "default",
        uid: "22222222-2222-4222-8222-222222222222",
        generation: 1,
        creationTimestamp: "2023-11-14T22:14:20Z",
        labels: { a: "b" },
      },
      spec: {},
      status: { state: "Pending" },
    })
    assert.deepStrictEqual([outcome, changed], ["Created", true])
  })

  it("changes nothing where nothing is different", () => {
    const before = stored(nic({}, { labels: { a: "b" } }))
    const again = applyTo(
      before,
      nic({ ipFamilies: undefined, ips: [{ value: "10.0.0.1" }] }, { labels: { a: "b" } }),
    )
    assert.deepStrictEqual([again.outcome, again.changed], ["Unchanged", false])
    assert.deepStrictEqual(again.manifest, before)
  })

  it("counts a generation for the spec, not for labels", () => {
    const before = stored(nic())
    const labelled = applyTo(before, nic({}, { labels: { a: "b" } }))
    assert.deepStrictEqual([labelled.outcome, labelled.manifest.metadata.generation], ["Configured", 1])
    const moved = applyTo(before, nic({ ips: [{ value: "10.0.0.2" }] }))
    assert.deepStrictEqual([moved.outcome, moved.manifest.metadata.generation], ["Configured", 2])
  })

  it("replaces labels and annotations by the manifest's", () => {
    const before = stored(nic({}, { labels: { a: "b" }, annotations: { c: "d" } }))
    const { manifest } = applyTo(before, nic({}, { labels: { e: "f" } }))
    assert.deepStrictEqual(manifest.metadata.labels, { e: "f" })
    assert.isUndefined(manifest.metadata.annotations)
  })

  it("keeps what the region has set", () => {
    const first = stored(nic())
    const before: Manifest = {
      ...first,
      metadata: {
        ...first.metadata,
        finalizers: ["ferrite.dev/host-interface"],
        deletionTimestamp: "2023-11-14T22:14:00Z",
      },
      spec: { ...(first.spec as object), providerID: "ironcore-net://default/nic-a/host-1/u" },
      status: { state: "Available" },
    }
    const { manifest, changed } = applyTo(before, nic())
    assert.isFalse(changed)
    assert.deepStrictEqual(manifest, before)
  })

  it("keeps incoming peerings that a manifest omits, takes those that it has", () => {
    const before = stored(network({ incomingPeerings: [{ name: "red" }] }))
    assert.deepStrictEqual(applyTo(before, network()).manifest.spec, { incomingPeerings: [{ name: "red" }] })
    assert.deepStrictEqual(applyTo(before, network({ incomingPeerings: [] })).manifest.spec, {
      incomingPeerings: [],
    })
  })

  it("takes back what a manifest no longer says", () => {
    const before = stored(nic({ machineRef: { name: "vm" } }))
    assert.notProperty(applyTo(before, nic()).manifest.spec, "machineRef")
  })

  it("refuses a manifest that means another resource of the name", () => {
    const result = apply(
      stored(nic()),
      decoded(nic({}, { uid: "33333333-3333-4333-8333-333333333333" })),
      now,
      "unused",
    )
    assert.isTrue(Result.isFailure(result) && result.failure.violations[0]?.field === "metadata.uid")
  })
})
