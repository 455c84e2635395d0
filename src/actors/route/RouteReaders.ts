/**
 * What consumers of the client's table see: changes since they last looked, and when a VNI is level. A reader is
 * a set of destinations to look at again, not a queue of changes, so a slow one costs no memory and sees the latest.
 */
import type { ReflectorState, RouteChange, RouteUpdate } from "#protocol/metalbond/RouteDistribution.ts"
import * as ClientTable from "./ClientTable.ts"
import type { Reader, RouteClient } from "./RouteClientState.ts"

const isOwn = (client: RouteClient) => (key: string) => client.own.has(key)

const connected: ReadonlySet<ReflectorState["state"]> = new Set(["HelloSent", "HelloReceived", "Established"])

/** A VNI is level when a reflector is level with it, and none that is connected is still telling. */
export const isLevel = (client: RouteClient, vni: number): boolean => {
  let some = false
  for (const session of client.sessions.values()) {
    if (session.level.has(vni)) some = true
    else if (connected.has(session.peer.phase)) return false
  }
  return some
}

/** Tells readers of those VNIs that are level now. */
export const announceLevel = (client: RouteClient, vnis: ReadonlyArray<number>): void => {
  for (const vni of vnis) if (isLevel(client, vni)) for (const reader of client.readers) reader.level.add(vni)
}

/** Marks destinations as changed. */
export const touch = (client: RouteClient, touched: ReadonlyArray<ClientTable.Touched | undefined>): void => {
  for (const change of touched)
    if (change !== undefined && client.subscribed.has(change.vni))
      for (const reader of client.readers) {
        const prefixes = reader.dirty.get(change.vni)
        if (prefixes === undefined) reader.dirty.set(change.vni, new Set([change.prefix]))
        else prefixes.add(change.prefix)
      }
}

/** A reader that has seen nothing yet: all of the present table is news to it. */
export const openReader = (client: RouteClient): Reader => {
  const reader: Reader = { dirty: new Map(), level: new Set() }
  for (const vni of client.subscribed) {
    const prefixes = client.table.vnis.get(vni)
    if (prefixes !== undefined && prefixes.size > 0) reader.dirty.set(vni, new Set(prefixes.keys()))
    if (isLevel(client, vni)) reader.level.add(vni)
  }
  client.readers.add(reader)
  return reader
}

export const hasNews = (reader: Reader): boolean => reader.dirty.size > 0 || reader.level.size > 0

/** Everything that changed since the last call, as it is now. */
export const takeNews = (client: RouteClient, reader: Reader): RouteUpdate => {
  const changes: Array<RouteChange> = []
  for (const [vni, prefixes] of reader.dirty)
    for (const prefix of prefixes) changes.push(ClientTable.hopSet(client.table, vni, prefix, isOwn(client)))
  const levelNow = [...reader.level]
  reader.dirty.clear()
  reader.level.clear()
  return levelNow.length === 0 ? { changes } : { changes, level: levelNow }
}

export const table = (client: RouteClient, vni: number): ReadonlyArray<RouteChange> =>
  ClientTable.destinations(client.table, vni, isOwn(client))
