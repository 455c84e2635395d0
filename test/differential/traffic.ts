/**
 * Packets for a configuration: most are answers to what came out, or go on with what went in, so that flows live; the
 * others begin flows with whatever there is, quote earlier packets in ICMP errors, come in pieces, or are damaged.
 */
import { bytesOf, linkLocal, multicastMac } from "#protocol/dataplane/model/address.ts"
import { type Bytes, concat, empty, fromAscii, put32, u16, u32, u8 } from "#protocol/dataplane/model/bytes.ts"
import * as Dhcp4 from "#protocol/dataplane/model/dhcp4.ts"
import * as Dhcp6 from "#protocol/dataplane/model/dhcp6.ts"
import { encodeArp } from "#protocol/dataplane/model/ethernet.ts"
import { encodeNeighbour } from "#protocol/dataplane/model/neighbour.ts"
import type { Command, Observation, Options } from "./case.ts"
import type { Dice } from "./dice.ts"
import {
  echo,
  type Ends,
  flag,
  frame,
  icmp,
  icmpProtocol,
  ip,
  ipFrame,
  type IpOptions,
  isIcmpError,
  outer,
  read,
  sctp,
  type Seen,
  tcp,
  udp,
} from "./packets.ts"
import { gatewayMac } from "./case.ts"
import {
  balancerAddresses,
  type Edge,
  edgeOutside,
  type Endpoint,
  macOfGateway,
  outside,
  peers,
  type Plan,
  remotes,
  servicePorts,
  type Vm,
} from "./plan.ts"

export interface Situation {
  readonly plan: Plan
  readonly dice: Dice
  readonly mtu: number
  readonly services: NonNullable<Options["services"]>
  /** The last of what came out and went in, the newest last. */
  readonly emitted: Array<Observation["emitted"][number]>
  readonly sent: Array<Command>
}

const isV6 = (address: string): boolean => address.includes(":")

const fromVm = (vm: Vm, packet: Bytes, dice: Dice): Command => ({
  _tag: "Frame",
  port: vm.port,
  bytes: ipFrame(
    dice.oneIn(60)
      ? dice.pick(["ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01", "02:00:00:00:00:77"])
      : macOfGateway(vm),
    strangeMac(dice, vm),
    packet,
  ),
})

/** Another device behind the port. */
const strangeMac = (dice: Dice, vm: Vm): string =>
  dice.oneIn(80) ? dice.pick(["02:00:00:00:00:66", "03:00:00:00:00:01"]) : vm.mac

const fromUnderlay = (from: string, to: string, packet: Bytes): Command => ({
  _tag: "Uplink",
  bytes: outer(from, to, packet),
})

const data = (dice: Dice, mtu: number): Bytes => {
  const length = dice.weighted([
    [10, dice.below(40)],
    [2, 0],
    [1, mtu - 28],
    [1, mtu - 27 + dice.below(200)],
    [1, 600],
  ])
  const first = dice.below(256)
  return Uint8Array.from({ length }, (_, i) => (first + i) & 0xff)
}

const headers = (dice: Dice, v6: boolean): IpOptions => {
  const plain: IpOptions = {
    ttl: dice.oneIn(10) ? dice.pick([0, 1, 2, 255]) : 64,
    dontFragment: !dice.oneIn(3),
    trafficClass: dice.oneIn(6) ? dice.below(256) : 0,
    ...(dice.oneIn(2) ? { identification: dice.below(65536) } : {}),
    ...(v6 && dice.oneIn(2) ? { flowLabel: dice.below(1 << 20) } : {}),
  }
  if (!dice.oneIn(12)) return plain
  if (!v6)
    return {
      ...plain,
      options: dice.pick([Uint8Array.of(1, 1, 1, 0), Uint8Array.of(0x94, 4, 0, 0, 1, 1, 1, 0)]),
    }
  const option = (length: number): Bytes =>
    concat([length], [1, 4 + length * 8], new Uint8Array(4 + length * 8))
  const chains: ReadonlyArray<IpOptions["headers"]> = [
    [[0, option(0)]],
    [[60, option(1)]],
    [
      [0, option(0)],
      [60, option(0)],
      [43, concat([0, 4, 0], new Uint8Array(4))],
      [60, option(0)],
    ],
    [[44, concat([0, 0, 0], put32(7))]],
    [
      [0, option(0)],
      [0, option(0)],
    ],
    [
      [60, option(0)],
      [60, option(0)],
      [60, option(0)],
    ],
    [[51, concat([4, 0, 0], new Uint8Array(20))]],
    [[0, option(30)]],
    Array.from({ length: 9 }, () => [60, option(0)] as const),
  ]
  return { ...plain, headers: dice.pick(chains) ?? [] }
}

const clientPort = (dice: Dice): number => dice.pick([1000, 1001, 1002, 40000, 40001, 53, dice.below(65536)])
const serverPort = (dice: Dice): number =>
  dice.pick([...servicePorts, ...servicePorts, 1005, 60, dice.below(65536)])

/** The first packet of something new. */
export const opening = ({ dice, mtu }: Situation, ends: Ends): Bytes => {
  const v6 = isV6(ends.source)
  const options = headers(dice, v6)
  const kind = dice.weighted([
    [8, "tcp"],
    [6, "udp"],
    [4, "echo"],
    [1, "sctp"],
    [1, "odd tcp"],
    [1, "other"],
    [1, "icmp"],
    [1, "bare udp"],
  ] as const)
  switch (kind) {
    case "tcp":
    case "odd tcp": {
      const segment = {
        source: clientPort(dice),
        destination: serverPort(dice),
        sequence: dice.oneIn(8) ? 0xffff_fff0 : 1000 + dice.below(1 << 30),
        acknowledgement: kind === "tcp" ? 0 : dice.below(1 << 30),
        flags: kind === "tcp" ? flag.syn : dice.below(32),
        ...(dice.oneIn(3) ? { options: Uint8Array.of(2, 4, 5, 180) } : {}),
        ...(kind === "tcp" ? {} : { data: data(dice, mtu) }),
      }
      return ip(ends, 6, tcp(ends, segment), options)
    }
    case "udp":
      return ip(
        ends,
        17,
        udp(ends, clientPort(dice), serverPort(dice), data(dice, mtu), v6 || !dice.oneIn(6)),
        options,
      )
    case "echo":
      return ip(
        ends,
        icmpProtocol(ends),
        echo(ends, dice.oneIn(8), clientPort(dice), dice.below(9), data(dice, mtu)),
        options,
      )
    case "sctp":
      return ip(ends, 132, sctp(clientPort(dice), serverPort(dice), data(dice, mtu)), options)
    case "icmp":
      return ip(
        ends,
        icmpProtocol(ends),
        icmp(ends, dice.pick([13, 17, 9, 42, 140, 200]), dice.below(3), 0, data(dice, mtu)),
        options,
      )
    case "bare udp":
      return ip(
        ends,
        dice.pick([6, 17, 132, icmpProtocol(ends)]),
        data(dice, 40).subarray(0, dice.below(24)),
        options,
      )
    case "other":
      return ip(ends, dice.pick([47, 50, 51, 59, 2, 4, 41, 253, 1, 58]), data(dice, mtu), options)
  }
}

/** Packets that a receiver of `seen` may send because of it. */
const answer = ({ dice, mtu }: Situation, seen: Seen): Bytes => {
  const ends: Ends = { source: seen.destination, destination: seen.source }
  const options = dice.oneIn(4) ? headers(dice, seen.family === 6) : {}
  const { l4, protocol } = seen
  if (seen.fragment === "later") return ip(ends, protocol, l4, { ...options, offset: 64, identification: 5 })
  switch (protocol) {
    case 6:
      return ip(ends, 6, tcp(ends, segmentAfter(dice, mtu, seen)), options)
    case 17:
      return ip(ends, 17, udp(ends, seen.destinationPort, seen.sourcePort, data(dice, mtu)), options)
    case 132:
      return ip(ends, 132, sctp(seen.destinationPort, seen.sourcePort, data(dice, mtu)), options)
    case 1:
    case 58:
      return ip(
        ends,
        protocol,
        echo(ends, !dice.oneIn(9), seen.sourcePort, u16(l4, 6), l4.subarray(8)),
        options,
      )
    default:
      return ip(ends, protocol, l4, options)
  }
}

const segmentAfter = (dice: Dice, mtu: number, seen: Seen) => {
  const { l4 } = seen
  const flags = u8(l4, 13)
  const length = l4.length - (u8(l4, 12) >>> 4) * 4 + ((flags & (flag.syn | flag.fin)) !== 0 ? 1 : 0)
  const next = dice.oneIn(15)
    ? dice.below(32)
    : (flags & flag.syn) !== 0 && (flags & flag.ack) === 0
      ? flag.syn | flag.ack
      : (flags & flag.fin) !== 0
        ? flag.fin | flag.ack
        : dice.weighted([
            [12, flag.ack],
            [2, flag.fin | flag.ack],
            [1, flag.rst],
            [1, flag.rst | flag.ack],
          ])
  return {
    source: seen.destinationPort,
    destination: seen.sourcePort,
    sequence: (flags & flag.ack) !== 0 ? u32(l4, 8) : 5000,
    acknowledgement: (u32(l4, 4) + Math.max(0, length)) % 0x1_0000_0000,
    flags: next,
    data: (next & flag.syn) !== 0 ? empty : data(dice, mtu),
  }
}

/** The same sender goes on. */
const further = ({ dice, mtu }: Situation, seen: Seen): Bytes => {
  const ends: Ends = { source: seen.source, destination: seen.destination }
  const options = dice.oneIn(4) ? headers(dice, seen.family === 6) : {}
  switch (seen.protocol) {
    case 6: {
      const flags = dice.weighted([
        [8, flag.ack],
        [2, flag.syn],
        [2, flag.fin | flag.ack],
        [1, flag.rst],
        [1, dice.below(64)],
      ])
      return ip(
        ends,
        6,
        tcp(ends, {
          source: seen.sourcePort,
          destination: seen.destinationPort,
          sequence: (u32(seen.l4, 4) + 1) % 0x1_0000_0000,
          acknowledgement: u32(seen.l4, 8),
          flags,
          data: (flags & flag.syn) !== 0 ? empty : data(dice, mtu),
        }),
        options,
      )
    }
    case 17:
      return ip(ends, 17, udp(ends, seen.sourcePort, seen.destinationPort, data(dice, mtu)), options)
    default:
      return seen.bytes
  }
}

const errorTypes = (dice: Dice, v6: boolean): readonly [number, number, number] =>
  v6
    ? dice.pick([
        [1, 4, 0],
        [1, 0, 0],
        [2, 0, 1280],
        [3, 0, 0],
        [4, 1, 40],
      ] as const)
    : dice.pick([
        [3, 3, 0],
        [3, 1, 0],
        [3, 4, 1200],
        [11, 0, 0],
        [4, 0, 0],
        [5, 1, 0x0a00_0001],
        [12, 0, 0x1400_0000],
      ] as const)

/** An ICMP error about a packet that was received: from its receiver, or from somebody on the way. */
export const complaint = ({ dice }: Situation, seen: Seen): Bytes => {
  const v6 = seen.family === 6
  const router = v6 ? "2001:db8:99::fe" : "198.51.100.254"
  const ends: Ends = { source: dice.oneIn(3) ? router : seen.destination, destination: seen.source }
  const [type, code, rest] = errorTypes(dice, v6)
  const header = seen.bytes.length - seen.l4.length
  const kept = dice.pick([
    header + 8,
    header + 8,
    header + 4,
    header + 20,
    v6 ? 1232 : 548,
    seen.bytes.length,
    10,
  ])
  const quoted = Uint8Array.from(seen.bytes.subarray(0, Math.min(kept, v6 ? 1232 : 1200)))
  // On its way the packet's TTL went down, and with it the IPv4 header's checksum went up.
  return ip(
    ends,
    icmpProtocol(ends),
    icmp(ends, type, code, rest, quoted),
    dice.oneIn(4) ? headers(dice, v6) : {},
  )
}

/** An IP packet in pieces, as a sender cuts it; some may be missing or late. */
export const pieces = ({ dice }: Situation, packet: Bytes): ReadonlyArray<Bytes> => {
  const seen = read(packet)
  if (seen === undefined || seen.fragment !== "whole" || seen.l4.length < 16) return [packet]
  const ends: Ends = { source: seen.source, destination: seen.destination }
  const identification = dice.below(4)
  const size = dice.pick([8, 8, 16, 24])
  const out: Array<Bytes> = []
  for (let at = 0; at < seen.l4.length && out.length < 4; at += size)
    out.push(
      ip(ends, seen.protocol, seen.l4.subarray(at, at + size), {
        offset: at,
        more: at + size < seen.l4.length,
        identification,
      }),
    )
  if (dice.oneIn(5)) out.reverse()
  if (dice.oneIn(5)) out.splice(dice.below(out.length), 1)
  return out
}

const packetOf = (command: Command): Seen | undefined => {
  if (command._tag === "Frame") return read(command.bytes.subarray(14))
  if (command._tag !== "Uplink") return undefined
  return innerOf(command.bytes)?.inner
}

/** Tunnelled or plain. */
const innerOf = (bytes: Bytes): { readonly whole: Seen; readonly inner: Seen } | undefined => {
  const whole = read(bytes)
  if (whole === undefined) return undefined
  const inner = whole.protocol === 4 || whole.protocol === 41 ? read(whole.l4) : undefined
  return { whole, inner: inner ?? whole }
}

/** Back to where `emitted` went: from the VM that it was delivered to, or from the far end of the underlay. */
const back = (
  s: Situation,
  emitted: Observation["emitted"][number],
  make: (seen: Seen) => ReadonlyArray<Bytes>,
): ReadonlyArray<Command> => {
  if (emitted.port === "") {
    const found = innerOf(emitted.bytes)
    if (found === undefined) return []
    const { inner, whole } = found
    if (inner === whole) return make(whole).map((bytes) => ({ _tag: "Uplink", bytes }))
    const to = s.dice.oneIn(15)
      ? (s.dice.maybe(underlays(s.plan)) ?? whole.source)
      : wayBack(s.plan, inner, whole)
    return make(inner).map((packet) => fromUnderlay(whole.destination, to, packet))
  }
  const vm = s.plan.vms.find(({ port }) => port === emitted.port)
  const edge = s.plan.edges.find(({ port }) => port === emitted.port)
  const seen = read(emitted.bytes.subarray(14))
  if (edge !== undefined && seen !== undefined)
    return make(seen).map((packet) => fromOutside(s, edge, packet))
  if (vm === undefined || seen === undefined) return []
  return make(seen).map((packet) => fromVm(vm, packet, s.dice))
}

const fromOutside = (s: Situation, edge: Edge, packet: Bytes): Command => ({
  _tag: "Frame",
  port: edge.port,
  bytes: ipFrame(s.dice.oneIn(40) ? "ff:ff:ff:ff:ff:ff" : gatewayMac(edge.port), edgeOutside.mac, packet),
})

/** What neighbours of an edge say: they are asked, ask, or speak up. */
const neighbourOutside = (s: Situation, edge: Edge): Command => {
  const { dice } = s
  const send = (destination: string, type: number, payload: Bytes): Command => ({
    _tag: "Frame",
    port: edge.port,
    bytes: frame(destination, edgeOutside.mac, type, payload),
  })
  const here = [...reachable(s.plan).map(({ address }) => address), "192.0.2.254", "2001:db8:99::fe"]
  if (dice.oneIn(2))
    return send(
      dice.oneIn(2) ? "ff:ff:ff:ff:ff:ff" : gatewayMac(edge.port),
      0x0806,
      encodeArp({
        operation: dice.oneIn(2) ? "reply" : "request",
        senderMac: dice.oneIn(8) ? "02:00:00:00:00:98" : edgeOutside.mac,
        senderIp: dice.pick([...edgeOutside.gateways4, ...edgeOutside.gateways4, "192.0.2.9", "203.0.113.9"]),
        targetMac: "00:00:00:00:00:00",
        targetIp: dice.pick([...here.filter((address) => !isV6(address)), "198.51.100.254", "192.0.2.9"]),
      }),
    )
  const source = dice.pick([...edgeOutside.gateways6, "2001:db8:99::2"])
  const solicited = dice.oneIn(2)
  const target = solicited ? dice.pick(here.filter(isV6)) : source
  const ends: Ends = {
    source: solicited && dice.oneIn(6) ? "::" : source,
    destination: solicited ? "ff02::1:ff00:fe" : dice.pick(["ff02::1", "2001:db8:99::fe"]),
  }
  const message = solicited
    ? ({
        _tag: "NeighbourSolicitation",
        target,
        sourceMac: ends.source === "::" ? undefined : edgeOutside.mac,
      } as const)
    : ({
        _tag: "NeighbourAdvertisement",
        target,
        targetMac: dice.oneIn(5) ? undefined : edgeOutside.mac,
        router: true,
        solicited: dice.oneIn(2),
        override: dice.oneIn(2),
      } as const)
  return send(
    multicastMac(ends.destination),
    0x86dd,
    ip(ends, 58, encodeNeighbour(ends, message), { ttl: dice.oneIn(12) ? 64 : 255 }),
  )
}

/** Through an edge, or to it, from both its sides. */
const atEdge = (s: Situation): ReadonlyArray<Command> => {
  const { dice, plan } = s
  const edge = dice.maybe(plan.edges)
  if (edge === undefined) return []
  if (dice.oneIn(4)) return [neighbourOutside(s, edge)]
  const inside = [
    ...reachable(plan).map(({ address }) => address),
    ...peers.map(([address]) => address),
    ...plan.neighbours.map(({ ip: address }) => String(address)),
  ]
  const away = [...outside, ...edgeOutside.own4.map(bare), ...edgeOutside.own6.map(bare)]
  const fromInside = dice.oneIn(2)
  const source = dice.pick(fromInside ? (dice.oneIn(10) ? outside : inside) : outside)
  const destination = dice.maybe(
    (fromInside ? away : dice.oneIn(8) ? away : inside).filter((address) => isV6(address) === isV6(source)),
  )
  if (destination === undefined) return []
  const ends: Ends = { source, destination }
  const range = dice.maybe(plan.neighbours.filter(({ ip: address }) => address === destination))
  const packet =
    range !== undefined && dice.oneIn(2)
      ? toPort(s, ends, [Number(range["minPort"]), Number(range["maxPort"]) - 1])
      : opening(s, ends)
  const whole = dice.oneIn(10) ? pieces(s, packet) : [packet]
  return whole.map((piece) =>
    fromInside ? fromUnderlay(dice.pick(remotes), edge.underlay, piece) : fromOutside(s, edge, piece),
  )
}

const bare = (prefix: string): string => prefix.split("/")[0] ?? prefix

/** Many flows of one VM to one server: what is counted by flows has an end. */
const crowd = (s: Situation): ReadonlyArray<Command> => {
  const { dice, plan } = s
  const limited = plan.vms.filter(
    ({ id, spec }) =>
      "flowRate" in spec ||
      "flowLimit" in spec ||
      plan.endpoints.some(({ kind, owner }) => kind === "nat" && owner === id),
  )
  const vm = dice.maybe(limited)
  const source = dice.maybe([vm?.ipv4, vm?.ipv6].filter((address) => address !== undefined))
  if (vm === undefined || source === undefined) return []
  const destination = isV6(source) ? dice.pick(["64:ff9b::c633:6401", outside[3]]) : outside[0]
  const ends: Ends = { source, destination }
  const first = dice.pick([0, 1000, 1000, 65_530])
  // To one place from everywhere, or to several, which may share a port.
  const spread = dice.oneIn(3)
  return Array.from({ length: 6 }, (_, i) =>
    fromVm(
      vm,
      ip(ends, 17, udp(ends, (first + i) & 0xffff, spread ? 53 + i : 53, data(dice, 20)), {
        dontFragment: true,
      }),
      dice,
    ),
  )
}

/** Routes elsewhere lead an address to the underlay address of whoever has it. */
const wayBack = (plan: Plan, inner: Seen, whole: Seen): string => {
  const sender = plan.vms.find(({ underlay }) => underlay === whole.source)
  const fits = (vni: number): boolean => sender === undefined || sender.vni === vni
  return (
    plan.endpoints.find(({ address, vni }) => address === inner.source && fits(vni))?.underlay ??
    plan.vms.find(({ ipv4, ipv6, vni }) => (ipv4 === inner.source || ipv6 === inner.source) && fits(vni))
      ?.underlay ??
    whole.source
  )
}

const underlays = (plan: Plan): ReadonlyArray<string> => [
  ...plan.vms.map((vm) => vm.underlay),
  ...plan.endpoints.map((endpoint) => endpoint.underlay),
]

/** From where `command` came, again. */
const again = (s: Situation, command: Command, packet: Bytes): Command => {
  if (command._tag === "Frame") return { ...command, bytes: concat(command.bytes.subarray(0, 14), packet) }
  const whole = command._tag === "Uplink" ? read(command.bytes) : undefined
  return whole === undefined
    ? command
    : fromUnderlay(
        whole.source,
        s.dice.oneIn(15) ? (s.dice.maybe(underlays(s.plan)) ?? "") : whole.destination,
        packet,
      )
}

const sources = (s: Situation, vm: Vm): ReadonlyArray<string> => {
  const own = [vm.ipv4, vm.ipv6].filter((address) => address !== undefined)
  const more = s.plan.endpoints
    .filter(({ kind, owner }) => (kind === "alias" || kind === "share") && owner === vm.id)
    .map(({ address }) => address)
  return [
    ...own,
    ...own,
    ...own,
    ...more,
    ...(s.dice.oneIn(20) ? ["10.0.0.77", "fd00::77", "::", "0.0.0.0"] : []),
  ]
}

/** Whatever a VM could want to talk to. */
const destinations = (s: Situation, vm: Vm, v6: boolean): ReadonlyArray<string> => {
  const here = s.plan.vms.filter(({ vni }) => vni === vm.vni || s.dice.oneIn(6))
  const list = [
    ...here.flatMap((other) => [other.ipv4, other.ipv6].filter((address) => address !== undefined)),
    ...peers.map(([address]) => address),
    ...outside,
    ...outside,
    ...s.plan.endpoints.map(({ address }) => address),
    ...s.plan.endpoints.map(({ address }) => address),
    ...s.plan.endpoints
      .filter(({ kind, vni }) => kind === "balancer" && vni === vm.vni)
      .map(({ address }) => address),
    "64:ff9b::198.51.100.1",
    "64:ff9b::c633:6402",
  ]
  const odd = [
    "169.254.0.1",
    "fe80::1",
    "224.0.0.1",
    "255.255.255.255",
    "127.0.0.1",
    "0.0.0.0",
    "ff02::1",
    "::",
    "169.254.3.3",
    "fe80::9",
    "10.99.0.1",
    "fd99::1",
    ...balancerAddresses,
  ]
  return [...list, ...(s.dice.oneIn(4) ? odd : [])].filter((address) => isV6(address) === v6)
}

/** More often where there is more to it. */
const favoured = (plan: Plan): ReadonlyArray<Pick<Endpoint, "address" | "underlay" | "ports">> => [
  ...reachable(plan),
  ...plan.endpoints.filter(({ kind }) => kind === "balancer" || kind === "nat"),
]

const newFromVm = (s: Situation): ReadonlyArray<Bytes> & { vm?: Vm } => {
  const owners = s.plan.endpoints.filter(({ kind }) => kind === "nat").map(({ owner }) => owner)
  const translated = s.plan.vms.filter(({ id }) => owners.includes(id))
  const vm = s.dice.maybe(translated.length > 0 && s.dice.oneIn(2) ? translated : s.plan.vms)
  const source = vm === undefined ? undefined : s.dice.maybe(sources(s, vm))
  if (vm === undefined || source === undefined) return []
  const named = s.plan.endpoints.some(
    ({ kind, owner }) => owner === vm.id && (kind === "nat" || kind === "vip"),
  )
  const away = [...outside, ...outside, "64:ff9b::c633:6401", "64:ff9b::c633:6402"]
  const destination = s.dice.maybe(
    named && s.dice.oneIn(2)
      ? away.filter((address) => isV6(address) === isV6(source))
      : destinations(s, vm, isV6(source)),
  )
  if (destination === undefined) return []
  const normal =
    destination.startsWith("64:ff9b::") && destination.includes(".") ? "64:ff9b::c633:6401" : destination
  const ends: Ends = { source, destination: normal }
  const called = s.dice.oneIn(3) && !isV6(source) ? s.dice.maybe(s.services) : undefined
  if (called !== undefined) return Object.assign([toService(s, source, called)], { vm })
  const balancer = s.plan.endpoints.find(({ address, kind }) => kind === "balancer" && address === normal)
  const range = s.dice.maybe(balancer?.ports ?? [])
  const packet =
    range !== undefined && !s.dice.oneIn(4)
      ? toPort(s, ends, range)
      : named && s.dice.oneIn(4)
        ? toPort(s, ends, [80, 80])
        : opening(s, ends)
  return Object.assign([packet], { vm })
}

/** Endpoints with the addresses behind them. */
const reachable = (plan: Plan): ReadonlyArray<Pick<Endpoint, "address" | "underlay" | "ports">> => [
  ...plan.vms.flatMap((vm) =>
    [vm.ipv4, vm.ipv6]
      .filter((address) => address !== undefined)
      .map((address) => ({ address, underlay: vm.underlay, ports: [] })),
  ),
  ...plan.endpoints,
]

const newFromUnderlay = (s: Situation): ReadonlyArray<Command> => {
  const { dice, plan } = s
  const target = dice.maybe(favoured(plan))
  if (target === undefined) return []
  const v6 = isV6(target.address)
  const all = [...peers.map(([address]) => address), ...outside].filter((address) => isV6(address) === v6)
  const ends: Ends = {
    source: dice.pick(all),
    destination: dice.oneIn(20) ? dice.pick(reachable(plan)).address : target.address,
  }
  if (isV6(ends.source) !== isV6(ends.destination)) return []
  const neighbours = plan.neighbours
    .filter(({ ip }) => ip === target.address)
    .map(({ maxPort, minPort }) => [Number(minPort), Number(maxPort) - 1] as const)
  const range = dice.maybe([...target.ports, ...neighbours])
  const aimed = range === undefined ? opening(s, ends) : toPort(s, ends, range)
  const to = dice.oneIn(25)
    ? dice.pick([
        "fd00:f:71:0:d001::99",
        "fd00:f:71:0:d003:0:1:2",
        "fd00:f:71::1",
        "fd00:f:72::1",
        "fd00:f:71:0:d002:8000:100:99",
      ])
    : target.underlay
  if (dice.oneIn(60))
    return [{ _tag: "Uplink", bytes: outer(dice.pick(remotes), to, aimed, dice.pick([17, 59, 6, 41, 4])) }]
  const whole = dice.oneIn(8) ? pieces(s, aimed) : [aimed]
  return whole.map((packet) => fromUnderlay(dice.pick(remotes), to, packet))
}

const toService = (
  s: Situation,
  source: string,
  { ip: destination, port, protocol }: Situation["services"][number],
): Bytes => {
  const { dice } = s
  const ends: Ends = { source, destination }
  const to = dice.oneIn(12) ? 81 : port
  const from = clientPort(dice)
  const options = headers(dice, false)
  const segment = { source: from, destination: to, sequence: 9, acknowledgement: 0, flags: flag.syn }
  const packet =
    protocol === 6
      ? ip(ends, 6, tcp(ends, segment), options)
      : ip(ends, 17, udp(ends, from, to, data(dice, s.mtu), !dice.oneIn(6)), options)
  return dice.oneIn(12) ? (pieces(s, packet)[0] ?? packet) : packet
}

/** Something that goes to a port of a range. */
const toPort = (s: Situation, ends: Ends, [min, max]: readonly [number, number]): Bytes => {
  const { dice } = s
  const port = dice.oneIn(6) ? serverPort(dice) : min + dice.below(Math.max(1, max - min + 1))
  switch (dice.below(4)) {
    case 0:
      return ip(
        ends,
        icmpProtocol(ends),
        echo(ends, dice.oneIn(3), port & 0xffff, 1, data(dice, s.mtu)),
        headers(dice, isV6(ends.source)),
      )
    case 1:
      return ip(
        ends,
        17,
        udp(ends, clientPort(dice), port & 0xffff, data(dice, s.mtu)),
        headers(dice, isV6(ends.source)),
      )
    default:
      return ip(
        ends,
        6,
        tcp(ends, {
          source: clientPort(dice),
          destination: port & 0xffff,
          sequence: 77,
          acknowledgement: 0,
          flags: dice.oneIn(5) ? flag.ack : flag.syn,
        }),
        headers(dice, isV6(ends.source)),
      )
  }
}

const dhcp4 = (vm: Vm, dice: Dice): Bytes => {
  const ends: Ends = {
    source: dice.oneIn(3) ? (vm.ipv4 ?? "0.0.0.0") : "0.0.0.0",
    destination: dice.pick(["255.255.255.255", "169.254.0.1"]),
  }
  const own = bytesOf(vm.ipv4 ?? "10.0.0.1")
  const message = Dhcp4.encodeDhcp4({
    reply: dice.oneIn(30),
    transaction: dice.below(1 << 30),
    broadcast: dice.oneIn(2),
    clientAddress: dice.oneIn(4) ? ends.source : "0.0.0.0",
    yourAddress: "0.0.0.0",
    relay: "0.0.0.0",
    clientMac: vm.mac,
    options: new Map<number, Bytes>([
      [53, Uint8Array.of(dice.below(10))],
      ...(dice.oneIn(2) ? [[50, dice.oneIn(4) ? Uint8Array.of(10, 0, 0, 99) : own] as const] : []),
      ...(dice.oneIn(3) ? [[54, Uint8Array.of(169, 254, 0, dice.oneIn(4) ? 2 : 1)] as const] : []),
      ...(dice.oneIn(4) ? [[93, Uint8Array.of(0, dice.pick([0, 7, 16]))] as const] : []),
      ...(dice.oneIn(4) ? [[60, fromAscii(dice.pick(["HTTPClient", "PXEClient"]))] as const] : []),
      ...(dice.oneIn(6) ? [[77, fromAscii("iPXE")] as const] : []),
    ]),
  })
  return ip(ends, 17, udp(ends, dice.oneIn(20) ? 67 : 68, dice.oneIn(20) ? 68 : 67, message), {})
}

const dhcp6 = (vm: Vm, dice: Dice): Bytes => {
  const ends: Ends = { source: linkLocal(vm.mac), destination: dice.oneIn(4) ? "fe80::1" : "ff02::1:2" }
  const association = Dhcp6.encodeAssociation({
    id: 1,
    addresses: dice.oneIn(3)
      ? []
      : [{ address: dice.oneIn(4) ? "fd00::99" : (vm.ipv6 ?? "fd00::1"), validSeconds: 60 }],
    status: undefined,
  })
  const message = Dhcp6.encodeDhcp6({
    type: dice.below(14),
    transaction: dice.below(1 << 24),
    options: [
      ...(dice.oneIn(8) ? [] : [{ code: 1, value: Dhcp6.duid(vm.mac) }]),
      ...(dice.oneIn(2) ? [{ code: 2, value: Dhcp6.duid(dice.oneIn(6) ? vm.mac : macOfGateway(vm)) }] : []),
      { code: 3, value: association },
      ...(dice.oneIn(4) ? [{ code: 14, value: empty }] : []),
    ],
  })
  return ip(ends, 17, udp(ends, 546, 547, message), {})
}

/** What the gateway answers itself. */
const service = (s: Situation): ReadonlyArray<Command> => {
  const { dice, plan } = s
  const vm = dice.maybe(plan.vms)
  if (vm === undefined) return []
  const gateway = macOfGateway(vm)
  const mac = strangeMac(dice, vm)
  const send = (bytes: Bytes): Command => ({ _tag: "Frame", port: vm.port, bytes })
  const neighbour = (ends: Ends, message: Parameters<typeof encodeNeighbour>[1]): Command =>
    send(
      frame(
        multicastMac(ends.destination),
        mac,
        0x86dd,
        ip(ends, 58, encodeNeighbour(ends, message), { ttl: dice.oneIn(10) ? 64 : 255 }),
      ),
    )
  const from = dice.pick([vm.ipv6 ?? "fd00::1", linkLocal(vm.mac), "::"])
  switch (dice.below(6)) {
    case 0:
      return [
        send(
          frame(
            "ff:ff:ff:ff:ff:ff",
            mac,
            0x0806,
            encodeArp({
              operation: dice.oneIn(8) ? "reply" : "request",
              senderMac: dice.oneIn(8) ? "02:00:00:00:00:44" : mac,
              senderIp: dice.pick([vm.ipv4 ?? "10.0.0.9", vm.ipv4 ?? "10.0.0.9", "0.0.0.0", "10.0.0.99"]),
              targetMac: "00:00:00:00:00:00",
              targetIp: dice.pick(["169.254.0.1", "169.254.0.1", "10.0.0.2"]),
            }),
          ),
        ),
      ]
    case 1:
      return [
        neighbour(
          { source: from, destination: dice.oneIn(2) ? "fe80::1" : "ff02::1:ff00:1" },
          {
            _tag: "NeighbourSolicitation",
            target: dice.oneIn(4) ? "fd00::2" : "fe80::1",
            sourceMac: from === "::" ? undefined : mac,
          },
        ),
      ]
    case 2:
      return [
        neighbour(
          { source: from, destination: "ff02::2" },
          { _tag: "RouterSolicitation", sourceMac: from === "::" ? undefined : mac },
        ),
      ]
    case 3:
      return [send(ipFrame(dice.oneIn(2) ? gateway : "ff:ff:ff:ff:ff:ff", mac, dhcp4(vm, dice)))]
    case 4:
      return [send(ipFrame(dice.oneIn(3) ? gateway : "33:33:00:01:00:02", mac, dhcp6(vm, dice)))]
    default: {
      const v6 = dice.oneIn(2)
      const ends: Ends = {
        source:
          (v6 ? dice.pick([vm.ipv6, linkLocal(vm.mac)]) : vm.ipv4) ?? (v6 ? linkLocal(vm.mac) : "10.0.0.9"),
        destination: v6 ? "fe80::1" : "169.254.0.1",
      }
      const ping = ip(
        ends,
        icmpProtocol(ends),
        echo(ends, dice.oneIn(9), 7, 1, data(dice, 300)),
        headers(dice, v6),
      )
      return [send(ipFrame(gateway, mac, ping))]
    }
  }
}

export const damaged = (bytes: Bytes, dice: Dice, from: number): Bytes => {
  if (dice.oneIn(6)) return bytes.slice(0, from + dice.below(bytes.length - from + 1))
  if (dice.oneIn(8)) return concat(bytes, new Uint8Array(1 + dice.below(20)))
  const out = Uint8Array.from(bytes)
  for (let change = 0; change <= dice.below(3); change++) {
    const at = from + dice.below(Math.max(1, Math.min(out.length - from, 110)))
    out[at] = dice.oneIn(3) ? dice.below(256) : (out[at] ?? 0) ^ (1 << dice.below(8))
  }
  return out
}

const damage = (s: Situation): ReadonlyArray<Command> => {
  const one = s.dice.maybe(s.sent)
  if (one?._tag === "Frame")
    return [
      {
        _tag: "Frame",
        port: one.port,
        bytes: damaged(one.bytes, s.dice, s.dice.oneIn(6) ? 0 : 12),
      },
    ]
  if (one?._tag === "Uplink") return [{ ...one, bytes: damaged(one.bytes, s.dice, s.dice.oneIn(3) ? 0 : 40) }]
  return []
}

const other = (s: Situation): ReadonlyArray<Command> => {
  const { dice, plan } = s
  const vm = dice.maybe(plan.vms)
  return dice.pick<ReadonlyArray<Command>>([
    [
      {
        _tag: "Frame",
        port: dice.pick(["p6", "p7"]),
        bytes: frame("ff:ff:ff:ff:ff:ff", "02:00:00:00:00:01", 0x0806, new Uint8Array(28)),
      },
    ],
    vm === undefined
      ? []
      : [
          {
            _tag: "Frame",
            port: vm.port,
            bytes: frame(
              macOfGateway(vm),
              vm.mac,
              dice.pick([0x1234, 0x8100, 0x88cc]),
              fromAscii("who knows"),
            ),
          },
        ],
    vm === undefined ? [] : [{ _tag: "Frame", port: vm.port, bytes: new Uint8Array(1 + dice.below(20)) }],
    [{ _tag: "Uplink", bytes: new Uint8Array(1 + dice.below(60)).fill(0x60, 0, 1) }],
  ])
}

const vmOf = (s: Situation, made: ReadonlyArray<Bytes> & { vm?: Vm }): ReadonlyArray<Command> => {
  const { vm } = made
  if (vm === undefined) return []
  const whole = s.dice.oneIn(8) ? made.flatMap((packet) => pieces(s, packet)) : made
  return whole.map((packet) => fromVm(vm, packet, s.dice))
}

/** A long packet to the outside. */
const bulk = (s: Situation, vm: Vm): Command => {
  const source = vm.ipv4 ?? vm.ipv6 ?? "10.0.0.1"
  const ends: Ends = {
    source,
    destination: isV6(source) ? outside[3] : s.dice.pick([outside[0], peers[0]?.[0] ?? outside[0]]),
  }
  // As long as may be, so that a rate of a megabit ends.
  const length = s.mtu - (isV6(source) ? 48 : 28)
  return fromVm(vm, ip(ends, 17, udp(ends, 40000, 53, new Uint8Array(length))), s.dice)
}

const isMetered = ({ spec }: Vm): boolean => "totalRate" in spec || "publicRate" in spec

/** Many of one kind: what is counted by the second has an end. */
const flood = (s: Situation): ReadonlyArray<Command> => {
  const metered = s.plan.vms.filter(isMetered)
  const vm = s.dice.maybe(metered)
  const one =
    vm !== undefined && !s.dice.oneIn(4) ? [bulk(s, vm)] : s.dice.oneIn(2) ? service(s) : s.sent.slice(-1)
  const [first] = one
  if (first === undefined || first._tag === "Apply" || first._tag === "Advance") return []
  const few = s.mtu > 2000 ? 20 : 110
  return Array.from({ length: one.length === 1 && vm !== undefined ? few : 110 }, () => first)
}

const onwards = (s: Situation, said: Command): ReadonlyArray<Command> => {
  const seen = packetOf(said)
  return seen === undefined ? [] : [again(s, said, further(s, seen))]
}

/** An earlier sender or receiver goes on. */
export const goingOn = (s: Situation): ReadonlyArray<Command> => {
  const said = s.dice.maybe(s.sent.slice(-12))
  const heard = s.dice.maybe(s.emitted.slice(-12))
  if (said !== undefined && (heard === undefined || s.dice.oneIn(2))) return onwards(s, said)
  return heard === undefined ? [] : back(s, heard, (seen) => [answer(s, seen)])
}

/** What happens next on the wires: usually one packet. */
export const traffic = (s: Situation): ReadonlyArray<Command> => {
  const { dice } = s
  const recent = s.emitted.slice(dice.oneIn(3) ? 0 : -6)
  const heard = dice.maybe(recent)
  const said = dice.maybe(s.sent.slice(dice.oneIn(3) ? 0 : -8))
  const kind = dice.weighted([
    [heard === undefined ? 0 : 40, "answer"],
    [said === undefined ? 0 : 10, "go on"],
    [heard === undefined ? 0 : 6, "complain"],
    [22, "vm"],
    [16, "underlay"],
    [6, "service"],
    [6, "damage"],
    [1, "other"],
    [s.plan.vms.some(isMetered) ? (dice.oneIn(4) ? 4 : 0) : dice.oneIn(12) ? 4 : 0, "flood"],
    [2, "crowd"],
    [s.plan.edges.length > 0 ? 24 : 0, "edge"],
    [2, "replay"],
  ] as const)
  switch (kind) {
    case "answer":
      return heard === undefined
        ? []
        : back(s, heard, (seen) => {
            const made = isIcmpError(seen)
              ? opening(s, { source: seen.destination, destination: seen.source })
              : answer(s, seen)
            return dice.oneIn(12) ? pieces(s, made) : [made]
          })
    case "go on":
      return said === undefined ? [] : onwards(s, said)
    case "complain":
      return heard === undefined ? [] : back(s, heard, (seen) => [complaint(s, seen)])
    case "vm":
      return vmOf(s, newFromVm(s))
    case "underlay":
      return newFromUnderlay(s)
    case "service":
      return service(s)
    case "damage":
      return damage(s)
    case "other":
      return other(s)
    case "flood":
      return flood(s)
    case "crowd":
      return crowd(s)
    case "edge":
      return atEdge(s)
    case "replay":
      return said === undefined ? [] : [said]
  }
}

/** Moments at which something may end, and some between. */
export const pause = (dice: Dice, flowTimeoutSeconds: number): Command => {
  const timeout = flowTimeoutSeconds * 1000
  const milliseconds = dice.weighted([
    [10, 1 + dice.below(20)],
    [6, dice.below(1000)],
    [3, 1000],
    [2, 10_000],
    [4, timeout + dice.pick([-1, 0, 1, 1000])],
    [2, 30_000 + dice.pick([-1, 0, 1])],
    [2, 180_000 + dice.pick([-1, 0, 1, 1000])],
    [1, 86_400_000 + dice.pick([-1, 0, 1])],
    [1, 3_600_000],
  ])
  return { _tag: "Advance", milliseconds }
}
