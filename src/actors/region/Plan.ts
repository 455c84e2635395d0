/**
 * What a region actor decides: a value, to be made true by whoever runs the actor.
 *
 * Planners are pure and total: `plan(record, observed)` never throws, and planning a state that is as it should be
 * gives an empty plan. **The executor** commits a plan as one transaction (`commitOf`), naming the revision at which
 * it read the record, and then:
 *
 * - `RevisionConflict`: the record moved on. Read again, plan again.
 * - `ClaimTaken`: what was observed about claims was stale. Add the owner to what is observed, plan again; the new
 *   plan waits, or asks for another value.
 * - `StoreUnavailable`: back off, read again, plan again. The commit may have happened; planning finds out.
 *
 * It plans again when anything that `references` names changes, when a report about the resource arrives, and,
 * while `waiting` names a claim's owner or a pool, when that claim goes. Hints carry no data: each run reads all.
 */
import type { HostInterface } from "#protocol/node/HostInterface.ts"
import { hostInterfaceKind } from "#protocol/node/HostInterface.ts"
import { findCondition, type ConditionState } from "#protocol/resource/Conditions.ts"
import { keyOf, references } from "#protocol/resource/Kinds.ts"
import { networkInterfaceKind } from "#protocol/resource/NetworkInterface.ts"
import type { Condition, Manifest, ResourceKey } from "#protocol/resource/Resource.ts"
import type { Claim, Commit, EventNote, Put, Remove } from "#protocol/store/ResourceStore.ts"

/** What becomes of the record itself. */
export type Next<M extends Manifest> =
  | { readonly _tag: "Keep" }
  | { readonly _tag: "Put"; readonly manifest: M }
  | { readonly _tag: "Remove" }

/** What becomes of a host's desired state, under the node's name. */
export type HostChange =
  | { readonly _tag: "Put"; readonly node: string; readonly value: HostInterface }
  | { readonly _tag: "Remove"; readonly node: string; readonly uid: string }

/** Why a resource is not yet what its spec asks for. `on`: what has to change first, where that is a resource. */
export interface Waiting {
  readonly reason: string
  readonly message: string
  readonly on?: ResourceKey
}

export interface Plan<M extends Manifest> {
  readonly next: Next<M>
  readonly hosts: ReadonlyArray<HostChange>
  readonly claims: ReadonlyArray<Claim>
  readonly releases: ReadonlyArray<Claim>
  /** Of what changed; planning again does not repeat them. */
  readonly events: ReadonlyArray<EventNote>
  /** For whoever looks; says nothing that a condition does not say. */
  readonly waiting: ReadonlyArray<Waiting>
}

/** Nothing is to be done. It may still be waiting. */
export const isEmpty = <M extends Manifest>(plan: Plan<M>): boolean =>
  plan.next._tag === "Keep" &&
  plan.hosts.length + plan.claims.length + plan.releases.length + plan.events.length === 0

export const hostInterfaceKey = (node: string, uid: string): ResourceKey => ({
  kind: hostInterfaceKind,
  namespace: node,
  name: uid,
})

const putHost = (node: string, value: HostInterface): Put => ({
  _tag: "Put",
  key: hostInterfaceKey(node, value.uid),
  uid: value.uid,
  labels: {},
  references: [{ kind: networkInterfaceKind, namespace: value.namespace, name: value.name }],
  value,
})

/** How a manifest is written as a record. */
export const putOf = (manifest: Manifest, expectedRevision?: number): Put => ({
  _tag: "Put",
  key: keyOf(manifest),
  uid: manifest.metadata.uid,
  labels: manifest.metadata.labels ?? {},
  references: references(manifest),
  value: manifest,
  ...(expectedRevision === undefined ? {} : { expectedRevision }),
})

/**
 * The plan as one commit. The record is always part of it, also unchanged, so that nothing is done in the name of a
 * record that has moved on. `revision`: at which `manifest` was read; 0: it is not stored yet.
 */
export const commitOf = <M extends Manifest>(manifest: M, plan: Plan<M>, revision: number): Commit => {
  const own: Put | Remove =
    plan.next._tag === "Remove"
      ? { _tag: "Remove", key: keyOf(manifest), expectedRevision: revision }
      : putOf(plan.next._tag === "Put" ? plan.next.manifest : manifest, revision)
  const hosts = plan.hosts.map((change): Put | Remove =>
    change._tag === "Put"
      ? putHost(change.node, change.value)
      : { _tag: "Remove", key: hostInterfaceKey(change.node, change.uid) },
  )
  return { writes: [own, ...hosts], claims: plan.claims, releases: plan.releases, events: plan.events }
}

/** Reasons that a person should look at; the others pass by themselves. */
export const warnings = new Set([
  "AddressPending",
  "AddressTaken",
  "DataplaneRefused",
  "Failed",
  "InUse",
  "NetworkNotFound",
  "NodeLost",
  "NodeNotFound",
  "PoolExhausted",
  "UnderlayTaken",
  "VniTaken",
])

/** Events for conditions that became True, and for reasons to worry that are new: one for each reason. */
export const eventsOf = (
  about: ResourceKey,
  present: ReadonlyArray<Condition> | undefined,
  next: ReadonlyArray<ConditionState>,
  worries: (state: ConditionState) => boolean = ({ reason }) => warnings.has(reason),
): ReadonlyArray<EventNote> => {
  const events = new Map<string, EventNote>()
  for (const state of next) {
    const { type, status, reason, message } = state
    const before = findCondition(present, type)
    if (before?.status === status && before.reason === reason) continue
    const worry = worries(state)
    if ((status !== "True" && !worry) || events.has(reason)) continue
    events.set(reason, { about, type: worry ? "Warning" : "Normal", reason, message })
  }
  return [...events.values()]
}

/** Names for a message: the first few, then how many more. */
export const listNames = (names: ReadonlyArray<string>, most = 8): string =>
  names.length <= most
    ? names.join(", ")
    : `${names.slice(0, most).join(", ")} and ${names.length - most} more`
