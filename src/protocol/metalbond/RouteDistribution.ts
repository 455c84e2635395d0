/**
 * Route distribution, as a host's actors see it: a desired set of announcements and subscriptions, and the
 * table that all reflectors together have of each subscribed VNI.
 *
 * The layer (`src/runtime/metalbond/`) keeps one session per reflector and brings each to the desired set by
 * difference. A route counts its sources: it is gone once the last reflector that had it withdrew it, and a
 * reflector that is merely lost keeps its routes as stale until it is back and level, or the hold time ends.
 */
import { Context, Effect, Stream } from "effect"

export type NextHopType = "STANDARD" | "NAT" | "LOADBALANCER_TARGET"

export interface NextHop {
  /** Underlay address, canonical text. */
  readonly address: string
  /** Always 0 from existing hosts. */
  readonly vni: number
  readonly type: NextHopType
  /** 0 unless type is NAT. */
  readonly natPortFrom: number
  readonly natPortTo: number
}

export interface RouteAnnouncement {
  readonly vni: number
  /** CIDR, host bits masked. */
  readonly prefix: string
  readonly nextHop: NextHop
}

/** The hop set of one destination after a change; empty: the destination is gone. Sorted by address. */
export interface RouteChange {
  readonly vni: number
  readonly prefix: string
  readonly nextHops: ReadonlyArray<NextHop>
}

/** Changes of one instant, to be programmed together. */
export interface RouteUpdate {
  readonly changes: ReadonlyArray<RouteChange>
  /**
   * VNIs of which the table is complete as of this update (a reflector said so, and none that is connected is
   * still telling): a route that a dataplane has and the table has not is then left over. Absent: none.
   */
  readonly level?: ReadonlyArray<number>
}

export interface ReflectorState {
  /** `[host]:port`. */
  readonly address: string
  readonly state: "Connecting" | "HelloSent" | "HelloReceived" | "Established" | "Retry" | "Closed"
  readonly reason: string | undefined
}

export class RouteDistribution extends Context.Service<
  RouteDistribution,
  {
    /**
     * Replaces the set of announcements of this host; each session is told the difference. Never waits for the
     * network. Call it first when the set is complete: the first call tells the reflectors that whatever else
     * they still hold of this host from before its restart is gone.
     */
    readonly announce: (desired: ReadonlyArray<RouteAnnouncement>) => Effect.Effect<void>
    /** Replaces the set of subscribed VNIs. Routes of a VNI that leaves it are forgotten without a change event. */
    readonly subscribe: (vnis: ReadonlySet<number>) => Effect.Effect<void>
    /** The present table, then every change, coalesced for a slow reader. Own announcements are not in it. */
    readonly updates: Stream.Stream<RouteUpdate>
    /** All destinations of a VNI, by prefix. */
    readonly table: (vni: number) => Effect.Effect<ReadonlyArray<RouteChange>>
    readonly reflectors: Effect.Effect<ReadonlyArray<ReflectorState>>
  }
>()("ferrite/RouteDistribution") {}
