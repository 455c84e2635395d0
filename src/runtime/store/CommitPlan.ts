/**
 * What a commit would do, decided without doing it. Every layer of the store asks this one function, so they
 * can't disagree about revisions, claims, events or what counts as a change; a layer only loads and writes rows.
 *
 * `prepare` checks bounds and fixes texts in the caller's fiber, before the commit waits for its turn.
 * `decide` is pure and total: a view of the rows that the commit touches and a revision in, a decision or the
 * reason against it out. It never changes the view: the layer applies a decision, then asks for the next.
 */
import { Effect } from "effect"
import { formatKey, parseKey, type ResourceKey } from "#protocol/resource/Resource.ts"
import {
  ClaimTaken,
  CommitRejected,
  RevisionConflict,
  type Claim,
  type Commit,
  type EventNote,
  type StoredEvent,
  type StoredRecord,
} from "#protocol/store/ResourceStore.ts"
import { canonicalJson, parseFrozen } from "./CanonicalJson.ts"

/** Bounds of one commit. What breaks one is answered `CommitRejected`. */
export const limits = {
  /** Writes, claims and releases together. */
  entries: 1_000,
  events: 1_000,
  /** UTF-8 bytes of one value, or of one command result. */
  valueBytes: 1_048_576,
  /** UTF-8 bytes of all values together. */
  commitBytes: 32 * 1_048_576,
  labels: 256,
  references: 4_096,
  /** Characters of a name, of a text (pool, value, label, command id, uid), of an event's reason and message. */
  nameLength: 253,
  textLength: 1_024,
  reasonLength: 128,
  messageLength: 1_024,
} as const

/** How long and how many events outlive what they are about. */
export const eventPolicy = {
  perResource: 64,
  removedMillis: 3_600_000,
  /** Removed resources whose events are still kept. */
  removedResources: 4_096,
} as const

/** A record as the layers keep it: texts are canonical, `id` is the formatted key. */
export interface Row {
  readonly id: string
  readonly key: ResourceKey
  readonly uid: string
  readonly revision: number
  readonly labels: string
  /** Formatted keys, sorted, each once. */
  readonly references: string
  readonly value: string
  /** Made on first use by `toRecord`, then shared: frozen. */
  record?: StoredRecord
}

export const toRecord = (row: Row): StoredRecord =>
  (row.record ??= {
    key: row.key,
    uid: row.uid,
    revision: row.revision,
    labels: parseFrozen(row.labels) as StoredRecord["labels"],
    references: referencesOf(row).map(parseKey),
    value: parseFrozen(row.value),
  })

export const referencesOf = (row: Row): ReadonlyArray<string> =>
  row.references === "[]" ? [] : (JSON.parse(row.references) as ReadonlyArray<string>)

/** Events of one resource, the latest last. `expiresMillis` null: the resource is there. */
export interface Journal {
  readonly about: string
  readonly expiresMillis: number | null
  readonly events: ReadonlyArray<StoredEvent>
}

interface PreparedWrite {
  readonly row: Row
  readonly remove: boolean
  readonly expectedRevision: number | undefined
}

export interface PreparedClaim {
  readonly pool: string
  readonly value: string
  readonly owner: string
}

export interface Prepared {
  readonly writes: ReadonlyArray<PreparedWrite>
  readonly claims: ReadonlyArray<PreparedClaim>
  readonly releases: ReadonlyArray<PreparedClaim>
  readonly events: ReadonlyArray<EventNote & { readonly id: string }>
  readonly command: { readonly id: string; readonly result: string } | undefined
}

/** The rows that a prepared commit looks at. */
export interface View {
  readonly row: (id: string) => Row | undefined
  readonly owner: (pool: string, value: string) => string | undefined
  readonly journal: (about: string) => Journal | undefined
}

/** `before` is the row that was there; of a removal `row` is that row with the new revision. */
export interface RowChange {
  readonly _tag: "Put" | "Remove"
  readonly row: Row
  readonly before: Row | undefined
}

export interface Decision {
  readonly revision: number
  readonly changed: boolean
  readonly changes: ReadonlyArray<RowChange>
  /** `owner` undefined: the value is free now. */
  readonly owners: ReadonlyArray<{ pool: string; value: string; owner: string | undefined }>
  readonly journals: ReadonlyArray<Journal>
  readonly command: Prepared["command"]
}

// ---------------------------------------------------------------------------------------------- prepare

export const prepare = (commit: Commit): Effect.Effect<Prepared, CommitRejected> =>
  Effect.try({
    try: () => prepareUnsafe(commit),
    catch: (cause) => new CommitRejected({ reason: cause instanceof Error ? cause.message : String(cause) }),
  })

const prepareUnsafe = (commit: Commit): Prepared => {
  const { writes = [], claims = [], releases = [], events = [], command } = commit
  const entries = writes.length + claims.length + releases.length
  require(entries <= limits.entries, () => `${entries} writes, claims and releases, ${limits.entries} may be`)
  require(events.length <= limits.events, () => `${events.length} events, ${limits.events} may be`)
  let bytes = 0
  const text = (what: string, value: unknown): string => {
    let canonical: string
    try {
      canonical = canonicalJson(value)
    } catch (cause) {
      throw new Error(`${what} ${(cause as Error).message}`, { cause })
    }
    const size = Buffer.byteLength(canonical)
    require(size <= limits.valueBytes, () => `${what} has ${size} bytes, ${limits.valueBytes} may be`)
    bytes += size
    return canonical
  }
  const seen = new Set<string>()
  const preparedWrites = writes.map((write): PreparedWrite => {
    const id = checkedId(write.key)
    require(!seen.has(id), () => `${id} is written twice in one commit`)
    seen.add(id)
    const { expectedRevision } = write
    require(expectedRevision === undefined ||
      (Number.isSafeInteger(expectedRevision) && expectedRevision >= 0), () =>
      `${id}: the expected revision ${expectedRevision} is no revision`)
    const put = write._tag === "Put" ? write : undefined
    if (put !== undefined) checkText(`${id}: uid`, put.uid, 0)
    const row: Row = {
      id,
      key: { kind: write.key.kind, namespace: write.key.namespace, name: write.key.name },
      uid: put?.uid ?? "",
      revision: 0,
      labels: put === undefined ? "{}" : labelsText(id, put.labels),
      references: put === undefined ? "[]" : referencesText(id, put.references),
      value: put === undefined ? "null" : text(`${id}: value`, put.value),
    }
    return { row, remove: put === undefined, expectedRevision }
  })
  const result = command === undefined ? undefined : text("the command's result", command.result)
  if (command !== undefined) checkText("the command's id", command.id)
  require(bytes <= limits.commitBytes, () => `${bytes} bytes of values, ${limits.commitBytes} may be`)
  return {
    writes: preparedWrites,
    claims: claims.map(preparedClaim),
    releases: releases.map(preparedClaim),
    events: events.map((note) => ({
      id: checkedId(note.about),
      about: note.about,
      type: note.type,
      reason: shortened(note.reason, limits.reasonLength),
      message: shortened(note.message, limits.messageLength),
    })),
    command: command === undefined ? undefined : { id: command.id, result: result! },
  }
}

const require = (holds: boolean, reason: () => string): void => {
  if (!holds) throw new Error(reason())
}

/** Printable ASCII without a slash, so that formatted keys are unique and sort alike in every database. */
const namePattern = /^[!-.0-~]*$/
const textPattern = /^[^\p{Cc}\p{Cs}]*$/u

const checkedId = (key: ResourceKey): string => {
  for (const part of ["kind", "namespace", "name"] as const) {
    const name = key[part]
    require(typeof name === "string" && name.length <= limits.nameLength && namePattern.test(name), () =>
      `the ${part} of ${formatKey(key).slice(0, 300)} has to be printable ASCII without "/", at most ${limits.nameLength} characters`)
    require(part === "namespace" || name.length > 0, () => `the ${part} of ${formatKey(key)} is empty`)
  }
  return formatKey(key)
}

const checkText = (what: string, text: unknown, least = 1): void =>
  require(typeof text === "string" &&
    text.length >= least &&
    text.length <= limits.textLength &&
    textPattern.test(text), () =>
    `${what} has to be text of ${least} to ${limits.textLength} characters without control characters`)

const labelsText = (id: string, labels: Readonly<Record<string, string>>): string => {
  const names = Object.keys(labels)
  require(names.length <= limits.labels, () => `${id}: ${names.length} labels, ${limits.labels} may be`)
  for (const name of names) {
    checkText(`${id}: a label's name`, name)
    checkText(`${id}: the label ${name}`, labels[name], 0)
  }
  return canonicalJson(labels)
}

const referencesText = (id: string, references: ReadonlyArray<ResourceKey>): string => {
  if (references.length === 0) return "[]"
  require(references.length <= limits.references, () =>
    `${id}: ${references.length} references, ${limits.references} may be`)
  return JSON.stringify([...new Set(references.map(checkedId))].sort())
}

const preparedClaim = (claim: Claim): PreparedClaim => {
  checkText("a claim's pool", claim.pool)
  checkText("a claim's value", claim.value)
  return { pool: claim.pool, value: claim.value, owner: checkedId(claim.owner) }
}

const shortened = (text: string, length: number): string => {
  const whole = String(text).toWellFormed()
  return whole.length <= length ? whole : `${whole.slice(0, length - 1).toWellFormed()}…`
}

// ----------------------------------------------------------------------------------------------- decide

export const decide = (
  view: View,
  commit: Prepared,
  revisionNow: number,
  nowMillis: number,
): Decision | RevisionConflict | ClaimTaken => {
  const revision = revisionNow + 1
  const changes: Array<RowChange> = []
  for (const { row, remove, expectedRevision } of commit.writes) {
    const before = view.row(row.id)
    const actual = before?.revision ?? 0
    if (expectedRevision !== undefined && expectedRevision !== actual) {
      return new RevisionConflict({ key: row.key, expected: expectedRevision, actual })
    }
    if (remove) {
      if (before !== undefined) changes.push({ _tag: "Remove", row: atRevision(before, revision), before })
    } else if (before === undefined || !sameContent(before, row)) {
      changes.push({ _tag: "Put", row: atRevision(row, revision), before })
    }
  }
  const owners = decideOwners(view, commit)
  if (owners instanceof ClaimTaken) return owners
  const changed = changes.length > 0 || owners.length > 0
  return {
    revision: changed ? revision : revisionNow,
    changed,
    changes,
    owners,
    journals: decideJournals(view, commit, changes, nowMillis),
    command: commit.command,
  }
}

const atRevision = ({ id, key, uid, labels, references, value }: Row, revision: number): Row => ({
  id,
  key,
  uid,
  revision,
  labels,
  references,
  value,
})

const sameContent = (a: Row, b: Row): boolean =>
  a.value === b.value && a.uid === b.uid && a.labels === b.labels && a.references === b.references

/** Releases come first, so that one commit can hand a value over. Only net changes are reported. */
const decideOwners = (view: View, commit: Prepared): Decision["owners"] | ClaimTaken => {
  if (commit.claims.length === 0 && commit.releases.length === 0) return []
  const next = new Map<string, { pool: string; value: string; owner: string | undefined }>()
  const ownerOf = ({ pool, value }: PreparedClaim) => {
    const decided = next.get(`${pool}\n${value}`)
    return decided === undefined ? view.owner(pool, value) : decided.owner
  }
  for (const release of commit.releases) {
    const { pool, value } = release
    if (ownerOf(release) === release.owner) next.set(`${pool}\n${value}`, { pool, value, owner: undefined })
  }
  for (const claim of commit.claims) {
    const { pool, value, owner } = claim
    const present = ownerOf(claim)
    if (present === owner) continue
    if (present !== undefined) return new ClaimTaken({ pool, value, owner: parseKey(present) })
    next.set(`${pool}\n${value}`, { pool, value, owner })
  }
  return [...next.values()].filter(({ pool, value, owner }) => view.owner(pool, value) !== owner)
}

const decideJournals = (
  view: View,
  commit: Prepared,
  changes: ReadonlyArray<RowChange>,
  nowMillis: number,
): ReadonlyArray<Journal> => {
  const next = new Map<string, Journal>()
  for (const { id, ...note } of commit.events) {
    const events = (next.get(id) ?? unexpired(view.journal(id), nowMillis))?.events ?? []
    const earlier = events.find(
      (event) => event.type === note.type && event.reason === note.reason && event.message === note.message,
    )
    const event: StoredEvent = {
      ...note,
      firstSeenMillis: earlier?.firstSeenMillis ?? nowMillis,
      lastSeenMillis: nowMillis,
      count: (earlier?.count ?? 0) + 1,
    }
    const kept = [...events.filter((other) => other !== earlier), event].slice(-eventPolicy.perResource)
    next.set(id, { about: id, expiresMillis: null, events: kept })
  }
  const fate = new Map(changes.map(({ _tag, row }) => [row.id, _tag]))
  for (const [id, tag] of fate) {
    const journal = tag === "Remove" && !next.has(id) ? unexpired(view.journal(id), nowMillis) : undefined
    if (journal !== undefined) next.set(id, journal)
  }
  const expiresMillis = nowMillis + eventPolicy.removedMillis
  return [...next.values()].map((journal) => {
    const tag = fate.get(journal.about)
    const there = tag === undefined ? view.row(journal.about) !== undefined : tag === "Put"
    return { ...journal, expiresMillis: there ? null : expiresMillis }
  })
}

/** What is over is over, whether it was swept already or not. */
export const unexpired = (journal: Journal | undefined, nowMillis: number): Journal | undefined =>
  journal === undefined || (journal.expiresMillis !== null && journal.expiresMillis <= nowMillis)
    ? undefined
    : journal

/** Numbers ascending, then texts: the order of `claims`. */
export const compareClaimValues = (a: string, b: string): number => {
  const [left, right] = [decimal.test(a), decimal.test(b)]
  if (left !== right) return left ? -1 : 1
  if (left && a.length !== b.length) return a.length - b.length
  return a < b ? -1 : a > b ? 1 : 0
}

const decimal = /^(0|[1-9][0-9]*)$/
