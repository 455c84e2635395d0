/**
 * Virtual services: a VM reaches an IPv6 service outside the overlay by an IPv4 address and port of its own network.
 *
 * What leaves is a plain IPv6 packet from the service's own underlay address, with a port found as for NAT.
 */
import type { Bytes } from "./bytes.ts"
import { findFlow, type Flow, flowKey } from "./flow.ts"
import { isTooBig, toUnderlay } from "./leave.ts"
import { convert } from "./nat64.ts"
import { map, type NatRange } from "./nat.ts"
import { createFlow, interfaceOwner } from "./create.ts"
import { type ModelState, settings } from "./tables.ts"
import { nothing } from "./translate.ts"
import { drop, drops, type Packet, tally, type Turn } from "./turn.ts"
import { flip, type Tuple } from "./tuple.ts"

/** Number of the service that a VM's packet is for. */
export const serviceOf = (state: ModelState, tuple: Tuple): number | undefined => {
  const at = (state.config.services ?? []).findIndex(
    (service) =>
      tuple.family === 4 &&
      service.protocol === tuple.protocol &&
      service.ip === tuple.destination &&
      service.port === tuple.destinationPort,
  )
  return at < 0 ? undefined : at
}

export const serviceContext = (service: number): string => `s${service}`

/** Its first packet: a port, a flow, and out. */
export const beginService = (turn: Turn, packet: Packet, service: number): void => {
  const { tuple, vm } = packet
  const spec = turn.state.config.services?.[service]
  const address = turn.state.serviceAddresses[service]
  if (vm === undefined || spec === undefined || address === undefined) return drop(turn, drops.routeMiss)
  if (tuple.fragment !== "whole") return drop(turn, drops.fragment)
  if (!settings(turn.state.config).uplink) return drop(turn, drops.noUplink)
  const range: NatRange = {
    interface: vm.entry.index,
    vni: vm.entry.spec.vni,
    group: serviceContext(service),
    min: 1_024,
    max: 65_536,
  }
  const outside = (port: number): Tuple => ({
    ...tuple,
    family: 6,
    source: address,
    destination: spec.target,
    sourcePort: port,
    destinationPort: spec.targetPort,
  })
  const replyKey = (port: number): string => flowKey(serviceContext(service), flip(outside(port)))
  const mapped = map(
    turn.state.nat,
    range,
    tuple,
    settings(turn.state.config).seed,
    (port) => findFlow(turn.state.flows, replyKey(port)) !== undefined,
  )
  if (mapped === undefined) return drop(turn, drops.natExhausted)
  turn.state = { ...turn.state, nat: mapped.table }
  const flow = createFlow(turn, packet, {
    replyKey: replyKey(mapped.port),
    translated: outside(mapped.port),
    sender: vm.entry.index,
    receiver: undefined,
    translation: { _tag: "Service", service, port: mapped.port, mapping: mapped.mapping },
    forward: nothing,
    back: nothing,
    owner: interfaceOwner(vm.entry),
  })
  const out = serviceRequest(packet, flow)
  if (out === undefined) drop(turn, drops.natProtocol)
  else sendOutside(turn, packet, out)
}

export const serviceRequest = (packet: Packet, flow: Flow): Bytes | undefined =>
  convert(packet.bytes, packet.tuple, flow.translated)

export const serviceReply = (packet: Packet, flow: Flow): Bytes | undefined => {
  const { destination, destinationPort, source, sourcePort } = flow.original
  return convert(packet.bytes, packet.tuple, {
    source: destination,
    sourcePort: destinationPort,
    destination: source,
    destinationPort: sourcePort,
  })
}

/** By the uplink, in no tunnel. */
export const sendOutside = (turn: Turn, packet: Packet, out: Bytes): void => {
  if (!settings(turn.state.config).uplink) return drop(turn, drops.noUplink)
  if (isTooBig(turn, packet, out)) return
  tally(turn, "stage.encap.packets")
  toUnderlay(turn, out)
}
