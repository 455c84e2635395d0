/**
 * The gateway's errors as gRPC statuses with Google's details, and back. Both sides are here, so that what a
 * server says is what a client understands; other clients read the same details in their own language.
 */
import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt"
import * as grpc from "@grpc/grpc-js"
import { Schema } from "effect"
import {
  BadRequestSchema,
  ErrorInfoSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "#gen/google/rpc/error_details_pb.ts"
import type { CommandError } from "#protocol/gateway/RegionCommands.ts"
import type { ResourceKey } from "#protocol/resource/Resource.ts"
import { maxViolations, type Violation } from "#protocol/resource/Violation.ts"
import type { Compacted, StoreUnavailable } from "#protocol/store/ResourceStore.ts"
import { detail, detailsOf, GrpcError, maxDetailsBytes } from "#runtime/grpc/GrpcError.ts"

const domain = "ferrite.dev"

/** For people: `Network default/net-a`, `Node host-1`. */
export const describeKey = (key: ResourceKey): string =>
  key.namespace === "" ? `${key.kind} ${key.name}` : `${key.kind} ${key.namespace}/${key.name}`

const resource = (key: ResourceKey, owner = "") =>
  detail(ResourceInfoSchema, {
    resourceType: key.kind,
    resourceName: key.namespace === "" ? key.name : `${key.namespace}/${key.name}`,
    owner,
  })

const reason = (name: string, metadata: Record<string, string> = {}) =>
  detail(ErrorInfoSchema, { reason: name, domain, metadata })

const retry = (millis: number) => detail(RetryInfoSchema, { retryDelay: durationFromMs(millis) })

/** A wrong value is quoted in its violation, cut where it is long: perhaps in the midst of a character. */
const maxTextLength = 512
const short = (text: string): string => text.slice(0, maxTextLength).toWellFormed()

/** As many as an answer can carry; the first one always. */
const tellable = (violations: ReadonlyArray<Violation>): ReadonlyArray<Violation> => {
  let bytes = 0
  return violations
    .slice(0, maxViolations)
    .map((each) => ({ field: short(each.field), reason: each.reason, message: short(each.message) }))
    .filter(({ field, message, reason }, index) => {
      // With what protobuf adds to each.
      bytes += Buffer.byteLength(field) + Buffer.byteLength(message) + reason.length + 16
      return index === 0 || bytes < maxDetailsBytes
    })
}

export const invalid = (about: string, violations: ReadonlyArray<Violation>): GrpcError => {
  const told = tellable(violations)
  return GrpcError.of(
    grpc.status.INVALID_ARGUMENT,
    `${about} is not valid: ${told.map(({ field, message }) => (field === "" ? message : `${field}: ${message}`)).join("; ")}`,
    [
      detail(BadRequestSchema, {
        fieldViolations: told.map((each) => ({
          field: each.field,
          description: each.message,
          reason: each.reason,
        })),
      }),
    ],
  )
}

export const notFound = (key: ResourceKey): GrpcError =>
  GrpcError.of(grpc.status.NOT_FOUND, `${describeKey(key)} does not exist`, [resource(key)])

const unavailable = (why: string): GrpcError => GrpcError.of(grpc.status.UNAVAILABLE, why, [retry(1000)])

export const toGrpc = (error: CommandError | StoreUnavailable | Compacted): GrpcError => {
  switch (error._tag) {
    case "InvalidManifest":
      return invalid(error.subject, error.violations)
    case "NotFound":
      return notFound(error.key)
    case "AlreadyAttached":
      return GrpcError.of(
        grpc.status.ALREADY_EXISTS,
        `${describeKey(error.key)} is attached to node ${error.node}; detach it first`,
        [resource(error.key, `node/${error.node}`), reason("ALREADY_ATTACHED", { node: error.node })],
      )
    case "NotAttached":
      return GrpcError.of(grpc.status.FAILED_PRECONDITION, `${describeKey(error.key)} is not attached`, [
        reason("NOT_ATTACHED"),
        resource(error.key),
      ])
    case "Conflict":
      return GrpcError.of(
        grpc.status.ABORTED,
        `${describeKey(error.key)} is not what this request takes it for: ${error.reason}; read it and try again`,
        [reason("CONFLICT"), resource(error.key)],
      )
    case "InUse":
      return GrpcError.of(
        grpc.status.FAILED_PRECONDITION,
        `${describeKey(error.key)} is in use by ${error.by.map(describeKey).join(", ")}`,
        [reason("IN_USE"), resource(error.key)],
      )
    case "Deleting":
      return GrpcError.of(
        grpc.status.FAILED_PRECONDITION,
        `${describeKey(error.key)} is being deleted; wait until it is gone`,
        [reason("DELETING"), resource(error.key)],
      )
    case "Busy":
      return GrpcError.of(grpc.status.RESOURCE_EXHAUSTED, "the region is busy; try again shortly", [
        retry(error.retryAfterMillis),
        reason("BUSY"),
      ])
    case "Unavailable":
    case "StoreUnavailable":
      return unavailable(error.reason)
    case "Compacted":
      return GrpcError.of(
        grpc.status.OUT_OF_RANGE,
        `revision ${error.from} is gone, the oldest to watch from is ${error.oldest}; list and watch from there`,
        [reason("COMPACTED", { oldest: String(error.oldest) })],
      )
  }
}

/** A wrong field as a client reads it; `reason` may be one that this client does not know yet. */
export const FieldViolation = Schema.Struct({
  field: Schema.String,
  reason: Schema.String,
  message: Schema.String,
})

/** A gateway's refusal as its client sees it. */
export class GatewayProblem extends Schema.TaggedError<GatewayProblem>()("GatewayProblem", {
  /** Name of the gRPC status, as INVALID_ARGUMENT. */
  status: Schema.String,
  message: Schema.String,
  violations: Schema.Array(FieldViolation),
  /** Stable reason, as COMPACTED. Empty: none. */
  reason: Schema.String,
  /** `Kind namespace/name` that it is about. Empty: none. */
  resource: Schema.String,
  retryAfterMillis: Schema.optionalKey(Schema.Finite),
}) {}

export const fromGrpc = (error: GrpcError): GatewayProblem => {
  const violations = detailsOf(error, BadRequestSchema).flatMap((bad) =>
    bad.fieldViolations.map((each) => ({
      field: each.field,
      reason: each.reason,
      message: each.description,
    })),
  )
  const [about] = detailsOf(error, ResourceInfoSchema)
  const [info] = detailsOf(error, ErrorInfoSchema)
  const [again] = detailsOf(error, RetryInfoSchema)
  return new GatewayProblem({
    status: grpc.status[error.code] ?? `status ${error.code}`,
    message: error.message,
    violations,
    reason: info?.reason ?? "",
    resource: about ? `${about.resourceType} ${about.resourceName}` : "",
    ...(again?.retryDelay ? { retryAfterMillis: durationMs(again.retryDelay) } : {}),
  })
}
