/** `ferrite dataplane capture`: packets as they pass, into a pcapng file or to whoever reads standard output. */
import { Console, Effect, Ref, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import { open } from "node:fs/promises"
import { CaptureDirection, ObserveService } from "#gen/ferrite/dataplane/v1/observe_pb.ts"
import * as Dataplane from "../DataplaneTarget.ts"
import { failed, misused } from "../Failure.ts"

const directions = {
  both: CaptureDirection.BOTH,
  in: CaptureDirection.IN,
  out: CaptureDirection.OUT,
} as const

type Write = (bytes: Uint8Array) => Effect.Effect<void>

const toStandardOutput: Write = (bytes) =>
  Effect.callback<void>((resume) => {
    process.stdout.write(bytes, () => resume(Effect.void))
  })

/** A file that is there is written anew. Closed with the scope. */
const toFile = (path: string) =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: () => open(path, "w", 0o600),
      catch: (error) => failed(`cannot write ${path}: ${error instanceof Error ? error.message : error}`),
    }),
    (file) => Effect.promise(() => file.close()),
  ).pipe(
    Effect.map(
      (file): Write =>
        (bytes) =>
          Effect.promise(() => file.write(bytes)),
    ),
  )

export const capture = Command.make(
  "capture",
  {
    interfaces: Dataplane.interfaces,
    uplinks: Dataplane.uplinks,
    direction: Flag.Literals("direction", ["both", "in", "out"]).pipe(
      Flag.withDescription("in: from VMs and the underlay; out: to them"),
      Flag.withDefault("both" as const),
    ),
    filter: Dataplane.filter,
    outer: Dataplane.outer,
    snap: Flag.Int("snap").pipe(
      Flag.withMetavar("BYTES"),
      Flag.withDescription("How much of each packet, at most (default: all of it)"),
      Flag.withDefault(0),
    ),
    count: Flag.Int("count").pipe(
      Flag.withMetavar("PACKETS"),
      Flag.withDescription("End after so many"),
      Flag.withDefault(0),
    ),
    bytes: Flag.Int("bytes").pipe(Flag.withDescription("End after so many"), Flag.withDefault(0)),
    seconds: Flag.Int("seconds").pipe(
      Flag.withDescription("End after so many (default: at Ctrl-C)"),
      Flag.withDefault(0),
    ),
    output: Flag.String("output").pipe(
      Flag.withAlias("o"),
      Flag.withMetavar("FILE"),
      Flag.withDescription("Where to: a pcapng file, or - for standard output"),
    ),
    dataplane: Dataplane.dataplane,
  },
  Effect.fnUntraced(function* (flags) {
    const { bytes, count, output, seconds, snap } = flags
    if ([bytes, count, seconds, snap].some((number) => number < 0))
      return yield* misused("numbers begin at 0")
    if (output === "-" && process.stdout.isTTY === true)
      return yield* misused("a terminal can't show packets", [
        "Send them to a program: `… -o - | tcpdump -r -`",
      ])
    const written = yield* Ref.make(0)
    yield* Dataplane.withDataplane(flags.dataplane, ObserveService, (client) =>
      Effect.gen(function* () {
        const write = output === "-" ? toStandardOutput : yield* toFile(output)
        const pieces = client.capture({
          interfaces: [...flags.interfaces],
          uplinks: [...flags.uplinks],
          direction: directions[flags.direction],
          filter: flags.filter,
          filterInner: !flags.outer,
          snapLength: snap,
          packetLimit: BigInt(count),
          byteLimit: BigInt(bytes),
          seconds,
        })
        yield* Stream.runForEach(pieces, ({ pcapng }) =>
          Effect.andThen(
            write(pcapng),
            Ref.update(written, (sum) => sum + pcapng.length),
          ),
        )
      }).pipe(Effect.scoped),
    )
    const sum = yield* Ref.get(written)
    yield* Console.error(`${sum} bytes of pcapng${output === "-" ? "" : ` in ${output}`}.`)
  }),
).pipe(
  Command.withDescription("Write packets as they pass into a pcapng file"),
  Command.withExamples([
    {
      command: "ferrite dataplane capture --interface vm-a --filter 'tcp port 443' --seconds 10 -o a.pcapng",
      description: "What one VM says and hears",
    },
    {
      command: "ferrite dataplane capture --interface vm-a -o - | tcpdump -n -r -",
      description: "As it passes",
    },
    {
      command: "ferrite dataplane capture --uplink all --filter 'host 10.0.0.2' --count 100 -o up.pcapng",
      description: "Encapsulated packets, by what is in them",
    },
  ]),
)
