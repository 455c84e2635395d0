/** New flows of a VM: its firewall, its limits, and where the packet goes. */
import { bytesOf, format } from "./address.ts"
import { arriveAt, natContext, toInterface } from "./arrive.ts"
import type { Bytes } from "./bytes.ts"
import { createFlow, interfaceOwner, mayBegin } from "./create.ts"
import { accepts } from "./firewall.ts"
import { findFlow, flowKey, type Translation, undo } from "./flow.ts"
import { leave, type Way, wayTo } from "./leave.ts"
import { groupOf, map, natProtocol } from "./nat.ts"
import { convert, isBehindPrefix } from "./nat64.ts"
import { beginService, serviceOf } from "./service.ts"
import { find, type Interface, type Nat, settings } from "./tables.ts"
import { nothing, type Rewrite, rewritten, translate } from "./translate.ts"
import { drop, drops, type Packet, type Sender, type Turn } from "./turn.ts"
import { flip, type Tuple } from "./tuple.ts"

/** A packet of no live flow, from a VM. */
export const begin = (turn: Turn, packet: Packet, vm: Sender): void => {
  const { entry } = vm
  if (!accepts(entry.firewall, packet.tuple, true)) return drop(turn, drops.firewallEgress)
  if (!mayBegin(turn, entry)) return
  const service = serviceOf(turn.state, packet.tuple)
  if (service !== undefined) return beginService(turn, packet, service)
  const named = find(turn.state.addresses, groupOf(entry.spec.vni, packet.tuple.destination))
  if (named !== undefined) return arriveAt(turn, packet, named)
  const way = wayTo(turn.state, entry.spec.vni, packet.tuple.destination, packet.tuple)
  switch (way._tag) {
    case "Miss":
      return drop(turn, drops.routeMiss)
    case "Local":
      return toInterface(turn, packet, way.entry)
    case "Endpoint": {
      const endpoint = find(turn.state.underlay, way.address)
      // Out of the overlay, as by one of another host.
      if (endpoint?._tag === "Edge") return toRemote(turn, packet, entry, way)
      return endpoint === undefined ? drop(turn, drops.routeMiss) : arriveAt(turn, packet, endpoint)
    }
    case "Remote":
      return toRemote(turn, packet, entry, way)
  }
}

/** Into the underlay, from the interface's address, its NAT or its VIP. */
const toRemote = (
  turn: Turn,
  packet: Packet,
  entry: Interface,
  way: Way & { _tag: "Remote" | "Endpoint" },
): void => {
  if (way._tag === "Remote" && !settings(turn.state.config).uplink) return drop(turn, drops.noUplink)
  const { tuple } = packet
  const outside = way.route.prefix.length === 0
  if (
    outside &&
    entry.nat !== undefined &&
    (tuple.family === 4 || isBehindPrefix(bytesOf(tuple.destination)))
  )
    return toNat(turn, packet, entry, entry.nat, way)
  const vip = outside && tuple.family === 4 ? entry.vip : undefined
  const forward: Rewrite = vip === undefined ? nothing : { source: vip.ip }
  const translated = rewritten(tuple, forward)
  const translation: Translation =
    vip === undefined ? { _tag: "None" } : { _tag: "VipOut", interface: entry.index, ip: vip.ip }
  createFlow(turn, packet, {
    replyKey: flowKey(`i${entry.index}`, flip(translated)),
    translated,
    sender: entry.index,
    receiver: undefined,
    translation,
    forward,
    back: undo(tuple, forward),
    owner: interfaceOwner(entry),
  })
  leave(turn, packet, entry, way, translate(packet.bytes, tuple, forward))
}

/** The packet as it is outside with a port of the NAT. */
const outsideOf = (tuple: Tuple, nat: Nat, port: number): Tuple => {
  const echo = tuple.icmp === "echo"
  const ports = echo ? { sourcePort: port, destinationPort: port } : { sourcePort: port }
  if (tuple.family === 4) return { ...tuple, source: nat.ip, ...ports }
  return {
    ...tuple,
    family: 4,
    protocol: tuple.icmp === "none" ? tuple.protocol : 1,
    source: nat.ip,
    destination: format(bytesOf(tuple.destination).slice(12)),
    ...ports,
  }
}

const toNat = (
  turn: Turn,
  packet: Packet,
  entry: Interface,
  nat: Nat,
  way: Way & { _tag: "Remote" | "Endpoint" },
): void => {
  const { tuple } = packet
  const wide = tuple.family === 6
  if (wide && tuple.fragment !== "whole") return drop(turn, drops.fragment)
  if (natProtocol(tuple) === undefined) return drop(turn, drops.natProtocol)
  const { vni } = entry.spec
  const replyKey = (port: number): string =>
    flowKey(natContext(vni, nat.ip), flip(outsideOf(tuple, nat, port)))
  const mapped = map(
    turn.state.nat,
    { interface: entry.index, vni, group: groupOf(vni, nat.ip), min: nat.min, max: nat.max },
    tuple,
    settings(turn.state.config).seed,
    (port) => findFlow(turn.state.flows, replyKey(port)) !== undefined,
  )
  if (mapped === undefined) return drop(turn, drops.natExhausted)
  const translated = outsideOf(tuple, nat, mapped.port)
  const forward: Rewrite = { source: nat.ip, sourcePort: mapped.port }
  const out: Bytes | undefined = wide
    ? convert(packet.bytes, tuple, {
        source: nat.ip,
        destination: translated.destination,
        sourcePort: mapped.port,
      })
    : translate(packet.bytes, tuple, forward)
  if (out === undefined) return drop(turn, drops.natProtocol)
  turn.state = { ...turn.state, nat: mapped.table }
  createFlow(turn, packet, {
    replyKey: replyKey(mapped.port),
    translated,
    sender: entry.index,
    receiver: undefined,
    translation: {
      _tag: wide ? "Nat64" : "Nat",
      interface: entry.index,
      ip: nat.ip,
      port: mapped.port,
      mapping: mapped.mapping,
    },
    forward,
    back: undo(tuple, forward),
    owner: interfaceOwner(entry),
  })
  leave(turn, packet, entry, way, out)
}
