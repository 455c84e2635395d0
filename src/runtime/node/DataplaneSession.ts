/**
 * An agent's session with its dataplane. One, always.
 *
 * Connects, lists what is there, and from then on serves whoever of the host is awake, one batch at a time: while
 * a batch is under way the marks of the next one gather, so a burst costs few round trips and a single change
 * waits for none. Lists again when the process is another one, when it refuses something as being there already,
 * and when its digest is not the one that the host's tables have. A dataplane that dies in the middle of a batch
 * is connected to again, listed, and brought to the desired state by the difference.
 *
 * Announcements follow what the dataplane has, and only once a round has come to rest: after a restart of the
 * dataplane all routes of the host change in one step, after one of the agent none does.
 */
import { Cause, Clock, Effect, Random } from "effect"
import { announceable, planAnnouncements } from "#actors/host/Announcements.ts"
import * as HostBatch from "#actors/host/HostBatch.ts"
import { Dataplane, type DataplaneError, DataplaneProtocolError } from "#protocol/dataplane/Dataplane.ts"
import { digestOf } from "#protocol/dataplane/digest.ts"
import { RouteDistribution } from "#protocol/metalbond/RouteDistribution.ts"
import { canonicalRoute, formatPrefix } from "#protocol/net/Address.ts"
import { type Backoff, backoffMillis, describeCause } from "../supervision/RestartPolicy.ts"
import { type HostRuntime, moment } from "./HostRuntime.ts"

/** How often a silent dataplane is asked whether it is the same, and as the tables say. */
export const checkMillis = 1000
/** A dataplane that is away for longer no longer has its interfaces, as far as the region is told. */
export const absentMillis = 10_000

const backoff: Backoff = { firstMillis: 50, factor: 2, capMillis: 2000, jitter: 0.5 }

/** What is known of the dataplane over sessions. */
interface Known {
  /** Of the process that was listed last. */
  uuid: string | undefined
  /** Of a process whose digest is not that of its own listing: it can't be compared by digest. */
  undigestible: string | undefined
  /** Epoch of the interfaces whose routes were announced last. */
  announced: number | undefined
  /** Failures in a row. */
  attempts: number
  /** Since when it does not answer. */
  goneSinceMillis: number | undefined
}

/** Ends only by interruption. */
export const run = Effect.fnUntraced(function* (
  runtime: HostRuntime,
): Effect.fn.Return<never, never, Dataplane | RouteDistribution> {
  const { host } = runtime
  const dataplane = yield* Dataplane
  const routes = yield* RouteDistribution
  const known: Known = {
    uuid: undefined,
    undigestible: undefined,
    announced: undefined,
    attempts: 0,
    goneSinceMillis: undefined,
  }

  const list = Effect.gen(function* () {
    const listing = yield* dataplane.listAll
    const { digest, underlayPrefix, uuid } = listing.state
    const own = formatPrefix(host.tables.underlay)
    if (canonicalRoute(underlayPrefix) !== own) {
      return yield* new DataplaneProtocolError({
        reason: `its underlay prefix is ${underlayPrefix}, this node's is ${own}: start one of them with the other's`,
      })
    }
    const fresh = uuid !== known.uuid
    const listed = digestOf(
      listing.interfaces.map(({ spec }) => spec),
      listing.routes,
      listing,
    )
    if (listed !== digest && known.undigestible !== uuid) {
      yield* Effect.logWarning("the dataplane's digest is not that of its listing", { uuid })
      known.undigestible = uuid
    }
    HostBatch.observe(host, listing, fresh, yield* moment)
    known.uuid = uuid
    yield* runtime.acted
  })

  const announce = Effect.suspend(() => {
    const { epoch } = host.tables
    if (epoch === known.announced) return Effect.void
    known.announced = epoch
    return routes.announce(planAnnouncements(announceable(host.tables)))
  })

  /** Until nobody is awake. */
  const serve = Effect.gen(function* () {
    HostBatch.wakeRetries(host, yield* Clock.currentTimeMillis)
    while (HostBatch.isAwake(host)) {
      const operations = HostBatch.nextBatch(host, yield* Clock.currentTimeMillis)
      const results = operations.length === 0 ? [] : yield* dataplane.apply(operations)
      const stale = HostBatch.settle(host, operations, results, yield* moment)
      yield* runtime.acted
      if (stale) yield* list
    }
    yield* announce
  })

  const check = Effect.gen(function* () {
    const { digest, uuid } = yield* dataplane.state
    const differs = digest !== host.tables.digest && known.undigestible !== uuid
    if (uuid === known.uuid && !differs) return
    if (uuid === known.uuid) {
      yield* Effect.logWarning("the dataplane is not as it was left, comparing anew", { uuid })
    }
    yield* list
  })

  const session = Effect.gen(function* () {
    yield* dataplane.connect
    yield* list
    known.attempts = 0
    known.goneSinceMillis = undefined
    let checkAt = (yield* Clock.currentTimeMillis) + checkMillis
    while (true) {
      yield* serve
      const now = yield* Clock.currentTimeMillis
      if (now >= checkAt) {
        yield* check
        checkAt = now + checkMillis
        continue
      }
      yield* runtime.work.heard(Math.min(checkAt, HostBatch.nextRetryMillis(host) ?? checkAt) - now)
    }
  })

  const failed = Effect.fnUntraced(function* (cause: Cause.Cause<DataplaneError>) {
    if (Cause.hasInterruptsOnly(cause)) return yield* Effect.interrupt
    const reason = describeCause(cause)
    HostBatch.disconnected(host, reason)
    const now = yield* Clock.currentTimeMillis
    known.goneSinceMillis ??= now
    if (now - known.goneSinceMillis >= absentMillis && !host.absent) HostBatch.absent(host)
    runtime.news.ring()
    const delay = backoffMillis(backoff, ++known.attempts, yield* Random.next)
    const log = known.attempts === 1 ? Effect.logWarning : Effect.logDebug
    yield* log("the dataplane is gone, connecting again", { reason, attempt: known.attempts, delay })
    yield* Effect.sleep(delay)
  })

  return yield* Effect.forever(Effect.catchCause(session, failed))
})
