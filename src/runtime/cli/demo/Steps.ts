/**
 * The demo's progress: one line a step, with its time; a deadline for each; a clear word where one fails.
 *
 * On a terminal a running step shows at once and counts; elsewhere a line appears when it is done, and every ten
 * seconds until then.
 */
import { Clock, Console, Duration, Effect, Ref, Schedule } from "effect"
import { type CommandFailure, failed } from "../Failure.ts"

export interface Steps {
  /**
   * Runs a step. It fails where the work does, where the deadline passes, or where `meanwhile` fails first.
   * The work may say what it waits for by `report`; a passed deadline repeats it.
   */
  readonly step: <A, E extends { readonly message: string }, R>(
    title: string,
    deadline: Duration.Input,
    work: (report: (doing: string) => Effect.Effect<void>) => Effect.Effect<A, E | CommandFailure, R>,
  ) => Effect.Effect<A, CommandFailure, R>
  /** Milliseconds since the first step. */
  readonly elapsed: Effect.Effect<number>
}

const seconds = (millis: number): string => `${(millis / 1000).toFixed(1)} s`

const isFailure = (error: { readonly message: string }): error is CommandFailure =>
  "_tag" in error && error._tag === "CommandFailure"

export const make = Effect.fnUntraced(function* (
  meanwhile: Effect.Effect<never, CommandFailure>,
): Effect.fn.Return<Steps> {
  const first = yield* Clock.currentTimeMillis
  const terminal = process.stdout.isTTY === true
  const write = (text: string) => Effect.sync(() => process.stdout.write(text))

  const step: Steps["step"] = (title, deadline, work) =>
    Effect.gen(function* () {
      const begun = yield* Clock.currentTimeMillis
      const doing = yield* Ref.make("")
      const now = Effect.gen(function* () {
        const what = yield* Ref.get(doing)
        const took = seconds((yield* Clock.currentTimeMillis) - begun)
        return `  … ${title}${what === "" ? "" : `: ${what}`} (${took})`
      })
      const ticker = terminal
        ? Effect.flatMap(now, (line) => write(`\r\u001b[K${line}`)).pipe(
            Effect.repeat(Schedule.spaced("100 millis")),
          )
        : Effect.sleep("10 seconds").pipe(
            Effect.andThen(now),
            Effect.flatMap((line) => Console.log(line)),
            Effect.forever,
          )
      const limited = Effect.raceFirst(
        work((what) => Ref.set(doing, what)),
        meanwhile,
      ).pipe(
        Effect.timeoutOrElse({
          duration: deadline,
          orElse: () =>
            Effect.flatMap(Ref.get(doing), (what) =>
              Effect.fail(
                failed(
                  `${title}: not done within ${Duration.format(Duration.fromInputUnsafe(deadline))}${what === "" ? "" : `, still ${what}`}`,
                ),
              ),
            ),
        }),
        Effect.mapError((error) => (isFailure(error) ? error : failed(`${title}: ${error.message}`))),
      )
      const shown = Effect.raceFirst(limited, Effect.andThen(ticker, Effect.never))
      const result = yield* shown.pipe(
        Effect.tapError(() => (terminal ? write(`\r\u001b[K  ✗ ${title}\n`) : Console.log(`  ✗ ${title}`))),
        Effect.onInterrupt(() => (terminal ? write("\r\u001b[K") : Effect.void)),
      )
      const took = (yield* Clock.currentTimeMillis) - begun
      const line = `  ✓ ${title.padEnd(62)} ${seconds(took)}`
      yield* terminal ? write(`\r\u001b[K${line}\n`) : Console.log(line)
      return result
    })

  return { step, elapsed: Effect.map(Clock.currentTimeMillis, (now) => now - first) }
})
