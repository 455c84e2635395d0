/**
 * One incoming metalbond session, as a pure machine: `(state, event, now) -> (state, actions)`.
 *
 * ```
 * AwaitHello --HELLO--> HelloSent --KEEPALIVE--> Established --error, timeout, end--> (gone)
 * ```
 *
 * Choices where existing programs differ from each other or from sense:
 * - Before its HELLO a peer may say nothing else (`HelloExpected`), and has 5 s to say it.
 * - A keepalive interval of 0 is refused (the decoder's `KeepaliveZero`); it costs that peer only.
 * - The interval is the smaller of both HELLOs, computed from our configured value each time: it never
 *   ratchets. A second HELLO negotiates the interval anew, is answered, and changes nothing else; subscriptions
 *   and announcements stay. With another originator it ends the session.
 * - Once established, any whole frame is a sign of life, not KEEPALIVE alone: a peer that pours out a large
 *   table has its KEEPALIVE queued behind it. The time-out is 2.5 intervals. Before that, only the KEEPALIVE
 *   counts, so that the half-open state cannot be held open.
 * - UPDATE and (UN)SUBSCRIBE are taken from HELLO on (TCP keeps the order, there is nothing to wait for).
 * - `END_OF_TABLE` is for peers with which graceful restart was negotiated: both HELLOs carry `restartSeconds`.
 *   A v1 peer is answered in v1, byte for byte.
 */
import { type MetalbondError, metalbondError } from "#protocol/metalbond/MetalbondError.ts"
import { type Hello, hello, keepalive, type Message } from "#protocol/metalbond/Message.ts"
import type { Route } from "#protocol/metalbond/Route.ts"

export interface Config {
  readonly keepaliveSeconds: number
  readonly helloTimeoutMillis: number
  /** Sent to peers that ask for graceful restart; 0: never negotiated. */
  readonly restartSeconds: number
}

export interface State {
  readonly phase: "AwaitHello" | "HelloSent" | "Established"
  /** Negotiated; 0 before HELLO. */
  readonly keepaliveSeconds: number
  /** The peer's, 0 unless graceful restart was negotiated. */
  readonly restartSeconds: number
  readonly originator: string
  /** The session ends at this instant (milliseconds of the Clock) unless something moves it. */
  readonly deadlineMillis: number
}

export type Event = { readonly _tag: "Received"; readonly message: Message } | { readonly _tag: "Elapsed" }

export type Action =
  | { readonly _tag: "Send"; readonly message: Message }
  /** HELLO was accepted: the peer has a name (or none) from here on. */
  | { readonly _tag: "Identified"; readonly originator: string; readonly restartSeconds: number }
  | { readonly _tag: "Announce"; readonly route: Route }
  | { readonly _tag: "Withdraw"; readonly route: Route }
  | { readonly _tag: "Subscribe"; readonly vni: number }
  | { readonly _tag: "Unsubscribe"; readonly vni: number }
  /** All of the peer's announcements are made; what it held before and did not repeat is gone. */
  | { readonly _tag: "AnnouncementsComplete" }
  | { readonly _tag: "Close"; readonly error: MetalbondError }

export const timeoutIntervals = 2.5

export const initial = (config: Config, now: number): State => ({
  phase: "AwaitHello",
  keepaliveSeconds: 0,
  restartSeconds: 0,
  originator: "",
  deadlineMillis: now + config.helloTimeoutMillis,
})

type Step = readonly [State, ReadonlyArray<Action>]
const send = (message: Message): Action => ({ _tag: "Send", message })
const close = (error: MetalbondError): Action => ({ _tag: "Close", error })
const none: ReadonlyArray<Action> = []

const alive = (state: State, now: number): State => ({
  ...state,
  deadlineMillis: now + state.keepaliveSeconds * 1000 * timeoutIntervals,
})

const receiveHello = (config: Config, state: State, message: Hello, now: number): Step => {
  const first = state.phase === "AwaitHello"
  if (!first && message.originator !== state.originator)
    return [
      state,
      [close(metalbondError("OriginatorChanged", `"${state.originator}" became "${message.originator}"`))],
    ]
  const restart = first
    ? config.restartSeconds > 0 && message.restartSeconds > 0
      ? message.restartSeconds
      : 0
    : state.restartSeconds
  const keepaliveSeconds = Math.min(config.keepaliveSeconds, message.keepaliveSeconds)
  const next = alive(
    {
      ...state,
      phase: first ? "HelloSent" : state.phase,
      keepaliveSeconds,
      restartSeconds: restart,
      originator: message.originator,
    },
    now,
  )
  const reply = send(
    hello({ keepaliveSeconds, isServer: true, restartSeconds: restart > 0 ? config.restartSeconds : 0 }),
  )
  return first
    ? [next, [{ _tag: "Identified", originator: message.originator, restartSeconds: restart }, reply]]
    : [next, [reply]]
}

export const step = (config: Config, state: State, event: Event, now: number): Step => {
  if (event._tag === "Elapsed") {
    if (now < state.deadlineMillis) return [state, none]
    return state.phase === "AwaitHello"
      ? [state, [close(metalbondError("HelloTimeout", `no HELLO within ${config.helloTimeoutMillis} ms`))]]
      : [
          state,
          [
            close(
              metalbondError(
                "KeepaliveTimeout",
                `silent for ${state.keepaliveSeconds * timeoutIntervals} s (interval ${state.keepaliveSeconds} s)`,
              ),
            ),
          ],
        ]
  }
  const { message } = event
  if (message._tag === "Hello") return receiveHello(config, state, message, now)
  if (state.phase === "AwaitHello")
    return [state, [close(metalbondError("HelloExpected", `${message._tag} before HELLO`))]]
  if (message._tag === "Keepalive") return [alive({ ...state, phase: "Established" }, now), [send(keepalive)]]
  const next = state.phase === "Established" ? alive(state, now) : state
  switch (message._tag) {
    case "Update":
      return [next, [{ _tag: message.remove ? "Withdraw" : "Announce", route: message.route }]]
    case "Subscribe":
      return [next, [{ _tag: "Subscribe", vni: message.vni }]]
    case "Unsubscribe":
      return [next, [{ _tag: "Unsubscribe", vni: message.vni }]]
    case "EndOfTable":
      return state.restartSeconds === 0
        ? [next, [close(metalbondError("NotNegotiated", "END_OF_TABLE without restartSeconds in HELLO"))]]
        : // Only vni 0 has a meaning from a client; others are kept free.
          [next, message.vni === 0 ? [{ _tag: "AnnouncementsComplete" }] : none]
  }
}
