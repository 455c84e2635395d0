/**
 * What the gateway asks of the region's actors, and what they may answer.
 *
 * The gateway decodes and validates a manifest; the one actor of that resource decides and writes. The layer
 * sends each command to the resource's partition in the cluster. Reads do not pass here: the gateway reads the
 * store. An answer is given once its change is durable; a command with an id that was answered before gets the
 * same answer again.
 */
import { Context, Effect, Option, Schema } from "effect"
import type { AppliedManifest } from "../resource/Decode.ts"
import { ResourceKey } from "../resource/Resource.ts"
import { InvalidManifest } from "../resource/Violation.ts"
import type { StoredRecord } from "../store/ResourceStore.ts"

export class NotFound extends Schema.TaggedError<NotFound>()("NotFound", { key: ResourceKey }) {}

/** The interface is attached to another node. */
export class AlreadyAttached extends Schema.TaggedError<AlreadyAttached>()("AlreadyAttached", {
  key: ResourceKey,
  node: Schema.String,
}) {}

export class NotAttached extends Schema.TaggedError<NotAttached>()("NotAttached", { key: ResourceKey }) {}

/** The resource is not what the caller thinks it is: another uid, another resourceVersion. */
export class Conflict extends Schema.TaggedError<Conflict>()("Conflict", {
  key: ResourceKey,
  reason: Schema.String,
}) {}

/** Not while these refer to it. */
export class InUse extends Schema.TaggedError<InUse>()("InUse", {
  key: ResourceKey,
  by: Schema.Array(ResourceKey),
}) {}

/** Not while the resource is being deleted. */
export class Deleting extends Schema.TaggedError<Deleting>()("Deleting", { key: ResourceKey }) {}

/** The actor's mailbox is full; the command was not taken. */
export class Busy extends Schema.TaggedError<Busy>()("Busy", { retryAfterMillis: Schema.Int }) {}

/** The region can't answer now. Whether the command was done is unknown unless it carries an id and is repeated. */
export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", {
  reason: Schema.String,
}) {}

export type CommandError =
  | InvalidManifest
  | NotFound
  | AlreadyAttached
  | NotAttached
  | Conflict
  | InUse
  | Deleting
  | Busy
  | Unavailable

/** A union of all of them, for whoever has to carry them over a wire. */
export const CommandErrorSchema = Schema.Union([
  InvalidManifest,
  NotFound,
  AlreadyAttached,
  NotAttached,
  Conflict,
  InUse,
  Deleting,
  Busy,
  Unavailable,
])

export interface CommandOptions {
  /** At most 128 bytes. Repeating a command with the same id gives the first answer. */
  readonly commandId: string | undefined
}

export interface ApplyOptions extends CommandOptions {
  /** Checked and planned, not written; the answer's record shows what would be. */
  readonly dryRun: boolean
}

/** As `apply` of the resource protocol answers. */
export type Outcome = "Created" | "Configured" | "Unchanged"

export interface Applied {
  /** Its value is a `Manifest`. */
  readonly record: StoredRecord
  readonly outcome: Outcome
}

export interface Attached {
  readonly record: StoredRecord
  /** `ironcore-net://<namespace>/<name>/<node>/<uid>` */
  readonly handle: string
}

/** Names a NetworkInterface. */
export interface InterfaceName {
  readonly namespace: string
  readonly name: string
}

export class RegionCommands extends Context.Service<
  RegionCommands,
  {
    readonly apply: (manifest: AppliedManifest, options: ApplyOptions) => Effect.Effect<Applied, CommandError>
    /** Marks for deletion. None: it is gone already, nothing held it. `uid`: refuse another one. */
    readonly delete: (
      key: ResourceKey,
      options: CommandOptions & { readonly uid: string | undefined },
    ) => Effect.Effect<Option.Option<StoredRecord>, CommandError>
    /** The same node again: the same answer. */
    readonly attach: (
      nic: InterfaceName,
      node: string,
      options: CommandOptions,
    ) => Effect.Effect<Attached, CommandError>
    readonly detach: (
      nic: InterfaceName,
      options: CommandOptions,
    ) => Effect.Effect<StoredRecord, CommandError>
  }
>()("ferrite/RegionCommands") {}
