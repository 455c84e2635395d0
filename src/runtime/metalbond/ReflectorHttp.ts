/**
 * The reflector's status over HTTP, read-only:
 *
 * - `/routes.json`: the table in the shape of existing reflectors (tools read it);
 * - `/peers.json`: connections, what they announce and subscribe, how far behind they are; why sessions ended;
 * - `/healthz`, `/readyz`: 200 while it runs, 200 once it accepts peers;
 * - `/metrics`: Prometheus.
 *
 * Bind it to loopback or a management address: it has no authentication.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Clock, DateTime, Effect, Layer, Metric, type Scope } from "effect"
import { HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import { createServer } from "node:http"
import * as Outbox from "#actors/route/Outbox.ts"
import type { Peer, Reflector } from "#actors/route/Reflector.ts"
import { formatAddress as formatIp, formatPrefix } from "#protocol/metalbond/Route.ts"
import { formatAddress, ListenError, parseAddress } from "./Transport.ts"

interface Hop {
  readonly TargetAddress: string
  readonly TargetVNI: number
  readonly Type: number
  readonly NATPortRangeFrom: number
  readonly NATPortRangeTo: number
}

const byText = (left: string, right: string): number => (left < right ? -1 : left > right ? 1 : 0)

/** The table as existing tools expect it: a destination is a JSON text within JSON. */
export const routesJson = (machine: Reflector, nowMillis: number) => {
  const vnet: Record<string, Record<string, Array<Hop>>> = {}
  for (const vni of [...machine.table.vnis.keys()].sort((a, b) => byText(String(a), String(b)))) {
    const destinations = new Map<string, Array<Hop>>()
    for (const { route } of machine.table.vnis.get(vni)!.values()) {
      const { destination, hop } = route
      const key = JSON.stringify({
        IPVersion: destination.ipVersion === 0 ? 4 : destination.ipVersion === 1 ? 6 : destination.ipVersion,
        Prefix: formatPrefix(destination, false),
      })
      const hops = destinations.get(key) ?? []
      hops.push({
        TargetAddress: formatIp(hop.targetAddress),
        TargetVNI: hop.targetVni,
        Type: hop.type,
        NATPortRangeFrom: hop.natPortFrom,
        NATPortRangeTo: hop.natPortTo,
      })
      destinations.set(key, hops)
    }
    vnet[String(vni)] = Object.fromEntries(
      [...destinations]
        .sort(([left], [right]) => byText(left, right))
        .map(([key, hops]) => [
          key,
          hops.sort(
            (left, right) =>
              byText(left.TargetAddress, right.TargetAddress) ||
              left.NATPortRangeFrom - right.NATPortRangeFrom,
          ),
        ]),
    )
  }
  const date = DateTime.formatIso(DateTime.makeUnsafe(nowMillis)).slice(0, 19).replace("T", " ")
  return { date, vnet, metalbondVersion: "ferrite" }
}

/** What an operator asks about peers. */
export const peersJson = (machine: Reflector, nowMillis: number) => ({
  startedSecondsAgo: (nowMillis - machine.startedAtMillis) / 1000,
  startupOver: machine.startupOver,
  routes: machine.table.size,
  peers: [...machine.peers.values()].map((peer: Peer) => ({
    id: peer.id,
    remote: peer.remote,
    state: peer.session.phase,
    originator: peer.session.originator,
    keepaliveSeconds: peer.session.keepaliveSeconds,
    restartSeconds: peer.session.restartSeconds,
    connectedSeconds: (nowMillis - peer.connectedAtMillis) / 1000,
    announcements: peer.announcer?.live.size ?? 0,
    staleAnnouncements: peer.announcer?.stale.size ?? 0,
    subscriptions: [...peer.subscriptions],
    pending: Outbox.size(peer.outbox),
    messagesReceived: peer.received,
    changesSent: peer.sent,
  })),
  held: [...machine.held].map((announcer) => ({
    announcer: announcer.id,
    routes: announcer.stale.size,
    connected: machine.byAnnouncer.has(announcer),
  })),
  ended: Object.fromEntries(machine.endings),
})

const gauges = {
  peers: Metric.gauge("metalbond_peers", { description: "Connections by state of their session" }),
  routes: Metric.gauge("metalbond_routes", { description: "Routes in the table by VNI" }),
  announcements: Metric.gauge("metalbond_held_routes", { description: "Routes of lost peers that are held" }),
  subscriptions: Metric.gauge("metalbond_subscriptions", { description: "Subscriptions of all peers" }),
  pending: Metric.gauge("metalbond_pending_changes", {
    description: "Changes that peers are yet to be sent",
  }),
  ended: Metric.counter("metalbond_sessions_ended_total", {
    description: "Sessions ended, by cause",
    incremental: true,
  }),
}

/** VNIs with a series of their own; the rest are summed up as `other`. */
const maxVniSeries = 1_000

const refresh = Effect.fnUntraced(function* (
  machine: Reflector,
  counted: Map<string, number>,
  seen: Set<string>,
) {
  const states = { AwaitHello: 0, HelloSent: 0, Established: 0 }
  let pending = 0
  let subscriptions = 0
  for (const peer of machine.peers.values()) {
    states[peer.session.phase]++
    pending += Outbox.size(peer.outbox)
    subscriptions += peer.subscriptions.size
  }
  for (const [state, count] of Object.entries(states))
    yield* Metric.update(Metric.withAttributes(gauges.peers, { state }), count)
  let held = 0
  for (const announcer of machine.held) held += announcer.stale.size
  yield* Metric.update(gauges.announcements, held)
  yield* Metric.update(gauges.pending, pending)
  yield* Metric.update(gauges.subscriptions, subscriptions)
  const perVni = new Map<string, number>([...seen].map((vni) => [vni, 0]))
  let other = 0
  for (const [vni, entries] of machine.table.vnis) {
    const name = String(vni)
    if (seen.has(name) || seen.size < maxVniSeries) {
      seen.add(name)
      perVni.set(name, entries.size)
    } else other += entries.size
  }
  if (other > 0) perVni.set("other", other)
  for (const [vni, count] of perVni)
    yield* Metric.update(Metric.withAttributes(gauges.routes, { vni }), count)
  for (const [cause, count] of machine.endings) {
    yield* Metric.update(Metric.withAttributes(gauges.ended, { cause }), count - (counted.get(cause) ?? 0))
    counted.set(cause, count)
  }
})

/** Serves until the scope closes; the address as bound. */
export const serve = Effect.fnUntraced(function* (
  machine: Reflector,
  address: string,
): Effect.fn.Return<string, ListenError, Scope.Scope> {
  const target = parseAddress(address)
  if (target === undefined) return yield* new ListenError({ address, detail: "not [host]:port" })
  const counted = new Map<string, number>()
  const seen = new Set<string>()
  // Several reflectors may share a process: each shows its own figures only.
  const registry = new Map() as Metric.MetricRegistry
  const metrics = refresh(machine, counted, seen).pipe(
    Effect.andThen(PrometheusMetrics.format()),
    Effect.provideService(Metric.MetricRegistry, registry),
    Effect.map((body) =>
      HttpServerResponse.text(body, { contentType: "text/plain; version=0.0.4; charset=utf-8" }),
    ),
  )
  const json = (body: (nowMillis: number) => unknown) =>
    Effect.map(Clock.currentTimeMillis, (now) => HttpServerResponse.jsonUnsafe(body(now)))
  const routes = HttpRouter.addAll([
    HttpRouter.route(
      "GET",
      "/routes.json",
      json((now) => routesJson(machine, now)),
    ),
    HttpRouter.route(
      "GET",
      "/peers.json",
      json((now) => peersJson(machine, now)),
    ),
    HttpRouter.route("GET", "/healthz", HttpServerResponse.text("ok\n")),
    HttpRouter.route("GET", "/readyz", HttpServerResponse.text("ready\n")),
    HttpRouter.route("GET", "/metrics", metrics),
  ])
  const server = NodeHttpServer.layer(createServer, { host: target.host, port: target.port })
  const context = yield* Layer.build(
    HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
      Layer.provideMerge(server),
    ),
  ).pipe(Effect.mapError((cause) => new ListenError({ address, detail: String(cause) })))
  const bound = yield* Effect.provideContext(
    Effect.map(HttpServer.HttpServer, ({ address }) => address),
    context,
  )
  return bound._tag === "UnixPathAddress" ? bound.path : formatAddress(target.host, bound.port)
})
