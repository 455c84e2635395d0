/**
 * How a command ends badly: what a person reads on standard error, and the exit status.
 *
 * Status 0: done. 1: the region or the machine refused. 2: the command line is wrong.
 */
import { Cause, Schema } from "effect"
import { CliError } from "effect/cli"
import type { GatewayProblem } from "../gateway/GatewayStatus.ts"
import type { DocumentError } from "./Documents.ts"

export class CommandFailure extends Schema.TaggedError<CommandFailure>()("CommandFailure", {
  /** One line: what failed and why. */
  message: Schema.String,
  /** Further lines: the fields, the end of a log, what to do. */
  details: Schema.Array(Schema.String),
  exitCode: Schema.Literals([1, 2]),
}) {}

export const failed = (message: string, details: ReadonlyArray<string> = []): CommandFailure =>
  new CommandFailure({ message, details, exitCode: 1 })

export const misused = (message: string, details: ReadonlyArray<string> = []): CommandFailure =>
  new CommandFailure({ message, details, exitCode: 2 })

/** `about` says where the request came from, as a file and line. */
export const renderProblem = (problem: GatewayProblem, about = ""): ReadonlyArray<string> => {
  const prefix = about === "" ? "" : `${about}: `
  if (problem.violations.length > 0) {
    const [subject = ""] = problem.message.split(" is not valid: ")
    return [
      `${prefix}${subject} is not valid`,
      ...problem.violations.map(({ field, message, reason }) =>
        field === "" ? `  ${message} (${reason})` : `  ${field}: ${message} (${reason})`,
      ),
    ]
  }
  return [`${prefix}${problem.message}`]
}

/** An error that knows no better: its message in one line. */
const messageOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "message" in error ? String(error.message) : String(error)

const isTagged = <Tag extends string>(error: unknown, tag: Tag): error is { readonly _tag: Tag } =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === tag

const linesOf = (error: unknown): ReadonlyArray<string> => {
  if (isTagged(error, "CommandFailure")) {
    const failure = error as CommandFailure
    return [failure.message, ...failure.details]
  }
  if (isTagged(error, "GatewayProblem")) return renderProblem(error as unknown as GatewayProblem)
  if (isTagged(error, "DocumentError")) {
    const { message, source } = error as unknown as DocumentError
    return [`${source}: ${message}`]
  }
  return [messageOf(error)]
}

export interface Verdict {
  /** For standard error; empty where it was said already. */
  readonly lines: ReadonlyArray<string>
  readonly exitCode: number
}

/** What to tell of a failed command. Errors of the command line were shown by the parser. */
export const verdictOf = (cause: Cause.Cause<unknown>): Verdict => {
  if (Cause.hasInterruptsOnly(cause)) return { lines: [], exitCode: 130 }
  const failure = cause.reasons.find(Cause.isFailReason)
  if (failure) {
    const { error } = failure
    if (CliError.isCliError(error)) {
      const asked = error._tag === "ShowHelp" && error.errors.length === 0
      return { lines: [], exitCode: asked ? 0 : 2 }
    }
    const [first = "failed", ...rest] = linesOf(error)
    return {
      lines: [`Error: ${first}`, ...rest],
      exitCode: isTagged(error, "CommandFailure") ? (error as CommandFailure).exitCode : 1,
    }
  }
  return { lines: ["Error: this is a defect of ferrite", Cause.pretty(cause)], exitCode: 1 }
}
