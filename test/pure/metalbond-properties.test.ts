// Whole regions of machines and byte pipes, driven by arbitrary events. However hosts announce, withdraw,
// subscribe, lose connections, restart, or their reflectors do: once all is connected and quiet, each host's
// table is what the others announce.
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Reflector from "#actors/route/Reflector.ts"
import * as RouteClient from "#actors/route/RouteClient.ts"
import { type Decoder, emptyDecoder } from "#protocol/metalbond/Frame.ts"
import * as Message from "#protocol/metalbond/Message.ts"
import { type MetalbondError, metalbondError } from "#protocol/metalbond/MetalbondError.ts"
import type { RouteAnnouncement } from "#protocol/metalbond/RouteDistribution.ts"

const vnis = [7, 8]
const holdSeconds = 120
const settleSeconds = 15

/** Few routes, so that hosts often announce the same one. */
const pool: ReadonlyArray<RouteAnnouncement> = vnis.flatMap((vni) =>
  ["10.0.0.0/24", "10.0.1.0/24", "2001:db8::/64"].flatMap((prefix) => [
    {
      vni,
      prefix,
      nextHop: { address: "fd00::1", vni: 0, type: "STANDARD", natPortFrom: 0, natPortTo: 0 } as const,
    },
    {
      vni,
      prefix,
      nextHop: { address: "fd00::2", vni: 0, type: "NAT", natPortFrom: 1, natPortTo: 99 } as const,
    },
  ]),
)
const textOf = (route: RouteAnnouncement) => `${route.vni} ${route.prefix} ${route.nextHop.address}`

interface Pipe {
  bytes: Uint8Array
  decoder: Decoder
}
interface Link {
  readonly session: RouteClient.Session
  readonly peer: Reflector.Peer
  readonly up: Pipe
  readonly down: Pipe
}
interface Host {
  readonly name: string
  readonly restartSeconds: number
  client: RouteClient.RouteClient
  announced: ReadonlySet<number>
  readonly links: Map<string, Link>
  /** What a consumer that applies every update has. */
  reader: RouteClient.Reader
  readonly applied: Map<string, string>
}

class Region {
  now = 0
  readonly hosts: Array<Host> = []
  readonly reflectors = new Map<string, Reflector.Reflector>()
  readonly reflectorRestarts: ReadonlyArray<boolean>

  constructor(hostModes: ReadonlyArray<boolean>, reflectorModes: ReadonlyArray<boolean>) {
    this.reflectorRestarts = reflectorModes
    reflectorModes.forEach((_, index) => this.startReflector(index))
    hostModes.forEach((restart, index) => {
      const client = this.newClient(`host-${index}`, restart ? 60 : 0)
      this.hosts.push({
        name: `host-${index}`,
        restartSeconds: restart ? 60 : 0,
        client,
        announced: new Set(),
        links: new Map(),
        reader: RouteClient.openReader(client),
        applied: new Map(),
      })
    })
  }

  newClient(originator: string, restartSeconds: number): RouteClient.RouteClient {
    return RouteClient.make({
      reflectors: this.reflectorRestarts.map((_, index) => `r${index}`),
      originator,
      restartSeconds,
      keepaliveSeconds: 3,
      helloTimeoutMillis: 5_000,
      settleMillis: settleSeconds * 1000,
      holdMillis: holdSeconds * 1000,
    })
  }

  startReflector(index: number): void {
    const address = `r${index}`
    for (const host of this.hosts) this.cut(host, address, metalbondError("PeerClosed", "restart"))
    this.reflectors.set(
      address,
      Reflector.make(
        {
          ...Reflector.defaults,
          keepaliveSeconds: 3,
          restartSeconds: this.reflectorRestarts[index] ? 120 : 0,
          startupMillis: settleSeconds * 1000,
        },
        this.now,
      ),
    )
  }

  restartHost(host: Host): void {
    for (const address of this.reflectors.keys())
      this.cut(host, address, metalbondError("PeerClosed", "restart"))
    const { subscribed } = host.client
    host.client = this.newClient(host.name, host.restartSeconds)
    host.reader = RouteClient.openReader(host.client)
    host.applied.clear()
    RouteClient.subscribe(host.client, subscribed)
    this.announce(host, host.announced)
  }

  announce(host: Host, indexes: ReadonlySet<number>): void {
    host.announced = indexes
    RouteClient.announce(
      host.client,
      [...indexes].map((index) => pool[index]!),
    )
  }

  connect(host: Host, address: string): void {
    if (host.links.has(address)) return
    const peer = Reflector.opened(this.reflectors.get(address)!, host.name, this.now)
    assert("session" in peer)
    const session = host.client.sessions.get(address)!
    host.links.set(address, {
      session,
      peer,
      up: { bytes: new Uint8Array(0), decoder: emptyDecoder },
      down: { bytes: new Uint8Array(0), decoder: emptyDecoder },
    })
    RouteClient.connecting(session)
    RouteClient.opened(host.client, session, this.now)
  }

  cut(host: Host, address: string, error: MetalbondError): void {
    const link = host.links.get(address)
    if (link === undefined) return
    host.links.delete(address)
    RouteClient.ended(host.client, link.session, error, this.now)
    this.act(Reflector.ended(this.reflectors.get(address)!, link.peer, error, this.now))
  }

  act(actions: ReadonlyArray<Reflector.Action>): void {
    for (const action of actions)
      if (action._tag === "Close")
        for (const host of this.hosts)
          for (const [address, link] of host.links)
            if (link.peer === action.peer) this.cut(host, address, action.error)
  }

  /** Moves up to `limit` bytes each way. */
  deliver(host: Host, address: string, limit: number): void {
    const link = host.links.get(address)
    if (link === undefined) return
    const reflector = this.reflectors.get(address)!
    const taken = RouteClient.take(host.client, link.session, 3, this.now)
    if (taken !== undefined) link.up.bytes = Buffer.concat([link.up.bytes, taken.bytes])
    const sent = Reflector.take(link.peer, 3)
    if (sent !== undefined) link.down.bytes = Buffer.concat([link.down.bytes, sent])
    for (const message of this.read(link.up, limit))
      this.act(Reflector.received(reflector, link.peer, message, this.now))
    if (host.links.get(address) !== link) return
    for (const message of this.read(link.down, limit)) {
      const error = RouteClient.received(host.client, link.session, message, this.now)
      if (error !== undefined) return this.cut(host, address, error)
    }
  }

  read(pipe: Pipe, limit: number): ReadonlyArray<Message.Message> {
    const decoded = Message.decodeChunk(pipe.decoder, pipe.bytes.subarray(0, limit))
    assert.isUndefined(decoded.error)
    pipe.bytes = pipe.bytes.slice(limit)
    pipe.decoder = decoded.decoder
    return decoded.messages
  }

  advance(seconds: number): void {
    this.now += seconds * 1000
    for (const reflector of this.reflectors.values()) {
      for (const peer of reflector.peers.values()) this.act(Reflector.peerElapsed(reflector, peer, this.now))
      this.act(Reflector.elapsed(reflector, this.now))
    }
    for (const host of this.hosts) {
      for (const session of host.client.sessions.values()) {
        const error = RouteClient.elapsed(host.client, session, this.now)
        if (error !== undefined) this.cut(host, session.address, error)
        RouteClient.sweepHolds(host.client, session, this.now)
      }
    }
  }

  /** Time passes as it does where connections live: all that was said arrives. */
  exchange(times: number): void {
    for (let round = 0; round < times; round++) {
      this.advance(3)
      for (const host of this.hosts) for (const address of host.links.keys()) this.deliver(host, address, 1e6)
    }
  }

  consume(host: Host): void {
    for (const { vni, prefix, nextHops } of RouteClient.takeNews(host.client, host.reader).changes) {
      const key = `${vni} ${prefix}`
      if (nextHops.length === 0) host.applied.delete(key)
      else host.applied.set(key, nextHops.map(({ address }) => address).join(","))
    }
  }

  /** Everything is connected, everything arrives, and enough time passes for every hold to end. */
  settle(): void {
    const stepSeconds = 3
    for (let second = 0; second < holdSeconds + settleSeconds + 10; second += stepSeconds) {
      for (const host of this.hosts) for (const address of this.reflectors.keys()) this.connect(host, address)
      for (let round = 0; round < (second === 0 ? 40 : 2); round++)
        for (const host of this.hosts)
          for (const address of this.reflectors.keys()) this.deliver(host, address, 1e6)
      this.advance(stepSeconds)
    }
    for (let round = 0; round < 10; round++)
      for (const host of this.hosts)
        for (const address of this.reflectors.keys()) this.deliver(host, address, 1e6)
  }

  tableOf(host: Host): ReadonlyArray<string> {
    return vnis
      .flatMap((vni) => RouteClient.table(host.client, vni))
      .flatMap(({ vni, prefix, nextHops }) => nextHops.map(({ address }) => `${vni} ${prefix} ${address}`))
      .sort()
  }

  expectedOf(host: Host): ReadonlyArray<string> {
    const others = new Set(
      this.hosts.filter((other) => other !== host).flatMap(({ announced }) => [...announced]),
    )
    return [...others]
      .filter((index) => !host.announced.has(index))
      .map((index) => pool[index]!)
      .filter(({ vni }) => host.client.subscribed.has(vni))
      .map(textOf)
      .sort()
  }
}

type Event =
  | { readonly do: "announce"; readonly host: number; readonly routes: ReadonlyArray<number> }
  | { readonly do: "subscribe"; readonly host: number; readonly vnis: ReadonlyArray<number> }
  | {
      readonly do: "connect" | "disconnect"
      readonly host: number
      readonly reflector: number
    }
  | { readonly do: "deliver"; readonly host: number; readonly reflector: number; readonly bytes: number }
  | { readonly do: "restart host" | "consume"; readonly host: number }
  | { readonly do: "restart reflector"; readonly reflector: number }
  | { readonly do: "advance"; readonly seconds: number }
  | { readonly do: "exchange"; readonly times: number }

const index = fc.nat(3)
const anyEvent: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("announce" as const),
      host: index,
      routes: fc.uniqueArray(fc.nat(pool.length - 1), { maxLength: 6 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("subscribe" as const),
      host: index,
      vnis: fc.subarray([...vnis]),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("connect" as const), host: index, reflector: index }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("disconnect" as const), host: index, reflector: index }),
  },
  {
    weight: 20,
    arbitrary: fc.record({
      do: fc.constant("deliver" as const),
      host: index,
      reflector: index,
      bytes: fc.oneof(fc.nat(60), fc.constant(1e6)),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("exchange" as const), times: fc.nat(6) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("consume" as const), host: index }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restart host" as const), host: index }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restart reflector" as const), reflector: index }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("advance" as const),
      seconds: fc.oneof(fc.nat(5), fc.nat(150)),
    }),
  },
)

const play = (region: Region, event: Event): void => {
  const host = region.hosts["host" in event ? event.host % region.hosts.length : 0]!
  const reflector = "reflector" in event ? event.reflector % region.reflectors.size : 0
  const address = `r${reflector}`
  switch (event.do) {
    case "announce":
      return region.announce(host, new Set(event.routes))
    case "subscribe": {
      const wanted = new Set(event.vnis)
      for (const key of host.applied.keys())
        if (!wanted.has(Number(key.split(" ")[0]))) host.applied.delete(key)
      return RouteClient.subscribe(host.client, wanted)
    }
    case "connect":
      return region.connect(host, address)
    case "disconnect":
      return region.cut(host, address, metalbondError("PeerClosed", "test"))
    case "deliver":
      return region.deliver(host, address, event.bytes)
    case "consume":
      return region.consume(host)
    case "restart host":
      return region.restartHost(host)
    case "restart reflector":
      return region.startReflector(reflector)
    case "advance":
      return region.advance(event.seconds)
    case "exchange":
      return region.exchange(event.times)
  }
}

const modes = (length: number) => fc.array(fc.boolean(), { minLength: 1, maxLength: length })

describe("once all is connected and quiet", () => {
  it("each host's table is what the others announce, whatever happened before", () => {
    fc.assert(
      fc.property(
        fc.array(fc.boolean(), { minLength: 2, maxLength: 4 }),
        modes(3),
        fc.array(anyEvent, { maxLength: 120, size: "max" }),
        (hosts, reflectors, events) => {
          const region = new Region(hosts, reflectors)
          for (const event of events) play(region, event)
          // A host that never announced does not end its holds: here all are asked once.
          for (const host of region.hosts)
            if (host.client.desired === undefined) region.announce(host, new Set())
          region.settle()
          for (const host of region.hosts) {
            assert.deepStrictEqual(region.tableOf(host), region.expectedOf(host), host.name)
            region.consume(host)
            assert.deepStrictEqual(
              [...host.applied].map(([key, hops]) => `${key} ${hops}`).sort(),
              vnis
                .flatMap((vni) => RouteClient.table(host.client, vni))
                .map(
                  ({ vni, prefix, nextHops }) =>
                    `${vni} ${prefix} ${nextHops.map(({ address }) => address).join(",")}`,
                )
                .sort(),
              `${host.name}: what its reader applied`,
            )
            for (const vni of host.client.subscribed)
              assert.isTrue(RouteClient.isLevel(host.client, vni), `${host.name}: level with ${vni}`)
          }
          for (const reflector of region.reflectors.values()) {
            assert.strictEqual(
              reflector.table.size,
              new Set(region.hosts.flatMap(({ announced }) => [...announced])).size,
            )
            assert.strictEqual(reflector.held.size, 0)
            assert.strictEqual(reflector.table.announcers.size, reflector.peers.size)
          }
        },
      ),
      { numRuns: 200 },
    )
  })
})
