/**
 * The tables of the store, the same in SQLite and PostgreSQL, and the rows that are read from them.
 *
 * | table | one row per | read by |
 * |---|---|---|
 * | region | store | revision, how far the feed is compacted, changes in the feed |
 * | records | record | key; kind, namespace, name |
 * | record_labels, record_references | label, edge of a record | label and value; target |
 * | changes | change, `position` = revision * 1024 + place in its commit | position |
 * | claims | claimed value | pool, value |
 * | journals | resource with events | about; when it expires |
 * | commands | command, numbered in order | id; number |
 *
 * The format number says who may open it: a store that a newer Ferrite wrote is refused, never guessed at.
 */
import { Effect } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { parseKey } from "#protocol/resource/Resource.ts"
import { StoreUnavailable, type StoredEvent } from "#protocol/store/ResourceStore.ts"
import type { Journal, Row } from "./CommitPlan.ts"

/** Raised by whoever changes a table; older formats are migrated here, one step after the other. */
export const format = 1

/** Places in a commit: more than `limits.entries`. */
export const positionsPerRevision = 1_024

export interface Region {
  readonly format: number
  readonly uid: string
  readonly revision: number
  readonly compacted: number
  readonly changes: number
}

export interface RecordRow {
  readonly id: string
  readonly uid: string
  readonly revision: number
  readonly labels: string
  readonly refs: string
  readonly value: string
}

export interface ChangeRow extends RecordRow {
  readonly position: number
  readonly removed: number
}

export interface JournalRow {
  readonly about: string
  readonly expires: number | null
  readonly events: string
}

export const toRow = (row: RecordRow): Row => ({
  id: row.id,
  key: parseKey(row.id),
  uid: row.uid,
  revision: Number(row.revision),
  labels: row.labels,
  references: row.refs,
  value: row.value,
})

export const fromRow = (row: Row): RecordRow => ({
  id: row.id,
  uid: row.uid,
  revision: row.revision,
  labels: row.labels,
  refs: row.references,
  value: row.value,
})

export const toJournal = (row: JournalRow): Journal => ({
  about: row.about,
  expiresMillis: row.expires === null ? null : Number(row.expires),
  events: JSON.parse(row.events) as ReadonlyArray<StoredEvent>,
})

export const fromJournal = (journal: Journal): JournalRow => ({
  about: journal.about,
  expires: journal.expiresMillis,
  events: JSON.stringify(journal.events),
})

/** Creates what is missing and answers with the region's row. `where` names the store in errors. */
export const open = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  uid: string,
  where: string,
): Effect.fn.Return<Region, StoreUnavailable | SqlError.SqlError> {
  return yield* sql.withTransaction(
    Effect.gen(function* () {
      yield* sql`CREATE TABLE IF NOT EXISTS region (
        id INTEGER PRIMARY KEY, format INTEGER NOT NULL, uid TEXT NOT NULL,
        revision BIGINT NOT NULL, compacted BIGINT NOT NULL, changes BIGINT NOT NULL)`
      const found = yield* readRegion(sql)
      if (found !== undefined && found.format > format) {
        return yield* new StoreUnavailable({
          reason: `${where} has format ${found.format}, this Ferrite reads up to ${format}: start the newer version that wrote it, or name another store`,
        })
      }
      if (found !== undefined) return found
      yield* createTables(sql)
      const region: Region = { format, uid, revision: 0, compacted: 0, changes: 0 }
      yield* sql`INSERT INTO region ${sql.insert({ id: 1, ...region })}`
      return region
    }),
  )
})

/** The one row, or undefined in a new store. With `lock`, no other writer comes between until the transaction ends. */
export const readRegion = (
  sql: SqlClient.SqlClient,
  lock = false,
): Effect.Effect<Region | undefined, SqlError.SqlError> => {
  const forUpdate = sql.onDialectOrElse({
    pg: () => sql.literal(" FOR UPDATE"),
    orElse: () => sql.literal(""),
  })
  return Effect.map(
    lock
      ? sql<Region>`SELECT format, uid, revision, compacted, changes FROM region WHERE id = 1${forUpdate}`
      : sql<Region>`SELECT format, uid, revision, compacted, changes FROM region WHERE id = 1`,
    ([row]) =>
      row && {
        format: Number(row.format),
        uid: row.uid,
        revision: Number(row.revision),
        compacted: Number(row.compacted),
        changes: Number(row.changes),
      },
  )
}

const createTables = Effect.fnUntraced(function* (sql: SqlClient.SqlClient) {
  // Small rows that are found by their whole key: SQLite then keeps no second copy in an index.
  const keyOnly = sql.onDialectOrElse({
    sqlite: () => sql.literal(" WITHOUT ROWID"),
    orElse: () => sql.literal(""),
  })
  yield* sql`CREATE TABLE records (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL,
    revision BIGINT NOT NULL, labels TEXT NOT NULL, refs TEXT NOT NULL, value TEXT NOT NULL)`
  yield* sql`CREATE INDEX records_by_name ON records (kind, namespace, name)`
  yield* sql`CREATE TABLE record_labels (
    source TEXT NOT NULL, label TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (source, label))${keyOnly}`
  yield* sql`CREATE INDEX record_labels_by_value ON record_labels (label, value, source)`
  yield* sql`CREATE TABLE record_references (
    source TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY (source, target))${keyOnly}`
  yield* sql`CREATE INDEX record_references_by_target ON record_references (target, source)`
  const numberKey = sql.onDialectOrElse({
    sqlite: () => sql.literal("INTEGER PRIMARY KEY"),
    orElse: () => sql.literal("BIGINT PRIMARY KEY"),
  })
  yield* sql`CREATE TABLE changes (
    position ${numberKey}, removed INTEGER NOT NULL, id TEXT NOT NULL, uid TEXT NOT NULL,
    revision BIGINT NOT NULL, labels TEXT NOT NULL, refs TEXT NOT NULL, value TEXT NOT NULL)`
  yield* sql`CREATE TABLE claims (
    pool TEXT NOT NULL, value TEXT NOT NULL, owner TEXT NOT NULL, PRIMARY KEY (pool, value))${keyOnly}`
  yield* sql`CREATE TABLE journals (about TEXT PRIMARY KEY, expires BIGINT, events TEXT NOT NULL)`
  yield* sql`CREATE INDEX journals_by_expiry ON journals (expires, about) WHERE expires IS NOT NULL`
  yield* sql`CREATE TABLE commands (number ${numberKey}, id TEXT NOT NULL UNIQUE, result TEXT NOT NULL)`
})
