/**
 * A host's side of route distribution: what it announces and subscribes, one session per reflector, and the
 * table they give together, as one machine without I/O. The runtime gives it bytes' meaning and the time, takes
 * what is to be written, and looks at `hasWork` and the readers after each call. Changed in place,
 * deterministic, one writer.
 *
 * Desired state, not a log of calls: `announce` and `subscribe` replace sets and never wait. Each session
 * remembers what it told its reflector and is brought to the desired sets by difference, when and as fast as
 * that reflector takes it; a reflector that is down simply learns it later, and hinders no other. Additions go
 * before removals, so a replaced hop overlaps instead of leaving a gap.
 *
 * Level. A VNI of a session is level when the reflector said END_OF_TABLE for it; with a v1 reflector, when
 * `settleMillis` passed. Stale routes are swept then. The client itself says END_OF_TABLE 0 only once
 * `announce` was called: a host that starts anew must not have its held routes swept before it knows them.
 *
 * UNSUBSCRIBE is followed by a KEEPALIVE; until that is answered, updates of the VNI are of the old
 * subscription and ignored, even if it is subscribed again meanwhile. A v1 reflector of the existing kind also
 * forgets our announcements in that VNI, so those are told again.
 */
import { Result } from "effect"
import { type MetalbondError, metalbondError } from "#protocol/metalbond/MetalbondError.ts"
import * as Message from "#protocol/metalbond/Message.ts"
import type {
  ReflectorState,
  RouteAnnouncement,
  RouteChange,
  RouteUpdate,
} from "#protocol/metalbond/RouteDistribution.ts"
import {
  formatPrefix,
  fromAnnouncement,
  hopKey,
  type InvalidRoute,
  type Route,
  routeKey,
} from "#protocol/metalbond/Route.ts"
import * as ClientPeer from "./ClientPeer.ts"
import * as ClientTable from "./ClientTable.ts"
import { concat } from "./Outbox.ts"

export interface Config extends ClientPeer.Config {
  /** `[host]:port` each; at most 16. */
  readonly reflectors: ReadonlyArray<string>
  readonly holdMillis: number
}

export const maxReflectors = 16

/** One per reflector, for the life of the client. */
export interface Session {
  readonly address: string
  peer: ClientPeer.State
  reason: string | undefined
  /** HELLO and KEEPALIVE to be written. */
  control: Array<Uint8Array>
  /** What the reflector was told in this connection. */
  readonly toldRoutes: Map<string, Route>
  readonly toldVnis: Set<number>
  toldEnd: boolean
  /** Told routes that a v1 reflector may have forgotten. */
  readonly retell: Set<string>
  /** Frames that bring `told` to the desired sets; undefined: to be computed. */
  plan: { readonly steps: ReadonlyArray<Step>; at: number } | undefined
  /** VNI -> count of answered KEEPALIVEs before which its updates are old. */
  readonly barriers: Map<number, number>
  readonly level: Set<number>
  /** Ends of holds, ascending. */
  readonly holdEnds: Array<number>
}

type Step =
  | { readonly _tag: "Subscribe"; readonly vni: number }
  | { readonly _tag: "Unsubscribe"; readonly vni: number }
  | { readonly _tag: "Announce"; readonly key: string; readonly route: Route }
  | { readonly _tag: "Withdraw"; readonly key: string; readonly route: Route }
  | { readonly _tag: "End" }

/** One per consumer of `updates`: what changed since it last looked. Bounded by the destinations there are. */
export interface Reader {
  readonly dirty: Map<number, Set<string>>
  readonly level: Set<number>
}

interface Prepared {
  readonly route: Route
  readonly key: string
  readonly prefix: string
  /** See `ClientTable.ownKey`. */
  readonly own: string
}

export interface RouteClient {
  readonly config: Config
  readonly sessions: Map<string, Session>
  readonly table: ClientTable.ClientTable
  readonly readers: Set<Reader>
  /** Undefined until the first `announce`. */
  desired: ReadonlyMap<string, Route> | undefined
  /** The announcements by their text, converted. */
  prepared: ReadonlyMap<string, Prepared>
  own: ReadonlySet<string>
  subscribed: ReadonlySet<number>
}

export const make = (config: Config): RouteClient => ({
  config,
  sessions: new Map(
    config.reflectors.slice(0, maxReflectors).map((address) => [
      address,
      {
        address,
        peer: ClientPeer.initial,
        reason: undefined,
        control: [],
        toldRoutes: new Map(),
        toldVnis: new Set(),
        toldEnd: false,
        retell: new Set(),
        plan: undefined,
        barriers: new Map(),
        level: new Set(),
        holdEnds: [],
      },
    ]),
  ),
  table: ClientTable.make(),
  readers: new Set(),
  desired: undefined,
  prepared: new Map(),
  own: new Set(),
  subscribed: new Set(),
})

const isOwn = (client: RouteClient) => (key: string) => client.own.has(key)

const prepare = (announcement: RouteAnnouncement): Prepared | InvalidRoute => {
  const converted = fromAnnouncement(announcement)
  if (Result.isFailure(converted)) return converted.failure
  const route = converted.success
  const prefix = formatPrefix(route.destination, true)
  return {
    route,
    key: routeKey(route),
    prefix,
    own: ClientTable.ownKey(route.vni, prefix, hopKey(route.hop)),
  }
}

/** Replaces the announcements; those that cannot be put on the wire are left out and returned. */
export const announce = (
  client: RouteClient,
  announcements: ReadonlyArray<RouteAnnouncement>,
): ReadonlyArray<InvalidRoute> => {
  const before = client.prepared
  const prepared = new Map<string, Prepared>()
  const desired = new Map<string, Route>()
  const own = new Set<string>()
  const invalid: Array<InvalidRoute> = []
  for (const announcement of announcements) {
    const { vni, prefix, nextHop } = announcement
    const text = `${vni} ${prefix} ${nextHop.address} ${nextHop.vni} ${nextHop.type} ${nextHop.natPortFrom} ${nextHop.natPortTo}`
    // The whole set comes with every change of it: only what is new is parsed.
    const ready = before.get(text) ?? prepare(announcement)
    if ("_tag" in ready) {
      invalid.push(ready)
      continue
    }
    prepared.set(text, ready)
    desired.set(ready.key, ready.route)
    own.add(ready.own)
  }
  client.prepared = prepared
  client.desired = desired
  client.own = own
  // A hop that others announce as well appears when it stops being our own, and the other way round.
  for (const [left, right] of [
    [before, prepared],
    [prepared, before],
  ] as const)
    for (const [text, { route, prefix }] of left)
      if (!right.has(text)) touch(client, [{ vni: route.vni, prefix }])
  replan(client)
  return invalid
}

/** Replaces the subscriptions; VNIs that leave are forgotten without a change. */
export const subscribe = (client: RouteClient, vnis: ReadonlySet<number>): void => {
  for (const vni of client.subscribed)
    if (!vnis.has(vni)) {
      ClientTable.forgetVni(client.table, vni)
      for (const reader of client.readers) {
        reader.dirty.delete(vni)
        reader.level.delete(vni)
      }
      for (const session of client.sessions.values()) session.level.delete(vni)
    }
  client.subscribed = new Set(vnis)
  replan(client)
}

const replan = (client: RouteClient): void => {
  for (const session of client.sessions.values()) session.plan = undefined
}

/** A connection to the reflector is open. */
export const opened = (client: RouteClient, session: Session, now: number): void => {
  session.control = []
  session.toldRoutes.clear()
  session.toldVnis.clear()
  session.toldEnd = false
  session.retell.clear()
  session.plan = undefined
  session.barriers.clear()
  session.level.clear()
  session.reason = undefined
  stepPeer(client, session, { _tag: "Opened" }, now)
}

/** A message of the reflector; an error when the session must end. */
export const received = (
  client: RouteClient,
  session: Session,
  message: Message.Message,
  now: number,
): MetalbondError | undefined => stepPeer(client, session, { _tag: "Received", message }, now)

/** Time has come for `nextDue`; an error when the session must end. */
export const elapsed = (client: RouteClient, session: Session, now: number): MetalbondError | undefined =>
  stepPeer(client, session, { _tag: "Elapsed" }, now)

/** The connection is over, or was never made. */
export const ended = (client: RouteClient, session: Session, error: MetalbondError, now: number): void => {
  const wasEstablished = session.peer.phase === "Established"
  session.peer = { ...ClientPeer.initial, phase: error.reason === "Shutdown" ? "Closed" : "Retry" }
  session.reason = error.message
  session.level.clear()
  if (wasEstablished) {
    const end = now + client.config.holdMillis
    ClientTable.hold(client.table, session.address, end)
    session.holdEnds.push(end)
  }
  announceLevel(client, [...client.subscribed])
}

export const connecting = (session: Session): void => {
  session.peer = ClientPeer.initial
}

/** When `elapsed` is due, milliseconds of the Clock; infinity when nothing waits. */
export const nextDue = (session: Session): number => ClientPeer.nextDue(session.peer)

/** When the next hold of this reflector's routes ends. */
export const nextHoldEnd = (session: Session): number => session.holdEnds[0] ?? Number.POSITIVE_INFINITY

export const sweepHolds = (client: RouteClient, session: Session, now: number): void => {
  while (nextHoldEnd(session) <= now) session.holdEnds.shift()
  touch(client, ClientTable.sweep(client.table, session.address, { now }))
}

const stepPeer = (
  client: RouteClient,
  session: Session,
  event: ClientPeer.Event,
  now: number,
): MetalbondError | undefined => {
  const [peer, actions] = ClientPeer.step(client.config, session.peer, event, now)
  session.peer = peer
  for (const action of actions)
    switch (action._tag) {
      case "Send":
        session.control.push(Message.encode(action.message))
        break
      case "Established":
        session.plan = undefined
        break
      case "Announced":
        if (isCurrent(client, session, action.route.vni))
          touch(client, [ClientTable.add(client.table, session.address, action.route)])
        break
      case "Withdrawn":
        if (isCurrent(client, session, action.route.vni))
          touch(client, [ClientTable.remove(client.table, session.address, action.route)])
        break
      case "Level":
        if (isCurrent(client, session, action.vni)) level(client, session, [action.vni])
        break
      case "Settled":
        level(client, session, [...session.toldVnis])
        touch(client, ClientTable.sweep(client.table, session.address, "all"))
        break
      case "Close":
        return action.error
    }
  return undefined
}

/** Whether an update of a VNI belongs to its present subscription. */
const isCurrent = (client: RouteClient, session: Session, vni: number): boolean => {
  if (!client.subscribed.has(vni) || !session.toldVnis.has(vni)) return false
  const barrier = session.barriers.get(vni)
  if (barrier === undefined) return true
  if (session.peer.answered < barrier) return false
  session.barriers.delete(vni)
  return true
}

const level = (client: RouteClient, session: Session, vnis: ReadonlyArray<number>): void => {
  for (const vni of vnis) {
    session.level.add(vni)
    touch(client, ClientTable.sweep(client.table, session.address, { vni }))
  }
  announceLevel(client, vnis)
}

const connected: ReadonlySet<ReflectorState["state"]> = new Set(["HelloSent", "HelloReceived", "Established"])

/** A VNI is level when a reflector is level with it, and none that is connected is still telling. */
export const isLevel = (client: RouteClient, vni: number): boolean => {
  let some = false
  for (const session of client.sessions.values()) {
    if (session.level.has(vni)) some = true
    else if (connected.has(session.peer.phase)) return false
  }
  return some
}

const announceLevel = (client: RouteClient, vnis: ReadonlyArray<number>): void => {
  for (const vni of vnis) if (isLevel(client, vni)) for (const reader of client.readers) reader.level.add(vni)
}

const touch = (client: RouteClient, touched: ReadonlyArray<ClientTable.Touched | undefined>): void => {
  for (const change of touched)
    if (change !== undefined && client.subscribed.has(change.vni))
      for (const reader of client.readers) {
        const prefixes = reader.dirty.get(change.vni)
        if (prefixes === undefined) reader.dirty.set(change.vni, new Set([change.prefix]))
        else prefixes.add(change.prefix)
      }
}

/** A reader that has seen nothing yet: all of the present table is news to it. */
export const openReader = (client: RouteClient): Reader => {
  const reader: Reader = { dirty: new Map(), level: new Set() }
  for (const vni of client.subscribed) {
    const prefixes = client.table.vnis.get(vni)
    if (prefixes !== undefined && prefixes.size > 0) reader.dirty.set(vni, new Set(prefixes.keys()))
    if (isLevel(client, vni)) reader.level.add(vni)
  }
  client.readers.add(reader)
  return reader
}

export const hasNews = (reader: Reader): boolean => reader.dirty.size > 0 || reader.level.size > 0

/** Everything that changed since the last call, as it is now. */
export const takeNews = (client: RouteClient, reader: Reader): RouteUpdate => {
  const changes: Array<RouteChange> = []
  for (const [vni, prefixes] of reader.dirty)
    for (const prefix of prefixes) changes.push(ClientTable.hopSet(client.table, vni, prefix, isOwn(client)))
  const levelNow = [...reader.level]
  reader.dirty.clear()
  reader.level.clear()
  return levelNow.length === 0 ? { changes } : { changes, level: levelNow }
}

export const table = (client: RouteClient, vni: number): ReadonlyArray<RouteChange> =>
  ClientTable.destinations(client.table, vni, isOwn(client))

export const reflectors = (client: RouteClient): ReadonlyArray<ReflectorState> =>
  [...client.sessions.values()].map(({ address, peer, reason }) => ({ address, state: peer.phase, reason }))

const makePlan = (client: RouteClient, session: Session): ReadonlyArray<Step> => {
  const steps: Array<Step> = []
  for (const vni of session.toldVnis)
    if (!client.subscribed.has(vni)) steps.push({ _tag: "Unsubscribe", vni })
  for (const vni of client.subscribed) if (!session.toldVnis.has(vni)) steps.push({ _tag: "Subscribe", vni })
  if (client.desired === undefined) return steps
  for (const [key, route] of client.desired)
    if (!session.toldRoutes.has(key) || session.retell.has(key)) steps.push({ _tag: "Announce", key, route })
  for (const [key, route] of session.toldRoutes)
    if (!client.desired.has(key)) steps.push({ _tag: "Withdraw", key, route })
  if (session.peer.restart && !session.toldEnd) steps.push({ _tag: "End" })
  return steps
}

const planOf = (client: RouteClient, session: Session) =>
  (session.plan ??= { steps: makePlan(client, session), at: 0 })

/** Whether `take` would give something. */
export const hasWork = (client: RouteClient, session: Session): boolean => {
  if (session.control.length > 0) return true
  if (session.peer.phase !== "Established") return false
  const plan = planOf(client, session)
  return plan.at < plan.steps.length
}

const perform = (
  client: RouteClient,
  session: Session,
  step: Step,
  frames: Array<Uint8Array>,
  now: number,
): void => {
  switch (step._tag) {
    case "Subscribe":
      session.toldVnis.add(step.vni)
      frames.push(Message.encode(Message.subscribe(step.vni)))
      return
    case "Unsubscribe":
      session.toldVnis.delete(step.vni)
      session.level.delete(step.vni)
      frames.push(Message.encode(Message.unsubscribe(step.vni)))
      stepPeer(client, session, { _tag: "Probe" }, now)
      frames.push(...session.control.splice(0))
      session.barriers.set(step.vni, session.peer.sent)
      if (session.peer.restart) return
      for (const [key, route] of session.toldRoutes)
        if (route.vni === step.vni) {
          session.retell.add(key)
          session.plan = undefined
        }
      return
    case "Announce":
      session.toldRoutes.set(step.key, step.route)
      session.retell.delete(step.key)
      frames.push(Message.encode(Message.announce(step.route)))
      return
    case "Withdraw":
      session.toldRoutes.delete(step.key)
      session.retell.delete(step.key)
      frames.push(Message.encode(Message.withdraw(step.route)))
      // A v1 reflector shows us our own routes in a dump and does not take them back.
      if (!session.peer.restart)
        touch(client, [ClientTable.remove(client.table, session.address, step.route)])
      return
    case "End":
      session.toldEnd = true
      frames.push(Message.encode(Message.endOfTable(0)))
  }
}

/** The next write to a reflector: whole frames, about `maxFrames` of them; undefined when it is all said. */
export const take = (
  client: RouteClient,
  session: Session,
  maxFrames: number,
  now: number,
): { readonly bytes: Uint8Array; readonly frames: number } | undefined => {
  const frames = session.control.splice(0)
  if (session.peer.phase === "Established")
    while (frames.length < maxFrames) {
      const plan = planOf(client, session)
      const step = plan.steps[plan.at]
      if (step === undefined) break
      plan.at++
      perform(client, session, step, frames, now)
    }
  return frames.length === 0 ? undefined : { bytes: concat(frames), frames: frames.length }
}

export const shutdown: MetalbondError = metalbondError("Shutdown", "the client is closing")
