/**
 * `Transport` within one process, with the faults of a network: for tests and simulated regions under TestClock.
 *
 * Bytes arrive in order and at once. A partition holds them back, as TCP does: nothing is lost when it heals in
 * time, and both sides run into their time-outs when it does not. `disconnect` breaks connections and loses what
 * is under way.
 */
import { Context, Effect, Layer, Queue } from "effect"
import { type MetalbondError, metalbondError } from "#protocol/metalbond/MetalbondError.ts"
import { type Connection, joinChunks, ListenError, type Listener, Transport } from "./Transport.ts"

/** Selects connections by who made them (`layerHost`) and to which address; absent: any. */
export interface Selector {
  readonly from?: string
  readonly to?: string
}

export class MemoryNetwork extends Context.Service<
  MemoryNetwork,
  {
    readonly disconnect: (which: Selector) => Effect.Effect<void>
    readonly partition: (which: Selector) => Effect.Effect<void>
    /** Ends all partitions. */
    readonly heal: Effect.Effect<void>
    readonly transport: (from: string) => Transport["Service"]
  }
>()("ferrite/metalbond/MemoryNetwork") {}

/** Bytes under way in one direction before `write` says stop. */
const windowBytes = 64 * 1024

interface Pipe {
  chunks: Array<Uint8Array>
  bytes: number
  over: MetalbondError | undefined
  held: boolean
  reader: ((result: Effect.Effect<Uint8Array, MetalbondError>) => void) | undefined
  writer: ((result: Effect.Effect<void>) => void) | undefined
}

const makePipe = (): Pipe => ({
  chunks: [],
  bytes: 0,
  over: undefined,
  held: false,
  reader: undefined,
  writer: undefined,
})

const settle = (pipe: Pipe): void => {
  if (pipe.reader !== undefined && !pipe.held && (pipe.chunks.length > 0 || pipe.over !== undefined)) {
    const { reader } = pipe
    pipe.reader = undefined
    if (pipe.chunks.length > 0) {
      const bytes = joinChunks(pipe.chunks)
      pipe.chunks = []
      pipe.bytes = 0
      reader(Effect.succeed(bytes))
    } else reader(Effect.fail(pipe.over!))
  }
  if (pipe.writer !== undefined && (pipe.bytes < windowBytes || pipe.over !== undefined)) {
    const { writer } = pipe
    pipe.writer = undefined
    writer(Effect.void)
  }
}

const endPipe = (pipe: Pipe, error: MetalbondError): void => {
  pipe.over ??= error
  settle(pipe)
}

const connectionOf = (remote: string, incoming: Pipe, outgoing: Pipe): Connection => ({
  remote,
  receive: Effect.callback((resume) => {
    incoming.reader = resume
    settle(incoming)
    return Effect.sync(() => {
      incoming.reader = undefined
    })
  }),
  write: (bytes) => {
    if (outgoing.over !== undefined) return true
    outgoing.chunks.push(Uint8Array.from(bytes))
    outgoing.bytes += bytes.length
    settle(outgoing)
    return outgoing.bytes < windowBytes
  },
  drained: Effect.callback((resume) => {
    outgoing.writer = resume
    settle(outgoing)
    return Effect.sync(() => {
      outgoing.writer = undefined
    })
  }),
  close: Effect.sync(() => {
    endPipe(outgoing, metalbondError("PeerClosed", "the peer closed the connection"))
    endPipe(incoming, metalbondError("PeerClosed", "closed here"))
  }),
})

interface Link {
  readonly from: string
  readonly to: string
  readonly pipes: ReadonlyArray<Pipe>
}

const matches = (which: Selector, from: string, to: string): boolean =>
  (which.from === undefined || which.from === from) && (which.to === undefined || which.to === to)

const makeNetwork = (): MemoryNetwork["Service"] => {
  const listeners = new Map<string, Queue.Queue<Connection>>()
  const links = new Set<Link>()
  const partitions: Array<Selector> = []
  const waiting = new Set<() => void>()
  let lastPort = 49_151
  const isCut = (from: string, to: string) => partitions.some((which) => matches(which, from, to))

  const healed = (from: string, to: string): Effect.Effect<void> =>
    Effect.callback((resume) => {
      if (!isCut(from, to)) return resume(Effect.void)
      const wake = () => resume(healed(from, to))
      waiting.add(wake)
      return Effect.sync(() => waiting.delete(wake))
    })

  const connect = Effect.fnUntraced(function* (from: string, to: string) {
    yield* healed(from, to)
    const listener = listeners.get(to)
    if (listener === undefined) return yield* metalbondError("TransportFailed", `nobody listens on ${to}`)
    const pipes = [makePipe(), makePipe()] as const
    for (const link of links) if (link.pipes.every(({ over }) => over !== undefined)) links.delete(link)
    links.add({ from, to, pipes })
    Queue.offerUnsafe(listener, connectionOf(`${from}:${++lastPort}`, pipes[0], pipes[1]))
    return connectionOf(to, pipes[1], pipes[0])
  })

  const listen = Effect.fnUntraced(function* (wanted: string) {
    const address = wanted.endsWith(":0") ? `${wanted.slice(0, -1)}${++lastPort}` : wanted
    if (listeners.has(address)) return yield* new ListenError({ address, detail: "address in use" })
    const queue = yield* Queue.unbounded<Connection>()
    yield* Effect.acquireRelease(
      Effect.sync(() => listeners.set(address, queue)),
      () => Effect.sync(() => listeners.delete(address)),
    )
    const listener: Listener = { address, accept: Queue.take(queue) }
    return listener
  })

  return MemoryNetwork.of({
    disconnect: (which) =>
      Effect.sync(() => {
        for (const { from, to, pipes } of links)
          if (matches(which, from, to))
            for (const pipe of pipes) {
              pipe.chunks = []
              pipe.bytes = 0
              pipe.held = false
              endPipe(pipe, metalbondError("TransportFailed", "connection reset"))
            }
      }),
    partition: (which) =>
      Effect.sync(() => {
        partitions.push(which)
        for (const { from, to, pipes } of links)
          if (matches(which, from, to)) for (const pipe of pipes) pipe.held = true
      }),
    heal: Effect.sync(() => {
      partitions.length = 0
      for (const { pipes } of links)
        for (const pipe of pipes) {
          pipe.held = false
          settle(pipe)
        }
      for (const wake of waiting) wake()
      waiting.clear()
    }),
    transport: (from) => Transport.of({ connect: (to) => connect(from, to), listen }),
  })
}

export const layerNetwork: Layer.Layer<MemoryNetwork> = Layer.sync(MemoryNetwork, makeNetwork)

/** The transport of one named host on the network. */
export const layerHost = (from: string): Layer.Layer<Transport, never, MemoryNetwork> =>
  Layer.effect(
    Transport,
    Effect.map(MemoryNetwork, (network) => network.transport(from)),
  )

/** A network with one nameless host: what most tests need. */
export const layer: Layer.Layer<Transport | MemoryNetwork> = layerHost("memory").pipe(
  Layer.provideMerge(layerNetwork),
)
