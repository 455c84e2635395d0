/**
 * The reflector's table: VNI -> (destination, hop) -> announcers. One per reflector, owned by its single
 * writer and changed in place (a copy per route would be the whole cost of a reflector); nothing here reads a
 * clock or sends: each change returns what is to be relayed, so the same calls always give the same answers.
 *
 * A route is there while at least one announcer has it. What a subscriber should see is the routes that
 * somebody else announces: an announcer never hears its own back. Hence the three cases of `Relay`:
 * the first announcer makes a route visible to all others; a second one makes it visible to the first; the
 * last one's leaving takes it from all others.
 *
 * An announcer is a connection (v1 peers), or an originator over its reconnects (peers with graceful restart):
 * then the routes of a lost connection stay as `stale` until the originator is back and has repeated its
 * announcements, or the hold time ends. Stale routes count as announced.
 */
import { announce, encode, withdraw } from "#protocol/metalbond/Message.ts"
import { type Route, routeKey } from "#protocol/metalbond/Route.ts"
import type { Change } from "./Outbox.ts"

export interface Announcer {
  /** `originator:<name>` or `peer:<number>`. */
  readonly id: string
  readonly live: Set<Entry>
  /** Each ends at its instant (milliseconds of the Clock) unless it is announced again. */
  readonly stale: Map<Entry, number>
}

export interface Entry {
  readonly key: string
  readonly route: Route
  readonly announcers: Set<Announcer>
  add: Change | undefined
  remove: Change | undefined
}

export interface ReflectorTable {
  readonly vnis: Map<number, Map<string, Entry>>
  readonly announcers: Map<string, Announcer>
  size: number
}

export interface Relay {
  readonly entry: Entry
  readonly remove: boolean
  /** Everyone but this announcer, or this announcer only. */
  readonly audience: "Others" | "Itself"
  readonly announcer: Announcer
}

export const make = (): ReflectorTable => ({ vnis: new Map(), announcers: new Map(), size: 0 })

export const announcer = (table: ReflectorTable, id: string): Announcer => {
  let found = table.announcers.get(id)
  if (found === undefined) {
    found = { id, live: new Set(), stale: new Map() }
    table.announcers.set(id, found)
  }
  return found
}

/** The frame of an entry, encoded at most once however many peers get it. */
export const addChange = (entry: Entry): Change =>
  (entry.add ??= { key: entry.key, vni: entry.route.vni, frame: encode(announce(entry.route)) })
export const removeChange = (entry: Entry): Change =>
  (entry.remove ??= { key: entry.key, vni: entry.route.vni, frame: encode(withdraw(entry.route)) })

/** Of an announcement, exact repetitions included (they refresh a stale route and are not relayed). */
export const add = (table: ReflectorTable, from: Announcer, route: Route): Relay | undefined => {
  let entries = table.vnis.get(route.vni)
  if (entries === undefined) {
    entries = new Map()
    table.vnis.set(route.vni, entries)
  }
  const key = routeKey(route)
  const found = entries.get(key)
  if (found === undefined) {
    const entry: Entry = { key, route, announcers: new Set([from]), add: undefined, remove: undefined }
    entries.set(key, entry)
    from.live.add(entry)
    table.size++
    return { entry, remove: false, audience: "Others", announcer: from }
  }
  from.stale.delete(found)
  from.live.add(found)
  if (found.announcers.has(from)) return undefined
  found.announcers.add(from)
  if (found.announcers.size !== 2) return undefined
  // The first announcer was never told of its own route; now another has it too.
  for (const first of found.announcers)
    if (first !== from) return { entry: found, remove: false, audience: "Itself", announcer: first }
  return undefined
}

const drop = (table: ReflectorTable, from: Announcer, entry: Entry): Relay | undefined => {
  from.live.delete(entry)
  from.stale.delete(entry)
  if (!entry.announcers.delete(from)) return undefined
  if (entry.announcers.size === 0) {
    const { vni } = entry.route
    const entries = table.vnis.get(vni)!
    entries.delete(entry.key)
    if (entries.size === 0) table.vnis.delete(vni)
    table.size--
    return { entry, remove: true, audience: "Others", announcer: from }
  }
  if (entry.announcers.size === 1)
    // Whoever is left hears nobody else's any more.
    for (const last of entry.announcers) return { entry, remove: true, audience: "Itself", announcer: last }
  return undefined
}

/**
 * Of a withdrawal. A route that the announcer does not have is ignored. If others still announce it, the
 * announcer is told so: it may have taken the route it saw for an echo of its own.
 */
export const remove = (table: ReflectorTable, from: Announcer, route: Route): ReadonlyArray<Relay> => {
  const entry = table.vnis.get(route.vni)?.get(routeKey(route))
  if (entry === undefined || !entry.announcers.has(from)) return []
  const relay = drop(table, from, entry)
  const relays = relay === undefined ? [] : [relay]
  if (entry.announcers.size > 0) relays.push({ entry, remove: false, audience: "Itself", announcer: from })
  return relays
}

const dropAll = (table: ReflectorTable, from: Announcer, entries: Iterable<Entry>): ReadonlyArray<Relay> => {
  const relays: Array<Relay> = []
  for (const entry of entries) {
    const relay = drop(table, from, entry)
    if (relay !== undefined) relays.push(relay)
  }
  return relays
}

/** Ends all routes of an announcer. */
export const withdrawAll = (table: ReflectorTable, from: Announcer): ReadonlyArray<Relay> => [
  ...dropAll(table, from, from.live),
  ...dropAll(table, from, from.stale.keys()),
]

/** Ends the stale routes of an announcer whose hold is over at `now`; at infinity, all of them. */
export const sweepStale = (table: ReflectorTable, from: Announcer, now: number): ReadonlyArray<Relay> => {
  const over: Array<Entry> = []
  for (const [entry, endsMillis] of from.stale) if (endsMillis <= now) over.push(entry)
  return dropAll(table, from, over)
}

/** When the first stale route of an announcer ends. */
export const holdEndsMillis = (from: Announcer): number => {
  // Routes become stale in order of time, with ends that only a change of restartSeconds reorders.
  for (const endsMillis of from.stale.values()) return endsMillis
  return Number.POSITIVE_INFINITY
}

/** The connection behind an announcer is gone: its routes stay until `endsMillis`, stale ones to their own end. */
export const hold = (from: Announcer, endsMillis: number): void => {
  for (const entry of from.live) from.stale.set(entry, endsMillis)
  from.live.clear()
}

/** True when nothing refers to the announcer any more. */
export const forgetIfEmpty = (table: ReflectorTable, from: Announcer): void => {
  if (from.live.size === 0 && from.stale.size === 0) table.announcers.delete(from.id)
}

/** What `viewer` should see of a VNI: the routes that another announces, and those of its own that it asks for. */
export const dump = function* (
  table: ReflectorTable,
  vni: number,
  viewer: Announcer,
  isOwnVisible: (route: Route) => boolean,
): Generator<Entry> {
  for (const entry of table.vnis.get(vni)?.values() ?? [])
    if (!entry.announcers.has(viewer) || entry.announcers.size > 1 || isOwnVisible(entry.route)) yield entry
}
