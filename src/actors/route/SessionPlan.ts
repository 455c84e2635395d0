/**
 * What one reflector is still to be told: the difference between the desired sets and what it was told in this
 * connection, as steps that are taken one write at a time.
 */
import * as Message from "#protocol/metalbond/Message.ts"
import * as ClientPeer from "./ClientPeer.ts"
import * as ClientTable from "./ClientTable.ts"
import { concat } from "./Outbox.ts"
import type { RouteClient, Session, Step } from "./RouteClientState.ts"
import { touch } from "./RouteReaders.ts"

/** The desired sets changed. */
export const replan = (client: RouteClient): void => {
  for (const session of client.sessions.values()) session.plan = undefined
}

const makePlan = (client: RouteClient, session: Session): ReadonlyArray<Step> => {
  const steps: Array<Step> = []
  for (const vni of session.leftVnis) steps.push({ _tag: "Unsubscribe", vni })
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
      if (!session.peer.restart) session.settling.set(step.vni, now + client.config.settleMillis)
      frames.push(Message.encode(Message.subscribe(step.vni)))
      return
    case "Unsubscribe":
      session.leftVnis.delete(step.vni)
      frames.push(Message.encode(Message.unsubscribe(step.vni)))
      session.peer = ClientPeer.step(client.config, session.peer, { _tag: "Probe" }, now)[0]
      frames.push(Message.encode(Message.keepalive))
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
