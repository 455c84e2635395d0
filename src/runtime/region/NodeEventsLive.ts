/**
 * What the node service hears of hosts, told to the region: a Hello is a command to the Node's actor, everything
 * else is an observation that wakes the actors it is about.
 */
import { Effect, Layer, Option } from "effect"
import { findCondition } from "#protocol/resource/Conditions.ts"
import { type Node, nodeKey } from "#protocol/resource/Node.ts"
import { formatKey, type ResourceKey } from "#protocol/resource/Resource.ts"
import { NodeEvents, NodeRefused } from "#protocol/node/NodeEvents.ts"
import type { CommandError } from "#protocol/gateway/RegionCommands.ts"
import type { RegionCommand, RegionReply } from "#protocol/region/RegionCommand.ts"
import { ResourceStore } from "#protocol/store/ResourceStore.ts"
import { RegionMemory } from "./RegionActors.ts"

export interface Asking {
  readonly ask: (
    key: ResourceKey,
    command: RegionCommand,
    commandId: string | undefined,
  ) => Effect.Effect<RegionReply, CommandError>
  readonly hint: (key: ResourceKey) => Effect.Effect<void>
}

const refusal = (node: string, reason: string) =>
  new NodeRefused({ node, reason: `the region can't take the node now: ${reason}` })

const make = ({ ask, hint }: Asking) =>
  Effect.gen(function* () {
    const store = yield* ResourceStore
    const { observations, projection } = yield* RegionMemory

    const lost = Effect.fnUntraced(function* (node: string) {
      observations.expire(node)
      yield* hint(nodeKey(node))
    })

    return NodeEvents.of({
      hello: Effect.fnUntraced(function* (node, hello) {
        observations.begin(node, hello)
        const { dataplane, instance, underlayPrefix, version } = hello
        const command: RegionCommand = { _tag: "NodeHello", dataplane, instance, underlayPrefix, version }
        yield* Effect.mapError(ask(nodeKey(node), command, undefined), (error) => refusal(node, error._tag))
        const record = yield* Effect.mapError(store.get(nodeKey(node)), ({ reason }) => refusal(node, reason))
        if (Option.isNone(record)) return yield* refusal(node, "its Node was deleted")
        const { status } = record.value.value as Node
        const ready = findCondition(status?.conditions, "Ready")
        if (ready?.reason === "UnderlayTaken") return yield* new NodeRefused({ node, reason: ready.message })
      }),
      lost,
      interfaceReport: (node, report) =>
        Effect.suspend(() => {
          observations.setReport(node, report)
          const owner = projection.ownerOf(report.uid)
          return owner === undefined ? Effect.void : hint(owner)
        }),
      routeReport: Effect.fnUntraced(function* (node, report) {
        const owners = new Map<string, ResourceKey>()
        for (const { prefix, vni } of observations.setRoutes(node, report)) {
          const owner = projection.owner(vni, prefix)
          if (owner !== undefined) owners.set(formatKey(owner), owner)
        }
        for (const owner of owners.values()) yield* hint(owner)
      }),
      settled: Effect.fnUntraced(function* (node, revision) {
        if (!observations.setSettled(node, revision)) return
        for (const key of yield* Effect.orElseSucceed(store.referrers(nodeKey(node)), () => []))
          yield* hint(key)
      }),
    })
  })

export const layer = (asking: Asking): Layer.Layer<NodeEvents, never, ResourceStore | RegionMemory> =>
  Layer.effect(NodeEvents, make(asking))
