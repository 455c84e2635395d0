/**
 * Addresses as the model holds them: canonical text, which compares, prints and keys a table as it is.
 *
 * Canonical is RFC 5952 as inet_ntop writes it, so that digests agree with the native engine: lower case, the
 * longest run of two or more zero groups shortened (the first of equals), and dotted quads behind ::ffff:0:0/96.
 * Parsing takes what inet_pton takes and nothing else: no zones, no leading zeros in IPv4, no prefixes.
 */
import { type Bytes, empty, u16, u8 } from "./bytes.ts"

export type Family = 4 | 6

const decimal = /^(0|[1-9][0-9]{0,2})$/
const group = /^[0-9a-fA-F]{1,4}$/

export const parseIpv4 = (text: string): Bytes | undefined => {
  const parts = text.split(".")
  if (parts.length !== 4 || !parts.every((part) => decimal.test(part) && Number(part) <= 255))
    return undefined
  return Uint8Array.from(parts, Number)
}

/** Groups of one side of "::"; a dotted quad may be the last. */
const groups = (text: string, quadAllowed: boolean): ReadonlyArray<number> | undefined => {
  if (text === "") return []
  const out: Array<number> = []
  const parts = text.split(":")
  for (const [index, part] of parts.entries()) {
    if (part.includes(".")) {
      const quad = quadAllowed && index === parts.length - 1 ? parseIpv4(part) : undefined
      if (quad === undefined) return undefined
      out.push(u16(quad, 0), u16(quad, 2))
    } else if (group.test(part)) out.push(Number.parseInt(part, 16))
    else return undefined
  }
  return out
}

export const parseIpv6 = (text: string): Bytes | undefined => {
  if (text.length > 45) return undefined
  const halves = text.split("::")
  if (halves.length > 2) return undefined
  const [left = "", right] = halves
  const head = groups(left, right === undefined)
  const tail = right === undefined ? [] : groups(right, true)
  if (head === undefined || tail === undefined) return undefined
  const missing = 8 - head.length - tail.length
  if (right === undefined ? missing !== 0 : missing < 1) return undefined
  return Uint8Array.from(
    [...head, ...Array.from<number>({ length: missing }).fill(0), ...tail].flatMap((value) => [
      value >>> 8,
      value & 0xff,
    ]),
  )
}

export const formatIpv4 = (bytes: Bytes): string =>
  `${u8(bytes, 0)}.${u8(bytes, 1)}.${u8(bytes, 2)}.${u8(bytes, 3)}`

export const formatIpv6 = (bytes: Bytes): string => {
  const words = Array.from({ length: 8 }, (_, i) => u16(bytes, i * 2))
  let best = { start: -1, length: 1 }
  for (let start = 0; start < 8; start++) {
    let end = start
    while (end < 8 && words[end] === 0) end++
    if (end - start > best.length) best = { start, length: end - start }
  }
  if (best.start === 0 && best.length === 5 && words[5] === 0xffff)
    return `::ffff:${formatIpv4(bytes.subarray(12))}`
  const text = (from: number, to: number) =>
    words
      .slice(from, to)
      .map((word) => word.toString(16))
      .join(":")
  return best.start < 0 ? text(0, 8) : `${text(0, best.start)}::${text(best.start + best.length, 8)}`
}

/** Text of 4 or 16 bytes at an offset. */
export const ipv4At = (bytes: Bytes, at: number): string => formatIpv4(bytes.subarray(at, at + 4))
export const ipv6At = (bytes: Bytes, at: number): string => formatIpv6(bytes.subarray(at, at + 16))

export const parseAddress = (text: string): { family: Family; bytes: Bytes } | undefined => {
  const four = parseIpv4(text)
  if (four !== undefined) return { family: 4, bytes: four }
  const six = parseIpv6(text)
  return six === undefined ? undefined : { family: 6, bytes: six }
}

/** Bytes of an address that is canonical already; empty when it is not an address. */
export const bytesOf = (address: string): Bytes => parseAddress(address)?.bytes ?? empty

export const format = (bytes: Bytes): string => (bytes.length === 4 ? formatIpv4(bytes) : formatIpv6(bytes))

export const isZero = (bytes: Bytes): boolean => bytes.every((byte) => byte === 0)

/** A copy with the bits after `length` cleared. */
export const mask = (bytes: Bytes, length: number): Bytes =>
  bytes.map((byte, i) => {
    const kept = Math.min(8, Math.max(0, length - i * 8))
    return byte & (0xff << (8 - kept)) & 0xff
  })

export interface Prefix {
  readonly family: Family
  readonly length: number
  /** Masked, canonical. */
  readonly address: string
}

export const prefixText = (prefix: Prefix): string => `${prefix.address}/${prefix.length}`

/**
 * CIDR text; host bits are masked. The length is 0 to 255 here: what exceeds the family is the caller's case.
 * Otherwise the part that is wrong, the address first.
 */
export const parsePrefix = (text: string): Prefix | "address" | "length" => {
  const slash = text.indexOf("/")
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash))
  if (address === undefined) return "address"
  const length = slash < 0 ? "" : text.slice(slash + 1)
  if (!/^[0-9]+$/.test(length) || Number(length) > 255) return "length"
  return {
    family: address.family,
    length: Number(length),
    address: format(mask(address.bytes, Number(length))),
  }
}

export const parseMac = (text: string): Bytes | undefined =>
  /^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$/.test(text)
    ? Uint8Array.from(text.split(":"), (part) => Number.parseInt(part, 16))
    : undefined

export const formatMac = (bytes: Bytes): string =>
  Array.from({ length: 6 }, (_, i) => u8(bytes, i).toString(16).padStart(2, "0")).join(":")

export const macAt = (bytes: Bytes, at: number): string => formatMac(bytes.subarray(at, at + 6))
export const macBytes = (mac: string): Bytes => parseMac(mac) ?? new Uint8Array(6)

export const broadcastMac = "ff:ff:ff:ff:ff:ff"

/** Ethernet group that an IPv6 group is mapped to (RFC 2464 §7). */
export const multicastMac = (address: string): string =>
  `33:33:${formatMac(Uint8Array.from([0, 0, ...bytesOf(address).subarray(12)])).slice(6)}`

/** fe80::/64 address with the EUI-64 of a MAC (RFC 4291 appendix A). */
export const linkLocal = (mac: string): string => {
  const m = macBytes(mac)
  return formatIpv6(
    Uint8Array.from([
      0xfe,
      0x80,
      0,
      0,
      0,
      0,
      0,
      0,
      u8(m, 0) ^ 2,
      u8(m, 1),
      u8(m, 2),
      0xff,
      0xfe,
      u8(m, 3),
      u8(m, 4),
      u8(m, 5),
    ]),
  )
}

/** ff02::1:ffXX:XXXX, where neighbours ask for an address (RFC 4291 §2.7.1). */
export const solicitedNode = (address: string): string =>
  formatIpv6(Uint8Array.from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, ...bytesOf(address).subarray(13)]))

export const isLinkLocal = (address: string): boolean => {
  const bytes = bytesOf(address)
  return bytes.length === 16 && u8(bytes, 0) === 0xfe && (u8(bytes, 1) & 0xc0) === 0x80
}

/** Group or broadcast: never routed by an overlay. */
export const isGroup = (address: string): boolean => {
  const bytes = bytesOf(address)
  return bytes.length === 16 ? u8(bytes, 0) === 0xff : u8(bytes, 0) >= 224
}
