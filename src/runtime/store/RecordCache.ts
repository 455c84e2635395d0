/**
 * The records that were read or written last, decoded. Actors read the same few records again and again, and a
 * statement costs ten times what a look into a map does.
 *
 * Two generations: what is used moves to the young one; when that is full it becomes the old one, and the old one
 * is dropped as a whole. (A map that always loses its first key gets slow: the keys it lost are skipped each time.)
 *
 * Only a store that is the sole writer of its database may keep one: it is changed with each commit, before the
 * commit is answered. Bounded by the number of records and the length of their texts, over both generations.
 */
import type { Row, RowChange } from "./CommitPlan.ts"

export class RecordCache {
  /** Undefined: known not to exist. */
  private young = new Map<string, Row | undefined>()
  private old = new Map<string, Row | undefined>()
  /** Characters put into the young generation. */
  private length = 0
  private readonly bounds: { readonly records: number; readonly characters: number }

  constructor(bounds = { records: 20_000, characters: 8 * 1_048_576 }) {
    this.bounds = bounds
  }

  has(id: string): boolean {
    return this.young.has(id) || this.old.has(id)
  }

  get(id: string): Row | undefined {
    if (this.young.has(id) || !this.old.has(id)) return this.young.get(id)
    const row = this.old.get(id)
    this.set(id, row)
    return row
  }

  set(id: string, row: Row | undefined): void {
    this.young.set(id, row)
    this.length += lengthOf(id, row)
    if (this.young.size * 2 < this.bounds.records && this.length * 2 < this.bounds.characters) return
    this.old = this.young
    this.young = new Map()
    this.length = 0
  }

  apply(changes: ReadonlyArray<RowChange>): void {
    for (const { _tag, row } of changes) this.set(row.id, _tag === "Put" ? row : undefined)
  }
}

const lengthOf = (id: string, row: Row | undefined): number =>
  id.length + (row === undefined ? 0 : row.labels.length + row.references.length + row.value.length)
