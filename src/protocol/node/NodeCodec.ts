/**
 * Node messages between `ferrite.node.v1` and checked values, both ways.
 *
 * Decoding trusts nothing: every text, number and count has a bound in the schemas of `NodeMessages.ts`, and the
 * first rule that a message breaks is named with its path. Encoding takes checked values and can't fail.
 */
import type { MessageInitShape } from "@bufbuild/protobuf"
import { Result, Schema } from "effect"
import {
  InterfaceState,
  type SessionRequest,
  type SessionRequestSchema,
  type SessionResponse,
  type SessionResponseSchema,
} from "#gen/ferrite/node/v1/node_pb.ts"
import {
  AgentMessage,
  ControllerMessage,
  type InterfaceReport,
  MalformedMessage,
  maxRouteEntries,
} from "./NodeMessages.ts"

const stateNames = {
  [InterfaceState.PENDING]: "Pending",
  [InterfaceState.REALISED]: "Realised",
  [InterfaceState.FAILED]: "Failed",
  [InterfaceState.REMOVED]: "Removed",
} as const

const stateNumbers = {
  Pending: InterfaceState.PENDING,
  Realised: InterfaceState.REALISED,
  Failed: InterfaceState.FAILED,
  Removed: InterfaceState.REMOVED,
} as const

/** What a peer needs to find its mistake, and no more than a line of it. */
const malformed = (field: string, reason: string) =>
  new MalformedMessage({ field, reason: reason.replaceAll(/\s+/g, " ").slice(0, 200) })

const plain = (fields: object): Record<string, unknown> => {
  const entries = Object.entries(fields).filter(([key]) => key !== "$typeName" && key !== "$unknown")
  return Object.fromEntries(
    entries.map(([key, value]) => [key, typeof value === "bigint" ? Number(value) : value]),
  )
}

const withoutEmptyText = (fields: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ""))

const checkAgent = Schema.decodeUnknownResult(AgentMessage)
const checkController = Schema.decodeUnknownResult(ControllerMessage)

const named = <A>(
  field: string,
  result: Result.Result<A, Schema.SchemaError>,
): Result.Result<A, MalformedMessage> => Result.mapError(result, (error) => malformed(field, error.message))

/** Microseconds mean something only where the state does. */
const interfaceReport = (fields: Record<string, unknown>): Record<string, unknown> => {
  const state = stateNames[fields["state"] as keyof typeof stateNames]
  const { uid, generation, underlayAddress, device, reason, message, realisedMicros } = fields
  const common = { _tag: "InterfaceReport", uid, generation, state }
  if (state === "Realised") return { ...common, underlayAddress, device, realisedMicros }
  return state === "Pending" || state === "Failed" ? { ...common, reason, message } : common
}

/** What an agent said. */
export const decodeAgentMessage = (
  request: SessionRequest,
): Result.Result<AgentMessage, MalformedMessage> => {
  const { message } = request
  switch (message.case) {
    case "hello":
      return named("hello", checkAgent({ _tag: "Hello", ...plain(message.value) }))
    case "heartbeat":
      return named("heartbeat", checkAgent({ _tag: "Heartbeat", ...plain(message.value) }))
    case "interfaceReport":
      return named("interface_report", checkAgent(interfaceReport(plain(message.value))))
    case "routeReport": {
      // Counted before a single entry is looked at.
      const { entries, full } = message.value
      return entries.length > maxRouteEntries
        ? Result.fail(
            malformed("route_report.entries", `${entries.length} entries, at most ${maxRouteEntries}`),
          )
        : named("route_report", checkAgent({ _tag: "RouteReport", full, entries: entries.map(plain) }))
    }
    default:
      return Result.fail(malformed("message", "none of the messages that this side knows"))
  }
}

/** What a controller said. */
export const decodeControllerMessage = (
  response: SessionResponse,
): Result.Result<ControllerMessage, MalformedMessage> => {
  const { message } = response
  switch (message.case) {
    case "welcome":
      return named("welcome", checkController({ _tag: "Welcome", ...plain(message.value) }))
    case "lease":
      return named("lease", checkController({ _tag: "Lease", ...plain(message.value) }))
    case "upsert": {
      const { interface: compiled, revision } = message.value
      return named(
        "upsert",
        checkController({
          _tag: "Upsert",
          revision: Number(revision),
          interface: compiled && withoutEmptyText(plain(compiled)),
        }),
      )
    }
    case "removal":
      return named("removal", checkController({ _tag: "Removal", ...plain(message.value) }))
    case "caughtUp":
      return named("caught_up", checkController({ _tag: "CaughtUp", ...plain(message.value) }))
    default:
      return Result.fail(malformed("message", "none of the messages that this side knows"))
  }
}

type RequestInit = MessageInitShape<typeof SessionRequestSchema>
type ResponseInit = MessageInitShape<typeof SessionResponseSchema>

const encodeReport = ({ _tag, generation, state, ...rest }: InterfaceReport) => ({
  ...rest,
  state: stateNumbers[state],
  generation: BigInt(generation),
  realisedMicros: "realisedMicros" in rest ? BigInt(rest.realisedMicros) : 0n,
})

export const encodeAgentMessage = (message: AgentMessage): RequestInit => {
  switch (message._tag) {
    case "Hello": {
      const { _tag, revision, ...rest } = message
      return { message: { case: "hello", value: { ...rest, revision: BigInt(revision) } } }
    }
    case "Heartbeat": {
      const { sequence, settledRevision } = message
      const value = { sequence: BigInt(sequence), settledRevision: BigInt(settledRevision) }
      return { message: { case: "heartbeat", value } }
    }
    case "InterfaceReport":
      return { message: { case: "interfaceReport", value: encodeReport(message) } }
    case "RouteReport": {
      const entries = message.entries.map(({ programmedMicros, ...entry }) => ({
        ...entry,
        programmedMicros: BigInt(programmedMicros),
      }))
      return { message: { case: "routeReport", value: { entries, full: message.full } } }
    }
  }
}

export const encodeControllerMessage = (message: ControllerMessage): ResponseInit => {
  switch (message._tag) {
    case "Welcome": {
      const { _tag, ...value } = message
      return { message: { case: "welcome", value } }
    }
    case "Lease": {
      const { leaseMillis, sequence } = message
      return { message: { case: "lease", value: { leaseMillis, sequence: BigInt(sequence) } } }
    }
    case "Upsert": {
      const { generation, acceptedMicros, ...rest } = message.interface
      const compiled = { ...rest, generation: BigInt(generation), acceptedMicros: BigInt(acceptedMicros) }
      return {
        message: { case: "upsert", value: { revision: BigInt(message.revision), interface: compiled } },
      }
    }
    case "Removal": {
      const { revision, uid } = message
      return { message: { case: "removal", value: { revision: BigInt(revision), uid } } }
    }
    case "CaughtUp":
      return { message: { case: "caughtUp", value: { revision: BigInt(message.revision) } } }
  }
}
