/**
 * One text per JSON value: object keys sorted, nothing else changed. Two values are equal for the store if and
 * only if their texts are; so a write that changes nothing is found by comparing strings, in every layer alike.
 *
 * What `JSON.stringify` drops (undefined, functions) is dropped here too; what it refuses (cycles, bigint) is refused.
 */

/** Deeper values are refused: they are no resource, and recursion has to end. */
export const maxDepth = 64

/** @throws Error with a reason for people, when the value has no JSON text */
export const canonicalJson = (value: unknown): string => {
  const text = write(value, "", 0)
  if (text === undefined) throw new Error("is not JSON")
  return text
}

const write = (value: unknown, key: string, depth: number): string | undefined => {
  switch (typeof value) {
    case "string":
    case "boolean":
    case "number":
      return JSON.stringify(value)
    case "object":
      break
    case "bigint":
      throw new Error("holds a bigint, which JSON has not")
    default:
      return undefined
  }
  if (value === null) return "null"
  if (depth >= maxDepth) throw new Error(`nests deeper than ${maxDepth} levels`)
  if ("toJSON" in value && typeof value.toJSON === "function") {
    return write(value.toJSON(key), key, depth + 1)
  }
  if (Array.isArray(value)) {
    let text = "["
    for (let index = 0; index < value.length; index++) {
      if (index > 0) text += ","
      text += write(value[index], String(index), depth + 1) ?? "null"
    }
    return text + "]"
  }
  let text = "{"
  for (const name of Object.keys(value).sort()) {
    const member = write((value as Record<string, unknown>)[name], name, depth + 1)
    if (member === undefined) continue
    if (text.length > 1) text += ","
    text += JSON.stringify(name) + ":" + member
  }
  return text + "}"
}

/** Reads a text back; the result is frozen all the way down, so that it may be shared between readers. */
export const parseFrozen = (text: string): unknown => freeze(JSON.parse(text))

const freeze = <A>(value: A): A => {
  if (typeof value === "object" && value !== null) {
    for (const member of Object.values(value)) freeze(member)
    Object.freeze(value)
  }
  return value
}
