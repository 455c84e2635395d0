/**
 * Maglev tables: which member a hash belongs to, so that a change of members moves few of the others' hashes.
 *
 * A table is an array of M member numbers. Members are given sorted by address; the same members give the same table
 * in every program. A round has W steps, W the largest weight, and after s steps of it a member has had
 * ceil(s * weight / W) turns, so that a round that the last slot cuts short is as fair as a whole one.
 */
import { bytesOf } from "./address.ts"
import type { Bytes } from "./bytes.ts"
import { murmur3 } from "./murmur.ts"

/** M of a hop set. */
export const hopSlots = 1_021

/** M of a load balancer with so many targets. */
export const balancerSlots = (members: number): number =>
  members <= 64 ? 1_021 : members <= 256 ? 4_093 : 16_381

export interface Member {
  /** Underlay address. */
  readonly address: string
  /** Its share. */
  readonly weight: number
}

interface Walk {
  readonly weight: number
  readonly skip: number
  at: number
}

const weightOf = (member: Member): number => Math.max(1, member.weight)

const turnsAfter = (steps: number, weight: number, largest: number): number =>
  Math.ceil((steps * weight) / largest)

const walkOf = (member: Member, slots: number): Walk => {
  const bytes: Bytes = bytesOf(member.address)
  return {
    weight: weightOf(member),
    at: murmur3(bytes, 0x5bd1e995) % slots,
    skip: (murmur3(bytes, 0x9747b28c) % (slots - 1)) + 1,
  }
}

/** Empty where there are no members. */
export const buildMaglev = (members: ReadonlyArray<Member>, slots: number): Uint16Array => {
  if (members.length === 0) return new Uint16Array(0)
  const table = new Uint16Array(slots)
  const taken = new Uint8Array(slots)
  const walks = members.map((member) => walkOf(member, slots))
  const largest = Math.max(...members.map(weightOf))
  let left = slots
  for (let step = 0; left > 0; step = (step + 1) % largest)
    for (const [index, walk] of walks.entries()) {
      if (left === 0 || turnsAfter(step, walk.weight, largest) === turnsAfter(step + 1, walk.weight, largest))
        continue
      while (taken[walk.at] === 1) walk.at = (walk.at + walk.skip) % slots
      taken[walk.at] = 1
      table[walk.at] = index
      left--
    }
  return table
}

/** By bytes, as networks order them. */
export const byAddress = (a: string, b: string): number => {
  const left = bytesOf(a)
  const right = bytesOf(b)
  for (let i = 0; i < 16; i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}
