// Fan-out of the reflector over loopback TCP, printed only: R routes announced by one peer to S subscribers, v1
// (paced) and with graceful restart (not paced). Subscribers run in the same process and share its core with the
// reflector, so these are lower bounds. Run: ./node_modules/.bin/node bench/metalbond.ts
import { Effect, Layer, Logger } from "effect"
import * as net from "node:net"
import { Reflector, layer } from "#runtime/metalbond/Reflector.ts"
import { parseAddress } from "#runtime/metalbond/Transport.ts"
import * as Message from "#protocol/metalbond/Message.ts"

const addFrame = Buffer.from(
  "0100200510171a0812040a000000182022120a1020010db8000000000000000000000001",
  "hex",
)
const announcements = (count: number): Buffer => {
  const frames: Array<Buffer> = []
  for (let i = 0; i < count; i++) {
    const frame = Buffer.from(addFrame)
    frame.writeUInt32BE(0x0a000000 + i, 10)
    frames.push(frame)
  }
  return Buffer.concat(frames)
}

interface Counter {
  bytes: number
  readonly socket: net.Socket
}

const connect = (address: string, hello: Uint8Array): Promise<Counter> =>
  new Promise((resolve) => {
    const { host, port } = parseAddress(address)!
    const socket = net.connect({ host, port, noDelay: true })
    const counter: Counter = { bytes: 0, socket }
    socket.on("data", (data) => {
      counter.bytes += data.length
    })
    socket.on("connect", () => {
      socket.write(Buffer.concat([hello, Message.encode(Message.keepalive)]))
      resolve(counter)
    })
  })

const until = async (holds: () => boolean): Promise<number> => {
  const start = performance.now()
  while (!holds()) {
    if (performance.now() - start > 60_000) return Number.NaN
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  return performance.now() - start
}

const fanOut = async (address: string, routes: number, subscribers: number, restart: boolean) => {
  const hello = (name: string) =>
    Message.encode(
      Message.hello({
        keepaliveSeconds: 60,
        restartSeconds: restart ? 1 : 0,
        originator: restart ? name : "",
      }),
    )
  const readers = await Promise.all(
    Array.from({ length: subscribers }, async (_, index) => {
      const reader = await connect(address, hello(`reader-${index}`))
      reader.socket.write(Message.encode(Message.subscribe(23)))
      return reader
    }),
  )
  const announcer = await connect(address, hello("announcer"))
  await until(() => readers.every(({ bytes }) => bytes > 0))
  await new Promise((resolve) => setTimeout(resolve, 200))
  for (const reader of readers) reader.bytes = 0
  const wanted = routes * addFrame.length
  const cpu = process.cpuUsage()
  announcer.socket.write(announcements(routes))
  const millis = await until(() => readers.every(({ bytes }) => bytes >= wanted))
  const used = process.cpuUsage(cpu)
  for (const { socket } of [...readers, announcer]) socket.destroy()
  await new Promise((resolve) => setTimeout(resolve, 1_500))
  const rate = (routes * subscribers) / (millis / 1000)
  console.log(
    `${restart ? "Ferrite" : "v1     "} ${routes} routes -> ${subscribers} subscribers: ${millis.toFixed(1)} ms, ${Math.round(rate / 1000)} k updates/s, CPU ${Math.round((used.user + used.system) / 1000)} ms (readers included)`,
  )
}

const program = Effect.gen(function* () {
  const { address } = yield* Reflector
  yield* Effect.promise(async () => {
    await fanOut(address, 1_000, 10, true)
    for (const restart of [true, false])
      for (const [routes, subscribers] of [
        [1, 100],
        [1, 500],
        [1_000, 100],
        [200, 500],
        [100_000, 1],
      ] as const)
        await fanOut(address, routes, subscribers, restart)
    console.log(`memory: ${Math.round(process.memoryUsage().rss / 1e6)} MB (with subscribers in the process)`)
  })
}).pipe(
  Effect.provide(
    layer({ listen: "[::1]:0", keepaliveSeconds: 60, startupMillis: 0 }).pipe(
      Layer.provideMerge(Logger.layer([])),
    ),
  ),
)
await Effect.runPromise(program as Effect.Effect<void, unknown>)
