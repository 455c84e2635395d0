/** `ferrite agent`: keeps one hypervisor's dataplane as the region wants it. */
import { Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { mkdirSync } from "node:fs"
import { dirname } from "node:path"
import { failed, misused } from "../Failure.ts"
import { defaultGateway, repository } from "../Region.ts"
import { runRole } from "../Role.ts"
import { version } from "../Version.ts"

export const agent = Command.make(
  "agent",
  {
    node: Flag.String("node").pipe(
      Flag.withMetavar("NAME"),
      Flag.withDescription("This hypervisor's name in the region"),
    ),
    underlay: Flag.String("underlay").pipe(
      Flag.withMetavar("PREFIX"),
      Flag.withDescription("Underlay prefix of its dataplane, as fd00:f:1::/64"),
    ),
    controllers: Flag.String("controller").pipe(
      Flag.withMetavar("ADDRESS"),
      Flag.withDescription(`A controller, host:port; may be repeated (default: ${defaultGateway})`),
      Flag.atLeast(0),
    ),
    reflectors: Flag.String("reflector").pipe(
      Flag.withMetavar("ADDRESS"),
      Flag.withDescription("A route reflector, [host]:port; may be repeated (default: [::1]:4711)"),
      Flag.atLeast(0),
    ),
    dataplane: Flag.String("dataplane").pipe(
      Flag.withMetavar("ADDRESS"),
      Flag.withDescription("Its dataplane, host:port or unix:/path"),
      Flag.withDefault("127.0.0.1:1337"),
    ),
    journal: Flag.String("journal").pipe(
      Flag.withMetavar("PATH"),
      Flag.withDescription("What it remembers over a restart (default: in .ferrite)"),
      Flag.withDefault(""),
    ),
  },
  Effect.fnUntraced(function* ({ controllers, dataplane, journal, node, reflectors, underlay }) {
    if (reflectors.length > 16) return yield* misused("at most 16 reflectors")
    const Hypervisor = yield* Effect.promise(() => import("../../Hypervisor.ts"))
    const path = journal === "" ? `${repository}/.ferrite/agent-${node}.db` : journal
    mkdirSync(dirname(path), { recursive: true })
    const [first = defaultGateway, ...others] = controllers
    const layer = Hypervisor.layer({
      node,
      controllers: [first, ...others],
      reflectors: reflectors.length === 0 ? ["[::1]:4711"] : reflectors,
      dataplane,
      underlayPrefix: underlay,
      journal: path,
      version,
    })
    return yield* runRole(layer).pipe(
      Effect.mapError((error) => failed(`the agent can't start: ${error.message}`)),
    )
  }),
).pipe(
  Command.withDescription("Run the agent of one hypervisor, beside its dataplane"),
  Command.withExamples([
    {
      command:
        "ferrite agent --node host-1 --underlay fd00:f:1::/64 --dataplane unix:/run/ferrite/dataplane.sock",
      description: "With controller and reflector on this machine",
    },
  ]),
)
