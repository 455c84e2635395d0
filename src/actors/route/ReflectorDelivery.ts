/**
 * The sending half of the reflector: who is told of a change, and what follows when a peer leaves. A peer that
 * cannot be told (too far behind) is cut off, which takes its routes along, which others are told of: so these
 * functions call each other, and end because every call removes a peer or a route.
 */
import { type MetalbondError, metalbondError, type Reason } from "#protocol/metalbond/MetalbondError.ts"
import { encode, endOfTable } from "#protocol/metalbond/Message.ts"
import * as Outbox from "./Outbox.ts"
import type { Action, Peer, Reflector } from "./ReflectorState.ts"
import * as Table from "./ReflectorTable.ts"

/** The peer hears no more of a VNI. */
export const removeSubscriber = (reflector: Reflector, peer: Peer, vni: number): void => {
  const subscribers = reflector.subscribers.get(vni)
  if (subscribers?.delete(peer) && subscribers.size === 0) reflector.subscribers.delete(vni)
}

/** END_OF_TABLE, behind everything that is pending. */
export const pushEnd = (peer: Peer, vni: number, out: Array<Action>): void => {
  Outbox.pushLast(peer.outbox, { key: `end|${vni}`, vni, frame: encode(endOfTable(vni)) })
  wake(peer, out)
}

/** Puts changes into the outboxes of those whom they concern. */
export const relay = (
  reflector: Reflector,
  relays: ReadonlyArray<Table.Relay>,
  now: number,
  out: Array<Action>,
): void => {
  for (const { entry, remove, audience, announcer } of relays) {
    const { vni } = entry.route
    if (audience === "Itself") {
      const peer = reflector.byAnnouncer.get(announcer)
      if (peer?.subscriptions.has(vni))
        deliver(reflector, peer, remove ? Table.removeChange(entry) : Table.addChange(entry), now, out)
      continue
    }
    const subscribers = reflector.subscribers.get(vni)
    if (subscribers === undefined) continue
    const change = remove ? Table.removeChange(entry) : Table.addChange(entry)
    for (const peer of subscribers)
      if (peer.announcer !== announcer || (remove && peer.shownOwn.delete(entry)))
        deliver(reflector, peer, change, now, out)
  }
}

/** One change for one peer. */
export const deliver = (
  reflector: Reflector,
  peer: Peer,
  change: Outbox.Change,
  now: number,
  out: Array<Action>,
): void => {
  Outbox.push(peer.outbox, change)
  if (Outbox.size(peer.outbox) > reflector.config.maxPendingPerPeer)
    return cut(
      reflector,
      peer,
      metalbondError("SlowReader", `${reflector.config.maxPendingPerPeer} changes behind`),
      now,
      out,
    )
  wake(peer, out)
}

/** Has the peer's writer look at its outbox. */
export const wake = (peer: Peer, out: Array<Action>): void => {
  if (peer.awake) return
  peer.awake = true
  out.push({ _tag: "Wake", peer })
}

/** Ends a session from our side. */
export const cut = (
  reflector: Reflector,
  peer: Peer,
  error: MetalbondError,
  now: number,
  out: Array<Action>,
): void => {
  if (forget(reflector, peer, error, now, out)) out.push({ _tag: "Close", peer, error })
}

/** Endings by reason, for metrics. */
export const countEnd = (reflector: Reflector, reason: Reason): void => {
  reflector.endings.set(reason, (reflector.endings.get(reason) ?? 0) + 1)
}

/** Removes a peer and all that it is the only reason for; false when it was gone already. */
export const forget = (
  reflector: Reflector,
  peer: Peer,
  error: MetalbondError,
  now: number,
  out: Array<Action>,
): boolean => {
  if (!reflector.peers.delete(peer.id)) return false
  countEnd(reflector, error.reason)
  for (const vni of peer.subscriptions) removeSubscriber(reflector, peer, vni)
  peer.subscriptions.clear()
  const { announcer } = peer
  if (announcer === undefined) return true
  reflector.byAnnouncer.delete(announcer)
  const { restartSeconds, originator } = peer.session
  const named = restartSeconds > 0 && originator !== ""
  // Who filled the table is not to keep it full for the time of a hold.
  if (named && error.reason !== "TooManyRoutes" && announcer.live.size + announcer.stale.size > 0) {
    Table.hold(announcer, now + Math.min(restartSeconds, reflector.config.maxHoldSeconds) * 1000)
    reflector.held.add(announcer)
  } else {
    reflector.held.delete(announcer)
    relay(reflector, Table.withdrawAll(reflector.table, announcer), now, out)
    Table.forgetIfEmpty(reflector.table, announcer)
  }
  return true
}

/** Ends the stale routes of an announcer whose hold is over at `until`. */
export const sweepStale = (
  reflector: Reflector,
  announcer: Table.Announcer,
  until: number,
  now: number,
  out: Array<Action>,
): void => {
  relay(reflector, Table.sweepStale(reflector.table, announcer, until), now, out)
  if (announcer.stale.size === 0) reflector.held.delete(announcer)
  if (!reflector.byAnnouncer.has(announcer)) Table.forgetIfEmpty(reflector.table, announcer)
}
