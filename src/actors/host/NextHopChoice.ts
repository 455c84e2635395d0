/**
 * Which next hop of a destination a host programs. The dataplane takes one per prefix: the lowest address of
 * type STANDARD, so that every host chooses the same without asking another. Hops inside the host's own underlay
 * prefix are its own past (a reflector may still hold what an earlier dataplane had) and never chosen.
 */
import type { NextHop } from "#protocol/metalbond/RouteDistribution.ts"
import { containsPrefix, parseAddress, type Prefix } from "#protocol/net/Address.ts"

/** Undefined: no hop of this set is of use here. Canonical text of the underlay address otherwise. */
export const chooseNextHop = (hops: ReadonlyArray<NextHop>, underlay: Prefix): string | undefined => {
  let best: { readonly value: bigint; readonly address: string } | undefined
  for (const { address, type } of hops) {
    if (type !== "STANDARD") continue
    const parsed = parseAddress(address)
    if (parsed === undefined || parsed.family !== "IPv6") continue
    const host = { family: parsed.family, address: parsed.value, network: parsed.value, length: 128 }
    if (containsPrefix(underlay, host)) continue
    if (best === undefined || parsed.value < best.value) best = { value: parsed.value, address }
  }
  return best?.address
}
