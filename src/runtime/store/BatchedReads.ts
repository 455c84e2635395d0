/**
 * Many reads of one row, one statement. Whoever asks while a statement is on its way joins the next; a region that
 * wakes reads its records in hundreds. A read begins after it was asked for, so it sees every commit answered
 * before.
 *
 * Bounds: 512 ids a statement; as many wait as there are fibers that ask, each with one id.
 */
import { Deferred, Effect, Exit, Option, Scope } from "effect"
import { StoreUnavailable } from "#protocol/store/ResourceStore.ts"

const idsPerStatement = 512

/** `read` answers with what exists; ids that it leaves out do not. Lives as long as the scope. */
export const make = Effect.fnUntraced(function* <A>(
  read: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, A>, StoreUnavailable>,
): Effect.fn.Return<(id: string) => Effect.Effect<Option.Option<A>, StoreUnavailable>, never, Scope.Scope> {
  type Answer = Deferred.Deferred<Option.Option<A>, StoreUnavailable>
  const scope = yield* Effect.scope
  const waiting = new Map<string, Answer>()
  let reading = false
  let closed = false
  const gone = Exit.fail(new StoreUnavailable({ reason: "the store is closed" }))

  const readSome = Effect.fnUntraced(function* () {
    const batch = [...waiting].slice(0, idsPerStatement)
    for (const [id] of batch) waiting.delete(id)
    const exit = yield* Effect.exit(read(batch.map(([id]) => id))).pipe(
      Effect.onInterrupt(() => Effect.sync(() => answerAll(batch, gone))),
    )
    if (Exit.isFailure(exit)) return answerAll(batch, Exit.failCause(exit.cause))
    for (const [id, answer] of batch) {
      Deferred.doneUnsafe(answer, Exit.succeed(Option.fromNullishOr(exit.value.get(id))))
    }
  })

  const answerAll = (
    batch: Iterable<readonly [string, Answer]>,
    exit: Exit.Exit<Option.Option<A>, StoreUnavailable>,
  ) => {
    for (const [, answer] of batch) Deferred.doneUnsafe(answer, exit)
  }

  const readAll = Effect.gen(function* () {
    // Let everyone who is ready to ask do so first.
    yield* Effect.yieldNow
    while (waiting.size > 0) yield* readSome()
  }).pipe(Effect.ensuring(Effect.sync(() => (reading = false))))

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      closed = true
      answerAll(waiting, gone)
      waiting.clear()
    }),
  )

  return (id) =>
    Effect.suspend(() => {
      if (closed) return gone
      const joined = waiting.get(id)
      if (joined !== undefined) return Deferred.await(joined)
      const answer: Answer = Deferred.makeUnsafe()
      waiting.set(id, answer)
      if (reading) return Deferred.await(answer)
      reading = true
      return Effect.andThen(Effect.forkIn(readAll, scope), Deferred.await(answer))
    })
})
