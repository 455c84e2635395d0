/**
 * Operations on the model's tables: the checks of spec dataplane-grpc §4 and §5 in their order, with their codes.
 *
 * Two things differ from dpdkironcore.v1, as ferrite.dataplane.v1 says: creating an interface that exists with
 * the same values is a success, and putting a route replaces one with the same prefix.
 */
import { HashMap } from "effect"
import {
  type InterfaceSpec,
  type InterfaceState,
  type Operation,
  type OperationResult,
  type RouteSpec,
  statusCodes,
} from "../Dataplane.ts"
import { interfaceDigest, routeDigest } from "../digest.ts"
import { broadcastMac, format, isZero, parseAddress, parseIpv4, parseIpv6, parsePrefix } from "./address.ts"
import {
  addRoute,
  emptyVni,
  find,
  gatewayMacOf,
  giveIndex,
  type Interface,
  key,
  type ModelState,
  ownPrefixes,
  removeRoute,
  type Route,
  takeIndex,
  underlayAddressOf,
} from "./tables.ts"

export interface Step {
  readonly state: ModelState
  readonly result: OperationResult
}

const codeNames: ReadonlyMap<number, string> = new Map(
  Object.entries(statusCodes).map(([name, code]) => [code, name]),
)

/** Message of a code: "Success", or its name. */
export const messageOf = (code: number): string =>
  code === 0 ? "Success" : (codeNames.get(code) ?? `${code}`)

const done = (state: ModelState): Step => ({ state, result: { code: 0, message: messageOf(0) } })
const failed = (state: ModelState, code: number, message = messageOf(code)): Step => ({
  state,
  result: { code, message },
})
const invalid = (state: ModelState, text: string): Step => failed(state, statusCodes.INVALID_ARGUMENT, text)

export const operate = (state: ModelState, operation: Operation): Step => {
  switch (operation._tag) {
    case "CreateInterface":
      return createInterface(state, operation.spec)
    case "DeleteInterface":
      return deleteInterface(state, operation.id)
    case "PutRoute":
      return putRoute(state, operation.route)
    case "DeleteRoute":
      return deleteRoute(state, operation.vni, operation.prefix)
    case "ResetVni":
      return resetVni(state, operation.vni)
    default:
      return failed(state, statusCodes.UNIMPLEMENTED)
  }
}

export const stateOf = (entry: Interface): InterfaceState => ({
  spec: entry.spec,
  underlayAddress: entry.underlayAddress,
  device: entry.device,
})

/** Canonical text; `undefined` is none, also for the zero address; "invalid" is not an address of the family. */
const optionalAddress = (
  text: string | undefined,
  parse: (text: string) => Uint8Array | undefined,
): string | undefined | { readonly invalid: true } => {
  if (text === undefined || text === "") return undefined
  const bytes = parse(text)
  if (bytes === undefined) return { invalid: true }
  return isZero(bytes) ? undefined : format(bytes)
}

/** Names are C strings in the native engine: bounded bytes, none of them zero. */
const named = (text: string, least: number, most: number): boolean => {
  const size = new TextEncoder().encode(text).length
  return size >= least && size <= most && !text.includes("\0")
}

/** 24 bits, and zero is none. */
const maxVni = 0xff_ffff

/** Canonical spec, or the text of the first check that fails. A VNI is looked at when it is used. */
export const checkInterface = (spec: InterfaceSpec): InterfaceSpec | string => {
  if (!/^[A-Za-z0-9_-]{1,63}$/.test(spec.id)) return "Invalid interface_id"
  const ipv4 = optionalAddress(spec.ipv4, parseIpv4)
  if (typeof ipv4 === "object") return "Invalid ipv4_config.primary_address"
  const ipv6 = optionalAddress(spec.ipv6, parseIpv6)
  if (typeof ipv6 === "object") return "Invalid ipv6_config.primary_address"
  if (ipv4 === undefined && ipv6 === undefined)
    return "Invalid ipv4_config.primary_address and ipv6_config.primary_address combination"
  if (!named(spec.device, 1, 63)) return "Invalid device_name"
  if (!named(spec.hostname ?? "", 0, 63)) return "Invalid hostname"
  const hostname = spec.hostname === "" ? undefined : spec.hostname
  return { id: spec.id, vni: spec.vni, ipv4, ipv6, device: spec.device, hostname }
}

const sameSpec = (a: InterfaceSpec, b: InterfaceSpec): boolean =>
  a.id === b.id &&
  a.vni === b.vni &&
  a.ipv4 === b.ipv4 &&
  a.ipv6 === b.ipv6 &&
  a.device === b.device &&
  a.hostname === b.hostname

/** KIND:DEVICE that a device name stands for; `undefined`: neither a port given at start nor a kind that can be made. */
const resolveDevice = (state: ModelState, device: string): string | undefined =>
  state.config.ports.get(device) ?? (device.startsWith("vtap:") ? device : undefined)

/** A kernel name; ports given at start were opened already. */
const opens = (state: ModelState, device: string): boolean =>
  state.config.ports.has(device) || /^vtap:[^/\s%]{1,15}$/.test(device)

const createInterface = (state: ModelState, asked: InterfaceSpec): Step => {
  const spec = checkInterface(asked)
  if (typeof spec === "string") return invalid(state, spec)
  const present = find(state.interfaces, spec.id)
  if (present !== undefined && sameSpec(present.spec, spec))
    return { state, result: { code: 0, message: messageOf(0), interface: stateOf(present) } }
  if (present !== undefined) return failed(state, statusCodes.ALREADY_EXISTS)

  const device = resolveDevice(state, spec.device)
  if (device === undefined) return failed(state, statusCodes.NOT_FOUND)
  if (HashMap.has(state.devices, device)) return failed(state, statusCodes.ALREADY_EXISTS)
  const taken = takeIndex(state.indices)
  if (taken === undefined) return failed(state, statusCodes.VNF_INSERT)
  if (spec.vni < 1 || spec.vni > maxVni) return failed(state, statusCodes.VNI_INIT4)
  let table = find(state.vnis, spec.vni) ?? emptyVni
  for (const prefix of ownPrefixes(spec)) {
    if (HashMap.has(table.routes, key(prefix))) return failed(state, statusCodes.ROUTE_EXISTS)
    table = addRoute(table, { prefix, local: spec.id, nextHop: "::", nextHopVni: 0 })
  }

  if (!opens(state, spec.device)) return failed(state, statusCodes.NOT_FOUND)

  const { index, generation, indices } = taken
  const entry: Interface = {
    spec,
    index,
    underlayAddress: underlayAddressOf(state.config, index, generation),
    device: device.slice(device.indexOf(":") + 1),
    gatewayMac: state.config.macs.get(device) ?? gatewayMacOf(device),
    vmMac: broadcastMac,
  }
  return {
    state: {
      ...state,
      interfaces: HashMap.set(state.interfaces, spec.id, entry),
      devices: HashMap.set(state.devices, device, spec.id),
      underlay: HashMap.set(state.underlay, entry.underlayAddress, spec.id),
      indices,
      vnis: HashMap.set(state.vnis, spec.vni, { ...table, references: table.references + 1 }),
      digest: state.digest ^ interfaceDigest(spec),
    },
    result: { code: 0, message: messageOf(0), interface: stateOf(entry) },
  }
}

const deleteInterface = (state: ModelState, id: string): Step => {
  if (!named(id, 1, 63)) return invalid(state, "Invalid interface_id")
  const entry = find(state.interfaces, id)
  if (entry === undefined) return failed(state, statusCodes.NOT_FOUND)
  const device = resolveDevice(state, entry.spec.device) ?? entry.spec.device
  const withdrawn: ModelState = {
    ...state,
    interfaces: HashMap.remove(state.interfaces, id),
    devices: HashMap.remove(state.devices, device),
    underlay: HashMap.remove(state.underlay, entry.underlayAddress),
    indices: giveIndex(state.indices, entry.index),
    digest: state.digest ^ interfaceDigest(entry.spec),
  }
  let table = find(state.vnis, entry.spec.vni) ?? emptyVni
  for (const prefix of ownPrefixes(entry.spec)) table = removeRoute(table, prefix)
  const references = table.references - 1
  const vni = entry.spec.vni
  if (references > 0)
    return done({ ...withdrawn, vnis: HashMap.set(withdrawn.vnis, vni, { ...table, references }) })
  const emptied = clear(withdrawn, vni)
  return done({ ...emptied, vnis: HashMap.remove(emptied.vnis, vni) })
}

export const routeSpec = (vni: number, route: Route): RouteSpec => ({
  vni,
  prefix: key(route.prefix),
  nextHop: route.nextHop,
  nextHopVni: route.nextHopVni,
})

/** Without the non-local routes of a VNI. */
const clear = (state: ModelState, vni: number): ModelState => {
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

const badPrefix = (part: "address" | "length"): string =>
  part === "address" ? "Invalid route.prefix.ip" : "Invalid route.prefix.length"

const putRoute = (state: ModelState, asked: RouteSpec): Step => {
  const prefix = parsePrefix(asked.prefix)
  if (typeof prefix === "string") return invalid(state, badPrefix(prefix))
  const hop = parseAddress(asked.nextHop)
  if (hop === undefined) return invalid(state, "Invalid route.nexthop_address")
  if (hop.family === 4) return failed(state, statusCodes.BAD_IPVER)
  const table = find(state.vnis, asked.vni)
  if (table === undefined) return failed(state, statusCodes.NO_VNI)
  const route: Route = {
    prefix,
    local: undefined,
    nextHop: format(hop.bytes),
    nextHopVni: asked.nextHopVni,
  }
  if (prefix.length > (prefix.family === 4 ? 32 : 128)) return failed(state, statusCodes.ROUTE_INSERT)
  const old = find(table.routes, key(prefix))
  if (old?.local !== undefined) return failed(state, statusCodes.ROUTE_EXISTS)
  if (old === undefined && state.routeCount >= state.config.routeCapacity)
    return failed(state, statusCodes.ROUTE_INSERT)
  return done({
    ...state,
    vnis: HashMap.set(state.vnis, asked.vni, addRoute(table, route)),
    routeCount: state.routeCount + (old === undefined ? 1 : 0),
    digest:
      state.digest ^
      routeDigest(routeSpec(asked.vni, route)) ^
      (old === undefined ? 0n : routeDigest(routeSpec(asked.vni, old))),
  })
}

const deleteRoute = (state: ModelState, vni: number, text: string): Step => {
  const prefix = parsePrefix(text)
  if (typeof prefix === "string") return invalid(state, badPrefix(prefix))
  const table = find(state.vnis, vni)
  if (table === undefined) return failed(state, statusCodes.NO_VNI)
  const route = find(table.routes, key(prefix))
  if (route === undefined) return failed(state, statusCodes.ROUTE_NOT_FOUND)
  if (route.local !== undefined) return failed(state, statusCodes.ROUTE_BAD_PORT)
  return done({
    ...state,
    vnis: HashMap.set(state.vnis, vni, removeRoute(table, prefix)),
    routeCount: state.routeCount - 1,
    digest: state.digest ^ routeDigest(routeSpec(vni, route)),
  })
}

/** A VNI that nobody has is reset already. */
const resetVni = (state: ModelState, vni: number): Step => done(clear(state, vni))

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** Interfaces by id. */
export const listInterfaces = (state: ModelState): ReadonlyArray<InterfaceState> =>
  HashMap.toValues(state.interfaces)
    .map(stateOf)
    .sort((a, b) => byText(a.spec.id, b.spec.id))

/** Non-local routes by VNI, then prefix text. */
export const listRoutes = (state: ModelState): ReadonlyArray<RouteSpec> =>
  HashMap.toEntries(state.vnis)
    .flatMap(([vni, table]) =>
      HashMap.toValues(table.routes)
        .filter((route) => route.local === undefined)
        .map((route) => routeSpec(vni, route)),
    )
    .sort((a, b) => a.vni - b.vni || byText(a.prefix, b.prefix))
