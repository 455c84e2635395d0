/**
 * `Dataplane` over gRPC: a session with one process that serves `ferrite.dataplane.v1`.
 *
 * `connect` opens the session: it reads the uuid, initializes where nobody has, and opens one Apply stream.
 * Batches travel on that stream with a sequence, and are answered in order. The session ends with its stream: when
 * the process goes, does not answer in time, or answers nonsense, everything that waits fails and every later
 * call too, until the next `connect`, which starts from nothing: another channel, another stream. So a process
 * that restarts is never mistaken for the one before, and no broken channel stays in use.
 *
 * One session at a time per layer. In flight at most 64 batches; more wait, within their deadline.
 */
import * as grpc from "@grpc/grpc-js"
import { Deferred, Effect, Exit, Layer, Queue, Scope, Semaphore, Stream } from "effect"
import { type ApplyResponse, DataplaneService } from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import { DPDKironcore } from "#gen/dpdkironcore/v1/dpdk_pb.ts"
import {
  Dataplane,
  type DataplaneError,
  DataplaneGone,
  DataplaneProtocolError,
  type DataplaneState,
  type Operation,
} from "#protocol/dataplane/Dataplane.ts"
import * as Wire from "#protocol/dataplane/wire.ts"
import * as GrpcClient from "../grpc/GrpcClient.ts"
import type { GrpcError } from "../grpc/GrpcError.ts"

export interface NativeOptions {
  /** `unix:/path` or `host:port`. */
  readonly address: string
  /** For one batch, and for each short question. Default 5,000. */
  readonly deadlineMillis?: number
  /** For a whole listing. Default 60,000. */
  readonly listDeadlineMillis?: number
}

const maxOperations = 4_096
const maxInFlight = 64
/** Batches whose callers have left before the answer came count too. */
const maxUnanswered = 1_024

type Client = GrpcClient.Client<typeof DataplaneService>
type ApplyInit = {
  readonly sequence: bigint
  readonly operations: ReadonlyArray<ReturnType<typeof Wire.encodeOperation>>
}

interface Waiting {
  readonly sequence: bigint
  readonly answer: Deferred.Deferred<ApplyResponse, DataplaneError>
}

interface Session {
  readonly uuid: string
  readonly client: Client
  readonly requests: Queue.Queue<ApplyInit>
  /** Sent and not answered, oldest first. */
  readonly waiting: Array<Waiting>
  readonly permits: Semaphore.Semaphore
  readonly scope: Scope.Closeable
  sequence: bigint
  /** Why the session is over. */
  ended: DataplaneError | undefined
}

const goneCodes: ReadonlySet<number> = new Set([
  grpc.status.CANCELLED,
  grpc.status.UNKNOWN,
  grpc.status.DEADLINE_EXCEEDED,
  grpc.status.ABORTED,
  grpc.status.UNAVAILABLE,
])

/** A stream that is cut in the midst shows as INTERNAL with the reset's number. */
const fromGrpc = (error: GrpcError): DataplaneError =>
  goneCodes.has(error.code) || (error.code === grpc.status.INTERNAL && error.message.includes("RST_STREAM"))
    ? new DataplaneGone({ reason: `${grpc.status[error.code] ?? error.code}: ${error.message}` })
    : new DataplaneProtocolError({ reason: `${grpc.status[error.code] ?? error.code}: ${error.message}` })

const decode = <A>(decoder: () => A): Effect.Effect<A, DataplaneProtocolError> =>
  Effect.suspend(() => {
    const outcome = Wire.checked(decoder)
    return outcome.ok
      ? Effect.succeed(outcome.value)
      : Effect.fail(new DataplaneProtocolError({ reason: outcome.reason }))
  })

export const make = Effect.fn("NativeDataplane.make")(function* (options: NativeOptions) {
  const deadlineMillis = options.deadlineMillis ?? 5_000
  const listDeadlineMillis = options.listDeadlineMillis ?? 60_000
  const scope = yield* Effect.scope
  const connecting = yield* Semaphore.make(1)
  let current: Session | undefined

  /** Fails everything that waits; idempotent. */
  const end = (session: Session, reason: DataplaneError): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (session.ended !== undefined) return Effect.void
      session.ended = reason
      for (const { answer } of session.waiting.splice(0)) Deferred.doneUnsafe(answer, Exit.fail(reason))
      return Effect.asVoid(Effect.forkIn(Scope.close(session.scope, Exit.void), scope))
    })

  const state = (client: Client): Effect.Effect<DataplaneState, DataplaneError> =>
    client.getState({}, { deadlineMillis }).pipe(
      Effect.mapError(fromGrpc),
      Effect.flatMap((answer) => decode(() => Wire.decodeState(answer))),
    )

  const open = Effect.gen(function* () {
    if (current !== undefined) yield* end(current, new DataplaneGone({ reason: "connected anew" }))
    current = undefined
    const sessionScope = yield* Scope.fork(scope)
    return yield* Effect.gen(function* () {
      const client = yield* GrpcClient.make(DataplaneService, options.address)
      let first = yield* state(client)
      if (!first.initialized) {
        const compatible = yield* GrpcClient.make(DPDKironcore, options.address)
        yield* compatible.initialize({}, { deadlineMillis }).pipe(Effect.mapError(fromGrpc))
        const second = yield* state(client)
        if (second.uuid !== first.uuid)
          return yield* new DataplaneGone({ reason: "the process restarted while it was initialized" })
        if (!second.initialized)
          return yield* new DataplaneProtocolError({ reason: "Initialize succeeded without effect" })
        first = second
      }
      const session: Session = {
        uuid: first.uuid,
        client,
        requests: yield* Queue.bounded<ApplyInit>(maxInFlight),
        waiting: [],
        permits: yield* Semaphore.make(maxInFlight),
        scope: sessionScope,
        sequence: 0n,
        ended: undefined,
      }
      yield* Effect.forkIn(pump(session), sessionScope)
      current = session
      return first
    }).pipe(
      Scope.provide(sessionScope),
      Effect.onExit((exit) => (Exit.isSuccess(exit) ? Effect.void : Scope.close(sessionScope, Exit.void))),
    )
  })

  /** Receives until the stream ends, for whatever reason. */
  const pump = (session: Session): Effect.Effect<void> =>
    session.client.apply(Stream.fromQueue(session.requests) as Stream.Stream<any>).pipe(
      Stream.runForEach((response) =>
        Effect.suspend((): Effect.Effect<void, DataplaneProtocolError> => {
          const oldest = session.waiting.shift()
          if (oldest !== undefined && oldest.sequence === response.sequence) {
            Deferred.doneUnsafe(oldest.answer, Exit.succeed(response))
            return Effect.void
          }
          if (oldest !== undefined) session.waiting.unshift(oldest)
          const expected = oldest === undefined ? "nothing" : `sequence ${oldest.sequence}`
          return Effect.fail(
            new DataplaneProtocolError({
              reason: `answered sequence ${response.sequence}, expected ${expected}`,
            }),
          )
        }),
      ),
      Effect.matchEffect({
        onFailure: (error) => end(session, error._tag === "GrpcError" ? fromGrpc(error) : error),
        onSuccess: () => end(session, new DataplaneGone({ reason: "the stream ended" })),
      }),
      Effect.onExit((exit) =>
        Exit.isSuccess(exit) ? Effect.void : end(session, new DataplaneGone({ reason: "the stream broke" })),
      ),
    )

  const session = Effect.suspend((): Effect.Effect<Session, DataplaneError> => {
    if (current === undefined) return Effect.fail(new DataplaneGone({ reason: "not connected" }))
    // A protocol error is told to those whom it concerned; to later calls the session is simply over.
    if (current.ended !== undefined) return Effect.fail(new DataplaneGone({ reason: current.ended.reason }))
    return Effect.succeed(current)
  })

  /** A failed question ends the session that asked it: it can't know what it talks to any more. */
  const asking = <A>(
    question: (session: Session) => Effect.Effect<A, DataplaneError>,
  ): Effect.Effect<A, DataplaneError> =>
    Effect.flatMap(session, (session) =>
      question(session).pipe(Effect.tapError((error) => end(session, error))),
    )

  const send = (session: Session, operations: ReadonlyArray<Operation>, encoded: ApplyInit["operations"]) =>
    Effect.gen(function* () {
      const answer = yield* Deferred.make<ApplyResponse, DataplaneError>()
      // One step, so that the order in which answers are awaited is the order in which requests are sent.
      yield* Effect.suspend(() => {
        if (session.ended !== undefined)
          return Effect.fail(new DataplaneGone({ reason: session.ended.reason }))
        if (session.waiting.length >= maxUnanswered)
          return Effect.fail(new DataplaneGone({ reason: `${maxUnanswered} batches are not answered` }))
        const sequence = ++session.sequence
        session.waiting.push({ sequence, answer })
        return Queue.offerUnsafe(session.requests, { sequence, operations: encoded })
          ? Effect.void
          : Effect.fail(new DataplaneGone({ reason: "the request queue is full" }))
      })
      const response = yield* Deferred.await(answer)
      return yield* decode(() => Wire.decodeResults(response, operations))
    })

  return Dataplane.of({
    connect: connecting.withPermit(open),
    apply: Effect.fn("NativeDataplane.apply")(function* (operations: ReadonlyArray<Operation>) {
      if (operations.length > maxOperations)
        return yield* new DataplaneProtocolError({ reason: `more than ${maxOperations} operations` })
      const encoded = yield* decode(() => operations.map(Wire.encodeOperation))
      return yield* asking((session) =>
        session.permits.withPermit(send(session, operations, encoded)).pipe(
          Effect.timeoutOrElse({
            duration: deadlineMillis,
            orElse: () =>
              Effect.fail(new DataplaneGone({ reason: `a batch was not answered in ${deadlineMillis} ms` })),
          }),
        ),
      )
    }),
    listAll: asking(({ client, uuid }) =>
      Effect.suspend(() => {
        const listing = Wire.emptyListing()
        return client.listAll({ batched: true }, { deadlineMillis: listDeadlineMillis }).pipe(
          Stream.mapError(fromGrpc),
          Stream.runForEach((item) => decode(() => Wire.decodeItem(listing, item))),
          Effect.andThen(decode(() => Wire.finishListing(listing))),
          Effect.filterOrFail(
            (complete) => complete.state.uuid === uuid,
            () => new DataplaneGone({ reason: "the process restarted" }),
          ),
        )
      }),
    ),
    state: asking(({ client, uuid }) =>
      state(client).pipe(
        Effect.filterOrFail(
          (answer) => answer.uuid === uuid,
          () => new DataplaneGone({ reason: "the process restarted" }),
        ),
      ),
    ),
    counters: asking(({ client }) =>
      client.getCounters({ totals: true }, { deadlineMillis }).pipe(
        Effect.mapError(fromGrpc),
        Effect.flatMap((answer) => decode(() => Wire.decodeCounters(answer))),
      ),
    ),
  })
})

/** Sessions with the process at an address. Nothing is opened before `connect`. */
export const layerNative = (options: NativeOptions): Layer.Layer<Dataplane> =>
  Layer.effect(Dataplane, make(options))
