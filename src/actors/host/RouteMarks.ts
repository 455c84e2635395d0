/**
 * Which routes somebody has to look at again: a set of (VNI, prefix), taken in bounded portions. Marking what is
 * marked already changes nothing, so a destination that flaps is looked at once.
 */
export type RouteKey = readonly [vni: number, prefix: string]

export interface RouteMarks {
  readonly add: (vni: number, prefix: string) => void
  readonly isEmpty: () => boolean
  /** At most `limit`, oldest VNI first; they are marked no longer. */
  readonly take: (limit: number) => ReadonlyArray<RouteKey>
}

export const make = (): RouteMarks => {
  const byVni = new Map<number, Set<string>>()
  return {
    add: (vni, prefix) => {
      const table = byVni.get(vni)
      if (table === undefined) byVni.set(vni, new Set([prefix]))
      else table.add(prefix)
    },
    isEmpty: () => byVni.size === 0,
    take: (limit) => {
      const taken: Array<RouteKey> = []
      for (const [vni, table] of byVni) {
        for (const prefix of table) {
          if (taken.length >= limit) return taken
          taken.push([vni, prefix])
          table.delete(prefix)
        }
        byVni.delete(vni)
      }
      return taken
    },
  }
}
