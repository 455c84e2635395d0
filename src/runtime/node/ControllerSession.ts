/**
 * An agent's session with a controller: says hello, takes what the host is asked for, tells what became of it.
 *
 * What is asked for is written to the journal before the host hears of it. Messages that arrive together are one
 * write. A break costs nothing but time: the next session, with whichever controller, resumes from the last
 * revision that was complete, and is told everything again that the agent knows. Without a controller the host
 * goes on as it is.
 */
import { Array as Arr, Cause, Clock, Deferred, Effect, Queue, Random, Stream } from "effect"
import * as HostDesire from "#actors/host/HostDesire.ts"
import * as HostReports from "#actors/host/HostReports.ts"
import { ControllerLink, LinkError } from "#protocol/node/ControllerLink.ts"
import type { HostInterface } from "#protocol/node/HostInterface.ts"
import {
  type AgentMessage,
  type ControllerMessage,
  type Hello,
  maxRouteEntries,
  type Welcome,
} from "#protocol/node/NodeMessages.ts"
import { type Backoff, backoffMillis, describeCause } from "../supervision/RestartPolicy.ts"
import { type HostRuntime, moment } from "./HostRuntime.ts"
import { Journal, type JournalError, type Removed } from "./Journal.ts"

/** Who the agent is; revision and region come from its journal. */
export type Identity = Omit<Hello, "_tag" | "revision" | "regionUid">

export interface ControllerState {
  /** Welcomed, and not lost since. */
  connected: boolean
  /** Why not. */
  reason: string
  regionUid: string
  /** Sessions that began, since the agent's start. */
  sessions: number
}

const welcomeTimeoutMillis = 10_000
/** Messages on their way out. A controller that reads slowly is told later, and less: reports say what is. */
const outboxCapacity = 16
const reportsAtOnce = 64
/** A new agent's first report waits so long for its dataplane, or it would take back what is still true. */
const patienceMillis = 2_000

const backoff: Backoff = { firstMillis: 50, factor: 2, capMillis: 5_000, jitter: 0.5 }

const malformed = (reason: string) => new LinkError({ kind: "Malformed", reason })

/** Desired state that has arrived and is not written yet; the last word on a uid counts. */
interface Pending {
  readonly upserts: Map<string, HostInterface>
  readonly removals: Map<string, Removed>
}

/** Ends only by interruption. `state` is kept up to date for whoever asks. */
export const run = Effect.fnUntraced(function* (
  runtime: HostRuntime,
  identity: Identity,
  state: ControllerState,
): Effect.fn.Return<never, never, ControllerLink | Journal> {
  const { host } = runtime
  const link = yield* ControllerLink
  const journal = yield* Journal
  let attempts = 0

  const flush = Effect.fnUntraced(function* (pending: Pending, revision: number | undefined) {
    if (pending.upserts.size === 0 && pending.removals.size === 0 && revision === undefined) return
    yield* journal.write({
      upserts: [...pending.upserts.values()],
      removals: [...pending.removals.values()],
      ...(revision === undefined ? {} : { revision }),
    })
    for (const [uid, { generation }] of pending.removals) HostDesire.remove(host, uid, generation)
    for (const desired of pending.upserts.values()) {
      if (!HostDesire.upsert(host, desired)) {
        yield* Effect.logError("this host has no room for another interface", { uid: desired.uid })
      }
    }
    pending.upserts.clear()
    pending.removals.clear()
  })

  const welcomed = Effect.fnUntraced(function* (welcome: Welcome) {
    const { full, regionUid } = welcome
    if (regionUid !== state.regionUid) {
      if (!full) return yield* malformed("a difference from a region that this agent does not know")
      if (state.regionUid !== "") {
        yield* Effect.logWarning("another region than before, starting over", { regionUid })
      }
      yield* journal.write({ clear: true, regionUid })
      state.regionUid = regionUid
      host.revision = 0
      host.settledRevision = 0
    }
    HostDesire.beginSession(host, full)
  })

  /** What came together: journal first, then the host. */
  const take = Effect.fnUntraced(function* (messages: ReadonlyArray<ControllerMessage>) {
    const pending: Pending = { upserts: new Map(), removals: new Map() }
    for (const message of messages) {
      switch (message._tag) {
        case "Upsert":
          pending.removals.delete(message.interface.uid)
          pending.upserts.set(message.interface.uid, message.interface)
          break
        case "Removal": {
          const { uid } = message
          const generation =
            (pending.upserts.get(uid) ?? host.tables.desired.get(uid))?.generation ??
            host.tombstones.get(uid)?.generation
          pending.upserts.delete(uid)
          pending.removals.set(uid, { uid, generation: generation ?? 0 })
          break
        }
        case "CaughtUp": {
          if (host.resync !== undefined) {
            yield* flush(pending, undefined)
            for (const { generation, uid } of HostDesire.unnamed(host)) {
              pending.removals.set(uid, { uid, generation })
            }
          }
          yield* flush(pending, message.revision)
          HostDesire.caughtUp(host, message.revision)
          break
        }
        case "Lease": {
          const forgotten = HostReports.acknowledged(host, message.sequence)
          if (forgotten.length > 0) yield* journal.write({ forgotten })
          break
        }
        case "Welcome":
          return yield* malformed("a second welcome")
      }
    }
    yield* flush(pending, undefined)
    yield* runtime.changed
  })

  const session = Effect.gen(function* () {
    const outbox = yield* Queue.bounded<AgentMessage>(outboxCapacity)
    const welcome = yield* Deferred.make<Welcome>()
    let leasedMillis = yield* Clock.currentTimeMillis
    yield* Queue.offer(outbox, {
      _tag: "Hello",
      ...identity,
      revision: host.revision,
      regionUid: state.regionUid,
    })

    const receive = Stream.runForEachArray(link.session(Stream.fromQueue(outbox)), (messages) =>
      Effect.gen(function* () {
        leasedMillis = yield* Clock.currentTimeMillis
        let rest: ReadonlyArray<ControllerMessage> = messages
        if (!(yield* Deferred.isDone(welcome))) {
          const [first] = messages
          if (first?._tag !== "Welcome") return yield* malformed("the first message is no welcome")
          yield* welcomed(first)
          yield* Deferred.succeed(welcome, first)
          rest = messages.slice(1)
        }
        yield* take(rest)
      }),
    ).pipe(
      Effect.andThen(
        Effect.fail(new LinkError({ kind: "Unreachable", reason: "the controller ended the session" })),
      ),
    )

    const greeted = Deferred.await(welcome).pipe(
      Effect.timeoutOrElse({
        duration: welcomeTimeoutMillis,
        orElse: () =>
          Effect.fail(
            new LinkError({ kind: "Unreachable", reason: `no welcome within ${welcomeTimeoutMillis} ms` }),
          ),
      }),
    )

    const tell = Effect.gen(function* () {
      const { heartbeatMillis } = yield* greeted
      state.connected = true
      state.sessions++
      attempts = 0
      yield* Effect.logInfo("welcomed by the controller", { node: identity.node, revision: host.revision })
      const startMillis = yield* Clock.currentTimeMillis
      let sequence = 0
      let heartbeatAt = startMillis
      let routesTold = false
      HostReports.tellAll(host)
      while (true) {
        const now = yield* Clock.currentTimeMillis
        if (host.connected || now - startMillis >= patienceMillis) {
          const reports = HostReports.takeInterfaceReports(host, reportsAtOnce, sequence + 1)
          yield* Queue.offerAll(outbox, reports)
          // The rest after a look at the clock: many reports must not cost the lease.
          if (reports.length === reportsAtOnce) runtime.news.ring()
        }
        if (host.connected) {
          yield* tellRoutes(outbox, !routesTold)
          routesTold = true
        }
        if (now >= heartbeatAt) {
          sequence++
          const settledRevision = HostReports.settledRevision(host)
          yield* Queue.offer(outbox, { _tag: "Heartbeat", sequence, settledRevision })
          heartbeatAt = now + heartbeatMillis
        }
        yield* runtime.news.heard(heartbeatAt - now)
      }
    })
    // Apart from `tell`, which may be stuck in a connection that takes nothing.
    const watch = Effect.gen(function* () {
      const { leaseMillis } = yield* greeted
      while (true) {
        const left = leasedMillis + leaseMillis - (yield* Clock.currentTimeMillis)
        if (left > 0) yield* Effect.sleep(Math.ceil(left))
        else return yield* new LinkError({ kind: "Unreachable", reason: `silent for ${leaseMillis} ms` })
      }
    })
    return yield* Effect.raceAllFirst([receive, tell, watch])
  }).pipe(Effect.scoped)

  const tellRoutes = Effect.fnUntraced(function* (outbox: Queue.Queue<AgentMessage>, all: boolean) {
    const { nowMicros } = yield* moment
    const entries = all
      ? HostReports.allRouteEntries(host, nowMicros)
      : HostReports.takeRouteEntries(host, nowMicros)
    const parts = all && entries.length === 0 ? [[]] : Array.from(Arr.chunksOf(entries, maxRouteEntries))
    for (const [index, part] of parts.entries()) {
      yield* Queue.offer(outbox, { _tag: "RouteReport", entries: part, full: all && index === 0 })
    }
    if (!all && entries.length === maxRouteEntries) runtime.news.ring()
  })

  const ended = Effect.fnUntraced(function* (cause: Cause.Cause<LinkError | JournalError>) {
    if (Cause.hasInterruptsOnly(cause)) return yield* Effect.interrupt
    const failure = cause.reasons.find(Cause.isFailReason)?.error
    state.reason = describeCause(cause)
    // Somebody else is this node: coming back at once would only take turns.
    const replaced = failure?._tag === "LinkError" && failure.kind === "Replaced"
    const delay = replaced ? backoff.capMillis : backoffMillis(backoff, ++attempts, yield* Random.next)
    const log = attempts <= 1 ? Effect.logWarning : Effect.logDebug
    yield* log("no controller, the host goes on as it is", { reason: state.reason, delay })
    yield* Effect.sleep(delay)
  })

  const once = Effect.ensuring(
    session,
    Effect.sync(() => {
      state.connected = false
      HostReports.tellNobody(host)
    }),
  )
  return yield* Effect.forever(Effect.catchCause(once, ended))
})
