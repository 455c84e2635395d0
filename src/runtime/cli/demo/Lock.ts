/**
 * One demo at a time on a checkout: a file with the process that runs it. What a killed demo left behind is removed
 * by whoever takes the lock after it.
 */
import { Effect, type Scope } from "effect"
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { type CommandFailure, failed } from "../Failure.ts"
import * as Ledger from "./Ledger.ts"

interface Holder {
  readonly pid: number
  readonly startTicks: string
}

const read = (file: string): Holder | undefined => {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Holder
  } catch {
    return undefined
  }
}

const tryWrite = (file: string, holder: Holder): boolean => {
  try {
    writeFileSync(file, JSON.stringify(holder), { flag: "wx" })
    return true
  } catch {
    return false
  }
}

/** Holds the folder until the scope ends. */
export const acquire = (folder: string): Effect.Effect<void, CommandFailure, Scope.Scope> => {
  const file = `${folder}/demo.lock`
  const me: Holder = { pid: process.pid, startTicks: Ledger.startTicksOf(process.pid) ?? "" }
  return Effect.acquireRelease(
    Effect.suspend(() => {
      mkdirSync(folder, { recursive: true })
      for (let attempt = 0; attempt < 3; attempt++) {
        if (tryWrite(file, me)) return Effect.void
        const holder = read(file)
        if (holder !== undefined && Ledger.isAlive(holder)) {
          return Effect.fail(
            failed(`a demo is running already (process ${holder.pid})`, [
              "Stop it with Ctrl-C in its terminal first.",
            ]),
          )
        }
        rmSync(file, { force: true })
      }
      return Effect.fail(failed(`can't take ${file}`))
    }),
    () => Effect.sync(() => rmSync(file, { force: true })),
  )
}
