/**
 * `get routes`: the overlay routes as a table. Routes are no resources: they follow from the interfaces, so a watch
 * of them looks again whenever an interface changed.
 */
import { Console, Effect, Schedule, Stream } from "effect"
import { networkInterfaceKind } from "#protocol/resource/NetworkInterface.ts"
import type { GatewayClient } from "../gateway/GatewayClient.ts"
import type { GatewayProblem } from "../gateway/GatewayStatus.ts"
import { misused } from "./Failure.ts"
import { type Format, toYaml } from "./Render.ts"
import * as Table from "./Table.ts"

export const isRoutes = (words: ReadonlyArray<string>): boolean =>
  words[0] === "routes" || words[0] === "route"

interface Options {
  readonly namespace: string
  readonly allNamespaces: boolean
  readonly format: Format
  readonly headers: boolean
}

const columns = ["VNI", "NETWORK", "PREFIX", "NEXTHOP", "NODE", "OWNER"]

const read = (client: GatewayClient, options: Options) =>
  Effect.map(client.listRoutes({}), ({ routes }) =>
    routes
      .filter(({ network }) => options.allNamespaces || network.startsWith(`${options.namespace}/`))
      .map(({ network, nextHop, node, owner, prefix, vni }) => ({
        vni,
        network,
        prefix,
        nextHop,
        node,
        owner,
      })),
  )

type Route = Effect.Success<ReturnType<typeof read>>[number]

const rowOf = (route: Route): ReadonlyArray<string> => [
  String(route.vni),
  route.network,
  route.prefix,
  route.nextHop,
  route.node,
  route.owner,
]

const follow = (client: GatewayClient, before: ReadonlyArray<Route>, options: Options) =>
  Effect.gen(function* () {
    let known = new Map(before.map((route) => [rowOf(route).join(" "), route]))
    yield* client.watch({ kind: networkInterfaceKind }).pipe(
      Stream.debounce("50 millis"),
      Stream.mapEffect(() => read(client, options)),
      // The region is away for a moment: the next look tells what changed meanwhile.
      Stream.retry(
        Schedule.spaced("1 second").pipe(
          Schedule.setInputType<GatewayProblem>(),
          Schedule.while(({ input }) => input.status === "UNAVAILABLE"),
        ),
      ),
      Stream.runForEach((routes) => {
        const next = new Map(routes.map((route) => [rowOf(route).join(" "), route]))
        const gone = [...known.entries()].filter(([key]) => !next.has(key))
        const come = [...next.entries()].filter(([key]) => !known.has(key))
        known = next
        const rows = [
          ...gone.map(([, route]) => [...rowOf(route), "withdrawn"]),
          ...come.map(([, route]) => [...rowOf(route), "announced"]),
        ]
        return rows.length === 0 ? Effect.void : Console.log(Table.renderRows(rows))
      }),
    )
  })

export const getRoutes = Effect.fnUntraced(function* (
  client: GatewayClient,
  options: Options,
  watch: boolean,
) {
  const routes = yield* read(client, options)
  switch (options.format) {
    case "json":
      yield* Console.log(JSON.stringify(routes, undefined, 2))
      break
    case "yaml":
      yield* Console.log(toYaml(routes))
      break
    case "name":
      return yield* misused("routes have no names; use -o json or yaml")
    default:
      if (routes.length === 0) yield* Console.error("No routes found.")
      else yield* Console.log(Table.render({ columns, rows: routes.map(rowOf) }, options.headers))
  }
  if (watch) yield* follow(client, routes, options)
})
