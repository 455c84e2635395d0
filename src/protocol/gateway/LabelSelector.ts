/**
 * Label selectors as Kubernetes writes them: `app=web,tier in (a,b),!old`. All terms must hold.
 *
 * Parsing is total over any text and bounded: at most 4,096 characters, 64 terms, 64 values a term.
 */
import { Result } from "effect"

export type Requirement =
  | { readonly _tag: "In"; readonly key: string; readonly values: ReadonlyArray<string> }
  | { readonly _tag: "NotIn"; readonly key: string; readonly values: ReadonlyArray<string> }
  | { readonly _tag: "Exists"; readonly key: string }
  | { readonly _tag: "Missing"; readonly key: string }

export type LabelSelector = ReadonlyArray<Requirement>

export const everything: LabelSelector = []

const maxLength = 4096
const maxTerms = 64

const namePattern = /^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/
const prefixPattern = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/

const isKey = (text: string): boolean => {
  const parts = text.split("/")
  if (parts.length > 2) return false
  const name = parts.pop() ?? ""
  return namePattern.test(name) && parts.every((prefix) => prefixPattern.test(prefix))
}

const isValue = (text: string): boolean => text === "" || namePattern.test(text)

/** Splits at commas that are not within parentheses. */
const splitTerms = (text: string): ReadonlyArray<string> => {
  const terms: Array<string> = []
  let depth = 0
  let start = 0
  for (let index = 0; index < text.length; index++) {
    const character = text[index]
    if (character === "(") depth++
    else if (character === ")") depth--
    else if (character === "," && depth <= 0) {
      terms.push(text.slice(start, index).trim())
      start = index + 1
    }
  }
  terms.push(text.slice(start).trim())
  return terms
}

const parseTerm = (term: string): Requirement | string => {
  const set = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/.exec(term)
  if (set) {
    const [, key = "", operator, list = ""] = set
    const values = list.split(",").map((value) => value.trim())
    if (!isKey(key)) return `"${key}" is no label key`
    if (values.length > maxTerms) return `more than ${maxTerms} values`
    const wrong = values.find((value) => !isValue(value))
    if (wrong !== undefined) return `"${wrong}" is no label value`
    return { _tag: operator === "in" ? "In" : "NotIn", key, values }
  }
  const equality = /^([^=!\s]+)\s*(==|=|!=)\s*(\S*)$/.exec(term)
  if (equality) {
    const [, key = "", operator, value = ""] = equality
    if (!isKey(key)) return `"${key}" is no label key`
    if (!isValue(value)) return `"${value}" is no label value`
    return { _tag: operator === "!=" ? "NotIn" : "In", key, values: [value] }
  }
  const [tag, key] = term.startsWith("!")
    ? (["Missing", term.slice(1).trim()] as const)
    : (["Exists", term] as const)
  return isKey(key) ? { _tag: tag, key } : `"${term}" is no selector term`
}

/** The selector, or what is wrong with the text and how it should look. */
export const parse = (text: string): Result.Result<LabelSelector, string> => {
  if (text.trim() === "") return Result.succeed(everything)
  if (text.length > maxLength) return Result.fail(`longer than ${maxLength} characters`)
  const terms = splitTerms(text)
  if (terms.length > maxTerms) return Result.fail(`more than ${maxTerms} terms`)
  const requirements: Array<Requirement> = []
  for (const term of terms) {
    const requirement = parseTerm(term)
    if (typeof requirement === "string") {
      return Result.fail(
        `${requirement}; write key=value, key!=value, key in (a,b), key notin (a,b), key or !key`,
      )
    }
    requirements.push(requirement)
  }
  return Result.succeed(requirements)
}

/** As in Kubernetes, `!=` and `notin` also hold where the label is missing. */
const holds = (requirement: Requirement, labels: Readonly<Record<string, string>>): boolean => {
  const value = Object.hasOwn(labels, requirement.key) ? labels[requirement.key] : undefined
  switch (requirement._tag) {
    case "In":
      return value !== undefined && requirement.values.includes(value)
    case "NotIn":
      return value === undefined || !requirement.values.includes(value)
    case "Exists":
      return value !== undefined
    case "Missing":
      return value === undefined
  }
}

export const matches = (selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean =>
  selector.every((requirement) => holds(requirement, labels))

/** The part that the store can filter by itself. */
export const equalities = (selector: LabelSelector): Readonly<Record<string, string>> =>
  Object.fromEntries(
    selector.flatMap((requirement) =>
      requirement._tag === "In" && requirement.values.length === 1
        ? [[requirement.key, requirement.values[0] ?? ""] as const]
        : [],
    ),
  )

export const format = (selector: LabelSelector): string =>
  selector
    .map((requirement) => {
      switch (requirement._tag) {
        case "In":
          return requirement.values.length === 1
            ? `${requirement.key}=${requirement.values[0]}`
            : `${requirement.key} in (${requirement.values.join(",")})`
        case "NotIn":
          return requirement.values.length === 1
            ? `${requirement.key}!=${requirement.values[0]}`
            : `${requirement.key} notin (${requirement.values.join(",")})`
        case "Exists":
          return requirement.key
        case "Missing":
          return `!${requirement.key}`
      }
    })
    .join(",")
