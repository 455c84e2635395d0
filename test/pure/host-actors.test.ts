import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Host from "#actors/host/Host.ts"
import * as HostBatch from "#actors/host/HostBatch.ts"
import * as HostDesire from "#actors/host/HostDesire.ts"
import { planHost } from "#actors/host/HostPlan.ts"
import * as HostReports from "#actors/host/HostReports.ts"
import { defaultDevice } from "#actors/host/InterfaceIdentity.ts"
import type { RouteChange } from "#protocol/metalbond/RouteDistribution.ts"
import { parsePrefix } from "#protocol/net/Address.ts"
import type { HostInterface } from "#protocol/node/HostInterface.ts"
import { applyAll, listing, type TinyDataplane, tinyDataplane } from "./host-dataplane.ts"

const uidOf = (n: number) => `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`
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
const change = (vni: number, prefix: string, ...addresses: ReadonlyArray<string>): RouteChange => ({
  vni,
  prefix,
  nextHops: addresses.map((address) => ({
    address,
    vni: 0,
    type: "STANDARD",
    natPortFrom: 0,
    natPortTo: 0,
  })),
})
const at = (nowMillis: number): HostBatch.Moment => ({ nowMillis, nowMicros: nowMillis * 1000, chance: 0.5 })

/** What a session does until nobody is awake. The number of operations that it took. */
const run = (host: Host.Host, dataplane: TinyDataplane, now = 0): number => {
  let operations = 0
  for (let round = 0; round < 20; round++) {
    HostDesire.takeSubscriptions(host)
    if (!HostBatch.isAwake(host)) return operations
    const batch = HostBatch.nextBatch(host, now)
    operations += batch.length
    if (HostBatch.settle(host, batch, applyAll(dataplane, batch), at(now))) {
      HostBatch.observe(host, listing(dataplane), false, at(now))
    }
  }
  return assert.fail("the host does not come to rest")
}

const start = (dataplane: TinyDataplane, remembered: ReadonlyArray<HostInterface> = []) => {
  const host = Host.make(parsePrefix("fd00:f:1::/64")!)
  HostDesire.restore(host, { interfaces: remembered, removed: [], revision: 1 })
  for (const vni of [200, 201]) host.tables.setLevel(vni, true)
  HostBatch.observe(host, listing(dataplane), true, at(0))
  HostReports.tellAll(host)
  return host
}

const states = (host: Host.Host) =>
  HostReports.takeInterfaceReports(host, 100, 1).map(({ state, uid }) => `${Number(uid.slice(-4))} ${state}`)

const event = fc.oneof(
  fc.record({
    do: fc.constant("upsert" as const),
    n: fc.integer({ min: 1, max: 5 }),
    vni: fc.constantFrom(200, 201),
  }),
  fc.record({ do: fc.constant("remove" as const), n: fc.integer({ min: 1, max: 5 }) }),
  fc.record({
    do: fc.constant("learn" as const),
    vni: fc.constantFrom(200, 201),
    n: fc.integer({ min: 1, max: 8 }),
    hops: fc.uniqueArray(fc.constantFrom("fd00:f:1::9", "fd00:f:2::1", "fd00:f:3::1")),
  }),
  fc.record({ do: fc.constant("run" as const) }),
  fc.record({ do: fc.constant("lose results" as const) }),
  fc.record({ do: fc.constant("restart dataplane" as const) }),
  fc.record({ do: fc.constant("refuse" as const), n: fc.integer({ min: 1, max: 5 }) }),
)

describe("the actors of a host", () => {
  it("come to rest as asked for, whatever happened in between", () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 30 }), (events) => {
        let dataplane = tinyDataplane()
        const host = start(dataplane)
        let now = 0
        for (const one of events) {
          now += 1000
          HostDesire.takeSubscriptions(host)
          switch (one.do) {
            case "upsert":
              HostDesire.upsert(host, nic(one.n, { vni: one.vni }))
              break
            case "remove":
              HostDesire.remove(host, uidOf(one.n), 1)
              break
            case "learn":
              HostDesire.learn(host, { changes: [change(one.vni, `10.0.0.${one.n}/32`, ...one.hops)] })
              break
            case "run":
              run(host, dataplane, now)
              break
            case "lose results":
              applyAll(dataplane, HostBatch.nextBatch(host, now))
              HostBatch.disconnected(host, "gone in mid-batch")
              HostBatch.observe(host, listing(dataplane), false, at(now))
              break
            case "restart dataplane":
              dataplane = tinyDataplane(`dataplane-${now}`)
              HostBatch.disconnected(host, "restart")
              HostBatch.observe(host, listing(dataplane), true, at(now))
              break
            case "refuse":
              dataplane.refusedDevices.add(defaultDevice(uidOf(one.n)))
          }
        }
        dataplane.refusedDevices.clear()
        for (let retry = 0; retry < 3; retry++) {
          now += 60_000
          HostBatch.wakeRetries(host, now)
          run(host, dataplane, now)
        }
        assert.deepStrictEqual(planHost(host.tables), [], "something is left to do")
        assert.strictEqual(HostBatch.nextRetryMillis(host), undefined, "something still waits")
        assert.strictEqual(host.tables.digest, listing(dataplane).state.digest)
        assert.sameMembers([...dataplane.interfaces.keys()], [...host.tables.desired.keys()])
        assert.strictEqual(HostReports.settledRevision(host), 1)
        HostReports.tellAll(host)
        for (const report of HostReports.takeInterfaceReports(host, 100, 1)) {
          assert.strictEqual(report.state, host.tables.desired.has(report.uid) ? "Realised" : "Removed")
        }
      }),
      { numRuns: 500 },
    )
  })

  it("a refused interface is told with a reason, holds up nobody, and is asked for again later and later", () => {
    const dataplane = tinyDataplane()
    const host = start(dataplane)
    dataplane.refusedDevices.add(defaultDevice(uidOf(1)))
    HostDesire.upsert(host, nic(1))
    HostDesire.upsert(host, nic(2))
    run(host, dataplane)
    const reports = HostReports.takeInterfaceReports(host, 10, 1)
    assert.deepStrictEqual(
      reports.map(({ state }) => state),
      ["Failed", "Realised"],
    )
    assert.include(reports[0], { reason: "PortStart" })
    assert.match(
      (reports[0] as { message: string }).message,
      /PORT_START \(381\): no such device; .*TAP name/,
    )

    const waits: Array<number> = []
    for (let now = HostBatch.nextRetryMillis(host)!; waits.length < 10;) {
      HostBatch.wakeRetries(host, now)
      assert.strictEqual(run(host, dataplane, now), 1)
      waits.push(HostBatch.nextRetryMillis(host)! - now)
      now = HostBatch.nextRetryMillis(host)!
    }
    assert.deepStrictEqual(waits, [400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000])
    assert.deepStrictEqual(states(host), [], "the same refusal is told once")

    dataplane.refusedDevices.clear()
    const due = HostBatch.nextRetryMillis(host)!
    HostBatch.wakeRetries(host, due)
    run(host, dataplane, due)
    assert.deepStrictEqual(states(host), ["1 Realised"])
  })

  it("a refused interface is asked for at once when it is asked for differently", () => {
    const dataplane = tinyDataplane()
    const host = start(dataplane)
    dataplane.refusedDevices.add(defaultDevice(uidOf(1)))
    HostDesire.upsert(host, nic(1))
    run(host, dataplane)
    HostDesire.upsert(host, nic(1, { generation: 2 }))
    assert.strictEqual(run(host, dataplane), 0)
    HostDesire.upsert(host, nic(1, { generation: 3, device: "vtap:other" }))
    assert.strictEqual(run(host, dataplane), 1)
    assert.deepStrictEqual(states(host), ["1 Realised"])
  })

  it("an interface that needs nothing is told with its new generation", () => {
    const dataplane = tinyDataplane()
    const host = start(dataplane)
    HostDesire.upsert(host, nic(1))
    run(host, dataplane)
    assert.deepStrictEqual(states(host), ["1 Realised"])
    HostDesire.upsert(host, nic(1, { generation: 2 }))
    assert.deepStrictEqual(states(host), [], "not before the dataplane was looked at")
    assert.strictEqual(run(host, dataplane), 0)
    assert.deepStrictEqual(
      HostReports.takeInterfaceReports(host, 10, 1).map(({ generation }) => generation),
      [2],
    )
  })

  it("an interface waits as Pending while the dataplane does not answer", () => {
    const host = start(tinyDataplane())
    HostBatch.disconnected(host, "connection refused")
    HostDesire.upsert(host, nic(1))
    const [report] = HostReports.takeInterfaceReports(host, 10, 1)
    assert.include(report, { state: "Pending", reason: "DataplaneUnavailable" })
    assert.match((report as { message: string }).message, /connection refused/)
  })

  it("a removed interface is remembered until a lease that came after its report", () => {
    const dataplane = tinyDataplane()
    const host = start(dataplane)
    HostDesire.upsert(host, nic(1))
    run(host, dataplane)
    assert.deepStrictEqual(states(host), ["1 Realised"])
    HostDesire.remove(host, uidOf(1), 1)
    assert.deepStrictEqual(states(host), [], "it is still there")
    run(host, dataplane)
    assert.deepStrictEqual(
      HostReports.takeInterfaceReports(host, 10, 7).map(({ state }) => state),
      ["Removed"],
    )
    assert.deepStrictEqual(HostReports.acknowledged(host, 6), [])
    HostReports.tellAll(host)
    assert.deepStrictEqual(
      HostReports.takeInterfaceReports(host, 10, 3).map(({ state }) => state),
      ["Removed"],
      "a new session hears of it again",
    )
    assert.deepStrictEqual(HostReports.acknowledged(host, 3), [uidOf(1)])
    HostReports.tellAll(host)
    assert.deepStrictEqual(HostReports.takeInterfaceReports(host, 10, 4), [])
  })

  it("a full list removes what it does not name, and only when it is complete", () => {
    const dataplane = tinyDataplane()
    const host = start(dataplane, [nic(1), nic(2)])
    run(host, dataplane)
    HostDesire.beginSession(host, true)
    HostDesire.upsert(host, nic(2))
    HostDesire.upsert(host, nic(3))
    run(host, dataplane)
    assert.sameMembers([...dataplane.interfaces.keys()], [uidOf(1), uidOf(2), uidOf(3)])
    assert.strictEqual(HostReports.settledRevision(host), 0)
    HostDesire.caughtUp(host, 9)
    assert.strictEqual(HostReports.settledRevision(host), 0)
    run(host, dataplane)
    assert.sameMembers([...dataplane.interfaces.keys()], [uidOf(2), uidOf(3)])
    assert.strictEqual(HostReports.settledRevision(host), 9)
  })

  it("a full list that was cut short removes nothing, also when only the difference follows", () => {
    const dataplane = tinyDataplane()
    const host = start(dataplane, [nic(1), nic(2)])
    HostDesire.beginSession(host, true)
    HostDesire.upsert(host, nic(2))
    HostDesire.beginSession(host, false)
    HostDesire.caughtUp(host, 9)
    run(host, dataplane)
    assert.sameMembers([...dataplane.interfaces.keys()], [uidOf(1), uidOf(2)])
  })

  it("routes come back after the only interface of a network was made anew", () => {
    const dataplane = tinyDataplane()
    const host = start(dataplane, [nic(1)])
    run(host, dataplane)
    HostDesire.learn(host, { changes: [change(200, "10.0.0.9/32", "fd00:f:2::9")] })
    run(host, dataplane)
    HostDesire.upsert(host, nic(1, { generation: 2, device: "vtap:other" }))
    run(host, dataplane)
    assert.deepStrictEqual([...dataplane.routes.keys()], ["200 10.0.0.9/32"])
  })

  it("a host without a journal leaves what it finds alone, and announces it, until it has caught up", () => {
    const dataplane = tinyDataplane()
    run(start(dataplane, [nic(1), nic(2)]), dataplane)
    const host = Host.make(parsePrefix("fd00:f:1::/64")!)
    HostBatch.observe(host, listing(dataplane), true, at(0))
    assert.strictEqual(run(host, dataplane), 0)
    assert.deepStrictEqual(host.subscriptions, new Set([200]))
    HostDesire.beginSession(host, true)
    HostDesire.upsert(host, nic(1))
    HostDesire.caughtUp(host, 3)
    assert.strictEqual(run(host, dataplane), 1)
    assert.sameMembers([...dataplane.interfaces.keys()], [uidOf(1)])
    assert.deepStrictEqual(states(host).sort(), ["1 Realised", "2 Removed"])
  })

  it("routes found in the dataplane stay until the reflectors are level", () => {
    const dataplane = tinyDataplane()
    const before = start(dataplane, [nic(1)])
    run(before, dataplane)
    HostDesire.learn(before, {
      changes: [change(200, "10.0.0.8/32", "fd00:f:2::8"), change(200, "10.0.0.9/32", "fd00:f:2::9")],
    })
    run(before, dataplane)

    const host = Host.make(parsePrefix("fd00:f:1::/64")!)
    HostDesire.restore(host, { interfaces: [nic(1)], removed: [], revision: 1 })
    HostBatch.observe(host, listing(dataplane), true, at(0))
    assert.strictEqual(run(host, dataplane), 0)
    HostDesire.learn(host, { changes: [change(200, "10.0.0.9/32", "fd00:f:3::9")] })
    assert.strictEqual(run(host, dataplane), 1, "a known destination follows its new hop")
    assert.strictEqual(dataplane.routes.size, 2)
    HostDesire.learn(host, { changes: [], level: [200] })
    run(host, dataplane)
    assert.deepStrictEqual([...dataplane.routes.keys()], ["200 10.0.0.9/32"])
  })

  it("routes are told in full, then as they come and go, and pile up for nobody", () => {
    const dataplane = tinyDataplane()
    const host = start(dataplane, [nic(1)])
    run(host, dataplane)
    HostDesire.learn(host, { changes: [change(200, "10.0.0.8/32", "fd00:f:2::8")] })
    run(host, dataplane, 5)
    assert.deepStrictEqual(HostReports.allRouteEntries(host, 0), [
      { vni: 200, prefix: "10.0.0.8/32", nextHop: "fd00:f:2::8", removed: false, programmedMicros: 5000 },
    ])
    assert.deepStrictEqual(HostReports.takeRouteEntries(host, 0), [])
    HostDesire.learn(host, {
      changes: [change(200, "10.0.0.8/32"), change(200, "10.0.0.9/32", "fd00:f:2::9")],
    })
    run(host, dataplane, 6)
    assert.deepStrictEqual(
      HostReports.takeRouteEntries(host, 0).map(({ prefix, removed }) => `${prefix} ${removed}`),
      ["10.0.0.8/32 true", "10.0.0.9/32 false"],
    )
    HostReports.tellNobody(host)
    HostDesire.learn(host, { changes: [change(200, "10.0.0.9/32")] })
    run(host, dataplane, 7)
    assert.isTrue(host.tables.untold.isEmpty())
  })

  it("a host that is full refuses one more interface", () => {
    const host = start(tinyDataplane())
    for (let n = 0; n < 16_384; n++) assert.isTrue(HostDesire.upsert(host, nic(n)))
    assert.isFalse(HostDesire.upsert(host, nic(20_000)))
    assert.isTrue(HostDesire.upsert(host, nic(5, { generation: 2 })))
  })
})
