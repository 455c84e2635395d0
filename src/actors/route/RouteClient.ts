/**
 * A host's side of route distribution: what it announces and subscribes, one session per reflector, and the
 * table they give together, as one machine without I/O. The runtime gives it bytes' meaning and the time, takes
 * what is to be written, and looks at `hasWork` and the readers after each call. Changed in place,
 * deterministic, one writer.
 *
 * Desired state, not a log of calls: `announce` and `subscribe` replace sets and never wait. Each session
 * remembers what it told its reflector and is brought to the desired sets by difference, when and as fast as
 * that reflector takes it; a reflector that is down simply learns it later, and hinders no other. Additions go
 * before removals, so a replaced hop overlaps instead of leaving a gap.
 *
 * Level. A VNI of a session is level when the reflector said END_OF_TABLE for it; with a v1 reflector, when
 * `settleMillis` passed since it was told SUBSCRIBE. Stale routes are swept then. The client itself says
 * END_OF_TABLE 0 only once `announce` was called: a host that starts anew must not have its held routes swept
 * before it knows them.
 *
 * UNSUBSCRIBE is followed by a KEEPALIVE; until that is answered, updates of the VNI are of the old
 * subscription and ignored, even if it is subscribed again meanwhile. It is said even if the VNI came back
 * before the reflector took it: our table of the VNI is gone, and only a new subscription brings it again. A v1
 * reflector of the existing kind also forgets our announcements in that VNI, so those are told again.
 */
import { Result } from "effect"
import { type MetalbondError, metalbondError } from "#protocol/metalbond/MetalbondError.ts"
import * as Message from "#protocol/metalbond/Message.ts"
import type { ReflectorState, RouteAnnouncement } from "#protocol/metalbond/RouteDistribution.ts"
import {
  formatPrefix,
  fromAnnouncement,
  hopKey,
  type InvalidRoute,
  type Route,
  routeKey,
} from "#protocol/metalbond/Route.ts"
import * as ClientPeer from "./ClientPeer.ts"
import * as ClientTable from "./ClientTable.ts"
import type { Prepared, RouteClient, Session } from "./RouteClientState.ts"
import { announceLevel, touch } from "./RouteReaders.ts"
import { replan } from "./SessionPlan.ts"

export * from "./RouteClientState.ts"
export { hasNews, isLevel, openReader, table, takeNews } from "./RouteReaders.ts"
export { hasWork, take } from "./SessionPlan.ts"

const prepare = (announcement: RouteAnnouncement): Prepared | InvalidRoute => {
  const converted = fromAnnouncement(announcement)
  if (Result.isFailure(converted)) return converted.failure
  const route = converted.success
  const prefix = formatPrefix(route.destination, true)
  return {
    route,
    key: routeKey(route),
    prefix,
    own: ClientTable.ownKey(route.vni, prefix, hopKey(route.hop)),
  }
}

/** Replaces the announcements; those that cannot be put on the wire are left out and returned. */
export const announce = (
  client: RouteClient,
  announcements: ReadonlyArray<RouteAnnouncement>,
): ReadonlyArray<InvalidRoute> => {
  const before = client.prepared
  const prepared = new Map<string, Prepared>()
  const desired = new Map<string, Route>()
  const own = new Set<string>()
  const invalid: Array<InvalidRoute> = []
  for (const announcement of announcements) {
    const { vni, prefix, nextHop } = announcement
    const text = `${vni} ${prefix} ${nextHop.address} ${nextHop.vni} ${nextHop.type} ${nextHop.natPortFrom} ${nextHop.natPortTo}`
    // The whole set comes with every change of it: only what is new is parsed.
    const ready = before.get(text) ?? prepare(announcement)
    if ("_tag" in ready) {
      invalid.push(ready)
      continue
    }
    prepared.set(text, ready)
    desired.set(ready.key, ready.route)
    own.add(ready.own)
  }
  client.prepared = prepared
  client.desired = desired
  client.own = own
  // A hop that others announce as well appears when it stops being our own, and the other way round.
  for (const [left, right] of [
    [before, prepared],
    [prepared, before],
  ] as const)
    for (const [text, { route, prefix }] of left)
      if (!right.has(text)) touch(client, [{ vni: route.vni, prefix }])
  replan(client)
  return invalid
}

/** Replaces the subscriptions; VNIs that leave are forgotten without a change. */
export const subscribe = (client: RouteClient, vnis: ReadonlySet<number>): void => {
  for (const vni of client.subscribed)
    if (!vnis.has(vni)) {
      ClientTable.forgetVni(client.table, vni)
      for (const reader of client.readers) {
        reader.dirty.delete(vni)
        reader.level.delete(vni)
      }
      for (const session of client.sessions.values()) {
        session.level.delete(vni)
        session.settling.delete(vni)
        // Only a new subscription brings back what is forgotten here.
        if (session.toldVnis.delete(vni)) session.leftVnis.add(vni)
      }
    }
  client.subscribed = new Set(vnis)
  replan(client)
}

/** A connection to the reflector is open. */
export const opened = (client: RouteClient, session: Session, now: number): void => {
  session.control = []
  session.toldRoutes.clear()
  session.toldVnis.clear()
  session.leftVnis.clear()
  session.toldEnd = false
  session.retell.clear()
  session.plan = undefined
  session.barriers.clear()
  session.level.clear()
  session.reason = undefined
  stepPeer(client, session, { _tag: "Opened" }, now)
}

/** A message of the reflector; an error when the session must end. */
export const received = (
  client: RouteClient,
  session: Session,
  message: Message.Message,
  now: number,
): MetalbondError | undefined => stepPeer(client, session, { _tag: "Received", message }, now)

/** Time has come for `nextDue`; an error when the session must end. */
export const elapsed = (client: RouteClient, session: Session, now: number): MetalbondError | undefined => {
  const error = stepPeer(client, session, { _tag: "Elapsed" }, now)
  if (error !== undefined) return error
  for (const [vni, atMillis] of session.settling) {
    if (atMillis > now) break
    session.settling.delete(vni)
    level(client, session, vni)
  }
  return undefined
}

/** The connection is over, or was never made. */
export const ended = (client: RouteClient, session: Session, error: MetalbondError, now: number): void => {
  const wasEstablished = session.peer.phase === "Established"
  session.peer = { ...ClientPeer.initial, phase: error.reason === "Shutdown" ? "Closed" : "Retry" }
  session.reason = error.message
  session.level.clear()
  session.settling.clear()
  if (wasEstablished) {
    const end = now + client.config.holdMillis
    ClientTable.hold(client.table, session.address, end)
    session.holdEnds.push(end)
  }
  announceLevel(client, [...client.subscribed])
}

export const connecting = (session: Session): void => {
  session.peer = ClientPeer.initial
}

/** When `elapsed` is due, milliseconds of the Clock; infinity when nothing waits. */
export const nextDue = (session: Session): number => {
  for (const atMillis of session.settling.values())
    return Math.min(atMillis, ClientPeer.nextDue(session.peer))
  return ClientPeer.nextDue(session.peer)
}

/** When the next hold of this reflector's routes ends. */
export const nextHoldEnd = (session: Session): number => session.holdEnds[0] ?? Number.POSITIVE_INFINITY

export const sweepHolds = (client: RouteClient, session: Session, now: number): void => {
  while (nextHoldEnd(session) <= now) session.holdEnds.shift()
  touch(client, ClientTable.sweep(client.table, session.address, { now }))
}

const stepPeer = (
  client: RouteClient,
  session: Session,
  event: ClientPeer.Event,
  now: number,
): MetalbondError | undefined => {
  const [peer, actions] = ClientPeer.step(client.config, session.peer, event, now)
  session.peer = peer
  for (const action of actions)
    switch (action._tag) {
      case "Send":
        session.control.push(Message.encode(action.message))
        break
      case "Established":
        session.plan = undefined
        break
      case "Announced":
        if (isCurrent(session, action.route.vni))
          touch(client, [ClientTable.add(client.table, session.address, action.route)])
        break
      case "Withdrawn":
        if (isCurrent(session, action.route.vni))
          touch(client, [ClientTable.remove(client.table, session.address, action.route)])
        break
      case "Level":
        if (isCurrent(session, action.vni)) level(client, session, action.vni)
        break
      case "Close":
        return action.error
    }
  return undefined
}

/** Whether an update of a VNI belongs to its present subscription. */
const isCurrent = (session: Session, vni: number): boolean => {
  if (!session.toldVnis.has(vni)) return false
  const barrier = session.barriers.get(vni)
  if (barrier === undefined) return true
  if (session.peer.answered < barrier) return false
  session.barriers.delete(vni)
  return true
}

const level = (client: RouteClient, session: Session, vni: number): void => {
  session.level.add(vni)
  touch(client, ClientTable.sweep(client.table, session.address, { vni }))
  announceLevel(client, [vni])
}

export const reflectors = (client: RouteClient): ReadonlyArray<ReflectorState> =>
  [...client.sessions.values()].map(({ address, peer, reason }) => ({ address, state: peer.phase, reason }))

export const shutdown: MetalbondError = metalbondError("Shutdown", "the client is closing")
