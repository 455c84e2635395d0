/**
 * What a host is asked for: by its journal, by a controller, by the reflectors. Writes it down and wakes whom it
 * concerns; decides nothing.
 */
import type { RouteUpdate } from "#protocol/metalbond/RouteDistribution.ts"
import type { HostInterface } from "#protocol/node/HostInterface.ts"
import { maxHostInterfaces } from "#protocol/node/NodeMessages.ts"
import { planSubscriptions } from "./Announcements.ts"
import { bury, type Host } from "./Host.ts"
import { interfaceSpec, sameIdentity } from "./InterfaceIdentity.ts"

/** What a journal held. */
export interface Remembered {
  readonly interfaces: ReadonlyArray<HostInterface>
  /** Removed, but perhaps not reported. */
  readonly removed: ReadonlyArray<{ readonly uid: string; readonly generation: number }>
  /** 0: the journal never held everything. */
  readonly revision: number
}

/** False: the host is full, nothing was written. */
export const upsert = (host: Host, desired: HostInterface): boolean => {
  const { tables } = host
  const before = tables.desired.get(desired.uid)
  if (before === undefined && tables.desired.size >= maxHostInterfaces) return false
  // What was refused before may be right now; what is the same as before keeps its patience.
  if (before === undefined || !sameIdentity(interfaceSpec(desired), interfaceSpec(before))) {
    host.failures.delete(desired.uid)
  }
  host.resync?.add(desired.uid)
  host.tombstones.delete(desired.uid)
  tables.setDesired(desired.uid, desired)
  host.untold.add(desired.uid)
  return true
}

export const remove = (host: Host, uid: string, generation: number): void => {
  host.failures.delete(uid)
  host.told.delete(uid)
  host.resync?.delete(uid)
  bury(host, uid, generation)
  host.tables.setDesired(uid, undefined)
}

/** At start, before anything else is known. */
export const restore = (host: Host, remembered: Remembered): void => {
  for (const { generation, uid } of remembered.removed) bury(host, uid, generation)
  for (const desired of remembered.interfaces) upsert(host, desired)
  host.revision = remembered.revision
  if (remembered.revision > 0) host.tables.setComplete()
}

/**
 * A controller's session begins. `full`: it is about to name everything; until it has, what it has not named
 * stays as it is. Otherwise a full list that was cut short is forgotten: differences follow.
 */
export const beginSession = (host: Host, full: boolean): void => {
  host.resync = full ? new Set() : undefined
}

/** What a full list did not name, so far: what `caughtUp` removes. */
export const unnamed = (host: Host): ReadonlyArray<{ readonly uid: string; readonly generation: number }> => {
  const { resync, tables } = host
  return resync === undefined ? [] : [...tables.desired.values()].filter(({ uid }) => !resync.has(uid))
}

export const caughtUp = (host: Host, revision: number): void => {
  for (const { generation, uid } of unnamed(host)) remove(host, uid, generation)
  host.resync = undefined
  host.revision = revision
  host.tables.setComplete()
}

/** News of routes. Those of a VNI that is not asked for (any more) are nobody's. */
export const learn = (host: Host, update: RouteUpdate): void => {
  for (const { nextHops, prefix, vni } of update.changes) {
    if (!host.subscriptions.has(vni)) continue
    host.routeFailures.delete(`${vni} ${prefix}`)
    host.tables.setKnown(vni, prefix, nextHops)
  }
  for (const vni of update.level ?? []) if (host.subscriptions.has(vni)) host.tables.setLevel(vni, true)
}

/** The VNIs to ask reflectors for, where that has changed. Routes of VNIs that leave are forgotten here too. */
export const takeSubscriptions = (host: Host): ReadonlySet<number> | undefined => {
  if (host.subscribedEpoch === host.tables.epoch) return undefined
  host.subscribedEpoch = host.tables.epoch
  const wanted = planSubscriptions(host.tables)
  const before = host.subscriptions
  if (wanted.size === before.size && [...wanted].every((vni) => before.has(vni))) return undefined
  for (const vni of before) {
    if (wanted.has(vni)) continue
    host.tables.setLevel(vni, false)
    for (const prefix of host.tables.known.get(vni)?.keys() ?? []) host.tables.setKnown(vni, prefix, [])
  }
  host.subscriptions = wanted
  return wanted
}
