/**
 * Message streams of grpc-js as Effect streams and back, with back-pressure both ways.
 */
import * as grpc from "@grpc/grpc-js"
import { Cause, Effect, Queue, Stream } from "effect"
import { fromServiceError, GrpcError } from "./GrpcError.ts"
import { streamBuffer } from "./GrpcService.ts"

interface Readable {
  on(event: string, listener: (value: any) => void): unknown
  pause(): unknown
  resume(): unknown
}

interface Writable {
  write(message: any): boolean
  once(event: "drain", listener: () => void): unknown
}

/** Everything that a call receives, until it ends or fails. A full buffer pauses the call. */
export const received = <A>(
  call: Readable,
  onEnd: Effect.Effect<void> = Effect.void,
): Stream.Stream<A, GrpcError> =>
  Stream.callback<A, GrpcError>(
    Effect.fnUntraced(function* (queue) {
      const services = yield* Effect.context<never>()
      call.on("data", (message: A) => {
        if (Queue.offerUnsafe(queue, message)) return
        call.pause()
        Effect.runForkWith(services)(
          Effect.andThen(
            Queue.offer(queue, message),
            Effect.sync(() => call.resume()),
          ),
        )
      })
      call.on("error", (error: grpc.ServiceError) => {
        Queue.failCauseUnsafe(queue, Cause.fail(fromServiceError(error)))
      })
      call.on("cancelled", () => {
        Queue.failCauseUnsafe(queue, Cause.fail(GrpcError.of(grpc.status.CANCELLED, "the peer is gone")))
      })
      call.on("end", () => {
        Queue.endUnsafe(queue)
      })
      yield* Effect.addFinalizer(() => onEnd)
      return yield* Effect.never
    }),
    { bufferSize: streamBuffer },
  )

/** Writes a stream to a call, message by message, waiting where the call's buffer is full. */
export const send = <A, E, R>(
  call: Writable,
  messages: Stream.Stream<A, E, R>,
  encode: (message: A) => unknown,
): Effect.Effect<void, E, R> => {
  const drained = Effect.callback<void>((resume) => {
    call.once("drain", () => resume(Effect.void))
  })
  return Stream.runForEachArray(messages, (chunk) =>
    Effect.suspend(() => {
      let room = true
      for (const message of chunk) room = call.write(encode(message))
      return room ? Effect.void : drained
    }),
  )
}
