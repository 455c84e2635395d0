/**
 * The tables of the model dataplane: interfaces, the VNIs that they keep alive, and each VNI's routes.
 *
 * One value, replaced and never changed: `control.ts` makes the next one from an operation, `pipeline.ts` from a
 * packet. Persistent maps keep a batch of thousands linear.
 */
import { HashMap, Option } from "effect"
import type { InterfaceSpec } from "../Dataplane.ts"
import { bytesOf, type Family, format, mask, type Prefix } from "./address.ts"
import { concat, fnv1a64, fromAscii, put16 } from "./bytes.ts"

export const limits = {
  interfaces: 16_383,
  routes: 1 << 20,
  operations: 4_096,
  dns: 8,
} as const

/** Link addresses of the gateway that every VM sees. */
export const gatewayIpv4 = "169.254.0.1"
export const gatewayIpv6 = "fe80::1"

export interface ModelConfig {
  readonly uuid: string
  /** /64, CIDR text as fd00:f:1::/64. */
  readonly underlayPrefix: string
  /** Of interfaces, bytes of an IP packet, as DHCP and RA tell it. */
  readonly mtu: number
  readonly dns4: ReadonlyArray<string>
  readonly dns6: ReadonlyArray<string>
  /** NAME of a port given at start -> KIND:DEVICE. */
  readonly ports: ReadonlyMap<string, string>
  /** MACs of ports, by KIND:DEVICE; others have one derived from their device. */
  readonly macs: ReadonlyMap<string, string>
  readonly version: string
  /** Routes that fit, over all VNIs. */
  readonly routeCapacity: number
}

export interface Interface {
  readonly spec: InterfaceSpec
  /** In the low bits of the underlay address, 1 to 16,383; used again with another generation. */
  readonly index: number
  readonly underlayAddress: string
  /** Kernel name of a TAP. */
  readonly device: string
  readonly gatewayMac: string
  /** Learned from what the VM sends; broadcast until then. */
  readonly vmMac: string
}

export interface Route {
  readonly prefix: Prefix
  /** Interface id of a local route: made with the interface, neither listed nor removable. */
  readonly local: string | undefined
  readonly nextHop: string
  readonly nextHopVni: number
}

export interface VniTable {
  /** Interfaces of the VNI on this host; the table goes with the last one. */
  readonly references: number
  /** Key: CIDR text. */
  readonly routes: HashMap.HashMap<string, Route>
  /** How many routes each length has, so that a lookup tries only lengths that exist. Index: length. */
  readonly lengths: { readonly 4: ReadonlyArray<number>; readonly 6: ReadonlyArray<number> }
}

/** Indices of underlay addresses: those given back first, then the next one never used. */
export interface Indices {
  readonly next: number
  readonly released: { readonly index: number; readonly rest: Indices["released"] } | undefined
  /** How often an index was given out. */
  readonly generations: HashMap.HashMap<number, number>
}

export interface ModelState {
  readonly config: ModelConfig
  readonly initialized: boolean
  readonly interfaces: HashMap.HashMap<string, Interface>
  /** Opened device (KIND:DEVICE) -> interface id. */
  readonly devices: HashMap.HashMap<string, string>
  /** Underlay address -> interface id. */
  readonly underlay: HashMap.HashMap<string, string>
  readonly vnis: HashMap.HashMap<number, VniTable>
  readonly indices: Indices
  /** Non-local. */
  readonly routeCount: number
  readonly digest: bigint
  readonly counters: HashMap.HashMap<string, bigint>
}

export const initial = (config: ModelConfig): ModelState => ({
  config,
  initialized: false,
  interfaces: HashMap.empty(),
  devices: HashMap.empty(),
  underlay: HashMap.empty(),
  vnis: HashMap.empty(),
  indices: { next: 1, released: undefined, generations: HashMap.empty() },
  routeCount: 0,
  digest: 0n,
  counters: HashMap.empty(),
})

/** `undefined`: all are in use. */
export const takeIndex = (
  indices: Indices,
): { readonly index: number; readonly generation: number; readonly indices: Indices } | undefined => {
  const index = indices.released?.index ?? indices.next
  if (index > limits.interfaces) return undefined
  const generation = (find(indices.generations, index) ?? 0) + 1
  return {
    index,
    generation,
    indices: {
      next: indices.released === undefined ? indices.next + 1 : indices.next,
      released: indices.released?.rest,
      generations: HashMap.set(indices.generations, index, generation),
    },
  }
}

export const giveIndex = (indices: Indices, index: number): Indices => ({
  ...indices,
  released: { index, rest: indices.released },
})

export const find = <K, V>(map: HashMap.HashMap<K, V>, key: K): V | undefined =>
  Option.getOrUndefined(HashMap.get(map, key))

export const count = (state: ModelState, name: string, by = 1n): ModelState => ({
  ...state,
  counters: HashMap.set(state.counters, name, (find(state.counters, name) ?? 0n) + by),
})

export const emptyVni: VniTable = {
  references: 0,
  routes: HashMap.empty(),
  lengths: { 4: [], 6: [] },
}

const adjust = (table: VniTable, family: Family, length: number, by: number): VniTable["lengths"] => {
  const counts = Array.from({ length: 129 }, (_, i) => table.lengths[family][i] ?? 0)
  counts[length] = (counts[length] ?? 0) + by
  return { ...table.lengths, [family]: counts }
}

export const key = (prefix: Prefix): string => `${prefix.address}/${prefix.length}`

export const addRoute = (table: VniTable, route: Route): VniTable => ({
  ...table,
  routes: HashMap.set(table.routes, key(route.prefix), route),
  lengths: HashMap.has(table.routes, key(route.prefix))
    ? table.lengths
    : adjust(table, route.prefix.family, route.prefix.length, 1),
})

export const removeRoute = (table: VniTable, prefix: Prefix): VniTable => ({
  ...table,
  routes: HashMap.remove(table.routes, key(prefix)),
  lengths: HashMap.has(table.routes, key(prefix))
    ? adjust(table, prefix.family, prefix.length, -1)
    : table.lengths,
})

/** The route with the longest prefix that has the address. */
export const lookup = (table: VniTable, address: string): Route | undefined => {
  const bytes = bytesOf(address)
  const family: Family = bytes.length === 4 ? 4 : 6
  const counts = table.lengths[family]
  for (let length = family === 4 ? 32 : 128; length >= 0; length--) {
    if ((counts[length] ?? 0) === 0) continue
    const route = find(table.routes, `${format(mask(bytes, length))}/${length}`)
    if (route !== undefined) return route
  }
  return undefined
}

/** The host's own prefixes of an interface: its /32 and its /128. */
export const ownPrefixes = (spec: InterfaceSpec): ReadonlyArray<Prefix> => [
  ...(spec.ipv4 === undefined ? [] : [{ family: 4, length: 32, address: spec.ipv4 } as const]),
  ...(spec.ipv6 === undefined ? [] : [{ family: 6, length: 128, address: spec.ipv6 } as const]),
]

/** Locally administered, the same for a device in every run. */
export const gatewayMacOf = (device: string): string => {
  const hash = fnv1a64(fromAscii(device)).toString(16).padStart(16, "0")
  return `02:${hash.slice(0, 2)}:${hash.slice(2, 4)}:${hash.slice(4, 6)}:${hash.slice(6, 8)}:${hash.slice(8, 10)}`
}

/**
 * Bytes 0-7 the host's prefix, then 0xd0, 1 (an interface), 0 (ours), 16 bits of generation, 24 bits of index.
 * The generation starts at another value in every process, so a route that outlived a restart hits nobody.
 */
export const underlayAddressOf = (config: ModelConfig, index: number, generation: number): string => {
  const prefix = bytesOf(config.underlayPrefix.split("/")[0] ?? "::")
  const start = Number(fnv1a64(fromAscii(config.uuid)) & 0xffffn)
  const value = (start + generation) & 0xffff
  return format(
    concat(prefix.subarray(0, 8), [0xd0, 1, 0], put16(value), [
      index >>> 16,
      (index >>> 8) & 0xff,
      index & 0xff,
    ]),
  )
}
