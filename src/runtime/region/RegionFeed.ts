/**
 * What the change feed means beyond the edges of records: brings projection and VniPool up to date, and says whom
 * else a change concerns. The waker of the cluster follows the feed and does the waking.
 *
 * Besides the ends of its edges a change wakes who waits for the record; all interfaces of a network that a host has
 * left; the networks in line for a VNI that is free again.
 */
import { Effect } from "effect"
import { hostInterfaceKind } from "#protocol/node/HostInterface.ts"
import { type Network, networkKind } from "#protocol/resource/Network.ts"
import { networkInterfaceKey, networkInterfaceKind } from "#protocol/resource/NetworkInterface.ts"
import { nodeKind } from "#protocol/resource/Node.ts"
import { vniOf } from "#protocol/resource/ProviderId.ts"
import type { ResourceKey } from "#protocol/resource/Resource.ts"
import { type Change, ResourceStore } from "#protocol/store/ResourceStore.ts"
import type { WakerOptions } from "../cluster/ChangeFeedWaker.ts"
import { RegionMemory } from "./RegionActors.ts"
import { VniAllocator } from "./VniAllocator.ts"

export const make: Effect.Effect<WakerOptions, never, ResourceStore | VniAllocator | RegionMemory> =
  Effect.gen(function* () {
    const store = yield* ResourceStore
    const allocator = yield* VniAllocator
    const { observations, projection, waiters } = yield* RegionMemory

    const begin = Effect.gen(function* () {
      const { records, revision } = yield* store.list({ kind: hostInterfaceKind })
      projection.reset(records, revision)
      yield* allocator.refresh
    })

    const ofNetwork = ({ _tag, record }: Change): ReadonlyArray<ResourceKey> => {
      const vni = vniOf((record.value as Network).spec.providerID)
      if (_tag === "Remove") return allocator.gone(record.key, vni)
      if (vni !== undefined) allocator.claimed(record.key, vni)
      return []
    }

    const concerned = (change: Change): ReadonlyArray<ResourceKey> => {
      const { _tag, record } = change
      const { key } = record
      const left = projection.apply(change)
      if (key.kind === hostInterfaceKind) {
        return left.flatMap((vni) =>
          projection.interfaces(vni).map((placed) => networkInterfaceKey(placed.interface)),
        )
      }
      const waiting = waiters.waitingFor(key)
      if (_tag === "Remove") {
        waiters.wait(key, [])
        if (key.kind === networkInterfaceKind) projection.forget(record.uid)
        if (key.kind === nodeKind) observations.forget(key.name)
      }
      return key.kind === networkKind ? [...waiting, ...ofNetwork(change)] : waiting
    }

    return { begin, alsoWake: (change) => Effect.sync(() => concerned(change)) }
  })
