/**
 * A bell wakes one listener. It carries no data and remembers one ring: whoever hears it looks at the truth.
 */
import { Effect, Latch } from "effect"

export interface Bell {
  readonly ring: () => void
  /** Until the next ring, or at once after one that nobody heard; at most so many milliseconds. */
  readonly heard: (withinMillis: number) => Effect.Effect<void>
}

export const make = (): Bell => {
  const latch = Latch.makeUnsafe(false)
  const rung = Effect.andThen(
    latch.await,
    Effect.sync(() => latch.closeUnsafe()),
  )
  return {
    ring: () => void latch.openUnsafe(),
    heard: (withinMillis) =>
      withinMillis === Number.POSITIVE_INFINITY
        ? Effect.asVoid(rung)
        : // Whole milliseconds: the rest of a fraction may be too small to ever pass.
          Effect.asVoid(Effect.timeoutOption(rung, Math.max(0, Math.ceil(withinMillis)))),
  }
}
