/**
 * A dataplane, as the host's actors see it: typed operations in batches, everything listed at once, a digest.
 *
 * Layers are in `src/runtime/dataplane/`: `layerNative` speaks `ferrite.dataplane.v1` to the native engine,
 * `layerModel` is a packet-level model in TypeScript. One contract suite and the same packets run against both.
 * The service speaks to one process of a dataplane; when that ends every call fails with `DataplaneGone`, and
 * the session above it connects again.
 */
import { Context, Effect, Schema } from "effect"

/** An interface as it is asked for. Addresses are canonical text. */
export interface InterfaceSpec {
  /** 1 to 63 of [A-Za-z0-9_-]. */
  readonly id: string
  readonly vni: number
  readonly ipv4: string | undefined
  readonly ipv6: string | undefined
  /** NAME of a port given at start, or KIND:DEVICE of one to be made, as `vtap:ftap-1f2e`. */
  readonly device: string
  readonly hostname: string | undefined
  /** Mbit/s of IP bytes. Absent or 0: no limit. At most 2^32 - 1, and the public one at most the total one. */
  readonly totalRate?: number | undefined
  readonly publicRate?: number | undefined
  /** Network boot. */
  readonly pxe?: { readonly server: string; readonly file: string } | undefined
  /** Its source addresses are not looked at. */
  readonly spoofCheckOff?: boolean | undefined
  /** Flows, and new ones a second. Absent or 0: those of the engine. */
  readonly flowLimit?: number | undefined
  readonly flowRate?: number | undefined
  /** The underlay address that is wanted; absent: a generated one. */
  readonly underlayAddress?: string | undefined
}

export interface InterfaceState {
  readonly spec: InterfaceSpec
  /** The /128 whose packets are delivered to this interface. */
  readonly underlayAddress: string
  /** Kernel name of a TAP, path of a socket, PCI address. */
  readonly device: string
}

export interface RouteSpec {
  readonly vni: number
  /** CIDR, host bits masked. */
  readonly prefix: string
  /** Underlay address. */
  readonly nextHop: string
  readonly nextHopVni: number
  /**
   * 2 to 32 hops, no address twice; listed by address, and then `nextHop` is the first of them. Where there are some,
   * what is put is these.
   */
  readonly hops?: ReadonlyArray<Hop> | undefined
}

export interface Hop {
  readonly address: string
  readonly vni: number
  /** 1 to 256. */
  readonly weight: number
}

/** A prefix of an interface, with an underlay address of its own. */
export interface PrefixSpec {
  /** Id. */
  readonly interface: string
  /** CIDR, host bits masked. */
  readonly prefix: string
  /** Here and below: the one that is wanted; absent: a generated one. */
  readonly underlayAddress?: string | undefined
}

export interface VipSpec {
  readonly interface: string
  /** IPv4. */
  readonly ip: string
  readonly underlayAddress?: string | undefined
}

export interface NatSpec {
  readonly interface: string
  /** IPv4. */
  readonly ip: string
  /** [minPort, maxPort), at most 65,536. */
  readonly minPort: number
  readonly maxPort: number
  readonly underlayAddress?: string | undefined
}

/** Ports of a NAT address that another host translates. */
export interface NeighborNatSpec {
  readonly vni: number
  readonly ip: string
  readonly minPort: number
  readonly maxPort: number
  /** Where packets to these ports go. */
  readonly underlayAddress: string
}

export interface BalancerPort {
  /** 6 or 17. */
  readonly protocol: number
  /** 1 to 65,535, inclusive. */
  readonly first: number
  readonly last: number
}

export interface LoadBalancerSpec {
  /** 1 to 63 bytes. */
  readonly id: string
  readonly vni: number
  readonly ip: string
  /** At most 64, that do not overlap; listed by protocol, then port. */
  readonly ports: ReadonlyArray<BalancerPort>
  /** Underlay addresses; at most 1,024, none twice; listed in order. */
  readonly targets: ReadonlyArray<string>
  readonly underlayAddress?: string | undefined
}

/** `rules`: accept while the interface has no rule of the direction, drop else. */
export type FirewallDefault = "accept" | "drop" | "rules"

export interface PortRange {
  /** Inclusive. */
  readonly first: number
  readonly last: number
}

export interface FirewallRule {
  /** 1 to 63 bytes, once in an interface. */
  readonly id: string
  readonly egress: boolean
  readonly accept: boolean
  /** 0 to 65,535; low ones are tried first, equal ones in the order of the list. */
  readonly priority: number
  /** CIDR, of one family. Absent: every address of the other's family; both absent: every packet. */
  readonly source?: string | undefined
  readonly destination?: string | undefined
  /** Number; 0: every one. 1 means ICMPv6 in an IPv6 rule. */
  readonly protocol: number
  /** Of TCP, UDP and SCTP; absent: all. */
  readonly sourcePorts?: PortRange | undefined
  readonly destinationPorts?: PortRange | undefined
  /** Of ICMP; absent: all. */
  readonly icmpType?: number | undefined
  readonly icmpCode?: number | undefined
}

export interface FirewallSpec {
  readonly interface: string
  /** What becomes of packets that no rule matches. */
  readonly ingress: FirewallDefault
  readonly egress: FirewallDefault
  /** At most 4,096. */
  readonly rules: ReadonlyArray<FirewallRule>
}

/** A way out of the overlay. */
export interface EdgeSpec {
  /** 1 to 63 of [A-Za-z0-9_-]. */
  readonly name: string
  readonly vni: number
  /** NAME of a port given at start, or KIND:DEVICE. */
  readonly device: string
  /** Its own address outside, and the length of the prefix on the link where that is not its own: "192.0.2.2/24". */
  readonly outsideIpv4?: string | undefined
  readonly outsideIpv6?: string | undefined
  readonly gatewayIpv4?: string | undefined
  readonly gatewayIpv6?: string | undefined
  /** Of both gateways; absent: they are asked. */
  readonly gatewayMac?: string | undefined
  readonly underlayAddress?: string | undefined
}

export interface EdgeState {
  readonly spec: EdgeSpec
  readonly underlayAddress: string
  readonly device: string
}

/** What has an underlay address of its own, and that address. */
export interface Endpoint<Spec> {
  readonly spec: Spec
  readonly underlayAddress: string
}

/** Every put makes an object or changes the one of the same identity in place; putting what is there is a success. */
export type Operation =
  | { readonly _tag: "CreateInterface"; readonly spec: InterfaceSpec }
  | { readonly _tag: "DeleteInterface"; readonly id: string }
  | { readonly _tag: "PutRoute"; readonly route: RouteSpec }
  | { readonly _tag: "DeleteRoute"; readonly vni: number; readonly prefix: string }
  | { readonly _tag: "ResetVni"; readonly vni: number }
  | ServiceOperation

/** Operations on what stands around interfaces and routes. */
export type ServiceOperation =
  | { readonly _tag: "PutAliasPrefix"; readonly prefix: PrefixSpec }
  | { readonly _tag: "DeleteAliasPrefix"; readonly interface: string; readonly prefix: string }
  | { readonly _tag: "PutBalancerPrefix"; readonly prefix: PrefixSpec }
  | { readonly _tag: "DeleteBalancerPrefix"; readonly interface: string; readonly prefix: string }
  | { readonly _tag: "PutVip"; readonly vip: VipSpec }
  | { readonly _tag: "DeleteVip"; readonly interface: string }
  | { readonly _tag: "PutNat"; readonly nat: NatSpec }
  | { readonly _tag: "DeleteNat"; readonly interface: string }
  | { readonly _tag: "PutNeighborNat"; readonly nat: NeighborNatSpec }
  | {
      readonly _tag: "DeleteNeighborNat"
      readonly vni: number
      readonly ip: string
      readonly minPort: number
      readonly maxPort: number
    }
  | { readonly _tag: "PutLoadBalancer"; readonly balancer: LoadBalancerSpec }
  | { readonly _tag: "DeleteLoadBalancer"; readonly id: string }
  | { readonly _tag: "PutFirewall"; readonly firewall: FirewallSpec }
  | { readonly _tag: "DeleteFirewall"; readonly interface: string }
  | { readonly _tag: "PutEdge"; readonly edge: EdgeSpec }
  | { readonly _tag: "DeleteEdge"; readonly name: string }

/** Status codes of dpdkironcore.v1 (spec dataplane-grpc §3) that these operations can answer. */
export const statusCodes = {
  SUCCESS: 0,
  INVALID_ARGUMENT: 3,
  UNIMPLEMENTED: 12,
  NOT_FOUND: 201,
  ALREADY_EXISTS: 202,
  BAD_IPVER: 204,
  NO_VM: 205,
  NO_VNI: 206,
  OUT_OF_MEMORY: 208,
  ROUTE_EXISTS: 301,
  ROUTE_NOT_FOUND: 302,
  ROUTE_INSERT: 303,
  ROUTE_BAD_PORT: 304,
  DNAT_CREATE: 322,
  DNAT_EXISTS: 323,
  SNAT_NO_DATA: 341,
  SNAT_CREATE: 342,
  SNAT_EXISTS: 343,
  VNI_INIT4: 361,
  PORT_START: 381,
  PORT_METER: 383,
  VNF_INSERT: 401,
  VM_HANDLE: 402,
  BACKIP_ADD: 423,
} as const

/** What became of one operation. `code` 0: done. */
export interface OperationResult {
  readonly code: number
  readonly message: string
  /** After CreateInterface, done. */
  readonly interface?: InterfaceState
  /** After a put of what has an underlay address of its own, done. */
  readonly underlayAddress?: string
}

export interface DataplaneState {
  /** New with every start of the process. */
  readonly uuid: string
  readonly initialized: boolean
  /** Of everything that was programmed; see `ferrite.dataplane.v1.GetStateResponse.digest`. */
  readonly digest: bigint
  readonly underlayPrefix: string
  readonly version: string
  /** By name, as `routes`: what is used of each table, and what it holds. */
  readonly tables?: ReadonlyMap<string, TableUse>
}

export interface TableUse {
  readonly used: bigint
  readonly capacity: bigint
}

/** What stands around interfaces and routes. */
export interface ServiceListing {
  readonly aliasPrefixes: ReadonlyArray<Endpoint<PrefixSpec>>
  readonly balancerPrefixes: ReadonlyArray<Endpoint<PrefixSpec>>
  readonly vips: ReadonlyArray<Endpoint<VipSpec>>
  readonly nats: ReadonlyArray<Endpoint<NatSpec>>
  readonly neighborNats: ReadonlyArray<NeighborNatSpec>
  readonly loadBalancers: ReadonlyArray<Endpoint<LoadBalancerSpec>>
  /** Of interfaces that have rules, or whose defaults somebody put. */
  readonly firewalls: ReadonlyArray<FirewallSpec>
  readonly edges: ReadonlyArray<EdgeState>
}

export const noServices: ServiceListing = {
  aliasPrefixes: [],
  balancerPrefixes: [],
  vips: [],
  nats: [],
  neighborNats: [],
  loadBalancers: [],
  firewalls: [],
  edges: [],
}

export interface DataplaneListing extends ServiceListing {
  readonly interfaces: ReadonlyArray<InterfaceState>
  readonly routes: ReadonlyArray<RouteSpec>
  readonly state: DataplaneState
}

/** The process is gone or does not answer in time; what it was doing may or may not have been done. */
export class DataplaneGone extends Schema.TaggedError<DataplaneGone>()("DataplaneGone", {
  reason: Schema.String,
}) {}

/** It answered something that the contract does not allow. */
export class DataplaneProtocolError extends Schema.TaggedError<DataplaneProtocolError>()(
  "DataplaneProtocolError",
  { reason: Schema.String },
) {}

export type DataplaneError = DataplaneGone | DataplaneProtocolError

export class Dataplane extends Context.Service<
  Dataplane,
  {
    /** Uuid of the process. Initializes it where nobody has. */
    readonly connect: Effect.Effect<DataplaneState, DataplaneError>
    /** In order; one result per operation. At most 4,096 operations. A failed one does not stop the others. */
    readonly apply: (
      operations: ReadonlyArray<Operation>,
    ) => Effect.Effect<ReadonlyArray<OperationResult>, DataplaneError>
    readonly listAll: Effect.Effect<DataplaneListing, DataplaneError>
    readonly state: Effect.Effect<DataplaneState, DataplaneError>
    readonly counters: Effect.Effect<ReadonlyMap<string, bigint>, DataplaneError>
  }
>()("ferrite/Dataplane") {}
