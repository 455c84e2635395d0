import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as VniPool from "#actors/region/VniPool.ts"

describe("VniPool", () => {
  it("begins at 200 and takes the lowest that is free", () => {
    const pool = VniPool.make()
    const taken = Array.from({ length: 100 }, () => {
      const vni = VniPool.nextFree(pool) ?? assert.fail()
      VniPool.claim(pool, vni)
      return vni
    })
    assert.deepStrictEqual(
      taken,
      Array.from({ length: 100 }, (_, i) => 200 + i),
    )
    VniPool.release(pool, 207)
    VniPool.release(pool, 250)
    assert.strictEqual(VniPool.nextFree(pool), 207)
  })

  it("knows when it is full, and goes on when something is released", () => {
    const pool = VniPool.make({ first: 200, last: 240 })
    for (let i = 0; i < 41; i++) VniPool.claim(pool, VniPool.nextFree(pool) ?? assert.fail())
    assert.isUndefined(VniPool.nextFree(pool))
    VniPool.release(pool, 240)
    assert.strictEqual(VniPool.nextFree(pool), 240)
  })

  it("refuses what is none of its range, or in use", () => {
    const pool = VniPool.make()
    for (const vni of [199, 0, -1, 16_777_216, 200.5, Number.NaN]) assert.isFalse(VniPool.claim(pool, vni))
    assert.isTrue(VniPool.claim(pool, 16_777_215))
    assert.isFalse(VniPool.claim(pool, 16_777_215))
    assert.isFalse(VniPool.release(pool, 300))
    assert.strictEqual(pool.used, 1)
  })

  it("does as a plain set would, and never grants twice", () => {
    const operation = fc.oneof(
      fc.constant({ take: true, vni: 0 }),
      fc.record({ take: fc.boolean(), vni: fc.integer({ min: 190, max: 310 }) }),
    )
    fc.assert(
      fc.property(
        fc.array(operation, { maxLength: 300 }),
        fc.integer({ min: 200, max: 300 }),
        (operations, last) => {
          const pool = VniPool.make({ first: 200, last })
          const used = new Set<number>()
          const inRange = (vni: number) => vni >= 200 && vni <= last
          for (const { take, vni: asked } of operations) {
            const vni = asked === 0 ? (VniPool.nextFree(pool) ?? 0) : asked
            if (take) {
              assert.strictEqual(VniPool.claim(pool, vni), inRange(vni) && !used.has(vni))
              if (inRange(vni)) used.add(vni)
            } else assert.strictEqual(VniPool.release(pool, vni), used.delete(vni))
            let lowest: number | undefined = 200
            while (used.has(lowest)) lowest++
            assert.strictEqual(VniPool.nextFree(pool), inRange(lowest) ? lowest : undefined)
            assert.strictEqual(pool.used, used.size)
          }
        },
      ),
    )
  })

  it("hands out a million without looking through a million each time", () => {
    const pool = VniPool.make()
    for (let i = 0; i < 1_000_000; i++) VniPool.claim(pool, VniPool.nextFree(pool) ?? assert.fail())
    assert.strictEqual(VniPool.nextFree(pool), 1_000_200)
    assert.strictEqual(pool.used, 1_000_000)
  })
})
