/**
 * What a host tells and asks the reflectors, out of what its dataplane has.
 */
import type { InterfaceState } from "#protocol/dataplane/Dataplane.ts"
import type { RouteAnnouncement } from "#protocol/metalbond/RouteDistribution.ts"
import { prefixesOf } from "./InterfaceIdentity.ts"
import { type HostView, stays } from "./HostView.ts"

/** Each address of each interface, reached by the interface's underlay address. In the order of the interfaces. */
export const planAnnouncements = (realised: Iterable<InterfaceState>): ReadonlyArray<RouteAnnouncement> =>
  Array.from(realised).flatMap(({ spec, underlayAddress }) =>
    prefixesOf(spec).map((prefix) => ({
      vni: spec.vni,
      prefix,
      nextHop: { address: underlayAddress, vni: 0, type: "STANDARD", natPortFrom: 0, natPortTo: 0 },
    })),
  )

/** Interfaces that packets may be sent to: there, and not about to go. */
export const announceable = (view: HostView): ReadonlyArray<InterfaceState> =>
  [...view.observed.values()].filter((state) => stays(view, state))

/** VNIs whose routes this host needs: where it has interfaces, or will have. */
export const planSubscriptions = (view: HostView): ReadonlySet<number> =>
  new Set([
    ...Array.from(view.desired.values(), (desired) => desired.vni),
    ...announceable(view).map(({ spec }) => spec.vni),
  ])
