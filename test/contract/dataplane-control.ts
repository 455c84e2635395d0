/** Operations on interfaces, and what a dataplane says of itself. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { type InterfaceSpec, statusCodes } from "#protocol/dataplane/Dataplane.ts"
import { digestOf } from "#protocol/dataplane/digest.ts"
import { bytesOf } from "#protocol/dataplane/model/address.ts"
import { drain, guest } from "./dataplane-guest.ts"
import { settings } from "./dataplane-hosts.ts"
import { freshVni, create, code, apply, accomplish, specOf, type On } from "./dataplane-scenario.ts"

export const control = (on: On): void => {
  on("an empty dataplane has a uuid, its prefix and the digest zero", (hosts) =>
    Effect.gen(function* () {
      const state = yield* hosts.first.dataplane.state
      assert.match(state.uuid, /^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$/)
      assert.deepInclude(state, { initialized: true, digest: 0n, underlayPrefix: settings.prefixes[0] })
    }),
  )

  on("an interface gets an underlay address of its host and is listed as it was asked for", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts, { ipv6: "fd00:1::a", hostname: "web-1" })
      const [result] = yield* accomplish(hosts.first, create(spec))
      const made = result?.interface
      assert.deepStrictEqual(made?.spec, spec)
      assert.strictEqual(made?.device, spec.device.replace("vtap:", ""))
      const address = bytesOf(made?.underlayAddress ?? "")
      assert.deepStrictEqual([...address.subarray(0, 11)], [0xfd, 0, 0, 0xf, 0, 0x71, 0, 0, 0xd0, 1, 0])
      assert.isAbove(address[15] ?? 0, 0)
      const listing = yield* hosts.first.dataplane.listAll
      assert.deepStrictEqual([...listing.interfaces], [made])
      assert.strictEqual(listing.state.digest, digestOf([spec], []))
      assert.strictEqual((yield* hosts.first.dataplane.state).digest, digestOf([spec], []))
    }),
  )

  on("addresses are kept in canonical form, and zero ones are none", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts, { ipv4: "0.0.0.0", ipv6: "FD00:0:0:1:0::00AB" })
      const [result] = yield* accomplish(hosts.first, create(spec))
      assert.deepStrictEqual(result?.interface?.spec, { ...spec, ipv4: undefined, ipv6: "fd00:0:0:1::ab" })
    }),
  )

  on("creating an interface again with the same values is a success, with others it exists", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts)
      const [first] = yield* accomplish(hosts.first, create(spec))
      const [second] = yield* accomplish(hosts.first, create(spec))
      assert.deepStrictEqual(second, first)
      for (const other of [
        { ...spec, ipv4: "10.0.0.9" },
        { ...spec, device: hosts.device() },
        { ...spec, vni: freshVni() },
      ])
        assert.deepStrictEqual(yield* apply(hosts.first, create(other)), [
          { code: statusCodes.ALREADY_EXISTS, message: "ALREADY_EXISTS" },
        ])
    }),
  )

  on("malformed interfaces are refused by the first check that fails", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts)
      const cases: ReadonlyArray<readonly [Partial<InterfaceSpec>, string]> = [
        [{ id: "" }, "Invalid interface_id"],
        [{ id: "a b" }, "Invalid interface_id"],
        [{ id: "x".repeat(64) }, "Invalid interface_id"],
        [{ id: "a/b", ipv4: "no" }, "Invalid interface_id"],
        [{ ipv4: "10.0.0" }, "Invalid ipv4_config.primary_address"],
        [{ ipv4: "10.0.0.256" }, "Invalid ipv4_config.primary_address"],
        [{ ipv4: "010.0.0.1" }, "Invalid ipv4_config.primary_address"],
        [{ ipv4: "10.0.0.1/32" }, "Invalid ipv4_config.primary_address"],
        [{ ipv6: "fd00:::1" }, "Invalid ipv6_config.primary_address"],
        [{ ipv6: "fd00::1%eth0" }, "Invalid ipv6_config.primary_address"],
        [{ ipv6: "1:2:3:4:5:6:7" }, "Invalid ipv6_config.primary_address"],
        [
          { ipv4: undefined, ipv6: undefined },
          "Invalid ipv4_config.primary_address and ipv6_config.primary_address combination",
        ],
        [
          { ipv4: "0.0.0.0", ipv6: "::" },
          "Invalid ipv4_config.primary_address and ipv6_config.primary_address combination",
        ],
        [{ device: "" }, "Invalid device_name"],
        [{ device: `vtap:${"x".repeat(60)}` }, "Invalid device_name"],
        [{ hostname: "h".repeat(64) }, "Invalid hostname"],
      ]
      const results = yield* apply(hosts.first, ...cases.map(([more]) => create({ ...spec, ...more })))
      assert.deepStrictEqual(
        results,
        cases.map(([, message]) => ({ code: statusCodes.INVALID_ARGUMENT, message })),
      )
      assert.strictEqual((yield* hosts.first.dataplane.state).digest, 0n)
    }),
  )

  on("a device that is unknown is not found, and one in use exists already", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts)
      const results = yield* apply(
        hosts.first,
        create({ ...spec, device: "net_tap2" }),
        create({ ...spec, device: "floppy:a" }),
        create({ ...spec, device: "vtap:" }),
        create({ ...spec, device: "vtap:a/b" }),
        create({ ...spec, device: "vtap:sixteen-letters!" }),
        create(spec),
        create(specOf(hosts, { device: spec.device })),
      )
      assert.deepStrictEqual(results.map(code), [201, 201, 201, 201, 201, 0, 202])
    }),
  )

  on("an address is routed once in its VNI, and what is refused leaves nothing behind", (hosts) =>
    Effect.gen(function* () {
      const one = specOf(hosts, { ipv6: "fd00::1" })
      const two = specOf(hosts, { vni: one.vni, ipv4: "10.0.0.2", ipv6: "fd00::1" })
      const results = yield* apply(
        hosts.first,
        create(one),
        create({ ...two, ipv4: one.ipv4 }),
        create(two),
        create({ ...two, ipv6: "fd00::2" }),
        create(specOf(hosts)),
      )
      assert.deepStrictEqual(results.map(code), [0, 301, 301, 0, 0])
    }),
  )

  on("a VNI that is none leaves nothing behind", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts)
      const results = yield* apply(
        hosts.first,
        ...[0, 1 << 24, 0xffff_ffff].map((vni) => create({ ...spec, vni })),
        create(spec),
      )
      assert.deepStrictEqual(results.map(code), [361, 361, 361, 0])
      assert.strictEqual((yield* hosts.first.dataplane.state).digest, digestOf([spec], []))
    }),
  )

  on("a deleted interface is gone, and made again it has another underlay address", (hosts) =>
    Effect.gen(function* () {
      const spec = specOf(hosts)
      const results = yield* apply(
        hosts.first,
        { _tag: "DeleteInterface", id: spec.id },
        create(spec),
        { _tag: "DeleteInterface", id: spec.id },
        { _tag: "DeleteInterface", id: spec.id },
        create(spec),
        { _tag: "DeleteInterface", id: "" },
        { _tag: "DeleteInterface", id: "x".repeat(64) },
      )
      assert.deepStrictEqual(results.map(code), [201, 0, 0, 201, 0, 3, 3])
      assert.notStrictEqual(results[1]?.interface?.underlayAddress, results[4]?.interface?.underlayAddress)
    }),
  )

  on("batches that are sent at once are all answered, each with its own results", (hosts) =>
    Effect.gen(function* () {
      const specs = Array.from({ length: 24 }, () => specOf(hosts))
      const answers = yield* Effect.forEach(
        specs,
        (spec) => apply(hosts.first, create(spec), { _tag: "DeleteInterface", id: `${spec.id}-no` }),
        { concurrency: "unbounded" },
      )
      for (const [index, [made, missing]] of answers.entries()) {
        assert.strictEqual(made?.interface?.spec.id, specs[index]?.id)
        assert.strictEqual(missing?.code, statusCodes.NOT_FOUND)
      }
      const state = yield* hosts.first.dataplane.state
      assert.strictEqual(state.digest, digestOf(specs, []))
    }),
  )

  on("counters have names and only grow", (hosts) =>
    Effect.gen(function* () {
      const a = yield* guest(hosts.first, specOf(hosts))
      const before = yield* hosts.first.dataplane.counters
      yield* drain(a)
      const after = yield* hosts.first.dataplane.counters
      assert.isTrue([...after].every(([name, value]) => value >= (before.get(name) ?? 0n)))
      const received = `port.${a.spec.device.replace("vtap:", "")}.rx_packets`
      assert.strictEqual((after.get(received) ?? 0n) - (before.get(received) ?? 0n), 1n)
    }),
  )
}
