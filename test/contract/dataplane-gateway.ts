/** The gateway as a guest sees it: ARP, neighbour discovery, echo and DHCP. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { bytesOf, linkLocal, multicastMac } from "#protocol/dataplane/model/address.ts"
import { type Bytes, equal, fromAscii, u16 } from "#protocol/dataplane/model/bytes.ts"
import * as Dhcp4 from "#protocol/dataplane/model/dhcp4.ts"
import * as Dhcp6 from "#protocol/dataplane/model/dhcp6.ts"
import { decodeArp, decodeEthernet, encodeEthernet, etherTypes } from "#protocol/dataplane/model/ethernet.ts"
import { encodeIpv4, encodeIpv6, protocols } from "#protocol/dataplane/model/ip.ts"
import {
  decodeEcho4,
  decodeEcho6,
  decodeUdp,
  encodeEcho4,
  encodeEcho6,
  encodeUdp,
} from "#protocol/dataplane/model/transport.ts"
import {
  arpRequest,
  ask,
  datagram,
  drain,
  flush,
  frame,
  type Guest,
  guest,
  ipv4Of,
  ipv6Of,
  neighbourFrame,
  neighbourOf,
  send,
  solicitation,
} from "./dataplane-guest.ts"
import { settings } from "./dataplane-hosts.ts"
import { specOf, type On } from "./dataplane-scenario.ts"

const toGateway = (from: Guest, type: number, payload: Bytes): Bytes =>
  frame(from, from.gatewayMac, type, payload)

export const gateway = (on: On): void => {
  on("ARP is answered for the gateway only, and only to the guest's own address", (hosts) =>
    Effect.gen(function* () {
      const a = yield* guest(hosts.first, specOf(hosts))
      const b = yield* guest(hosts.first, specOf(hosts, { vni: a.spec.vni, ipv4: "10.0.0.2" }))
      const isArp = (bytes: Bytes) => decodeEthernet(bytes)?.type === etherTypes.arp
      for (const sender of ["10.0.0.1", "0.0.0.0"]) {
        const reply = yield* ask(a, arpRequest(a.mac, sender, "169.254.0.1"), isArp, "ARP reply")
        const outer = decodeEthernet(reply)
        assert.deepInclude(outer, { destination: a.mac, source: a.gatewayMac })
        assert.deepStrictEqual(decodeArp(outer?.payload ?? reply), {
          operation: "reply",
          senderMac: a.gatewayMac,
          senderIp: "169.254.0.1",
          targetMac: a.mac,
          targetIp: sender,
        })
      }
      yield* send(a, arpRequest(a.mac, "10.0.0.1", "10.0.0.2"))
      yield* send(a, arpRequest(a.mac, "10.0.0.1", "10.0.0.1"))
      yield* send(a, arpRequest(a.mac, "10.0.0.7", "169.254.0.1"))
      assert.deepStrictEqual(yield* flush(a, b), [])
      assert.deepStrictEqual(yield* drain(a), [])
    }),
  )

  on("neighbour solicitations for the gateway are advertised, and no others", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts, { ipv4: undefined, ipv6: "fd00::1" })
      const a = yield* guest(hosts.first, spec)
      for (const source of ["fd00::1", linkLocal(a.mac)]) {
        const reply = yield* ask(
          a,
          solicitation(a.mac, source, "fe80::1"),
          (bytes) => neighbourOf(bytes) !== undefined,
          "advertisement",
        )
        assert.deepInclude(decodeEthernet(reply), { destination: a.mac, source: a.gatewayMac })
        assert.deepInclude(ipv6Of(reply), { source: "fe80::1", destination: source, hopLimit: 255 })
        assert.deepStrictEqual(neighbourOf(reply), {
          _tag: "NeighbourAdvertisement",
          target: "fe80::1",
          targetMac: a.gatewayMac,
          router: true,
          solicited: true,
          override: true,
        })
      }
      yield* send(a, solicitation(a.mac, "::", "fd00::1"))
      yield* send(a, solicitation(a.mac, "fd00::1", "fd00::2"))
      yield* send(a, solicitation(a.mac, "fd00::9", "fe80::1"))
      assert.deepStrictEqual(yield* drain(a), [])
    }),
  )

  on("router solicitations get a router that leaves addresses to DHCPv6, with the MTU", (hosts) =>
    Effect.gen(function* () {
      const a = yield* guest(hosts.first, specOf(hosts, { ipv6: "fd00::1" }))
      const reply = yield* ask(
        a,
        neighbourFrame(
          a.mac,
          { source: linkLocal(a.mac), destination: "ff02::2" },
          { _tag: "RouterSolicitation", sourceMac: a.mac },
        ),
        (bytes) => neighbourOf(bytes)?._tag === "RouterAdvertisement",
        "router advertisement",
      )
      assert.deepInclude(ipv6Of(reply), { source: "fe80::1", hopLimit: 255 })
      assert.deepStrictEqual(neighbourOf(reply), {
        _tag: "RouterAdvertisement",
        sourceMac: a.gatewayMac,
        managed: true,
        other: true,
        lifetimeSeconds: 65_535,
        mtu: settings.mtu,
      })
    }),
  )

  on("the gateway answers echo requests of both families, and nothing else", (hosts) =>
    Effect.gen(function* () {
      const a = yield* guest(hosts.first, specOf(hosts, { ipv6: "fd00::1" }))
      const echo = { reply: false, identifier: 7, sequence: 9, data: fromAscii("are you there") }
      const ping4 = toGateway(
        a,
        etherTypes.ipv4,
        encodeIpv4({
          source: "10.0.0.1",
          destination: "169.254.0.1",
          protocol: protocols.icmp,
          payload: encodeEcho4(echo),
        }),
      )
      const reply4 = ipv4Of(yield* ask(a, ping4, (bytes) => ipv4Of(bytes) !== undefined, "echo reply"))
      assert.deepInclude(reply4, { source: "169.254.0.1", destination: "10.0.0.1" })
      assert.deepStrictEqual(decodeEcho4(reply4?.payload ?? new Uint8Array(0)), { ...echo, reply: true })
      for (const source of ["fd00::1", linkLocal(a.mac)]) {
        const addresses = { source, destination: "fe80::1" }
        const ping6 = toGateway(
          a,
          etherTypes.ipv6,
          encodeIpv6({ ...addresses, protocol: protocols.icmpv6, payload: encodeEcho6(addresses, echo) }),
        )
        const reply6 = ipv6Of(yield* ask(a, ping6, (bytes) => ipv6Of(bytes) !== undefined, "echo reply"))
        assert.deepInclude(reply6, { source: "fe80::1", destination: source })
        const back = { source: "fe80::1", destination: source }
        assert.deepStrictEqual(decodeEcho6(back, reply6?.payload ?? new Uint8Array(0)), {
          ...echo,
          reply: true,
        })
      }
      yield* send(a, datagram(a, "169.254.0.1", "hello"))
      yield* send(a, datagram(a, "fe80::1", "hello"))
      assert.deepStrictEqual(yield* drain(a), [])
    }),
  )

  dhcp4(on)
  dhcp6(on)
}

const dhcp4Frame = (from: Guest, type: number, more: ReadonlyArray<readonly [number, Bytes]> = []): Bytes => {
  const addresses = { source: "0.0.0.0", destination: "255.255.255.255" }
  const payload = encodeUdp(addresses, {
    sourcePort: 68,
    destinationPort: 67,
    payload: Dhcp4.encodeDhcp4({
      reply: false,
      transaction: 0x1234_5678,
      broadcast: false,
      clientAddress: "0.0.0.0",
      yourAddress: "0.0.0.0",
      relay: "0.0.0.0",
      clientMac: from.mac,
      options: new Map([[Dhcp4.optionCodes.messageType, Uint8Array.of(type)], ...more]),
    }),
  })
  return frame(
    from,
    "ff:ff:ff:ff:ff:ff",
    etherTypes.ipv4,
    encodeIpv4({ ...addresses, protocol: protocols.udp, payload }),
  )
}

const dhcp4Of = (bytes: Bytes): Dhcp4.Dhcp4 | undefined => {
  const packet = ipv4Of(bytes)
  const udp = packet?.protocol === protocols.udp ? decodeUdp(packet, packet.payload) : undefined
  return udp?.destinationPort === 68 ? Dhcp4.decodeDhcp4(udp.payload) : undefined
}

const dhcp4 = (on: On): void => {
  on("DHCPv4 offers and grants the interface's address with its settings", (hosts) =>
    Effect.gen(function* () {
      const a = yield* guest(hosts.first, specOf(hosts, { hostname: "web-1" }))
      const { messageTypes: types, optionCodes: codes } = Dhcp4
      const isDhcp = (bytes: Bytes) => dhcp4Of(bytes) !== undefined
      const check = (bytes: Bytes, type: number) => {
        assert.deepInclude(decodeEthernet(bytes), { destination: a.mac, source: a.gatewayMac })
        assert.deepInclude(ipv4Of(bytes), { source: "169.254.0.1" })
        const answer = dhcp4Of(bytes)
        assert.deepInclude(answer, {
          reply: true,
          transaction: 0x1234_5678,
          yourAddress: "10.0.0.1",
          clientMac: a.mac,
        })
        const options = Object.fromEntries(
          Array.from(answer?.options ?? [], ([key, value]) => [key, [...value]]),
        )
        assert.deepStrictEqual(options, {
          [codes.messageType]: [type],
          [codes.serverId]: [169, 254, 0, 1],
          [codes.leaseSeconds]: [255, 255, 255, 255],
          [codes.subnetMask]: [255, 255, 255, 255],
          [codes.mtu]: [settings.mtu >> 8, settings.mtu & 255],
          [codes.classlessRoutes]: [16, 169, 254, 0, 0, 0, 0, 0, 169, 254, 0, 1],
          [codes.dns]: settings.dns4.flatMap((address) => [...bytesOf(address)]),
          [codes.hostname]: [...fromAscii("web-1")],
        })
      }
      check(yield* ask(a, dhcp4Frame(a, types.discover), isDhcp, "offer"), types.offer)
      const wanted = [
        [codes.serverId, bytesOf("169.254.0.1")],
        [codes.requestedAddress, bytesOf("10.0.0.1")],
      ] as const
      check(yield* ask(a, dhcp4Frame(a, types.request, wanted), isDhcp, "acknowledgement"), types.ack)
    }),
  )

  on("DHCPv4 refuses another address, and leaves alone what is not for it", (hosts) =>
    Effect.gen(function* () {
      const a = yield* guest(hosts.first, specOf(hosts))
      const { messageTypes: types, optionCodes: codes } = Dhcp4
      const refused = yield* ask(
        a,
        dhcp4Frame(a, types.request, [[codes.requestedAddress, bytesOf("10.0.0.99")]]),
        (bytes) => dhcp4Of(bytes) !== undefined,
        "refusal",
      )
      const answer = dhcp4Of(refused)
      assert.strictEqual(answer === undefined ? undefined : Dhcp4.messageType(answer), types.nak)
      assert.strictEqual(answer?.yourAddress, "0.0.0.0")
      yield* send(a, dhcp4Frame(a, types.request, [[codes.serverId, bytesOf("192.0.2.1")]]))
      yield* send(a, dhcp4Frame(a, types.release))
      yield* send(a, dhcp4Frame(a, types.decline))
      assert.deepStrictEqual(yield* drain(a), [])
      const v6Only = yield* guest(hosts.first, specOf(hosts, { ipv4: undefined, ipv6: "fd00::1" }))
      yield* send(v6Only, dhcp4Frame(v6Only, types.discover))
      assert.deepStrictEqual(yield* drain(v6Only), [])
    }),
  )
}

const association = (addresses: ReadonlyArray<string> = []): Dhcp6.Option => ({
  code: Dhcp6.optionCodes.identityAssociation,
  value: Dhcp6.encodeAssociation({
    id: 5,
    addresses: addresses.map((address) => ({ address, validSeconds: 3_600 })),
    status: undefined,
  }),
})

const dhcp6Frame = (from: Guest, type: number, options: ReadonlyArray<Dhcp6.Option>): Bytes => {
  const addresses = { source: linkLocal(from.mac), destination: "ff02::1:2" }
  const payload = encodeUdp(addresses, {
    sourcePort: 546,
    destinationPort: 547,
    payload: Dhcp6.encodeDhcp6({
      type,
      transaction: 0x12_3456,
      options: [{ code: Dhcp6.optionCodes.clientId, value: Dhcp6.duid(from.mac) }, ...options],
    }),
  })
  return encodeEthernet({
    destination: multicastMac("ff02::1:2"),
    source: from.mac,
    type: etherTypes.ipv6,
    payload: encodeIpv6({ ...addresses, protocol: protocols.udp, payload }),
  })
}

const dhcp6Of = (bytes: Bytes): Dhcp6.Dhcp6 | undefined => {
  const packet = ipv6Of(bytes)
  const udp = packet?.protocol === protocols.udp ? decodeUdp(packet, packet.payload) : undefined
  return udp?.destinationPort === 546 ? Dhcp6.decodeDhcp6(udp.payload) : undefined
}

const dhcp6 = (on: On): void => {
  const { messageTypes: types, optionCodes: codes, statusCodes: statuses } = Dhcp6
  const question = Effect.fnUntraced(function* (
    from: Guest,
    type: number,
    options: ReadonlyArray<Dhcp6.Option>,
  ) {
    const bytes = yield* ask(
      from,
      dhcp6Frame(from, type, options),
      (candidate) => dhcp6Of(candidate) !== undefined,
      "DHCPv6 answer",
    )
    assert.deepInclude(ipv6Of(bytes), { source: "fe80::1", destination: linkLocal(from.mac) })
    const answer = dhcp6Of(bytes) ?? { type: 0, transaction: 0, options: [] }
    assert.strictEqual(answer.transaction, 0x12_3456)
    const client = Dhcp6.option(answer.options, codes.clientId)
    assert.isTrue(client !== undefined && equal(client, Dhcp6.duid(from.mac)))
    return answer
  })
  const forever = { address: "fd00::1", validSeconds: Dhcp6.infiniteSeconds }
  const granted = (answer: Dhcp6.Dhcp6) => {
    const value = Dhcp6.option(answer.options, codes.identityAssociation)
    return value === undefined ? undefined : Dhcp6.decodeAssociation(value)
  }
  const status = (answer: Dhcp6.Dhcp6) => {
    const value = Dhcp6.option(answer.options, codes.statusCode)
    return value === undefined ? undefined : u16(value, 0)
  }

  on("DHCPv6 advertises and grants the interface's address, at once where the guest asks for that", (hosts) =>
    Effect.gen(function* () {
      const a = yield* guest(hosts.first, specOf(hosts, { ipv6: "fd00::1" }))
      const advertised = yield* question(a, types.solicit, [association()])
      assert.strictEqual(advertised.type, types.advertise)
      assert.deepStrictEqual(granted(advertised), { id: 5, addresses: [forever], status: undefined })
      assert.deepStrictEqual(
        [...(Dhcp6.option(advertised.options, codes.dns) ?? [])],
        settings.dns6.flatMap((address) => [...bytesOf(address)]),
      )
      const server = Dhcp6.option(advertised.options, codes.serverId)
      assert.isDefined(server)
      const named = { code: codes.serverId, value: server ?? new Uint8Array(0) }
      for (const type of [types.request, types.renew]) {
        const reply = yield* question(a, type, [named, association(["fd00::1"])])
        assert.strictEqual(reply.type, types.reply)
        assert.deepStrictEqual(granted(reply), { id: 5, addresses: [forever], status: undefined })
      }
      const rapid = yield* question(a, types.solicit, [
        { code: codes.rapidCommit, value: new Uint8Array(0) },
        association(),
      ])
      assert.strictEqual(rapid.type, types.reply)
      assert.isDefined(Dhcp6.option(rapid.options, codes.rapidCommit))
      assert.deepStrictEqual(granted(rapid), { id: 5, addresses: [forever], status: undefined })
      const confirmed = yield* question(a, types.confirm, [association(["fd00::1"])])
      assert.strictEqual(status(confirmed) ?? statuses.success, statuses.success)
      const released = yield* question(a, types.release, [named, association(["fd00::1"])])
      assert.strictEqual(released.type, types.reply)
    }),
  )

  on("DHCPv6 has no address for an interface without one, and nothing for another server", (hosts) =>
    Effect.gen(function* () {
      const a = yield* guest(hosts.first, specOf(hosts))
      const answer = yield* question(a, types.solicit, [association()])
      assert.deepStrictEqual(granted(answer), { id: 5, addresses: [], status: statuses.noAddressesAvailable })
      const other = { code: codes.serverId, value: Dhcp6.duid("52:54:00:ff:ff:ff") }
      yield* send(a, dhcp6Frame(a, types.request, [other, association()]))
      assert.deepStrictEqual(yield* drain(a), [])
    }),
  )
}
