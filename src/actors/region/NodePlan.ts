/**
 * Plans a Node: what its agent said of itself, whether its lease holds, and that no other node has its underlay.
 */
import { canonicalRoute } from "#protocol/net/Address.ts"
import { type ConditionState, nextConditions } from "#protocol/resource/Conditions.ts"
import { sameJson } from "#protocol/resource/Json.ts"
import { keyOf } from "#protocol/resource/Kinds.ts"
import { type Node, nodeFinalizer } from "#protocol/resource/Node.ts"
import { compareKeys, formatKey, type ResourceKey } from "#protocol/resource/Resource.ts"
import type { Claim } from "#protocol/store/ResourceStore.ts"
import { eventsOf, type Plan } from "./Plan.ts"

export const underlayPoolName = "underlay"

/** The parts of a Hello that the Node shows. */
export interface NodeHello {
  readonly instance: string
  readonly underlayPrefix: string
  readonly dataplane: string
  readonly version: string
}

export interface NodeObserved {
  readonly nowMicros: number
  /** Of the present session, or the last one that this controller knows. */
  readonly hello: NodeHello | undefined
  /** `Unknown`: this controller has started less than a lease ago and not heard of the node. */
  readonly lease: "Live" | "Expired" | "Unknown"
  /** Owner of the Hello's prefix in the pool `underlay`, as far as known. */
  readonly underlayOwner: ResourceKey | undefined
}

type State = "Pending" | "Ready" | "Lost"

const stateOf = (node: Node, { lease, hello }: NodeObserved, taken: boolean): State => {
  const present = node.status?.state ?? "Pending"
  if (lease === "Live") return taken || (hello === undefined && present === "Pending") ? "Pending" : "Ready"
  return lease === "Expired" && present === "Ready" ? "Lost" : present
}

/** A refused agent is told so by whoever serves its session: see condition `Ready`, reason `UnderlayTaken`. */
export const planNode = (node: Node, observed: NodeObserved): Plan<Node> => {
  const self = keyOf(node)
  const { hello, underlayOwner } = observed
  const held = node.status?.underlayPrefix
  const asked =
    hello === undefined ? undefined : (canonicalRoute(hello.underlayPrefix) ?? hello.underlayPrefix)
  const taken = asked !== undefined && underlayOwner !== undefined && compareKeys(underlayOwner, self) !== 0
  const state = stateOf(node, observed, taken)
  const claimOf = (value: string): Claim => ({ pool: underlayPoolName, value, owner: self })
  const deleting = node.metadata.deletionTimestamp !== undefined

  const finalizers = node.metadata.finalizers ?? []
  const foreign = finalizers.filter((name) => name !== nodeFinalizer)
  if (deleting && state !== "Ready" && foreign.length === 0) {
    const releases = held === undefined ? [] : [claimOf(held)]
    return { next: { _tag: "Remove" }, hosts: [], claims: [], releases, events: [], waiting: [] }
  }

  const ready: ConditionState = taken
    ? {
        type: "Ready",
        status: "False",
        reason: "UnderlayTaken",
        message: `its underlay prefix ${asked} is that of ${formatKey(underlayOwner)}; start its agent with another`,
      }
    : state === "Ready"
      ? { type: "Ready", status: "True", reason: "AgentConnected", message: "its agent is heard of" }
      : state === "Lost"
        ? {
            type: "Ready",
            status: "False",
            reason: "NodeLost",
            message: "its lease ended; its agent has to come back",
          }
        : { type: "Ready", status: "False", reason: "NoAgent", message: "no agent has come yet; start it" }
  const deletion: ConditionState = {
    type: "Deleting",
    status: "True",
    reason: "AgentConnected",
    message: "is deleted once its agent is stopped and its lease has ended",
  }
  const states = deleting ? [ready, deletion] : [ready]

  const takes = asked !== undefined && !taken && asked !== held
  const said =
    hello === undefined || asked === undefined || taken
      ? {}
      : {
          underlayPrefix: asked,
          dataplane: hello.dataplane,
          version: hello.version,
          instance: hello.instance,
        }
  const next: Node = {
    ...node,
    metadata: {
      ...node.metadata,
      finalizers: finalizers.includes(nodeFinalizer) ? finalizers : [...finalizers, nodeFinalizer],
    },
    status: {
      ...node.status,
      ...said,
      state,
      conditions: nextConditions(
        node.status?.conditions,
        states,
        node.metadata.generation,
        observed.nowMicros,
      ),
    },
  }
  return {
    next: sameJson(next, node) ? { _tag: "Keep" } : { _tag: "Put", manifest: next },
    hosts: [],
    claims: takes ? [claimOf(asked)] : [],
    releases: takes && held !== undefined ? [claimOf(held)] : [],
    events: eventsOf(self, node.status?.conditions, states),
    waiting: states
      .filter(({ type, status }) => type === "Deleting" || status !== "True")
      .map(({ reason, message }) => ({ reason, message })),
  }
}
