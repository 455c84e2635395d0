/**
 * Durations for people, two units at most: 8s, 3m12s, 5h2m, 12d.
 */
const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

const pair = (large: number, largeUnit: string, small: number, smallUnit: string): string =>
  small === 0 ? `${large}${largeUnit}` : `${large}${largeUnit}${small}${smallUnit}`

export const formatAge = (millis: number): string => {
  const age = Math.max(0, millis)
  if (age < 2 * minute) return `${Math.floor(age / second)}s`
  if (age < 10 * minute) return pair(Math.floor(age / minute), "m", Math.floor((age % minute) / second), "s")
  if (age < 3 * hour) return `${Math.floor(age / minute)}m`
  if (age < 8 * hour) return pair(Math.floor(age / hour), "h", Math.floor((age % hour) / minute), "m")
  if (age < 2 * day) return `${Math.floor(age / hour)}h`
  if (age < 8 * day) return pair(Math.floor(age / day), "d", Math.floor((age % day) / hour), "h")
  return `${Math.floor(age / day)}d`
}

/** From microseconds: 850 µs, 12.4 ms, 1.25 s. */
export const formatMicros = (micros: number): string => {
  if (micros < 1000) return `${Math.round(micros)} µs`
  if (micros < 1_000_000) return `${(micros / 1000).toFixed(1)} ms`
  return `${(micros / 1_000_000).toFixed(2)} s`
}
