/**
 * Conditions of a resource: set one, read one, and the time format of metadata.
 *
 * `lastTransitionTime` moves only when `status` does, so that planning the same state again changes nothing.
 */
import { DateTime } from "effect"
import type { Condition } from "./Resource.ts"

/** RFC 3339 with seconds, UTC. */
export const formatTime = (micros: number): string =>
  `${DateTime.formatIso(DateTime.makeUnsafe(Math.floor(micros / 1000))).slice(0, 19)}Z`

export interface ConditionState {
  readonly type: string
  readonly status: Condition["status"]
  /** CamelCase, stable. */
  readonly reason: string
  /** Names the field, the value and what would help. */
  readonly message: string
}

export const findCondition = (
  conditions: ReadonlyArray<Condition> | undefined,
  type: string,
): Condition | undefined => conditions?.find((condition) => condition.type === type)

/** The given conditions, in their order, with the transition times of those that did not change their status. */
export const nextConditions = (
  present: ReadonlyArray<Condition> | undefined,
  states: ReadonlyArray<ConditionState>,
  observedGeneration: number,
  nowMicros: number,
): ReadonlyArray<Condition> =>
  states.map((state) => {
    const before = findCondition(present, state.type)
    const lastTransitionTime =
      before?.status === state.status ? before.lastTransitionTime : formatTime(nowMicros)
    return { ...state, observedGeneration, lastTransitionTime }
  })
