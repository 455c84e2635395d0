// The reflector over real sockets, with a peer that speaks bytes and nothing else.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import * as net from "node:net"
import { parseAddress } from "#runtime/metalbond/Transport.ts"
import { Reflector, layer as layerReflector } from "#runtime/metalbond/Reflector.ts"
import * as Client from "#runtime/metalbond/RouteDistributionClient.ts"
import * as Message from "#protocol/metalbond/Message.ts"
import { RouteDistribution } from "#protocol/metalbond/RouteDistribution.ts"

const hello1 = "010002010801"
const hello2 = "010002010802"
const hello5 = "010002010805"
const helloBack2 = "0100040108021001"
const helloBack3 = "0100040108031001"
const keepalive = "01000002"
const subscribe23 = "010002030817"
const unsubscribe23 = "010002040817"
const addFrame = "0100200510171a0812040a000000181822120a1020010db8000000000000000000000001"
const removeFrame = "01002205080110171a0812040a000000181822120a1020010db8000000000000000000000001"
const natFrame = "0100280510171a081204cb0071071820221a0a1020010db8000000000000000000000003180120800828ff0f"
/** ADD 23 of a /128; bytes 22 to 25 are free to be changed. */
const longFrame =
  "01002f0510171a170801121020010db800010000000000000000000018800122120a1020010db8000000000000000000000001"

/** A peer of bytes: what it sends is hex, what it got is hex. */
interface RawPeer {
  readonly send: (hex: string) => void
  /** Waits until what was received so far is exactly this. */
  readonly expect: (hex: string) => Effect.Effect<void>
  /** Waits for the other side to close. */
  readonly closed: Effect.Effect<void>
  readonly isClosed: () => boolean
  readonly socket: net.Socket
}

const patience = 25_000

/** Looks again until it holds or the test's patience ends. */
const eventually = (
  what: () => string,
  holds: (now: string) => boolean,
  everyMillis = 2,
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const start = Date.now()
    while (!holds(what())) {
      if (Date.now() - start > patience) throw new Error(`still ${what()}`)
      yield* Effect.sleep(everyMillis)
    }
  })

const rawPeer = Effect.fnUntraced(function* (address: string) {
  const { host, port } = parseAddress(address)!
  const socket = yield* Effect.acquireRelease(
    Effect.callback<net.Socket>((resume) => {
      const opened = net.connect({ host, port, noDelay: true })
      opened.once("connect", () => resume(Effect.succeed(opened)))
    }),
    (opened) => Effect.sync(() => opened.destroy()),
  )
  let received = ""
  let over = false
  socket.on("data", (data) => {
    received += data.toString("hex")
  })
  socket.on("close", () => {
    over = true
  })
  socket.on("error", () => {})
  const peer: RawPeer = {
    send: (hex) => void socket.write(Buffer.from(hex, "hex")),
    expect: (hex) =>
      eventually(
        () => received,
        (now) => now === hex,
      ),
    closed: eventually(
      () => (over ? "closed" : "open"),
      (now) => now === "closed",
    ),
    isClosed: () => over,
    socket,
  }
  return peer
})

const established = Effect.fnUntraced(function* (address: string) {
  const peer = yield* rawPeer(address)
  peer.send(hello2 + keepalive)
  yield* peer.expect(helloBack2 + keepalive)
  return peer
})
const greeting = helloBack2 + keepalive

const reflector = layerReflector({ listen: "[::1]:0", http: "[::1]:0", keepaliveSeconds: 3 })
const live = <A, E>(name: string, test: Effect.Effect<A, E, Reflector | import("effect").Scope.Scope>) =>
  it.live(name, () => test.pipe(Effect.scoped, Effect.provide(reflector)))

const get = (path: string) =>
  Effect.gen(function* () {
    const { httpAddress } = yield* Reflector
    const response = yield* Effect.promise(() => fetch(`http://${httpAddress}${path}`))
    return { status: response.status, body: yield* Effect.promise(() => response.text()) }
  })

describe("a v1 session, byte for byte", () => {
  live(
    "HELLO, KEEPALIVE, SUBSCRIBE, UPDATE as recorded",
    Effect.gen(function* () {
      const { address } = yield* Reflector
      const peer = yield* rawPeer(address)
      peer.send(hello5)
      yield* peer.expect(helloBack3)
      peer.send(keepalive)
      yield* peer.expect(helloBack3 + keepalive)
      peer.send(subscribe23)
      peer.send(keepalive)
      yield* peer.expect(helloBack3 + keepalive + keepalive)

      const announcer = yield* established(address)
      announcer.send(addFrame)
      yield* peer.expect(helloBack3 + keepalive + keepalive + addFrame)
      announcer.send(removeFrame)
      yield* peer.expect(helloBack3 + keepalive + keepalive + addFrame + removeFrame)
      yield* announcer.expect(greeting)
    }),
  )
  live(
    "a smaller interval of the peer wins",
    Effect.gen(function* () {
      const { address } = yield* Reflector
      const peer = yield* rawPeer(address)
      peer.send(hello1)
      yield* peer.expect("0100040108011001")
    }),
  )
  live(
    "a session cut at every byte gives the same table",
    Effect.gen(function* () {
      const { address, machine } = yield* Reflector
      const peer = yield* rawPeer(address)
      for (const byte of Buffer.from(hello2 + keepalive + addFrame + natFrame, "hex")) {
        peer.socket.write(Uint8Array.of(byte))
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      }
      yield* eventually(
        () => String(machine.table.size),
        (size) => size === "2",
      )
      yield* peer.expect(greeting)
    }),
  )
  live(
    "routes leave with their connection",
    Effect.gen(function* () {
      const { address } = yield* Reflector
      const reader = yield* established(address)
      reader.send(subscribe23)
      const announcer = yield* established(address)
      announcer.send(addFrame)
      yield* reader.expect(greeting + addFrame)
      announcer.socket.destroy()
      yield* reader.expect(greeting + addFrame + removeFrame)
    }),
  )
})

describe("one bad peer loses its own session only", () => {
  const bad: ReadonlyArray<readonly [string, string]> = [
    ["keepalive 0", "01000001"],
    ["a length past the end", "01ffff02"],
    ["an UPDATE without next hop", hello2 + keepalive + "01000c0510171a0812040a0000001818"],
    ["garbage", "474554202f"],
    ["an unknown type", "01000009"],
    ["an UPDATE before HELLO", addFrame],
  ]
  live(
    "crash frames, garbage and protocol errors",
    Effect.gen(function* () {
      const { address, machine } = yield* Reflector
      const good = yield* established(address)
      good.send(subscribe23)
      for (const [name, frames] of bad) {
        const peer = yield* rawPeer(address)
        peer.send(frames)
        yield* peer.closed.pipe(Effect.withSpan(name))
      }
      const twice = yield* established(address)
      twice.send(subscribe23 + subscribe23)
      twice.send(hello2)
      yield* twice.expect(greeting + helloBack2)
      const announcer = yield* established(address)
      announcer.send(addFrame)
      yield* good.expect(greeting + addFrame)
      yield* twice.expect(greeting + helloBack2 + addFrame)
      assert.deepInclude(Object.fromEntries(machine.endings), {
        KeepaliveZero: 1,
        FrameTooLong: 1,
        MissingNextHop: 1,
        BadVersion: 1,
        UnknownType: 1,
        HelloExpected: 1,
      })
    }),
  )
  it.live("a silent peer is closed", () =>
    Effect.gen(function* () {
      const { address, machine } = yield* Reflector
      const silent = yield* rawPeer(address)
      const mute = yield* rawPeer(address)
      mute.send(hello1 + keepalive + addFrame)
      yield* silent.closed
      yield* mute.closed
      assert.deepStrictEqual(Object.fromEntries(machine.endings), { HelloTimeout: 1, KeepaliveTimeout: 1 })
      assert.strictEqual(machine.table.size, 0)
    }).pipe(
      Effect.scoped,
      Effect.provide(layerReflector({ listen: "[::1]:0", keepaliveSeconds: 1, helloTimeoutMillis: 300 })),
    ),
  )
  it.live("too many connections are refused, those that are there stay", () =>
    Effect.gen(function* () {
      const { address } = yield* Reflector
      const first = yield* established(address)
      const second = yield* rawPeer(address)
      yield* second.closed
      first.send(keepalive)
      yield* first.expect(greeting + keepalive)
    }).pipe(Effect.scoped, Effect.provide(layerReflector({ listen: "[::1]:0", maxPeers: 1 }))),
  )
  it.live("a reader that never reads hurts nobody and is cut off with a reason", () =>
    Effect.gen(function* () {
      const { address, machine } = yield* Reflector
      const hello = (originator: string) =>
        Buffer.from(
          Message.encode(Message.hello({ keepaliveSeconds: 60, restartSeconds: 1, originator })),
        ).toString("hex")
      const stuck = yield* rawPeer(address)
      stuck.send(hello("stuck") + keepalive + subscribe23)
      stuck.socket.pause()
      const good = yield* rawPeer(address)
      let seen = 0
      good.socket.on("data", (data) => {
        seen += data.length
      })
      good.send(hello("good") + keepalive + subscribe23)
      const announcer = yield* rawPeer(address)
      announcer.send(hello("announcer") + keepalive)
      const routes = 20_000
      const frames: Array<Buffer> = []
      for (let i = 0; i < routes; i++) {
        const frame = Buffer.from(longFrame, "hex")
        frame.writeUInt32BE(i, 22)
        frames.push(frame)
      }
      announcer.socket.write(Buffer.concat(frames))
      yield* eventually(
        () => String(machine.table.size),
        (size) => size === String(routes),
      )
      yield* eventually(
        () => String(seen),
        (size) => Number(size) >= routes * frames[0]!.length,
      )
      // It asks for the table again and again: soon more is owed to it than the kernel buffers.
      yield* eventually(
        () => {
          if (!stuck.isClosed()) stuck.send(unsubscribe23 + subscribe23)
          return JSON.stringify([...machine.endings])
        },
        (endings) => endings === '[["SlowReader",1]]',
        50,
      )
      assert.isFalse(good.isClosed())
    }).pipe(
      Effect.scoped,
      Effect.provide(layerReflector({ listen: "[::1]:0", stallSeconds: 2, keepaliveSeconds: 60 })),
    ),
  )
})

describe("status over HTTP", () => {
  live(
    "routes.json has the shape that existing tools read",
    Effect.gen(function* () {
      const { address, machine } = yield* Reflector
      const peer = yield* established(address)
      peer.send(addFrame + natFrame)
      yield* eventually(
        () => String(machine.table.size),
        (size) => size === "2",
      )
      const body = JSON.parse((yield* get("/routes.json")).body)
      assert.match(body.date, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/)
      assert.deepStrictEqual(body.vnet, {
        "23": {
          '{"IPVersion":4,"Prefix":"10.0.0.0/24"}': [
            { TargetAddress: "2001:db8::1", TargetVNI: 0, Type: 0, NATPortRangeFrom: 0, NATPortRangeTo: 0 },
          ],
          '{"IPVersion":4,"Prefix":"203.0.113.7/32"}': [
            {
              TargetAddress: "2001:db8::3",
              TargetVNI: 0,
              Type: 1,
              NATPortRangeFrom: 1024,
              NATPortRangeTo: 2047,
            },
          ],
        },
      })
    }),
  )
  live(
    "peers, health and metrics",
    Effect.gen(function* () {
      const { address, machine } = yield* Reflector
      const peer = yield* established(address)
      peer.send(addFrame + subscribe23)
      const bad = yield* rawPeer(address)
      bad.send("01000001")
      yield* bad.closed
      yield* eventually(
        () => String(machine.table.size),
        (size) => size === "1",
      )
      const peers = JSON.parse((yield* get("/peers.json")).body)
      assert.strictEqual(peers.peers.length, 1)
      assert.strictEqual(peers.peers[0].state, "Established")
      assert.strictEqual(peers.peers[0].announcements, 1)
      assert.deepStrictEqual(peers.peers[0].subscriptions, [23])
      assert.deepStrictEqual(peers.ended, { KeepaliveZero: 1 })
      assert.strictEqual((yield* get("/healthz")).status, 200)
      assert.strictEqual((yield* get("/readyz")).status, 200)
      assert.strictEqual((yield* get("/nothing")).status, 404)
      const { body } = yield* get("/metrics")
      assert.include(body, 'metalbond_peers{state="Established"} 1')
      assert.include(body, 'metalbond_routes{vni="23"} 1')
      assert.include(body, 'metalbond_sessions_ended_total{cause="KeepaliveZero"} 1')
    }),
  )
})

describe("the client over TCP", () => {
  it.live("two hosts learn each other's routes through a reflector", () =>
    Effect.gen(function* () {
      const { address } = yield* Reflector
      const host = (name: string) =>
        Effect.map(
          Layer.build(Client.layer({ reflectors: [address], originator: name })),
          (context) => context.mapUnsafe.get(RouteDistribution.key) as RouteDistribution["Service"],
        )
      const left = yield* host("host-1")
      const right = yield* host("host-2")
      const nextHop = {
        address: "fd00:f:1::d001:0:1",
        vni: 0,
        type: "STANDARD",
        natPortFrom: 0,
        natPortTo: 0,
      } as const
      yield* left.announce([{ vni: 200, prefix: "10.0.0.1/32", nextHop }])
      yield* right.subscribe(new Set([200]))
      const seen = yield* right.updates.pipe(
        Stream.filter(({ changes }) => changes.length > 0),
        Stream.take(1),
        Stream.runCollect,
      )
      assert.deepStrictEqual(seen[0]?.changes, [{ vni: 200, prefix: "10.0.0.1/32", nextHops: [nextHop] }])
      assert.deepStrictEqual(yield* left.reflectors, [{ address, state: "Established", reason: undefined }])
    }).pipe(Effect.scoped, Effect.provide(layerReflector({ listen: "[::1]:0" }))),
  )
  it.live("a reflector that is not there is tried again until it is", () =>
    Effect.gen(function* () {
      const client = yield* Effect.map(
        Layer.build(Client.layer({ reflectors: ["[::1]:1"], originator: "host-1" })),
        (context) => context.mapUnsafe.get(RouteDistribution.key) as RouteDistribution["Service"],
      )
      yield* Effect.sleep(200)
      const [state] = yield* client.reflectors
      assert.oneOf(state?.state, ["Retry", "Connecting"])
    }).pipe(Effect.scoped),
  )
})
