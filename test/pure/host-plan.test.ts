import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { announceable, planAnnouncements, planSubscriptions } from "#actors/host/Announcements.ts"
import { planHost } from "#actors/host/HostPlan.ts"
import type { HostView, ProgrammedRoute } from "#actors/host/HostView.ts"
import { defaultDevice, interfaceSpec } from "#actors/host/InterfaceIdentity.ts"
import { chooseNextHop } from "#actors/host/NextHopChoice.ts"
import { statusCodes } from "#protocol/dataplane/Dataplane.ts"
import type { NextHop } from "#protocol/metalbond/RouteDistribution.ts"
import { parsePrefix } from "#protocol/net/Address.ts"
import type { HostInterface } from "#protocol/node/HostInterface.ts"
import { applyAll, applyOne, listing, type TinyDataplane, tinyDataplane } from "./host-dataplane.ts"

const underlay = parsePrefix("fd00:f:1::/64")!
const uidOf = (n: number) => `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`
const hop = (address: string, type: NextHop["type"] = "STANDARD"): NextHop => ({
  address,
  vni: 0,
  type,
  natPortFrom: 0,
  natPortTo: 0,
})
const nic = (n: number, fields: Partial<HostInterface> = {}): HostInterface => ({
  uid: uidOf(n),
  namespace: "default",
  name: `nic-${n}`,
  generation: 1,
  vni: 200,
  ipv4: `10.0.0.${n}`,
  acceptedMicros: 0,
  ...fields,
})

interface Asked {
  readonly desired?: ReadonlyArray<HostInterface>
  readonly known?: ReadonlyArray<readonly [number, string, ReadonlyArray<NextHop>]>
  readonly complete?: boolean
  readonly level?: boolean
}

const viewOf = (dataplane: TinyDataplane, asked: Asked): HostView => {
  const programmed = new Map<number, Map<string, ProgrammedRoute>>()
  for (const { nextHop, nextHopVni, prefix, vni } of dataplane.routes.values()) {
    if (!programmed.has(vni)) programmed.set(vni, new Map())
    programmed.get(vni)!.set(prefix, { nextHop, nextHopVni, programmedMicros: 0 })
  }
  const known = new Map<number, Map<string, ReadonlyArray<NextHop>>>()
  for (const [vni, prefix, hops] of asked.known ?? []) {
    if (!known.has(vni)) known.set(vni, new Map())
    known.get(vni)!.set(prefix, hops)
  }
  return {
    desired: new Map((asked.desired ?? []).map((one) => [one.uid, one])),
    observed: new Map(dataplane.interfaces),
    programmed,
    known,
    underlay,
    complete: asked.complete ?? true,
    isLevel: () => asked.level ?? true,
  }
}

const reach = (dataplane: TinyDataplane, asked: Asked) =>
  applyAll(dataplane, planHost(viewOf(dataplane, asked)))

// Few values, so that addresses, VNIs and devices meet.
const smallVni = fc.constantFrom(200, 201)
const smallHost = fc.integer({ min: 1, max: 5 })
const interfaces = fc
  .uniqueArray(fc.tuple(fc.integer({ min: 1, max: 8 }), smallVni, smallHost, fc.boolean()), {
    selector: ([n]) => n,
  })
  .map((drawn) => {
    const taken = new Set<string>()
    return drawn.flatMap(([n, vni, host, named]) => {
      if (taken.has(`${vni} ${host}`)) return []
      taken.add(`${vni} ${host}`)
      return [nic(n, { vni, ipv4: `10.0.0.${host}`, ...(named ? { device: `vtap:tap-${n}` } : {}) })]
    })
  })
const routes = fc.uniqueArray(
  fc.tuple(
    smallVni,
    smallHost.map((host) => `10.0.0.${host}/32`),
    fc
      .uniqueArray(fc.constantFrom("fd00:f:1::d001:0:0:9", "fd00:f:2::1", "fd00:f:3::1"), { minLength: 1 })
      .map((addresses) => addresses.map((address) => hop(address))),
  ),
  { selector: ([vni, prefix]) => `${vni} ${prefix}` },
)
const asked = fc.record({ desired: interfaces, known: routes })

describe("the plan of a host", () => {
  it("reaches what is asked for from whatever was there, without a refusal", () => {
    fc.assert(
      fc.property(asked, asked, (before, after) => {
        const dataplane = tinyDataplane()
        reach(dataplane, before)
        const refused = reach(dataplane, after).filter(({ code }) => code !== statusCodes.SUCCESS)
        assert.deepStrictEqual(refused, [])
        // Routes of a VNI that was without an interface for a moment may need a second look.
        reach(dataplane, after)
        assert.sameDeepMembers(
          Array.from(dataplane.interfaces.values(), ({ spec }) => spec),
          after.desired.map(interfaceSpec),
        )
        const local = new Set(after.desired.map(({ ipv4, vni }) => `${vni} ${ipv4}/32`))
        const used = new Set(after.desired.map(({ vni }) => vni))
        const wanted = after.known.flatMap(([vni, prefix, hops]) => {
          const nextHop = chooseNextHop(hops, underlay)
          return used.has(vni) && !local.has(`${vni} ${prefix}`) && nextHop !== undefined
            ? [`${vni} ${prefix} ${nextHop}`]
            : []
        })
        assert.deepStrictEqual(
          Array.from(
            dataplane.routes.values(),
            ({ nextHop, prefix, vni }) => `${vni} ${prefix} ${nextHop}`,
          ).sort(),
          wanted.sort(),
        )
        assert.deepStrictEqual(planHost(viewOf(dataplane, after)), [])
      }),
      { numRuns: 500 },
    )
  })

  it("is empty for what an incomplete, unsettled host found", () => {
    fc.assert(
      fc.property(asked, (before) => {
        const dataplane = tinyDataplane()
        reach(dataplane, before)
        assert.deepStrictEqual(planHost(viewOf(dataplane, { complete: false, level: false })), [])
      }),
    )
  })

  it("removes orphans once all that is asked for is known", () => {
    const dataplane = tinyDataplane()
    reach(dataplane, { desired: [nic(1), nic(2)], known: [[200, "10.0.0.9/32", [hop("fd00:f:2::9")]]] })
    const kept = { desired: [nic(1)], known: [], complete: false, level: false }
    assert.deepStrictEqual(planHost(viewOf(dataplane, kept)), [])
    assert.deepStrictEqual(planHost(viewOf(dataplane, { ...kept, complete: true, level: true })), [
      { _tag: "DeleteRoute", vni: 200, prefix: "10.0.0.9/32" },
      { _tag: "DeleteInterface", id: uidOf(2) },
    ])
  })

  it("makes an interface anew only where its identity changed", () => {
    const dataplane = tinyDataplane()
    reach(dataplane, { desired: [nic(1)] })
    const renamed = nic(1, { generation: 2, hostname: "other", name: "other" })
    assert.deepStrictEqual(planHost(viewOf(dataplane, { desired: [renamed] })), [])
    const moved = nic(1, { generation: 3, vni: 201 })
    assert.deepStrictEqual(planHost(viewOf(dataplane, { desired: [moved] })), [
      { _tag: "DeleteInterface", id: uidOf(1) },
      { _tag: "CreateInterface", spec: interfaceSpec(moved) },
    ])
  })

  it("replaces a next hop in one operation", () => {
    const dataplane = tinyDataplane()
    const known = (address: string): Asked => ({
      desired: [nic(1)],
      known: [[200, "10.0.0.9/32", [hop(address)]]],
    })
    reach(dataplane, known("fd00:f:2::9"))
    const route = { vni: 200, prefix: "10.0.0.9/32", nextHop: "fd00:f:3::9", nextHopVni: 200 }
    assert.deepStrictEqual(planHost(viewOf(dataplane, known("fd00:f:3::9"))), [{ _tag: "PutRoute", route }])
  })

  it("takes a remote route away before its address becomes an interface here", () => {
    const dataplane = tinyDataplane()
    const known: Asked["known"] = [[200, "10.0.0.2/32", [hop("fd00:f:2::9")]]]
    reach(dataplane, { desired: [nic(1)], known })
    assert.deepStrictEqual(planHost(viewOf(dataplane, { desired: [nic(1), nic(2)], known })), [
      { _tag: "DeleteRoute", vni: 200, prefix: "10.0.0.2/32" },
      { _tag: "CreateInterface", spec: interfaceSpec(nic(2)) },
    ])
  })

  it("puts no route into a VNI that the dataplane does not have", () => {
    const dataplane = tinyDataplane()
    dataplane.refusedDevices.add(defaultDevice(uidOf(1)))
    const all: Asked = { desired: [nic(1)], known: [[200, "10.0.0.9/32", [hop("fd00:f:2::9")]]] }
    applyOne(dataplane, { _tag: "CreateInterface", spec: interfaceSpec(nic(1)) })
    assert.deepStrictEqual(listing(dataplane).interfaces, [])
    const scope = { uids: [], prefixes: [[200, "10.0.0.9/32"] as const] }
    assert.deepStrictEqual(planHost(viewOf(dataplane, all), scope), [])
  })
})

describe("next hops", () => {
  it("the lowest STANDARD address outside the host's own prefix is chosen, by number", () => {
    assert.strictEqual(
      chooseNextHop([hop("fd00:f:10::1"), hop("fd00:f:9::1"), hop("fd00:f:2::1", "NAT")], underlay),
      "fd00:f:9::1",
    )
    assert.strictEqual(chooseNextHop([hop("fd00:f:1::1"), hop("fd00:f:2::1")], underlay), "fd00:f:2::1")
  })

  it("a set without a usable hop chooses none", () => {
    const useless = [
      hop("fd00:f:1::1"),
      hop("10.0.0.1"),
      hop("nonsense"),
      hop("fd00:f:2::1", "LOADBALANCER_TARGET"),
    ]
    assert.isUndefined(chooseNextHop(useless, underlay))
    assert.isUndefined(chooseNextHop([], underlay))
  })

  it("the order in which hops are told does not matter", () => {
    const hops = fc.array(fc.constantFrom("fd00:f:2::1", "fd00:f:3::1", "fd00:f:10::1", "fd00:f:1::5"))
    fc.assert(
      fc.property(hops, (addresses) => {
        const told = addresses.map((address) => hop(address))
        assert.strictEqual(chooseNextHop(told, underlay), chooseNextHop(told.toReversed(), underlay))
      }),
    )
  })
})

describe("announcements and subscriptions", () => {
  it("each address of each interface is announced by the interface's underlay address", () => {
    const dataplane = tinyDataplane()
    reach(dataplane, { desired: [nic(1, { ipv6: "fd01::1" })] })
    const [realised] = listing(dataplane).interfaces
    const nextHop = hop(realised!.underlayAddress)
    assert.deepStrictEqual(planAnnouncements([realised!]), [
      { vni: 200, prefix: "10.0.0.1/32", nextHop },
      { vni: 200, prefix: "fd01::1/128", nextHop },
    ])
  })

  it("an interface about to go is announced no longer, one not known to be unwanted is", () => {
    const dataplane = tinyDataplane()
    reach(dataplane, { desired: [nic(1), nic(2)] })
    const uids = (view: HostView) => announceable(view).map(({ spec }) => spec.id)
    assert.deepStrictEqual(uids(viewOf(dataplane, { desired: [nic(2)] })), [uidOf(2)])
    assert.deepStrictEqual(uids(viewOf(dataplane, { complete: false })), [uidOf(1), uidOf(2)])
  })

  it("VNIs are subscribed before their first interface is there, and while one remains", () => {
    const dataplane = tinyDataplane()
    reach(dataplane, { desired: [nic(1)] })
    assert.deepStrictEqual(
      planSubscriptions(viewOf(dataplane, { desired: [nic(2, { vni: 300 })], complete: false })),
      new Set([300, 200]),
    )
    assert.deepStrictEqual(planSubscriptions(viewOf(dataplane, {})), new Set())
  })

  it("a device name fits the kernel", () => {
    assert.strictEqual(defaultDevice("01234567-89ab-4cde-8f01-23456789abcd"), "vtap:ftap-456789abcd")
    assert.isAtMost(defaultDevice(uidOf(7)).length - "vtap:".length, 15)
  })
})
