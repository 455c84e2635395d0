// Pacing towards peers that reset themselves on bursts.
import { assert, describe, it } from "@effect/vitest"
import * as Pace from "#runtime/metalbond/Pace.ts"

describe("pacing", () => {
  const sendAll = (until: number, step: number): number => {
    const pace = Pace.make(0)
    let sent = 0
    for (let now = 0; now <= until; now += step) {
      const room = Pace.room(pace, now)
      Pace.spend(pace, room)
      sent += room
    }
    return sent
  }
  it("sends no more than the rate and one burst, however often it is asked", () => {
    for (const step of [1, 3, 6, 12]) {
      const sent = sendAll(1_200, step)
      assert.isAtMost(sent, 20_000 + 2 * Pace.paceFrames)
      assert.isAtLeast(sent, 19_000)
    }
  })
  it("never lends more than two batches after a pause", () => {
    const pace = Pace.make(0)
    Pace.spend(pace, Pace.room(pace, 0))
    assert.strictEqual(Pace.room(pace, 1), 0)
    assert.strictEqual(Pace.room(pace, 60_000), 2 * Pace.paceFrames)
  })
})
