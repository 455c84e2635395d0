/**
 * The records that were read or written last, decoded. Actors read the same few records again and again, and a
 * statement costs ten times what a look into a map does.
 *
 * Only a store that is the sole writer of its database may keep one: it is changed with each commit, before the
 * commit is answered. Bounded by the number of records and the size of their texts; the least recently used goes.
 */
import type { Row, RowChange } from "./CommitPlan.ts"

const sizeOf = ({ id, labels, references, value }: Row) =>
  2 * id.length + labels.length + references.length + value.length

export class RecordCache {
  /** Least recently used first. Undefined: known not to exist. */
  private readonly rows = new Map<string, Row | undefined>()
  private size = 0
  private readonly bounds: { readonly records: number; readonly characters: number }

  constructor(bounds = { records: 20_000, characters: 8 * 1_048_576 }) {
    this.bounds = bounds
  }

  has(id: string): boolean {
    return this.rows.has(id)
  }

  get(id: string): Row | undefined {
    const row = this.rows.get(id)
    if (row !== undefined) {
      this.rows.delete(id)
      this.rows.set(id, row)
    }
    return row
  }

  set(id: string, row: Row | undefined): void {
    this.delete(id)
    this.rows.set(id, row)
    if (row !== undefined) this.size += sizeOf(row)
    while (this.rows.size > this.bounds.records || this.size > this.bounds.characters) {
      this.delete(this.rows.keys().next().value!)
    }
  }

  apply(changes: ReadonlyArray<RowChange>): void {
    for (const { _tag, row } of changes) this.set(row.id, _tag === "Put" ? row : undefined)
  }

  private delete(id: string): void {
    const row = this.rows.get(id)
    if (row !== undefined) this.size -= sizeOf(row)
    this.rows.delete(id)
  }
}
