/**
 * The addresses of a NetworkInterface: which it wants, which it holds, which it may take and which it can give back.
 *
 * An address is held by a claim in the pool of its VNI, from when the network is ready until the interface is gone
 * or wants another, attached or not. All or none: while one wanted address is not to be had, what is held stays, and
 * so does what runs on a host. An old address is given back once the host has taken up the new ones.
 */
import { canonicalAddress } from "#protocol/net/Address.ts"
import type { ConditionState } from "#protocol/resource/Conditions.ts"
import { keyOf } from "#protocol/resource/Kinds.ts"
import type { NetworkInterface } from "#protocol/resource/NetworkInterface.ts"
import { compareKeys, formatKey, type ResourceKey } from "#protocol/resource/Resource.ts"
import type { Claim } from "#protocol/store/ResourceStore.ts"

export const addressPoolName = (vni: number): string => `ip/${vni}`

export const addressClaim = (nic: NetworkInterface, vni: number, address: string): Claim => ({
  pool: addressPoolName(vni),
  value: address,
  owner: keyOf(nic),
})

export interface Wanted {
  /** Undefined: at least one is not known yet. */
  readonly addresses: ReadonlyArray<string> | undefined
  readonly condition: ConditionState
  readonly on: ResourceKey | undefined
}

const notReady = (reason: string, message: string, on?: ResourceKey): Wanted => ({
  addresses: undefined,
  condition: { type: "AddressReady", status: "False", reason, message },
  on,
})

/** Addresses of spec in its order. Undefined elements: ephemeral ones, or text that is none. */
export const addressesOf = ({ spec }: NetworkInterface): ReadonlyArray<string | undefined> =>
  spec.ips.map(({ value }) => (value === undefined ? undefined : canonicalAddress(value)))

/** Which addresses the interface shall have now in `vni`, or why it can't. */
export const wantedAddresses = (
  nic: NetworkInterface,
  vni: number | undefined,
  owners: ReadonlyMap<string, ResourceKey>,
): Wanted => {
  const self = keyOf(nic)
  if (nic.metadata.deletionTimestamp !== undefined) {
    return notReady("Deleting", "what it holds is given back once its host let go of it")
  }
  const addresses: Array<string> = []
  for (const [i, address] of addressesOf(nic).entries()) {
    if (address === undefined) {
      return notReady(
        "AddressPending",
        `spec.ips[${i}] is ephemeral and needs a Prefix, but prefixes are not served by this version; set spec.ips[${i}].value`,
      )
    }
    addresses.push(address)
  }
  if (addresses.length === 0)
    return notReady("AddressPending", "spec.ips is empty; list one source per family")
  if (vni === undefined)
    return notReady("NetworkNotReady", "addresses are taken once the network has its VNI")
  const held = heldAddresses(nic, vni)
  for (const [i, address] of addresses.entries()) {
    const owner = owners.get(address)
    if (owner === undefined || compareKeys(owner, self) === 0 || held.includes(address)) continue
    const meanwhile = held.length === 0 ? "" : `; until then the interface keeps ${held.join(", ")}`
    return notReady(
      "AddressTaken",
      `spec.ips[${i}].value ${address} is held by ${formatKey(owner)} in VNI ${vni}; choose another or delete that one${meanwhile}`,
      owner,
    )
  }
  return {
    addresses,
    condition: {
      type: "AddressReady",
      status: "True",
      reason: "Claimed",
      message: `${addresses.join(", ")} in VNI ${vni}`,
    },
    on: undefined,
  }
}

/** What the interface holds in a VNI. */
export const heldAddresses = ({ status }: NetworkInterface, vni: number): ReadonlyArray<string> =>
  status?.vni === vni ? (status.ips ?? []) : []

/** Everything that the interface holds, to be given back. */
export const allHeld = (nic: NetworkInterface): ReadonlyArray<Claim> => {
  const vni = nic.status?.vni
  return vni === undefined ? [] : (nic.status?.ips ?? []).map((address) => addressClaim(nic, vni, address))
}
