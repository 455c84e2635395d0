/**
 * `ferrite demo` on the model dataplane: the whole region in this process, for whoever is not root. Its actors,
 * agents and reflector are the real ones; dataplanes and VMs are the model in TypeScript, so packets are simulated
 * and throughput means nothing. The gateway is real: other terminals work against it.
 */
import { Clock, Console, Effect, Layer } from "effect"
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { Ids } from "#protocol/Ids.ts"
import * as Controller from "../../Controller.ts"
import { type ModelVm, plug } from "../../dataplane/ModelVm.ts"
import * as Client from "../../gateway/GatewayClient.ts"
import * as ModelRegion from "../../ModelRegion.ts"
import * as Store from "../../store/Store.ts"
import * as Logging from "../../telemetry/Logging.ts"
import { failed } from "../Failure.ts"
import { runFolder } from "../Region.ts"
import { systemRandom } from "../Role.ts"
import { version } from "../Version.ts"
import * as Lock from "./Lock.ts"
import type { Nics } from "./NativeShow.ts"
import * as Ports from "./Ports.ts"
import { type Check, printChecks, printLatencies } from "./Report.ts"
import { awaitProgrammed, fill, showResources } from "./Show.ts"
import * as Steps from "./Steps.ts"
import { hosts, paths, placement, twins } from "./Topology.ts"

type Vms = ReadonlyMap<string, ModelVm>

const start = Effect.fnUntraced(function* (count: number) {
  const region = yield* ModelRegion.make({
    hosts: hosts(count).map(({ name, underlay }) => ({ name, underlayPrefix: underlay })),
    version,
  })
  const gateway = yield* Ports.free("127.0.0.1", 7420)
  if (gateway === undefined) return yield* failed("no port can be listened on at 127.0.0.1")
  const services = yield* region.services
  yield* Layer.build(Layer.provide(Controller.layerServer(gateway), Layer.succeedContext(services)))
  mkdirSync(runFolder, { recursive: true })
  writeFileSync(`${runFolder}/gateway`, `${gateway}\n`)
  yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(`${runFolder}/gateway`, { force: true })))
  return { region, gateway, client: yield* Client.make(gateway) }
})

/** Plugs a model VM into every interface, and lets it ask for its addresses. */
const plugAll = Effect.fnUntraced(function* (region: ModelRegion.ModelRegion, nics: Nics) {
  const vms = new Map<string, ModelVm>()
  for (const [index, { host, nic }] of placement.entries()) {
    const status = nics.get(nic)?.status
    const device = status?.attachment?.device
    const model = region.hosts.find(({ name }) => name === host)?.model
    if (device === undefined || model === undefined) return yield* failed(`${nic} has no device on ${host}`)
    const vm = yield* plug(model, `vtap:${device}`, `02:00:00:00:00:0${index + 1}`)
    const leased = yield* vm.configure
    const missing = (status?.ips ?? []).filter((address) => ![leased.ipv4, leased.ipv6].includes(address))
    if (missing.length > 0) return yield* failed(`${nic} got no lease for ${missing.join(", ")}`)
    vms.set(nic, vm)
  }
  return vms
})

const vmOf = (vms: Vms, nic: string): ModelVm => {
  const vm = vms.get(nic)
  if (vm === undefined) throw new Error(`${nic} is not plugged in`)
  return vm
}

const ipsOf = (nics: Nics, nic: string): ReadonlyArray<string> => nics.get(nic)?.status?.ips ?? []

const answered = (good: boolean): Pick<Check, "good" | "result"> => ({
  good,
  result: good ? "answered" : "no answer",
})

const pings = (nics: Nics, vms: Vms) =>
  Effect.forEach(
    paths.flatMap(({ from, path, to }) => ipsOf(nics, to).map((address) => ({ address, from, path, to }))),
    ({ address, from, path, to }) =>
      Effect.map(vmOf(vms, from).ping(address), (good): Check => ({
        what: `${from} pings ${to}`,
        path,
        address,
        ...answered(good),
      })),
  )

const transferBytes = 1_000_000

const transfers = (nics: Nics, vms: Vms) =>
  Effect.forEach(
    paths,
    Effect.fnUntraced(function* ({ from, path, to }, index) {
      const address = ipsOf(nics, to)[0] ?? ""
      const port = 8000 + index
      yield* vmOf(vms, to).listen(port)
      const begun = yield* Clock.currentTimeMillis
      const good = yield* vmOf(vms, from).transfer(address, port, new Uint8Array(transferBytes).fill(70))
      const took = (yield* Clock.currentTimeMillis) - begun
      const result = good ? `1 MB acknowledged, ${took} ms in the model` : "not all was acknowledged"
      return { what: `${from} sends to ${to}`, path, address, good, result } satisfies Check
    }),
  )

const isolation = (nics: Nics, vms: Vms) =>
  Effect.gen(function* () {
    const { asker, known, other } = twins
    const shared = ipsOf(nics, other).filter((address) => ipsOf(nics, known).includes(address))
    const kept = yield* Effect.forEach(shared, (address) =>
      Effect.gen(function* () {
        yield* vmOf(vms, other).events
        const good = yield* vmOf(vms, asker).ping(address)
        const strayed = (yield* vmOf(vms, other).events).length
        return {
          what: `${asker} pings ${known}, not ${other}`,
          path: "equal address",
          address,
          good: good && strayed === 0,
          result: `${good ? "answered" : "no answer"}; ${other} saw ${strayed}`,
        } satisfies Check
      }),
    )
    const mute = yield* Effect.forEach(ipsOf(nics, asker), (address) =>
      Effect.map(vmOf(vms, other).ping(address), (reached): Check => ({
        what: `${other} pings ${asker}`,
        path: "other network",
        address,
        good: !reached,
        result: reached ? "answered" : "not reached, as it should be",
      })),
    )
    return [...kept, ...mute]
  })

export interface ModelDemoOptions {
  readonly exit: boolean
  readonly hosts: number
}

const demo = (options: ModelDemoOptions) =>
  Effect.gen(function* () {
    yield* Lock.acquire(runFolder)
    const steps = yield* Steps.make(Effect.never)
    yield* Console.log(
      `Ferrite demo: ${options.hosts} hypervisors on the model dataplane, all in this process; packets are simulated`,
    )
    const { client, gateway, region } = yield* steps.step("region started", "30 seconds", () =>
      start(options.hosts),
    )
    yield* steps.step("manifests applied, interfaces attached", "20 seconds", () => fill(client))
    const nics = yield* steps.step("every interface programmed on every host", "55 seconds", (report) =>
      awaitProgrammed(client, report),
    )
    const vms = yield* steps.step("model VMs plugged in, addresses by DHCP", "20 seconds", () =>
      plugAll(region, nics),
    )
    yield* Console.log(`  up after ${((yield* steps.elapsed) / 1000).toFixed(1)} s`)
    yield* showResources(client)
    const sections: ReadonlyArray<readonly [string, Effect.Effect<ReadonlyArray<Check>>]> = [
      ["Who reaches whom", pings(nics, vms)],
      ["TCP between VMs", transfers(nics, vms)],
      ["Equal addresses in two networks", isolation(nics, vms)],
    ]
    let bad = 0
    for (const [title, work] of sections) {
      const checks = yield* work
      bad += checks.filter(({ good }) => !good).length
      yield* printChecks(title, checks)
    }
    yield* printLatencies([...nics.values()])
    if (options.exit) {
      if (bad > 0) return yield* failed(`${bad} of the checks above failed`)
      return yield* Console.log("\nAll checks are good.")
    }
    process.exitCode = 0
    yield* Console.log(
      [
        `\nThe region is up at ${gateway}. In another terminal:`,
        "  ./ferrite get nics -o wide -w",
        "  ./ferrite describe nic nic-a",
        "Ctrl-C ends it; nothing of it stays.",
      ].join("\n"),
    )
    return yield* Effect.never
  })

const logs = Layer.suspend(() => {
  mkdirSync(`${runFolder}/logs`, { recursive: true })
  return Logging.layerFile(`${runFolder}/logs/region.log`)
})

export const run = (options: ModelDemoOptions) =>
  demo(options).pipe(
    Effect.scoped,
    Effect.provide(Layer.mergeAll(Store.layerMemory(), Ids.layer, systemRandom, logs)),
  )
