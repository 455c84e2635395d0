/** What the parts of the contract suite share: names of their own, hosts to start from, and how a test is declared. */
import { assert } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import {
  type InterfaceSpec,
  type Operation,
  type OperationResult,
  type RouteSpec,
} from "#protocol/dataplane/Dataplane.ts"
import { type Guest, guest } from "./dataplane-guest.ts"
import { type ContractHost, ContractHosts } from "./dataplane-hosts.ts"

let names = 0
/** A VNI, an id, that no other test uses. */
export const freshVni = (): number => 1_000 + names++
export const freshId = (): string => `nic-${names++}`

export const create = (spec: InterfaceSpec): Operation => ({ _tag: "CreateInterface", spec })
export const put = (route: RouteSpec): Operation => ({ _tag: "PutRoute", route })
export const code = (result: OperationResult | undefined): number | undefined => result?.code

export const apply = (host: ContractHost, ...operations: ReadonlyArray<Operation>) =>
  host.dataplane.apply(operations)

/** Must be done. */
export const accomplish = Effect.fnUntraced(function* (
  host: ContractHost,
  ...operations: ReadonlyArray<Operation>
) {
  const results = yield* apply(host, ...operations)
  for (const result of results) assert.deepInclude(result, { code: 0, message: "Success" })
  return results
})

export const reconnect = (host: ContractHost) =>
  host.dataplane.connect.pipe(Effect.retry({ schedule: Schedule.spaced("50 millis"), times: 200 }))

export const empty = Effect.fnUntraced(function* (host: ContractHost) {
  const { interfaces, loadBalancers } = yield* host.dataplane.listAll
  yield* apply(
    host,
    ...loadBalancers.map(({ spec }): Operation => ({ _tag: "DeleteLoadBalancer", id: spec.id })),
  )
  yield* apply(host, ...interfaces.map(({ spec }): Operation => ({ _tag: "DeleteInterface", id: spec.id })))
})

/** Connects both hosts, and leaves them empty. */
export const withHosts = <A, E>(
  test: (hosts: ContractHosts["Service"]) => Effect.Effect<A, E>,
): Effect.Effect<A, unknown, ContractHosts> =>
  Effect.gen(function* () {
    const hosts = yield* ContractHosts
    yield* Effect.all([reconnect(hosts.first), reconnect(hosts.second)], { concurrency: 2 })
    const exit = yield* Effect.exit(test(hosts))
    yield* Effect.all([empty(hosts.first), empty(hosts.second)]).pipe(Effect.exit)
    return yield* exit
  })

export const specOf = (
  hosts: ContractHosts["Service"],
  more: Partial<InterfaceSpec> = {},
): InterfaceSpec => ({
  id: freshId(),
  vni: freshVni(),
  ipv4: "10.0.0.1",
  ipv6: undefined,
  device: hosts.device(),
  hostname: undefined,
  ...more,
})

export type On = <A, E>(name: string, test: (hosts: ContractHosts["Service"]) => Effect.Effect<A, E>) => void

export const routesTo = (to: Guest, vni = to.spec.vni): ReadonlyArray<Operation> =>
  [
    to.spec.ipv4 === undefined ? [] : `${to.spec.ipv4}/32`,
    to.spec.ipv6 === undefined ? [] : `${to.spec.ipv6}/128`,
  ]
    .flat()
    .map((prefix) => put({ vni, prefix, nextHop: to.underlayAddress, nextHopVni: to.spec.vni }))

/** A guest on each host in one VNI, with routes to each other. */
export const pair = Effect.fnUntraced(function* (hosts: ContractHosts["Service"], vni = freshVni()) {
  const a = yield* guest(hosts.first, specOf(hosts, { vni, ipv6: "fd00::1" }))
  const b = yield* guest(hosts.second, specOf(hosts, { vni, ipv4: "10.0.0.2", ipv6: "fd00::2" }))
  yield* accomplish(hosts.first, ...routesTo(b))
  yield* accomplish(hosts.second, ...routesTo(a))
  return { a, b, vni }
})
