/**
 * Plans a Network: gets its VNI, and keeps it as long as a NetworkInterface references it.
 *
 * The claim of the VNI, `spec.providerID` and the condition `Allocated` are written in one commit, so a claim has an
 * owner at any moment. A VNI that a user asks for by `spec.providerID` is claimed in the same way.
 */
import { type ConditionState, findCondition, nextConditions } from "#protocol/resource/Conditions.ts"
import { sameJson } from "#protocol/resource/Json.ts"
import { keyOf } from "#protocol/resource/Kinds.ts"
import { type Network, networkFinalizer } from "#protocol/resource/Network.ts"
import { networkInterfaceKind } from "#protocol/resource/NetworkInterface.ts"
import { formatProviderId, vniOf } from "#protocol/resource/ProviderId.ts"
import { compareKeys, formatKey, type ResourceKey } from "#protocol/resource/Resource.ts"
import { maxVni, minVni } from "#protocol/resource/Values.ts"
import type { Claim } from "#protocol/store/ResourceStore.ts"
import { eventsOf, listNames, type Plan, type Waiting } from "./Plan.ts"

export const vniPoolName = "vni"

export interface NetworkObserved {
  readonly nowMicros: number
  /** Records that reference the network, of any kind. */
  readonly referrers: ReadonlyArray<ResourceKey>
  /** Of the VniPool; looked at where the network has none and asks for none. Undefined: the pool can't say yet. */
  readonly proposal: number | "Exhausted" | undefined
  /** Owner of the VNI that the network asks for, as far as known. */
  readonly vniOwner: ResourceKey | undefined
}

/** Whether the network has its VNI, claimed. */
export const allocatedVni = ({ spec, status }: Network): number | undefined =>
  findCondition(status?.conditions, "Allocated")?.status === "True" ? vniOf(spec.providerID) : undefined

const usersOf = (referrers: ReadonlyArray<ResourceKey>): ReadonlyArray<ResourceKey> =>
  referrers.filter(({ kind }) => kind === networkInterfaceKind).toSorted(compareKeys)

const nameOf = ({ namespace, name }: ResourceKey): string => `${namespace}/${name}`

/** The VNI to take now, or the state of waiting for one. */
const allocate = (
  network: Network,
  observed: NetworkObserved,
):
  | { readonly vni: number }
  | { readonly reason: string; readonly message: string; readonly on?: ResourceKey } => {
  const self = keyOf(network)
  const asked = vniOf(network.spec.providerID)
  if (asked !== undefined) {
    const owner = observed.vniOwner
    if (owner === undefined || compareKeys(owner, self) === 0) return { vni: asked }
    return {
      reason: "VniTaken",
      message: `spec.providerID asks for VNI ${asked}, which is held by ${formatKey(owner)}; delete that one, or create this network again without providerID`,
      on: owner,
    }
  }
  if (observed.proposal === "Exhausted") {
    return {
      reason: "PoolExhausted",
      message: `all VNIs from ${minVni} to ${maxVni} are in use; this network gets the first that is released`,
    }
  }
  if (observed.proposal === undefined)
    return { reason: "VniPending", message: "the VNI pool has not answered yet" }
  return { vni: observed.proposal }
}

const planDeletion = (network: Network, observed: NetworkObserved): Plan<Network> => {
  const self = keyOf(network)
  const vni = allocatedVni(network)
  const users = usersOf(observed.referrers)
  const others = (network.metadata.finalizers ?? []).filter((name) => name !== networkFinalizer)
  if (users.length === 0) {
    const { finalizers: _finalizers, ...metadata } = network.metadata
    const releases: ReadonlyArray<Claim> =
      vni === undefined ? [] : [{ pool: vniPoolName, value: String(vni), owner: self }]
    const held = others.length > 0
    const waiting = { ...network, metadata: { ...metadata, finalizers: others } }
    return {
      next: !held
        ? { _tag: "Remove" }
        : sameJson(waiting, network)
          ? { _tag: "Keep" }
          : { _tag: "Put", manifest: waiting },
      hosts: [],
      claims: [],
      releases: held ? [] : releases,
      events: [],
      waiting: held ? [{ reason: "FinalizerHeld", message: `held by ${others.join(", ")}` }] : [],
    }
  }
  const message = `is deleted once these NetworkInterfaces are: ${listNames(users.map(nameOf))}`
  const present = network.status?.conditions ?? []
  const deleting: ConditionState = { type: "Deleting", status: "True", reason: "InUse", message }
  const states = [...present.filter(({ type }) => type !== "Deleting"), deleting]
  const kept = present.filter(({ type }) => type !== "Deleting")
  const conditions = [
    ...kept,
    ...nextConditions(present, [deleting], network.metadata.generation, observed.nowMicros),
  ]
  const next: Network = { ...network, status: { ...network.status, conditions } }
  return {
    next: sameJson(next, network) ? { _tag: "Keep" } : { _tag: "Put", manifest: next },
    hosts: [],
    claims: [],
    releases: [],
    events: eventsOf(self, present, states),
    waiting: users.slice(0, 8).map((on): Waiting => ({ reason: "InUse", message, on })),
  }
}

/** Peerings are kept, but no route follows from them yet; who asks for one is told. */
const peeringStates = ({ spec }: Network): ReadonlyArray<ConditionState> =>
  (spec.peerings?.length ?? 0) === 0
    ? []
    : [
        {
          type: "PeeringsReady",
          status: "False",
          reason: "NotServed",
          message: "spec.peerings is kept, but networks are not connected by this version",
        },
      ]

export const planNetwork = (network: Network, observed: NetworkObserved): Plan<Network> => {
  if (network.metadata.deletionTimestamp !== undefined) return planDeletion(network, observed)
  const self = keyOf(network)
  const present = network.status?.conditions
  const had = allocatedVni(network)
  const got = had === undefined ? allocate(network, observed) : { vni: had }

  const allocated: ConditionState =
    "vni" in got
      ? { type: "Allocated", status: "True", reason: "Allocated", message: `VNI ${got.vni}` }
      : { type: "Allocated", status: "False", reason: got.reason, message: got.message }
  const states = [allocated, ...peeringStates(network)]

  const gets = "vni" in got && network.spec.providerID === undefined
  const { namespace = "", name, uid } = network.metadata
  const spec = gets
    ? { ...network.spec, providerID: formatProviderId({ namespace, name, id: String(got.vni), uid }) }
    : network.spec
  const generation = network.metadata.generation + (gets ? 1 : 0)
  const finalizers = network.metadata.finalizers ?? []
  const next: Network = {
    ...network,
    metadata: {
      ...network.metadata,
      generation,
      finalizers: finalizers.includes(networkFinalizer) ? finalizers : [...finalizers, networkFinalizer],
    },
    spec,
    status: {
      ...network.status,
      state: "vni" in got ? "Available" : "Pending",
      conditions: nextConditions(present, states, generation, observed.nowMicros),
    },
  }
  return {
    next: sameJson(next, network) ? { _tag: "Keep" } : { _tag: "Put", manifest: next },
    hosts: [],
    claims:
      had === undefined && "vni" in got ? [{ pool: vniPoolName, value: String(got.vni), owner: self }] : [],
    releases: [],
    events: eventsOf(self, present, states),
    waiting: "vni" in got ? [] : [got],
  }
}
