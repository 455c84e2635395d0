/**
 * The metrics of this process over HTTP, as Prometheus reads them: `/metrics`, and `/healthz` for who restarts it.
 * Read-only and without authentication: bind it to loopback or a management address.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Layer, Schema } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import { createServer } from "node:http"

/** The address can't be listened on, or is none. */
export class MetricsError extends Schema.TaggedError<MetricsError>()("MetricsError", {
  address: Schema.String,
  reason: Schema.String,
}) {
  override get message(): string {
    return `can't serve metrics on ${this.address}: ${this.reason}`
  }
}

const parse = (address: string) => {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address)
  const port = Number(match?.[3])
  return match === null || port > 65_535 ? undefined : { host: match[1] ?? match[2] ?? "", port }
}

/** Serves on `host:port` or `[host]:port` as long as the layer lives. */
export const layer = (address: string): Layer.Layer<never, MetricsError> => {
  const target = parse(address)
  if (target === undefined) {
    return Layer.effectDiscard(new MetricsError({ address, reason: "it is not host:port" }))
  }
  const routes = Layer.mergeAll(
    PrometheusMetrics.layerHttp(),
    HttpRouter.add("GET", "/healthz", HttpServerResponse.text("ok\n")),
  )
  return HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
    Layer.provide(NodeHttpServer.layer(createServer, target)),
    Layer.catchCause((cause) => Layer.effectDiscard(new MetricsError({ address, reason: String(cause) }))),
  )
}
