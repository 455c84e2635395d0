/**
 * The store in memory: for tests and simulations, and for a region that need not outlive its process.
 * Everything is decided by `CommitPlan` and applied at once; nothing waits, so a commit takes no virtual time.
 *
 * Bounds: records and claims as many as are put; changes, command results and events as in `StoreOptions`.
 */
import { Clock, Effect, Layer, Option, Random } from "effect"
import { uidFrom } from "#protocol/Ids.ts"
import { formatKey, parseKey } from "#protocol/resource/Resource.ts"
import { ResourceStore, type ChangeBatch } from "#protocol/store/ResourceStore.ts"
import * as ChangeFeed from "./ChangeFeed.ts"
import * as CommitPlan from "./CommitPlan.ts"
import type { Decision, Journal, Row } from "./CommitPlan.ts"
import { parseFrozen } from "./CanonicalJson.ts"
import { feedSlack, resolveOptions, type StoreOptions } from "./StoreOptions.ts"

export const make = Effect.fnUntraced(function* (options?: StoreOptions) {
  const { keepChanges, keepCommands } = resolveOptions(options)
  const regionUid = uidFrom(yield* Random.Random)
  const records = new Map<string, Row>()
  const shelves = new Shelves()
  const referrers = new Map<string, Set<string>>()
  const pools = new Map<string, Map<string, string>>()
  const journals = new Map<string, Journal>()
  /** Those of removed resources, in the order in which they expire. */
  const expiring = new Map<string, number>()
  const commands = new Map<string, string>()
  const commandRing: Array<string> = []
  let nextCommand = 0
  let batches: Array<ChangeBatch> = []
  let revision = 0
  let compacted = 0
  let changeCount = 0

  const view: CommitPlan.View = {
    row: (id) => records.get(id),
    owner: (pool, value) => pools.get(pool)?.get(value),
    journal: (about) => journals.get(about),
  }

  const feed = ChangeFeed.make((after) =>
    Effect.sync(() => ({ batches: after < compacted ? [] : pageAfter(batches, after), compacted, revision })),
  )

  const compactTo = (to: number) => {
    if (!(to > compacted)) return
    compacted = to
    const first = firstAfter(batches, to)
    for (let index = 0; index < first; index++) changeCount -= batches[index]!.changes.length
    batches = batches.slice(first)
  }

  const retain = () => {
    if (changeCount <= keepChanges + feedSlack(keepChanges)) return
    let surplus = changeCount - keepChanges
    let index = 0
    while (batches[index]!.changes.length <= surplus) surplus -= batches[index++]!.changes.length
    if (index > 0) compactTo(batches[index - 1]!.revision)
  }

  const applyJournals = (decided: ReadonlyArray<Journal>, nowMillis: number) => {
    for (const journal of decided) {
      journals.set(journal.about, journal)
      expiring.delete(journal.about)
      if (journal.expiresMillis !== null) expiring.set(journal.about, journal.expiresMillis)
    }
    for (const [about, expiresMillis] of expiring) {
      if (expiresMillis > nowMillis && expiring.size <= CommitPlan.eventPolicy.removedResources) break
      expiring.delete(about)
      journals.delete(about)
    }
  }

  const apply = (decision: Decision, nowMillis: number) => {
    for (const { _tag, row, before } of decision.changes) {
      if (before !== undefined) {
        for (const target of CommitPlan.referencesOf(before)) drop(referrers, target, row.id)
      }
      if (_tag === "Remove") {
        records.delete(row.id)
        shelves.delete(row)
      } else {
        records.set(row.id, row)
        shelves.set(row)
        for (const target of CommitPlan.referencesOf(row)) add(referrers, target, row.id)
      }
    }
    for (const { pool, value, owner } of decision.owners) {
      const values = pools.get(pool) ?? new Map<string, string>()
      if (owner === undefined) values.delete(value)
      else values.set(value, owner)
      if (values.size === 0) pools.delete(pool)
      else pools.set(pool, values)
    }
    if (decision.journals.length > 0) applyJournals(decision.journals, nowMillis)
    if (decision.command !== undefined && !commands.has(decision.command.id)) {
      const { id, result } = decision.command
      // The oldest gives its place in the ring to the newest.
      if (commands.size >= keepCommands) commands.delete(commandRing[nextCommand]!)
      commands.set(id, result)
      commandRing[nextCommand] = id
      nextCommand = (nextCommand + 1) % keepCommands
    }
    revision = decision.revision
    if (decision.changes.length > 0) {
      const changes = decision.changes.map(({ _tag, row }) => ({
        _tag,
        revision,
        record: CommitPlan.toRecord(row),
      }))
      batches.push({ revision, changes })
      changeCount += changes.length
      retain()
    }
    if (decision.changed) feed.signal()
  }

  return ResourceStore.of({
    regionUid,
    revision: Effect.sync(() => revision),
    get: (key) =>
      Effect.sync(() => Option.map(Option.fromNullishOr(records.get(formatKey(key))), CommitPlan.toRecord)),
    list: (query) =>
      Effect.sync(() => {
        const wanted = Object.entries(query.labels ?? {})
        const found = shelves.rows(query.kind, query.namespace).map(CommitPlan.toRecord)
        return {
          records: wanted.length === 0 ? found : found.filter((record) => hasLabels(record.labels, wanted)),
          revision,
        }
      }),
    referrers: (key) => Effect.sync(() => [...(referrers.get(formatKey(key)) ?? [])].sort().map(parseKey)),
    commit: Effect.fnUntraced(function* (commit) {
      const prepared = yield* CommitPlan.prepare(commit)
      const nowMillis = yield* Clock.currentTimeMillis
      const decision = CommitPlan.decide(view, prepared, revision, nowMillis)
      if ("_tag" in decision) return yield* decision
      apply(decision, nowMillis)
      return { revision: decision.revision, changed: decision.changed }
    }),
    commandResult: (id) => Effect.sync(() => Option.map(Option.fromNullishOr(commands.get(id)), parseFrozen)),
    claims: (pool) =>
      Effect.sync(() =>
        [...(pools.get(pool) ?? [])]
          .sort(([a], [b]) => CommitPlan.compareClaimValues(a, b))
          .map(([value, owner]) => ({ pool, value, owner: parseKey(owner) })),
      ),
    changes: feed.changes,
    events: (about) =>
      Effect.map(
        Clock.currentTimeMillis,
        (now) => CommitPlan.unexpired(journals.get(formatKey(about)), now)?.events ?? [],
      ),
    compact: (to) => Effect.sync(() => compactTo(Math.min(Math.floor(to), revision))),
  })
})

export const layer = (options?: StoreOptions): Layer.Layer<ResourceStore> =>
  Layer.effect(ResourceStore, make(options))

/** Records by kind and namespace; the order of names is kept until the set of names changes. */
class Shelves {
  private readonly kinds = new Map<string, Map<string, Map<string, Row>>>()
  private readonly orders = new WeakMap<Map<string, Row>, ReadonlyArray<string>>()

  set(row: Row): void {
    const { kind, namespace, name } = row.key
    let namespaces = this.kinds.get(kind)
    if (namespaces === undefined) this.kinds.set(kind, (namespaces = new Map()))
    let shelf = namespaces.get(namespace)
    if (shelf === undefined) namespaces.set(namespace, (shelf = new Map()))
    if (!shelf.has(name)) this.orders.delete(shelf)
    shelf.set(name, row)
  }

  delete({ key: { kind, namespace, name } }: Row): void {
    const shelf = this.kinds.get(kind)?.get(namespace)
    if (shelf === undefined) return
    shelf.delete(name)
    this.orders.delete(shelf)
    if (shelf.size === 0) this.kinds.get(kind)!.delete(namespace)
  }

  rows(kind: string, namespace: string | undefined): ReadonlyArray<Row> {
    const namespaces = this.kinds.get(kind)
    if (namespaces === undefined) return []
    const wanted = namespace === undefined ? [...namespaces.keys()].sort() : [namespace]
    return wanted.flatMap((name) => {
      const shelf = namespaces.get(name)
      return shelf === undefined ? [] : this.order(shelf).map((name) => shelf.get(name)!)
    })
  }

  private order(shelf: Map<string, Row>): ReadonlyArray<string> {
    let order = this.orders.get(shelf)
    if (order === undefined) this.orders.set(shelf, (order = [...shelf.keys()].sort()))
    return order
  }
}

const hasLabels = (
  labels: Readonly<Record<string, string>>,
  wanted: ReadonlyArray<readonly [string, string]>,
) => wanted.every(([name, value]) => Object.hasOwn(labels, name) && labels[name] === value)

const add = (map: Map<string, Set<string>>, key: string, member: string) => {
  const set = map.get(key)
  if (set === undefined) map.set(key, new Set([member]))
  else set.add(member)
}

const drop = (map: Map<string, Set<string>>, key: string, member: string) => {
  const set = map.get(key)
  if (set?.delete(member) && set.size === 0) map.delete(key)
}

/** Index of the first batch after a revision. */
const firstAfter = (batches: ReadonlyArray<ChangeBatch>, revision: number): number => {
  let low = 0
  let high = batches.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (batches[middle]!.revision <= revision) low = middle + 1
    else high = middle
  }
  return low
}

const pageAfter = (batches: ReadonlyArray<ChangeBatch>, revision: number): ReadonlyArray<ChangeBatch> => {
  const first = firstAfter(batches, revision)
  let end = first
  for (let changes = 0; end < batches.length && changes < ChangeFeed.pageChanges; end++) {
    changes += batches[end]!.changes.length
  }
  return batches.slice(first, end)
}
