/**
 * Ways of an agent to a controller. `layerGrpc` takes turns through addresses; `layerMemory` goes straight into
 * the node sessions of the same process.
 */
import * as grpc from "@grpc/grpc-js"
import { Effect, Layer, Stream } from "effect"
import { NodeService } from "#gen/ferrite/node/v1/node_pb.ts"
import { ControllerLink, LinkError } from "#protocol/node/ControllerLink.ts"
import { decodeControllerMessage, encodeAgentMessage } from "#protocol/node/NodeCodec.ts"
import type { GrpcError } from "../grpc/GrpcError.ts"
import * as GrpcClient from "../grpc/GrpcClient.ts"
import { NodeSessions } from "./NodeSessions.ts"

const kindOf = (code: number): LinkError["kind"] => {
  switch (code) {
    case grpc.status.ABORTED:
      return "Replaced"
    case grpc.status.INVALID_ARGUMENT:
    case grpc.status.FAILED_PRECONDITION:
    case grpc.status.UNIMPLEMENTED:
      return "Refused"
    default:
      return "Unreachable"
  }
}

const fromGrpc = (address: string, { code, message }: GrpcError): LinkError =>
  new LinkError({ kind: kindOf(code), reason: `${address}: ${grpc.status[code] ?? code}: ${message}` })

/** `host:port` or `unix:/path` each, at least one. Each session is a connection of its own, to the next of them. */
export const layerGrpc = (
  addresses: readonly [string, ...ReadonlyArray<string>],
  credentials?: grpc.ChannelCredentials,
): Layer.Layer<ControllerLink> =>
  Layer.sync(ControllerLink, () => {
    let next = 0
    return ControllerLink.of({
      session: (requests) =>
        Stream.unwrap(
          Effect.gen(function* () {
            const address = addresses[next++ % addresses.length] ?? addresses[0]
            const client = yield* GrpcClient.make(NodeService, address, credentials)
            return client.session(Stream.map(requests, encodeAgentMessage)).pipe(
              Stream.mapError((error) => fromGrpc(address, error)),
              // What came together stays together: the agent writes it to its journal at once.
              Stream.mapArrayEffect((responses) =>
                Effect.mapError(
                  Effect.forEach(responses, (response) =>
                    Effect.fromResult(decodeControllerMessage(response)),
                  ),
                  ({ message }) => new LinkError({ kind: "Malformed", reason: `${address}: ${message}` }),
                ),
              ),
            )
          }),
        ),
    })
  })

export const layerMemory: Layer.Layer<ControllerLink, never, NodeSessions> = Layer.effect(
  ControllerLink,
  Effect.map(NodeSessions, (sessions) =>
    ControllerLink.of({
      session: (requests) =>
        Stream.mapError(sessions.session(requests), ({ kind, reason }) => {
          const known = kind === "Refused" || kind === "Replaced" || kind === "Malformed"
          return new LinkError({ kind: known ? kind : "Unreachable", reason })
        }),
    }),
  ),
)
