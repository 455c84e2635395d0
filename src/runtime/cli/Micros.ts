/** Durations for people, from microseconds: 850 µs, 12.4 ms, 1.25 s. */
export const formatMicros = (micros: number): string => {
  if (micros < 1000) return `${Math.round(micros)} µs`
  if (micros < 1_000_000) return `${(micros / 1000).toFixed(1)} ms`
  return `${(micros / 1_000_000).toFixed(2)} s`
}
