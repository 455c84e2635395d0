/**
 * Logs of a role: one line an entry on standard error, `time LEVEL message key=value …`, whatever the entry holds.
 * The level is the minimum that `--log-level` sets, info unless told.
 *
 * The first text of an entry is its message; objects beside it, and annotations, become keys. At most 4,096
 * characters a line.
 */
import { Cause, Logger, References } from "effect"
import { appendFileSync } from "node:fs"

const maxLength = 4096

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Error)

const text = (value: unknown): string => {
  if (typeof value === "string") return value
  if (value instanceof Error) return `${value.name}: ${value.message}`
  if (typeof value === "bigint") return String(value)
  try {
    return (
      JSON.stringify(value, (_key, inner: unknown) => (typeof inner === "bigint" ? String(inner) : inner)) ??
      String(value)
    )
  } catch {
    return String(value)
  }
}

/** Quoted where a reader could not tell its end. */
const quoted = (value: string): string => (/^[^\s"=]+$/.test(value) ? value : JSON.stringify(value))

const pair = ([key, value]: readonly [string, unknown]): string => `${key}=${quoted(text(value))}`

/** One entry as a line. `messages` are the arguments of the log call. */
export const formatLine = (entry: {
  readonly time: string
  readonly level: string
  readonly messages: ReadonlyArray<unknown>
  readonly annotations: Readonly<Record<string, unknown>>
  readonly cause: string
}): string => {
  const words = entry.messages.filter((message) => !isPlain(message)).map(text)
  const keys = entry.messages.filter(isPlain).flatMap((message) => Object.entries(message))
  const line = [
    entry.time,
    entry.level.toUpperCase().padEnd(5),
    words.join(" "),
    ...keys.map(pair),
    ...Object.entries(entry.annotations).map(pair),
    ...(entry.cause === "" ? [] : [pair(["cause", entry.cause])]),
  ].join(" ")
  const single = line.replace(/\s*\n\s*/g, " \\n ")
  return single.length > maxLength ? `${single.slice(0, maxLength - 1)}…` : single
}

const logger = Logger.make<unknown, string>(({ cause, date, fiber, logLevel, message }) =>
  formatLine({
    time: date.toISOString(),
    level: logLevel,
    messages: Array.isArray(message) ? message : [message],
    annotations: fiber.getRef(References.CurrentLogAnnotations),
    cause: cause.reasons.length === 0 ? "" : Cause.pretty(cause),
  }),
)

export const layer = Logger.layer([Logger.withConsoleError(logger)])

/** Into a file, appended, in place of standard error. Its folder exists. */
export const layerFile = (path: string) =>
  Logger.layer([Logger.map(logger, (line) => appendFileSync(path, `${line}\n`))])
