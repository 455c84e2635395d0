/**
 * HostInterface: what one host has to realise for one attached NetworkInterface, compiled by the region.
 *
 * A record in the store, never a manifest of a user: namespace the node, name the interface's uid. Its JSON is that
 * of `ferrite.node.v1.HostInterface`.
 */
import { Schema } from "effect"
import { networkInterfaceKind } from "./NetworkInterface.ts"
import type { ResourceKey } from "./Resource.ts"
import { Micros, Vni } from "./Values.ts"

export const hostInterfaceKind = "HostInterface"

export const HostInterface = Schema.Struct({
  /** Of the NetworkInterface; its id in the dataplane. */
  uid: Schema.String,
  namespace: Schema.String,
  name: Schema.String,
  /** Generation of the NetworkInterface at which the rest last changed. */
  generation: Schema.Int,
  vni: Vni,
  /** Empty: none. */
  ipv4: Schema.String,
  ipv6: Schema.String,
  /** For DHCP. */
  hostname: Schema.String,
  /** NAME or KIND:DEVICE; empty: the agent picks one. */
  device: Schema.String,
  acceptedMicros: Micros,
})
export type HostInterface = typeof HostInterface.Type

export const hostInterfaceKey = (node: string, uid: string): ResourceKey => ({
  kind: hostInterfaceKind,
  namespace: node,
  name: uid,
})

export const hostInterfaceReferences = ({ namespace, name }: HostInterface): ReadonlyArray<ResourceKey> => [
  { kind: networkInterfaceKind, namespace, name },
]
