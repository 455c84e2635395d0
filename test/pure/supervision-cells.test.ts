import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Latch, Random } from "effect"
import { TestClock } from "effect/testing"
import * as Cells from "#runtime/supervision/Cells.ts"

class Refused {
  readonly _tag = "Refused"
}
type Command = "work" | "boom" | "refuse" | "wait"

/** Cells that note what they do; `boom` is a defect, `wait` waits for the latch. */
const noted = Effect.fnUntraced(function* (
  options: Cells.CellOptions = {},
  look?: (id: string) => Effect.Effect<void, Refused>,
) {
  const notes: Array<string> = []
  const latch = yield* Latch.make()
  const clock = yield* Effect.clockWith((clock) => Effect.succeed(clock))
  const note = (text: string) => Effect.sync(() => notes.push(`${clock.currentTimeMillisUnsafe()} ${text}`))
  const cells = yield* Cells.make<Command, string, Refused>({
    name: "nic",
    handle: (id, command) =>
      Effect.gen(function* () {
        yield* note(`${command} ${id}`)
        if (command === "boom") return yield* Effect.die(new Error("boom"))
        if (command === "refuse") return yield* Effect.fail(new Refused())
        if (command === "wait") yield* latch.await
        return `${command} ${id} done`
      }),
    look: (id) => Effect.andThen(note(`look ${id}`), look === undefined ? Effect.void : look(id)),
    onFailure: (id, _cause, attempt) => Effect.asVoid(note(`failure ${attempt} of ${id}`)),
    onEscalate: (id) => Effect.asVoid(note(`escalated ${id}`)),
    options: { backoff: { firstMillis: 100, factor: 2, capMillis: 1_000, jitter: 0 }, ...options },
  })
  return { cells, notes, latch }
})

describe("cells", () => {
  it.effect("a command is handled and answered, a refusal is an answer too", () =>
    Effect.gen(function* () {
      const { cells } = yield* noted()
      assert.strictEqual(yield* cells.ask("a", "work"), "work a done")
      assert.deepStrictEqual(yield* Effect.flip(cells.ask("a", "refuse")), new Refused())
      assert.strictEqual(cells.state("a"), "Idle")
      assert.strictEqual(cells.stats().failures, 0)
    }),
  )

  it.effect("one message at a time per id, in order; ids do not wait for each other", () =>
    Effect.gen(function* () {
      const { cells, notes, latch } = yield* noted()
      const first = yield* Effect.forkChild(cells.ask("a", "wait"), { startImmediately: true })
      const second = yield* Effect.forkChild(cells.ask("a", "work"), { startImmediately: true })
      assert.strictEqual(yield* cells.ask("b", "work"), "work b done")
      assert.deepStrictEqual(notes, ["0 wait a", "0 work b"])
      yield* latch.open
      yield* Fiber.join(first)
      yield* Fiber.join(second)
      assert.deepStrictEqual(notes, ["0 wait a", "0 work b", "0 work a"])
    }),
  )

  it.effect("hints coalesce: however many come while it works, it looks once more", () =>
    Effect.gen(function* () {
      const { cells, notes, latch } = yield* noted()
      const waiting = yield* Effect.forkChild(cells.ask("a", "wait"), { startImmediately: true })
      for (let index = 0; index < 1_000; index++) yield* cells.hint("a")
      yield* latch.open
      yield* Fiber.join(waiting)
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(notes, ["0 wait a", "0 look a"])
    }),
  )

  it.effect("a hint that comes during a look leads to another look", () =>
    Effect.gen(function* () {
      const started = yield* Latch.make()
      const go = yield* Latch.make()
      let looks = 0
      const { cells } = yield* noted({}, () =>
        Effect.suspend(() => (++looks === 1 ? Effect.andThen(started.open, go.await) : Effect.void)),
      )
      yield* cells.hint("a")
      yield* started.await
      yield* cells.hint("a")
      yield* cells.hint("a")
      yield* go.open
      yield* TestClock.adjust(1)
      assert.strictEqual(looks, 2)
    }),
  )

  it.effect("a full mailbox answers Busy with a time to come back", () =>
    Effect.gen(function* () {
      const { cells, latch } = yield* noted({ mailbox: 3, busyRetryMillis: 250 })
      const asked = yield* Effect.forEach(["wait", "work", "work", "work"] as const, (command) =>
        Effect.forkChild(cells.ask("a", command), { startImmediately: true }),
      )
      const error = yield* Effect.flip(cells.ask("a", "work"))
      assert.deepInclude(error, { _tag: "Busy", actor: "nic/a", retryAfterMillis: 250 })
      assert.strictEqual(yield* cells.ask("b", "work"), "work b done")
      yield* latch.open
      yield* Effect.forEach(asked, Fiber.join)
      assert.strictEqual(yield* cells.ask("a", "work"), "work a done")
      assert.strictEqual(cells.stats().refused, 1)
    }),
  )

  it.effect("the table of cells is bounded", () =>
    Effect.gen(function* () {
      const { cells } = yield* noted({ maxResident: 2 })
      yield* cells.ask("a", "work")
      yield* cells.ask("b", "work")
      assert.deepInclude(yield* Effect.flip(cells.ask("c", "work")), { _tag: "Busy" })
      yield* cells.hint("c")
      assert.strictEqual(cells.resident(), 2)
      yield* TestClock.adjust("3 minutes")
      assert.strictEqual(yield* cells.ask("c", "work"), "work c done")
    }),
  )

  it.effect("more cells than fibers: the others wait in line, and all get their turn", () =>
    Effect.gen(function* () {
      const { cells, latch } = yield* noted({ concurrency: 2 })
      const asked = yield* Effect.forEach(["a", "b", "c", "d", "e"], (id) =>
        Effect.forkChild(cells.ask(id, "wait"), { startImmediately: true }),
      )
      assert.deepInclude(cells.stats(), { awake: 2, waiting: 3 })
      yield* latch.open
      assert.deepStrictEqual(yield* Effect.forEach(asked, Fiber.join), [
        "wait a done",
        "wait b done",
        "wait c done",
        "wait d done",
        "wait e done",
      ])
      yield* Effect.yieldNow
      assert.deepInclude(cells.stats(), { awake: 0, waiting: 0 })
    }),
  )

  it.effect("an idle cell is forgotten", () =>
    Effect.gen(function* () {
      const { cells } = yield* noted({ idleMillis: 10_000 })
      yield* cells.ask("a", "work")
      assert.strictEqual(cells.resident(), 1)
      yield* TestClock.adjust("9 seconds")
      assert.strictEqual(cells.resident(), 1)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(cells.resident(), 0)
      assert.strictEqual(cells.state("a"), "Absent")
    }),
  )

  it.effect("a caller that gives up takes back what nobody has begun; what has begun is finished", () =>
    Effect.gen(function* () {
      const { cells, notes, latch } = yield* noted()
      const begun = yield* Effect.forkChild(cells.ask("a", "wait"), { startImmediately: true })
      const queued = yield* Effect.forkChild(cells.ask("a", "refuse"), { startImmediately: true })
      yield* Fiber.interrupt(queued)
      yield* Fiber.interrupt(begun)
      assert.strictEqual(cells.state("a"), "Awake")
      yield* latch.open
      assert.strictEqual(yield* cells.ask("a", "work"), "work a done")
      assert.deepStrictEqual(notes, ["0 wait a", "0 work a"])
    }),
  )

  it.effect("when the scope closes, whoever waits is answered", () =>
    Effect.gen(function* () {
      const result = yield* Deferred.make<ReadonlyArray<Exit.Exit<string, unknown>>>()
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { cells } = yield* noted()
          yield* Effect.forkDetach(
            Effect.all([Effect.exit(cells.ask("a", "wait")), Effect.exit(cells.ask("a", "work"))], {
              concurrency: "unbounded",
            }).pipe(Effect.flatMap((exits) => Deferred.succeed(result, exits))),
            { startImmediately: true },
          )
        }),
      )
      for (const exit of yield* Deferred.await(result)) {
        assert.deepInclude(yield* Effect.flip(exit), { _tag: "ActorStopped" })
      }
    }),
  )
})

describe("supervised cells", () => {
  it.effect("a defect is answered, recorded, and the cell comes back after a growing delay and looks", () =>
    Effect.gen(function* () {
      let failing = 2
      const { cells, notes } = yield* noted({}, () =>
        failing-- > 0 ? Effect.die(new Error("still broken")) : Effect.void,
      )
      const error = yield* Effect.flip(cells.ask("a", "boom"))
      assert.deepInclude(error, { _tag: "ActorFailed", actor: "nic/a", attempt: 1, retryAfterMillis: 100 })
      yield* Effect.yieldNow
      assert.strictEqual(cells.state("a"), "BackingOff")
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(notes, [
        "0 boom a",
        "0 failure 1 of a",
        "100 look a",
        "100 failure 2 of a",
        "300 look a",
        "300 failure 3 of a",
        "700 look a",
      ])
      assert.strictEqual(cells.state("a"), "Idle")
    }),
  )

  it.effect("mail waits out the backoff", () =>
    Effect.gen(function* () {
      const { cells, notes } = yield* noted()
      yield* Effect.flip(cells.ask("a", "boom"))
      const fiber = yield* Effect.forkChild(cells.ask("a", "work"))
      yield* TestClock.adjust(99)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* Fiber.join(fiber), "work a done")
      assert.deepStrictEqual(notes.slice(2), ["100 work a", "100 look a"])
    }),
  )

  it.effect("a defect in one never touches another", () =>
    Effect.gen(function* () {
      const { cells } = yield* noted()
      const results = yield* Effect.forEach(
        Array.from({ length: 50 }, (_, index) => index),
        (index) => Effect.exit(cells.ask(`n${index}`, index % 5 === 0 ? "boom" : "work")),
        { concurrency: "unbounded" },
      )
      assert.strictEqual(results.filter(Exit.isSuccess).length, 40)
      assert.strictEqual(cells.state("n5"), "BackingOff")
      assert.strictEqual(cells.state("n6"), "Idle")
    }),
  )

  it.effect("too many failures within the window stop the cell, until it has cooled down", () =>
    Effect.gen(function* () {
      const { cells, notes } = yield* noted({
        intensity: { failures: 2, windowMillis: 60_000 },
        coolDownMillis: 30_000,
      })
      for (let index = 0; index < 2; index++) {
        yield* Effect.flip(cells.ask("a", "boom"))
        yield* TestClock.adjust("1 second")
      }
      const queued = yield* Effect.forkChild(
        Effect.all([Effect.exit(cells.ask("a", "boom")), Effect.exit(cells.ask("a", "work"))], {
          concurrency: "unbounded",
        }),
      )
      yield* Effect.yieldNow
      const [poison, innocent] = yield* Fiber.join(queued)
      assert.deepInclude(yield* Effect.flip(poison), { _tag: "ActorFailed", retryAfterMillis: 30_000 })
      assert.deepInclude(yield* Effect.flip(innocent), { _tag: "ActorStopped", retryAfterMillis: 30_000 })
      assert.strictEqual(cells.state("a"), "Stopped")
      assert.include(notes, "2000 escalated a")
      yield* TestClock.adjust("10 seconds")
      const refused = yield* Effect.flip(cells.ask("a", "work"))
      assert.deepInclude(refused, { _tag: "ActorStopped", actor: "nic/a", retryAfterMillis: 20_000 })
      yield* cells.hint("a")
      assert.strictEqual(notes.at(-1), "2000 escalated a")
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(notes.at(-1), "32000 look a")
      assert.strictEqual(yield* cells.ask("a", "work"), "work a done")
    }),
  )

  it.effect("failures further apart than the window do not add up", () =>
    Effect.gen(function* () {
      const { cells } = yield* noted({ intensity: { failures: 2, windowMillis: 10_000 } })
      for (let index = 0; index < 10; index++) {
        yield* Effect.flip(cells.ask("a", "boom"))
        yield* TestClock.adjust("6 seconds")
      }
      assert.strictEqual(cells.state("a"), "Idle")
      assert.strictEqual(cells.stats().escalations, 0)
    }),
  )

  it.effect("resume ends a stop at once", () =>
    Effect.gen(function* () {
      const { cells, notes } = yield* noted({ intensity: { failures: 0, windowMillis: 1_000 } })
      yield* Effect.flip(cells.ask("a", "boom"))
      yield* Effect.yieldNow
      assert.strictEqual(cells.state("a"), "Stopped")
      yield* cells.resume("a")
      yield* Effect.yieldNow
      assert.strictEqual(notes.at(-1), "0 look a")
      assert.strictEqual(yield* cells.ask("a", "work"), "work a done")
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(notes.filter((note) => note.includes("look")).length, 1)
    }),
  )

  it.effect(
    "a look that fails for a reason is retried for as long as the reason lasts, and never escalates",
    () =>
      Effect.gen(function* () {
        let away = true
        let looks = 0
        const { cells, notes } = yield* noted({ intensity: { failures: 1, windowMillis: 3_600_000 } }, () =>
          Effect.suspend(() => (looks++, away ? Effect.fail(new Refused()) : Effect.void)),
        )
        yield* cells.hint("a")
        yield* TestClock.adjust("1 minute")
        assert.isAbove(looks, 60)
        assert.isFalse(notes.some((note) => note.includes("escalated")))
        away = false
        yield* TestClock.adjust("1 second")
        const settled = looks
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(looks, settled)
        assert.strictEqual(cells.stats().escalations, 0)
      }),
  )

  it.effect("a callback that dies or hangs does not keep the cell from coming back", () =>
    Effect.gen(function* () {
      const cells = yield* Cells.make<Command, string, never>({
        name: "nic",
        handle: (_id, command) =>
          command === "boom" ? Effect.die(new Error("boom")) : Effect.succeed("done"),
        onFailure: (id) => (id === "hangs" ? Effect.never : Effect.die(new Error("and again"))),
      })
      yield* Effect.flip(cells.ask("hangs", "boom"))
      yield* Effect.flip(cells.ask("dies", "boom"))
      yield* TestClock.adjust("11 seconds")
      assert.strictEqual(yield* cells.ask("hangs", "work"), "done")
      assert.strictEqual(yield* cells.ask("dies", "work"), "done")
    }),
  )

  it.effect("delays are drawn from Random: one seed, one course of events", () =>
    Effect.gen(function* () {
      const course = (seed: string) =>
        Effect.scoped(
          Effect.gen(function* () {
            const { cells, notes } = yield* noted(
              { backoff: { firstMillis: 1_000, factor: 2, capMillis: 60_000, jitter: 0.5 } },
              () => Effect.fail(new Refused()),
            )
            const start = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
            yield* cells.hint("a")
            yield* TestClock.adjust("1 minute")
            return notes.map((note) => Number(note.split(" ")[0]) - start)
          }),
        ).pipe(Random.withSeed(seed))
      const first = yield* course("one")
      assert.deepStrictEqual(yield* course("one"), first)
      assert.notDeepEqual(yield* course("two"), first)
    }),
  )
})
