/** `ferrite dataplane trace`: what one packet meets, step by step, and with --live what the next ones that pass do. */
import { toJson } from "@bufbuild/protobuf"
import { Console, Effect, Option, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import {
  ObserveService,
  type TraceLiveResponse,
  TraceLiveResponseSchema,
  type TraceResponse,
  TraceResponseSchema,
  TraceStep_Stage,
} from "#gen/ferrite/dataplane/v1/observe_pb.ts"
import * as Dataplane from "../DataplaneTarget.ts"
import { misused } from "../Failure.ts"
import { renderStream, toYaml } from "../Render.ts"
import * as Table from "../Table.ts"

type Format = "table" | "wide" | "json" | "yaml"

const tcpFlags: Readonly<Record<string, number>> = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32 }

/** As `syn,ack`; nothing is what the dataplane takes for nothing. */
const flagsNumber = (text: string) =>
  Effect.gen(function* () {
    let number = 0
    for (const word of text.split(",").filter((each) => each !== "")) {
      const bit = tcpFlags[word.toLowerCase()]
      if (bit === undefined)
        return yield* misused(`${word} is no TCP flag`, [`Known are ${Object.keys(tcpFlags).join(", ")}.`])
      number |= bit
    }
    return number
  })

const stageName = (stage: TraceStep_Stage): string =>
  Object.entries(TraceStep_Stage)
    .find(([, value]) => value === stage)?.[0]
    .toLowerCase() ?? ""

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

const result = (trace: TraceResponse): string => {
  if (trace.drop !== "") return `Dropped: ${trace.drop}`
  if (trace.length === 0) return "Nothing left."
  return trace.byUplink
    ? `Left by the uplink: ${trace.length} bytes`
    : `Left to ${trace.toInterface === "" ? "a VM" : trace.toInterface}: ${trace.length} bytes`
}

/** Each step in a line; wide: with what made it, and the packet that left. */
export const renderTrace = (trace: TraceResponse, wide: boolean): string => {
  const rows = trace.steps.map((step, index) => [
    String(index + 1),
    stageName(step.stage),
    step.text,
    ...(wide
      ? [step.decision, step.rule || step.loadBalancer || step.route || "-", step.interface || "-"]
      : []),
  ])
  const columns = ["STEP", "STAGE", "DECISION", ...(wide ? ["WORD", "MADEBY", "INTERFACE"] : [])]
  return [
    Table.render({ columns, rows }),
    result(trace),
    ...(wide && trace.packet.length > 0 ? [hex(trace.packet)] : []),
  ].join("\n")
}

const show = (trace: TraceResponse, format: Format) => {
  switch (format) {
    case "json":
      return Console.log(JSON.stringify(toJson(TraceResponseSchema, trace), undefined, 2))
    case "yaml":
      return Console.log(toYaml(toJson(TraceResponseSchema, trace)))
    default:
      return Console.log(renderTrace(trace, format === "wide"))
  }
}

const showLive = (seen: TraceLiveResponse, format: Format) => {
  if (format === "json" || format === "yaml")
    return Console.log(renderStream([toJson(TraceLiveResponseSchema, seen)], format))
  const where = seen.interface !== "" ? `interface ${seen.interface}` : `uplink ${seen.uplink}`
  const head = `At ${where}, ${seen.packet.length} bytes seen${format === "wide" ? `: ${hex(seen.packet)}` : ""}`
  return Console.log(
    `${head}\n${seen.trace === undefined ? "" : renderTrace(seen.trace, format === "wide")}\n`,
  )
}

export const trace = Command.make(
  "trace",
  {
    interfaces: Dataplane.interfaces,
    uplinks: Dataplane.uplinks,
    source: Flag.String("source").pipe(
      Flag.withMetavar("ADDRESS"),
      Flag.withDescription("Of the packet: its source"),
      Flag.withDefault(""),
    ),
    destination: Flag.String("destination").pipe(
      Flag.withMetavar("ADDRESS"),
      Flag.withDescription("Its destination"),
      Flag.withDefault(""),
    ),
    protocol: Flag.String("protocol").pipe(
      Flag.withDescription("tcp, udp, sctp, icmp, icmpv6 or a number (default: an echo request)"),
      Flag.withDefault(""),
    ),
    sourcePort: Flag.Int("source-port").pipe(
      Flag.withDescription("Of an echo request its identifier"),
      Flag.withDefault(0),
    ),
    destinationPort: Flag.Int("destination-port").pipe(
      Flag.withDescription("Its destination port"),
      Flag.withDefault(0),
    ),
    tcpFlags: Flag.String("tcp-flags").pipe(
      Flag.withMetavar("FLAGS"),
      Flag.withDescription("As syn,ack (default: syn)"),
      Flag.withDefault(""),
    ),
    payload: Flag.Int("payload").pipe(
      Flag.withMetavar("BYTES"),
      Flag.withDescription("Behind its headers"),
      Flag.withDefault(0),
    ),
    outerSource: Flag.String("outer-source").pipe(
      Flag.withMetavar("ADDRESS"),
      Flag.withDescription("At an uplink: where the outer packet comes from"),
      Flag.withDefault(""),
    ),
    outerDestination: Flag.String("outer-destination").pipe(
      Flag.withMetavar("ADDRESS"),
      Flag.withDescription("And the underlay address that it goes to"),
      Flag.withDefault(""),
    ),
    bytes: Flag.String("bytes").pipe(
      Flag.withMetavar("HEX"),
      Flag.withDescription("Instead of a description: the frame, or at an uplink the outer packet"),
      Flag.optional,
    ),
    inject: Flag.Boolean("inject").pipe(
      Flag.withDescription("It passes for good: it leaves, makes flows and counts"),
      Flag.withDefault(false),
    ),
    live: Flag.Boolean("live").pipe(
      Flag.withDescription("Trace the next packets that pass and match, instead of one of ours"),
      Flag.withDefault(false),
    ),
    filter: Dataplane.filter,
    outer: Dataplane.outer,
    count: Flag.Int("count").pipe(
      Flag.withMetavar("PACKETS"),
      Flag.withDescription("With --live: so many, at most 1000"),
      Flag.withDefault(1),
    ),
    seconds: Flag.Int("seconds").pipe(
      Flag.withDescription("With --live: how long to wait for them"),
      Flag.withDefault(60),
    ),
    output: Dataplane.output,
    dataplane: Dataplane.dataplane,
  },
  Effect.fnUntraced(function* (flags) {
    const format = Dataplane.formatOf(flags.output)
    if (flags.live) {
      if (flags.inject || Option.isSome(flags.bytes) || flags.source !== "" || flags.destination !== "")
        return yield* misused("--live traces packets that pass; it takes --filter, --count and --seconds")
      return yield* Dataplane.withDataplane(flags.dataplane, ObserveService, (client) =>
        Stream.runForEach(
          client.traceLive({
            interfaces: [...flags.interfaces],
            uplinks: [...flags.uplinks],
            filter: flags.filter,
            filterInner: !flags.outer,
            count: flags.count,
            seconds: flags.seconds,
          }),
          (seen) => showLive(seen, format),
        ),
      )
    }
    const [name, ...others] = [...flags.interfaces, ...flags.uplinks]
    if (name === undefined || others.length > 0)
      return yield* misused("where does it come from? Give one --interface, or one --uplink")
    if (flags.filter !== "") return yield* misused("--filter goes with --live")
    const raw = Option.getOrElse(flags.bytes, () => "").replace(/[\s:]/g, "")
    if (!/^([0-9a-fA-F]{2})*$/.test(raw)) return yield* misused("--bytes must be hexadecimal")
    const description = {
      source: flags.source,
      destination: flags.destination,
      protocol: flags.protocol === "" ? 0 : yield* Dataplane.protocolNumber(flags.protocol),
      sourcePort: flags.sourcePort,
      destinationPort: flags.destinationPort,
      tcpFlags: yield* flagsNumber(flags.tcpFlags),
      payloadLength: flags.payload,
      outerSource: flags.outerSource,
      outerDestination: flags.outerDestination,
    }
    const packet = Option.isSome(flags.bytes)
      ? ({ case: "bytes", value: new Uint8Array(Buffer.from(raw, "hex")) } as const)
      : ({ case: "description", value: description } as const)
    const answer = yield* Dataplane.withDataplane(flags.dataplane, ObserveService, (client) =>
      client.trace(
        flags.interfaces.length > 0
          ? { interface: name, packet, inject: flags.inject }
          : { uplink: name, packet, inject: flags.inject },
        { deadlineMillis: 10_000 },
      ),
    )
    yield* show(answer, format)
  }),
).pipe(
  Command.withDescription("Show what a packet meets, step by step"),
  Command.withExamples([
    {
      command:
        "ferrite dataplane trace --interface vm-a --source 10.0.0.1 --destination 10.0.0.2 --protocol tcp --destination-port 443",
      description: "A question: nothing is sent, nothing changes",
    },
    {
      command: "ferrite dataplane trace --live --interface vm-a --filter 'udp port 53' --count 3",
      description: "What happens to the next three queries",
    },
  ]),
)
