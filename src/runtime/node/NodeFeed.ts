/**
 * The region's change feed, sorted by node: one reader of the store for all sessions of a controller.
 *
 * A session opens a mailbox and from then on gets every change of its node's interfaces, in order, with a mark
 * after each revision. What happened before it reads from the store itself: `since` gives the difference from a
 * revision, the last word on each interface, or everything where the store no longer reaches back.
 *
 * A mailbox that is full is closed and its session told so; the agent comes back and resumes. Nobody waits for it.
 */
import { Clock, Deferred, Effect, Option, Queue, Random, Result, type Scope, Stream } from "effect"
import { decodeHostInterface, hostInterfaceKind } from "#protocol/node/HostInterface.ts"
import type { CaughtUp, Removal, Upsert } from "#protocol/node/NodeMessages.ts"
import {
  type Change,
  ResourceStore,
  type StoredRecord,
  type StoreUnavailable,
} from "#protocol/store/ResourceStore.ts"
import { backoffMillis, defaultBackoff } from "../supervision/RestartPolicy.ts"
import { SessionEnd } from "./SessionEnd.ts"

/** Changes of one node that wait for its session. */
export const mailboxCapacity = 4096

export type Desired = Upsert | Removal | CaughtUp

/** One per session. */
export interface Mailbox {
  readonly node: string
  readonly messages: Queue.Queue<Desired>
  /** Fails when the mailbox is closed by the feed. */
  readonly end: Deferred.Deferred<never, SessionEnd>
  /** Changes up to here are not in it. */
  readonly since: number
}

export interface Snapshot {
  /** Everything is named; otherwise only what changed. */
  readonly full: boolean
  readonly messages: ReadonlyArray<Upsert | Removal>
  /** What the messages bring the reader to. */
  readonly revision: number
}

export interface NodeFeed {
  /** Registered until the scope ends. */
  readonly open: (
    node: string,
    end: Deferred.Deferred<never, SessionEnd>,
  ) => Effect.Effect<Mailbox, never, Scope.Scope>
  /** From a revision (0: none) to at least where the mailbox begins. */
  readonly since: (mailbox: Mailbox, revision: number) => Effect.Effect<Snapshot, StoreUnavailable>
  /** Puts a mark of the present revision behind what is in the mailbox. */
  readonly mark: (mailbox: Mailbox) => void
}

const upsert = (record: StoredRecord): Effect.Effect<Option.Option<Upsert>> => {
  const decoded = decodeHostInterface(record.value)
  // Written by a region actor and still not readable: a bug, of which one interface is to suffer and no other.
  return Result.isFailure(decoded)
    ? Effect.as(
        Effect.logError("an interface in the store can't be read", {
          key: record.key,
          reason: decoded.failure.message,
        }),
        Option.none(),
      )
    : Effect.succeedSome({ _tag: "Upsert", revision: record.revision, interface: decoded.success })
}

const toMessage = (change: Change): Effect.Effect<Option.Option<Upsert | Removal>> =>
  change._tag === "Put"
    ? upsert(change.record)
    : Effect.succeedSome({ _tag: "Removal", revision: change.revision, uid: change.record.key.name })

const isOf = (node: string, change: Change): boolean =>
  change.record.key.kind === hostInterfaceKind && change.record.key.namespace === node

/** Reads until the scope ends. */
export const make = Effect.gen(function* () {
  const store = yield* ResourceStore
  const mailboxes = new Map<string, Set<Mailbox>>()
  let revision = yield* store.revision

  const close = (mailbox: Mailbox, end: SessionEnd) => Deferred.doneUnsafe(mailbox.end, Effect.fail(end))
  const put = (mailbox: Mailbox, message: Desired) => {
    if (Queue.offerUnsafe(mailbox.messages, message)) return
    const reason = `this agent is ${mailboxCapacity} changes behind: it resumes when it connects again`
    close(mailbox, new SessionEnd({ kind: "Slow", reason }))
  }

  const follow = Stream.runForEach(
    Stream.suspend(() => store.changes(revision)),
    Effect.fnUntraced(function* (batch) {
      const touched = new Set<Mailbox>()
      for (const change of batch.changes) {
        if (change.record.key.kind !== hostInterfaceKind) continue
        const open = mailboxes.get(change.record.key.namespace)
        if (open === undefined) continue
        const message = yield* toMessage(change)
        if (Option.isNone(message)) continue
        for (const mailbox of open) {
          put(mailbox, message.value)
          touched.add(mailbox)
        }
      }
      revision = batch.revision
      for (const mailbox of touched) put(mailbox, { _tag: "CaughtUp", revision })
    }),
  )
  const restart = Effect.gen(function* () {
    for (let attempt = 1; ; attempt++) {
      const startedMillis = yield* Clock.currentTimeMillis
      yield* follow.pipe(
        Effect.catchTag("Compacted", ({ oldest }) =>
          // Changes are lost to the sessions that wait for them: they begin again.
          Effect.gen(function* () {
            const end = new SessionEnd({
              kind: "Unavailable",
              reason: "the change feed was cut off: connect again",
            })
            for (const open of mailboxes.values()) for (const mailbox of open) close(mailbox, end)
            revision = yield* Effect.orElseSucceed(store.revision, () => oldest)
          }),
        ),
        Effect.catchCause((cause) => Effect.logWarning("the change feed broke", cause)),
      )
      if ((yield* Clock.currentTimeMillis) - startedMillis > defaultBackoff.capMillis) attempt = 1
      yield* Effect.sleep(backoffMillis(defaultBackoff, attempt, yield* Random.next))
    }
  })
  yield* Effect.forkScoped(restart)

  const open: NodeFeed["open"] = (node, end) =>
    Effect.acquireRelease(
      Effect.gen(function* () {
        const messages = yield* Queue.dropping<Desired>(mailboxCapacity)
        const mailbox: Mailbox = { node, messages, end, since: revision }
        const open = mailboxes.get(node) ?? new Set()
        mailboxes.set(node, open.add(mailbox))
        return mailbox
      }),
      (mailbox) =>
        Effect.sync(() => {
          const open = mailboxes.get(node)
          open?.delete(mailbox)
          if (open?.size === 0) mailboxes.delete(node)
        }),
    )

  const everything = Effect.fnUntraced(function* (node: string) {
    const listed = yield* store.list({ kind: hostInterfaceKind, namespace: node })
    const messages = yield* Effect.forEach(listed.records, upsert)
    return { full: true, messages: messages.flatMap(Option.toArray), revision: listed.revision }
  })

  const difference = Effect.fnUntraced(function* (mailbox: Mailbox, from: number) {
    const last = new Map<string, Upsert | Removal>()
    let reached = from
    if (from < mailbox.since) {
      yield* Stream.runForEachWhile(
        store.changes(from),
        Effect.fnUntraced(function* (batch) {
          for (const change of batch.changes) {
            if (!isOf(mailbox.node, change)) continue
            const message = yield* toMessage(change)
            if (Option.isNone(message)) continue
            last.delete(change.record.key.name)
            last.set(change.record.key.name, message.value)
          }
          reached = batch.revision
          return reached < mailbox.since
        }),
      )
    }
    return { full: false, messages: [...last.values()], revision: reached }
  })

  return {
    open,
    mark: (mailbox) => put(mailbox, { _tag: "CaughtUp", revision }),
    since: Effect.fnUntraced(function* (mailbox: Mailbox, from: number) {
      // A revision that the store has not reached is another store's, or a later one's than its backup.
      if (from === 0 || from > (yield* store.revision)) return yield* everything(mailbox.node)
      return yield* Effect.catchTag(difference(mailbox, from), "Compacted", () => everything(mailbox.node))
    }),
  } satisfies NodeFeed
})
