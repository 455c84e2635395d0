/**
 * The program `ferrite`: parses the command line, runs one command, answers with an exit status.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Console, Effect, Exit, Layer } from "effect"
import { CliConfig, CliOutput, Command, GlobalFlag } from "effect/cli"
import { verdictOf } from "./Failure.ts"
import { ferrite } from "./Root.ts"
import { expandShortFlags } from "./ShortFlags.ts"
import { version } from "./Version.ts"

/** Help where it was asked for; else only what is wrong, and where help is. */
const presenter: CliOutput.Presenter = {
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Effect.forEach(
          [
            ...event.errors.map((error) => `Error: ${error.message}`),
            `Run \`${event.commandPath.join(" ")} --help\` for usage.`,
          ],
          (line) => Console.error(line),
          { discard: true },
        )
      : CliOutput.defaultPresenter.present(event),
}

const services = Layer.mergeAll(
  NodeServices.layer,
  CliOutput.layerPresenter(presenter),
  CliConfig.layer({
    builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions, GlobalFlag.LogLevel],
  }),
)

const program = Command.runWith(ferrite, { version })(expandShortFlags(process.argv.slice(2))).pipe(
  Effect.as(0),
  Effect.catchCause((cause) => {
    const { exitCode, lines } = verdictOf(cause)
    return Effect.as(
      Effect.forEach(lines, (line) => Console.error(line), { discard: true }),
      exitCode,
    )
  }),
  Effect.provide(services),
)

// A closed terminal ends a command as Ctrl-C does; a reader that had enough (`| head`) is no failure.
process.once("SIGHUP", () => process.kill(process.pid, "SIGTERM"))
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0)
})

// A command that is there to be ended by a signal says by process.exitCode what that means.
NodeRuntime.runMain(program, {
  disableErrorReporting: true,
  teardown: (exit, onExit) => onExit(Number(Exit.isSuccess(exit) ? exit.value : (process.exitCode ?? 130))),
})
