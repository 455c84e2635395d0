/**
 * What every resource of the region has in common: its key, its metadata, and the shape in which it is kept.
 *
 * A kind (Network, NetworkInterface, Node, …) lives in a file of its own beside this one and adds schema,
 * defaults, validation and references. Nothing here knows a kind.
 */
import { Schema } from "effect"

/** Names a resource. `namespace` is empty for kinds that have none. */
export interface ResourceKey {
  readonly kind: string
  readonly namespace: string
  readonly name: string
}

export const ResourceKey = Schema.Struct({
  kind: Schema.String,
  namespace: Schema.String,
  name: Schema.String,
})

/** `kind/namespace/name`: unique, sortable, safe because none of the parts may hold a slash. */
export const formatKey = (key: ResourceKey): string => `${key.kind}/${key.namespace}/${key.name}`

export const parseKey = (text: string): ResourceKey => {
  const [kind = "", namespace = "", ...name] = text.split("/")
  return { kind, namespace, name: name.join("/") }
}

export const compareKeys = (a: ResourceKey, b: ResourceKey): number => {
  const left = formatKey(a)
  const right = formatKey(b)
  return left < right ? -1 : left > right ? 1 : 0
}

/** Kubernetes object metadata, the part that Ferrite keeps. Times are RFC 3339 with seconds. */
export const Metadata = Schema.Struct({
  name: Schema.String,
  namespace: Schema.optionalKey(Schema.String),
  uid: Schema.String,
  /** Counts changes of spec, from 1. */
  generation: Schema.Int,
  creationTimestamp: Schema.String,
  deletionTimestamp: Schema.optionalKey(Schema.String),
  labels: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
  annotations: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
  finalizers: Schema.optionalKey(Schema.Array(Schema.String)),
})
export type Metadata = typeof Metadata.Type

/** `metav1.Condition`: why a resource is in its state. `reason` is CamelCase and stable, `message` is for people. */
export const Condition = Schema.Struct({
  type: Schema.String,
  status: Schema.Literals(["True", "False", "Unknown"]),
  reason: Schema.String,
  message: Schema.String,
  observedGeneration: Schema.optionalKey(Schema.Int),
  lastTransitionTime: Schema.String,
})
export type Condition = typeof Condition.Type

/** A manifest as it is kept: decoded and defaulted, without `metadata.resourceVersion`, which is the store's. */
export interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: Metadata
  readonly spec?: unknown
  readonly status?: unknown
}
