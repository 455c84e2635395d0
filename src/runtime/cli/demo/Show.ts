/**
 * The parts of the demo that do not depend on the dataplane: the manifests in, the interfaces attached, the wait
 * until all is programmed, the resources as tables.
 */
import { Console, Effect, Option, Ref } from "effect"
import { type NetworkInterface, NetworkInterfaceKind } from "#protocol/resource/NetworkInterface.ts"
import type { GatewayClient } from "../../gateway/GatewayClient.ts"
import { inApplyOrder } from "../ApplyOrder.ts"
import { getResources } from "../commands/get.ts"
import { newCommandId, patiently } from "../Commands.ts"
import { readDocuments } from "../Documents.ts"
import { failed } from "../Failure.ts"
import { getRoutes } from "../RouteTable.ts"
import { keyIn } from "../Targets.ts"
import { conditionsOf, isReady, type Seen, waitFor } from "../Wait.ts"
import { manifests, placement } from "./Topology.ts"

const tables = { namespace: "default", allNamespaces: false, selector: "", headers: true }

/** The region's resources and routes, as `ferrite get` shows them. */
export const showResources = Effect.fnUntraced(function* (client: GatewayClient) {
  for (const kind of ["networks", "nodes", "nics"]) {
    yield* Console.log(`\n$ ferrite get ${kind}${kind === "nics" ? " -o wide" : ""}`)
    yield* getResources(client, [kind], { ...tables, format: kind === "nics" ? "wide" : "table" }, false)
  }
  yield* Console.log("\n$ ferrite get routes")
  yield* getRoutes(client, { ...tables, format: "table" }, false)
})

/** Applies the manifests and attaches the interfaces. */
export const fill = Effect.fnUntraced(function* (client: GatewayClient) {
  const documents = yield* readDocuments([manifests])
  for (const document of inApplyOrder(documents)) {
    const json = JSON.stringify(document.value)
    yield* patiently(client.apply({ json, namespace: "default", commandId: newCommandId() })).pipe(
      Effect.mapError((problem) => failed(`${document.source}: ${problem.message}`)),
    )
  }
  for (const { host, nic } of placement) {
    yield* patiently(
      client.attach({ namespace: "default", name: nic, node: host, commandId: newCommandId() }),
    ).pipe(Effect.mapError((problem) => failed(problem.message)))
  }
  return documents.length
})

const isProgrammed = (seen: Seen): boolean =>
  Option.exists(
    seen,
    (manifest) => isReady(manifest) && conditionsOf(manifest).every(({ status }) => status === "True"),
  )

/** Waits until every interface is available and every host of its network has a route to it. */
export const awaitProgrammed = Effect.fnUntraced(function* (
  client: GatewayClient,
  report: (doing: string) => Effect.Effect<void>,
) {
  const done = yield* Ref.make(0)
  const all = yield* Effect.forEach(
    placement,
    ({ nic }) =>
      Effect.gen(function* () {
        const seen = yield* waitFor(client, keyIn(NetworkInterfaceKind, "default", nic), {
          until: isProgrammed,
          wanted: "programmed",
          timeout: "50 seconds",
        })
        yield* report(`${yield* Ref.updateAndGet(done, (count) => count + 1)} of ${placement.length}`)
        return [nic, Option.getOrThrow(seen) as NetworkInterface] as const
      }),
    { concurrency: placement.length },
  )
  return new Map(all)
})
