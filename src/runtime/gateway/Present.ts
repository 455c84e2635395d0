/**
 * Records of the store as the gateway shows them: the manifest in JSON with its resourceVersion, as kubectl would.
 */
import type { ResourceKey } from "#protocol/resource/Resource.ts"
import type { StoredRecord } from "#protocol/store/ResourceStore.ts"

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null

/** The manifest of a record, with `metadata.resourceVersion` in its place. */
export const manifestOf = (record: StoredRecord): unknown => {
  const value = record.value
  if (!isRecord(value) || !isRecord(value["metadata"])) return value
  const { apiVersion, kind, metadata, ...rest } = value
  return {
    apiVersion,
    kind,
    metadata: { ...metadata, resourceVersion: String(record.revision) },
    ...rest,
  }
}

/** As `ferrite.gateway.v1.Resource`. */
export const resourceOf = (record: StoredRecord) => ({
  key: record.key,
  uid: record.uid,
  revision: BigInt(record.revision),
  json: JSON.stringify(manifestOf(record)),
})

/** A key as the message has it. */
export const keyMessage = ({ kind, name, namespace }: ResourceKey) => ({ kind, namespace, name })
