import { assert, describe, it } from "@effect/vitest"
import { type Cause, Context, Effect, Exit, Latch, Layer, Queue, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { hostInterfaceKind } from "#protocol/node/HostInterface.ts"
import type { AgentMessage, ControllerMessage, Hello } from "#protocol/node/NodeMessages.ts"
import { ResourceStore } from "#protocol/store/ResourceStore.ts"
import { mailboxCapacity } from "#runtime/node/NodeFeed.ts"
import { NodeSessions } from "#runtime/node/NodeSessions.ts"
import type { SessionEnd } from "#runtime/node/SessionEnd.ts"
import { layerMemory } from "#runtime/store/Store.ts"
import * as arbitrary from "../pure/node-arbitrary.ts"
import { layerTold, nic, settle, told, uidOf } from "./agent-region.ts"

const hello = (fields: Partial<Hello> = {}): Hello => ({
  _tag: "Hello",
  node: "host-1",
  instance: "i-1",
  revision: 0,
  underlayPrefix: "fd00:f:1::/64",
  dataplane: "model",
  version: "test",
  regionUid: "",
  ...fields,
})
const heartbeat = (sequence: number, settledRevision = 0): AgentMessage => ({
  _tag: "Heartbeat",
  sequence,
  settledRevision,
})

const makeController = Effect.fnUntraced(function* (keepChanges = 100_000) {
  const shared = yield* Layer.build(layerMemory({ keepChanges }))
  const store = Context.get(shared, ResourceStore)
  const region = told()
  const outer = yield* Effect.scope
  const start = Effect.gen(function* () {
    const scope = yield* Scope.fork(outer)
    const sessions = Context.get(
      yield* Layer.buildWithScope(
        NodeSessions.layer().pipe(
          Layer.provide(layerTold(region)),
          Layer.provide(Layer.succeedContext(shared)),
        ),
        scope,
      ),
      NodeSessions,
    )
    return { sessions, stop: Scope.close(scope, Exit.void) }
  })
  const running = yield* start

  /** One connection; `reading` may be closed for a while. */
  const connect = Effect.fnUntraced(function* (options: { reading?: Latch.Latch; to?: typeof running } = {}) {
    const say = yield* Queue.unbounded<AgentMessage, Cause.Done>()
    const reading = options.reading ?? Latch.makeUnsafe(true)
    const heard: Array<ControllerMessage> = []
    const state = { end: undefined as SessionEnd | undefined }
    const stream = (options.to ?? running).sessions.session(Stream.fromQueue(say))
    yield* Effect.forkScoped(
      Stream.runForEach(stream, (message) =>
        Effect.andThen(
          reading.await,
          Effect.sync(() => heard.push(message)),
        ),
      ).pipe(
        Effect.catch((end) =>
          Effect.sync(() => {
            state.end = end
          }),
        ),
      ),
    )
    yield* settle
    return {
      say: (...messages: ReadonlyArray<AgentMessage>) =>
        Effect.andThen(Queue.offerAll(say, messages), settle),
      hangUp: Effect.andThen(Queue.end(say), settle),
      heard,
      end: () => state.end,
      tags: () => heard.map(({ _tag }) => _tag),
    }
  })
  const put = (n: number, value: unknown = nic(n), node = "host-1") =>
    store.commit({
      writes: [
        {
          _tag: "Put",
          key: { kind: hostInterfaceKind, namespace: node, name: uidOf(n) },
          uid: uidOf(n),
          labels: {},
          references: [],
          value,
        },
      ],
    })
  const remove = (n: number) =>
    store.commit({
      writes: [{ _tag: "Remove", key: { kind: hostInterfaceKind, namespace: "host-1", name: uidOf(n) } }],
    })
  return { store, region, connect, put, remove, start, running }
})

/** Each message in a word or two. */
const brief = (messages: ReadonlyArray<ControllerMessage>): ReadonlyArray<string> =>
  messages.map((message) => {
    switch (message._tag) {
      case "Welcome":
        return message.full ? "Welcome full" : "Welcome"
      case "Upsert":
        return `+${Number.parseInt(message.interface.uid.slice(-12), 16)}`
      case "Removal":
        return `-${Number.parseInt(message.uid.slice(-12), 16)}`
      case "CaughtUp":
        return `=${message.revision}`
      case "Lease":
        return `Lease ${message.sequence}`
    }
  })

describe("a node's session", () => {
  it.effect("begins with everything, and goes on with every change of this node", () =>
    Effect.gen(function* () {
      const { connect, put, remove } = yield* makeController()
      yield* put(1)
      yield* put(2, nic(2), "host-2")
      const agent = yield* connect()
      yield* agent.say(hello())
      assert.deepStrictEqual(brief(agent.heard), ["Welcome full", "+1", "=2"])
      yield* put(3)
      yield* put(2, nic(2, { generation: 2 }), "host-2")
      yield* remove(1)
      yield* settle
      assert.deepStrictEqual(brief(agent.heard).slice(3), ["+3", "=3", "-1", "=5"])
    }),
  )

  it.effect("resumes with the last word on what changed, and nothing else", () =>
    Effect.gen(function* () {
      const { connect, put, remove, store } = yield* makeController()
      yield* put(1)
      yield* put(2)
      yield* put(3)
      yield* put(3, nic(3, { generation: 2 }))
      yield* remove(2)
      yield* put(4)
      yield* remove(4)
      yield* settle
      const agent = yield* connect()
      yield* agent.say(hello({ revision: 1, regionUid: store.regionUid }))
      assert.deepStrictEqual(brief(agent.heard), ["Welcome", "+3", "-2", "-4", "=7"])
      yield* put(5)
      yield* settle
      assert.deepStrictEqual(brief(agent.heard).slice(5), ["+5", "=8"])
    }),
  )

  it.effect("starts over for a revision that was compacted, of another region, or that never was", () =>
    Effect.gen(function* () {
      const { connect, put, store } = yield* makeController()
      for (let n = 1; n < 5; n++) yield* put(n)
      yield* store.compact(3)
      const { regionUid } = store
      for (const known of [
        { revision: 1, regionUid },
        { revision: 4, regionUid: "another" },
        { revision: 99, regionUid },
      ]) {
        const agent = yield* connect()
        yield* agent.say(hello(known))
        assert.deepStrictEqual(brief(agent.heard), ["Welcome full", "+1", "+2", "+3", "+4", "=4"])
        yield* agent.hangUp
      }
    }),
  )

  it.effect("answers each heartbeat with a lease and the present revision", () =>
    Effect.gen(function* () {
      const { connect, put, region } = yield* makeController()
      const agent = yield* connect()
      yield* agent.say(hello(), heartbeat(1))
      yield* put(1, nic(1), "host-2")
      yield* settle
      yield* agent.say(heartbeat(2))
      yield* agent.say(heartbeat(3, 1), heartbeat(4, 50))
      assert.includeMembers(brief(agent.heard).slice(2), ["Lease 1", "Lease 2", "=1", "Lease 3", "Lease 4"])
      assert.strictEqual(region.settled.get("host-1"), 1, "what it can't know of it can't have settled")
    }),
  )

  it.effect("must say hello first, in time, and once", () =>
    Effect.gen(function* () {
      const { connect } = yield* makeController()
      const rude = yield* connect()
      yield* rude.say(heartbeat(1))
      assert.include(rude.end(), { kind: "Malformed", reason: "Heartbeat before Hello" })
      const silent = yield* connect()
      const polite = yield* connect()
      yield* polite.say(hello())
      yield* TestClock.adjust("9 seconds")
      yield* polite.say(heartbeat(1))
      assert.isUndefined(silent.end())
      yield* TestClock.adjust("1 second")
      assert.include(silent.end(), { kind: "Late" })
      yield* polite.say(hello())
      assert.include(polite.end(), { kind: "Malformed", reason: "a second hello" })
    }),
  )

  it.effect("is turned away with the region's reason", () =>
    Effect.gen(function* () {
      const { connect, region } = yield* makeController()
      region.refuse = "fd00:f:1::/64 is the underlay of host-7"
      const agent = yield* connect()
      yield* agent.say(hello())
      assert.include(agent.end(), { kind: "Refused", reason: "fd00:f:1::/64 is the underlay of host-7" })
      assert.deepStrictEqual(agent.heard, [])
    }),
  )

  it.effect("gives way to a newer one, and the older instance does not come back", () =>
    Effect.gen(function* () {
      const { connect, running } = yield* makeController()
      const first = yield* connect()
      yield* first.say(hello())
      const again = yield* connect()
      yield* again.say(hello())
      assert.include(first.end(), { kind: "Replaced" })
      assert.isUndefined(again.end())
      const second = yield* connect()
      yield* second.say(hello({ instance: "i-2" }))
      assert.include(again.end(), { kind: "Replaced" })
      const ghost = yield* connect()
      yield* ghost.say(hello())
      assert.include(ghost.end(), {
        kind: "Replaced",
        reason: "a newer agent of host-1 is here, instance i-2",
      })
      assert.isUndefined(second.end())
      const [node] = yield* running.sessions.nodes
      assert.include({ ...node }, { node: "host-1", instance: "i-2", connected: true })
    }),
  )

  it.effect("of a silent agent ends with its lease, and the node is lost once", () =>
    Effect.gen(function* () {
      const { connect, region } = yield* makeController()
      const agent = yield* connect()
      yield* agent.say(hello())
      for (let sequence = 1; sequence < 8; sequence++) {
        yield* TestClock.adjust("3 seconds")
        yield* agent.say(heartbeat(sequence))
      }
      assert.deepStrictEqual(region.lines, ["host-1 hello 0"])
      yield* TestClock.adjust("11 seconds")
      assert.include(agent.end(), { kind: "Expired" })
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(region.lines, ["host-1 hello 0", "host-1 lost"])
      const back = yield* connect()
      yield* back.say(hello())
      assert.isUndefined(back.end())
      assert.deepStrictEqual(region.lines.at(-1), "host-1 hello 0")
    }),
  )

  it.effect("may break and come back within the lease without anybody noticing", () =>
    Effect.gen(function* () {
      const { connect, region } = yield* makeController()
      const agent = yield* connect()
      yield* agent.say(hello())
      yield* agent.hangUp
      assert.include(agent.end(), { kind: "Gone" })
      yield* TestClock.adjust("8 seconds")
      const back = yield* connect()
      yield* back.say(hello())
      yield* TestClock.adjust("8 seconds")
      assert.notInclude(region.lines, "host-1 lost")
    }),
  )

  it.effect("ends for an agent that reads more slowly than its host changes, and disturbs no other", () =>
    Effect.gen(function* () {
      const { connect, put } = yield* makeController()
      const reading = Latch.makeUnsafe(false)
      const slow = yield* connect({ reading })
      const good = yield* connect()
      yield* slow.say(hello())
      yield* good.say(hello({ node: "host-2" }))
      for (let n = 0; n < mailboxCapacity / 2 + 200; n++) yield* put(1, nic(1, { generation: n + 1 }))
      yield* put(2, nic(2), "host-2")
      yield* settle
      yield* reading.open
      yield* settle
      assert.include(slow.end(), { kind: "Slow" })
      assert.include(brief(good.heard), "+2")
    }),
  )

  it.effect("leaves out an interface that can't be read, and only that one", () =>
    Effect.gen(function* () {
      const { connect, put } = yield* makeController()
      yield* put(1, { nonsense: true })
      yield* put(2)
      const agent = yield* connect()
      yield* agent.say(hello())
      yield* put(3, { ...nic(3), vni: -1 })
      yield* put(4)
      yield* settle
      assert.deepStrictEqual(brief(agent.heard), ["Welcome full", "+2", "=2", "+4", "=4"])
    }),
  )

  it.effect("a controller that starts gives the nodes it knows one lease of grace", () =>
    Effect.gen(function* () {
      const { connect, region, start, store } = yield* makeController()
      for (const name of ["host-1", "host-9"]) {
        const key = { kind: "Node", namespace: "", name }
        yield* store.commit({
          writes: [{ _tag: "Put", key, uid: name, labels: {}, references: [], value: {} }],
        })
      }
      const second = yield* start
      yield* TestClock.adjust("9 seconds")
      const agent = yield* connect({ to: second })
      yield* agent.say(hello())
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(region.lines, ["host-1 hello 0", "host-9 lost"])
    }),
  )

  it.effect("ends for a reason, whatever an agent says in whatever order", () =>
    Effect.gen(function* () {
      const { connect, put, region } = yield* makeController()
      yield* put(1)
      const bystander = yield* connect()
      yield* bystander.say(hello({ node: "bystander" }))
      const sayings = fc.sample(
        fc.array(fc.oneof(arbitrary.agentMessage, fc.constant(hello())), { maxLength: 6 }),
        {
          seed: 7,
          numRuns: 150,
        },
      )
      for (const saying of sayings) {
        const agent = yield* connect()
        yield* agent.say(...saying)
        yield* agent.hangUp
        assert.include(["Malformed", "Gone", "Replaced"], agent.end()?.kind)
      }
      assert.isUndefined(bystander.end())
      assert.isTrue(region.lines.every((line) => !line.startsWith("bystander lost")))
    }),
  )

  it.effect("a region that fails to hear of a lost node is told again", () =>
    Effect.gen(function* () {
      const { connect, region } = yield* makeController()
      const agent = yield* connect()
      yield* agent.say(hello())
      yield* agent.hangUp
      region.deaf = true
      yield* TestClock.adjust("11 seconds")
      assert.notInclude(region.lines, "host-1 lost")
      region.deaf = false
      yield* TestClock.adjust("3 seconds")
      assert.include(region.lines, "host-1 lost")
    }),
  )

  it.effect("ends when the controller goes down", () =>
    Effect.gen(function* () {
      const { connect, running } = yield* makeController()
      const agent = yield* connect()
      yield* agent.say(hello())
      yield* running.stop
      yield* settle
      assert.include(agent.end(), { kind: "Unavailable", reason: "the controller is going down" })
    }),
  )
})
