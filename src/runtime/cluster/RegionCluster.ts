/**
 * Puts a region's cluster together. `layerSingle` is one controller that holds all partitions: nothing is
 * distributed, nothing listens, and it runs as well under a test clock (where the first partition answers once the
 * clock has moved by a millisecond).
 *
 * Runners beyond one come with a storage of leases; partitions, cells and waker stay as they are.
 */
import { Layer } from "effect"
import {
  MessageStorage,
  RunnerHealth,
  Runners,
  RunnerStorage,
  Sharding,
  ShardingConfig,
} from "effect/cluster"
import type { ResourceStore } from "#protocol/store/ResourceStore.ts"
import type { CellOptions } from "../supervision/Cells.ts"
import * as ChangeFeedWaker from "./ChangeFeedWaker.ts"
import { partitions } from "./Partition.ts"
import * as PartitionHost from "./PartitionHost.ts"
import * as Region from "./Region.ts"
import type { RegionActors } from "./RegionActors.ts"

export interface SingleOptions {
  readonly cells?: CellOptions
  readonly waker?: ChangeFeedWaker.WakerOptions
  /** Encodes and decodes each message as between controllers; costs time, finds what would not survive. */
  readonly checkSerialization?: boolean
  readonly sharding?: Partial<ShardingConfig.ShardingConfig["Service"]>
}

export const layerSingle = (
  options: SingleOptions = {},
): Layer.Layer<
  Region.Region | PartitionHost.LocalPartitions | Sharding.Sharding,
  never,
  RegionActors | ResourceStore
> => {
  const engine = Sharding.layer.pipe(
    Layer.provide(Runners.layerNoop),
    Layer.provide([MessageStorage.layerNoop, RunnerStorage.layerMemory, RunnerHealth.layerNoop]),
    Layer.provide(
      ShardingConfig.layer({
        simulateRemoteSerialization: options.checkSerialization ?? false,
        // All partitions and room to spare: beyond the cap the cluster refuses new ones.
        maxResidentEntities: partitions * 4,
        // Commands that were begun get so long to end when the controller goes down.
        entityTerminationTimeout: "3 seconds",
        ...options.sharding,
      }),
    ),
  )
  return ChangeFeedWaker.layer(options.waker).pipe(
    Layer.provideMerge(Region.layer),
    Layer.provideMerge(PartitionHost.layer(options.cells)),
    Layer.provideMerge(PartitionHost.LocalPartitions.layer),
    Layer.provideMerge(engine),
  )
}
