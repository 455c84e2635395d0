/**
 * MurmurHash3 x86 32-bit: the hash of every choice that must be the same everywhere, which target, which next hop, where
 * a search for a port begins. Words are little-endian, arithmetic is modulo 2^32, the answer is not negative.
 */
import { bytesOf } from "./address.ts"
import { type Bytes, concat, put16, put32, u8 } from "./bytes.ts"
import type { Tuple } from "./tuple.ts"

const rotate = (value: number, by: number): number => (value << by) | (value >>> (32 - by))

const scramble = (word: number): number => Math.imul(rotate(Math.imul(word, 0xcc9e2d51), 15), 0x1b873593)

const mix = (hash: number, shift: number, factor: number): number =>
  Math.imul(hash ^ (hash >>> shift), factor)

export const murmur3 = (bytes: Bytes, seed: number): number => {
  let hash = seed | 0
  const whole = bytes.length & ~3
  for (let at = 0; at < whole; at += 4) {
    const word =
      u8(bytes, at) | (u8(bytes, at + 1) << 8) | (u8(bytes, at + 2) << 16) | (u8(bytes, at + 3) << 24)
    hash = (Math.imul(rotate(hash ^ scramble(word), 13), 5) + 0xe6546b64) | 0
  }
  if (bytes.length > whole)
    hash ^= scramble(u8(bytes, whole) | (u8(bytes, whole + 1) << 8) | (u8(bytes, whole + 2) << 16))
  hash = mix(mix(hash ^ bytes.length, 16, 0x85ebca6b), 13, 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** Over protocol, source, destination, source port, destination port: which target of a load balancer, which hop. */
export const choiceHash = (tuple: Tuple, seed: number): number =>
  murmur3(
    concat(
      [tuple.protocol],
      bytesOf(tuple.source),
      bytesOf(tuple.destination),
      put16(tuple.sourcePort),
      put16(tuple.destinationPort),
    ),
    seed,
  )

/** Over VNI, source address, source port, protocol: where the search for a NAT port begins. */
export const natHash = (vni: number, tuple: Tuple, seed: number): number =>
  murmur3(concat(put32(vni), bytesOf(tuple.source), put16(tuple.sourcePort), [tuple.protocol]), seed)
