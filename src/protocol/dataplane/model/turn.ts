/**
 * One packet's turn through the model: the state as it becomes, what leaves, and the time.
 *
 * A turn is a value that one call of `step` owns and changes; nothing of it outlives the call but the state, which is
 * never changed itself.
 */
import { HashMap } from "effect"
import type { Bytes } from "./bytes.ts"
import type { Ethernet } from "./ethernet.ts"
import { find } from "./find.ts"
import { expired, removeFlow } from "./flow.ts"
import { unmap } from "./nat.ts"
import { type Bucket, bucket, take } from "./rate.ts"
import { count, type Endpoint, type Interface, type ModelState, settings } from "./tables.ts"
import type { Tuple } from "./tuple.ts"

export type Output =
  | { readonly _tag: "ToPort"; readonly device: string; readonly frame: Bytes }
  | { readonly _tag: "ToUnderlay"; readonly packet: Bytes }

export interface Turn {
  state: ModelState
  readonly outputs: Array<Output>
  /** Milliseconds. */
  readonly now: number
}

/** A VM's frame. */
export interface Sender {
  readonly entry: Interface
  readonly frame: Ethernet
}

/** An IP packet on its way. */
export interface Packet {
  readonly bytes: Bytes
  readonly tuple: Tuple
  /** Where it came from, as flows know it: a port or an endpoint. */
  readonly context: string
  /** The VM that sent it, if that is on this host. */
  readonly vm: Sender | undefined
  /** Outer source and destination of what came by the underlay, or was passed on from one endpoint to another. */
  readonly outer: { readonly source: string; readonly destination: string } | undefined
  /** How often it was passed on. */
  readonly passed: number
}

export const drops = {
  malformed: "drop.malformed",
  notIp: "drop.not_ip",
  noInterface: "drop.no_interface",
  notGateway: "drop.not_gateway",
  spoof: "drop.spoof",
  multicast: "drop.multicast",
  unhandled: "drop.unhandled",
  serviceRate: "drop.service_rate",
  fragment: "drop.fragment",
  firewallEgress: "drop.firewall_egress",
  firewallIngress: "drop.firewall_ingress",
  flowLimit: "drop.flow_limit",
  flowRate: "drop.flow_rate",
  flowEnded: "drop.flow_ended",
  routeMiss: "drop.route_miss",
  noUplink: "drop.no_uplink",
  meterTotal: "drop.meter_total",
  meterPublic: "drop.meter_public",
  natProtocol: "drop.nat_protocol",
  natExhausted: "drop.nat_exhausted",
  natUnknown: "drop.nat_unknown",
  balancerPort: "drop.balancer_port",
  balancerEmpty: "drop.balancer_empty",
  edgeUnknown: "drop.edge_unknown",
  edgeSource: "drop.edge_source",
  edgeTtl: "drop.edge_ttl",
  edgeGateway: "drop.edge_gateway",
  tooBig: "drop.too_big",
  outerMalformed: "drop.outer_malformed",
  outerUnknown: "drop.outer_unknown",
  outerStale: "drop.outer_stale",
  innerForeign: "drop.inner_foreign",
} as const

export const tally = (turn: Turn, name: string): void => {
  turn.state = count(turn.state, name)
}

/** Ends the turn of a packet. */
export const drop = (turn: Turn, reason: (typeof drops)[keyof typeof drops]): void => tally(turn, reason)

export const interfaceOf = (state: ModelState, index: number): Interface | undefined => {
  const id = find(state.indexed, index)
  return id === undefined ? undefined : find(state.interfaces, id)
}

/** The interface behind an endpoint. */
export const holderOf = (state: ModelState, endpoint: Endpoint | undefined): Interface | undefined =>
  endpoint !== undefined && "id" in endpoint && endpoint._tag !== "Balancer"
    ? find(state.interfaces, endpoint.id)
    : undefined

/** Takes units from a bucket that is made full when it is first used, or its numbers changed. */
export const allowed = (turn: Turn, name: string, fresh: Bucket, units: number): boolean => {
  const there = find(turn.state.buckets, name)
  const same = there !== undefined && there.perSecond === fresh.perSecond && there.burst === fresh.burst
  const taken = take(same ? there : fresh, turn.now, units)
  turn.state = { ...turn.state, buckets: HashMap.set(turn.state.buckets, name, taken.bucket) }
  return taken.taken
}

/** One a second times `perSecond`. */
export const perSecond = (turn: Turn, name: string, rate: number): boolean =>
  allowed(turn, name, bucket(rate, rate, turn.now), 1)

export const errorGap = 10

/** At most one error in 10 ms by each of whom. */
export const mayError = (turn: Turn, who: string): boolean => {
  if (turn.now < (find(turn.state.errorTimes, who) ?? Number.NEGATIVE_INFINITY)) return false
  turn.state = {
    ...turn.state,
    errorTimes: HashMap.set(turn.state.errorTimes, who, turn.now + errorGap),
  }
  return true
}

/** Ends a flow, and gives back its port. */
export const endFlow = (state: ModelState, id: number): ModelState => {
  const flow = find(state.flows.all, id)
  const mapping = flow !== undefined && "mapping" in flow.translation ? flow.translation.mapping : undefined
  return {
    ...state,
    flows: removeFlow(state.flows, id),
    nat: mapping === undefined ? state.nat : unmap(state.nat, mapping),
  }
}

/** What has been silent for too long is gone before a packet is looked at. */
export const expire = (state: ModelState, now: number): ModelState => {
  if (now < state.flows.expiring) return state
  const { expiring, gone } = expired(state.flows, now, settings(state.config).flowTimeout)
  const left = gone.reduce(endFlow, state)
  return { ...left, flows: { ...left.flows, expiring } }
}
