/**
 * `RegionCommands` on the cluster: a command goes to the resource's actor, then the resource is read from the store,
 * which by then may be further than the command left it.
 */
import { Effect, Layer, Option } from "effect"
import * as Commands from "#protocol/gateway/RegionCommands.ts"
import { type NetworkInterface, networkInterfaceKey } from "#protocol/resource/NetworkInterface.ts"
import { references } from "#protocol/resource/Kinds.ts"
import type { Manifest, ResourceKey } from "#protocol/resource/Resource.ts"
import { ResourceStore, type StoredRecord } from "#protocol/store/ResourceStore.ts"
import { Region } from "../cluster/Region.ts"
import { askOf } from "./RegionWire.ts"

/** A dry run's manifest in the form of a record; its revision is that of what is stored, or 0. */
const plannedRecord = (
  key: ResourceKey,
  planned: unknown,
  stored: StoredRecord | undefined,
): StoredRecord => {
  const manifest = planned as Manifest
  return {
    key,
    uid: manifest.metadata.uid,
    revision: stored?.revision ?? 0,
    labels: manifest.metadata.labels ?? {},
    references: references(manifest),
    value: manifest,
  }
}

const make = Effect.gen(function* () {
  const ask = askOf(yield* Region)
  const store = yield* ResourceStore

  const read = (key: ResourceKey) =>
    Effect.mapError(store.get(key), ({ reason }) => new Commands.Unavailable({ reason }))

  const present = Effect.fnUntraced(function* (key: ResourceKey) {
    const record = yield* read(key)
    // It was there a moment ago: someone deleted it meanwhile.
    if (Option.isNone(record)) return yield* new Commands.NotFound({ key })
    return record.value
  })

  return Commands.RegionCommands.of({
    apply: Effect.fn("RegionCommands.apply")(function* (manifest, { commandId, dryRun }) {
      const { apiVersion, key, labels, annotations, spec, uid, resourceVersion } = manifest
      const reply = yield* ask(
        key,
        {
          _tag: "Apply",
          apiVersion,
          labels,
          annotations,
          spec,
          dryRun,
          ...(uid === undefined ? {} : { uid }),
          ...(resourceVersion === undefined ? {} : { resourceVersion }),
        },
        commandId,
      )
      const outcome = reply.outcome ?? "Unchanged"
      if (!dryRun) return { record: yield* present(key), outcome }
      return { record: plannedRecord(key, reply.planned, Option.getOrUndefined(yield* read(key))), outcome }
    }),
    delete: Effect.fn("RegionCommands.delete")(function* (key, { commandId, uid }) {
      yield* ask(key, { _tag: "Delete", ...(uid === undefined ? {} : { uid }) }, commandId)
      return yield* read(key)
    }),
    attach: Effect.fn("RegionCommands.attach")(function* (nic, node, { commandId }) {
      const key = networkInterfaceKey(nic)
      yield* ask(key, { _tag: "Attach", node }, commandId)
      const record = yield* present(key)
      return { record, handle: (record.value as NetworkInterface).spec.providerID ?? "" }
    }),
    detach: Effect.fn("RegionCommands.detach")(function* (nic, { commandId }) {
      const key = networkInterfaceKey(nic)
      yield* ask(key, { _tag: "Detach" }, commandId)
      return yield* present(key)
    }),
  })
})

export const layer: Layer.Layer<Commands.RegionCommands, never, Region | ResourceStore> = Layer.effect(
  Commands.RegionCommands,
  make,
)
