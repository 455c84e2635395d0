/** VNIs live as long as something of this host is in them: their routes and neighbour NATs go with the last of it. */
import { HashMap } from "effect"
import type { RouteSpec } from "../Dataplane.ts"
import { neighborNatDigest, routeDigest } from "../digest.ts"
import { find, key, type ModelState, removeRoute, type Route } from "./tables.ts"

export const routeSpec = (vni: number, route: Route): RouteSpec => ({
  vni,
  prefix: key(route.prefix),
  nextHop: route.nextHop,
  nextHopVni: route.nextHopVni,
  ...(route.hops === undefined ? {} : { hops: route.hops.list }),
})

/** Without the non-local routes of a VNI. */
export const clearVni = (state: ModelState, vni: number): ModelState => {
  let table = find(state.vnis, vni)
  if (table === undefined) return state
  let { digest, routeCount } = state
  for (const route of HashMap.toValues(table.routes)) {
    if (route.local !== undefined) continue
    table = removeRoute(table, route.prefix)
    digest ^= routeDigest(routeSpec(vni, route))
    routeCount--
  }
  return { ...state, digest, routeCount, vnis: HashMap.set(state.vnis, vni, table) }
}

/** One use less. */
export const releaseVni = (state: ModelState, vni: number): ModelState => {
  const table = find(state.vnis, vni)
  if (table === undefined) return state
  const references = table.references - 1
  if (references > 0) return { ...state, vnis: HashMap.set(state.vnis, vni, { ...table, references }) }
  const emptied = clearVni(state, vni)
  let { digest, neighborNats } = emptied
  for (const [group, ranges] of emptied.neighborNats) {
    if (ranges[0]?.vni !== vni) continue
    for (const range of ranges) digest ^= neighborNatDigest(range)
    neighborNats = HashMap.remove(neighborNats, group)
  }
  return { ...emptied, digest, neighborNats, vnis: HashMap.remove(emptied.vnis, vni) }
}
