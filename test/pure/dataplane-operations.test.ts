/** Any operations and packets, in any order: what the model's tables must then still say of each other. */
import { assert, describe, it } from "@effect/vitest"
import { HashMap } from "effect"
import * as fc from "fast-check"
import type { Operation } from "#protocol/dataplane/Dataplane.ts"
import { digestOf } from "#protocol/dataplane/digest.ts"
import { listInterfaces, listRoutes, listServices } from "#protocol/dataplane/model/control.ts"
import { find, type ModelState } from "#protocol/dataplane/model/tables.ts"
import { echo, tcp, udp, type World, world } from "./dataplane-world.ts"

const id = fc.constantFrom("a", "b", "c")
const vni = fc.constantFrom(100, 101)
const public4 = fc.constantFrom("203.0.113.1", "203.0.113.2", "10.0.0.100", "fd00::7")
const prefix = fc.constantFrom("10.0.5.0/24", "10.0.0.100/32", "10.0.0.1/32", "fd00:5::/64", "0.0.0.0/0")
const wanted = fc.constantFrom(
  undefined,
  undefined,
  "fd00:f:1:0:d002:8000:0:1",
  "fd00:f:1:0:d002:8000:0:2",
  "fd00:f:2::1",
)
const underlay = fc.constantFrom("fd00:f:1:0:d004:8000:0:9", "fd00:f:7::1", "fd00:f:8::1")
const range = fc.constantFrom([1_000, 1_002], [1_001, 1_004], [2_000, 2_001], [5, 5]) as fc.Arbitrary<
  [number, number]
>
const tag = <T extends Operation["_tag"]>(value: T) => fc.constant(value)

const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .tuple(id, vni, fc.constantFrom("10.0.0.1", "10.0.0.2"), fc.nat(3), fc.boolean())
      .map(([name, network, ipv4, limit, off]): Operation => ({
        _tag: "CreateInterface",
        spec: {
          id: name,
          vni: network,
          ipv4,
          ipv6: "fd00::1",
          device: `vtap:${name}`,
          hostname: undefined,
          flowLimit: limit * 10,
          spoofCheckOff: off,
        },
      })),
  },
  fc.record({ _tag: tag("DeleteInterface"), id }),
  fc.record({
    _tag: tag("PutRoute"),
    route: fc.record({ vni, prefix, nextHop: underlay, nextHopVni: vni }),
  }),
  fc.record({
    _tag: fc.constantFrom("PutAliasPrefix" as const, "PutBalancerPrefix" as const),
    prefix: fc.record({ interface: id, prefix, underlayAddress: wanted }),
  }),
  fc.record({
    _tag: fc.constantFrom("DeleteAliasPrefix" as const, "DeleteBalancerPrefix" as const),
    interface: id,
    prefix,
  }),
  fc.record({ _tag: tag("PutVip"), vip: fc.record({ interface: id, ip: public4, underlayAddress: wanted }) }),
  fc.record({
    _tag: fc.constantFrom("DeleteVip" as const, "DeleteNat" as const, "DeleteFirewall" as const),
    interface: id,
  }),
  fc.tuple(id, public4, range, wanted).map(([name, ip, [minPort, maxPort], underlayAddress]): Operation => ({
    _tag: "PutNat",
    nat: { interface: name, ip, minPort, maxPort, underlayAddress },
  })),
  fc
    .tuple(vni, public4, range, underlay)
    .map(([network, ip, [minPort, maxPort], underlayAddress]): Operation => ({
      _tag: "PutNeighborNat",
      nat: { vni: network, ip, minPort, maxPort, underlayAddress },
    })),
  fc.tuple(vni, public4, range).map(([network, ip, [minPort, maxPort]]): Operation => ({
    _tag: "DeleteNeighborNat",
    vni: network,
    ip,
    minPort,
    maxPort,
  })),
  fc.record({
    _tag: tag("PutLoadBalancer"),
    balancer: fc.record({
      id,
      vni,
      ip: public4,
      ports: fc.constant([{ protocol: 17, first: 1, last: 9_000 }]),
      targets: fc.uniqueArray(underlay, { maxLength: 3 }),
      underlayAddress: fc.constantFrom(undefined, "fd00:f:1:0:d004:8000:0:9"),
    }),
  }),
  fc.record({ _tag: tag("DeleteLoadBalancer"), id }),
  fc.record({
    _tag: tag("PutFirewall"),
    firewall: fc.record({
      interface: id,
      ingress: fc.constantFrom("accept" as const, "drop" as const),
      egress: fc.constantFrom("accept" as const, "rules" as const),
      rules: fc.constantFrom([], [{ id: "r", egress: true, accept: true, priority: 1, protocol: 17 }]),
    }),
  }),
)

const address = fc.constantFrom(
  "10.0.0.1",
  "10.0.0.2",
  "10.0.0.100",
  "203.0.113.1",
  "203.0.113.2",
  "198.51.100.9",
  "10.0.5.9",
)
const port = fc.constantFrom(53, 1_000, 1_001, 1_003, 2_000)

interface Act {
  readonly say: string
  readonly act: (w: World) => void
}

const packet: fc.Arbitrary<Act> = fc
  .tuple(fc.constantFrom("a", "b", "c", "*"), fc.nat(20), address, address, port, port, fc.nat(3))
  .map(([where, which, any, destination, from, to, kind]) => ({
    where,
    which,
    any,
    destination,
    from,
    to,
    kind,
  }))
  .map(({ where, which, any, destination, from, to, kind }) => ({
    where,
    which,
    destination,
    from,
    to,
    kind,
    source: which > 15 || where === "*" ? any : where === "b" ? "10.0.0.2" : "10.0.0.1",
  }))
  .map(({ where, which, source, destination, from, to, kind }) => ({
    say: `${where} ${which} ${source}:${from} > ${destination}:${to} ${kind}`,
    act: (w) => {
      const bytes =
        kind === 0
          ? echo(source, destination, from)
          : kind === 1
            ? tcp(`${source}:${from}`, `${destination}:${to}`, { syn: from > to, ack: from <= to })
            : udp(`${source}:${from}`, `${destination}:${to}`)
      const endpoints = HashMap.toEntries(w.state().underlay)
        .map(([one]) => one)
        .sort()
      if (where === "*") w.arrive(endpoints[which % Math.max(1, endpoints.length)] ?? "fd00:f:1::", bytes)
      else w.send(where, bytes)
    },
  }))

const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 2,
    arbitrary: operation.map((one) => ({ say: JSON.stringify(one), act: (w: World) => void w.try(one) })),
  },
  { weight: 8, arbitrary: packet },
  fc.nat(200).map((seconds) => ({ say: `${seconds} s pass`, act: (w: World) => w.wait(seconds / 8) })),
)

const check = (state: ModelState): void => {
  const services = listServices(state)
  const interfaces = HashMap.toValues(state.interfaces)
  assert.strictEqual(
    state.digest,
    digestOf(
      listInterfaces(state).map(({ spec }) => spec),
      listRoutes(state),
      services,
    ),
  )
  const endpoints = [
    ...interfaces.map((entry) => entry.underlayAddress),
    ...[
      services.aliasPrefixes,
      services.balancerPrefixes,
      services.vips,
      services.nats,
      services.loadBalancers,
    ].flatMap((kind) => kind.map(({ underlayAddress }) => underlayAddress)),
  ]
  assert.sameMembers([...HashMap.keys(state.underlay)], endpoints)
  assert.strictEqual(new Set(endpoints).size, endpoints.length)
  assert.strictEqual(HashMap.size(state.addresses), services.vips.length + services.loadBalancers.length)
  assert.strictEqual(HashMap.size(state.indexed), interfaces.length)
  for (const [network, table] of state.vnis)
    assert.strictEqual(
      table.references,
      interfaces.filter(({ spec }) => spec.vni === network).length +
        services.loadBalancers.filter(({ spec }) => spec.vni === network).length,
    )
  checkFlows(state)
}

const checkFlows = ({ flows, indexed, nat }: ModelState): void => {
  const owned = new Map<string, number>()
  const uses = new Map<number, number>()
  for (const [number, flow] of flows.all) {
    assert.strictEqual(find(flows.keys, flow.key), number)
    owned.set(flow.owner, (owned.get(flow.owner) ?? 0) + 1)
    for (const party of [flow.sender, flow.receiver])
      if (party !== undefined) assert.isTrue(HashMap.has(indexed, party))
    const mapping = "mapping" in flow.translation ? flow.translation.mapping : undefined
    if (mapping !== undefined) uses.set(mapping, (uses.get(mapping) ?? 0) + 1)
  }
  for (const [key, number] of flows.keys) {
    const flow = find(flows.all, number)
    assert.isTrue(flow?.key === key || flow?.replyKey === key)
  }
  assert.deepEqual(new Map(flows.owned), owned)
  assert.strictEqual(HashMap.size(nat.mappings), uses.size)
  assert.strictEqual(HashMap.size(nat.taken), uses.size)
  for (const [number, mapping] of nat.mappings) assert.strictEqual(mapping.uses, uses.get(number))
}

describe("operations and packets", () => {
  it("in any order leave tables that agree with each other, and nothing when all is deleted", () => {
    let flows = 0
    let mappings = 0
    fc.assert(
      fc.property(fc.array(act, { minLength: 20, maxLength: 80 }), (acts) => {
        const w = world({ seed: 5 })
        w.create("a", { ipv4: "10.0.0.1", ipv6: "fd00::1" })
        w.create("b", { ipv4: "10.0.0.2", ipv6: "fd00::2" })
        w.route("0.0.0.0/0")
        for (const { act } of acts) act(w)
        check(w.state())
        flows += HashMap.size(w.state().flows.all)
        mappings += HashMap.size(w.state().nat.mappings)
        const { loadBalancers } = listServices(w.state())
        for (const { spec } of loadBalancers) w.try({ _tag: "DeleteLoadBalancer", id: spec.id })
        for (const { spec } of listInterfaces(w.state())) w.try({ _tag: "DeleteInterface", id: spec.id })
        const end = w.state()
        for (const { vni, ip, minPort, maxPort } of listServices(end).neighborNats)
          w.try({ _tag: "DeleteNeighborNat", vni, ip, minPort, maxPort })
        check(w.state())
        assert.strictEqual(w.state().digest, 0n)
        assert.strictEqual(HashMap.size(w.state().flows.all), 0)
        assert.strictEqual(HashMap.size(w.state().fragments.known), 0)
      }),
      { numRuns: 500 },
    )
    assert.isAbove(flows, 200)
    assert.isAbove(mappings, 10)
  })

  it("that are refused change nothing, and those that are done do nothing more when done again", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 40 }), operation, (before, next) => {
        const w = world()
        for (const one of before) w.try(one)
        const state = w.state()
        const first = w.try(next)
        if (first.code !== 0) return assert.strictEqual(w.state(), state)
        if (next._tag.startsWith("Delete")) return
        const once = w.state()
        assert.deepEqual(w.try(next), first)
        assert.strictEqual(w.state().digest, once.digest)
      }),
      { numRuns: 600 },
    )
  })

  it("of any texts and numbers are answered, and what they leave still carries packets", () => {
    const text = fc.oneof(
      fc.string({ maxLength: 70 }),
      fc.ipV4(),
      fc.ipV6(),
      fc.constantFrom("a", "10.0.0.0/8", "::/129", "10.0.0.1/33", "vtap:a", ""),
    )
    const number = fc.oneof(fc.nat(300), fc.nat(0xffff_ffff), fc.constantFrom(-1, 65_535, 65_536, 0x100_0000))
    const port = fc.record({ protocol: number, first: number, last: number })
    const hostile = fc.oneof(
      fc.record({
        _tag: tag("PutAliasPrefix"),
        prefix: fc.record({ interface: text, prefix: text, underlayAddress: text }),
      }),
      fc.record({
        _tag: tag("PutVip"),
        vip: fc.record({ interface: text, ip: text, underlayAddress: text }),
      }),
      fc.record({
        _tag: tag("PutNat"),
        nat: fc.record({ interface: text, ip: text, minPort: number, maxPort: number }),
      }),
      fc.record({
        _tag: tag("PutNeighborNat"),
        nat: fc.record({ vni: number, ip: text, minPort: number, maxPort: number, underlayAddress: text }),
      }),
      fc.record({
        _tag: tag("PutLoadBalancer"),
        balancer: fc.record({
          id: text,
          vni: number,
          ip: text,
          ports: fc.array(port, { maxLength: 70 }),
          targets: fc.array(text, { maxLength: 5 }),
        }),
      }),
      fc.record({
        _tag: tag("PutFirewall"),
        firewall: fc.record({
          interface: fc.constantFrom("a", "b"),
          ingress: fc.constant("rules" as const),
          egress: fc.constant("rules" as const),
          rules: fc.array(
            fc.record({
              id: text,
              egress: fc.boolean(),
              accept: fc.boolean(),
              priority: number,
              source: text,
              destination: text,
              protocol: number,
              sourcePorts: fc.option(fc.record({ first: number, last: number }), { nil: undefined }),
              icmpType: fc.option(number, { nil: undefined }),
            }),
            { maxLength: 4 },
          ),
        }),
      }),
      fc.record({
        _tag: tag("PutEdge"),
        edge: fc.record({ name: text, vni: number, device: text, outsideIpv4: text, gatewayIpv6: text }),
      }),
      fc.record({
        _tag: tag("PutRoute"),
        route: fc.record({
          vni: fc.constantFrom(100, 7),
          prefix: text,
          nextHop: text,
          nextHopVni: number,
          hops: fc.array(fc.record({ address: text, vni: number, weight: fc.nat(300) }), { maxLength: 40 }),
        }),
      }),
    ) as fc.Arbitrary<Operation>
    fc.assert(
      fc.property(fc.array(hostile, { maxLength: 12 }), (operations) => {
        const w = world()
        w.create("a", { ipv4: "10.0.0.1" })
        w.create("b", { ipv4: "10.0.0.2" })
        for (const one of operations) assert.isString(w.try(one).message)
        w.send("a", udp("10.0.0.1:1", "10.0.0.2:2"))
        w.send("a", udp("10.0.0.1:1", "198.51.100.9:2"))
      }),
      { numRuns: 400 },
    )
  })
})
