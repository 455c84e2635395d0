/**
 * The tables of one host, and who has to look again when they change.
 *
 * A `HostView` that can be written, with what planners would otherwise derive from all of it (local prefixes,
 * VNIs in use, the digest) kept up to date entry by entry. Every write marks the actors that it concerns: uids of
 * interfaces, prefixes of route tables. A mark is a hint without data; the planner reads the tables.
 *
 * One per agent. Written synchronously, by functions that never wait; bounded by what the controller may ask for,
 * what the reflectors may tell and what the dataplane has room for.
 */
import type { InterfaceState } from "#protocol/dataplane/Dataplane.ts"
import { interfaceDigest, routeDigest } from "#protocol/dataplane/digest.ts"
import type { NextHop } from "#protocol/metalbond/RouteDistribution.ts"
import type { Prefix } from "#protocol/net/Address.ts"
import type { HostInterface } from "#protocol/node/HostInterface.ts"
import type { Locals } from "./HostPlan.ts"
import type { HostView, ProgrammedRoute } from "./HostView.ts"
import { type Addressed, prefixesOf } from "./InterfaceIdentity.ts"
import * as RouteMarks from "./RouteMarks.ts"

export interface HostTables extends HostView, Locals {
  /** Interfaces to look at again. */
  readonly uids: Set<string>
  /** Routes to look at again. */
  readonly routes: RouteMarks.RouteMarks
  /** Routes to tell the controller about again; marked while `telling`, or they would pile up with nobody to tell. */
  readonly untold: RouteMarks.RouteMarks
  telling: boolean
  /** What the dataplane's digest must be if it has what these tables say. */
  readonly digest: bigint
  /** Grows whenever an interface changes, asked for or there: what follows from them is planned again then. */
  readonly epoch: number

  readonly setDesired: (uid: string, value: HostInterface | undefined) => void
  readonly setObserved: (uid: string, value: InterfaceState | undefined) => void
  readonly setProgrammed: (vni: number, prefix: string, value: ProgrammedRoute | undefined) => void
  /** An empty hop set: nobody announces it. */
  readonly setKnown: (vni: number, prefix: string, hops: ReadonlyArray<NextHop>) => void
  /** From now on what is there and not asked for goes. */
  readonly setComplete: () => void
  /** Whether routes of this VNI that nobody tells of may go. */
  readonly setLevel: (vni: number, level: boolean) => void
  /** Every route of the VNI is to be looked at. */
  readonly markVni: (vni: number) => void
}

type Tables<A> = Map<number, Map<string, A>>

const put = <A>(tables: Tables<A>, vni: number, prefix: string, value: A | undefined): void => {
  const table = tables.get(vni)
  if (value !== undefined) {
    if (table === undefined) tables.set(vni, new Map([[prefix, value]]))
    else table.set(prefix, value)
  } else if (table?.delete(prefix) && table.size === 0) {
    tables.delete(vni)
  }
}

/** How many hold a key. `add` and `remove` say whether its presence changed. */
const tally = <K>() => {
  const counts = new Map<K, number>()
  return {
    has: (key: K): boolean => counts.has(key),
    add: (key: K): boolean => {
      const count = counts.get(key) ?? 0
      counts.set(key, count + 1)
      return count === 0
    },
    remove: (key: K): boolean => {
      const count = counts.get(key) ?? 0
      if (count > 1) counts.set(key, count - 1)
      else counts.delete(key)
      return count === 1
    },
  }
}

export const make = (underlay: Prefix): HostTables => {
  const desired = new Map<string, HostInterface>()
  const observed = new Map<string, InterfaceState>()
  const programmed: Tables<ProgrammedRoute> = new Map()
  const known: Tables<ReadonlyArray<NextHop>> = new Map()
  const uids = new Set<string>()
  const routes = RouteMarks.make()
  const untold = RouteMarks.make()
  const local = tally<string>()
  const asked = tally<number>()
  const there = tally<number>()
  let complete = false
  const level = new Set<number>()
  let digest = 0n
  let epoch = 0

  const markVni = (vni: number) => {
    for (const prefix of programmed.get(vni)?.keys() ?? []) routes.add(vni, prefix)
    for (const prefix of known.get(vni)?.keys() ?? []) routes.add(vni, prefix)
  }
  const inUse = (vni: number) => asked.has(vni) || (!complete && there.has(vni))

  /** Counts what comes before it discounts what goes: what both hold does not change. */
  const recount = (vnis: typeof asked, after: Addressed | undefined, before: Addressed | undefined) => {
    epoch++
    if (after !== undefined) {
      if (vnis.add(after.vni)) markVni(after.vni)
      for (const prefix of prefixesOf(after)) {
        if (local.add(`${after.vni} ${prefix}`)) routes.add(after.vni, prefix)
      }
    }
    if (before !== undefined) {
      if (vnis.remove(before.vni)) markVni(before.vni)
      for (const prefix of prefixesOf(before)) {
        if (local.remove(`${before.vni} ${prefix}`)) routes.add(before.vni, prefix)
      }
    }
  }

  const tables: HostTables = {
    underlay,
    desired,
    observed,
    programmed,
    known,
    uids,
    routes,
    untold,
    telling: false,
    get complete() {
      return complete
    },
    get digest() {
      return digest
    },
    get epoch() {
      return epoch
    },
    isLocal: (vni, prefix) => local.has(`${vni} ${prefix}`),
    inUse,
    isThere: (vni) => there.has(vni),
    isLevel: (vni) => level.has(vni),
    markVni,
    setDesired: (uid, value) => {
      const before = desired.get(uid)
      if (value === undefined) desired.delete(uid)
      else desired.set(uid, value)
      uids.add(uid)
      recount(asked, value, before)
    },
    setObserved: (uid, value) => {
      const before = observed.get(uid)
      if (value === undefined) observed.delete(uid)
      else observed.set(uid, value)
      if (before !== undefined) digest ^= interfaceDigest(before.spec)
      if (value !== undefined) digest ^= interfaceDigest(value.spec)
      recount(there, value?.spec, before?.spec)
    },
    setProgrammed: (vni, prefix, value) => {
      const before = programmed.get(vni)?.get(prefix)
      if (before !== undefined) digest ^= routeDigest({ vni, prefix, ...before })
      if (value !== undefined) digest ^= routeDigest({ vni, prefix, ...value })
      put(programmed, vni, prefix, value)
      if (tables.telling) untold.add(vni, prefix)
    },
    setKnown: (vni, prefix, hops) => {
      put(known, vni, prefix, hops.length === 0 ? undefined : hops)
      routes.add(vni, prefix)
    },
    setComplete: () => {
      if (complete) return
      complete = true
      epoch++
      for (const uid of observed.keys()) if (!desired.has(uid)) uids.add(uid)
      for (const vni of programmed.keys()) if (!inUse(vni)) markVni(vni)
    },
    setLevel: (vni, now) => {
      if (!now) return void level.delete(vni)
      if (level.has(vni)) return
      level.add(vni)
      for (const prefix of programmed.get(vni)?.keys() ?? []) {
        if (!known.get(vni)?.has(prefix)) routes.add(vni, prefix)
      }
    },
  }
  return tables
}
