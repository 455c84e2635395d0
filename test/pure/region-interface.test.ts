import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { planNetworkInterface } from "#actors/region/NetworkInterfacePlan.ts"
import type { NetworkInterfaceObserved, Peer } from "#actors/region/NetworkInterfaceObserved.ts"
import { isEmpty } from "#actors/region/Plan.ts"
import { findCondition } from "#protocol/resource/Conditions.ts"
import type { NetworkInterface } from "#protocol/resource/NetworkInterface.ts"
import { key, networkDocument, nicDocument, Region } from "./region-model.ts"

const reasonsOf = (region: Region, name: string) =>
  Object.fromEntries(
    (region.nic(name)?.status?.conditions ?? []).map(({ type, status, reason }) => [
      type,
      status === "True" ? "True" : reason,
    ]),
  )

/** Network blue and two hosts. */
const start = (): Region => {
  const region = new Region()
  region.apply(networkDocument("blue"))
  for (const name of ["host-1", "host-2"]) region.start(name)
  region.settle()
  return region
}

const attached = (): Region => {
  const region = start()
  region.apply(nicDocument("a", "blue", ["10.0.0.1", "fd01::1"]))
  region.attach("a", "host-1")
  region.settle()
  return region
}

const claimsOf = (region: Region) =>
  [...region.claims]
    .filter(([text]) => text.startsWith("ip/"))
    .map(([text, owner]) => `${text} ${owner.name}`)

describe("A NetworkInterface waits", () => {
  it("for a network that does not exist, and goes on when it does", () => {
    const region = start()
    region.apply(nicDocument("a", "red", ["10.0.0.1"]))
    region.attach("a", "host-1")
    region.settle()
    assert.deepStrictEqual(reasonsOf(region, "a"), {
      NetworkReady: "NetworkNotFound",
      AddressReady: "NetworkNotReady",
      Attached: "True",
      Realised: "NotAsked",
      Programmed: "NotRealised",
    })
    region.apply(networkDocument("red"))
    region.settle()
    assert.strictEqual(region.nic("a")?.status?.state, "Available")
  })

  it("for a network without VNI, and says why that has none", () => {
    const region = new Region({ first: 200, last: 200 })
    for (const name of ["blue", "red"]) region.apply(networkDocument(name))
    region.apply(nicDocument("a", "red", ["10.0.0.1"]))
    region.settle()
    const condition = findCondition(region.nic("a")?.status?.conditions, "NetworkReady")
    assert.strictEqual(condition?.reason, "NetworkPending")
    assert.include(condition?.message, "PoolExhausted")
  })

  it("to be attached, holding its addresses meanwhile", () => {
    const region = start()
    region.apply(nicDocument("a", "blue", ["10.0.0.1"]))
    region.settle()
    assert.strictEqual(reasonsOf(region, "a")["Attached"], "NotAttached")
    assert.deepStrictEqual(claimsOf(region), ["ip/200|10.0.0.1 a"])
    assert.deepStrictEqual(region.nic("a")?.status?.ips, ["10.0.0.1"])
  })

  it("for a node that does not exist, and goes on when its agent comes", () => {
    const region = start()
    region.apply(nicDocument("a", "blue", ["10.0.0.1"]))
    region.attach("a", "host-3")
    region.settle()
    assert.strictEqual(reasonsOf(region, "a")["Attached"], "NodeNotFound")
    assert.deepStrictEqual(region.hostInterfaces(), [])
    region.start("host-3")
    region.settle()
    assert.strictEqual(region.nic("a")?.status?.attachment?.node, "host-3")
    assert.strictEqual(region.nic("a")?.status?.state, "Available")
  })

  it("for a lost node, without asking it meanwhile", () => {
    const region = start()
    region.stop("host-1")
    region.settle()
    region.apply(nicDocument("a", "blue", ["10.0.0.1"]))
    region.attach("a", "host-1")
    region.settle()
    assert.strictEqual(reasonsOf(region, "a")["Attached"], "NodeLost")
    assert.deepStrictEqual(region.hostInterfaces(), [])
    region.start("host-1")
    region.settle()
    assert.strictEqual(region.nic("a")?.status?.state, "Available")
  })

  it("for an address that another holds, and gets it when that one goes", () => {
    const region = attached()
    region.apply(nicDocument("b", "blue", ["10.0.0.2", "fd01::1"]))
    region.attach("b", "host-2")
    region.settle()
    const condition = findCondition(region.nic("b")?.status?.conditions, "AddressReady")
    assert.strictEqual(condition?.reason, "AddressTaken")
    assert.include(
      condition?.message,
      "spec.ips[1].value fd01::1 is held by NetworkInterface/default/a in VNI 200",
    )
    assert.deepStrictEqual(claimsOf(region), ["ip/200|10.0.0.1 a", "ip/200|fd01::1 a"])
    region.delete(key("NetworkInterface", "a"))
    region.settle()
    assert.strictEqual(region.nic("b")?.status?.state, "Available")
    assert.deepStrictEqual(claimsOf(region), ["ip/200|10.0.0.2 b", "ip/200|fd01::1 b"])
  })

  it("for prefixes to be served where an address is ephemeral", () => {
    const region = start()
    const ephemeral = { prefixTemplate: { spec: { parentRef: { name: "root" } } } }
    region.apply(nicDocument("a", "blue", [], { ipFamilies: ["IPv4"], ips: [{ ephemeral }] }))
    region.settle()
    const condition = findCondition(region.nic("a")?.status?.conditions, "AddressReady")
    assert.strictEqual(condition?.reason, "AddressPending")
    assert.include(condition?.message, "prefixes are not served")
  })

  it("for its host, with the host's reason", () => {
    const region = start()
    const host = region.hosts.get("host-1") ?? assert.fail()
    host.refuses = true
    region.apply(nicDocument("a", "blue", ["10.0.0.1"]))
    region.attach("a", "host-1")
    region.settle(false)
    assert.strictEqual(reasonsOf(region, "a")["Realised"], "WaitingForHost")
    region.settle()
    assert.strictEqual(reasonsOf(region, "a")["Realised"], "DataplaneRefused")
    assert.strictEqual(region.nic("a")?.status?.state, "Error")
    assert.include(region.events, "a Warning DataplaneRefused")
    host.refuses = false
    region.settle()
    assert.strictEqual(region.nic("a")?.status?.state, "Available")
  })

  it("for nothing, and says what of its spec is not served", () => {
    const region = start()
    const spec = { virtualIP: { virtualIPRef: { name: "v" } }, prefixes: [{ value: "10.9.0.0/16" }] }
    region.apply(nicDocument("a", "blue", ["10.0.0.1"], spec))
    region.attach("a", "host-1")
    region.settle()
    const { PrefixesReady, VirtualIPReady } = reasonsOf(region, "a")
    assert.deepStrictEqual([PrefixesReady, VirtualIPReady], ["NotServed", "NotServed"])
    assert.strictEqual(region.nic("a")?.status?.state, "Available")
  })
})

describe("An attached NetworkInterface", () => {
  it("has a HostInterface, a device, an underlay address and its times", () => {
    const region = attached()
    const { status, metadata } = region.nic("a") ?? assert.fail()
    assert.deepStrictEqual(region.hostInterfaces(), [
      {
        node: "host-1",
        value: {
          uid: metadata.uid,
          namespace: "default",
          name: "a",
          vni: 200,
          ipv4: "10.0.0.1",
          ipv6: "fd01::1",
          hostname: "a",
          generation: 2,
          acceptedMicros: status?.attachment?.acceptedMicros ?? 0,
        },
      },
    ])
    assert.deepStrictEqual(metadata.finalizers, ["ferrite.dev/host-interface"])
    assert.strictEqual(status?.attachment?.device, `tap${metadata.uid.slice(-4)}`)
    assert.isAtLeast(
      status?.attachment?.programmedMicros ?? 0,
      status?.attachment?.realisedMicros ?? Infinity,
    )
    assert.deepStrictEqual(new Set(Object.values(reasonsOf(region, "a"))), new Set(["True"]))
  })

  it("is attached once: again to the same node, never to another", () => {
    const region = attached()
    const revision = region.revision
    assert.strictEqual(region.attach("a", "host-1"), "Attached")
    assert.strictEqual(region.attach("a", "host-2"), "AttachedElsewhere")
    assert.strictEqual(region.revision, revision)
  })

  it("is not asked for again where its spec changes without changing the host's part", () => {
    const region = attached()
    const before = region.hostInterfaces()
    region.apply(nicDocument("a", "blue", ["10.0.0.1", "fd01::1"], { machineRef: { name: "vm-7" } }))
    region.settle(false)
    assert.deepStrictEqual(region.hostInterfaces(), before)
    assert.strictEqual(region.nic("a")?.status?.state, "Available")
  })

  it("changes its addresses in place and gives the old ones back when the host has switched", () => {
    const region = attached()
    const device = region.nic("a")?.status?.attachment?.device
    region.apply(nicDocument("a", "blue", ["10.0.0.9", "fd01::1"]))
    region.settle(false)
    assert.deepStrictEqual(region.nic("a")?.status?.ips, ["10.0.0.9", "fd01::1", "10.0.0.1"])
    assert.strictEqual(region.hostInterfaces()[0]?.value.generation, 3)
    assert.strictEqual(reasonsOf(region, "a")["Realised"], "WaitingForHost")
    region.settle()
    assert.deepStrictEqual(region.nic("a")?.status?.ips, ["10.0.0.9", "fd01::1"])
    assert.deepStrictEqual(claimsOf(region), ["ip/200|fd01::1 a", "ip/200|10.0.0.9 a"])
    assert.strictEqual(region.nic("a")?.status?.attachment?.device, device)
  })

  it("keeps running with its addresses where the new ones are not to be had", () => {
    const region = attached()
    region.apply(nicDocument("b", "blue", ["10.0.0.2"]))
    region.settle()
    region.apply(nicDocument("a", "blue", ["10.0.0.2", "fd01::1"]))
    region.settle()
    const condition = findCondition(region.nic("a")?.status?.conditions, "AddressReady")
    assert.include(condition?.message, "until then the interface keeps 10.0.0.1, fd01::1")
    assert.strictEqual(region.hostInterfaces()[0]?.value.ipv4, "10.0.0.1")
    assert.strictEqual(region.nic("a")?.status?.state, "Available")
  })

  it("is detached when its host has let go, and keeps its addresses", () => {
    const region = attached()
    region.detach("a")
    region.settle(false)
    assert.strictEqual(reasonsOf(region, "a")["Attached"], "Detaching")
    assert.deepStrictEqual(region.nic("a")?.metadata.finalizers, ["ferrite.dev/host-interface"])
    region.settle()
    assert.isUndefined(region.nic("a")?.status?.attachment)
    assert.isUndefined(region.nic("a")?.metadata.finalizers)
    assert.strictEqual(region.nic("a")?.status?.state, "Pending")
    assert.strictEqual(claimsOf(region).length, 2)
  })

  it("moves by an Apply: the next host is asked when the last one has let go", () => {
    const region = attached()
    const providerID = "ironcore-net://default/a/host-2/x"
    region.apply(nicDocument("a", "blue", ["10.0.0.1", "fd01::1"], { providerID }))
    region.settle(false)
    assert.strictEqual(reasonsOf(region, "a")["Attached"], "Moving")
    assert.deepStrictEqual(region.hostInterfaces(), [])
    region.settle()
    assert.deepStrictEqual(
      region.hostInterfaces().map(({ node }) => node),
      ["host-2"],
    )
    assert.strictEqual(region.nic("a")?.status?.state, "Available")
  })

  it("does not take an old report of removal for a new one", () => {
    const region = attached()
    region.detach("a")
    region.settle()
    region.attach("a", "host-1")
    region.step(key("NetworkInterface", "a"))
    // The agent has seen that it is to come up again, when it is detached for the second time.
    region.see("host-1")
    region.detach("a")
    region.step(key("NetworkInterface", "a"))
    const host = region.hosts.get("host-1") ?? assert.fail()
    assert.strictEqual(host.reports.get(region.nic("a")?.metadata.uid ?? "")?.state, "Removed")
    assert.isFalse(region.step(key("NetworkInterface", "a")), "the report is about the first time")
    assert.strictEqual(region.nic("a")?.status?.attachment?.node, "host-1")
    region.settle()
    assert.isUndefined(region.nic("a")?.status?.attachment)
  })

  it("is unknown while its node is lost, and available again when that comes back", () => {
    const region = attached()
    region.stop("host-1")
    region.settle()
    const condition = findCondition(region.nic("a")?.status?.conditions, "Realised")
    assert.deepStrictEqual([condition?.status, condition?.reason], ["Unknown", "NodeLost"])
    assert.strictEqual(region.hostInterfaces().length, 1)
    region.start("host-1")
    region.settle()
    assert.strictEqual(region.nic("a")?.status?.state, "Available")
  })

  it("is free when the node that it was on is deleted", () => {
    const region = attached()
    region.stop("host-1")
    region.settle()
    region.delete(key("Node", "host-1"))
    region.settle()
    assert.deepStrictEqual(region.hostInterfaces(), [])
    assert.strictEqual(reasonsOf(region, "a")["Attached"], "NodeNotFound")
    region.detach("a")
    region.attach("a", "host-2")
    region.settle()
    assert.strictEqual(region.nic("a")?.status?.state, "Available")
  })

  it("is deleted when its host has let go, with all that it held", () => {
    const region = attached()
    region.delete(key("NetworkInterface", "a"))
    region.settle(false)
    assert.strictEqual(reasonsOf(region, "a")["Attached"], "Detaching")
    assert.strictEqual(claimsOf(region).length, 2)
    region.settle()
    assert.isUndefined(region.nic("a"))
    assert.deepStrictEqual(claimsOf(region), [])
    assert.strictEqual(region.hosts.get("host-1")?.interfaces.size, 0)
  })

  it("can be attached no more while it is deleted", () => {
    const region = attached()
    region.delete(key("NetworkInterface", "a"))
    assert.strictEqual(region.attach("a", "host-1"), "Deleting")
  })

  it("has a hostname that a dataplane takes", () => {
    const region = start()
    region.apply(nicDocument(`${"a".repeat(62)}.${"b".repeat(10)}`, "blue", ["10.0.0.1"]))
    region.attach(`${"a".repeat(62)}.${"b".repeat(10)}`, "host-1")
    region.settle()
    assert.strictEqual(region.hostInterfaces()[0]?.value.hostname, "a".repeat(62))
  })
})

describe("What hosts say of a NetworkInterface", () => {
  const base = () => {
    const region = attached()
    const nic = region.nic("a") ?? assert.fail()
    const node = region.node("host-1") ?? assert.fail()
    const observed: NetworkInterfaceObserved = {
      nowMicros: region.now,
      network: region.network("blue"),
      nodes: new Map([["host-1", node]]),
      hostInterface: region.hostInterfaces()[0]?.value,
      report: undefined,
      settled: false,
      addressOwners: new Map(),
      peers: undefined,
    }
    return { nic, observed }
  }
  const programmed = (nic: NetworkInterface, observed: NetworkInterfaceObserved) => {
    const { next } = planNetworkInterface(nic, observed)
    return findCondition((next._tag === "Put" ? next.manifest : nic).status?.conditions, "Programmed")
  }
  const without = (nic: NetworkInterface): NetworkInterface => ({
    ...nic,
    status: {
      ...nic.status,
      conditions: (nic.status?.conditions ?? []).filter(({ type }) => type !== "Programmed"),
    },
  })

  it("stands when a new controller has heard nothing yet", () => {
    const { nic, observed } = base()
    assert.isTrue(isEmpty(planNetworkInterface(nic, observed)))
  })

  it("is old where it is about another generation", () => {
    const { nic, observed } = base()
    const report = {
      _tag: "InterfaceReport",
      uid: nic.metadata.uid,
      generation: 1,
      state: "Failed",
      reason: "Old",
      message: "",
    } as const
    assert.isTrue(isEmpty(planNetworkInterface(nic, { ...observed, report })))
  })

  it("that it was taken down does not free a host that is still asked for it", () => {
    const { nic, observed } = base()
    const report = {
      _tag: "InterfaceReport",
      uid: nic.metadata.uid,
      generation: 2,
      state: "Removed",
    } as const
    const plan = planNetworkInterface(nic, { ...observed, report })
    assert.deepStrictEqual(plan.hosts, [])
    assert.isTrue(plan.next._tag === "Put" && plan.next.manifest.status?.attachment?.node === "host-1")
    const leaving = { ...nic, metadata: { ...nic.metadata, deletionTimestamp: "2023-11-14T22:13:20Z" } }
    const planned = planNetworkInterface(leaving, { ...observed, report })
    assert.deepStrictEqual(planned.hosts, [{ _tag: "Remove", node: "host-1", uid: nic.metadata.uid }])
    assert.strictEqual(planned.next._tag, "Put")
  })

  const peer = (node: string, route: Peer["route"], lost = false): Peer => ({
    node,
    lost,
    route,
    ...(route === "Acknowledged" ? { programmedMicros: 1_800_000_000_000_000 } : {}),
  })

  it("makes it programmed when every other host has the route, lost ones aside", () => {
    const { nic, observed } = base()
    const first = without({
      ...nic,
      status: { ...nic.status, attachment: { ...(nic.status?.attachment ?? { node: "host-1" }) } },
    })
    const waiting = programmed(first, {
      ...observed,
      peers: [peer("host-2", "Acknowledged"), peer("host-3", "Waiting")],
    })
    assert.deepStrictEqual(
      [waiting?.reason, waiting?.message],
      ["WaitingForRoutes", "no route to it yet on host-3"],
    )
    const peers = [peer("host-2", "Acknowledged"), peer("host-3", "Waiting", true)]
    assert.strictEqual(programmed(first, { ...observed, peers })?.status, "True")
    assert.strictEqual(programmed(first, observed)?.reason, "WaitingForRoutes")
  })

  it("keeps it programmed while a new host joins, until one that had the route loses it", () => {
    const { nic, observed } = base()
    assert.strictEqual(programmed(nic, { ...observed, peers: [peer("host-3", "Waiting")] })?.status, "True")
    const gone = programmed(nic, { ...observed, peers: [peer("host-2", "Withdrawn")] })
    assert.deepStrictEqual([gone?.status, gone?.reason], ["False", "RouteWithdrawn"])
  })

  it("counts the time to the last acknowledgement", () => {
    const { nic, observed } = base()
    const { programmedMicros: _programmed, ...attachment } = nic.status?.attachment ?? { node: "host-1" }
    const first = without({ ...nic, status: { ...nic.status, attachment } })
    const { next } = planNetworkInterface(first, { ...observed, peers: [peer("host-2", "Acknowledged")] })
    const micros = next._tag === "Put" ? next.manifest.status?.attachment?.programmedMicros : undefined
    assert.strictEqual(micros, 1_800_000_000_000_000)
  })

  it("moves a condition's transition time only with its status", () => {
    const { nic, observed } = base()
    const later = observed.nowMicros + 3_600_000_000
    const lost = new Map(
      [...observed.nodes].map(([name, node]) => [
        name,
        { ...node, status: { ...node.status, state: "Lost" as const } },
      ]),
    )
    const { next } = planNetworkInterface(nic, { ...observed, nowMicros: later, nodes: lost })
    if (next._tag !== "Put") return assert.fail("the node is lost")
    const time = (of: NetworkInterface, type: string) =>
      findCondition(of.status?.conditions, type)?.lastTransitionTime
    assert.strictEqual(time(next.manifest, "NetworkReady"), time(nic, "NetworkReady"))
    assert.notStrictEqual(time(next.manifest, "Attached"), time(nic, "Attached"))
    return undefined
  })

  it("leaves the immutable alone: Apply refuses", () => {
    const region = attached()
    assert.isTrue(Result.isFailure(region.apply(nicDocument("a", "red", ["10.0.0.1", "fd01::1"]))))
  })
})
