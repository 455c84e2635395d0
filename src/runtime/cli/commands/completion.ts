/** `ferrite completion SHELL`: the script that makes a shell complete ferrite's commands and flags. */
import { Console, Effect } from "effect"
import { Argument, Command, Completions } from "effect/cli"
import { bashNames } from "../CompletionNames.ts"

/** For the commands of a tree. */
export const completion = (tree: Command.Command.Any) =>
  Command.make(
    "completion",
    {
      shell: Argument.Literals("SHELL", ["bash", "zsh", "fish", "powershell"]).pipe(
        Argument.withDescription("bash, zsh, fish or powershell"),
      ),
    },
    Effect.fnUntraced(function* ({ shell }) {
      const generated = Completions.generate("ferrite", shell, Completions.fromCommand(tree))
      yield* Console.log(shell === "bash" ? `${generated}${bashNames()}` : generated)
    }),
  ).pipe(
    Command.withDescription("Print a completion script for a shell"),
    Command.withExamples([
      { command: "source <(ferrite completion bash)", description: "In this shell" },
      { command: "ferrite completion zsh > ~/.zfunc/_ferrite", description: "For good" },
    ]),
  )
