/**
 * Operations on the model's tables: the checks of spec dataplane-grpc §4 and §5 in their order, with their codes.
 *
 * What differs from dpdkironcore.v1 is what ferrite.dataplane.v1 says: every put makes or changes in place, and putting
 * what is there is a success. Operations are in `control-*.ts` by kind; here are the choice among them and the listings.
 */
import { HashMap } from "effect"
import type {
  Endpoint,
  InterfaceState,
  Operation,
  PrefixSpec,
  RouteSpec,
  ServiceListing,
} from "../Dataplane.ts"
import { deleteEdge, edgeState, putEdge } from "./control-edge.ts"
import {
  deleteNat,
  deleteNeighborNat,
  deletePrefix,
  deleteVip,
  natSpec,
  prefixSpec,
  putNat,
  putNeighborNat,
  putPrefix,
  putVip,
  vipSpec,
} from "./control-endpoints.ts"
import { createInterface, deleteInterface, stateOf } from "./control-interface.ts"
import { deleteRoute, putRoute, resetVni } from "./control-routes.ts"
import { deleteBalancer, deleteFirewall, putBalancer, putFirewall } from "./control-services.ts"
import type { Step } from "./result.ts"
import { type Interface, type ModelState } from "./tables.ts"
import { routeSpec } from "./vni.ts"

export { messageOf } from "./result.ts"

/** Done or refused: one that is refused changes nothing, one that changes something has flows decided anew. */
export const operate = (state: ModelState, operation: Operation): Step => {
  const next = perform(state, operation)
  return next.state === state ? next : { ...next, state: { ...next.state, epoch: next.state.epoch + 1 } }
}

const perform = (state: ModelState, operation: Operation): Step => {
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
    case "PutAliasPrefix":
    case "PutBalancerPrefix":
      return putPrefix(state, operation.prefix, operation._tag === "PutAliasPrefix")
    case "DeleteAliasPrefix":
    case "DeleteBalancerPrefix":
      return deletePrefix(
        state,
        operation.interface,
        operation.prefix,
        operation._tag === "DeleteAliasPrefix",
      )
    case "PutVip":
      return putVip(state, operation.vip)
    case "DeleteVip":
      return deleteVip(state, operation.interface)
    case "PutNat":
      return putNat(state, operation.nat)
    case "DeleteNat":
      return deleteNat(state, operation.interface)
    case "PutNeighborNat":
      return putNeighborNat(state, operation.nat)
    case "DeleteNeighborNat":
      return deleteNeighborNat(state, { ...operation, underlayAddress: "::" })
    case "PutLoadBalancer":
      return putBalancer(state, operation.balancer)
    case "DeleteLoadBalancer":
      return deleteBalancer(state, operation.id)
    case "PutFirewall":
      return putFirewall(state, operation.firewall)
    case "DeleteFirewall":
      return deleteFirewall(state, operation.interface)
    case "PutEdge":
      return putEdge(state, operation.edge)
    case "DeleteEdge":
      return deleteEdge(state, operation.name)
  }
}

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

const interfacesOf = (state: ModelState): ReadonlyArray<Interface> =>
  HashMap.toValues(state.interfaces).sort((a, b) => byText(a.spec.id, b.spec.id))

/** Everything but interfaces and routes: by interface or name, prefixes as they were made. */
export const listServices = (state: ModelState): ServiceListing => {
  const interfaces = interfacesOf(state)
  const prefixes = (routed: boolean): ReadonlyArray<Endpoint<PrefixSpec>> =>
    interfaces.flatMap((entry) =>
      entry.prefixes
        .filter((own) => own.routed === routed)
        .map((own) => ({ spec: prefixSpec(entry, own), underlayAddress: own.underlayAddress })),
    )
  return {
    aliasPrefixes: prefixes(true),
    balancerPrefixes: prefixes(false),
    vips: interfaces.flatMap((entry) =>
      entry.vip === undefined
        ? []
        : [{ spec: vipSpec(entry, entry.vip), underlayAddress: entry.vip.underlayAddress }],
    ),
    nats: interfaces.flatMap((entry) =>
      entry.nat === undefined
        ? []
        : [{ spec: natSpec(entry, entry.nat), underlayAddress: entry.nat.underlayAddress }],
    ),
    neighborNats: HashMap.toEntries(state.neighborNats)
      .sort(([a], [b]) => byText(a, b))
      .flatMap(([, ranges]) => ranges),
    loadBalancers: HashMap.toValues(state.balancers)
      .map(({ spec, underlayAddress }) => ({ spec, underlayAddress }))
      .sort((a, b) => byText(a.spec.id, b.spec.id)),
    firewalls: interfaces.flatMap(({ firewallSpec }) => (firewallSpec === undefined ? [] : [firewallSpec])),
    edges: HashMap.toValues(state.edges)
      .map(edgeState)
      .sort((a, b) => byText(a.spec.name, b.spec.name)),
  }
}
