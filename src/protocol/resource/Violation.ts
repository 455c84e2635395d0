/**
 * What is wrong with a manifest: one violation per wrong field, all of them at once.
 *
 * A manifest is checked in two ways that meet here. Its schema says what each value may be; the rules of its kind
 * say how values fit together. Where the schema finds a wrong value, the value is cut out and the rules still look
 * at the rest, so that a user who made three mistakes learns of three.
 */
import { Schema } from "effect"

/**
 * `Required`: missing or empty. `Invalid`: breaks a rule. `Forbidden`: may not be set or changed here.
 * `Duplicate`: must be unique in a list. `NotSupported`: unknown field or none of the known values.
 * `TypeInvalid`: another JSON type.
 */
export const ViolationReason = Schema.Literals([
  "Required",
  "Invalid",
  "Forbidden",
  "Duplicate",
  "NotSupported",
  "TypeInvalid",
])
export type ViolationReason = typeof ViolationReason.Type

/** `field` is a path as in `spec.ips[0].value`, empty for the whole document. `message` has the rule and the fix. */
export const Violation = Schema.Struct({
  field: Schema.String,
  reason: ViolationReason,
  message: Schema.String,
})
export type Violation = typeof Violation.Type

/** A manifest that can't be accepted. At most `maxViolations`. */
export class InvalidManifest extends Schema.TaggedError<InvalidManifest>()("InvalidManifest", {
  /** `Kind namespace/name` as far as it could be read. */
  subject: Schema.String,
  violations: Schema.Array(Violation),
}) {
  override get message(): string {
    const lines = this.violations.map(({ field, message }) =>
      field === "" ? message : `${field}: ${message}`,
    )
    return `${this.subject} is not valid: ${lines.join("; ")}`
  }
}

/** More than anyone reads; a hostile manifest can have thousands. */
export const maxViolations = 64

export type Path = ReadonlyArray<string | number>

/** `["spec", "ips", 0, "value"]` as `spec.ips[0].value`; keys that are no identifiers in quotes. */
export const formatPath = (path: Path): string =>
  path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(part)) return `${text}[${JSON.stringify(part.slice(0, 64))}]`
    return text === "" ? part : `${text}.${part}`
  }, "")

/** Gathers violations; the first one at a path is kept, so that a cut-out value is not reported as missing. */
export interface Report {
  readonly add: (path: Path, reason: ViolationReason, message: string) => void
  /** Whether something was reported at a path or beneath it: then what is missing there may have been cut out. */
  readonly touched: (path: Path) => boolean
  readonly violations: () => ReadonlyArray<Violation>
}

export const makeReport = (): Report => {
  const found = new Map<string, Violation>()
  return {
    add: (path, reason, message) => {
      const field = formatPath(path)
      if (found.size < maxViolations && !found.has(field)) found.set(field, { field, reason, message })
    },
    touched: (path) => {
      const prefix = formatPath(path)
      return [...found.keys()].some(
        (field) => field === prefix || (field.startsWith(prefix) && /^[.[]/.test(field.slice(prefix.length))),
      )
    },
    violations: () => [...found.values()],
  }
}

/** A value whose wrong parts were cut out: any field may be missing, any element undefined. */
export type Partly<T> =
  T extends ReadonlyArray<infer Element>
    ? ReadonlyArray<Partly<Element> | undefined>
    : T extends object
      ? { readonly [K in keyof T]?: Partly<T[K]> | undefined }
      : T

/** A value as it fits into a message. */
export const show = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "nothing"
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}

/** The rule of a oneof: one of two fields, never both. */
export const exactlyOne = (
  value: object,
  [first, second]: readonly [string, string],
  path: Path,
  report: Report,
): void => {
  const given = Number(Object.hasOwn(value, first)) + Number(Object.hasOwn(value, second))
  if (given === 2) report.add(path, "Forbidden", `has both ${first} and ${second}; set exactly one of them`)
  if (given === 0 && !report.touched(path)) {
    report.add(path, "Required", `has neither ${first} nor ${second}; set exactly one of them`)
  }
}
