/**
 * NetworkInterface, `networking.ironcore.dev/v1alpha1`: the port of one VM or machine in one Network.
 *
 * It has at most one address per family. It is attached to a node where `spec.providerID` says so (see
 * `ProviderId.ts`). Besides upstream's status the region keeps conditions, the VNI and the attachment.
 */
import { Schema } from "effect"
import { sameJson } from "./Json.ts"
import { ageColumn, defineKind, nameColumn, stateColumn } from "./Kind.ts"
import { checked, DnsLabel, dnsSubdomainProblem, stringMap, Uid } from "./Names.ts"
import { networkKind } from "./Network.ts"
import { networkInterfaceDefaults, networkInterfaceRules } from "./NetworkInterfaceRules.ts"
import { nodeKey } from "./Node.ts"
import { nodeOf } from "./ProviderId.ts"
import { Condition, Metadata, type ResourceKey } from "./Resource.ts"
import { PrefixTemplate, VirtualIpTemplate } from "./Template.ts"
import { Ip, IpFamily, IpPrefix, listOf, LocalLabelReference, LocalReference, Micros, Vni } from "./Values.ts"

export const networkInterfaceKind = "NetworkInterface"
export const networkInterfaceKey = (of: {
  readonly namespace: string
  readonly name: string
}): ResourceKey => ({
  kind: networkInterfaceKind,
  namespace: of.namespace,
  name: of.name,
})

/** Held while a host may have an interface for it. */
export const hostInterfaceFinalizer = "ferrite.dev/host-interface"

const EphemeralPrefix = Schema.Struct({ prefixTemplate: PrefixTemplate })

/** An address: exactly one of `value` and `ephemeral`. */
export const IpSource = Schema.Struct({
  value: Schema.optionalKey(Ip),
  ephemeral: Schema.optionalKey(EphemeralPrefix),
})
export type IpSource = typeof IpSource.Type

/** A range that is routed to the interface: exactly one of `value` and `ephemeral`. */
export const PrefixSource = Schema.Struct({
  value: Schema.optionalKey(IpPrefix),
  ephemeral: Schema.optionalKey(EphemeralPrefix),
})
export type PrefixSource = typeof PrefixSource.Type

/** A public address: exactly one of `virtualIPRef` and `ephemeral`. */
export const VirtualIpSource = Schema.Struct({
  virtualIPRef: Schema.optionalKey(LocalLabelReference),
  ephemeral: Schema.optionalKey(Schema.Struct({ virtualIPTemplate: VirtualIpTemplate })),
})

const ProviderIdText = checked((text) => {
  if (text.length > 1024) return "must have at most 1024 characters"
  return text.startsWith("ironcore-net://") && nodeOf(text) === undefined
    ? "must be ironcore-net://<namespace>/<name>/<node>/<uid>; better omit it and attach the interface"
    : undefined
})

export const NetworkInterfaceSpec = Schema.Struct({
  providerID: Schema.optionalKey(ProviderIdText),
  networkRef: LocalReference,
  machineRef: Schema.optionalKey(Schema.Struct({ name: DnsLabel, uid: Schema.optionalKey(Uid) })),
  ipFamilies: listOf(IpFamily, 2),
  ips: listOf(IpSource, 2),
  prefixes: Schema.optionalKey(listOf(PrefixSource, 64)),
  virtualIP: Schema.optionalKey(VirtualIpSource),
  attributes: Schema.optionalKey(
    stringMap({
      most: 64,
      key: (key) => (key.length > 0 && key.length <= 253 ? undefined : "must have 1 to 253 characters"),
      value: (value) => (value.length <= 4096 ? undefined : "must have at most 4096 characters"),
    }),
  ),
})
export type NetworkInterfaceSpec = typeof NetworkInterfaceSpec.Type

/** What became of an attachment. Times in microseconds since the epoch. */
export const Attachment = Schema.Struct({
  /** Host on which an interface exists or may still exist. */
  node: Schema.String,
  /** As the dataplane named it: TAP, PCI address, socket. */
  device: Schema.optionalKey(Schema.String),
  underlayAddress: Schema.optionalKey(Schema.String),
  /** Of the HostInterface that the host was asked for last; reports about older ones say nothing. */
  generation: Schema.optionalKey(Schema.Int),
  /** When the region accepted what the host was then asked for. */
  acceptedMicros: Schema.optionalKey(Micros),
  /** When the host's dataplane acknowledged it. */
  realisedMicros: Schema.optionalKey(Micros),
  /** When the last host of the network acknowledged a route to it. */
  programmedMicros: Schema.optionalKey(Micros),
})
export type Attachment = typeof Attachment.Type

export const NetworkInterfaceStatus = Schema.Struct({
  state: Schema.optionalKey(Schema.Literals(["Pending", "Available", "Error"])),
  lastStateTransitionTime: Schema.optionalKey(Schema.String),
  /** Addresses that it holds in its network, in the order of spec; while they change, old ones at the end. */
  ips: Schema.optionalKey(Schema.Array(Ip)),
  prefixes: Schema.optionalKey(Schema.Array(IpPrefix)),
  virtualIP: Schema.optionalKey(Ip),
  /** Of the network in which `ips` are held. */
  vni: Schema.optionalKey(Vni),
  conditions: Schema.optionalKey(Schema.Array(Condition)),
  attachment: Schema.optionalKey(Attachment),
})
export type NetworkInterfaceStatus = typeof NetworkInterfaceStatus.Type

export const NetworkInterface = Schema.Struct({
  apiVersion: Schema.Literal("networking.ironcore.dev/v1alpha1"),
  kind: Schema.Literal("NetworkInterface"),
  metadata: Metadata,
  spec: NetworkInterfaceSpec,
  status: Schema.optionalKey(NetworkInterfaceStatus),
})
export type NetworkInterface = typeof NetworkInterface.Type

const latency = ({ status }: NetworkInterface): string => {
  const { acceptedMicros: from, programmedMicros: to } = status?.attachment ?? {}
  return from === undefined || to === undefined || to < from
    ? "<none>"
    : `${((to - from) / 1000).toFixed(1)}ms`
}

/** The first condition that is not True, unless all is as it should be. */
const waitingFor = ({ status }: NetworkInterface): string =>
  status?.conditions?.find(({ status }) => status !== "True")?.reason ?? "<none>"

export const NetworkInterfaceKind = defineKind<NetworkInterfaceSpec, NetworkInterface>({
  kind: networkInterfaceKind,
  apiVersion: "networking.ironcore.dev/v1alpha1",
  plural: "networkinterfaces",
  singular: "networkinterface",
  shortNames: ["nic", "nics"],
  namespaced: true,
  nameProblem: dnsSubdomainProblem,
  spec: NetworkInterfaceSpec,
  manifest: NetworkInterface,
  defaults: networkInterfaceDefaults,
  rules: networkInterfaceRules,

  immutable: (stored, next, report) => {
    const frozen = (field: "networkRef" | "ipFamilies" | "attributes") => {
      if (sameJson(stored[field], next[field])) return
      const present = JSON.stringify(stored[field]) ?? "not set"
      report.add(
        ["spec", field],
        "Forbidden",
        `is immutable: it is ${present}; leave it, or delete the interface and create it again`,
      )
    }
    frozen("networkRef")
    frozen("ipFamilies")
    frozen("attributes")
  },

  keptFields: ["providerID"],
  initialStatus: { state: "Pending" },

  references: ({ metadata, spec, status }) => {
    const keys: Array<ResourceKey> = [
      { kind: networkKind, namespace: metadata.namespace ?? "", name: spec.networkRef.name },
    ]
    const nodes = new Set([nodeOf(spec.providerID), status?.attachment?.node])
    for (const name of nodes) if (name !== undefined) keys.push(nodeKey(name))
    return keys
  },

  columns: [
    nameColumn,
    { name: "NETWORK", wide: false, value: ({ spec }) => spec.networkRef.name },
    { name: "MACHINE", wide: false, value: ({ spec }) => spec.machineRef?.name ?? "<none>" },
    { name: "IPS", wide: false, value: ({ status }) => status?.ips?.join(",") ?? "" },
    { name: "PREFIXES", wide: false, value: ({ status }) => status?.prefixes?.join(",") ?? "" },
    { name: "VIRTUALIP", wide: false, value: ({ status }) => status?.virtualIP ?? "" },
    stateColumn,
    ageColumn,
    { name: "VNI", wide: true, value: ({ status }) => String(status?.vni ?? "<none>") },
    { name: "NODE", wide: true, value: ({ spec }) => nodeOf(spec.providerID) ?? "<none>" },
    { name: "DEVICE", wide: true, value: ({ status }) => status?.attachment?.device ?? "<none>" },
    { name: "UNDERLAY", wide: true, value: ({ status }) => status?.attachment?.underlayAddress ?? "<none>" },
    { name: "PROGRAMMED", wide: true, value: latency },
    { name: "WAITING", wide: true, value: waitingFor },
  ],
})
