/**
 * A controller's side of the node sessions, whatever carries them.
 *
 * One session a node: an agent says hello, is welcomed, gets what its host is asked for and every change of it,
 * and reports. The newest instance of an agent wins: its hello ends the session of the one before, and that one,
 * should it still live, is turned away. Whatever an agent says renews its node's lease, and a heartbeat is
 * answered with it; when it ends the region is told that the node is lost, and a session that still hangs is
 * ended.
 *
 * Leases are kept in memory: a controller that starts gives every node that the store knows one lease of grace.
 * With several controllers each judges only nodes that it has served, or that were there when it started.
 *
 * Messages of one session are taken in order, each after the region has taken the one before: a Lease says that
 * all reports before its heartbeat are durable. Sessions do not wait for each other.
 */
import { Clock, Context, Deferred, Effect, Exit, Layer, Queue, Semaphore, Stream } from "effect"
import { NodeEvents } from "#protocol/node/NodeEvents.ts"
import type { AgentMessage, ControllerMessage, Hello } from "#protocol/node/NodeMessages.ts"
import { ResourceStore, type StoreUnavailable } from "#protocol/store/ResourceStore.ts"
import * as Bell from "./Bell.ts"
import * as NodeFeed from "./NodeFeed.ts"
import { SessionEnd } from "./SessionEnd.ts"

export interface NodeSessionsOptions {
  /** Default 2,000. */
  readonly heartbeatMillis?: number
  /** Default 10,000. */
  readonly leaseMillis?: number
  /** How long a session may stay without its hello. Default 10,000. */
  readonly helloMillis?: number
}

/** Nodes that one controller keeps leases of. */
export const maxNodes = 10_000
/** Messages on their way to an agent that its connection has not taken; the rest waits in its mailbox. */
const outboxCapacity = 64
/** The region has so long to take that a node is lost; other nodes may wait behind it. */
const lostTimeoutMillis = 5_000
/** Instances of one node that are remembered as replaced. */
const maxReplaced = 16

export interface NodeState {
  readonly node: string
  /** Of its last hello; undefined: none since this controller started. */
  readonly instance: string | undefined
  readonly connected: boolean
  readonly leaseUntilMillis: number
}

export class NodeSessions extends Context.Service<
  NodeSessions,
  {
    /** One session. The stream ends only by failure, or by being interrupted. */
    readonly session: (
      requests: Stream.Stream<AgentMessage, SessionEnd>,
    ) => Stream.Stream<ControllerMessage, SessionEnd>
    /** By name. */
    readonly nodes: Effect.Effect<ReadonlyArray<NodeState>>
  }
>()("ferrite/NodeSessions") {
  static readonly layer = (
    options: NodeSessionsOptions = {},
  ): Layer.Layer<NodeSessions, StoreUnavailable, ResourceStore | NodeEvents> =>
    Layer.effect(NodeSessions, make(options))
}

/** One per node with a lease. */
interface Entry {
  readonly node: string
  instance: string | undefined
  readonly replaced: Set<string>
  session: Deferred.Deferred<never, SessionEnd> | undefined
  /** Infinity: it ended, the region was told. */
  leaseUntilMillis: number
  settledRevision: number
  /** The region hears of one thing of a node at a time. */
  readonly turn: Semaphore.Semaphore
}

const unavailable = ({ reason }: StoreUnavailable) => new SessionEnd({ kind: "Unavailable", reason })

const make = Effect.fn("NodeSessions.make")(function* (options: NodeSessionsOptions) {
  const { heartbeatMillis = 2_000, helloMillis = 10_000, leaseMillis = 10_000 } = options
  const store = yield* ResourceStore
  const events = yield* NodeEvents
  const feed = yield* NodeFeed.make
  const entries = new Map<string, Entry>()
  const open = new Set<Deferred.Deferred<never, SessionEnd>>()
  const leases = Bell.make()

  /** Undefined: there are as many nodes as this controller serves. */
  const entryOf = (node: string, nowMillis: number): Entry | undefined => {
    let entry = entries.get(node)
    if (entry !== undefined) return entry
    if (entries.size >= maxNodes) {
      for (const { leaseUntilMillis, node: other, session } of entries.values()) {
        if (entries.size < maxNodes) break
        if (session === undefined && leaseUntilMillis === Number.POSITIVE_INFINITY) entries.delete(other)
      }
    }
    if (entries.size >= maxNodes) return undefined
    entry = {
      node,
      instance: undefined,
      replaced: new Set(),
      session: undefined,
      leaseUntilMillis: nowMillis + leaseMillis,
      settledRevision: 0,
      turn: Semaphore.makeUnsafe(1),
    }
    entries.set(node, entry)
    leases.ring()
    return entry
  }

  const expire = Effect.fnUntraced(function* (entry: Entry) {
    // Its hello may have come while others were told.
    if (entry.leaseUntilMillis > (yield* Clock.currentTimeMillis)) return
    entry.leaseUntilMillis = Number.POSITIVE_INFINITY
    entry.replaced.clear()
    if (entry.session !== undefined) {
      const reason = `no heartbeat for ${leaseMillis} ms`
      Deferred.doneUnsafe(entry.session, Exit.fail(new SessionEnd({ kind: "Expired", reason })))
    }
    yield* Effect.logWarning("node lost", { node: entry.node })
    yield* events.lost(entry.node).pipe(
      Effect.timeout(lostTimeoutMillis),
      Effect.catchCause((cause) =>
        Effect.gen(function* () {
          yield* Effect.logError("the region was not told that a node is lost, trying again", cause)
          entry.leaseUntilMillis = (yield* Clock.currentTimeMillis) + heartbeatMillis
        }),
      ),
    )
  })

  const watchLeases = Effect.forever(
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const ended = [...entries.values()].filter((entry) => entry.leaseUntilMillis <= now)
      yield* Effect.forEach(ended, (entry) => entry.turn.withPermit(expire(entry)), {
        concurrency: 16,
        discard: true,
      })
      let next = Number.POSITIVE_INFINITY
      for (const { leaseUntilMillis } of entries.values()) next = Math.min(next, leaseUntilMillis)
      yield* leases.heard(next - now)
    }),
  )

  const grace = yield* Clock.currentTimeMillis
  for (const { key } of (yield* store.list({ kind: "Node" })).records) entryOf(key.name, grace)
  yield* Effect.forkScoped(watchLeases)
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      const reason = "the controller is going down"
      for (const end of open)
        Deferred.doneUnsafe(end, Exit.fail(new SessionEnd({ kind: "Unavailable", reason })))
    }),
  )

  /** The node's place is this session's until its scope ends. */
  const begin = Effect.fnUntraced(function* (
    entry: Entry,
    hello: Hello,
    end: Deferred.Deferred<never, SessionEnd>,
  ) {
    const { instance, node } = hello
    if (entry.replaced.has(instance)) {
      return yield* new SessionEnd({
        kind: "Replaced",
        reason: `a newer agent of ${node} is here, instance ${entry.instance}`,
      })
    }
    yield* Effect.mapError(
      events.hello(node, hello),
      ({ reason }) => new SessionEnd({ kind: "Refused", reason }),
    )
    if (entry.session !== undefined) {
      const reason = `replaced by a newer session of ${node}, instance ${instance}`
      Deferred.doneUnsafe(entry.session, Exit.fail(new SessionEnd({ kind: "Replaced", reason })))
    }
    if (entry.instance !== undefined && entry.instance !== instance) {
      entry.replaced.add(entry.instance)
      for (const oldest of entry.replaced)
        if (entry.replaced.size > maxReplaced) entry.replaced.delete(oldest)
    }
    entry.instance = instance
    entry.session = end
    entry.leaseUntilMillis = (yield* Clock.currentTimeMillis) + leaseMillis
    leases.ring()
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        if (entry.session === end) entry.session = undefined
      }),
    )
  })

  const serve = Effect.fnUntraced(function* (
    requests: Stream.Stream<AgentMessage, SessionEnd>,
    outbox: Queue.Queue<ControllerMessage, SessionEnd>,
  ) {
    const end = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const end = Deferred.makeUnsafe<never, SessionEnd>()
        open.add(end)
        return end
      }),
      (ended) => Effect.sync(() => open.delete(ended)),
    )
    const greeting = yield* Deferred.make<Hello>()
    const greeted = yield* Deferred.make<{ readonly entry: Entry; readonly mailbox: NodeFeed.Mailbox }>()
    let sentRevision = 0

    const report = Effect.fnUntraced(function* (message: AgentMessage) {
      const { entry, mailbox } = yield* Deferred.await(greeted)
      const { node } = entry
      entry.leaseUntilMillis = (yield* Clock.currentTimeMillis) + leaseMillis
      switch (message._tag) {
        case "Hello":
          return yield* new SessionEnd({ kind: "Malformed", reason: "a second hello" })
        case "InterfaceReport":
          return yield* events.interfaceReport(node, message)
        case "RouteReport":
          return yield* events.routeReport(node, message)
        case "Heartbeat": {
          const { sequence, settledRevision } = message
          if (settledRevision > entry.settledRevision && settledRevision <= sentRevision) {
            yield* events.settled(node, settledRevision)
            entry.settledRevision = settledRevision
          }
          // The agent's journal keeps up with the region also where nothing changes for this node.
          feed.mark(mailbox)
          yield* Queue.offer(outbox, { _tag: "Lease", sequence, leaseMillis })
        }
      }
    })

    const receive = Stream.runForEach(
      requests,
      Effect.fnUntraced(function* (message) {
        if (yield* Deferred.isDone(greeting)) return yield* report(message)
        if (message._tag !== "Hello") {
          return yield* new SessionEnd({ kind: "Malformed", reason: `${message._tag} before Hello` })
        }
        yield* Deferred.succeed(greeting, message)
      }),
    ).pipe(
      Effect.andThen(Effect.fail(new SessionEnd({ kind: "Gone", reason: "the agent ended the session" }))),
    )

    const send = Effect.gen(function* () {
      const hello = yield* Deferred.await(greeting).pipe(
        Effect.timeoutOrElse({
          duration: helloMillis,
          orElse: () =>
            Effect.fail(new SessionEnd({ kind: "Late", reason: `no hello within ${helloMillis} ms` })),
        }),
      )
      const entry = entryOf(hello.node, yield* Clock.currentTimeMillis)
      if (entry === undefined) {
        return yield* new SessionEnd({ kind: "Full", reason: `this controller serves ${maxNodes} nodes` })
      }
      yield* entry.turn.withPermit(begin(entry, hello, end))
      const mailbox = yield* feed.open(hello.node, end)
      const from = hello.regionUid === store.regionUid ? hello.revision : 0
      const { full, messages, revision } = yield* Effect.mapError(feed.since(mailbox, from), unavailable)
      const welcome = { heartbeatMillis, leaseMillis, regionUid: store.regionUid, full }
      yield* Queue.offer(outbox, { _tag: "Welcome", ...welcome })
      yield* Deferred.succeed(greeted, { entry, mailbox })
      yield* Queue.offerAll(outbox, messages)
      yield* Queue.offer(outbox, { _tag: "CaughtUp", revision })
      sentRevision = revision
      yield* Effect.logInfo("agent connected", { node: hello.node, instance: hello.instance, full, revision })
      while (true) {
        for (const message of yield* Queue.takeBetween(mailbox.messages, 1, outboxCapacity)) {
          // The mailbox was open before the difference was read: it may hold some of it. A mark says no news twice.
          if (message.revision <= sentRevision) continue
          if (message._tag === "CaughtUp") sentRevision = message.revision
          yield* Queue.offer(outbox, message)
        }
      }
    })
    return yield* Effect.raceAllFirst([receive, send, Deferred.await(end)])
  })

  return NodeSessions.of({
    session: (requests) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const outbox = yield* Queue.bounded<ControllerMessage, SessionEnd>(outboxCapacity)
          yield* Effect.forkScoped(
            Effect.scoped(serve(requests, outbox)).pipe(
              Effect.onExit((exit) =>
                Effect.sync(() => {
                  if (Exit.isFailure(exit)) Queue.failCauseUnsafe(outbox, exit.cause)
                }),
              ),
            ),
          )
          return Stream.fromQueue(outbox)
        }),
      ),
    nodes: Effect.sync(() =>
      Array.from(entries.values(), ({ instance, leaseUntilMillis, node, session }) => ({
        node,
        instance,
        connected: session !== undefined,
        leaseUntilMillis,
      })).sort((a, b) => (a.node < b.node ? -1 : 1)),
    ),
  })
})
