/** `ferrite.dataplane.v1` in front of a model: what the native program serves, for tests of its client. */
import * as grpc from "@grpc/grpc-js"
import { Effect, HashMap, type Scope, Stream } from "effect"
import { DPDKironcore } from "#gen/dpdkironcore/v1/dpdk_pb.ts"
import { DataplaneService } from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import type { DataplaneError, ServiceListing, ServiceOperation } from "#protocol/dataplane/Dataplane.ts"
import type { ModelState } from "#protocol/dataplane/model/tables.ts"
import * as Wire from "#protocol/dataplane/wire.ts"
import type { ModelDataplane } from "#runtime/dataplane/ModelDataplane.ts"
import { GrpcError } from "#runtime/grpc/GrpcError.ts"
import * as GrpcServer from "#runtime/grpc/GrpcServer.ts"

const summary = (state: ModelState) => ({
  uuid: state.config.uuid,
  initialized: state.initialized,
  digest: state.digest,
  interfaces: HashMap.size(state.interfaces),
  routes: BigInt(state.routeCount),
  underlayPrefix: state.config.underlayPrefix,
  version: state.config.version,
})

/** What a put of it says. */
const put = (operation: ServiceOperation): never => Wire.encodeOperation(operation).operation?.value as never

const batch = (listing: ServiceListing) => ({
  aliasPrefixes: listing.aliasPrefixes.map(({ spec, underlayAddress }) => ({
    spec: put({ _tag: "PutAliasPrefix", prefix: spec }),
    underlayAddress,
  })),
  balancerPrefixes: listing.balancerPrefixes.map(({ spec, underlayAddress }) => ({
    spec: put({ _tag: "PutBalancerPrefix", prefix: spec }),
    underlayAddress,
  })),
  vips: listing.vips.map(({ spec, underlayAddress }) => ({
    spec: put({ _tag: "PutVip", vip: spec }),
    underlayAddress,
  })),
  nats: listing.nats.map(({ spec, underlayAddress }) => ({
    spec: put({ _tag: "PutNat", nat: spec }),
    underlayAddress,
  })),
  neighborNats: listing.neighborNats.map((nat) => put({ _tag: "PutNeighborNat", nat })),
  loadBalancers: listing.loadBalancers.map(({ spec, underlayAddress }) => ({
    spec: put({ _tag: "PutLoadBalancer", balancer: spec }),
    underlayAddress,
  })),
  firewalls: listing.firewalls.map((firewall) => put({ _tag: "PutFirewall", firewall })),
  edges: listing.edges.map((edge) => ({ ...edge, spec: put({ _tag: "PutEdge", edge: edge.spec }) })),
})

const aborted = (error: DataplaneError) => GrpcError.of(grpc.status.ABORTED, error.reason)

export const serveModel = (
  model: ModelDataplane["Service"],
  address: string,
): Effect.Effect<void, GrpcError, Scope.Scope> => {
  const session = model.session()
  const running = Effect.filterOrFail(
    model.snapshot,
    (state) => state !== undefined,
    () => GrpcError.of(grpc.status.UNAVAILABLE, "not running"),
  )
  return Effect.asVoid(
    GrpcServer.make({
      address,
      setup: (server) =>
        Effect.andThen(
          GrpcServer.addService(server, DPDKironcore, {
            initialize: () =>
              Effect.mapBoth(session.connect, {
                onFailure: aborted,
                onSuccess: ({ uuid }) => ({ uuid, status: { code: 0, message: "Success" } }),
              }),
          } as unknown as GrpcServer.Handlers<typeof DPDKironcore, never>),
          GrpcServer.addService(server, DataplaneService, {
            apply: (requests) =>
              Stream.mapEffect(requests, (request) =>
                Effect.gen(function* () {
                  const results = yield* Effect.mapError(
                    session.apply(request.operations.map(Wire.decodeOperation)),
                    aborted,
                  )
                  const { digest } = yield* running
                  return {
                    sequence: request.sequence,
                    digest,
                    results: results.map((result) => ({
                      code: result.code,
                      message: result.message,
                      underlayAddress: result.underlayAddress ?? "",
                      ...(result.interface === undefined
                        ? {}
                        : {
                            interface: { ...result.interface, spec: Wire.encodeSpec(result.interface.spec) },
                          }),
                    })),
                  }
                }),
              ),
            listAll: () =>
              Stream.unwrap(
                Effect.gen(function* () {
                  const listing = yield* Effect.mapError(session.listAll, aborted)
                  const state = yield* running
                  return Stream.fromIterable([
                    ...listing.interfaces.map((entry) => ({
                      item: {
                        case: "interface" as const,
                        value: { ...entry, spec: Wire.encodeSpec(entry.spec) },
                      },
                    })),
                    ...listing.routes.map((route) => ({
                      item: { case: "route" as const, value: Wire.encodeRoute(route) },
                    })),
                    { item: { case: "batch" as const, value: batch(listing) } },
                    { item: { case: "summary" as const, value: summary(state) } },
                  ])
                }),
              ),
            getState: () => Effect.map(running, summary),
            getCounters: () =>
              Effect.mapBoth(session.counters, {
                onFailure: aborted,
                onSuccess: (counters) => ({
                  counters: Array.from(counters, ([name, value]) => ({ name, value })),
                }),
              }),
          }),
        ),
    }),
  )
}
