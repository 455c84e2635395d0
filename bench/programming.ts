/**
 * How long an interface takes from accepted to programmed on all hosts concerned, against a running region
 * (`./ferrite demo` in another terminal). Prints percentiles; asserts nothing.
 *
 * usage: bench/programming.ts [interfaces] [gateway]
 */
import { Clock, Console, Effect, Schedule } from "effect"
import type { NetworkInterface } from "#protocol/resource/NetworkInterface.ts"
import * as GatewayClient from "#runtime/gateway/GatewayClient.ts"

const [count = "100", gateway = "127.0.0.1:7420"] = process.argv.slice(2)
const network = {
  apiVersion: "networking.ironcore.dev/v1alpha1",
  kind: "Network",
  metadata: { name: "bench" },
}
const nameOf = (index: number) => `bench-${index}`
const nic = (index: number) => ({
  apiVersion: "networking.ironcore.dev/v1alpha1",
  kind: "NetworkInterface",
  metadata: { name: nameOf(index) },
  spec: {
    networkRef: { name: "bench" },
    ipFamilies: ["IPv4"],
    ips: [{ value: `10.9.${index >> 8}.${index & 255}` }],
  },
})

const percentile = (sorted: ReadonlyArray<number>, p: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * p) / 100))] ?? 0

const print = (what: string, micros: ReadonlyArray<number>) => {
  const sorted = micros.toSorted((a, b) => a - b)
  const at = (p: number) => `p${p} ${(percentile(sorted, p) / 1000).toFixed(1).padStart(7)} ms`
  return Console.log(`${what.padEnd(34)} ${[50, 90, 99].map(at).join("   ")}   (${sorted.length})`)
}

const run = Effect.gen(function* () {
  const client = yield* GatewayClient.make(gateway)
  const key = (kind: string, name: string) => ({ kind, namespace: "default", name })
  const apply = (manifest: unknown) => client.apply({ json: JSON.stringify(manifest) })
  const read = (name: string) =>
    Effect.map(
      client.get({ key: key("NetworkInterface", name) }),
      ({ resource }) => JSON.parse(resource?.json ?? "{}") as NetworkInterface,
    )
  const programmed = (name: string) =>
    Effect.repeat(read(name), {
      until: ({ status }) => status?.attachment?.programmedMicros !== undefined,
      schedule: Schedule.spaced("5 millis"),
    }).pipe(Effect.andThen(read(name)))
  const indices = Array.from({ length: Number(count) }, (_, index) => index + 1)
  const measure = (what: string, of: ReadonlyArray<number>, concurrency: number) =>
    Effect.gen(function* () {
      const start = yield* Clock.currentTimeMillis
      const nics = yield* Effect.forEach(
        of,
        (index) =>
          Effect.gen(function* () {
            yield* apply(nic(index))
            yield* client.attach({
              namespace: "default",
              name: nameOf(index),
              node: `host-${1 + (index % 2)}`,
            })
            return yield* programmed(nameOf(index))
          }),
        { concurrency },
      )
      const elapsed = (yield* Clock.currentTimeMillis) - start
      const latency = (to: "realisedMicros" | "programmedMicros") =>
        nics.map(({ status }) => (status?.attachment?.[to] ?? 0) - (status?.attachment?.acceptedMicros ?? 0))
      yield* print(`${what}: own host`, latency("realisedMicros"))
      yield* print(`${what}: all hosts`, latency("programmedMicros"))
      yield* Console.log(`${"".padEnd(34)} ${((of.length / elapsed) * 1000).toFixed(0)} interfaces a second`)
    })

  yield* apply(network)
  const remove = Effect.gen(function* () {
    for (const index of indices)
      yield* Effect.ignore(client.delete({ key: key("NetworkInterface", nameOf(index)) }))
    yield* Effect.ignore(client.delete({ key: key("Network", "bench") }))
  })
  yield* Effect.gen(function* () {
    const half = Math.ceil(indices.length / 2)
    yield* measure("one after another", indices.slice(0, half), 1)
    yield* measure("16 at a time", indices.slice(half), 16)
  }).pipe(Effect.ensuring(remove))
}).pipe(Effect.scoped)

await Effect.runPromise(run)
