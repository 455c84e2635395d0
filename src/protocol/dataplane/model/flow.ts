/**
 * Flows: one connection each, known by the keys of its two directions, with its state and its time to live.
 *
 * The table is a value. Expired flows leave it before a packet is looked at: `expiring` is a time before which none
 * does, so that looking for them costs nothing most of the time. Bounded by the limits of the interfaces that flows are
 * charged to; the bucket places of the native table are left out here.
 */
import { HashMap } from "effect"
import { find } from "./find.ts"
import { protocols } from "./ip.ts"
import { nothing, type Rewrite } from "./translate.ts"
import { tcpFlag, type Tuple } from "./tuple.ts"

/** Seconds without a packet. */
export const flowSeconds = { established: 86_400 } as const

/** As long as the timeout lives what was seen in both directions. */
const seenBothWaysTimes = 6

/** Which of SYN, FIN, RST and ACK a direction has shown. */
type Shown = number

/** How the packets of a flow are changed, and what must still stand for it. */
export type Translation =
  | { readonly _tag: "None" }
  /** The VIP of the interface that receives. */
  | { readonly _tag: "VipIn"; readonly interface: number; readonly ip: string }
  /** The VIP of the interface that sends. */
  | { readonly _tag: "VipOut"; readonly interface: number; readonly ip: string }
  | {
      readonly _tag: "Nat" | "Nat64"
      readonly interface: number
      readonly ip: string
      readonly port: number
      /** `undefined`: the port is shared. */
      readonly mapping: number | undefined
    }
  | { readonly _tag: "Balancer"; readonly id: string; readonly target: string }
  | {
      readonly _tag: "Service"
      readonly service: number
      readonly port: number
      readonly mapping: number | undefined
    }

export interface Flow {
  readonly key: string
  readonly replyKey: string | undefined
  /** Its first packet, as it came and as it went on. */
  readonly original: Tuple
  readonly translated: Tuple
  /** Index of the interface whose VM sent the first packet; of the one that it was delivered to. */
  readonly sender: number | undefined
  readonly receiver: number | undefined
  readonly translation: Translation
  readonly forward: Rewrite
  readonly back: Rewrite
  /** Whom it is charged to. */
  readonly owner: string
  /** Change of the tables with which it was decided. */
  readonly epoch: number
  /** Milliseconds. */
  readonly last: number
  readonly shown: Shown
  readonly replyShown: Shown
  readonly replied: boolean
}

export interface Flows {
  readonly all: HashMap.HashMap<number, Flow>
  readonly keys: HashMap.HashMap<string, number>
  readonly owned: HashMap.HashMap<string, number>
  readonly next: number
  readonly expiring: number
}

export const noFlows: Flows = {
  all: HashMap.empty(),
  keys: HashMap.empty(),
  owned: HashMap.empty(),
  next: 1,
  expiring: Number.POSITIVE_INFINITY,
}

/** Of a packet that came from `context`: a port or an endpoint. */
export const flowKey = (context: string, tuple: Tuple): string =>
  `${context} ${tuple.protocol} ${tuple.source} ${tuple.sourcePort} ${tuple.destination} ${tuple.destinationPort}`

/** What undoes a rewrite for the packets of the other direction. */
export const undo = (original: Tuple, rewrite: Rewrite): Rewrite =>
  rewrite === nothing
    ? nothing
    : {
        ...(rewrite.destination === undefined ? {} : { source: original.destination }),
        ...(rewrite.source === undefined ? {} : { destination: original.source }),
        ...(rewrite.destinationPort === undefined ? {} : { sourcePort: original.destinationPort }),
        ...(rewrite.sourcePort === undefined ? {} : { destinationPort: original.sourcePort }),
      }

const remembered = tcpFlag.syn | tcpFlag.fin | tcpFlag.rst | tcpFlag.ack

/** An ACK counts in segments without RST; without SYN where only one direction is seen. */
const shownBy = (tuple: Tuple, oneWay: boolean): Shown => {
  const flags = tuple.tcpFlags & remembered
  const noAck = (flags & tcpFlag.rst) !== 0 || (oneWay && (flags & tcpFlag.syn) !== 0)
  return noAck ? flags & ~tcpFlag.ack : flags
}

export const hasEnded = (flow: Flow): boolean =>
  ((flow.shown | flow.replyShown) & (tcpFlag.fin | tcpFlag.rst)) !== 0

const isEstablished = (flow: Flow): boolean =>
  (flow.shown & tcpFlag.ack) !== 0 && (flow.replyKey === undefined || (flow.replyShown & tcpFlag.ack) !== 0)

/** Milliseconds that it may be without a packet. `timeout`: T, seconds. */
export const lifetime = (flow: Flow, timeout: number): number => {
  if (flow.original.protocol === protocols.tcp)
    return (isEstablished(flow) && !hasEnded(flow) ? flowSeconds.established : timeout) * 1_000
  return (flow.replied ? seenBothWaysTimes * timeout : timeout) * 1_000
}

export const flowsOf = (flows: Flows, owner: string): number => find(flows.owned, owner) ?? 0

const charge = (flows: Flows, owner: string, by: number): Flows["owned"] => {
  const count = flowsOf(flows, owner) + by
  return count === 0 ? HashMap.remove(flows.owned, owner) : HashMap.set(flows.owned, owner, count)
}

export interface Found {
  readonly id: number
  readonly flow: Flow
  /** The key is that of its reply direction. */
  readonly reply: boolean
}

export const findFlow = (flows: Flows, key: string): Found | undefined => {
  const id = find(flows.keys, key)
  const flow = id === undefined ? undefined : find(flows.all, id)
  return id === undefined || flow === undefined ? undefined : { id, flow, reply: flow.key !== key }
}

/** A flow whose first packet has just been seen. */
export const begun = (flow: Omit<Flow, "shown" | "replyShown" | "replied">, tuple: Tuple): Flow => ({
  ...flow,
  shown: shownBy(tuple, flow.replyKey === undefined),
  replyShown: 0,
  replied: false,
})

const soonest = (flows: Flows, flow: Flow, timeout: number): number =>
  Math.min(flows.expiring, flow.last + lifetime(flow, timeout) + 1)

export const addFlow = (flows: Flows, flow: Flow, timeout: number): Flows => {
  const id = flows.next
  const keys = HashMap.set(flows.keys, flow.key, id)
  return {
    all: HashMap.set(flows.all, id, flow),
    keys:
      flow.replyKey === undefined || HashMap.has(keys, flow.replyKey)
        ? keys
        : HashMap.set(keys, flow.replyKey, id),
    owned: charge(flows, flow.owner, 1),
    next: id + 1,
    expiring: soonest(flows, flow, timeout),
  }
}

export const removeFlow = (flows: Flows, id: number): Flows => {
  const flow = find(flows.all, id)
  if (flow === undefined) return flows
  let keys = HashMap.remove(flows.keys, flow.key)
  if (flow.replyKey !== undefined && find(keys, flow.replyKey) === id)
    keys = HashMap.remove(keys, flow.replyKey)
  return { ...flows, all: HashMap.remove(flows.all, id), keys, owned: charge(flows, flow.owner, -1) }
}

/** A packet of the flow was seen. */
export const touch = (flows: Flows, found: Found, tuple: Tuple, now: number, timeout: number): Flows => {
  const { flow, id, reply } = found
  const shown = shownBy(tuple, flow.replyKey === undefined)
  const seen: Flow = {
    ...flow,
    last: now,
    shown: reply ? flow.shown : flow.shown | shown,
    replyShown: reply ? flow.replyShown | shown : flow.replyShown,
    replied: flow.replied || reply,
  }
  return {
    ...flows,
    all: HashMap.set(flows.all, id, seen),
    expiring: soonest(flows, seen, timeout),
  }
}

/** Flows that are gone at `now`. */
export const expired = (
  flows: Flows,
  now: number,
  timeout: number,
): { readonly gone: ReadonlyArray<number>; readonly expiring: number } => {
  const gone: Array<number> = []
  let expiring = Number.POSITIVE_INFINITY
  for (const [id, flow] of flows.all) {
    const ends = flow.last + lifetime(flow, timeout)
    if (ends < now) gone.push(id)
    else expiring = Math.min(expiring, ends + 1)
  }
  return { gone, expiring }
}
