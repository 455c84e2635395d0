/**
 * One outgoing metalbond session, as a pure machine: `(state, event, now) -> (state, actions)`.
 *
 * ```
 * Connecting --Opened: HELLO--> HelloSent --HELLO: KEEPALIVE--> HelloReceived --KEEPALIVE--> Established
 *      ^------------------------- Retry <-- error, time-out, end --------------------------------|
 * ```
 *
 * The client sends KEEPALIVE on HELLO and then every interval; the reflector only answers. The interval is the
 * smaller of both HELLOs for this session; the next session starts from the configured one again. A reflector
 * is lost after 2.5 intervals without a whole frame from it.
 *
 * `answered` counts the reflector's KEEPALIVEs against ours: since both directions are ordered, the answer to a
 * KEEPALIVE that was sent after an UNSUBSCRIBE proves that nothing of the old subscription is still under way.
 */
import { type MetalbondError, metalbondError } from "#protocol/metalbond/MetalbondError.ts"
import { hello, keepalive, type Message } from "#protocol/metalbond/Message.ts"
import type { Route } from "#protocol/metalbond/Route.ts"
import type { ReflectorState } from "#protocol/metalbond/RouteDistribution.ts"
import { timeoutIntervals } from "./ServerPeer.ts"

export interface Config {
  readonly keepaliveSeconds: number
  readonly helloTimeoutMillis: number
  /** 0: speak v1 only; HELLO then carries neither this nor the originator. */
  readonly restartSeconds: number
  readonly originator: string
}

export interface State {
  readonly phase: ReflectorState["state"]
  readonly keepaliveSeconds: number
  /** Both HELLOs carried restartSeconds: END_OF_TABLE is spoken. */
  readonly restart: boolean
  readonly deadlineMillis: number
  readonly nextKeepaliveMillis: number
  readonly sent: number
  readonly answered: number
}

export type Event =
  | { readonly _tag: "Opened" }
  | { readonly _tag: "Received"; readonly message: Message }
  | { readonly _tag: "Elapsed" }
  /** A KEEPALIVE out of turn, as a barrier behind what was sent before. */
  | { readonly _tag: "Probe" }

export type Action =
  | { readonly _tag: "Send"; readonly message: Message }
  | { readonly _tag: "Established" }
  | { readonly _tag: "Announced"; readonly route: Route }
  | { readonly _tag: "Withdrawn"; readonly route: Route }
  | { readonly _tag: "Level"; readonly vni: number }
  | { readonly _tag: "Close"; readonly error: MetalbondError }

const never = Number.POSITIVE_INFINITY

export const initial: State = {
  phase: "Connecting",
  keepaliveSeconds: 0,
  restart: false,
  deadlineMillis: never,
  nextKeepaliveMillis: never,
  sent: 0,
  answered: 0,
}

/** When `Elapsed` is due next, milliseconds of the Clock. */
export const nextDue = (state: State): number => Math.min(state.deadlineMillis, state.nextKeepaliveMillis)

type Step = readonly [State, ReadonlyArray<Action>]
const none: ReadonlyArray<Action> = []
const send = (message: Message): Action => ({ _tag: "Send", message })
const close = (state: State, error: MetalbondError): Step => [state, [{ _tag: "Close", error }]]
const probe = (state: State): State => ({ ...state, sent: state.sent + 1 })
const alive = (state: State, now: number): State => ({
  ...state,
  deadlineMillis: now + state.keepaliveSeconds * 1000 * timeoutIntervals,
})

const elapsed = (config: Config, state: State, now: number): Step => {
  if (now >= state.deadlineMillis)
    return close(
      state,
      state.phase === "HelloSent"
        ? metalbondError("HelloTimeout", `no HELLO within ${config.helloTimeoutMillis} ms`)
        : metalbondError("KeepaliveTimeout", `silent for ${state.keepaliveSeconds * timeoutIntervals} s`),
    )
  if (now < state.nextKeepaliveMillis) return [state, none]
  return [probe({ ...state, nextKeepaliveMillis: now + state.keepaliveSeconds * 1000 }), [send(keepalive)]]
}

const received = (config: Config, state: State, message: Message, now: number): Step => {
  if (message._tag === "Hello") {
    const keepaliveSeconds = Math.min(config.keepaliveSeconds, message.keepaliveSeconds)
    const next = alive({ ...state, keepaliveSeconds }, now)
    if (state.phase !== "HelloSent") return [next, none]
    return [
      probe({
        ...next,
        phase: "HelloReceived",
        restart: config.restartSeconds > 0 && message.restartSeconds > 0,
        nextKeepaliveMillis: now + keepaliveSeconds * 1000,
      }),
      [send(keepalive)],
    ]
  }
  if (state.phase === "HelloSent")
    return close(state, metalbondError("HelloExpected", `${message._tag} before HELLO`))
  const next = alive(state, now)
  switch (message._tag) {
    case "Keepalive": {
      const answered = { ...next, answered: next.answered + 1 }
      if (state.phase !== "HelloReceived") return [answered, none]
      return [{ ...answered, phase: "Established" }, [{ _tag: "Established" }]]
    }
    case "Update":
      return [next, [{ _tag: message.remove ? "Withdrawn" : "Announced", route: message.route }]]
    case "EndOfTable":
      return state.restart
        ? [next, [{ _tag: "Level", vni: message.vni }]]
        : close(next, metalbondError("NotNegotiated", "END_OF_TABLE without restartSeconds in HELLO"))
    case "Subscribe":
    case "Unsubscribe":
      // A reflector that wants our table gets what it would get anyway: all announcements.
      return [next, none]
  }
}

export const step = (config: Config, state: State, event: Event, now: number): Step => {
  switch (event._tag) {
    case "Opened":
      return [
        { ...initial, phase: "HelloSent", deadlineMillis: now + config.helloTimeoutMillis },
        [
          send(
            hello({
              keepaliveSeconds: config.keepaliveSeconds,
              restartSeconds: config.restartSeconds,
              originator: config.restartSeconds > 0 ? config.originator : "",
            }),
          ),
        ],
      ]
    case "Elapsed":
      return elapsed(config, state, now)
    case "Received":
      return received(config, state, event.message, now)
    case "Probe":
      return [probe(state), [send(keepalive)]]
  }
}
