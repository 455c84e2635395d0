/**
 * Flags that several commands share, named as people know them from kubectl.
 */
import { Duration, Effect } from "effect"
import { CliError, Flag } from "effect/cli"

export const gateway = Flag.String("gateway").pipe(
  Flag.withMetavar("ADDRESS"),
  Flag.withDescription(
    "The region's gateway, host:port or unix:/path (default: $FERRITE_GATEWAY, a running demo, 127.0.0.1:7420)",
  ),
  Flag.optional,
)

export const namespace = Flag.String("namespace").pipe(
  Flag.withAlias("n"),
  Flag.withMetavar("NAMESPACE"),
  Flag.withDescription("Namespace of the resources (default: default)"),
  Flag.optional,
)

export const allNamespaces = Flag.Boolean("all-namespaces").pipe(
  Flag.withAlias("A"),
  Flag.withDescription("Resources of every namespace"),
  Flag.withDefault(false),
)

export const selector = Flag.String("selector").pipe(
  Flag.withAlias("l"),
  Flag.withMetavar("LABELS"),
  Flag.withDescription("Only resources with these labels, as app=web,tier in (a,b),!old"),
  Flag.withDefault(""),
)

export const filenames = Flag.String("filename").pipe(
  Flag.withAlias("f"),
  Flag.withMetavar("FILE"),
  Flag.withDescription(
    "Manifests in YAML or JSON: a file, a folder, or - for standard input; may be repeated",
  ),
  Flag.atLeast(0),
)

/** `30s`, `2m`, `500ms`; a bare number is seconds. */
export const parseDuration = (text: string): Duration.Duration | undefined => {
  const match = /^(\d{1,9})(ms|s|m|h)?$/.exec(text.trim())
  if (!match) return undefined
  const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[match[2] ?? "s"] ?? 1000
  return Duration.millis(Number(match[1]) * unit)
}

export const timeout = (standard: string) =>
  Flag.String("timeout").pipe(
    Flag.withMetavar("DURATION"),
    Flag.withDescription(`How long to wait, as 500ms, 30s, 2m (default ${standard})`),
    Flag.withDefault(standard),
    Flag.mapEffect((value) => {
      const duration = parseDuration(value)
      return duration === undefined
        ? Effect.fail(
            new CliError.InvalidValue({
              option: "timeout",
              value,
              expected: "a duration as 500ms, 30s or 2m",
              kind: "flag",
            }),
          )
        : Effect.succeed(duration)
    }),
  )

export const wait = (what: string) =>
  Flag.Boolean("wait").pipe(Flag.withDescription(what), Flag.withDefault(false))

export const headers = Flag.Boolean("headers").pipe(
  Flag.withDescription("The line of column names above a table"),
  Flag.withDefault(true),
)
