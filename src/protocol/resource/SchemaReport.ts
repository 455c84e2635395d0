/**
 * Turns what a schema found into violations, and cuts the wrong values out of the document.
 *
 * A user has to know the field, the rule and the fix; a schema knows paths, types and filters.
 */
import type { SchemaAST, SchemaIssue } from "effect"
import { type Path, type Report, show } from "./Violation.ts"

/** Annotation of a struct: the message for a field that it does not have, reported as Forbidden. */
export const forbids = "ferriteForbids"

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
    case "Filter": {
      if (issue.issue._tag !== "InvalidValue") return collect(issue.issue, json, path, report, wrong)
      const rule =
        messageOf(issue.issue) ?? `must be ${annotation(issue.filter, "expected") ?? "another value"}`
      if (value === "") report.add(path, "Required", `is empty; ${rule}`)
      else report.add(path, "Invalid", typeof value === "object" ? rule : `${show(value)} ${rule}`)
      break
    }
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
    default:
      report.add(path, "Invalid", messageOf(issue) ?? "is not valid")
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
