/**
 * The node sessions over gRPC: `ferrite.node.v1.NodeService` on the gateway's server. Decodes, encodes, and says
 * in a status why a session ended; everything else is `NodeSessions`.
 */
import * as grpc from "@grpc/grpc-js"
import { Effect, Stream } from "effect"
import { NodeService } from "#gen/ferrite/node/v1/node_pb.ts"
import { decodeAgentMessage, encodeControllerMessage } from "#protocol/node/NodeCodec.ts"
import { GrpcError } from "../grpc/GrpcError.ts"
import { addService } from "../grpc/GrpcServer.ts"
import { NodeSessions } from "./NodeSessions.ts"
import { SessionEnd } from "./SessionEnd.ts"

const statusOf: Readonly<Record<SessionEnd["kind"], grpc.status>> = {
  Malformed: grpc.status.INVALID_ARGUMENT,
  Late: grpc.status.DEADLINE_EXCEEDED,
  Refused: grpc.status.FAILED_PRECONDITION,
  Replaced: grpc.status.ABORTED,
  Slow: grpc.status.RESOURCE_EXHAUSTED,
  Expired: grpc.status.DEADLINE_EXCEEDED,
  Full: grpc.status.RESOURCE_EXHAUSTED,
  Unavailable: grpc.status.UNAVAILABLE,
  Gone: grpc.status.CANCELLED,
}

const toGrpc = ({ kind, reason }: SessionEnd): GrpcError =>
  GrpcError.of(statusOf[kind], `node session: ${reason}`)

/** Adds the service to a server that is being set up. */
export const addNodeService = (server: grpc.Server): Effect.Effect<void, never, NodeSessions> =>
  Effect.flatMap(NodeSessions, (sessions) =>
    addService(server, NodeService, {
      session: (requests) =>
        sessions
          .session(
            requests.pipe(
              Stream.mapError(({ message }) => new SessionEnd({ kind: "Gone", reason: message })),
              Stream.mapEffect((request) =>
                Effect.mapError(
                  Effect.fromResult(decodeAgentMessage(request)),
                  ({ message }) => new SessionEnd({ kind: "Malformed", reason: message }),
                ),
              ),
            ),
          )
          .pipe(Stream.map(encodeControllerMessage), Stream.mapError(toGrpc)),
    }),
  )
