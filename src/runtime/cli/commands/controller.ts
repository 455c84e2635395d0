/** `ferrite controller`: decides for the region; serves users and agents. */
import { Effect, Layer, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { mkdirSync } from "node:fs"
import { dirname } from "node:path"
import { failed } from "../Failure.ts"
import { defaultGateway, repository } from "../Region.ts"
import { runRole } from "../Role.ts"

export const controller = Command.make(
  "controller",
  {
    listen: Flag.String("listen").pipe(
      Flag.withMetavar("ADDRESS"),
      Flag.withDescription("For users and agents, host:port or unix:/path"),
      Flag.withDefault(defaultGateway),
    ),
    store: Flag.String("store").pipe(
      Flag.withMetavar("PATH"),
      Flag.withDescription("File of the region's store, or `memory` to forget it all at the end"),
      Flag.withDefault(`${repository}/.ferrite/region.db`),
    ),
    metrics: Flag.String("metrics").pipe(
      Flag.withMetavar("ADDRESS"),
      Flag.withDescription("Prometheus metrics over HTTP, host:port (default: none)"),
      Flag.optional,
    ),
  },
  Effect.fnUntraced(function* ({ listen, metrics, store }) {
    const Controller = yield* Effect.promise(() => import("../../Controller.ts"))
    const Metrics = yield* Effect.promise(() => import("../../telemetry/Metrics.ts"))
    if (store !== "memory") mkdirSync(dirname(store), { recursive: true })
    const region = Controller.layer({ listen, store: store === "memory" ? undefined : store })
    const served = Option.match(metrics, { onNone: () => Layer.empty, onSome: Metrics.layer })
    return yield* runRole(Layer.mergeAll(region, served)).pipe(
      Effect.mapError((error) => failed(`the controller can't start: ${error.message}`)),
    )
  }),
).pipe(
  Command.withDescription("Run a controller: the region's actors, its gateway, its node service"),
  Command.withExamples([
    { command: "ferrite controller", description: "On the default port, with the store in .ferrite" },
    { command: "ferrite controller --store memory --listen 127.0.0.1:0", description: "For a try" },
  ]),
)
