/** `ferrite get`: resources and routes as tables, JSON, YAML or names; with -w as they change. */
import { Clock, Console, Effect, Option, Ref, Schedule, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { Manifest } from "#protocol/resource/Resource.ts"
import { WatchResponse_Type } from "#gen/ferrite/gateway/v1/gateway_pb.ts"
import type { GatewayClient } from "../../gateway/GatewayClient.ts"
import type { GatewayProblem } from "../../gateway/GatewayStatus.ts"
import { failed, renderProblem } from "../Failure.ts"
import * as Flags from "../Flags.ts"
import { withRegion } from "../Region.ts"
import {
  type Format,
  formats,
  manifestOf,
  renderManifests,
  renderStream,
  sightingOf,
  tableOf,
} from "../Render.ts"
import { getRoutes, isRoutes } from "../RouteTable.ts"
import * as Table from "../Table.ts"
import { keyIn, parseTargets, type Target } from "../Targets.ts"

export interface GetOptions {
  readonly namespace: string
  readonly allNamespaces: boolean
  readonly selector: string
  readonly format: Format
  readonly headers: boolean
}

interface Listing {
  readonly target: Target
  readonly manifests: ReadonlyArray<Manifest>
  readonly revision: bigint
}

const nowMicros = Effect.map(Clock.currentTimeMillis, (millis) => millis * 1000)

const scopeOf = ({ kind }: Target, options: GetOptions) => ({
  kind: kind.kind,
  namespace: options.allNamespaces || !kind.namespaced ? "" : options.namespace,
  labelSelector: options.selector,
})

/** All of a selection, however large: what does not fit into one answer is read as a watch up to its bookmark. */
const listAll = (client: GatewayClient, scope: ReturnType<typeof scopeOf>) =>
  client.list(scope).pipe(
    Effect.map(({ resources, revision }) => ({ manifests: resources.map(manifestOf), revision })),
    Effect.catchIf(
      (problem) => problem.reason === "LIST_TOO_LARGE",
      () =>
        client.watch({ ...scope, fromRevision: 0n }).pipe(
          Stream.takeUntil(({ type }) => type === WatchResponse_Type.BOOKMARK),
          Stream.runFold(
            () => ({ manifests: [] as Array<Manifest>, revision: 0n }),
            (all, { resource, revision }) => {
              if (resource) all.manifests.push(manifestOf(resource))
              all.revision = revision
              return all
            },
          ),
        ),
    ),
  )

/** A target's resources, and a word for each that is named but missing. */
const listing = Effect.fnUntraced(function* (client: GatewayClient, target: Target, options: GetOptions) {
  const { kind, names } = target
  if (names.length === 0) {
    return { listing: { target, ...(yield* listAll(client, scopeOf(target, options))) }, missing: [] }
  }
  const missing: Array<string> = []
  const manifests: Array<Manifest> = []
  let revision = 0n
  for (const name of names) {
    const got = yield* client.get({ key: keyIn(kind, options.namespace, name) }).pipe(
      Effect.map(({ resource }) => resource),
      Effect.catchIf(
        (problem) => problem.status === "NOT_FOUND" || problem.status === "INVALID_ARGUMENT",
        (problem) => {
          missing.push(...renderProblem(problem))
          return Effect.undefined
        },
      ),
    )
    if (got) {
      manifests.push(manifestOf(got))
      revision = got.revision > revision ? got.revision : revision
    }
  }
  return { listing: { target, manifests, revision }, missing }
})

const show = Effect.fnUntraced(function* (
  listings: ReadonlyArray<Listing>,
  options: GetOptions,
  watch: boolean,
) {
  const { format } = options
  if (watch && (format === "json" || format === "yaml")) {
    const all = listings.flatMap(({ manifests }) => manifests)
    if (all.length > 0) yield* Console.log(renderStream(all, format))
    return
  }
  if (format !== "table" && format !== "wide") {
    const all = listings.flatMap(({ manifests }) => manifests)
    const single = listings.length === 1 && listings[0]?.target.names.length === 1
    if (all.length > 0 || format !== "name") yield* Console.log(renderManifests(all, format, single))
    return
  }
  const now = yield* nowMicros
  let shown = 0
  for (const { manifests, target } of listings) {
    if (manifests.length === 0) {
      if (listings.length > 1 || target.names.length > 0) continue
      const where =
        options.allNamespaces || !target.kind.namespaced ? "" : ` in namespace ${options.namespace}`
      yield* Console.error(`No ${target.kind.plural} found${where}.`)
      continue
    }
    const table = tableOf(target.kind, manifests, {
      wide: format === "wide",
      namespaces: options.allNamespaces,
      nowMicros: now,
    })
    if (shown++ > 0) yield* Console.log("")
    yield* Console.log(Table.render(table, options.headers))
  }
})

const isAway = (problem: GatewayProblem): boolean => problem.status === "UNAVAILABLE"

/** Prints every change after a listing, below it, in its columns; for ever. Outlives a restart of the region. */
const follow = (client: GatewayClient, { manifests, revision, target }: Listing, options: GetOptions) =>
  Effect.gen(function* () {
    const position = yield* Ref.make(revision)
    const wide = options.format === "wide"
    const style = { wide, namespaces: options.allNamespaces }
    const first = tableOf(target.kind, manifests, { ...style, nowMicros: yield* nowMicros })
    const state = first.columns.indexOf("STATE")
    let least = Table.widths([first.columns, ...first.rows])
    const print = Effect.fnUntraced(function* (manifest: Manifest, gone: boolean) {
      const { format } = options
      if (format === "name") return yield* Console.log(renderManifests([manifest], format, true))
      if (format === "json" || format === "yaml") {
        return yield* Console.log(renderStream([sightingOf(manifest, gone)], format))
      }
      const { rows } = tableOf(target.kind, [manifest], { ...style, nowMicros: yield* nowMicros })
      const shown = rows.map((row) =>
        row.map((cell, column) => (gone && column === state ? "Deleted" : cell)),
      )
      least = Table.widths(shown, least)
      yield* Console.log(Table.renderRows(shown, least))
    })
    const scope = scopeOf(target, options)
    yield* Stream.unwrap(
      Effect.map(Ref.get(position), (fromRevision) => client.watch({ ...scope, fromRevision })),
    ).pipe(
      Stream.tap((message) => Ref.set(position, message.revision)),
      Stream.retry(
        Schedule.spaced("1 second").pipe(
          Schedule.setInputType<GatewayProblem>(),
          Schedule.while(({ input }) => isAway(input)),
        ),
      ),
      Stream.runForEach(({ resource, type }) => {
        if (resource === undefined) return Effect.void
        const wanted = target.names.length === 0 || target.names.includes(resource.key?.name ?? "")
        return wanted ? print(manifestOf(resource), type === WatchResponse_Type.DELETED) : Effect.void
      }),
    )
  })

/** What `get` does, for whoever has a client already. */
export const getResources = Effect.fnUntraced(function* (
  client: GatewayClient,
  words: ReadonlyArray<string>,
  options: GetOptions,
  watch: boolean,
) {
  const targets = yield* parseTargets(words)
  const found = yield* Effect.forEach(targets, (target) => listing(client, target, options))
  const listings = found.map((each) => each.listing)
  const missing = found.flatMap((each) => each.missing)
  if (missing.length < targets.flatMap(({ names }) => names).length || missing.length === 0) {
    yield* show(listings, options, watch)
  }
  if (watch) {
    yield* Effect.forEach(listings, (each) => follow(client, each, options), {
      concurrency: "unbounded",
      discard: true,
    })
  }
  if (missing.length > 0) return yield* failed(missing[0] ?? "", missing.slice(1))
})

export const get = Command.make(
  "get",
  {
    resources: Argument.String("KIND").pipe(
      Argument.withDescription("networks, nics, nodes or routes; kinds by comma; or KIND/NAME..."),
      Argument.variadic({ min: 1 }),
    ),
    namespace: Flags.namespace,
    allNamespaces: Flags.allNamespaces,
    selector: Flags.selector,
    output: Flag.Literals("output", formats).pipe(
      Flag.withAlias("o"),
      Flag.withMetavar("FORMAT"),
      Flag.withDescription("wide, json, yaml or name"),
      Flag.optional,
    ),
    watch: Flag.Boolean("watch").pipe(
      Flag.withAlias("w"),
      Flag.withDescription("Go on and show every change, until Ctrl-C"),
      Flag.withDefault(false),
    ),
    headers: Flags.headers,
    gateway: Flags.gateway,
  },
  Effect.fnUntraced(function* ({
    allNamespaces,
    gateway,
    headers,
    namespace,
    output,
    resources,
    selector,
    watch,
  }) {
    const options: GetOptions = {
      namespace: Option.getOrElse(namespace, () => "default"),
      allNamespaces,
      selector,
      format: Option.getOrElse(output, () => "table" as const),
      headers,
    }
    yield* withRegion(gateway, (client) =>
      isRoutes(resources)
        ? getRoutes(client, options, watch)
        : getResources(client, resources, options, watch),
    )
  }),
).pipe(
  Command.withDescription("Show resources and routes"),
  Command.withExamples([
    { command: "ferrite get networks", description: "Networks of the default namespace" },
    {
      command: "ferrite get nics -o wide -w",
      description: "Network interfaces with all columns, as they change",
    },
    { command: "ferrite get nic nic-a -o yaml", description: "One as its manifest" },
    { command: "ferrite get nics -A -l tier=web", description: "By label, in every namespace" },
    { command: "ferrite get routes", description: "The overlay routes that live interfaces have" },
  ]),
)
