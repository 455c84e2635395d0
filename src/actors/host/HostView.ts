/**
 * What the planners of a host look at: what is asked for, what the dataplane has, what the reflectors tell.
 */
import type { InterfaceState } from "#protocol/dataplane/Dataplane.ts"
import type { NextHop } from "#protocol/metalbond/RouteDistribution.ts"
import type { Prefix } from "#protocol/net/Address.ts"
import type { HostInterface } from "#protocol/node/HostInterface.ts"
import { interfaceSpec, sameIdentity } from "./InterfaceIdentity.ts"

/** A route as the dataplane acknowledged it. */
export interface ProgrammedRoute {
  readonly nextHop: string
  readonly nextHopVni: number
  /** Microseconds since the epoch; of a route that was found there, when it was found. */
  readonly programmedMicros: number
}

export type ByVni<A> = ReadonlyMap<number, ReadonlyMap<string, A>>

export interface HostView {
  /** By uid. */
  readonly desired: ReadonlyMap<string, HostInterface>
  /** By id. */
  readonly observed: ReadonlyMap<string, InterfaceState>
  /** By VNI and prefix. */
  readonly programmed: ByVni<ProgrammedRoute>
  /** What the reflectors tell, by VNI and prefix; no entry has an empty hop set. */
  readonly known: ByVni<ReadonlyArray<NextHop>>
  /** The host's own /64. */
  readonly underlay: Prefix
  /** `desired` is all there is: interfaces that it does not name may go. */
  readonly complete: boolean
  /** Of this VNI `known` is all there is: routes that it does not name may go. */
  readonly isLevel: (vni: number) => boolean
}

/** An interface that is there and stays: as it is asked for, or not known to be unwanted. */
export const stays = (view: HostView, there: InterfaceState): boolean => {
  const desired = view.desired.get(there.spec.id)
  return desired === undefined ? !view.complete : sameIdentity(interfaceSpec(desired), there.spec)
}
