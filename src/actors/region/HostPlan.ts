/**
 * The part of a NetworkInterface's plan that is about hosts: where an interface may exist, and what comes next.
 *
 * At most one host has it. `status.attachment` names the host that has or may have it, the finalizer holds the record
 * as long. Moving is leaving, then coming: the next host is asked only after the last one said that nothing is left,
 * or is gone itself.
 */
import type { HostInterface } from "#protocol/node/HostInterface.ts"
import { sameJson } from "#protocol/resource/Json.ts"
import { keyOf } from "#protocol/resource/Kinds.ts"
import type { Attachment, NetworkInterface } from "#protocol/resource/NetworkInterface.ts"
import { parseAddress } from "#protocol/net/Address.ts"
import { nodeKey } from "#protocol/resource/Node.ts"
import { nodeOf } from "#protocol/resource/ProviderId.ts"
import type { ConditionState } from "#protocol/resource/Conditions.ts"
import type { ResourceKey } from "#protocol/resource/Resource.ts"
import type { NetworkInterfaceObserved } from "./NetworkInterfaceObserved.ts"
import type { HostChange } from "./Plan.ts"

/** What the interface is to be on whatever host it is attached to. */
export interface Target {
  readonly vni: number
  readonly addresses: ReadonlyArray<string>
}

export interface HostPlan {
  readonly attachment: Attachment | undefined
  readonly changes: ReadonlyArray<HostChange>
  /** The HostInterface in the store after the changes. */
  readonly hostInterface: HostInterface | undefined
  readonly attached: ConditionState
  readonly on: ResourceKey | undefined
}

const state = (status: "True" | "False", reason: string, message: string): ConditionState => ({
  type: "Attached",
  status,
  reason,
  message,
})

/** At most 63 characters, as DHCP and the dataplane take them. */
const hostnameOf = (name: string): string => name.slice(0, 63).replace(/[^a-z0-9]+$/, "")

const compile = (
  nic: NetworkInterface,
  { vni, addresses }: Target,
): Omit<HostInterface, "generation" | "acceptedMicros"> => {
  const { namespace = "", name, uid } = nic.metadata
  const ofFamily = (family: string) => addresses.find((address) => parseAddress(address)?.family === family)
  const ipv4 = ofFamily("IPv4")
  const ipv6 = ofFamily("IPv6")
  return {
    uid,
    namespace,
    name,
    vni,
    ...(ipv4 === undefined ? {} : { ipv4 }),
    ...(ipv6 === undefined ? {} : { ipv6 }),
    hostname: hostnameOf(name),
  }
}

/** Whether nothing is left of the interface on the host that it is leaving. */
const isGone = (attachment: Attachment, observed: NetworkInterfaceObserved): boolean => {
  if (!observed.nodes.has(attachment.node)) return true
  if (observed.hostInterface !== undefined) return false
  if (observed.settled) return true
  const { report } = observed
  return report?.state === "Removed" && report.generation >= (attachment.generation ?? 0)
}

/** Asks a host for the interface, or leaves what it was asked for where that is the same. */
const ask = (
  nic: NetworkInterface,
  node: string,
  target: Target,
  present: Attachment | undefined,
  hostInterface: HostInterface | undefined,
  observed: NetworkInterfaceObserved,
): Omit<HostPlan, "attached" | "on"> => {
  const content = compile(nic, target)
  if (hostInterface !== undefined && present !== undefined) {
    const { generation: _generation, acceptedMicros: _accepted, device: _device, ...before } = hostInterface
    if (sameJson(before, content)) return { attachment: present, changes: [], hostInterface }
  }
  // Rises also where the spec did not change, so that a report about what was asked before is known as such.
  const generation = Math.max(nic.metadata.generation, (present?.generation ?? 0) + 1)
  const acceptedMicros = observed.acceptedMicros ?? observed.nowMicros
  const value: HostInterface = { ...content, generation, acceptedMicros }
  // What is changed in place keeps its device; what comes anew is not known yet.
  const {
    realisedMicros: _realised,
    programmedMicros: _programmed,
    ...kept
  } = present === undefined || hostInterface === undefined ? { node } : present
  return {
    attachment: { ...kept, node, generation, acceptedMicros },
    changes: [{ _tag: "Put", node, value }],
    hostInterface: value,
  }
}

/** Leaves the host where the interface may be. `to`: where it goes next, for the message. */
const leave = (
  nic: NetworkInterface,
  present: Attachment,
  to: string | undefined,
  observed: NetworkInterfaceObserved,
): HostPlan => {
  const { node } = present
  const lost = observed.nodes.get(node)?.status?.state === "Lost"
  const then = to === undefined ? "" : `, then goes to ${to}`
  const help = lost ? `; the node is lost: where it is gone for good, delete it` : ""
  const message = `waits until node ${node} has taken the interface down${then}${help}`
  return {
    attachment: present,
    changes: observed.hostInterface === undefined ? [] : [{ _tag: "Remove", node, uid: nic.metadata.uid }],
    hostInterface: undefined,
    attached: state("False", to === undefined ? "Detaching" : "Moving", message),
    on: nodeKey(node),
  }
}

/** Attached to a node that can't be asked now: what it was asked for stays. */
const nodeProblem = (name: string, observed: NetworkInterfaceObserved): ConditionState | undefined => {
  const node = observed.nodes.get(name)
  if (node === undefined) {
    return state(
      "False",
      "NodeNotFound",
      `node ${name} does not exist; start its agent, or detach and attach elsewhere`,
    )
  }
  if (node.metadata.deletionTimestamp !== undefined) {
    return state("False", "NodeDeleting", `node ${name} is being deleted; detach and attach elsewhere`)
  }
  if (node.status?.state === "Lost") {
    return state("False", "NodeLost", `node ${name} is not heard of; its agent has to come back`)
  }
  return node.status?.state === "Ready"
    ? undefined
    : state("False", "NodeNotReady", `node ${name} has no agent yet; start it`)
}

/** `target` undefined: the interface can't be what its spec says now; what runs is left alone. */
export const planHost = (
  nic: NetworkInterface,
  target: Target | undefined,
  observed: NetworkInterfaceObserved,
): HostPlan => {
  const deleting = nic.metadata.deletionTimestamp !== undefined
  const wanted = deleting ? undefined : nodeOf(nic.spec.providerID)
  const before = nic.status?.attachment
  const gone = before !== undefined && isGone(before, observed)
  const nodeExists = before !== undefined && observed.nodes.has(before.node)

  // A host that is gone itself leaves its desired state behind, which nobody reads any more.
  const orphaned: ReadonlyArray<HostChange> =
    before !== undefined && !nodeExists && observed.hostInterface !== undefined
      ? [{ _tag: "Remove", node: before.node, uid: nic.metadata.uid }]
      : []
  const moves = before !== undefined && before.node !== wanted
  const otherVni = target !== undefined && nic.status?.vni !== undefined && nic.status.vni !== target.vni
  if (before !== undefined && !gone && (moves || otherVni)) return leave(nic, before, wanted, observed)

  const present = gone && (moves || !nodeExists || otherVni) ? undefined : before
  const hostInterface = present === undefined ? undefined : observed.hostInterface
  const idle = { attachment: present, changes: orphaned, hostInterface, on: undefined }
  if (wanted === undefined) {
    const key = keyOf(nic)
    const message = deleting
      ? "is being deleted"
      : `attach it: ferrite attach ${key.name} -n ${key.namespace} --node NODE`
    return { ...idle, attached: state("False", "NotAttached", message) }
  }
  const problem = nodeProblem(wanted, observed)
  if (problem !== undefined) return { ...idle, attached: problem, on: nodeKey(wanted) }
  const attached = state("True", "Attached", `to node ${wanted}`)
  if (target === undefined) return { ...idle, attached }
  const asked = ask(nic, wanted, target, present, hostInterface, observed)
  return { ...asked, changes: [...orphaned, ...asked.changes], attached, on: undefined }
}
