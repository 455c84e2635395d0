/** `ferrite dataplane flows`: the connections that a dataplane knows, and with -w as they begin and end. */
import { toJson } from "@bufbuild/protobuf"
import { Clock, Console, Effect, Ref, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import {
  type Flow,
  type FlowEvent,
  FlowEventKind,
  FlowEventSchema,
  FlowSchema,
  ObserveService,
} from "#gen/ferrite/dataplane/v1/observe_pb.ts"
import * as Dataplane from "../DataplaneTarget.ts"
import { misused } from "../Failure.ts"
import * as Flags from "../Flags.ts"
import { renderStream, toYaml } from "../Render.ts"
import * as Table from "../Table.ts"

type Format = "table" | "wide" | "json" | "yaml"

const kinds: Readonly<Record<string, FlowEventKind>> = {
  begun: FlowEventKind.BEGUN,
  ended: FlowEventKind.ENDED,
  refused: FlowEventKind.REFUSED,
}
const kindName = (kind: FlowEventKind): string =>
  Object.entries(kinds).find(([, value]) => value === kind)?.[0] ?? ""

const columns = ["INTERFACE", "PROTOCOL", "SOURCE", "DESTINATION", "TRANSLATED", "RULE", "PACKETS", "BYTES"]
const wideColumns = ["VNI", "REPLIES", "REPLYBYTES", "SECONDS"]

/** What a translation changed, as `source > destination`. */
const translated = ({ translation }: Flow): string =>
  translation === undefined
    ? "-"
    : `${Dataplane.endpointText(translation.source, translation.sourcePort)} > ${Dataplane.endpointText(translation.destination, translation.destinationPort)}`

const cells = (flow: Flow, wide: boolean, nowMillis: number): ReadonlyArray<string> => [
  flow.interface !== "" ? flow.interface : flow.loadBalancer === "" ? "-" : flow.loadBalancer,
  Dataplane.protocolName(flow.protocol),
  Dataplane.endpointText(flow.source, flow.sourcePort),
  Dataplane.endpointText(flow.destination, flow.destinationPort),
  translated(flow),
  flow.rule === "" ? "-" : flow.rule,
  String(flow.packets),
  String(flow.bytes),
  ...(wide
    ? [
        String(flow.vni),
        String(flow.replyPackets),
        String(flow.replyBytes),
        String(Math.max(0, Math.round((nowMillis - Number(flow.beganMs)) / 1000))),
      ]
    : []),
]

export const renderFlows = (
  flows: ReadonlyArray<Flow>,
  format: Format,
  headers: boolean,
  nowMillis: number,
): string => {
  if (format === "json")
    return JSON.stringify({ flows: flows.map((flow) => toJson(FlowSchema, flow)) }, undefined, 2)
  if (format === "yaml") return toYaml({ flows: flows.map((flow) => toJson(FlowSchema, flow)) })
  const wide = format === "wide"
  return Table.render(
    {
      columns: wide ? [...columns, ...wideColumns] : columns,
      rows: flows.map((flow) => cells(flow, wide, nowMillis)),
    },
    headers,
  )
}

/** One event, one line. */
const eventCells = ({ flow, kind, reason, timeMs }: FlowEvent, wide: boolean): ReadonlyArray<string> => [
  kindName(kind),
  reason === "" ? "-" : reason,
  ...(flow === undefined ? [] : cells(flow, wide, Number(timeMs))),
]

const list = Effect.fnUntraced(function* (
  client: Parameters<
    Parameters<typeof Dataplane.withDataplane<typeof ObserveService, void, never, never>>[2]
  >[0],
  request: { interface: string; address: string; protocol: number; port: number; limit: number },
  format: Format,
  headers: boolean,
) {
  const flows: Array<Flow> = []
  const more = yield* Ref.make(false)
  yield* Stream.runForEach(client.listFlows(request, { deadlineMillis: 60_000 }), (response) => {
    flows.push(...response.flows)
    return response.more ? Ref.set(more, true) : Effect.void
  })
  if (flows.length === 0 && (format === "table" || format === "wide")) yield* Console.error("No flows found.")
  else yield* Console.log(renderFlows(flows, format, headers, yield* Clock.currentTimeMillis))
  if (yield* Ref.get(more)) yield* Console.error("There are more; raise --limit, or ask for fewer.")
})

const follow = Effect.fnUntraced(function* (
  client: Parameters<
    Parameters<typeof Dataplane.withDataplane<typeof ObserveService, void, never, never>>[2]
  >[0],
  request: { interface: string; kinds: Array<FlowEventKind> },
  format: Format,
  headers: boolean,
) {
  const wide = format === "wide"
  const titles = ["EVENT", "REASON", ...(wide ? [...columns, ...wideColumns] : columns)]
  let least = Table.widths([titles])
  let lost = 0n
  if (headers && (format === "table" || wide)) yield* Console.log(Table.renderRows([titles], least))
  yield* Stream.runForEach(Dataplane.untilDone(client.flows(request)), (response) =>
    Effect.gen(function* () {
      if (response.lost !== lost) {
        yield* Console.error(`${response.lost - lost} events were lost.`)
        lost = response.lost
      }
      if (response.events.length === 0) return
      if (format === "json" || format === "yaml") {
        const objects = response.events.map((event) => toJson(FlowEventSchema, event))
        return yield* Console.log(renderStream(objects, format))
      }
      const rows = response.events.map((event) => eventCells(event, wide))
      least = Table.widths(rows, least)
      yield* Console.log(Table.renderRows(rows, least))
    }),
  )
})

export const flows = Command.make(
  "flows",
  {
    interface: Flag.String("interface").pipe(
      Flag.withMetavar("NAME"),
      Flag.withDescription("Only those of one interface"),
      Flag.withDefault(""),
    ),
    address: Flag.String("address").pipe(
      Flag.withMetavar("PREFIX"),
      Flag.withDescription("Only those with an address in it"),
      Flag.withDefault(""),
    ),
    protocol: Flag.String("protocol").pipe(
      Flag.withDescription("tcp, udp, icmp, icmpv6, sctp or a number"),
      Flag.withDefault(""),
    ),
    port: Flag.Int("port").pipe(Flag.withDescription("Either port"), Flag.withDefault(0)),
    limit: Flag.Int("limit").pipe(Flag.withDescription("At most so many"), Flag.withDefault(10_000)),
    watch: Flag.Boolean("watch").pipe(
      Flag.withAlias("w"),
      Flag.withDescription("Show flows as they begin, end and are refused, until Ctrl-C"),
      Flag.withDefault(false),
    ),
    events: Flag.String("events").pipe(
      Flag.withMetavar("KINDS"),
      Flag.withDescription("With -w: begun, ended and refused, by comma (default: all)"),
      Flag.withDefault(""),
    ),
    output: Dataplane.output,
    headers: Flags.headers,
    dataplane: Dataplane.dataplane,
  },
  Effect.fnUntraced(function* (flags) {
    const format = Dataplane.formatOf(flags.output)
    const words = flags.events.split(",").filter((word) => word !== "")
    const unknown = words.find((word) => kinds[word] === undefined)
    if (unknown !== undefined)
      return yield* misused(`${unknown} is no event`, [`Known are ${Object.keys(kinds).join(", ")}.`])
    if (!flags.watch && words.length > 0) return yield* misused("--events goes with --watch")
    if (flags.watch && (flags.address !== "" || flags.protocol !== "" || flags.port !== 0))
      return yield* misused("--watch knows only --interface and --events")
    if (flags.limit < 1 || flags.limit > 100_000) return yield* misused("--limit must be 1 to 100000")
    if (flags.port < 0 || flags.port > 65_535) return yield* misused("--port must be 1 to 65535")
    const protocol = flags.protocol === "" ? 0 : yield* Dataplane.protocolNumber(flags.protocol)
    yield* Dataplane.withDataplane(flags.dataplane, ObserveService, (client) =>
      flags.watch
        ? follow(
            client,
            { interface: flags.interface, kinds: words.map((word) => kinds[word] ?? 0) },
            format,
            flags.headers,
          )
        : list(
            client,
            {
              interface: flags.interface,
              address: flags.address,
              protocol,
              port: flags.port,
              limit: flags.limit,
            },
            format,
            flags.headers,
          ),
    )
  }),
).pipe(
  Command.withDescription("Show connections, or with -w as they begin and end"),
  Command.withExamples([
    { command: "ferrite dataplane flows --interface vm-a", description: "What one VM talks with" },
    {
      command: "ferrite dataplane flows --address 10.0.0.2 --protocol tcp -o wide",
      description: "By address",
    },
    {
      command: "ferrite dataplane flows -w --events refused",
      description: "What firewalls refuse, as it happens",
    },
  ]),
)
