/**
 * The demo's region on the native dataplane: processes as on real machines, one namespace per hypervisor.
 *
 * Everything starts at once; agents and clients wait for each other. It is up when every interface is available
 * and every hypervisor of its network has a route to it.
 */
import { Effect, Schedule, type Scope } from "effect"
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import type { GatewayClient } from "../../gateway/GatewayClient.ts"
import * as Client from "../../gateway/GatewayClient.ts"
import { type CommandFailure, failed } from "../Failure.ts"
import { repository, runFolder } from "../Region.ts"
import type { ProgramFailed } from "../Shell.ts"
import { program as dataplane } from "../setup/DataplaneBuild.ts"
import * as Ledger from "./Ledger.ts"
import * as Machines from "./Machines.ts"
import * as Ports from "./Ports.ts"
import type { Processes } from "./Processes.ts"
import type { Host } from "./Topology.ts"

export type Underlay = "wire" | "veth"

/** The path of a Unix socket has at most 107 characters. */
const longestSocketFolder = 80

const socketFolder = Effect.fnUntraced(function* (): Effect.fn.Return<string, never, Scope.Scope> {
  if (runFolder.length <= longestSocketFolder) return runFolder
  return yield* Effect.acquireRelease(
    Effect.gen(function* () {
      const path = mkdtempSync("/tmp/ferrite-demo-")
      yield* Ledger.record(runFolder, { _tag: "Folder", path })
      return path
    }),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
  )
})

/** This program in another role, with the flags that this process was started with. */
const role = (name: string, args: ReadonlyArray<string>, processName = name) => ({
  name: processName,
  command: process.execPath,
  args: [...process.execArgv, `${repository}/src/runtime/cli/main.ts`, name, ...args],
})

const flags = (values: Readonly<Record<string, string>>): ReadonlyArray<string> =>
  Object.entries(values).flatMap(([name, value]) => [`--${name}`, value])

const address = Effect.fnUntraced(function* (hosts: ReadonlyArray<string>, port: number) {
  for (const host of hosts) {
    const found = yield* Ports.free(host, port)
    if (found !== undefined) return found
  }
  return yield* failed(`no port can be listened on at ${hosts.join(" or ")}`)
})

const spaced = Schedule.spaced("50 millis")

export interface Region {
  readonly client: GatewayClient
  readonly gateway: string
}

/** Starts controller, reflector, dataplanes and agents; answers once the gateway does. */
export const start = Effect.fnUntraced(function* (
  processes: Processes,
  hosts: ReadonlyArray<Host>,
  underlay: Underlay,
): Effect.fn.Return<Region, CommandFailure | ProgramFailed, Scope.Scope> {
  const gateway = yield* address(["127.0.0.1"], 7420)
  const reflector = yield* address(["::1", "127.0.0.1"], 4711)
  const reflectorHttp = yield* address(["::1", "127.0.0.1"], 4712)
  const sockets = yield* socketFolder()
  yield* processes.start(role("controller", flags({ listen: gateway, store: `${runFolder}/region.db` })))
  yield* processes.start(role("reflector", flags({ listen: reflector, http: reflectorHttp })))
  for (const { name } of hosts) yield* Machines.makeNamespace(runFolder, Machines.hostNamespace(name))
  if (underlay === "veth") {
    yield* Machines.makeCable(
      runFolder,
      hosts.map(({ name }) => name),
    )
  }
  for (const host of hosts) {
    const folder = `${sockets}/${host.name}`
    mkdirSync(folder, { recursive: true })
    const wire = `${sockets}/wire`
    mkdirSync(wire, { recursive: true })
    const [command, args] = Machines.within(Machines.hostNamespace(host.name), [
      dataplane,
      ...flags({
        name: host.name,
        grpc: `unix:${folder}/dataplane.sock`,
        underlay: host.underlay,
        uplink: underlay === "wire" ? `wire:${wire}` : `eth:${Machines.uplink}`,
      }),
    ])
    yield* processes.start({ name: `${host.name}-dataplane`, command, args })
    const agent = flags({
      node: host.name,
      controller: gateway,
      reflector,
      dataplane: `unix:${folder}/dataplane.sock`,
      underlay: host.underlay,
      journal: `${runFolder}/${host.name}/journal.db`,
    })
    mkdirSync(`${runFolder}/${host.name}`, { recursive: true })
    yield* processes.start(role("agent", agent, `${host.name}-agent`))
  }
  const client = yield* Client.make(gateway)
  yield* Effect.retry(client.list({ kind: "Node" }, { deadlineMillis: 2000 }), {
    times: 400,
    schedule: spaced,
  }).pipe(Effect.mapError((problem) => failed(`the controller does not answer: ${problem.message}`)))
  writeFileSync(`${runFolder}/gateway`, `${gateway}\n`)
  yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(`${runFolder}/gateway`, { force: true })))
  return { client, gateway }
})

const remove = (names: ReadonlyArray<string>) => {
  for (const name of names) rmSync(`${runFolder}/${name}`, { recursive: true, force: true })
  for (let host = 1; existsSync(`${runFolder}/host-${host}`); host++) {
    rmSync(`${runFolder}/host-${host}`, { recursive: true, force: true })
  }
}

const leftovers = ["dhcp", "wire", "gateway", "region.db", "region.db-wal", "region.db-shm"]

/** Removes the files that a demo made, except its logs. */
export const clearKeepingLogs = Effect.sync(() => remove(leftovers))

/** As `clearKeepingLogs`, and the logs of the demo before. */
export const clear = Effect.sync(() => remove([...leftovers, "logs"]))
