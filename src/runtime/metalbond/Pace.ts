/**
 * How fast frames may go to a v1 peer: `paceFrames` in a window of `paceMillis`. Existing peers misread a frame
 * that two of their reads divide, and reset when their inbound queue is full; at this rate they kept up in
 * measurements (about 16,000 frames a second). One per session, changed in place.
 */
export const paceFrames = 100
export const paceMillis = 6

export interface Pace {
  windowStartMillis: number
  spent: number
}

export const make = (): Pace => ({ windowStartMillis: Number.NEGATIVE_INFINITY, spent: 0 })

/** How many frames may go now. */
export const room = (pace: Pace, now: number): number => {
  if (now - pace.windowStartMillis >= paceMillis) {
    pace.windowStartMillis = now
    pace.spent = 0
  }
  return Math.max(0, paceFrames - pace.spent)
}

export const spend = (pace: Pace, frames: number): void => {
  pace.spent += frames
}
