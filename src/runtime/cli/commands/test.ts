/** `ferrite test`: installs what tests need, builds, checks and tests everything. */
import { Effect } from "effect"
import { Argument, Command } from "effect/cli"

export const test = Command.make(
  "test",
  {
    args: Argument.String("VITEST-ARGUMENTS").pipe(
      Argument.withDescription("With any, only the tests that they select; flags after --"),
      Argument.variadic(),
    ),
  },
  Effect.fnUntraced(function* ({ args }) {
    const { run } = yield* Effect.promise(() => import("../setup/TestRun.ts"))
    yield* run(args)
  }),
).pipe(
  Command.withDescription("Build, check and test this checkout"),
  Command.withExamples([
    { command: "ferrite test", description: "Everything, as CI does" },
    { command: "ferrite test test/pure", description: "Tests of one folder" },
    { command: "ferrite test -- -t 'a watch'", description: "Tests by name" },
  ]),
)
