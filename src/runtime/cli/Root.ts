/** The tree of commands. */
import { Command } from "effect/cli"
import { agent } from "./commands/agent.ts"
import { apply } from "./commands/apply.ts"
import { attach, detach } from "./commands/attach.ts"
import { controller } from "./commands/controller.ts"
import { remove } from "./commands/delete.ts"
import { demo } from "./commands/demo.ts"
import { describe } from "./commands/describe.ts"
import { get } from "./commands/get.ts"
import { reflector } from "./commands/reflector.ts"
import { test } from "./commands/test.ts"
import { version } from "./commands/version.ts"

export const ferrite = Command.make("ferrite").pipe(
  Command.withDescription("Virtual networks for VMs and bare metal"),
  Command.withSubcommands([
    { group: "Resources", commands: [get, describe, apply, remove, attach, detach] },
    { group: "This machine", commands: [demo, test, version] },
    { group: "Roles", commands: [controller, reflector, agent] },
  ]),
)
