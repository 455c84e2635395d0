/**
 * Single fields off the wire, checked; what breaks its rule throws one line that says which.
 *
 * For the decoders of this folder only: a `WireViolation` never leaves `wire.ts`'s `checked`.
 */
import { formatIpv4, formatIpv6, parseIpv4, parseIpv6, parsePrefix, prefixText } from "./model/address.ts"

/** A broken rule, in one line. */
export class WireViolation extends Error {}

export const fail = (rule: string): never => {
  throw new WireViolation(rule)
}

export const quote = (text: string): string =>
  JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text)

export const canonical6 = (field: string, text: string): string => {
  const bytes = parseIpv6(text)
  return bytes !== undefined && formatIpv6(bytes) === text
    ? text
    : fail(`${field}: ${quote(text)} is not a canonical IPv6 address`)
}

export const canonical4 = (field: string, text: string): string => {
  const bytes = parseIpv4(text)
  return bytes !== undefined && formatIpv4(bytes) === text
    ? text
    : fail(`${field}: ${quote(text)} is not an IPv4 address`)
}

export const canonicalAddress = (field: string, text: string): string =>
  text.includes(":") ? canonical6(field, text) : canonical4(field, text)

export const canonicalPrefix = (field: string, text: string): string => {
  const prefix = parsePrefix(text)
  if (typeof prefix === "string" || prefixText(prefix) !== text)
    return fail(`${field}: ${quote(text)} is not a canonical, masked prefix`)
  if (prefix.length > (prefix.family === 4 ? 32 : 128))
    return fail(`${field}: ${quote(text)} is longer than its family`)
  return text
}

export const within = (field: string, text: string, least: number, most: number): string =>
  text.length >= least && text.length <= most
    ? text
    : fail(`${field}: ${text.length} characters, not ${least} to ${most}`)

export const between = (field: string, value: number, least: number, most: number): number =>
  value >= least && value <= most ? value : fail(`${field}: ${value} is not ${least} to ${most}`)

export const uint32 = (field: string, value: number): number =>
  Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff
    ? value
    : fail(`${field}: ${value} is not an unsigned 32-bit number`)
