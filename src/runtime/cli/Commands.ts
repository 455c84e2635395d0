/**
 * Commands to the region: each with an id, so that it can be repeated over a break without being done twice.
 */
import { Effect, Schedule } from "effect"
import { randomUUID } from "node:crypto"
import type { GatewayProblem } from "../gateway/GatewayStatus.ts"

export const newCommandId = (): string => randomUUID()

/** Repeats a command while the region is busy or just out of reach: 4 times within about 1.5 seconds. */
export const patiently = <A, R>(command: Effect.Effect<A, GatewayProblem, R>) =>
  command.pipe(
    Effect.retry({
      schedule: Schedule.exponential("100 millis"),
      times: 4,
      while: ({ reason, status }) => status === "UNAVAILABLE" || reason === "BUSY",
    }),
  )
