/** Operations on routes. */
import { HashMap } from "effect"
import { type Hop, type RouteSpec, statusCodes } from "../Dataplane.ts"
import { routeDigest } from "../digest.ts"
import { format, parseAddress, parsePrefix } from "./address.ts"
import { buildMaglev, byAddress, hopSlots } from "./maglev.ts"
import { digested, done, failed, invalid, type Step } from "./result.ts"
import { addRoute, find, key, limits, type ModelState, removeRoute, type Route } from "./tables.ts"
import { clearVni, routeSpec } from "./vni.ts"

const badPrefix = (part: "address" | "length"): string =>
  part === "address" ? "Invalid route.prefix.ip" : "Invalid route.prefix.length"

/** Hops by address; or what is wrong with them. */
const checkHops = (asked: RouteSpec): ReadonlyArray<Hop> | string | number => {
  const hops =
    asked.hops === undefined || asked.hops.length === 0
      ? [{ address: asked.nextHop, vni: asked.nextHopVni, weight: 1 }]
      : asked.hops
  if (hops.length > limits.hops) return "Too many route.hops"
  const list: Array<Hop> = []
  for (const hop of hops) {
    const address = parseAddress(hop.address)
    if (address === undefined) return "Invalid route.nexthop_address"
    if (hop.weight > 256) return "Invalid route.hops.weight"
    list.push({ address: format(address.bytes), vni: hop.vni, weight: Math.max(1, hop.weight) })
  }
  if (list.some(({ address }) => !address.includes(":"))) return statusCodes.BAD_IPVER
  list.sort((a, b) => byAddress(a.address, b.address))
  return list.some((hop, i) => hop.address === list[i + 1]?.address) ? "Duplicate route.hops entry" : list
}

export const putRoute = (state: ModelState, asked: RouteSpec): Step => {
  const prefix = parsePrefix(asked.prefix)
  if (typeof prefix === "string") return invalid(state, badPrefix(prefix))
  const hops = checkHops(asked)
  if (typeof hops === "string") return invalid(state, hops)
  if (typeof hops === "number") return failed(state, hops)
  const table = find(state.vnis, asked.vni)
  if (table === undefined) return failed(state, statusCodes.NO_VNI)
  const [first] = hops
  const route: Route = {
    prefix,
    local: undefined,
    nextHop: first?.address ?? "::",
    nextHopVni: first?.vni ?? 0,
    ...(hops.length < 2 ? {} : { hops: { list: hops, slots: buildMaglev(hops, hopSlots) } }),
  }
  if (prefix.length > (prefix.family === 4 ? 32 : 128)) return failed(state, statusCodes.ROUTE_INSERT)
  const old = find(table.routes, key(prefix))
  if (old?.local !== undefined) return failed(state, statusCodes.ROUTE_EXISTS)
  if (old === undefined && state.routeCount >= state.config.routeCapacity)
    return failed(state, statusCodes.ROUTE_INSERT)
  const before = old === undefined ? 0n : routeDigest(routeSpec(asked.vni, old))
  const next: ModelState = {
    ...state,
    vnis: HashMap.set(state.vnis, asked.vni, addRoute(table, route)),
    routeCount: state.routeCount + (old === undefined ? 1 : 0),
  }
  return done(digested(next, routeDigest(routeSpec(asked.vni, route)), before))
}

export const deleteRoute = (state: ModelState, vni: number, text: string): Step => {
  const prefix = parsePrefix(text)
  if (typeof prefix === "string") return invalid(state, badPrefix(prefix))
  const table = find(state.vnis, vni)
  if (table === undefined) return failed(state, statusCodes.NO_VNI)
  const route = find(table.routes, key(prefix))
  if (route === undefined) return failed(state, statusCodes.ROUTE_NOT_FOUND)
  if (route.local !== undefined) return failed(state, statusCodes.ROUTE_BAD_PORT)
  const next = { ...state, vnis: HashMap.set(state.vnis, vni, removeRoute(table, prefix)) }
  return done(digested({ ...next, routeCount: state.routeCount - 1 }, routeDigest(routeSpec(vni, route))))
}

/** A VNI that nobody has is reset already. */
export const resetVni = (state: ModelState, vni: number): Step => done(clearVni(state, vni))
