/** The tree of commands. */
import { Command } from "effect/cli"
import { agent } from "./commands/agent.ts"
import { apply } from "./commands/apply.ts"
import { attach, detach } from "./commands/attach.ts"
import { completion } from "./commands/completion.ts"
import { controller } from "./commands/controller.ts"
import { dataplane } from "./commands/dataplane.ts"
import { remove } from "./commands/delete.ts"
import { demo } from "./commands/demo.ts"
import { describe } from "./commands/describe.ts"
import { get } from "./commands/get.ts"
import { reflector } from "./commands/reflector.ts"
import { test } from "./commands/test.ts"
import { version } from "./commands/version.ts"

const root = Command.make("ferrite").pipe(Command.withDescription("Virtual networks for VMs and bare metal"))

const resources = { group: "Resources", commands: [get, describe, apply, remove, attach, detach] } as const
const roles = { group: "Roles", commands: [controller, reflector, agent] } as const

/** All but the command that prints completions of them. */
const tree = root.pipe(
  Command.withSubcommands([
    resources,
    { group: "This machine", commands: [demo, dataplane, test, version] },
    roles,
  ]),
)

export const ferrite = root.pipe(
  Command.withSubcommands([
    resources,
    { group: "This machine", commands: [demo, dataplane, test, completion(tree), version] },
    roles,
  ]),
)
