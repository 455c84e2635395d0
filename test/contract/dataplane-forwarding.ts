/** Packets from guest to guest: what arrives, unchanged, and what never does. */
import { assert } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { linkLocal } from "#protocol/dataplane/model/address.ts"
import { equal, fromAscii, internetChecksum } from "#protocol/dataplane/model/bytes.ts"
import { decodeEthernet, etherTypes } from "#protocol/dataplane/model/ethernet.ts"
import { encodeIpv4, protocols } from "#protocol/dataplane/model/ip.ts"
import { encodeUdp } from "#protocol/dataplane/model/transport.ts"
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
  passes,
  send,
} from "./dataplane-guest.ts"
import { settings } from "./dataplane-hosts.ts"
import {
  freshVni,
  put,
  accomplish,
  reconnect,
  specOf,
  type On,
  routesTo,
  pair,
} from "./dataplane-scenario.ts"

export const forwarding = (on: On): void => {
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
      const willing = frame(
        a,
        a.gatewayMac,
        etherTypes.ipv4,
        encodeIpv4({ ...addresses, protocol: protocols.udp, dontFragment: false, payload }),
      )
      assert.deepStrictEqual((yield* passes(a, b, willing)).before, [])
    }),
  )

  on("a guest is found under the MAC that it last said to be its own", (hosts) =>
    Effect.gen(function* () {
      const { a, b } = yield* pair(hosts)
      const moved: Guest = { ...b, mac: "52:54:00:aa:bb:cc" }
      yield* send(moved, arpRequest(moved.mac, "10.0.0.2", "169.254.0.1"))
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

export const life = (on: On): void => {
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
