/** Operations on what interfaces have with an underlay address of its own: prefixes, VIPs, NATs; and neighbours' NATs. */
import { HashMap } from "effect"
import {
  type NatSpec,
  type NeighborNatSpec,
  type PrefixSpec,
  statusCodes,
  type VipSpec,
} from "../Dataplane.ts"
import {
  aliasPrefixDigest,
  balancerPrefixDigest,
  natDigest,
  neighborNatDigest,
  vipDigest,
} from "../digest.ts"
import { format, parseAddress, parsePrefix, type Prefix, prefixText } from "./address.ts"
import { groupOf } from "./nat.ts"
import {
  badWanted,
  digested,
  done,
  failed,
  giveAddress,
  invalid,
  isInvalid,
  named,
  realAddress,
  type Step,
  takeAddress,
  wantedAddress,
} from "./result.ts"
import {
  addRoute,
  find,
  type Interface,
  key,
  limits,
  type ModelState,
  type Nat,
  type OwnPrefix,
  removeRoute,
  type Vip,
} from "./tables.ts"

const set = (state: ModelState, entry: Interface): ModelState => ({
  ...state,
  interfaces: HashMap.set(state.interfaces, entry.spec.id, entry),
})

export const prefixSpec = (entry: Interface, own: OwnPrefix): PrefixSpec => ({
  interface: entry.spec.id,
  prefix: prefixText(own.prefix),
  ...(own.wanted === undefined ? {} : { underlayAddress: own.wanted }),
})

const prefixDigest = (entry: Interface, own: OwnPrefix): bigint =>
  (own.routed ? aliasPrefixDigest : balancerPrefixDigest)(prefixSpec(entry, own))

const badPrefix = (part: "address" | "length"): string =>
  part === "address" ? "Invalid prefix.ip" : "Invalid prefix.length"

const same = (own: OwnPrefix, prefix: Prefix, routed: boolean): boolean =>
  own.routed === routed && prefixText(own.prefix) === prefixText(prefix)

export const putPrefix = (state: ModelState, spec: PrefixSpec, routed: boolean): Step => {
  if (!named(spec.interface, 1, 63)) return invalid(state, "Invalid interface_id")
  const prefix = parsePrefix(spec.prefix)
  if (typeof prefix === "string") return invalid(state, badPrefix(prefix))
  const wanted = wantedAddress(state, spec.underlayAddress)
  if (isInvalid(wanted)) return invalid(state, badWanted)
  const entry = find(state.interfaces, spec.interface)
  if (entry === undefined) return failed(state, statusCodes.NO_VM)
  const old = entry.prefixes.find((own) => same(own, prefix, routed))
  if (old !== undefined && old.wanted === wanted) return done(state, old.underlayAddress)
  if (old !== undefined) {
    const without = removePrefix(state, entry, old)
    const holder = find(without.interfaces, spec.interface)
    const again = holder === undefined ? undefined : addPrefix(without, holder, { prefix, routed, wanted })
    return again?.result.code === 0 ? again : failed(state, again?.result.code ?? statusCodes.NO_VM)
  }
  const added = addPrefix(state, entry, { prefix, routed, wanted })
  return added.result.code === 0 ? added : failed(state, added.result.code)
}

const addPrefix = (
  state: ModelState,
  entry: Interface,
  wish: Pick<OwnPrefix, "prefix" | "routed" | "wanted">,
): Step => {
  const { prefix, routed, wanted } = wish
  const { vni } = entry.spec
  const table = find(state.vnis, vni)
  const tooLong = prefix.length > (prefix.family === 4 ? 32 : 128)
  if (tooLong) return failed(state, routed ? statusCodes.ROUTE_INSERT : statusCodes.VNF_INSERT)
  if (routed && (table === undefined || HashMap.has(table.routes, key(prefix))))
    return failed(state, statusCodes.ROUTE_EXISTS)
  const given = giveAddress(state, routed ? "aliasPrefix" : "balancerPrefix", wanted, {
    _tag: "Prefix",
    id: entry.spec.id,
    prefix,
  })
  if (given === undefined) return failed(state, statusCodes.VNF_INSERT)
  const own: OwnPrefix = { ...wish, underlayAddress: given.address }
  const route = { prefix, local: entry.spec.id, nextHop: "::", nextHopVni: 0 }
  const routes =
    routed && table !== undefined
      ? HashMap.set(given.state.vnis, vni, addRoute(table, route))
      : given.state.vnis
  const next = set({ ...given.state, vnis: routes }, { ...entry, prefixes: [...entry.prefixes, own] })
  return done(digested(next, prefixDigest(entry, own)), given.address)
}

export const removePrefix = (state: ModelState, entry: Interface, own: OwnPrefix): ModelState => {
  const { vni } = entry.spec
  const table = find(state.vnis, vni)
  const freed = takeAddress(state, own.routed ? "aliasPrefix" : "balancerPrefix", own.underlayAddress)
  const vnis =
    own.routed && table !== undefined
      ? HashMap.set(freed.vnis, vni, removeRoute(table, own.prefix))
      : freed.vnis
  const left = set({ ...freed, vnis }, { ...entry, prefixes: entry.prefixes.filter((one) => one !== own) })
  return digested(left, prefixDigest(entry, own))
}

export const deletePrefix = (state: ModelState, id: string, text: string, routed: boolean): Step => {
  if (!named(id, 1, 63)) return invalid(state, "Invalid interface_id")
  const prefix = parsePrefix(text)
  if (typeof prefix === "string") return invalid(state, badPrefix(prefix))
  const entry = find(state.interfaces, id)
  if (entry === undefined) return failed(state, statusCodes.NO_VM)
  const own = entry.prefixes.find((one) => same(one, prefix, routed))
  if (own !== undefined) return done(removePrefix(state, entry, own))
  if (!routed) return failed(state, statusCodes.NOT_FOUND)
  const table = find(state.vnis, entry.spec.vni)
  const route = table === undefined ? undefined : find(table.routes, key(prefix))
  if (route === undefined) return failed(state, statusCodes.ROUTE_NOT_FOUND)
  // Its primary address is routed to it, too.
  return failed(state, route.local === id ? statusCodes.NOT_FOUND : statusCodes.ROUTE_BAD_PORT)
}

export const vipSpec = (entry: Interface, vip: Vip): VipSpec => ({
  interface: entry.spec.id,
  ip: vip.ip,
  ...(vip.wanted === undefined ? {} : { underlayAddress: vip.wanted }),
})

export const putVip = (state: ModelState, spec: VipSpec): Step => {
  if (!named(spec.interface, 1, 63)) return invalid(state, "Invalid interface_id")
  const ip = realAddress(spec.ip)
  if (ip === undefined) return invalid(state, "Invalid vip_ip")
  const wanted = wantedAddress(state, spec.underlayAddress)
  if (isInvalid(wanted)) return invalid(state, badWanted)
  const entry = find(state.interfaces, spec.interface)
  if (entry === undefined) return failed(state, statusCodes.NO_VM)
  if (ip.family !== 4) return failed(state, statusCodes.BAD_IPVER)
  const address = format(ip.bytes)
  const { vip: old } = entry
  if (old?.ip === address && old.wanted === wanted) return done(state, old.underlayAddress)
  const cleared = old === undefined ? state : removeVip(state, entry, old)
  const given = giveAddress(cleared, "vip", wanted, { _tag: "Vip", id: entry.spec.id })
  if (given === undefined) return failed(state, statusCodes.VNF_INSERT)
  const name = groupOf(entry.spec.vni, address)
  if (HashMap.has(cleared.addresses, name)) return failed(state, statusCodes.DNAT_EXISTS)
  const vip: Vip = { ip: address, wanted, underlayAddress: given.address }
  const next = set(
    {
      ...given.state,
      addresses: HashMap.set(given.state.addresses, name, { _tag: "Vip", id: entry.spec.id }),
    },
    { ...entry, vip },
  )
  return done(digested(next, vipDigest(vipSpec(entry, vip))), given.address)
}

export const removeVip = (state: ModelState, entry: Interface, vip: Vip): ModelState => {
  const freed = takeAddress(state, "vip", vip.underlayAddress)
  const addresses = HashMap.remove(freed.addresses, groupOf(entry.spec.vni, vip.ip))
  return digested(set({ ...freed, addresses }, { ...entry, vip: undefined }), vipDigest(vipSpec(entry, vip)))
}

export const deleteVip = (state: ModelState, id: string): Step => {
  if (!named(id, 1, 63)) return invalid(state, "Invalid interface_id")
  const entry = find(state.interfaces, id)
  if (entry === undefined) return failed(state, statusCodes.NO_VM)
  return entry.vip === undefined
    ? failed(state, statusCodes.SNAT_NO_DATA)
    : done(removeVip(state, entry, entry.vip))
}

export const natSpec = (entry: Interface, nat: Nat): NatSpec => ({
  interface: entry.spec.id,
  ip: nat.ip,
  minPort: nat.min,
  maxPort: nat.max,
  ...(nat.wanted === undefined ? {} : { underlayAddress: nat.wanted }),
})

const badRange = (range: { readonly minPort: number; readonly maxPort: number }): string | undefined => {
  if (range.minPort > 0xffff) return "Invalid min_port"
  if (range.maxPort > 0x1_0000) return "Invalid max_port"
  return range.minPort >= range.maxPort ? "Invalid port range" : undefined
}

interface Ports {
  readonly min: number
  readonly max: number
}

const overlap = (a: Ports, b: Ports): boolean => a.max > b.min && a.min < b.max

/** Whether another interface or a neighbour has some of the ports. */
const portsTaken = (
  state: ModelState,
  vni: number,
  ip: string,
  ports: Ports,
  but: string | undefined,
): boolean =>
  HashMap.toValues(state.interfaces).some(
    ({ nat, spec }) =>
      spec.id !== but && spec.vni === vni && nat !== undefined && nat.ip === ip && overlap(nat, ports),
  ) ||
  (find(state.neighborNats, groupOf(vni, ip)) ?? []).some(({ maxPort, minPort }) =>
    overlap({ min: minPort, max: maxPort }, ports),
  )

export const putNat = (state: ModelState, spec: NatSpec): Step => {
  if (!named(spec.interface, 1, 63)) return invalid(state, "Invalid interface_id")
  const ip = realAddress(spec.ip)
  if (ip === undefined) return invalid(state, "Invalid nat_ip")
  const bad = badRange(spec)
  if (bad !== undefined) return invalid(state, bad)
  const wanted = wantedAddress(state, spec.underlayAddress)
  if (isInvalid(wanted)) return invalid(state, badWanted)
  const entry = find(state.interfaces, spec.interface)
  if (entry === undefined) return failed(state, statusCodes.NO_VM)
  if (ip.family !== 4) return failed(state, statusCodes.BAD_IPVER)
  const { nat: old } = entry
  const range = { ip: format(ip.bytes), min: spec.minPort, max: spec.maxPort, wanted }
  const inPlace = old?.ip === range.ip && old.wanted === wanted
  const cleared = old === undefined || inPlace ? state : removeNat(state, entry, old)
  const given = inPlace
    ? { state, address: old.underlayAddress }
    : giveAddress(cleared, "nat", wanted, { _tag: "Nat", id: entry.spec.id })
  if (given === undefined) return failed(state, statusCodes.VNF_INSERT)
  if (portsTaken(state, entry.spec.vni, range.ip, range, entry.spec.id))
    return failed(state, statusCodes.ALREADY_EXISTS)
  if (inPlace && old.min === range.min && old.max === range.max) return done(state, given.address)
  const nat: Nat = { ...range, underlayAddress: given.address }
  const next = digested(set(given.state, { ...entry, nat }), natDigest(natSpec(entry, nat)))
  return done(inPlace ? digested(next, natDigest(natSpec(entry, old))) : next, given.address)
}

export const removeNat = (state: ModelState, entry: Interface, nat: Nat): ModelState =>
  digested(
    set(takeAddress(state, "nat", nat.underlayAddress), { ...entry, nat: undefined }),
    natDigest(natSpec(entry, nat)),
  )

export const deleteNat = (state: ModelState, id: string): Step => {
  if (!named(id, 1, 63)) return invalid(state, "Invalid interface_id")
  const entry = find(state.interfaces, id)
  if (entry === undefined) return failed(state, statusCodes.NO_VM)
  return entry.nat === undefined
    ? failed(state, statusCodes.SNAT_NO_DATA)
    : done(removeNat(state, entry, entry.nat))
}

export const putNeighborNat = (state: ModelState, spec: NeighborNatSpec): Step => {
  const ip = realAddress(spec.ip)
  if (ip === undefined) return invalid(state, "Invalid nat_ip")
  const bad = badRange(spec)
  if (bad !== undefined) return invalid(state, bad)
  const underlay = parseAddress(spec.underlayAddress)
  if (underlay?.family !== 6) return invalid(state, "Invalid underlay_route")
  if (ip.family !== 4) return failed(state, statusCodes.BAD_IPVER)
  const entry: NeighborNatSpec = {
    vni: spec.vni,
    ip: format(ip.bytes),
    minPort: spec.minPort,
    maxPort: spec.maxPort,
    underlayAddress: format(underlay.bytes),
  }
  const group = groupOf(entry.vni, entry.ip)
  const there = find(state.neighborNats, group) ?? []
  const old = there.find((one) => one.minPort === entry.minPort && one.maxPort === entry.maxPort)
  if (old?.underlayAddress === entry.underlayAddress) return done(state)
  const ports = { min: entry.minPort, max: entry.maxPort }
  if (old === undefined && portsTaken(state, entry.vni, entry.ip, ports, undefined))
    return failed(state, statusCodes.ALREADY_EXISTS)
  const count = HashMap.reduce(state.neighborNats, 0, (sum, ranges) => sum + ranges.length)
  if (old === undefined && count >= limits.neighborNats) return failed(state, statusCodes.DNAT_CREATE)
  const ranges = [...there.filter((one) => one !== old), entry].sort((a, b) => a.minPort - b.minPort)
  const next = digested(
    { ...state, neighborNats: HashMap.set(state.neighborNats, group, ranges) },
    neighborNatDigest(entry),
  )
  return done(old === undefined ? next : digested(next, neighborNatDigest(old)))
}

export const deleteNeighborNat = (state: ModelState, spec: NeighborNatSpec): Step => {
  const ip = realAddress(spec.ip)
  if (ip === undefined) return invalid(state, "Invalid nat_ip")
  const bad = badRange(spec)
  if (bad !== undefined) return invalid(state, bad)
  if (ip.family !== 4) return failed(state, statusCodes.BAD_IPVER)
  const group = groupOf(spec.vni, format(ip.bytes))
  const there = find(state.neighborNats, group) ?? []
  const old = there.find((one) => one.minPort === spec.minPort && one.maxPort === spec.maxPort)
  if (old === undefined) return failed(state, statusCodes.NOT_FOUND)
  const left = there.filter((one) => one !== old)
  const neighborNats =
    left.length === 0
      ? HashMap.remove(state.neighborNats, group)
      : HashMap.set(state.neighborNats, group, left)
  return done(digested({ ...state, neighborNats }, neighborNatDigest(old)))
}
