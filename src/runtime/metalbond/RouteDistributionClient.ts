/**
 * `RouteDistribution` over metalbond: the machine of `#actors/route/RouteClient.ts` with one supervised session
 * per reflector. One per host.
 *
 * A session that ends, for whatever reason, is started again after a pause of 50 ms that doubles up to 5 s, with
 * jitter; one that held for 10 s starts over at 50 ms. Sessions know nothing of each other: a reflector that is
 * down, slow or mad delays nobody. Losing one changes nothing in the table until it is back and level, or its
 * routes' hold time ends.
 *
 * Closing the layer ends the connections without a word, as a crash would: whoever restarts the host's agent
 * keeps its routes for `restartSeconds`. To leave for good, `announce([])` first.
 */
import { Cause, Clock, Effect, Latch, Layer, Random, Stream } from "effect"
import * as Machine from "#actors/route/RouteClient.ts"
import { emptyDecoder } from "#protocol/metalbond/Frame.ts"
import { decodeChunk } from "#protocol/metalbond/Message.ts"
import { MetalbondError, metalbondError } from "#protocol/metalbond/MetalbondError.ts"
import { RouteDistribution } from "#protocol/metalbond/RouteDistribution.ts"
import * as Pace from "./Pace.ts"
import { layerTcp, Transport } from "./Transport.ts"

export interface Options {
  /** `[host]:port` each, at most 16. */
  readonly reflectors: ReadonlyArray<string>
  /** The node's name: by it reflectors recognise the host after a restart. At most 64 bytes. */
  readonly originator: string
  /** How long reflectors should hold our routes when we are gone. Default 60; 0: plain v1. */
  readonly restartSeconds?: number
  /** Default 3. */
  readonly keepaliveSeconds?: number
  /** How long routes of a lost reflector stay. Default 120. */
  readonly holdSeconds?: number
  /** After this long a v1 reflector counts as level. Default 15. */
  readonly settleSeconds?: number
}

const helloTimeoutMillis = 5_000
const connectTimeoutMillis = 5_000
const firstPauseMillis = 50
const lastPauseMillis = 5_000
const goodSessionMillis = 10_000
const maxFramesPerWrite = 1024

interface Wakes {
  readonly write: Latch.Latch
  readonly time: Latch.Latch
  readonly hold: Latch.Latch
  /** What the timer fiber sleeps for; infinity: not asleep. */
  timerDue: number
}

const make = Effect.fnUntraced(function* (options: Options) {
  const transport = yield* Transport
  const machine = Machine.make({
    reflectors: [...new Set(options.reflectors)],
    originator: options.originator,
    restartSeconds: options.restartSeconds ?? 60,
    keepaliveSeconds: options.keepaliveSeconds ?? 3,
    holdMillis: (options.holdSeconds ?? 120) * 1000,
    settleMillis: (options.settleSeconds ?? 15) * 1000,
    helloTimeoutMillis,
  })
  const wakes = new Map<string, Wakes>()
  const readers = new Map<Machine.Reader, Latch.Latch>()
  /** After every change of the machine: whoever has something to do now is woken. */
  const flush = (): void => {
    for (const session of machine.sessions.values()) {
      const wake = wakes.get(session.address)!
      if (Machine.hasWork(machine, session)) wake.write.openUnsafe()
      if (Machine.nextDue(session) < wake.timerDue) wake.time.openUnsafe()
      if (session.holdEnds.length > 0) wake.hold.openUnsafe()
    }
    for (const [reader, latch] of readers) if (Machine.hasNews(reader)) latch.openUnsafe()
  }

  const connected = Effect.fnUntraced(function* (session: Machine.Session, wake: Wakes) {
    const connection = yield* Effect.acquireRelease(
      transport.connect(session.address).pipe(
        Effect.timeoutOrElse({
          duration: connectTimeoutMillis,
          orElse: () =>
            Effect.fail(metalbondError("ConnectTimeout", `no connection within ${connectTimeoutMillis} ms`)),
        }),
      ),
      ({ close }) => close,
    )
    Machine.opened(machine, session, yield* Clock.currentTimeMillis)
    flush()

    const read = Effect.gen(function* () {
      let decoder = emptyDecoder
      let established = false
      while (true) {
        const chunk = yield* connection.receive
        const now = yield* Clock.currentTimeMillis
        const decoded = decodeChunk(decoder, chunk)
        decoder = decoded.decoder
        let error: MetalbondError | undefined
        for (const message of decoded.messages) {
          error = Machine.received(machine, session, message, now)
          if (error !== undefined) break
        }
        flush()
        if (!established && session.peer.phase === "Established") {
          established = true
          yield* Effect.logInfo("reflector established", {
            reflector: session.address,
            gracefulRestart: session.peer.restart,
          })
        }
        error ??= decoded.error
        if (error !== undefined) return yield* error
      }
    })
    const write = Effect.gen(function* () {
      const pace = Pace.make(yield* Clock.currentTimeMillis)
      while (true) {
        wake.write.closeUnsafe()
        const now = yield* Clock.currentTimeMillis
        // A reflector that does not reassemble frames is not to be sent more than it reads at once.
        const room = session.peer.restart ? maxFramesPerWrite : Pace.room(pace, now)
        if (room === 0) {
          yield* Effect.sleep(Pace.paceMillis)
          continue
        }
        const taken = Machine.take(machine, session, room, now)
        flush()
        if (taken === undefined) {
          yield* wake.write.await
          continue
        }
        Pace.spend(pace, taken.frames)
        if (!connection.write(taken.bytes)) yield* connection.drained
      }
    })
    const timer = Effect.gen(function* () {
      while (true) {
        const now = yield* Clock.currentTimeMillis
        const due = Machine.nextDue(session)
        wake.time.closeUnsafe()
        if (now >= due) {
          const error = Machine.elapsed(machine, session, now)
          flush()
          if (error !== undefined) return yield* error
          continue
        }
        wake.timerDue = due
        yield* due === Number.POSITIVE_INFINITY
          ? wake.time.await
          : Effect.timeoutOption(wake.time.await, due - now)
        wake.timerDue = Number.NEGATIVE_INFINITY
      }
    })
    return yield* Effect.raceAllFirst([read, write, timer])
  }, Effect.scoped)

  const supervised = Effect.fnUntraced(function* (session: Machine.Session, wake: Wakes) {
    let attempt = 0
    while (true) {
      const started = yield* Clock.currentTimeMillis
      Machine.connecting(session)
      const error = yield* connected(session, wake).pipe(
        Effect.catchCause((cause) => {
          const failed = cause.reasons.find(Cause.isFailReason)
          if (failed !== undefined && failed.error instanceof MetalbondError)
            return Effect.succeed(failed.error)
          return Cause.hasInterruptsOnly(cause)
            ? Effect.failCause(cause)
            : Effect.logError("metalbond session failed", cause).pipe(
                Effect.as(metalbondError("TransportFailed", "internal error")),
              )
        }),
      )
      const now = yield* Clock.currentTimeMillis
      const wasEstablished = session.peer.phase === "Established"
      if (wasEstablished && now - started >= goodSessionMillis) attempt = 0
      if (wasEstablished || attempt === 0)
        yield* Effect.logWarning("reflector lost", {
          reflector: session.address,
          reason: error.reason,
          detail: error.detail,
        })
      Machine.ended(machine, session, error, now)
      flush()
      const pause = Math.min(lastPauseMillis, firstPauseMillis * 2 ** Math.min(attempt++, 10))
      yield* Effect.sleep(pause * (0.5 + 0.5 * (yield* Random.next)))
    }
  })

  const holds = Effect.fnUntraced(function* (session: Machine.Session, wake: Wakes) {
    while (true) {
      wake.hold.closeUnsafe()
      const now = yield* Clock.currentTimeMillis
      const due = Machine.nextHoldEnd(session)
      if (due === Number.POSITIVE_INFINITY) yield* wake.hold.await
      else if (now < due) yield* Effect.sleep(due - now)
      else {
        Machine.sweepHolds(machine, session, now)
        flush()
      }
    }
  })

  yield* Effect.addFinalizer(() =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      for (const session of machine.sessions.values()) Machine.ended(machine, session, Machine.shutdown, now)
    }),
  )
  for (const session of machine.sessions.values()) {
    const wake: Wakes = {
      write: Latch.makeUnsafe(),
      time: Latch.makeUnsafe(),
      hold: Latch.makeUnsafe(),
      timerDue: Number.NEGATIVE_INFINITY,
    }
    wakes.set(session.address, wake)
    yield* Effect.forkScoped(supervised(session, wake))
    yield* Effect.forkScoped(holds(session, wake))
  }

  const openReader = Effect.acquireRelease(
    Effect.sync(() => {
      const reader = Machine.openReader(machine)
      // The present table comes at once, even when it is empty.
      readers.set(reader, Latch.makeUnsafe(true))
      return reader
    }),
    (reader) =>
      Effect.sync(() => {
        machine.readers.delete(reader)
        readers.delete(reader)
      }),
  )
  return RouteDistribution.of({
    announce: (desired) =>
      Effect.suspend(() => {
        const invalid = Machine.announce(machine, desired)
        flush()
        return invalid.length === 0
          ? Effect.void
          : Effect.logError("announcements left out", { routes: invalid.map(({ message }) => message) })
      }),
    subscribe: (vnis) =>
      Effect.sync(() => {
        Machine.subscribe(machine, vnis)
        flush()
      }),
    updates: Stream.unwrap(
      Effect.map(openReader, (reader) => {
        const latch = readers.get(reader)!
        return Stream.fromEffectRepeat(
          Effect.map(latch.await, () => {
            latch.closeUnsafe()
            return Machine.takeNews(machine, reader)
          }),
        )
      }),
    ),
    table: (vni) => Effect.sync(() => Machine.table(machine, vni)),
    reflectors: Effect.sync(() => Machine.reflectors(machine)),
  })
})

/** Over whatever `Transport` is given. */
export const layerTransport = (options: Options): Layer.Layer<RouteDistribution, never, Transport> =>
  Layer.effect(RouteDistribution, make(options))

/** Over TCP. */
export const layer = (options: Options): Layer.Layer<RouteDistribution> =>
  layerTransport(options).pipe(Layer.provide(layerTcp))
