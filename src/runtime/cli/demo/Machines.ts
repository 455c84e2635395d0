/**
 * The demo's machines, as network namespaces: one per hypervisor, one per VM, one for the cable between them.
 *
 * A hypervisor's namespace holds its dataplane, so no device ever shows up in the machine's own network. A VM is a
 * namespace that was given the TAP of its network interface, and a DHCP client in it; everything that a VM knows
 * about its network it learned over that TAP.
 */
import { Effect, Schedule, type Scope } from "effect"
import { chmodSync, copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { type CommandFailure, failed } from "../Failure.ts"
import { type ProgramFailed, run } from "../Shell.ts"
import * as Ledger from "./Ledger.ts"
import type { Processes } from "./Processes.ts"

export const hostNamespace = (host: string): string => `ferrite-${host}`
export const vmNamespace = (nic: string): string => `ferrite-vm-${nic}`
export const underlayNamespace = "ferrite-underlay"

const namespacePath = (name: string) => `/run/netns/${name}`

/** A command line that runs in a namespace. Enters nothing but the network: /sys stays as it is. */
export const within = (
  namespace: string,
  command: ReadonlyArray<string>,
): readonly [string, ReadonlyArray<string>] => [
  "nsenter",
  [`--net=${namespacePath(namespace)}`, "--", ...command],
]

export const runWithin = (
  namespace: string,
  command: ReadonlyArray<string>,
  options: Parameters<typeof run>[2] = {},
) => {
  const [program, args] = within(namespace, command)
  return run(program, args, options)
}

/** A namespace with its loopback up, removed with the scope. One of that name that is not ours is left alone. */
export const makeNamespace = Effect.fnUntraced(function* (
  folder: string,
  name: string,
): Effect.fn.Return<void, CommandFailure | ProgramFailed, Scope.Scope> {
  if (existsSync(namespacePath(name))) {
    return yield* failed(`a network namespace ${name} exists already and is not of an earlier demo`, [
      `Remove it with: ip netns delete ${name}`,
    ])
  }
  yield* Effect.acquireRelease(
    Effect.gen(function* () {
      yield* Ledger.record(folder, { _tag: "Namespace", name })
      yield* run("ip", ["netns", "add", name])
    }),
    () => Ledger.removeNamespace(name),
  )
  yield* run("ip", ["-n", name, "link", "set", "lo", "up"])
})

/** Frames on the cable are larger than a VM's by the outer header. */
const underlayMtu = 9000

/** Name of the underlay's device within a hypervisor's namespace. */
export const uplink = "uplink"

/** A bridge, with a veth pair into each hypervisor. They go with their namespaces. */
export const makeCable = Effect.fnUntraced(function* (folder: string, hosts: ReadonlyArray<string>) {
  yield* makeNamespace(folder, underlayNamespace)
  const ip = (...args: ReadonlyArray<string>) => run("ip", ["-n", underlayNamespace, ...args])
  yield* ip(
    "link",
    "add",
    "bridge",
    "mtu",
    String(underlayMtu),
    "type",
    "bridge",
    "stp_state",
    "0",
    "mcast_snooping",
    "0",
  )
  yield* ip("link", "set", "bridge", "addrgenmode", "none")
  yield* ip("link", "set", "bridge", "up")
  for (const host of hosts) {
    const mtu = ["mtu", String(underlayMtu)]
    yield* ip(
      "link",
      "add",
      host,
      ...mtu,
      "type",
      "veth",
      "peer",
      "name",
      uplink,
      ...mtu,
      "netns",
      hostNamespace(host),
    )
    yield* ip("link", "set", host, "addrgenmode", "none")
    yield* ip("link", "set", host, "master", "bridge", "up")
    yield* run("ip", ["-n", hostNamespace(host), "link", "set", uplink, "addrgenmode", "none"])
    yield* run("ip", ["-n", hostNamespace(host), "link", "set", uplink, "up"])
  }
})

const dhclientConfiguration = `
option rfc3442-classless-static-routes code 121 = array of unsigned integer 8;
timeout 30; retry 2; initial-interval 1; backoff-cutoff 2; select-timeout 0;
request subnet-mask, routers, interface-mtu, host-name, domain-name-servers, rfc3442-classless-static-routes;
also request dhcp6.name-servers;
`

/** The DHCP client with all its files in the run folder. A copy, for AppArmor confines the one in /sbin to /etc. */
export const prepareDhcp = (folder: string): Effect.Effect<void, CommandFailure> =>
  Effect.gen(function* () {
    const installed = ["/usr/sbin/dhclient", "/sbin/dhclient"].find((path) => existsSync(path))
    if (installed === undefined) return yield* failed("dhclient is not installed (Debian: isc-dhcp-client)")
    mkdirSync(`${folder}/dhcp`, { recursive: true })
    copyFileSync(installed, `${folder}/dhcp/ferrite-dhclient`)
    chmodSync(`${folder}/dhcp/ferrite-dhclient`, 0o755)
    copyFileSync(fileURLToPath(new URL("dhclient-script", import.meta.url)), `${folder}/dhcp/script`)
    chmodSync(`${folder}/dhcp/script`, 0o755)
    writeFileSync(`${folder}/dhcp/dhclient.conf`, dhclientConfiguration)
  })

const dhclient = (folder: string, nic: string, family: 4 | 6): ReadonlyArray<string> => [
  `${folder}/dhcp/ferrite-dhclient`,
  `-${family}`,
  "-d",
  "-sf",
  `${folder}/dhcp/script`,
  "-cf",
  `${folder}/dhcp/dhclient.conf`,
  "-lf",
  `${folder}/dhcp/${nic}-${family}.leases`,
  "-pf",
  `${folder}/dhcp/${nic}-${family}.pid`,
  "eth0",
]

export interface Vm {
  readonly nic: string
  readonly host: string
  /** Kernel name of the TAP in the hypervisor's namespace. */
  readonly device: string
  readonly families: ReadonlyArray<4 | 6>
}

/**
 * Kernel settings of a VM, before its device arrives. Without duplicate address detection an address is good at
 * once; a router is asked for at once.
 */
const vmSettings = `cd /proc/sys/net/ipv6/conf &&
for scope in all default; do
  echo 0 > $scope/accept_dad; echo 0 > $scope/dad_transmits
  echo 0 > $scope/router_solicitation_delay; echo 1 > $scope/router_solicitation_interval
done`

/** Moves a VM's TAP out of its hypervisor's namespace: eth0 of the VM. */
const insert = Effect.fnUntraced(function* (host: string, { device, nic }: Vm) {
  const namespace = vmNamespace(nic)
  yield* run("ip", ["-n", hostNamespace(host), "link", "set", device, "netns", namespace, "name", "eth0"])
  yield* run("ip", ["-n", namespace, "link", "set", "eth0", "up"])
})

const clientName = (nic: string, family: 4 | 6): string => `${nic}-dhclient${family}`

/** Plugs a VM in: its TAP becomes eth0 of its namespace, and DHCP clients start. */
export const plug = Effect.fnUntraced(function* (folder: string, processes: Processes, vm: Vm) {
  const namespace = vmNamespace(vm.nic)
  yield* makeNamespace(folder, namespace)
  yield* runWithin(namespace, ["sh", "-c", vmSettings])
  yield* insert(vm.host, vm)
  for (const family of vm.families) {
    const [command, args] = within(namespace, dhclient(folder, vm.nic, family))
    yield* processes.start({ name: clientName(vm.nic, family), command, args, quiet: true })
  }
})

/**
 * Follows the VMs' devices for ever: one that a hypervisor made again, after its dataplane was restarted or the
 * interface was attached elsewhere, is plugged in again.
 */
export const keepPlugged = (
  processes: Processes,
  hosts: ReadonlyArray<string>,
  vms: ReadonlyArray<Vm>,
  notice: (message: string) => Effect.Effect<void>,
) =>
  Effect.gen(function* () {
    for (const host of hosts) {
      const { stdout } = yield* run("ip", ["-n", hostNamespace(host), "-o", "link", "show"])
      for (const vm of vms.filter(({ device }) => stdout.includes(` ${device}: `))) {
        yield* insert(host, vm)
        yield* Effect.forEach(vm.families, (family) => processes.restart(clientName(vm.nic, family)), {
          concurrency: 2,
          discard: true,
        })
        yield* notice(`${host} made the device of ${vm.nic} again; plugged in`)
      }
    }
  }).pipe(
    Effect.catch((error) => notice(`a VM can't be plugged in: ${error.message}`)),
    Effect.repeat(Schedule.spaced("500 millis")),
  )

/** Global addresses of a VM's eth0, as the kernel writes them. */
const addressesOf = (nic: string) =>
  Effect.map(
    run("ip", ["-n", vmNamespace(nic), "-o", "address", "show", "dev", "eth0", "scope", "global"]),
    ({ stdout }) => [...stdout.matchAll(/ inet6? ([0-9a-f.:]+)/g)].map((match) => match[1] ?? ""),
  )

/** Whether a VM has a way out for a family. */
const hasRoute = (nic: string, family: 4 | 6) =>
  Effect.map(run("ip", ["-n", vmNamespace(nic), `-${family}`, "route", "show", "default"]), ({ stdout }) =>
    stdout.includes("default"),
  )

/** Waits until a VM has these addresses by DHCP, and a default route of each family. For ever. */
export const awaitLease = Effect.fnUntraced(function* (
  vm: Vm,
  wanted: ReadonlyArray<string>,
  report: (doing: string) => Effect.Effect<void>,
) {
  while (true) {
    const present = yield* addressesOf(vm.nic)
    const missing = wanted.filter((address) => !present.includes(address))
    const routes = yield* Effect.filter(vm.families, (family) =>
      Effect.map(hasRoute(vm.nic, family), (has) => !has),
    )
    if (missing.length === 0 && routes.length === 0) return
    yield* report(
      missing.length > 0
        ? `${vm.nic} waits for ${missing.join(", ")}`
        : `${vm.nic} waits for its IPv${routes.join(" and IPv")} route`,
    )
    yield* Effect.sleep("50 millis")
  }
})
