/**
 * The reflector: all peers, the table and the outboxes as one machine without I/O. The runtime gives it what
 * peers said and what time it is, and does the `Action`s; every function runs to its end without waiting, so
 * there is one writer and no lock. Changed in place, deterministic.
 *
 * - SUBSCRIBE dumps the VNI into the peer's outbox and follows it from there; dump and changes are one map, so
 *   a change that races the dump can neither be lost nor overtaken. A repeated SUBSCRIBE is ignored by name:
 *   the VNI is subscribed already. (A peer with graceful restart is told END_OF_TABLE again.)
 * - UNSUBSCRIBE ends delivery and nothing else; the peer's announcements stay.
 * - A v1 peer finds its own announcements in a dump, NAT hops excepted, as with existing reflectors; with
 *   graceful restart it does not. Changes are never echoed to their announcer, but what a dump showed it is
 *   taken back when it leaves.
 * - The routes of a lost peer leave at once (v1) or are held, min(restartSeconds, 120 s), until its originator
 *   is back and says END_OF_TABLE 0. A second connection of an originator supersedes the first.
 * - After its own start a reflector knows nothing, and whoever connects first must not be told that nothing is
 *   all there is: END_OF_TABLE is withheld for `startupMillis`, time for all announcers to come back.
 */
import { type MetalbondError, metalbondError } from "#protocol/metalbond/MetalbondError.ts"
import { encode, type Message } from "#protocol/metalbond/Message.ts"
import { hopType, type Route } from "#protocol/metalbond/Route.ts"
import * as Outbox from "./Outbox.ts"
import {
  countEnd,
  cut,
  deliver,
  forget,
  pushEnd,
  relay,
  removeSubscriber,
  sweepStale,
  wake,
} from "./ReflectorDelivery.ts"
import type { Action, Peer, Reflector } from "./ReflectorState.ts"
import * as Table from "./ReflectorTable.ts"
import * as ServerPeer from "./ServerPeer.ts"

export * from "./ReflectorState.ts"

/** A new connection; an error when there are too many. */
export const opened = (reflector: Reflector, remote: string, now: number): Peer | MetalbondError => {
  if (reflector.peers.size >= reflector.config.maxPeers) {
    countEnd(reflector, "TooManyPeers")
    return metalbondError("TooManyPeers", `${reflector.config.maxPeers} connections`)
  }
  const peer: Peer = {
    id: ++reflector.lastId,
    remote,
    connectedAtMillis: now,
    session: ServerPeer.initial(reflector.config, now),
    announcer: undefined,
    outbox: Outbox.make(),
    subscriptions: new Set(),
    shownOwn: new Set(),
    withheldEnds: new Set(),
    awake: false,
    received: 0,
    sent: 0,
  }
  reflector.peers.set(peer.id, peer)
  return peer
}

export const received = (
  reflector: Reflector,
  peer: Peer,
  message: Message,
  now: number,
): ReadonlyArray<Action> => {
  peer.received++
  return stepPeer(reflector, peer, { _tag: "Received", message }, now)
}

/** The peer's deadline may have passed. */
export const peerElapsed = (reflector: Reflector, peer: Peer, now: number): ReadonlyArray<Action> =>
  stepPeer(reflector, peer, { _tag: "Elapsed" }, now)

/** The connection is over, whoever ended it. Idempotent. */
export const ended = (
  reflector: Reflector,
  peer: Peer,
  error: MetalbondError,
  now: number,
): ReadonlyArray<Action> => {
  const actions: Array<Action> = []
  forget(reflector, peer, error, now, actions)
  return actions
}

/** When `elapsed` is due next, milliseconds of the Clock; infinity when nothing waits. */
export const nextDue = (reflector: Reflector): number => {
  let due = reflector.startupOver
    ? Number.POSITIVE_INFINITY
    : reflector.startedAtMillis + reflector.config.startupMillis
  for (const announcer of reflector.held) due = Math.min(due, Table.holdEndsMillis(announcer))
  return due
}

/** Ends holds that are over, and the start-up time. */
export const elapsed = (reflector: Reflector, now: number): ReadonlyArray<Action> => {
  const actions: Array<Action> = []
  for (const announcer of reflector.held)
    if (now >= Table.holdEndsMillis(announcer)) sweepStale(reflector, announcer, now, now, actions)
  if (!reflector.startupOver && now >= reflector.startedAtMillis + reflector.config.startupMillis) {
    reflector.startupOver = true
    for (const peer of reflector.peers.values()) {
      for (const vni of peer.withheldEnds) pushEnd(peer, vni, actions)
      peer.withheldEnds.clear()
    }
  }
  return actions
}

/** The next write for a peer: whole frames, at most `maxFrames`. */
export const take = (peer: Peer, maxFrames: number): Uint8Array | undefined => {
  const before = Outbox.size(peer.outbox)
  const bytes = Outbox.take(peer.outbox, maxFrames)
  peer.sent += before - Outbox.size(peer.outbox)
  if (bytes === undefined) peer.awake = false
  return bytes
}

const stepPeer = (
  reflector: Reflector,
  peer: Peer,
  event: ServerPeer.Event,
  now: number,
): ReadonlyArray<Action> => {
  if (reflector.peers.get(peer.id) !== peer) return []
  const actions: Array<Action> = []
  const [session, steps] = ServerPeer.step(reflector.config, peer.session, event, now)
  peer.session = session
  for (const step of steps) {
    if (!reflector.peers.has(peer.id)) break
    perform(reflector, peer, step, now, actions)
  }
  return actions
}

const perform = (
  reflector: Reflector,
  peer: Peer,
  action: ServerPeer.Action,
  now: number,
  out: Array<Action>,
): void => {
  switch (action._tag) {
    case "Send":
      if (action.message._tag === "Keepalive") Outbox.oweKeepalive(peer.outbox)
      else if (!Outbox.pushControl(peer.outbox, encode(action.message)))
        return cut(reflector, peer, metalbondError("SlowReader", "session frames are not read"), now, out)
      return wake(peer, out)
    case "Identified":
      return identify(reflector, peer, action.originator, action.restartSeconds, now, out)
    case "Announce":
      return announce(reflector, peer, action.route, now, out)
    case "Withdraw":
      return relay(reflector, Table.remove(reflector.table, peer.announcer!, action.route), now, out)
    case "Subscribe":
      return subscribe(reflector, peer, action.vni, now, out)
    case "Unsubscribe":
      return unsubscribe(reflector, peer, action.vni)
    case "AnnouncementsComplete":
      return sweepStale(reflector, peer.announcer!, Number.POSITIVE_INFINITY, now, out)
    case "Close":
      return cut(reflector, peer, action.error, now, out)
  }
}

const identify = (
  reflector: Reflector,
  peer: Peer,
  originator: string,
  restartSeconds: number,
  now: number,
  out: Array<Action>,
): void => {
  const named = restartSeconds > 0 && originator !== ""
  const announcer = Table.announcer(reflector.table, named ? `originator:${originator}` : `peer:${peer.id}`)
  const before = reflector.byAnnouncer.get(announcer)
  if (before !== undefined)
    cut(
      reflector,
      before,
      metalbondError("Superseded", `${originator} is back from ${peer.remote}`),
      now,
      out,
    )
  // `cut` may have dropped an announcer without routes.
  peer.announcer = Table.announcer(reflector.table, announcer.id)
  reflector.byAnnouncer.set(peer.announcer, peer)
}

const announce = (reflector: Reflector, peer: Peer, route: Route, now: number, out: Array<Action>): void => {
  const { config, table } = reflector
  const announcer = peer.announcer!
  const announced = Table.add(table, announcer, route)
  if (announced !== undefined) relay(reflector, [announced], now, out)
  if (announcer.live.size > config.maxRoutesPerPeer)
    return cut(
      reflector,
      peer,
      metalbondError("TooManyRoutes", `${config.maxRoutesPerPeer} per peer`),
      now,
      out,
    )
  if (table.size > config.maxRoutes)
    cut(reflector, peer, metalbondError("TooManyRoutes", `${config.maxRoutes} in all`), now, out)
}

const subscribe = (reflector: Reflector, peer: Peer, vni: number, now: number, out: Array<Action>): void => {
  const { config, table } = reflector
  const restart = peer.session.restartSeconds > 0
  if (!peer.subscriptions.has(vni)) {
    if (peer.subscriptions.size >= config.maxSubscriptionsPerPeer)
      return cut(
        reflector,
        peer,
        metalbondError("TooManySubscriptions", `${config.maxSubscriptionsPerPeer} per peer`),
        now,
        out,
      )
    peer.subscriptions.add(vni)
    let subscribers = reflector.subscribers.get(vni)
    if (subscribers === undefined) {
      subscribers = new Set()
      reflector.subscribers.set(vni, subscribers)
    }
    subscribers.add(peer)
    const isOwnVisible = (route: Route) => !restart && route.hop.type !== hopType.nat
    for (const entry of Table.dump(table, vni, peer.announcer!, isOwnVisible)) {
      if (!restart && entry.announcers.has(peer.announcer!)) peer.shownOwn.add(entry)
      deliver(reflector, peer, Table.addChange(entry), now, out)
    }
  }
  if (!restart) return
  if (reflector.startupOver) pushEnd(peer, vni, out)
  else peer.withheldEnds.add(vni)
}

const unsubscribe = (reflector: Reflector, peer: Peer, vni: number): void => {
  if (!peer.subscriptions.delete(vni)) return
  peer.withheldEnds.delete(vni)
  Outbox.dropVni(peer.outbox, vni)
  for (const entry of peer.shownOwn) if (entry.route.vni === vni) peer.shownOwn.delete(entry)
  removeSubscriber(reflector, peer, vni)
}
