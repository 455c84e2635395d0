/**
 * A client of the region's gateway with errors read back into what a person or a program needs: the fields that
 * are wrong, the reason, the resource. The CLI and tests speak to a region through this and nothing else.
 */
import { Effect, type Scope, Stream } from "effect"
import { GatewayService } from "#gen/ferrite/gateway/v1/gateway_pb.ts"
import type { GrpcError } from "#runtime/grpc/GrpcError.ts"
import * as GrpcClient from "#runtime/grpc/GrpcClient.ts"
import { fromGrpc, type GatewayProblem } from "./GatewayStatus.ts"

type Calls = GrpcClient.Client<typeof GatewayService>

export type GatewayClient = {
  readonly [K in keyof Calls]: Calls[K] extends (...args: infer Args) => Effect.Effect<infer A, GrpcError>
    ? (...args: Args) => Effect.Effect<A, GatewayProblem>
    : Calls[K] extends (...args: infer Args) => Stream.Stream<infer A, GrpcError>
      ? (...args: Args) => Stream.Stream<A, GatewayProblem>
      : never
}

/** A unary call without a deadline of its own is given up after this. */
const deadlineMillis = 30_000

/** Connects when first called. `address`: `host:port` or `unix:/path`. */
export const make = (address: string): Effect.Effect<GatewayClient, never, Scope.Scope> =>
  Effect.map(GrpcClient.make(GatewayService, address), (calls): GatewayClient => {
    const unary =
      <Request, Answer>(
        call: (request: Request, options?: GrpcClient.CallOptions) => Effect.Effect<Answer, GrpcError>,
      ) =>
      (request: Request, options?: GrpcClient.CallOptions) =>
        Effect.mapError(call(request, { deadlineMillis, ...options }), fromGrpc)
    return {
      apply: unary(calls.apply),
      get: unary(calls.get),
      list: unary(calls.list),
      delete: unary(calls.delete),
      attach: unary(calls.attach),
      detach: unary(calls.detach),
      describe: unary(calls.describe),
      listRoutes: unary(calls.listRoutes),
      watch: (request, options) => Stream.mapError(calls.watch(request, options), fromGrpc),
    }
  })
