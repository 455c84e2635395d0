/**
 * Many commits, one transaction. What the commits of a group touch is loaded with one query a table, each commit
 * is decided against what the ones before it left, and only the final rows are written. A commit that may not be
 * is answered so and leaves no trace; the others of its group do not notice.
 *
 * Cost for the database: about ten statements a group, whatever its size.
 */
import { Effect } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import type { Change, ChangeBatch, ClaimTaken, RevisionConflict } from "#protocol/store/ResourceStore.ts"
import * as CommitPlan from "./CommitPlan.ts"
import type { Decision, Journal, Prepared, Row } from "./CommitPlan.ts"
import * as SqlSchema from "./SqlSchema.ts"
import { feedSlack, type StoreOptions } from "./StoreOptions.ts"

export interface GroupResult {
  /** One per commit, in order. */
  readonly outcomes: ReadonlyArray<Decision | RevisionConflict | ClaimTaken>
  readonly previous: number
  readonly revision: number
  readonly compacted: number
  readonly batches: ReadonlyArray<{ readonly batch: ChangeBatch; readonly bytes: number }>
}

/** Rows per INSERT: SQLite binds at most 32,766 values. */
const rowsPerInsert = 1_000

export const run = (
  sql: SqlClient.SqlClient,
  group: ReadonlyArray<Prepared>,
  nowMillis: number,
  options: Required<StoreOptions>,
): Effect.Effect<GroupResult, SqlError.SqlError> =>
  sql.withTransaction(
    Effect.gen(function* () {
      const region = (yield* SqlSchema.readRegion(sql, true))!
      const loaded = yield* load(sql, group)
      const work = new Work(loaded)
      let revision = region.revision
      const outcomes = group.map((commit) => {
        const outcome = CommitPlan.decide(work.view, commit, revision, nowMillis)
        if ("_tag" in outcome) return outcome
        work.apply(outcome)
        revision = outcome.revision
        return outcome
      })
      yield* write(sql, loaded, work)
      if (work.journals.size > 0) yield* sweepJournals(sql, nowMillis)
      if (work.commands.size > 0) yield* writeCommands(sql, work.commands, options.keepCommands)
      let feed = { compacted: region.compacted, changes: region.changes + work.changes.length }
      if (feed.changes > options.keepChanges + feedSlack(options.keepChanges)) {
        feed = yield* cutFeed(sql, feed, options.keepChanges)
      }
      if (revision !== region.revision) {
        yield* sql`UPDATE region SET revision = ${revision}, compacted = ${feed.compacted}, changes = ${feed.changes} WHERE id = 1`
      }
      return {
        outcomes,
        previous: region.revision,
        revision,
        compacted: feed.compacted,
        batches: outcomes.flatMap((outcome) =>
          "_tag" in outcome || outcome.changes.length === 0 ? [] : [batchOf(outcome)],
        ),
      }
    }),
  )

const batchOf = ({ changes, revision }: Decision): GroupResult["batches"][number] => ({
  batch: {
    revision,
    changes: changes.map(({ _tag, row }): Change => ({
      _tag,
      revision,
      // Decoded by the first watcher that looks, and never when none does.
      get record() {
        return CommitPlan.toRecord(row)
      },
    })),
  },
  bytes: changes.reduce((sum, { row }) => sum + row.value.length + row.labels.length + 200, 0),
})

// -------------------------------------------------------------------------------------------------- load

interface Loaded {
  readonly rows: ReadonlyMap<string, Row>
  readonly owners: ReadonlyMap<string, string>
  readonly journals: ReadonlyMap<string, Journal>
}

const claimKey = (pool: string, value: string) => `${pool}\n${value}`

const load = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  group: ReadonlyArray<Prepared>,
): Effect.fn.Return<Loaded, SqlError.SqlError> {
  const ids = new Set<string>()
  const abouts = new Set<string>()
  const pools = new Map<string, Set<string>>()
  for (const { writes, claims, releases, events } of group) {
    for (const { row, remove } of writes) {
      ids.add(row.id)
      if (remove) abouts.add(row.id)
    }
    for (const { id } of events) {
      ids.add(id)
      abouts.add(id)
    }
    for (const { pool, value } of [...claims, ...releases]) {
      const values = pools.get(pool)
      if (values === undefined) pools.set(pool, new Set([value]))
      else values.add(value)
    }
  }
  const rows = new Map<string, Row>()
  for (const some of inRuns([...ids])) {
    const found = yield* sql<SqlSchema.RecordRow>`
      SELECT id, uid, revision, labels, refs, value FROM records WHERE ${sql.in("id", some)}`
    for (const row of found) rows.set(row.id, SqlSchema.toRow(row))
  }
  const owners = new Map<string, string>()
  for (const [pool, values] of pools) {
    for (const some of inRuns([...values])) {
      const found = yield* sql<{ value: string; owner: string }>`
        SELECT value, owner FROM claims WHERE pool = ${pool} AND ${sql.in("value", some)}`
      for (const { value, owner } of found) owners.set(claimKey(pool, value), owner)
    }
  }
  const journals = new Map<string, Journal>()
  for (const some of inRuns([...abouts])) {
    const found = yield* sql<SqlSchema.JournalRow>`
      SELECT about, expires, events FROM journals WHERE ${sql.in("about", some)}`
    for (const row of found) journals.set(row.about, SqlSchema.toJournal(row))
  }
  return { rows, owners, journals }
})

/** As many as the next power of two, by repeating the last, so that few statements are prepared. */
export const padded = (ids: ReadonlyArray<string>): ReadonlyArray<string> => {
  const size = 2 ** Math.ceil(Math.log2(ids.length))
  return [...ids, ...Array<string>(size - ids.length).fill(ids.at(-1)!)]
}

const inRuns = (ids: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> =>
  runsOf(ids, rowsPerInsert).map(padded)

const runsOf = <A>(members: ReadonlyArray<A>, length: number): ReadonlyArray<ReadonlyArray<A>> => {
  const runs: Array<ReadonlyArray<A>> = []
  for (let start = 0; start < members.length; start += length) runs.push(members.slice(start, start + length))
  return runs
}

// -------------------------------------------------------------------------------------------------- work

/** What a group has decided so far, over what was loaded. One per transaction. */
class Work {
  readonly rows = new Map<string, Row | undefined>()
  readonly owners = new Map<string, Decision["owners"][number]>()
  readonly journals = new Map<string, Journal>()
  readonly commands = new Map<string, string>()
  readonly changes: Array<SqlSchema.ChangeRow> = []
  readonly view: CommitPlan.View

  constructor(loaded: Loaded) {
    this.view = {
      row: (id) => (this.rows.has(id) ? this.rows.get(id) : loaded.rows.get(id)),
      owner: (pool, value) => {
        const key = claimKey(pool, value)
        return this.owners.has(key) ? this.owners.get(key)!.owner : loaded.owners.get(key)
      },
      journal: (about) => this.journals.get(about) ?? loaded.journals.get(about),
    }
  }

  apply({ changes, owners, journals, command, revision }: Decision): void {
    for (const [place, { _tag, row }] of changes.entries()) {
      const removed = _tag === "Remove"
      this.rows.set(row.id, removed ? undefined : row)
      const position = revision * SqlSchema.positionsPerRevision + place
      this.changes.push({ position, removed: removed ? 1 : 0, ...SqlSchema.fromRow(row) })
    }
    for (const decided of owners) this.owners.set(claimKey(decided.pool, decided.value), decided)
    for (const journal of journals) this.journals.set(journal.about, journal)
    if (command !== undefined && !this.commands.has(command.id)) this.commands.set(command.id, command.result)
  }
}

// ------------------------------------------------------------------------------------------------- write

const write = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, loaded: Loaded, work: Work) {
  const put: Array<Row> = []
  const gone: Array<string> = []
  for (const [id, row] of work.rows) {
    if (row !== undefined) put.push(row)
    else if (loaded.rows.has(id)) gone.push(id)
  }
  for (const some of runsOf(put, rowsPerInsert)) {
    const rows = some.map((row) => ({ ...SqlSchema.fromRow(row), ...row.key }))
    yield* sql`INSERT INTO records ${sql.insert(rows as [object, ...Array<object>] as never)}
      ON CONFLICT (id) DO UPDATE SET uid = excluded.uid, revision = excluded.revision,
        labels = excluded.labels, refs = excluded.refs, value = excluded.value`
  }
  for (const some of inRuns(gone)) yield* sql`DELETE FROM records WHERE ${sql.in("id", some)}`
  yield* writeEdges(sql, loaded, put, gone)
  yield* insertAll(sql, "changes", work.changes)
  yield* writeClaims(sql, [...work.owners.values()])
  for (const some of runsOf([...work.journals.values()], rowsPerInsert)) {
    const rows = some.map(SqlSchema.fromJournal)
    yield* sql`INSERT INTO journals ${sql.insert(rows as never)}
      ON CONFLICT (about) DO UPDATE SET expires = excluded.expires, events = excluded.events`
  }
})

const insertAll = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  table: string,
  rows: ReadonlyArray<object>,
) {
  for (const some of runsOf(rows, rowsPerInsert)) {
    yield* sql`INSERT INTO ${sql(table)} ${sql.insert(some as never)}`
  }
})

/** Labels and references have tables of their own to be found by; they are touched only where they differ. */
const writeEdges = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  loaded: Loaded,
  put: ReadonlyArray<Row>,
  gone: ReadonlyArray<string>,
) {
  const before = (id: string) => loaded.rows.get(id)
  for (const [table, column, entriesOf] of [
    ["record_labels", "labels", labelEntries],
    ["record_references", "references", referenceEntries],
  ] as const) {
    const differing = put.filter((row) => (before(row.id)?.[column] ?? emptyOf[column]) !== row[column])
    const stale = [...differing.map(({ id }) => id), ...gone].filter(
      (id) => (before(id)?.[column] ?? emptyOf[column]) !== emptyOf[column],
    )
    for (const some of inRuns(stale)) yield* sql`DELETE FROM ${sql(table)} WHERE ${sql.in("source", some)}`
    yield* insertAll(sql, table, differing.flatMap(entriesOf))
  }
})

const emptyOf = { labels: "{}", references: "[]" } as const

const labelEntries = (row: Row): ReadonlyArray<object> =>
  Object.entries(JSON.parse(row.labels) as Record<string, string>).map(([label, value]) => ({
    source: row.id,
    label,
    value,
  }))

const referenceEntries = (row: Row): ReadonlyArray<object> =>
  CommitPlan.referencesOf(row).map((target) => ({ source: row.id, target }))

const writeClaims = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  owners: ReadonlyArray<Decision["owners"][number]>,
) {
  const free = Map.groupBy(
    owners.filter(({ owner }) => owner === undefined),
    ({ pool }) => pool,
  )
  for (const [pool, values] of free) {
    for (const some of inRuns(values.map(({ value }) => value))) {
      yield* sql`DELETE FROM claims WHERE pool = ${pool} AND ${sql.in("value", some)}`
    }
  }
  const taken = owners.filter(({ owner }) => owner !== undefined)
  for (const some of runsOf(taken, rowsPerInsert)) {
    yield* sql`INSERT INTO claims ${sql.insert(some as never)}
      ON CONFLICT (pool, value) DO UPDATE SET owner = excluded.owner`
  }
})

const sweepJournals = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, nowMillis: number) {
  yield* sql`DELETE FROM journals WHERE expires IS NOT NULL AND expires <= ${nowMillis}`
  yield* sql`DELETE FROM journals WHERE about IN (
    SELECT about FROM journals WHERE expires IS NOT NULL ORDER BY expires DESC, about DESC
    LIMIT 1000 OFFSET ${CommitPlan.eventPolicy.removedResources})`
})

/** The answer that was given first stays. Numbered without gaps, so that numbers tell how many there are. */
const writeCommands = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  commands: ReadonlyMap<string, string>,
  keep: number,
) {
  const known = new Set<string>()
  for (const some of inRuns([...commands.keys()])) {
    const found = yield* sql<{ id: string }>`SELECT id FROM commands WHERE ${sql.in("id", some)}`
    for (const { id } of found) known.add(id)
  }
  const [last] = yield* sql<{ number: number | null }>`SELECT max(number) AS number FROM commands`
  let number = Number(last?.number ?? 0)
  const rows = [...commands]
    .filter(([id]) => !known.has(id))
    .map(([id, result]) => ({ number: ++number, id, result }))
  yield* insertAll(sql, "commands", rows)
  yield* sql`DELETE FROM commands WHERE number <= ${number - keep}`
})

/** Drops whole revisions from the old end until no more than `keep` changes and a part of a revision are left. */
const cutFeed = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  feed: { compacted: number; changes: number },
  keep: number,
) {
  const [first] = yield* sql<{ position: number }>`
    SELECT position FROM changes ORDER BY position LIMIT 1 OFFSET ${feed.changes - keep}`
  if (first === undefined) return feed
  const compacted = Math.floor(Number(first.position) / SqlSchema.positionsPerRevision) - 1
  return compacted <= feed.compacted
    ? feed
    : { compacted, changes: feed.changes - (yield* dropChanges(sql, compacted)) }
})

/** Forgets changes up to and including a revision; answers how many there were. */
export const dropChanges = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, revision: number) {
  const end = (revision + 1) * SqlSchema.positionsPerRevision
  const [counted] = yield* sql<{
    count: number
  }>`SELECT count(*) AS count FROM changes WHERE position < ${end}`
  yield* sql`DELETE FROM changes WHERE position < ${end}`
  return Number(counted!.count)
})
