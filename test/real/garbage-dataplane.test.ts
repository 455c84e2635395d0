// Well-formed messages of senseless content for every method of the native dataplane: each is answered, the process
// lives, and what it lists stays what its digest says.
import { assert, describe, it } from "@effect/vitest"
import { create, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf"
import * as grpc from "@grpc/grpc-js"
import * as fc from "fast-check"
import { Context, Effect, Layer } from "effect"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import { DPDKironcore } from "#gen/dpdkironcore/v1/dpdk_pb.ts"
import { DataplaneService } from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import { Dataplane } from "#protocol/dataplane/Dataplane.ts"
import { digestOf } from "#protocol/dataplane/digest.ts"
import { layerNative } from "#runtime/dataplane/NativeDataplane.ts"
import { applyStream, ask, collect, makeFolder, missing, start } from "./dataplane-grpc-harness.ts"

const tap = (n: number) => `garb${process.pid % 10_000}x${n}`
/** TAPs of our own only: no device of the machine is ever named. */
const devices = [
  "",
  "vtap:",
  `vtap:${tap(1)}`,
  `vtap:${tap(2)}`,
  "vtap:../../etc",
  `vtap:${"x".repeat(300)}`,
  "vtap:a b",
  "vtap:%s%n",
  "none:",
  ":",
  "nope:x",
]
const texts = [
  "",
  "a",
  "vm-1",
  "vm-2",
  "x".repeat(10_000),
  "%s%s%s%n",
  "a\0b",
  "\n",
  "é😀",
  "../..",
  "a/b",
  "10.0.0.1",
  "10.0.0.2",
  "0.0.0.0",
  "255.255.255.255",
  "224.0.0.1",
  "10.0.0.256",
  "10.0.0.1/33",
  "::",
  "::1",
  "fd01::1",
  "fd00:f:1::1",
  "fd00:f:2::d001:1",
  "ff02::1",
  "::ffff:10.0.0.1",
  "fe80::1%lo",
  "1:2:3:4:5:6:7:8:9",
  "10.0.0.0/8",
  "10.0.0.1/8",
  "0.0.0.0/0",
  "::/0",
  "fd01::/64",
  "fd01::1/128",
  "10.0.0.1/32",
  "/",
  "10.0.0.0/-1",
  "02:00:00:00:00:01",
  "ff:ff:ff:ff:ff:ff",
]
const text = fc.constantFrom(...texts, ...devices)
const small = fc.constantFrom(
  0,
  1,
  2,
  100,
  200,
  255,
  256,
  65_535,
  65_536,
  2 ** 24 - 1,
  2 ** 24,
  2 ** 31,
  2 ** 32 - 1,
)

const scalar = (type: ScalarType): fc.Arbitrary<unknown> => {
  switch (type) {
    case ScalarType.STRING:
      return text
    case ScalarType.BYTES:
      return fc.oneof(
        text.map((each) => new TextEncoder().encode(each)),
        fc.uint8Array({ maxLength: 40 }),
      )
    case ScalarType.BOOL:
      return fc.boolean()
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return fc.constantFrom(0, -1, 0.5, 1e30, Number.NaN)
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return fc.constantFrom(0, 1, -1, 2 ** 31 - 1, -(2 ** 31))
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return fc.constantFrom(0n, 1n, 2n ** 62n)
    default:
      return small
  }
}

/** What makes sense in a field of that name: without it nothing would ever be created. */
const sense: Readonly<Record<string, ReadonlyArray<unknown>>> = {
  id: ["vm-1", "vm-2", "vm-3"],
  interface_id: ["vm-1", "vm-2", "vm-3"],
  delete_interface: ["vm-1", "vm-2", "vm-3"],
  loadbalancer_id: ["lb-1"],
  vni: [100, 200],
  reset_vni: [100, 200],
  nexthop_vni: [0, 100, 200],
  next_hop_vni: [0, 100, 200],
  ipv4: ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
  ipv6: ["", "fd01::1", "fd01::2"],
  primary_address: ["10.0.0.1", "fd01::1", "0.0.0.0", "::"],
  address: ["10.0.0.1", "fd00:f:2::1", "10.1.0.0"],
  prefix: ["10.1.0.0/16", "10.0.0.9/32", "fd02::/64"],
  next_hop: ["fd00:f:2::1", "fd00:f:3::1"],
  length: [16, 32],
  hostname: ["", "vm"],
  device: [`vtap:${tap(1)}`, `vtap:${tap(2)}`, `vtap:${tap(3)}`],
  device_name: [`vtap:${tap(1)}`, `vtap:${tap(2)}`, `vtap:${tap(3)}`],
  preferred_underlay_route: [""],
  total_rate: [0n, 100n],
  public_rate: [0n, 50n],
  pxe_server: [""],
  pxe_file: [""],
  flow_limit: [0, 100],
  flow_rate: [0, 100],
  underlay_address: ["", "fd00:f:2::1"],
  underlay_route: ["fd00:f:2::1"],
  interface: ["vm-1", "vm-2", "vm-3"],
  delete_vip: ["vm-1", "vm-2"],
  delete_nat: ["vm-1", "vm-2"],
  delete_firewall: ["vm-1", "vm-2"],
  delete_load_balancer: ["vm-1", "lb-1"],
  ip: ["1.1.1.1", "1.1.1.2"],
  min_port: [0, 100, 200],
  max_port: [100, 200, 300],
  protocol: [0, 1, 6, 17],
  first: [1, 80],
  last: [80, 90],
  priority: [0, 1000],
  source: ["", "10.0.0.0/8"],
  destination: ["", "10.0.0.0/8"],
  weight: [1, 256],
}

/** Lists that say something else than the fields beside them when they are there. */
const seldom: ReadonlySet<string> = new Set(["hops"])

const fieldValue = (field: DescField, depth: number): fc.Arbitrary<unknown> => {
  const any = anyValue(field, depth)
  if (seldom.has(field.name)) return fc.oneof({ weight: 6, arbitrary: fc.constant([]) }, any)
  const good = field.fieldKind === "scalar" ? sense[field.name] : undefined
  if (good === undefined || field.fieldKind !== "scalar") return any
  const encoded =
    field.scalar === ScalarType.BYTES ? good.map((each) => new TextEncoder().encode(String(each))) : good
  return fc.oneof({ weight: 12, arbitrary: fc.constantFrom(...encoded) }, { weight: 1, arbitrary: any })
}

const anyValue = (field: DescField, depth: number): fc.Arbitrary<unknown> => {
  switch (field.fieldKind) {
    case "scalar":
      return field.name === "device" || field.name === "device_name"
        ? fc.constantFrom(...devices)
        : scalar(field.scalar)
    case "enum":
      return fc.constantFrom(...field.enum.values.map(({ number }) => number), 99, -1)
    case "message":
      return message(field.message, depth - 1)
    case "list": {
      const each =
        field.listKind === "message"
          ? message(field.message, depth - 1)
          : field.listKind === "enum"
            ? fc.constantFrom(0, 1, 99)
            : scalar(field.scalar)
      return fc.array(each, { maxLength: 8 })
    }
    default:
      return fc.constant({})
  }
}

/** Of any type: each field absent, senseless, or by luck good. */
const message = (type: DescMessage, depth = 5): fc.Arbitrary<object> => {
  const plain = type.fields.filter(
    (field) => field.oneof === undefined && (depth > 0 || field.fieldKind !== "message"),
  )
  const fields = fc.record(
    Object.fromEntries(
      plain.map((field) => [
        field.localName,
        fc.oneof(
          { weight: 12, arbitrary: fieldValue(field, depth) },
          { weight: 1, arbitrary: fc.constant(undefined) },
        ),
      ]),
    ),
  )
  return type.oneofs
    .reduce<fc.Arbitrary<object>>(
      (all, oneof) =>
        fc
          .tuple(
            all,
            fc.option(
              fc.oneof(
                ...oneof.fields.map((field) =>
                  fieldValue(field, depth).map((value) => ({ case: field.localName, value })),
                ),
              ),
            ),
          )
          .map(([others, chosen]) => (chosen === null ? others : { ...others, [oneof.localName]: chosen })),
      fields,
    )
    .map((init) => create(type, init as never))
}

/** Named in what fails; another one by FERRITE_SEED. */
const seed = Number(process.env["FERRITE_SEED"] ?? 20_261_122)
const samples = (type: DescMessage, count: number) => fc.sample(message(type), { seed, numRuns: count })

describe.skipIf(missing !== undefined)("the native dataplane, told anything,", () => {
  it("answers each method with a status, lives on, and lists what its digest says", async () => {
    const folder = makeFolder()
    const dataplane = await start(folder)
    try {
      await dataplane.call("initialize")
      const uuid = (await ask(dataplane.ferrite, "getState", create(DataplaneService.method.getState.input)))
        .response.uuid
      const isWell = async (after: string) => {
        const { code, details, response } = await ask(
          dataplane.ferrite,
          "getState",
          create(DataplaneService.method.getState.input),
        )
        assert.strictEqual(
          code,
          0,
          `seed ${seed}, after ${after}: ${details}\n${dataplane.log().slice(-3_000)}`,
        )
        assert.strictEqual(response.uuid, uuid, after)
      }
      const most = { interfaces: 0, routes: 0 }
      const isConsistent = (after: string) =>
        Effect.runPromise(
          Effect.scoped(
            Effect.gen(function* () {
              const native = Context.get(
                yield* Layer.build(layerNative({ address: dataplane.address })),
                Dataplane,
              )
              yield* native.connect
              const listing = yield* native.listAll
              const { interfaces, routes, state } = listing
              most.interfaces = Math.max(most.interfaces, interfaces.length)
              most.routes = Math.max(most.routes, routes.length)
              assert.strictEqual(
                digestOf(
                  interfaces.map(({ spec }) => spec),
                  routes,
                  listing,
                ),
                state.digest,
                `seed ${seed}, after ${after}`,
              )
            }),
          ),
        )
      const known = new Set(Object.values(grpc.status))
      for (const method of DPDKironcore.methods) {
        // Which forgets everything, and stays.
        if (method.localName === "initialize") continue
        for (const request of samples(method.input, 40)) {
          const answer = ask(dataplane.ironcore, method.localName, request)
          const { code, details } =
            method.methodKind === "unary"
              ? await answer
              : await collect(dataplane.ironcore[method.localName](request))
          assert.isTrue(known.has(code), method.name)
          assert.notInclude(
            [grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED],
            code,
            `seed ${seed}, ${method.name}: ${details}`,
          )
        }
        await isWell(method.name)
      }
      await isConsistent("all methods")
      const batch = DataplaneService.method.apply.input
      let stream = applyStream(dataplane.ferrite)
      for (const [n, request] of samples(batch, 600).entries()) {
        const { operations } = request as unknown as {
          readonly operations: ReadonlyArray<{ readonly operation: unknown }>
        }
        const answer = await stream.send(
          BigInt(n + 1),
          operations.map(({ operation }) => operation),
        )
        if (answer === undefined) stream = applyStream(dataplane.ferrite)
        else assert.lengthOf(answer.results, operations.length)
        if (n % 5 === 0) await isConsistent(`batch ${n}`)
      }
      stream.end()
      await isWell("batches")
      await isConsistent("batches")
      assert.isAbove(most.interfaces, 0, `seed ${seed}: some of it made sense`)
      assert.isAbove(most.routes, 0, `seed ${seed}: some of it made sense`)
      assert.strictEqual(await dataplane.stop(), 0, "it ends by itself when it is asked to")
    } finally {
      await dataplane.stop()
      fs.rmSync(folder, { recursive: true })
    }
    const links = childProcess.execFileSync("ip", ["-o", "link"], { encoding: "utf8" })
    assert.notInclude(links, `garb${process.pid % 10_000}x`, "no TAP is left over")
  })
})
