/**
 * Plans a NetworkInterface: addresses out of its network, an interface on the host that it is attached to, and a
 * status that says what it still waits for.
 *
 * Conditions, in the order in which they can become True: `NetworkReady`, `AddressReady`, `Attached`, `Realised` (its
 * host's dataplane acknowledged it), `Programmed` (every host of the network acknowledged routes to it). What was
 * concluded once stands until something says otherwise: a controller that has just started knows no reports.
 */
import type { HostInterface } from "#protocol/node/HostInterface.ts"
import {
  type ConditionState,
  findCondition,
  formatTime,
  nextConditions,
} from "#protocol/resource/Conditions.ts"
import { sameJson } from "#protocol/resource/Json.ts"
import { keyOf } from "#protocol/resource/Kinds.ts"
import { networkKind } from "#protocol/resource/Network.ts"
import {
  hostInterfaceFinalizer,
  type NetworkInterface,
  type NetworkInterfaceStatus,
} from "#protocol/resource/NetworkInterface.ts"
import type { ResourceKey } from "#protocol/resource/Resource.ts"
import type { Claim } from "#protocol/store/ResourceStore.ts"
import { addressClaim, allHeld, heldAddresses, wantedAddresses } from "./Addresses.ts"
import { planHost, type Target } from "./HostPlan.ts"
import type { NetworkInterfaceObserved } from "./NetworkInterfaceObserved.ts"
import { allocatedVni } from "./NetworkPlan.ts"
import { eventsOf, type Plan, type Waiting, warnings } from "./Plan.ts"
import { programmedState, realisedState } from "./Realisation.ts"

interface NetworkReadiness {
  readonly vni: number | undefined
  readonly condition: ConditionState
}

const networkState = (nic: NetworkInterface, { network }: NetworkInterfaceObserved): NetworkReadiness => {
  const name = nic.spec.networkRef.name
  const not = (reason: string, message: string): NetworkReadiness => ({
    vni: undefined,
    condition: { type: "NetworkReady", status: "False", reason, message },
  })
  if (network === undefined) {
    return not(
      "NetworkNotFound",
      `spec.networkRef names Network ${name}, which does not exist in this namespace; create it`,
    )
  }
  const vni = allocatedVni(network)
  if (vni === undefined) {
    const why = findCondition(network.status?.conditions, "Allocated")
    const because = why === undefined ? "" : `: ${why.reason}, ${why.message}`
    return not("NetworkPending", `Network ${name} has no VNI yet${because}`)
  }
  if (network.metadata.deletionTimestamp !== undefined && nic.status?.vni === undefined) {
    const message = `Network ${name} is being deleted, and waits for this interface too; delete it, then create both again`
    return not("NetworkDeleting", message)
  }
  return {
    vni,
    condition: { type: "NetworkReady", status: "True", reason: "Allocated", message: `VNI ${vni}` },
  }
}

/** What spec asks for and this version keeps without doing it. */
const notServed = ({ spec }: NetworkInterface): ReadonlyArray<ConditionState> => {
  const condition = (type: string, field: string): ConditionState => ({
    type,
    status: "False",
    reason: "NotServed",
    message: `${field} is kept, but not realised by this version`,
  })
  return [
    ...((spec.prefixes?.length ?? 0) === 0 ? [] : [condition("PrefixesReady", "spec.prefixes")]),
    ...(spec.virtualIP === undefined ? [] : [condition("VirtualIPReady", "spec.virtualIP")]),
  ]
}

const removal = (nic: NetworkInterface): Plan<NetworkInterface> => ({
  next: { _tag: "Remove" },
  hosts: [],
  claims: [],
  releases: allHeld(nic),
  events: [],
  waiting: [],
})

/** The finalizers with or without ours. */
const finalizersOf = (nic: NetworkInterface, held: boolean): ReadonlyArray<string> => {
  const present = nic.metadata.finalizers ?? []
  if (!held) return present.filter((name) => name !== hostInterfaceFinalizer)
  return present.includes(hostInterfaceFinalizer) ? present : [...present, hostInterfaceFinalizer]
}

export const planNetworkInterface = (
  nic: NetworkInterface,
  observed: NetworkInterfaceObserved,
): Plan<NetworkInterface> => {
  const deleting = nic.metadata.deletionTimestamp !== undefined
  const network = networkState(nic, observed)
  const wanted = wantedAddresses(nic, network.vni, observed.addressOwners)
  const target: Target | undefined =
    network.vni === undefined || wanted.addresses === undefined
      ? undefined
      : { vni: network.vni, addresses: wanted.addresses }
  const host = planHost(nic, target, observed)
  const { attachment } = host

  const finalizers = finalizersOf(nic, attachment !== undefined)
  if (deleting && attachment === undefined && finalizers.length === 0) {
    const plan = removal(nic)
    return { ...plan, hosts: host.changes }
  }

  const realised = realisedState(nic, host, observed)
  const after = realised.attachment
  const left = after === undefined
  const switched = realised.condition.status === "True" && isWithin(host.hostInterface, target)
  const holds = holdings(nic, target, left || switched)
  const programmed = programmedState(nic, realised, observed)
  const states: ReadonlyArray<ConditionState> = [
    network.condition,
    wanted.condition,
    host.attached,
    realised.condition,
    programmed.condition,
    ...notServed(nic),
  ]

  const present = nic.status
  const state = realised.failed ? "Error" : realised.condition.status === "True" ? "Available" : "Pending"
  const conditions = nextConditions(present?.conditions, states, nic.metadata.generation, observed.nowMicros)
  const { ips: _ips, vni: _vni, attachment: _attachment, ...kept } = present ?? {}
  const status: NetworkInterfaceStatus = {
    ...kept,
    state,
    ...(present?.state === state && present.lastStateTransitionTime !== undefined
      ? {}
      : { lastStateTransitionTime: formatTime(observed.nowMicros) }),
    ...(holds.vni === undefined ? {} : { ips: holds.addresses, vni: holds.vni }),
    conditions,
    ...(programmed.attachment === undefined ? {} : { attachment: programmed.attachment }),
  }
  const { finalizers: _finalizers, ...metadata } = nic.metadata
  const next: NetworkInterface = {
    ...nic,
    metadata: { ...metadata, ...(finalizers.length === 0 ? {} : { finalizers }) },
    status,
  }
  const self = keyOf(nic)
  return {
    next: sameJson(next, nic) ? { _tag: "Keep" } : { _tag: "Put", manifest: next },
    hosts: host.changes,
    claims: holds.claims,
    releases: holds.releases,
    events: eventsOf(
      self,
      present?.conditions,
      states,
      ({ type, reason }) => warnings.has(reason) || (type === "Realised" && realised.failed),
    ),
    waiting: waitingOf(nic, states, { network: network.vni, wanted: wanted.on, host: host.on }),
  }
}

interface Holdings {
  readonly vni: number | undefined
  readonly addresses: ReadonlyArray<string>
  readonly claims: ReadonlyArray<Claim>
  readonly releases: ReadonlyArray<Claim>
}

/** Whether what a host has is all of it wanted. */
const isWithin = (host: HostInterface | undefined, target: Target | undefined): boolean =>
  host !== undefined &&
  target !== undefined &&
  host.vni === target.vni &&
  [host.ipv4, host.ipv6].every((address) => address === undefined || target.addresses.includes(address))

/** `free`: no host has an address that is wanted no more. */
const holdings = (nic: NetworkInterface, target: Target | undefined, free: boolean): Holdings => {
  const vni = nic.status?.vni
  const addresses = nic.status?.ips ?? []
  if (target === undefined) return { vni, addresses, claims: [], releases: [] }
  // The network is another one than it was: take there only after all is given back here.
  if (vni !== undefined && vni !== target.vni && !free) return { vni, addresses, claims: [], releases: [] }
  const held = heldAddresses(nic, target.vni)
  const surplus = held.filter((address) => !target.addresses.includes(address))
  const elsewhere = vni !== undefined && vni !== target.vni ? allHeld(nic) : []
  return {
    vni: target.vni,
    addresses: free ? target.addresses : [...target.addresses, ...surplus],
    claims: target.addresses
      .filter((address) => !held.includes(address))
      .map((address) => addressClaim(nic, target.vni, address)),
    releases: [
      ...elsewhere,
      ...(free ? surplus.map((address) => addressClaim(nic, target.vni, address)) : []),
    ],
  }
}

const waitingOf = (
  nic: NetworkInterface,
  states: ReadonlyArray<ConditionState>,
  on: {
    readonly network: number | undefined
    readonly wanted: ResourceKey | undefined
    readonly host: ResourceKey | undefined
  },
): ReadonlyArray<Waiting> => {
  const { namespace = "" } = nic.metadata
  const network: ResourceKey = { kind: networkKind, namespace, name: nic.spec.networkRef.name }
  const onOf: Readonly<Record<string, ResourceKey | undefined>> = {
    NetworkReady: network,
    AddressReady: on.wanted ?? (on.network === undefined ? network : undefined),
    Attached: on.host,
  }
  return states
    .filter(({ status }) => status !== "True")
    .map(({ type, reason, message }): Waiting => {
      const key = onOf[type]
      return key === undefined ? { reason, message } : { reason, message, on: key }
    })
}
