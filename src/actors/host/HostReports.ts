/**
 * What a host owes its controller: what became of each interface, which routes its dataplane has, and up to which
 * revision all is done. Reports say what is, computed when they are taken: what changed twice is told once.
 */
import {
  clip,
  type InterfaceReport,
  maxRouteEntries,
  type RouteReportEntry,
} from "#protocol/node/NodeMessages.ts"
import type { Host } from "./Host.ts"
import { isRealised } from "./HostBatch.ts"

const _tag = "InterfaceReport"

/** Undefined: there is nothing to say about this uid. */
export const interfaceReport = (host: Host, uid: string): InterfaceReport | undefined => {
  const desired = host.tables.desired.get(uid)
  const there = host.tables.observed.get(uid)
  const failure = host.failures.get(uid)
  const refused = (generation: number): InterfaceReport | undefined =>
    failure && { _tag, uid, generation, state: "Failed", reason: failure.reason, message: failure.message }

  if (desired !== undefined) {
    const { generation } = desired
    if (there !== undefined && isRealised(host, uid) && !host.absent) {
      const { device, underlayAddress } = there
      const realisedMicros = host.realisedMicros.get(uid) ?? 0
      return { _tag, uid, generation, state: "Realised", underlayAddress, device, realisedMicros }
    }
    const waiting: InterfaceReport = host.connected
      ? {
          _tag,
          uid,
          generation,
          state: "Pending",
          reason: "WaitingForDataplane",
          message: "the dataplane was not asked yet",
        }
      : {
          _tag,
          uid,
          generation,
          state: "Pending",
          reason: "DataplaneUnavailable",
          message: clip(`the host's dataplane does not answer: ${host.disconnectedReason}`),
        }
    return refused(generation) ?? waiting
  }
  const tombstone = host.tombstones.get(uid)
  if (tombstone === undefined) return undefined
  if (there !== undefined) return refused(tombstone.generation)
  // What an unlisted dataplane has is not known.
  return host.connected ? { _tag, uid, generation: tombstone.generation, state: "Removed" } : undefined
}

/** A session begins: its controller has been told nothing yet. */
export const tellAll = (host: Host): void => {
  host.told.clear()
  host.tables.telling = true
  for (const uid of host.tables.desired.keys()) host.untold.add(uid)
  for (const [uid, tombstone] of host.tombstones) {
    host.tombstones.set(uid, { ...tombstone, toldBefore: undefined })
    host.untold.add(uid)
  }
}

/** The session is over: nobody is told until the next, which is told everything. */
export const tellNobody = (host: Host): void => {
  host.tables.telling = false
  while (!host.tables.untold.isEmpty()) host.tables.untold.take(maxRouteEntries)
}

const sameReport = (a: InterfaceReport, b: InterfaceReport | undefined): boolean =>
  b !== undefined && JSON.stringify(a) === JSON.stringify(b)

/** At most `limit`. `nextSequence` is that of the next heartbeat on the same stream. */
export const takeInterfaceReports = (
  host: Host,
  limit: number,
  nextSequence: number,
): ReadonlyArray<InterfaceReport> => {
  const taken: Array<InterfaceReport> = []
  for (const uid of host.untold) {
    if (taken.length >= limit) break
    host.untold.delete(uid)
    // An interface in progress is told when it is settled; the controller knows that it is not.
    const inProgress = host.tables.uids.has(uid) || host.asking.has(uid)
    if (host.connected && inProgress && !host.failures.has(uid)) continue
    const report = interfaceReport(host, uid)
    if (report === undefined || sameReport(report, host.told.get(uid))) continue
    if (report.state === "Removed") {
      host.told.delete(uid)
      host.tombstones.set(uid, { generation: report.generation, toldBefore: nextSequence })
    } else {
      host.told.set(uid, report)
    }
    taken.push(report)
  }
  return taken
}

/** The controller took everything that was said before this heartbeat. Uids that need not be remembered now. */
export const acknowledged = (host: Host, sequence: number): ReadonlyArray<string> => {
  const forgotten: Array<string> = []
  for (const [uid, { toldBefore }] of host.tombstones) {
    if (toldBefore === undefined || toldBefore > sequence) continue
    host.tombstones.delete(uid)
    forgotten.push(uid)
  }
  return forgotten
}

const entryOf = (host: Host, vni: number, prefix: string, nowMicros: number): RouteReportEntry => {
  const route = host.tables.programmed.get(vni)?.get(prefix)
  return route === undefined
    ? { vni, prefix, nextHop: "::", removed: true, programmedMicros: nowMicros }
    : { vni, prefix, nextHop: route.nextHop, removed: false, programmedMicros: route.programmedMicros }
}

/** Routes that came or went since they were last taken. */
export const takeRouteEntries = (host: Host, nowMicros: number): ReadonlyArray<RouteReportEntry> =>
  host.tables.untold.take(maxRouteEntries).map(([vni, prefix]) => entryOf(host, vni, prefix, nowMicros))

/** All routes that the dataplane has; what came or went so far is in it. */
export const allRouteEntries = (host: Host, nowMicros: number): ReadonlyArray<RouteReportEntry> => {
  while (!host.tables.untold.isEmpty()) host.tables.untold.take(maxRouteEntries)
  return [...host.tables.programmed].flatMap(([vni, table]) =>
    Array.from(table.keys(), (prefix) => entryOf(host, vni, prefix, nowMicros)),
  )
}

/** Up to which revision everything was done; never goes back while the region is the same. */
export const settledRevision = (host: Host): number => {
  const { tables } = host
  const busy =
    !host.connected ||
    !tables.complete ||
    host.resync !== undefined ||
    tables.uids.size > 0 ||
    host.asking.size > 0 ||
    [...tables.observed.keys()].some((uid) => !tables.desired.has(uid))
  if (!busy) host.settledRevision = host.revision
  return host.settledRevision
}
