/**
 * `ferrite demo` on the native dataplane, from a bare machine to packets: installs and builds what is missing,
 * starts a region, applies the manifests of `examples/first-light`, plugs VMs in, shows that they reach whom they
 * should and nobody else, and takes everything down again.
 *
 * All that it makes is acquired in one scope and written into a ledger first: Ctrl-C, a failure and an ended show
 * remove it by the scope, a kill leaves the ledger to the next demo.
 */
import { Console, Effect } from "effect"
import type { GatewayClient } from "../../gateway/GatewayClient.ts"
import { failed } from "../Failure.ts"
import { runFolder } from "../Region.ts"
import * as Build from "../setup/DataplaneBuild.ts"
import * as Debian from "../setup/Debian.ts"
import * as Ledger from "./Ledger.ts"
import * as Lock from "./Lock.ts"
import * as Machines from "./Machines.ts"
import * as NativeRegion from "./NativeRegion.ts"
import * as NativeShow from "./NativeShow.ts"
import * as Processes from "./Processes.ts"
import { type Check, printChecks, printLatencies } from "./Report.ts"
import { awaitProgrammed, fill, showResources } from "./Show.ts"
import * as Steps from "./Steps.ts"
import { hosts, placement } from "./Topology.ts"

export interface DemoOptions {
  /** Ends after the show, with its verdict, instead of staying. */
  readonly exit: boolean
  readonly underlay: NativeRegion.Underlay
  /** At least 2. */
  readonly hosts: number
}

const prepare = Effect.fnUntraced(function* (steps: Steps.Steps) {
  const packages = [...Debian.buildPackages, ...Debian.runPackages]
  if ((yield* Debian.missing(packages)).length > 0) {
    yield* steps.step("Debian packages", "20 minutes", (report) => Debian.install(packages, report))
  }
  if (!Build.isBuilt()) {
    yield* steps.step("dataplane built", "20 minutes", Build.ensureBuilt)
  }
})

/** Starts VMs and waits until each has by DHCP what the region says. */
const plugAll = Effect.fnUntraced(function* (
  processes: Processes.Processes,
  nics: NativeShow.Nics,
  report: (doing: string) => Effect.Effect<void>,
) {
  yield* Machines.prepareDhcp(runFolder)
  const vms: Array<Machines.Vm> = []
  for (const { host, nic } of placement) {
    const status = nics.get(nic)?.status
    const device = status?.attachment?.device
    if (device === undefined) return yield* failed(`${nic} is available, but its node names no device`)
    const families = (status?.ips ?? []).map((address) => (address.includes(":") ? 6 : 4))
    vms.push({ nic, host, device, families })
  }
  for (const vm of vms) yield* Machines.plug(runFolder, processes, vm)
  yield* Effect.forEach(vms, (vm) => Machines.awaitLease(vm, nics.get(vm.nic)?.status?.ips ?? [], report), {
    concurrency: vms.length,
    discard: true,
  })
  return vms
})

const show = Effect.fnUntraced(function* (
  client: GatewayClient,
  processes: Processes.Processes,
  nics: NativeShow.Nics,
) {
  yield* showResources(client)
  const checks: Array<Check> = []
  const add = Effect.fnUntraced(function* (title: string, found: ReadonlyArray<Check>) {
    checks.push(...found)
    yield* printChecks(title, found)
  })
  yield* add("Who reaches whom", yield* NativeShow.pings(nics))
  yield* add("TCP between VMs", yield* NativeShow.transfers(nics, processes))
  yield* add("Equal addresses in two networks", yield* NativeShow.isolation(nics))
  yield* printLatencies([...nics.values()])
  return checks.filter(({ good }) => !good)
})

const goodbye = (options: DemoOptions, gateway: string, nics: NativeShow.Nics): string =>
  [
    `\nThe region is up at ${gateway}; VMs are network namespaces. In another terminal:`,
    "  ./ferrite get nics -o wide -w",
    "  ./ferrite describe nic nic-a",
    `  ip netns exec ${Machines.vmNamespace("nic-a")} ping ${nics.get("nic-c")?.status?.ips?.[0] ?? ""}`,
    ...(options.underlay === "veth"
      ? [`  ip netns exec ${Machines.underlayNamespace} tcpdump -ni bridge ip6`]
      : ["  ./ferrite demo --underlay veth   (real frames between the hosts, for tcpdump)"]),
    "Kill any of its processes: it comes back, and packets flow on. Ctrl-C removes everything.",
  ].join("\n")

/** Runs the whole demo. Fails where a step does, or with `exit` where a check was not good. */
export const run = (options: DemoOptions) =>
  Effect.gen(function* () {
    yield* Lock.acquire(runFolder)
    const removed = yield* Ledger.sweep(runFolder)
    yield* NativeRegion.clear
    yield* Effect.addFinalizer(() => Effect.andThen(Ledger.sweep(runFolder), NativeRegion.clearKeepingLogs))
    const processes = yield* Processes.make(runFolder)
    const steps = yield* Steps.make(processes.failure)
    yield* Console.log(
      `Ferrite demo: ${options.hosts} hypervisors on the native dataplane, underlay ${options.underlay}`,
    )
    if (removed > 0) yield* Console.log("  removed what an earlier demo left behind")
    yield* prepare(steps)

    const { client, gateway } = yield* steps.step("region started", "40 seconds", () =>
      NativeRegion.start(processes, hosts(options.hosts), options.underlay),
    )
    yield* steps.step("manifests applied, interfaces attached", "20 seconds", () => fill(client))
    const nics = yield* steps.step("every interface programmed on every host", "55 seconds", (report) =>
      awaitProgrammed(client, report),
    )
    const vms = yield* steps.step("VMs plugged in, addresses by DHCP", "40 seconds", (report) =>
      plugAll(processes, nics, report),
    )
    yield* Console.log(`  up after ${((yield* steps.elapsed) / 1000).toFixed(1)} s`)

    const bad = yield* Effect.raceFirst(show(client, processes, nics), processes.failure)
    if (options.exit) {
      if (bad.length > 0) return yield* failed(`${bad.length} of the checks above failed`)
      return yield* Console.log("\nAll checks are good; removing everything.")
    }
    if (bad.length > 0)
      yield* Console.log(`\n${bad.length} of the checks above failed; logs are in ${runFolder}/logs`)
    yield* Console.log(goodbye(options, gateway, nics))
    const notice = (message: string) => Console.log(message)
    yield* processes.settle(notice)
    process.exitCode = 0
    const names = hosts(options.hosts).map(({ name }) => name)
    return yield* Machines.keepPlugged(processes, names, vms, notice)
  }).pipe(
    Effect.onInterrupt(() => Console.log("\nRemoving namespaces, devices and processes.")),
    Effect.scoped,
  )
