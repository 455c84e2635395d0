/**
 * The contract of `dpdkironcore.v1` against the built program, over the wire: the planes of errors, the texts and
 * the codes. Packets are not its matter.
 */
import { create } from "@bufbuild/protobuf"
import * as grpc from "@grpc/grpc-js"
import * as fs from "node:fs"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { DPDKironcore, IpVersion, VniType } from "#gen/dpdkironcore/v1/dpdk_pb.ts"
import { DataplaneService } from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import {
  applyStream,
  ask,
  collect,
  type Dataplane,
  expecting,
  makeFolder,
  missing,
  start,
} from "./dataplane-grpc-harness.ts"
import { bytes, interfaceRequest, ip4, ip6, ports, putRoute, text } from "./dataplane-grpc-requests.ts"

if (missing !== undefined) console.warn(`SKIPPED test/real/dataplane-grpc: ${missing}`)

const methods = DPDKironcore.methods.map((method) => method.localName as keyof typeof DPDKironcore.method)
const routeRequest = (vni: number, over: Record<string, unknown> = {}) => ({
  vni,
  route: {
    prefix: { ip: ip4("10.1.0.0"), length: 16 },
    nexthopVni: vni,
    nexthopAddress: ip6("fd00:f:2::1"),
    ...over,
  },
})

describe.skipIf(missing !== undefined)("a dataplane that nobody initialized", () => {
  const folder = makeFolder()
  let dataplane: Dataplane

  beforeAll(async () => {
    dataplane = await start(folder, ports)
  })
  afterAll(async () => {
    await dataplane.stop()
    fs.rmSync(folder, { recursive: true })
  })

  it("is healthy from the moment it listens", async () => {
    for (const service of ["", "dpdkironcore.v1.DPDKironcore", "ferrite.dataplane.v1.DataplaneService"])
      assert.strictEqual((await ask(dataplane.health, "Check", { service })).response.status, "SERVING")
  })

  it("does not know other services", async () => {
    const answer = await ask(dataplane.health, "Check", { service: "nobody" })
    assert.deepStrictEqual([answer.code, answer.response.status], [0, "SERVICE_UNKNOWN"])
    const watch = await collect(dataplane.health["Watch"]({ service: "nobody" }))
    assert.deepStrictEqual([watch.messages.length, watch.code], [0, grpc.status.NOT_FOUND])
  })

  it("aborts every call but Initialize and GetState", async () => {
    for (const method of methods.filter((name) => name !== "initialize")) {
      const answer = await dataplane.call(method)
      assert.deepStrictEqual(
        [method, answer.code, answer.details],
        [method, grpc.status.ABORTED, "not initialized"],
      )
    }
    const state = await ask(dataplane.ferrite, "getState", create(DataplaneService.method.getState.input))
    assert.deepStrictEqual([state.response.initialized, state.response.digest], [false, 0n])
    const stream = applyStream(dataplane.ferrite)
    assert.isUndefined(await stream.send(1n, []))
    assert.strictEqual((await stream.ended).code, grpc.status.ABORTED)
    const list = await collect(dataplane.ferrite["listAll"](create(DataplaneService.method.listAll.input)))
    assert.strictEqual(list.code, grpc.status.ABORTED)
    const counters = await ask(
      dataplane.ferrite,
      "getCounters",
      create(DataplaneService.method.getCounters.input),
    )
    assert.strictEqual(counters.code, grpc.status.ABORTED)
  })
})

describe.skipIf(missing !== undefined)("dpdkironcore.v1", () => {
  const folder = makeFolder()
  let dataplane: Dataplane

  beforeAll(async () => {
    dataplane = await start(folder, ports)
    assert.strictEqual((await dataplane.call("initialize")).response.status.message, "Success")
  })
  afterAll(async () => {
    await dataplane.stop()
    fs.rmSync(folder, { recursive: true })
  })

  const { invalid, status } = expecting(() => dataplane)

  it("reaches all 42 methods", async () => {
    assert.strictEqual(methods.length, 42)
    for (const method of methods) {
      const answer = await dataplane.call(method)
      assert.include([0, grpc.status.INVALID_ARGUMENT], answer.code, method)
    }
  })

  it("tells the first malformed field of an interface", async () => {
    const bad = (over: Record<string, unknown>, expected: string) =>
      invalid("createInterface", interfaceRequest(over), expected)
    const pxe = (nextServer: string, bootFilename: string) => ({ pxeConfig: { nextServer, bootFilename } })
    // Everything is wrong; each line mends what the one before named.
    const wrong: Record<string, unknown> = {
      interfaceId: text("vm 1"),
      ipv4Config: { primaryAddress: text("10.0.0") },
      ipv6Config: { primaryAddress: text("") },
      ...pxe("nowhere", ""),
      deviceName: "",
      hostname: "h".repeat(64),
      preferredUnderlayRoute: text("fd00:f:1::1"),
    }
    await bad(wrong, "Invalid interface_id")
    wrong["interfaceId"] = text("")
    await bad(wrong, "Invalid ipv4_config.primary_address")
    wrong["ipv4Config"] = { primaryAddress: text("0.0.0.0") }
    await bad(wrong, "Invalid ipv6_config.primary_address")
    wrong["ipv6Config"] = { primaryAddress: text("::") }
    await bad(wrong, "Invalid ipv4_config.primary_address and ipv6_config.primary_address combination")
    wrong["ipv4Config"] = { primaryAddress: text("10.0.0.1") }
    await bad({ ...wrong, ...pxe("fd00::1", "boot") }, "Invalid pxe_config.next_server")
    await bad(wrong, "Invalid pxe_config.next_server")
    Object.assign(wrong, pxe("10.0.0.9", ""))
    await bad(wrong, "Invalid pxe_config.boot_filename")
    Object.assign(wrong, pxe("10.0.0.9", "b".repeat(32)))
    await bad(wrong, "Invalid pxe_config.boot_filename")
    Object.assign(wrong, pxe("10.0.0.9", "boot"))
    await bad(wrong, "Invalid device_name")
    wrong["deviceName"] = "d".repeat(64)
    await bad(wrong, "Invalid device_name")
    wrong["deviceName"] = "nowhere"
    await bad(wrong, "Invalid interface_id")
    wrong["interfaceId"] = text("v".repeat(64))
    await bad(wrong, "Invalid interface_id")
    wrong["interfaceId"] = text("v".repeat(63))
    await bad(wrong, "Invalid hostname")
    wrong["hostname"] = "h".repeat(63)
    await bad(wrong, "Invalid preferred_underlay_route")
    for (const foreign of ["fd00:f:2::8000:0:1", "10.0.0.1", "fd00:f:1:0:d000::1"])
      await bad({ ...wrong, preferredUnderlayRoute: text(foreign) }, "Invalid preferred_underlay_route")
    await bad({ ...interfaceRequest(), ipv4Config: undefined }, "Invalid ipv4_config.primary_address")
    await bad({ interfaceId: text("vm/1") }, "Invalid interface_id")
    await bad(
      { ipv6Config: { primaryAddress: text("fd00::1") }, ...pxe("10.0.0.9", "boot") },
      "Invalid pxe_config.next_server",
    )
    wrong["preferredUnderlayRoute"] = text("fd00:f:1::8000:0:1")
    await status("createInterface", interfaceRequest(wrong), 201, "NOT_FOUND")
  })

  it("tells the first malformed field of the other calls", async () => {
    for (const method of ["getInterface", "deleteInterface"] as const) {
      await invalid(method, {}, "Invalid interface_id")
      await invalid(method, { interfaceId: text("v".repeat(64)) }, "Invalid interface_id")
    }
    const client = { clientProtocol: "1", clientName: "n", clientVersion: "v" }
    await invalid("getVersion", {}, "Invalid client_protocol")
    await invalid("getVersion", { ...client, clientName: "" }, "Invalid client_name")
    await invalid("getVersion", { ...client, clientVersion: "v".repeat(64) }, "Invalid client_version")
    await status("getVersion", client, 0, "Success")
    const prefix = (ip: object | undefined, length: number) => ({ prefix: { ip: ip as never, length } })
    for (const method of ["createRoute", "deleteRoute"] as const) {
      await invalid(method, routeRequest(1, prefix(ip4("x"), 256)), "Invalid route.prefix.length")
      await invalid(method, routeRequest(1, prefix(ip4("x"), 24)), "Invalid route.prefix.ip")
      await invalid(method, routeRequest(1, prefix(ip6("10.0.0.0"), 24)), "Invalid route.prefix.ip")
      await invalid(method, routeRequest(1, prefix(undefined, 24)), "Invalid route.prefix.ip")
      await invalid(
        method,
        routeRequest(1, prefix({ ipver: 7, address: text("10.0.0.0") }, 24)),
        "Invalid route.prefix.ip",
      )
    }
    await invalid(
      "createRoute",
      routeRequest(1, { nexthopAddress: ip6("") }),
      "Invalid route.nexthop_address",
    )
    await invalid(
      "createRoute",
      routeRequest(1, { nexthopAddress: ip4("::1") }),
      "Invalid route.nexthop_address",
    )
    for (const method of ["checkVniInUse", "resetVni"] as const)
      await invalid(method, { vni: 1, type: 3 }, "Invalid type")
  })

  it("creates, shows and deletes an interface", async () => {
    const made = await status("createInterface", interfaceRequest({ hostname: "vm" }), 0, "Success")
    assert.match(bytes(made.underlayRoute), /^fd00:f:1:0:d0/)
    assert.isNotEmpty(made.vf.name)
    const { interface: shown } = await status("getInterface", { interfaceId: text("vm-1") }, 0, "Success")
    assert.deepStrictEqual(
      [bytes(shown.id), shown.vni, bytes(shown.primaryIpv4), bytes(shown.primaryIpv6), shown.pciName],
      ["vm-1", 100, "10.0.0.1", "::", "p0"],
    )
    assert.deepStrictEqual([shown.hostname, bytes(shown.underlayRoute)], ["vm", bytes(made.underlayRoute)])
    assert.strictEqual(shown.meteringParams.totalRate, 0n)
    assert.lengthOf((await status("listInterfaces", {}, 0, "Success")).interfaces, 1)
    assert.isTrue((await status("checkVniInUse", { vni: 100, type: VniType.VNI_IPV4 }, 0, "Success")).inUse)
    await status("deleteInterface", { interfaceId: text("vm-1") }, 0, "Success")
    await status("deleteInterface", { interfaceId: text("vm-1") }, 201, "NOT_FOUND")
    await status("getInterface", { interfaceId: text("vm-1") }, 201, "NOT_FOUND")
    assert.isFalse((await status("checkVniInUse", { vni: 100, type: VniType.VNI_IPV6 }, 0, "Success")).inUse)
  })

  it("answers each fault of interfaces, routes and VNIs with its code", async () => {
    const preferred = { preferredUnderlayRoute: text("fd00:f:1::8000:0:1") }
    await status("createInterface", interfaceRequest(preferred), 0, "Success")
    const second = { interfaceId: text("vm-2"), deviceName: "p1" }
    const fault = (over: Record<string, unknown>, code: number, name: string) =>
      status("createInterface", interfaceRequest(over), code, name)
    await fault({ deviceName: "p9" }, 201, "NOT_FOUND")
    await fault({ deviceName: "eth:lo" }, 201, "NOT_FOUND")
    await fault({}, 202, "ALREADY_EXISTS")
    await fault({ ...second, ...preferred }, 401, "VNF_INSERT")
    await fault({ deviceName: "p1" }, 402, "VM_HANDLE")
    await fault({ ...second, vni: 0 }, 361, "VNI_INIT4")
    await fault({ ...second, vni: 1 << 24 }, 361, "VNI_INIT4")
    await fault(second, 301, "ROUTE_EXISTS")

    await status("createRoute", routeRequest(100, { nexthopAddress: ip4("1.2.3.4") }), 204, "BAD_IPVER")
    await status("createRoute", routeRequest(999, { nexthopAddress: ip4("1.2.3.4") }), 204, "BAD_IPVER")
    await status("createRoute", routeRequest(999), 206, "NO_VNI")
    await status("deleteRoute", routeRequest(999), 206, "NO_VNI")
    await status("listRoutes", { vni: 999 }, 206, "NO_VNI")
    await status("createRoute", routeRequest(100), 0, "Success")
    await status("createRoute", routeRequest(100), 301, "ROUTE_EXISTS")
    const long = { prefix: { ip: ip4("10.1.0.0"), length: 33 } }
    await status("createRoute", routeRequest(100, long), 303, "ROUTE_INSERT")
    await status("deleteRoute", routeRequest(100, long), 302, "ROUTE_NOT_FOUND")
    const own = { prefix: { ip: ip4("10.0.0.1"), length: 32 } }
    await status("createRoute", routeRequest(100, own), 301, "ROUTE_EXISTS")
    await status("deleteRoute", routeRequest(100, own), 304, "ROUTE_BAD_PORT")
    await status("deleteRoute", routeRequest(100), 0, "Success")
    await status("deleteRoute", routeRequest(100), 302, "ROUTE_NOT_FOUND")

    await status("checkVniInUse", { vni: 100, type: VniType.VNI_BOTH }, 203, "WRONG_TYPE")
    await status("resetVni", { vni: 100, type: VniType.VNI_IPV4 }, 203, "WRONG_TYPE")
    await status("resetVni", { vni: 999, type: VniType.VNI_BOTH }, 0, "Success")
    await status("deleteInterface", { interfaceId: text("vm-1") }, 0, "Success")
  })

  it("lists thousands of routes whole, in both families, and forgets them on reset and Initialize", async () => {
    await status("createInterface", interfaceRequest(), 0, "Success")
    const other = { interfaceId: text("vm-2"), deviceName: "p1", vni: 200 }
    await status("createInterface", interfaceRequest(other), 0, "Success")
    const stream = applyStream(dataplane.ferrite)
    const routes = Array.from({ length: 6_000 }, (_, i) =>
      putRoute(100, i % 3 === 0 ? `fd00:${i.toString(16)}::/32` : `10.${64 + (i >> 8)}.${i & 255}.0/24`),
    )
    for (let at = 0; at < routes.length; at += 2_000)
      await stream.send(BigInt(at), routes.slice(at, at + 2_000))
    await stream.send(9_999n, [putRoute(200, "0.0.0.0/0")])
    stream.end()
    assert.strictEqual((await stream.ended).code, 0)
    const listed = (await status("listRoutes", { vni: 100 }, 0, "Success")).routes
    assert.lengthOf(listed, 6_000)
    const six = listed.filter((route: any) => route.prefix.ip.ipver === IpVersion.IPV6)
    assert.lengthOf(six, 2_000)
    assert.strictEqual(bytes(six[0].nexthopAddress.address), "fd00:f:2::1")
    assert.lengthOf((await status("listRoutes", { vni: 0 }, 0, "Success")).routes, 6_001)
    await status("resetVni", { vni: 100, type: VniType.VNI_BOTH }, 0, "Success")
    assert.lengthOf((await status("listRoutes", { vni: 0 }, 0, "Success")).routes, 1)
    await status("initialize", {}, 0, "Success")
    assert.lengthOf((await status("listRoutes", { vni: 0 }, 0, "Success")).routes, 0)
    assert.lengthOf((await status("listInterfaces", {}, 0, "Success")).interfaces, 2)
    for (const id of ["vm-1", "vm-2"])
      await status("deleteInterface", { interfaceId: text(id) }, 0, "Success")
  })
})
