/**
 * Gathers what each planner wants to know, from the store, the projection and the observations, and says which
 * records the plan relied on. Reading is all that happens here.
 */
import { Effect, Option } from "effect"
import { addressPoolName } from "#actors/region/Addresses.ts"
import { prefixesOf } from "#actors/host/InterfaceIdentity.ts"
import type { NetworkInterfaceObserved, Peer } from "#actors/region/NetworkInterfaceObserved.ts"
import { type NetworkObserved, vniPoolName } from "#actors/region/NetworkPlan.ts"
import { type NodeObserved, underlayPoolName } from "#actors/region/NodePlan.ts"
import { hostInterfaceKey } from "#actors/region/Plan.ts"
import { decodeHostInterface, type HostInterface } from "#protocol/node/HostInterface.ts"
import { keyOf } from "#protocol/resource/Kinds.ts"
import { type Network, networkKind } from "#protocol/resource/Network.ts"
import type { NetworkInterface } from "#protocol/resource/NetworkInterface.ts"
import { type Node, nodeKey } from "#protocol/resource/Node.ts"
import { nodeOf, vniOf } from "#protocol/resource/ProviderId.ts"
import type { ResourceKey } from "#protocol/resource/Resource.ts"
import {
  type Put,
  ResourceStore,
  type StoredRecord,
  type StoreUnavailable,
} from "#protocol/store/ResourceStore.ts"
import type { Conflicts } from "./Executor.ts"
import type { Observations } from "./Observations.ts"
import type { Projection } from "./Projection.ts"
import type { VniAllocator } from "./VniAllocator.ts"

export interface Sources {
  readonly projection: Projection
  readonly observations: Observations
  readonly allocator: VniAllocator["Service"]
}

type Reading<A> = Effect.Effect<A, StoreUnavailable, ResourceStore>

const lastOwner = (conflicts: Conflicts, pool: string, value: string): ResourceKey | undefined =>
  conflicts.findLast((conflict) => conflict.pool === pool && conflict.value === value)?.owner

export const observeNetwork = Effect.fnUntraced(function* (
  network: Network,
  conflicts: Conflicts,
  nowMicros: number,
  { allocator }: Sources,
): Effect.fn.Return<NetworkObserved, StoreUnavailable, ResourceStore> {
  const store = yield* ResourceStore
  const key = keyOf(network)
  // Only a network on its way out asks who uses it: a large one has many users.
  const referrers = network.metadata.deletionTimestamp === undefined ? [] : yield* store.referrers(key)
  const asked = vniOf(network.spec.providerID)
  for (const { pool, value } of conflicts) if (pool === vniPoolName) allocator.refused(key, Number(value))
  return {
    nowMicros,
    referrers,
    proposal:
      asked === undefined && network.metadata.deletionTimestamp === undefined
        ? allocator.propose(key)
        : undefined,
    vniOwner: asked === undefined ? undefined : lastOwner(conflicts, vniPoolName, String(asked)),
  }
})

export const observeNode = (
  node: Node,
  conflicts: Conflicts,
  nowMicros: number,
  { observations }: Sources,
): NodeObserved => {
  const session = observations.session(node.metadata.name)
  return {
    nowMicros,
    hello: session?.hello,
    lease: session?.lease ?? "Unknown",
    underlayOwner: lastOwner(conflicts, underlayPoolName, session?.hello?.underlayPrefix ?? ""),
  }
}

const peerOf = (
  node: string,
  record: StoredRecord | undefined,
  of: HostInterface,
  underlayAddress: string | undefined,
  { observations }: Sources,
): Peer => {
  const lost = (record?.value as Node | undefined)?.status?.state !== "Ready"
  const routes = prefixesOf(of).map((prefix) => ({ vni: of.vni, prefix }))
  const acknowledged = routes.map((route) => observations.acknowledgement(node, route))
  if (acknowledged.every((one) => one !== undefined && one.nextHop === underlayAddress)) {
    const programmedMicros = Math.max(0, ...acknowledged.map((one) => one?.programmedMicros ?? 0))
    return { node, lost, route: "Acknowledged", programmedMicros }
  }
  const withdrawn = routes.some((route) => observations.withdrawn(node, route))
  return { node, lost, route: withdrawn ? "Withdrawn" : "Waiting" }
}

export interface Observed<A> {
  readonly observed: A
  /** What the plan relied on and must not have changed when it is committed. */
  readonly guards: ReadonlyArray<Put>
  /** Whose change is to wake the resource, beside what it references. */
  readonly wakers: ReadonlyArray<ResourceKey>
}

const guardOf = (record: StoredRecord): Put => ({
  _tag: "Put",
  key: record.key,
  uid: record.uid,
  labels: record.labels,
  references: record.references,
  value: record.value,
  expectedRevision: record.revision,
})

export const observeNetworkInterface = Effect.fnUntraced(function* (
  nic: NetworkInterface,
  revision: number,
  conflicts: Conflicts,
  nowMicros: number,
  sources: Sources,
): Effect.fn.Return<Observed<NetworkInterfaceObserved>, StoreUnavailable, ResourceStore> {
  const store = yield* ResourceStore
  const { projection, observations } = sources
  const read = (key: ResourceKey): Reading<StoredRecord | undefined> =>
    Effect.map(store.get(key), Option.getOrUndefined)
  const { namespace = "", uid } = nic.metadata
  const attachment = nic.status?.attachment

  const networkRecord = yield* read({ kind: networkKind, namespace, name: nic.spec.networkRef.name })
  const network = networkRecord?.value as Network | undefined
  const nodes = new Map<string, Node>()
  for (const name of new Set([nodeOf(nic.spec.providerID), attachment?.node])) {
    const record = name === undefined ? undefined : yield* read(nodeKey(name))
    if (name !== undefined && record !== undefined) nodes.set(name, record.value as Node)
  }

  const hostRecord =
    attachment === undefined ? undefined : yield* read(hostInterfaceKey(attachment.node, uid))
  const hostInterface =
    hostRecord === undefined
      ? undefined
      : yield* Effect.orDie(Effect.fromResult(decodeHostInterface(hostRecord.value)))
  const removedAt = projection.revision() >= revision ? projection.removedAt(uid) : undefined
  const settled =
    attachment !== undefined &&
    hostInterface === undefined &&
    removedAt !== undefined &&
    observations.settledRevision(attachment.node) >= Math.max(1, removedAt)

  const vni = vniOf(network?.spec.providerID)
  const addressOwners = new Map(
    conflicts
      .filter(({ pool }) => vni !== undefined && pool === addressPoolName(vni))
      .map((c) => [c.value, c.owner]),
  )

  const peers: Array<Peer> = []
  const wakers: Array<ResourceKey> = []
  if (attachment !== undefined && hostInterface !== undefined) {
    const report = observations.report(attachment.node, uid)
    const underlay = report?.state === "Realised" ? report.underlayAddress : attachment.underlayAddress
    for (const node of projection.hosts(hostInterface.vni)) {
      if (node === attachment.node) continue
      const peer = peerOf(node, yield* read(nodeKey(node)), hostInterface, underlay, sources)
      peers.push(peer)
      if (peer.route !== "Acknowledged") wakers.push(nodeKey(node))
    }
  }

  return {
    observed: {
      nowMicros,
      network,
      nodes,
      hostInterface,
      report: attachment === undefined ? undefined : observations.report(attachment.node, uid),
      settled,
      addressOwners,
      peers,
    },
    guards: networkRecord === undefined ? [] : [guardOf(networkRecord)],
    wakers,
  }
})
