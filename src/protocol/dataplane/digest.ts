/**
 * The digest by which two sides see that they hold the same things without listing them.
 *
 * XOR of FNV-1a 64 over one line of text per entry, as `ferrite.dataplane.v1.GetStateResponse.digest` says. XOR
 * makes it independent of order and lets a table keep it up to date entry by entry: adding and removing are the
 * same operation. Everything here takes canonical values: addresses and prefixes as they are listed.
 */
import type {
  EdgeSpec,
  FirewallRule,
  FirewallSpec,
  InterfaceSpec,
  LoadBalancerSpec,
  NatSpec,
  NeighborNatSpec,
  PrefixSpec,
  RouteSpec,
  ServiceListing,
  VipSpec,
} from "./Dataplane.ts"
import { bytesOf } from "./model/address.ts"
import { compare, fnv1a64 } from "./model/bytes.ts"

const encoder = new TextEncoder()

const digestText = (text: string): bigint => fnv1a64(encoder.encode(text))

/** Of one interface; addresses and device as they were asked for, canonical. */
export const interfaceDigest = (spec: InterfaceSpec): bigint => digestText(interfaceText(spec))

const interfaceText = (spec: InterfaceSpec): string => {
  const base = `i|${spec.id}|${spec.vni}|${spec.ipv4 ?? ""}|${spec.ipv6 ?? ""}|${spec.device}|${spec.hostname ?? ""}`
  const more = [
    spec.totalRate ?? 0,
    spec.publicRate ?? 0,
    spec.pxe?.server ?? "",
    spec.pxe?.file ?? "",
    spec.spoofCheckOff === true ? "off" : "on",
    spec.flowLimit ?? 0,
    spec.flowRate ?? 0,
    spec.underlayAddress ?? "",
  ].join("|")
  return more === "0|0|||on|0|0|" ? base : `${base}|${more}`
}

const byAddress = (a: string, b: string): number => compare(bytesOf(a), bytesOf(b))

/** Of one route; prefix masked, addresses canonical. */
export const routeDigest = (route: RouteSpec): bigint => digestText(routeText(route))

const routeText = (route: RouteSpec): string => {
  const { hops = [] } = route
  const [only] = hops
  if (only === undefined) return `r|${route.vni}|${route.prefix}|${route.nextHop}|${route.nextHopVni}`
  if (hops.length === 1) return `r|${route.vni}|${route.prefix}|${only.address}|${only.vni}`
  const sorted = hops.toSorted((a, b) => byAddress(a.address, b.address))
  return `r|${route.vni}|${route.prefix}${sorted.map(({ address, vni, weight }) => `|${address}|${vni}|${weight}`).join("")}`
}

export const aliasPrefixDigest = (spec: PrefixSpec): bigint =>
  digestText(`a|${spec.interface}|${spec.prefix}|${spec.underlayAddress ?? ""}`)

export const balancerPrefixDigest = (spec: PrefixSpec): bigint =>
  digestText(`b|${spec.interface}|${spec.prefix}|${spec.underlayAddress ?? ""}`)

export const vipDigest = (spec: VipSpec): bigint =>
  digestText(`v|${spec.interface}|${spec.ip}|${spec.underlayAddress ?? ""}`)

export const natDigest = (spec: NatSpec): bigint =>
  digestText(`n|${spec.interface}|${spec.ip}|${spec.minPort}|${spec.maxPort}|${spec.underlayAddress ?? ""}`)

export const neighborNatDigest = (spec: NeighborNatSpec): bigint =>
  digestText(`g|${spec.vni}|${spec.ip}|${spec.minPort}|${spec.maxPort}|${spec.underlayAddress}`)

export const loadBalancerDigest = (spec: LoadBalancerSpec): bigint => {
  const ports = spec.ports.toSorted((a, b) => a.protocol - b.protocol || a.first - b.first)
  return digestText(
    [
      `l|${spec.id}|${spec.vni}|${spec.ip}|${spec.underlayAddress ?? ""}`,
      ...ports.map(({ protocol, first, last }) => `${protocol}:${first}-${last}`),
      ...spec.targets.toSorted(byAddress),
    ].join("|"),
  )
}

export const firewallDigest = (spec: FirewallSpec): bigint =>
  digestText([`f|${spec.interface}|${spec.ingress}|${spec.egress}`, ...spec.rules.map(ruleText)].join("|"))

const ruleText = (rule: FirewallRule): string => {
  const range = (ports: FirewallRule["sourcePorts"]) =>
    ports === undefined ? "" : `${ports.first}-${ports.last}`
  return [
    rule.id,
    rule.egress ? "egress" : "ingress",
    rule.accept ? "accept" : "drop",
    rule.priority,
    ...familyFilled(rule),
    rule.protocol,
    range(rule.sourcePorts),
    range(rule.destinationPorts),
    rule.icmpType ?? "",
    rule.icmpCode ?? "",
  ].join(",")
}

/** Source and destination; one that is absent is every address of the other's family. */
const familyFilled = ({ source, destination }: FirewallRule): readonly [string, string] => {
  const every = (other: string | undefined): string =>
    other === undefined ? "" : other.includes(":") ? "::/0" : "0.0.0.0/0"
  return [source ?? every(destination), destination ?? every(source)]
}

export const edgeDigest = (spec: EdgeSpec): bigint =>
  digestText(
    [
      "e",
      spec.name,
      spec.vni,
      spec.device,
      spec.outsideIpv4 ?? "",
      spec.outsideIpv6 ?? "",
      spec.gatewayIpv4 ?? "",
      spec.gatewayIpv6 ?? "",
      spec.underlayAddress ?? "",
      ...(spec.gatewayMac === undefined ? [] : [spec.gatewayMac]),
    ].join("|"),
  )

/** Of everything; zero when there is nothing. */
export const digestOf = (
  interfaces: Iterable<InterfaceSpec>,
  routes: Iterable<RouteSpec>,
  services?: ServiceListing,
): bigint => {
  let digest = 0n
  for (const spec of interfaces) digest ^= interfaceDigest(spec)
  for (const route of routes) digest ^= routeDigest(route)
  return services === undefined ? digest : digest ^ servicesDigest(services)
}

const servicesDigest = (services: ServiceListing): bigint =>
  [
    ...services.aliasPrefixes.map(({ spec }) => aliasPrefixDigest(spec)),
    ...services.balancerPrefixes.map(({ spec }) => balancerPrefixDigest(spec)),
    ...services.vips.map(({ spec }) => vipDigest(spec)),
    ...services.nats.map(({ spec }) => natDigest(spec)),
    ...services.neighborNats.map(neighborNatDigest),
    ...services.loadBalancers.map(({ spec }) => loadBalancerDigest(spec)),
    ...services.firewalls.map(firewallDigest),
    ...services.edges.map(({ spec }) => edgeDigest(spec)),
  ].reduce((sum, digest) => sum ^ digest, 0n)
