/**
 * The actors of Network, NetworkInterface and Node: what each does with a command, and what it does when it is woken.
 *
 * One cell per resource calls `handle` and `look` (see `src/runtime/cluster/`), one at a time for one key, so each
 * resource has one writer. All that they know is in the store; whichever controller calls comes to the same.
 */
import { Context, Effect, Layer, Result } from "effect"
import { attach, detach, markDeleted } from "#actors/region/Commands.ts"
import { planNetwork } from "#actors/region/NetworkPlan.ts"
import { planNetworkInterface } from "#actors/region/NetworkInterfacePlan.ts"
import { planNode } from "#actors/region/NodePlan.ts"
import type { Plan } from "#actors/region/Plan.ts"
import * as Commands from "#protocol/gateway/RegionCommands.ts"
import { Ids } from "#protocol/Ids.ts"
import type { Apply, RegionCommand, RegionReply } from "#protocol/region/RegionCommand.ts"
import { apply } from "#protocol/resource/Apply.ts"
import { kindOf } from "#protocol/resource/Kinds.ts"
import { type Network, networkKind } from "#protocol/resource/Network.ts"
import { type NetworkInterface, networkInterfaceKind } from "#protocol/resource/NetworkInterface.ts"
import { type Node, nodeKind } from "#protocol/resource/Node.ts"
import type { Manifest, ResourceKey } from "#protocol/resource/Resource.ts"
import { ResourceStore, type StoreUnavailable } from "#protocol/store/ResourceStore.ts"
import { type Conflicts, execute, nowMicros, type Planner, type Step } from "./Executor.ts"
import type { Observations } from "./Observations.ts"
import { observeNetwork, observeNetworkInterface, observeNode, type Sources } from "./Observe.ts"
import type { Projection } from "./Projection.ts"
import { VniAllocator } from "./VniAllocator.ts"
import type { Waiters } from "./Waiters.ts"

/** What a controller knows beside the store. */
export class RegionMemory extends Context.Service<
  RegionMemory,
  { readonly projection: Projection; readonly observations: Observations; readonly waiters: Waiters }
>()("ferrite/RegionMemory") {}

export class RegionBehaviour extends Context.Service<
  RegionBehaviour,
  {
    readonly handle: (
      key: ResourceKey,
      command: RegionCommand,
      commandId: string | undefined,
    ) => Effect.Effect<RegionReply, Commands.CommandError>
    readonly look: (key: ResourceKey) => Effect.Effect<void, StoreUnavailable | Commands.Unavailable>
  }
>()("ferrite/RegionBehaviour") {}

type Decision = Result.Result<Step<RegionReply>, Commands.CommandError>

const decided = (manifest: Manifest | undefined, outcome: RegionReply = {}): Decision =>
  Result.succeed({ manifest, outcome })
const refused = (error: Commands.CommandError): Decision => Result.fail(error)

const applyStep =
  (key: ResourceKey, command: Apply, uid: string, now: number) =>
  (stored: Manifest | undefined, revision: number): Decision => {
    if (command.resourceVersion !== undefined && command.resourceVersion !== String(revision)) {
      const reason = `metadata.resourceVersion is ${command.resourceVersion}, the resource is at ${revision}; read it again or omit the field`
      return refused(new Commands.Conflict({ key, reason }))
    }
    if (stored?.metadata.deletionTimestamp !== undefined) return refused(new Commands.Deleting({ key }))
    const { apiVersion, labels, annotations, spec } = command
    const manifest = {
      key,
      apiVersion,
      labels,
      annotations,
      spec,
      uid: command.uid,
      resourceVersion: undefined,
    }
    return Result.flatMap(apply(stored, manifest, now, uid), (applied) =>
      decided(applied.changed ? applied.manifest : stored, { outcome: applied.outcome }),
    )
  }

const deleteStep =
  (key: ResourceKey, uid: string | undefined, now: number) =>
  (stored: Manifest | undefined): Decision => {
    if (stored === undefined) return refused(new Commands.NotFound({ key }))
    if (uid !== undefined && uid !== stored.metadata.uid) {
      return refused(new Commands.Conflict({ key, reason: `its uid is ${stored.metadata.uid}, not ${uid}` }))
    }
    const { changed, manifest } = markDeleted(stored, now)
    return decided(changed ? manifest : stored)
  }

const attachStep =
  (key: ResourceKey, node: string) =>
  (stored: Manifest | undefined): Decision => {
    if (stored === undefined) return refused(new Commands.NotFound({ key }))
    const attaching = attach(stored as NetworkInterface, node)
    switch (attaching._tag) {
      case "Attached":
        return decided(attaching.changed ? attaching.manifest : stored)
      case "AttachedElsewhere":
        return refused(new Commands.AlreadyAttached({ key, node: attaching.node }))
      case "Deleting":
        return refused(new Commands.Deleting({ key }))
    }
  }

const detachStep =
  (key: ResourceKey) =>
  (stored: Manifest | undefined): Decision => {
    if (stored === undefined) return refused(new Commands.NotFound({ key }))
    const detached = detach(stored as NetworkInterface)
    return detached === undefined ? refused(new Commands.NotAttached({ key })) : decided(detached)
  }

/** A host that nobody has heard of becomes a Node. */
const helloStep =
  (key: ResourceKey, uid: string, now: number) =>
  (stored: Manifest | undefined): Decision => {
    if (stored !== undefined) return decided(stored)
    const kind = kindOf(nodeKind)
    const manifest = {
      key,
      apiVersion: kind?.apiVersion ?? "",
      labels: {},
      annotations: {},
      spec: {},
      uid: undefined,
      resourceVersion: undefined,
    }
    return Result.flatMap(apply(undefined, manifest, now, uid), (applied) => decided(applied.manifest))
  }

const nothing: Plan<Manifest> = {
  next: { _tag: "Keep" },
  hosts: [],
  claims: [],
  releases: [],
  events: [],
  waiting: [],
}

const planner =
  (sources: Sources, waiters: Waiters): Planner =>
  (manifest, revision, conflicts, now) => {
    switch (manifest.kind) {
      case networkKind:
        return planOf(
          observeNetwork(manifest as Network, conflicts, now, sources),
          (observed) => planNetwork(manifest as Network, observed) as Plan<Manifest>,
        )
      case nodeKind:
        return Effect.succeed({
          plan: planNode(
            manifest as Node,
            observeNode(manifest as Node, conflicts, now, sources),
          ) as Plan<Manifest>,
          guards: [],
        })
      case networkInterfaceKind:
        return planInterface(manifest as NetworkInterface, revision, conflicts, now, sources, waiters)
      default:
        return Effect.succeed({ plan: nothing, guards: [] })
    }
  }

const planOf = <Observed, R>(
  observing: Effect.Effect<Observed, StoreUnavailable, R>,
  plan: (observed: Observed) => Plan<Manifest>,
) => Effect.map(observing, (observed) => ({ plan: plan(observed), guards: [] }))

const planInterface = Effect.fnUntraced(function* (
  nic: NetworkInterface,
  revision: number,
  conflicts: Conflicts,
  now: number,
  sources: Sources,
  waiters: Waiters,
) {
  const { guards, observed, wakers } = yield* observeNetworkInterface(nic, revision, conflicts, now, sources)
  const plan = planNetworkInterface(nic, observed)
  const { namespace = "", name } = nic.metadata
  const on = plan.waiting.flatMap((waiting) => (waiting.on === undefined ? [] : [waiting.on]))
  waiters.wait({ kind: nic.kind, namespace, name }, [...on, ...wakers])
  const relies = plan.hosts.some(({ _tag }) => _tag === "Put") || plan.claims.length > 0
  return { plan: plan as Plan<Manifest>, guards: relies ? guards : [] }
})

const make = Effect.gen(function* () {
  const store = yield* ResourceStore
  const ids = yield* Ids
  const allocator = yield* VniAllocator
  const { observations, projection, waiters } = yield* RegionMemory
  const sources: Sources = { projection, observations, allocator }
  const plan = planner(sources, waiters)

  const stepOf = (key: ResourceKey, command: RegionCommand, uid: string, now: number) => {
    switch (command._tag) {
      case "Apply":
        return applyStep(key, command, uid, now)
      case "Delete":
        return deleteStep(key, command.uid, now)
      case "Attach":
        return attachStep(key, command.node)
      case "Detach":
        return detachStep(key)
      case "NodeHello":
        return helloStep(key, uid, now)
    }
  }

  const handle = Effect.fnUntraced(
    function* (key: ResourceKey, command: RegionCommand, commandId: string | undefined) {
      const dryRun = command._tag === "Apply" && command.dryRun
      const step = stepOf(key, command, yield* ids.uid, yield* nowMicros)
      const { outcome, planned } = yield* execute({ key, step, plan, commandId, dryRun })
      return dryRun ? { ...outcome, planned } : outcome
    },
    Effect.catchTag("StoreUnavailable", ({ reason }) => Effect.fail(new Commands.Unavailable({ reason }))),
    Effect.provideService(ResourceStore, store),
  )

  const unchanged = (stored: Manifest | undefined): Result.Result<Step<undefined>> =>
    Result.succeed({ manifest: stored, outcome: undefined })

  const look = (key: ResourceKey) =>
    execute({ key, step: unchanged, plan }).pipe(Effect.asVoid, Effect.provideService(ResourceStore, store))

  return RegionBehaviour.of({ handle, look })
})

export const layer: Layer.Layer<RegionBehaviour, never, ResourceStore | Ids | VniAllocator | RegionMemory> =
  Layer.effect(RegionBehaviour, make)
