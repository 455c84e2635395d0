/**
 * Keeps a long-lived effect running: a session, a connection, a loop. When it ends it is started again after a
 * backoff; after a healthy while the backoff starts from the beginning; when it fails more often than the
 * intensity allows, the supervisor gives up and fails with `Escalated`, which is the parent's to handle.
 *
 * What it is doing is a value (`SupervisorState`), so that a condition can say why something is away and when it
 * is tried next. One supervisor per child, as long as its scope.
 */
import {
  Cause,
  Clock,
  Deferred,
  Effect,
  Exit,
  Latch,
  Random,
  Schema,
  Scope,
  Stream,
  SubscriptionRef,
} from "effect"
import * as RestartPolicy from "./RestartPolicy.ts"

export type SupervisorState =
  | { readonly _tag: "Running"; readonly sinceMillis: number; readonly restarts: number }
  | {
      readonly _tag: "BackingOff"
      readonly reason: string
      /** Failures in a row. */
      readonly attempt: number
      readonly nextAttemptMillis: number
    }
  | { readonly _tag: "Escalated"; readonly reason: string; readonly failures: number }
  /** The child ended by itself and its policy lets it. */
  | { readonly _tag: "Finished" }

/** A child failed too often within the window. */
export class Escalated extends Schema.TaggedError<Escalated>()("Escalated", {
  name: Schema.String,
  failures: Schema.Int,
  windowMillis: Schema.Int,
  /** The last failure. */
  reason: Schema.String,
}) {}

export interface SupervisorOptions<E, R> {
  /** Names the child in logs and errors. */
  readonly name: string
  /** Started anew each time, in a scope of its own. */
  readonly child: Effect.Effect<unknown, E, R>
  /** `always` (default): an end is a failure too. `on-failure`: a child that succeeds is done. */
  readonly restart?: "always" | "on-failure"
  readonly backoff?: RestartPolicy.Backoff
  /** `never` for what has to be tried for ever, like a connection to a peer that may be away. */
  readonly intensity?: RestartPolicy.Intensity | "never"
  /** A child that ran for so long was healthy: its next failure is a first one. Default 30,000. */
  readonly healthyMillis?: number
}

export interface Supervisor {
  readonly state: Effect.Effect<SupervisorState>
  /** The present state, then every change; ends when the supervisor does. */
  readonly states: Stream.Stream<SupervisorState>
  /** Fails when the supervisor gives up, succeeds when the child is done. */
  readonly awaitEnd: Effect.Effect<void, Escalated>
  /** Cuts a backoff short: someone knows that it is worth a try. No change while the child runs. */
  readonly retryNow: Effect.Effect<void>
}

/** Starts the child in the background, for as long as the scope. */
export const start = Effect.fnUntraced(function* <E, R>(
  options: SupervisorOptions<E, R>,
): Effect.fn.Return<Supervisor, never, Exclude<R, Scope.Scope> | Scope.Scope> {
  const startedMillis = yield* Clock.currentTimeMillis
  const state = yield* SubscriptionRef.make<SupervisorState>({
    _tag: "Running",
    sinceMillis: startedMillis,
    restarts: 0,
  })
  const kick = yield* Latch.make()
  const end = yield* Deferred.make<void, Escalated>()
  yield* Effect.forkScoped(
    Effect.onExit(
      loop(options, (next) => SubscriptionRef.set(state, next), kick),
      (exit) => Effect.sync(() => Deferred.doneUnsafe(end, exit)),
    ),
  )
  return {
    state: SubscriptionRef.get(state),
    states: SubscriptionRef.changes(state).pipe(
      Stream.takeUntil(({ _tag }) => _tag === "Escalated" || _tag === "Finished"),
    ),
    awaitEnd: Deferred.await(end),
    retryNow: Effect.asVoid(kick.release),
  }
})

/** Runs the child in this fiber; succeeds only under `on-failure`. */
export const run = <E, R>(
  options: SupervisorOptions<E, R>,
): Effect.Effect<void, Escalated, Exclude<R, Scope.Scope>> =>
  Effect.flatMap(Latch.make(), (kick) => loop(options, () => Effect.void, kick))

const loop = Effect.fnUntraced(function* <E, R>(
  options: SupervisorOptions<E, R>,
  publish: (state: SupervisorState) => Effect.Effect<void>,
  kick: Latch.Latch,
): Effect.fn.Return<void, Escalated, Exclude<R, Scope.Scope>> {
  const { name, child, restart = "always", healthyMillis = 30_000 } = options
  const backoff = options.backoff ?? RestartPolicy.defaultBackoff
  const intensity =
    options.intensity === "never" ? undefined : (options.intensity ?? RestartPolicy.defaultIntensity)
  let failedAtMillis: ReadonlyArray<number> = []
  let attempt = 0
  for (let restarts = 0; ; restarts++) {
    const startedMillis = yield* Clock.currentTimeMillis
    yield* publish({ _tag: "Running", sinceMillis: startedMillis, restarts })
    const exit = yield* Effect.exit(Effect.scoped(child))
    if (Exit.isSuccess(exit) && restart === "on-failure") return yield* publish({ _tag: "Finished" })
    const nowMillis = yield* Clock.currentTimeMillis
    const reason = Exit.isSuccess(exit) ? "ended" : RestartPolicy.describeCause(exit.cause)
    attempt = nowMillis - startedMillis >= healthyMillis ? 1 : attempt + 1
    if (intensity !== undefined) {
      failedAtMillis = RestartPolicy.countFailure(intensity, failedAtMillis, nowMillis)
      if (RestartPolicy.exceeds(intensity, failedAtMillis)) {
        const failures = failedAtMillis.length
        yield* publish({ _tag: "Escalated", reason, failures })
        return yield* new Escalated({ name, failures, windowMillis: intensity.windowMillis, reason })
      }
    }
    const delay = RestartPolicy.backoffMillis(backoff, attempt, yield* Random.next)
    // A defect is ours: its trace belongs in the log. A reason is in the state, for whoever wants it.
    if (Exit.isFailure(exit) && Cause.hasDies(exit.cause)) {
      yield* Effect.logWarning("supervised child failed", exit.cause).pipe(
        Effect.annotateLogs({ name, attempt, delayMillis: delay }),
      )
    } else {
      yield* Effect.logDebug("supervised child ended").pipe(
        Effect.annotateLogs({ name, attempt, delayMillis: delay, reason }),
      )
    }
    yield* publish({ _tag: "BackingOff", reason, attempt, nextAttemptMillis: nowMillis + delay })
    yield* Effect.timeoutOption(kick.await, delay)
  }
})
