/** Makes a case that differs small: commands and operations are left out, and packets cut, while it still differs. */
import { Effect } from "effect"
import type { Case, Command } from "./case.ts"

/** Runs that shrinking one case may cost. */
const maxRuns = 600

const without = <A>(list: ReadonlyArray<A>, from: number, count: number): ReadonlyArray<A> => [
  ...list.slice(0, from),
  ...list.slice(from + count),
]

/** Simpler forms of one command. */
const simpler = (command: Command): ReadonlyArray<Command> => {
  if (command._tag === "Apply" && command.operations.length > 1)
    return command.operations.map((_, i) => ({ ...command, operations: without(command.operations, i, 1) }))
  if (command._tag === "Frame" && (command.partial === true || command.segment !== undefined))
    return [{ _tag: "Frame", port: command.port, bytes: command.bytes }]
  return []
}

export const shrink = Effect.fnUntraced(function* <E>(
  found: Case,
  differs: (one: Case) => Effect.Effect<boolean, E>,
) {
  let best = found
  let runs = 0
  const attempt = Effect.fnUntraced(function* (commands: ReadonlyArray<Command>) {
    if (runs++ >= maxRuns) return false
    const smaller = { ...best, commands }
    if (!(yield* differs(smaller))) return false
    best = smaller
    return true
  })
  for (let size = Math.ceil(best.commands.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2))
    for (let from = best.commands.length - size; from > -size; from -= size)
      yield* attempt(without(best.commands, Math.max(from, 0), size + Math.min(from, 0)))
  for (let again = true; again;) {
    again = false
    for (let i = best.commands.length - 1; i >= 0; i--) {
      again = (yield* attempt(without(best.commands, i, 1))) || again
      const command = best.commands[i]
      for (const one of command === undefined ? [] : simpler(command))
        if (yield* attempt(best.commands.with(i, one))) {
          again = true
          i++
          break
        }
    }
  }
  return best
})
