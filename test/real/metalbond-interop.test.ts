// Against the existing program, in every pairing. It is not part of this repository: give its path as
// METALBOND_BIN, e.g. `METALBOND_BIN=/usr/sbin/metalbond npx vitest run test/real/metalbond-interop.test.ts`.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import * as net from "node:net"
import { RouteDistribution, type RouteAnnouncement } from "#protocol/metalbond/RouteDistribution.ts"
import { Reflector, layer as layerReflector } from "#runtime/metalbond/Reflector.ts"
import * as Client from "#runtime/metalbond/RouteDistributionClient.ts"

const binary = process.env["METALBOND_BIN"]
if (binary === undefined)
  console.log("SKIPPED: metalbond interop. Set METALBOND_BIN to the existing program to run it.")

const patience = 20_000
const eventually = <A>(look: Effect.Effect<A>, holds: (now: A) => boolean): Effect.Effect<A> =>
  Effect.gen(function* () {
    const start = Date.now()
    while (true) {
      const now = yield* look
      if (holds(now)) return now
      if (Date.now() - start > patience) throw new Error(`still ${JSON.stringify(now)}`)
      yield* Effect.sleep(50)
    }
  })

const freePort = Effect.callback<number>((resume) => {
  const server = net.createServer()
  server.listen({ host: "::1", port: 0 }, () => {
    const { port } = server.address() as net.AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

const run = (args: ReadonlyArray<string>): Effect.Effect<ChildProcess, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => spawn(binary!, args, { stdio: "ignore" })),
    (child) => Effect.sync(() => child.kill("SIGKILL")),
  )

interface RoutesJson {
  readonly vnet: Record<string, Record<string, ReadonlyArray<{ readonly TargetAddress: string }>>>
}
const routesOf = (http: string): Effect.Effect<RoutesJson> =>
  Effect.promise(() =>
    fetch(`http://${http}/routes.json`).then(
      (response) => response.json() as Promise<RoutesJson>,
      () => ({ vnet: {} }),
    ),
  )
const targets = ({ vnet }: RoutesJson, vni: number, prefix: string): ReadonlyArray<string> =>
  (vnet[String(vni)]?.[JSON.stringify({ IPVersion: 4, Prefix: prefix })] ?? []).map(
    ({ TargetAddress }) => TargetAddress,
  )

const host = (name: string, reflectors: ReadonlyArray<string>, restartSeconds?: number) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(
      Client.layer({
        reflectors,
        originator: name,
        ...(restartSeconds === undefined ? {} : { restartSeconds }),
      }),
    )
    return yield* Effect.provideContext(RouteDistribution, context)
  })
const route = (prefix: string, address: string): RouteAnnouncement => ({
  vni: 23,
  prefix,
  nextHop: { address, vni: 0, type: "STANDARD", natPortFrom: 0, natPortTo: 0 },
})

describe.skipIf(binary === undefined)("with the existing program (METALBOND_BIN)", () => {
  const existingServer = Effect.gen(function* () {
    const [listen, http] = [`[::1]:${yield* freePort}`, `[::1]:${yield* freePort}`]
    yield* run(["server", "--listen", listen, "--http", http, "--keepalive", "3"])
    return { listen, http }
  })
  const existingClient = (server: string, subscribe: string, announce: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const http = `[::1]:${yield* freePort}`
      yield* run([
        "client",
        ...`--server ${server} --keepalive 3 --http ${http} --subscribe ${subscribe}`.split(" "),
        ...announce.flatMap((text) => ["--announce", text]),
      ])
      return { http }
    })

  it.live("our clients exchange routes through its server", () =>
    Effect.gen(function* () {
      const { listen, http } = yield* existingServer
      const left = yield* host("host-1", [listen])
      const right = yield* host("host-2", [listen], 0)
      yield* left.announce([route("10.0.0.0/24", "2001:db8::1")])
      yield* right.subscribe(new Set([23]))
      yield* eventually(routesOf(http), (now) => targets(now, 23, "10.0.0.0/24").includes("2001:db8::1"))
      yield* eventually(right.table(23), (table) => table.length === 1)
      yield* left.announce([])
      yield* eventually(right.table(23), (table) => table.length === 0)
    }).pipe(Effect.scoped),
  )
  it.live("its client exchanges routes with ours through our reflector", () =>
    Effect.gen(function* () {
      const { address } = yield* Reflector
      const { http } = yield* existingClient(address, "23", ["23#10.0.1.0/24#2001:db8::7"])
      const ours = yield* host("host-1", [address])
      yield* ours.subscribe(new Set([23]))
      yield* ours.announce([route("10.0.0.0/24", "2001:db8::1")])
      const table = yield* eventually(ours.table(23), (now) => now.length === 1)
      assert.strictEqual(table[0]?.nextHops[0]?.address, "2001:db8::7")
      yield* eventually(routesOf(http), (now) => targets(now, 23, "10.0.0.0/24").includes("2001:db8::1"))
      yield* ours.announce([])
      yield* eventually(routesOf(http), (now) => targets(now, 23, "10.0.0.0/24").length === 0)
    }).pipe(Effect.scoped, Effect.provide(layerReflector({ listen: "[::1]:0", keepaliveSeconds: 3 }))),
  )
  it.live("its client keeps a table of 10,000 routes from our reflector without a reset", () =>
    Effect.gen(function* () {
      const { address, machine } = yield* Reflector
      const ours = yield* host("host-1", [address])
      yield* ours.announce(
        Array.from({ length: 10_000 }, (_, n) =>
          route(`10.${n >> 16}.${(n >> 8) & 255}.${n & 255}/32`, "2001:db8::1"),
        ),
      )
      yield* eventually(
        Effect.sync(() => machine.table.size),
        (size) => size === 10_000,
      )
      const { http } = yield* existingClient(address, "23", [])
      yield* eventually(routesOf(http), (now) => Object.keys(now.vnet["23"] ?? {}).length === 10_000)
      assert.strictEqual(machine.endings.size, 0)
    }).pipe(Effect.scoped, Effect.provide(layerReflector({ listen: "[::1]:0", keepaliveSeconds: 3 }))),
  )
})
