/**
 * Documents from outside, made plain: bounded, without cycles, aliases or anything that JSON has not.
 *
 * A YAML parser hands over shared objects, a hostile one a deep or endless tree; what comes out of here is a fresh
 * tree that may be walked and changed. `null` counts as absent, as in Kubernetes: a member that is null is left out.
 */
import { formatPath, type Path, type Report } from "./Violation.ts"

/** Of one manifest, in JSON's UTF-8. */
export const maxManifestBytes = 256 * 1024
const maxDepth = 32
const maxNodes = 20_000

export type JsonObject = { [key: string]: unknown }

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Maps of free keys, where Kubernetes reads a null as the empty string. */
const stringMaps = new Set(["labels", "annotations", "attributes", "matchLabels"])

/** UTF-8 bytes of well-formed text. */
const utf8Length = (text: string): number => {
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit >= 0x80) bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2
  }
  return bytes
}

/** A plain copy; undefined where the document is refused, which `report` then says. */
export const plain = (document: unknown, report: Report): unknown => {
  let bytes = 0
  let nodes = 0
  let refused = false

  const refuse = (path: Path, message: string, reason: "Invalid" | "TypeInvalid" = "Invalid"): undefined => {
    refused = true
    report.add(path, reason, message)
    return undefined
  }

  const text = (value: string, path: Path): void => {
    bytes += value.length > maxManifestBytes ? value.length : utf8Length(value)
    if (!value.isWellFormed()) refuse(path, "has half of a surrogate pair; must be well-formed Unicode")
  }

  const visit = (value: unknown, path: Path): unknown => {
    if (refused) return undefined
    nodes++
    bytes += 2
    if (nodes > maxNodes || bytes > maxManifestBytes) {
      return refuse(
        [],
        `is too large: a manifest must have at most ${maxManifestBytes} bytes and ${maxNodes} values`,
      )
    }
    if (path.length > maxDepth) return refuse(path.slice(0, 4), `is nested deeper than ${maxDepth} levels`)
    if (value === null || typeof value === "boolean") return value
    if (typeof value === "string") {
      text(value, path)
      return value
    }
    if (typeof value === "number" && Number.isFinite(value)) return value
    if (Array.isArray(value)) return Array.from(value, (element, i) => visit(element, [...path, i]))
    const prototype: unknown = typeof value === "object" ? Object.getPrototypeOf(value) : undefined
    if (prototype !== Object.prototype && prototype !== null) {
      return refuse(path, `is no JSON value (${typeof value})`, "TypeInvalid")
    }
    const copy: JsonObject = {}
    const nulls = stringMaps.has(String(path.at(-1))) ? "" : undefined
    for (const [key, member] of Object.entries(value as object)) {
      if (member === undefined) continue
      if (key === "__proto__") return refuse(path, `has the field ${formatPath([key])}, which is not allowed`)
      text(key, path)
      const inner = visit(member, [...path, key]) ?? nulls
      if (inner !== undefined) copy[key] = inner
    }
    return copy
  }

  const result = visit(document, [])
  return refused ? undefined : result
}

/** Whether two JSON values say the same; the order of keys does not matter, members that are undefined don't exist. */
export const sameJson = (a: unknown, b: unknown): boolean => {
  if (Object.is(a, b)) return true
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((element, i) => sameJson(element, b[i]))
  }
  if (!isObject(a) || !isObject(b)) return false
  const keys = Object.keys(a).filter((key) => a[key] !== undefined)
  const others = Object.keys(b).filter((key) => b[key] !== undefined)
  return (
    keys.length === others.length && keys.every((key) => Object.hasOwn(b, key) && sameJson(a[key], b[key]))
  )
}
