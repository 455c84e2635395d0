/**
 * A gRPC server whose handlers are Effects and Streams, typed by the service descriptors that `buf` generates.
 *
 * A call that its client cancels, or whose deadline passes, interrupts the handler's fiber. Requests are decoded
 * by protobuf; bounds and meaning are the handler's to check.
 */
import { create, type DescMessage, type DescMethod } from "@bufbuild/protobuf"
import type { GenService } from "@bufbuild/protobuf/codegenv2"
import * as grpc from "@grpc/grpc-js"
import { type Context, Effect, Exit, type Scope, type Stream } from "effect"
import { GrpcError, toStatus } from "./GrpcError.ts"
import { definitionOf, type Input, type Methods, type OutputInit } from "./GrpcService.ts"
import { received, send } from "./GrpcStreams.ts"

export type Handlers<Service, R> = {
  readonly [K in keyof Methods<Service>]: Methods<Service>[K] extends { methodKind: "unary" }
    ? (request: Input<Methods<Service>[K]>) => Effect.Effect<OutputInit<Methods<Service>[K]>, GrpcError, R>
    : Methods<Service>[K] extends { methodKind: "server_streaming" }
      ? (request: Input<Methods<Service>[K]>) => Stream.Stream<OutputInit<Methods<Service>[K]>, GrpcError, R>
      : Methods<Service>[K] extends { methodKind: "bidi_streaming" }
        ? (
            requests: Stream.Stream<Input<Methods<Service>[K]>, GrpcError>,
          ) => Stream.Stream<OutputInit<Methods<Service>[K]>, GrpcError, R>
        : never
}

type Call =
  | grpc.ServerUnaryCall<any, any>
  | grpc.ServerWritableStream<any, any>
  | grpc.ServerDuplexStream<any, any>

const run = <A>(
  context: Context.Context<any>,
  call: Call,
  effect: Effect.Effect<A, GrpcError, any>,
  done: (exit: Exit.Exit<A, GrpcError>) => void,
) => {
  const fiber = Effect.runForkWith(context)(effect)
  fiber.addObserver(done)
  ;(call as grpc.ServerUnaryCall<any, any>).on("cancelled", () => fiber.interruptUnsafe())
}

const implement = (
  context: Context.Context<any>,
  method: DescMethod,
  handler: any,
): grpc.UntypedHandleCall => {
  const encode = (message: any) => create(method.output as DescMessage, message)
  const finish = (call: any) => (exit: Exit.Exit<void, GrpcError>) => {
    if (Exit.isSuccess(exit)) call.end()
    else call.emit("error", toStatus(exit.cause))
  }
  switch (method.methodKind) {
    case "unary":
      return (call: grpc.ServerUnaryCall<any, any>, callback: grpc.sendUnaryData<any>) =>
        run(
          context,
          call,
          Effect.suspend(() => handler(call.request) as Effect.Effect<any, GrpcError>),
          (exit) =>
            Exit.isSuccess(exit) ? callback(null, encode(exit.value)) : callback(toStatus(exit.cause)),
        )
    case "server_streaming":
      return (call: grpc.ServerWritableStream<any, any>) =>
        run(
          context,
          call,
          Effect.suspend(() => send(call, handler(call.request), encode)),
          finish(call),
        )
    case "bidi_streaming":
      return (call: grpc.ServerDuplexStream<any, any>) =>
        run(
          context,
          call,
          Effect.suspend(() => send(call, handler(received(call)), encode)),
          finish(call),
        )
    default:
      throw new Error(`${method.name}: client streaming has no handler form`)
  }
}

/** Adds a service. What handlers require is taken from here, once; name `R` where they require anything. */
export const addService = <Service extends GenService<any>, R = never>(
  server: grpc.Server,
  service: Service,
  handlers: Handlers<Service, R>,
): Effect.Effect<void, never, R> =>
  Effect.map(Effect.context<R>(), (context) => {
    const methods = service.methods as ReadonlyArray<DescMethod>
    server.addService(
      definitionOf(service),
      Object.fromEntries(
        methods.map((method) => [
          method.localName,
          implement(context, method, (handlers as Record<string, unknown>)[method.localName]),
        ]),
      ),
    )
  })

export interface ServerOptions<R> {
  /** `host:port` or `unix:/path`. Port 0: any. */
  readonly address: string
  readonly credentials?: grpc.ServerCredentials
  readonly options?: grpc.ServerOptions
  readonly setup: (server: grpc.Server) => Effect.Effect<void, never, R>
}

/** Listens until its scope ends; calls in progress then have 2 seconds. */
export const make = <R = never>(
  options: ServerOptions<R>,
): Effect.Effect<{ readonly port: number }, GrpcError, R | Scope.Scope> =>
  Effect.gen(function* () {
    const server = new grpc.Server({
      "grpc.keepalive_time_ms": 15_000,
      "grpc.max_receive_message_length": 4 * 1024 * 1024,
      ...options.options,
    })
    yield* options.setup(server)
    yield* Effect.addFinalizer(() =>
      Effect.callback<void>((resume) => {
        server.tryShutdown(() => resume(Effect.void))
      }).pipe(Effect.timeoutOption("2 seconds"), Effect.andThen(Effect.sync(() => server.forceShutdown()))),
    )
    const port = yield* Effect.callback<number, GrpcError>((resume) => {
      server.bindAsync(
        options.address,
        options.credentials ?? grpc.ServerCredentials.createInsecure(),
        (error, bound) =>
          resume(
            error
              ? Effect.fail(
                  GrpcError.of(
                    grpc.status.UNAVAILABLE,
                    `can't listen on ${options.address}: ${error.message}`,
                  ),
                )
              : Effect.succeed(bound),
          ),
      )
    })
    return { port }
  })
