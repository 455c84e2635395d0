/**
 * What every dataplane does, whatever is inside: the contract between the host's actors and a dataplane, and the
 * packets that guests see.
 *
 * One suite for the model and the native engine, over two hosts on one underlay. A test has its own VNIs, ids and
 * devices, and leaves both hosts empty.
 */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Exit, type Layer, Schedule } from "effect"
import {
  type InterfaceSpec,
  type Operation,
  type OperationResult,
  type RouteSpec,
  statusCodes,
} from "#protocol/dataplane/Dataplane.ts"
import { digestOf } from "#protocol/dataplane/digest.ts"
import { bytesOf, linkLocal, multicastMac } from "#protocol/dataplane/model/address.ts"
import { type Bytes, equal, fromAscii, internetChecksum, u16 } from "#protocol/dataplane/model/bytes.ts"
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
  passes,
  send,
  solicitation,
} from "./dataplane-guest.ts"
import { type ContractHost, ContractHosts, settings } from "./dataplane-hosts.ts"

let names = 0
/** A VNI, an id, that no other test uses. */
const freshVni = (): number => 1_000 + names++
const freshId = (): string => `nic-${names++}`

const create = (spec: InterfaceSpec): Operation => ({ _tag: "CreateInterface", spec })
const put = (route: RouteSpec): Operation => ({ _tag: "PutRoute", route })
const code = (result: OperationResult | undefined): number | undefined => result?.code

const apply = (host: ContractHost, ...operations: ReadonlyArray<Operation>) =>
  host.dataplane.apply(operations)

/** Must be done. */
const accomplish = Effect.fnUntraced(function* (host: ContractHost, ...operations: ReadonlyArray<Operation>) {
  const results = yield* apply(host, ...operations)
  for (const result of results) assert.deepInclude(result, { code: 0, message: "Success" })
  return results
})

const reconnect = (host: ContractHost) =>
  host.dataplane.connect.pipe(Effect.retry({ schedule: Schedule.spaced("50 millis"), times: 200 }))

const empty = Effect.fnUntraced(function* (host: ContractHost) {
  const { interfaces } = yield* host.dataplane.listAll
  yield* apply(host, ...interfaces.map(({ spec }): Operation => ({ _tag: "DeleteInterface", id: spec.id })))
})

/** Connects both hosts, and leaves them empty. */
const withHosts = <A, E>(
  test: (hosts: ContractHosts["Service"]) => Effect.Effect<A, E>,
): Effect.Effect<A, unknown, ContractHosts> =>
  Effect.gen(function* () {
    const hosts = yield* ContractHosts
    yield* Effect.all([reconnect(hosts.first), reconnect(hosts.second)], { concurrency: 2 })
    const exit = yield* Effect.exit(test(hosts))
    yield* Effect.all([empty(hosts.first), empty(hosts.second)]).pipe(Effect.exit)
    return yield* exit
  })

const specOf = (hosts: ContractHosts["Service"], more: Partial<InterfaceSpec> = {}): InterfaceSpec => ({
  id: freshId(),
  vni: freshVni(),
  ipv4: "10.0.0.1",
  ipv6: undefined,
  device: hosts.device(),
  hostname: undefined,
  ...more,
})

export const dataplaneContract = (title: string, hosts: Layer.Layer<ContractHosts, unknown>): void => {
  describe(title, () => {
    layer(hosts, { excludeTestServices: true, timeout: "60 seconds" })("dataplane", (it) => {
      const on = <A, E>(
        name: string,
        test: (hosts: ContractHosts["Service"]) => Effect.Effect<A, E>,
      ): void => {
        it.effect(name, () => withHosts(test))
      }
      control(on)
      routes(on)
      gateway(on)
      forwarding(on)
      life(on)
    })
  })
}

type On = <A, E>(name: string, test: (hosts: ContractHosts["Service"]) => Effect.Effect<A, E>) => void

const control = (on: On): void => {
  on("an empty dataplane has a uuid, its prefix and the digest zero", (hosts) =>
    Effect.gen(function* () {
      const state = yield* hosts.first.dataplane.state
      assert.match(state.uuid, /^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$/)
      assert.deepInclude(state, { initialized: true, digest: 0n, underlayPrefix: settings.prefixes[0] })
    }),
  )

  on("an interface gets an underlay address of its host and is listed as it was asked for", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts, { ipv6: "fd00:1::a", hostname: "web-1" })
      const [result] = yield* accomplish(hosts.first, create(spec))
      const made = result?.interface
      assert.deepStrictEqual(made?.spec, spec)
      assert.strictEqual(made?.device, spec.device.replace("vtap:", ""))
      const address = bytesOf(made?.underlayAddress ?? "")
      assert.deepStrictEqual([...address.subarray(0, 11)], [0xfd, 0, 0, 0xf, 0, 0x71, 0, 0, 0xd0, 1, 0])
      assert.isAbove(address[15] ?? 0, 0)
      const listing = yield* hosts.first.dataplane.listAll
      assert.deepStrictEqual([...listing.interfaces], [made])
      assert.strictEqual(listing.state.digest, digestOf([spec], []))
      assert.strictEqual((yield* hosts.first.dataplane.state).digest, digestOf([spec], []))
    }),
  )

  on("addresses are kept in canonical form, and zero ones are none", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts, { ipv4: "0.0.0.0", ipv6: "FD00:0:0:1:0::00AB" })
      const [result] = yield* accomplish(hosts.first, create(spec))
      assert.deepStrictEqual(result?.interface?.spec, { ...spec, ipv4: undefined, ipv6: "fd00:0:0:1::ab" })
    }),
  )

  on("creating an interface again with the same values is a success, with others it exists", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts)
      const [first] = yield* accomplish(hosts.first, create(spec))
      const [second] = yield* accomplish(hosts.first, create(spec))
      assert.deepStrictEqual(second, first)
      for (const other of [
        { ...spec, ipv4: "10.0.0.9" },
        { ...spec, hostname: "other" },
        { ...spec, device: hosts.device() },
        { ...spec, vni: freshVni() },
      ])
        assert.deepStrictEqual(yield* apply(hosts.first, create(other)), [
          { code: statusCodes.ALREADY_EXISTS, message: "ALREADY_EXISTS" },
        ])
    }),
  )

  on("malformed interfaces are refused by the first check that fails", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts)
      const cases: ReadonlyArray<readonly [Partial<InterfaceSpec>, string]> = [
        [{ id: "" }, "Invalid interface_id"],
        [{ id: "a b" }, "Invalid interface_id"],
        [{ id: "x".repeat(64) }, "Invalid interface_id"],
        [{ id: "a/b", ipv4: "no" }, "Invalid interface_id"],
        [{ ipv4: "10.0.0" }, "Invalid ipv4_config.primary_address"],
        [{ ipv4: "10.0.0.256" }, "Invalid ipv4_config.primary_address"],
        [{ ipv4: "010.0.0.1" }, "Invalid ipv4_config.primary_address"],
        [{ ipv4: "10.0.0.1/32" }, "Invalid ipv4_config.primary_address"],
        [{ ipv6: "fd00:::1" }, "Invalid ipv6_config.primary_address"],
        [{ ipv6: "fd00::1%eth0" }, "Invalid ipv6_config.primary_address"],
        [{ ipv6: "1:2:3:4:5:6:7" }, "Invalid ipv6_config.primary_address"],
        [
          { ipv4: undefined, ipv6: undefined },
          "Invalid ipv4_config.primary_address and ipv6_config.primary_address combination",
        ],
        [
          { ipv4: "0.0.0.0", ipv6: "::" },
          "Invalid ipv4_config.primary_address and ipv6_config.primary_address combination",
        ],
        [{ device: "" }, "Invalid device_name"],
        [{ device: `vtap:${"x".repeat(60)}` }, "Invalid device_name"],
        [{ hostname: "h".repeat(64) }, "Invalid hostname"],
      ]
      const results = yield* apply(hosts.first, ...cases.map(([more]) => create({ ...spec, ...more })))
      assert.deepStrictEqual(
        results,
        cases.map(([, message]) => ({ code: statusCodes.INVALID_ARGUMENT, message })),
      )
      assert.strictEqual((yield* hosts.first.dataplane.state).digest, 0n)
    }),
  )

  on("a device that is unknown is not found, and one in use exists already", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts)
      const results = yield* apply(
        hosts.first,
        create({ ...spec, device: "net_tap2" }),
        create({ ...spec, device: "floppy:a" }),
        create({ ...spec, device: "vtap:" }),
        create({ ...spec, device: "vtap:a/b" }),
        create({ ...spec, device: "vtap:sixteen-letters!" }),
        create(spec),
        create(specOf(hosts, { device: spec.device })),
      )
      assert.deepStrictEqual(results.map(code), [201, 201, 201, 201, 201, 0, 202])
    }),
  )

  on("an address is routed once in its VNI, and what is refused leaves nothing behind", (hosts) =>
    Effect.gen(function* () {
      const one = specOf(hosts, { ipv6: "fd00::1" })
      const two = specOf(hosts, { vni: one.vni, ipv4: "10.0.0.2", ipv6: "fd00::1" })
      const results = yield* apply(
        hosts.first,
        create(one),
        create({ ...two, ipv4: one.ipv4 }),
        create(two),
        create({ ...two, ipv6: "fd00::2" }),
        create(specOf(hosts)),
      )
      assert.deepStrictEqual(results.map(code), [0, 301, 301, 0, 0])
    }),
  )

  on("a VNI that is none leaves nothing behind", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts)
      const results = yield* apply(
        hosts.first,
        ...[0, 1 << 24, 0xffff_ffff].map((vni) => create({ ...spec, vni })),
        create(spec),
      )
      assert.deepStrictEqual(results.map(code), [361, 361, 361, 0])
      assert.strictEqual((yield* hosts.first.dataplane.state).digest, digestOf([spec], []))
    }),
  )

  on("a deleted interface is gone, and made again it has another underlay address", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts)
      const results = yield* apply(
        hosts.first,
        { _tag: "DeleteInterface", id: spec.id },
        create(spec),
        { _tag: "DeleteInterface", id: spec.id },
        { _tag: "DeleteInterface", id: spec.id },
        create(spec),
        { _tag: "DeleteInterface", id: "" },
        { _tag: "DeleteInterface", id: "x".repeat(64) },
      )
      assert.deepStrictEqual(results.map(code), [201, 0, 0, 201, 0, 3, 3])
      assert.notStrictEqual(results[1]?.interface?.underlayAddress, results[4]?.interface?.underlayAddress)
    }),
  )

  on("batches that are sent at once are all answered, each with its own results", (hosts) =>
    Effect.gen(function* () {
      const specs = Array.from({ length: 24 }, () => specOf(hosts))
      const answers = yield* Effect.forEach(
        specs,
        (spec) => apply(hosts.first, create(spec), { _tag: "DeleteInterface", id: `${spec.id}-no` }),
        { concurrency: "unbounded" },
      )
      for (const [index, [made, missing]] of answers.entries()) {
        assert.strictEqual(made?.interface?.spec.id, specs[index]?.id)
        assert.strictEqual(missing?.code, statusCodes.NOT_FOUND)
      }
      const state = yield* hosts.first.dataplane.state
      assert.strictEqual(state.digest, digestOf(specs, []))
    }),
  )

  on("counters have names and only grow", (hosts) =>
    Effect.gen(function* () {
      const a = yield* guest(hosts.first, specOf(hosts))
      const before = yield* hosts.first.dataplane.counters
      yield* drain(a)
      const after = yield* hosts.first.dataplane.counters
      assert.isTrue([...after].every(([name, value]) => value >= (before.get(name) ?? 0n)))
      const received = `port.${a.spec.device.replace("vtap:", "")}.rx_packets`
      assert.strictEqual((after.get(received) ?? 0n) - (before.get(received) ?? 0n), 1n)
    }),
  )
}

const hop = "fd00:f:99::d001:0:1"

const routes = (on: On): void => {
  on("routes are masked, replaced, listed in the digest and deleted", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts, { ipv6: "fd00::1" })
      const { vni } = spec
      const route = (prefix: string, nextHop = hop, nextHopVni = vni) => ({
        vni,
        prefix,
        nextHop,
        nextHopVni,
      })
      yield* accomplish(
        hosts.first,
        create(spec),
        put(route("10.1.2.3/16")),
        put(route("0.0.0.0/0")),
        put(route("FD00:AA::1/64", "FD00:F:99::1", 7)),
        put(route("::/0")),
        put(route("10.1.9.9/16", "fd00:f:99::2", 8)),
        put(route("10.2.0.1/32")),
        { _tag: "DeleteRoute", vni, prefix: "10.2.0.1/32" },
      )
      const expected = [
        route("10.1.0.0/16", "fd00:f:99::2", 8),
        route("0.0.0.0/0"),
        route("fd00:aa::/64", "fd00:f:99::1", 7),
        route("::/0"),
      ]
      const listing = yield* hosts.first.dataplane.listAll
      assert.sameDeepMembers([...listing.routes], expected)
      assert.strictEqual(listing.state.digest, digestOf([spec], expected))
    }),
  )

  on("what is wrong with a route has a code of its own", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts, { ipv6: "fd00::1" })
      const { vni } = spec
      yield* accomplish(hosts.first, create(spec))
      const cases: ReadonlyArray<readonly [Operation, number, string]> = [
        [put({ vni, prefix: "10.0.0/8", nextHop: hop, nextHopVni: vni }), 3, "Invalid route.prefix.ip"],
        [put({ vni, prefix: "10.0.0.0", nextHop: hop, nextHopVni: vni }), 3, "Invalid route.prefix.length"],
        [put({ vni, prefix: "10.0.0.0/", nextHop: hop, nextHopVni: vni }), 3, "Invalid route.prefix.length"],
        [
          put({ vni, prefix: "10.0.0.0/-1", nextHop: hop, nextHopVni: vni }),
          3,
          "Invalid route.prefix.length",
        ],
        [
          put({ vni, prefix: "10.0.0.0/256", nextHop: hop, nextHopVni: vni }),
          3,
          "Invalid route.prefix.length",
        ],
        [
          put({ vni, prefix: "10.0.0.0/8", nextHop: "x", nextHopVni: vni }),
          3,
          "Invalid route.nexthop_address",
        ],
        [put({ vni, prefix: "10.0.0.0/8", nextHop: "10.9.9.9", nextHopVni: vni }), 204, "BAD_IPVER"],
        [put({ vni: freshVni(), prefix: "10.0.0.0/8", nextHop: hop, nextHopVni: vni }), 206, "NO_VNI"],
        [put({ vni, prefix: "10.0.0.0/33", nextHop: hop, nextHopVni: vni }), 303, "ROUTE_INSERT"],
        [put({ vni, prefix: "fd00::/129", nextHop: hop, nextHopVni: vni }), 303, "ROUTE_INSERT"],
        [put({ vni, prefix: "10.0.0.1/32", nextHop: hop, nextHopVni: vni }), 301, "ROUTE_EXISTS"],
        [put({ vni, prefix: "fd00::1/128", nextHop: hop, nextHopVni: vni }), 301, "ROUTE_EXISTS"],
        [{ _tag: "DeleteRoute", vni, prefix: "10.0.0.1/32" }, 304, "ROUTE_BAD_PORT"],
        [{ _tag: "DeleteRoute", vni, prefix: "10.9.0.0/16" }, 302, "ROUTE_NOT_FOUND"],
        [{ _tag: "DeleteRoute", vni: freshVni(), prefix: "10.9.0.0/16" }, 206, "NO_VNI"],
        [{ _tag: "DeleteRoute", vni, prefix: "nonsense/8" }, 3, "Invalid route.prefix.ip"],
        [{ _tag: "ResetVni", vni: freshVni() }, 0, "Success"],
      ]
      const results = yield* apply(hosts.first, ...cases.map(([operation]) => operation))
      assert.deepStrictEqual(
        results,
        cases.map(([, expected, message]) => ({ code: expected, message })),
      )
      assert.strictEqual((yield* hosts.first.dataplane.state).digest, digestOf([spec], []))
    }),
  )

  on("resetting a VNI takes its routes and no others", (hosts) =>
    Effect.gen(function* () {
      const [one, two] = [specOf(hosts), specOf(hosts)]
      const routeIn = (vni: number, prefix: string) => ({ vni, prefix, nextHop: hop, nextHopVni: vni })
      const kept = routeIn(two.vni, "10.1.0.0/16")
      yield* accomplish(
        hosts.first,
        create(one),
        create(two),
        put(routeIn(one.vni, "10.1.0.0/16")),
        put(routeIn(one.vni, "10.2.0.0/16")),
        put(kept),
        { _tag: "ResetVni", vni: one.vni },
      )
      const listing = yield* hosts.first.dataplane.listAll
      assert.deepStrictEqual(listing.routes, [kept])
      assert.strictEqual(listing.state.digest, digestOf([one, two], [kept]))
    }),
  )

  on("a VNI lives as long as its last interface", (hosts) =>
    Effect.gen(function* () {
      const one = specOf(hosts)
      const two = specOf(hosts, { vni: one.vni, ipv4: "10.0.0.2" })
      const route = { vni: one.vni, prefix: "10.1.0.0/16", nextHop: hop, nextHopVni: one.vni }
      yield* accomplish(hosts.first, create(one), create(two), put(route), {
        _tag: "DeleteInterface",
        id: one.id,
      })
      assert.deepStrictEqual((yield* hosts.first.dataplane.listAll).routes, [route])
      const results = yield* apply(hosts.first, { _tag: "DeleteInterface", id: two.id }, put(route))
      assert.deepStrictEqual(results.map(code), [0, 206])
      assert.strictEqual((yield* hosts.first.dataplane.state).digest, 0n)
    }),
  )

  on("a batch of 4,096 operations is done, and one more is refused without harm", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts)
      const many = Array.from({ length: 4_095 }, (_, i) =>
        put({
          vni: spec.vni,
          prefix: `10.${16 + (i >> 8)}.${i & 255}.0/24`,
          nextHop: hop,
          nextHopVni: spec.vni,
        }),
      )
      yield* accomplish(hosts.first, create(spec), ...many)
      assert.strictEqual((yield* hosts.first.dataplane.listAll).routes.length, 4_095)
      const error = yield* Effect.flip(apply(hosts.first, create(spec), create(spec), ...many))
      assert.strictEqual(error._tag, "DataplaneProtocolError")
      assert.strictEqual((yield* hosts.first.dataplane.listAll).routes.length, 4_095)
    }),
  )
}

const toGateway = (from: Guest, type: number, payload: Bytes): Bytes =>
  frame(from, from.gatewayMac, type, payload)

const gateway = (on: On): void => {
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

const routesTo = (to: Guest, vni = to.spec.vni): ReadonlyArray<Operation> =>
  [
    to.spec.ipv4 === undefined ? [] : `${to.spec.ipv4}/32`,
    to.spec.ipv6 === undefined ? [] : `${to.spec.ipv6}/128`,
  ]
    .flat()
    .map((prefix) => put({ vni, prefix, nextHop: to.underlayAddress, nextHopVni: to.spec.vni }))

/** A guest on each host in one VNI, with routes to each other. */
const pair = Effect.fnUntraced(function* (hosts: ContractHosts["Service"], vni = freshVni()) {
  const a = yield* guest(hosts.first, specOf(hosts, { vni, ipv6: "fd00::1" }))
  const b = yield* guest(hosts.second, specOf(hosts, { vni, ipv4: "10.0.0.2", ipv6: "fd00::2" }))
  yield* accomplish(hosts.first, ...routesTo(b))
  yield* accomplish(hosts.second, ...routesTo(a))
  return { a, b, vni }
})

const forwarding = (on: On): void => {
  on("guests of one host and VNI reach each other, and their packets arrive unchanged", (hosts) =>
    Effect.gen(function* () {
      const a = yield* guest(hosts.first, specOf(hosts, { ipv6: "fd00::1" }))
      const b = yield* guest(
        hosts.first,
        specOf(hosts, { vni: a.spec.vni, ipv4: "10.0.0.2", ipv6: "fd00::2" }),
      )
      for (const [from, to, address] of [
        [a, b, "10.0.0.2"],
        [b, a, "10.0.0.1"],
        [a, b, "fd00::2"],
        [b, a, "fd00::1"],
      ] as const) {
        const { arrived, before } = yield* passes(from, to, datagram(from, address, "hello"))
        assert.deepStrictEqual(before, [])
        assert.deepInclude(decodeEthernet(arrived), { destination: to.mac, source: to.gatewayMac })
      }
    }),
  )

  on("guests of two hosts reach each other, and their packets arrive unchanged", (hosts) =>
    Effect.gen(function* () {
      const { a, b } = yield* pair(hosts)
      for (const [from, to, address] of [
        [a, b, "10.0.0.2"],
        [b, a, "10.0.0.1"],
        [a, b, "fd00::2"],
        [b, a, "fd00::1"],
      ] as const)
        for (const text of ["x", "y".repeat(settings.mtu - 48)]) {
          const { arrived, before } = yield* passes(from, to, datagram(from, address, text))
          assert.deepStrictEqual(before, [])
          assert.deepInclude(decodeEthernet(arrived), { destination: to.mac, source: to.gatewayMac })
        }
    }),
  )

  on("a source that is not the interface's own is not carried", (hosts) =>
    Effect.gen(function* () {
      const { a, b, vni } = yield* pair(hosts)
      const c = yield* guest(hosts.first, specOf(hosts, { vni, ipv4: "10.0.0.3", ipv6: "fd00::3" }))
      for (const to of [b, c]) {
        yield* send(a, datagram(a, to.spec.ipv4 ?? "", "spoofed", "10.0.0.77"))
        yield* send(a, datagram(a, to.spec.ipv4 ?? "", "spoofed", "0.0.0.0"))
        yield* send(a, datagram(a, to.spec.ipv6 ?? "", "spoofed", "fd00::77"))
        yield* send(a, datagram(a, to.spec.ipv6 ?? "", "spoofed", linkLocal(a.mac)))
        assert.deepStrictEqual(yield* flush(a, to), [])
      }
    }),
  )

  on("equal addresses in two VNIs are two guests, and nothing crosses between VNIs", (hosts) =>
    Effect.gen(function* () {
      const one = yield* pair(hosts)
      const two = yield* pair(hosts)
      const text = "which network am I in"
      const first = datagram(one.a, "10.0.0.2", text)
      yield* passes(one.a, one.b, first)
      assert.deepStrictEqual(yield* flush(two.a, two.b), [])
      yield* passes(two.a, two.b, datagram(two.a, "fd00::2", text))
      assert.deepStrictEqual(yield* flush(one.a, one.b), [])
      // A guest that only the other VNI has.
      const c = yield* guest(hosts.first, specOf(hosts, { vni: two.vni, ipv4: "10.0.0.3" }))
      yield* send(one.a, datagram(one.a, "10.0.0.3", text))
      assert.deepStrictEqual(yield* flush(two.a, c), [])
    }),
  )

  on("groups and broadcasts stay on the link", (hosts) =>
    Effect.gen(function* () {
      const { a, b } = yield* pair(hosts)
      yield* accomplish(
        hosts.first,
        ...["0.0.0.0/0", "::/0"].map((prefix) =>
          put({ vni: a.spec.vni, prefix, nextHop: b.underlayAddress, nextHopVni: a.spec.vni }),
        ),
      )
      for (const address of ["255.255.255.255", "224.0.0.1", "239.1.2.3", "ff02::1", "ff05::2"])
        yield* send(a, datagram(a, address, "everybody"))
      assert.deepStrictEqual(yield* flush(a, b), [])
      assert.deepStrictEqual(yield* drain(a), [])
    }),
  )

  on("the longest prefix decides, and follows every change at once", (hosts) =>
    Effect.gen(function* () {
      const vni = freshVni()
      const a = yield* guest(hosts.first, specOf(hosts, { vni, ipv6: "fd00::1" }))
      const b = yield* guest(hosts.second, specOf(hosts, { vni, ipv4: "10.1.2.3", ipv6: "fd00:1:2::3" }))
      const bad = "fd00:f:72::d001:ffff:0:ffff"
      for (const [covering, exact, address] of [
        ["10.0.0.0/8", "10.1.2.0/24", "10.1.2.3"],
        ["fd00::/16", "fd00:1:2::/64", "fd00:1:2::3"],
      ] as const) {
        const to = (prefix: string, nextHop: string) => put({ vni, prefix, nextHop, nextHopVni: vni })
        yield* accomplish(hosts.first, to(covering, bad), to(exact, b.underlayAddress))
        yield* passes(a, b, datagram(a, address, "by the longer one"))
        yield* accomplish(hosts.first, to(exact, bad))
        yield* send(a, datagram(a, address, "lost"))
        yield* drain(a)
        yield* accomplish(hosts.first, to(covering, b.underlayAddress), {
          _tag: "DeleteRoute",
          vni,
          prefix: exact,
        })
        const { before } = yield* passes(a, b, datagram(a, address, "by the shorter one"))
        assert.deepStrictEqual(before, [])
      }
    }),
  )

  on("a route to an interface that is gone hits nobody, also when its place is taken again", (hosts) =>
    Effect.gen(function* () {
      const { a, b, vni } = yield* pair(hosts)
      yield* accomplish(hosts.second, { _tag: "DeleteInterface", id: b.spec.id })
      const again = yield* guest(hosts.second, { ...b.spec, device: hosts.device() })
      assert.notStrictEqual(again.underlayAddress, b.underlayAddress)
      yield* send(a, datagram(a, "10.0.0.2", "to the one before"))
      yield* drain(a)
      yield* accomplish(hosts.first, ...routesTo(again, vni))
      const { before } = yield* passes(a, again, datagram(a, "10.0.0.2", "to the one now"))
      assert.deepStrictEqual(before, [])
    }),
  )

  on("a packet for another address than the interface's is not delivered", (hosts) =>
    Effect.gen(function* () {
      const { a, b, vni } = yield* pair(hosts)
      const wrong = ["10.0.0.50/32", "fd00::50/128"]
      yield* accomplish(
        hosts.first,
        ...wrong.map((prefix) => put({ vni, prefix, nextHop: b.underlayAddress, nextHopVni: vni })),
      )
      yield* send(a, datagram(a, "10.0.0.50", "not yours"))
      yield* send(a, datagram(a, "fd00::50", "not yours"))
      assert.deepStrictEqual(yield* flush(a, b), [])
    }),
  )

  on("a packet longer than the MTU is refused with the MTU to use, unless it may be fragmented", (hosts) =>
    Effect.gen(function* () {
      const { a, b, vni } = yield* pair(hosts)
      const c = yield* guest(hosts.first, specOf(hosts, { vni, ipv6: "fd00::3", ipv4: "10.0.0.3" }))
      const text = "z".repeat(settings.mtu)
      const long4 = datagram(a, "10.0.0.2", text)
      const refused4 = ipv4Of(yield* ask(a, long4, (bytes) => ipv4Of(bytes) !== undefined, "refusal"))
      assert.deepInclude(refused4, {
        source: "169.254.0.1",
        destination: "10.0.0.1",
        protocol: 1,
        intact: true,
      })
      assert.strictEqual(internetChecksum(refused4?.payload ?? new Uint8Array(0)), 0)
      assert.deepStrictEqual(
        [...(refused4?.payload.subarray(0, 8) ?? [])].filter((_, i) => i !== 2 && i !== 3),
        [3, 4, 0, 0, settings.mtu >> 8, settings.mtu & 255],
      )
      assert.isTrue(equal(refused4?.payload.subarray(8, 556) ?? long4, long4.subarray(14, 562)))
      const long6 = datagram(c, "fd00::2", text)
      const refused6 = ipv6Of(yield* ask(c, long6, (bytes) => ipv6Of(bytes) !== undefined, "refusal"))
      assert.deepInclude(refused6, { source: "fe80::1", destination: "fd00::3", protocol: 58 })
      assert.deepStrictEqual(
        [...(refused6?.payload.subarray(0, 8) ?? [])].filter((_, i) => i !== 2 && i !== 3),
        [2, 0, 0, 0, settings.mtu >> 8, settings.mtu & 255],
      )
      assert.isTrue(equal(refused6?.payload.subarray(8, 1_240) ?? long6, long6.subarray(14, 1_246)))
      assert.deepStrictEqual(yield* flush(a, b), [])
      const addresses = { source: "10.0.0.1", destination: "10.0.0.2" }
      const payload = encodeUdp(addresses, { sourcePort: 1, destinationPort: 2, payload: fromAscii(text) })
      const willing = toGateway(
        a,
        etherTypes.ipv4,
        encodeIpv4({ ...addresses, protocol: protocols.udp, dontFragment: false, payload }),
      )
      assert.deepStrictEqual((yield* passes(a, b, willing)).before, [])
    }),
  )

  on("a guest is found under the MAC that it uses last", (hosts) =>
    Effect.gen(function* () {
      const { a, b } = yield* pair(hosts)
      const moved: Guest = { ...b, mac: "52:54:00:aa:bb:cc" }
      yield* drain(moved)
      const { arrived } = yield* passes(a, moved, datagram(a, "10.0.0.2", "to the new MAC"))
      assert.strictEqual(decodeEthernet(arrived)?.destination, moved.mac)
    }),
  )

  on("a deleted interface neither sends nor receives", (hosts) =>
    Effect.gen(function* () {
      const { a, b, vni } = yield* pair(hosts)
      const c = yield* guest(hosts.second, specOf(hosts, { vni, ipv4: "10.0.0.3" }))
      yield* accomplish(hosts.first, ...routesTo(c))
      yield* accomplish(hosts.second, { _tag: "DeleteInterface", id: b.spec.id })
      yield* send(a, datagram(a, "10.0.0.2", "nobody"))
      assert.deepStrictEqual(yield* flush(a, c), [])
      yield* send(c, datagram(c, "10.0.0.2", "nobody here either"))
      assert.deepStrictEqual(yield* drain(c), [])
    }),
  )
}

const life = (on: On): void => {
  on("after its process restarted a session is gone, and the next one finds an empty dataplane", (hosts) =>
    Effect.gen(function* () {
      const before = yield* hosts.first.dataplane.state
      const { a, b, vni } = yield* pair(hosts)
      yield* hosts.first.restart
      const stale = yield* Effect.exit(hosts.first.dataplane.listAll)
      assert.isTrue(Exit.isFailure(stale))
      const after = yield* reconnect(hosts.first)
      assert.notStrictEqual(after.uuid, before.uuid)
      assert.deepInclude(yield* hosts.first.dataplane.listAll, { interfaces: [], routes: [] })
      // The same interface is another one: what still points to the old one reaches nobody.
      const again = yield* guest(hosts.first, { ...a.spec, device: hosts.device() })
      assert.notStrictEqual(again.underlayAddress, a.underlayAddress)
      yield* accomplish(hosts.first, ...routesTo(b))
      yield* send(b, datagram(b, "10.0.0.1", "to the one before"))
      yield* drain(b)
      yield* accomplish(hosts.second, ...routesTo(again, vni))
      const { before: early } = yield* passes(b, again, datagram(b, "10.0.0.1", "to the one now"))
      assert.deepStrictEqual(early, [])
    }),
  )
}
