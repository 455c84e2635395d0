import { assert, describe, it } from "@effect/vitest"
import { type ChildProcess, spawn } from "node:child_process"
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { Ids } from "#protocol/Ids.ts"
import type { Dataplane } from "#protocol/dataplane/Dataplane.ts"
import { type HostInterface, hostInterfaceKind } from "#protocol/node/HostInterface.ts"
import { ResourceStore } from "#protocol/store/ResourceStore.ts"
import * as Native from "#runtime/dataplane/NativeDataplane.ts"
import * as MetalbondMemory from "#runtime/metalbond/Memory.ts"
import * as Reflector from "#runtime/metalbond/Reflector.ts"
import * as RouteDistributionClient from "#runtime/metalbond/RouteDistributionClient.ts"
import { Agent } from "#runtime/node/Agent.ts"
import { layerMemory as linkInMemory } from "#runtime/node/ControllerLinks.ts"
import { layerSqlite } from "#runtime/node/Journal.ts"
import { NodeSessions } from "#runtime/node/NodeSessions.ts"
import { layerMemory } from "#runtime/store/Store.ts"
import { layerTold, nic, told } from "../simulated/agent-region.ts"
import { missing } from "./native-hosts.ts"

const program =
  process.env["FERRITE_DATAPLANE"] ??
  path.resolve(import.meta.dirname, "../../dataplane/build/ferrite-dataplane")

const gone = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

/** A dataplane process on a socket; `start` again after `kill`. */
const dataplaneProcess = Effect.fnUntraced(function* (folder: string, n: number) {
  const address = `unix:${folder}/dataplane-${n}.sock`
  let child: ChildProcess | undefined
  const kill = Effect.gen(function* () {
    const running = child
    if (running === undefined || gone(running)) return
    yield* Effect.callback<void>((resume) => {
      running.once("exit", () => resume(Effect.void))
      running.kill("SIGKILL")
    })
  })
  const start = Effect.sync(() => {
    const log = fs.openSync(`${folder}/dataplane-${n}.log`, "a")
    child = spawn(
      program,
      ["--grpc", address, "--underlay", `fd00:f:${n}::/64`, "--uplink", "none", "--name", `agent-test-${n}`],
      { stdio: ["ignore", log, log] },
    )
    fs.closeSync(log)
  })
  yield* Effect.addFinalizer(() => kill)
  yield* start
  return { address, kill, start }
})

const until = <A, E>(look: Effect.Effect<A, E>, good: (seen: A) => boolean) =>
  Effect.gen(function* () {
    let last: unknown
    for (let tries = 0; tries < 1000; tries++) {
      const seen = yield* Effect.option(look)
      last = seen
      if (seen._tag === "Some" && good(seen.value)) return seen.value
      yield* Effect.sleep(10)
    }
    return yield* Effect.die(new Error(`it never came to that: ${JSON.stringify(last)}`))
  })

const makeHosts = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "ferrite-agent-native-"))),
    (temporary) => Effect.sync(() => fs.rmSync(temporary, { recursive: true })),
  )
  const region = told()
  const shared = yield* Layer.build(
    NodeSessions.layer().pipe(
      Layer.provide(layerTold(region)),
      Layer.provideMerge(layerMemory()),
      Layer.merge(Ids.layer),
      Layer.merge(MetalbondMemory.layer),
    ),
  )
  const outside = Layer.succeedContext(shared)
  yield* Layer.build(Reflector.layerTransport({ listen: "[fd00::1]:4711" }).pipe(Layer.provide(outside)))
  const outer = yield* Effect.scope

  const host = Effect.fnUntraced(function* (n: number) {
    const process_ = yield* dataplaneProcess(folder, n)
    const native = yield* Native.make({ address: process_.address })
    let scope = yield* Scope.fork(outer)
    const start = Effect.gen(function* () {
      scope = yield* Scope.fork(outer)
      const agent = Agent.layer({
        node: `host-${n}`,
        underlayPrefix: `fd00:f:${n}::/64`,
        dataplane: "native",
        version: "test",
      }).pipe(
        Layer.provide([
          Native.layerNative({ address: process_.address }),
          linkInMemory,
          layerSqlite(`${folder}/journal-${n}.sqlite`),
          RouteDistributionClient.layerTransport({
            reflectors: ["[fd00::1]:4711"],
            originator: `host-${n}`,
          }),
        ]),
        Layer.provide(outside),
      )
      return Context.get(yield* Layer.buildWithScope(agent, scope), Agent)
    })
    // One session for each life of the process, not one for each look.
    const listed = Effect.catchTag(native.listAll, "DataplaneGone", () =>
      Effect.andThen(native.connect, native.listAll),
    )
    return {
      name: `host-${n}`,
      process: process_,
      start,
      kill: Effect.suspend(() => Scope.close(scope, Exit.void)),
      listed,
    }
  })
  const store = Context.get(shared, ResourceStore)
  const put = (node: string, desired: HostInterface) =>
    store.commit({
      writes: [
        {
          _tag: "Put",
          key: { kind: hostInterfaceKind, namespace: node, name: desired.uid },
          uid: desired.uid,
          labels: {},
          references: [],
          value: desired,
        },
      ],
    })
  return { host, put, region }
})

type Listing = Effect.Success<Dataplane["Service"]["listAll"]>
const sizes = ({ interfaces, routes }: Listing) => `${interfaces.length} interfaces, ${routes.length} routes`

describe.skipIf(missing() !== undefined)("an agent over the native dataplane", () => {
  it.live("realises, restarts unnoticed, and replays onto a new process", () =>
    Effect.gen(function* () {
      const { host, put, region } = yield* makeHosts
      const a = yield* host(1)
      const b = yield* host(2)
      yield* a.start
      yield* b.start
      // Device names come from uids: those of this run are nobody else's.
      const [one, two, three] = [1, 2, 3].map((n) => nic(n, { uid: crypto.randomUUID(), ipv6: `fd01::${n}` }))
      yield* put(a.name, one!)
      yield* put(a.name, two!)
      yield* put(b.name, three!)
      const before = yield* until(a.listed, (listing) => sizes(listing) === "2 interfaces, 2 routes")
      yield* until(b.listed, (listing) => sizes(listing) === "1 interfaces, 4 routes")
      const report = region.interfaces.get(one!.uid)
      assert.include(report, { state: "Realised", device: `ftap-${one!.uid.replaceAll("-", "").slice(-10)}` })

      // Another life of the agent finds everything as it has to be.
      yield* a.kill
      const again = yield* a.start
      yield* until(
        again.status,
        ({ controller, interfaces }) => controller.connected && interfaces.realised === 2,
      )
      yield* Effect.sleep("1500 millis")
      assert.deepStrictEqual(yield* a.listed, before)

      // Another life of the dataplane gets everything, and the other host the new addresses.
      yield* a.process.kill
      yield* until(again.status, ({ dataplane }) => !dataplane.connected)
      yield* a.process.start
      const after = yield* until(a.listed, (listing) => sizes(listing) === "2 interfaces, 2 routes")
      assert.notStrictEqual(after.state.uuid, before.state.uuid)
      const addresses = new Set(after.interfaces.map(({ underlayAddress }) => underlayAddress))
      yield* until(
        b.listed,
        ({ routes }) => routes.length === 4 && routes.every(({ nextHop }) => addresses.has(nextHop)),
      )
    }),
  )

  it.live("reports what the native dataplane refuses", () =>
    Effect.gen(function* () {
      const { host, put, region } = yield* makeHosts
      const a = yield* host(3)
      yield* a.start
      const bad = nic(1, { uid: crypto.randomUUID(), device: "nosuchport" })
      const good = nic(2, { uid: crypto.randomUUID() })
      yield* put(a.name, bad)
      yield* put(a.name, good)
      const state = (uid: string) => Effect.sync(() => region.interfaces.get(uid)?.state)
      yield* until(state(bad.uid), (seen) => seen === "Failed")
      yield* until(state(good.uid), (seen) => seen === "Realised")
      const report = region.interfaces.get(bad.uid)
      assert.match(
        JSON.stringify(report),
        /the dataplane refused to create the interface on nosuchport with [A-Z_]+ \(\d+\)/,
      )
    }),
  )
})
