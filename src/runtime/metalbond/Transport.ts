/**
 * Byte streams for metalbond. Reflector and client see only this: `layerTcp` is the network, `Memory.ts` is the
 * same on a virtual one, so that a whole region runs in one process under TestClock.
 *
 * A connection is read by one fiber and written by one other. `write` never waits: it says whether there is room
 * for more, and `drained` waits for that; what is written is one call, so a frame is never cut by us.
 */
import { Context, Effect, Layer, Schema, type Scope } from "effect"
import * as net from "node:net"
import { type MetalbondError, metalbondError } from "#protocol/metalbond/MetalbondError.ts"

export interface Connection {
  /** Of the other side, for people: `[::1]:40312`. */
  readonly remote: string
  /** The next bytes, at least one; fails when the connection is over (`PeerClosed`, `TransportFailed`). */
  readonly receive: Effect.Effect<Uint8Array, MetalbondError>
  /** False: wait for `drained` before the next one. Ignored after the end, which `receive` reports. */
  readonly write: (bytes: Uint8Array) => boolean
  readonly drained: Effect.Effect<void>
  /** Ends the connection at once; idempotent. */
  readonly close: Effect.Effect<void>
}

export interface Listener {
  /** As bound: with port 0, the port that was chosen. */
  readonly address: string
  readonly accept: Effect.Effect<Connection>
}

export class ListenError extends Schema.TaggedError<ListenError>()("ListenError", {
  address: Schema.String,
  detail: Schema.String,
}) {
  override get message(): string {
    return `cannot listen on ${this.address}: ${this.detail}`
  }
}

export class Transport extends Context.Service<
  Transport,
  {
    readonly connect: (address: string) => Effect.Effect<Connection, MetalbondError>
    readonly listen: (address: string) => Effect.Effect<Listener, ListenError, Scope.Scope>
  }
>()("ferrite/metalbond/Transport") {}

/** Connections that wait to be accepted. */
const maxBacklog = 1024
/** Bytes that were read but not taken: over it the socket is paused. */
const maxUnread = 256 * 1024

export interface HostPort {
  readonly host: string
  readonly port: number
}

/** `[::1]:4711`, `127.0.0.1:4711`, `reflector-a:4711`; undefined when it is none of these. */
export const parseAddress = (address: string): HostPort | undefined => {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(address)
  if (match === null) return undefined
  const port = Number(match[3])
  return port > 65_535 ? undefined : { host: match[1] ?? match[2]!, port }
}

export const formatAddress = (host: string, port: number): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`

export const joinChunks = (chunks: ReadonlyArray<Uint8Array>): Uint8Array =>
  chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)

/** Wraps a connected socket; its `data` is read from here on. */
const fromSocket = (socket: net.Socket): Connection => {
  let unread: Array<Uint8Array> = []
  let unreadBytes = 0
  let over: MetalbondError | undefined
  let reader: ((result: Effect.Effect<Uint8Array, MetalbondError>) => void) | undefined
  let writer: ((result: Effect.Effect<void>) => void) | undefined
  const takeUnread = (): Effect.Effect<Uint8Array, MetalbondError> => {
    const bytes = joinChunks(unread)
    unread = []
    unreadBytes = 0
    if (socket.isPaused()) socket.resume()
    return Effect.succeed(bytes)
  }
  const end = (error: MetalbondError) => {
    over ??= error
    const waiting = reader
    reader = undefined
    waiting?.(Effect.fail(over))
    writer?.(Effect.void)
    writer = undefined
  }
  socket.on("data", (chunk: Buffer) => {
    unread.push(chunk)
    unreadBytes += chunk.length
    if (reader !== undefined) {
      const waiting = reader
      reader = undefined
      waiting(takeUnread())
    } else if (unreadBytes >= maxUnread) socket.pause()
  })
  socket.on("drain", () => {
    writer?.(Effect.void)
    writer = undefined
  })
  socket.on("end", () => end(metalbondError("PeerClosed", "the peer closed the connection")))
  socket.on("error", (error) => end(metalbondError("TransportFailed", error.message)))
  socket.on("close", () => end(metalbondError("PeerClosed", "the connection is closed")))
  return {
    remote: formatAddress(socket.remoteAddress ?? "?", socket.remotePort ?? 0),
    receive: Effect.callback((resume) => {
      if (unread.length > 0) return resume(takeUnread())
      if (over !== undefined) return resume(Effect.fail(over))
      reader = resume
      return Effect.sync(() => {
        reader = undefined
      })
    }),
    write: (bytes) => (over === undefined ? socket.write(bytes) : true),
    drained: Effect.callback((resume) => {
      if (over !== undefined || !socket.writableNeedDrain) return resume(Effect.void)
      writer = resume
      return Effect.sync(() => {
        writer = undefined
      })
    }),
    close: Effect.sync(() => {
      socket.destroy()
    }),
  }
}

const connect = Effect.fnUntraced(function* (address: string): Effect.fn.Return<Connection, MetalbondError> {
  const target = parseAddress(address)
  if (target === undefined) return yield* metalbondError("TransportFailed", `"${address}" is not [host]:port`)
  return yield* Effect.callback<Connection, MetalbondError>((resume) => {
    const socket = net.connect({ ...target, noDelay: true })
    const failed = (error: Error) => resume(Effect.fail(metalbondError("TransportFailed", error.message)))
    socket.once("error", failed)
    socket.once("connect", () => {
      const connection = fromSocket(socket)
      socket.off("error", failed)
      resume(Effect.succeed(connection))
    })
    return Effect.sync(() => {
      socket.destroy()
    })
  })
})

const listen = (address: string): Effect.Effect<Listener, ListenError, Scope.Scope> => {
  const failed = (detail: string) => new ListenError({ address, detail })
  const acquire = Effect.callback<{ readonly server: net.Server; readonly listener: Listener }, ListenError>(
    (resume) => {
      const target = parseAddress(address)
      if (target === undefined) return resume(Effect.fail(failed("not [host]:port")))
      const backlog: Array<Connection> = []
      let acceptor: ((result: Effect.Effect<Connection>) => void) | undefined
      const server = net.createServer({ noDelay: true }, (socket) => {
        const connection = fromSocket(socket)
        if (acceptor !== undefined) {
          const waiting = acceptor
          acceptor = undefined
          waiting(Effect.succeed(connection))
        } else if (backlog.length < maxBacklog) backlog.push(connection)
        else socket.destroy()
      })
      server.on("error", (error) => resume(Effect.fail(failed(error.message))))
      server.listen({ ...target, backlog: maxBacklog }, () => {
        const bound = server.address() as net.AddressInfo
        const accept = Effect.callback<Connection>((resumeAccept) => {
          const next = backlog.shift()
          if (next !== undefined) return resumeAccept(Effect.succeed(next))
          acceptor = resumeAccept
          return Effect.sync(() => {
            acceptor = undefined
          })
        })
        resume(
          Effect.succeed({ server, listener: { address: formatAddress(bound.address, bound.port), accept } }),
        )
      })
    },
  )
  return Effect.acquireRelease(acquire, ({ server }) => Effect.sync(() => void server.close())).pipe(
    Effect.map(({ listener }) => listener),
  )
}

/** TCP without TLS, TCP_NODELAY on. */
export const layerTcp: Layer.Layer<Transport> = Layer.succeed(Transport, Transport.of({ connect, listen }))
