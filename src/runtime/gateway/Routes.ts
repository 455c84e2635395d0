/**
 * The overlay routes that live owners have, computed from the store: one per address of every NetworkInterface
 * that its host has realised. What the reflectors should hold, said by the region.
 */
import { Effect } from "effect"
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

/** Routes of one interface; none unless its host says that it is realised, and where. */
export const routesOf = ({ metadata, spec, status }: NetworkInterface): ReadonlyArray<Route> => {
  const { node, underlayAddress } = status?.attachment ?? {}
  const realised = status?.conditions?.some((each) => each.type === "Realised" && each.status === "True")
  const vni = status?.vni
  if (!realised || vni === undefined || node === undefined || underlayAddress === undefined) return []
  return (status?.ips ?? []).map((ip) => ({
    vni,
    network: `${metadata.namespace ?? ""}/${spec.networkRef.name}`,
    prefix: ip.includes(":") ? `${ip}/128` : `${ip}/32`,
    nextHop: underlayAddress,
    node,
    owner: `${metadata.namespace ?? ""}/${metadata.name}`,
  }))
}

const compare = (a: Route, b: Route): number =>
  a.vni - b.vni || (a.prefix < b.prefix ? -1 : a.prefix > b.prefix ? 1 : 0)

/** By VNI, then prefix. `vni` 0: all. */
export const routes = Effect.fnUntraced(function* (vni: number) {
  const store = yield* ResourceStore
  const { records } = yield* store.list({ kind: networkInterfaceKind })
  return records
    .flatMap((record) => routesOf(record.value as NetworkInterface))
    .filter((route) => vni === 0 || route.vni === vni)
    .sort(compare)
})
