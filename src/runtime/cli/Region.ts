/**
 * Where the CLI finds its region, and a client for it.
 *
 * In order: `--gateway`, `$FERRITE_GATEWAY`, the file that a running demo leaves in `.ferrite/run/gateway`, the
 * default port on this machine.
 */
import { Effect, FileSystem, Option } from "effect"
import { accessSync, constants } from "node:fs"
import { tmpdir } from "node:os"
import { fileURLToPath } from "node:url"
import type { GatewayClient } from "../gateway/GatewayClient.ts"
import type { GatewayProblem } from "../gateway/GatewayStatus.ts"
import { failed } from "./Failure.ts"

/** The folder that holds the launcher. */
export const repository = fileURLToPath(new URL("../../..", import.meta.url)).replace(/\/$/, "")

const isWritable = (path: string): boolean => {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** `.ferrite` of the checkout, or where that belongs to somebody else a folder of this user's. */
const stateFolder = [`${repository}/.ferrite`, repository].some(isWritable)
  ? `${repository}/.ferrite`
  : `${tmpdir()}/ferrite-${process.getuid?.() ?? "user"}`

/** Sockets, process ids and logs of a running demo. */
export const runFolder = `${stateFolder}/run`

export const defaultGateway = "127.0.0.1:7420"

export const gatewayAddress = Effect.fnUntraced(function* (flag: Option.Option<string>) {
  if (Option.isSome(flag)) return flag.value
  const variable = process.env["FERRITE_GATEWAY"]
  if (variable !== undefined && variable !== "") return variable
  const files = yield* FileSystem.FileSystem
  const demo = yield* Effect.option(files.readFileString(`${runFolder}/gateway`))
  return Option.match(demo, { onNone: () => defaultGateway, onSome: (text) => text.trim() })
})

/**
 * Runs a command against the region that the flag, the environment or a running demo names. Where none answers,
 * says so, and how to get one.
 */
export const withRegion = <A, E extends { readonly _tag: string }, R>(
  flag: Option.Option<string>,
  use: (client: GatewayClient) => Effect.Effect<A, E | GatewayProblem, R>,
) =>
  Effect.gen(function* () {
    const address = yield* gatewayAddress(flag)
    const { make } = yield* Effect.promise(() => import("../gateway/GatewayClient.ts"))
    const client = yield* make(address)
    return yield* Effect.mapError(use(client), (error) =>
      isAway(error)
        ? failed(`the region at ${address} does not answer: ${plain(error.message)}`, [
            "Start one with `ferrite demo` or `ferrite controller`, or name another with --gateway or FERRITE_GATEWAY.",
          ])
        : error,
    )
  }).pipe(Effect.scoped)

/** What grpc-js says of a connection, without its own words around it. */
const plain = (message: string): string =>
  /Last error: (?:Error: )?(.*?)\.? Resolution note:/.exec(message)?.[1] ?? message

const isAway = (error: { readonly _tag: string }): error is GatewayProblem =>
  error._tag === "GatewayProblem" && (error as GatewayProblem).status === "UNAVAILABLE"
