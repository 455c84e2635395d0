/**
 * How fast a running dataplane is told routes from here, by the same session that an agent has. Makes 16 VNIs with an
 * interface each (on in-process ports), from 7,100,000 on; puts routes there, puts them again with another next hop, and
 * deletes them. Every result must be a success.
 *
 * usage: bench/dataplane-programming.ts ADDRESS [routes] [batch] [in flight]
 */
import { Clock, Console, Effect } from "effect"
import { Dataplane, type Operation } from "#protocol/dataplane/Dataplane.ts"
import { layerNative } from "#runtime/dataplane/NativeDataplane.ts"

const [address, count = "100000", size = "1024", inFlight = "16"] = process.argv.slice(2)
if (address === undefined) {
  console.error("usage: bench/dataplane-programming.ts ADDRESS [routes] [batch] [in flight]")
  process.exit(2)
}

const vnis = 16
const firstVni = 7_100_000

const routeOf = (number: number, round: number) => {
  const within = Math.floor(number / vnis)
  const vni = firstVni + (number % vnis)
  return {
    vni,
    prefix: `10.${(within >> 16) & 255}.${(within >> 8) & 255}.${within & 255}/32`,
    nextHop: `fd00:f:${(0x900 + round).toString(16)}::d001:0:${((number % 0xffff) + 1).toString(16)}`,
    nextHopVni: vni,
  }
}

const operationOf = (number: number, round: number): Operation => {
  const route = routeOf(number, round)
  return round === 2
    ? { _tag: "DeleteRoute", vni: route.vni, prefix: route.prefix }
    : { _tag: "PutRoute", route }
}

const indices = Array.from({ length: vnis }, (_, index) => index)
const idOf = (index: number) => `node-bench-${index}`

const run = Effect.gen(function* () {
  const dataplane = yield* Dataplane
  yield* dataplane.connect
  const made = yield* dataplane.apply(
    indices.map((index): Operation => ({
      _tag: "CreateInterface",
      spec: {
        id: idOf(index),
        vni: firstVni + index,
        ipv4: "192.0.2.1",
        ipv6: undefined,
        device: `ring:${idOf(index)}`,
        hostname: undefined,
      },
    })),
  )
  const failed = made.find(({ code }) => code !== 0)
  if (failed !== undefined) return yield* Effect.die(new Error(`no interfaces: ${failed.message}`))
  const routes = Number(count)
  const batch = Number(size)
  for (const [round, name] of ["put", "put again, another next hop", "deleted"].entries()) {
    const begun = yield* Clock.currentTimeMillis
    const batches = Array.from({ length: Math.ceil(routes / batch) }, (_, index) => index * batch)
    const refused = yield* Effect.forEach(
      batches,
      (first) =>
        Effect.map(
          dataplane.apply(
            Array.from({ length: Math.min(batch, routes - first) }, (_, index) =>
              operationOf(first + index, round),
            ),
          ),
          (results) => results.filter(({ code }) => code !== 0).length,
        ),
      { concurrency: Number(inFlight) },
    )
    const seconds = ((yield* Clock.currentTimeMillis) - begun) / 1000
    const bad = refused.reduce((sum, some) => sum + some, 0)
    yield* Console.log(
      `${name.padEnd(30)} ${routes} routes ${seconds.toFixed(2)} s ${(routes / seconds).toFixed(0)} routes/s, ${bad} refused`,
    )
    if (bad > 0) return yield* Effect.die(new Error(`${bad} operations were refused`))
  }
  yield* dataplane.apply(indices.map((index): Operation => ({ _tag: "DeleteInterface", id: idOf(index) })))
})

await Effect.runPromise(run.pipe(Effect.provide(layerNative({ address }))))
