/**
 * The store as one would explain it: arrays, copies, no index, nothing shared with the implementation. Used to
 * check that every layer gives the same answers as this for any course of commits.
 */
import type { ResourceKey } from "#protocol/resource/Resource.ts"
import type { Claim, Commit, Put } from "#protocol/store/ResourceStore.ts"

const id = (key: ResourceKey) => [key.kind, key.namespace, key.name].join("/")

/** JSON with sorted keys, by the plainest way there is. */
const plain = (value: unknown): string =>
  JSON.stringify(value, (_key, member: unknown) =>
    typeof member === "object" && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  )

interface Kept {
  readonly put: Put
  readonly revision: number
}

const content = ({ uid, labels, references, value }: Put) =>
  plain({ uid, labels, references: [...new Set(references.map(id))].sort(), value })

export class Oracle {
  revision = 0
  records: ReadonlyArray<Kept> = []
  claims: ReadonlyArray<Claim> = []
  commands: ReadonlyArray<readonly [string, unknown]> = []
  /** Revision, then what changed in it. */
  feed: ReadonlyArray<readonly [number, ...ReadonlyArray<string>]> = []

  /** The outcome in words. */
  commit({ writes = [], claims = [], releases = [], command }: Commit): string {
    let records = this.records
    let owned = this.claims
    const changes: Array<string> = []
    const next = this.revision + 1
    for (const write of writes) {
      const present = records.find(({ put }) => id(put.key) === id(write.key))
      const actual = present?.revision ?? 0
      if (write.expectedRevision !== undefined && write.expectedRevision !== actual) {
        return `RevisionConflict ${id(write.key)} ${write.expectedRevision} ${actual}`
      }
      const rest = records.filter((record) => record !== present)
      if (write._tag === "Remove") {
        if (present !== undefined) changes.push(`Remove ${id(write.key)} ${content(present.put)}`)
        records = rest
      } else if (present === undefined || content(present.put) !== content(write)) {
        changes.push(`Put ${id(write.key)} ${content(write)}`)
        records = [...rest, { put: write, revision: next }]
      }
    }
    const same = (a: Claim, b: Claim) => a.pool === b.pool && a.value === b.value
    for (const release of releases) {
      owned = owned.filter((claim) => !(same(claim, release) && id(claim.owner) === id(release.owner)))
    }
    for (const claim of claims) {
      const present = owned.find((other) => same(other, claim))
      if (present !== undefined && id(present.owner) !== id(claim.owner)) {
        return `ClaimTaken ${claim.pool} ${claim.value} ${id(present.owner)}`
      }
      if (present === undefined) owned = [...owned, claim]
    }
    const sorted = (list: ReadonlyArray<Claim>) =>
      list.map(({ pool, value, owner }) => `${pool} ${value} ${id(owner)}`).sort()
    const changed = changes.length > 0 || plain(sorted(owned)) !== plain(sorted(this.claims))
    this.records = records
    this.claims = owned
    if (command !== undefined && !this.commands.some(([known]) => known === command.id)) {
      this.commands = [...this.commands, [command.id, command.result]]
    }
    if (changes.length > 0) this.feed = [...this.feed, [next, ...changes]]
    if (changed) this.revision = next
    return `${changed ? "changed" : "same"} ${this.revision}`
  }

  list(kind: string, labels: Readonly<Record<string, string>> = {}): ReadonlyArray<string> {
    return this.records
      .filter(({ put }) => put.key.kind === kind)
      .filter(({ put }) => Object.entries(labels).every(([name, value]) => put.labels[name] === value))
      .map(({ put, revision }) => `${id(put.key)} ${revision} ${content(put)}`)
      .sort()
  }

  referrers(key: ResourceKey): ReadonlyArray<string> {
    return this.records
      .filter(({ put }) => put.references.some((target) => id(target) === id(key)))
      .map(({ put }) => id(put.key))
      .sort()
  }
}

export const describeRecord = (record: {
  readonly key: ResourceKey
  readonly revision: number
  readonly uid: string
  readonly labels: Readonly<Record<string, string>>
  readonly references: ReadonlyArray<ResourceKey>
  readonly value: unknown
}): string => `${id(record.key)} ${record.revision} ${describeContent(record)}`

export const describeContent = (
  record: Omit<Parameters<typeof describeRecord>[0], "revision" | "key">,
): string =>
  plain({
    uid: record.uid,
    labels: record.labels,
    references: record.references.map(id).sort(),
    value: record.value,
  })
