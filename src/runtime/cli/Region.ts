/**
 * Where the CLI finds its region, and a client for it.
 *
 * In order: `--gateway`, `$FERRITE_GATEWAY`, the file that a running demo leaves in `.ferrite/run/gateway`, the
 * default port on this machine.
 */
import { Effect, FileSystem, Option } from "effect"
import { fileURLToPath } from "node:url"
import type { GatewayClient } from "../gateway/GatewayClient.ts"
import type { GatewayProblem } from "../gateway/GatewayStatus.ts"
import { failed } from "./Failure.ts"

/** The folder that holds the launcher. */
export const repository = fileURLToPath(new URL("../../..", import.meta.url)).replace(/\/$/, "")

/** Sockets, process ids and logs of a running demo. */
export const runFolder = `${repository}/.ferrite/run`

export const defaultGateway = "127.0.0.1:7420"

export const gatewayAddress = Effect.fnUntraced(function* (flag: Option.Option<string>) {
  if (Option.isSome(flag)) return flag.value
  const variable = process.env["FERRITE_GATEWAY"]
  if (variable !== undefined && variable !== "") return variable
  const files = yield* FileSystem.FileSystem
  const demo = yield* Effect.option(files.readFileString(`${runFolder}/gateway`))
  return Option.match(demo, { onNone: () => defaultGateway, onSome: (text) => text.trim() })
})

/** A client of the region that the flag, the environment or a running demo names. */
export const connect = Effect.fnUntraced(function* (flag: Option.Option<string>) {
  const address = yield* gatewayAddress(flag)
  const { make } = yield* Effect.promise(() => import("../gateway/GatewayClient.ts"))
  const client: GatewayClient = yield* make(address)
  return { address, client }
})

/** No region at the address: says so, and how to get one. */
export const explainUnavailable =
  (address: string) =>
  <A, E, R>(effect: Effect.Effect<A, E | GatewayProblem, R>) =>
    Effect.catchIf(
      effect,
      (error): error is GatewayProblem =>
        typeof error === "object" &&
        error !== null &&
        (error as GatewayProblem)._tag === "GatewayProblem" &&
        ((error as GatewayProblem).status === "UNAVAILABLE" ||
          (error as GatewayProblem).status === "DEADLINE_EXCEEDED"),
      (problem) =>
        Effect.fail(
          failed(`the region at ${address} does not answer: ${problem.message}`, [
            "Start one with `ferrite demo` or `ferrite controller`, or name another with --gateway or FERRITE_GATEWAY.",
          ]),
        ),
    )
