/**
 * Where uids come from: RFC 4122 version 4, drawn from effect's `Random`.
 *
 * A service, so that whoever makes a resource says so in its type, and a simulation with a seeded `Random` makes
 * the same uids in every run. `Random`'s default is `Math.random`, which may collide between processes that
 * start together: the program's entry provides one seeded from the operating system.
 */
import { Context, Effect, Layer, Random } from "effect"

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, "0")

/** 32 bits: a double holds 53, the upper ones are as good as the generator is. */
const word = (random: Random.Random): number => Math.floor(random.nextDoubleUnsafe() * 0x1_0000_0000)

/** One uid, 36 characters in lower case. For tests and layers; others ask the service. */
export const uidFrom = (random: Random.Random): string => {
  const [a, b, c, d] = [word(random), word(random), word(random), word(random)]
  const version = 0x4000 | (b & 0x0fff)
  const variant = 0x8000 | ((c >>> 16) & 0x3fff)
  return `${hex(a, 8)}-${hex(b >>> 16, 4)}-${hex(version, 4)}-${hex(variant, 4)}-${hex(c & 0xffff, 4)}${hex(d, 8)}`
}

export class Ids extends Context.Service<Ids, { readonly uid: Effect.Effect<string> }>()("ferrite/Ids") {
  /** Draws from the `Random` of the fiber that asks. */
  static readonly layer = Layer.succeed(Ids, Ids.of({ uid: Effect.map(Random.Random, uidFrom) }))
}
