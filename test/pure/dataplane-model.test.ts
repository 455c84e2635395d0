/** The model dataplane as a process: sessions, crashes, and the underlay between several. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import { digestOf } from "#protocol/dataplane/digest.ts"
import type { InterfaceSpec } from "#protocol/dataplane/Dataplane.ts"
import * as Model from "#runtime/dataplane/ModelDataplane.ts"
import { make as makeUnderlay, ModelUnderlay } from "#runtime/dataplane/ModelUnderlay.ts"

const nic = (id: string, more: Partial<InterfaceSpec> = {}): InterfaceSpec => ({
  id,
  vni: 200,
  ipv4: "10.0.0.1",
  ipv6: undefined,
  device: `vtap:${id}`,
  hostname: undefined,
  ...more,
})

const start = Effect.provideServiceEffect(
  Model.make({ underlayPrefix: "fd00:f:1::/64" }),
  ModelUnderlay,
  Effect.sync(makeUnderlay),
).pipe(Random.withSeed("first light"))

describe("a session with the model dataplane", () => {
  it.effect("is not there before it connects", () =>
    Effect.gen(function* () {
      const process = yield* start
      const error = yield* Effect.flip(process.session().state)
      assert.strictEqual(error._tag, "DataplaneGone")
    }),
  )

  it.effect("connects, creates and lists with the documented digest", () =>
    Effect.gen(function* () {
      const process = yield* start
      const session = process.session()
      const before = yield* session.connect
      assert.deepInclude(before, { initialized: true, digest: 0n, underlayPrefix: "fd00:f:1::/64" })
      const spec = nic("a")
      const [created] = yield* session.apply([{ _tag: "CreateInterface", spec }])
      assert.strictEqual(created?.code, 0)
      const listing = yield* session.listAll
      assert.deepStrictEqual(
        listing.interfaces.map((entry) => entry.spec),
        [spec],
      )
      assert.strictEqual(listing.state.digest, digestOf([spec], []))
    }),
  )

  it.effect("is gone after a restart until it connects again, to an empty process with another uuid", () =>
    Effect.gen(function* () {
      const process = yield* start
      const session = process.session()
      const first = yield* session.connect
      yield* session.apply([{ _tag: "CreateInterface", spec: nic("a") }])
      yield* process.restart
      assert.strictEqual((yield* Effect.flip(session.listAll))._tag, "DataplaneGone")
      const second = yield* session.connect
      assert.notStrictEqual(second.uuid, first.uuid)
      assert.deepStrictEqual((yield* session.listAll).interfaces, [])
    }),
  )

  it.effect("survives a crash in the midst of a batch", () =>
    Effect.gen(function* () {
      const process = yield* start
      const session = process.session()
      yield* session.connect
      yield* process.crashAfter(1)
      const error = yield* Effect.flip(
        session.apply([
          { _tag: "CreateInterface", spec: nic("a") },
          { _tag: "CreateInterface", spec: nic("b", { ipv4: "10.0.0.2" }) },
        ]),
      )
      assert.strictEqual(error._tag, "DataplaneGone")
      assert.strictEqual((yield* Effect.flip(session.connect))._tag, "DataplaneGone")
      yield* process.restart
      yield* session.connect
    }),
  )

  it.effect("refuses what it is told to refuse, and goes on with the batch", () =>
    Effect.gen(function* () {
      const process = yield* start
      const session = process.session()
      yield* session.connect
      yield* process.refuse((operation) =>
        operation._tag === "CreateInterface" && operation.spec.id === "a" ? 381 : undefined,
      )
      const results = yield* session.apply([
        { _tag: "CreateInterface", spec: nic("a") },
        { _tag: "CreateInterface", spec: nic("b") },
      ])
      assert.deepStrictEqual(
        results.map((result) => [result.code, result.message]),
        [
          [381, "PORT_START"],
          [0, "Success"],
        ],
      )
    }),
  )
})
