/**
 * The store on an SQL database: one writer fiber takes what waits (at most 512 commits), runs it as one
 * transaction and answers each; while it writes, the next group gathers. Readers ask the tables.
 *
 * The database is the truth, this process holds only the tail of the feed. `sole` says that no other process
 * writes: then an idle watcher need not ask the database. Other writers' commits need a signal from outside.
 *
 * Bounds: 4,096 commits wait, more suspend their callers; a page of the feed is 256 changes.
 */
import { Clock, Deferred, Effect, Exit, Layer, Option, Queue, Random } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { uidFrom } from "#protocol/Ids.ts"
import { formatKey, parseKey } from "#protocol/resource/Resource.ts"
import {
  ResourceStore,
  StoreUnavailable,
  type ChangeBatch,
  type CommitError,
  type Committed,
  type ListQuery,
} from "#protocol/store/ResourceStore.ts"
import * as BatchedReads from "./BatchedReads.ts"
import * as ChangeFeed from "./ChangeFeed.ts"
import * as CommitPlan from "./CommitPlan.ts"
import { parseFrozen } from "./CanonicalJson.ts"
import { RecordCache } from "./RecordCache.ts"
import * as GroupCommit from "./GroupCommit.ts"
import * as SqliteClient from "./SqliteClient.ts"
import * as SqlSchema from "./SqlSchema.ts"
import { resolveOptions, type StoreOptions } from "./StoreOptions.ts"

const groupSize = 512
const waitingCommits = 4_096
/** Records decoded before other fibers get a turn. */
const decodeRun = 512

interface Pending {
  readonly prepared: CommitPlan.Prepared
  readonly answer: Deferred.Deferred<Committed, CommitError>
}

export interface SqlStoreOptions extends StoreOptions {
  /** Names the store in errors: a file, a URL without secrets. */
  readonly where: string
  /** No other process writes to this database. */
  readonly sole: boolean
}

const unavailable = (where: string) => (error: SqlError.SqlError) =>
  new StoreUnavailable({
    reason:
      error.reason._tag === "LockTimeoutError"
        ? `${where} is in use by another process`
        : `${where}: ${error.message}`,
  })

export const make = Effect.fnUntraced(function* (options: SqlStoreOptions) {
  const sql = yield* SqlClient.SqlClient
  const { where, sole } = options
  const retention = resolveOptions(options)
  const known = Effect.mapError(unavailable(where))
  const region = yield* SqlSchema.open(sql, uidFrom(yield* Random.Random), where).pipe(
    Effect.catchTag("SqlError", (error) => Effect.fail(unavailable(where)(error))),
  )
  const tail = new ChangeFeed.Tail(region.revision)
  const cache = new RecordCache()
  let compacted = region.compacted
  let closed = false

  const readRegion = Effect.suspend(() =>
    closed
      ? Effect.fail(new StoreUnavailable({ reason: `${where} is closed` }))
      : known(Effect.map(SqlSchema.readRegion(sql), (row) => row!)),
  )

  const readPage = Effect.fnUntraced(function* (after: number) {
    const kept = sole && !closed ? tail.after(after) : undefined
    if (kept !== undefined) return { batches: kept, compacted, revision: tail.revision }
    const { compacted: oldest, revision } = yield* readRegion
    const batches = after < oldest || after > revision ? [] : yield* known(pageFromTable(sql, after))
    return { batches, compacted: oldest, revision }
  })
  const feed = ChangeFeed.make(readPage)

  const queue = yield* Queue.bounded<Pending>(waitingCommits)

  const settle = Effect.fnUntraced(function* (group: ReadonlyArray<Pending>) {
    const now = yield* Clock.currentTimeMillis
    const prepared = group.map((pending) => pending.prepared)
    const exit = yield* Effect.exit(GroupCommit.run(sql, prepared, now, retention))
    if (Exit.isFailure(exit)) {
      // Nothing of the group is in the database, or nobody knows: each caller looks again.
      yield* Effect.logError("the store could not commit", exit.cause)
      const failure = Exit.findErrorOption(exit)
      const reason = Option.isSome(failure) ? failure.value.message : "the commit failed unexpectedly"
      const answer = Exit.fail(new StoreUnavailable({ reason: `${where}: ${reason}` }))
      for (const { answer: deferred } of group) Deferred.doneUnsafe(deferred, answer)
      return
    }
    const { outcomes, previous, revision, batches } = exit.value
    tail.append(previous, batches, revision)
    for (const outcome of outcomes) if (!("_tag" in outcome)) cache.apply(outcome.changes)
    if (exit.value.compacted > compacted) {
      compacted = exit.value.compacted
      tail.forget(compacted)
    }
    for (const [index, outcome] of outcomes.entries()) {
      const answer =
        "_tag" in outcome
          ? Exit.fail(outcome)
          : Exit.succeed({ revision: outcome.revision, changed: outcome.changed })
      Deferred.doneUnsafe(group[index]!.answer, answer)
    }
    if (revision !== previous) feed.signal()
  })

  // Interruptible only while it waits: what it took, it answers.
  const writer = Effect.uninterruptibleMask((restore) =>
    restore(Queue.takeBetween(queue, 1, groupSize)).pipe(
      Effect.flatMap(settle),
      // Whoever was just answered gets to ask for its next commit, which then joins the next group.
      Effect.andThen(Effect.yieldNow),
    ),
  ).pipe(Effect.forever)
  yield* Effect.forkScoped(writer)
  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      closed = true
      const left = yield* Queue.clear(queue)
      yield* Queue.shutdown(queue)
      const answer = Exit.fail(new StoreUnavailable({ reason: `${where} is closed` }))
      for (const { answer: deferred } of left) Deferred.doneUnsafe(deferred, answer)
      feed.signal()
    }),
  )

  const fetchRow = yield* BatchedReads.make((ids) =>
    Effect.suspend(() => {
      const before = tail.revision
      const found = sql<SqlSchema.RecordRow>`
        SELECT id, uid, revision, labels, refs, value FROM records WHERE ${sql.in("id", GroupCommit.padded(ids))}`
      return Effect.map(known(found), (rows) => {
        const byId = new Map(rows.map((row) => [row.id, SqlSchema.toRow(row)]))
        // A commit in between may have changed some, and has told the cache already.
        if (tail.revision === before) for (const id of ids) cache.set(id, byId.get(id))
        return byId
      })
    }),
  )

  const fetchResult = yield* BatchedReads.make((ids) =>
    Effect.map(
      known(
        sql<{ id: string; result: string }>`
          SELECT id, result FROM commands WHERE ${sql.in("id", GroupCommit.padded(ids))}`,
      ),
      (rows) => new Map(rows.map(({ id, result }) => [id, result])),
    ),
  )

  const readRow = (id: string): Effect.Effect<Option.Option<CommitPlan.Row>, StoreUnavailable> =>
    Effect.suspend(() =>
      sole && !closed && cache.has(id) ? Effect.succeed(Option.fromNullishOr(cache.get(id))) : fetchRow(id),
    )

  const decodeAll = Effect.fnUntraced(function* (rows: ReadonlyArray<SqlSchema.RecordRow>) {
    const records = []
    for (const row of rows) {
      records.push(CommitPlan.toRecord(SqlSchema.toRow(row)))
      if (records.length % decodeRun === 0) yield* Effect.yieldNow
    }
    return records
  })

  return ResourceStore.of({
    regionUid: region.uid,
    revision: Effect.map(readRegion, ({ revision }) => revision),
    get: (key) => Effect.map(readRow(formatKey(key)), Option.map(CommitPlan.toRecord)),
    list: Effect.fnUntraced(function* (query) {
      // An empty list is of this revision or a later one, so a watcher that starts here misses nothing.
      const { revision } = yield* readRegion
      const rows = yield* known(listRows(sql, query))
      return { records: yield* decodeAll(rows), revision: Number(rows[0]?.region ?? revision) }
    }),
    referrers: (key) =>
      known(
        Effect.map(
          sql<{
            source: string
          }>`SELECT source FROM record_references WHERE target = ${formatKey(key)} ORDER BY source`,
          (rows) => rows.map(({ source }) => parseKey(source)),
        ),
      ),
    commit: Effect.fnUntraced(function* (commit) {
      const prepared = yield* CommitPlan.prepare(commit)
      const answer = Deferred.makeUnsafe<Committed, CommitError>()
      const accepted = yield* Queue.offer(queue, { prepared, answer })
      if (!accepted) return yield* new StoreUnavailable({ reason: `${where} is closed` })
      return yield* Deferred.await(answer)
    }),
    commandResult: (id) => Effect.map(fetchResult(id), Option.map(parseFrozen)),
    claims: (pool) =>
      known(
        Effect.map(
          sql<{ value: string; owner: string }>`SELECT value, owner FROM claims WHERE pool = ${pool}`,
          (rows) =>
            [...rows]
              .sort((a, b) => CommitPlan.compareClaimValues(a.value, b.value))
              .map(({ value, owner }) => ({ pool, value, owner: parseKey(owner) })),
        ),
      ),
    changes: feed.changes,
    events: Effect.fnUntraced(function* (about) {
      const now = yield* Clock.currentTimeMillis
      const [row] = yield* known(
        sql<SqlSchema.JournalRow>`SELECT about, expires, events FROM journals WHERE about = ${formatKey(about)}`,
      )
      return CommitPlan.unexpired(row && SqlSchema.toJournal(row), now)?.events ?? []
    }),
    compact: Effect.fnUntraced(function* (revision) {
      const done = yield* known(compactTo(sql, revision))
      compacted = Math.max(compacted, done)
      tail.forget(compacted)
      feed.signal()
    }),
  })
})

/** Records with the region's revision beside each: one statement, so both are of one moment in every database. */
const listRows = (sql: SqlClient.SqlClient, { kind, namespace, labels = {} }: ListQuery) => {
  const [first, ...others] = Object.entries(labels)
  const conditions = [sql`r.kind = ${kind}`]
  if (namespace !== undefined) conditions.push(sql`r.namespace = ${namespace}`)
  for (const [label, value] of others) {
    conditions.push(
      sql`r.id IN (SELECT source FROM record_labels WHERE label = ${label} AND value = ${value})`,
    )
  }
  // Joined from the first label, so that few records are looked at where few have it.
  const joined =
    first === undefined
      ? sql`records r WHERE ${sql.and(conditions)}`
      : sql`record_labels l JOIN records r ON r.id = l.source
          WHERE l.label = ${first[0]} AND l.value = ${first[1]} AND ${sql.and(conditions)}`
  return sql<SqlSchema.RecordRow & { readonly region: number }>`
    SELECT (SELECT revision FROM region WHERE id = 1) AS region, r.id, r.uid, r.revision, r.labels, r.refs, r.value
    FROM ${joined} ORDER BY r.namespace, r.name`
}

/** Answers with the revision up to which the feed is compacted now. */
const compactTo = (sql: SqlClient.SqlClient, revision: number) =>
  sql.withTransaction(
    Effect.gen(function* () {
      const region = (yield* SqlSchema.readRegion(sql, true))!
      const target = Math.min(Math.floor(revision), region.revision)
      if (!(target > region.compacted)) return region.compacted
      const dropped = yield* GroupCommit.dropChanges(sql, target)
      yield* sql`UPDATE region SET compacted = ${target}, changes = ${region.changes - dropped} WHERE id = 1`
      return target
    }),
  )

const pageFromTable = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, after: number) {
  const start = (after + 1) * SqlSchema.positionsPerRevision
  const read = (from: number, to: number, limit: number) => sql<SqlSchema.ChangeRow>`
    SELECT position, removed, id, uid, revision, labels, refs, value FROM changes
    WHERE position >= ${from} AND position < ${to} ORDER BY position LIMIT ${limit}`
  let rows = yield* read(start, Number.MAX_SAFE_INTEGER, ChangeFeed.pageChanges)
  const last = Number(rows.at(-1)?.revision ?? 0)
  if (rows.length === ChangeFeed.pageChanges) {
    // The last revision may be cut off: leave it to the next page, or read it whole when it is all there is.
    const whole = rows.filter((row) => Number(row.revision) !== last)
    const position = last * SqlSchema.positionsPerRevision
    rows =
      whole.length > 0
        ? whole
        : yield* read(position, position + SqlSchema.positionsPerRevision, SqlSchema.positionsPerRevision)
  }
  const batches: Array<ChangeBatch> = []
  for (const [revision, changed] of Map.groupBy(rows, (row) => Number(row.revision))) {
    const changes = changed.map((row) => ({
      _tag: row.removed === 0 ? ("Put" as const) : ("Remove" as const),
      revision,
      record: CommitPlan.toRecord(SqlSchema.toRow(row)),
    }))
    batches.push({ revision, changes })
  }
  return batches
})

export interface SqliteStoreOptions extends StoreOptions {
  /** A path in a folder that exists, or `:memory:`. */
  readonly filename: string
  /** `FULL` (default): what was answered survives the machine. `NORMAL`: it survives the process. */
  readonly synchronous?: "NORMAL" | "FULL"
  /** How long to wait at the start for a process that is just going away. Default 5,000. */
  readonly busyTimeoutMillis?: number
}

/** The embedded store: one file, one process. Fails to start when the file is no store, damaged, newer or in use. */
export const layerSqlite = (options: SqliteStoreOptions): Layer.Layer<ResourceStore, StoreUnavailable> => {
  const where = `the store ${options.filename}`
  const client = SqliteClient.layer({
    filename: options.filename,
    synchronous: options.synchronous ?? "FULL",
    exclusive: true,
    busyTimeoutMillis: options.busyTimeoutMillis ?? 5_000,
  })
  return Layer.effect(ResourceStore, make({ ...options, where, sole: true })).pipe(
    Layer.provide(client),
    Layer.catchTag("SqlError", (error) =>
      Layer.effect(ResourceStore, Effect.fail(unavailable(where)(error))),
    ),
  )
}
