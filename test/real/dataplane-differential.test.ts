/**
 * Frames of every kind through two hosts of the model and through two native engines with real TAP devices and a real
 * underlay: what guests are sent must be the same, byte for byte. Only DHCPv4 messages are compared by meaning, since
 * order and padding are free.
 *
 * Here is what the devices and the kernel between the hosts could change. What the pipeline decides, with random
 * configurations and damaged packets, is compared in test/differential.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import type { InterfaceSpec, Operation } from "#protocol/dataplane/Dataplane.ts"
import { linkLocal, multicastMac } from "#protocol/dataplane/model/address.ts"
import { type Bytes, concat, empty, fromAscii, hex, put16 } from "#protocol/dataplane/model/bytes.ts"
import * as Dhcp4 from "#protocol/dataplane/model/dhcp4.ts"
import * as Dhcp6 from "#protocol/dataplane/model/dhcp6.ts"
import { etherTypes } from "#protocol/dataplane/model/ethernet.ts"
import { encodeIpv4, encodeIpv6, protocols } from "#protocol/dataplane/model/ip.ts"
import {
  decodeUdp,
  encodeEcho4,
  encodeEcho6,
  encodeTcp,
  encodeUdp,
} from "#protocol/dataplane/model/transport.ts"
import { make as makeUnderlay, ModelUnderlay } from "#runtime/dataplane/ModelUnderlay.ts"
import {
  arpRequest,
  datagram,
  drain,
  flush,
  frame,
  type Guest,
  guest,
  ipv4Of,
  neighbourFrame,
  send,
  solicitation,
} from "../contract/dataplane-guest.ts"
import { type ContractHost, ContractHosts, settings } from "../contract/dataplane-hosts.ts"
import { modelHost } from "../contract/model-hosts.ts"
import { layerNativeHosts, missing } from "./native-hosts.ts"

const roles = ["a", "b", "c", "d", "e"] as const
type Role = (typeof roles)[number]
type Guests = Readonly<Record<Role, Guest>>

const [first, second] = [200, 201]

/** a, b and c are one network over two hosts; d and e another one with addresses of a and c. */
const specs = (device: () => string): Readonly<Record<Role, InterfaceSpec>> => {
  const spec = (id: Role, vni: number, last: number): InterfaceSpec => ({
    id,
    vni,
    ipv4: `10.0.0.${last}`,
    ipv6: `fd00::${last}`,
    device: device(),
    hostname: `host-${id}`,
  })
  return {
    a: spec("a", first, 1),
    b: spec("b", first, 2),
    c: spec("c", first, 3),
    d: spec("d", second, 1),
    e: spec("e", second, 3),
  }
}

const routes = (to: Guest, vni: number, ...prefixes: ReadonlyArray<string>): ReadonlyArray<Operation> =>
  prefixes.map((prefix) => ({
    _tag: "PutRoute",
    route: { vni, prefix, nextHop: to.underlayAddress, nextHopVni: vni },
  }))

const populate = Effect.fnUntraced(function* (
  one: ContractHost,
  two: ContractHost,
  wanted: Readonly<Record<Role, InterfaceSpec>>,
  macs?: Readonly<Record<Role, string>>,
) {
  for (const host of [one, two])
    yield* host.dataplane.connect.pipe(Effect.retry({ schedule: Schedule.spaced("50 millis"), times: 200 }))
  const made: Record<string, Guest> = {}
  for (const role of roles) {
    const there = yield* guest(role === "c" || role === "e" ? two : one, wanted[role])
    // The same guests on both engines; what they learned while they were made is told again here.
    made[role] = macs === undefined ? there : { ...there, mac: macs[role] }
  }
  const guests = made as Guests
  const { a, b, c, d, e } = guests
  const strange = { ...c, underlayAddress: "fd00:f:72:0:d001:ff:0:99" }
  const results = [
    ...(yield* one.dataplane.apply([
      ...routes(c, first, "10.0.0.3/32", "fd00::3/128", "10.3.0.0/16", "fd00:3::/32"),
      ...routes(e, second, "10.0.0.3/32", "fd00::3/128"),
      ...routes(e, first, "10.0.0.66/32", "fd00::66/128"),
      ...routes(strange, first, "10.0.0.77/32", "fd00::77/128"),
      ...routes(b, first, "10.0.0.88/32", "fd00::88/128"),
    ])),
    ...(yield* two.dataplane.apply([
      ...routes(a, first, "10.0.0.1/32", "fd00::1/128"),
      ...routes(b, first, "10.0.0.2/32", "fd00::2/128"),
      ...routes(d, second, "10.0.0.1/32", "fd00::1/128"),
    ])),
  ]
  assert.isTrue(results.every((result) => result.code === 0))
  for (const role of roles) yield* drain(guests[role])
  return guests
})

/** What each guest was sent because of one frame of `a`. */
const exchange = Effect.fnUntraced(function* (guests: Guests, bytes: Bytes) {
  const { a, b, c, d, e } = guests
  yield* send(a, bytes)
  const seen: Record<Role, ReadonlyArray<Bytes>> = {
    a: yield* drain(a),
    b: yield* flush(a, b),
    c: yield* flush(a, c),
    d: yield* drain(d),
    e: yield* drain(e),
  }
  return Object.fromEntries(roles.map((role) => [role, seen[role].map(comparable)]))
})

const comparable = (bytes: Bytes): unknown => {
  const packet = ipv4Of(bytes)
  const udp = packet?.protocol === protocols.udp ? decodeUdp(packet, packet.payload) : undefined
  const dhcp = udp?.sourcePort === 67 ? Dhcp4.decodeDhcp4(udp.payload) : undefined
  if (packet === undefined || dhcp === undefined) return hex(bytes)
  const { destination, source, ttl } = packet
  return {
    link: hex(bytes.subarray(0, 14)),
    source,
    destination,
    ttl,
    dhcp: { ...dhcp, options: [...dhcp.options].map(([key, value]) => [key, hex(value)]).sort() },
  }
}

const dhcp4 = (
  from: Guest,
  type: number,
  more: ReadonlyArray<readonly [number, Bytes]>,
  open = false,
): Bytes => {
  const addresses = { source: "0.0.0.0", destination: "255.255.255.255" }
  const message = Dhcp4.encodeDhcp4({
    reply: false,
    transaction: 7,
    broadcast: open,
    clientAddress: "0.0.0.0",
    yourAddress: "0.0.0.0",
    relay: "0.0.0.0",
    clientMac: from.mac,
    options: new Map([[53, Uint8Array.of(type)], ...more]),
  })
  const payload = encodeUdp(addresses, { sourcePort: 68, destinationPort: 67, payload: message })
  return frame(from, "ff:ff:ff:ff:ff:ff", 0x0800, encodeIpv4({ ...addresses, protocol: 17, payload }))
}

const dhcp6 = (from: Guest, type: number, options: ReadonlyArray<Dhcp6.Option>): Bytes => {
  const addresses = { source: linkLocal(from.mac), destination: "ff02::1:2" }
  const message = Dhcp6.encodeDhcp6({ type, transaction: 7, options })
  const payload = encodeUdp(addresses, { sourcePort: 546, destinationPort: 547, payload: message })
  return frame(from, multicastMac("ff02::1:2"), 0x86dd, encodeIpv6({ ...addresses, protocol: 17, payload }))
}

/** Well-formed frames of `a`, of every kind that the pipeline knows. */
const valid = (a: Guest): ReadonlyArray<Bytes> => {
  const arps = [
    ["10.0.0.1", "169.254.0.1"],
    ["0.0.0.0", "169.254.0.1"],
    ["10.0.0.1", "10.0.0.2"],
    ["10.0.0.1", "10.0.0.1"],
    ["10.0.0.9", "169.254.0.1"],
  ].map(([sender = "", target = ""]) => arpRequest(a.mac, sender, target))
  const neighbours = [
    solicitation(a.mac, "fd00::1", "fe80::1"),
    solicitation(a.mac, linkLocal(a.mac), "fe80::1"),
    solicitation(a.mac, "::", "fe80::1"),
    solicitation(a.mac, "::", "fd00::1"),
    solicitation(a.mac, "fd00::1", "fd00::2"),
    ...["fd00::1", linkLocal(a.mac), "::"].map((source) =>
      neighbourFrame(
        a.mac,
        { source, destination: "ff02::2" },
        { _tag: "RouterSolicitation", sourceMac: source === "::" ? undefined : a.mac },
      ),
    ),
  ]
  const requested = [50, Uint8Array.of(10, 0, 0, 1)] as const
  const other = [50, Uint8Array.of(10, 0, 0, 9)] as const
  const server = [54, Uint8Array.of(169, 254, 0, 1)] as const
  const leases4 = [
    ...[1, 2, 3, 4, 5, 6, 7, 8, 9].map((type) => dhcp4(a, type, [])),
    dhcp4(a, 1, [[61, Uint8Array.of(1, 2, 3)]], true),
    dhcp4(a, 3, [requested, server]),
    dhcp4(a, 3, [other]),
    dhcp4(a, 3, [requested, [54, Uint8Array.of(1, 2, 3, 4)]]),
    dhcp4(a, 3, [requested, [54, Uint8Array.of(1)]]),
    dhcp4(a, 1, [[53, Uint8Array.of(1, 1)]]),
  ]
  const client = { code: 1, value: Dhcp6.duid(a.mac) }
  const own = { code: 2, value: Dhcp6.duid(a.gatewayMac) }
  const association = (...addresses: ReadonlyArray<string>) => ({
    code: 3,
    value: Dhcp6.encodeAssociation({
      id: 1,
      addresses: addresses.map((address) => ({ address, validSeconds: 60 })),
      status: undefined,
    }),
  })
  const prefix = { code: 25, value: concat([0, 0, 0, 9], new Uint8Array(8)) }
  const temporary = { code: 4, value: Uint8Array.of(0, 0, 0, 3) }
  const leases6 = [
    ...Array.from({ length: 13 }, (_, type) => dhcp6(a, type, [client, association("fd00::1")])),
    ...Array.from({ length: 13 }, (_, type) => dhcp6(a, type, [client, own, association("fd00::9")])),
    dhcp6(a, 1, [client, { code: 14, value: empty }, association(), prefix, temporary]),
    dhcp6(a, 1, [association()]),
    dhcp6(a, 11, []),
    dhcp6(a, 11, [own]),
    dhcp6(a, 4, [client]),
  ]
  const echo = { reply: false, identifier: 1, sequence: 2, data: fromAscii("echo") }
  const echoes = ["169.254.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"].map((destination) =>
    frame(
      a,
      a.gatewayMac,
      0x0800,
      encodeIpv4({
        source: "10.0.0.1",
        destination,
        protocol: 1,
        identification: 9,
        payload: encodeEcho4(echo),
      }),
    ),
  )
  const echoes6 = ["fe80::1", "fd00::2", "fd00::3"].flatMap((destination) =>
    ["fd00::1", linkLocal(a.mac), "::"].map((source) => {
      const addresses = { source, destination }
      return frame(
        a,
        a.gatewayMac,
        0x86dd,
        encodeIpv6({ ...addresses, protocol: 58, flowLabel: 0xabcde, payload: encodeEcho6(addresses, echo) }),
      )
    }),
  )
  const destinations = ["10.0.0.2", "10.0.0.3", "10.0.0.1", "10.0.0.66", "10.0.0.77", "10.0.0.88", "10.3.0.1"]
  const nowhere = [
    "10.9.9.9",
    "0.0.0.0",
    "127.0.0.1",
    "169.254.9.9",
    "224.0.0.1",
    "250.0.0.1",
    "255.255.255.255",
  ]
  const destinations6 = ["fd00::2", "fd00::3", "fd00::1", "fd00::66", "fd00::77", "fd00::88", "fd00:3::1"]
  const nowhere6 = ["fd09::1", "::", "::1", "fe80::9", "ff02::1", "ff05::2"]
  const datagrams = [...destinations, ...nowhere, ...destinations6, ...nowhere6].flatMap((to) => [
    datagram(a, to, "hello"),
    datagram(a, to, "spoofed", to.includes(":") ? "fd00::9" : "10.0.0.9"),
  ])
  const tcp = ["10.0.0.2", "10.0.0.3"].map((destination) => {
    const addresses = { source: "10.0.0.1", destination }
    const payload = encodeTcp(addresses, {
      sourcePort: 1,
      destinationPort: 2,
      sequence: 3,
      acknowledgement: 4,
      flags: { syn: true },
      window: 5,
      payload: empty,
    })
    return frame(a, a.gatewayMac, 0x0800, encodeIpv4({ ...addresses, protocol: protocols.tcp, payload }))
  })
  return [arps, neighbours, leases4, leases6, echoes, echoes6, datagrams, tcp, odd(a)].flat()
}

/** Legal, and seldom. */
const odd = (a: Guest): ReadonlyArray<Bytes> => {
  const addresses = { source: "10.0.0.1", destination: "10.0.0.3" }
  const plain = encodeIpv4({ ...addresses, protocol: 132, payload: fromAscii("sctp?") })
  const fragment = Uint8Array.from(plain)
  fragment.set([0x20, 7], 6)
  const options = concat([0x46, 0, 0, 29], plain.subarray(4, 20), [1, 1, 1, 1], plain.subarray(20))
  const to = (bytes: Bytes, type: number = etherTypes.ipv4, mac = a.gatewayMac) => frame(a, mac, type, bytes)
  const six = (protocol: number, payload: Bytes) =>
    encodeIpv6({ source: "fd00::1", destination: "fd00::3", protocol, payload })
  return [
    to(plain),
    to(fragment),
    to(options),
    to(concat(plain, [1, 2, 3, 4])),
    to(encodeIpv4({ ...addresses, protocol: 17, ttl: 0, payload: empty })),
    to(encodeIpv4({ ...addresses, protocol: 17, payload: Uint8Array.of(1, 2, 3) })),
    to(six(59, empty), etherTypes.ipv6),
    to(six(44, Uint8Array.of(17, 0, 0, 1, 0, 0, 0, 9, 1, 2, 3)), etherTypes.ipv6),
    to(concat(six(17, fromAscii("padded")), [9, 9]), etherTypes.ipv6),
    to(plain, etherTypes.ipv4, "ff:ff:ff:ff:ff:ff"),
    to(plain, etherTypes.ipv4, "02:00:00:00:00:01"),
    to(six(59, empty), etherTypes.ipv6, "33:33:00:00:00:01"),
    to(fromAscii("who knows"), 0x1234),
    to(concat(put16(5), put16(etherTypes.ipv4), plain), 0x8100),
    to(empty, etherTypes.ipv4),
    to(empty, etherTypes.ipv6),
    to(empty, etherTypes.arp),
  ]
}

const compare = Effect.fnUntraced(function* () {
  const native = yield* ContractHosts
  const wanted = specs(native.device)
  const real = yield* populate(native.first, native.second, wanted)
  const macs = Object.fromEntries(roles.map((role) => [wanted[role].device, real[role].gatewayMac]))
  const underlay = makeUnderlay()
  const host = (prefix: string) =>
    Effect.provideService(
      modelHost(prefix, (model) => Effect.sync(() => model.session()), undefined, macs),
      ModelUnderlay,
      underlay,
    )
  const guestMacs = Object.fromEntries(roles.map((role) => [role, real[role].mac])) as Record<Role, string>
  const models = [yield* host(settings.prefixes[0]), yield* host(settings.prefixes[1])] as const
  const model = yield* populate(models[0], models[1], wanted, guestMacs)
  const counts: Record<Role, number> = { a: 0, b: 0, c: 0, d: 0, e: 0 }
  const check = Effect.fnUntraced(function* (bytes: Bytes) {
    const expected = yield* exchange(model, bytes)
    const got = yield* Effect.catchTag(exchange(real, bytes), "NoFrame", (error) =>
      Effect.succeed(error.message),
    )
    for (const role of roles) counts[role] += expected[role]?.length ?? 0
    assert.deepStrictEqual(got, expected, `frame ${hex(bytes)}`)
  })
  for (const bytes of valid(real.a)) yield* check(bytes)
  // The comparison means something: frames did arrive, and nothing reached the other network.
  assert.isTrue(counts.a > 50 && counts.b > 3 && counts.c > 3)
  assert.deepInclude(counts, { d: 0, e: 0 })
  for (const [index, host] of [native.first, native.second].entries()) {
    const twin = models[index]
    if (twin === undefined) continue
    assert.deepStrictEqual(
      dropped(yield* host.dataplane.counters),
      dropped(yield* twin.dataplane.counters),
      `the reasons of host ${index + 1}`,
    )
  }
})

/** Why frames were dropped, where they were. */
const dropped = (counters: ReadonlyMap<string, bigint>): Readonly<Record<string, bigint>> =>
  Object.fromEntries([...counters].filter(([name, value]) => name.startsWith("drop.") && value > 0n).sort())

const lacking = missing()
describe("the model and the native engine", () => {
  if (lacking === undefined)
    it.live(
      "send guests the same bytes for the same frames",
      () => compare().pipe(Effect.provide(layerNativeHosts)),
      120_000,
    )
  else it.skip(`needs ${lacking}`, () => undefined)
})
