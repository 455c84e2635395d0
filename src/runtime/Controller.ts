/**
 * The controller role: a region's store, its actors, and one gRPC server for users (gateway), hosts (node service)
 * and tools (reflection, health).
 *
 * `layerRegion` is all of it but store and network, as a region in one process under a test's clock wants it.
 */
import { Context, Effect, Layer } from "effect"
import { file_ferrite_gateway_v1_gateway, GatewayService } from "#gen/ferrite/gateway/v1/gateway_pb.ts"
import { file_ferrite_node_v1_node, NodeService } from "#gen/ferrite/node/v1/node_pb.ts"
import type { RegionCommands } from "#protocol/gateway/RegionCommands.ts"
import type { Ids } from "#protocol/Ids.ts"
import type { NodeEvents } from "#protocol/node/NodeEvents.ts"
import type { ResourceStore, StoreUnavailable } from "#protocol/store/ResourceStore.ts"
import * as Gateway from "./gateway/Gateway.ts"
import type { GrpcError } from "./grpc/GrpcError.ts"
import { addHealth, addReflection } from "./grpc/GrpcMeta.ts"
import * as GrpcServer from "./grpc/GrpcServer.ts"
import { addNodeService } from "./node/NodeService.ts"
import { NodeSessions, type NodeSessionsOptions } from "./node/NodeSessions.ts"
import * as RegionLive from "./region/RegionLive.ts"
import * as Store from "./store/Store.ts"

export interface RegionOptions extends RegionLive.RegionOptions, NodeSessionsOptions {}

/** Actors and node sessions over a given store. */
export const layerRegion = (
  options: RegionOptions = {},
): Layer.Layer<RegionCommands | NodeEvents | NodeSessions, StoreUnavailable, ResourceStore> =>
  NodeSessions.layer(options).pipe(Layer.provideMerge(RegionLive.layer(options)))

/** The gRPC server of a controller, bound. */
export class Listening extends Context.Service<
  Listening,
  {
    /** Of the address; with port 0 the one that was chosen. */
    readonly port: number
  }
>()("ferrite/Controller/Listening") {}

const services = [GatewayService.typeName, NodeService.typeName]

/** `address`: `host:port` or `unix:/path`. */
export const layerServer = (
  address: string,
): Layer.Layer<Listening, GrpcError, ResourceStore | RegionCommands | NodeSessions> =>
  Layer.effect(
    Listening,
    GrpcServer.make({
      address,
      setup: Effect.fnUntraced(function* (server) {
        yield* Gateway.addTo(server)
        yield* addNodeService(server)
        yield* addReflection(server, [file_ferrite_gateway_v1_gateway, file_ferrite_node_v1_node])
        const serving = yield* addHealth(server, services)
        // Whoever asks while calls in progress end is told to go elsewhere.
        yield* Effect.addFinalizer(() => serving(false))
      }),
    }),
  )

export interface ControllerOptions extends RegionOptions {
  readonly listen: string
  /** File of the embedded store; undefined: in memory, gone with the process. */
  readonly store: string | undefined
}

export const layer = (
  options: ControllerOptions,
): Layer.Layer<Listening | ResourceStore, GrpcError | StoreUnavailable, Ids> =>
  layerServer(options.listen).pipe(
    Layer.provide(layerRegion(options)),
    Layer.provideMerge(
      options.store === undefined ? Store.layerMemory() : Store.layerSqlite({ filename: options.store }),
    ),
  )
