import { assert, describe, it } from "@effect/vitest"
import { Console, Effect, Stream } from "effect"
import * as Yaml from "yaml"
import { WatchResponse_Type } from "#gen/ferrite/gateway/v1/gateway_pb.ts"
import { getResources } from "#runtime/cli/commands/get.ts"
import type { Format } from "#runtime/cli/Render.ts"
import { getRoutes } from "#runtime/cli/RouteTable.ts"
import type { GatewayClient } from "#runtime/gateway/GatewayClient.ts"

const options = { namespace: "default", allNamespaces: false, selector: "", headers: true }

const route = (prefix: string) => ({
  vni: 100,
  network: "default/blue",
  prefix,
  nextHop: "fd00::1",
  node: "host-1",
  owner: "nic-a",
})

const manifest = (name: string) => ({
  kind: "Network",
  metadata: { name, creationTimestamp: "2026-01-01T00:00:00Z" },
  spec: {},
})

const resource = (name: string) => ({
  key: { kind: "Network", namespace: "default", name },
  json: JSON.stringify(manifest(name)),
  revision: 1n,
})

/** A region whose routes are other ones at each look, and whose one network goes away. */
const region = (...looks: ReadonlyArray<ReadonlyArray<string>>) => {
  let look = 0
  return {
    listRoutes: () => Effect.sync(() => ({ routes: (looks[look++] ?? []).map(route) })),
    list: () => Effect.succeed({ resources: [resource("blue"), resource("red")], revision: 2n }),
    watch: () => Stream.make({ type: WatchResponse_Type.DELETED, resource: resource("blue"), revision: 3n }),
  } as unknown as GatewayClient
}

/** What a command writes to standard output. */
const output = <A, E>(command: Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const log = (text: string) => void lines.push(text)
    const console = { ...globalThis.console, log }
    yield* Effect.provideService(command, Console.Console, console)
    return lines.join("\n")
  })

const jsonLines = (text: string): ReadonlyArray<unknown> =>
  text.split("\n").map((line) => JSON.parse(line) as unknown)

const documents = (text: string): ReadonlyArray<unknown> =>
  Yaml.parseAllDocuments(text).map((document) => document.toJS() as unknown)

const parsers: ReadonlyArray<readonly [Format, typeof documents]> = [
  ["json", jsonLines],
  ["yaml", documents],
]

describe("routes", () => {
  it.effect("are refused by label and by name as misuse", () =>
    Effect.gen(function* () {
      for (const wrong of [{ selector: "tier=web" }, { format: "name" as const }]) {
        const error = yield* Effect.flip(
          getRoutes(region(), { ...options, format: "table", ...wrong }, false),
        )
        assert.propertyVal(error, "exitCode", 2)
      }
    }),
  )
})

describe("a watch in JSON or YAML", () => {
  for (const [format, parse] of parsers) {
    it.effect(`is a stream of routes with their change, in ${format}`, () =>
      Effect.gen(function* () {
        const client = region(["10.0.0.1/32", "10.0.0.2/32"], ["10.0.0.2/32", "10.0.0.3/32"])
        assert.deepStrictEqual(parse(yield* output(getRoutes(client, { ...options, format }, true))), [
          { ...route("10.0.0.1/32"), change: "announced" },
          { ...route("10.0.0.2/32"), change: "announced" },
          { ...route("10.0.0.1/32"), change: "withdrawn" },
          { ...route("10.0.0.3/32"), change: "announced" },
        ])
      }),
    )

    it.effect(`is a stream of resources without a List, and says what is deleted, in ${format}`, () =>
      Effect.gen(function* () {
        const text = yield* output(getResources(region(), ["networks"], { ...options, format }, true))
        assert.deepStrictEqual(parse(text), [
          manifest("blue"),
          manifest("red"),
          { ...manifest("blue"), change: "deleted" },
        ])
      }),
    )
  }

  it.effect("has nothing for a region without routes", () =>
    Effect.gen(function* () {
      const text = yield* output(getRoutes(region(), { ...options, format: "json" }, true))
      assert.strictEqual(text, "")
    }),
  )
})
