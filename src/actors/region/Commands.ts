/**
 * Commands on a stored manifest beside Apply: attach, detach, delete. Pure; the actor writes what comes out, then
 * plans. `changed` false: it is so already, nothing is to be written.
 */
import { formatTime } from "#protocol/resource/Conditions.ts"
import type { NetworkInterface } from "#protocol/resource/NetworkInterface.ts"
import { formatProviderId, nodeOf } from "#protocol/resource/ProviderId.ts"
import type { Manifest } from "#protocol/resource/Resource.ts"

export type Attaching =
  | {
      readonly _tag: "Attached"
      readonly manifest: NetworkInterface
      /** `ironcore-net://<namespace>/<name>/<node>/<uid>` */
      readonly handle: string
      readonly changed: boolean
    }
  | { readonly _tag: "AttachedElsewhere"; readonly node: string }
  | { readonly _tag: "Deleting" }

/** `node` is a DNS label; whether it exists does not matter. */
export const attach = (nic: NetworkInterface, node: string): Attaching => {
  if (nic.metadata.deletionTimestamp !== undefined) return { _tag: "Deleting" }
  const present = nodeOf(nic.spec.providerID)
  if (present === node && nic.spec.providerID !== undefined) {
    return { _tag: "Attached", manifest: nic, handle: nic.spec.providerID, changed: false }
  }
  if (present !== undefined) return { _tag: "AttachedElsewhere", node: present }
  const { namespace = "", name, uid, generation } = nic.metadata
  const handle = formatProviderId({ namespace, name, id: node, uid })
  const manifest: NetworkInterface = {
    ...nic,
    metadata: { ...nic.metadata, generation: generation + 1 },
    spec: { ...nic.spec, providerID: handle },
  }
  return { _tag: "Attached", manifest, handle, changed: true }
}

/** Undefined: it is attached to no node. */
export const detach = (nic: NetworkInterface): NetworkInterface | undefined => {
  if (nodeOf(nic.spec.providerID) === undefined) return undefined
  const { providerID: _providerID, ...spec } = nic.spec
  return { ...nic, metadata: { ...nic.metadata, generation: nic.metadata.generation + 1 }, spec }
}

/** Marks for deletion; the plan says when it goes. The second time changes nothing. */
export const markDeleted = <M extends Manifest>(
  manifest: M,
  nowMicros: number,
): { readonly manifest: M; readonly changed: boolean } => {
  if (manifest.metadata.deletionTimestamp !== undefined) return { manifest, changed: false }
  const { generation } = manifest.metadata
  const metadata = {
    ...manifest.metadata,
    generation: generation + 1,
    deletionTimestamp: formatTime(nowMicros),
  }
  return { manifest: { ...manifest, metadata }, changed: true }
}
