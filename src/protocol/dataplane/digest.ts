/**
 * The digest by which two sides see that they hold the same interfaces and routes without listing them.
 *
 * XOR of FNV-1a 64 over one line of text per entry, as `ferrite.dataplane.v1.GetStateResponse.digest` says. XOR
 * makes it independent of order and lets a table keep it up to date entry by entry: adding and removing are the
 * same operation.
 */
import type { InterfaceSpec, RouteSpec } from "./Dataplane.ts"
import { fnv1a64 } from "./model/bytes.ts"

const encoder = new TextEncoder()

/** Of one interface; addresses and device as they were asked for, canonical. */
export const interfaceDigest = (spec: InterfaceSpec): bigint =>
  fnv1a64(
    encoder.encode(
      `i|${spec.id}|${spec.vni}|${spec.ipv4 ?? ""}|${spec.ipv6 ?? ""}|${spec.device}|${spec.hostname ?? ""}`,
    ),
  )

/** Of one route; prefix masked, addresses canonical. */
export const routeDigest = (route: RouteSpec): bigint =>
  fnv1a64(encoder.encode(`r|${route.vni}|${route.prefix}|${route.nextHop}|${route.nextHopVni}`))

/** Of everything; zero when there is nothing. */
export const digestOf = (interfaces: Iterable<InterfaceSpec>, routes: Iterable<RouteSpec>): bigint => {
  let digest = 0n
  for (const spec of interfaces) digest ^= interfaceDigest(spec)
  for (const route of routes) digest ^= routeDigest(route)
  return digest
}
