// The client's machines: what is said in one session, and what several reflectors' tables add up to.
import { assert, describe, it } from "@effect/vitest"
import * as ClientPeer from "#actors/route/ClientPeer.ts"
import * as Client from "#actors/route/RouteClient.ts"
import { emptyDecoder } from "#protocol/metalbond/Frame.ts"
import * as Message from "#protocol/metalbond/Message.ts"
import { metalbondError } from "#protocol/metalbond/MetalbondError.ts"
import type { RouteAnnouncement } from "#protocol/metalbond/RouteDistribution.ts"
import { fromAnnouncement } from "#protocol/metalbond/Route.ts"
import { Result } from "effect"

const announcement = (prefix: string, address: string, vni = 23): RouteAnnouncement => ({
  vni,
  prefix,
  nextHop: { address, vni: 0, type: "STANDARD", natPortFrom: 0, natPortTo: 0 },
})
const wire = (prefix: string, address: string, vni = 23) =>
  Result.getOrThrow(fromAnnouncement(announcement(prefix, address, vni)))

const lost = metalbondError("PeerClosed", "gone")
const config = {
  originator: "host-1",
  restartSeconds: 60,
  keepaliveSeconds: 3,
  helloTimeoutMillis: 5_000,
  settleMillis: 15_000,
  holdMillis: 120_000,
}

/** A client with two reflectors `a` and `b`, played by the test. */
const setup = (overrides: Partial<typeof config> = {}, reflectorRestarts = true) => {
  const client = Client.make({ ...config, ...overrides, reflectors: ["a", "b"] })
  const reader = Client.openReader(client)
  const session = (name: string) => client.sessions.get(name)!
  const said = (name: string, now = 0): ReadonlyArray<string> => {
    const lines: Array<string> = []
    for (
      let taken = Client.take(client, session(name), 100, now);
      taken !== undefined;
      taken = Client.take(client, session(name), 100, now)
    )
      lines.push(
        ...Message.decodeChunk(emptyDecoder, taken.bytes).messages.map((message) => Message.format(message)),
      )
    return lines
  }
  const hear = (name: string, message: Message.Message, now = 0) =>
    Client.received(client, session(name), message, now)
  const establish = (name: string, now = 0) => {
    Client.opened(client, session(name), now)
    said(name, now)
    hear(
      name,
      Message.hello({ keepaliveSeconds: 3, isServer: true, restartSeconds: reflectorRestarts ? 120 : 0 }),
      now,
    )
    said(name, now)
    hear(name, Message.keepalive, now)
  }
  const news = () =>
    Client.takeNews(client, reader).changes.map(
      ({ prefix, nextHops }) =>
        `${prefix} -> ${nextHops.map(({ address }) => address).join(" ") || "nobody"}`,
    )
  return { client, reader, session, said, hear, establish, news }
}

describe("a session of the client", () => {
  it("greets, subscribes, announces and says that it told all", () => {
    const { client, session, said, hear } = setup()
    Client.announce(client, [announcement("10.0.0.1/32", "fd00::1")])
    Client.subscribe(client, new Set([23, 24]))
    Client.opened(client, session("a"), 0)
    assert.deepStrictEqual(said("a"), ["HELLO keepalive 3 restart 60 originator host-1"])
    hear("a", Message.hello({ keepaliveSeconds: 3, isServer: true, restartSeconds: 120 }))
    assert.deepStrictEqual(said("a"), ["KEEPALIVE"])
    hear("a", Message.keepalive)
    assert.deepStrictEqual(said("a"), [
      "SUBSCRIBE 23",
      "SUBSCRIBE 24",
      "ADD 23 10.0.0.1/32 via fd00::1",
      "END_OF_TABLE 0",
    ])
  })
  it("is v1 to the byte with restartSeconds 0", () => {
    const { client, session } = setup({ restartSeconds: 0 })
    Client.opened(client, session("a"), 0)
    assert.strictEqual(
      Buffer.from(Client.take(client, session("a"), 9, 0)!.bytes).toString("hex"),
      "010002010803",
    )
  })
  it("says nothing of v2 to a v1 reflector", () => {
    const { client, said, establish } = setup({}, false)
    Client.announce(client, [announcement("10.0.0.1/32", "fd00::1")])
    establish("a")
    assert.deepStrictEqual(said("a"), ["ADD 23 10.0.0.1/32 via fd00::1"])
  })
  it("says that it told all only once somebody gave it something to tell", () => {
    const { client, said, establish } = setup()
    establish("a")
    assert.deepStrictEqual(said("a"), [])
    Client.announce(client, [])
    assert.deepStrictEqual(said("a"), ["END_OF_TABLE 0"])
    Client.announce(client, [announcement("10.0.0.1/32", "fd00::1")])
    assert.deepStrictEqual(said("a"), ["ADD 23 10.0.0.1/32 via fd00::1"])
  })
  it("is told differences, additions first", () => {
    const { client, said, establish } = setup()
    Client.announce(client, [announcement("10.0.0.1/32", "fd00::1"), announcement("10.0.0.2/32", "fd00::1")])
    establish("a")
    said("a")
    Client.announce(client, [announcement("10.0.0.1/32", "fd00::9"), announcement("10.0.0.2/32", "fd00::1")])
    assert.deepStrictEqual(said("a"), ["ADD 23 10.0.0.1/32 via fd00::9", "REMOVE 23 10.0.0.1/32 via fd00::1"])
    Client.announce(client, [announcement("10.0.0.1/32", "fd00::9"), announcement("10.0.0.2/32", "fd00::1")])
    assert.deepStrictEqual(said("a"), [])
  })
  it("learns on its return what was announced and withdrawn while it was away", () => {
    const { client, said, establish, session } = setup()
    Client.announce(client, [announcement("10.0.0.1/32", "fd00::1")])
    establish("a")
    establish("b")
    said("a")
    said("b")
    Client.ended(client, session("a"), lost, 0)
    Client.announce(client, [announcement("10.0.0.2/32", "fd00::1")])
    assert.deepStrictEqual(said("a"), [])
    assert.deepStrictEqual(said("b"), ["ADD 23 10.0.0.2/32 via fd00::1", "REMOVE 23 10.0.0.1/32 via fd00::1"])
    establish("a")
    assert.deepStrictEqual(said("a"), ["ADD 23 10.0.0.2/32 via fd00::1", "END_OF_TABLE 0"])
  })
  it("tells a v1 reflector again what its UNSUBSCRIBE may have wiped", () => {
    const { client, said, establish } = setup({}, false)
    Client.announce(client, [
      announcement("10.0.0.1/32", "fd00::1"),
      announcement("10.0.0.1/32", "fd00::1", 24),
    ])
    Client.subscribe(client, new Set([23]))
    establish("a")
    said("a")
    Client.subscribe(client, new Set())
    assert.deepStrictEqual(said("a"), ["UNSUBSCRIBE 23", "KEEPALIVE", "ADD 23 10.0.0.1/32 via fd00::1"])
  })
  it("ignores what is still under way of a subscription that ended", () => {
    const { client, said, hear, establish, news } = setup()
    Client.subscribe(client, new Set([23]))
    establish("a")
    said("a")
    Client.subscribe(client, new Set())
    assert.deepStrictEqual(said("a"), ["UNSUBSCRIBE 23", "KEEPALIVE"])
    Client.subscribe(client, new Set([23]))
    assert.deepStrictEqual(said("a"), ["SUBSCRIBE 23"])
    hear("a", Message.announce(wire("10.0.0.7/32", "fd00::7")))
    hear("a", Message.keepalive)
    hear("a", Message.announce(wire("10.0.0.8/32", "fd00::8")))
    assert.deepStrictEqual(news(), ["10.0.0.8/32 -> fd00::8"])
  })
  it("subscribes anew to a VNI that left and came back between two writes", () => {
    for (const reflectorRestarts of [true, false]) {
      const { client, said, hear, establish, news } = setup({}, reflectorRestarts)
      const learnt = Message.announce(wire("10.0.0.7/32", "fd00::7"))
      Client.subscribe(client, new Set([23]))
      establish("a")
      assert.deepStrictEqual(said("a"), ["SUBSCRIBE 23"])
      hear("a", learnt)
      assert.deepStrictEqual(news(), ["10.0.0.7/32 -> fd00::7"])
      Client.subscribe(client, new Set())
      Client.subscribe(client, new Set([23]))
      // What comes in between is of the old subscription.
      hear("a", Message.announce(wire("10.0.0.8/32", "fd00::8")))
      if (reflectorRestarts) hear("a", Message.endOfTable(23))
      assert.isFalse(Client.isLevel(client, 23))
      assert.deepStrictEqual(said("a"), ["UNSUBSCRIBE 23", "KEEPALIVE", "SUBSCRIBE 23"])
      assert.deepStrictEqual(said("a"), [])
      hear("a", Message.keepalive)
      hear("a", learnt)
      assert.deepStrictEqual(news(), ["10.0.0.7/32 -> fd00::7"])
    }
  })
  it("ends a subscription once, however often it left before the next write", () => {
    const { client, said, establish } = setup()
    Client.subscribe(client, new Set([23]))
    establish("a")
    said("a")
    for (const vnis of [[], [23], []]) Client.subscribe(client, new Set(vnis))
    assert.deepStrictEqual(said("a"), ["UNSUBSCRIBE 23", "KEEPALIVE"])
    Client.subscribe(client, new Set([24]))
    Client.subscribe(client, new Set())
    assert.deepStrictEqual(said("a"), [])
  })
  it("ends no subscription of a connection that is gone", () => {
    const { client, said, establish, session } = setup()
    Client.subscribe(client, new Set([23]))
    establish("a")
    said("a")
    Client.ended(client, session("a"), lost, 0)
    Client.subscribe(client, new Set())
    Client.subscribe(client, new Set([23]))
    establish("a")
    assert.deepStrictEqual(said("a"), ["SUBSCRIBE 23"])
  })
})

describe("the client's peer", () => {
  const play = (events: ReadonlyArray<readonly [number, ClientPeer.Event]>) => {
    let state = ClientPeer.initial
    const lines: Array<string> = []
    for (const [now, event] of events) {
      const [next, actions] = ClientPeer.step(config, state, event, now)
      state = next
      for (const action of actions)
        lines.push(
          action._tag === "Send"
            ? `${now} ${Message.format(action.message)}`
            : action._tag === "Close"
              ? `${now} x ${action.error.reason}`
              : `${now} ${action._tag}`,
        )
    }
    return { state, lines }
  }
  const heard = (message: Message.Message): ClientPeer.Event => ({ _tag: "Received", message })
  const elapsed: ClientPeer.Event = { _tag: "Elapsed" }

  it("keeps alive in the smaller interval and gives up after 2.5 of it", () => {
    const { lines } = play([
      [0, { _tag: "Opened" }],
      [10, heard(Message.hello({ keepaliveSeconds: 2, isServer: true }))],
      [20, heard(Message.keepalive)],
      [2_010, elapsed],
      [2_011, heard(Message.keepalive)],
      [4_010, elapsed],
      [6_010, elapsed],
      [7_010, elapsed],
      [7_011, elapsed],
    ])
    assert.deepStrictEqual(lines, [
      "0 HELLO keepalive 3 restart 60 originator host-1",
      "10 KEEPALIVE",
      "20 Established",
      "2010 KEEPALIVE",
      "4010 KEEPALIVE",
      "6010 KEEPALIVE",
      "7011 x KeepaliveTimeout",
    ])
  })
  it("starts every session from its own interval", () => {
    const { lines } = play([
      [0, { _tag: "Opened" }],
      [0, heard(Message.hello({ keepaliveSeconds: 1, isServer: true }))],
      [0, { _tag: "Opened" }],
    ])
    assert.strictEqual(lines[2], "0 HELLO keepalive 3 restart 60 originator host-1")
  })
  it("gives a reflector five seconds for its HELLO", () => {
    assert.deepStrictEqual(
      play([
        [0, { _tag: "Opened" }],
        [4_999, elapsed],
        [5_000, elapsed],
      ]).lines.slice(1),
      ["5000 x HelloTimeout"],
    )
  })
})

describe("the table", () => {
  const both = (overrides: Partial<typeof config> = {}, restarts = true) => {
    const all = setup(overrides, restarts)
    Client.subscribe(all.client, new Set([23]))
    for (const name of ["a", "b"]) {
      all.establish(name)
      all.said(name)
    }
    return all
  }

  it("counts sources: a hop is gone with the last reflector that had it", () => {
    const { hear, news } = both()
    hear("a", Message.announce(wire("10.0.0.1/32", "fd00::1")))
    hear("b", Message.announce(wire("10.0.0.1/32", "fd00::1")))
    assert.deepStrictEqual(news(), ["10.0.0.1/32 -> fd00::1"])
    hear("a", Message.withdraw(wire("10.0.0.1/32", "fd00::1")))
    assert.deepStrictEqual(news(), [])
    hear("b", Message.withdraw(wire("10.0.0.1/32", "fd00::1")))
    assert.deepStrictEqual(news(), ["10.0.0.1/32 -> nobody"])
  })
  it("gives hop sets sorted, one change for many", () => {
    const { hear, news } = both()
    for (const address of ["fd00::3", "fd00::1", "fd00::2"])
      hear("a", Message.announce(wire("10.0.0.1/32", address)))
    assert.deepStrictEqual(news(), ["10.0.0.1/32 -> fd00::1 fd00::2 fd00::3"])
  })
  it("keeps the routes of a lost reflector until it is level again", () => {
    const { client, hear, news, session, establish } = both()
    hear("a", Message.announce(wire("10.0.0.1/32", "fd00::1")))
    hear("a", Message.announce(wire("10.0.0.2/32", "fd00::1")))
    news()
    Client.ended(client, session("a"), lost, 1_000)
    Client.sweepHolds(client, session("a"), 100_000)
    establish("a", 100_000)
    Client.take(client, session("a"), 100, 100_000)
    assert.deepStrictEqual(news(), [])
    hear("a", Message.announce(wire("10.0.0.1/32", "fd00::1")), 100_000)
    hear("a", Message.endOfTable(23), 100_000)
    assert.deepStrictEqual(news(), ["10.0.0.2/32 -> nobody"])
  })
  it("is level with a v1 reflector some time after each SUBSCRIBE, however late that was told", () => {
    const { client, hear, news, said, session, establish } = setup({}, false)
    Client.subscribe(client, new Set([23]))
    establish("a")
    said("a")
    hear("a", Message.announce(wire("10.0.0.1/32", "fd00::1")))
    news()
    Client.ended(client, session("a"), lost, 0)
    assert.strictEqual(Client.nextDue(session("a")), Number.POSITIVE_INFINITY)
    const alive = (now: number) => {
      Client.elapsed(client, session("a"), now)
      hear("a", Message.keepalive, now)
      return [23, 24].filter((vni) => Client.isLevel(client, vni))
    }
    establish("a", 0)
    for (const now of [3_000, 6_000, 9_000]) assert.deepStrictEqual(alive(now), [])
    // A paced writer may be this late.
    said("a", 9_000)
    Client.subscribe(client, new Set([23, 24]))
    said("a", 12_000)
    for (const now of [12_000, 15_000, 18_000, 21_000, 23_999]) assert.deepStrictEqual(alive(now), [])
    assert.strictEqual(Client.nextDue(session("a")), 24_000)
    assert.deepStrictEqual(news(), [])
    assert.deepStrictEqual(alive(24_000), [23])
    assert.deepStrictEqual(news(), ["10.0.0.1/32 -> nobody"])
    assert.deepStrictEqual(alive(26_999), [23])
    assert.deepStrictEqual(alive(27_000), [23, 24])
  })
  it("does not become level with a VNI that left while it settled", () => {
    const { client, said, session, establish } = setup({ keepaliveSeconds: 100 }, false)
    Client.subscribe(client, new Set([23, 24]))
    establish("a")
    said("a")
    Client.subscribe(client, new Set([24]))
    Client.elapsed(client, session("a"), 1_000)
    said("a", 1_000)
    Client.subscribe(client, new Set([23, 24]))
    said("a", 2_000)
    const levelAt = (now: number) => {
      Client.elapsed(client, session("a"), now)
      Client.received(client, session("a"), Message.keepalive, now)
      return [23, 24].filter((vni) => Client.isLevel(client, vni))
    }
    for (const now of [4_000, 8_000, 12_000]) assert.deepStrictEqual(levelAt(now), [])
    assert.deepStrictEqual(levelAt(15_000), [24])
    Client.subscribe(client, new Set([24]))
    assert.deepStrictEqual(levelAt(17_000), [24])
    Client.subscribe(client, new Set([23, 24]))
    assert.deepStrictEqual(levelAt(17_000), [24])
  })
  it("keeps what is held of other VNIs than the one that is level", () => {
    const { client, hear, news, said, session, establish } = setup()
    Client.subscribe(client, new Set([23, 24]))
    establish("a")
    said("a")
    hear("a", Message.announce(wire("10.0.0.1/32", "fd00::1", 23)))
    hear("a", Message.announce(wire("10.0.0.2/32", "fd00::1", 24)))
    news()
    Client.ended(client, session("a"), lost, 0)
    establish("a")
    said("a")
    hear("a", Message.endOfTable(23))
    assert.deepStrictEqual(news(), ["10.0.0.1/32 -> nobody"])
    hear("a", Message.endOfTable(24))
    assert.deepStrictEqual(news(), ["10.0.0.2/32 -> nobody"])
  })
  it("holds a route no longer because its reflector came back for a moment", () => {
    const { client, hear, news, said, session, establish } = both()
    hear("a", Message.announce(wire("10.0.0.1/32", "fd00::1")))
    news()
    Client.ended(client, session("a"), lost, 1_000)
    establish("a", 60_000)
    said("a", 60_000)
    hear("a", Message.announce(wire("10.0.0.2/32", "fd00::1")), 60_000)
    Client.ended(client, session("a"), lost, 61_000)
    news()
    Client.sweepHolds(client, session("a"), 121_000)
    assert.deepStrictEqual(news(), ["10.0.0.1/32 -> nobody"])
    Client.sweepHolds(client, session("a"), 181_000)
    assert.deepStrictEqual(news(), ["10.0.0.2/32 -> nobody"])
  })
  it("forgets a withdrawn own route that a v1 reflector showed", () => {
    const { client, hear, said } = both({}, false)
    Client.announce(client, [announcement("10.0.0.1/32", "fd00::1")])
    said("a")
    hear("a", Message.announce(wire("10.0.0.1/32", "fd00::1")))
    assert.deepStrictEqual(Client.table(client, 23), [])
    Client.announce(client, [])
    assert.deepStrictEqual(said("a"), ["REMOVE 23 10.0.0.1/32 via fd00::1"])
    assert.deepStrictEqual(Client.table(client, 23), [])
  })
  it("drops the routes of a reflector that does not come back in time", () => {
    const { client, hear, news, session } = both()
    hear("a", Message.announce(wire("10.0.0.1/32", "fd00::1")))
    hear("b", Message.announce(wire("10.0.0.2/32", "fd00::1")))
    news()
    Client.ended(client, session("a"), lost, 1_000)
    Client.sweepHolds(client, session("a"), 120_999)
    assert.deepStrictEqual(news(), [])
    Client.sweepHolds(client, session("a"), 121_000)
    assert.deepStrictEqual(news(), ["10.0.0.1/32 -> nobody"])
  })
  it("folds destinations that differ in host bits only, as two sources", () => {
    const { hear, news } = both()
    const announced = wire("10.0.0.0/16", "fd00::1")
    const odd = {
      ...announced,
      destination: { ...announced.destination, prefix: Uint8Array.of(10, 0, 23, 7) },
    }
    hear("a", Message.announce(announced))
    hear("a", Message.announce(odd))
    assert.deepStrictEqual(news(), ["10.0.0.0/16 -> fd00::1"])
    hear("a", Message.withdraw(announced))
    assert.deepStrictEqual(news(), [])
    hear("a", Message.withdraw(odd))
    assert.deepStrictEqual(news(), ["10.0.0.0/16 -> nobody"])
  })
  it("leaves out own hops but not others' hops of the same destination", () => {
    const { client, hear, news } = both()
    Client.announce(client, [announcement("10.0.0.1/32", "fd00::1")])
    hear("a", Message.announce(wire("10.0.0.1/32", "fd00::1")))
    hear("a", Message.announce(wire("10.0.0.1/32", "fd00::2")))
    assert.deepStrictEqual(news(), ["10.0.0.1/32 -> fd00::2"])
    Client.announce(client, [])
    assert.deepStrictEqual(news(), ["10.0.0.1/32 -> fd00::1 fd00::2"])
  })
  it("leaves out hops of a type that it cannot name", () => {
    const { hear, news } = both()
    const odd = wire("10.0.0.1/32", "fd00::1")
    hear("a", Message.announce({ ...odd, hop: { ...odd.hop, type: 7 } }))
    assert.deepStrictEqual(news(), [])
  })
  it("forgets a VNI that is not subscribed any more, without a word", () => {
    const { client, hear, news } = both()
    hear("a", Message.announce(wire("10.0.0.1/32", "fd00::1")))
    Client.subscribe(client, new Set())
    assert.deepStrictEqual(news(), [])
    assert.deepStrictEqual(Client.table(client, 23), [])
  })
  it("is level when one reflector is and none that is connected is still telling", () => {
    const { client, hear, reader, session } = both()
    hear("a", Message.endOfTable(23))
    assert.isFalse(Client.isLevel(client, 23))
    hear("b", Message.endOfTable(23))
    assert.isTrue(Client.isLevel(client, 23))
    assert.deepStrictEqual(Client.takeNews(client, reader).level, [23])
    Client.ended(client, session("b"), lost, 0)
    assert.isTrue(Client.isLevel(client, 23))
    Client.ended(client, session("a"), lost, 0)
    assert.isFalse(Client.isLevel(client, 23))
  })
})
