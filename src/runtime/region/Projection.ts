/**
 * Which hosts a VNI is on, and whose an address is: read off the HostInterface records, fed by the change feed.
 *
 * Planners ask it instead of listing a whole network for every interface. It may be behind the store; whoever is
 * woken by a change is woken after the projection has it, so nothing waits for ever on a stale answer.
 */
import { Result } from "effect"
import { decodeHostInterface, type HostInterface, hostInterfaceKind } from "#protocol/node/HostInterface.ts"
import { prefixesOf } from "#actors/host/InterfaceIdentity.ts"
import { networkInterfaceKey } from "#protocol/resource/NetworkInterface.ts"
import type { ResourceKey } from "#protocol/resource/Resource.ts"
import type { Change, StoredRecord } from "#protocol/store/ResourceStore.ts"

export interface Placed {
  readonly node: string
  readonly interface: HostInterface
}

export interface Projection {
  /** Nodes with an interface of this VNI, sorted. */
  readonly hosts: (vni: number) => ReadonlyArray<string>
  /** The NetworkInterface that an address of a VNI belongs to; `prefix` is a /32 or /128. */
  readonly owner: (vni: number, prefix: string) => ResourceKey | undefined
  /** The NetworkInterface that is or was behind a HostInterface. */
  readonly ownerOf: (uid: string) => ResourceKey | undefined
  readonly interfaces: (vni: number) => ReadonlyArray<Placed>
  /** Of the store, up to which everything is in here. */
  readonly revision: () => number
  /**
   * When the HostInterface of this uid was removed from the store; where that is not known, when this projection
   * began. Undefined: it is there.
   */
  readonly removedAt: (uid: string) => number | undefined
  readonly reset: (records: ReadonlyArray<StoredRecord>, revision: number) => void
  /** VNIs that a host has left with this change. */
  readonly apply: (change: Change) => ReadonlyArray<number>
  /** The NetworkInterface of this uid is gone for good. */
  readonly forget: (uid: string) => void
}

export const make = (): Projection => {
  const placed = new Map<string, Placed>()
  const byVni = new Map<number, Map<string, Placed>>()
  const owners = new Map<string, ResourceKey>()
  const removed = new Map<string, { readonly revision: number; readonly owner: ResourceKey }>()
  let since = 0
  let revision = 0

  const hosts = (vni: number) =>
    [...new Set([...(byVni.get(vni)?.values() ?? [])].map(({ node }) => node))].toSorted()

  const remove = (uid: string) => {
    const known = placed.get(uid)
    if (known === undefined) return
    placed.delete(uid)
    const { vni, name, namespace } = known.interface
    const siblings = byVni.get(vni)
    siblings?.delete(uid)
    if (siblings?.size === 0) byVni.delete(vni)
    for (const prefix of prefixesOf(known.interface)) {
      const owner = owners.get(`${vni}|${prefix}`)
      // Another may have taken the address over in the same commit.
      if (owner?.namespace === namespace && owner.name === name) owners.delete(`${vni}|${prefix}`)
    }
  }

  const put = (record: StoredRecord) => {
    const decoded = decodeHostInterface(record.value)
    if (Result.isFailure(decoded)) return
    const of = decoded.success
    const entry = { node: record.key.namespace, interface: of }
    placed.set(of.uid, entry)
    removed.delete(of.uid)
    const siblings = byVni.get(of.vni) ?? new Map<string, Placed>()
    siblings.set(of.uid, entry)
    byVni.set(of.vni, siblings)
    for (const prefix of prefixesOf(of)) owners.set(`${of.vni}|${prefix}`, networkInterfaceKey(of))
  }

  return {
    hosts,
    owner: (vni, prefix) => owners.get(`${vni}|${prefix}`),
    ownerOf: (uid) => {
      const known = placed.get(uid)
      return known === undefined ? removed.get(uid)?.owner : networkInterfaceKey(known.interface)
    },
    interfaces: (vni) => [...(byVni.get(vni)?.values() ?? [])],
    revision: () => revision,
    removedAt: (uid) => (placed.has(uid) ? undefined : (removed.get(uid)?.revision ?? since)),
    reset: (records, at) => {
      for (const map of [placed, byVni, owners, removed]) map.clear()
      for (const record of records) put(record)
      since = at
      revision = at
    },
    apply: ({ _tag, record, revision: at }) => {
      revision = at
      if (record.key.kind !== hostInterfaceKind) return []
      const known = placed.get(record.key.name)
      // A Remove names the host that it is removed from; the interface may be on its next host by now.
      if (_tag === "Remove" && known?.node !== record.key.namespace) return []
      const before = known?.interface.vni
      remove(record.key.name)
      if (_tag === "Put") put(record)
      else if (known !== undefined) {
        removed.set(record.key.name, { revision: at, owner: networkInterfaceKey(known.interface) })
      }
      return known !== undefined && before !== undefined && !hosts(before).includes(known.node)
        ? [before]
        : []
    },
    forget: (uid) => {
      removed.delete(uid)
    },
  }
}
