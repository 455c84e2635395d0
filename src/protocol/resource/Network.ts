/**
 * Network, `networking.ironcore.dev/v1alpha1`: one isolated layer 3 space, to which NetworkInterfaces belong.
 *
 * Its VNI is in `spec.providerID`, which the region sets once. Two networks see each other where both name the
 * other in `spec.peerings`; the region then writes the claim of the other side to `spec.incomingPeerings`.
 */
import { Schema } from "effect"
import { formatPrefix, parsePrefix } from "../net/Address.ts"
import { isObject } from "./Json.ts"
import { ageColumn, defineKind, nameColumn, stateColumn } from "./Kind.ts"
import { checked, DnsLabel, DnsSubdomain, dnsSubdomainProblem, Uid } from "./Names.ts"
import { vniOf } from "./ProviderId.ts"
import { Condition, Metadata, type ResourceKey } from "./Resource.ts"
import { exactlyOne } from "./Violation.ts"
import { IpPrefix, listOf, LocalReference, maxVni, minVni } from "./Values.ts"

export const networkKind = "Network"
/** Held while a NetworkInterface references the network. */
export const networkFinalizer = "networking.ironcore.dev/network"

/** A range that the peer may reach; exactly one of `prefix` and `prefixRef`. */
export const PeeringPrefix = Schema.Struct({
  name: DnsSubdomain,
  prefix: Schema.optionalKey(IpPrefix),
  prefixRef: Schema.optionalKey(LocalReference),
})

/** `namespace` omitted: that of this network. */
export const NetworkReference = Schema.Struct({
  namespace: Schema.optionalKey(DnsLabel),
  name: DnsSubdomain,
})

export const NetworkPeering = Schema.Struct({
  name: DnsSubdomain,
  networkRef: NetworkReference,
  prefixes: Schema.optionalKey(listOf(PeeringPrefix, 256)),
})

export const PeeringClaimReference = Schema.Struct({
  namespace: Schema.optionalKey(DnsLabel),
  name: DnsSubdomain,
  uid: Schema.optionalKey(Uid),
})

export const NetworkSpec = Schema.Struct({
  providerID: Schema.optionalKey(
    checked((text) =>
      vniOf(text) === undefined
        ? `must be ironcore-net://<namespace>/<name>/<vni>/<uid> with a VNI of ${minVni} to ${maxVni}; omit it to get one`
        : undefined,
    ),
  ),
  peerings: Schema.optionalKey(listOf(NetworkPeering, 256)),
  incomingPeerings: Schema.optionalKey(listOf(PeeringClaimReference, 256)),
})
export type NetworkSpec = typeof NetworkSpec.Type

export const NetworkStatus = Schema.Struct({
  state: Schema.optionalKey(Schema.Literals(["Pending", "Available", "Error"])),
  peerings: Schema.optionalKey(
    Schema.Array(
      Schema.Struct({
        name: Schema.String,
        state: Schema.optionalKey(Schema.Literals(["Pending", "Ready", "Error"])),
        prefixes: Schema.optionalKey(Schema.Array(Schema.Struct({ name: Schema.String, prefix: IpPrefix }))),
      }),
    ),
  ),
  /** Ours: `Allocated`, while it is deleted also `Deleting`. */
  conditions: Schema.optionalKey(Schema.Array(Condition)),
})
export type NetworkStatus = typeof NetworkStatus.Type

export const Network = Schema.Struct({
  apiVersion: Schema.Literal("networking.ironcore.dev/v1alpha1"),
  kind: Schema.Literal("Network"),
  metadata: Metadata,
  spec: NetworkSpec,
  status: Schema.optionalKey(NetworkStatus),
})
export type Network = typeof Network.Type

const keyOf = (namespace: string, name: string): ResourceKey => ({ kind: networkKind, namespace, name })

export const NetworkKind = defineKind<NetworkSpec, Network>({
  kind: networkKind,
  apiVersion: "networking.ironcore.dev/v1alpha1",
  plural: "networks",
  singular: "network",
  shortNames: ["net", "nets"],
  namespaced: true,
  nameProblem: dnsSubdomainProblem,
  spec: NetworkSpec,
  manifest: Network,

  defaults: (spec) => {
    if (spec["providerID"] === "") delete spec["providerID"]
    for (const peering of Array.isArray(spec["peerings"]) ? spec["peerings"] : []) {
      for (const entry of isObject(peering) && Array.isArray(peering["prefixes"])
        ? peering["prefixes"]
        : []) {
        const prefix = isObject(entry) && typeof entry["prefix"] === "string" && parsePrefix(entry["prefix"])
        if (prefix) entry["prefix"] = formatPrefix(prefix)
      }
    }
  },

  rules: (spec, owner, report) => {
    const names = new Set<string>()
    const targets = new Set<string>()
    const prefixNames = new Set<string>()
    const prefixRefs = new Set<string>()
    const self = `${owner.namespace}/${owner.name}`
    /** Reports a value that was seen before. */
    const unique = (
      seen: Set<string>,
      value: string | undefined,
      path: ReadonlyArray<string | number>,
      what: string,
    ) => {
      if (value === undefined) return
      if (seen.has(value)) report.add(path, "Duplicate", `${JSON.stringify(value)} is there twice; ${what}`)
      seen.add(value)
    }

    spec.peerings?.forEach((peering, i) => {
      const path = ["spec", "peerings", i]
      unique(names, peering?.name, [...path, "name"], "each peering must have a name of its own")
      const target = peering?.networkRef
      if (target?.name !== undefined) {
        const name = `${target.namespace ?? owner.namespace}/${target.name}`
        if (name === self)
          report.add([...path, "networkRef"], "Forbidden", "a network can't peer with itself; name another")
        unique(targets, name, [...path, "networkRef"], "put all prefixes for one network into one peering")
      }
      peering?.prefixes?.forEach((entry, j) => {
        const at = [...path, "prefixes", j]
        if (entry !== undefined) {
          exactlyOne(entry, ["prefix", "prefixRef"], at, report)
          unique(prefixNames, entry.name, [...at, "name"], "names of prefixes must differ over all peerings")
          unique(
            prefixRefs,
            entry.prefixRef?.name,
            [...at, "prefixRef"],
            "refer to a prefix once over all peerings",
          )
        }
      })
    })

    const claims = new Set<string>()
    spec.incomingPeerings?.forEach((claim, i) => {
      if (claim?.name === undefined) return
      const path = ["spec", "incomingPeerings", i]
      const name = `${claim.namespace ?? owner.namespace}/${claim.name}`
      if (name === self) report.add(path, "Forbidden", "a network can't peer with itself; remove the entry")
      unique(claims, name, path, "each network may claim once")
    })
  },

  immutable: (stored, next, report) => {
    if (stored.providerID !== undefined && stored.providerID !== next.providerID) {
      report.add(
        ["spec", "providerID"],
        "Forbidden",
        `is immutable once set: it is ${stored.providerID}; omit it, or delete the network and create it again`,
      )
    }
  },

  keptFields: ["providerID", "incomingPeerings"],
  initialStatus: { state: "Pending" },

  references: ({ metadata, spec }) => {
    const namespace = metadata.namespace ?? ""
    const keys = new Map<string, ResourceKey>()
    for (const { networkRef } of spec.peerings ?? []) {
      const target = keyOf(networkRef.namespace ?? namespace, networkRef.name)
      keys.set(`${target.namespace}/${target.name}`, target)
    }
    return [...keys.values()]
  },

  columns: [
    nameColumn,
    stateColumn,
    { name: "PROVIDERID", wide: false, value: ({ spec }) => spec.providerID ?? "" },
    ageColumn,
    { name: "VNI", wide: true, value: ({ spec }) => String(vniOf(spec.providerID) ?? "<none>") },
    {
      name: "PEERINGS",
      wide: true,
      value: ({ spec }) => spec.peerings?.map(({ name }) => name).join(",") ?? "<none>",
    },
  ],
})
