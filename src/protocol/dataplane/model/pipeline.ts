/**
 * What becomes of one packet: the model's fast path, as a function.
 *
 * `step` takes the state and one input, a frame that a VM sent or an IPv6 packet that came from the underlay,
 * and gives the next state (learned MACs, counters) with what leaves. It is total: every drop has a reason and a
 * counter `drop.<reason>`, with the names of the native engine.
 *
 * From a VM: the gateway's own services first (ARP, neighbour discovery, DHCP, echo), then the source must be
 * the interface's, then the longest prefix of its VNI decides: a local interface gets the packet, a next hop gets
 * it as IPv4 or IPv6 in IPv6. From the underlay: the outer destination is the whole context; the inner one must
 * belong to that interface.
 */
import { HashMap } from "effect"
import { type Bytes, u16, u8 } from "./bytes.ts"
import { broadcastMac, isGroup, isLinkLocal, macBytes } from "./address.ts"
import { answerDhcp4, decodeDhcp4, encodeDhcp4, messageType, messageTypes } from "./dhcp4.ts"
import { answerDhcp6, decodeDhcp6, encodeDhcp6 } from "./dhcp6.ts"
import {
  decodeArp,
  decodeEthernet,
  encodeArp,
  encodeEthernet,
  type Ethernet,
  etherTypes,
} from "./ethernet.ts"
import { decodeIpv4, decodeIpv6, encodeIpv4, encodeIpv6, type Ipv4, type Ipv6, protocols } from "./ip.ts"
import { decodeNeighbour, encodeNeighbour, isNeighbour } from "./neighbour.ts"
import { count, find, gatewayIpv4, gatewayIpv6, type Interface, lookup, type ModelState } from "./tables.ts"
import { decodeEcho4, decodeEcho6, decodeUdp, encodeEcho4, encodeEcho6, encodeUdp } from "./transport.ts"

export type Input =
  /** A frame that the VM on an opened device sent. `device`: KIND:DEVICE. */
  | { readonly _tag: "FromPort"; readonly device: string; readonly frame: Bytes }
  /** An IPv6 packet of the underlay, without its link header. */
  | { readonly _tag: "FromUnderlay"; readonly packet: Bytes }

export type Output =
  | { readonly _tag: "ToPort"; readonly device: string; readonly frame: Bytes }
  | { readonly _tag: "ToUnderlay"; readonly packet: Bytes }

export interface Next {
  readonly state: ModelState
  readonly outputs: ReadonlyArray<Output>
}

export const drops = {
  malformed: "drop.malformed",
  unknownType: "drop.unknown_ethertype",
  noInterface: "drop.no_interface",
  arp: "drop.arp",
  neighbour: "drop.nd",
  dhcp: "drop.dhcp",
  spoofed: "drop.spoofed",
  gateway: "drop.gateway",
  multicast: "drop.multicast",
  routeMiss: "drop.route_miss",
  outerProtocol: "drop.underlay_protocol",
  outerMiss: "drop.underlay_miss",
  innerDestination: "drop.inner_destination",
} as const

const drop = (state: ModelState, reason: string): Next => ({ state: count(state, reason), outputs: [] })
const infiniteRouterLifetime = 65_535

/** Outputs name the device as `KIND:DEVICE`, as inputs do. */
export const step = (state: ModelState, input: Input): Next => {
  if (input._tag === "FromUnderlay") return fromUnderlay(count(state, "stage.decap.packets"), input.packet)
  const id = find(state.devices, input.device)
  const entry = id === undefined ? undefined : find(state.interfaces, id)
  if (entry === undefined) return drop(state, drops.noInterface)
  const received = count(state, `port.${entry.device}.rx_packets`)
  const frame = decodeEthernet(input.frame)
  if (frame === undefined) return drop(received, drops.malformed)
  switch (frame.type) {
    case etherTypes.arp:
      return arp(received, input.device, entry, frame)
    case etherTypes.ipv4: {
      const packet = decodeIpv4(frame.payload)
      return packet === undefined
        ? drop(received, drops.malformed)
        : ipv4(received, input.device, entry, frame, packet)
    }
    case etherTypes.ipv6: {
      const packet = decodeIpv6(frame.payload)
      return packet === undefined
        ? drop(received, drops.malformed)
        : ipv6(received, input.device, entry, frame, packet)
    }
    default:
      return drop(received, drops.unknownType)
  }
}

/** The VM's MAC is what it last said about itself; group addresses are nobody's. */
const learn = (state: ModelState, entry: Interface, mac: string): ModelState =>
  mac === entry.vmMac || (u8(macBytes(mac), 0) & 1) !== 0
    ? state
    : { ...state, interfaces: HashMap.set(state.interfaces, entry.spec.id, { ...entry, vmMac: mac }) }

const toPort = (
  state: ModelState,
  device: string,
  entry: Interface,
  destination: string,
  type: number,
  payload: Bytes,
): Next => ({
  state: count(state, `port.${entry.device}.tx_packets`),
  outputs: [
    {
      _tag: "ToPort",
      device,
      frame: encodeEthernet({ destination, source: entry.gatewayMac, type, payload }),
    },
  ],
})

/** Requests for the gateway are answered, and nothing else: every other neighbour is behind it. */
const arp = (state: ModelState, device: string, entry: Interface, frame: Ethernet): Next => {
  const packet = decodeArp(frame.payload)
  if (packet === undefined) return drop(state, drops.malformed)
  // 0.0.0.0 is a probe (RFC 5227).
  if (packet.senderIp !== "0.0.0.0" && packet.senderIp !== entry.spec.ipv4) return drop(state, drops.spoofed)
  const learned = learn(state, entry, packet.senderMac)
  if (packet.operation !== "request" || packet.targetIp !== gatewayIpv4) return drop(learned, drops.arp)
  return toPort(
    count(learned, "stage.arp.packets"),
    device,
    entry,
    packet.senderMac,
    etherTypes.arp,
    encodeArp({
      operation: "reply",
      senderMac: entry.gatewayMac,
      senderIp: gatewayIpv4,
      targetMac: packet.senderMac,
      targetIp: packet.senderIp,
    }),
  )
}

const ipv4 = (state: ModelState, device: string, entry: Interface, frame: Ethernet, packet: Ipv4): Next => {
  if (packet.protocol === protocols.udp && !packet.fragment && u16(packet.payload, 2) === 67)
    return dhcp4(state, device, entry, frame, packet)
  if (packet.source !== entry.spec.ipv4) return drop(state, drops.spoofed)
  if (packet.destination === gatewayIpv4) return echo4(state, device, entry, frame, packet)
  if (isGroup(packet.destination)) return drop(state, drops.multicast)
  return route(learn(state, entry, frame.source), entry, packet.destination, packet.packet)
}

const dhcp4 = (state: ModelState, device: string, entry: Interface, frame: Ethernet, packet: Ipv4): Next => {
  if (packet.source !== "0.0.0.0" && packet.source !== entry.spec.ipv4) return drop(state, drops.spoofed)
  const udp = decodeUdp(packet, packet.payload)
  const request = udp?.sourcePort === 68 ? decodeDhcp4(udp.payload) : undefined
  const address = entry.spec.ipv4
  if (request === undefined || address === undefined) return drop(state, drops.dhcp)
  const { dns4, mtu } = state.config
  const answer = answerDhcp4(
    { address, gateway: gatewayIpv4, mtu, dns: dns4, hostname: entry.spec.hostname },
    request,
  )
  if (answer === undefined) return drop(state, drops.dhcp)
  // RFC 2131 §4.1: to ciaddr; else broadcast where the client asks for it or is refused; else to what it is given.
  const refused = messageType(answer) === messageTypes.nak
  const open = request.broadcast || refused
  const chosen = open ? "255.255.255.255" : address
  const destination = request.clientAddress !== "0.0.0.0" && !refused ? request.clientAddress : chosen
  const addresses = { source: gatewayIpv4, destination }
  return toPort(
    count(learn(state, entry, frame.source), "stage.dhcp4.packets"),
    device,
    entry,
    destination === "255.255.255.255" ? broadcastMac : frame.source,
    etherTypes.ipv4,
    encodeIpv4({
      ...addresses,
      protocol: protocols.udp,
      payload: encodeUdp(addresses, { sourcePort: 67, destinationPort: 68, payload: encodeDhcp4(answer) }),
    }),
  )
}

const echo4 = (state: ModelState, device: string, entry: Interface, frame: Ethernet, packet: Ipv4): Next => {
  const request =
    packet.protocol === protocols.icmp && !packet.fragment ? decodeEcho4(packet.payload) : undefined
  if (request === undefined || request.reply) return drop(state, drops.gateway)
  return toPort(
    count(learn(state, entry, frame.source), "stage.echo.packets"),
    device,
    entry,
    frame.source,
    etherTypes.ipv4,
    encodeIpv4({
      source: packet.destination,
      destination: packet.source,
      protocol: protocols.icmp,
      payload: encodeEcho4({ ...request, reply: true }),
    }),
  )
}

const ipv6 = (state: ModelState, device: string, entry: Interface, frame: Ethernet, packet: Ipv6): Next => {
  if (isNeighbour(packet)) return neighbour(state, device, entry, packet)
  if (packet.protocol === protocols.udp && u16(packet.payload, 2) === 547)
    return dhcp6(state, device, entry, frame, packet)
  if (packet.destination === gatewayIpv6) return echo6(state, device, entry, frame, packet)
  if (isGroup(packet.destination)) return drop(state, drops.multicast)
  if (packet.source !== entry.spec.ipv6) return drop(state, drops.spoofed)
  return route(learn(state, entry, frame.source), entry, packet.destination, packet.packet)
}

/** On its own link a VM speaks as its address, as any link-local one, or as nobody yet. */
const onLink = (entry: Interface, source: string): boolean =>
  source === entry.spec.ipv6 || isLinkLocal(source) || source === "::"

const neighbour = (state: ModelState, device: string, entry: Interface, packet: Ipv6): Next => {
  const message = decodeNeighbour(packet)
  if (message === undefined) return drop(state, drops.malformed)
  if (!onLink(entry, packet.source)) return drop(state, drops.spoofed)
  const mac = "sourceMac" in message ? message.sourceMac : undefined
  const learned = mac === undefined ? state : learn(state, entry, mac)
  const unspecified = packet.source === "::"
  // Nobody to answer to by unicast: all nodes of the link hear it.
  const destination = unspecified ? "ff02::1" : packet.source
  const addresses = { source: gatewayIpv6, destination }
  const to = unspecified ? "33:33:00:00:00:01" : (mac ?? find(learned.interfaces, entry.spec.id)?.vmMac)
  const answer = (reply: Parameters<typeof encodeNeighbour>[1]): Next =>
    toPort(
      count(learned, "stage.nd.packets"),
      device,
      entry,
      to ?? broadcastMac,
      etherTypes.ipv6,
      encodeIpv6({
        ...addresses,
        protocol: protocols.icmpv6,
        hopLimit: 255,
        payload: encodeNeighbour(addresses, reply),
      }),
    )
  if (message._tag === "NeighbourSolicitation" && message.target === gatewayIpv6)
    return answer({
      _tag: "NeighbourAdvertisement",
      target: gatewayIpv6,
      targetMac: entry.gatewayMac,
      router: true,
      solicited: !unspecified,
      override: true,
    })
  if (message._tag === "RouterSolicitation")
    return answer({
      _tag: "RouterAdvertisement",
      sourceMac: entry.gatewayMac,
      managed: true,
      other: true,
      lifetimeSeconds: infiniteRouterLifetime,
      mtu: state.config.mtu,
    })
  return drop(learned, drops.neighbour)
}

const dhcp6 = (state: ModelState, device: string, entry: Interface, frame: Ethernet, packet: Ipv6): Next => {
  if (!onLink(entry, packet.source) || packet.source === "::") return drop(state, drops.spoofed)
  const udp = decodeUdp(packet, packet.payload)
  const request = udp?.sourcePort === 546 ? decodeDhcp6(udp.payload) : undefined
  const answer =
    request === undefined
      ? undefined
      : answerDhcp6(
          { address: entry.spec.ipv6, dns: state.config.dns6, gatewayMac: entry.gatewayMac },
          request,
        )
  if (answer === undefined) return drop(state, drops.dhcp)
  const addresses = { source: gatewayIpv6, destination: packet.source }
  return toPort(
    count(learn(state, entry, frame.source), "stage.dhcp6.packets"),
    device,
    entry,
    frame.source,
    etherTypes.ipv6,
    encodeIpv6({
      ...addresses,
      protocol: protocols.udp,
      payload: encodeUdp(addresses, { sourcePort: 547, destinationPort: 546, payload: encodeDhcp6(answer) }),
    }),
  )
}

const echo6 = (state: ModelState, device: string, entry: Interface, frame: Ethernet, packet: Ipv6): Next => {
  if (!onLink(entry, packet.source) || packet.source === "::") return drop(state, drops.spoofed)
  const request = packet.protocol === protocols.icmpv6 ? decodeEcho6(packet, packet.payload) : undefined
  if (request === undefined || request.reply) return drop(state, drops.gateway)
  const addresses = { source: gatewayIpv6, destination: packet.source }
  return toPort(
    count(learn(state, entry, frame.source), "stage.echo.packets"),
    device,
    entry,
    frame.source,
    etherTypes.ipv6,
    encodeIpv6({
      ...addresses,
      protocol: protocols.icmpv6,
      payload: encodeEcho6(addresses, { ...request, reply: true }),
    }),
  )
}

/** By the longest prefix of the sender's VNI: to an interface of this host, or into the underlay. */
const route = (state: ModelState, sender: Interface, destination: string, packet: Bytes): Next => {
  const table = find(state.vnis, sender.spec.vni)
  const found = table === undefined ? undefined : lookup(table, destination)
  if (found === undefined) return drop(state, drops.routeMiss)
  if (found.local !== undefined) {
    const receiver = find(state.interfaces, found.local)
    return receiver === undefined
      ? drop(state, drops.routeMiss)
      : deliver(count(state, "stage.local.packets"), receiver, packet)
  }
  return {
    state: count(state, "stage.encap.packets"),
    outputs: [{ _tag: "ToUnderlay", packet: encapsulate(sender.underlayAddress, found.nextHop, packet) }],
  }
}

/** Outer IPv6 header: hop limit 64, no traffic class; a flow label is free, the model writes zero. */
export const encapsulate = (source: string, destination: string, packet: Bytes): Bytes =>
  encodeIpv6({
    source,
    destination,
    protocol: versionOf(packet) === 4 ? protocols.ipv4 : protocols.ipv6,
    payload: packet,
  })

const versionOf = (packet: Bytes): number => u8(packet, 0) >>> 4

const deliver = (state: ModelState, receiver: Interface, packet: Bytes): Next => {
  const type = versionOf(packet) === 4 ? etherTypes.ipv4 : etherTypes.ipv6
  return {
    state: count(state, `port.${receiver.device}.tx_packets`),
    outputs: [
      {
        _tag: "ToPort",
        device: openedDevice(state, receiver),
        frame: encodeEthernet({
          destination: receiver.vmMac,
          source: receiver.gatewayMac,
          type,
          payload: packet,
        }),
      },
    ],
  }
}

/** KIND:DEVICE behind the name that the interface was asked with. */
export const openedDevice = (state: ModelState, entry: Interface): string =>
  state.config.ports.get(entry.spec.device) ?? entry.spec.device

const fromUnderlay = (state: ModelState, bytes: Bytes): Next => {
  const outer = decodeIpv6(bytes)
  if (outer === undefined) return drop(state, drops.malformed)
  if (outer.protocol !== protocols.ipv4 && outer.protocol !== protocols.ipv6)
    return drop(state, drops.outerProtocol)
  const id = find(state.underlay, outer.destination)
  const receiver = id === undefined ? undefined : find(state.interfaces, id)
  if (receiver === undefined) return drop(state, drops.outerMiss)
  const inner = outer.protocol === protocols.ipv4 ? decodeIpv4(outer.payload) : decodeIpv6(outer.payload)
  if (inner === undefined) return drop(state, drops.malformed)
  const own = outer.protocol === protocols.ipv4 ? receiver.spec.ipv4 : receiver.spec.ipv6
  if (inner.destination !== own) return drop(state, drops.innerDestination)
  return deliver(state, receiver, inner.packet)
}
