/**
 * Ports of NAT addresses in use: (protocol, source address, source port) of an interface to the port that it has outside.
 *
 * A mapping lives as long as a flow uses it, and all destinations share it. The order of choices is that of
 * docs/packet-path.md: the mapping that is there; else the first port without a mapping, from a start by hash and around
 * the range; where there is none, or where another flow has the reply key with that port, the first port from the same
 * start whose reply key is free, shared and without a mapping. Virtual services use the same table.
 */
import { HashMap } from "effect"
import { protocols } from "./ip.ts"
import { natHash } from "./murmur.ts"
import { find } from "./find.ts"
import type { Tuple } from "./tuple.ts"

export interface NatRange {
  /** Index of the interface. */
  readonly interface: number
  readonly vni: number
  /** Names the (VNI, address), or the virtual service: ports are counted in it. */
  readonly group: string
  /** [min, max). */
  readonly min: number
  readonly max: number
}

interface Mapping {
  readonly key: string
  readonly slot: string
  readonly range: Pick<NatRange, "interface" | "group">
  readonly port: number
  readonly uses: number
}

export interface NatTable {
  readonly mappings: HashMap.HashMap<number, Mapping>
  /** What a mapping is found by. */
  readonly found: HashMap.HashMap<string, number>
  /** Group, protocol and port, while there is a mapping for it. */
  readonly taken: HashMap.HashMap<string, number>
  readonly next: number
}

export const noMappings: NatTable = {
  mappings: HashMap.empty(),
  found: HashMap.empty(),
  taken: HashMap.empty(),
  next: 1,
}

/** `undefined`: not TCP, UDP or an echo, so not translated. */
export const natProtocol = (tuple: Tuple): "tcp" | "udp" | "icmp" | undefined => {
  if (tuple.protocol === protocols.tcp) return "tcp"
  if (tuple.protocol === protocols.udp) return "udp"
  return tuple.icmp === "echo" ? "icmp" : undefined
}

const slotOf = (group: string, protocol: string, port: number): string => `${group} ${protocol} ${port}`

export const groupOf = (vni: number, ip: string): string => `${vni} ${ip}`

/** Is the mapping still one of this interface, address and range? */
export const mappingIn = (table: NatTable, id: number, range: NatRange): boolean => {
  const mapping = find(table.mappings, id)
  return (
    mapping !== undefined &&
    mapping.range.interface === range.interface &&
    mapping.range.group === range.group &&
    mapping.port >= range.min &&
    mapping.port < range.max
  )
}

/** Ports that are tried to be shared. */
const shareTries = 1_024

/** The first port from `start` upwards, around the range, that `fits`. */
const search = (
  range: NatRange,
  start: number,
  fits: (port: number) => boolean,
  tries = Number.POSITIVE_INFINITY,
): number | undefined => {
  const size = range.max - range.min
  for (let tried = 0; tried < size && tried < tries; tried++) {
    const port = range.min + ((start - range.min + tried) % size)
    if (fits(port)) return port
  }
  return undefined
}

export interface Mapped {
  readonly table: NatTable
  readonly port: number
  /** `undefined`: shared. */
  readonly mapping: number | undefined
}

/** `replyTaken`: whether the reply key with this port is a live flow's. `undefined`: exhausted. */
export const map = (
  table: NatTable,
  range: NatRange,
  tuple: Tuple,
  seed: number,
  replyTaken: (port: number) => boolean,
): Mapped | undefined => {
  const protocol = natProtocol(tuple)
  if (protocol === undefined || range.min >= range.max) return undefined
  const key = `${range.interface} ${range.group} ${protocol} ${tuple.source} ${tuple.sourcePort}`
  const there = find(table.found, key)
  const known = there !== undefined && mappingIn(table, there, range) ? there : undefined
  const start = range.min + (natHash(range.vni, tuple, seed) % (range.max - range.min))
  const chosen =
    known === undefined
      ? search(range, start, (port) => !HashMap.has(table.taken, slotOf(range.group, protocol, port)))
      : find(table.mappings, known)?.port
  if (chosen === undefined || replyTaken(chosen)) {
    const shared = search(range, start, (port) => !replyTaken(port), shareTries)
    return shared === undefined ? undefined : { table, port: shared, mapping: undefined }
  }
  if (known !== undefined) return { table: hold(table, known), port: chosen, mapping: known }
  const slot = slotOf(range.group, protocol, chosen)
  const id = table.next
  const mapping: Mapping = { key, slot, range, port: chosen, uses: 1 }
  return {
    table: {
      mappings: HashMap.set(table.mappings, id, mapping),
      // One that is there but out of the range stays for its flows and is no longer found.
      found: HashMap.set(table.found, key, id),
      taken: HashMap.set(table.taken, slot, id),
      next: id + 1,
    },
    port: chosen,
    mapping: id,
  }
}

const hold = (table: NatTable, id: number): NatTable => ({
  ...table,
  mappings: HashMap.modify(table.mappings, id, (mapping) => ({ ...mapping, uses: mapping.uses + 1 })),
})

/** One use less; at none the port is free. */
export const unmap = (table: NatTable, id: number): NatTable => {
  const mapping = find(table.mappings, id)
  if (mapping === undefined) return table
  if (mapping.uses > 1)
    return { ...table, mappings: HashMap.set(table.mappings, id, { ...mapping, uses: mapping.uses - 1 }) }
  return {
    ...table,
    mappings: HashMap.remove(table.mappings, id),
    found: find(table.found, mapping.key) === id ? HashMap.remove(table.found, mapping.key) : table.found,
    taken: HashMap.remove(table.taken, mapping.slot),
  }
}
