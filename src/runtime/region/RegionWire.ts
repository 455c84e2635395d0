/**
 * The region's commands as the cluster carries them: JSON with a tag there, `RegionCommand` and `CommandError` here.
 */
import { Effect, Schema } from "effect"
import * as Commands from "#protocol/gateway/RegionCommands.ts"
import { RegionCommand, RegionReply } from "#protocol/region/RegionCommand.ts"
import { kinds } from "#protocol/resource/Kinds.ts"
import type { ResourceKey } from "#protocol/resource/Resource.ts"
import { type AskError, CommandRefused, RegionUnavailable, type TaggedJson } from "../cluster/Partition.ts"
import type { Region } from "../cluster/Region.ts"
import type { Behaviour } from "../cluster/RegionActors.ts"
import type { RegionBehaviour } from "./RegionActors.ts"

const encodeError = Schema.encodeSync(Schema.toCodecJson(Commands.CommandErrorSchema))
const decodeError = Schema.decodeUnknownEffect(Schema.toCodecJson(Commands.CommandErrorSchema))
const decodeCommand = Schema.decodeUnknownEffect(RegionCommand)
const decodeReply = Schema.decodeUnknownEffect(RegionReply)

const toWire = ({ _tag, ...rest }: RegionCommand): TaggedJson => ({ tag: _tag, ...rest }) as TaggedJson

const fromWire = ({ tag, ...rest }: TaggedJson) => decodeCommand({ _tag: tag, ...rest })

const behaviourOf = ({ handle, look }: RegionBehaviour["Service"]): Behaviour => ({
  handle: Effect.fnUntraced(function* (key, json, commandId) {
    // A command that does not decode was made by a controller of another version.
    const command = yield* Effect.mapError(
      fromWire(json),
      ({ message }) => new CommandRefused({ refusal: { tag: "UnknownCommand", message } }),
    )
    return yield* Effect.mapError(handle(key, command, commandId), (error) =>
      error._tag === "Unavailable"
        ? new RegionUnavailable({ reason: error.reason })
        : new CommandRefused({ refusal: { tag: error._tag, error: encodeError(error) as Schema.Json } }),
    )
  }) as Behaviour["handle"],
  look: (key) => Effect.mapError(look(key), ({ reason }) => new RegionUnavailable({ reason })),
})

/** The same behaviour for every kind: it looks at the key. */
export const tableOf = (behaviour: RegionBehaviour["Service"]): Readonly<Record<string, Behaviour>> =>
  Object.fromEntries(kinds.map(({ kind }) => [kind, behaviourOf(behaviour)]))

const refusalOf = (error: AskError): Effect.Effect<never, Commands.CommandError> => {
  switch (error._tag) {
    case "CommandRefused":
      return Effect.matchEffect(decodeError(error.refusal["error"]), {
        onFailure: () => Effect.fail(new Commands.Unavailable({ reason: `refused: ${error.refusal.tag}` })),
        onSuccess: (decoded) => Effect.fail(decoded),
      })
    case "RegionUnavailable":
      return Effect.fail(new Commands.Unavailable({ reason: error.reason }))
    case "Busy":
      return Effect.fail(new Commands.Busy({ retryAfterMillis: error.retryAfterMillis }))
    case "ActorStopped":
    case "ActorFailed":
      return Effect.fail(
        new Commands.Unavailable({ reason: `${error.actor} failed and is restarted; see its events` }),
      )
  }
}

export type Ask = (
  key: ResourceKey,
  command: RegionCommand,
  commandId: string | undefined,
) => Effect.Effect<RegionReply, Commands.CommandError>

export const askOf =
  (region: Region["Service"]): Ask =>
  (key, command, commandId) =>
    region.ask(key, toWire(command), commandId === undefined ? {} : { commandId }).pipe(
      Effect.catch(refusalOf),
      Effect.flatMap((reply) =>
        Effect.mapError(decodeReply(reply), ({ message }) => new Commands.Unavailable({ reason: message })),
      ),
    )
