/**
 * A region for tests of agents: a store, the node sessions, reflectors, and hypervisors with model dataplanes, all
 * in one process under the test's clock. Whatever is a process outside can be killed and started again here.
 */
import { Context, Effect, Exit, Layer, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { listInterfaces, listRoutes } from "#protocol/dataplane/model/control.ts"
import { Ids } from "#protocol/Ids.ts"
import { ControllerLink, LinkError } from "#protocol/node/ControllerLink.ts"
import { type HostInterface, hostInterfaceKind } from "#protocol/node/HostInterface.ts"
import { NodeEvents, NodeRefused } from "#protocol/node/NodeEvents.ts"
import type { InterfaceReport, RouteReport } from "#protocol/node/NodeMessages.ts"
import { ResourceStore } from "#protocol/store/ResourceStore.ts"
import { layerModel, ModelDataplane } from "#runtime/dataplane/ModelDataplane.ts"
import { ModelUnderlay } from "#runtime/dataplane/ModelUnderlay.ts"
import * as MetalbondMemory from "#runtime/metalbond/Memory.ts"
import * as Reflector from "#runtime/metalbond/Reflector.ts"
import * as RouteDistributionClient from "#runtime/metalbond/RouteDistributionClient.ts"
import { Agent } from "#runtime/node/Agent.ts"
import { emptyMemory, layerMemory as journalInMemory, type MemoryJournal } from "#runtime/node/Journal.ts"
import { NodeSessions, type NodeSessionsOptions } from "#runtime/node/NodeSessions.ts"
import { layerMemory as storeInMemory } from "#runtime/store/Store.ts"

export const uidOf = (n: number) => `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`

export const nic = (n: number, fields: Partial<HostInterface> = {}): HostInterface => ({
  uid: uidOf(n),
  namespace: "default",
  name: `nic-${n}`,
  generation: 1,
  vni: 200,
  ipv4: `10.0.0.${n}`,
  acceptedMicros: 0,
  ...fields,
})

/** Everything that the region was told, in order, as a person would write it down. */
export interface Told {
  readonly lines: Array<string>
  /** By uid, whichever node said it. */
  readonly interfaces: Map<string, InterfaceReport>
  /** By node and uid. */
  readonly byNode: Map<string, InterfaceReport>
  readonly routes: Array<RouteReport>
  readonly settled: Map<string, number>
  refuse: string | undefined
  /** Dies when told that a node is lost. */
  deaf: boolean
}

export const layerTold = (told: Told): Layer.Layer<NodeEvents> =>
  Layer.succeed(
    NodeEvents,
    NodeEvents.of({
      hello: (node, hello) =>
        Effect.suspend(() => {
          if (told.refuse !== undefined) return Effect.fail(new NodeRefused({ node, reason: told.refuse }))
          told.lines.push(`${node} hello ${hello.revision}`)
          return Effect.void
        }),
      lost: (node) =>
        Effect.suspend(() => {
          if (told.deaf) return Effect.die(new Error("deaf"))
          told.lines.push(`${node} lost`)
          return Effect.void
        }),
      interfaceReport: (node, report) =>
        Effect.sync(() => {
          told.lines.push(`${node} ${Number.parseInt(report.uid.slice(-12), 16)} ${report.state}`)
          told.interfaces.set(report.uid, report)
          told.byNode.set(`${node} ${report.uid}`, report)
        }),
      routeReport: (_node, report) => Effect.sync(() => told.routes.push(report)),
      settled: (node, revision) => Effect.sync(() => told.settled.set(node, revision)),
    }),
  )

export const told = (): Told => ({
  lines: [],
  interfaces: new Map(),
  byNode: new Map(),
  routes: [],
  settled: new Map(),
  refuse: undefined,
  deaf: false,
})

/** Something that can be killed and started again. */
export interface Process<A> {
  readonly start: Effect.Effect<A>
  readonly kill: Effect.Effect<void>
  readonly current: () => A
}

const process_ = Effect.fnUntraced(function* <A>(
  build: (scope: Scope.Scope) => Effect.Effect<A, unknown>,
): Effect.fn.Return<Process<A>, never, Scope.Scope> {
  const outer = yield* Effect.scope
  let scope: Scope.Closeable | undefined
  let current: A | undefined
  const kill = Effect.suspend(() => {
    const open = scope
    scope = undefined
    return open === undefined ? Effect.void : Scope.close(open, Exit.void)
  })
  const start = Effect.gen(function* () {
    yield* kill
    scope = yield* Scope.fork(outer)
    current = yield* Effect.orDie(build(scope))
    return current
  })
  return { start, kill, current: () => current! }
})

export interface Hypervisor {
  readonly name: string
  readonly model: ModelDataplane["Service"]
  readonly agent: Process<Agent["Service"]>
  journal: MemoryJournal
  /** `false`: the controller is out of reach. */
  reachable: boolean
  /** Ids of the interfaces that the dataplane has. */
  readonly interfaces: Effect.Effect<ReadonlyArray<string>>
  /** `vni prefix` of the routes that the dataplane has. */
  readonly routes: Effect.Effect<ReadonlyArray<string>>
  /** Operations that the dataplane was asked for, since the last call. */
  readonly operations: () => number
}

const reflectorAddresses = ["[fd00::1]:4711", "[fd00::2]:4711"]

/** Lets everything that is under way arrive: whoever waits for no timer longer than 10 ms gets there. */
export const settle = Effect.forEach(Array.from({ length: 10 }), () => TestClock.adjust(1), { discard: true })

export const makeRegion = Effect.fnUntraced(function* (options: NodeSessionsOptions = {}) {
  const shared = yield* Layer.build(
    Layer.mergeAll(storeInMemory(), ModelUnderlay.layer, MetalbondMemory.layerNetwork, Ids.layer),
  )
  const store = Context.get(shared, ResourceStore)
  const network = Context.get(shared, MetalbondMemory.MemoryNetwork)
  const region = told()

  const controller = yield* process_((scope) =>
    Effect.map(
      Layer.buildWithScope(
        NodeSessions.layer(options).pipe(
          Layer.provide(layerTold(region)),
          Layer.provide(Layer.succeedContext(shared)),
        ),
        scope,
      ),
      (context) => Context.get(context, NodeSessions),
    ),
  )
  let controllerRuns = false
  const startController = Effect.andThen(
    controller.start,
    Effect.sync(() => {
      controllerRuns = true
    }),
  )
  const killController = Effect.andThen(
    Effect.sync(() => {
      controllerRuns = false
    }),
    controller.kill,
  )
  const reflectors = yield* Effect.forEach(reflectorAddresses, (listen, index) =>
    process_((scope) =>
      Layer.buildWithScope(
        Reflector.layerTransport({ listen }).pipe(
          Layer.provide(MetalbondMemory.layerHost(`reflector-${index}`)),
          Layer.provide(Layer.succeedContext(shared)),
        ),
        scope,
      ),
    ),
  )

  const hypervisor = Effect.fnUntraced(function* (n: number) {
    const name = `host-${n}`
    const underlayPrefix = `fd00:f:${n}::/64`
    const model = Context.get(
      yield* Layer.build(
        ModelDataplane.layer({ underlayPrefix }).pipe(Layer.provide(Layer.succeedContext(shared))),
      ),
      ModelDataplane,
    )
    let operations = 0
    yield* model.refuse(() => {
      operations++
      return undefined
    })
    const link = Layer.succeed(
      ControllerLink,
      ControllerLink.of({
        session: (requests) =>
          Stream.suspend(() =>
            controllerRuns && host.reachable
              ? Stream.mapError(
                  controller.current().session(requests),
                  ({ kind, reason }) =>
                    new LinkError({ kind: kind === "Replaced" ? "Replaced" : "Unreachable", reason }),
                )
              : Stream.fail(new LinkError({ kind: "Unreachable", reason: "connection refused" })),
          ),
      }),
    )
    const agent = yield* process_((scope) =>
      Effect.map(
        Layer.buildWithScope(
          Agent.layer({ node: name, underlayPrefix, dataplane: "model", version: "test" }).pipe(
            Layer.provide(
              Layer.mergeAll(
                layerModel.pipe(Layer.provide(Layer.succeed(ModelDataplane, model))),
                link,
                journalInMemory(host.journal),
                RouteDistributionClient.layerTransport({
                  reflectors: reflectorAddresses,
                  originator: name,
                }).pipe(Layer.provide(MetalbondMemory.layerHost(name))),
              ),
            ),
            Layer.provide(Layer.succeedContext(shared)),
          ),
          scope,
        ),
        (context) => Context.get(context, Agent),
      ),
    )
    const host: Hypervisor = {
      name,
      model,
      agent,
      journal: emptyMemory(),
      reachable: true,
      interfaces: Effect.map(model.snapshot, (state) =>
        state === undefined
          ? []
          : listInterfaces(state)
              .map(({ spec }) => spec.id)
              .sort(),
      ),
      routes: Effect.map(model.snapshot, (state) =>
        state === undefined
          ? []
          : listRoutes(state)
              .map(({ nextHop, prefix, vni }) => `${vni} ${prefix} ${nextHop}`)
              .sort(),
      ),
      operations: () => {
        const count = operations
        operations = 0
        return count
      },
    }
    return host
  })

  const put = (host: Hypervisor, desired: HostInterface) =>
    store.commit({
      writes: [
        {
          _tag: "Put",
          key: { kind: hostInterfaceKind, namespace: host.name, name: desired.uid },
          uid: desired.uid,
          labels: {},
          references: [],
          value: desired,
        },
      ],
    })
  const remove = (host: Hypervisor, n: number) =>
    store.commit({
      writes: [{ _tag: "Remove", key: { kind: hostInterfaceKind, namespace: host.name, name: uidOf(n) } }],
    })

  yield* startController
  yield* Effect.forEach(reflectors, ({ start }) => start)
  return {
    store,
    network,
    told: region,
    controller,
    startController,
    killController,
    reflectors,
    hypervisor,
    put,
    remove,
  }
})
