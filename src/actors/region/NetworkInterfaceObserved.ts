/** What the plan of a NetworkInterface depends on, beside its own record. All of it may be stale. */
import type { HostInterface } from "#protocol/node/HostInterface.ts"
import type { InterfaceReport } from "#protocol/node/NodeMessages.ts"
import type { Network } from "#protocol/resource/Network.ts"
import type { Node } from "#protocol/resource/Node.ts"
import type { ResourceKey } from "#protocol/resource/Resource.ts"

/**
 * Another host with an interface of the same VNI, and whether its dataplane has routes to every address of this one,
 * with `status.attachment.underlayAddress` as next hop. `Withdrawn`: it had and has no longer.
 */
export interface Peer {
  readonly node: string
  /** Its lease ended: nobody waits for it. */
  readonly lost: boolean
  readonly route: "Acknowledged" | "Waiting" | "Withdrawn"
  /** Of the last of them, where acknowledged. */
  readonly programmedMicros?: number
}

export interface NetworkInterfaceObserved {
  readonly nowMicros: number
  /** When the command that leads to this plan was accepted. Omitted: now. */
  readonly acceptedMicros?: number
  /** The Network of `spec.networkRef`. */
  readonly network: Network | undefined
  /** The Nodes of `spec.providerID` and of `status.attachment`, by name, as far as they exist. */
  readonly nodes: ReadonlyMap<string, Node>
  /** The HostInterface in the store under the node of `status.attachment` and this uid. */
  readonly hostInterface: HostInterface | undefined
  /** The last report of that node about this uid. Undefined: it said nothing since this controller started. */
  readonly report: InterfaceReport | undefined
  /**
   * That node has done all it was asked up to the revision at which the HostInterface was removed, so that no
   * interface is left of it. Looked at only while `hostInterface` is undefined.
   */
  readonly settled: boolean
  /** Owners of wanted addresses in the pool `ip/<vni>`, as far as known, by canonical address. */
  readonly addressOwners: ReadonlyMap<string, ResourceKey>
  /** Without the node of `status.attachment`. Undefined: not known yet. */
  readonly peers: ReadonlyArray<Peer> | undefined
}
