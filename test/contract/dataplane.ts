/**
 * What every dataplane does, whatever is inside: the contract between the host's actors and a dataplane, and the
 * packets that guests see.
 *
 * One suite for the model and the native engine, over two hosts on one underlay. A test has its own VNIs, ids and
 * devices, and leaves both hosts empty.
 */
import { describe, layer } from "@effect/vitest"
import type { Effect, Layer } from "effect"
import { control } from "./dataplane-control.ts"
import { forwarding, life } from "./dataplane-forwarding.ts"
import { gateway } from "./dataplane-gateway.ts"
import type { ContractHosts } from "./dataplane-hosts.ts"
import { routes } from "./dataplane-routes.ts"
import { services } from "./dataplane-services.ts"
import { withHosts } from "./dataplane-scenario.ts"

export const dataplaneContract = (title: string, hosts: Layer.Layer<ContractHosts, unknown>): void => {
  describe(title, () => {
    layer(hosts, { excludeTestServices: true, timeout: "60 seconds" })("dataplane", (it) => {
      const on = <A, E>(
        name: string,
        test: (hosts: ContractHosts["Service"]) => Effect.Effect<A, E>,
      ): void => {
        it.effect(name, () => withHosts(test))
      }
      control(on)
      routes(on)
      gateway(on)
      forwarding(on)
      services(on)
      life(on)
    })
  })
}
