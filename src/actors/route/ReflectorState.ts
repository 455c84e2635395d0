/**
 * What a reflector is made of: its limits, its peers, its table. Made once per reflector, changed in place by
 * `Reflector.ts` and `ReflectorDelivery.ts` only.
 */
import type { MetalbondError, Reason } from "#protocol/metalbond/MetalbondError.ts"
import type * as Outbox from "./Outbox.ts"
import * as Table from "./ReflectorTable.ts"
import type * as ServerPeer from "./ServerPeer.ts"

export interface Config extends ServerPeer.Config {
  readonly maxPeers: number
  /** Over all VNIs. */
  readonly maxRoutes: number
  readonly maxRoutesPerPeer: number
  readonly maxSubscriptionsPerPeer: number
  /** Changes that a peer may lag behind before it is cut off. */
  readonly maxPendingPerPeer: number
  readonly maxHoldSeconds: number
  readonly startupMillis: number
}

export const defaults: Config = {
  keepaliveSeconds: 5,
  helloTimeoutMillis: 5_000,
  restartSeconds: 120,
  maxPeers: 16_384,
  maxRoutes: 4_000_000,
  maxRoutesPerPeer: 1_000_000,
  maxSubscriptionsPerPeer: 65_536,
  maxPendingPerPeer: 2_000_000,
  maxHoldSeconds: 120,
  // More than a client's longest pause before it reconnects (ours 5 s, existing ones 5 to 9 s).
  startupMillis: 15_000,
}

/** One per connection, from accept to close. */
export interface Peer {
  readonly id: number
  readonly remote: string
  readonly connectedAtMillis: number
  session: ServerPeer.State
  /** From HELLO on. */
  announcer: Table.Announcer | undefined
  readonly outbox: Outbox.Outbox
  readonly subscriptions: Set<number>
  /** Own routes that a dump showed to a v1 peer: they are taken back when they leave. */
  readonly shownOwn: Set<Table.Entry>
  /** VNIs whose END_OF_TABLE waits for the end of the start-up time. */
  readonly withheldEnds: Set<number>
  /** A `Wake` was asked for since `take` last found nothing. */
  awake: boolean
  received: number
  sent: number
}

export interface Reflector {
  readonly config: Config
  readonly startedAtMillis: number
  readonly table: Table.ReflectorTable
  readonly peers: Map<number, Peer>
  readonly subscribers: Map<number, Set<Peer>>
  readonly byAnnouncer: Map<Table.Announcer, Peer>
  /** Announcers with stale routes. */
  readonly held: Set<Table.Announcer>
  readonly endings: Map<Reason, number>
  lastId: number
  startupOver: boolean
}

export type Action =
  /** The peer's outbox has something to send. */
  | { readonly _tag: "Wake"; readonly peer: Peer }
  /** End the connection. The machine has already forgotten the peer. */
  | { readonly _tag: "Close"; readonly peer: Peer; readonly error: MetalbondError }

export const make = (config: Config, now: number): Reflector => ({
  config,
  startedAtMillis: now,
  table: Table.make(),
  peers: new Map(),
  subscribers: new Map(),
  byAnnouncer: new Map(),
  held: new Set(),
  endings: new Map(),
  lastId: 0,
  startupOver: config.startupMillis <= 0,
})
