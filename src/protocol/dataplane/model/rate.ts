/**
 * Token buckets, in integers: what a bucket holds is kept in thousandths, so that a millisecond adds `perSecond` of them
 * and nothing is ever rounded. A bucket is full at first. Time may not go back; where it does nothing is added.
 */

export interface Bucket {
  readonly perSecond: number
  /** Units that fit. */
  readonly burst: number
  /** Thousandths of units that were there at `at`. */
  readonly level: number
  /** Milliseconds. */
  readonly at: number
}

export const bucket = (perSecond: number, burst: number, now: number): Bucket => ({
  perSecond,
  burst,
  level: burst * 1_000,
  at: now,
})

/** The bucket with what has come since. */
const filled = (of: Bucket, now: number): Bucket => {
  const missing = of.burst * 1_000 - of.level
  const elapsed = Math.max(0, now - of.at)
  const added = elapsed * of.perSecond >= missing ? missing : elapsed * of.perSecond
  return { ...of, level: of.level + added, at: Math.max(of.at, now) }
}

/** Takes all of `units` or nothing. */
export const take = (
  of: Bucket,
  now: number,
  units: number,
): { readonly taken: boolean; readonly bucket: Bucket } => {
  const full = filled(of, now)
  return full.level >= units * 1_000
    ? { taken: true, bucket: { ...full, level: full.level - units * 1_000 } }
    : { taken: false, bucket: full }
}

/** Of interfaces in Mbit/s of IP bytes: 50 ms of it, but at least 128 KiB. */
export const meter = (megabits: number, now: number): Bucket => {
  const perSecond = megabits * 125_000
  return bucket(perSecond, Math.max(Math.floor(perSecond / 20), 131_072), now)
}
