/**
 * Underlay addresses: how one is made, and whose it is. The host's prefix, a mark, a type, then generation and index;
 * the layout is in docs/packet-path.md.
 */
import { bytesOf, format } from "./address.ts"
import { concat, fnv1a64, fromAscii, put16 } from "./bytes.ts"
import type { ModelConfig, ModelState } from "./tables.ts"

/** Byte 9 of an underlay address. */
export const underlayTypes = {
  interface: 1,
  vip: 2,
  nat: 3,
  balancer: 4,
  balancerPrefix: 5,
  aliasPrefix: 6,
  edge: 7,
} as const

export type UnderlayType = keyof typeof underlayTypes

const upperHalf = (config: ModelConfig): Uint8Array =>
  bytesOf(config.underlayPrefix.split("/")[0] ?? "::").subarray(0, 8)

/**
 * Bytes 0-7 the host's prefix, then 0xd0, the type, 0 (ours), 16 bits of generation, 24 bits of index. The generation
 * starts at another value in every process, so a route that outlived a restart hits nobody.
 */
export const underlayAddressOf = (
  config: ModelConfig,
  index: number,
  generation: number,
  type: UnderlayType = "interface",
): string => {
  const start = Number(fnv1a64(fromAscii(config.uuid)) & 0xffffn)
  const value = (start + generation) & 0xffff
  return format(
    concat(upperHalf(config), [0xd0, underlayTypes[type], 0], put16(value), [
      index >>> 16,
      (index >>> 8) & 0xff,
      index & 0xff,
    ]),
  )
}

/** Of a virtual service: its source outside. */
export const serviceAddress = (config: ModelConfig, service: number): string =>
  format(concat(upperHalf(config), [0xd0, 0xff, 0x40, 0, 0, 0], put16(service)))

export const isOwnPrefix = (state: ModelState, address: string): boolean => {
  const own = upperHalf(state.config)
  const bytes = bytesOf(address)
  return bytes.length === 16 && own.every((byte, i) => byte === bytes[i])
}

/** An address that this host has given out at some time, or could have. */
export const isOurs = (state: ModelState, address: string): boolean => {
  const bytes = bytesOf(address)
  const type = bytes[9] ?? 0
  return isOwnPrefix(state, address) && bytes[8] === 0xd0 && type >= 1 && type <= 7 && bytes[10] === 0
}
