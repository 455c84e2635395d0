/**
 * The gateway's Watch: the store's change feed, narrowed to one kind, namespace and selection.
 *
 * Without a revision the present state comes first, each as ADDED, then a bookmark. A resource that leaves the
 * selection is DELETED to this watcher, one that enters is ADDED. After a start from a revision the gateway does
 * not know what the watcher has: a resource outside of the selection is then told DELETED as well, which costs a
 * watcher nothing. Bookmarks keep the revision of a quiet watcher fresh.
 *
 * Nothing is buffered for a slow reader: the feed is read as fast as the reader takes it, and one that falls behind
 * what the store keeps is told that its revision is compacted. Cost: one key in memory per resource told.
 */
import { Effect, Stream } from "effect"
import { WatchResponse_Type } from "#gen/ferrite/gateway/v1/gateway_pb.ts"
import { matches, type Requirement } from "#protocol/resource/LabelSelector.ts"
import { formatKey } from "#protocol/resource/Resource.ts"
import {
  type Change,
  type ChangeBatch,
  type Compacted,
  ResourceStore,
  type StoredRecord,
  type StoreUnavailable,
} from "#protocol/store/ResourceStore.ts"
import { resourceOf } from "./Present.ts"

export interface Selection {
  readonly kind: string
  /** Empty: all. */
  readonly namespace: string
  readonly requirements: ReadonlyArray<Requirement>
}

/** One message of a watch, as `ferrite.gateway.v1.WatchResponse`. */
export interface WatchMessage {
  readonly type: WatchResponse_Type
  readonly resource?: ReturnType<typeof resourceOf>
  readonly revision: bigint
}

/** A watcher to which nothing was said over this many revisions gets a bookmark. */
const bookmarkEvery = 128

const about = (selection: Selection, record: StoredRecord): boolean =>
  record.key.kind === selection.kind &&
  (selection.namespace === "" || record.key.namespace === selection.namespace)

const message = (type: WatchResponse_Type, record: StoredRecord, revision: number): WatchMessage => ({
  type,
  resource: resourceOf(record),
  revision: BigInt(revision),
})

const bookmark = (revision: number): WatchMessage => ({
  type: WatchResponse_Type.BOOKMARK,
  revision: BigInt(revision),
})

/** Turns changes into messages; remembers which keys this watcher has been told of. */
export const makeTeller = (selection: Selection, present: ReadonlyArray<StoredRecord>, complete: boolean) => {
  const told = new Set(present.map(({ key }) => formatKey(key)))
  let saidAt = 0

  const tell = ({ _tag, record, revision }: Change): WatchMessage | undefined => {
    if (!about(selection, record)) return undefined
    const key = formatKey(record.key)
    if (_tag === "Put" && matches(selection.requirements, record.labels)) {
      const type = told.has(key) ? WatchResponse_Type.MODIFIED : WatchResponse_Type.ADDED
      told.add(key)
      return message(type, record, revision)
    }
    return told.delete(key) || !complete ? message(WatchResponse_Type.DELETED, record, revision) : undefined
  }

  return (batch: ChangeBatch): ReadonlyArray<WatchMessage> => {
    const messages = batch.changes.flatMap((change) => tell(change) ?? [])
    if (messages.length > 0) {
      saidAt = batch.revision
      return messages
    }
    if (batch.revision - saidAt < bookmarkEvery) return []
    saidAt = batch.revision
    return [bookmark(batch.revision)]
  }
}

/** `fromRevision` 0: the present state first. */
export const watch = (
  selection: Selection,
  fromRevision: number,
): Stream.Stream<WatchMessage, Compacted | StoreUnavailable, ResourceStore> =>
  Stream.unwrap(
    ResourceStore.use((store) => {
      const follow = (from: number, present: ReadonlyArray<StoredRecord>, complete: boolean) => {
        const tell = makeTeller(selection, present, complete)
        return store.changes(from).pipe(Stream.flatMap((batch) => Stream.fromIterable(tell(batch))))
      }
      if (fromRevision > 0) return Effect.succeed(follow(fromRevision, [], false))
      return Effect.map(
        store.list({
          kind: selection.kind,
          ...(selection.namespace === "" ? {} : { namespace: selection.namespace }),
        }),
        ({ records, revision }) => {
          const present = records.filter(({ labels }) => matches(selection.requirements, labels))
          const first = present.map((record) => message(WatchResponse_Type.ADDED, record, record.revision))
          return Stream.concat(
            Stream.fromIterable([...first, bookmark(revision)]),
            follow(revision, present, true),
          )
        },
      )
    }),
  )
