/**
 * effect's `SqlClient` over `node:sqlite`: one connection, used by one at a time, in WAL mode.
 *
 * Statements run synchronously on the one thread that everything else runs on: keep them short, batch writes.
 * Used by the embedded store and by whatever else keeps a file of its own (an agent's journal).
 *
 * Traps that this file walks around: `run()` reads `lastInsertRowid`, which throws beyond 2^53 after the write is
 * done, so writes read bigints; booleans can't be bound; a BEGIN that isn't IMMEDIATE may fail half-way; opening
 * does not touch the file, so one that is corrupt is only noticed by the first PRAGMA.
 */
import { Context, Effect, Layer, Semaphore, Stream } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient, SqlError, Statement } from "effect/sql"
import type { SqlConnection } from "effect/sql"
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite"

export interface SqliteConfig {
  /** A path, or `:memory:`. The folder has to exist. */
  readonly filename: string
  /**
   * `FULL` (default): a commit is on the disk before it is answered. `NORMAL`: survives the death of the process,
   * not that of the machine.
   */
  readonly synchronous?: "OFF" | "NORMAL" | "FULL"
  /** Keeps every other process out of the file for as long as it is open. Default false. */
  readonly exclusive?: boolean
  /** How long to wait for another process's lock. The whole process waits. Default 5,000. */
  readonly busyTimeoutMillis?: number
}

/** Prepared statements that are kept; beyond, the oldest is prepared again when it comes back. */
const statementCacheSize = 512

const sqlError = (cause: unknown, operation: string): SqlError.SqlError =>
  new SqlError.SqlError({
    reason: SqlError.classifySqliteError(numbered(cause), {
      message: `sqlite ${operation} failed: ${cause instanceof Error ? cause.message : String(cause)}`,
      operation,
    }),
  })

/** The classifier looks for `errno`, node:sqlite says `errcode`. */
const numbered = (cause: unknown): unknown => {
  const error = cause as { errcode?: unknown; errno?: unknown } | null
  if (typeof error?.errcode === "number") error.errno ??= error.errcode
  return cause
}

const bind = (value: unknown): SQLInputValue =>
  typeof value === "boolean" ? (value ? 1 : 0) : value === undefined ? null : (value as SQLInputValue)

const open = (config: SqliteConfig) =>
  Effect.acquireRelease(
    Effect.try({
      try: () => {
        const db = new DatabaseSync(config.filename, { timeout: config.busyTimeoutMillis ?? 5_000 })
        try {
          if (config.exclusive === true) db.exec("PRAGMA locking_mode=EXCLUSIVE")
          db.exec(`PRAGMA journal_mode=WAL; PRAGMA synchronous=${config.synchronous ?? "FULL"}`)
          db.exec("PRAGMA foreign_keys=ON; PRAGMA wal_autocheckpoint=4000; PRAGMA cache_size=-32768")
          // Takes the lock and reads the schema: what is wrong with the file is found here.
          db.exec("BEGIN IMMEDIATE; SELECT count(*) FROM sqlite_schema; COMMIT")
        } catch (cause) {
          db.close()
          throw cause
        }
        return db
      },
      catch: (cause) => sqlError(cause, `open of ${config.filename}`),
    }),
    (db) => Effect.sync(() => db.close()),
  )

/** Opens the file, closes it with the scope. Fails with the reason when it is no database, unreadable or locked. */
export const make = Effect.fnUntraced(function* (config: SqliteConfig) {
  const db = yield* open(config)
  const cache = new Map<string, StatementSync>()
  const prepare = (sql: string): StatementSync => {
    let statement = cache.get(sql)
    if (statement === undefined) {
      statement = db.prepare(sql)
      if (cache.size >= statementCacheSize) cache.delete(cache.keys().next().value!)
      cache.set(sql, statement)
    }
    return statement
  }
  const run = (
    sql: string,
    params: ReadonlyArray<unknown>,
    mode: "rows" | "values" | "raw",
    cached: boolean,
  ) =>
    Effect.withFiber<any, SqlError.SqlError>((fiber) => {
      try {
        const statement = cached ? prepare(sql) : db.prepare(sql)
        const returnsRows = statement.columns().length > 0
        statement.setReadBigInts(!returnsRows || Context.get(fiber.context, SqlClient.SafeIntegers))
        statement.setReturnArrays(mode === "values")
        const bound = params.map(bind)
        if (returnsRows) return Effect.succeed(statement.all(...bound))
        const { changes, lastInsertRowid } = statement.run(...bound)
        return Effect.succeed(mode === "raw" ? { changes: Number(changes), lastInsertRowid } : [])
      } catch (cause) {
        return Effect.fail(sqlError(cause, "statement"))
      }
    })
  type Transform = ((rows: ReadonlyArray<any>) => ReadonlyArray<any>) | undefined
  const transformed = (transform: Transform, rows: Effect.Effect<any, SqlError.SqlError>) =>
    transform === undefined ? rows : Effect.map(rows, transform)

  const connection: SqlConnection.Connection = {
    execute: (sql, params, transform) => transformed(transform, run(sql, params, "rows", true)),
    executeRaw: (sql, params) => run(sql, params, "raw", true),
    executeValues: (sql, params) => run(sql, params, "values", true),
    executeValuesUnprepared: (sql, params) => run(sql, params, "values", false),
    executeUnprepared: (sql, params, transform) =>
      transformed(transform, run(sql, params, "rows", /^(BEGIN|COMMIT|ROLLBACK)/.test(sql))),
    executeStream: (sql, params, transform) =>
      Stream.unwrap(
        Effect.map(transformed(transform, run(sql, params, "rows", true)), (rows) =>
          Stream.fromIterable(rows),
        ),
      ),
  }
  const acquirers = SqlClient.makeSqliteAcquirers({
    connection: Effect.succeed(connection),
    semaphore: Semaphore.makeUnsafe(1),
    isTransaction: () => db.isTransaction,
  })
  return yield* SqlClient.make({
    ...acquirers,
    driver: "sqlite-node",
    compiler: Statement.makeCompilerSqlite(),
    beginTransaction: "BEGIN IMMEDIATE",
    releaseSavepoint: (name) => `RELEASE SAVEPOINT ${name}`,
    spanAttributes: [["db.system.name", "sqlite"]],
  })
})

export const layer = (config: SqliteConfig): Layer.Layer<SqlClient.SqlClient, SqlError.SqlError> =>
  Layer.effect(SqlClient.SqlClient, make(config)).pipe(Layer.provide(Reactivity.layer))
