/**
 * A model VM's state, what it is told and what it tells, and how it sends a packet: what the other `vm` files share.
 */
import { broadcastMac, isLinkLocal, linkLocal, multicastMac, parseIpv4 } from "./address.ts"
import { type Bytes, u8 } from "./bytes.ts"
import { encodeArp, encodeEthernet, etherTypes } from "./ethernet.ts"
import { encodeIpv4, encodeIpv6 } from "./ip.ts"
import type * as Tcp from "./tcp.ts"

export interface Vm {
  readonly mac: string
  readonly mtu: number
  readonly ipv4: string | undefined
  readonly ipv6: string | undefined
  readonly hostname: string | undefined
  readonly gateway4: string | undefined
  readonly gatewayMac4: string | undefined
  readonly gatewayMac6: string | undefined
  /** IPv4 packets that wait for the gateway's MAC. At most 64. */
  readonly waiting: ReadonlyArray<Bytes>
  readonly transaction: number
  /** Asked for and not yet granted. */
  readonly asking4: boolean
  readonly asking6: boolean
  readonly listening: ReadonlySet<number>
  /** Key: local port, remote address, remote port. */
  readonly connections: ReadonlyMap<string, Tcp.Connection>
  readonly nextPort: number
}

export type VmInput =
  | { readonly _tag: "Frame"; readonly frame: Bytes }
  /** Asks for an IPv4 address. */
  | { readonly _tag: "Dhcp4" }
  /** Asks for a router and an IPv6 address. */
  | { readonly _tag: "Dhcp6" }
  /** `data`: bytes of the echo. */
  | { readonly _tag: "Ping"; readonly to: string; readonly sequence: number; readonly data?: Bytes }
  | { readonly _tag: "Listen"; readonly port: number }
  /** Sends bytes over a new connection, and closes. */
  | { readonly _tag: "Transfer"; readonly to: string; readonly port: number; readonly data: Bytes }
  /** Time passed: send again what was not answered. */
  | { readonly _tag: "Tick" }

export type VmEvent =
  | { readonly _tag: "Leased"; readonly address: string }
  | { readonly _tag: "Pong"; readonly from: string; readonly sequence: number; readonly bytes: number }
  /** All of a transfer arrived here. */
  | { readonly _tag: "Received"; readonly from: string; readonly port: number; readonly data: Bytes }
  /** All of a transfer of ours was acknowledged, and both sides closed. */
  | { readonly _tag: "Sent"; readonly to: string; readonly port: number; readonly bytes: number }
  | { readonly _tag: "Refused"; readonly to: string; readonly port: number }

export interface VmTurn {
  readonly vm: Vm
  readonly frames: ReadonlyArray<Bytes>
  readonly events: ReadonlyArray<VmEvent>
}

const maxWaiting = 64

export const make = (mac: string): Vm => ({
  mac,
  mtu: 1_500,
  ipv4: undefined,
  ipv6: undefined,
  hostname: undefined,
  gateway4: undefined,
  gatewayMac4: undefined,
  gatewayMac6: undefined,
  waiting: [],
  transaction: 1,
  asking4: false,
  asking6: false,
  listening: new Set(),
  connections: new Map(),
  nextPort: 40_000,
})

/** With addresses set by hand, as a guest that was configured without DHCP. */
export const configured = (
  mac: string,
  addresses: { readonly ipv4?: string; readonly ipv6?: string },
  gateway4 = "169.254.0.1",
): Vm => ({ ...make(mac), ipv4: addresses.ipv4, ipv6: addresses.ipv6, gateway4 })

export const still = (vm: Vm): VmTurn => ({ vm, frames: [], events: [] })
export const sending = (vm: Vm, ...frames: ReadonlyArray<Bytes>): VmTurn => ({ vm, frames, events: [] })
export const followed = (first: VmTurn, next: (vm: Vm) => VmTurn): VmTurn => {
  const second = next(first.vm)
  return {
    vm: second.vm,
    frames: [...first.frames, ...second.frames],
    events: [...first.events, ...second.events],
  }
}

export const sourceFor = (vm: Vm, to: string): string | undefined =>
  parseIpv4(to) !== undefined ? vm.ipv4 : isLinkLocal(to) ? linkLocal(vm.mac) : vm.ipv6

/** An IP packet to the gateway; for IPv4 it waits until the gateway's MAC is known. */
export const sendIp = (vm: Vm, packet: Bytes): VmTurn => {
  if (u8(packet, 0) >>> 4 === 6)
    return sending(
      vm,
      encodeEthernet({
        destination: vm.gatewayMac6 ?? multicastMac("ff02::2"),
        source: vm.mac,
        type: etherTypes.ipv6,
        payload: packet,
      }),
    )
  if (vm.gatewayMac4 === undefined)
    return followed(still({ ...vm, waiting: [...vm.waiting, packet].slice(-maxWaiting) }), askGateway)
  return sending(
    vm,
    encodeEthernet({ destination: vm.gatewayMac4, source: vm.mac, type: etherTypes.ipv4, payload: packet }),
  )
}

export const askGateway = (vm: Vm): VmTurn =>
  sending(
    vm,
    encodeEthernet({
      destination: broadcastMac,
      source: vm.mac,
      type: etherTypes.arp,
      payload: encodeArp({
        operation: "request",
        senderMac: vm.mac,
        senderIp: vm.ipv4 ?? "0.0.0.0",
        targetMac: "00:00:00:00:00:00",
        targetIp: vm.gateway4 ?? "169.254.0.1",
      }),
    }),
  )

export const encodeIp = (source: string, destination: string, protocol: number, payload: Bytes): Bytes =>
  parseIpv4(destination) !== undefined
    ? encodeIpv4({ source, destination, protocol, payload })
    : encodeIpv6({ source, destination, protocol, payload })
