/**
 * What stands around interfaces in `dpdkironcore.v1`, over the wire: every text and code of the contract that can be
 * reached, and each known defect of dpservice, mended. Packets are not its matter.
 */
import * as fs from "node:fs"
import { afterAll, afterEach, assert, beforeAll, beforeEach, describe, it } from "vitest"
import {
  FirewallAction,
  IpVersion,
  Protocol,
  TrafficDirection,
  VniType,
} from "#gen/dpdkironcore/v1/dpdk_pb.ts"
import { type Dataplane, expecting, makeFolder, missing, start } from "./dataplane-grpc-harness.ts"
import { bytes, interfaceRequest, ip4, ip6, ports, text } from "./dataplane-grpc-requests.ts"

if (missing !== undefined) console.warn(`SKIPPED test/real/dataplane-grpc-services: ${missing}`)

const vm1 = { interfaceId: text("vm-1") }
const vm2 = { interfaceId: text("vm-2") }
const vm3 = { interfaceId: text("vm-3") }
const nobody = { interfaceId: text("nobody") }
const prefix = (ip: object | undefined, length: number) => ({ prefix: { ip, length } })
const mine = (last: number) => text(`fd00:f:1::8000:0:${last}`)
const nat = (min: number, max: number, over: object = {}) => ({
  ...vm1,
  natIp: ip4("1.1.1.1"),
  minPort: min,
  maxPort: max,
  ...over,
})
const neighbor = (min: number, max: number, over: object = {}) => ({
  natIp: ip4("1.1.1.1"),
  vni: 100,
  minPort: min,
  maxPort: max,
  underlayRoute: text("fd00:f:2::1"),
  ...over,
})
const balancer = (over: object = {}) => ({
  loadbalancerId: text("lb-1"),
  loadbalancedIp: ip4("2.2.2.2"),
  vni: 100,
  loadbalancedPorts: [{ port: 80, protocol: Protocol.TCP }],
  ...over,
})
const target = (ip: object, id = "lb-1") => ({ loadbalancerId: text(id), targetIp: ip })
const rule = (over: object = {}) => ({
  id: text("rule-1"),
  direction: TrafficDirection.INGRESS,
  action: FirewallAction.ACCEPT,
  priority: 1000,
  sourcePrefix: { ip: ip4("10.0.0.0"), length: 8 },
  destinationPrefix: { ip: ip4("0.0.0.0"), length: 0 },
  ...over,
})
const tcp = (srcPortLower: number, srcPortUpper: number, dstPortLower: number, dstPortUpper: number) => ({
  srcPortLower,
  srcPortUpper,
  dstPortLower,
  dstPortUpper,
})
const filtered = (filter: "tcp" | "udp" | "icmp", value: object) => ({
  ...vm1,
  rule: rule({ protocolFilter: { filter: { case: filter, value } } }),
})

describe.skipIf(missing !== undefined)("services of dpdkironcore.v1", () => {
  const folder = makeFolder()
  let dataplane: Dataplane
  const { invalid, status } = expecting(() => dataplane)

  beforeAll(async () => {
    dataplane = await start(folder, ports)
    await dataplane.call("initialize")
  })
  afterAll(async () => {
    await dataplane.stop()
    fs.rmSync(folder, { recursive: true })
  })
  beforeEach(async () => {
    const second = { ipv4Config: { primaryAddress: text("10.0.0.2") }, deviceName: "p1" }
    await status("createInterface", interfaceRequest(), 0, "Success")
    await status("createInterface", interfaceRequest({ ...vm2, ...second }), 0, "Success")
    await status("createInterface", interfaceRequest({ ...vm3, deviceName: "p2", vni: 200 }), 0, "Success")
  })
  afterEach(async () => {
    for (const { id } of (await dataplane.call("listLoadBalancers")).response.loadbalancers)
      await status("deleteLoadBalancer", { loadbalancerId: id }, 0, "Success")
    for (const vm of (await dataplane.call("listInterfaces")).response.interfaces)
      await status("deleteInterface", { interfaceId: vm.id }, 0, "Success")
    for (const entry of (await dataplane.call("listNeighborNats", { natIp: ip4("0.0.0.0") })).response
      .natEntries)
      await status("deleteNeighborNat", { ...entry, natIp: entry.actualNatIp }, 0, "Success")
  })

  it("tells the first malformed field of a prefix, VIP or NAT", async () => {
    for (const method of [
      "createPrefix",
      "deletePrefix",
      "listPrefixes",
      "createLoadBalancerPrefix",
      "deleteLoadBalancerPrefix",
      "listLoadBalancerPrefixes",
      "createVip",
      "getVip",
      "deleteVip",
      "createNat",
      "getNat",
      "deleteNat",
      "listFirewallRules",
      "createFirewallRule",
      "getFirewallRule",
      "deleteFirewallRule",
    ] as const) {
      await invalid(method, {}, "Invalid interface_id")
      await invalid(method, { interfaceId: text("v".repeat(64)) }, "Invalid interface_id")
    }
    for (const method of [
      "createPrefix",
      "deletePrefix",
      "createLoadBalancerPrefix",
      "deleteLoadBalancerPrefix",
    ] as const) {
      await invalid(method, { ...vm1, ...prefix(undefined, 256) }, "Invalid prefix.ip")
      await invalid(method, { ...vm1, ...prefix(ip4("x"), 256) }, "Invalid prefix.ip")
      await invalid(method, { ...vm1, ...prefix(ip4("10.1.0.0"), 256) }, "Invalid prefix.length")
    }
    const foreign = { preferredUnderlayRoute: text("fd00:f:2::8000:0:1") }
    for (const method of ["createPrefix", "createLoadBalancerPrefix"] as const)
      await invalid(
        method,
        { ...vm1, ...prefix(ip4("10.1.0.0"), 16), ...foreign },
        "Invalid preferred_underlay_route",
      )
    await invalid("createVip", { ...vm1, ...foreign }, "Invalid vip_ip")
    await invalid(
      "createVip",
      { ...vm1, vipIp: ip4("1.1.1.1"), ...foreign },
      "Invalid preferred_underlay_route",
    )
    await invalid("createNat", nat(65_536, 65_536, { natIp: ip4(""), ...foreign }), "Invalid nat_ip")
    await invalid("createNat", nat(65_536, 65_536, foreign), "Invalid min_port")
    await invalid("createNat", nat(5, 65_536, foreign), "Invalid max_port")
    await invalid("createNat", nat(5, 5, foreign), "Invalid port range")
    await invalid("createNat", nat(5, 6, foreign), "Invalid preferred_underlay_route")
    for (const method of ["createNeighborNat", "deleteNeighborNat"] as const) {
      await invalid(method, neighbor(65_536, 65_536, { natIp: ip4("") }), "Invalid nat_ip")
      await invalid(method, neighbor(65_536, 65_536), "Invalid min_port")
      await invalid(method, neighbor(5, 65_536), "Invalid max_port")
      await invalid(method, neighbor(6, 5), "Invalid port range")
    }
    await invalid("createNeighborNat", neighbor(5, 6, { underlayRoute: text("") }), "Invalid underlay_route")
    for (const method of ["listLocalNats", "listNeighborNats"] as const) {
      await invalid(method, {}, "Invalid nat_ip")
      await status(method, { natIp: ip6("::") }, 204, "BAD_IPVER")
      await status(method, { natIp: ip4("9.9.9.9") }, 0, "Success")
    }
  })

  it("tells the first malformed field of a load balancer", async () => {
    const port = (port: number, protocol: number) => ({ port, protocol })
    const wrong: Record<string, unknown> = {
      loadbalancerId: text(""),
      vni: 0x1000000,
      loadbalancedIp: ip4(""),
      loadbalancedPorts: Array.from({ length: 16 }, () => port(65_536, Protocol.ICMP)),
      preferredUnderlayRoute: text("fd00:f:1::1"),
    }
    const mend = async (expected: string, over: Record<string, unknown>) => {
      await invalid("createLoadBalancer", wrong, expected)
      Object.assign(wrong, over)
    }
    await mend("Invalid loadbalancer_id", { loadbalancerId: text("lb-1") })
    await mend("VNI exceeds 24-bit range", { vni: 100 })
    await mend("Invalid loadbalanced_ip", { loadbalancedIp: ip4("2.2.2.2") })
    await mend("Too many loadbalanced_ports", { loadbalancedPorts: [port(65_536, Protocol.ICMP)] })
    await mend("Invalid preferred_underlay_route", { preferredUnderlayRoute: text("::") })
    await mend("Invalid loadbalanced_ports.port", { loadbalancedPorts: [port(80, Protocol.ICMP)] })
    await mend("Invalid loadbalanced_ports.protocol", { loadbalancedPorts: [port(80, 6), port(80, 6)] })
    await mend("Duplicate loadbalanced_ports entry", {
      loadbalancedPorts: Array.from({ length: 15 }, (_, i) => port(i, 17)),
    })
    await status("createLoadBalancer", wrong, 0, "Success")
    const shown = await status("getLoadBalancer", { loadbalancerId: text("lb-1") }, 0, "Success")
    assert.lengthOf(shown.loadbalancedPorts, 14, "a port 0 matches nothing and is not told")
    for (const method of ["getLoadBalancer", "deleteLoadBalancer"] as const)
      await invalid(method, {}, "Invalid loadbalancer_id")
    for (const method of ["createLoadBalancerTarget", "deleteLoadBalancerTarget"] as const) {
      await invalid(method, {}, "Invalid loadbalancer_id")
      await invalid(method, target(ip6("")), "Invalid target_ip")
    }
    await invalid(
      "listLoadBalancerTargets",
      { loadbalancerId: text("l".repeat(64)) },
      "Invalid loadbalancer_id",
    )
  })

  it("tells the first malformed field of a firewall rule", async () => {
    const create = (over: object, expected: string) =>
      invalid("createFirewallRule", { ...vm1, rule: rule(over) }, expected)
    const six = { ip: ip6("fd00::"), length: 129 }
    await create({ id: text("") }, "Invalid rule id")
    for (const [name, field] of [
      ["source_prefix", "sourcePrefix"],
      ["destination_prefix", "destinationPrefix"],
    ] as const) {
      await create(
        { [field]: { ip: { ipver: 7, address: text("x") }, length: 99 } },
        `Invalid ${name}.ip.ipver`,
      )
      await create({ [field]: { ip: ip4("x"), length: 99 } }, `Invalid ${name}.ip`)
      await create({ [field]: undefined }, `Invalid ${name}.ip`)
      await create({ [field]: { ip: ip4("10.0.0.0"), length: 33 } }, `Invalid ${name}.length`)
      await create({ [field]: six }, `Invalid ip6 ${name}.length`)
    }
    await create({ direction: 2, action: 2, priority: 65_536 }, "Invalid direction")
    await create({ action: 2, priority: 65_536 }, "Invalid action")
    await create({ priority: 65_536 }, "Invalid priority")
    for (const filter of ["tcp", "udp"] as const) {
      const bad = (value: object, expected: string) =>
        invalid("createFirewallRule", filtered(filter, value), `Invalid ${filter}.${expected}`)
      await bad(tcp(65_536, 65_536, -2, -2), "src_port_lower")
      await bad(tcp(-1, 65_536, -2, -2), "dst_port_lower")
      await bad(tcp(-1, 65_536, -1, -2), "src_port_upper")
      await bad(tcp(-1, -1, -1, -2), "dst_port_upper")
      await bad(tcp(2, 1, 2, 1), "src_port range")
      await bad(tcp(2, 2, 2, -1), "dst_port range")
    }
    await invalid(
      "createFirewallRule",
      filtered("icmp", { icmpType: 256, icmpCode: 256 }),
      "Invalid icmp.icmp_type",
    )
    await invalid(
      "createFirewallRule",
      filtered("icmp", { icmpType: -1, icmpCode: 256 }),
      "Invalid icmp.icmp_code",
    )
    for (const method of ["getFirewallRule", "deleteFirewallRule"] as const)
      await invalid(method, { ...vm1, ruleId: text("") }, "Invalid rule_id")
  })

  it("tells the first malformed field of a capture, and that none can begin here", async () => {
    const capture = (over: object) => ({
      captureConfig: {
        udpSrcPort: 1,
        udpDstPort: 2,
        sinkNodeIp: ip6("fd00:f:2::1"),
        interfaces: [],
        ...over,
      },
    })
    await invalid("captureStart", capture({ udpSrcPort: 65_536, udpDstPort: 65_536 }), "Invalid udp_src_port")
    await invalid(
      "captureStart",
      capture({ udpDstPort: 65_536, sinkNodeIp: ip4("") }),
      "Invalid udp_dst_port",
    )
    await invalid("captureStart", capture({ sinkNodeIp: ip4("1.1.1.1") }), "Invalid sink_node_ip")
    const many = (count: number, one: object) =>
      capture({ interfaces: Array.from({ length: count }, () => one) })
    await invalid("captureStart", many(17, { interfaceType: 9 }), "Too many interfaces to be captured")
    await invalid("captureStart", many(1, { interfaceType: 9 }), "Invalid interfaces.interface_type")
    await invalid("captureStart", many(1, { interfaceType: 1 }), "Invalid interface_id")
    await invalid(
      "captureStart",
      many(1, { interfaceType: 0, spec: { case: "pfIndex", value: 256 } }),
      "Invalid pf_index",
    )
    assert.isFalse((await status("captureStatus", {}, 0, "Success")).isActive)
    await status("captureStop", {}, 211, "NOT_ACTIVE")
  })

  it("answers each fault of a prefix with its code, and keeps host bits in the listing", async () => {
    const alias = { ...prefix(ip4("10.1.2.3"), 16) }
    await status("createPrefix", { ...nobody, ...alias }, 205, "NO_VM")
    const made = await status("createPrefix", { ...vm1, ...alias }, 0, "Success")
    await status("createPrefix", { ...vm2, ...prefix(ip4("10.1.0.0"), 16) }, 301, "ROUTE_EXISTS")
    await status("createPrefix", { ...vm2, ...prefix(ip4("10.1.0.0"), 33) }, 303, "ROUTE_INSERT")
    await status(
      "createPrefix",
      { ...vm2, ...prefix(ip4("10.2.0.0"), 16), preferredUnderlayRoute: mine(1) },
      0,
      "Success",
    )
    await status(
      "createPrefix",
      { ...vm2, ...prefix(ip4("10.3.0.0"), 16), preferredUnderlayRoute: mine(1) },
      401,
      "VNF_INSERT",
    )
    const { prefixes } = await status("listPrefixes", vm1, 0, "Success")
    assert.deepStrictEqual(
      prefixes.map((entry: any) => [bytes(entry.ip.address), entry.length, bytes(entry.underlayRoute)]),
      [["10.1.2.3", 16, bytes(made.underlayRoute)]],
    )
    await status("listPrefixes", nobody, 205, "NO_VM")
    await status("deletePrefix", { ...nobody, ...alias }, 205, "NO_VM")
    await status("deletePrefix", { ...vm1, ...prefix(ip4("10.9.0.0"), 16) }, 302, "ROUTE_NOT_FOUND")
    await status("deletePrefix", { ...vm2, ...alias }, 304, "ROUTE_BAD_PORT")
    await status("deletePrefix", { ...vm1, ...alias }, 0, "Success")
    await status("createLoadBalancerPrefix", { ...nobody, ...alias }, 205, "NO_VM")
    await status("createLoadBalancerPrefix", { ...vm1, ...alias }, 0, "Success")
    await status("createLoadBalancerPrefix", { ...vm1, ...alias }, 202, "ALREADY_EXISTS")
    await status("createLoadBalancerPrefix", { ...vm2, ...alias }, 0, "Success")
    assert.lengthOf((await status("listLoadBalancerPrefixes", vm1, 0, "Success")).prefixes, 1)
    await status("deleteLoadBalancerPrefix", { ...nobody, ...alias }, 205, "NO_VM")
    await status("deleteLoadBalancerPrefix", { ...vm3, ...alias }, 201, "NOT_FOUND")
    await status("deleteLoadBalancerPrefix", { ...vm1, ...alias }, 0, "Success")
  })

  it("answers each fault of VIPs and NATs with its code", async () => {
    const vip = (of: object, ip: object = ip4("1.1.1.1")) => ({ ...of, vipIp: ip })
    await status("createVip", vip(nobody, ip6("fd00::1")), 205, "NO_VM")
    await status("createVip", vip(vm1, ip6("fd00::1")), 204, "BAD_IPVER")
    const made = await status("createVip", { ...vip(vm1), preferredUnderlayRoute: mine(7) }, 0, "Success")
    assert.strictEqual(bytes(made.underlayRoute), "fd00:f:1::8000:0:7")
    await status("createVip", { ...vip(vm1), preferredUnderlayRoute: mine(7) }, 401, "VNF_INSERT")
    await status("createVip", vip(vm1, ip4("1.1.1.2")), 343, "SNAT_EXISTS")
    await status("createVip", vip(vm2), 323, "DNAT_EXISTS")
    await status("createVip", vip(vm3), 0, "Success")
    const shown = await status("getVip", vm1, 0, "Success")
    assert.deepStrictEqual(
      [bytes(shown.vipIp.address), bytes(shown.underlayRoute)],
      ["1.1.1.1", bytes(made.underlayRoute)],
    )
    for (const method of ["getVip", "deleteVip", "getNat", "deleteNat"] as const) {
      await status(method, nobody, 205, "NO_VM")
      await status(method, vm2, 341, "SNAT_NO_DATA")
    }
    await status("deleteVip", vm1, 0, "Success")

    await status("createNat", nat(5, 6, { ...nobody, natIp: ip6("fd00::1") }), 205, "NO_VM")
    await status("createNat", nat(5, 6, { natIp: ip6("fd00::1") }), 204, "BAD_IPVER")
    await status("createVip", vip(vm1), 0, "Success")
    const translated = await status("createNat", nat(100, 200), 0, "Success")
    await status("createNat", nat(300, 400), 343, "SNAT_EXISTS")
    const natShown = await status("getNat", vm1, 0, "Success")
    assert.deepStrictEqual(
      [bytes(natShown.natIp.address), natShown.minPort, natShown.maxPort, bytes(natShown.underlayRoute)],
      ["1.1.1.1", 100, 200, bytes(translated.underlayRoute)],
    )
    const { natEntries } = await status("listLocalNats", { natIp: ip4("0.0.0.0") }, 0, "Success")
    assert.deepStrictEqual(
      natEntries.map((entry: any) => [
        bytes(entry.natIp.address),
        bytes(entry.actualNatIp.address),
        entry.vni,
      ]),
      [["10.0.0.1", "1.1.1.1", 100]],
    )
    await status("createNeighborNat", neighbor(5, 6, { natIp: ip6("fd00::1") }), 204, "BAD_IPVER")
    await status("deleteNeighborNat", neighbor(5, 6, { natIp: ip6("fd00::1") }), 204, "BAD_IPVER")
    await status("createNeighborNat", neighbor(5, 60), 0, "Success")
    await status("createNeighborNat", neighbor(5, 60), 202, "ALREADY_EXISTS")
    await status("deleteNeighborNat", neighbor(5, 61), 201, "NOT_FOUND")
    const listed = (await status("listNeighborNats", { natIp: ip4("1.1.1.1") }, 0, "Success")).natEntries
    assert.deepStrictEqual(
      listed.map((entry: any) => [entry.natIp, entry.minPort, entry.maxPort, bytes(entry.underlayRoute)]),
      [[undefined, 5, 60, "fd00:f:2::1"]],
    )
    await status("deleteNeighborNat", neighbor(5, 60), 0, "Success")
    await status("deleteNat", vm1, 0, "Success")
  })

  it("answers each fault of load balancers with its code", async () => {
    const id = { loadbalancerId: text("lb-1") }
    const made = await status(
      "createLoadBalancer",
      balancer({ preferredUnderlayRoute: mine(3) }),
      0,
      "Success",
    )
    await status(
      "createLoadBalancer",
      balancer({ loadbalancerId: text("lb-2"), preferredUnderlayRoute: mine(3) }),
      401,
      "VNF_INSERT",
    )
    await status("createLoadBalancer", balancer({ loadbalancerId: text("lb-2") }), 202, "ALREADY_EXISTS")
    await status(
      "createLoadBalancer",
      balancer({ loadbalancerId: text("lb-2"), loadbalancedIp: ip6("fd00::2"), vni: 300 }),
      0,
      "Success",
    )
    assert.isTrue((await status("checkVniInUse", { vni: 300, type: VniType.VNI_IPV6 }, 0, "Success")).inUse)
    const shown = await status("getLoadBalancer", id, 0, "Success")
    assert.deepStrictEqual(
      [
        shown.vni,
        bytes(shown.loadbalancedIp.address),
        shown.loadbalancedPorts[0].port,
        bytes(shown.underlayRoute),
      ],
      [100, "2.2.2.2", 80, bytes(made.underlayRoute)],
    )
    assert.lengthOf((await status("listLoadBalancers", {}, 0, "Success")).loadbalancers, 2)
    await status("createLoadBalancerTarget", target(ip4("1.1.1.1"), "nobody"), 204, "BAD_IPVER")
    await status("createLoadBalancerTarget", target(ip6("fd00::1"), "nobody"), 422, "NO_LB")
    await status("createLoadBalancerTarget", target(ip6("::")), 202, "ALREADY_EXISTS")
    for (const last of [2, 1])
      await status("createLoadBalancerTarget", target(ip6(`fd00:f:2::${last}`)), 0, "Success")
    await status("createLoadBalancerTarget", target(ip6("fd00:f:2::1")), 202, "ALREADY_EXISTS")
    await status("createLoadBalancerTarget", target(ip6("fd00:f:3::1"), "lb-2"), 0, "Success")
    const targets = async (request: object) =>
      (await status("listLoadBalancerTargets", request, 0, "Success")).targetIps.map((ip: any) =>
        bytes(ip.address),
      )
    assert.deepStrictEqual(await targets(id), ["fd00:f:2::1", "fd00:f:2::2"])
    assert.lengthOf(await targets({}), 3)
    await status("listLoadBalancerTargets", { loadbalancerId: text("nobody") }, 422, "NO_LB")
    await status("deleteLoadBalancerTarget", target(ip4("1.1.1.1"), "nobody"), 204, "BAD_IPVER")
    await status("deleteLoadBalancerTarget", target(ip6("fd00::1"), "nobody"), 422, "NO_LB")
    await status("deleteLoadBalancerTarget", target(ip6("fd00::1")), 201, "NOT_FOUND")
    await status("deleteLoadBalancerTarget", target(ip6("fd00:f:2::1")), 0, "Success")
    for (const method of ["getLoadBalancer", "deleteLoadBalancer"] as const)
      await status(method, { loadbalancerId: text("nobody") }, 201, "NOT_FOUND")
  })

  it("answers each fault of firewall rules with its code, and takes DROP", async () => {
    await status("createFirewallRule", { ...nobody, rule: rule() }, 205, "NO_VM")
    await status("createFirewallRule", { ...vm1, rule: rule({ action: FirewallAction.DROP }) }, 0, "Success")
    await status("createFirewallRule", { ...vm1, rule: rule() }, 202, "ALREADY_EXISTS")
    await status("createFirewallRule", { ...vm2, rule: rule() }, 0, "Success")
    await status("listFirewallRules", nobody, 205, "NO_VM")
    for (const method of ["getFirewallRule", "deleteFirewallRule"] as const) {
      await status(method, { ...nobody, ruleId: text("rule-1") }, 205, "NO_VM")
      await status(method, { ...vm1, ruleId: text("rule-2") }, 201, "NOT_FOUND")
    }
    const { rule: shown } = await status("getFirewallRule", { ...vm1, ruleId: text("rule-1") }, 0, "Success")
    assert.strictEqual(shown.action, FirewallAction.DROP)
    assert.isDefined(shown.protocolFilter)
    assert.isUndefined(shown.protocolFilter.filter.case)
    await status("deleteFirewallRule", { ...vm1, ruleId: text("rule-1") }, 0, "Success")
    await status("deleteFirewallRule", { ...vm1, ruleId: text("rule-1") }, 201, "NOT_FOUND")
  })

  it("refuses rates that cannot be, and shows those that can", async () => {
    await status("deleteInterface", vm1, 0, "Success")
    const metered = (totalRate: bigint, publicRate: bigint) =>
      interfaceRequest({ meteringParameters: { totalRate, publicRate } })
    await status("createInterface", metered(1n << 32n, 0n), 383, "PORT_METER")
    await status("createInterface", metered(100n, 101n), 383, "PORT_METER")
    await status("createInterface", metered(0n, 1n), 383, "PORT_METER")
    await status("createInterface", metered(100n, 50n), 0, "Success")
    const { interface: shown } = await status("getInterface", vm1, 0, "Success")
    assert.deepStrictEqual([shown.meteringParams.totalRate, shown.meteringParams.publicRate], [100n, 50n])
  })

  describe("where dpservice errs", () => {
    it("answers the id of the rule that was made", async () => {
      const made = await status("createFirewallRule", { ...vm1, rule: rule() }, 0, "Success")
      assert.strictEqual(bytes(made.ruleId), "rule-1")
    })

    it("shows the length of an IPv6 prefix in a rule", async () => {
      const six = { ip: ip6("fd00:1::"), length: 64 }
      await status(
        "createFirewallRule",
        { ...vm1, rule: rule({ sourcePrefix: six, destinationPrefix: { ip: ip6("::"), length: 128 } }) },
        0,
        "Success",
      )
      const [shown] = (await status("listFirewallRules", vm1, 0, "Success")).rules
      assert.deepStrictEqual([shown.sourcePrefix.length, shown.destinationPrefix.length], [64, 128])
      assert.strictEqual(shown.sourcePrefix.ip.ipver, IpVersion.IPV6)
    })

    it("shows ports and ICMP types of a rule as they were given, -1 too", async () => {
      await status("createFirewallRule", filtered("tcp", tcp(-1, -1, 80, 90)), 0, "Success")
      const icmp = { case: "icmp" as const, value: { icmpType: 8, icmpCode: -1 } }
      await status(
        "createFirewallRule",
        { ...vm1, rule: rule({ id: text("rule-2"), protocolFilter: { filter: icmp } }) },
        0,
        "Success",
      )
      const [first, second] = (await status("listFirewallRules", vm1, 0, "Success")).rules
      const { srcPortLower, srcPortUpper, dstPortLower, dstPortUpper } = first.protocolFilter.filter.value
      assert.deepStrictEqual([srcPortLower, srcPortUpper, dstPortLower, dstPortUpper], [-1, -1, 80, 90])
      assert.deepStrictEqual(
        [second.protocolFilter.filter.value.icmpType, second.protocolFilter.filter.value.icmpCode],
        [8, -1],
      )
    })

    it("keeps alias prefixes over a second Initialize, and they can be deleted", async () => {
      const alias = { ...vm1, ...prefix(ip4("10.1.0.0"), 16) }
      await status("createPrefix", alias, 0, "Success")
      await status("initialize", {}, 0, "Success")
      await status("resetVni", { vni: 100, type: VniType.VNI_BOTH }, 0, "Success")
      await status("createPrefix", { ...alias, ...vm2 }, 301, "ROUTE_EXISTS")
      await status("deletePrefix", alias, 0, "Success")
    })

    it("refuses a second load balancer with the same id", async () => {
      await status("createLoadBalancer", balancer(), 0, "Success")
      await status("createLoadBalancer", balancer({ loadbalancedIp: ip4("2.2.2.3") }), 202, "ALREADY_EXISTS")
      assert.lengthOf((await status("listLoadBalancers", {}, 0, "Success")).loadbalancers, 1)
    })

    it("refuses ranges of one NAT address that overlap in a VNI, here and at neighbours", async () => {
      await status("createNat", nat(100, 200), 0, "Success")
      await status("createNat", nat(199, 300, vm2), 202, "ALREADY_EXISTS")
      await status("createNeighborNat", neighbor(50, 101), 202, "ALREADY_EXISTS")
      await status("createNeighborNat", neighbor(50, 101, { vni: 200 }), 0, "Success")
      await status("createNeighborNat", neighbor(200, 300), 0, "Success")
      await status("createNat", nat(299, 400, vm2), 202, "ALREADY_EXISTS")
      await status("createNat", nat(300, 400, vm2), 0, "Success")
    })

    it("takes along what stands around a deleted interface, and neighbours with the last of a VNI", async () => {
      await status("createPrefix", { ...vm3, ...prefix(ip4("10.1.0.0"), 16) }, 0, "Success")
      await status("createLoadBalancerPrefix", { ...vm3, ...prefix(ip4("10.1.0.0"), 16) }, 0, "Success")
      await status("createVip", { ...vm3, vipIp: ip4("1.1.1.9") }, 0, "Success")
      await status("createNat", nat(100, 200, vm3), 0, "Success")
      await status("createNeighborNat", neighbor(200, 300, { vni: 200 }), 0, "Success")
      await status("createFirewallRule", { ...vm3, rule: rule() }, 0, "Success")
      await status("deleteInterface", vm3, 0, "Success")
      const all = { natIp: ip4("0.0.0.0") }
      assert.lengthOf((await status("listLocalNats", all, 0, "Success")).natEntries, 0)
      assert.lengthOf((await status("listNeighborNats", all, 0, "Success")).natEntries, 0)
      await status("createInterface", interfaceRequest({ ...vm3, deviceName: "p2", vni: 200 }), 0, "Success")
      for (const method of ["listPrefixes", "listLoadBalancerPrefixes"] as const)
        assert.lengthOf((await status(method, vm3, 0, "Success")).prefixes, 0)
      assert.lengthOf((await status("listFirewallRules", vm3, 0, "Success")).rules, 0)
      await status("createVip", { ...vm3, vipIp: ip4("1.1.1.9") }, 0, "Success")
    })

    it("lists 5,000 neighbour NATs whole", async () => {
      const made = Array.from({ length: 5_000 }, (_, i) => neighbor(i * 10, i * 10 + 10))
      for (let at = 0; at < made.length; at += 250)
        await Promise.all(made.slice(at, at + 250).map((entry) => dataplane.call("createNeighborNat", entry)))
      const listed = await status("listNeighborNats", { natIp: ip4("1.1.1.1") }, 0, "Success")
      assert.lengthOf(listed.natEntries, 5_000)
      await status("initialize", {}, 0, "Success")
    }, 60_000)
  })
})
