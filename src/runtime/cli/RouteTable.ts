/**
 * `get routes`: the overlay routes as a table. Routes are no resources: they follow from the interfaces, so a watch
 * of them looks again whenever an interface changed. In JSON and YAML it is a stream of routes, each with its change.
 */
import { Console, Effect, Schedule, Stream } from "effect"
import { networkInterfaceKind } from "#protocol/resource/NetworkInterface.ts"
import type { GatewayClient } from "../gateway/GatewayClient.ts"
import type { GatewayProblem } from "../gateway/GatewayStatus.ts"
import { misused } from "./Failure.ts"
import { type Format, renderStream, toYaml } from "./Render.ts"
import * as Table from "./Table.ts"

export const isRoutes = (words: ReadonlyArray<string>): boolean =>
  words[0] === "routes" || words[0] === "route"

interface Options {
  readonly namespace: string
  readonly allNamespaces: boolean
  /** Must be empty. */
  readonly selector: string
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

type Change = "announced" | "withdrawn"

const changesOf = (routes: ReadonlyArray<Route>, change: Change) =>
  routes.map((route) => ({ ...route, change }))

const renderChanges = (changes: ReturnType<typeof changesOf>, format: Format): string =>
  format === "json" || format === "yaml"
    ? renderStream(changes, format)
    : Table.renderRows(changes.map((route) => [...rowOf(route), route.change]))

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
        const gone = [...known].flatMap(([key, route]) => (next.has(key) ? [] : [route]))
        const come = [...next].flatMap(([key, route]) => (known.has(key) ? [] : [route]))
        known = next
        const changes = [...changesOf(gone, "withdrawn"), ...changesOf(come, "announced")]
        return changes.length === 0 ? Effect.void : Console.log(renderChanges(changes, options.format))
      }),
    )
  })

const show = (routes: ReadonlyArray<Route>, { format, headers }: Options, watch: boolean) => {
  if (format === "json" || format === "yaml") {
    if (!watch) return Console.log(format === "json" ? JSON.stringify(routes, undefined, 2) : toYaml(routes))
    const announced = changesOf(routes, "announced")
    return routes.length === 0 ? Effect.void : Console.log(renderChanges(announced, format))
  }
  return routes.length === 0
    ? Console.error("No routes found.")
    : Console.log(Table.render({ columns, rows: routes.map(rowOf) }, headers))
}

export const getRoutes = Effect.fnUntraced(function* (
  client: GatewayClient,
  options: Options,
  watch: boolean,
) {
  if (options.format === "name") return yield* misused("routes have no names; use -o json or yaml")
  if (options.selector !== "") return yield* misused("routes have no labels; leave -l out")
  const routes = yield* read(client, options)
  yield* show(routes, options, watch)
  if (watch) yield* follow(client, routes, options)
})
