/**
 * Who refers to whom among the records that have actors, both ways. The waker's projection of the store: asking
 * the store for each change would cost a statement each. One per waker; about 200 bytes an edge.
 */
import { formatKey, type ResourceKey } from "#protocol/resource/Resource.ts"

export class Edges {
  /** By record: what it refers to. */
  private readonly targets = new Map<string, ReadonlyArray<string>>()
  /** By what is referred to, whether it exists or not: the records that do. */
  private readonly sources = new Map<string, Set<string>>()

  set(key: ResourceKey, references: ReadonlyArray<ResourceKey>): void {
    const source = formatKey(key)
    this.delete(source)
    const targets = references.map(formatKey)
    this.targets.set(source, targets)
    for (const target of targets) {
      const sources = this.sources.get(target)
      if (sources === undefined) this.sources.set(target, new Set([source]))
      else sources.add(source)
    }
  }

  delete(source: string): void {
    for (const target of this.targets.get(source) ?? []) {
      const sources = this.sources.get(target)
      if (sources?.delete(source) && sources.size === 0) this.sources.delete(target)
    }
    this.targets.delete(source)
  }

  /** Every record that was set, in the order of the last change. */
  get records(): ReadonlyArray<string> {
    return [...this.targets.keys()]
  }

  referencesOf(source: string): ReadonlyArray<string> {
    return this.targets.get(source) ?? []
  }

  referrersOf(target: string): ReadonlyArray<string> {
    return [...(this.sources.get(target) ?? [])]
  }
}
