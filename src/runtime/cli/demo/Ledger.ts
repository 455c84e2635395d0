/**
 * What a demo has put into the machine, written down before it is made, so that a later demo can remove what a
 * killed one left behind. Only what is written here is ever removed.
 *
 * A process is named by its id and the kernel's start time of it: an id that the kernel gave to another process
 * since is left alone.
 */
import { Effect } from "effect"
import { appendFileSync, mkdirSync, readFileSync, rmSync } from "node:fs"
import { run } from "../Shell.ts"

export type Entry =
  | { readonly _tag: "Process"; readonly name: string; readonly pid: number; readonly startTicks: string }
  | { readonly _tag: "Namespace"; readonly name: string }
  | { readonly _tag: "Folder"; readonly path: string }

/** Kernel clock ticks at which a process started; undefined where there is none, or only its remains. */
export const startTicksOf = (pid: number): string | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    // The second field is the program's name in parentheses and may hold anything.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return fields[0] === "Z" ? undefined : fields[19]
  } catch {
    return undefined
  }
}

export const isAlive = (entry: { readonly pid: number; readonly startTicks: string }): boolean =>
  startTicksOf(entry.pid) === entry.startTicks

const ledgerFile = (folder: string) => `${folder}/ledger.jsonl`

export const record = (folder: string, entry: Entry): Effect.Effect<void> =>
  Effect.sync(() => {
    mkdirSync(folder, { recursive: true })
    appendFileSync(ledgerFile(folder), `${JSON.stringify(entry)}\n`)
  })

/** What is written down, newest first. A line that was cut off by a kill is left out. */
export const entries = (folder: string): ReadonlyArray<Entry> => {
  let text: string
  try {
    text = readFileSync(ledgerFile(folder), "utf8")
  } catch {
    return []
  }
  return text
    .split("\n")
    .flatMap((line): ReadonlyArray<Entry> => {
      try {
        const entry = JSON.parse(line) as Entry
        return typeof entry === "object" && entry !== null && "_tag" in entry ? [entry] : []
      } catch {
        return []
      }
    })
    .toReversed()
}

const kill = (pid: number, signal: NodeJS.Signals): void => {
  try {
    // A negative id is the group, which every process of ours leads.
    process.kill(-pid, signal)
  } catch {
    try {
      process.kill(pid, signal)
    } catch {
      // It is gone.
    }
  }
}

/** Ends a process and its group: asks first, after five seconds no more. */
export const endProcess = (entry: {
  readonly pid: number
  readonly startTicks: string
}): Effect.Effect<void> =>
  Effect.gen(function* () {
    if (!isAlive(entry)) return
    kill(entry.pid, "SIGTERM")
    for (let waited = 0; waited < 5000 && isAlive(entry); waited += 20) yield* Effect.sleep(20)
    if (isAlive(entry)) {
      kill(entry.pid, "SIGKILL")
      for (let waited = 0; waited < 2000 && isAlive(entry); waited += 20) yield* Effect.sleep(20)
    }
  })

export const removeNamespace = (name: string): Effect.Effect<void> =>
  run("ip", ["netns", "delete", name], { timeout: "10 seconds" }).pipe(Effect.ignore)

const removeEntry = (entry: Entry): Effect.Effect<void> => {
  switch (entry._tag) {
    case "Process":
      return endProcess(entry)
    case "Namespace":
      return removeNamespace(entry.name)
    case "Folder":
      return Effect.sync(() => rmSync(entry.path, { recursive: true, force: true }))
  }
}

/** Removes everything that is written down and still there; processes first, all at once. Answers how many. */
export const sweep = (folder: string): Effect.Effect<number> =>
  Effect.gen(function* () {
    const left = entries(folder)
    const processes = left.filter((entry) => entry._tag === "Process")
    yield* Effect.forEach(processes, removeEntry, { concurrency: 16, discard: true })
    const others = left.filter((entry) => entry._tag !== "Process")
    yield* Effect.forEach(others, removeEntry, { concurrency: 8, discard: true })
    yield* Effect.sync(() => rmSync(ledgerFile(folder), { force: true }))
    return left.length
  })
