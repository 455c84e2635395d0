/**
 * Where `ferrite dataplane …` finds the dataplane that it asks, and clients for it. These commands go past the region,
 * to the process on one hypervisor.
 *
 * In order: `--dataplane`, `$FERRITE_DATAPLANE`, the default port on this machine.
 */
import { Effect, Option, Stream } from "effect"
import { Flag } from "effect/cli"
import type { GenService } from "@bufbuild/protobuf/codegenv2"
import * as grpc from "@grpc/grpc-js"
import type { Client } from "../grpc/GrpcClient.ts"
import type { GrpcError } from "../grpc/GrpcError.ts"
import { type CommandFailure, failed, misused } from "./Failure.ts"

export const defaultDataplane = "127.0.0.1:1337"

export const dataplane = Flag.String("dataplane").pipe(
  Flag.withMetavar("ADDRESS"),
  Flag.withDescription(
    `The dataplane, host:port or unix:/path (default: $FERRITE_DATAPLANE, ${defaultDataplane})`,
  ),
  Flag.optional,
)

export const interfaces = Flag.String("interface").pipe(
  Flag.withMetavar("NAME"),
  Flag.withDescription("An interface by its id, or a port by its name; may be repeated"),
  Flag.atLeast(0),
)

export const uplinks = Flag.String("uplink").pipe(
  Flag.withMetavar("NAME"),
  Flag.withDescription("An uplink by its name, or all; may be repeated"),
  Flag.atLeast(0),
)

export const filter = Flag.String("filter").pipe(
  Flag.withMetavar("FILTER"),
  Flag.withDescription("Only packets that match, as tcpdump has it: 'tcp port 443 and host 10.0.0.2'"),
  Flag.withDefault(""),
)

export const outer = Flag.Boolean("outer").pipe(
  Flag.withDescription(
    "The filter is about frames, and about outer packets at uplinks; else about the IP packets of VMs in both",
  ),
  Flag.withDefault(false),
)

export const output = Flag.Literals("output", ["wide", "json", "yaml"]).pipe(
  Flag.withAlias("o"),
  Flag.withMetavar("FORMAT"),
  Flag.withDescription("wide, json or yaml"),
  Flag.optional,
)

export const formatOf = (flag: Option.Option<"wide" | "json" | "yaml">) =>
  Option.getOrElse(flag, () => "table" as const)

const protocols: Readonly<Record<string, number>> = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 }

/** A name or a number. */
export const protocolNumber = (text: string): Effect.Effect<number, CommandFailure> => {
  const number = protocols[text.toLowerCase()] ?? (/^\d{1,3}$/.test(text) ? Number(text) : undefined)
  return number === undefined || number > 255
    ? Effect.fail(
        misused(`${text} is no protocol`, [`Known are ${Object.keys(protocols).join(", ")}, and numbers.`]),
      )
    : Effect.succeed(number)
}

export const protocolName = (number: number): string =>
  Object.entries(protocols).find(([, value]) => value === number)?.[0] ?? String(number)

/** `10.0.0.1:80`, `[2001:db8::1]:80`, and without the port where there is none. */
export const endpointText = (address: string, port: number): string => {
  if (port === 0) return address
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`
}

const saidBy = (address: string, error: GrpcError): CommandFailure => {
  switch (error.code) {
    case grpc.status.UNAVAILABLE:
      return failed(`the dataplane at ${address} does not answer`, [
        "Name another with --dataplane or FERRITE_DATAPLANE.",
      ])
    case grpc.status.UNIMPLEMENTED:
      return failed(`the dataplane at ${address} is too old for this`)
    default:
      return failed(error.message)
  }
}

const isGrpcError = (error: unknown): error is GrpcError =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "GrpcError"

/** Runs a command with a client of one service of the dataplane; what that refuses is told in its own words. */
export const withDataplane = <Service extends GenService<any>, A, E, R>(
  flag: Option.Option<string>,
  service: Service,
  use: (client: Client<Service>) => Effect.Effect<A, E | GrpcError, R>,
) =>
  Effect.gen(function* () {
    const variable = process.env["FERRITE_DATAPLANE"]
    const address = Option.getOrElse(flag, () =>
      variable === undefined || variable === "" ? defaultDataplane : variable,
    )
    const { make } = yield* Effect.promise(() => import("../grpc/GrpcClient.ts"))
    const client = yield* make(service, address)
    return yield* Effect.mapError(use(client), (error): Exclude<E, GrpcError> | CommandFailure =>
      isGrpcError(error) ? saidBy(address, error) : (error as Exclude<E, GrpcError>),
    )
  }).pipe(Effect.scoped)

/** What stays of a stream that ended because its time was over or somebody had enough. */
export const untilDone = <A>(stream: Stream.Stream<A, GrpcError>): Stream.Stream<A, GrpcError> =>
  Stream.catchIf(
    stream,
    (error) => error.code === grpc.status.CANCELLED,
    () => Stream.empty,
  )
