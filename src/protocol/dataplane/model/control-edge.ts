/** Operations on edges. */
import { HashMap } from "effect"
import { type EdgeSpec, type EdgeState, statusCodes } from "../Dataplane.ts"
import { edgeDigest } from "../digest.ts"
import { format, isZero, parseIpv4, parseIpv6 } from "./address.ts"
import type { Bytes } from "./bytes.ts"
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
import { type Edge, emptyVni, find, gatewayMacOf, type ModelState } from "./tables.ts"
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

/** Canonical, or the text of the first check that fails. */
const check = (state: ModelState, asked: EdgeSpec): EdgeSpec | string => {
  if (!/^[A-Za-z0-9_-]{1,63}$/.test(asked.name)) return "Invalid edge name"
  if (!named(asked.device, 1, 63)) return "Invalid device_name"
  const outsideIpv4 = outside(asked.outsideIpv4, parseIpv4)
  if (isInvalid(outsideIpv4)) return "Invalid outside_ipv4"
  const outsideIpv6 = outside(asked.outsideIpv6, parseIpv6)
  if (isInvalid(outsideIpv6)) return "Invalid outside_ipv6"
  const gatewayIpv4 = outside(asked.gatewayIpv4, parseIpv4)
  if (isInvalid(gatewayIpv4)) return "Invalid gateway_ipv4"
  const gatewayIpv6 = outside(asked.gatewayIpv6, parseIpv6)
  if (isInvalid(gatewayIpv6)) return "Invalid gateway_ipv6"
  const wanted = wantedAddress(state, asked.underlayAddress)
  if (isInvalid(wanted)) return badWanted
  return {
    name: asked.name,
    vni: asked.vni,
    device: asked.device,
    ...(outsideIpv4 === undefined ? {} : { outsideIpv4 }),
    ...(outsideIpv6 === undefined ? {} : { outsideIpv6 }),
    ...(gatewayIpv4 === undefined ? {} : { gatewayIpv4 }),
    ...(gatewayIpv6 === undefined ? {} : { gatewayIpv6 }),
    ...(wanted === undefined ? {} : { underlayAddress: wanted }),
  }
}

const strange = { ipv4: undefined, ipv6: undefined } as const

const change = (state: ModelState, old: Edge, spec: EdgeSpec): Step => {
  const stays =
    old.spec.vni === spec.vni &&
    old.spec.device === spec.device &&
    old.spec.underlayAddress === spec.underlayAddress
  if (!stays) return failed(state, statusCodes.ALREADY_EXISTS)
  const before = edgeDigest(old.spec)
  const after = edgeDigest(spec)
  if (before === after) return done(state, old.underlayAddress)
  const edges = HashMap.set(state.edges, spec.name, { ...old, spec, gateways: strange })
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
    gateways: strange,
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
