/** A region without actors, for tests of the gateway: commands go straight to a memory store. */
import { Effect, Layer, Option, Result } from "effect"
import {
  AlreadyAttached,
  NotAttached,
  NotFound,
  RegionCommands,
  Unavailable,
} from "#protocol/gateway/RegionCommands.ts"
import * as Apply from "#protocol/resource/Apply.ts"
import { kindOf } from "#protocol/resource/Kinds.ts"
import { formatProviderId, nodeOf } from "#protocol/resource/ProviderId.ts"
import type { Manifest, ResourceKey } from "#protocol/resource/Resource.ts"
import { ResourceStore, type StoredRecord } from "#protocol/store/ResourceStore.ts"

const nowMicros = 1_700_000_000_000_000

export const layerFake = Layer.effect(
  RegionCommands,
  Effect.gen(function* () {
    const store = yield* ResourceStore
    let uids = 0

    const write = (key: ResourceKey, uid: string, manifest: Manifest) =>
      Effect.gen(function* () {
        yield* store.commit({
          writes: [
            {
              _tag: "Put",
              key,
              uid,
              labels: manifest.metadata.labels ?? {},
              references: kindOf(key.kind)?.references(manifest) ?? [],
              value: manifest,
            },
          ],
          events: [{ about: key, type: "Normal", reason: "Applied", message: "by the test" }],
        })
        return Option.getOrThrow(yield* store.get(key))
      }).pipe(Effect.mapError((error) => new Unavailable({ reason: error._tag })))

    const read = (key: ResourceKey) =>
      Effect.mapError(store.get(key), (error) => new Unavailable({ reason: error.reason }))

    const nic = Effect.fnUntraced(function* (namespace: string, name: string) {
      const key: ResourceKey = { kind: "NetworkInterface", namespace, name }
      const record = yield* read(key)
      if (Option.isNone(record)) return yield* new NotFound({ key })
      const manifest = record.value.value as Manifest & { readonly spec: { readonly providerID?: string } }
      return { key, record: record.value, manifest, node: nodeOf(manifest.spec.providerID) }
    })

    const bind = (record: StoredRecord, manifest: Manifest, providerID: string | undefined) => {
      const { providerID: _before, ...spec } = manifest.spec as Record<string, unknown>
      return write(record.key, record.uid, {
        ...manifest,
        spec: providerID === undefined ? spec : { ...spec, providerID },
      })
    }

    return RegionCommands.of({
      apply: (applied, options) =>
        Effect.gen(function* () {
          if (applied.key.name === "silent") return yield* Effect.never
          const present = yield* read(applied.key)
          const stored = Option.map(present, (record) => record.value as Manifest)
          const result = Apply.apply(Option.getOrUndefined(stored), applied, nowMicros, `uid-${++uids}`)
          if (Result.isFailure(result)) return yield* result.failure
          const { manifest, outcome } = result.success
          const uid = manifest.metadata.uid
          if (!options.dryRun) {
            return { record: yield* write(applied.key, uid, manifest), outcome }
          }
          const record: StoredRecord = {
            key: applied.key,
            uid,
            revision: Option.match(present, { onNone: () => 0, onSome: ({ revision }) => revision }),
            labels: manifest.metadata.labels ?? {},
            references: [],
            value: manifest,
          }
          return { record, outcome }
        }),
      delete: (key) =>
        Effect.gen(function* () {
          if (Option.isNone(yield* read(key))) return yield* new NotFound({ key })
          yield* Effect.orDie(store.commit({ writes: [{ _tag: "Remove", key }] }))
          return Option.none()
        }),
      attach: ({ name, namespace }, node) =>
        Effect.gen(function* () {
          const { key, manifest, node: present, record } = yield* nic(namespace, name)
          if (present !== undefined && present !== node)
            return yield* new AlreadyAttached({ key, node: present })
          const handle = formatProviderId({ namespace, name, id: node, uid: record.uid })
          return { record: yield* bind(record, manifest, handle), handle }
        }),
      detach: ({ name, namespace }) =>
        Effect.gen(function* () {
          const { key, manifest, node, record } = yield* nic(namespace, name)
          if (node === undefined) return yield* new NotAttached({ key })
          return yield* bind(record, manifest, undefined)
        }),
    })
  }),
)
