/**
 * The table that all reflectors together give a host, by VNI, prefix and next hop. One per client, owned by
 * its single writer and changed in place.
 *
 * A hop counts its sources; a source is one route of one reflector, by its bytes. The hop is gone with its last
 * source, so that losing one of two reflectors, or one reflector's withdrawal during a fail-over, takes nothing
 * away that another still has. Sources of a lost reflector are stale: they count until that reflector is back
 * and level, or their hold time ends.
 *
 * Here wire destinations become prefixes: host bits are masked, and several wire destinations of one prefix are
 * several sources of it. Hops of a type without a name are left out.
 */
import type { NextHop, RouteChange } from "#protocol/metalbond/RouteDistribution.ts"
import { formatPrefix, hopKey, type Route, routeKey, toNextHop } from "#protocol/metalbond/Route.ts"

interface CountedHop {
  readonly hop: NextHop
  readonly key: string
  sources: number
}

interface Source {
  readonly prefix: string
  readonly hopKey: string
  /** Infinite while its reflector is there or has repeated it. */
  staleUntilMillis: number
}

export interface ClientTable {
  readonly vnis: Map<number, Map<string, Map<string, CountedHop>>>
  /** Reflector address -> VNI -> route key -> source. */
  readonly sources: Map<string, Map<number, Map<string, Source>>>
}

/** A destination whose hop set changed. */
export interface Touched {
  readonly vni: number
  readonly prefix: string
}

const live = Number.POSITIVE_INFINITY

export const make = (): ClientTable => ({ vnis: new Map(), sources: new Map() })

const entryOf = <K, V>(map: Map<K, V>, key: K, create: () => V): V => {
  let value = map.get(key)
  if (value === undefined) {
    value = create()
    map.set(key, value)
  }
  return value
}

/** A reflector announced a route; the destination, if that changed its hop set. */
export const add = (table: ClientTable, reflector: string, route: Route): Touched | undefined => {
  const { vni } = route
  const routes = entryOf(
    entryOf(table.sources, reflector, () => new Map<number, Map<string, Source>>()),
    vni,
    () => new Map<string, Source>(),
  )
  const key = routeKey(route)
  const known = routes.get(key)
  if (known !== undefined) {
    known.staleUntilMillis = live
    return undefined
  }
  const hop = toNextHop(route.hop)
  if (hop === undefined) return undefined
  const source = {
    prefix: formatPrefix(route.destination, true),
    hopKey: hopKey(route.hop),
    staleUntilMillis: live,
  }
  routes.set(key, source)
  const hops = entryOf(
    entryOf(table.vnis, vni, () => new Map<string, Map<string, CountedHop>>()),
    source.prefix,
    () => new Map<string, CountedHop>(),
  )
  const counted = hops.get(source.hopKey)
  if (counted !== undefined) {
    counted.sources++
    return undefined
  }
  hops.set(source.hopKey, { hop, key: source.hopKey, sources: 1 })
  return { vni, prefix: source.prefix }
}

const drop = (
  table: ClientTable,
  vni: number,
  routes: Map<string, Source>,
  key: string,
): Touched | undefined => {
  const source = routes.get(key)
  if (source === undefined) return undefined
  routes.delete(key)
  const prefixes = table.vnis.get(vni)!
  const hops = prefixes.get(source.prefix)!
  const counted = hops.get(source.hopKey)!
  if (--counted.sources > 0) return undefined
  hops.delete(source.hopKey)
  if (hops.size === 0) prefixes.delete(source.prefix)
  return { vni, prefix: source.prefix }
}

/** A reflector withdrew a route. */
export const remove = (table: ClientTable, reflector: string, route: Route): Touched | undefined => {
  const routes = table.sources.get(reflector)?.get(route.vni)
  return routes === undefined ? undefined : drop(table, route.vni, routes, routeKey(route))
}

/** A reflector is lost. Sources that are stale already keep their earlier end. */
export const hold = (table: ClientTable, reflector: string, untilMillis: number): void => {
  for (const routes of table.sources.get(reflector)?.values() ?? [])
    for (const source of routes.values())
      if (source.staleUntilMillis === live) source.staleUntilMillis = untilMillis
}

/** Ends stale sources of a reflector: those of a VNI (it is level), or those whose hold is over at `now`. */
export const sweep = (
  table: ClientTable,
  reflector: string,
  which: { readonly vni: number } | { readonly now: number },
): ReadonlyArray<Touched> => {
  const touched: Array<Touched> = []
  for (const [vni, routes] of table.sources.get(reflector) ?? []) {
    if ("vni" in which && which.vni !== vni) continue
    for (const [key, source] of routes) {
      if (source.staleUntilMillis === live) continue
      if ("now" in which && source.staleUntilMillis > which.now) continue
      const change = drop(table, vni, routes, key)
      if (change !== undefined) touched.push(change)
    }
  }
  return touched
}

/** The VNI is not subscribed any more. */
export const forgetVni = (table: ClientTable, vni: number): void => {
  table.vnis.delete(vni)
  for (const vnis of table.sources.values()) vnis.delete(vni)
}

const byAddress = (left: CountedHop, right: CountedHop): number =>
  left.hop.address < right.hop.address
    ? -1
    : left.hop.address > right.hop.address
      ? 1
      : left.key < right.key
        ? -1
        : left.key > right.key
          ? 1
          : 0

/** Names a hop of a destination, as `isOwn` is asked about it. */
export const ownKey = (vni: number, prefix: string, key: string): string => `${vni}|${prefix}|${key}`

/** The hop set of a destination without the host's own hops, sorted by address. */
export const hopSet = (
  table: ClientTable,
  vni: number,
  prefix: string,
  isOwn: (ownKey: string) => boolean,
): RouteChange => ({
  vni,
  prefix,
  nextHops: [...(table.vnis.get(vni)?.get(prefix)?.values() ?? [])]
    .filter(({ key }) => !isOwn(ownKey(vni, prefix, key)))
    .sort(byAddress)
    .map(({ hop }) => hop),
})

/** All destinations of a VNI that have a hop, sorted by prefix. */
export const destinations = (
  table: ClientTable,
  vni: number,
  isOwn: (ownKey: string) => boolean,
): ReadonlyArray<RouteChange> =>
  [...(table.vnis.get(vni)?.keys() ?? [])]
    .sort()
    .map((prefix) => hopSet(table, vni, prefix, isOwn))
    .filter(({ nextHops }) => nextHops.length > 0)
