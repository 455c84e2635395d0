/** Requests that the tests of the dataplane's contract share, and the hash of its digest. */
import { IpVersion } from "#gen/dpdkironcore/v1/dpdk_pb.ts"

export const text = (value: string) => new TextEncoder().encode(value)
export const bytes = (value: Uint8Array) => new TextDecoder().decode(value)
export const ip4 = (address: string) => ({ ipver: IpVersion.IPV4, address: text(address) })
export const ip6 = (address: string) => ({ ipver: IpVersion.IPV6, address: text(address) })
export const ports = ["--port", "p0=ring:front0", "--port", "p1=ring:front1", "--port", "p2=ring:front2"]

export const interfaceRequest = (over: Record<string, unknown> = {}) => ({
  interfaceId: text("vm-1"),
  vni: 100,
  ipv4Config: { primaryAddress: text("10.0.0.1") },
  ipv6Config: { primaryAddress: text("::") },
  deviceName: "p0",
  ...over,
})

export const putRoute = (vni: number, prefix: string, nextHop = "fd00:f:2::1") => ({
  case: "putRoute",
  value: { vni, prefix, nextHop, nextHopVni: vni },
})

export const fnv1a = (value: string) => {
  let hash = 0xcbf29ce484222325n
  for (const byte of text(value)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n)
  return hash
}
