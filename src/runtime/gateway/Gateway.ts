/**
 * The region's front door, `ferrite.gateway.v1` over gRPC: decodes and checks what users send, asks the region's
 * actors for every write, reads the store for every question.
 *
 * It holds no state: any controller answers for the region. A request is bounded (a manifest by the resource
 * protocol, a key, a selector, a command id), an answer too: a list of more than `maxListBytes` is refused and has
 * to be narrowed or read as a watch. An actor that does not answer in `commandTimeout` is UNAVAILABLE; whether the
 * command was done is then unknown, and repeating it with its command id is harmless.
 */
import * as grpc from "@grpc/grpc-js"
import { Duration, Effect, Option, Result, Stream } from "effect"
import {
  file_ferrite_gateway_v1_gateway,
  GatewayService,
  Outcome,
} from "#gen/ferrite/gateway/v1/gateway_pb.ts"
import type * as Commands from "#protocol/gateway/RegionCommands.ts"
import { RegionCommands, Unavailable } from "#protocol/gateway/RegionCommands.ts"
import { decodeManifest } from "#protocol/resource/Decode.ts"
import { kindOf, kinds } from "#protocol/resource/Kinds.ts"
import { matches, parseSelector, type Requirement } from "#protocol/resource/LabelSelector.ts"
import { networkInterfaceKind } from "#protocol/resource/NetworkInterface.ts"
import { dnsLabelProblem } from "#protocol/resource/Names.ts"
import type { ResourceKey } from "#protocol/resource/Resource.ts"
import type { Violation } from "#protocol/resource/Violation.ts"
import { type Compacted, ResourceStore, type StoreUnavailable } from "#protocol/store/ResourceStore.ts"
import { detail, GrpcError } from "#runtime/grpc/GrpcError.ts"
import * as GrpcServer from "#runtime/grpc/GrpcServer.ts"
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.ts"
import { invalid, notFound, toGrpc } from "./GatewayStatus.ts"
import { keyMessage, resourceOf } from "./Present.ts"
import { routes } from "./Routes.ts"
import { type Selection, watch } from "./Watch.ts"

/** For whoever adds the gateway to a server: what reflection lists and health names. */
export const file = file_ferrite_gateway_v1_gateway
export const serviceName = GatewayService.typeName

const commandTimeout = Duration.seconds(15)
const maxListBytes = 8 * 1024 * 1024
const maxManifestBytes = 1024 * 1024
const maxCommandIdBytes = 128
const maxEvents = 64
/** Of those that reference a resource; who wants all lists them. */
const maxReferrers = 1024
/** About 8 MiB of them. */
const maxRoutes = 50_000
const uidPattern = /^[0-9A-Za-z-]{1,64}$/

const refuse = (about: string, ...violations: ReadonlyArray<Violation>) =>
  Effect.fail(invalid(about, violations))

/** The message's key as a key of a kind that is served. */
const checkKey = (
  key: { readonly kind: string; readonly namespace: string; readonly name: string } | undefined,
): Effect.Effect<ResourceKey, GrpcError> => {
  const served = kinds.map(({ kind }) => kind).join(", ")
  const kind = kindOf(key?.kind ?? "")
  if (key === undefined || kind === undefined) {
    return refuse("request", {
      field: "key.kind",
      reason: key === undefined || key.kind === "" ? "Required" : "NotSupported",
      message: `${JSON.stringify((key?.kind ?? "").slice(0, 80))} is not served; served are ${served}`,
    })
  }
  const problem = kind.nameProblem(key.name)
  if (problem !== undefined) {
    return refuse("request", {
      field: "key.name",
      reason: "Invalid",
      message: `${JSON.stringify(key.name.slice(0, 80))} ${problem}`,
    })
  }
  return Effect.map(
    checkNamespace(kind.namespaced ? key.namespace || "default" : "", "key.namespace"),
    (namespace) => ({
      kind: kind.kind,
      namespace,
      name: key.name,
    }),
  )
}

/** Empty is left to the caller's meaning of it. */
const checkNamespace = (namespace: string, field: string): Effect.Effect<string, GrpcError> => {
  const problem = namespace === "" ? undefined : dnsLabelProblem(namespace)
  return problem === undefined
    ? Effect.succeed(namespace)
    : refuse("request", {
        field,
        reason: "Invalid",
        message: `${JSON.stringify(namespace.slice(0, 80))} ${problem}`,
      })
}

const checkKind = (name: string): Effect.Effect<string, GrpcError> => {
  const kind = kindOf(name)
  return kind === undefined
    ? refuse("request", {
        field: "kind",
        reason: name === "" ? "Required" : "NotSupported",
        message: `${JSON.stringify(name.slice(0, 80))} is not served; served are ${kinds.map((each) => each.kind).join(", ")}`,
      })
    : Effect.succeed(kind.kind)
}

const checkSelector = (text: string): Effect.Effect<ReadonlyArray<Requirement>, GrpcError> => {
  const parsed = parseSelector(text)
  return "message" in parsed
    ? refuse("request", { field: "label_selector", reason: "Invalid", message: parsed.reason })
    : Effect.succeed(parsed)
}

const checkSelection = Effect.fnUntraced(function* (request: {
  readonly kind: string
  readonly namespace: string
  readonly labelSelector: string
}): Effect.fn.Return<Selection, GrpcError> {
  return {
    kind: yield* checkKind(request.kind),
    namespace: yield* checkNamespace(request.namespace, "namespace"),
    requirements: yield* checkSelector(request.labelSelector),
  }
})

const checkCommandId = (commandId: string): Effect.Effect<string | undefined, GrpcError> =>
  Buffer.byteLength(commandId) > maxCommandIdBytes || /\p{Cc}/u.test(commandId)
    ? refuse("request", {
        field: "command_id",
        reason: "Invalid",
        message: `must have at most ${maxCommandIdBytes} bytes and no control characters`,
      })
    : Effect.succeed(commandId === "" ? undefined : commandId)

const checkInterface = Effect.fnUntraced(function* (request: {
  readonly namespace: string
  readonly name: string
}) {
  const key = yield* checkKey({
    kind: networkInterfaceKind,
    namespace: request.namespace,
    name: request.name,
  })
  return { namespace: key.namespace, name: key.name }
})

/** A command to the region's actors with the gateway's patience, its errors as statuses. */
const command = <A, R>(effect: Effect.Effect<A, Commands.CommandError, R>) =>
  effect.pipe(
    Effect.timeoutOrElse({
      duration: commandTimeout,
      orElse: () =>
        Effect.fail(
          new Unavailable({
            reason: `the region did not answer within ${Duration.format(commandTimeout)}; repeat with the same command id`,
          }),
        ),
    }),
    Effect.mapError(toGrpc),
  )

const reading = <A, R>(effect: Effect.Effect<A, StoreUnavailable | Compacted, R>) =>
  Effect.mapError(effect, toGrpc)

const outcomes: Readonly<Record<Commands.Outcome, Outcome>> = {
  Created: Outcome.CREATED,
  Configured: Outcome.CONFIGURED,
  Unchanged: Outcome.UNCHANGED,
}

const apply = Effect.fn("Gateway.apply")(function* (request: {
  readonly json: string
  readonly namespace: string
  readonly dryRun: boolean
  readonly commandId: string
}) {
  const commandId = yield* checkCommandId(request.commandId)
  const namespace = yield* checkNamespace(request.namespace, "namespace")
  if (request.json.length > maxManifestBytes) {
    return yield* refuse("manifest", {
      field: "",
      reason: "Invalid",
      message: `must have at most ${maxManifestBytes} bytes`,
    })
  }
  const document = yield* Effect.try({
    try: (): unknown => JSON.parse(request.json),
    catch: (cause) =>
      invalid("manifest", [
        {
          field: "",
          reason: "Invalid",
          message: `is no JSON: ${cause instanceof Error ? cause.message : ""}`,
        },
      ]),
  })
  const decoded = decodeManifest(document, namespace === "" ? {} : { namespace })
  if (Result.isFailure(decoded)) return yield* toGrpc(decoded.failure)
  const commands = yield* RegionCommands
  const { outcome, record } = yield* command(
    commands.apply(decoded.success, { dryRun: request.dryRun, commandId }),
  )
  return { resource: resourceOf(record), outcome: outcomes[outcome] }
})

const get = Effect.fn("Gateway.get")(function* (request: { readonly key?: ResourceKey | undefined }) {
  const key = yield* checkKey(request.key)
  const store = yield* ResourceStore
  const record = yield* reading(store.get(key))
  if (Option.isNone(record)) return yield* notFound(key)
  return { resource: resourceOf(record.value) }
})

const tooLarge = (message: string) =>
  GrpcError.of(grpc.status.RESOURCE_EXHAUSTED, message, [
    detail(ErrorInfoSchema, { reason: "LIST_TOO_LARGE", domain: "ferrite.dev", metadata: {} }),
  ])

const list = Effect.fn("Gateway.list")(function* (request: Parameters<typeof checkSelection>[0]) {
  const { kind, namespace, requirements } = yield* checkSelection(request)
  const store = yield* ResourceStore
  const { records, revision } = yield* reading(
    store.list({ kind, ...(namespace === "" ? {} : { namespace }) }),
  )
  const resources = records.filter(({ labels }) => matches(requirements, labels)).map(resourceOf)
  const bytes = resources.reduce((sum, { json }) => sum + json.length, 0)
  if (bytes > maxListBytes) {
    return yield* tooLarge(
      `the list has ${resources.length} resources and more than ${maxListBytes} bytes; narrow it by namespace or labels, or read it by Watch`,
    )
  }
  return { resources, revision: BigInt(revision) }
})

const describe = Effect.fn("Gateway.describe")(function* (request: {
  readonly key?: ResourceKey | undefined
}) {
  const key = yield* checkKey(request.key)
  const store = yield* ResourceStore
  const record = yield* reading(store.get(key))
  if (Option.isNone(record)) return yield* notFound(key)
  const events = yield* reading(store.events(key))
  const referrers = yield* reading(store.referrers(key))
  return {
    resource: resourceOf(record.value),
    events: events.slice(-maxEvents).map((event) => ({
      type: event.type,
      reason: event.reason,
      message: event.message,
      firstSeen: timestamp(event.firstSeenMillis),
      lastSeen: timestamp(event.lastSeenMillis),
      count: event.count,
    })),
    references: record.value.references.map(keyMessage),
    referrers: referrers.slice(0, maxReferrers).map(keyMessage),
  }
})

const timestamp = (millis: number) => ({
  seconds: BigInt(Math.floor(millis / 1000)),
  nanos: Math.floor(millis % 1000) * 1_000_000,
})

const remove = Effect.fn("Gateway.delete")(function* (request: {
  readonly key?: ResourceKey | undefined
  readonly uid: string
  readonly commandId: string
}) {
  const key = yield* checkKey(request.key)
  const commandId = yield* checkCommandId(request.commandId)
  if (request.uid !== "" && !uidPattern.test(request.uid)) {
    return yield* refuse("request", {
      field: "uid",
      reason: "Invalid",
      message: "must be a uid: at most 64 of 0-9, a-z, A-Z and '-'",
    })
  }
  const commands = yield* RegionCommands
  const left = yield* command(
    commands.delete(key, { commandId, uid: request.uid === "" ? undefined : request.uid }),
  )
  return Option.match(left, { onNone: () => ({}), onSome: (record) => ({ resource: resourceOf(record) }) })
})

const attach = Effect.fn("Gateway.attach")(function* (request: {
  readonly namespace: string
  readonly name: string
  readonly node: string
  readonly commandId: string
}) {
  const nic = yield* checkInterface(request)
  const commandId = yield* checkCommandId(request.commandId)
  const problem = dnsLabelProblem(request.node)
  if (problem !== undefined) {
    return yield* refuse("request", {
      field: "node",
      reason: request.node === "" ? "Required" : "Invalid",
      message: `${JSON.stringify(request.node.slice(0, 80))} ${problem}`,
    })
  }
  const commands = yield* RegionCommands
  const { handle, record } = yield* command(commands.attach(nic, request.node, { commandId }))
  return { resource: resourceOf(record), handle }
})

const detach = Effect.fn("Gateway.detach")(function* (request: {
  readonly namespace: string
  readonly name: string
  readonly commandId: string
}) {
  const nic = yield* checkInterface(request)
  const commandId = yield* checkCommandId(request.commandId)
  const commands = yield* RegionCommands
  return { resource: resourceOf(yield* command(commands.detach(nic, { commandId }))) }
})

const isRevision = (value: bigint): boolean => value <= BigInt(Number.MAX_SAFE_INTEGER)

const listRoutes = Effect.fn("Gateway.listRoutes")(function* ({ vni }: { readonly vni: number }) {
  const found = yield* reading(routes(vni))
  if (found.length > maxRoutes) {
    return yield* tooLarge(`there are ${found.length} routes; ask for those of one VNI`)
  }
  return { routes: found }
})

/** Adds the service to a server. Reflection and health are the server's to add, once for all its services. */
export const addTo = (server: grpc.Server): Effect.Effect<void, never, ResourceStore | RegionCommands> =>
  GrpcServer.addService(server, GatewayService, {
    apply,
    get,
    list,
    describe,
    delete: remove,
    attach,
    detach,
    watch: (request) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const selection = yield* checkSelection(request)
          if (!isRevision(request.fromRevision)) {
            return yield* refuse("request", {
              field: "from_revision",
              reason: "Invalid",
              message: "is no revision of this region",
            })
          }
          return Stream.mapError(watch(selection, Number(request.fromRevision)), toGrpc)
        }),
      ),
    listRoutes,
  })
