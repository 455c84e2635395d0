/**
 * Label selectors: the `matchLabels`/`matchExpressions` of manifests and the one-line form of queries.
 *
 * The line is Kubernetes' `app=web,tier in (a,b),!old`. Both end as a list of requirements that all must hold.
 */
import { Schema } from "effect"
import { Labels, labelValueProblem, qualifiedNameProblem, checked } from "./Names.ts"
import { listOf } from "./Values.ts"

export const Operator = Schema.Literals(["In", "NotIn", "Exists", "DoesNotExist"])

export const Requirement = Schema.Struct({
  key: checked(qualifiedNameProblem),
  operator: Operator,
  values: Schema.optionalKey(listOf(checked(labelValueProblem), 64)),
})
export type Requirement = typeof Requirement.Type

export const LabelSelector = Schema.Struct({
  matchLabels: Schema.optionalKey(Labels),
  matchExpressions: Schema.optionalKey(listOf(Requirement, 64)),
})
export type LabelSelector = typeof LabelSelector.Type

/** A selector line that can't be read. */
export class InvalidSelector extends Schema.TaggedError<InvalidSelector>()("InvalidSelector", {
  selector: Schema.String,
  reason: Schema.String,
}) {
  override get message(): string {
    return `label selector ${JSON.stringify(this.selector)}: ${this.reason}`
  }
}

export const requirementsOf = (selector: LabelSelector): ReadonlyArray<Requirement> => [
  ...Object.entries(selector.matchLabels ?? {}).map(([key, value]): Requirement => ({
    key,
    operator: "In",
    values: [value],
  })),
  ...(selector.matchExpressions ?? []),
]

/** Whether labels satisfy every requirement. None: everything does. */
export const matches = (
  requirements: ReadonlyArray<Requirement>,
  labels: Readonly<Record<string, string>> | undefined,
): boolean =>
  requirements.every(({ key, operator, values = [] }) => {
    const value = labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined
    switch (operator) {
      case "In":
        return value !== undefined && values.includes(value)
      case "NotIn":
        return value === undefined || !values.includes(value)
      case "Exists":
        return value !== undefined
      case "DoesNotExist":
        return value === undefined
    }
  })

/** At most this much text and this many requirements. */
const longestLine = 4096
const mostRequirements = 64

/** Splits at commas outside of parentheses. */
const split = (line: string): ReadonlyArray<string> => {
  const parts: Array<string> = [""]
  let depth = 0
  for (const char of line) {
    if (char === "(") depth++
    if (char === ")") depth--
    if (char === "," && depth === 0) parts.push("")
    else parts[parts.length - 1] += char
  }
  return parts
}

const parseOne = (text: string): Requirement | string => {
  const set = /^\s*(\S+?)\s+(in|notin)\s*\(([^()]*)\)\s*$/.exec(text)
  if (set !== null) {
    const [, key = "", operator, list = ""] = set
    return { key, operator: operator === "in" ? "In" : "NotIn", values: list.split(",").map((v) => v.trim()) }
  }
  const equality = /^\s*([^\s=!]+)\s*(==|=|!=)\s*([^\s=!]*)\s*$/.exec(text)
  if (equality !== null) {
    const [, key = "", operator, value = ""] = equality
    return { key, operator: operator === "!=" ? "NotIn" : "In", values: [value] }
  }
  const existence = /^\s*(!?)\s*([^\s=!()]+)\s*$/.exec(text)
  if (existence !== null) {
    const [, not, key = ""] = existence
    return { key, operator: not === "!" ? "DoesNotExist" : "Exists" }
  }
  return `${JSON.stringify(text.trim())} is none of key=value, key!=value, key in (a,b), key notin (a,b), key, !key`
}

/** Requirements of a line, or why it can't be read. The empty line selects everything. */
export const parseSelector = (line: string): ReadonlyArray<Requirement> | InvalidSelector => {
  const fail = (reason: string) => new InvalidSelector({ selector: line.slice(0, 256), reason })
  if (line.trim() === "") return []
  if (line.length > longestLine) return fail(`must have at most ${longestLine} characters`)
  const requirements: Array<Requirement> = []
  for (const part of split(line)) {
    const one = parseOne(part)
    if (typeof one === "string") return fail(one)
    const keyProblem = qualifiedNameProblem(one.key)
    if (keyProblem !== undefined) return fail(`key ${JSON.stringify(one.key)} ${keyProblem}`)
    for (const value of one.values ?? []) {
      const problem = labelValueProblem(value)
      if (problem !== undefined) return fail(`value ${JSON.stringify(value)} ${problem}`)
    }
    requirements.push(one)
  }
  if (requirements.length > mostRequirements)
    return fail(`must have at most ${mostRequirements} requirements`)
  return requirements
}

/** The one-line form, as tables show it. */
export const formatSelector = (requirements: ReadonlyArray<Requirement>): string =>
  requirements
    .map(({ key, operator, values = [] }) => {
      if (operator === "Exists") return key
      if (operator === "DoesNotExist") return `!${key}`
      if (values.length === 1) return `${key}${operator === "In" ? "=" : "!="}${values[0]}`
      return `${key} ${operator === "In" ? "in" : "notin"} (${values.join(",")})`
    })
    .join(",")
