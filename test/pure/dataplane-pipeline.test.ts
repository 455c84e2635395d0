/** The model's pipeline under random operations and random bytes: its invariants, whatever comes. */
import { assert, describe, it } from "@effect/vitest"
import { HashMap } from "effect"
import * as fc from "fast-check"
import type { Operation } from "#protocol/dataplane/Dataplane.ts"
import { digestOf } from "#protocol/dataplane/digest.ts"
import { bytesOf } from "#protocol/dataplane/model/address.ts"
import { type Bytes, fromAscii } from "#protocol/dataplane/model/bytes.ts"
import { listInterfaces, listRoutes, operate } from "#protocol/dataplane/model/control.ts"
import { encodeEthernet, etherTypes } from "#protocol/dataplane/model/ethernet.ts"
import { encodeIpv4, encodeIpv6, protocols } from "#protocol/dataplane/model/ip.ts"
import { encapsulate, type Output, step } from "#protocol/dataplane/model/pipeline.ts"
import { find, gatewayMacOf, initial, lookup, type ModelState } from "#protocol/dataplane/model/tables.ts"
import { encodeUdp } from "#protocol/dataplane/model/transport.ts"

const start = (host: 1 | 2): ModelState => ({
  ...initial({
    uuid: `00000000-0000-4000-8000-00000000000${host}`,
    underlayPrefix: `fd00:f:${host}::/64`,
    mtu: 1_500,
    dns4: ["192.0.2.1"],
    dns6: ["2001:db8::1"],
    ports: new Map(),
    macs: new Map(),
    version: "model",
    routeCapacity: 64,
  }),
  initialized: true,
})

const ids = ["a", "b", "c", "d", "e"]
const vnis = [200, 201, 202]
const addresses4 = ["10.0.0.1", "10.0.0.2", "10.0.1.1"]
const addresses6 = ["fd00::1", "fd00::2", "fd00:1::1"]
const prefixes = ["10.0.0.0/8", "10.0.0.0/24", "10.0.0.2/32", "0.0.0.0/0", "fd00::/16", "fd00::2/128", "::/0"]
const hops = ["fd00:f:1:0:d001:0:0:1", "fd00:f:2:0:d001:0:0:1", "fd00:f:9::1"]

const spec = fc.record({
  id: fc.constantFrom(...ids),
  vni: fc.constantFrom(...vnis),
  ipv4: fc.option(fc.constantFrom(...addresses4), { nil: undefined }),
  ipv6: fc.option(fc.constantFrom(...addresses6), { nil: undefined }),
  device: fc.constantFrom(...ids.map((id) => `vtap:${id}`), "nowhere"),
  hostname: fc.option(fc.constantFrom("one", "two"), { nil: undefined }),
})
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ _tag: fc.constant("CreateInterface" as const), spec }) },
  fc.record({ _tag: fc.constant("DeleteInterface" as const), id: fc.constantFrom(...ids) }),
  {
    weight: 3,
    arbitrary: fc.record({
      _tag: fc.constant("PutRoute" as const),
      route: fc.record({
        vni: fc.constantFrom(...vnis),
        prefix: fc.constantFrom(...prefixes),
        nextHop: fc.constantFrom(...hops),
        nextHopVni: fc.constantFrom(...vnis),
      }),
    }),
  },
  fc.record({
    _tag: fc.constant("DeleteRoute" as const),
    vni: fc.constantFrom(...vnis),
    prefix: fc.constantFrom(...prefixes),
  }),
  fc.record({ _tag: fc.constant("ResetVni" as const), vni: fc.constantFrom(...vnis) }),
)

const applyAll = (state: ModelState, operations: ReadonlyArray<Operation>): ModelState =>
  operations.reduce((now, next) => operate(now, next).state, state)

/** Two ways to the same digest that share no code: text hashed with BigInt from scratch. */
const independentDigest = (state: ModelState): bigint => {
  const lines = [
    ...listInterfaces(state).map(({ spec: s }) =>
      ["i", s.id, s.vni, s.ipv4 ?? "", s.ipv6 ?? "", s.device, s.hostname ?? ""].join("|"),
    ),
    ...listRoutes(state).map((r) => ["r", r.vni, r.prefix, r.nextHop, r.nextHopVni].join("|")),
  ]
  return lines.reduce((digest, line) => {
    let hash = 14695981039346656037n
    for (const char of line) hash = ((hash ^ BigInt(char.charCodeAt(0))) * 1099511628211n) % (1n << 64n)
    return digest ^ hash
  }, 0n)
}

const checkInvariants = (state: ModelState): void => {
  const interfaces = HashMap.toValues(state.interfaces)
  assert.strictEqual(state.digest, independentDigest(state))
  assert.strictEqual(
    state.digest,
    digestOf(
      interfaces.map((entry) => entry.spec),
      listRoutes(state),
    ),
  )
  assert.strictEqual(state.routeCount, listRoutes(state).length)
  assert.strictEqual(HashMap.size(state.devices), interfaces.length)
  assert.strictEqual(HashMap.size(state.underlay), interfaces.length)
  for (const [vni, table] of HashMap.toEntries(state.vnis)) {
    const members = interfaces.filter((entry) => entry.spec.vni === vni)
    assert.strictEqual(table.references, members.length)
    assert.isAbove(table.references, 0)
    const routes = HashMap.toValues(table.routes)
    const locals = routes.filter((route) => route.local !== undefined)
    assert.strictEqual(
      locals.length,
      members.reduce(
        (sum, { spec }) => sum + (spec.ipv4 === undefined ? 0 : 1) + (spec.ipv6 === undefined ? 0 : 1),
        0,
      ),
    )
    for (const family of [4, 6] as const)
      for (let length = 0; length <= 128; length++)
        assert.strictEqual(
          table.lengths[family][length] ?? 0,
          routes.filter(({ prefix }) => prefix.family === family && prefix.length === length).length,
        )
  }
  for (const entry of interfaces)
    assert.deepEqual(find(state.underlay, entry.underlayAddress), { _tag: "Interface", id: entry.spec.id })
}

describe("operations", () => {
  it("in any order keep the tables consistent, and the digest is that of the listing", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) =>
        checkInvariants(applyAll(start(1), operations)),
      ),
      { numRuns: 200 },
    )
  })

  it("that fail change nothing", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 40 }), operation, (before, next) => {
        const state = applyAll(start(1), before)
        const { result, state: after } = operate(state, next)
        if (result.code !== 0) assert.strictEqual(after, state)
      }),
      { numRuns: 300 },
    )
  })

  it("are idempotent: putting and creating twice is the same as once", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 40 }), operation, (before, next) => {
        const once = operate(applyAll(start(1), before), next)
        if (once.result.code !== 0 || next._tag === "DeleteInterface" || next._tag === "DeleteRoute") return
        const twice = operate(once.state, next)
        assert.deepEqual(twice.result, once.result)
        assert.strictEqual(twice.state.digest, once.state.digest)
      }),
      { numRuns: 300 },
    )
  })

  it("whose capacity is used up are refused, and what is there stays", () => {
    const made = operate(start(1), {
      _tag: "CreateInterface",
      spec: { id: "a", vni: 200, ipv4: "10.0.0.1", ipv6: undefined, device: "vtap:a", hostname: undefined },
    }).state
    const put = (i: number): Operation => ({
      _tag: "PutRoute",
      route: { vni: 200, prefix: `10.1.${i}.0/24`, nextHop: "fd00:f:9::1", nextHopVni: 200 },
    })
    const full = applyAll(
      made,
      Array.from({ length: 64 }, (_, i) => put(i)),
    )
    assert.strictEqual(operate(full, put(64)).result.code, 303)
    assert.strictEqual(operate(full, put(3)).result.code, 0)
    checkInvariants(full)
  })
})

describe("the route lookup", () => {
  it("finds what a search through all routes finds", () => {
    const length4 = fc
      .tuple(fc.nat(0xffff), fc.nat(32))
      .map(([low, length]) => `10.0.${low >> 8}.${low & 255}/${length}`)
    const address = fc.nat(0xffff).map((low) => `10.0.${low >> 8}.${low & 255}`)
    fc.assert(
      fc.property(fc.array(length4, { maxLength: 20 }), address, (routes, destination) => {
        const made = operate(start(1), {
          _tag: "CreateInterface",
          spec: {
            id: "a",
            vni: 200,
            ipv4: undefined,
            ipv6: "fd00::1",
            device: "vtap:a",
            hostname: undefined,
          },
        }).state
        const state = applyAll(
          made,
          routes.map((prefix): Operation => ({
            _tag: "PutRoute",
            route: { vni: 200, prefix, nextHop: "fd00:f:9::1", nextHopVni: 200 },
          })),
        )
        const number = (text: string) => bytesOf(text).reduce((sum, byte) => sum * 256 + byte, 0)
        const best = listRoutes(state)
          .map(({ prefix }) => ({ prefix, length: Number(prefix.split("/")[1]) }))
          .filter(({ prefix, length }) => {
            const unit = 2 ** (32 - length)
            return (
              Math.floor(number(prefix.split("/")[0] ?? "") / unit) === Math.floor(number(destination) / unit)
            )
          })
          .sort((a, b) => b.length - a.length)[0]
        const table = find(state.vnis, 200)
        const found = table === undefined ? undefined : lookup(table, destination)
        assert.strictEqual(
          found === undefined ? undefined : `${found.prefix.address}/${found.prefix.length}`,
          best?.prefix,
        )
      }),
      { numRuns: 300 },
    )
  })
})

const packetFrom = (source: string, destination: string, payload: Bytes): Bytes => {
  const addresses = { source, destination }
  const datagram = encodeUdp(addresses, { sourcePort: 1, destinationPort: 2, payload })
  return source.includes(":")
    ? encodeIpv6({ ...addresses, protocol: protocols.udp, payload: datagram })
    : encodeIpv4({ ...addresses, protocol: protocols.udp, payload: datagram })
}

const total = (outputs: ReadonlyArray<Output>): void => {
  for (const output of outputs)
    assert.isAbove((output._tag === "ToPort" ? output.frame : output.packet).length, 13)
}

describe("packets", () => {
  it("of any bytes, from ports and from the underlay, are carried or counted as dropped", () => {
    const state = applyAll(start(1), [
      {
        _tag: "CreateInterface",
        spec: { id: "a", vni: 200, ipv4: "10.0.0.1", ipv6: "fd00::1", device: "vtap:a", hostname: undefined },
      },
      {
        _tag: "PutRoute",
        route: { vni: 200, prefix: "0.0.0.0/0", nextHop: "fd00:f:9::1", nextHopVni: 200 },
      },
    ])
    const underlay = listInterfaces(state)[0]?.underlayAddress ?? "::"
    const gateway = gatewayMacOf("vtap:a")
    const mutated = fc
      .tuple(
        fc.constantFrom("10.0.0.1", "fd00::1"),
        fc.constantFrom("169.254.0.1", "10.9.9.9", "fd00::9", "fe80::1", "ff02::2"),
        fc.uint8Array({ maxLength: 100 }),
        fc.array(fc.tuple(fc.nat(140), fc.nat(255)), { maxLength: 4 }),
      )
      .map(([source, destination, payload, changes]) => {
        const packet = packetFrom(
          source,
          source.includes(":") === destination.includes(":") ? destination : source,
          payload,
        )
        const frame = Uint8Array.from(
          encodeEthernet({
            destination: gateway,
            source: "52:54:00:00:00:01",
            type: source.includes(":") ? etherTypes.ipv6 : etherTypes.ipv4,
            payload: packet,
          }),
        )
        for (const [at, value] of changes) if (at < frame.length) frame[at] = value
        return frame
      })
    const typed = fc
      .tuple(fc.constantFrom(0x0800, 0x86dd, 0x0806), fc.uint8Array({ maxLength: 200 }))
      .map(([type, payload]) =>
        encodeEthernet({ destination: gateway, source: "52:54:00:00:00:01", type, payload }),
      )
    const sum = (now: ModelState, kind: RegExp) =>
      HashMap.toEntries(now.counters).reduce((all, [name, value]) => all + (kind.test(name) ? value : 0n), 0n)
    fc.assert(
      fc.property(fc.oneof(mutated, typed, fc.uint8Array({ maxLength: 200 })), (frame) => {
        for (const input of [
          { _tag: "FromPort", device: "vtap:a", frame },
          { _tag: "FromPort", device: "vtap:none", frame },
          { _tag: "FromUnderlay", packet: frame },
          { _tag: "FromUnderlay", packet: encapsulate("fd00:f:9::1", underlay, frame.subarray(14)) },
        ] as const) {
          const next = step(state, input)
          total(next.outputs)
          if (next.outputs.length === 0)
            assert.isAbove(Number(sum(next.state, /^drop\./) - sum(state, /^drop\./)), 0)
        }
      }),
      { numRuns: 1_000 },
    )
  })

  it("never cross from one VNI into another, over one host and over two", () => {
    let arrived = 0
    const setup = fc.tuple(fc.array(operation, { maxLength: 50 }), fc.array(operation, { maxLength: 50 }))
    fc.assert(
      fc.property(setup, ([first, second]) => {
        const hosts = [applyAll(start(1), first), applyAll(start(2), second)] as const
        // Every host has honest routes to every interface of the other, besides what chance put there.
        const states = hosts.map((state, index) =>
          applyAll(
            state,
            listInterfaces(hosts[index === 0 ? 1 : 0]).flatMap(({ spec, underlayAddress }) =>
              [
                spec.ipv4 === undefined ? [] : `${spec.ipv4}/32`,
                spec.ipv6 === undefined ? [] : `${spec.ipv6}/128`,
              ]
                .flat()
                .map((prefix): Operation => ({
                  _tag: "PutRoute",
                  route: { vni: spec.vni, prefix, nextHop: underlayAddress, nextHopVni: spec.vni },
                })),
            ),
          ),
        )
        const vniOfDevice = new Map(
          states.flatMap((state) =>
            listInterfaces(state).map(({ spec }) => [
              `${state.config.underlayPrefix} ${spec.device}`,
              spec.vni,
            ]),
          ),
        )
        for (const state of states)
          for (const { spec } of listInterfaces(state))
            for (const destination of [...addresses4, ...addresses6]) {
              const source = destination.includes(":") ? spec.ipv6 : spec.ipv4
              if (source === undefined) continue
              const frame = encodeEthernet({
                destination: gatewayMacOf(spec.device),
                source: "52:54:00:00:00:01",
                type: destination.includes(":") ? etherTypes.ipv6 : etherTypes.ipv4,
                payload: packetFrom(source, destination, fromAscii("whose am I")),
              })
              for (const arrival of deliveries(states, state, {
                _tag: "FromPort",
                device: spec.device,
                frame,
              })) {
                assert.strictEqual(vniOfDevice.get(`${arrival.host} ${arrival.device}`), spec.vni)
                arrived++
              }
            }
      }),
      { numRuns: 100 },
    )
    assert.isAbove(arrived, 0)
  })
})

interface Arrival {
  readonly host: string
  readonly device: string
}

/** Where a frame ends up, through as many hosts as it takes. */
const deliveries = (
  states: ReadonlyArray<ModelState>,
  from: ModelState,
  input: Parameters<typeof step>[1],
): ReadonlyArray<Arrival> =>
  step(from, input).outputs.flatMap((output) => {
    if (output._tag === "ToPort") return [{ host: from.config.underlayPrefix, device: output.device }]
    return states
      .filter((state) => state !== from)
      .flatMap((state) => deliveries(states, state, { _tag: "FromUnderlay", packet: output.packet }))
  })
