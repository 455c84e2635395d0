/**
 * Who is to be woken when a resource changes, beside those that reference it: interfaces that wait for an address
 * which another has, or for a route on a host. In memory, made anew by every plan; bounded by `maxOn` per waiter.
 */
import { compareKeys, formatKey, type ResourceKey } from "#protocol/resource/Resource.ts"

const maxOn = 1024

export interface Waiters {
  /** Replaces what this one waits for. */
  readonly wait: (waiter: ResourceKey, on: ReadonlyArray<ResourceKey>) => void
  readonly waitingFor: (key: ResourceKey) => ReadonlyArray<ResourceKey>
}

export const make = (): Waiters => {
  const on = new Map<string, ReadonlyArray<string>>()
  const waiters = new Map<string, Map<string, ResourceKey>>()
  return {
    wait: (waiter, keys) => {
      const name = formatKey(waiter)
      for (const key of on.get(name) ?? []) {
        const those = waiters.get(key)
        those?.delete(name)
        if (those?.size === 0) waiters.delete(key)
      }
      const names = keys.slice(0, maxOn).map(formatKey)
      if (names.length === 0) on.delete(name)
      else on.set(name, names)
      for (const key of names) {
        const those = waiters.get(key) ?? new Map<string, ResourceKey>()
        those.set(name, waiter)
        waiters.set(key, those)
      }
    },
    waitingFor: (key) => [...(waiters.get(formatKey(key))?.values() ?? [])].toSorted(compareKeys),
  }
}
