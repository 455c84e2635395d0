/**
 * What a region actor is told, in the form in which it travels to the resource's partition. The key of the resource
 * is the address, not a part of the message. Replies and errors are those of `RegionCommands`.
 */
import { Schema } from "effect"

const StringMap = Schema.Record(Schema.String, Schema.String)

/** A checked and defaulted manifest (`AppliedManifest` without its key). */
export const Apply = Schema.TaggedStruct("Apply", {
  apiVersion: Schema.String,
  labels: StringMap,
  annotations: StringMap,
  spec: Schema.Unknown,
  uid: Schema.optionalKey(Schema.String),
  resourceVersion: Schema.optionalKey(Schema.String),
  dryRun: Schema.Boolean,
})
export type Apply = typeof Apply.Type

export const Delete = Schema.TaggedStruct("Delete", { uid: Schema.optionalKey(Schema.String) })

/** To a NetworkInterface. */
export const Attach = Schema.TaggedStruct("Attach", { node: Schema.String })

export const Detach = Schema.TaggedStruct("Detach", {})

/** To a Node: its agent is here. Makes the Node where there is none. */
export const NodeHello = Schema.TaggedStruct("NodeHello", {
  underlayPrefix: Schema.String,
  dataplane: Schema.String,
  version: Schema.String,
  instance: Schema.String,
})
export type NodeHello = typeof NodeHello.Type

export const RegionCommand = Schema.Union([Apply, Delete, Attach, Detach, NodeHello])
export type RegionCommand = typeof RegionCommand.Type

/**
 * What the actor answers. The resource itself is read from the store, where it may be further already.
 * `planned`: of a dry run, the manifest as it would be stored.
 */
export const RegionReply = Schema.Struct({
  outcome: Schema.optionalKey(Schema.Literals(["Created", "Configured", "Unchanged"])),
  planned: Schema.optionalKey(Schema.Unknown),
})
export type RegionReply = typeof RegionReply.Type
