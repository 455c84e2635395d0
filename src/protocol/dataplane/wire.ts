/**
 * `ferrite.dataplane.v1` messages as operations and back, with every field checked.
 *
 * Both sides of the wire stand here: the client encodes operations and decodes answers, a server in TypeScript
 * does the reverse. Decoding gives the value, or one line that says which field broke which rule; a dataplane
 * that sends such a thing is not to be trusted further.
 */
import type { MessageInitShape } from "@bufbuild/protobuf"
import type {
  ApplyResponse,
  GetCountersResponse,
  GetStateResponse,
  InterfaceSpec as WireSpec,
  InterfaceState as WireInterface,
  ListAllResponse,
  Operation as WireOperation,
  OperationSchema,
  Route as WireRoute,
} from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import type {
  DataplaneListing,
  DataplaneState,
  InterfaceSpec,
  InterfaceState,
  Operation,
  OperationResult,
  RouteSpec,
} from "./Dataplane.ts"
import { formatIpv4, formatIpv6, parseIpv4, parseIpv6, parsePrefix, prefixText } from "./model/address.ts"

/** A broken rule, in one line. */
export class WireViolation extends Error {}

const fail = (rule: string): never => {
  throw new WireViolation(rule)
}

/** Runs a decoder; its violation becomes a value. */
export const checked = <A>(
  decode: () => A,
): { readonly ok: true; readonly value: A } | { readonly ok: false; readonly reason: string } => {
  try {
    return { ok: true, value: decode() }
  } catch (error) {
    if (error instanceof WireViolation) return { ok: false, reason: error.message }
    throw error
  }
}

const bounds = {
  interfaces: 16_383,
  routes: 1 << 20,
  counters: 1 << 18,
  counterName: 160,
  device: 127,
  message: 512,
  version: 128,
} as const

const quote = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text)

const canonical6 = (field: string, text: string): string => {
  const bytes = parseIpv6(text)
  return bytes !== undefined && formatIpv6(bytes) === text
    ? text
    : fail(`${field}: ${quote(text)} is not a canonical IPv6 address`)
}

const canonical4 = (field: string, text: string): string => {
  const bytes = parseIpv4(text)
  return bytes !== undefined && formatIpv4(bytes) === text
    ? text
    : fail(`${field}: ${quote(text)} is not an IPv4 address`)
}

const within = (field: string, text: string, least: number, most: number): string =>
  text.length >= least && text.length <= most
    ? text
    : fail(`${field}: ${text.length} characters, not ${least} to ${most}`)

const specOf = (spec: WireSpec): InterfaceSpec => ({
  id: /^[A-Za-z0-9_-]{1,63}$/.test(spec.id)
    ? spec.id
    : fail(`interface.id: ${quote(spec.id)} is not 1 to 63 of [A-Za-z0-9_-]`),
  vni: spec.vni,
  ipv4: spec.ipv4 === "" ? undefined : canonical4("interface.ipv4", spec.ipv4),
  ipv6: spec.ipv6 === "" ? undefined : canonical6("interface.ipv6", spec.ipv6),
  device: within("interface.device", spec.device, 1, 63),
  hostname: spec.hostname === "" ? undefined : within("interface.hostname", spec.hostname, 1, 63),
})

const interfaceOf = (entry: WireInterface): InterfaceState => ({
  spec: entry.spec === undefined ? fail("interface: no spec") : specOf(entry.spec),
  underlayAddress: canonical6("interface.underlay_address", entry.underlayAddress),
  device: within("interface.device", entry.device, 1, bounds.device),
})

const routeOf = (route: WireRoute): RouteSpec => {
  const prefix = parsePrefix(route.prefix)
  if (typeof prefix === "string" || prefixText(prefix) !== route.prefix)
    return fail(`route.prefix: ${quote(route.prefix)} is not a canonical, masked prefix`)
  if (prefix.length > (prefix.family === 4 ? 32 : 128))
    return fail(`route.prefix: ${quote(route.prefix)} is longer than its family`)
  return {
    vni: route.vni,
    prefix: route.prefix,
    nextHop: canonical6("route.next_hop", route.nextHop),
    nextHopVni: route.nextHopVni,
  }
}

/** Throws `WireViolation`; use within `checked`, as all decoders here. */
export const decodeState = (state: GetStateResponse): DataplaneState => {
  const prefix = parsePrefix(state.underlayPrefix)
  if (typeof prefix === "string" || prefix.family !== 6 || prefix.length !== 64)
    return fail(`underlay_prefix: ${quote(state.underlayPrefix)} is not an IPv6 /64`)
  return {
    uuid: /^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$/.test(state.uuid)
      ? state.uuid
      : fail(`uuid: ${quote(state.uuid)} is not a UUID`),
    initialized: state.initialized,
    digest: state.digest,
    underlayPrefix: prefixText(prefix),
    version: within("version", state.version, 0, bounds.version),
  }
}

/** `operations`: what this is the answer to. */
export const decodeResults = (
  response: ApplyResponse,
  operations: ReadonlyArray<Operation>,
): ReadonlyArray<OperationResult> => {
  if (response.results.length !== operations.length)
    return fail(`results: ${response.results.length} for ${operations.length} operations`)
  return response.results.map((result, index) => {
    const operation = operations[index]
    const message = within("result.message", result.message, 0, bounds.message)
    if (result.code > 999) return fail(`result.code: ${result.code} is not a status code`)
    if (result.code !== 0 || operation?._tag !== "CreateInterface") return { code: result.code, message }
    const made = result.interface === undefined ? fail("result: no interface") : interfaceOf(result.interface)
    if (made.spec.id !== operation.spec.id)
      return fail(`result.interface: is ${quote(made.spec.id)}, not ${quote(operation.spec.id)}`)
    return { code: 0, message, interface: made }
  })
}

/** A listing while it arrives. */
export interface PartialListing {
  readonly interfaces: Array<InterfaceState>
  readonly routes: Array<RouteSpec>
  state: DataplaneState | undefined
}

export const emptyListing = (): PartialListing => ({ interfaces: [], routes: [], state: undefined })

/** Adds one item: interfaces, then routes, then one summary. */
export const decodeItem = (listing: PartialListing, { item }: ListAllResponse): void => {
  if (listing.state !== undefined) return fail("list: something follows the summary")
  switch (item.case) {
    case "interface":
      if (listing.routes.length > 0) return fail("list: an interface follows a route")
      if (listing.interfaces.length >= bounds.interfaces) return fail("list: too many interfaces")
      listing.interfaces.push(interfaceOf(item.value))
      return
    case "route":
      if (listing.routes.length >= bounds.routes) return fail("list: too many routes")
      listing.routes.push(routeOf(item.value))
      return
    case "summary":
      if (
        item.value.interfaces !== listing.interfaces.length ||
        item.value.routes !== BigInt(listing.routes.length)
      )
        return fail("list: the summary counts otherwise than the list")
      listing.state = decodeState(item.value)
      return
    default:
      return fail("list: an item without a value")
  }
}

export const finishListing = (listing: PartialListing): DataplaneListing => ({
  interfaces: listing.interfaces,
  routes: listing.routes,
  state: listing.state ?? fail("list: ended without a summary"),
})

export const decodeCounters = (response: GetCountersResponse): ReadonlyMap<string, bigint> => {
  if (response.counters.length > bounds.counters) return fail("counters: too many")
  const out = new Map<string, bigint>()
  for (const { name, value } of response.counters) {
    if (!/^[\x21-\x7e]+$/.test(within("counter.name", name, 1, bounds.counterName)))
      return fail(`counter.name: ${quote(name)} is not printable`)
    out.set(name, value)
  }
  return out
}

const uint32 = (field: string, value: number): number =>
  Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff
    ? value
    : fail(`${field}: ${value} is not an unsigned 32-bit number`)

type OperationInit = MessageInitShape<typeof OperationSchema>

/** Refuses only what has no form on the wire; meaning is the dataplane's to check. */
export const encodeOperation = (operation: Operation): OperationInit => {
  switch (operation._tag) {
    case "CreateInterface":
      return { operation: { case: "createInterface", value: encodeSpec(operation.spec) } }
    case "DeleteInterface":
      return { operation: { case: "deleteInterface", value: operation.id } }
    case "PutRoute":
      return { operation: { case: "putRoute", value: encodeRoute(operation.route) } }
    case "DeleteRoute":
      return {
        operation: {
          case: "deleteRoute",
          value: { vni: uint32("route.vni", operation.vni), prefix: operation.prefix },
        },
      }
    case "ResetVni":
      return { operation: { case: "resetVni", value: uint32("vni", operation.vni) } }
  }
}

export const encodeSpec = (spec: InterfaceSpec) => ({
  id: spec.id,
  vni: uint32("interface.vni", spec.vni),
  ipv4: spec.ipv4 ?? "",
  ipv6: spec.ipv6 ?? "",
  device: spec.device,
  hostname: spec.hostname ?? "",
})

export const encodeRoute = (route: RouteSpec) => ({
  vni: uint32("route.vni", route.vni),
  prefix: route.prefix,
  nextHop: route.nextHop,
  nextHopVni: uint32("route.next_hop_vni", route.nextHopVni),
})

/** For a server in TypeScript. Fields travel as they are: checking their meaning is what it is asked for. */
export const decodeOperation = ({ operation }: WireOperation): Operation => {
  switch (operation.case) {
    case "createInterface": {
      const { id, vni, ipv4, ipv6, device, hostname } = operation.value
      return {
        _tag: "CreateInterface",
        spec: {
          id,
          vni,
          ipv4: ipv4 || undefined,
          ipv6: ipv6 || undefined,
          device,
          hostname: hostname || undefined,
        },
      }
    }
    case "deleteInterface":
      return { _tag: "DeleteInterface", id: operation.value }
    case "putRoute": {
      const { vni, prefix, nextHop, nextHopVni } = operation.value
      return { _tag: "PutRoute", route: { vni, prefix, nextHop, nextHopVni } }
    }
    case "deleteRoute":
      return { _tag: "DeleteRoute", vni: operation.value.vni, prefix: operation.value.prefix }
    case "resetVni":
      return { _tag: "ResetVni", vni: operation.value }
    default:
      return fail("operation: nothing is asked for")
  }
}
