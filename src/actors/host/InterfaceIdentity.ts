/**
 * What makes an interface of the dataplane the one that was asked for.
 */
import type { InterfaceSpec } from "#protocol/dataplane/Dataplane.ts"
import type { HostInterface } from "#protocol/node/HostInterface.ts"

/** A TAP named after the uid's last ten digits: 15 characters, as long as the kernel allows. */
export const defaultDevice = (uid: string): string => `vtap:ftap-${uid.replaceAll("-", "").slice(-10)}`

/** What the dataplane is asked for. */
export const interfaceSpec = (desired: HostInterface): InterfaceSpec => ({
  id: desired.uid,
  vni: desired.vni,
  ipv4: desired.ipv4,
  ipv6: desired.ipv6,
  device: desired.device ?? defaultDevice(desired.uid),
  hostname: desired.hostname,
})

/**
 * Whether `there` serves for `wanted`. Otherwise the interface is made anew, which its VM notices; so a host name
 * that only a DHCP client would see is no reason.
 */
export const sameIdentity = (wanted: InterfaceSpec, there: InterfaceSpec): boolean =>
  wanted.id === there.id &&
  wanted.vni === there.vni &&
  wanted.ipv4 === there.ipv4 &&
  wanted.ipv6 === there.ipv6 &&
  wanted.device === there.device

export interface Addressed {
  readonly vni: number
  readonly ipv4?: string | undefined
  readonly ipv6?: string | undefined
}

/** The destinations that an interface is, in its VNI. */
export const prefixesOf = ({ ipv4, ipv6 }: Omit<Addressed, "vni">): ReadonlyArray<string> => [
  ...(ipv4 === undefined ? [] : [`${ipv4}/32`]),
  ...(ipv6 === undefined ? [] : [`${ipv6}/128`]),
]
