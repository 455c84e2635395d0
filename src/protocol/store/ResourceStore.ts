/**
 * The store of a region, as actors and services see it: records with revisions, claims that are unique, one
 * ordered change feed. What is committed here is true; every message is only a hint to look here.
 *
 * Layers are in `src/runtime/store/`: memory, SQLite, later PostgreSQL. One contract suite runs against all.
 */
import { Context, Effect, Option, Schema, Stream } from "effect"
import { ResourceKey } from "../resource/Resource.ts"

/** A record at a revision. `value` is JSON; the store does not look into it. */
export interface StoredRecord {
  readonly key: ResourceKey
  readonly uid: string
  /** Revision of the region at which this record last changed. */
  readonly revision: number
  readonly labels: Readonly<Record<string, string>>
  /** Records that this one refers to, whether they exist or not. */
  readonly references: ReadonlyArray<ResourceKey>
  readonly value: unknown
}

/** Creates or replaces a record. `expectedRevision` 0: must not exist. Omitted: whatever is there. */
export interface Put {
  readonly _tag: "Put"
  readonly key: ResourceKey
  readonly uid: string
  readonly labels: Readonly<Record<string, string>>
  readonly references: ReadonlyArray<ResourceKey>
  readonly value: unknown
  readonly expectedRevision?: number
}

export interface Remove {
  readonly _tag: "Remove"
  readonly key: ResourceKey
  readonly expectedRevision?: number
}

/** One value of a pool, owned by one record. Claiming what one owns already is no change. */
export interface Claim {
  readonly pool: string
  readonly value: string
  readonly owner: ResourceKey
}

/** Something that happened to a resource, for people. Equal (type, reason, message) of one resource are counted. */
export interface EventNote {
  readonly about: ResourceKey
  readonly type: "Normal" | "Warning"
  readonly reason: string
  readonly message: string
}

export interface StoredEvent extends EventNote {
  readonly firstSeenMillis: number
  readonly lastSeenMillis: number
  readonly count: number
}

/** All or nothing. At most 1,000 writes, claims and releases together, 1 MiB a value. */
export interface Commit {
  readonly writes?: ReadonlyArray<Put | Remove>
  readonly claims?: ReadonlyArray<Claim>
  /** Releasing what one does not own is no change. */
  readonly releases?: ReadonlyArray<Claim>
  readonly events?: ReadonlyArray<EventNote>
  /** A command and its answer: a command that is sent again finds the answer by `commandResult`. */
  readonly command?: { readonly id: string; readonly result: unknown }
}

export interface Committed {
  /** The new revision of the region, or the present one where nothing changed. */
  readonly revision: number
  /** False: every write was equal to what was there, no claim or release changed anything. */
  readonly changed: boolean
}

/** `record` is the state after the change; of a removal, the last state with the removal's revision. */
export interface Change {
  readonly _tag: "Put" | "Remove"
  readonly revision: number
  readonly record: StoredRecord
}

/** What `changes` yields: all changes of one revision together, then the next. */
export interface ChangeBatch {
  readonly revision: number
  readonly changes: ReadonlyArray<Change>
}

export interface ListQuery {
  readonly kind: string
  readonly namespace?: string
  /** Equality on labels; richer selectors are evaluated by the caller. */
  readonly labels?: Readonly<Record<string, string>>
}

/** A write named a revision that is not the record's. `actual` 0: no such record. */
export class RevisionConflict extends Schema.TaggedError<RevisionConflict>()("RevisionConflict", {
  key: ResourceKey,
  expected: Schema.Int,
  actual: Schema.Int,
}) {}

/** Another record owns the value. */
export class ClaimTaken extends Schema.TaggedError<ClaimTaken>()("ClaimTaken", {
  pool: Schema.String,
  value: Schema.String,
  owner: ResourceKey,
}) {}

/** A commit breaks a bound of the store. */
export class CommitRejected extends Schema.TaggedError<CommitRejected>()("CommitRejected", {
  reason: Schema.String,
}) {}

/** The store can't answer now; nothing is known about the commit. */
export class StoreUnavailable extends Schema.TaggedError<StoreUnavailable>()("StoreUnavailable", {
  reason: Schema.String,
}) {}

/** The feed does not reach back to `from`; the oldest it can start after is `oldest`. List, then watch again. */
export class Compacted extends Schema.TaggedError<Compacted>()("Compacted", {
  from: Schema.Int,
  oldest: Schema.Int,
}) {}

export type CommitError = RevisionConflict | ClaimTaken | CommitRejected | StoreUnavailable

export class ResourceStore extends Context.Service<
  ResourceStore,
  {
    /** Random, made with the store, never changes. */
    readonly regionUid: string
    readonly revision: Effect.Effect<number, StoreUnavailable>
    readonly get: (key: ResourceKey) => Effect.Effect<Option.Option<StoredRecord>, StoreUnavailable>
    /** By namespace, then name. `revision` is that of the whole list. */
    readonly list: (
      query: ListQuery,
    ) => Effect.Effect<
      { readonly records: ReadonlyArray<StoredRecord>; readonly revision: number },
      StoreUnavailable
    >
    /** Records whose `references` name this key. */
    readonly referrers: (key: ResourceKey) => Effect.Effect<ReadonlyArray<ResourceKey>, StoreUnavailable>
    readonly commit: (commit: Commit) => Effect.Effect<Committed, CommitError>
    readonly commandResult: (id: string) => Effect.Effect<Option.Option<unknown>, StoreUnavailable>
    /** Values of a pool in use, ascending by number where they are numbers. */
    readonly claims: (pool: string) => Effect.Effect<ReadonlyArray<Claim>, StoreUnavailable>
    /** Every change after `from`, once, in order, for ever. */
    readonly changes: (from: number) => Stream.Stream<ChangeBatch, Compacted | StoreUnavailable>
    readonly events: (about: ResourceKey) => Effect.Effect<ReadonlyArray<StoredEvent>, StoreUnavailable>
    /** Forgets the feed up to and including a revision. */
    readonly compact: (revision: number) => Effect.Effect<void, StoreUnavailable>
  }
>()("ferrite/ResourceStore") {}
