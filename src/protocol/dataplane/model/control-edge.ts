/** Operations on edges. */
import { HashMap } from "effect"
import { type EdgeSpec, type EdgeState, statusCodes } from "../Dataplane.ts"
import { edgeDigest } from "../digest.ts"
import { format, isZero, macAt, parseIpv4, parseIpv6, parseMac } from "./address.ts"
import { type Bytes, u8 } from "./bytes.ts"
import { opens, resolveDevice } from "./device.ts"
import {
  badWanted,
  digested,
  done,
  failed,
  giveAddress,
  invalid,
  isInvalid,
  named,
  type Step,
  takeAddress,
  wantedAddress,
} from "./result.ts"
import {
  type Edge,
  emptyVni,
  find,
  gatewayMacOf,
  limits,
  type ModelState,
  type OwnOutside,
} from "./tables.ts"
import { releaseVni } from "./vni.ts"

export const edgeState = (edge: Edge): EdgeState => ({
  spec: edge.spec,
  underlayAddress: edge.underlayAddress,
  device: edge.device,
})

/** Canonical text; absent where there is none; "invalid" is not an address of the family. */
const outside = (
  text: string | undefined,
  parse: (text: string) => Bytes | undefined,
): string | undefined | { readonly invalid: true } => {
  if (text === undefined || text === "") return undefined
  const bytes = parse(text)
  if (bytes === undefined) return { invalid: true }
  return isZero(bytes) ? undefined : format(bytes)
}

const maxVni = 0xff_ffff

/** "ADDRESS" or "ADDRESS/LENGTH". */
const ownOutside = (
  text: string | undefined,
  parse: (text: string) => Bytes | undefined,
): OwnOutside | undefined | { readonly invalid: true } => {
  const slash = text?.indexOf("/") ?? -1
  const address = outside(slash < 0 ? text : text?.slice(0, slash), parse)
  const tail = slash < 0 ? undefined : (text?.slice(slash + 1) ?? "")
  if (slash === 0 || (tail !== undefined && !/^[1-9][0-9]{0,2}$/.test(tail))) return { invalid: true }
  if (isInvalid(address)) return address
  const width = parse === parseIpv4 ? 32 : 128
  const length = tail === undefined ? width : Number(tail)
  if (length > width) return { invalid: true }
  return address === undefined ? undefined : { address, length }
}

export const ownText = ({ address, length }: OwnOutside): string =>
  length === (address.includes(":") ? 128 : 32) ? address : `${address}/${length}`

const gatewayMacText = (text: string | undefined): string | undefined | { readonly invalid: true } => {
  if (text === undefined || text === "") return undefined
  const bytes = parseMac(text)
  if (bytes === undefined || (u8(bytes, 0) & 1) !== 0) return { invalid: true }
  return isZero(bytes) ? undefined : macAt(bytes, 0)
}

/** Canonical, or the text of the first check that fails. */
const check = (state: ModelState, asked: EdgeSpec): EdgeSpec | string => {
  if (!/^[A-Za-z0-9_-]{1,63}$/.test(asked.name)) return "Invalid edge name"
  if (!named(asked.device, 1, 63)) return "Invalid device_name"
  const outsideIpv4 = ownOutside(asked.outsideIpv4, parseIpv4)
  if (isInvalid(outsideIpv4)) return "Invalid outside_ipv4"
  const outsideIpv6 = ownOutside(asked.outsideIpv6, parseIpv6)
  if (isInvalid(outsideIpv6)) return "Invalid outside_ipv6"
  const gatewayIpv4 = outside(asked.gatewayIpv4, parseIpv4)
  if (isInvalid(gatewayIpv4)) return "Invalid gateway_ipv4"
  const gatewayIpv6 = outside(asked.gatewayIpv6, parseIpv6)
  if (isInvalid(gatewayIpv6)) return "Invalid gateway_ipv6"
  const gatewayMac = gatewayMacText(asked.gatewayMac)
  if (isInvalid(gatewayMac)) return "Invalid gateway_mac"
  const wanted = wantedAddress(state, asked.underlayAddress)
  if (isInvalid(wanted)) return badWanted
  return {
    name: asked.name,
    vni: asked.vni,
    device: asked.device,
    ...(outsideIpv4 === undefined ? {} : { outsideIpv4: ownText(outsideIpv4) }),
    ...(outsideIpv6 === undefined ? {} : { outsideIpv6: ownText(outsideIpv6) }),
    ...(gatewayIpv4 === undefined ? {} : { gatewayIpv4 }),
    ...(gatewayIpv6 === undefined ? {} : { gatewayIpv6 }),
    ...(gatewayMac === undefined ? {} : { gatewayMac }),
    ...(wanted === undefined ? {} : { underlayAddress: wanted }),
  }
}

const ownOf = (text: string | undefined, parse: (text: string) => Bytes | undefined) => {
  const own = ownOutside(text, parse)
  return own === undefined || "invalid" in own ? undefined : own
}

/** What an edge knows of outside before anybody there has spoken. */
const strangeTo = (spec: EdgeSpec): Pick<Edge, "neighbours" | "outside4" | "outside6"> => {
  const { gatewayIpv4, gatewayIpv6, gatewayMac } = spec
  const gateway = { mac: gatewayMac, fixed: gatewayMac !== undefined, tries: 0, nextAt: 0, held: [] }
  return {
    outside4: ownOf(spec.outsideIpv4, parseIpv4),
    outside6: ownOf(spec.outsideIpv6, parseIpv6),
    neighbours: HashMap.fromIterable(
      [gatewayIpv4, gatewayIpv6].flatMap((address) =>
        address === undefined ? [] : [[address, gateway] as const],
      ),
    ),
  }
}

const change = (state: ModelState, old: Edge, spec: EdgeSpec): Step => {
  const stays =
    old.spec.vni === spec.vni &&
    old.spec.device === spec.device &&
    old.spec.underlayAddress === spec.underlayAddress
  if (!stays) return failed(state, statusCodes.ALREADY_EXISTS)
  const before = edgeDigest(old.spec)
  const after = edgeDigest(spec)
  if (before === after) return done(state, old.underlayAddress)
  const edges = HashMap.set(state.edges, spec.name, { ...old, spec, ...strangeTo(spec) })
  return done(digested({ ...state, edges }, before, after), old.underlayAddress)
}

export const putEdge = (state: ModelState, asked: EdgeSpec): Step => {
  const spec = check(state, asked)
  if (typeof spec === "string") return invalid(state, spec)
  const old = find(state.edges, spec.name)
  if (old !== undefined) return change(state, old, spec)
  const opened = resolveDevice(state, spec.device)
  if (opened === undefined || !opens(state, spec.device)) return failed(state, statusCodes.NOT_FOUND)
  if (HashMap.has(state.devices, opened) || HashMap.some(state.edges, (edge) => edge.opened === opened))
    return failed(state, statusCodes.ALREADY_EXISTS)
  if (HashMap.size(state.edges) >= limits.edges) return failed(state, statusCodes.VNF_INSERT)
  const given = giveAddress(state, "edge", spec.underlayAddress, { _tag: "Edge", name: spec.name })
  if (given === undefined) return failed(state, statusCodes.VNF_INSERT)
  if (spec.vni < 1 || spec.vni > maxVni) return failed(state, statusCodes.VNI_INIT4)
  const table = find(state.vnis, spec.vni) ?? emptyVni
  const edge: Edge = {
    spec,
    underlayAddress: given.address,
    opened,
    device: opened.slice(opened.indexOf(":") + 1),
    mac: state.config.macs.get(opened) ?? gatewayMacOf(opened),
    ...strangeTo(spec),
  }
  const next: ModelState = {
    ...given.state,
    vnis: HashMap.set(state.vnis, spec.vni, { ...table, references: table.references + 1 }),
    edges: HashMap.set(state.edges, spec.name, edge),
  }
  return done(digested(next, edgeDigest(spec)), given.address)
}

export const deleteEdge = (state: ModelState, name: string): Step => {
  if (!named(name, 1, 63)) return invalid(state, "Invalid edge name")
  const edge = find(state.edges, name)
  if (edge === undefined) return failed(state, statusCodes.NOT_FOUND)
  const freed = takeAddress(state, "edge", edge.underlayAddress)
  const left = { ...freed, edges: HashMap.remove(freed.edges, name) }
  return done(digested(releaseVni(left, edge.spec.vni), edgeDigest(edge.spec)))
}
