/**
 * One hypervisor's actors: its interfaces, its route tables, and what they owe their controller.
 *
 * An interface and a route are light cells here, entries of `HostTables` beside what failed and what is still to
 * be told; a mark wakes them and a batch serves all that are awake. Nothing in this folder waits or knows a
 * clock: sessions in `src/runtime/node` write down what they hear (`HostDesire.ts`), ask for the next batch and
 * bring back its results (`HostBatch.ts`), and take the reports (`HostReports.ts`).
 */
import type { Prefix } from "#protocol/net/Address.ts"
import type { InterfaceReport } from "#protocol/node/NodeMessages.ts"
import * as HostTables from "./HostTables.ts"
import type { Refusal } from "./Refusal.ts"

/** Something that the dataplane refused, and when to ask again. */
export interface Failure extends Refusal {
  /** From 1. */
  readonly attempts: number
  readonly retryAtMillis: number
}

/** An interface that went, until the controller has certainly heard of it. */
export interface Tombstone {
  readonly generation: number
  /** The heartbeat after the report; its Lease says that the report was taken. Undefined: not told in this session. */
  readonly toldBefore: number | undefined
}

export interface Host {
  readonly tables: HostTables.HostTables
  /** By uid. */
  readonly failures: Map<string, Failure>
  /** By VNI and prefix, as one text. */
  readonly routeFailures: Map<string, Failure & { readonly vni: number; readonly prefix: string }>
  /** By uid, oldest first. */
  readonly tombstones: Map<string, Tombstone>
  /** When the dataplane acknowledged an interface, microseconds. By uid. */
  readonly realisedMicros: Map<string, number>
  /** Interfaces to tell the controller about. */
  readonly untold: Set<string>
  /** What this session's controller was told last. By uid. */
  readonly told: Map<string, InterfaceReport>
  /** Interfaces that the dataplane is being asked about: in the batch under way. */
  readonly asking: Set<string>
  /** VNIs whose routes reflectors are asked for. */
  subscriptions: ReadonlySet<number>
  /** Of the tables, when subscriptions were planned last. */
  subscribedEpoch: number
  /** The dataplane was listed and answers. */
  connected: boolean
  /** Why it does not, for whoever waits for it. */
  disconnectedReason: string
  /** It has not for so long that its interfaces no longer count as there. */
  absent: boolean
  /** All desired state up to here is known; 0: none. */
  revision: number
  /** All desired state up to here had its effect. */
  settledRevision: number
  /** While a controller sends everything: the uids that it has named. */
  resync: Set<string> | undefined
}

export const make = (underlay: Prefix): Host => ({
  tables: HostTables.make(underlay),
  failures: new Map(),
  routeFailures: new Map(),
  tombstones: new Map(),
  realisedMicros: new Map(),
  untold: new Set(),
  told: new Map(),
  asking: new Set(),
  subscriptions: new Set(),
  subscribedEpoch: -1,
  connected: false,
  disconnectedReason: "the agent has just started",
  absent: false,
  revision: 0,
  settledRevision: 0,
  resync: undefined,
})

/** As many interfaces as a host may have; the oldest give way, and `settledRevision` speaks for them. */
export const maxTombstones = 16_384

export const bury = (host: Host, uid: string, generation: number): void => {
  host.tombstones.delete(uid)
  host.tombstones.set(uid, { generation, toldBefore: undefined })
  host.untold.add(uid)
  for (const oldest of host.tombstones.keys()) {
    if (host.tombstones.size <= maxTombstones) break
    host.tombstones.delete(oldest)
  }
}
