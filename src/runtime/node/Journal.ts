/**
 * An agent's memory over restarts: what its host was last asked for, up to which revision, of which region.
 *
 * Written before it is acted upon, so that a host whose region is away comes back by itself and later needs only
 * the difference. It is a copy: one that can't be read is put aside and the agent starts with nothing, leaves the
 * dataplane as it finds it, and asks for everything.
 *
 * `layerSqlite` keeps a file, one row an interface (at most `maxHostInterfaces`, and as many that are gone but
 * perhaps not reported). `layerMemory` keeps it in an object that a test holds on to.
 */
import { Context, Effect, Layer, Schema } from "effect"
import { Reactivity } from "effect/reactivity"
import { type SqlClient, type SqlError } from "effect/sql"
import * as fs from "node:fs"
import type { Remembered } from "#actors/host/HostDesire.ts"
import { decodeHostInterface, type HostInterface } from "#protocol/node/HostInterface.ts"
import * as SqliteClient from "../store/SqliteClient.ts"

export interface JournalContent extends Remembered {
  /** Empty: none. */
  readonly regionUid: string
}

export interface Removed {
  readonly uid: string
  readonly generation: number
}

/** All of it or nothing. In this order: clear, then interfaces that are asked for, gone, forgotten. */
export interface JournalWrite {
  /** Forgets everything first. */
  readonly clear?: boolean
  readonly upserts?: ReadonlyArray<HostInterface>
  readonly removals?: ReadonlyArray<Removed>
  /** Removals that the controller knows of. */
  readonly forgotten?: ReadonlyArray<string>
  readonly revision?: number
  readonly regionUid?: string
}

export class JournalError extends Schema.TaggedError<JournalError>()("JournalError", {
  reason: Schema.String,
}) {}

export class Journal extends Context.Service<
  Journal,
  {
    /** As it is now. */
    readonly content: Effect.Effect<JournalContent, JournalError>
    readonly write: (write: JournalWrite) => Effect.Effect<void, JournalError>
  }
>()("ferrite/Journal") {}

/** What is in memory, changed in place. */
export interface MemoryJournal {
  readonly interfaces: Map<string, HostInterface>
  readonly removed: Map<string, Removed>
  revision: number
  regionUid: string
}

export const emptyMemory = (): MemoryJournal => ({
  interfaces: new Map(),
  removed: new Map(),
  revision: 0,
  regionUid: "",
})

export const layerMemory = (memory: MemoryJournal): Layer.Layer<Journal> =>
  Layer.succeed(
    Journal,
    Journal.of({
      content: Effect.sync(() => ({
        interfaces: [...memory.interfaces.values()],
        removed: [...memory.removed.values()],
        revision: memory.revision,
        regionUid: memory.regionUid,
      })),
      write: (write) =>
        Effect.sync(() => {
          if (write.clear === true) Object.assign(memory, emptyMemory())
          for (const one of write.upserts ?? []) {
            memory.interfaces.set(one.uid, one)
            memory.removed.delete(one.uid)
          }
          for (const one of write.removals ?? []) {
            memory.interfaces.delete(one.uid)
            memory.removed.set(one.uid, one)
          }
          for (const uid of write.forgotten ?? []) memory.removed.delete(uid)
          memory.revision = write.revision ?? memory.revision
          memory.regionUid = write.regionUid ?? memory.regionUid
        }),
    }),
  )

/** Format of the file. Another one counts as unreadable. */
const format = 1

interface InterfaceRow {
  readonly uid: string
  readonly value: string
  readonly generation: number
  readonly removed: number
}

const Meta = Schema.Struct({
  format: Schema.Literal(format),
  revision: Schema.Int,
  regionUid: Schema.String,
})

const createTables = Effect.fnUntraced(function* (sql: SqlClient.SqlClient) {
  yield* sql`CREATE TABLE IF NOT EXISTS interfaces (
    uid TEXT PRIMARY KEY, value TEXT NOT NULL, generation INTEGER NOT NULL, removed INTEGER NOT NULL
  ) WITHOUT ROWID`
  yield* sql`CREATE TABLE IF NOT EXISTS meta (
    one INTEGER PRIMARY KEY CHECK (one = 1), format INTEGER NOT NULL, revision INTEGER NOT NULL, region TEXT NOT NULL
  )`
  yield* sql`INSERT INTO meta VALUES (1, ${format}, 0, '') ON CONFLICT DO NOTHING`
})

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const read = Effect.fnUntraced(function* (sql: SqlClient.SqlClient) {
  const [meta] = yield* sql`SELECT format, revision, region AS regionUid FROM meta`
  const { regionUid, revision } = yield* Schema.decodeUnknownEffect(Meta)(meta)
  const rows = yield* sql<InterfaceRow>`SELECT uid, value, generation, removed FROM interfaces ORDER BY uid`
  const interfaces: Array<HostInterface> = []
  const removed: Array<Removed> = []
  for (const row of rows) {
    if (row.removed !== 0) removed.push({ uid: row.uid, generation: row.generation })
    else interfaces.push(yield* Effect.fromResult(decodeHostInterface(parse(row.value))))
  }
  return { interfaces, removed, revision, regionUid }
})

const apply = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, write: JournalWrite) {
  if (write.clear === true) {
    yield* sql`DELETE FROM interfaces`
    yield* sql`UPDATE meta SET revision = 0, region = ''`
  }
  for (const one of write.upserts ?? []) {
    yield* sql`INSERT INTO interfaces VALUES (${one.uid}, ${JSON.stringify(one)}, ${one.generation}, 0)
      ON CONFLICT (uid) DO UPDATE SET value = excluded.value, generation = excluded.generation, removed = 0`
  }
  for (const { generation, uid } of write.removals ?? []) {
    yield* sql`INSERT INTO interfaces VALUES (${uid}, '', ${generation}, 1)
      ON CONFLICT (uid) DO UPDATE SET value = '', generation = excluded.generation, removed = 1`
  }
  for (const uid of write.forgotten ?? []) {
    yield* sql`DELETE FROM interfaces WHERE uid = ${uid} AND removed = 1`
  }
  if (write.revision !== undefined) yield* sql`UPDATE meta SET revision = ${write.revision}`
  if (write.regionUid !== undefined) yield* sql`UPDATE meta SET region = ${write.regionUid}`
})

const refused = (error: SqlError.SqlError | Schema.SchemaError) => new JournalError({ reason: error.message })

const makeSqlite = Effect.fnUntraced(function* (path: string) {
  const openOnce = Effect.gen(function* () {
    // A crash of the process loses nothing; after one of the machine the controller sends the difference again.
    const sql = yield* SqliteClient.make({ filename: path, synchronous: "NORMAL" })
    yield* createTables(sql)
    yield* read(sql)
    return sql
  })
  const putAside = Effect.fnUntraced(function* (cause: { readonly message: string }) {
    yield* Effect.logWarning("the journal can't be read, starting without", { path, reason: cause.message })
    yield* Effect.try({
      try: () => {
        for (const suffix of ["", "-wal", "-shm"]) {
          if (fs.existsSync(path + suffix)) fs.renameSync(path + suffix, `${path}.unreadable${suffix}`)
        }
      },
      catch: (error) => new JournalError({ reason: `can't put ${path} aside: ${String(error)}` }),
    })
  })
  // Tried in a scope of its own: a file is closed before it is put aside.
  yield* Effect.scoped(openOnce).pipe(Effect.catch(putAside))
  const sql = yield* Effect.mapError(openOnce, refused)
  return Journal.of({
    content: Effect.mapError(read(sql), refused),
    write: (write) => Effect.mapError(sql.withTransaction(apply(sql, write)), refused),
  })
})

/** The folder has to exist. Fails only where a fresh file can't be made either. */
export const layerSqlite = (path: string): Layer.Layer<Journal, JournalError> =>
  Layer.effect(Journal, makeSqlite(path)).pipe(Layer.provide(Reactivity.layer))
