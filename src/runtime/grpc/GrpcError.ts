/**
 * The one error of the gRPC bridge: a status with Google's error details.
 *
 * Handlers fail with it to answer a status; clients fail with it when a call does. Details travel as
 * `google.rpc.Status` in the trailer `grpc-status-details-bin`, which clients in any language can read. Both are
 * bounded: trailers over a client's limit (16 KiB in some languages) would end its whole connection.
 * A defect in a handler never leaks: its caller sees INTERNAL "internal error".
 */
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf"
import { type Any, anyPack, anyUnpack } from "@bufbuild/protobuf/wkt"
import * as grpc from "@grpc/grpc-js"
import { Cause, Data } from "effect"
import { StatusSchema } from "#gen/google/rpc/status_pb.ts"

const detailsKey = "grpc-status-details-bin"
const maxMessageBytes = 1024
/** Details that encode to more than this are left out. */
export const maxDetailsBytes = 6 * 1024

/** As a trailer can carry it: short, and without half characters, which have no encoding. */
const sendable = (text: string): string => {
  const bytes = Buffer.from(text.slice(0, maxMessageBytes + 1))
  if (bytes.length <= maxMessageBytes) return bytes.toString()
  return `${bytes
    .subarray(0, maxMessageBytes - 3)
    .toString()
    .replace(/\ufffd+$/, "")}…`
}

export class GrpcError extends Data.TaggedError("GrpcError")<{
  /** A `grpc.status`. */
  readonly code: number
  readonly message: string
  readonly details: ReadonlyArray<Any>
}> {
  static of(code: number, message: string, details: ReadonlyArray<Any> = []): GrpcError {
    return new GrpcError({ code, message, details })
  }
}

/** One detail, ready for `GrpcError.details`. */
export const detail = <Desc extends DescMessage>(schema: Desc, init: MessageInitShape<Desc>): Any =>
  anyPack(schema, create(schema, init))

/** The details of one type, decoded; those of other types and malformed ones are left out. */
export const detailsOf = <Desc extends DescMessage>(
  error: GrpcError,
  schema: Desc,
): ReadonlyArray<MessageShape<Desc>> =>
  error.details.flatMap((any) => {
    try {
      const message = anyUnpack(any, schema)
      return message === undefined ? [] : [message]
    } catch {
      return []
    }
  })

/** What grpc-js wants to hear of a failed handler. */
export const toStatus = (cause: Cause.Cause<GrpcError>): grpc.StatusObject => {
  const failure = cause.reasons.find(Cause.isFailReason)
  const metadata = new grpc.Metadata()
  if (failure) {
    const { code, details } = failure.error
    const message = sendable(failure.error.message)
    const bytes = details.reduce((sum, { value }) => sum + value.length, 0)
    if (details.length > 0 && bytes <= maxDetailsBytes) {
      const status = create(StatusSchema, { code, message, details: [...details] })
      metadata.set(detailsKey, Buffer.from(toBinary(StatusSchema, status)))
    }
    return { code, details: message, metadata }
  }
  return Cause.hasInterruptsOnly(cause)
    ? { code: grpc.status.CANCELLED, details: "cancelled", metadata }
    : { code: grpc.status.INTERNAL, details: "internal error", metadata }
}

/** What a client got, with its details where they can be read. */
export const fromServiceError = (error: grpc.ServiceError): GrpcError => {
  const [binary] = error.metadata?.get(detailsKey) ?? []
  let details: ReadonlyArray<Any> = []
  if (binary instanceof Buffer) {
    try {
      details = fromBinary(StatusSchema, binary).details
    } catch {
      // The status itself still says what went wrong.
    }
  }
  return new GrpcError({
    code: error.code ?? grpc.status.UNKNOWN,
    message: error.details ?? error.message,
    details,
  })
}
