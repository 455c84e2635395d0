/**
 * Who is where in the demo: hypervisors, their underlay prefixes, and which interface of
 * `examples/first-light` is attached to which of them.
 *
 * Three VMs are in network blue, over two hypervisors. The fourth is in network red, on a hypervisor that has blue
 * as well, and has the same addresses as the first: what tells them apart is the network alone.
 */
import { repository } from "../Region.ts"

export const manifests = `${repository}/examples/first-light`

export interface Host {
  readonly name: string
  /** CIDR; its interfaces get their underlay addresses out of it. */
  readonly underlay: string
}

export const hosts = (count: number): ReadonlyArray<Host> =>
  Array.from({ length: count }, (_, index) => ({
    name: `host-${index + 1}`,
    underlay: `fd00:f:${(index + 1).toString(16)}::/64`,
  }))

/** Interface to hypervisor. */
export const placement: ReadonlyArray<{ readonly nic: string; readonly host: string }> = [
  { nic: "nic-a", host: "host-1" },
  { nic: "nic-b", host: "host-1" },
  { nic: "nic-c", host: "host-2" },
  { nic: "nic-d", host: "host-2" },
]

/** Who talks to whom in the show. All are in one network. */
export const paths = [
  { from: "nic-a", to: "nic-b", path: "same host" },
  { from: "nic-a", to: "nic-c", path: "across hosts" },
] as const

/** Two VMs with one address, in different networks, and a VM in the network of the first. */
export const twins = { known: "nic-a", other: "nic-d", asker: "nic-c" } as const
