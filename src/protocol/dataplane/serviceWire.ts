/**
 * Operations on what stands around interfaces and routes, to the wire and back. `wire.ts` is the door; nobody else
 * calls this.
 */
import type { MessageInitShape } from "@bufbuild/protobuf"
import {
  type EdgeSpec as WireEdge,
  FirewallDefault as WireDefault,
  type FirewallSpec as WireFirewall,
  type LoadBalancerSpec as WireBalancer,
  type Operation as WireOperation,
  type OperationSchema,
  type PrefixSpec as WirePrefix,
} from "#gen/ferrite/dataplane/v1/dataplane_pb.ts"
import type {
  EdgeSpec,
  FirewallDefault,
  FirewallSpec,
  LoadBalancerSpec,
  NeighborNatSpec,
  PortRange,
  PrefixSpec,
  ServiceOperation,
} from "./Dataplane.ts"
import { uint32 } from "./field.ts"
import { defaultOf } from "./serviceListing.ts"

type OperationInit = NonNullable<MessageInitShape<typeof OperationSchema>["operation"]>

/** Refuses only what has no form on the wire. */
export const encode = (operation: ServiceOperation): OperationInit => {
  switch (operation._tag) {
    case "PutAliasPrefix":
      return { case: "putAliasPrefix", value: encodePrefix(operation.prefix) }
    case "DeleteAliasPrefix":
      return {
        case: "deleteAliasPrefix",
        value: { interface: operation.interface, prefix: operation.prefix },
      }
    case "PutBalancerPrefix":
      return { case: "putBalancerPrefix", value: encodePrefix(operation.prefix) }
    case "DeleteBalancerPrefix":
      return {
        case: "deleteBalancerPrefix",
        value: { interface: operation.interface, prefix: operation.prefix },
      }
    case "PutVip":
      return { case: "putVip", value: encodePrefix(operation.vip) }
    case "DeleteVip":
      return { case: "deleteVip", value: operation.interface }
    case "PutNat":
      return { case: "putNat", value: { ...encodePrefix(operation.nat), ...encodeRange(operation.nat) } }
    case "DeleteNat":
      return { case: "deleteNat", value: operation.interface }
    case "PutNeighborNat":
      return {
        case: "putNeighborNat",
        value: { ...encodeNeighbor(operation.nat), underlayAddress: operation.nat.underlayAddress },
      }
    case "DeleteNeighborNat":
      return { case: "deleteNeighborNat", value: encodeNeighbor(operation) }
    case "PutLoadBalancer":
      return { case: "putLoadBalancer", value: encodeBalancer(operation.balancer) }
    case "DeleteLoadBalancer":
      return { case: "deleteLoadBalancer", value: operation.id }
    case "PutFirewall":
      return { case: "putFirewall", value: encodeFirewall(operation.firewall) }
    case "DeleteFirewall":
      return { case: "deleteFirewall", value: operation.interface }
    case "PutEdge":
      return { case: "putEdge", value: encodeEdge(operation.edge) }
    case "DeleteEdge":
      return { case: "deleteEdge", value: operation.name }
  }
}

/** Of whatever has an interface and perhaps an underlay address. */
const encodePrefix = <Spec extends { readonly underlayAddress?: string | undefined }>(spec: Spec) => ({
  ...spec,
  underlayAddress: spec.underlayAddress ?? "",
})

const encodeRange = (spec: { readonly minPort: number; readonly maxPort: number }) => ({
  minPort: uint32("min_port", spec.minPort),
  maxPort: uint32("max_port", spec.maxPort),
})

const encodeNeighbor = (spec: Omit<NeighborNatSpec, "underlayAddress">) => ({
  vni: uint32("vni", spec.vni),
  ip: spec.ip,
  ...encodeRange(spec),
})

const encodeBalancer = (spec: LoadBalancerSpec) => ({
  id: spec.id,
  vni: uint32("vni", spec.vni),
  ip: spec.ip,
  ports: spec.ports.map(({ protocol, first, last }) => ({
    protocol: uint32("ports.protocol", protocol),
    first: uint32("ports.first", first),
    last: uint32("ports.last", last),
  })),
  targets: [...spec.targets],
  underlayAddress: spec.underlayAddress ?? "",
})

const wireDefaults: Readonly<Record<FirewallDefault, WireDefault>> = {
  accept: WireDefault.ACCEPT,
  drop: WireDefault.DROP,
  rules: WireDefault.RULES,
}

const encodePorts = (ports: PortRange | undefined) =>
  ports === undefined
    ? undefined
    : { first: uint32("ports.first", ports.first), last: uint32("ports.last", ports.last) }

const encodeFirewall = (spec: FirewallSpec) => ({
  interface: spec.interface,
  ingress: wireDefaults[spec.ingress],
  egress: wireDefaults[spec.egress],
  rules: spec.rules.map((rule) => {
    const sourcePorts = encodePorts(rule.sourcePorts)
    const destinationPorts = encodePorts(rule.destinationPorts)
    return {
      id: rule.id,
      egress: rule.egress,
      accept: rule.accept,
      priority: uint32("rules.priority", rule.priority),
      source: rule.source ?? "",
      destination: rule.destination ?? "",
      protocol: uint32("rules.protocol", rule.protocol),
      ...(sourcePorts === undefined ? {} : { sourcePorts }),
      ...(destinationPorts === undefined ? {} : { destinationPorts }),
      ...(rule.icmpType === undefined ? {} : { icmpType: uint32("rules.icmp_type", rule.icmpType) }),
      ...(rule.icmpCode === undefined ? {} : { icmpCode: uint32("rules.icmp_code", rule.icmpCode) }),
    }
  }),
})

const encodeEdge = (spec: EdgeSpec) => ({
  name: spec.name,
  vni: uint32("vni", spec.vni),
  device: spec.device,
  outsideIpv4: spec.outsideIpv4 ?? "",
  outsideIpv6: spec.outsideIpv6 ?? "",
  gatewayIpv4: spec.gatewayIpv4 ?? "",
  gatewayIpv6: spec.gatewayIpv6 ?? "",
  gatewayMac: spec.gatewayMac ?? "",
  underlayAddress: spec.underlayAddress ?? "",
})

type WireService = Exclude<
  WireOperation["operation"],
  { case: "createInterface" | "deleteInterface" | "putRoute" | "deleteRoute" | "resetVni" | undefined }
>

/** For a server in TypeScript: fields travel as they are. */
export const decode = (operation: WireService): ServiceOperation => {
  switch (operation.case) {
    case "putAliasPrefix":
      return { _tag: "PutAliasPrefix", prefix: plainPrefix(operation.value) }
    case "deleteAliasPrefix":
      return {
        _tag: "DeleteAliasPrefix",
        interface: operation.value.interface,
        prefix: operation.value.prefix,
      }
    case "putBalancerPrefix":
      return { _tag: "PutBalancerPrefix", prefix: plainPrefix(operation.value) }
    case "deleteBalancerPrefix":
      return {
        _tag: "DeleteBalancerPrefix",
        interface: operation.value.interface,
        prefix: operation.value.prefix,
      }
    case "putVip": {
      const { interface: of, ip, underlayAddress } = operation.value
      return { _tag: "PutVip", vip: { interface: of, ip, ...asked(underlayAddress) } }
    }
    case "deleteVip":
      return { _tag: "DeleteVip", interface: operation.value }
    case "putNat": {
      const { interface: of, ip, minPort, maxPort, underlayAddress } = operation.value
      return { _tag: "PutNat", nat: { interface: of, ip, minPort, maxPort, ...asked(underlayAddress) } }
    }
    case "deleteNat":
      return { _tag: "DeleteNat", interface: operation.value }
    case "putNeighborNat": {
      const { vni, ip, minPort, maxPort, underlayAddress } = operation.value
      return { _tag: "PutNeighborNat", nat: { vni, ip, minPort, maxPort, underlayAddress } }
    }
    case "deleteNeighborNat": {
      const { vni, ip, minPort, maxPort } = operation.value
      return { _tag: "DeleteNeighborNat", vni, ip, minPort, maxPort }
    }
    case "putLoadBalancer":
      return { _tag: "PutLoadBalancer", balancer: plainBalancer(operation.value) }
    case "deleteLoadBalancer":
      return { _tag: "DeleteLoadBalancer", id: operation.value }
    case "putFirewall":
      return { _tag: "PutFirewall", firewall: plainFirewall(operation.value) }
    case "deleteFirewall":
      return { _tag: "DeleteFirewall", interface: operation.value }
    case "putEdge":
      return { _tag: "PutEdge", edge: plainEdge(operation.value) }
    case "deleteEdge":
      return { _tag: "DeleteEdge", name: operation.value }
  }
}

const asked = (underlayAddress: string) => (underlayAddress === "" ? {} : { underlayAddress })

const plainPrefix = (spec: WirePrefix): PrefixSpec => ({
  interface: spec.interface,
  prefix: spec.prefix,
  ...asked(spec.underlayAddress),
})

const plainBalancer = (spec: WireBalancer): LoadBalancerSpec => ({
  id: spec.id,
  vni: spec.vni,
  ip: spec.ip,
  ports: spec.ports.map(({ protocol, first, last }) => ({ protocol, first, last: last || first })),
  targets: spec.targets,
  ...asked(spec.underlayAddress),
})

const plainPorts = ({ first, last }: PortRange): PortRange => ({ first, last })

const plainFirewall = (spec: WireFirewall): FirewallSpec => ({
  interface: spec.interface,
  ingress: defaultOf("firewall.ingress", spec.ingress),
  egress: defaultOf("firewall.egress", spec.egress),
  rules: spec.rules.map((rule) => ({
    id: rule.id,
    egress: rule.egress,
    accept: rule.accept,
    priority: rule.priority,
    ...(rule.source === "" ? {} : { source: rule.source }),
    ...(rule.destination === "" ? {} : { destination: rule.destination }),
    protocol: rule.protocol,
    ...(rule.sourcePorts === undefined ? {} : { sourcePorts: plainPorts(rule.sourcePorts) }),
    ...(rule.destinationPorts === undefined ? {} : { destinationPorts: plainPorts(rule.destinationPorts) }),
    ...(rule.icmpType === undefined ? {} : { icmpType: rule.icmpType }),
    ...(rule.icmpCode === undefined ? {} : { icmpCode: rule.icmpCode }),
  })),
})

const plainEdge = (spec: WireEdge): EdgeSpec => ({
  name: spec.name,
  vni: spec.vni,
  device: spec.device,
  ...(spec.outsideIpv4 === "" ? {} : { outsideIpv4: spec.outsideIpv4 }),
  ...(spec.outsideIpv6 === "" ? {} : { outsideIpv6: spec.outsideIpv6 }),
  ...(spec.gatewayIpv4 === "" ? {} : { gatewayIpv4: spec.gatewayIpv4 }),
  ...(spec.gatewayIpv6 === "" ? {} : { gatewayIpv6: spec.gatewayIpv6 }),
  ...(spec.gatewayMac === "" ? {} : { gatewayMac: spec.gatewayMac }),
  ...asked(spec.underlayAddress),
})
