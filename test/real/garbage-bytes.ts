/**
 * What strangers send to a port, and how a test sends it: raw sockets, bytes, and a look at how it ended.
 */
import { Effect } from "effect"
import * as net from "node:net"

export interface Target {
  readonly name: string
  /** For `net.connect`. */
  readonly at: net.NetConnectOpts
}

export const tcp = (host: string, port: number): net.NetConnectOpts => ({ host, port })

/** Deterministic bytes; no test needs them to be good. */
export const noise = (length: number, seed = 1): Buffer => {
  const bytes = Buffer.alloc(length)
  let state = seed * 2_654_435_761
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

/** An HTTP/2 frame; `length` may lie. */
export const http2Frame = (
  type: number,
  flags: number,
  stream: number,
  payload: Buffer,
  length = payload.length,
) => {
  const header = Buffer.alloc(9)
  header.writeUIntBE(length, 0, 3)
  header[3] = type
  header[4] = flags
  header.writeUInt32BE(stream, 5)
  return Buffer.concat([header, payload])
}

const settings = http2Frame(4, 0, 0, Buffer.alloc(0))

/** A TLS 1.2 ClientHello's beginning, of a client that took the port for HTTPS. */
const tlsHello = Buffer.concat([
  Buffer.from("16030100c8010000c40303", "hex"),
  noise(32),
  Buffer.alloc(160, 0x13),
])

const metalbondHello = Buffer.from("010002010805", "hex")

/** Everything that is tried against every port, named. */
export const garbage: ReadonlyArray<readonly [name: string, bytes: Buffer]> = [
  ["nothing", Buffer.alloc(0)],
  ["one byte", Buffer.of(0)],
  ["noise", noise(1_000)],
  ["much noise", noise(1_000_000, 7)],
  ["zeros", Buffer.alloc(100_000)],
  ["ones", Buffer.alloc(100_000, 0xff)],
  ["a TLS hello", tlsHello],
  ["an HTTP/1 request", Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")],
  [
    "an upgrade to HTTP/2",
    Buffer.from("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"),
  ],
  ["half a request", Buffer.from("POST /x HTTP/1.1\r\nContent-Length: 100000\r\n\r\nabc")],
  ["a header without end", Buffer.from(`GET / HTTP/1.1\r\nX: ${"x".repeat(300_000)}`)],
  ["half a preface", preface.subarray(0, 10)],
  ["a preface, then noise", Buffer.concat([preface, noise(5_000)])],
  [
    "a preface, then a frame of 16 MiB",
    Buffer.concat([preface, http2Frame(4, 0, 0, Buffer.alloc(100), 0xff_ff_ff)]),
  ],
  [
    "a preface, then data on no stream",
    Buffer.concat([preface, settings, http2Frame(0, 0, 7, Buffer.alloc(100))]),
  ],
  [
    "a preface, then headers that are none",
    Buffer.concat([preface, settings, http2Frame(1, 4, 1, noise(500))]),
  ],
  [
    "a preface, then continuations without end",
    Buffer.concat([
      preface,
      settings,
      http2Frame(1, 0, 1, Buffer.of(0x82)),
      ...Array.from({ length: 2_000 }, () => http2Frame(9, 0, 1, Buffer.alloc(64, 0x84))),
    ]),
  ],
  [
    "ten thousand pings",
    Buffer.concat([
      preface,
      settings,
      ...Array.from({ length: 10_000 }, () => http2Frame(6, 0, 0, Buffer.alloc(8))),
    ]),
  ],
  ["ten thousand settings", Buffer.concat([preface, ...Array.from({ length: 10_000 }, () => settings)])],
  [
    "two thousand streams, each reset",
    Buffer.concat([
      preface,
      settings,
      ...Array.from({ length: 2_000 }, (_, n) =>
        Buffer.concat([
          http2Frame(1, 4, 2 * n + 1, Buffer.of(0x83, 0x86, 0x84)),
          http2Frame(3, 0, 2 * n + 1, Buffer.alloc(4)),
        ]),
      ),
    ]),
  ],
  ["a metalbond frame that is too long", Buffer.from("01ffff05", "hex")],
  ["a metalbond hello, then noise", Buffer.concat([metalbondHello, noise(500, 3)])],
]

export type Ending = "closed by the service" | "still open"

/** Sends bytes, waits until the service closes or `lingerMillis` pass, then leaves as told. */
export const throwAt = (
  { at }: Target,
  bytes: Buffer,
  options: { readonly lingerMillis?: number; readonly leave?: "end" | "reset"; readonly chunk?: number } = {},
): Effect.Effect<Ending> =>
  Effect.callback<Ending>((resume) => {
    const { chunk = bytes.length, leave = "end", lingerMillis = 30 } = options
    const socket = net.connect(at)
    let ending: Ending = "still open"
    const over = () => {
      clearTimeout(timer)
      socket.destroy()
      resume(Effect.succeed(ending))
    }
    const timer = setTimeout(() => {
      if (leave === "reset" && "resetAndDestroy" in socket && !("path" in at)) socket.resetAndDestroy()
      over()
    }, lingerMillis)
    socket.on("error", () => undefined)
    socket.on("data", () => undefined)
    socket.on("close", () => {
      ending = "closed by the service"
      over()
    })
    socket.on("connect", () => {
      for (let sent = 0; sent < bytes.length; sent += chunk) socket.write(bytes.subarray(sent, sent + chunk))
    })
  })

/** Connections that say so much and no more, held until the scope ends. */
export const holdOpen = ({ at }: Target, count: number, bytes: Buffer) =>
  Effect.acquireRelease(
    Effect.callback<ReadonlyArray<net.Socket>>((resume) => {
      let settled = 0
      const sockets = Array.from({ length: count }, () => {
        const socket = net.connect(at)
        let once = false
        const done = () => {
          if (once) return
          once = true
          if (++settled === count) resume(Effect.succeed(sockets))
        }
        socket.on("error", done)
        socket.on("close", done)
        socket.on("data", () => undefined)
        socket.on("connect", () => {
          if (bytes.length > 0) socket.write(bytes)
          done()
        })
        return socket
      })
    }),
    (sockets) => Effect.sync(() => sockets.forEach((socket) => socket.destroy())),
  )
