/** `ferrite dataplane`: looks into the dataplane of one hypervisor, past the region. */
import { Command } from "effect/cli"
import { capture } from "./dataplane-capture.ts"
import { counters } from "./dataplane-counters.ts"
import { flows } from "./dataplane-flows.ts"
import { trace } from "./dataplane-trace.ts"

export const dataplane = Command.make("dataplane").pipe(
  Command.withDescription("Look into one dataplane: packets, decisions, flows, counters"),
  Command.withSubcommands([capture, trace, flows, counters]),
)
