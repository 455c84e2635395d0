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
}

export type Operation =
  | { readonly _tag: "CreateInterface"; readonly spec: InterfaceSpec }
  | { readonly _tag: "DeleteInterface"; readonly id: string }
  | { readonly _tag: "PutRoute"; readonly route: RouteSpec }
  | { readonly _tag: "DeleteRoute"; readonly vni: number; readonly prefix: string }
  | { readonly _tag: "ResetVni"; readonly vni: number }

/** Status codes of dpdkironcore.v1 (spec dataplane-grpc §3) that these operations can answer. */
export const statusCodes = {
  SUCCESS: 0,
  INVALID_ARGUMENT: 3,
  NOT_FOUND: 201,
  ALREADY_EXISTS: 202,
  BAD_IPVER: 204,
  NO_VNI: 206,
  OUT_OF_MEMORY: 208,
  ROUTE_EXISTS: 301,
  ROUTE_NOT_FOUND: 302,
  ROUTE_INSERT: 303,
  ROUTE_BAD_PORT: 304,
  VNI_INIT4: 361,
  PORT_START: 381,
  VNF_INSERT: 401,
  VM_HANDLE: 402,
} as const

/** What became of one operation. `code` 0: done. */
export interface OperationResult {
  readonly code: number
  readonly message: string
  /** After CreateInterface, done. */
  readonly interface?: InterfaceState
}

export interface DataplaneState {
  /** New with every start of the process. */
  readonly uuid: string
  readonly initialized: boolean
  /** Of all interfaces and non-local routes; see `ferrite.dataplane.v1.GetStateResponse.digest`. */
  readonly digest: bigint
  readonly underlayPrefix: string
  readonly version: string
}

export interface DataplaneListing {
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
