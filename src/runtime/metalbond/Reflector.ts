/**
 * The reflector as a role: accepts metalbond peers, runs the machine of `#actors/route/Reflector.ts`, and serves
 * its status over HTTP. One per process; `ferrite reflector` provides `layer`.
 *
 * Each connection has a reader, a writer and a deadline fiber; whichever ends first ends the session, and the
 * machine is told in a finalizer, so no route outlives its peer by accident. All fibers change the machine
 * synchronously, between two waits.
 *
 * Sending. A writer takes whole frames from its peer's outbox, one write at a time, and waits when the peer does
 * not read; the outbox meanwhile coalesces. A peer that takes nothing for `stallSeconds`, or lags more than
 * `maxPendingPerPeer` changes behind, is cut off (`SlowReader`). Existing (v1) peers do not reassemble frames and
 * reset themselves on bursts, so they get no more than `Pace.ts` allows.
 */
import { Clock, Context, Deferred, Effect, FiberSet, Latch, Layer, type Scope } from "effect"
import * as Machine from "#actors/route/Reflector.ts"
import { MetalbondError, metalbondError } from "#protocol/metalbond/MetalbondError.ts"
import { emptyDecoder } from "#protocol/metalbond/Frame.ts"
import { decodeChunk } from "#protocol/metalbond/Message.ts"
import * as Pace from "./Pace.ts"
import * as ReflectorHttp from "./ReflectorHttp.ts"
import { type Connection, layerTcp, type ListenError, Transport } from "./Transport.ts"

export interface Options extends Partial<Machine.Config> {
  /** `[host]:port`; port 0 takes a free one. */
  readonly listen: string
  /** Status over HTTP; absent: none. */
  readonly http?: string | undefined
  /** A peer that takes none of what we write for this long is cut off. Default 30. */
  readonly stallSeconds?: number
}

export class Reflector extends Context.Service<
  Reflector,
  {
    /** As bound. */
    readonly address: string
    readonly httpAddress: string | undefined
    /** The machine, to look at. */
    readonly machine: Machine.Reflector
  }
>()("ferrite/metalbond/Reflector") {}

/** Frames in one write to a peer that reassembles: about 64 KiB. */
const maxFramesPerWrite = 1024

interface Link {
  readonly wake: Latch.Latch
  /** Opened when the deadline came to lie before `sleepsUntilMillis`. */
  readonly sooner: Latch.Latch
  sleepsUntilMillis: number
  readonly end: Deferred.Deferred<never, MetalbondError>
}

const serve = Effect.fnUntraced(function* (
  machine: Machine.Reflector,
  links: Map<number, Link>,
  act: (actions: ReadonlyArray<Machine.Action>) => void,
  wake: () => void,
  connection: Connection,
  stallSeconds: number,
) {
  const peer = Machine.opened(machine, connection.remote, yield* Clock.currentTimeMillis)
  if (peer instanceof MetalbondError) {
    yield* Effect.logWarning("metalbond peer refused", { peer: connection.remote, reason: peer.reason })
    return
  }
  const link: Link = {
    wake: Latch.makeUnsafe(),
    sooner: Latch.makeUnsafe(),
    sleepsUntilMillis: Number.NEGATIVE_INFINITY,
    end: Deferred.makeUnsafe(),
  }
  links.set(peer.id, link)

  const read = Effect.gen(function* () {
    let decoder = emptyDecoder
    while (true) {
      const chunk = yield* connection.receive
      const now = yield* Clock.currentTimeMillis
      const decoded = decodeChunk(decoder, chunk)
      decoder = decoded.decoder
      for (const message of decoded.messages) act(Machine.received(machine, peer, message, now))
      wake()
      if (peer.session.deadlineMillis < link.sleepsUntilMillis) link.sooner.openUnsafe()
      if (decoded.error !== undefined) return yield* decoded.error
    }
  })
  const write = Effect.gen(function* () {
    const pace = Pace.make(yield* Clock.currentTimeMillis)
    while (true) {
      link.wake.closeUnsafe()
      const paced = peer.session.restartSeconds === 0
      const room = paced ? Pace.room(pace, yield* Clock.currentTimeMillis) : maxFramesPerWrite
      if (room === 0) {
        yield* Effect.sleep(Pace.paceMillis)
        continue
      }
      const before = peer.sent
      const bytes = Machine.take(peer, room)
      if (bytes === undefined) {
        yield* link.wake.await
        continue
      }
      Pace.spend(pace, peer.sent - before)
      if (!connection.write(bytes))
        yield* connection.drained.pipe(
          Effect.timeoutOrElse({
            duration: stallSeconds * 1000,
            orElse: () => Effect.fail(metalbondError("SlowReader", `took nothing for ${stallSeconds} s`)),
          }),
        )
    }
  })
  const deadline = Effect.gen(function* () {
    while (true) {
      const now = yield* Clock.currentTimeMillis
      const wait = peer.session.deadlineMillis - now
      if (wait > 0) {
        link.sooner.closeUnsafe()
        link.sleepsUntilMillis = peer.session.deadlineMillis
        yield* Effect.timeoutOption(link.sooner.await, wait)
      } else {
        act(Machine.peerElapsed(machine, peer, now))
        wake()
        yield* Effect.yieldNow
      }
    }
  })

  const reason = yield* Effect.raceAllFirst([read, write, deadline, Deferred.await(link.end)]).pipe(
    Effect.flip,
    Effect.catchDefect((defect) =>
      Effect.logError("metalbond session failed", defect).pipe(
        Effect.as(metalbondError("TransportFailed", "internal error")),
      ),
    ),
    Effect.onExit((exit) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        links.delete(peer.id)
        const error =
          exit._tag === "Success" ? exit.value : metalbondError("Shutdown", "reflector is closing")
        act(Machine.ended(machine, peer, error, now))
        wake()
      }),
    ),
  )
  yield* Effect.logInfo("metalbond session ended", {
    peer: peer.remote,
    originator: peer.session.originator,
    reason: reason.reason,
    detail: reason.detail,
  })
})

const make = Effect.fnUntraced(function* (
  options: Options,
): Effect.fn.Return<Reflector["Service"], ListenError, Transport | Scope.Scope> {
  const transport = yield* Transport
  const { listen, http, stallSeconds = 30, ...config } = options
  const machine = Machine.make({ ...Machine.defaults, ...config }, yield* Clock.currentTimeMillis)
  const listener = yield* transport.listen(listen)
  const links = new Map<number, Link>()
  const holds = Latch.makeUnsafe()
  let woken: Array<number> = []
  let closing: Array<readonly [number, MetalbondError]> = []
  const act = (actions: ReadonlyArray<Machine.Action>): void => {
    for (const action of actions)
      if (action._tag === "Wake") woken.push(action.peer.id)
      else closing.push([action.peer.id, action.error])
  }
  // Opening a latch runs its waiter at once. It is done when a whole chunk is through the machine, so that all
  // it changes goes out in one write a peer.
  const wake = (): void => {
    const [wakes, closes] = [woken, closing]
    woken = []
    closing = []
    for (const [id, error] of closes) {
      const link = links.get(id)
      if (link !== undefined) Deferred.doneUnsafe(link.end, Effect.fail(error))
    }
    for (const id of wakes) links.get(id)?.wake.openUnsafe()
    if (machine.held.size > 0) holds.openUnsafe()
  }

  const sessions = yield* FiberSet.make()
  yield* Effect.gen(function* () {
    while (true) {
      const connection = yield* listener.accept
      yield* FiberSet.run(
        sessions,
        serve(machine, links, act, wake, connection, stallSeconds).pipe(Effect.ensuring(connection.close)),
      )
    }
  }).pipe(Effect.forkScoped)

  yield* Effect.gen(function* () {
    while (true) {
      holds.closeUnsafe()
      const now = yield* Clock.currentTimeMillis
      act(Machine.elapsed(machine, now))
      wake()
      const due = Machine.nextDue(machine)
      // A hold that starts meanwhile may end sooner: looked at again when it does.
      if (due === Number.POSITIVE_INFINITY) yield* holds.await
      else yield* Effect.sleep(Math.min(due - now, maxSleepMillis))
    }
  }).pipe(Effect.forkScoped)

  const httpAddress = http === undefined ? undefined : yield* ReflectorHttp.serve(machine, http)
  yield* Effect.logInfo("reflector listening", { address: listener.address, http: httpAddress })
  return Reflector.of({ address: listener.address, httpAddress, machine })
})

/** Holds of different length overlap; the next end is looked for at least this often while any is open. */
const maxSleepMillis = 1_000

/** Over whatever `Transport` is given. */
export const layerTransport = (options: Options): Layer.Layer<Reflector, ListenError, Transport> =>
  Layer.effect(Reflector, make(options))

/** The role over TCP. Fails with `ListenError` when an address cannot be bound. */
export const layer = (options: Options): Layer.Layer<Reflector, ListenError> =>
  layerTransport(options).pipe(Layer.provide(layerTcp))
