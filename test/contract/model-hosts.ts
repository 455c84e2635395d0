/** Contract hosts of model dataplanes: spoken to directly, or over gRPC as the native ones are. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Exit, Layer, Scope } from "effect"
import type { Dataplane } from "#protocol/dataplane/Dataplane.ts"
import * as Model from "#runtime/dataplane/ModelDataplane.ts"
import { ModelUnderlay } from "#runtime/dataplane/ModelUnderlay.ts"
import * as Native from "#runtime/dataplane/NativeDataplane.ts"
import { type ContractHost, ContractHosts, NoFrame, settings } from "./dataplane-hosts.ts"
import { serveModel } from "./model-server.ts"

/** One host; needs the underlay that joins it to others. */
export const modelHost = Effect.fnUntraced(function* (
  underlayPrefix: string,
  dataplane: (
    model: Model.ModelDataplane["Service"],
  ) => Effect.Effect<Dataplane["Service"], never, Scope.Scope>,
  restart: (model: Model.ModelDataplane["Service"]) => Effect.Effect<void> = (model) => model.restart,
  macs: Readonly<Record<string, string>> = {},
) {
  const { dns4, dns6, mtu } = settings
  const model = yield* Model.make({ underlayPrefix, mtu, dns4, dns6, macs })
  return {
    dataplane: yield* dataplane(model),
    underlayPrefix,
    attach: () => Effect.void,
    send: model.inject,
    receiveUntil: (device, fits, what) =>
      Effect.gen(function* () {
        const frames = yield* model.received(device)
        const at = frames.findIndex(fits)
        if (at < 0) return yield* new NoFrame({ message: `${device}: no ${what} in ${frames.length} frames` })
        // What follows would be lost: the model is synchronous, so nothing may.
        if (at !== frames.length - 1)
          return yield* new NoFrame({
            message: `${device}: ${frames.length - 1 - at} frames after the ${what}`,
          })
        return frames
      }),
    restart: restart(model),
  } satisfies ContractHost as ContractHost
})

const deviceNames = (): (() => string) => {
  let next = 0
  return () => `vtap:fdt${next++}`
}

/** Calls go to the model directly. */
export const layerModelHosts: Layer.Layer<ContractHosts> = Layer.effect(
  ContractHosts,
  Effect.gen(function* () {
    const direct = (model: Model.ModelDataplane["Service"]) => Effect.sync(() => model.session())
    return {
      first: yield* modelHost(settings.prefixes[0], direct),
      second: yield* modelHost(settings.prefixes[1], direct),
      device: deviceNames(),
    }
  }),
).pipe(Layer.provide(ModelUnderlay.layer))

/** Calls go through `layerNative`'s session and a gRPC server in front of the model. */
export const layerServedModelHosts: Layer.Layer<ContractHosts> = Layer.effect(
  ContractHosts,
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "fdt-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
    )
    const scope = yield* Effect.scope
    const host = (name: string, prefix: string) => {
      const address = `unix:${join(folder, name)}`
      let serving: Scope.Closeable | undefined
      const serve = (model: Model.ModelDataplane["Service"]) =>
        Effect.gen(function* () {
          serving = yield* Scope.fork(scope)
          yield* Scope.provide(serveModel(model, address), serving)
        }).pipe(Effect.orDie)
      const stop = Effect.suspend(() =>
        serving === undefined ? Effect.void : Scope.close(serving, Exit.void),
      )
      return modelHost(
        prefix,
        (model) => Effect.andThen(serve(model), Native.make({ address })),
        (model) => Effect.andThen(Effect.andThen(stop, model.restart), serve(model)),
      )
    }
    return {
      first: yield* host("first", settings.prefixes[0]),
      second: yield* host("second", settings.prefixes[1]),
      device: deviceNames(),
    }
  }),
).pipe(Layer.provide(ModelUnderlay.layer))
