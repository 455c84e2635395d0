/**
 * The demo's child processes: each leads a process group of its own, writes to its own log, and ends with the
 * demo, even where the demo is killed (the kernel's parent-death signal).
 *
 * While the region is coming up, a child that ends fails the demo with the end of its log. Once it is up, a child
 * that ends is started again, so that one can kill any of them and watch packets flow on.
 */
import { Deferred, Effect, Ref, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs"
import { type CommandFailure, failed } from "../Failure.ts"
import * as Ledger from "./Ledger.ts"

export interface Program {
  /** Unique in the demo; names the log. */
  readonly name: string
  readonly command: string
  readonly args: ReadonlyArray<string>
  /** Nobody needs to hear that it ended and starts again. */
  readonly quiet?: boolean
}

export interface Processes {
  /** Starts a program and keeps it until the scope of the demo ends. */
  readonly start: (program: Program) => Effect.Effect<void, CommandFailure>
  /** Ends a program that `start` keeps, so that it is started again. */
  readonly restart: (name: string) => Effect.Effect<void>
  /** Starts a program that may end when it is done; ended with the scope of who asks. */
  readonly once: (program: Program) => Effect.Effect<void, CommandFailure, Scope.Scope>
  /** Fails once a program ends while the region is coming up. */
  readonly failure: Effect.Effect<never, CommandFailure>
  /** From now on programs that end are started again; `notice` hears of it. */
  readonly settle: (notice: (message: string) => Effect.Effect<void>) => Effect.Effect<void>
  readonly logTail: (name: string, lines?: number) => ReadonlyArray<string>
  readonly logFile: (name: string) => string
}

type Mode =
  | { readonly _tag: "ComingUp" }
  | { readonly _tag: "Settled"; readonly notice: (message: string) => Effect.Effect<void> }

const describeEnd = (child: ChildProcess): string =>
  child.signalCode === null ? `with status ${child.exitCode}` : `by ${child.signalCode}`

export const make = Effect.fnUntraced(function* (
  folder: string,
): Effect.fn.Return<Processes, never, Scope.Scope> {
  const logs = `${folder}/logs`
  mkdirSync(logs, { recursive: true })
  const scope = yield* Effect.scope
  const mode = yield* Ref.make<Mode>({ _tag: "ComingUp" })
  const died = yield* Deferred.make<never, CommandFailure>()
  const logFile = (name: string) => `${logs}/${name}.log`

  const logTail = (name: string, lines = 12): ReadonlyArray<string> => {
    try {
      return readFileSync(logFile(name), "utf8").trimEnd().split("\n").slice(-lines)
    } catch {
      return []
    }
  }

  /** The present life of each program that `start` keeps. */
  const living = new Map<string, { readonly pid: number; readonly startTicks: string }>()

  /** One life of a program: started, recorded, and ended with the scope. */
  const launch = (program: Program) =>
    Effect.acquireRelease(
      Effect.callback<{ child: ChildProcess; pid: number; startTicks: string }, CommandFailure>((resume) => {
        const log = openSync(logFile(program.name), "a")
        const child = spawn("setpriv", ["--pdeathsig", "TERM", "--", program.command, ...program.args], {
          detached: true,
          stdio: ["ignore", log, log],
        })
        closeSync(log)
        child.once("error", (error) =>
          resume(Effect.fail(failed(`${program.name} can't start: ${error.message}`))),
        )
        child.once("spawn", () => {
          const pid = child.pid ?? 0
          const startTicks = Ledger.startTicksOf(pid) ?? ""
          resume(
            Effect.as(Ledger.record(folder, { _tag: "Process", name: program.name, pid, startTicks }), {
              child,
              pid,
              startTicks,
            }),
          )
        })
      }),
      Ledger.endProcess,
    )

  const ended = (child: ChildProcess) =>
    Effect.callback<void>((resume) => {
      if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
      child.once("exit", () => resume(Effect.void))
    })

  const live = (program: Program, started: Deferred.Deferred<void, CommandFailure>) =>
    Effect.gen(function* () {
      const { child, pid, startTicks } = yield* launch(program)
      living.set(program.name, { pid, startTicks })
      yield* Deferred.succeed(started, undefined)
      yield* ended(child)
      const now = yield* Ref.get(mode)
      const end = `${program.name} ended ${describeEnd(child)}`
      if (now._tag === "ComingUp") {
        yield* Deferred.fail(
          died,
          failed(`${end}; the end of ${logFile(program.name)}:`, logTail(program.name)),
        )
        return yield* Effect.never
      }
      if (!program.quiet) yield* now.notice(`${end}; starting it again`)
      yield* Effect.sleep("500 millis")
    }).pipe(Effect.scoped)

  const start = Effect.fnUntraced(function* (program: Program) {
    const started = yield* Deferred.make<void, CommandFailure>()
    yield* live(program, started).pipe(
      Effect.catch((error) => Effect.andThen(Deferred.fail(started, error), Deferred.fail(died, error))),
      Effect.forever,
      Effect.forkIn(scope),
    )
    yield* Deferred.await(started)
  })

  return {
    start,
    restart: (name) =>
      Effect.suspend(() => {
        const life = living.get(name)
        return life === undefined ? Effect.void : Ledger.endProcess(life)
      }),
    once: (program) => Effect.asVoid(launch(program)),
    failure: Deferred.await(died),
    settle: (notice) => Ref.set(mode, { _tag: "Settled", notice }),
    logTail,
    logFile,
  }
})
