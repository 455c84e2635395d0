/** `ferrite demo`: a region on this machine, from nothing to packets. */
import { Console, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { misused } from "../Failure.ts"

export const demo = Command.make(
  "demo",
  {
    exit: Flag.Boolean("exit").pipe(
      Flag.withDescription("End after the show, with status 0 where all of it was good"),
      Flag.withDefault(false),
    ),
    underlay: Flag.Literals("underlay", ["wire", "veth"]).pipe(
      Flag.withDescription("Between hypervisors: shared memory, or real frames on a bridge"),
      Flag.withDefault("wire" as const),
    ),
    dataplane: Flag.Literals("dataplane", ["native", "model"]).pipe(
      Flag.withDescription(
        "The native engine (needs root), or the model in TypeScript (default without root)",
      ),
      Flag.optional,
    ),
    hosts: Flag.Int("hosts").pipe(Flag.withDescription("Hypervisors, 2 to 16"), Flag.withDefault(2)),
  },
  Effect.fnUntraced(function* ({ dataplane, exit, hosts, underlay }) {
    if (hosts < 2 || hosts > 16) return yield* misused(`--hosts must be 2 to 16, not ${hosts}`)
    const { isRoot } = yield* Effect.promise(() => import("../setup/Debian.ts"))
    const wanted = dataplane._tag === "Some" ? dataplane.value : undefined
    if (wanted === "native" && !isRoot()) {
      return yield* misused("the native dataplane needs root, for namespaces and TAP devices", [
        "Run it with sudo, or take --dataplane model.",
      ])
    }
    if (wanted === "model" || !isRoot()) {
      if (wanted === undefined) {
        yield* Console.log("Not root: this demo runs on the model dataplane, without real packets.")
      }
      const { run } = yield* Effect.promise(() => import("../demo/ModelDemo.ts"))
      return yield* run({ exit, hosts })
    }
    const { run } = yield* Effect.promise(() => import("../demo/Demo.ts"))
    return yield* run({ exit, hosts, underlay })
  }),
).pipe(
  Command.withDescription("Show a whole region on this machine"),
  Command.withExamples([
    { command: "ferrite demo", description: "Stays up until Ctrl-C" },
    { command: "ferrite demo --exit", description: "Shows, removes everything, answers with a status" },
    { command: "ferrite demo --underlay veth", description: "With frames that tcpdump can see" },
    { command: "ferrite demo --dataplane model", description: "Without root" },
  ]),
)
