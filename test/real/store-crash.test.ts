import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Stream } from "effect"
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ResourceStore } from "#protocol/store/ResourceStore.ts"
import { layerSqlite } from "#runtime/store/Store.ts"

const root = join(import.meta.dirname, "../..")

interface Acknowledged {
  readonly index: number
  readonly count: number
  readonly revision: number
}

/** Lets a writer commit until it has been answered `least` times, then kills it in the middle of its work. */
const liveAndDie = (filename: string, life: string, least: number) =>
  Effect.callback<ReadonlyArray<Acknowledged>>((resume) => {
    const child = spawn(
      join(root, "node_modules/.bin/node"),
      [join(root, "test/real/store-crash-writer.ts"), filename, life],
      { stdio: ["ignore", "pipe", "pipe"] },
    )
    let output = ""
    let errors = ""
    let lines = 0
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString()
      lines += chunk.toString().split("\n").length - 1
      if (lines >= least) child.kill("SIGKILL")
    })
    child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()))
    child.on("close", (_code, signal) => {
      if (signal !== "SIGKILL") return resume(Effect.die(new Error(`the writer ended by itself: ${errors}`)))
      // A line that was cut off was not acknowledged.
      const whole = output.slice(0, output.lastIndexOf("\n")).split("\n")
      resume(
        Effect.succeed(
          whole.map((line) => {
            const [index, count, revision] = line.split(" ").map(Number)
            return { index: index!, count: count!, revision: revision! }
          }),
        ),
      )
    })
    return Effect.sync(() => child.kill("SIGKILL"))
  })

describe("a store whose process is killed", () => {
  it.live("has everything that was acknowledged, life after life", () => {
    const folder = mkdtempSync(join(tmpdir(), "ferrite-store-crash-"))
    const filename = join(folder, "store.sqlite")
    return Effect.gen(function* () {
      let uid: string | undefined
      let highest = 0
      for (const [life, least] of [
        ["first", 300],
        ["second", 1_500],
        ["third", 40],
      ] as const) {
        const acknowledged = yield* liveAndDie(filename, life, least)
        assert.isAtLeast(acknowledged.length, least)
        yield* Effect.gen(function* () {
          const store = yield* ResourceStore
          assert.strictEqual(store.regionUid, (uid ??= store.regionUid))
          const revision = yield* store.revision
          const claims = new Set((yield* store.claims("count")).map(({ value }) => value))
          const last = new Map<number, number>()
          for (const { index, count, revision: at } of acknowledged) {
            assert.isAtMost(at, revision)
            assert.isAbove(at, highest)
            assert.isTrue(claims.has(`${life}/${index}/${count}`))
            assert.deepStrictEqual(
              yield* store.commandResult(`${life}/${index}/${count}`),
              Option.some({ count }),
            )
            last.set(index, count)
          }
          for (const [index, count] of last) {
            const key = { kind: "Counter", namespace: life, name: `writer-${index}` }
            const record = Option.getOrThrow(yield* store.get(key))
            // One commit more may have been written and not answered.
            assert.include([count, count + 1], (record.value as { count: number }).count)
          }
          const feed = yield* Stream.runCollect(Stream.take(store.changes(highest), revision - highest))
          assert.deepStrictEqual(
            feed.map((batch) => batch.revision),
            Array.from({ length: revision - highest }, (_, index) => highest + 1 + index),
          )
          highest = revision
        }).pipe(Effect.provide(layerSqlite({ filename })))
      }
    }).pipe(Effect.ensuring(Effect.sync(() => rmSync(folder, { recursive: true, force: true }))))
  })
})
