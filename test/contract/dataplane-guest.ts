/** A guest whose every frame the test writes itself: what the contract suite sends and looks for. */
import { Effect } from "effect"
import type { InterfaceSpec, OperationResult } from "#protocol/dataplane/Dataplane.ts"
import { broadcastMac, linkLocal, multicastMac, solicitedNode } from "#protocol/dataplane/model/address.ts"
import { type Bytes, equal, fromAscii } from "#protocol/dataplane/model/bytes.ts"
import {
  decodeArp,
  decodeEthernet,
  encodeArp,
  encodeEthernet,
  etherTypes,
} from "#protocol/dataplane/model/ethernet.ts"
import {
  decodeIpv4,
  decodeIpv6,
  encodeIpv4,
  encodeIpv6,
  type Ipv4,
  type Ipv6,
  protocols,
} from "#protocol/dataplane/model/ip.ts"
import { decodeNeighbour, encodeNeighbour, type Neighbour } from "#protocol/dataplane/model/neighbour.ts"
import { encodeEcho4, encodeEcho6, encodeUdp } from "#protocol/dataplane/model/transport.ts"
import type { ContractHost } from "./dataplane-hosts.ts"

export interface Guest {
  readonly host: ContractHost
  readonly spec: InterfaceSpec
  readonly mac: string
  readonly underlayAddress: string
  /** As the guest sees it. */
  readonly gatewayMac: string
}

export const frame = (guest: Pick<Guest, "mac">, destination: string, type: number, payload: Bytes): Bytes =>
  encodeEthernet({ destination, source: guest.mac, type, payload })

export const arpRequest = (mac: string, senderIp: string, targetIp: string): Bytes =>
  frame(
    { mac },
    broadcastMac,
    etherTypes.arp,
    encodeArp({ operation: "request", senderMac: mac, senderIp, targetMac: "00:00:00:00:00:00", targetIp }),
  )

export const neighbourFrame = (
  mac: string,
  addresses: { readonly source: string; readonly destination: string },
  message: Neighbour,
): Bytes =>
  frame(
    { mac },
    multicastMac(addresses.destination),
    etherTypes.ipv6,
    encodeIpv6({
      ...addresses,
      protocol: protocols.icmpv6,
      hopLimit: 255,
      payload: encodeNeighbour(addresses, message),
    }),
  )

export const solicitation = (mac: string, source: string, target: string): Bytes =>
  neighbourFrame(
    mac,
    { source, destination: solicitedNode(target) },
    { _tag: "NeighbourSolicitation", target, sourceMac: source === "::" ? undefined : mac },
  )

export const ipv4Of = (bytes: Bytes): Ipv4 | undefined => {
  const outer = decodeEthernet(bytes)
  return outer?.type === etherTypes.ipv4 ? decodeIpv4(outer.payload) : undefined
}

export const ipv6Of = (bytes: Bytes): Ipv6 | undefined => {
  const outer = decodeEthernet(bytes)
  return outer?.type === etherTypes.ipv6 ? decodeIpv6(outer.payload) : undefined
}

export const neighbourOf = (bytes: Bytes): Neighbour | undefined => {
  const packet = ipv6Of(bytes)
  return packet === undefined ? undefined : decodeNeighbour(packet)
}

const arpReply =
  (mac: string) =>
  (bytes: Bytes): boolean => {
    const outer = decodeEthernet(bytes)
    const arp = outer?.type === etherTypes.arp ? decodeArp(outer.payload) : undefined
    return arp?.operation === "reply" && arp.targetMac === mac
  }

const advertised =
  (mac: string) =>
  (bytes: Bytes): boolean => {
    const message = neighbourOf(bytes)
    return (
      decodeEthernet(bytes)?.destination === mac &&
      message?._tag === "NeighbourAdvertisement" &&
      message.target === "fe80::1"
    )
  }

/** What a gateway may say at any time without being asked: it is not part of any answer. */
export const unsolicited = (bytes: Bytes): boolean => {
  const outer = decodeEthernet(bytes)
  if (outer?.type === etherTypes.arp) {
    const arp = decodeArp(outer.payload)
    return arp !== undefined && arp.senderIp === arp.targetIp
  }
  const packet = ipv6Of(bytes)
  const message = packet === undefined ? undefined : decodeNeighbour(packet)
  if (packet?.destination !== "ff02::1" || message === undefined) return false
  return (
    message._tag === "RouterAdvertisement" ||
    (message._tag === "NeighbourAdvertisement" && !message.solicited)
  )
}

/** Lets a guest that knows nothing yet find its gateway. */
const resolve = (host: ContractHost, device: string, mac: string, spec: InterfaceSpec) =>
  Effect.gen(function* () {
    if (spec.ipv4 === undefined) {
      yield* host.send(device, solicitation(mac, linkLocal(mac), "fe80::1"))
      return yield* host.receiveUntil(device, advertised(mac), "neighbour advertisement of the gateway")
    }
    yield* host.send(device, arpRequest(mac, spec.ipv4, "169.254.0.1"))
    return yield* host.receiveUntil(device, arpReply(mac), "ARP reply of the gateway")
  })

let nextMac = 1

const required = (result: OperationResult | undefined) =>
  result?.code === 0 && result.interface !== undefined
    ? Effect.succeed(result.interface)
    : Effect.die(new Error(`CreateInterface: ${result?.code} ${result?.message}`))

/** Creates an interface, plugs a guest in and lets it find its gateway. */
export const guest = Effect.fnUntraced(function* (host: ContractHost, spec: InterfaceSpec) {
  const mac = `52:54:00:00:${(nextMac >> 8).toString(16).padStart(2, "0")}:${(nextMac++ & 0xff).toString(16).padStart(2, "0")}`
  const [result] = yield* host.dataplane.apply([{ _tag: "CreateInterface", spec }])
  const made = yield* required(result)
  yield* host.attach(spec.device)
  const answer = (yield* resolve(host, spec.device, mac, spec)).at(-1)
  const gatewayMac = answer === undefined ? broadcastMac : (decodeEthernet(answer)?.source ?? broadcastMac)
  return {
    host,
    spec: made.spec,
    mac,
    underlayAddress: made.underlayAddress,
    gatewayMac,
  } satisfies Guest as Guest
})

export const send = (from: Guest, bytes: Bytes) => from.host.send(from.spec.device, bytes)

export const receiveUntil = (to: Guest, fits: (bytes: Bytes) => boolean, what: string) =>
  Effect.map(to.host.receiveUntil(to.spec.device, fits, what), (frames) =>
    frames.filter((bytes) => !unsolicited(bytes) || fits(bytes)),
  )

/** Sends and waits for an answer on the same port; only it, and nothing before it. */
export const ask = Effect.fnUntraced(function* (
  from: Guest,
  bytes: Bytes,
  fits: (bytes: Bytes) => boolean,
  what: string,
) {
  yield* send(from, bytes)
  const frames = yield* receiveUntil(from, fits, what)
  if (frames.length !== 1)
    return yield* Effect.die(new Error(`${frames.length - 1} frames came before the ${what}`))
  return frames[0] ?? new Uint8Array(0)
})

/** A datagram of the guest to an address, by its gateway. */
export const datagram = (
  from: Guest,
  to: string,
  text: string,
  source = to.includes(":") ? from.spec.ipv6 : from.spec.ipv4,
): Bytes => {
  const addresses = { source: source ?? "::", destination: to }
  const payload = encodeUdp(addresses, {
    sourcePort: 4_000,
    destinationPort: 5_000,
    payload: fromAscii(text),
  })
  return to.includes(":")
    ? frame(
        from,
        from.gatewayMac,
        etherTypes.ipv6,
        encodeIpv6({ ...addresses, protocol: protocols.udp, payload }),
      )
    : frame(
        from,
        from.gatewayMac,
        etherTypes.ipv4,
        encodeIpv4({ ...addresses, protocol: protocols.udp, payload }),
      )
}

/** The IP packet of a frame, as it has to arrive: byte for byte. */
export const carries =
  (sent: Bytes) =>
  (arrived: Bytes): boolean =>
    equal(arrived.subarray(12), sent.subarray(12))

let nextMark = 1

/**
 * Frames that `to` was sent until now: `from` sends one more packet that must arrive, and all that arrives before
 * it has been caused before. `from` is the guest whose traffic is in question, on whichever host.
 */
export const flush = Effect.fnUntraced(function* (from: Guest, to: Guest) {
  const address = from.spec.ipv4 !== undefined && to.spec.ipv4 !== undefined ? to.spec.ipv4 : to.spec.ipv6
  const mark = datagram(from, address ?? "::", `mark ${nextMark++}`)
  yield* send(from, mark)
  const frames = yield* receiveUntil(to, carries(mark), "mark")
  return frames.slice(0, -1)
})

/**
 * Frames that the guest was sent until now, as far as its own host knows of them; and whatever the guest sent
 * before has been dealt with by its host. By an echo of the gateway that nobody else asks for.
 */
export const drain = Effect.fnUntraced(function* (to: Guest) {
  const echo = { reply: false, identifier: 0xfe77, sequence: 0, data: fromAscii(`mark ${nextMark++}`) }
  const four = to.spec.ipv4 !== undefined
  const addresses = four
    ? { source: to.spec.ipv4 ?? "", destination: "169.254.0.1" }
    : { source: linkLocal(to.mac), destination: "fe80::1" }
  const question = four
    ? encodeIpv4({ ...addresses, protocol: protocols.icmp, payload: encodeEcho4(echo) })
    : encodeIpv6({ ...addresses, protocol: protocols.icmpv6, payload: encodeEcho6(addresses, echo) })
  yield* send(to, frame(to, to.gatewayMac, four ? etherTypes.ipv4 : etherTypes.ipv6, question))
  const answers = (bytes: Bytes): boolean => {
    const payload = (four ? ipv4Of(bytes) : ipv6Of(bytes))?.payload
    return payload !== undefined && equal(payload.subarray(8), echo.data)
  }
  const frames = yield* receiveUntil(to, answers, "echo of the gateway")
  return frames.slice(0, -1)
})

/** Lets a packet through and gives it as it arrived. */
export const passes = Effect.fnUntraced(function* (from: Guest, to: Guest, bytes: Bytes) {
  yield* send(from, bytes)
  const frames = yield* receiveUntil(to, carries(bytes), "packet")
  return { before: frames.slice(0, -1), arrived: frames.at(-1) ?? new Uint8Array(0) }
})
