/**
 * Node, `ferrite.dev/v1alpha1`: one hypervisor, cluster scoped. Its agent's first Hello creates it.
 *
 * The lease of its session is kept in memory by whoever serves it; only `Ready` and `Lost` are written.
 */
import { Schema } from "effect"
import { ageColumn, defineKind, nameColumn, stateColumn } from "./Kind.ts"
import { dnsLabelProblem } from "./Names.ts"
import { Condition, Metadata, type ResourceKey } from "./Resource.ts"
import { IpPrefix } from "./Values.ts"

export const nodeKind = "Node"
/** Held while the node's agent is connected: its interfaces exist as long as it does. */
export const nodeFinalizer = "ferrite.dev/node"

export const nodeKey = (name: string): ResourceKey => ({ kind: nodeKind, namespace: "", name })

export const NodeSpec = Schema.Struct({
  /** Nothing is placed here by itself; what is attached by name still is. */
  unschedulable: Schema.optionalKey(Schema.Boolean),
})
export type NodeSpec = typeof NodeSpec.Type

export const NodeStatus = Schema.Struct({
  /** `Pending`: no agent has come yet. `Lost`: its lease has ended. */
  state: Schema.optionalKey(Schema.Literals(["Pending", "Ready", "Lost"])),
  conditions: Schema.optionalKey(Schema.Array(Condition)),
  underlayPrefix: Schema.optionalKey(IpPrefix),
  /** native or model. */
  dataplane: Schema.optionalKey(Schema.String),
  version: Schema.optionalKey(Schema.String),
  /** Of the agent's process. */
  instance: Schema.optionalKey(Schema.String),
})
export type NodeStatus = typeof NodeStatus.Type

export const Node = Schema.Struct({
  apiVersion: Schema.Literal("ferrite.dev/v1alpha1"),
  kind: Schema.Literal("Node"),
  metadata: Metadata,
  spec: NodeSpec,
  status: Schema.optionalKey(NodeStatus),
})
export type Node = typeof Node.Type

export const NodeKind = defineKind<NodeSpec, Node>({
  kind: nodeKind,
  apiVersion: "ferrite.dev/v1alpha1",
  plural: "nodes",
  singular: "node",
  shortNames: ["no"],
  namespaced: false,
  nameProblem: dnsLabelProblem,
  spec: NodeSpec,
  manifest: Node,
  defaults: () => {},
  rules: () => {},
  immutable: () => {},
  keptFields: [],
  initialStatus: { state: "Pending" },
  references: () => [],

  columns: [
    nameColumn,
    stateColumn,
    { name: "UNDERLAY", wide: false, value: ({ status }) => status?.underlayPrefix ?? "<none>" },
    { name: "DATAPLANE", wide: false, value: ({ status }) => status?.dataplane ?? "<none>" },
    ageColumn,
    { name: "VERSION", wide: true, value: ({ status }) => status?.version ?? "<none>" },
    { name: "INSTANCE", wide: true, value: ({ status }) => status?.instance ?? "<none>" },
    { name: "SCHEDULABLE", wide: true, value: ({ spec }) => String(spec.unschedulable !== true) },
  ],
})
