/**
 * The change feed: every change once, in order, to any number of watchers, each at its own pace.
 *
 * A watcher is a cursor and nothing else. It reads the next page after its cursor, hands it on, and reads again
 * when it is asked for more; with nothing to read it waits for the next commit's signal. So a slow watcher costs
 * the region no memory, and one that lags behind what is kept in memory reads from the table.
 *
 * `Tail` keeps the newest batches decoded, so that many watchers at the head share one copy.
 */
import { Deferred, Effect, Option, Stream } from "effect"
import { Compacted, type ChangeBatch, type StoreUnavailable } from "#protocol/store/ResourceStore.ts"

/** Changes read at once; a page ends with a whole revision. */
export const pageChanges = 256

/** Batches after the cursor, whole and in order; empty when there are none yet. */
export interface Page {
  readonly batches: ReadonlyArray<ChangeBatch>
  /** The feed starts after this revision. */
  readonly compacted: number
  /** Revision of the region when the page was read. */
  readonly revision: number
}

export interface ChangeFeed {
  readonly changes: (from: number) => Stream.Stream<ChangeBatch, Compacted | StoreUnavailable>
  /** Wakes the watchers that wait. To be called after each commit and when the store closes. */
  readonly signal: () => void
}

export const make = (read: (after: number) => Effect.Effect<Page, StoreUnavailable>): ChangeFeed => {
  let next = Deferred.makeUnsafe<void>()
  const signal = () => {
    const waiting = next
    next = Deferred.makeUnsafe<void>()
    Deferred.doneUnsafe(waiting, Effect.void)
  }
  const following = Effect.fnUntraced(function* (
    cursor: number,
  ): Effect.fn.Return<
    readonly [ReadonlyArray<ChangeBatch>, Option.Option<number>],
    Compacted | StoreUnavailable
  > {
    while (true) {
      // Taken before the read: a commit between the read and the wait is not missed.
      const awaited = next
      const page = yield* read(cursor)
      if (cursor < page.compacted) return yield* new Compacted({ from: cursor, oldest: page.compacted })
      // A cursor of another store, or of this one before a restore: it must list again.
      if (cursor > page.revision) return yield* new Compacted({ from: cursor, oldest: page.revision })
      const last = page.batches.at(-1)
      if (last !== undefined) return [page.batches, Option.some(last.revision)]
      yield* Deferred.await(awaited)
    }
  })
  /** What is no revision is before all of them: answered `Compacted`. */
  const changes = (from: number) => Stream.paginate(Number.isSafeInteger(from) ? from : -1, following)
  return { changes, signal }
}

/** Newest batches, bounded in number and bytes. One per store. */
export class Tail {
  /** Every change after this revision is in the tail. */
  private start: number
  private head: number
  private batches: Array<{ readonly batch: ChangeBatch; readonly bytes: number }> = []
  private bytes = 0
  private readonly bounds: { readonly batches: number; readonly bytes: number }

  constructor(revision: number, bounds = { batches: 1_024, bytes: 16 * 1_048_576 }) {
    this.start = revision
    this.head = revision
    this.bounds = bounds
  }

  /** Appends what was committed between two revisions. Where another writer came between, the tail starts anew. */
  append(
    previous: number,
    added: ReadonlyArray<{ readonly batch: ChangeBatch; readonly bytes: number }>,
    revision: number,
  ): void {
    if (previous !== this.head) this.forget(previous)
    for (const entry of added) {
      this.batches.push(entry)
      this.bytes += entry.bytes
    }
    this.head = revision
    let dropped = 0
    while (this.batches.length - dropped > this.bounds.batches || this.bytes > this.bounds.bytes) {
      const oldest = this.batches[dropped++]!
      this.bytes -= oldest.bytes
      this.start = oldest.batch.revision
    }
    if (dropped > 0) this.batches.splice(0, dropped)
  }

  /** Batches after a revision, or undefined when the table has to be asked. */
  after(revision: number): ReadonlyArray<ChangeBatch> | undefined {
    if (revision < this.start || revision > this.head) return undefined
    let first = this.batches.length
    while (first > 0 && this.batches[first - 1]!.batch.revision > revision) first--
    const page: Array<ChangeBatch> = []
    let changes = 0
    for (let index = first; index < this.batches.length && changes < pageChanges; index++) {
      const { batch } = this.batches[index]!
      page.push(batch)
      changes += batch.changes.length
    }
    return page
  }

  /** Everything up to a revision is left to the table. */
  forget(revision: number): void {
    this.batches = this.batches.filter(({ batch }) => batch.revision > revision)
    this.bytes = this.batches.reduce((sum, { bytes }) => sum + bytes, 0)
    this.start = Math.max(this.start, revision)
    this.head = Math.max(this.head, revision)
  }

  get revision(): number {
    return this.head
  }
}
