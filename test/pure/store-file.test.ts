import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Option, Scope, Stream } from "effect"
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { SqlClient } from "effect/sql"
import { ResourceStore } from "#protocol/store/ResourceStore.ts"
import * as SqliteClient from "#runtime/store/SqliteClient.ts"
import * as SqlStore from "#runtime/store/SqlStore.ts"
import { layerSqlite } from "#runtime/store/Store.ts"
import { network, nic, put } from "./store-contract.ts"

/** A folder for one test, gone afterwards. */
const withFolder = <E, R>(body: (file: (name: string) => string) => Effect.Effect<void, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "ferrite-store-file-"))),
    (folder) => body((name) => join(folder, name)),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true })),
  )

const using = <A, E>(filename: string, body: Effect.Effect<A, E, ResourceStore>) =>
  Effect.provide(body, layerSqlite({ filename }))

const commit = (...writes: ReadonlyArray<ReturnType<typeof put>>) =>
  Effect.flatMap(ResourceStore, (store) => store.commit({ writes }))

const startError = (filename: string) =>
  Effect.flip(
    using(
      filename,
      Effect.flatMap(ResourceStore, (store) => store.revision),
    ),
  )

describe("a store's file", () => {
  it.effect("holds everything when it is opened again", () =>
    withFolder((file) =>
      Effect.gen(function* () {
        const filename = file("store.sqlite")
        const uid = yield* using(
          filename,
          Effect.gen(function* () {
            const store = yield* ResourceStore
            yield* store.commit({
              writes: [put(nic("a"), { x: 1 }, { labels: { app: "web" }, references: [network("n")] })],
              claims: [{ pool: "vni", value: "200", owner: network("n") }],
              events: [{ about: nic("a"), type: "Normal", reason: "Made", message: "made" }],
              command: { id: "c", result: 1 },
            })
            yield* commit(put(nic("b"), 2))
            yield* store.compact(1)
            return store.regionUid
          }),
        )
        yield* using(
          filename,
          Effect.gen(function* () {
            const store = yield* ResourceStore
            assert.strictEqual(store.regionUid, uid)
            assert.strictEqual(yield* store.revision, 2)
            assert.deepStrictEqual(Option.getOrThrow(yield* store.get(nic("a"))).value, { x: 1 })
            assert.strictEqual(
              (yield* store.list({ kind: "NetworkInterface", labels: { app: "web" } })).records.length,
              1,
            )
            assert.deepStrictEqual(yield* store.referrers(network("n")), [nic("a")])
            assert.strictEqual((yield* store.claims("vni")).length, 1)
            assert.strictEqual((yield* store.events(nic("a"))).length, 1)
            assert.deepStrictEqual(yield* store.commandResult("c"), Option.some(1))
            const error = yield* Effect.flip(Stream.runHead(store.changes(0)))
            assert.deepInclude(error, { _tag: "Compacted", oldest: 1 })
            assert.deepInclude(yield* commit(put(nic("c"), 3)), { revision: 3 })
          }),
        )
      }),
    ),
  )

  it.effect("of a newer Ferrite is refused, and left as it is", () =>
    withFolder((file) =>
      Effect.gen(function* () {
        const filename = file("store.sqlite")
        yield* using(filename, commit(put(nic("a"), 1)))
        const db = new DatabaseSync(filename)
        db.exec("UPDATE region SET format = 7")
        db.close()
        const error = yield* startError(filename)
        assert.strictEqual(error._tag, "StoreUnavailable")
        assert.match(
          error.reason,
          /store\.sqlite has format 7, this Ferrite reads up to 1: start the newer version/,
        )
        const again = new DatabaseSync(filename)
        assert.deepInclude(again.prepare("SELECT format, revision FROM region").get(), {
          format: 7,
          revision: 1,
        })
        again.close()
      }),
    ),
  )

  it.effect("that is no database is refused, and left as it is", () =>
    withFolder((file) =>
      Effect.gen(function* () {
        const filename = file("notes.txt")
        const text = "dear diary, this is no database at all\n".repeat(200)
        writeFileSync(filename, text)
        const error = yield* startError(filename)
        assert.strictEqual(error._tag, "StoreUnavailable")
        assert.match(error.reason, /notes\.txt.*not a database/)
        assert.strictEqual(readFileSync(filename, "utf8"), text)
      }),
    ),
  )

  it.effect(
    "that was cut off or overwritten is refused, or answers StoreUnavailable where it is damaged",
    () =>
      withFolder((file) =>
        Effect.gen(function* () {
          const whole = file("whole.sqlite")
          yield* using(
            whole,
            Effect.forEach(
              Array.from({ length: 200 }, (_, index) => index),
              (index) => commit(put(nic(`n${index}`), "x".repeat(500))),
            ),
          )
          assert.isFalse(existsSync(`${whole}-wal`))
          const size = statSync(whole).size
          for (let piece = 1; piece < 8; piece++) {
            const filename = file(`cut-${piece}.sqlite`)
            copyFileSync(whole, filename)
            if (piece % 2 === 1) truncateSync(filename, Math.floor((size * piece) / 8))
            else {
              const bytes = readFileSync(filename)
              bytes.fill(0xa5, Math.floor((size * piece) / 8) - 3_000, Math.floor((size * piece) / 8) + 3_000)
              writeFileSync(filename, bytes)
            }
            const exit = yield* Effect.exit(
              using(
                filename,
                Effect.gen(function* () {
                  const store = yield* ResourceStore
                  yield* store.list({ kind: "NetworkInterface" })
                  yield* store.claims("vni")
                  yield* commit(put(nic("new"), 1))
                  yield* Stream.runDrain(Stream.take(store.changes(0), 201))
                }),
              ),
            )
            // A damage in space that nobody reads may go unnoticed; a defect may not happen.
            if (Exit.isFailure(exit)) {
              const error = Option.getOrThrow(Exit.findErrorOption(exit))
              assert.strictEqual(error._tag, "StoreUnavailable")
            }
          }
        }),
      ),
  )

  it.effect("in a folder that does not exist, or that is a folder, is refused with its name", () =>
    withFolder((file) =>
      Effect.gen(function* () {
        for (const filename of [file("missing/store.sqlite"), file(".")]) {
          const error = yield* startError(filename)
          assert.strictEqual(error._tag, "StoreUnavailable")
          assert.include(error.reason, filename)
        }
      }),
    ),
  )

  it.effect("belongs to one store at a time, and is free again when that closes", () =>
    withFolder((file) =>
      Effect.gen(function* () {
        const filename = file("store.sqlite")
        const scope = yield* Scope.make()
        yield* Layer.buildWithScope(layerSqlite({ filename }), scope)
        const second = Layer.build(layerSqlite({ filename, busyTimeoutMillis: 10 }))
        const error = yield* Effect.flip(Effect.scoped(second))
        assert.match(error.reason, /in use by another process/)
        yield* Scope.close(scope, Exit.void)
        yield* using(filename, commit(put(nic("a"), 1)))
      }),
    ),
  )

  it.effect("on a full disk says so, loses nothing, and goes on when there is room again", () => {
    // A bound on pages answers what a full disk answers.
    const client = SqliteClient.layer({ filename: ":memory:" })
    return Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const store = yield* SqlStore.make({ where: "the store", sole: true })
      const fill = (index: number) => store.commit({ writes: [put(nic(`n${index}`), "x".repeat(10_000))] })
      yield* fill(0)
      yield* sql`PRAGMA max_page_count = 200`
      const watcher = yield* Effect.forkChild(Stream.runCollect(Stream.take(store.changes(1), 3)))
      let written = 0
      while (written < 1_000) {
        const exit = yield* Effect.exit(fill(written + 1))
        if (Exit.isFailure(exit)) {
          const error = Option.getOrThrow(Exit.findErrorOption(exit))
          assert.deepInclude(error, { _tag: "StoreUnavailable" })
          assert.match((error as { readonly reason: string }).reason, /the store: .*full/)
          break
        }
        written++
      }
      assert.isAbove(written, 10)
      assert.isBelow(written, 100)
      assert.strictEqual(yield* store.revision, written + 1)
      assert.isTrue(Option.isNone(yield* store.get(nic(`n${written + 1}`))))
      assert.strictEqual((yield* store.list({ kind: "NetworkInterface" })).records.length, written + 1)
      yield* sql`PRAGMA max_page_count = 100000`
      assert.deepInclude(yield* fill(written + 1), { revision: written + 2 })
      assert.deepStrictEqual(
        (yield* Fiber.join(watcher)).map(({ revision }) => revision),
        [2, 3, 4],
      )
    }).pipe(Effect.provide(client), Effect.scoped)
  })

  it.effect("that closes answers everyone who waits", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(layerSqlite({ filename: ":memory:" }), scope)
      const store = yield* Effect.provideContext(ResourceStore, context)
      const watcher = yield* Effect.forkChild(Effect.flip(Stream.runDrain(store.changes(0))))
      const writers = yield* Effect.forkChild(
        Effect.all(
          Array.from({ length: 50 }, (_, index) =>
            Effect.exit(store.commit({ writes: [put(nic(`n${index}`), 1)] })),
          ),
          { concurrency: "unbounded" },
        ),
      )
      yield* Scope.close(scope, Exit.void)
      assert.deepInclude(yield* Fiber.join(watcher), { _tag: "StoreUnavailable" })
      for (const exit of yield* Fiber.join(writers)) {
        if (Exit.isFailure(exit)) {
          assert.strictEqual(Option.getOrThrow(Exit.findErrorOption(exit))._tag, "StoreUnavailable")
        }
      }
      const late = yield* Effect.flip(store.commit({ writes: [put(nic("late"), 1)] }))
      assert.strictEqual(late._tag, "StoreUnavailable")
    }),
  )
})
