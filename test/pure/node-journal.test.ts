import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import * as fc from "fast-check"
import * as fs from "node:fs"
import { DatabaseSync } from "node:sqlite"
import * as os from "node:os"
import * as path from "node:path"
import {
  emptyMemory,
  Journal,
  type JournalContent,
  type JournalWrite,
  layerMemory,
  layerSqlite,
} from "#runtime/node/Journal.ts"
import * as arbitrary from "./node-arbitrary.ts"

const temporaryFile = Effect.acquireRelease(
  Effect.sync(() =>
    path.join(fs.mkdtempSync(path.join(os.tmpdir(), "ferrite-agent-journal-")), "journal.sqlite"),
  ),
  (file) => Effect.sync(() => fs.rmSync(path.dirname(file), { recursive: true })),
)

/** Opens the file, does something, closes it again: one life of an agent. */
const withJournal = <A, E>(file: string, use: (journal: Journal["Service"]) => Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const context = yield* Layer.buildWithScope(layerSqlite(file), scope)
    const result = yield* use(Context.get(context, Journal))
    yield* Scope.close(scope, Exit.void)
    return result
  })

const sorted = (content: JournalContent) => ({
  ...content,
  interfaces: content.interfaces.toSorted((a, b) => (a.uid < b.uid ? -1 : 1)),
  removed: content.removed.toSorted((a, b) => (a.uid < b.uid ? -1 : 1)),
})

const uids = ["a", "b", "c", "d"].map((digit) => `00000000-0000-4000-8000-00000000000${digit}`)
const write: fc.Arbitrary<JournalWrite> = fc.record(
  {
    clear: fc.boolean(),
    upserts: fc.uniqueArray(
      fc.tuple(arbitrary.hostInterface, fc.constantFrom(...uids)).map(([one, uid]) => ({ ...one, uid })),
      { selector: ({ uid }) => uid, maxLength: 2 },
    ),
    removals: fc.uniqueArray(fc.record({ uid: fc.constantFrom(...uids), generation: arbitrary.counter }), {
      selector: ({ uid }) => uid,
      maxLength: 2,
    }),
    forgotten: fc.array(fc.constantFrom(...uids), { maxLength: 2 }),
    revision: arbitrary.counter,
    regionUid: fc.constantFrom("region-a", "region-b"),
  },
  { requiredKeys: [] },
)

const one = {
  uid: uids[0]!,
  namespace: "default",
  name: "nic-a",
  generation: 3,
  vni: 200,
  ipv4: "10.0.0.1",
  acceptedMicros: 5,
}

describe("an agent's journal", () => {
  it.effect("on disk remembers what the one in memory does, also over restarts", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      for (const writes of fc.sample(fc.array(write, { maxLength: 6 }), 12)) {
        const memory = emptyMemory()
        const expected = Context.get(yield* Layer.build(layerMemory(memory)), Journal)
        for (const each of [{ clear: true }, ...writes]) {
          yield* expected.write(each)
          yield* withJournal(file, (journal) => journal.write(each))
        }
        const content = yield* withJournal(file, (journal) => journal.content)
        assert.deepStrictEqual(sorted(content), sorted(yield* expected.content))
      }
    }),
  )

  it.effect("that does not exist is empty", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      assert.deepStrictEqual(yield* withJournal(file, (journal) => journal.content), {
        interfaces: [],
        removed: [],
        revision: 0,
        regionUid: "",
      })
    }),
  )

  it.effect("that can't be read is put aside, and the agent starts with none", () =>
    Effect.gen(function* () {
      const damage: ReadonlyArray<(file: string) => void> = [
        (file) => fs.writeFileSync(file, "this is no database, and never was one ".repeat(200)),
        (file) => {
          const bytes = fs.readFileSync(file)
          bytes.fill(0xa5, 100)
          fs.writeFileSync(file, bytes)
        },
        (file) => {
          const db = new DatabaseSync(file)
          db.exec(`UPDATE interfaces SET value = '{"uid": 7}'`)
          db.close()
        },
        (file) => {
          const db = new DatabaseSync(file)
          db.exec("UPDATE meta SET format = 99")
          db.close()
        },
        (file) => {
          const db = new DatabaseSync(file)
          db.exec("DELETE FROM meta; DROP TABLE interfaces; CREATE TABLE interfaces (other INTEGER)")
          db.close()
        },
      ]
      for (const spoil of damage) {
        const file = yield* temporaryFile
        yield* withJournal(file, (journal) => journal.write({ upserts: [one], revision: 7, regionUid: "r" }))
        spoil(file)
        const content = yield* withJournal(file, (journal) => journal.content)
        assert.deepStrictEqual([content.interfaces, content.revision, content.regionUid], [[], 0, ""])
        assert.isTrue(fs.existsSync(`${file}.unreadable`))
        yield* withJournal(file, (journal) => journal.write({ upserts: [one], revision: 8, regionUid: "r" }))
        const again = yield* withJournal(file, (journal) => journal.content)
        assert.deepStrictEqual([again.interfaces, again.revision], [[one], 8])
      }
    }),
  )

  it.effect("in a folder that does not exist fails with the reason", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(
        Effect.scoped(Layer.build(layerSqlite("/nonexistent-ferrite/agent/journal.sqlite"))),
      )
      assert.isTrue(Exit.isFailure(exit))
      assert.match(JSON.stringify(exit), /JournalError.*nonexistent-ferrite|unable to open/)
    }),
  )
})
