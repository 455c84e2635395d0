/** Operations on interfaces. */
import { HashMap } from "effect"
import { type InterfaceSpec, type InterfaceState, statusCodes } from "../Dataplane.ts"
import { broadcastMac, format, isZero, parseIpv4, parseIpv6 } from "./address.ts"
import { removeNat, removePrefix, removeVip } from "./control-endpoints.ts"
import { defaultFirewall } from "./control-services.ts"
import { firewallDigest, interfaceDigest } from "../digest.ts"
import { opens, resolveDevice } from "./device.ts"
import { forget } from "./fragments.ts"
import {
  badWanted,
  digested,
  done,
  failed,
  invalid,
  isInvalid,
  messageOf,
  named,
  type Step,
  wantedAddress,
} from "./result.ts"
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
  takeIndex,
} from "./tables.ts"
import { underlayAddressOf } from "./underlay.ts"
import { endFlow } from "./turn.ts"
import { releaseVni } from "./vni.ts"

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

/** 24 bits, and zero is none. */
const maxVni = 0xff_ffff

const badPxe = (spec: InterfaceSpec, ipv6: string | undefined): string | undefined => {
  const { pxe } = spec
  if (pxe === undefined) return undefined
  const server = ipv6 === undefined ? parseIpv4(pxe.server) : parseIpv6(pxe.server)
  if (server === undefined) return "Invalid pxe_config.next_server"
  return named(pxe.file, 1, 31) ? undefined : "Invalid pxe_config.boot_filename"
}

/** What can change in place; absent where it is nothing. */
const settingsOf = (spec: InterfaceSpec) => ({
  ...((spec.hostname ?? "") === "" ? { hostname: undefined } : { hostname: spec.hostname }),
  ...((spec.totalRate ?? 0) === 0 ? {} : { totalRate: spec.totalRate }),
  ...((spec.publicRate ?? 0) === 0 ? {} : { publicRate: spec.publicRate }),
  ...(spec.pxe === undefined ? {} : { pxe: spec.pxe }),
  ...(spec.spoofCheckOff === true ? { spoofCheckOff: true } : {}),
  ...((spec.flowLimit ?? 0) === 0 ? {} : { flowLimit: spec.flowLimit }),
  ...((spec.flowRate ?? 0) === 0 ? {} : { flowRate: spec.flowRate }),
})

/** Canonical spec, or the text of the first check that fails. A VNI is looked at when it is used. */
export const checkInterface = (state: ModelState, spec: InterfaceSpec): InterfaceSpec | string => {
  if (!/^[A-Za-z0-9_-]{1,63}$/.test(spec.id)) return "Invalid interface_id"
  const ipv4 = optionalAddress(spec.ipv4, parseIpv4)
  if (typeof ipv4 === "object") return "Invalid ipv4_config.primary_address"
  const ipv6 = optionalAddress(spec.ipv6, parseIpv6)
  if (typeof ipv6 === "object") return "Invalid ipv6_config.primary_address"
  if (ipv4 === undefined && ipv6 === undefined)
    return "Invalid ipv4_config.primary_address and ipv6_config.primary_address combination"
  if (!named(spec.device, 1, 63)) return "Invalid device_name"
  if (!named(spec.hostname ?? "", 0, 63)) return "Invalid hostname"
  const pxe = badPxe(spec, ipv6)
  if (pxe !== undefined) return pxe
  const wanted = wantedAddress(state, spec.underlayAddress)
  if (isInvalid(wanted)) return badWanted
  return {
    id: spec.id,
    vni: spec.vni,
    ipv4,
    ipv6,
    device: spec.device,
    ...settingsOf(spec),
    ...(wanted === undefined ? {} : { underlayAddress: wanted }),
  }
}

/** What cannot change in place. */
const sameIdentity = (a: InterfaceSpec, b: InterfaceSpec): boolean =>
  a.id === b.id &&
  a.vni === b.vni &&
  a.ipv4 === b.ipv4 &&
  a.ipv6 === b.ipv6 &&
  a.device === b.device &&
  a.underlayAddress === b.underlayAddress

const mostRate = 0xffff_ffff

const badRates = ({ publicRate = 0, totalRate = 0 }: InterfaceSpec): boolean =>
  totalRate > mostRate || publicRate > mostRate || (totalRate > 0 && publicRate > totalRate)

/** An interface that is there, with other settings. */
const updateInterface = (state: ModelState, entry: Interface, spec: InterfaceSpec): Step => {
  if (!sameIdentity(entry.spec, spec)) return failed(state, statusCodes.ALREADY_EXISTS)
  const before = interfaceDigest(entry.spec)
  const after = interfaceDigest(spec)
  if (before === after) return made(state, entry)
  if (badRates(spec)) return failed(state, statusCodes.PORT_METER)
  const changed = { ...entry, spec }
  return made(
    digested({ ...state, interfaces: HashMap.set(state.interfaces, spec.id, changed) }, before, after),
    changed,
  )
}

const made = (state: ModelState, entry: Interface): Step => ({
  state,
  result: { code: 0, message: messageOf(0), interface: stateOf(entry) },
})

export const createInterface = (state: ModelState, asked: InterfaceSpec): Step => {
  const spec = checkInterface(state, asked)
  if (typeof spec === "string") return invalid(state, spec)
  const present = find(state.interfaces, spec.id)
  if (present !== undefined) return updateInterface(state, present, spec)

  const device = resolveDevice(state, spec.device)
  if (device === undefined) return failed(state, statusCodes.NOT_FOUND)
  const used = HashMap.has(state.devices, device)
  if (used || HashMap.some(state.edges, (edge) => edge.opened === device))
    return failed(state, statusCodes.ALREADY_EXISTS)
  const taken = takeIndex(state.indices.interface)
  if (taken === undefined) return failed(state, statusCodes.VNF_INSERT)
  const { index, generation, indices } = taken
  const underlayAddress = spec.underlayAddress ?? underlayAddressOf(state.config, index, generation)
  if (HashMap.has(state.underlay, underlayAddress)) return failed(state, statusCodes.VNF_INSERT)
  if (spec.vni < 1 || spec.vni > maxVni) return failed(state, statusCodes.VNI_INIT4)
  let table = find(state.vnis, spec.vni) ?? emptyVni
  for (const prefix of ownPrefixes(spec)) {
    if (HashMap.has(table.routes, key(prefix))) return failed(state, statusCodes.ROUTE_EXISTS)
    table = addRoute(table, { prefix, local: spec.id, nextHop: "::", nextHopVni: 0 })
  }
  if (badRates(spec)) return failed(state, statusCodes.PORT_METER)
  if (!opens(state, spec.device)) return failed(state, statusCodes.NOT_FOUND)

  const entry: Interface = {
    spec,
    index,
    underlayAddress,
    device: device.slice(device.indexOf(":") + 1),
    gatewayMac: state.config.macs.get(device) ?? gatewayMacOf(device),
    vmMac: broadcastMac,
    prefixes: [],
    vip: undefined,
    nat: undefined,
    firewall: defaultFirewall(state.config),
    firewallSpec: undefined,
  }
  const next: ModelState = {
    ...state,
    interfaces: HashMap.set(state.interfaces, spec.id, entry),
    devices: HashMap.set(state.devices, device, spec.id),
    indexed: HashMap.set(state.indexed, index, spec.id),
    underlay: HashMap.set(state.underlay, underlayAddress, { _tag: "Interface", id: spec.id }),
    indices: { ...state.indices, interface: indices },
    vnis: HashMap.set(state.vnis, spec.vni, { ...table, references: table.references + 1 }),
  }
  return made(digested(next, interfaceDigest(spec)), entry)
}

/** Everything that an interface has but itself. */
const stripped = (state: ModelState, entry: Interface): ModelState => {
  const now = (from: ModelState): Interface => find(from.interfaces, entry.spec.id) ?? entry
  let next = state
  for (const own of entry.prefixes) next = removePrefix(next, now(next), own)
  if (entry.vip !== undefined) next = removeVip(next, now(next), entry.vip)
  if (entry.nat !== undefined) next = removeNat(next, now(next), entry.nat)
  return entry.firewallSpec === undefined ? next : digested(next, firewallDigest(entry.firewallSpec))
}

/** What its packets have left behind. */
const forgotten = (state: ModelState, entry: Interface): ModelState => {
  let next = state
  for (const [id, { receiver, sender }] of state.flows.all)
    if (receiver === entry.index || sender === entry.index) next = endFlow(next, id)
  const ours = (_: unknown, name: string) => !name.startsWith(`${entry.index} `)
  return {
    ...next,
    fragments: forget(next.fragments, `i${entry.index}`),
    buckets: HashMap.filter(next.buckets, ours),
    errorTimes: HashMap.filter(next.errorTimes, ours),
  }
}

export const deleteInterface = (state: ModelState, id: string): Step => {
  if (!named(id, 1, 63)) return invalid(state, "Invalid interface_id")
  const entry = find(state.interfaces, id)
  if (entry === undefined) return failed(state, statusCodes.NOT_FOUND)
  const device = resolveDevice(state, entry.spec.device) ?? entry.spec.device
  const bare = forgotten(stripped(state, entry), entry)
  const { vni } = entry.spec
  let table = find(bare.vnis, vni) ?? emptyVni
  for (const prefix of ownPrefixes(entry.spec)) table = removeRoute(table, prefix)
  const withdrawn: ModelState = {
    ...bare,
    interfaces: HashMap.remove(bare.interfaces, id),
    devices: HashMap.remove(bare.devices, device),
    indexed: HashMap.remove(bare.indexed, entry.index),
    underlay: HashMap.remove(bare.underlay, entry.underlayAddress),
    indices: { ...bare.indices, interface: giveIndex(bare.indices.interface, entry.index) },
    vnis: HashMap.set(bare.vnis, vni, table),
  }
  return done(digested(releaseVni(withdrawn, vni), interfaceDigest(entry.spec)))
}
