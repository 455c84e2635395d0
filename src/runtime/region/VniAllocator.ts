/**
 * The region's VniPool as an actor of this controller: proposes the lowest free VNI, and wakes who waits for one.
 *
 * Its index follows the store's claims and may be behind; the commit that claims a VNI decides. What is proposed is
 * held back from others until the claim is seen or refused, so that many networks at once do not run into each other.
 * A proposal whose commit never came is found at the next `refresh`.
 */
import { Context, Effect, Layer } from "effect"
import * as VniPool from "#actors/region/VniPool.ts"
import { vniPoolName } from "#actors/region/NetworkPlan.ts"
import { compareKeys, formatKey, type ResourceKey } from "#protocol/resource/Resource.ts"
import { ResourceStore, type StoreUnavailable } from "#protocol/store/ResourceStore.ts"

export class VniAllocator extends Context.Service<
  VniAllocator,
  {
    /** The same network gets the same proposal until it is taken or refused. */
    readonly propose: (network: ResourceKey) => number | "Exhausted"
    /** The commit with this VNI failed: another has it. */
    readonly refused: (network: ResourceKey, vni: number) => void
    /** The network is gone, and its VNI, where it had one, is free; those who wait for one. */
    readonly gone: (network: ResourceKey, vni: number | undefined) => ReadonlyArray<ResourceKey>
    /** A network has claimed this VNI, here or on another controller. */
    readonly claimed: (network: ResourceKey, vni: number) => void
    /** Reads all claims again. */
    readonly refresh: Effect.Effect<void, StoreUnavailable>
  }
>()("ferrite/VniAllocator") {}

const make = (range: VniPool.VniRange) =>
  Effect.gen(function* () {
    const store = yield* ResourceStore
    let pool = VniPool.make(range)
    const proposals = new Map<string, number>()
    const waiting = new Map<string, ResourceKey>()

    const refresh = Effect.map(store.claims(vniPoolName), (claims) => {
      pool = VniPool.make(
        range,
        claims.map(({ value }) => Number(value)),
      )
      for (const vni of proposals.values()) VniPool.claim(pool, vni)
    })
    yield* refresh

    return VniAllocator.of({
      refresh,
      propose: (network) => {
        const name = formatKey(network)
        const held = proposals.get(name)
        if (held !== undefined) return held
        const vni = VniPool.nextFree(pool)
        if (vni === undefined) {
          waiting.set(name, network)
          return "Exhausted"
        }
        VniPool.claim(pool, vni)
        proposals.set(name, vni)
        waiting.delete(name)
        return vni
      },
      refused: (network, vni) => {
        // It stays marked as used: whoever has it will be seen to release it.
        if (proposals.get(formatKey(network)) === vni) proposals.delete(formatKey(network))
      },
      claimed: (network, vni) => {
        const name = formatKey(network)
        const held = proposals.get(name)
        if (held !== undefined && held !== vni) VniPool.release(pool, held)
        proposals.delete(name)
        VniPool.claim(pool, vni)
      },
      gone: (network, vni) => {
        const name = formatKey(network)
        const held = proposals.get(name)
        proposals.delete(name)
        waiting.delete(name)
        for (const free of [vni, held]) if (free !== undefined) VniPool.release(pool, free)
        const woken = [...waiting.values()].toSorted(compareKeys)
        waiting.clear()
        return woken
      },
    })
  })

/** `range`: for tests; production has the whole of it. */
export const layer = (
  range: VniPool.VniRange = VniPool.fullRange,
): Layer.Layer<VniAllocator, StoreUnavailable, ResourceStore> => Layer.effect(VniAllocator, make(range))
