/**
 * What is wrong with a manifest: one violation per wrong field, all of them at once.
 *
 * A manifest is checked in two ways that meet here. Its schema says what each value may be; the rules of its kind
 * say how values fit together. Where the schema finds a wrong value, the value is cut out and the rules still look
 * at the rest, so that a user who made three mistakes learns of three.
 */
import { Schema, SchemaIssue, SchemaAST } from "effect"

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

/** Annotation of a struct: the message for a field that it does not have, reported as Forbidden. */
export const forbids = "ferriteForbids"

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

const at = (json: unknown, path: Path): unknown =>
  path.reduce<unknown>(
    (value, part) =>
      typeof value === "object" && value !== null && Object.hasOwn(value, part)
        ? (value as Record<string | number, unknown>)[part]
        : undefined,
    json,
  )

/** Cuts a value out of a document that is ours: deletes a key, empties an element. False: it was not there. */
const cut = (json: unknown, path: Path): boolean => {
  const last = path.at(-1)
  const parent = at(json, path.slice(0, -1))
  if (last === undefined || typeof parent !== "object" || parent === null) return false
  if (at(json, path) === undefined) return false
  if (Array.isArray(parent)) parent[Number(last)] = undefined
  else delete (parent as Record<string, unknown>)[last]
  return true
}

const typeNames: Readonly<Record<string, string>> = {
  String: "a string",
  Number: "a number",
  Boolean: "true or false",
  Objects: "an object",
  Arrays: "a list",
}

const typeName = (value: unknown): string =>
  value === null
    ? "null"
    : Array.isArray(value)
      ? "a list"
      : typeof value === "object"
        ? "an object"
        : `${typeof value} ${show(value)}`

/** A value as it fits into a message. */
export const show = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "nothing"
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}

const literalsOf = (ast: SchemaAST.AST): ReadonlyArray<string> =>
  ast._tag === "Literal" ? [String(ast.literal)] : ast._tag === "Union" ? ast.types.flatMap(literalsOf) : []

const messageOf = (issue: SchemaIssue.Issue): string | undefined =>
  issue._tag === "InvalidValue" && typeof issue.annotations?.message === "string"
    ? issue.annotations.message
    : undefined

const annotation = (of: { readonly annotations?: unknown }, key: string): string | undefined => {
  const value = (of.annotations as Record<string, unknown> | undefined)?.[key]
  return typeof value === "string" ? value : undefined
}

const notOneOf = (report: Report, path: Path, value: unknown, literals: ReadonlyArray<string>): void => {
  const rule = `must be ${literals.length === 1 ? "" : "one of "}${literals.join(", ")}`
  if (value === "") report.add(path, "Required", `is empty; ${rule}`)
  else if (typeof value === "string") report.add(path, "NotSupported", `${show(value)} is not known; ${rule}`)
  else report.add(path, "TypeInvalid", `is ${typeName(value)}; ${rule}`)
}

const unknownField = (report: Report, path: Path, ast: SchemaAST.AST): void => {
  const forbidden = annotation(ast, forbids)
  if (forbidden !== undefined) return report.add(path, "Forbidden", forbidden)
  const known = ast._tag === "Objects" ? ast.propertySignatures.map(({ name }) => String(name)) : []
  const near = known.find((name) => name.toLowerCase() === String(path.at(-1)).toLowerCase())
  report.add(
    path,
    "NotSupported",
    near === undefined
      ? `unknown field; known here: ${known.join(", ") || "none"}`
      : `unknown field; did you mean ${near}?`,
  )
}

const collect = (
  issue: SchemaIssue.Issue,
  json: unknown,
  path: Path,
  report: Report,
  wrong: Array<Path>,
): void => {
  const value = at(json, path)
  switch (issue._tag) {
    case "Pointer": {
      const inner = issue.path.map((part) => (typeof part === "number" ? part : String(part)))
      return collect(issue.issue, json, [...path, ...inner], report, wrong)
    }
    case "Composite":
      for (const part of issue.issues) collect(part, json, path, report, wrong)
      return
    case "Filter":
      if (issue.issue._tag === "InvalidValue" && messageOf(issue.issue) === undefined) {
        report.add(
          path,
          "Invalid",
          `${show(value)} must be ${annotation(issue.filter, "expected") ?? "another value"}`,
        )
        break
      }
      return collect(issue.issue, json, path, report, wrong)
    case "Encoding":
      return collect(issue.issue, json, path, report, wrong)
    case "MissingKey":
      return report.add(path, "Required", "is missing")
    case "UnexpectedKey":
      unknownField(report, path, issue.ast)
      break
    case "AnyOf":
    case "OneOf":
      notOneOf(report, path, value, literalsOf(issue.ast))
      break
    case "InvalidType":
      if (issue.ast._tag === "Literal") notOneOf(report, path, value, literalsOf(issue.ast))
      else
        report.add(
          path,
          "TypeInvalid",
          `is ${typeName(value)}; must be ${typeNames[issue.ast._tag] ?? "another type"}`,
        )
      break
    default: {
      const message = messageOf(issue) ?? "is not valid"
      if (value === "") report.add(path, "Required", `is empty; ${message}`)
      else report.add(path, "Invalid", `${show(value)} ${message}`)
    }
  }
  wrong.push(path)
}

/**
 * Reports what of an issue a user has to know, and cuts the wrong values out of `json`, which is changed.
 * `prefix` is the path of `json` inside of the manifest. True: something was cut, and checks that a wrong type had
 * kept from running may now find more.
 */
export const reportIssue = (
  issue: SchemaIssue.Issue,
  json: unknown,
  prefix: Path,
  report: Report,
): boolean => {
  const wrong: Array<Path> = []
  const inner: Report = {
    add: (path, reason, message) => report.add([...prefix, ...path], reason, message),
    touched: (path) => report.touched([...prefix, ...path]),
    violations: report.violations,
  }
  collect(issue, json, [], inner, wrong)
  return wrong.filter((path) => cut(json, path)).length > 0
}
