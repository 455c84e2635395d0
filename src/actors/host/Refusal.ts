/**
 * Why a dataplane refused an operation, in words for the resource that it was for.
 */
import { type OperationResult, statusCodes } from "#protocol/dataplane/Dataplane.ts"
import { clip } from "#protocol/node/NodeMessages.ts"

export interface Refusal {
  readonly code: number
  /** CamelCase, stable: the condition's reason. */
  readonly reason: string
  readonly message: string
}

/** What a person can do about a code; others say what they are. */
const advice: Readonly<Record<number, string>> = {
  [statusCodes.INVALID_ARGUMENT]:
    "the agent and the dataplane disagree about what is valid: are both of one version?",
  [statusCodes.ALREADY_EXISTS]:
    "the device or the address is in use on this host: name another in the device",
  [statusCodes.NOT_FOUND]: "no such device on this host: check the attachment's device",
  [statusCodes.OUT_OF_MEMORY]: "a table of the dataplane is full: place the interface on another node",
  [statusCodes.PORT_START]:
    "the device could not be opened: is the TAP name free, and does the dataplane run as root?",
  [statusCodes.VNF_INSERT]: "the table of underlay addresses is full: place the interface on another node",
}

const camelCase = (name: string): string =>
  name
    .toLowerCase()
    .split("_")
    .map((word) => `${word.slice(0, 1).toUpperCase()}${word.slice(1)}`)
    .join("")

const names = new Map<number, string>(Object.entries(statusCodes).map(([name, code]) => [code, name]))

export const refusalOf = (what: string, result: OperationResult): Refusal => {
  const name = names.get(result.code)
  const help = advice[result.code]
  const detail = result.message === "" ? "" : `: ${result.message}`
  return {
    code: result.code,
    reason: name === undefined ? "DataplaneRefused" : camelCase(name),
    message: clip(
      `the dataplane refused to ${what} with ${name ?? "code"} (${result.code})${detail}${help === undefined ? "" : `; ${help}`}`,
    ),
  }
}
