/**
 * Listings of what stands around interfaces and routes: prefixes, VIPs, NATs, load balancers, firewalls, edges.
 * `wire.ts` is the door; nobody else calls this.
 */
import {
  type EdgeSpec as WireEdge,
  FirewallDefault as WireDefault,
  type FirewallRule as WireRule,
  type FirewallSpec as WireFirewall,
  type ListBatch,
  type LoadBalancerSpec as WireBalancer,
  type NatSpec as WireNat,
  type NeighborNatSpec as WireNeighborNat,
  type PrefixSpec as WirePrefix,
  type VipSpec as WireVip,
} from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import type {
  EdgeSpec,
  EdgeState,
  Endpoint,
  FirewallDefault,
  FirewallRule,
  FirewallSpec,
  LoadBalancerSpec,
  NatSpec,
  NeighborNatSpec,
  PortRange,
  PrefixSpec,
  ServiceListing,
  VipSpec,
} from "./Dataplane.ts"
import { between, canonical4, canonical6, canonicalAddress, canonicalPrefix, fail, within } from "./field.ts"

const bounds = {
  endpoints: 1 << 16,
  neighborNats: 1 << 17,
  ports: 64,
  targets: 1_024,
  rules: 4_096,
  device: 127,
} as const

/** Services of a listing while it arrives. */
export type PartialServices = { readonly [Kind in keyof ServiceListing]: Array<ServiceListing[Kind][number]> }

export const emptyServices = (): PartialServices => ({
  aliasPrefixes: [],
  balancerPrefixes: [],
  vips: [],
  nats: [],
  neighborNats: [],
  loadBalancers: [],
  firewalls: [],
  edges: [],
})

export const any = (services: PartialServices): boolean =>
  Object.values(services).some((kind) => kind.length > 0)

const idOf = (field: string, text: string): string => within(field, text, 1, 63)

const wanted = (field: string, text: string) =>
  text === "" ? {} : { underlayAddress: canonical6(`${field}.underlay_address`, text) }

const endpoint = <Wire, Spec>(
  field: string,
  entry: { readonly spec?: Wire | undefined; readonly underlayAddress: string },
  specOf: (field: string, spec: Wire) => Spec,
): Endpoint<Spec> => ({
  spec: entry.spec === undefined ? fail(`${field}: no spec`) : specOf(field, entry.spec),
  underlayAddress: canonical6(`${field}.underlay_address`, entry.underlayAddress),
})

const prefixOf = (field: string, spec: WirePrefix): PrefixSpec => ({
  interface: idOf(`${field}.interface`, spec.interface),
  prefix: canonicalPrefix(`${field}.prefix`, spec.prefix),
  ...wanted(field, spec.underlayAddress),
})

const vipOf = (field: string, spec: WireVip): VipSpec => ({
  interface: idOf(`${field}.interface`, spec.interface),
  ip: canonical4(`${field}.ip`, spec.ip),
  ...wanted(field, spec.underlayAddress),
})

const rangeOf = (field: string, spec: { readonly minPort: number; readonly maxPort: number }) =>
  spec.minPort < spec.maxPort && spec.maxPort <= 65_536
    ? { minPort: spec.minPort, maxPort: spec.maxPort }
    : fail(`${field}: [${spec.minPort}, ${spec.maxPort}) is not a range of ports`)

const natOf = (field: string, spec: WireNat): NatSpec => ({
  interface: idOf(`${field}.interface`, spec.interface),
  ip: canonical4(`${field}.ip`, spec.ip),
  ...rangeOf(field, spec),
  ...wanted(field, spec.underlayAddress),
})

const neighborNatOf = (field: string, spec: WireNeighborNat): NeighborNatSpec => ({
  vni: spec.vni,
  ip: canonical4(`${field}.ip`, spec.ip),
  ...rangeOf(field, spec),
  underlayAddress: canonical6(`${field}.underlay_address`, spec.underlayAddress),
})

const balancerOf = (field: string, spec: WireBalancer): LoadBalancerSpec => {
  if (spec.ports.length > bounds.ports) return fail(`${field}.ports: more than ${bounds.ports}`)
  if (spec.targets.length > bounds.targets) return fail(`${field}.targets: more than ${bounds.targets}`)
  return {
    id: idOf(`${field}.id`, spec.id),
    vni: spec.vni,
    ip: canonicalAddress(`${field}.ip`, spec.ip),
    ports: spec.ports.map(({ protocol, first, last }) => ({
      protocol: protocol === 6 || protocol === 17 ? protocol : fail(`${field}.ports.protocol: ${protocol}`),
      first: between(`${field}.ports.first`, first, 1, 65_535),
      last: between(`${field}.ports.last`, last, first, 65_535),
    })),
    targets: spec.targets.map((target) => canonical6(`${field}.targets`, target)),
    ...wanted(field, spec.underlayAddress),
  }
}

const defaults: ReadonlyMap<WireDefault, FirewallDefault> = new Map([
  [WireDefault.ACCEPT, "accept"],
  [WireDefault.DROP, "drop"],
  [WireDefault.RULES, "rules"],
])

export const defaultOf = (field: string, value: WireDefault): FirewallDefault =>
  defaults.get(value) ?? fail(`${field}: ${value} is no default of a firewall`)

const portsOf = (field: string, ports: PortRange): PortRange => ({
  first: between(field, ports.first, 0, 65_535),
  last: between(field, ports.last, ports.first, 65_535),
})

const ruleOf = (field: string, rule: WireRule): FirewallRule => ({
  id: idOf(`${field}.id`, rule.id),
  egress: rule.egress,
  accept: rule.accept,
  priority: between(`${field}.priority`, rule.priority, 0, 65_535),
  ...(rule.source === "" ? {} : { source: canonicalPrefix(`${field}.source`, rule.source) }),
  ...(rule.destination === ""
    ? {}
    : { destination: canonicalPrefix(`${field}.destination`, rule.destination) }),
  protocol: between(`${field}.protocol`, rule.protocol, 0, 255),
  ...(rule.sourcePorts === undefined
    ? {}
    : { sourcePorts: portsOf(`${field}.source_ports`, rule.sourcePorts) }),
  ...(rule.destinationPorts === undefined
    ? {}
    : { destinationPorts: portsOf(`${field}.destination_ports`, rule.destinationPorts) }),
  ...(rule.icmpType === undefined ? {} : { icmpType: between(`${field}.icmp_type`, rule.icmpType, 0, 255) }),
  ...(rule.icmpCode === undefined ? {} : { icmpCode: between(`${field}.icmp_code`, rule.icmpCode, 0, 255) }),
})

const firewallOf = (field: string, spec: WireFirewall): FirewallSpec => {
  if (spec.rules.length > bounds.rules) return fail(`${field}.rules: more than ${bounds.rules}`)
  return {
    interface: idOf(`${field}.interface`, spec.interface),
    ingress: defaultOf(`${field}.ingress`, spec.ingress),
    egress: defaultOf(`${field}.egress`, spec.egress),
    rules: spec.rules.map((rule) => ruleOf(`${field}.rules`, rule)),
  }
}

/** An address, and perhaps the length of the prefix on the link. */
const own = (canonical: (field: string, text: string) => string, field: string, text: string): string => {
  const slash = text.indexOf("/")
  if (slash < 0) return canonical(field, text)
  if (!/^[1-9][0-9]{0,2}$/.test(text.slice(slash + 1))) return fail(`${field}: ${text} has no length`)
  return `${canonical(field, text.slice(0, slash))}${text.slice(slash)}`
}

const macOf = (field: string, text: string): string =>
  /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(text) ? text : fail(`${field}: ${text} is no MAC`)

const edgeOf = (field: string, spec: WireEdge): EdgeSpec => ({
  name: idOf(`${field}.name`, spec.name),
  vni: spec.vni,
  device: within(`${field}.device`, spec.device, 1, bounds.device),
  ...(spec.outsideIpv4 === ""
    ? {}
    : { outsideIpv4: own(canonical4, `${field}.outside_ipv4`, spec.outsideIpv4) }),
  ...(spec.outsideIpv6 === ""
    ? {}
    : { outsideIpv6: own(canonical6, `${field}.outside_ipv6`, spec.outsideIpv6) }),
  ...(spec.gatewayIpv4 === "" ? {} : { gatewayIpv4: canonical4(`${field}.gateway_ipv4`, spec.gatewayIpv4) }),
  ...(spec.gatewayIpv6 === "" ? {} : { gatewayIpv6: canonical6(`${field}.gateway_ipv6`, spec.gatewayIpv6) }),
  ...(spec.gatewayMac === "" ? {} : { gatewayMac: macOf(`${field}.gateway_mac`, spec.gatewayMac) }),
  ...wanted(field, spec.underlayAddress),
})

const add = <Wire, Entry>(
  field: string,
  into: Array<Entry>,
  entries: ReadonlyArray<Wire>,
  entryOf: (entry: Wire) => Entry,
  bound: number = bounds.endpoints,
): void => {
  if (into.length + entries.length > bound) return fail(`list: more than ${bound} of ${field}`)
  for (const entry of entries) into.push(entryOf(entry))
}

export const decodeBatch = (into: PartialServices, batch: ListBatch): void => {
  const prefix = (entry: ListBatch["aliasPrefixes"][number]) => endpoint("prefix", entry, prefixOf)
  add("prefix", into.aliasPrefixes, batch.aliasPrefixes, prefix)
  add("prefix", into.balancerPrefixes, batch.balancerPrefixes, prefix)
  add("vip", into.vips, batch.vips, (entry) => endpoint("vip", entry, vipOf))
  add("nat", into.nats, batch.nats, (entry) => endpoint("nat", entry, natOf))
  add(
    "neighbor_nat",
    into.neighborNats,
    batch.neighborNats,
    (spec) => neighborNatOf("neighbor_nat", spec),
    bounds.neighborNats,
  )
  add("load_balancer", into.loadBalancers, batch.loadBalancers, (entry) =>
    endpoint("load_balancer", entry, balancerOf),
  )
  add("firewall", into.firewalls, batch.firewalls, (spec) => firewallOf("firewall", spec))
  add("edge", into.edges, batch.edges, (entry): EdgeState => ({
    ...endpoint("edge", entry, edgeOf),
    device: within("edge.device", entry.device, 1, bounds.device),
  }))
}
