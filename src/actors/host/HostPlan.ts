/**
 * The plan of a host: the operations that turn what its dataplane has into what is asked for.
 *
 * Pure and total. A plan holds differences only: of a host that is as it should be it is empty, and running it
 * twice is running it once. Order within a plan: routes go, interfaces go, interfaces come, routes come; so an
 * address that moves from one interface to another is free when it is taken, a route never covers an interface
 * of the same host, and a route comes after the VNI that it lives in.
 */
import type { InterfaceSpec, Operation } from "#protocol/dataplane/Dataplane.ts"
import { type Addressed, interfaceSpec, prefixesOf, sameIdentity } from "./InterfaceIdentity.ts"
import { chooseNextHop } from "./NextHopChoice.ts"
import { type HostView, stays } from "./HostView.ts"

/** What a plan is about; an actor of the host names what it was woken for. */
export interface PlanScope {
  readonly uids: Iterable<string>
  readonly prefixes: Iterable<readonly [vni: number, prefix: string]>
}

/** Facts of the whole host that each route depends on. The host keeps them up to date; `localsOf` derives them. */
export interface Locals {
  /** The prefix is an interface of this host, there or asked for. */
  readonly isLocal: (vni: number, prefix: string) => boolean
  /** An interface of this VNI stays or is asked for: its routes are of use. */
  readonly inUse: (vni: number) => boolean
  /** The dataplane has an interface of this VNI, without which it takes no route. */
  readonly isThere: (vni: number) => boolean
}

export const localsOf = (view: HostView): Locals => {
  const local = new Set<string>()
  const used = new Set<number>()
  const there = new Set<number>()
  const add = (of: Addressed) => {
    for (const prefix of prefixesOf(of)) local.add(`${of.vni} ${prefix}`)
  }
  for (const desired of view.desired.values()) {
    add(desired)
    used.add(desired.vni)
  }
  for (const state of view.observed.values()) {
    add(state.spec)
    there.add(state.spec.vni)
    if (stays(view, state)) used.add(state.spec.vni)
  }
  return {
    isLocal: (vni, prefix) => local.has(`${vni} ${prefix}`),
    inUse: (vni) => used.has(vni),
    isThere: (vni) => there.has(vni),
  }
}

const everything = function* (view: HostView): Generator<readonly [number, string]> {
  for (const tables of [view.programmed, view.known]) {
    for (const [vni, table] of tables) for (const prefix of table.keys()) yield [vni, prefix] as const
  }
}

export const wholeHost = (view: HostView): PlanScope => ({
  uids: new Set([...view.observed.keys(), ...view.desired.keys()]),
  prefixes: everything(view),
})

/** The next hop that the dataplane should have for a prefix; undefined: none. */
export const wantedNextHop = (
  view: HostView,
  locals: Locals,
  vni: number,
  prefix: string,
): string | undefined => {
  if (!locals.inUse(vni) || locals.isLocal(vni, prefix)) return undefined
  const hops = view.known.get(vni)?.get(prefix)
  if (hops !== undefined) return chooseNextHop(hops, view.underlay)
  // What nobody has spoken of yet is kept while somebody may still do so.
  return view.isLevel(vni) ? undefined : view.programmed.get(vni)?.get(prefix)?.nextHop
}

export const planHost = (
  view: HostView,
  scope: PlanScope = wholeHost(view),
  locals: Locals = localsOf(view),
): ReadonlyArray<Operation> => {
  const routesOff = new Map<string, Operation>()
  const interfacesOff: Array<Operation> = []
  const interfacesOn: Array<Operation> = []
  const routesOn = new Map<string, Operation>()
  const coming = new Set<number>()

  const removeRoute = (vni: number, prefix: string) =>
    routesOff.set(`${vni} ${prefix}`, { _tag: "DeleteRoute", vni, prefix })
  const create = (spec: InterfaceSpec) => {
    for (const prefix of prefixesOf(spec)) {
      if (view.programmed.get(spec.vni)?.has(prefix)) removeRoute(spec.vni, prefix)
    }
    interfacesOn.push({ _tag: "CreateInterface", spec })
    coming.add(spec.vni)
  }

  for (const uid of scope.uids) {
    const desired = view.desired.get(uid)
    const there = view.observed.get(uid)
    if (desired === undefined) {
      if (there !== undefined && view.complete) interfacesOff.push({ _tag: "DeleteInterface", id: uid })
      continue
    }
    const wanted = interfaceSpec(desired)
    if (there !== undefined && sameIdentity(wanted, there.spec)) continue
    if (there !== undefined) interfacesOff.push({ _tag: "DeleteInterface", id: uid })
    create(wanted)
  }

  for (const [vni, prefix] of scope.prefixes) {
    const there = view.programmed.get(vni)?.get(prefix)
    const nextHop = wantedNextHop(view, locals, vni, prefix)
    if (nextHop === undefined) {
      if (there !== undefined) removeRoute(vni, prefix)
    } else if (there?.nextHop !== nextHop && (locals.isThere(vni) || coming.has(vni))) {
      const route = { vni, prefix, nextHop, nextHopVni: vni }
      routesOn.set(`${vni} ${prefix}`, { _tag: "PutRoute", route })
    }
  }
  return [...routesOff.values(), ...interfacesOff, ...interfacesOn, ...routesOn.values()]
}
