/**
 * The agent of one hypervisor: keeps its dataplane as the region wants it, and the region informed.
 *
 * Three loops around one `Host`, woken by each other and never in each other's way: `DataplaneSession` makes it
 * so, `ControllerSession` hears what is wanted and tells what became of it, and the news of the reflectors flow
 * into the route tables. Each connects again by itself, for ever; none of them failing stops another.
 *
 * `layer` needs the ways to the outside as services, so that many agents run in one process under a test's clock.
 * Ending it disturbs nothing: the dataplane keeps forwarding, reflectors hold the host's routes for their restart
 * time, and the next agent starts from the journal.
 */
import { Cause, Context, Effect, Layer, Random, Schema, Stream } from "effect"
import * as HostDesire from "#actors/host/HostDesire.ts"
import { isRealised } from "#actors/host/HostBatch.ts"
import type { Dataplane } from "#protocol/dataplane/Dataplane.ts"
import { RouteDistribution } from "#protocol/metalbond/RouteDistribution.ts"
import { Ids } from "#protocol/Ids.ts"
import { parsePrefix } from "#protocol/net/Address.ts"
import type { ControllerLink } from "#protocol/node/ControllerLink.ts"
import { Hello } from "#protocol/node/NodeMessages.ts"
import { backoffMillis, defaultBackoff } from "../supervision/RestartPolicy.ts"
import * as ControllerSession from "./ControllerSession.ts"
import * as DataplaneSession from "./DataplaneSession.ts"
import * as HostRuntime from "./HostRuntime.ts"
import { Journal, type JournalError } from "./Journal.ts"

export interface AgentOptions {
  /** DNS label, unique in the region. */
  readonly node: string
  /** The dataplane's own /64, as it was started with. */
  readonly underlayPrefix: string
  readonly dataplane: "native" | "model"
  readonly version: string
}

/** What an agent knows about itself; for people and tests. */
export interface AgentStatus {
  readonly node: string
  readonly instance: string
  readonly controller: Readonly<ControllerSession.ControllerState>
  readonly dataplane: { readonly connected: boolean; readonly reason: string }
  /** Last revision that is complete, and the last whose every change has had its effect. */
  readonly revision: number
  readonly settledRevision: number
  readonly interfaces: {
    readonly desired: number
    readonly realised: number
    readonly failed: number
    /** In the dataplane, asked for or not. */
    readonly observed: number
  }
  readonly routes: number
  readonly subscriptions: ReadonlyArray<number>
}

/** The agent was told something that it can't work with. */
export class AgentMisconfigured extends Schema.TaggedError<AgentMisconfigured>()("AgentMisconfigured", {
  reason: Schema.String,
}) {
  override get message(): string {
    return this.reason
  }
}

export class Agent extends Context.Service<Agent, { readonly status: Effect.Effect<AgentStatus> }>()(
  "ferrite/Agent",
) {
  static readonly layer = (
    options: AgentOptions,
  ): Layer.Layer<
    Agent,
    AgentMisconfigured | JournalError,
    Dataplane | RouteDistribution | ControllerLink | Journal | Ids
  > => Layer.effect(Agent, make(options))
}

/** A loop that ends is a bug of ours: it is told, and starts again. */
const supervised = <R>(name: string, loop: Effect.Effect<unknown, never, R>) =>
  Effect.gen(function* () {
    for (let attempt = 1; ; attempt++) {
      yield* Effect.catchCause(loop, (cause) =>
        Cause.hasInterruptsOnly(cause)
          ? Effect.interrupt
          : Effect.logError("a part of the agent failed and restarts", cause),
      )
      yield* Effect.sleep(backoffMillis(defaultBackoff, attempt, yield* Random.next))
    }
  }).pipe(Effect.annotateLogs({ part: name }))

const make = Effect.fn("Agent.make")(function* (options: AgentOptions) {
  const routes = yield* RouteDistribution
  const journal = yield* Journal
  const ids = yield* Ids
  const { dataplane, node, underlayPrefix, version } = options
  const identity = { node, instance: yield* ids.uid, underlayPrefix, dataplane, version }
  yield* Schema.decodeEffect(Hello)({ _tag: "Hello", ...identity, revision: 0, regionUid: "" }).pipe(
    Effect.mapError(({ message }) => new AgentMisconfigured({ reason: message })),
  )
  const underlay = parsePrefix(underlayPrefix)!

  const runtime = HostRuntime.make(underlay, routes)
  const { host } = runtime
  const remembered = yield* journal.content
  HostDesire.restore(host, remembered)
  const controller: ControllerSession.ControllerState = {
    connected: false,
    reason: "the agent has just started",
    regionUid: remembered.regionUid,
    sessions: 0,
  }
  yield* Effect.logInfo("agent starts", {
    node,
    instance: identity.instance,
    revision: remembered.revision,
    interfaces: remembered.interfaces.length,
  })

  const learn = Stream.runForEach(routes.updates, (update) =>
    Effect.suspend(() => {
      HostDesire.learn(host, update)
      return runtime.changed
    }),
  )
  yield* runtime.changed
  yield* Effect.forkScoped(supervised("routes", learn))
  yield* Effect.forkScoped(supervised("dataplane", DataplaneSession.run(runtime)))
  yield* Effect.forkScoped(supervised("controller", ControllerSession.run(runtime, identity, controller)))

  return Agent.of({
    status: Effect.sync(() => {
      const { tables } = host
      let programmed = 0
      for (const table of tables.programmed.values()) programmed += table.size
      return {
        node,
        instance: identity.instance,
        controller: { ...controller },
        dataplane: { connected: host.connected, reason: host.connected ? "" : host.disconnectedReason },
        revision: host.revision,
        settledRevision: host.settledRevision,
        interfaces: {
          desired: tables.desired.size,
          realised: [...tables.desired.keys()].filter((uid) => isRealised(host, uid)).length,
          failed: host.failures.size,
          observed: tables.observed.size,
        },
        routes: programmed,
        subscriptions: [...host.subscriptions].sort((a, b) => a - b),
      }
    }),
  })
})
