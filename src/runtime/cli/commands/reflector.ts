/** `ferrite reflector`: distributes the routes of the hosts. */
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { failed } from "../Failure.ts"
import { runRole } from "../Role.ts"

export const reflector = Command.make(
  "reflector",
  {
    listen: Flag.String("listen").pipe(
      Flag.withMetavar("ADDRESS"),
      Flag.withDescription("Where hosts connect, [host]:port"),
      Flag.withDefault("[::1]:4711"),
    ),
    http: Flag.String("http").pipe(
      Flag.withMetavar("ADDRESS"),
      Flag.withDescription("Status and metrics, [host]:port (as [::1]:4712; default: none)"),
      Flag.optional,
    ),
  },
  Effect.fnUntraced(function* ({ http, listen }) {
    const { layer } = yield* Effect.promise(() => import("../../metalbond/Reflector.ts"))
    return yield* runRole(layer({ listen, http: Option.getOrUndefined(http) })).pipe(
      Effect.mapError((error) => failed(`the reflector can't start: ${error.message}`)),
    )
  }),
).pipe(
  Command.withDescription("Run a route reflector (metalbond)"),
  Command.withExamples([
    {
      command: "ferrite reflector --listen '[::1]:4711' --http '[::1]:4712'",
      description: "With its status page",
    },
  ]),
)
