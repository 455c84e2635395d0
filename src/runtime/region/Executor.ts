/**
 * Runs a region actor's plans: read the record, let a command change it, plan, commit both at once, and do it again
 * where the world was another by then.
 *
 * A command and what follows from it are one commit, so an answer means that both are durable. The command's id goes
 * into the same commit; the region's partition answers a repeated one from there.
 */
import { Clock, Effect, Option, Result } from "effect"
import { commitOf, isEmpty, type Plan } from "#actors/region/Plan.ts"
import { Unavailable } from "#protocol/gateway/RegionCommands.ts"
import type { Manifest, ResourceKey } from "#protocol/resource/Resource.ts"
import {
  type ClaimTaken,
  type Commit,
  ResourceStore,
  type StoredRecord,
  type StoreUnavailable,
} from "#protocol/store/ResourceStore.ts"

/** How often a commit may lose to others before the actor gives its turn back. */
const maxAttempts = 32

/** What a command makes of the stored manifest, before planning. `manifest` undefined: there is nothing to plan. */
export interface Step<Outcome> {
  readonly manifest: Manifest | undefined
  readonly outcome: Outcome
}

/** Claims that commits of this turn have lost, newest last. */
export type Conflicts = ReadonlyArray<ClaimTaken>

/** Plans a candidate. `revision`: at which its record was read, 0 for a new one. */
export type Planner = (
  manifest: Manifest,
  revision: number,
  conflicts: Conflicts,
  nowMicros: number,
) => Effect.Effect<
  { readonly plan: Plan<Manifest>; readonly guards: Commit["writes"] },
  StoreUnavailable,
  ResourceStore
>

export interface Executed<Outcome> {
  /** The manifest as it is now, or would be after a dry run. Undefined: there is none. */
  readonly planned: Manifest | undefined
  readonly outcome: Outcome
}

export const nowMicros = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos / 1000n))

const manifestOf = (record: StoredRecord | undefined) => record?.value as Manifest | undefined

export const execute = Effect.fnUntraced(function* <Outcome, E>(options: {
  readonly key: ResourceKey
  readonly step: (stored: Manifest | undefined, revision: number) => Result.Result<Step<Outcome>, E>
  readonly plan: Planner
  readonly commandId?: string | undefined
  readonly dryRun?: boolean
}): Effect.fn.Return<Executed<Outcome>, E | StoreUnavailable | Unavailable, ResourceStore> {
  const store = yield* ResourceStore
  const { key, commandId } = options
  let conflicts: Conflicts = []
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const record = Option.getOrUndefined(yield* store.get(key))
    const stored = manifestOf(record)
    const { manifest, outcome } = yield* Effect.fromResult(options.step(stored, record?.revision ?? 0))
    if (manifest === undefined) return { planned: undefined, outcome }

    const revision = record?.revision ?? 0
    const { guards = [], plan } = yield* options.plan(manifest, revision, conflicts, yield* nowMicros)
    const planned = plan.next._tag === "Put" ? plan.next.manifest : manifest
    if (options.dryRun === true) return { planned, outcome }
    if (manifest === stored && isEmpty(plan)) return { planned, outcome }

    const commit = commitOf(manifest, plan, revision)
    const committed = yield* Effect.result(
      store.commit({
        ...commit,
        writes: [...(commit.writes ?? []), ...guards],
        ...(commandId === undefined ? {} : { command: { id: commandId, result: outcome } }),
      }),
    )
    if (Result.isSuccess(committed)) return { planned, outcome }
    const failure = committed.failure
    switch (failure._tag) {
      case "RevisionConflict":
        break
      case "ClaimTaken":
        conflicts = [...conflicts, failure]
        break
      case "CommitRejected":
        return yield* new Unavailable({ reason: `the store refused the change: ${failure.reason}` })
      case "StoreUnavailable":
        return yield* failure
    }
  }
  return yield* new Unavailable({ reason: `${maxAttempts} attempts were overtaken by others; try again` })
})
