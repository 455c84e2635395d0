/** The tree of commands. */
import { Command } from "effect/cli"
import { version } from "./commands/version.ts"

export const ferrite = Command.make("ferrite").pipe(
  Command.withDescription("Virtual networks for VMs and bare metal"),
  Command.withSubcommands([version]),
)
