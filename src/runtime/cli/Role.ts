/**
 * What every role of the program gets from its process: logs, uids, randomness from the operating system, and an
 * end on SIGINT or SIGTERM that closes everything in order.
 */
import { Effect, Layer, Random } from "effect"
import { randomBytes } from "node:crypto"
import { Ids } from "#protocol/Ids.ts"
import * as Logging from "../telemetry/Logging.ts"
import { failed } from "./Failure.ts"

/** 53 bits each. Effect's default is a generator that two processes may start alike. */
const fromSystem: Random.Random = {
  nextDoubleUnsafe: () => Number(randomBytes(8).readBigUInt64BE() >> 11n) / 2 ** 53,
  nextIntUnsafe: () => Number(randomBytes(8).readBigInt64BE() >> 10n),
}

export const systemRandom = Layer.succeed(Random.Random, fromSystem)

const reasonOf = (error: { readonly message: string }): string =>
  error.message === "" && "reason" in error ? String(error.reason) : error.message

/**
 * Runs a role until it is told to end, which is status 0. A role that can't start ends with status 1 and the
 * reason.
 */
export const runRole = <A, E extends { readonly message: string }>(role: Layer.Layer<A, E, Ids>) =>
  Effect.suspend(() => {
    process.exitCode = 0
    const services = Layer.mergeAll(Ids.layer, systemRandom, Logging.layer)
    return Effect.mapError(Layer.launch(Layer.provide(role, services)), (error) => failed(reasonOf(error)))
  })
