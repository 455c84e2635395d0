/**
 * A gRPC client whose calls are Effects and Streams, typed by the service descriptors that `buf` generates.
 * Interrupting a call, or ending a stream early, cancels it at the server.
 */
import { create, type DescMessage, type DescMethod } from "@bufbuild/protobuf"
import type { GenService } from "@bufbuild/protobuf/codegenv2"
import * as grpc from "@grpc/grpc-js"
import { Clock, Effect, type Scope, Stream } from "effect"
import { fromServiceError, type GrpcError } from "./GrpcError.ts"
import { definitionOf, type InputInit, type Methods, type Output } from "./GrpcService.ts"
import { received, send } from "./GrpcStreams.ts"

export interface CallOptions {
  /** From now. Omitted: none. */
  readonly deadlineMillis?: number
}

export type Client<Service> = {
  readonly [K in keyof Methods<Service>]: Methods<Service>[K] extends { methodKind: "unary" }
    ? (
        request: InputInit<Methods<Service>[K]>,
        options?: CallOptions,
      ) => Effect.Effect<Output<Methods<Service>[K]>, GrpcError>
    : Methods<Service>[K] extends { methodKind: "server_streaming" }
      ? (
          request: InputInit<Methods<Service>[K]>,
          options?: CallOptions,
        ) => Stream.Stream<Output<Methods<Service>[K]>, GrpcError>
      : Methods<Service>[K] extends { methodKind: "bidi_streaming" }
        ? (
            requests: Stream.Stream<InputInit<Methods<Service>[K]>>,
          ) => Stream.Stream<Output<Methods<Service>[K]>, GrpcError>
        : never
}

const deadline = (options: CallOptions | undefined) =>
  Effect.map(Clock.currentTimeMillis, (now): grpc.CallOptions =>
    options?.deadlineMillis === undefined ? {} : { deadline: now + options.deadlineMillis },
  )

const cancelled = (call: { cancel(): void }) => Effect.sync(() => call.cancel())

const unary = (client: any, method: DescMethod) => (request: any, options?: CallOptions) =>
  Effect.flatMap(deadline(options), (callOptions) =>
    Effect.callback<any, GrpcError>((resume) => {
      const call = client[method.localName](
        create(method.input as DescMessage, request),
        new grpc.Metadata(),
        callOptions,
        (error: grpc.ServiceError | null, response: unknown) =>
          resume(error ? Effect.fail(fromServiceError(error)) : Effect.succeed(response)),
      )
      return cancelled(call)
    }),
  )

const serverStreaming = (client: any, method: DescMethod) => (request: any, options?: CallOptions) =>
  Stream.unwrap(
    Effect.map(deadline(options), (callOptions) => {
      const call: grpc.ClientReadableStream<unknown> = client[method.localName](
        create(method.input as DescMessage, request),
        new grpc.Metadata(),
        callOptions,
      )
      return received<unknown>(call, cancelled(call))
    }),
  )

const bidirectional = (client: any, method: DescMethod) => (requests: Stream.Stream<any>) =>
  Stream.unwrap(
    Effect.gen(function* () {
      const call: grpc.ClientDuplexStream<unknown, unknown> = client[method.localName](new grpc.Metadata())
      // Ends the call's sending side with the stream; the receiving side ends when the server does.
      yield* Effect.forkScoped(
        Effect.andThen(
          send(call, requests, (message) => create(method.input as DescMessage, message as any)),
          Effect.sync(() => call.end()),
        ),
      )
      return received<unknown>(call, cancelled(call))
    }),
  )

/** Connects lazily and again by itself; closed with its scope. */
export const make = <Service extends GenService<any>>(
  service: Service,
  address: string,
  credentials: grpc.ChannelCredentials = grpc.credentials.createInsecure(),
): Effect.Effect<Client<Service>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const Constructor = grpc.makeGenericClientConstructor(definitionOf(service), service.typeName)
    const client = yield* Effect.acquireRelease(
      Effect.sync(
        () =>
          new Constructor(address, credentials, {
            "grpc.initial_reconnect_backoff_ms": 50,
            "grpc.min_reconnect_backoff_ms": 50,
            "grpc.max_reconnect_backoff_ms": 2000,
            "grpc.max_receive_message_length": 16 * 1024 * 1024,
            "grpc.use_local_subchannel_pool": 1,
          }),
      ),
      (open) => Effect.sync(() => open.close()),
    )
    const calls = (service.methods as ReadonlyArray<DescMethod>).map((method) => {
      switch (method.methodKind) {
        case "unary":
          return [method.localName, unary(client, method)] as const
        case "server_streaming":
          return [method.localName, serverStreaming(client, method)] as const
        case "bidi_streaming":
          return [method.localName, bidirectional(client, method)] as const
        default:
          throw new Error(`${method.name}: client streaming has no call form`)
      }
    })
    return Object.fromEntries(calls) as unknown as Client<Service>
  })
