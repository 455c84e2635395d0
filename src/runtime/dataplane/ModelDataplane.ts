/**
 * The model as a process: something that starts with a uuid, holds tables, has ports, and can crash.
 *
 * `ModelDataplane` is that process and outlives the sessions that speak to it; `layerModel` is one session, a
 * `Dataplane` like the native one: after a restart its calls fail with `DataplaneGone` until it connects again.
 * Packets go in with `inject`, and what a port sends waits in `received`, unless an endpoint is plugged in.
 */
import { Clock, Context, Effect, HashMap, Layer, Random } from "effect"
import {
  Dataplane,
  type DataplaneError,
  DataplaneGone,
  DataplaneProtocolError,
  type DataplaneState,
  type Operation,
  type OperationResult,
} from "#protocol/dataplane/Dataplane.ts"
import type { Bytes } from "#protocol/dataplane/model/bytes.ts"
import {
  listInterfaces,
  listRoutes,
  listServices,
  messageOf,
  operate,
} from "#protocol/dataplane/model/control.ts"
import { type Input, step } from "#protocol/dataplane/model/pipeline.ts"
import { initial, limits, type ModelConfig, type ModelState } from "#protocol/dataplane/model/tables.ts"
import { uidFrom } from "#protocol/Ids.ts"
import { ModelUnderlay } from "./ModelUnderlay.ts"

export interface ModelOptions {
  /** /64, CIDR text; no two hosts of one underlay have the same. */
  readonly underlayPrefix: string
  /** Bytes of an IP packet. Default 1,500. */
  readonly mtu?: number
  readonly dns4?: ReadonlyArray<string>
  readonly dns6?: ReadonlyArray<string>
  /** Ports given at start: NAME -> KIND:DEVICE. */
  readonly ports?: Readonly<Record<string, string>>
  /** MACs of the gateway, by KIND:DEVICE; others have one derived from their device. */
  readonly macs?: Readonly<Record<string, string>>
  /** Default 1,048,576. */
  readonly routeCapacity?: number
  /** Seed, flow times and limits, virtual services: as of the state, with its defaults. */
  readonly packets?: Pick<
    ModelConfig,
    "seed" | "flowTimeout" | "flowLimit" | "flowRate" | "uplink" | "firewallDefault" | "services"
  >
}

/** Who is plugged into a port: takes a frame, answers with frames. */
export type Endpoint = (frame: Bytes) => ReadonlyArray<Bytes>

/** Frames that wait on a port that nobody reads; the oldest go first. */
const maxWaiting = 4_096

export class ModelDataplane extends Context.Service<
  ModelDataplane,
  {
    /** One session with this process. */
    readonly session: () => Dataplane["Service"]
    /** The VM on a device sends a frame. All that it causes has happened when this returns. */
    readonly inject: (device: string, frame: Bytes) => Effect.Effect<void>
    /** Takes the frames that the VM on a device was sent since the last call. */
    readonly received: (device: string) => Effect.Effect<ReadonlyArray<Bytes>>
    /** Gives the frames of a device to an endpoint, or with `undefined` back to `received`. */
    readonly plug: (device: string, endpoint: Endpoint | undefined) => Effect.Effect<void>
    /** An IPv6 packet arrives on the uplink, from wherever. */
    readonly injectUnderlay: (packet: Bytes) => Effect.Effect<void>
    /** The process ends, with all that it held; calls fail until `restart`. */
    readonly crash: Effect.Effect<void>
    /** Crashes, if it runs, and starts again, empty and with another uuid. */
    readonly restart: Effect.Effect<void>
    /** Crashes in the midst of `apply`, when so many more operations are done. */
    readonly crashAfter: (operations: number) => Effect.Effect<void>
    /** Lets operations fail with a status code before they are tried. `undefined` from it: not this one. */
    readonly refuse: (rule: ((operation: Operation) => number | undefined) | undefined) => Effect.Effect<void>
    /** The tables as they are; for invariants. `undefined`: not running. */
    readonly snapshot: Effect.Effect<ModelState | undefined>
  }
>()("ferrite/ModelDataplane") {
  static readonly layer = (options: ModelOptions): Layer.Layer<ModelDataplane, never, ModelUnderlay> =>
    Layer.effect(ModelDataplane, make(options))
}

/** A started process. Its randomness is one uuid per start. */
export const make = Effect.fn("ModelDataplane.make")(function* (options: ModelOptions) {
  const underlay = yield* ModelUnderlay
  const random = yield* Random.Random
  const clock = yield* Clock.Clock

  const start = (): ModelState =>
    initial({
      uuid: uidFrom(random).toUpperCase(),
      underlayPrefix: options.underlayPrefix,
      mtu: options.mtu ?? 1_500,
      dns4: (options.dns4 ?? []).slice(0, limits.dns),
      dns6: (options.dns6 ?? []).slice(0, limits.dns),
      ports: new Map(Object.entries(options.ports ?? {})),
      macs: new Map(Object.entries(options.macs ?? {})),
      version: "model",
      routeCapacity: options.routeCapacity ?? limits.routes,
      ...options.packets,
    })

  let state: ModelState | undefined = start()
  let refusal: ((operation: Operation) => number | undefined) | undefined
  let remaining = Number.POSITIVE_INFINITY
  const waiting = new Map<string, Array<Bytes>>()
  const endpoints = new Map<string, Endpoint>()
  /** NAME of a port given at start, or the device itself. */
  const opened = (device: string): string => options.ports?.[device] ?? device

  const deliver = (device: string, frame: Bytes): void => {
    const endpoint = endpoints.get(device)
    if (endpoint === undefined) {
      const frames = waiting.get(device) ?? []
      frames.push(frame)
      if (frames.length > maxWaiting) frames.shift()
      waiting.set(device, frames)
    } else
      underlay.run(() =>
        endpoint(frame).forEach((answer) => feed({ _tag: "FromPort", device, frame: answer })),
      )
  }

  const feed = (input: Input): void =>
    underlay.run(() => {
      if (state === undefined) return
      const next = step(state, input, clock.currentTimeMillisUnsafe())
      state = next.state
      for (const output of next.outputs) {
        if (output._tag === "ToPort") deliver(output.device, output.frame)
        else underlay.send(options.underlayPrefix, output.packet)
      }
    })
  underlay.attach(options.underlayPrefix, (packet) => feed({ _tag: "FromUnderlay", packet }))

  const session = (): Dataplane["Service"] => {
    let uuid: string | undefined
    const running = Effect.suspend(() => {
      if (state === undefined) return Effect.fail(new DataplaneGone({ reason: "the process is not running" }))
      if (uuid === undefined) return Effect.fail(new DataplaneGone({ reason: "not connected" }))
      if (uuid !== state.config.uuid)
        return Effect.fail(new DataplaneGone({ reason: "the process restarted" }))
      return Effect.succeed(state)
    })
    return {
      connect: Effect.suspend(() => {
        if (state === undefined)
          return Effect.fail(new DataplaneGone({ reason: "the process is not running" }))
        state = { ...state, initialized: true }
        uuid = state.config.uuid
        return Effect.succeed(summary(state))
      }),
      apply: (operations) =>
        Effect.flatMap(running, (): Effect.Effect<ReadonlyArray<OperationResult>, DataplaneError> =>
          operations.length > limits.operations
            ? Effect.fail(new DataplaneProtocolError({ reason: `more than ${limits.operations} operations` }))
            : applyAll(operations),
        ),
      listAll: Effect.map(running, (now) => ({
        interfaces: listInterfaces(now),
        routes: listRoutes(now),
        ...listServices(now),
        state: summary(now),
      })),
      state: Effect.map(running, summary),
      counters: Effect.map(
        running,
        (now) => new Map(HashMap.toEntries(now.counters).sort(([a], [b]) => (a < b ? -1 : 1))),
      ),
    }
  }

  const applyAll = (
    operations: ReadonlyArray<Operation>,
  ): Effect.Effect<ReadonlyArray<OperationResult>, DataplaneGone> =>
    Effect.suspend(() => {
      const results: Array<OperationResult> = []
      for (const operation of operations) {
        if (remaining-- <= 0) {
          state = undefined
          remaining = Number.POSITIVE_INFINITY
        }
        if (state === undefined)
          return Effect.fail(new DataplaneGone({ reason: "the process ended in the midst of a batch" }))
        const code = refusal?.(operation)
        if (code !== undefined) {
          results.push({ code, message: messageOf(code) })
          continue
        }
        const next = operate(state, operation)
        state = next.state
        results.push(next.result)
      }
      return Effect.succeed(results)
    })

  const crash = Effect.sync(() => {
    state = undefined
    waiting.clear()
  })

  return ModelDataplane.of({
    session,
    inject: (device, frame) => Effect.sync(() => feed({ _tag: "FromPort", device: opened(device), frame })),
    injectUnderlay: (packet) => Effect.sync(() => feed({ _tag: "FromUnderlay", packet })),
    received: (device) =>
      Effect.sync(() => {
        const frames = waiting.get(opened(device)) ?? []
        waiting.delete(opened(device))
        return frames
      }),
    plug: (device, endpoint) =>
      Effect.sync(() => {
        if (endpoint === undefined) endpoints.delete(opened(device))
        else endpoints.set(opened(device), endpoint)
      }),
    crash,
    restart: Effect.andThen(
      crash,
      Effect.sync(() => {
        state = start()
      }),
    ),
    crashAfter: (operations) =>
      Effect.sync(() => {
        remaining = operations
      }),
    refuse: (rule) =>
      Effect.sync(() => {
        refusal = rule
      }),
    snapshot: Effect.sync(() => state),
  })
})

const summary = (state: ModelState): DataplaneState => ({
  uuid: state.config.uuid,
  initialized: state.initialized,
  digest: state.digest,
  underlayPrefix: state.config.underlayPrefix,
  version: state.config.version,
})

/** A session with the model process in the context. */
export const layerModel: Layer.Layer<Dataplane, never, ModelDataplane> = Layer.effect(
  Dataplane,
  Effect.map(ModelDataplane, (model) => model.session()),
)
