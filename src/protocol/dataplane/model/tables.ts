/**
 * The tables of the model dataplane: interfaces, the VNIs that they keep alive, each VNI's routes, whatever else has an
 * underlay address, and what packets leave behind: flows, ports in use, fragments, buckets.
 *
 * One value, replaced and never changed: `control.ts` makes the next one from an operation, `pipeline.ts` from a
 * packet. Persistent maps keep a batch of thousands linear.
 */
import { HashMap } from "effect"
import type {
  EdgeSpec,
  FirewallDefault,
  FirewallSpec,
  InterfaceSpec,
  LoadBalancerSpec,
  NeighborNatSpec,
} from "../Dataplane.ts"
import { bytesOf, type Family, format, mask, type Prefix } from "./address.ts"
import { type Bytes, fnv1a64, fromAscii } from "./bytes.ts"
import { find } from "./find.ts"
import { type Firewall } from "./firewall.ts"
import { type Flows, noFlows } from "./flow.ts"
import { type Fragments, noFragments } from "./fragments.ts"
import { type NatTable, noMappings } from "./nat.ts"
import type { Bucket } from "./rate.ts"
import { serviceAddress, type UnderlayType } from "./underlay.ts"

export { find } from "./find.ts"

export const limits = {
  interfaces: 16_383,
  routes: 1 << 20,
  operations: 4_096,
  dns: 8,
  endpoints: 1 << 16,
  hops: 32,
  rules: 4_096,
  balancerPorts: 64,
  targets: 1_024,
  neighborNats: 1 << 17,
  edges: 64,
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
  /** Of every choice by hash. Default 0. */
  readonly seed?: number | undefined
  /** T, seconds. Default 30. */
  readonly flowTimeout?: number | undefined
  /** Flows of one interface. Default 262,144. */
  readonly flowLimit?: number | undefined
  /** New flows a second of one interface. Default none. */
  readonly flowRate?: number | undefined
  /** Default true. */
  readonly uplink?: boolean | undefined
  /** Of interfaces that nobody put a firewall for. Default accept, accept. */
  readonly firewallDefault?:
    | { readonly ingress: FirewallDefault; readonly egress: FirewallDefault }
    | undefined
  /** At most 256. */
  readonly services?: ReadonlyArray<VirtualService> | undefined
}

/** A service outside the overlay that VMs reach by an IPv4 address of their own network. */
export interface VirtualService {
  /** 6 or 17. */
  readonly protocol: number
  readonly ip: string
  readonly port: number
  /** IPv6. */
  readonly target: string
  readonly targetPort: number
}

export const settings = (config: ModelConfig) => ({
  seed: config.seed ?? 0,
  flowTimeout: config.flowTimeout ?? 30,
  flowLimit: config.flowLimit ?? 1 << 18,
  flowRate: config.flowRate ?? 0,
  uplink: config.uplink ?? true,
})

/** What an interface has with an underlay address of its own. */
export interface OwnPrefix {
  readonly prefix: Prefix
  /** An alias prefix, with a local route; else a load balancer prefix. */
  readonly routed: boolean
  readonly wanted: string | undefined
  readonly underlayAddress: string
}

export interface Vip {
  readonly ip: string
  readonly wanted: string | undefined
  readonly underlayAddress: string
}

export interface Nat extends Vip {
  /** [min, max). */
  readonly min: number
  readonly max: number
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
  /** By underlay address as they were made. */
  readonly prefixes: ReadonlyArray<OwnPrefix>
  readonly vip: Vip | undefined
  readonly nat: Nat | undefined
  readonly firewall: Firewall
  /** As it was put; `undefined`: nobody did. */
  readonly firewallSpec: FirewallSpec | undefined
}

/** Cardinality: one per load balancer. */
export interface Balancer {
  /** Ports and targets sorted. */
  readonly spec: LoadBalancerSpec
  readonly underlayAddress: string
  /** Maglev table over the targets; empty without any. */
  readonly slots: Uint16Array
}

export interface Edge {
  readonly spec: EdgeSpec
  readonly underlayAddress: string
  /** KIND:DEVICE. */
  readonly opened: string
  readonly device: string
  readonly mac: string
  readonly outside4: OwnOutside | undefined
  readonly outside6: OwnOutside | undefined
  /** By address: the gateways and hosts of the link that were asked for. */
  readonly neighbours: HashMap.HashMap<string, OutsideNeighbour>
}

/** An address of an edge on its link outside, and the length of the link's prefix. */
export interface OwnOutside {
  readonly address: string
  readonly length: number
}

/** Cardinality: one per address outside that a packet was for. */
export interface OutsideNeighbour {
  readonly mac: string | undefined
  /** Said by the operator: never asked for. */
  readonly fixed: boolean
  readonly tries: number
  /** Not asked for before it. */
  readonly nextAt: number
  readonly held: ReadonlyArray<{ readonly type: number; readonly bytes: Bytes; readonly at: number }>
}

/** Whatever a packet from the underlay can be for. */
export type Endpoint =
  | { readonly _tag: "Interface" | "Vip" | "Nat"; readonly id: string }
  | { readonly _tag: "Prefix"; readonly id: string; readonly prefix: Prefix }
  | { readonly _tag: "Balancer"; readonly id: string }
  | { readonly _tag: "Edge"; readonly name: string }
  | { readonly _tag: "Service"; readonly service: number }

export interface Route {
  readonly prefix: Prefix
  /** Interface id of a local route: made with the interface, neither listed nor removable. */
  readonly local: string | undefined
  readonly nextHop: string
  readonly nextHopVni: number
  /** Several next hops, by address, and which of them a hash belongs to. */
  readonly hops?: HopSet | undefined
}

export interface HopSet {
  readonly list: ReadonlyArray<{ readonly address: string; readonly vni: number; readonly weight: number }>
  readonly slots: Uint16Array
}

export interface VniTable {
  /** Interfaces, load balancers and edges of the VNI on this host; the table goes with the last one. */
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
  /** Index -> interface id. */
  readonly indexed: HashMap.HashMap<number, string>
  readonly underlay: HashMap.HashMap<string, Endpoint>
  /** "VNI address" of VIPs and load balancers: what a VM reaches without a route. */
  readonly addresses: HashMap.HashMap<string, Endpoint>
  readonly balancers: HashMap.HashMap<string, Balancer>
  /** "VNI address" of NAT addresses: ranges that other hosts hold. */
  readonly neighborNats: HashMap.HashMap<string, ReadonlyArray<NeighborNatSpec>>
  readonly edges: HashMap.HashMap<string, Edge>
  /** Underlay addresses of virtual services, in their order. */
  readonly serviceAddresses: ReadonlyArray<string>
  readonly vnis: HashMap.HashMap<number, VniTable>
  /** By type of underlay address. */
  readonly indices: Readonly<Record<UnderlayType, Indices>>
  /** Non-local. */
  readonly routeCount: number
  readonly digest: bigint
  readonly counters: HashMap.HashMap<string, bigint>
  /** Changes of the tables until now: a flow decided before the last one is decided anew. */
  readonly epoch: number
  readonly flows: Flows
  readonly nat: NatTable
  readonly fragments: Fragments
  /** "INDEX KIND". */
  readonly buckets: HashMap.HashMap<string, Bucket>
  /** When the next ICMP error or reset may be sent, by who sends it. */
  readonly errorTimes: HashMap.HashMap<string, number>
}

const unused: Indices = { next: 1, released: undefined, generations: HashMap.empty() }

export const initial = (config: ModelConfig): ModelState => {
  const services = (config.services ?? []).map((_, index) => serviceAddress(config, index))
  return {
    config,
    initialized: false,
    interfaces: HashMap.empty(),
    devices: HashMap.empty(),
    indexed: HashMap.empty(),
    underlay: HashMap.fromIterable(
      services.map((address, service): [string, Endpoint] => [address, { _tag: "Service", service }]),
    ),
    addresses: HashMap.empty(),
    balancers: HashMap.empty(),
    neighborNats: HashMap.empty(),
    edges: HashMap.empty(),
    serviceAddresses: services,
    vnis: HashMap.empty(),
    indices: {
      interface: unused,
      vip: unused,
      nat: unused,
      balancer: unused,
      balancerPrefix: unused,
      aliasPrefix: unused,
      edge: unused,
    },
    routeCount: 0,
    digest: 0n,
    counters: HashMap.empty(),
    epoch: 0,
    flows: noFlows,
    nat: noMappings,
    fragments: noFragments,
    buckets: HashMap.empty(),
    errorTimes: HashMap.empty(),
  }
}

/** `undefined`: all are in use. */
export const takeIndex = (
  indices: Indices,
  most: number = limits.interfaces,
): { readonly index: number; readonly generation: number; readonly indices: Indices } | undefined => {
  const index = indices.released?.index ?? indices.next
  if (index > most) return undefined
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
