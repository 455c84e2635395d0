/**
 * VniPool: which VNI comes next. The lowest free one, of 200 to 16777215.
 *
 * An index in memory over the store's claims, one per region, owned by the one actor that proposes: it is filled
 * from `claims("vni")`, follows the change of claims, and may be wrong. The store decides: a commit that claims a
 * value in use fails, the executor marks it here and asks again. One bit a VNI, 2 MiB in all; a search goes on where
 * the lowest free one was.
 */
import { maxVni, minVni } from "#protocol/resource/Values.ts"

/** Both ends belong to it. */
export interface VniRange {
  readonly first: number
  readonly last: number
}

export const fullRange: VniRange = { first: minVni, last: maxVni }

/** Mutable, with one owner. */
export interface VniPool {
  readonly range: VniRange
  /** A bit for each VNI from `first`, in words of 32. */
  readonly words: Uint32Array
  /** All words before it are full. */
  lowest: number
  used: number
}

const sizeOf = ({ first, last }: VniRange): number => Math.max(0, last - first + 1)

/** An empty pool, or one with these VNIs in use. Those outside of the range don't count. */
export const make = (range: VniRange = fullRange, claimed: Iterable<number> = []): VniPool => {
  const words = new Uint32Array(Math.ceil(sizeOf(range) / 32))
  const pool: VniPool = { range, words, lowest: 0, used: 0 }
  for (const vni of claimed) claim(pool, vni)
  return pool
}

const offsetOf = ({ range }: VniPool, vni: number): number | undefined =>
  Number.isInteger(vni) && vni >= range.first && vni <= range.last ? vni - range.first : undefined

export const isClaimed = (pool: VniPool, vni: number): boolean => {
  const offset = offsetOf(pool, vni)
  return offset !== undefined && ((pool.words[offset >>> 5] ?? 0) & (1 << (offset & 31))) !== 0
}

/** False: it was in use, or is none of the range. */
export const claim = (pool: VniPool, vni: number): boolean => {
  const offset = offsetOf(pool, vni)
  if (offset === undefined || isClaimed(pool, vni)) return false
  const word = offset >>> 5
  pool.words[word] = (pool.words[word] ?? 0) | (1 << (offset & 31))
  pool.used++
  return true
}

/** False: it was not in use. */
export const release = (pool: VniPool, vni: number): boolean => {
  const offset = offsetOf(pool, vni)
  if (offset === undefined || !isClaimed(pool, vni)) return false
  const word = offset >>> 5
  pool.words[word] = (pool.words[word] ?? 0) & ~(1 << (offset & 31))
  pool.used--
  pool.lowest = Math.min(pool.lowest, word)
  return true
}

/** Lowest free VNI, without claiming it; undefined where all are in use. */
export const nextFree = (pool: VniPool): number | undefined => {
  const { words, range } = pool
  while (pool.lowest < words.length && words[pool.lowest] === 0xffff_ffff) pool.lowest++
  const word = words[pool.lowest]
  if (word === undefined) return undefined
  // The lowest zero bit of the word.
  const bit = 31 - Math.clz32(~word & (word + 1))
  const vni = range.first + pool.lowest * 32 + bit
  return vni <= range.last ? vni : undefined
}
