/**
 * The overlay routes that live owners have, computed from the store: one per address of every NetworkInterface
 * that its host has realised. What the reflectors should hold, said by the region.
 */
import { Effect } from "effect"
import { type HostInterface, hostInterfaceKind } from "#protocol/resource/HostInterface.ts"
import { type NetworkInterface, networkInterfaceKind } from "#protocol/resource/NetworkInterface.ts"
import { ResourceStore } from "#protocol/store/ResourceStore.ts"

export interface Route {
  readonly vni: number
  readonly network: string
  readonly prefix: string
  readonly nextHop: string
  readonly node: string
  readonly owner: string
}

const isRealised = (nic: NetworkInterface): boolean =>
  nic.status?.conditions?.some(({ status, type }) => type === "Realised" && status === "True") ?? false

/** Routes of one interface, as its host was asked for it and as it reported. */
export const routesOf = (nic: NetworkInterface, host: HostInterface): ReadonlyArray<Route> => {
  const { node, underlayAddress } = nic.status?.attachment ?? {}
  if (!isRealised(nic) || node === undefined || underlayAddress === undefined) return []
  const route = (prefix: string): Route => ({
    vni: host.vni,
    network: `${host.namespace}/${nic.spec.networkRef.name}`,
    prefix,
    nextHop: underlayAddress,
    node,
    owner: `${host.namespace}/${host.name}`,
  })
  return [
    ...(host.ipv4 === "" ? [] : [route(`${host.ipv4}/32`)]),
    ...(host.ipv6 === "" ? [] : [route(`${host.ipv6}/128`)]),
  ]
}

const compare = (a: Route, b: Route): number =>
  a.vni - b.vni || (a.prefix < b.prefix ? -1 : a.prefix > b.prefix ? 1 : 0)

/** By VNI, then prefix. `vni` 0: all. */
export const routes = Effect.fnUntraced(function* (vni: number) {
  const store = yield* ResourceStore
  const nics = yield* store.list({ kind: networkInterfaceKind })
  const byUid = new Map(nics.records.map((record) => [record.uid, record.value as NetworkInterface]))
  const hosts = yield* store.list({ kind: hostInterfaceKind })
  return hosts.records
    .flatMap((record) => {
      const host = record.value as HostInterface
      const nic = byUid.get(host.uid)
      // While an interface moves, the host that it left may still be taking its part down.
      const isHere = nic?.status?.attachment?.node === record.key.namespace
      return nic !== undefined && isHere && (vni === 0 || host.vni === vni) ? routesOf(nic, host) : []
    })
    .sort(compare)
})
