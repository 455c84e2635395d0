/** `ferrite dataplane counters`: what a dataplane counted, by name. */
import { Console, Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { DataplaneService } from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import * as Dataplane from "../DataplaneTarget.ts"
import * as Flags from "../Flags.ts"
import { toYaml } from "../Render.ts"
import * as Table from "../Table.ts"

interface Counter {
  readonly name: string
  readonly value: bigint
  readonly family: string
  readonly labels: { readonly [name: string]: string }
}

/** A prefix ends at a dot: `drop` is not `dropped`. */
const isWanted = (name: string, prefixes: ReadonlyArray<string>): boolean =>
  prefixes.length === 0 || prefixes.some((prefix) => name === prefix || name.startsWith(`${prefix}.`))

/** Numbers that JavaScript can hold are numbers; others are text. */
const numberOf = (value: bigint): number | string =>
  value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : String(value)

export const renderCounters = (
  counters: ReadonlyArray<Counter>,
  format: "table" | "wide" | "json" | "yaml",
  headers: boolean,
): string => {
  const items = () =>
    counters.map(({ family, labels, name, value }) => ({ name, value: numberOf(value), family, labels }))
  switch (format) {
    case "json":
      return JSON.stringify({ counters: items() }, undefined, 2)
    case "yaml":
      return toYaml({ counters: items() })
    case "table":
      return Table.render(
        { columns: ["NAME", "VALUE"], rows: counters.map(({ name, value }) => [name, String(value)]) },
        headers,
      )
    case "wide":
      return Table.render(
        {
          columns: ["NAME", "VALUE", "FAMILY", "LABELS"],
          rows: counters.map(({ family, labels, name, value }) => [
            name,
            String(value),
            family,
            Object.entries(labels)
              .map(([label, text]) => `${label}=${text}`)
              .toSorted()
              .join(","),
          ]),
        },
        headers,
      )
  }
}

export const counters = Command.make(
  "counters",
  {
    prefixes: Argument.String("PREFIX").pipe(
      Argument.withDescription("Only counters below it, as drop, interface.vm-a, port"),
      Argument.variadic({ min: 0 }),
    ),
    zero: Flag.Boolean("zero").pipe(
      Flag.withDescription("Those that are zero, too"),
      Flag.withDefault(false),
    ),
    totals: Flag.Boolean("totals").pipe(
      Flag.withDescription("Without those of interfaces, firewall rules and NATs"),
      Flag.withDefault(false),
    ),
    output: Dataplane.output,
    headers: Flags.headers,
    dataplane: Dataplane.dataplane,
  },
  Effect.fnUntraced(function* ({ dataplane, headers, output, prefixes, totals, zero }) {
    const answer = yield* Dataplane.withDataplane(dataplane, DataplaneService, (client) =>
      client.getCounters({ totals }, { deadlineMillis: 30_000 }),
    )
    const shown = answer.counters.filter(
      ({ name, value }) => (zero || value !== 0n) && isWanted(name, prefixes),
    )
    const format = Dataplane.formatOf(output)
    if (shown.length === 0 && (format === "table" || format === "wide"))
      return yield* Console.error(zero ? "No such counters." : "Nothing was counted.")
    yield* Console.log(renderCounters(shown, format, headers))
  }),
).pipe(
  Command.withDescription("Show what a dataplane counted"),
  Command.withExamples([
    { command: "ferrite dataplane counters drop", description: "Why packets were dropped" },
    { command: "ferrite dataplane counters interface.vm-a firewall.vm-a", description: "Of one interface" },
  ]),
)
