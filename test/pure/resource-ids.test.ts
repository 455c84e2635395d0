import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import { Ids } from "#protocol/Ids.ts"

const hundred = Effect.gen(function* () {
  const ids = yield* Ids
  return yield* Effect.replicateEffect(ids.uid, 100)
}).pipe(Effect.provide(Ids.layer))

describe("Ids", () => {
  it.effect("makes version 4 uids that differ", () =>
    Effect.gen(function* () {
      const uids = yield* hundred
      for (const uid of uids) {
        assert.match(uid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      }
      assert.strictEqual(new Set(uids).size, 100)
    }),
  )

  it.effect("makes the same uids from the same seed, others from another", () =>
    Effect.gen(function* () {
      const once = yield* Random.withSeed(hundred, "a")
      assert.deepStrictEqual(yield* Random.withSeed(hundred, "a"), once)
      assert.notDeepEqual(yield* Random.withSeed(hundred, "b"), once)
    }),
  )
})
