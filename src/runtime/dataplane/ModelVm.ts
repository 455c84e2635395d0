/**
 * A model VM plugged into a port of a model dataplane, with its life as Effects.
 *
 * The model moves packets at once, so an Effect returns when all that it caused has happened: a ping is answered
 * by then, or was lost.
 */
import { Effect } from "effect"
import type { Bytes } from "#protocol/dataplane/model/bytes.ts"
import { finished } from "#protocol/dataplane/model/tcp.ts"
import { make as makeVm, turn, type Vm, type VmEvent, type VmInput } from "#protocol/dataplane/model/vm.ts"
import type { ModelDataplane } from "./ModelDataplane.ts"

export interface ModelVm {
  /** As it is now. */
  readonly vm: Effect.Effect<Vm>
  /** Asks for addresses by DHCPv4 and DHCPv6; what it has then. */
  readonly configure: Effect.Effect<{ readonly ipv4: string | undefined; readonly ipv6: string | undefined }>
  /** Whether an answer came. */
  readonly ping: (to: string, data?: Bytes) => Effect.Effect<boolean>
  readonly listen: (port: number) => Effect.Effect<void>
  /**
   * Sends bytes over TCP, and again after every loss, at most `attempts` times. Whether all was acknowledged and
   * both sides closed. What the other side sent and lost is its own to send again: see `tick`.
   */
  readonly transfer: (to: string, port: number, data: Bytes, attempts?: number) => Effect.Effect<boolean>
  /** Sends again what was not answered. */
  readonly tick: Effect.Effect<void>
  /** Takes what happened since the last call. */
  readonly events: Effect.Effect<ReadonlyArray<VmEvent>>
  readonly unplug: Effect.Effect<void>
}

/** Events that nobody takes; the oldest go first. */
const maxEvents = 4_096

/** Plugs a VM in. `vm`: a MAC, or a VM that has addresses already. */
export const plug = Effect.fn("ModelVm.plug")(function* (
  model: ModelDataplane["Service"],
  device: string,
  vm: string | Vm,
) {
  let now = typeof vm === "string" ? makeVm(vm) : vm
  let events: Array<VmEvent> = []
  let sequence = 0
  const advance = (input: VmInput): ReadonlyArray<Bytes> => {
    const next = turn(now, input)
    now = next.vm
    events = [...events, ...next.events].slice(-maxEvents)
    return next.frames
  }
  const act = (input: VmInput): Effect.Effect<void> =>
    Effect.suspend(() =>
      Effect.forEach(advance(input), (frame) => model.inject(device, frame), { discard: true }),
    )
  yield* model.plug(device, (frame) => advance({ _tag: "Frame", frame }))

  return {
    vm: Effect.sync(() => now),
    configure: act({ _tag: "Dhcp4" }).pipe(
      Effect.andThen(act({ _tag: "Dhcp6" })),
      Effect.andThen(Effect.sync(() => ({ ipv4: now.ipv4, ipv6: now.ipv6 }))),
    ),
    ping: (to, data) =>
      Effect.suspend(() => {
        const mine = ++sequence & 0xffff
        const input = data === undefined ? {} : { data }
        return Effect.map(act({ _tag: "Ping", to, sequence: mine, ...input }), () =>
          events.some((event) => event._tag === "Pong" && event.from === to && event.sequence === mine),
        )
      }),
    listen: (port) => act({ _tag: "Listen", port }),
    transfer: (to, port, data, attempts = 64) =>
      Effect.gen(function* () {
        const key = `${now.nextPort} ${to} ${port}`
        yield* act({ _tag: "Transfer", to, port, data })
        const connection = () => now.connections.get(key)
        const done = () => {
          const mine = connection()
          return mine !== undefined && finished(mine)
        }
        const over = () => done() || (connection()?.reset ?? true)
        for (let attempt = 0; attempt < attempts && !over(); attempt++) yield* act({ _tag: "Tick" })
        return done()
      }),
    tick: act({ _tag: "Tick" }),
    events: Effect.sync(() => {
      const taken = events
      events = []
      return taken
    }),
    unplug: model.plug(device, undefined),
  } satisfies ModelVm as ModelVm
})
