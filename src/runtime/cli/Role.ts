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

const systemRandom = Layer.succeed(Random.Random, fromSystem)

/** Runs a role until it is told to end. A role that can't start ends with status 1 and the reason. */
export const runRole = <A, E extends { readonly message: string }>(role: Layer.Layer<A, E, Ids>) =>
  Layer.launch(
    role.pipe(Layer.provide(Ids.layer), Layer.provide(systemRandom), Layer.provide(Logging.layer)),
  ).pipe(Effect.mapError((error) => failed(error.message)))
