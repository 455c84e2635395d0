/**
 * The ports of fragmented packets: the first fragment leaves them, later ones take them.
 *
 * A packet is known by where it came from, addresses, protocol and identification. 4,096 are remembered for 30 s each;
 * when all are in use the oldest goes, when an owner (an interface) has 256 the oldest of its own goes.
 */
import { HashMap } from "effect"
import type { Tuple } from "./tuple.ts"

export const fragmentLimits = { all: 4_096, owned: 256, millis: 30_000 } as const

interface Remembered {
  readonly owner: string
  readonly sourcePort: number
  readonly destinationPort: number
  readonly at: number
  /** Of the order in which they came. */
  readonly turn: number
}

export interface Fragments {
  readonly known: HashMap.HashMap<string, Remembered>
  readonly turn: number
}

export const noFragments: Fragments = { known: HashMap.empty(), turn: 0 }

const keyOf = (context: string, tuple: Tuple): string =>
  `${context} ${tuple.protocol} ${tuple.source} ${tuple.destination} ${tuple.fragmentId}`

const oldest = (known: Fragments["known"], owner: string | undefined): string | undefined => {
  let found: { readonly key: string; readonly turn: number } | undefined
  for (const [key, entry] of known)
    if ((owner === undefined || entry.owner === owner) && (found === undefined || entry.turn < found.turn))
      found = { key, turn: entry.turn }
  return found?.key
}

const ownedBy = (known: Fragments["known"], owner: string): number => {
  let count = 0
  for (const [, entry] of known) if (entry.owner === owner) count++
  return count
}

/** Of a first fragment. One that is known already is replaced and is the newest again. */
export const remember = (
  fragments: Fragments,
  context: string,
  tuple: Tuple,
  owner: string,
  now: number,
): Fragments => {
  const key = keyOf(context, tuple)
  let known = HashMap.remove(fragments.known, key)
  const full = HashMap.size(known) >= fragmentLimits.owned && ownedBy(known, owner) >= fragmentLimits.owned
  const victim = full
    ? oldest(known, owner)
    : HashMap.size(known) >= fragmentLimits.all
      ? oldest(known, undefined)
      : undefined
  if (victim !== undefined) known = HashMap.remove(known, victim)
  const { sourcePort, destinationPort } = tuple
  const turn = fragments.turn + 1
  return { known: HashMap.set(known, key, { owner, sourcePort, destinationPort, at: now, turn }), turn }
}

/** A later fragment with its ports; `undefined`: its first one is unknown or too long ago. */
export const recall = (
  fragments: Fragments,
  context: string,
  tuple: Tuple,
  now: number,
): Tuple | undefined => {
  const found = HashMap.get(fragments.known, keyOf(context, tuple))
  if (found._tag === "None" || now - found.value.at > fragmentLimits.millis) return undefined
  const { sourcePort, destinationPort } = found.value
  return { ...tuple, sourcePort, destinationPort }
}

/** When an interface goes. */
export const forget = (fragments: Fragments, owner: string): Fragments => ({
  ...fragments,
  known: HashMap.filter(fragments.known, (entry) => entry.owner !== owner),
})
