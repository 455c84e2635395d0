/**
 * What the sessions of one agent share: its host's tables and the bells by which they wake each other.
 *
 * Everything that touches the host is synchronous, so sessions never see each other's half-done changes.
 */
import { Clock, Effect, Random } from "effect"
import * as Host from "#actors/host/Host.ts"
import * as HostDesire from "#actors/host/HostDesire.ts"
import type { Moment } from "#actors/host/HostBatch.ts"
import type { RouteDistribution } from "#protocol/metalbond/RouteDistribution.ts"
import type { Prefix } from "#protocol/net/Address.ts"
import * as Bell from "./Bell.ts"

export interface HostRuntime {
  readonly host: Host.Host
  /** Somebody of the host is awake: the dataplane's session should look. */
  readonly work: Bell.Bell
  /** There is something to tell: the controller's session should look. */
  readonly news: Bell.Bell
  /** What is asked for changed: subscribes to what the host needs now, and rings for everybody. */
  readonly changed: Effect.Effect<void>
  /** What is there changed: the same, but whoever changed it looks anyway. */
  readonly acted: Effect.Effect<void>
}

export const make = (underlay: Prefix, routes: RouteDistribution["Service"]): HostRuntime => {
  const host = Host.make(underlay)
  const work = Bell.make()
  const news = Bell.make()
  const acted = Effect.suspend(() => {
    news.ring()
    const vnis = HostDesire.takeSubscriptions(host)
    return vnis === undefined ? Effect.void : routes.subscribe(vnis)
  })
  const changed = Effect.suspend(() => {
    work.ring()
    return acted
  })
  return { host, work, news, changed, acted }
}

/** Now, as the host's actors want to be told. */
export const moment: Effect.Effect<Moment> = Effect.gen(function* () {
  const nanos = yield* Clock.currentTimeNanos
  const nowMicros = Number(nanos / 1000n)
  return { nowMicros, nowMillis: yield* Clock.currentTimeMillis, chance: yield* Random.next }
})
