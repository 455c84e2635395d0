/**
 * A region's deciding half on one controller: actors in their partitions, the feed that wakes them, and the services
 * by which gateway and node service reach them. It needs a store and nothing else.
 */
import { Effect, Layer } from "effect"
import type { VniRange } from "#actors/region/VniPool.ts"
import type { RegionCommands } from "#protocol/gateway/RegionCommands.ts"
import { Ids } from "#protocol/Ids.ts"
import type { NodeEvents } from "#protocol/node/NodeEvents.ts"
import type { ResourceStore, StoreUnavailable } from "#protocol/store/ResourceStore.ts"
import { Region } from "../cluster/Region.ts"
import { RegionActors as ClusterActors } from "../cluster/RegionActors.ts"
import * as RegionCluster from "../cluster/RegionCluster.ts"
import * as NodeEventsLive from "./NodeEventsLive.ts"
import * as Observations from "./Observations.ts"
import * as Projection from "./Projection.ts"
import * as RegionActors from "./RegionActors.ts"
import * as RegionCommandsLive from "./RegionCommandsLive.ts"
import * as RegionFeed from "./RegionFeed.ts"
import { askOf, tableOf } from "./RegionWire.ts"
import * as VniAllocator from "./VniAllocator.ts"
import * as Waiters from "./Waiters.ts"

export interface RegionOptions {
  /** Default 200 to 16777215. */
  readonly vniRange?: VniRange
  readonly cluster?: Omit<RegionCluster.SingleOptions, "waker">
}

const memory = Layer.sync(RegionActors.RegionMemory, () => ({
  projection: Projection.make(),
  observations: Observations.make(),
  waiters: Waiters.make(),
}))

const behaviour = Layer.unwrap(
  Effect.map(RegionActors.RegionBehaviour, (each) => ClusterActors.layer(tableOf(each))),
).pipe(Layer.provide(RegionActors.layer))

const cluster = (options: RegionOptions) =>
  Layer.unwrap(
    Effect.map(RegionFeed.make, (waker) => RegionCluster.layerSingle({ ...options.cluster, waker })),
  ).pipe(Layer.provide(behaviour))

const nodeEvents = Layer.unwrap(
  Effect.map(Region, (region) => NodeEventsLive.layer({ ask: askOf(region), hint: region.hint })),
)

export const layer = (
  options: RegionOptions = {},
): Layer.Layer<RegionCommands | NodeEvents, StoreUnavailable, ResourceStore> =>
  Layer.mergeAll(RegionCommandsLive.layer, nodeEvents).pipe(
    Layer.provide(cluster(options)),
    Layer.provide([memory, VniAllocator.layer(options.vniRange), Ids.layer]),
  )
