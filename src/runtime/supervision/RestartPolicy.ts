/**
 * When something that failed is tried again, and when it is given up: exponential backoff with jitter, and a
 * bound on failures within a window (the intensity). Pure; time and chance come in as arguments.
 */
import { Cause } from "effect"

export interface Backoff {
  readonly firstMillis: number
  readonly factor: number
  readonly capMillis: number
  /** Share of a delay that chance may take away, 0 to 1: those who failed together come back apart. */
  readonly jitter: number
}

export const defaultBackoff: Backoff = { firstMillis: 100, factor: 2, capMillis: 10_000, jitter: 0.5 }

/** The delay before attempt number `attempt` (from 1) is repeated. `chance` is in [0, 1). */
export const backoffMillis = (backoff: Backoff, attempt: number, chance: number): number => {
  // The exponent is bounded so that a long outage does not end in Infinity.
  const full = Math.min(backoff.capMillis, backoff.firstMillis * backoff.factor ** Math.min(attempt - 1, 64))
  return Math.round(full * (1 - backoff.jitter * chance))
}

/** More than `failures` within the window escalates. */
export interface Intensity {
  readonly failures: number
  readonly windowMillis: number
}

export const defaultIntensity: Intensity = { failures: 5, windowMillis: 60_000 }

/** The failures that still count, with one more at `nowMillis`. Never longer than `failures` + 1. */
export const countFailure = (
  intensity: Intensity,
  failedAtMillis: ReadonlyArray<number>,
  nowMillis: number,
): ReadonlyArray<number> =>
  [...failedAtMillis.filter((at) => nowMillis - at < intensity.windowMillis), nowMillis].slice(
    -(intensity.failures + 1),
  )

export const exceeds = (intensity: Intensity, failedAtMillis: ReadonlyArray<number>): boolean =>
  failedAtMillis.length > intensity.failures

/** A cause in one line, for a condition's message. At most 512 characters. */
export const describeCause = (cause: Cause.Cause<unknown>): string => {
  const first = cause.reasons.find(Cause.isFailReason) ?? cause.reasons.find(Cause.isDieReason)
  if (first === undefined) return "interrupted"
  const error: unknown = Cause.isFailReason(first) ? first.error : first.defect
  const tag = tagOf(error)
  const text = messageOf(error)
  const line = tag === undefined ? text : text === "" ? tag : `${tag}: ${text}`
  return line.length <= 512 ? line : `${line.slice(0, 511).toWellFormed()}…`
}

const tagOf = (error: unknown): string | undefined => {
  const tag = (error as { readonly _tag?: unknown } | null | undefined)?._tag
  return typeof tag === "string" ? tag : undefined
}

const messageOf = (error: unknown): string => {
  if (typeof error === "string") return error
  const { message, reason } = (error ?? {}) as { readonly message?: unknown; readonly reason?: unknown }
  if (typeof message === "string" && message !== "") return message
  if (typeof reason === "string") return reason
  return tagOf(error) === undefined ? String(error) : ""
}
