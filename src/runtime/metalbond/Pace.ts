/**
 * How fast frames may go to a v1 peer: `paceFrames` every `paceMillis`, twice that at once after a pause. Existing
 * peers misread a frame that two of their reads divide, and reset when their inbound queue is full; at this rate
 * they kept up in measurements (about 16,000 frames a second). One per session, changed in place.
 */
export const paceFrames = 100
export const paceMillis = 6
const maxBurst = 2 * paceFrames

export interface Pace {
  /** Frames that may go, as of `atMillis`. */
  credit: number
  atMillis: number
}

export const make = (now: number): Pace => ({ credit: maxBurst, atMillis: now })

/** How many frames may go now. */
export const room = (pace: Pace, now: number): number => {
  const earned = ((now - pace.atMillis) * paceFrames) / paceMillis
  pace.credit = Math.min(maxBurst, pace.credit + Math.max(0, earned))
  pace.atMillis = now
  // Single frames are not worth a wake-up each: wait for a quarter of a batch.
  return pace.credit < paceFrames / 4 ? 0 : Math.floor(pace.credit)
}

export const spend = (pace: Pace, frames: number): void => {
  pace.credit -= frames
}
