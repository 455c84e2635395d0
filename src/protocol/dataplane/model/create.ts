/** Flows as they begin: whom they are charged to, and what a new one may be refused by. */
import { addFlow, begun, findFlow, type Flow, flowKey, flowsOf } from "./flow.ts"
import { type Interface, settings } from "./tables.ts"
import { drop, drops, endFlow, type Packet, perSecond, type Turn } from "./turn.ts"

export const interfaceOwner = (entry: Interface): string => `i${entry.index}`

/** False: the interface has too many flows, or began too many in this second; the packet is dropped. */
export const mayBegin = (turn: Turn, entry: Interface): boolean => {
  const { flowLimit, flowRate } = settings(turn.state.config)
  const limit = entry.spec.flowLimit ?? 0
  if (flowsOf(turn.state.flows, interfaceOwner(entry)) >= (limit === 0 ? flowLimit : limit)) {
    drop(turn, drops.flowLimit)
    return false
  }
  const own = entry.spec.flowRate ?? 0
  const rate = own === 0 ? flowRate : own
  if (rate === 0 || perSecond(turn, `${entry.index} flows`, rate)) return true
  drop(turn, drops.flowRate)
  return false
}

type Fresh = Pick<
  Flow,
  "replyKey" | "translated" | "sender" | "receiver" | "translation" | "forward" | "back" | "owner"
>

export const createFlow = (turn: Turn, packet: Packet, fresh: Fresh): Flow => {
  const { tuple } = packet
  const flow = begun(
    {
      ...fresh,
      key: flowKey(packet.context, tuple),
      original: tuple,
      epoch: turn.state.epoch,
      last: turn.now,
    },
    tuple,
  )
  // Whatever flow has one of its keys ends: its packets are this one's from now on.
  for (const key of [flow.key, flow.replyKey]) {
    const there = key === undefined ? undefined : findFlow(turn.state.flows, key)
    if (there !== undefined) turn.state = endFlow(turn.state, there.id)
  }
  turn.state = {
    ...turn.state,
    flows: addFlow(turn.state.flows, flow, settings(turn.state.config).flowTimeout),
  }
  return flow
}
