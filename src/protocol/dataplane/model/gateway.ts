/**
 * The gateway that every VM sees: what it answers, frame for frame.
 *
 * 169.254.0.1 and fe80::1 resolve to the port's MAC, answer echo, lease the interface's addresses, advertise the
 * router, and tell a sender whose packet is too long. Checksums inside what a VM sends are not verified: on a virtual
 * link a guest may leave them to its device.
 */
import { isLinkLocal, macBytes, multicastMac, parseIpv4, parseIpv6 } from "./address.ts"
import { type Bytes, concat, empty, internetChecksum, put16, put32, u8 } from "./bytes.ts"
import { answerDhcp4, decodeDhcp4, encodeDhcp4, messageType, messageTypes } from "./dhcp4.ts"
import { answerDhcp6, decodeDhcp6, encodeDhcp6 } from "./dhcp6.ts"
import { type Arp, encodeArp, encodeEthernet, type Ethernet, etherTypes } from "./ethernet.ts"
import { encodeIpv4, encodeIpv6, type Ipv4, type Ipv6, protocols, transportChecksum } from "./ip.ts"
import { encodeNeighbour, type Neighbour } from "./neighbour.ts"
import { gatewayIpv4, gatewayIpv6, type Interface, type ModelConfig } from "./tables.ts"
import { encodeUdp, sealIcmpv6, trustedUdp } from "./transport.ts"
import type { Tuple } from "./tuple.ts"

const broadcastMac = "ff:ff:ff:ff:ff:ff"
const broadcastIp = "255.255.255.255"

const frame = (entry: Interface, destination: string, type: number, payload: Bytes): Bytes =>
  encodeEthernet({ destination, source: entry.gatewayMac, type, payload })

/** To whoever asked: the sender of the frame. */
export const answerArp = (entry: Interface, asked: Ethernet, arp: Arp): Bytes | undefined =>
  arp.operation !== "request" || arp.targetIp !== gatewayIpv4
    ? undefined
    : frame(
        entry,
        asked.source,
        etherTypes.arp,
        encodeArp({
          operation: "reply",
          senderMac: entry.gatewayMac,
          senderIp: gatewayIpv4,
          targetMac: arp.senderMac,
          targetIp: arp.senderIp,
        }),
      )

export const leaseIpv4 = (config: ModelConfig, entry: Interface, packet: Ipv4): Bytes | undefined => {
  const request = decodeDhcp4(trustedUdp(packet.payload)?.payload ?? empty)
  const address = entry.spec.ipv4
  if (request === undefined || address === undefined) return undefined
  const { dns4: dns, mtu } = config
  const answer = answerDhcp4(
    {
      address,
      gateway: gatewayIpv4,
      mtu,
      dns,
      hostname: entry.spec.hostname,
      boot: entry.spec.pxe,
      virtualServices: (config.services ?? []).length > 0,
    },
    request,
  )
  if (answer === undefined) return undefined
  // RFC 2131 §4.1: broadcast where the client is refused, or has no address and asks for it; else to its address.
  const open =
    messageType(answer) === messageTypes.nak || (request.broadcast && request.clientAddress === "0.0.0.0")
  const addresses = { source: gatewayIpv4, destination: open ? broadcastIp : address }
  const payload = encodeUdp(addresses, { sourcePort: 67, destinationPort: 68, payload: encodeDhcp4(answer) })
  return frame(
    entry,
    open ? broadcastMac : request.clientMac,
    etherTypes.ipv4,
    encodeIpv4({ ...addresses, protocol: protocols.udp, dontFragment: false, payload }),
  )
}

export const leaseIpv6 = (
  config: ModelConfig,
  entry: Interface,
  asked: Ethernet,
  packet: Ipv6,
): Bytes | undefined => {
  const request = decodeDhcp6(trustedUdp(packet.payload)?.payload ?? empty)
  if (request === undefined || packet.source === "::") return undefined
  const answer = answerDhcp6(
    { address: entry.spec.ipv6, dns: config.dns6, gatewayMac: entry.gatewayMac, boot: entry.spec.pxe },
    request,
  )
  if (answer === undefined) return undefined
  const addresses = { source: gatewayIpv6, destination: packet.source }
  const payload = encodeUdp(addresses, {
    sourcePort: 547,
    destinationPort: 546,
    payload: encodeDhcp6(answer),
  })
  return frame(
    entry,
    asked.source,
    etherTypes.ipv6,
    encodeIpv6({ ...addresses, protocol: protocols.udp, payload }),
  )
}

const targetOf = (message: Bytes): Bytes => message.subarray(8, 24)

export const answerNeighbour = (
  config: ModelConfig,
  entry: Interface,
  asked: Ethernet,
  packet: Ipv6,
): Bytes | undefined => {
  const message = packet.payload
  if (packet.hopLimit !== 255 || message.length < 8 || u8(message, 1) !== 0) return undefined
  const unspecified = packet.source === "::"
  const say = (answer: Neighbour): Bytes => {
    // Nobody to answer to by unicast: all nodes of the link hear it.
    const addresses = { source: gatewayIpv6, destination: unspecified ? "ff02::1" : packet.source }
    return frame(
      entry,
      unspecified ? multicastMac("ff02::1") : asked.source,
      etherTypes.ipv6,
      encodeIpv6({
        ...addresses,
        protocol: protocols.icmpv6,
        hopLimit: 255,
        payload: encodeNeighbour(addresses, answer),
      }),
    )
  }
  const type = u8(message, 0)
  if (type === 133)
    return say({
      _tag: "RouterAdvertisement",
      sourceMac: entry.gatewayMac,
      managed: true,
      other: true,
      lifetimeSeconds: 65_535,
      mtu: config.mtu,
    })
  const gateway = parseIpv6(gatewayIpv6) ?? empty
  if (type !== 135 || message.length < 24 || !gateway.every((byte, i) => byte === targetOf(message)[i]))
    return undefined
  return say({
    _tag: "NeighbourAdvertisement",
    target: gatewayIpv6,
    targetMac: entry.gatewayMac,
    router: true,
    solicited: !unspecified,
    override: true,
  })
}

/** The request turned round: all but addresses, type and time to live stays as it was. */
export const answerEcho4 = (entry: Interface, asked: Ethernet, packet: Ipv4): Bytes | undefined => {
  const { payload } = packet
  if (packet.protocol !== protocols.icmp || packet.fragment || payload.length < 8) return undefined
  if (u8(payload, 0) !== 8 || u8(payload, 1) !== 0) return undefined
  const header = packet.packet.length - payload.length
  const out = concat(packet.packet)
  out.set(packet.packet.subarray(12, 16), 16)
  out.set(parseIpv4(gatewayIpv4) ?? empty, 12)
  out[8] = 64
  out.set([0, 0], 10)
  out.set(put16(internetChecksum(out.subarray(0, header))), 10)
  out.set([0, 0, 0, 0], header)
  out.set(put16(internetChecksum(out.subarray(header))), header + 2)
  return frame(entry, asked.source, etherTypes.ipv4, out)
}

export const answerEcho6 = (entry: Interface, asked: Ethernet, packet: Ipv6): Bytes | undefined => {
  const { payload } = packet
  if (packet.protocol !== protocols.icmpv6 || payload.length < 8 || packet.source === "::") return undefined
  if (u8(payload, 0) !== 128 || u8(payload, 1) !== 0) return undefined
  const out = concat(packet.packet)
  out.set(packet.packet.subarray(8, 24), 24)
  out.set(parseIpv6(gatewayIpv6) ?? empty, 8)
  out[7] = 64
  out.set([129, 0, 0, 0], 40)
  out.set(put16(transportChecksum(gatewayIpv6, packet.source, protocols.icmpv6, out.subarray(40))), 42)
  return frame(entry, asked.source, etherTypes.ipv6, out)
}

/** RFC 1812 §4.3.2.7 and RFC 4443 §2.4: no error about an error, nor about a later fragment. */
const mayComplain = (packet: Bytes, tuple: Tuple): boolean => {
  const type = u8(packet, tuple.l4)
  if (tuple.length <= tuple.l4) return false
  if (tuple.family === 4)
    return tuple.fragment !== "later" && (tuple.protocol !== protocols.icmp || type === 8 || type === 0)
  return tuple.protocol !== protocols.icmpv6 || type >= 128
}

/** "Fragmentation needed" or "packet too big", quoting the packet as far as is due. */
export const tooBig = (
  config: ModelConfig,
  entry: Interface,
  asked: Ethernet,
  packet: Ipv4 | Ipv6,
  tuple: Tuple,
): Bytes | undefined => {
  if (!mayComplain(packet.packet, tuple)) return undefined
  if ("ttl" in packet) {
    const message = concat([3, 4, 0, 0, 0, 0], put16(config.mtu), packet.packet.subarray(0, 548))
    message.set(put16(internetChecksum(message)), 2)
    return frame(
      entry,
      asked.source,
      etherTypes.ipv4,
      encodeIpv4({
        source: gatewayIpv4,
        destination: packet.source,
        protocol: protocols.icmp,
        dontFragment: false,
        payload: message,
      }),
    )
  }
  const addresses = { source: gatewayIpv6, destination: packet.source }
  const message = sealIcmpv6(
    addresses,
    concat([2, 0, 0, 0], put32(config.mtu), packet.packet.subarray(0, 1_232)),
  )
  return frame(
    entry,
    asked.source,
    etherTypes.ipv6,
    encodeIpv6({ ...addresses, protocol: protocols.icmpv6, payload: message }),
  )
}

/** Never routed: this network, loopback, link-local, groups, reserved and broadcast. */
export const unroutable = (address: string): boolean => {
  const four = parseIpv4(address)
  if (four !== undefined) {
    const first = u8(four, 0)
    return first === 0 || first === 127 || first >= 224 || (first === 169 && u8(four, 1) === 254)
  }
  return address.startsWith("ff") || isLinkLocal(address) || address === "::"
}

export const isGroupMac = (mac: string): boolean => (u8(macBytes(mac), 0) & 1) !== 0
