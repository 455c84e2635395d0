/**
 * A whole region in one process: controller, reflectors, and hypervisors with model dataplanes on a model underlay.
 *
 * The demo without root runs on it, and so do simulations under a test's clock. What is a process outside (controller,
 * reflector, agent, dataplane) can be stopped and started again here; what is durable outside (store, journals)
 * outlives it. Everything ends with the scope.
 */
import { Context, Deferred, Effect, Exit, Layer, Scope, Stream } from "effect"
import { RegionCommands } from "#protocol/gateway/RegionCommands.ts"
import { Ids } from "#protocol/Ids.ts"
import { ControllerLink, LinkError } from "#protocol/node/ControllerLink.ts"
import { ResourceStore, type StoreUnavailable } from "#protocol/store/ResourceStore.ts"
import * as Controller from "./Controller.ts"
import { layerModel, ModelDataplane } from "./dataplane/ModelDataplane.ts"
import { ModelUnderlay } from "./dataplane/ModelUnderlay.ts"
import * as MetalbondMemory from "./metalbond/Memory.ts"
import * as Reflector from "./metalbond/Reflector.ts"
import * as RouteDistributionClient from "./metalbond/RouteDistributionClient.ts"
import { Agent } from "./node/Agent.ts"
import * as Journal from "./node/Journal.ts"
import { NodeSessions } from "./node/NodeSessions.ts"

/** Something that is a process outside. Starting what runs restarts it. */
export interface Process {
  readonly start: Effect.Effect<void>
  readonly stop: Effect.Effect<void>
}

export interface HostOptions {
  readonly name: string
  /** /64, CIDR text. */
  readonly underlayPrefix: string
}

export interface Host extends HostOptions {
  readonly model: ModelDataplane["Service"]
  readonly agent: Process
  readonly agentStatus: () => Agent["Service"] | undefined
}

export interface Options extends Controller.RegionOptions {
  readonly hosts: ReadonlyArray<HostOptions>
  /** Default 1. */
  readonly reflectors?: number
  readonly version: string
}

/** One life of a process. */
interface Running<A> {
  readonly context: Context.Context<A>
  readonly ended: Deferred.Deferred<void>
}

/** A process made of a layer; `current` is its present life. */
const processOf = Effect.fnUntraced(function* <A, E>(
  name: string,
  layer: Layer.Layer<A, E>,
): Effect.fn.Return<Process & { readonly current: () => Running<A> | undefined }, never, Scope.Scope> {
  const outer = yield* Effect.scope
  let running: (Running<A> & { readonly scope: Scope.Closeable }) | undefined
  const stop = Effect.gen(function* () {
    const ending = running
    running = undefined
    if (ending === undefined) return
    yield* Deferred.succeed(ending.ended, undefined)
    yield* Scope.close(ending.scope, Exit.void)
  })
  const start = Effect.gen(function* () {
    yield* stop
    const scope = yield* Scope.fork(outer)
    const context = yield* Effect.orDie(Layer.buildWithScope(Layer.fresh(layer), scope))
    running = { scope, context, ended: yield* Deferred.make<void>() }
  }).pipe(Effect.annotateLogs({ process: name }))
  return { start, stop, current: () => running }
})

const reflectorAddress = (index: number) => `[fd00::${index + 1}]:4711`

const gone = new LinkError({ kind: "Unreachable", reason: "the controller is not running" })

/** Sessions with whatever controller runs at that moment; they break when it stops. */
const linkTo = (controller: () => Running<NodeSessions> | undefined): Layer.Layer<ControllerLink> =>
  Layer.succeed(
    ControllerLink,
    ControllerLink.of({
      session: (requests) =>
        Stream.suspend(() => {
          const running = controller()
          if (running === undefined) return Stream.fail(gone)
          const session = Context.get(running.context, NodeSessions).session(requests)
          return Stream.mapError(session, ({ kind, reason }) => {
            const known = kind === "Refused" || kind === "Replaced" || kind === "Malformed"
            return new LinkError({ kind: known ? kind : "Unreachable", reason })
          }).pipe(Stream.interruptWhen(Effect.andThen(Deferred.await(running.ended), Effect.fail(gone))))
        }),
    }),
  )

export interface ModelRegion {
  readonly controller: Process
  readonly reflectors: ReadonlyArray<Process>
  readonly hosts: ReadonlyArray<Host>
  readonly network: MetalbondMemory.MemoryNetwork["Service"]
  readonly underlay: ModelUnderlay["Service"]
  readonly store: ResourceStore["Service"]
  /** Of the controller that runs; fails as a defect while none does. */
  readonly commands: Effect.Effect<RegionCommands["Service"]>
  /** What a gRPC server of the controller needs, for as long as that controller runs. */
  readonly services: Effect.Effect<Context.Context<ResourceStore | RegionCommands | NodeSessions>>
}

/** Builds and starts all of it. The store is whatever the caller provides. */
export const make = Effect.fn("ModelRegion.make")(function* (
  options: Options,
): Effect.fn.Return<ModelRegion, StoreUnavailable, ResourceStore | Ids | Scope.Scope> {
  const given = yield* Effect.context<ResourceStore | Ids>()
  const shared = yield* Layer.build(Layer.mergeAll(ModelUnderlay.layer, MetalbondMemory.layerNetwork)).pipe(
    Effect.map(Context.merge(given)),
  )
  const outside = Layer.succeedContext(shared)

  const controller = yield* processOf(
    "controller",
    Controller.layerRegion(options).pipe(Layer.provide(outside)),
  )
  const reflectors = yield* Effect.forEach(Array.from({ length: options.reflectors ?? 1 }).keys(), (index) =>
    processOf(
      `reflector-${index + 1}`,
      Reflector.layerTransport({ listen: reflectorAddress(index) }).pipe(
        Layer.provide(MetalbondMemory.layerHost(`reflector-${index + 1}`)),
        Layer.provide(outside),
      ),
    ),
  )

  const hostOf = Effect.fnUntraced(function* ({ name, underlayPrefix }: HostOptions) {
    const built = yield* Layer.build(ModelDataplane.layer({ underlayPrefix }).pipe(Layer.provide(outside)))
    const model = Context.get(built, ModelDataplane)
    const journal = Journal.emptyMemory()
    const agent = yield* processOf(
      `agent of ${name}`,
      Agent.layer({ node: name, underlayPrefix, dataplane: "model", version: options.version }).pipe(
        Layer.provide([
          layerModel.pipe(Layer.provide(Layer.succeed(ModelDataplane, model))),
          linkTo(controller.current),
          Journal.layerMemory(journal),
          RouteDistributionClient.layerTransport({
            reflectors: reflectors.map((_, index) => reflectorAddress(index)),
            originator: name,
          }).pipe(Layer.provide(MetalbondMemory.layerHost(name))),
        ]),
        Layer.provide(outside),
      ),
    )
    const agentStatus = () => {
      const running = agent.current()
      return running === undefined ? undefined : Context.get(running.context, Agent)
    }
    return { name, underlayPrefix, model, agent, agentStatus }
  })
  const hosts = yield* Effect.forEach(options.hosts, hostOf)

  for (const process of [controller, ...reflectors, ...hosts.map(({ agent }) => agent)]) yield* process.start

  const services = Effect.suspend(() => {
    const running = controller.current()
    return running === undefined ? Effect.die(gone) : Effect.succeed(Context.merge(running.context, shared))
  })
  return {
    controller,
    reflectors,
    hosts,
    network: Context.get(shared, MetalbondMemory.MemoryNetwork),
    underlay: Context.get(shared, ModelUnderlay),
    store: Context.get(shared, ResourceStore),
    commands: Effect.map(services, (context) => Context.get(context, RegionCommands)),
    services,
  }
})
