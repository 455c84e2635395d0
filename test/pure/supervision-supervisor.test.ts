import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Random, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as RestartPolicy from "#runtime/supervision/RestartPolicy.ts"
import * as Supervisor from "#runtime/supervision/Supervisor.ts"

class Away extends Schema.TaggedError<Away>()("Away", { message: Schema.String }) {}

const backoff = { firstMillis: 1_000, factor: 2, capMillis: 8_000, jitter: 0 }

/** A child that notes when it starts and then does as told, the last for ever. */
const scripted = (...script: ReadonlyArray<Effect.Effect<unknown, Away>>) => {
  const starts: Array<number> = []
  const child = Effect.clockWith((clock) => {
    starts.push(clock.currentTimeMillisUnsafe())
    return script[Math.min(starts.length, script.length) - 1]!
  })
  return { starts, child }
}

const away = Effect.fail(new Away({ message: "connection refused" }))

describe("a supervisor", () => {
  it.effect("starts its child again after growing delays, up to the cap", () =>
    Effect.gen(function* () {
      const { starts, child } = scripted(away)
      yield* Supervisor.start({ name: "session", child, backoff, intensity: "never" })
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(starts, [0, 1_000, 3_000, 7_000, 15_000, 23_000])
    }),
  )

  it.effect("says what it is doing, why, and when it tries again", () =>
    Effect.gen(function* () {
      const { child } = scripted(away, Effect.never)
      const supervisor = yield* Supervisor.start({ name: "session", child, backoff })
      const states = yield* Effect.forkChild(Stream.runCollect(Stream.take(supervisor.states, 2)))
      yield* TestClock.adjust(500)
      assert.deepStrictEqual(yield* supervisor.state, {
        _tag: "BackingOff",
        reason: "Away: connection refused",
        attempt: 1,
        nextAttemptMillis: 1_000,
      })
      yield* TestClock.adjust(500)
      assert.deepStrictEqual(yield* supervisor.state, { _tag: "Running", sinceMillis: 1_000, restarts: 1 })
      assert.deepStrictEqual(
        (yield* Fiber.join(states)).map(({ _tag }) => _tag),
        ["BackingOff", "Running"],
      )
    }),
  )

  it.effect("forgets earlier failures once the child was healthy for a while", () =>
    Effect.gen(function* () {
      const { starts, child } = scripted(
        away,
        away,
        away,
        Effect.andThen(Effect.sleep("40 seconds"), away),
        Effect.never,
      )
      yield* Supervisor.start({ name: "session", child, backoff, healthyMillis: 30_000 })
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(starts, [0, 1_000, 3_000, 7_000, 48_000])
    }),
  )

  it.effect("escalates to its parent when the child fails too often within the window", () =>
    Effect.gen(function* () {
      const { starts, child } = scripted(Effect.die(new Error("bug")))
      const supervisor = yield* Supervisor.start({
        name: "dataplane session",
        child,
        backoff,
        intensity: { failures: 2, windowMillis: 60_000 },
      })
      const states = yield* Effect.forkChild(Stream.runCollect(supervisor.states))
      const end = yield* Effect.forkChild(Effect.flip(supervisor.awaitEnd))
      yield* TestClock.adjust("1 minute")
      assert.deepInclude(yield* Fiber.join(end), {
        _tag: "Escalated",
        name: "dataplane session",
        failures: 3,
        windowMillis: 60_000,
        reason: "bug",
      })
      assert.strictEqual(starts.length, 3)
      assert.deepStrictEqual(yield* supervisor.state, { _tag: "Escalated", reason: "bug", failures: 3 })
      assert.strictEqual((yield* Fiber.join(states)).at(-1)!._tag, "Escalated")
    }),
  )

  it.effect("a parent that is a supervisor restarts the whole, and escalates in turn", () =>
    Effect.gen(function* () {
      const { starts, child } = scripted(away)
      const inner = Supervisor.run({
        name: "inner",
        child,
        backoff,
        intensity: { failures: 1, windowMillis: 10_000 },
      })
      const outer = yield* Effect.forkChild(
        Effect.flip(
          Supervisor.run({
            name: "outer",
            child: inner,
            backoff,
            intensity: { failures: 1, windowMillis: 60_000 },
          }),
        ),
      )
      yield* TestClock.adjust("1 minute")
      const error = yield* Fiber.join(outer)
      assert.strictEqual(error.name, "outer")
      assert.match(error.reason, /^Escalated/)
      assert.strictEqual(starts.length, 4)
    }),
  )

  it.effect("treats an end as a failure, unless the child may finish", () =>
    Effect.gen(function* () {
      const always = scripted(Effect.void)
      const supervisor = yield* Supervisor.start({ name: "loop", child: always.child, backoff })
      yield* TestClock.adjust(1)
      assert.deepInclude(yield* supervisor.state, { _tag: "BackingOff", reason: "ended" })
      const once = scripted(away, Effect.void)
      const job = yield* Supervisor.start({ name: "job", child: once.child, backoff, restart: "on-failure" })
      yield* TestClock.adjust("1 minute")
      yield* job.awaitEnd
      assert.deepStrictEqual(yield* job.state, { _tag: "Finished" })
      assert.strictEqual(once.starts.length, 2)
    }),
  )

  it.effect("retryNow cuts a backoff short", () =>
    Effect.gen(function* () {
      const { starts, child } = scripted(away)
      const supervisor = yield* Supervisor.start({
        name: "session",
        child,
        backoff: { ...backoff, firstMillis: 60_000, capMillis: 60_000 },
      })
      yield* TestClock.adjust("5 seconds")
      yield* supervisor.retryNow
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(starts, [0, 5_000])
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(starts.length, 3)
    }),
  )

  it.effect("closes what its child opened before it starts it again, and interrupts it with the scope", () =>
    Effect.gen(function* () {
      const notes: Array<string> = []
      const child = Effect.gen(function* () {
        notes.push("open")
        yield* Effect.addFinalizer(() => Effect.sync(() => notes.push("close")))
        return yield* notes.length < 3 ? away : Effect.never
      })
      yield* Effect.scoped(
        Effect.andThen(Supervisor.start({ name: "session", child, backoff }), TestClock.adjust("10 seconds")),
      )
      assert.deepStrictEqual(notes, ["open", "close", "open", "close"])
    }),
  )

  it.effect("draws its jitter from Random: one seed, one course of events", () =>
    Effect.gen(function* () {
      const course = (seed: string) =>
        Effect.scoped(
          Effect.gen(function* () {
            const { starts, child } = scripted(away)
            const start = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
            yield* Supervisor.start({
              name: "s",
              child,
              backoff: { ...backoff, jitter: 0.5 },
              intensity: "never",
            })
            yield* TestClock.adjust("1 minute")
            return starts.map((at) => at - start)
          }),
        ).pipe(Random.withSeed(seed))
      const first = yield* course("a seed")
      assert.deepStrictEqual(yield* course("a seed"), first)
      assert.notDeepEqual(yield* course("another"), first)
    }),
  )
})

describe("the restart policy", () => {
  it("never waits longer than the cap, however long the outage", () => {
    assert.strictEqual(RestartPolicy.backoffMillis(RestartPolicy.defaultBackoff, 1_000_000, 0), 10_000)
    assert.strictEqual(RestartPolicy.backoffMillis(RestartPolicy.defaultBackoff, 1, 0.999), 50)
  })

  it("remembers no more failures than it needs", () => {
    let failures: ReadonlyArray<number> = []
    for (let at = 0; at < 100; at++)
      failures = RestartPolicy.countFailure(RestartPolicy.defaultIntensity, failures, at)
    assert.strictEqual(failures.length, RestartPolicy.defaultIntensity.failures + 1)
  })
})
