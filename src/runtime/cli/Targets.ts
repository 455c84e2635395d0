/**
 * What a command is about, as people type it: `nics`, `nic nic-a nic-b`, `nic/nic-a network/blue`, `nics,nodes`.
 */
import { Effect } from "effect"
import { findKind, kindNames, kinds } from "#protocol/resource/Kinds.ts"
import type { AnyKind } from "#protocol/resource/Kind.ts"
import type { ResourceKey } from "#protocol/resource/Resource.ts"
import { type CommandFailure, misused } from "./Failure.ts"

export interface Target {
  readonly kind: AnyKind
  /** Empty: all of the kind. */
  readonly names: ReadonlyArray<string>
}

/** All kinds with their short names, one line each. */
export const kindHelp = kinds.map(
  ({ kind, plural, shortNames }) => `${plural} (${shortNames.join(", ")}): ${kind}`,
)

const known = `Known are ${kindNames.join(", ")}; \`get\` also knows routes, alone.`

const unknown = (name: string): CommandFailure =>
  name === "route" || name === "routes"
    ? misused("routes are no resources: they can only be shown, alone, by `ferrite get routes`")
    : misused(`there is no kind ${JSON.stringify(name)}`, [known])

const kindNamed = (name: string): Effect.Effect<AnyKind, CommandFailure> => {
  const kind = findKind(name)
  return kind === undefined ? Effect.fail(unknown(name)) : Effect.succeed(kind)
}

/** One target per kind that is named, in the order of the words. */
export const parseTargets = Effect.fnUntraced(function* (
  words: ReadonlyArray<string>,
): Effect.fn.Return<ReadonlyArray<Target>, CommandFailure> {
  const [first = "", ...rest] = words
  if (!first.includes("/")) {
    if (first === "all") return kinds.map((kind) => ({ kind, names: [] }))
    const names = first.split(",").filter((name) => name !== "")
    const named = yield* Effect.forEach(names, kindNamed)
    if (named.length === 0) return yield* misused("a kind is missing", [known])
    if (rest.length > 0 && named.length > 1) {
      return yield* misused("names can follow one kind only; write kind/name for several")
    }
    const slashed = rest.find((name) => name.includes("/"))
    if (slashed !== undefined)
      return yield* misused(`${slashed}: either kind/name everywhere, or one kind and names`)
    return named.map((kind) => ({ kind, names: rest }))
  }
  const targets = new Map<AnyKind, Array<string>>()
  for (const word of words) {
    const [kindName = "", name = "", ...more] = word.split("/")
    if (name === "" || more.length > 0) return yield* misused(`${word}: write kind/name`)
    const kind = yield* kindNamed(kindName)
    targets.set(kind, [...(targets.get(kind) ?? []), name])
  }
  return [...targets].map(([kind, names]) => ({ kind, names }))
})

export const keyIn = (kind: AnyKind, namespace: string, name: string): ResourceKey => ({
  kind: kind.kind,
  namespace: kind.namespaced ? namespace : "",
  name,
})

/** `networkinterface/nic-a`, as commands print what they did something to. */
export const nameOf = (key: { readonly kind: string; readonly name: string }): string =>
  `${findKind(key.kind)?.singular ?? key.kind.toLowerCase()}/${key.name}`
