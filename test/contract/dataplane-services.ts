/** What stands around interfaces and routes, through guests on two hosts: VIP, NAT, balancers, firewalls, prefixes, hops. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import type { FirewallRule, Operation } from "#protocol/dataplane/Dataplane.ts"
import { digestOf } from "#protocol/dataplane/digest.ts"
import { answerError } from "#protocol/dataplane/model/answer.ts"
import { type Bytes, equal, fromAscii } from "#protocol/dataplane/model/bytes.ts"
import { decodeEthernet, etherTypes } from "#protocol/dataplane/model/ethernet.ts"
import { encodeIpv4, protocols } from "#protocol/dataplane/model/ip.ts"
import { encodeEcho4, encodeTcp, encodeUdp } from "#protocol/dataplane/model/transport.ts"
import { parseIp, tcpFlag, type Tuple } from "#protocol/dataplane/model/tuple.ts"
import { drain, frame, type Guest, guest, receiveUntil, send } from "./dataplane-guest.ts"
import type { ContractHosts } from "./dataplane-hosts.ts"
import {
  accomplish,
  apply,
  code,
  create,
  freshId,
  freshVni,
  type On,
  put,
  specOf,
} from "./dataplane-scenario.ts"

interface Path {
  readonly from: string
  readonly sourcePort: number
  readonly to: string
  readonly port: number
}

const udp = (guest: Guest, path: Path, text = "datagram"): Bytes => {
  const addresses = { source: path.from, destination: path.to }
  const payload = encodeUdp(addresses, {
    sourcePort: path.sourcePort,
    destinationPort: path.port,
    payload: fromAscii(text),
  })
  return frame(
    guest,
    guest.gatewayMac,
    etherTypes.ipv4,
    encodeIpv4({ ...addresses, protocol: protocols.udp, payload }),
  )
}

const packetOf = (bytes: Bytes): Bytes => decodeEthernet(bytes)?.payload ?? new Uint8Array(0)
const tupleOf = (bytes: Bytes): Tuple | undefined => parseIp(packetOf(bytes))

const path = (tuple: Tuple | undefined): string =>
  `${tuple?.source}:${tuple?.sourcePort} > ${tuple?.destination}:${tuple?.destinationPort}`

/** The next frame of the guest that is IPv4 with the payload. */
const carried = (to: Guest, text: string) =>
  Effect.map(
    receiveUntil(
      to,
      (bytes) => {
        const tuple = tupleOf(bytes)
        const payload = packetOf(bytes).subarray((tuple?.l4 ?? 0) + 8, tuple?.length)
        return tuple?.protocol === protocols.udp && equal(payload, fromAscii(text))
      },
      text,
    ),
    (frames) => ({ before: frames.slice(0, -1), bytes: packetOf(frames.at(-1) ?? new Uint8Array(0)) }),
  )

/** Guest a on the first host, behind whose default route is guest b on the second, outside. */
const outside = Effect.fnUntraced(function* (hosts: ContractHosts["Service"]) {
  const vni = freshVni()
  const a = yield* guest(hosts.first, specOf(hosts, { vni }))
  const b = yield* guest(hosts.second, specOf(hosts, { vni, ipv4: "198.51.100.9" }))
  yield* accomplish(
    hosts.first,
    put({ vni, prefix: "0.0.0.0/0", nextHop: b.underlayAddress, nextHopVni: vni }),
  )
  const reach = (prefix: string, nextHop: string | undefined) =>
    accomplish(hosts.second, put({ vni, prefix, nextHop: nextHop ?? "::", nextHopVni: vni }))
  return { a, b, vni, reach }
})

const toB = (sourcePort: number): Path => ({ from: "10.0.0.1", sourcePort, to: "198.51.100.9", port: 53 })

const natOf = (a: Guest, minPort: number, maxPort: number): Operation => ({
  _tag: "PutNat",
  nat: { interface: a.spec.id, ip: "203.0.113.1", minPort, maxPort },
})

const addresses = (on: On): void => {
  on("a VIP is what the outside sees of a guest, and calls it by", (hosts) =>
    Effect.gen(function* () {
      const { a, b, reach } = yield* outside(hosts)
      const [vip] = yield* accomplish(hosts.first, {
        _tag: "PutVip",
        vip: { interface: a.spec.id, ip: "203.0.113.1" },
      })
      yield* reach("203.0.113.1/32", vip?.underlayAddress)
      yield* send(a, udp(a, toB(1_000), "out"))
      assert.strictEqual(
        path(parseIp((yield* carried(b, "out")).bytes)),
        "203.0.113.1:1000 > 198.51.100.9:53",
      )
      yield* send(b, udp(b, { from: "198.51.100.9", sourcePort: 53, to: "203.0.113.1", port: 1_000 }, "back"))
      assert.strictEqual(path(parseIp((yield* carried(a, "back")).bytes)), "198.51.100.9:53 > 10.0.0.1:1000")
    }),
  )

  on("a NAT gives a guest's flows ports of its range, and takes their answers back", (hosts) =>
    Effect.gen(function* () {
      const { a, b, reach } = yield* outside(hosts)
      const [nat] = yield* accomplish(hosts.first, natOf(a, 2_000, 2_064))
      yield* reach("203.0.113.1/32", nat?.underlayAddress)
      yield* send(a, udp(a, toB(1_000), "out"))
      const out = parseIp((yield* carried(b, "out")).bytes)
      assert.strictEqual(out?.source, "203.0.113.1")
      assert.isTrue((out?.sourcePort ?? 0) >= 2_000 && (out?.sourcePort ?? 0) < 2_064)
      const answer = { from: "198.51.100.9", sourcePort: 53, to: "203.0.113.1" }
      yield* send(b, udp(b, { ...answer, port: 1_999 }, "to nobody"))
      yield* send(b, udp(b, { ...answer, port: out?.sourcePort ?? 0 }, "back"))
      const { before, bytes } = yield* carried(a, "back")
      assert.lengthOf(before, 0)
      assert.strictEqual(path(parseIp(bytes)), "198.51.100.9:53 > 10.0.0.1:1000")
    }),
  )

  on("an ICMP error about a translated packet quotes what the guest sent", (hosts) =>
    Effect.gen(function* () {
      const { a, b, reach } = yield* outside(hosts)
      const [nat] = yield* accomplish(hosts.first, natOf(a, 2_000, 2_064))
      yield* reach("203.0.113.1/32", nat?.underlayAddress)
      const sent = udp(a, toB(1_000), "out")
      yield* send(a, sent)
      const { bytes } = yield* carried(b, "out")
      const tuple = parseIp(bytes)
      const error =
        tuple === undefined
          ? undefined
          : answerError(bytes, tuple, { type: 3, code: 3, rest: 0, source: "198.51.100.9" })
      yield* send(b, frame(b, b.gatewayMac, etherTypes.ipv4, error ?? bytes))
      const frames = yield* receiveUntil(a, (one) => tupleOf(one)?.icmp === "error", "ICMP error")
      const came = packetOf(frames.at(-1) ?? sent)
      assert.strictEqual(parseIp(came)?.destination, "10.0.0.1")
      assert.deepEqual(came.slice(28), packetOf(sent).slice())
    }),
  )

  on("a NAT address answers echo by itself", (hosts) =>
    Effect.gen(function* () {
      const { a, b, reach } = yield* outside(hosts)
      const [nat] = yield* accomplish(hosts.first, natOf(a, 2_000, 2_064))
      yield* reach("203.0.113.1/32", nat?.underlayAddress)
      const payload = encodeEcho4({ reply: false, identifier: 9, sequence: 1, data: fromAscii("ping") })
      const request = encodeIpv4({
        source: "198.51.100.9",
        destination: "203.0.113.1",
        protocol: protocols.icmp,
        payload,
      })
      yield* send(b, frame(b, b.gatewayMac, etherTypes.ipv4, request))
      const frames = yield* receiveUntil(b, (one) => tupleOf(one)?.source === "203.0.113.1", "echo reply")
      assert.strictEqual(tupleOf(frames.at(-1) ?? request)?.icmpType, 0)
      assert.deepEqual(yield* drain(a), [])
    }),
  )

  on("an alias prefix leads to its guest from both hosts, and may be its source", (hosts) =>
    Effect.gen(function* () {
      const { a, b, vni } = yield* outside(hosts)
      const [alias] = yield* accomplish(hosts.first, {
        _tag: "PutAliasPrefix",
        prefix: { interface: a.spec.id, prefix: "10.0.5.0/24" },
      })
      yield* accomplish(
        hosts.second,
        put({ vni, prefix: "10.0.5.0/24", nextHop: alias?.underlayAddress ?? "::", nextHopVni: vni }),
      )
      yield* send(b, udp(b, { from: "198.51.100.9", sourcePort: 1, to: "10.0.5.77", port: 2 }, "in"))
      assert.strictEqual(path(parseIp((yield* carried(a, "in")).bytes)), "198.51.100.9:1 > 10.0.5.77:2")
      yield* send(a, udp(a, { from: "10.0.5.77", sourcePort: 2, to: "198.51.100.9", port: 1 }, "out"))
      assert.strictEqual(path(parseIp((yield* carried(b, "out")).bytes)), "10.0.5.77:2 > 198.51.100.9:1")
    }),
  )
}

const rule = (more: Partial<FirewallRule>): FirewallRule => ({
  id: "rule",
  egress: false,
  accept: true,
  priority: 100,
  protocol: 0,
  ...more,
})

const walls = (on: On): void => {
  on("a firewall lets in what its rules accept and the answers to what it let out", (hosts) =>
    Effect.gen(function* () {
      const { a, b, reach } = yield* outside(hosts)
      yield* reach("10.0.0.1/32", a.underlayAddress)
      yield* accomplish(hosts.first, {
        _tag: "PutFirewall",
        firewall: {
          interface: a.spec.id,
          ingress: "drop",
          egress: "accept",
          rules: [
            rule({ protocol: 17, destinationPorts: { first: 80, last: 89 }, source: "198.51.100.0/24" }),
          ],
        },
      })
      const toA = (port: number, text: string) =>
        send(b, udp(b, { from: "198.51.100.9", sourcePort: 53, to: "10.0.0.1", port }, text))
      yield* toA(1_000, "unasked")
      yield* toA(84, "accepted")
      assert.lengthOf((yield* carried(a, "accepted")).before, 0)
      yield* send(a, udp(a, toB(1_000), "question"))
      yield* carried(b, "question")
      yield* toA(1_000, "answer")
      assert.lengthOf((yield* carried(a, "answer")).before, 0)
      yield* accomplish(hosts.first, {
        _tag: "PutFirewall",
        firewall: { interface: a.spec.id, ingress: "accept", egress: "drop", rules: [] },
      })
      yield* toA(1_000, "of a flow that ended")
      yield* toA(85, "last")
      assert.lengthOf((yield* carried(a, "last")).before, 0)
    }),
  )
}

/** Balancer 10.0.0.100 on the first host with its client a, target b on the second. */
const balanced = Effect.fnUntraced(function* (hosts: ContractHosts["Service"]) {
  const vni = freshVni()
  const a = yield* guest(hosts.first, specOf(hosts, { vni }))
  const b = yield* guest(hosts.second, specOf(hosts, { vni, ipv4: "10.0.0.2" }))
  const [target] = yield* accomplish(hosts.second, {
    _tag: "PutBalancerPrefix",
    prefix: { interface: b.spec.id, prefix: "10.0.0.100/32" },
  })
  const id = freshId()
  const balancer = (targets: ReadonlyArray<string>): Operation => ({
    _tag: "PutLoadBalancer",
    balancer: {
      id,
      vni,
      ip: "10.0.0.100",
      ports: [
        { protocol: 6, first: 80, last: 80 },
        { protocol: 17, first: 53, last: 53 },
      ],
      targets,
    },
  })
  yield* accomplish(hosts.first, balancer([target?.underlayAddress ?? "::"]))
  yield* accomplish(
    hosts.second,
    put({ vni, prefix: "10.0.0.1/32", nextHop: a.underlayAddress, nextHopVni: vni }),
  )
  const done = accomplish(hosts.first, { _tag: "DeleteLoadBalancer", id })
  return { a, b, vni, balancer, done }
})

const balancers = (on: On): void => {
  on("a load balancer hands a flow to a target, which answers as the balancer", (hosts) =>
    Effect.gen(function* () {
      const { a, b, done } = yield* balanced(hosts)
      yield* send(a, udp(a, { from: "10.0.0.1", sourcePort: 1_000, to: "10.0.0.100", port: 53 }, "question"))
      assert.strictEqual(
        path(parseIp((yield* carried(b, "question")).bytes)),
        "10.0.0.1:1000 > 10.0.0.100:53",
      )
      yield* send(b, udp(b, { from: "10.0.0.100", sourcePort: 53, to: "10.0.0.1", port: 1_000 }, "answer"))
      assert.strictEqual(path(parseIp((yield* carried(a, "answer")).bytes)), "10.0.0.100:53 > 10.0.0.1:1000")
      yield* done
    }),
  )

  on("a connection to a target that was removed is reset", (hosts) =>
    Effect.gen(function* () {
      const { a, balancer, done } = yield* balanced(hosts)
      const ends = { source: "10.0.0.1", destination: "10.0.0.100" }
      const segment = encodeTcp(ends, {
        sourcePort: 1_000,
        destinationPort: 80,
        sequence: 5,
        acknowledgement: 77,
        flags: { ack: true },
        window: 1_000,
        payload: fromAscii("data"),
      })
      const data = frame(
        a,
        a.gatewayMac,
        etherTypes.ipv4,
        encodeIpv4({ ...ends, protocol: protocols.tcp, payload: segment }),
      )
      yield* send(a, data)
      yield* drain(a)
      yield* accomplish(hosts.first, balancer([]))
      yield* send(a, data)
      const frames = yield* receiveUntil(a, (one) => tupleOf(one)?.tcpFlags === tcpFlag.rst, "reset")
      assert.strictEqual(path(tupleOf(frames.at(-1) ?? data)), "10.0.0.100:80 > 10.0.0.1:1000")
      yield* done
    }),
  )

  on("a route with several hops gives every flow one of them", (hosts) =>
    Effect.gen(function* () {
      const vni = freshVni()
      const a = yield* guest(hosts.first, specOf(hosts, { vni }))
      const b = yield* guest(hosts.second, specOf(hosts, { vni, ipv4: "10.0.0.2" }))
      const c = yield* guest(hosts.second, specOf(hosts, { vni, ipv4: "10.0.0.3" }))
      const prefix = (to: Guest): Operation => ({
        _tag: "PutBalancerPrefix",
        prefix: { interface: to.spec.id, prefix: "10.0.9.0/24" },
      })
      const made = yield* accomplish(hosts.second, prefix(b), prefix(c))
      const hops = made.map(({ underlayAddress = "::" }) => ({ address: underlayAddress, vni, weight: 1 }))
      yield* accomplish(
        hosts.first,
        put({ vni, prefix: "10.0.9.0/24", nextHop: "::", nextHopVni: vni, hops }),
      )
      const flow = (port: number) =>
        udp(a, { from: "10.0.0.1", sourcePort: port, to: "10.0.9.9", port: 1 }, `flow ${port}`)
      yield* Effect.forEach([...Array(16).keys(), ...Array(16).keys()], (port) => send(a, flow(1_000 + port)))
      // Behind the last packet of all, at whichever guest.
      const texts = (frames: ReadonlyArray<Bytes>) =>
        frames.flatMap((one) => {
          const tuple = tupleOf(one)
          return tuple?.destination === "10.0.9.9" ? [tuple.sourcePort] : []
        })
      yield* accomplish(
        hosts.first,
        put({ vni, prefix: "10.0.0.2/32", nextHop: b.underlayAddress, nextHopVni: vni }),
        put({ vni, prefix: "10.0.0.3/32", nextHop: c.underlayAddress, nextHopVni: vni }),
      )
      const last = (to: string, text: string) =>
        send(a, udp(a, { from: "10.0.0.1", sourcePort: 1, to, port: 1 }, text))
      yield* last("10.0.0.2", "end of b")
      yield* last("10.0.0.3", "end of c")
      const atB = texts((yield* carried(b, "end of b")).before)
      const atC = texts((yield* carried(c, "end of c")).before)
      assert.lengthOf([...atB, ...atC], 32)
      assert.isAbove(atB.length, 0)
      assert.isAbove(atC.length, 0)
      assert.isTrue(atB.every((port) => !atC.includes(port)))
    }),
  )
}

const everything = (hosts: ContractHosts["Service"], id: string, vni: number): ReadonlyArray<Operation> => [
  create(specOf(hosts, { id, vni, ipv6: "fd00::1", totalRate: 100, publicRate: 50, flowLimit: 1_000 })),
  { _tag: "PutAliasPrefix", prefix: { interface: id, prefix: "10.0.5.9/24" } },
  { _tag: "PutBalancerPrefix", prefix: { interface: id, prefix: "fd00:5::1/128" } },
  {
    _tag: "PutVip",
    vip: {
      interface: id,
      ip: "203.0.113.9",
      underlayAddress: `${hosts.first.underlayPrefix.split("::")[0]}:0:d002:8000:0:9`,
    },
  },
  { _tag: "PutNat", nat: { interface: id, ip: "203.0.113.1", minPort: 1_000, maxPort: 2_000 } },
  {
    _tag: "PutNeighborNat",
    nat: { vni, ip: "203.0.113.1", minPort: 2_000, maxPort: 3_000, underlayAddress: "fd00:f:99::1" },
  },
  {
    _tag: "PutLoadBalancer",
    balancer: {
      id: `${id}-lb`,
      vni,
      ip: "10.0.0.100",
      ports: [
        { protocol: 17, first: 53, last: 53 },
        { protocol: 6, first: 80, last: 89 },
      ],
      targets: ["fd00:f:99::2", "fd00:f:99::1"],
    },
  },
  {
    _tag: "PutFirewall",
    firewall: {
      interface: id,
      ingress: "drop",
      egress: "rules",
      rules: [
        rule({ id: "ssh", protocol: 6, source: "10.0.0.9/8", destinationPorts: { first: 22, last: 22 } }),
        rule({ id: "ping", egress: true, accept: false, protocol: 1, icmpType: 8, icmpCode: 0 }),
      ],
    },
  },
  put({
    vni,
    prefix: "0.0.0.0/0",
    nextHop: "::",
    nextHopVni: vni,
    hops: [
      { address: "fd00:f:99::2", vni, weight: 2 },
      { address: "fd00:f:99::1", vni, weight: 1 },
    ],
  }),
]

const control = (on: On): void => {
  on("all that is put is listed, in the digest, and changed by nothing when it is put again", (hosts) =>
    Effect.gen(function* () {
      const before = yield* hosts.first.dataplane.listAll
      const [id, vni] = [freshId(), freshVni()]
      const operations = everything(hosts, id, vni)
      const first = yield* accomplish(hosts.first, ...operations)
      const listing = yield* hosts.first.dataplane.listAll
      const more = digestOf(
        listing.interfaces.map(({ spec }) => spec),
        listing.routes,
        listing,
      )
      assert.strictEqual(listing.state.digest, more)
      assert.deepEqual(
        listing.loadBalancers.map(({ spec }) => spec.targets),
        [["fd00:f:99::1", "fd00:f:99::2"]],
      )
      assert.deepEqual(
        listing.aliasPrefixes.map(({ spec }) => spec.prefix),
        ["10.0.5.0/24"],
      )
      assert.lengthOf(listing.firewalls[0]?.rules ?? [], 2)
      assert.lengthOf(listing.routes[0]?.hops ?? [], 2)
      assert.deepEqual(yield* accomplish(hosts.first, ...operations), first)
      assert.strictEqual((yield* hosts.first.dataplane.state).digest, more)
      yield* accomplish(
        hosts.first,
        { _tag: "DeleteLoadBalancer", id: `${id}-lb` },
        { _tag: "DeleteInterface", id },
      )
      const after = yield* hosts.first.dataplane.listAll
      assert.strictEqual(after.state.digest, before.state.digest)
      assert.deepEqual({ ...after, state: undefined }, { ...before, state: undefined })
    }),
  )

  on("what is wrong with an object around an interface has a code of its own", (hosts) =>
    Effect.gen(function* () {
      const [id, vni] = [freshId(), freshVni()]
      const other = specOf(hosts, { vni, ipv4: "10.0.0.2" })
      yield* accomplish(hosts.first, ...everything(hosts, id, vni), create(other))
      const cases: ReadonlyArray<readonly [Operation, number]> = [
        [{ _tag: "PutAliasPrefix", prefix: { interface: "nobody", prefix: "10.0.5.0/24" } }, 205],
        [{ _tag: "PutAliasPrefix", prefix: { interface: other.id, prefix: "10.0.5.0/24" } }, 301],
        [{ _tag: "PutAliasPrefix", prefix: { interface: other.id, prefix: "10.0.5.0/33" } }, 303],
        [{ _tag: "DeleteAliasPrefix", interface: other.id, prefix: "10.0.5.0/24" }, 304],
        [{ _tag: "DeleteAliasPrefix", interface: other.id, prefix: "10.0.6.0/24" }, 302],
        [{ _tag: "DeleteAliasPrefix", interface: other.id, prefix: "10.0.0.2/32" }, 201],
        [{ _tag: "PutVip", vip: { interface: other.id, ip: "0.0.0.0" } }, 3],
        [{ _tag: "DeleteBalancerPrefix", interface: other.id, prefix: "10.0.6.0/24" }, 201],
        [{ _tag: "PutVip", vip: { interface: other.id, ip: "fd00::1" } }, 204],
        [{ _tag: "PutVip", vip: { interface: other.id, ip: "203.0.113.9" } }, 323],
        [{ _tag: "DeleteVip", interface: other.id }, 341],
        [{ _tag: "DeleteNat", interface: other.id }, 341],
        [{ _tag: "PutNat", nat: { interface: other.id, ip: "203.0.113.1", minPort: 5, maxPort: 5 } }, 3],
        [
          { _tag: "PutNat", nat: { interface: other.id, ip: "203.0.113.1", minPort: 1_999, maxPort: 2_000 } },
          202,
        ],
        [
          { _tag: "PutNat", nat: { interface: other.id, ip: "203.0.113.1", minPort: 2_999, maxPort: 3_001 } },
          202,
        ],
        [{ _tag: "DeleteNeighborNat", vni, ip: "203.0.113.1", minPort: 2_000, maxPort: 2_999 }, 201],
        [{ _tag: "DeleteLoadBalancer", id: "nobody" }, 201],
        [
          {
            _tag: "PutFirewall",
            firewall: { interface: "nobody", ingress: "drop", egress: "drop", rules: [] },
          },
          205,
        ],
        [
          {
            _tag: "PutFirewall",
            firewall: { interface: other.id, ingress: "drop", egress: "drop", rules: [rule({}), rule({})] },
          },
          202,
        ],
        [{ _tag: "DeleteFirewall", interface: other.id }, 201],
      ]
      const { digest } = yield* hosts.first.dataplane.state
      for (const [operation, expected] of cases) {
        const [result] = yield* apply(hosts.first, operation)
        assert.strictEqual(code(result), expected, JSON.stringify(operation))
      }
      assert.strictEqual((yield* hosts.first.dataplane.state).digest, digest)
      yield* accomplish(hosts.first, { _tag: "DeleteLoadBalancer", id: `${id}-lb` })
    }),
  )

  on("an interface's settings change in place", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts)
      const [made] = yield* accomplish(hosts.first, create(spec))
      const changed = { ...spec, hostname: "other", totalRate: 10, spoofCheckOff: true }
      const [again] = yield* accomplish(hosts.first, create(changed))
      assert.strictEqual(again?.interface?.underlayAddress, made?.interface?.underlayAddress)
      const { interfaces, state } = yield* hosts.first.dataplane.listAll
      assert.deepEqual(
        interfaces.map((one) => one.spec),
        [changed],
      )
      assert.strictEqual(state.digest, digestOf([changed], []))
    }),
  )
}

export const services = (on: On): void => {
  addresses(on)
  walls(on)
  balancers(on)
  control(on)
}
