/**
 * Bytes of packets: reading that never throws, writing in network order, and the Internet checksum.
 *
 * Every decoder of this folder stands on `u8`/`u16`/`u32`: past the end they read zero, so a decoder that forgot
 * a length check is wrong but total. Decoders check lengths anyway and answer `undefined` for what is not theirs.
 */

export type Bytes = Uint8Array

export const empty: Bytes = new Uint8Array(0)

export const u8 = (bytes: Bytes, at: number): number => bytes[at] ?? 0
export const u16 = (bytes: Bytes, at: number): number => (u8(bytes, at) << 8) | u8(bytes, at + 1)
export const u32 = (bytes: Bytes, at: number): number => u16(bytes, at) * 0x1_0000 + u16(bytes, at + 2)

export const put16 = (value: number): ReadonlyArray<number> => [(value >>> 8) & 0xff, value & 0xff]
export const put32 = (value: number): ReadonlyArray<number> => [
  (value >>> 24) & 0xff,
  (value >>> 16) & 0xff,
  (value >>> 8) & 0xff,
  value & 0xff,
]

export const concat = (...parts: ReadonlyArray<Bytes | ReadonlyArray<number>>): Bytes => {
  const out = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

export const equal = (a: Bytes, b: Bytes): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i])

/** Lexicographic; negative: `a` comes first. */
export const compare = (a: Bytes, b: Bytes): number => {
  for (let i = 0; i < a.length && i < b.length; i++) if (u8(a, i) !== u8(b, i)) return u8(a, i) - u8(b, i)
  return a.length - b.length
}

/** Lower-case, two digits a byte, no separator. */
export const hex = (bytes: Bytes): string => {
  let out = ""
  for (const byte of bytes) out += byte.toString(16).padStart(2, "0")
  return out
}

/** ASCII of what is printable, so that text from the wire is harmless in a log. */
export const ascii = (bytes: Bytes): string =>
  String.fromCharCode(...Array.from(bytes, (byte) => (byte >= 0x20 && byte < 0x7f ? byte : 0x3f)))

export const fromAscii = (text: string): Bytes => Uint8Array.from(text, (char) => char.charCodeAt(0) & 0x7f)

/** Ones' complement of the ones' complement sum (RFC 1071) over the parts as if joined; parts but the last are even. */
export const internetChecksum = (...parts: ReadonlyArray<Bytes>): number => {
  let sum = 0
  for (const part of parts) for (let i = 0; i < part.length; i += 2) sum += u16(part, i)
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x1_0000)
  return ~sum & 0xffff
}

/** FNV-1a, 64 bits. */
export const fnv1a64 = (bytes: Bytes): bigint => {
  let hash = 0xcbf29ce484222325n
  for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n)
  return hash
}
