/**
 * A VM, as small as a test needs it: an endpoint that behaves like a Linux guest towards its gateway.
 *
 * It asks for its addresses (DHCPv4, router solicitation and DHCPv6), resolves the gateway, answers ARP, neighbour
 * solicitations and echo requests, pings, and moves bytes over TCP. `turn` is a pure reducer: an input in, the next
 * VM with frames to send and events out. It has no clock; `Tick` sends again what was not answered.
 */
import { linkLocal, parseIpv4 } from "./address.ts"
import { type Bytes, fromAscii } from "./bytes.ts"
import * as Dhcp4 from "./dhcp4.ts"
import * as Dhcp6 from "./dhcp6.ts"
import { decodeEthernet, etherTypes } from "./ethernet.ts"
import { decodeIpv4, decodeIpv6, type Ipv4, type Ipv6, protocols } from "./ip.ts"
import { isNeighbour } from "./neighbour.ts"
import * as Transport from "./transport.ts"
import { discover, receiveArp, receiveDhcp4, receiveDhcp6, receiveNeighbour, solicit } from "./vm-link.ts"
import {
  askGateway,
  encodeIp,
  sendIp,
  sourceFor,
  still,
  followed,
  type Vm,
  type VmInput,
  type VmTurn,
} from "./vm-state.ts"
import { receiveTcp, retransmit, transfer } from "./vm-stream.ts"

export { configured, make } from "./vm-state.ts"
export type { Vm, VmEvent, VmInput, VmTurn } from "./vm-state.ts"
export { duplicateProbe } from "./vm-link.ts"

export const turn = (vm: Vm, input: VmInput): VmTurn => {
  switch (input._tag) {
    case "Frame":
      return receive(vm, input.frame)
    case "Dhcp4":
      return discover({ ...vm, asking4: true, transaction: vm.transaction + 1 })
    case "Dhcp6":
      return solicit({ ...vm, asking6: true, transaction: vm.transaction + 1 })
    case "Ping":
      return ping(vm, input.to, input.sequence, input.data ?? fromAscii("ferrite"))
    case "Listen":
      return still({ ...vm, listening: new Set([...vm.listening, input.port]) })
    case "Transfer":
      return transfer(vm, input.to, input.port, input.data)
    case "Tick":
      return tick(vm)
  }
}

const ping = (vm: Vm, to: string, sequence: number, data: Bytes): VmTurn => {
  const source = sourceFor(vm, to)
  if (source === undefined) return still(vm)
  const echo = { reply: false, identifier: 1, sequence, data }
  const payload =
    parseIpv4(to) !== undefined
      ? encodeIp(source, to, protocols.icmp, Transport.encodeEcho4(echo))
      : encodeIp(source, to, protocols.icmpv6, Transport.encodeEcho6({ source, destination: to }, echo))
  return sendIp(vm, payload)
}

const receive = (vm: Vm, bytes: Bytes): VmTurn => {
  const frame = decodeEthernet(bytes)
  if (frame === undefined) return still(vm)
  const group = (Number.parseInt(frame.destination.slice(0, 2), 16) & 1) !== 0
  if (frame.destination !== vm.mac && !group) return still(vm)
  if (frame.type === etherTypes.arp) return receiveArp(vm, frame.payload)
  if (frame.type === etherTypes.ipv4) {
    const packet = decodeIpv4(frame.payload)
    return packet?.intact === true ? receive4(vm, packet) : still(vm)
  }
  const packet = frame.type === etherTypes.ipv6 ? decodeIpv6(frame.payload) : undefined
  return packet === undefined ? still(vm) : receive6(vm, packet, frame.source)
}

const receive4 = (vm: Vm, packet: Ipv4): VmTurn => {
  if (packet.protocol === protocols.udp) {
    const udp = Transport.decodeUdp(packet, packet.payload)
    const offer = udp?.destinationPort === 68 ? Dhcp4.decodeDhcp4(udp.payload) : undefined
    return offer === undefined ? still(vm) : receiveDhcp4(vm, offer)
  }
  if (packet.destination !== vm.ipv4) return still(vm)
  if (packet.protocol === protocols.tcp) return receiveTcp(vm, packet)
  const echo = packet.protocol === protocols.icmp ? Transport.decodeEcho4(packet.payload) : undefined
  if (echo === undefined) return still(vm)
  return echo.reply
    ? ponged(vm, packet.source, echo)
    : sendIp(
        vm,
        encodeIp(
          packet.destination,
          packet.source,
          protocols.icmp,
          Transport.encodeEcho4({ ...echo, reply: true }),
        ),
      )
}

const ponged = (vm: Vm, from: string, echo: Transport.Echo): VmTurn => ({
  vm,
  frames: [],
  events: [{ _tag: "Pong", from, sequence: echo.sequence, bytes: echo.data.length }],
})

const receive6 = (vm: Vm, packet: Ipv6, sourceMac: string): VmTurn => {
  if (isNeighbour(packet)) return receiveNeighbour(vm, packet)
  if (packet.protocol === protocols.udp) {
    const udp = Transport.decodeUdp(packet, packet.payload)
    const reply = udp?.destinationPort === 546 ? Dhcp6.decodeDhcp6(udp.payload) : undefined
    return reply === undefined ? still(vm) : receiveDhcp6({ ...vm, gatewayMac6: sourceMac }, reply)
  }
  if (packet.destination !== vm.ipv6 && packet.destination !== linkLocal(vm.mac)) return still(vm)
  if (packet.protocol === protocols.tcp) return receiveTcp(vm, packet)
  const echo =
    packet.protocol === protocols.icmpv6 ? Transport.decodeEcho6(packet, packet.payload) : undefined
  if (echo === undefined) return still(vm)
  if (echo.reply) return ponged(vm, packet.source, echo)
  const addresses = { source: packet.destination, destination: packet.source }
  return sendIp(
    vm,
    encodeIp(
      addresses.source,
      addresses.destination,
      protocols.icmpv6,
      Transport.encodeEcho6(addresses, { ...echo, reply: true }),
    ),
  )
}

const tick = (vm: Vm): VmTurn => {
  let all = still(vm)
  if (vm.asking4) all = followed(all, discover)
  if (vm.asking6) all = followed(all, solicit)
  if (vm.waiting.length > 0) all = followed(all, askGateway)
  return followed(all, retransmit)
}
