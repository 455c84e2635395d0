/** Operations on routes and VNIs. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { type Operation } from "#protocol/dataplane/Dataplane.ts"
import { digestOf } from "#protocol/dataplane/digest.ts"
import { freshVni, create, put, code, apply, accomplish, specOf, type On } from "./dataplane-scenario.ts"

const hop = "fd00:f:99::d001:0:1"

export const routes = (on: On): void => {
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
