/**
 * What the client of a host is made of: its desired sets, one session per reflector, the table, the readers of
 * the table. Made once per host, changed in place by `RouteClient.ts` and its parts only.
 */
import type { Route } from "#protocol/metalbond/Route.ts"
import * as ClientPeer from "./ClientPeer.ts"
import * as ClientTable from "./ClientTable.ts"

export interface Config extends ClientPeer.Config {
  /** `[host]:port` each; at most 16. */
  readonly reflectors: ReadonlyArray<string>
  /** With a v1 reflector, which has no end-of-table: this long after SUBSCRIBE its table of a VNI counts as complete. */
  readonly settleMillis: number
  readonly holdMillis: number
}

export const maxReflectors = 16

/** One per reflector, for the life of the client. */
export interface Session {
  readonly address: string
  peer: ClientPeer.State
  reason: string | undefined
  /** HELLO and KEEPALIVE to be written. */
  control: Array<Uint8Array>
  /** What the reflector was told in this connection. */
  readonly toldRoutes: Map<string, Route>
  /** Those of them that still hold: a VNI that the client leaves goes at once. */
  readonly toldVnis: Set<number>
  /** Told VNIs whose table was forgotten: UNSUBSCRIBE is due, even if they are wanted again. */
  readonly leftVnis: Set<number>
  toldEnd: boolean
  /** Told routes that a v1 reflector may have forgotten. */
  readonly retell: Set<string>
  /** Frames that bring `told` to the desired sets; undefined: to be computed. */
  plan: { readonly steps: ReadonlyArray<Step>; at: number } | undefined
  /** VNI -> count of answered KEEPALIVEs before which its updates are old. */
  readonly barriers: Map<number, number>
  readonly level: Set<number>
  /** VNI -> when it counts as level, ascending; of a v1 reflector only. */
  readonly settling: Map<number, number>
  /** Ends of holds, ascending. */
  readonly holdEnds: Array<number>
}

/** What is left to tell a reflector. */
export type Step =
  | { readonly _tag: "Subscribe"; readonly vni: number }
  | { readonly _tag: "Unsubscribe"; readonly vni: number }
  | { readonly _tag: "Announce"; readonly key: string; readonly route: Route }
  | { readonly _tag: "Withdraw"; readonly key: string; readonly route: Route }
  | { readonly _tag: "End" }

/** One per consumer of `updates`: what changed since it last looked. Bounded by the destinations there are. */
export interface Reader {
  readonly dirty: Map<number, Set<string>>
  readonly level: Set<number>
}

/** An announcement ready for the wire. */
export interface Prepared {
  readonly route: Route
  readonly key: string
  readonly prefix: string
  /** See `ClientTable.ownKey`. */
  readonly own: string
}

export interface RouteClient {
  readonly config: Config
  readonly sessions: Map<string, Session>
  readonly table: ClientTable.ClientTable
  readonly readers: Set<Reader>
  /** Undefined until the first `announce`. */
  desired: ReadonlyMap<string, Route> | undefined
  /** The announcements by their text, converted. */
  prepared: ReadonlyMap<string, Prepared>
  own: ReadonlySet<string>
  subscribed: ReadonlySet<number>
}

export const make = (config: Config): RouteClient => ({
  config,
  sessions: new Map(
    config.reflectors.slice(0, maxReflectors).map((address) => [
      address,
      {
        address,
        peer: ClientPeer.initial,
        reason: undefined,
        control: [],
        toldRoutes: new Map(),
        toldVnis: new Set(),
        leftVnis: new Set(),
        toldEnd: false,
        retell: new Set(),
        plan: undefined,
        barriers: new Map(),
        level: new Set(),
        settling: new Map(),
        holdEnds: [],
      },
    ]),
  ),
  table: ClientTable.make(),
  readers: new Set(),
  desired: undefined,
  prepared: new Map(),
  own: new Set(),
  subscribed: new Set(),
})
