/**
 * Waiting for a resource: to be ready, or to be gone. Follows its changes instead of asking again and again, and
 * says what it last saw when the time is over.
 */
import { Duration, Effect, Option, Ref, Schedule, Stream } from "effect"
import { WatchResponse_Type } from "#gen/ferrite/gateway/v1/gateway_pb.ts"
import type { Condition, Manifest, ResourceKey } from "#protocol/resource/Resource.ts"
import type { GatewayClient } from "../gateway/GatewayClient.ts"
import { type GatewayProblem } from "../gateway/GatewayStatus.ts"
import { failed } from "./Failure.ts"
import { manifestOf } from "./Render.ts"
import { nameOf } from "./Targets.ts"

interface Status {
  readonly state?: string
  readonly conditions?: ReadonlyArray<Condition>
}

const statusOf = ({ status }: Manifest): Status =>
  typeof status === "object" && status !== null ? (status as Status) : {}

export const conditionsOf = (manifest: Manifest): ReadonlyArray<Condition> =>
  statusOf(manifest).conditions ?? []

/** The conditions that are not True, for people. */
export const reasonsOf = (manifest: Manifest): ReadonlyArray<string> =>
  conditionsOf(manifest)
    .filter(({ status }) => status !== "True")
    .map(({ message, reason, type }) => `${type}: ${reason}${message === "" ? "" : `, ${message}`}`)

/** Available, or of a node Ready. */
export const isReady = (manifest: Manifest): boolean => {
  const { state } = statusOf(manifest)
  return state === "Available" || state === "Ready"
}

/** Ready, or waiting for nothing but its user to attach it. */
export const isSettled = (manifest: Manifest): boolean => {
  const open = conditionsOf(manifest).filter(({ status }) => status !== "True")
  return isReady(manifest) || open.some(({ reason }) => reason === "NotAttached")
}

/** What is seen of a resource: its manifest, or that it is gone. */
export type Seen = Option.Option<Manifest>

const isLost = (problem: GatewayProblem): boolean =>
  problem.status === "UNAVAILABLE" || problem.reason === "COMPACTED"

/** The present state of a resource, then every change of it. Outlives a restart of the controller. */
const sightings = (client: GatewayClient, key: ResourceKey): Stream.Stream<Seen, GatewayProblem> =>
  Stream.unwrap(
    client.get({ key }).pipe(
      Effect.map(({ resource }) =>
        resource === undefined
          ? Stream.make<[Seen]>(Option.none())
          : Stream.concat(
              Stream.make<[Seen]>(Option.some(manifestOf(resource))),
              client
                .watch({ kind: key.kind, namespace: key.namespace, fromRevision: resource.revision })
                .pipe(
                  Stream.filter((message) => message.resource?.key?.name === key.name),
                  Stream.map(({ resource: changed, type }): Seen =>
                    changed === undefined || type === WatchResponse_Type.DELETED
                      ? Option.none()
                      : Option.some(manifestOf(changed)),
                  ),
                ),
            ),
      ),
      Effect.catchIf(
        (problem) => problem.status === "NOT_FOUND",
        () => Effect.succeed(Stream.make<[Seen]>(Option.none())),
      ),
    ),
  ).pipe(
    Stream.retry(
      Schedule.spaced("500 millis").pipe(
        Schedule.setInputType<GatewayProblem>(),
        Schedule.while(({ input }) => isLost(input)),
      ),
    ),
  )

/**
 * The first sighting that is as wanted. `onSeen` hears of each one. Fails when the time is over, with the
 * conditions that are not met.
 */
export const waitFor = Effect.fnUntraced(function* (
  client: GatewayClient,
  key: ResourceKey,
  options: {
    readonly until: (seen: Seen) => boolean
    readonly wanted: string
    readonly timeout: Duration.Input
    readonly onSeen?: (seen: Seen) => Effect.Effect<void>
  },
) {
  const last = yield* Ref.make<Seen>(Option.none())
  const found = sightings(client, key).pipe(
    Stream.tap((seen) => Effect.andThen(Ref.set(last, seen), options.onSeen?.(seen) ?? Effect.void)),
    Stream.filter(options.until),
    Stream.runHead,
  )
  const first = yield* Effect.timeoutOption(found, options.timeout)
  if (Option.isSome(first) && Option.isSome(first.value)) return first.value.value
  const seen = yield* Ref.get(last)
  return yield* failed(
    `${nameOf(key)} is not ${options.wanted} after ${Duration.format(Duration.fromInputUnsafe(options.timeout))}`,
    Option.match(seen, { onNone: () => ["it does not exist"], onSome: holdups }).map((line) => `  ${line}`),
  )
})

/** What keeps a resource: where it is being deleted, what holds it; else the conditions that are not met. */
const holdups = (manifest: Manifest): ReadonlyArray<string> => {
  const { deletionTimestamp, finalizers = [] } = manifest.metadata
  if (deletionTimestamp === undefined) return reasonsOf(manifest)
  const why = conditionsOf(manifest).filter(({ type }) => type === "Deleting")
  return [
    ...why.map(({ message, reason }) => `${reason}: it ${message}`),
    ...finalizers.map((finalizer) => `held by finalizer ${finalizer}`),
  ]
}
