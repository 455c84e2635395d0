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
  Hop as WireHop,
  InterfaceSpec as WireSpec,
  InterfaceState as WireInterface,
  ListAllResponse,
  ListBatch,
  Operation as WireOperation,
  OperationSchema,
  Route as WireRoute,
} from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import type {
  DataplaneListing,
  DataplaneState,
  Hop,
  InterfaceSpec,
  InterfaceState,
  Operation,
  OperationResult,
  RouteSpec,
} from "./Dataplane.ts"
import {
  canonical4,
  canonical6,
  canonicalPrefix,
  fail,
  quote,
  uint32,
  within,
  WireViolation,
} from "./field.ts"
import { parsePrefix, prefixText } from "./model/address.ts"
import * as Services from "./serviceListing.ts"
import * as Service from "./serviceWire.ts"

export { WireViolation } from "./field.ts"

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
  hops: 32,
  tables: 64,
} as const

const specOf = (spec: WireSpec): InterfaceSpec => ({
  id: /^[A-Za-z0-9_-]{1,63}$/.test(spec.id)
    ? spec.id
    : fail(`interface.id: ${quote(spec.id)} is not 1 to 63 of [A-Za-z0-9_-]`),
  vni: spec.vni,
  ipv4: spec.ipv4 === "" ? undefined : canonical4("interface.ipv4", spec.ipv4),
  ipv6: spec.ipv6 === "" ? undefined : canonical6("interface.ipv6", spec.ipv6),
  device: within("interface.device", spec.device, 1, 63),
  hostname: spec.hostname === "" ? undefined : within("interface.hostname", spec.hostname, 1, 63),
  ...settingsOf(spec),
})

/** The rest, where it is not as it is by default. */
const settingsOf = (spec: WireSpec): Partial<InterfaceSpec> => ({
  ...(spec.totalRate === 0n ? {} : { totalRate: rateOf("interface.total_rate", spec.totalRate) }),
  ...(spec.publicRate === 0n ? {} : { publicRate: rateOf("interface.public_rate", spec.publicRate) }),
  ...(spec.pxeServer === "" && spec.pxeFile === ""
    ? {}
    : {
        pxe: {
          server: within("interface.pxe_server", spec.pxeServer, 1, 63),
          file: within("interface.pxe_file", spec.pxeFile, 1, 63),
        },
      }),
  ...(spec.spoofCheckOff ? { spoofCheckOff: true } : {}),
  ...(spec.flowLimit === 0 ? {} : { flowLimit: spec.flowLimit }),
  ...(spec.flowRate === 0 ? {} : { flowRate: spec.flowRate }),
  ...(spec.underlayAddress === ""
    ? {}
    : { underlayAddress: canonical6("interface.spec.underlay_address", spec.underlayAddress) }),
})

const rateOf = (field: string, rate: bigint): number =>
  rate <= 0xffff_ffffn ? Number(rate) : fail(`${field}: ${rate} is more than 2^32 - 1`)

const interfaceOf = (entry: WireInterface): InterfaceState => ({
  spec: entry.spec === undefined ? fail("interface: no spec") : specOf(entry.spec),
  underlayAddress: canonical6("interface.underlay_address", entry.underlayAddress),
  device: within("interface.device", entry.device, 1, bounds.device),
})

const routeOf = (route: WireRoute): RouteSpec => {
  const plain = {
    vni: route.vni,
    prefix: canonicalPrefix("route.prefix", route.prefix),
    nextHop: canonical6("route.next_hop", route.nextHop),
    nextHopVni: route.nextHopVni,
  }
  if (route.hops.length === 0) return plain
  if (route.hops.length < 2 || route.hops.length > bounds.hops)
    return fail(`route.hops: ${route.hops.length}, not 2 to ${bounds.hops}`)
  return { ...plain, hops: route.hops.map(hopOf) }
}

const hopOf = ({ address, vni, weight }: WireHop): Hop => ({
  address: canonical6("route.hops.address", address),
  vni,
  weight: weight >= 1 && weight <= 256 ? weight : fail(`route.hops.weight: ${weight} is not 1 to 256`),
})

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
    ...(state.tables.length === 0
      ? {}
      : {
          tables: new Map(
            state.tables
              .slice(0, bounds.tables)
              .map(({ name, used, capacity }) => [within("table.name", name, 1, 63), { used, capacity }]),
          ),
        }),
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
    if (result.code === 0 && result.underlayAddress !== "")
      return {
        code: 0,
        message,
        underlayAddress: canonical6("result.underlay_address", result.underlayAddress),
      }
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
  readonly services: Services.PartialServices
  state: DataplaneState | undefined
}

export const emptyListing = (): PartialListing => ({
  interfaces: [],
  routes: [],
  services: Services.emptyServices(),
  state: undefined,
})

/** Adds one item: interfaces, then routes, then services, then one summary. */
export const decodeItem = (listing: PartialListing, { item }: ListAllResponse): void => {
  if (listing.state !== undefined) return fail("list: something follows the summary")
  switch (item.case) {
    case "interface":
      return decodeInterface(listing, item.value)
    case "route":
      return decodeRoute(listing, item.value)
    case "batch":
      return decodeBatch(listing, item.value)
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

const decodeBatch = (listing: PartialListing, batch: ListBatch): void => {
  for (const entry of batch.interfaces) decodeInterface(listing, entry)
  for (const route of batch.routes) decodeRoute(listing, route)
  Services.decodeBatch(listing.services, batch)
}

const decodeInterface = (listing: PartialListing, entry: WireInterface): void => {
  if (listing.routes.length > 0) return fail("list: an interface follows a route")
  if (Services.any(listing.services)) return fail("list: an interface follows a service")
  if (listing.interfaces.length >= bounds.interfaces) return fail("list: too many interfaces")
  listing.interfaces.push(interfaceOf(entry))
}

const decodeRoute = (listing: PartialListing, route: WireRoute): void => {
  if (Services.any(listing.services)) return fail("list: a route follows a service")
  if (listing.routes.length >= bounds.routes) return fail("list: too many routes")
  listing.routes.push(routeOf(route))
}

export const finishListing = (listing: PartialListing): DataplaneListing => ({
  interfaces: listing.interfaces,
  routes: listing.routes,
  ...listing.services,
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
    default:
      return { operation: Service.encode(operation) }
  }
}

export const encodeSpec = (spec: InterfaceSpec) => ({
  id: spec.id,
  vni: uint32("interface.vni", spec.vni),
  ipv4: spec.ipv4 ?? "",
  ipv6: spec.ipv6 ?? "",
  device: spec.device,
  hostname: spec.hostname ?? "",
  totalRate: encodeRate("interface.total_rate", spec.totalRate),
  publicRate: encodeRate("interface.public_rate", spec.publicRate),
  pxeServer: spec.pxe?.server ?? "",
  pxeFile: spec.pxe?.file ?? "",
  spoofCheckOff: spec.spoofCheckOff ?? false,
  flowLimit: uint32("interface.flow_limit", spec.flowLimit ?? 0),
  flowRate: uint32("interface.flow_rate", spec.flowRate ?? 0),
  underlayAddress: spec.underlayAddress ?? "",
})

const encodeRate = (field: string, rate: number | undefined): bigint =>
  Number.isSafeInteger(rate ?? 0) && (rate ?? 0) >= 0
    ? BigInt(rate ?? 0)
    : fail(`${field}: ${rate} is not a whole number`)

export const encodeRoute = (route: RouteSpec) => ({
  vni: uint32("route.vni", route.vni),
  prefix: route.prefix,
  nextHop: route.nextHop,
  nextHopVni: uint32("route.next_hop_vni", route.nextHopVni),
  hops: (route.hops ?? []).map(({ address, vni, weight }) => ({
    address,
    vni: uint32("route.hops.vni", vni),
    weight: uint32("route.hops.weight", weight),
  })),
})

/** For a server in TypeScript. Fields travel as they are: checking their meaning is what it is asked for. */
export const decodeOperation = ({ operation }: WireOperation): Operation => {
  switch (operation.case) {
    case "createInterface": {
      const { id, vni, ipv4, ipv6, device, hostname, ...more } = operation.value
      return {
        _tag: "CreateInterface",
        spec: {
          id,
          vni,
          ipv4: ipv4 || undefined,
          ipv6: ipv6 || undefined,
          device,
          hostname: hostname || undefined,
          ...asked({
            totalRate: Number(more.totalRate),
            publicRate: Number(more.publicRate),
            spoofCheckOff: more.spoofCheckOff,
            flowLimit: more.flowLimit,
            flowRate: more.flowRate,
            underlayAddress: more.underlayAddress,
          }),
          ...(more.pxeServer === "" && more.pxeFile === ""
            ? {}
            : { pxe: { server: more.pxeServer, file: more.pxeFile } }),
        },
      }
    }
    case "deleteInterface":
      return { _tag: "DeleteInterface", id: operation.value }
    case "putRoute": {
      const { vni, prefix, nextHop, nextHopVni, hops } = operation.value
      const several = hops.length === 0 ? {} : { hops: hops.map(plainHop) }
      return { _tag: "PutRoute", route: { vni, prefix, nextHop, nextHopVni, ...several } }
    }
    case "deleteRoute":
      return { _tag: "DeleteRoute", vni: operation.value.vni, prefix: operation.value.prefix }
    case "resetVni":
      return { _tag: "ResetVni", vni: operation.value }
    case undefined:
      return fail("operation: nothing is asked for")
    default:
      return Service.decode(operation)
  }
}

const plainHop = ({ address, vni, weight }: WireHop): Hop => ({ address, vni, weight: weight || 1 })

/** Only what is not as it is by default. */
const asked = (spec: Partial<InterfaceSpec>): Partial<InterfaceSpec> =>
  Object.fromEntries(Object.entries(spec).filter(([, value]) => Boolean(value)))
