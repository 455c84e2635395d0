/**
 * A partition: the part of a region's actors that lives on one controller, as one entity of `effect/cluster`.
 * There are 256 per region, for ever: the number decides where a resource's actor is, so it never changes. The
 * cluster places partitions over controllers and routes to them; in each, every actor is a light cell.
 *
 * Messages are volatile and may arrive twice after a controller died. `Ask` therefore carries a command id, and a
 * command whose result is in the store is answered from there.
 *
 * What a message means is not known here: commands, replies and refusals are JSON objects with a `tag`.
 */
import { Hash, Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { formatKey, ResourceKey } from "#protocol/resource/Resource.ts"
import { canonicalJson } from "../store/CanonicalJson.ts"
import { ActorError } from "../supervision/ActorError.ts"

export const partitions = 256

/** JSON with a name: a command, or why one was refused. */
export const TaggedJson = Schema.StructWithRest(Schema.Struct({ tag: Schema.String }), [
  Schema.Record(Schema.String, Schema.Json),
])
export type TaggedJson = typeof TaggedJson.Type

/** The actor understood the command and says no. `refusal` is between the actor and whoever asks. */
export class CommandRefused extends Schema.TaggedError<CommandRefused>()("CommandRefused", {
  refusal: TaggedJson,
}) {}

/** The region can't answer now; whether the command was done is unknown. Ask again with the same command id. */
export class RegionUnavailable extends Schema.TaggedError<RegionUnavailable>()("RegionUnavailable", {
  reason: Schema.String,
}) {}

export const AskError = Schema.Union([CommandRefused, RegionUnavailable, ActorError])
export type AskError = typeof AskError.Type

/** A command on its way to the actor of a key. */
export const AskPayload = Schema.Struct({
  key: ResourceKey,
  /** At most 128 characters; unique for this command to this key. */
  commandId: Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(128)),
  command: TaggedJson,
})
export type AskPayload = typeof AskPayload.Type

/** Keys in one `Hint`. */
export const maxHints = 4_096

export const Ask = Rpc.make("Ask", { payload: AskPayload, success: Schema.Json, error: AskError })
export const Hint = Rpc.make("Hint", {
  payload: { keys: Schema.Array(ResourceKey).check(Schema.isMaxLength(maxHints)) },
})

export const Partition = Entity.make("Partition", [Ask, Hint])

/** FNV-1a, 32 bit, over the UTF-8 bytes of `kind/namespace/name`. */
export const partitionOf = (key: ResourceKey): number => {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(formatKey(key))) hash = Math.imul(hash ^ byte, 0x01000193)
  return (hash >>> 0) % partitions
}

export const entityIdOf = (partition: number): string => `partition-${partition}`

/** The number in an entity id; undefined for ids that no controller makes. */
export const partitionFrom = (entityId: string): number | undefined => {
  const digits = /^partition-(\d{1,3})$/.exec(entityId)?.[1]
  return digits === undefined || Number(digits) >= partitions ? undefined : Number(digits)
}

/**
 * Command ids are the caller's; two resources may be asked with the same one. What the command says is part of its
 * name: another command under an id that was used is another command, and not answered with what the first one did.
 */
export const scopedCommandId = (key: ResourceKey, commandId: string, command: TaggedJson): string =>
  `${formatKey(key)}#${commandId}#${command.tag}-${(Hash.string(canonicalJson(command)) >>> 0).toString(36)}`
