/**
 * The host's side of its dataplane: what was found there, what to do next, what became of it.
 *
 * A refused operation waits for its own retry and holds up nobody else. Refusals that say "it is as you want it
 * already" count as done.
 */
import {
  type DataplaneListing,
  type Operation,
  type OperationResult,
  statusCodes,
} from "#protocol/dataplane/Dataplane.ts"
import { bury, type Failure, type Host } from "./Host.ts"
import { planHost } from "./HostPlan.ts"
import { interfaceSpec, sameIdentity } from "./InterfaceIdentity.ts"
import { type Refusal, refusalOf } from "./Refusal.ts"

/** Marks that one batch serves; each makes two operations at most, and the contract takes 4,096. */
export const maxBatch = 1024

/** When it is, as sessions tell it; `chance` in [0, 1) spreads retries. */
export interface Moment {
  readonly nowMillis: number
  readonly nowMicros: number
  readonly chance: number
}

const firstRetryMillis = 200
const maxRetryMillis = 30_000

const failed = (refusal: Refusal, before: Failure | undefined, moment: Moment): Failure => {
  const attempts = (before?.attempts ?? 0) + 1
  const delay = Math.min(maxRetryMillis, firstRetryMillis * 2 ** Math.min(attempts - 1, 20))
  return {
    ...refusal,
    attempts,
    retryAtMillis: Math.ceil(moment.nowMillis + delay * (0.75 + moment.chance / 2)),
  }
}

/** The dataplane as it was listed. Everybody looks again. `fresh`: it is another process than before. */
export const observe = (host: Host, listing: DataplaneListing, fresh: boolean, moment: Moment): void => {
  const { tables } = host
  const there = new Map(listing.interfaces.map((state) => [state.spec.id, state]))
  for (const uid of tables.observed.keys()) if (!there.has(uid)) tables.setObserved(uid, undefined)
  for (const [uid, state] of there) {
    const before = tables.observed.get(uid)
    if (before?.underlayAddress !== state.underlayAddress) host.realisedMicros.set(uid, moment.nowMicros)
    tables.setObserved(uid, state)
  }
  for (const uid of host.realisedMicros.keys()) if (!there.has(uid)) host.realisedMicros.delete(uid)

  const routes = new Set(listing.routes.map(({ prefix, vni }) => `${vni} ${prefix}`))
  for (const [vni, table] of tables.programmed) {
    for (const prefix of table.keys()) {
      if (!routes.has(`${vni} ${prefix}`)) tables.setProgrammed(vni, prefix, undefined)
    }
  }
  for (const { nextHop, nextHopVni, prefix, vni } of listing.routes) {
    const before = tables.programmed.get(vni)?.get(prefix)
    const same = before?.nextHop === nextHop && before.nextHopVni === nextHopVni
    if (!same) tables.setProgrammed(vni, prefix, { nextHop, nextHopVni, programmedMicros: moment.nowMicros })
  }

  if (fresh) {
    host.failures.clear()
    host.routeFailures.clear()
  }
  for (const uid of [...tables.desired.keys(), ...there.keys()]) {
    tables.uids.add(uid)
    host.untold.add(uid)
  }
  for (const uid of host.tombstones.keys()) host.untold.add(uid)
  for (const vni of new Set([...tables.programmed.keys(), ...tables.known.keys()])) tables.markVni(vni)
  host.connected = true
  host.absent = false
}

/** Nothing is known of the dataplane until it is listed again. Its packets may well still flow. */
export const disconnected = (host: Host, reason: string): void => {
  host.connected = false
  host.disconnectedReason = reason
  host.asking.clear()
  for (const uid of host.tables.desired.keys()) host.untold.add(uid)
}

/** The dataplane was away for long: nobody can say that its packets still flow. */
export const absent = (host: Host): void => {
  host.absent = true
  for (const uid of host.tables.desired.keys()) host.untold.add(uid)
}

/** Wakes what was refused and has waited long enough. */
export const wakeRetries = (host: Host, nowMillis: number): void => {
  for (const [uid, failure] of host.failures) {
    if (failure.retryAtMillis <= nowMillis) host.tables.uids.add(uid)
  }
  for (const { prefix, retryAtMillis, vni } of host.routeFailures.values()) {
    if (retryAtMillis <= nowMillis) host.tables.routes.add(vni, prefix)
  }
}

/** When the next retry is due, milliseconds since the epoch; undefined: none waits. */
export const nextRetryMillis = (host: Host): number | undefined => {
  let next: number | undefined
  for (const failures of [host.failures.values(), host.routeFailures.values()]) {
    for (const { retryAtMillis } of failures) next = Math.min(next ?? retryAtMillis, retryAtMillis)
  }
  return next
}

export const isAwake = (host: Host): boolean => host.tables.uids.size > 0 || !host.tables.routes.isEmpty()

/** Who a batch is about, whether or not it asks anything for them. */
const touchedBy = (operations: ReadonlyArray<Operation>): ReadonlySet<string> =>
  new Set(
    operations.map((operation) => {
      switch (operation._tag) {
        case "CreateInterface":
          return operation.spec.id
        case "DeleteInterface":
          return operation.id
        case "PutRoute":
          return `${operation.route.vni} ${operation.route.prefix}`
        case "DeleteRoute":
          return `${operation.vni} ${operation.prefix}`
        case "ResetVni":
          return String(operation.vni)
        default:
          return operation._tag
      }
    }),
  )

/**
 * Serves those who are awake, at most `maxBatch` of them. May be empty: all of them are as they should be. Every
 * batch is to be settled, also an empty one.
 */
export const nextBatch = (host: Host, nowMillis: number): ReadonlyArray<Operation> => {
  const { tables } = host
  const patient = (failure: Failure | undefined) => failure !== undefined && failure.retryAtMillis > nowMillis
  const uids: Array<string> = []
  for (const uid of tables.uids) {
    if (uids.length >= maxBatch) break
    tables.uids.delete(uid)
    if (!patient(host.failures.get(uid))) uids.push(uid)
  }
  const prefixes = tables.routes
    .take(maxBatch - uids.length)
    .filter(([vni, prefix]) => !patient(host.routeFailures.get(`${vni} ${prefix}`)))
  const operations = planHost(tables, { uids, prefixes }, tables)
  const touched = touchedBy(operations)
  for (const uid of uids) {
    host.asking.add(uid)
    // What is as it should be has not failed, whatever it did before.
    if (!touched.has(uid)) host.failures.delete(uid)
  }
  for (const [vni, prefix] of prefixes) {
    if (!touched.has(`${vni} ${prefix}`)) host.routeFailures.delete(`${vni} ${prefix}`)
  }
  return operations
}

/** Codes that mean: it is gone already. */
const gone: ReadonlySet<number> = new Set([
  statusCodes.SUCCESS,
  statusCodes.NOT_FOUND,
  statusCodes.NO_VNI,
  statusCodes.ROUTE_NOT_FOUND,
  statusCodes.ROUTE_BAD_PORT,
])

/** What became of a batch. True: the dataplane is not as these tables say, list it again. */
export const settle = (
  host: Host,
  operations: ReadonlyArray<Operation>,
  results: ReadonlyArray<OperationResult>,
  moment: Moment,
): boolean => {
  const { tables } = host
  let stale = results.length !== operations.length

  const refuse = (uid: string, what: string, result: OperationResult) => {
    host.failures.set(uid, failed(refusalOf(what, result), host.failures.get(uid), moment))
    host.untold.add(uid)
  }
  const refuseRoute = (vni: number, prefix: string, what: string, result: OperationResult) => {
    const key = `${vni} ${prefix}`
    const failure = failed(refusalOf(what, result), host.routeFailures.get(key), moment)
    host.routeFailures.set(key, { ...failure, vni, prefix })
  }

  operations.forEach((operation, index) => {
    const result = results[index]
    if (result === undefined) return
    const done = result.code === statusCodes.SUCCESS
    switch (operation._tag) {
      case "CreateInterface": {
        const uid = operation.spec.id
        if (done && result.interface !== undefined) {
          host.failures.delete(uid)
          host.realisedMicros.set(uid, moment.nowMicros)
          tables.setObserved(uid, { ...result.interface, spec: operation.spec })
          host.untold.add(uid)
        } else {
          stale ||= done || result.code === statusCodes.ALREADY_EXISTS
          if (!done) refuse(uid, `create the interface on ${operation.spec.device}`, result)
        }
        break
      }
      case "DeleteInterface": {
        const { id } = operation
        if (gone.has(result.code)) interfaceGone(host, id)
        else refuse(id, "delete the interface", result)
        break
      }
      case "PutRoute": {
        const { nextHop, nextHopVni, prefix, vni } = operation.route
        if (done) {
          host.routeFailures.delete(`${vni} ${prefix}`)
          tables.setProgrammed(vni, prefix, { nextHop, nextHopVni, programmedMicros: moment.nowMicros })
        } else {
          refuseRoute(vni, prefix, `route ${prefix} to ${nextHop}`, result)
        }
        break
      }
      case "DeleteRoute": {
        const { prefix, vni } = operation
        if (gone.has(result.code)) {
          host.routeFailures.delete(`${vni} ${prefix}`)
          tables.setProgrammed(vni, prefix, undefined)
        } else {
          refuseRoute(vni, prefix, `delete the route ${prefix}`, result)
        }
        break
      }
      case "ResetVni":
        stale = true
    }
  })
  for (const uid of host.asking) host.untold.add(uid)
  host.asking.clear()
  return stale
}

const interfaceGone = (host: Host, uid: string): void => {
  const { tables } = host
  const before = tables.observed.get(uid)
  tables.setObserved(uid, undefined)
  host.realisedMicros.delete(uid)
  host.failures.delete(uid)
  if (before === undefined) return
  const { vni } = before.spec
  // A dataplane may forget a VNI with its last interface: its routes count as gone and are put again.
  if (!tables.isThere(vni)) {
    for (const prefix of tables.programmed.get(vni)?.keys() ?? []) {
      tables.setProgrammed(vni, prefix, undefined)
    }
  }
  if (!tables.desired.has(uid)) bury(host, uid, host.tombstones.get(uid)?.generation ?? 0)
  else host.untold.add(uid)
}

/** For people and for tests: the interface is as it is asked for. */
export const isRealised = (host: Host, uid: string): boolean => {
  const desired = host.tables.desired.get(uid)
  const there = host.tables.observed.get(uid)
  return desired !== undefined && there !== undefined && sameIdentity(interfaceSpec(desired), there.spec)
}
