import { assert, describe, it } from "@effect/vitest"
import { type Cause, Context, Effect, Layer, Queue, References, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { create, fromBinary } from "@bufbuild/protobuf"
import { SessionRequestSchema } from "#gen/ferrite/node/v1/node_pb.ts"
import { decodeAgentMessage } from "#protocol/node/NodeCodec.ts"
import {
  type AgentMessage,
  type ControllerMessage,
  type Hello,
  maxHostInterfaces,
} from "#protocol/node/NodeMessages.ts"
import { ResourceStore } from "#protocol/store/ResourceStore.ts"
import { hostInterfaceKind } from "#protocol/node/HostInterface.ts"
import { NodeSessions } from "#runtime/node/NodeSessions.ts"
import type { SessionEnd } from "#runtime/node/SessionEnd.ts"
import * as Observations from "#runtime/region/Observations.ts"
import { layerMemory } from "#runtime/store/Store.ts"
import { layerTold, nic, told, uidOf } from "../simulated/agent-region.ts"
import * as arbitrary from "./node-arbitrary.ts"

const hello = (fields: Partial<Hello> = {}): Hello => ({
  _tag: "Hello",
  node: "good",
  instance: "i-1",
  revision: 0,
  underlayPrefix: "fd00:f:1::/64",
  dataplane: "model",
  version: "test",
  regionUid: "",
  ...fields,
})

const run = <A, E>(effect: Effect.Effect<A, E, import("effect").Scope.Scope>) =>
  Effect.runPromise(
    Effect.scoped(Effect.provide(effect, TestClock.layer())).pipe(
      Effect.provideService(References.MinimumLogLevel, "Error"),
    ),
  )

const settle = Effect.forEach([1, 1, 1, 1], () => TestClock.adjust(1), { discard: true })

const makeController = Effect.gen(function* () {
  const region = told()
  const context = yield* Layer.build(
    NodeSessions.layer().pipe(Layer.provide(layerTold(region)), Layer.provideMerge(layerMemory())),
  )
  const sessions = Context.get(context, NodeSessions)
  const connect = Effect.gen(function* () {
    const say = yield* Queue.unbounded<AgentMessage, Cause.Done>()
    const heard: Array<ControllerMessage> = []
    const state = { end: undefined as SessionEnd | undefined, defect: undefined as unknown }
    yield* sessions.session(Stream.fromQueue(say)).pipe(
      Stream.runForEach((message) => Effect.sync(() => heard.push(message))),
      Effect.catchDefect((defect) => Effect.sync(() => void (state.defect = defect))),
      Effect.catch((end) => Effect.sync(() => void (state.end = end as SessionEnd))),
      Effect.forkScoped,
    )
    return { say: (message: AgentMessage) => Queue.offer(say, message), heard, state, finish: Queue.end(say) }
  })
  return { region, store: Context.get(context, ResourceStore), sessions, connect }
})

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ say: arbitrary.agentMessage }) },
  { weight: 2, arbitrary: fc.record({ say: fc.constant<AgentMessage>(hello({ node: "bad" })) }) },
  { weight: 1, arbitrary: fc.record({ wait: fc.integer({ min: 1, max: 12_000 }) }) },
  { weight: 1, arbitrary: fc.constant({ finish: true } as const) },
)
type Step = { readonly say: AgentMessage } | { readonly wait: number } | { readonly finish: true }

describe("a session with an agent that says anything in any order", () => {
  it("ends with a reason if it ends, never as a defect, and the good one beside it hears everything", () =>
    fc.assert(
      fc.asyncProperty(fc.array(step as fc.Arbitrary<Step>, { maxLength: 25 }), fc.nat(3), (steps, split) =>
        run(
          Effect.gen(function* () {
            const { connect, sessions, store } = yield* makeController
            const good = yield* connect
            yield* good.say(hello())
            yield* settle
            let bad = yield* connect
            let sequence = 0
            for (const [index, each] of steps.entries()) {
              if ("say" in each) yield* bad.say(each.say)
              else if ("finish" in each) yield* bad.finish
              else {
                for (let waited = 0; waited < each.wait; waited += 2_000) {
                  yield* good.say({ _tag: "Heartbeat", sequence: ++sequence, settledRevision: 0 })
                  yield* TestClock.adjust(Math.min(2_000, each.wait - waited))
                }
              }
              if (index % 4 === split) yield* settle
              assert.isUndefined(bad.state.defect)
              if (bad.state.end !== undefined) {
                assert.isNotEmpty(bad.state.end.reason)
                bad = yield* connect
              }
            }
            yield* store.commit({
              writes: [
                {
                  _tag: "Put",
                  key: { kind: hostInterfaceKind, namespace: "good", name: uidOf(1) },
                  uid: uidOf(1),
                  labels: {},
                  references: [],
                  value: nic(1),
                },
              ],
            })
            yield* good.say({ _tag: "Heartbeat", sequence: 99_999, settledRevision: 0 })
            yield* settle
            // Unless the other one took its name, which is every agent's right.
            const taken = steps.some(
              (each) => "say" in each && each.say._tag === "Hello" && each.say.node === "good",
            )
            if (taken) return
            assert.isUndefined(good.state.end)
            const tags = good.heard.map((message) => message._tag)
            assert.include(tags, "Upsert")
            assert.isTrue(
              good.heard.some((message) => message._tag === "Lease" && message.sequence === 99_999),
            )
            assert.isTrue((yield* sessions.nodes).some(({ connected, node }) => node === "good" && connected))
          }),
        ),
      ),
      { numRuns: 150 },
    ))

  it("a message of any bytes is a message, or a refusal that names a field", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          fc
            .tuple(fc.constantFrom(0x0a, 0x12, 0x1a, 0x22), fc.uint8Array({ maxLength: 100 }))
            .map(([tag, bytes]) => Uint8Array.of(tag, bytes.length, ...bytes)),
        ),
        (bytes) => {
          let request = create(SessionRequestSchema)
          try {
            request = fromBinary(SessionRequestSchema, bytes)
          } catch {
            return
          }
          const decoded = decodeAgentMessage(request)
          if (decoded._tag === "Failure") assert.match(decoded.failure.message, /^[a-z_.]+: ./)
        },
      ),
      { numRuns: 3_000 },
    )
  })
})

describe("what the region remembers of a host", () => {
  it("has a bound, whatever its agent reports", () => {
    const observations = Observations.make()
    const pending = (n: number, node = "host-1") =>
      observations.setReport(node, {
        _tag: "InterfaceReport",
        uid: uidOf(n),
        generation: 1,
        state: "Pending",
        reason: "WaitingForDataplane",
        message: "",
      })
    for (let n = 0; n < maxHostInterfaces + 5_000; n++) pending(n)
    assert.isDefined(observations.report("host-1", uidOf(0)), "what was there first stays")
    assert.isUndefined(observations.report("host-1", uidOf(maxHostInterfaces + 1)), "more is not heard")
    pending(maxHostInterfaces + 1, "host-2")
    assert.isDefined(observations.report("host-2", uidOf(maxHostInterfaces + 1)), "of another host it is")
    for (let n = 0; n < 10_000; n++)
      observations.setReport("host-1", {
        _tag: "InterfaceReport",
        uid: uidOf(n),
        generation: 1,
        state: "Removed",
      })
    assert.strictEqual(observations.report("host-1", uidOf(9_999))?.state, "Removed")
    assert.isUndefined(observations.report("host-1", uidOf(0)), "of what is gone the newest are kept")
    assert.strictEqual(
      observations.report("host-1", uidOf(10_001))?.state,
      "Pending",
      "what is there is kept",
    )
    pending(maxHostInterfaces + 1)
    assert.isDefined(observations.report("host-1", uidOf(maxHostInterfaces + 1)), "there is room again")
  })

  it("of its routes is what it said last, and nothing is withdrawn that it never had", () => {
    const observations = Observations.make()
    const entries = Array.from({ length: 4_096 }, (_, n) => ({
      vni: 1 + n,
      prefix: "0.0.0.0/0",
      nextHop: "fd00::1",
      removed: n % 2 === 0,
      programmedMicros: 0,
    }))
    const touched = observations.setRoutes("host-1", { _tag: "RouteReport", full: true, entries })
    assert.lengthOf(touched, 4_096)
    assert.isDefined(observations.acknowledgement("host-1", { vni: 2, prefix: "0.0.0.0/0" }))
    assert.isFalse(observations.withdrawn("host-1", { vni: 1, prefix: "0.0.0.0/0" }), "it never had it")
    observations.setRoutes("host-1", { _tag: "RouteReport", full: true, entries: [] })
    assert.isUndefined(observations.acknowledgement("host-1", { vni: 2, prefix: "0.0.0.0/0" }))
  })
})
