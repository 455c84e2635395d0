/**
 * Light actors. A cell is an entry in a table: a bounded mailbox, a flag that says "look again", and a memory of
 * its failures. It has a fiber only while it has something to do, and does one thing at a time. What an actor
 * knows is not kept here: `handle` and `look` read it from the store or a projection, so any cell may vanish.
 *
 * - `ask` puts a command into the mailbox and waits for its reply. A caller that is interrupted takes its command
 *   back when nobody has begun it; what has begun is finished.
 * - `hint` carries no data, never waits and coalesces: however many come, the cell looks once more.
 * - A defect answers its caller with `ActorFailed`; the cell restarts after a backoff and looks. The other mail
 *   waits. More failures than the intensity allows escalate: the cell is stopped, its mail answered, until
 *   `resume` or the cool-down. A typed failure of `handle` is a reply. One of `look` has nobody to reply to and
 *   is retried with backoff for as long as it lasts: it means that something else is away.
 *
 * Bounds: `mailbox` commands a cell, `maxResident` cells, `concurrency` fibers; cells beyond wait in a line.
 * A handler that asks another cell of the same table holds one of those fibers meanwhile: don't.
 */
import { Cause, Clock, Deferred, Effect, Exit, Random, Scope } from "effect"
import { ActorFailed, ActorStopped, Busy } from "./ActorError.ts"
import * as RestartPolicy from "./RestartPolicy.ts"

export interface CellOptions {
  /** Default 64. */
  readonly mailbox?: number
  /** Default 200,000. */
  readonly maxResident?: number
  /** Default 1,024. */
  readonly concurrency?: number
  /** A cell that did nothing for so long is forgotten. Default 60,000. */
  readonly idleMillis?: number
  /** How long a stopped cell rests before it tries once more by itself. Default 60,000. */
  readonly coolDownMillis?: number
  /** What `Busy` tells callers. Default 100. */
  readonly busyRetryMillis?: number
  readonly backoff?: RestartPolicy.Backoff
  readonly intensity?: RestartPolicy.Intensity
}

export interface CellDefinition<Command, Reply, E, R> {
  /** Names the cells in errors and logs: `name/id`; omitted where ids are names already. */
  readonly name?: string
  readonly handle: (id: string, command: Command) => Effect.Effect<Reply, E, R>
  /** Looks at the truth and does what is due. Idempotent. */
  readonly look?: (id: string) => Effect.Effect<void, E, R>
  /** A failure, before the restart that it leads to: for a condition or an event. `attempt` counts from 1. */
  readonly onFailure?: (id: string, cause: Cause.Cause<E>, attempt: number) => Effect.Effect<void, never, R>
  /** The last failure before the cell is stopped; comes after `onFailure`. */
  readonly onEscalate?: (id: string, cause: Cause.Cause<E>) => Effect.Effect<void, never, R>
  readonly options?: CellOptions
}

export type CellState = "Absent" | "Idle" | "Awake" | "BackingOff" | "Stopped"

export interface Cells<Command, Reply, E> {
  readonly ask: (id: string, command: Command) => Effect.Effect<Reply, E | Busy | ActorStopped | ActorFailed>
  readonly hint: (id: string) => Effect.Effect<void>
  /** Ends a stop or a backoff at once; the cell looks. */
  readonly resume: (id: string) => Effect.Effect<void>
  readonly state: (id: string) => CellState
  /** Cells in the table. */
  readonly resident: () => number
  /** Since the start: commands and looks that ended, failures, refusals; and now: fibers, cells in line. */
  readonly stats: () => CellStats
}

export interface CellStats {
  readonly resident: number
  readonly awake: number
  readonly waiting: number
  readonly stopped: number
  readonly handled: number
  readonly failures: number
  readonly escalations: number
  readonly refused: number
}

interface Mail<Command, Reply, E> {
  readonly command: Command
  readonly reply: Deferred.Deferred<Reply, E | Busy | ActorStopped | ActorFailed>
}

interface Cell<Command, Reply, E> {
  readonly id: string
  readonly mail: Array<Mail<Command, Reply, E>>
  state: Exclude<CellState, "Absent">
  hinted: boolean
  activeMillis: number
  /** Failures in a row. */
  attempt: number
  failedAtMillis: ReadonlyArray<number>
  /** End of the backoff or of the rest. */
  untilMillis: number
  /** Distinguishes a timer that is due from one that `resume` overtook. */
  epoch: number
}

/** Things a cell may do before it lets those in line go first. */
const turnLength = 64
/** How long a callback may take before the restart goes on without it. */
const callbackMillis = 10_000

/** Cells live as long as the scope; with it their fibers end and what waits is answered `ActorStopped`. */
export const make = Effect.fnUntraced(function* <Command, Reply, E, R = never>(
  definition: CellDefinition<Command, Reply, E, R>,
): Effect.fn.Return<Cells<Command, Reply, E>, never, R | Scope.Scope> {
  type CellOf = Cell<Command, Reply, E>
  type MailOf = Mail<Command, Reply, E>
  const { name, handle, look, onFailure, onEscalate } = definition
  const {
    mailbox = 64,
    maxResident = 200_000,
    concurrency = 1_024,
    idleMillis = 60_000,
    coolDownMillis = 60_000,
    busyRetryMillis = 100,
    backoff = RestartPolicy.defaultBackoff,
    intensity = RestartPolicy.defaultIntensity,
  } = definition.options ?? {}
  // Cells run as their maker does, not as whoever happened to wake them.
  const context = yield* Effect.context<R>()
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()

  const cells = new Map<string, CellOf>()
  const line = new Line<CellOf>()
  let awake = 0
  let closed = false
  const counts = { handled: 0, failures: 0, escalations: 0, refused: 0 }

  const actorOf = (id: string) => (name === undefined ? id : `${name}/${id}`)
  const restMillis = (cell: CellOf) => Math.max(0, Math.ceil(cell.untilMillis - now()))
  const hasWork = (cell: CellOf) => cell.mail.length > 0 || cell.hinted

  const fork = (effect: Effect.Effect<void, never, R>): Effect.Effect<void> =>
    Effect.asVoid(
      Effect.forkIn(
        Effect.updateContext(effect, () => context),
        scope,
        { startImmediately: true },
      ),
    )

  const cellOf = (id: string): CellOf | undefined => {
    let cell = cells.get(id)
    if (cell === undefined && cells.size < maxResident) cells.set(id, (cell = emptyCell(id, now())))
    return cell
  }

  const stop = (mail: MailOf, cell: CellOf) => {
    const error = new ActorStopped({ actor: actorOf(cell.id), retryAfterMillis: restMillis(cell) })
    Deferred.doneUnsafe(mail.reply, Exit.fail(error))
  }

  /** Gives an idle cell with work a fiber, or a place in the line. */
  const wake = (cell: CellOf): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (closed || cell.state !== "Idle" || !hasWork(cell)) return Effect.void
      cell.state = "Awake"
      if (awake >= concurrency) {
        line.push(cell)
        return Effect.void
      }
      awake++
      return fork(work(cell))
    })

  /** One fiber: works for a cell until that has nothing to do, then for the next in line. */
  const work = (first: CellOf): Effect.Effect<void, never, R> =>
    Effect.gen(function* () {
      for (let cell: CellOf | undefined = first; cell !== undefined; cell = line.shift()) yield* turn(cell)
    }).pipe(Effect.ensuring(Effect.sync(() => awake--)))

  const turn = Effect.fnUntraced(function* (cell: CellOf) {
    for (let done = 0; hasWork(cell); done++) {
      if (done >= turnLength && !line.isEmpty) return line.push(cell)
      const mail = cell.mail.shift()
      const failure = mail === undefined ? yield* lookOnce(cell) : yield* handleOne(cell, mail)
      counts.handled++
      cell.activeMillis = now()
      if (failure !== undefined) return yield* rest(cell, failure)
      cell.attempt = 0
    }
    cell.state = "Idle"
  })

  /** Answers the mail; what it leaves undefined is no failure of the actor. */
  const handleOne = Effect.fnUntraced(function* (cell: CellOf, mail: MailOf) {
    const exit = yield* Effect.suspend(() => handle(cell.id, mail.command)).pipe(
      Effect.onInterrupt(() => Effect.sync(() => stop(mail, cell))),
      Effect.exit,
    )
    if (Exit.isSuccess(exit) || isTyped(exit.cause)) {
      Deferred.doneUnsafe(mail.reply, exit)
      return undefined
    }
    return { cause: exit.cause, defect: true, mail }
  })

  const lookOnce = Effect.fnUntraced(function* (cell: CellOf) {
    cell.hinted = false
    const exit = yield* Effect.exit(Effect.suspend(() => look!(cell.id)))
    return Exit.isSuccess(exit)
      ? undefined
      : { cause: exit.cause, defect: !isTyped(exit.cause), mail: undefined }
  })

  /** After a failure: a backoff, or a stop. Either ends by a timer, and with a look. */
  const rest = Effect.fnUntraced(function* (
    cell: CellOf,
    failure: { cause: Cause.Cause<E>; defect: boolean; mail: MailOf | undefined },
  ) {
    const { id } = cell
    const { cause, defect, mail } = failure
    const attempt = ++cell.attempt
    counts.failures++
    if (defect) cell.failedAtMillis = RestartPolicy.countFailure(intensity, cell.failedAtMillis, now())
    const escalates = defect && RestartPolicy.exceeds(intensity, cell.failedAtMillis)
    const delay = escalates
      ? coolDownMillis
      : RestartPolicy.backoffMillis(backoff, attempt, yield* Random.next)
    if (mail !== undefined) {
      const error = new ActorFailed({ actor: actorOf(id), retryAfterMillis: delay, attempt })
      Deferred.doneUnsafe(mail.reply, Exit.fail(error))
    }
    if (defect) {
      yield* Effect.logWarning(escalates ? "actor stopped" : "actor restarts", cause).pipe(
        Effect.annotateLogs({ actor: actorOf(id), attempt, delayMillis: delay }),
      )
    }
    if (onFailure !== undefined) yield* guarded(Effect.suspend(() => onFailure(id, cause, attempt)))
    cell.state = escalates ? "Stopped" : "BackingOff"
    cell.untilMillis = now() + delay
    cell.hinted = look !== undefined
    const epoch = ++cell.epoch
    yield* fork(
      Effect.delay(
        Effect.suspend(() => (cell.epoch === epoch ? begin(cell) : Effect.void)),
        delay,
      ),
    )
    if (!escalates) return
    counts.escalations++
    for (const waiting of cell.mail.splice(0)) stop(waiting, cell)
    if (onEscalate !== undefined) yield* guarded(Effect.suspend(() => onEscalate(id, cause)))
  })

  /** Ends a rest. Whoever was stopped starts with a clean record. */
  const begin = (cell: CellOf): Effect.Effect<void> => {
    if (cell.state === "Stopped") {
      cell.failedAtMillis = []
      cell.attempt = 0
    }
    cell.epoch++
    cell.untilMillis = 0
    cell.state = "Idle"
    return wake(cell)
  }

  const ask = (id: string, command: Command) =>
    Effect.suspend((): Effect.Effect<Reply, E | Busy | ActorStopped | ActorFailed> => {
      const actor = actorOf(id)
      if (closed) return Effect.fail(new ActorStopped({ actor, retryAfterMillis: busyRetryMillis }))
      const cell = cellOf(id)
      if (cell === undefined || cell.mail.length >= mailbox) {
        counts.refused++
        const retryAfterMillis = Math.max(busyRetryMillis, cell === undefined ? 0 : restMillis(cell))
        return Effect.fail(new Busy({ actor, retryAfterMillis }))
      }
      if (cell.state === "Stopped") {
        return Effect.fail(new ActorStopped({ actor, retryAfterMillis: restMillis(cell) }))
      }
      const mail: MailOf = { command, reply: Deferred.makeUnsafe() }
      cell.mail.push(mail)
      const withdraw = Effect.sync(() => {
        const place = cell.mail.indexOf(mail)
        if (place >= 0) cell.mail.splice(place, 1)
      })
      return Effect.andThen(
        wake(cell),
        Effect.onInterrupt(Deferred.await(mail.reply), () => withdraw),
      )
    })

  const hint = (id: string) =>
    Effect.suspend(() => {
      const cell = look === undefined || closed ? undefined : cellOf(id)
      if (cell === undefined) return Effect.void
      cell.hinted = true
      return wake(cell)
    })

  const resume = (id: string) =>
    Effect.suspend(() => {
      const cell = cells.get(id)
      return cell !== undefined && (cell.state === "Stopped" || cell.state === "BackingOff")
        ? begin(cell)
        : Effect.void
    })

  const forgetIdle = Effect.sync(() => {
    const at = now()
    for (const [id, cell] of cells) {
      const recent = cell.failedAtMillis.some((failed) => at - failed < intensity.windowMillis)
      if (cell.state === "Idle" && at - cell.activeMillis >= idleMillis && !recent) cells.delete(id)
    }
  })
  yield* Effect.forkScoped(Effect.forever(Effect.delay(forgetIdle, Math.max(1_000, idleMillis / 2))))
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      closed = true
      for (const cell of cells.values()) for (const mail of cell.mail.splice(0)) stop(mail, cell)
    }),
  )

  return {
    ask,
    hint,
    resume,
    state: (id) => cells.get(id)?.state ?? "Absent",
    resident: () => cells.size,
    stats: () => ({
      ...counts,
      resident: cells.size,
      awake,
      waiting: line.length,
      stopped: [...cells.values()].filter(({ state }) => state === "Stopped").length,
    }),
  }
})

/** A callback may fail or hang: the restart does not depend on it. */
const guarded = <R>(callback: Effect.Effect<void, never, R>): Effect.Effect<void, never, R> =>
  callback.pipe(
    Effect.timeoutOption(callbackMillis),
    Effect.catchCause((cause) => Effect.logError("a failure could not be recorded", cause)),
    Effect.asVoid,
  )

/** A reply that says no. Anything else, an interruption from within too, is a failure of the actor. */
const isTyped = (cause: Cause.Cause<unknown>): boolean => Cause.hasFails(cause) && !Cause.hasDies(cause)

const emptyCell = (id: string, activeMillis: number): Cell<any, any, any> => ({
  id,
  mail: [],
  state: "Idle",
  hinted: false,
  activeMillis,
  attempt: 0,
  failedAtMillis: [],
  untilMillis: 0,
  epoch: 0,
})

/** First in, first out, each step in constant time on average. At most one place per cell. */
class Line<A> {
  private members: Array<A> = []
  private head = 0

  push(member: A): void {
    this.members.push(member)
  }

  shift(): A | undefined {
    if (this.isEmpty) return undefined
    const member = this.members[this.head++]
    if (this.head > 1_024 && this.head * 2 > this.members.length) {
      this.members = this.members.slice(this.head)
      this.head = 0
    }
    return member
  }

  get length(): number {
    return this.members.length - this.head
  }

  get isEmpty(): boolean {
    return this.length === 0
  }
}
