/** Seeded choices: the same seed gives the same case, in any process. */

export interface Dice {
  /** 0 to limit - 1. */
  readonly below: (limit: number) => number
  /** Once in so many times. */
  readonly oneIn: (times: number) => boolean
  readonly pick: <A>(list: ReadonlyArray<A>) => A
  /** `undefined` from an empty list. */
  readonly maybe: <A>(list: ReadonlyArray<A>) => A | undefined
  /** By weight; a weight of zero is never taken. */
  readonly weighted: <A>(list: ReadonlyArray<readonly [number, A]>) => A
}

/** sfc32, seeded by one number. */
export const dice = (seed: number): Dice => {
  let [a, b, c, counter] = [seed | 0, 0x9e37_79b9, (seed * 0x85eb_ca6b) | 0, 1]
  const next = (): number => {
    const out = (a + b + counter++) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + out) | 0
    return out >>> 0
  }
  for (let round = 0; round < 12; round++) next()
  const below = (limit: number): number => Math.floor((next() / 0x1_0000_0000) * limit)
  const maybe = <A>(list: ReadonlyArray<A>): A | undefined => list[below(list.length)]
  const pick = <A>(list: ReadonlyArray<A>): A => {
    if (list.length === 0) throw new Error("nothing to pick from")
    return maybe(list) as A
  }
  return {
    below,
    oneIn: (times) => below(times) === 0,
    pick,
    maybe,
    weighted: (list) => {
      let left = below(list.reduce((sum, [weight]) => sum + weight, 0))
      for (const [weight, value] of list) {
        if (left < weight) return value
        left -= weight
      }
      throw new Error("nothing has a weight")
    },
  }
}
