import { assert, describe, it } from "@effect/vitest"
import type { ChangeBatch } from "#protocol/store/ResourceStore.ts"
import { pageChanges, Tail } from "#runtime/store/ChangeFeed.ts"
import type { Row } from "#runtime/store/CommitPlan.ts"
import { RecordCache } from "#runtime/store/RecordCache.ts"
import { nic } from "./store-contract.ts"

const row = (name: string, length = 0): Row => ({
  id: name,
  key: nic(name),
  uid: "u",
  revision: 1,
  labels: "",
  references: "",
  value: "x".repeat(length),
})

describe("the cache of records", () => {
  it("keeps what is used, drops what is not, by number", () => {
    const cache = new RecordCache({ records: 8, characters: 1_000 })
    cache.set("used", row("used"))
    for (let index = 0; index < 100; index++) {
      cache.set(`n${index}`, row(`n${index}`))
      assert.isDefined(cache.get("used"))
    }
    const kept = Array.from({ length: 100 }, (_, index) => index).filter((index) => cache.has(`n${index}`))
    assert.include(kept, 99)
    assert.isAtMost(kept.length, 8)
  })

  it("drops by size, also what is too large by itself", () => {
    const cache = new RecordCache({ records: 100, characters: 100 })
    for (let index = 0; index < 10; index++) cache.set(`n${index}`, row(`n${index}`, 20))
    const kept = Array.from({ length: 10 }, (_, index) => index).filter((index) => cache.has(`n${index}`))
    assert.include(kept, 9)
    assert.isAtMost(kept.length, 6)
    for (const name of ["a", "b", "c"]) cache.set(name, row(name, 1_000))
    assert.isFalse(cache.has("a"))
    assert.isFalse(cache.has("b"))
  })

  it("knows what was removed", () => {
    const cache = new RecordCache({ records: 100, characters: 100 })
    for (let round = 0; round < 100; round++) {
      cache.apply([{ _tag: "Put", row: row("a", round % 70), before: undefined }])
      assert.isDefined(cache.get("a"))
      cache.apply([{ _tag: "Remove", row: row("a", 90), before: row("a", 90) }])
      assert.isTrue(cache.has("a"))
      assert.isUndefined(cache.get("a"))
    }
  })

  it("never answers with what was replaced", () => {
    const cache = new RecordCache({ records: 6, characters: 1_000 })
    const latest = new Map<string, Row>()
    for (let step = 0; step < 1_000; step++) {
      const name = `n${(step * 7) % 5}`
      if (step % 3 === 0) {
        const next = { ...row(name), revision: step }
        latest.set(name, next)
        cache.set(name, next)
      } else if (cache.has(name)) {
        assert.strictEqual(cache.get(name), latest.get(name))
      }
    }
  })
})

describe("the tail of the feed", () => {
  const batch = (revision: number, changes = 1, bytes = 1) => ({
    batch: { revision, changes: Array(changes).fill(undefined) } as unknown as ChangeBatch,
    bytes,
  })
  const revisions = (batches: ReadonlyArray<ChangeBatch> | undefined) =>
    batches?.map(({ revision }) => revision)

  it("answers from what it holds and leaves the rest to the table", () => {
    const tail = new Tail(10, { batches: 3, bytes: 100 })
    for (let revision = 11; revision <= 16; revision++) tail.append(revision - 1, [batch(revision)], revision)
    assert.deepStrictEqual(revisions(tail.after(13)), [14, 15, 16])
    assert.deepStrictEqual(revisions(tail.after(15)), [16])
    assert.deepStrictEqual(revisions(tail.after(16)), [])
    assert.isUndefined(tail.after(12))
    assert.isUndefined(tail.after(17))
  })

  it("is bounded in bytes", () => {
    const tail = new Tail(0, { batches: 100, bytes: 100 })
    for (let revision = 1; revision <= 10; revision++)
      tail.append(revision - 1, [batch(revision, 1, 30)], revision)
    assert.isUndefined(tail.after(6))
    assert.deepStrictEqual(revisions(tail.after(7)), [8, 9, 10])
  })

  it("has no gaps: where another writer came between it starts anew", () => {
    const tail = new Tail(0)
    tail.append(0, [batch(1)], 1)
    tail.append(3, [batch(4)], 4)
    assert.isUndefined(tail.after(0))
    assert.isUndefined(tail.after(2))
    assert.deepStrictEqual(revisions(tail.after(3)), [4])
  })

  it("passes over revisions without changes", () => {
    const tail = new Tail(0)
    tail.append(0, [batch(1), batch(3)], 4)
    assert.deepStrictEqual(revisions(tail.after(1)), [3])
    assert.deepStrictEqual(revisions(tail.after(3)), [])
    assert.deepStrictEqual(revisions(tail.after(4)), [])
  })

  it("gives pages, each of whole revisions", () => {
    const tail = new Tail(0)
    tail.append(
      0,
      Array.from({ length: 10 }, (_, index) => batch(index + 1, 100)),
      10,
    )
    const page = tail.after(0)!
    assert.strictEqual(page.length, Math.ceil(pageChanges / 100))
    assert.deepStrictEqual(revisions(tail.after(page.at(-1)!.revision))![0], page.length + 1)
  })
})
