// The reflector as conversations: `1>` is what peer 1 says, `1<` what it is told, `1x` that it is cut off.
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Machine from "#actors/route/Reflector.ts"
import { emptyDecoder } from "#protocol/metalbond/Frame.ts"
import * as Message from "#protocol/metalbond/Message.ts"
import { metalbondError } from "#protocol/metalbond/MetalbondError.ts"
import { fromAnnouncement, type Route } from "#protocol/metalbond/Route.ts"

const route = (vni: number, prefix: string, address: string, nat = ""): Route => {
  const [from, to] = nat.split("-").map(Number)
  return Result.getOrThrow(
    fromAnnouncement({
      vni,
      prefix,
      nextHop: {
        address,
        vni: 0,
        type: nat === "" ? "STANDARD" : "NAT",
        natPortFrom: from ?? 0,
        natPortTo: to ?? 0,
      },
    }),
  )
}

/** `HELLO 5`, `HELLO 5 restart 60 host-1`, `ADD 23 10.0.0.1/32 via fd00::1 [NAT 1-2]`, ... */
const parse = (text: string): Message.Message => {
  const words = text.split(" ")
  const vni = Number(words[1])
  switch (words[0]) {
    case "HELLO":
      return Message.hello({
        keepaliveSeconds: vni,
        restartSeconds: Number(words[3] ?? 0),
        originator: words[4] ?? "",
      })
    case "KEEPALIVE":
      return Message.keepalive
    case "SUBSCRIBE":
      return Message.subscribe(vni)
    case "UNSUBSCRIBE":
      return Message.unsubscribe(vni)
    case "END_OF_TABLE":
      return Message.endOfTable(vni)
    case "ADD":
      return Message.announce(route(vni, words[2]!, words[4]!, words[6]))
    case "REMOVE":
      return Message.withdraw(route(vni, words[2]!, words[4]!, words[6]))
    default:
      throw new Error(text)
  }
}

/** Runs a conversation; the lines of the reflector must be exactly those written. */
const converse = (script: string, config: Partial<Machine.Config> = {}): Machine.Reflector => {
  let now = 0
  const reflector = Machine.make({ ...Machine.defaults, startupMillis: 0, ...config }, now)
  const peers = new Map<string, Machine.Peer>()
  const out: Array<string> = []
  const drain = (actions: ReadonlyArray<Machine.Action>) => {
    const nameOf = (peer: Machine.Peer) => [...peers].find(([, other]) => other === peer)![0]
    for (const action of actions)
      if (action._tag === "Close") out.push(`${nameOf(action.peer)}x ${action.error.reason}`)
    for (const [name, peer] of peers) {
      if (!reflector.peers.has(peer.id)) continue
      for (let bytes = Machine.take(peer, 100); bytes !== undefined; bytes = Machine.take(peer, 100))
        for (const message of Message.decodeChunk(emptyDecoder, bytes).messages)
          out.push(`${name}< ${Message.format(message)}`)
    }
  }
  const written: Array<string> = []
  for (const line of script
    .split("\n")
    .map((text) => text.trim())
    .filter((text) => text !== "")) {
    const name = line[0]!
    const text = line.slice(3)
    if (line[1] === "<" || line[1] === "x") {
      written.push(line)
      continue
    }
    assert.deepStrictEqual(out, written, `before "${line}"`)
    out.length = 0
    written.length = 0
    if (line.startsWith("-- ")) {
      now += Number(text.replace(" s", "")) * 1000
      for (const peer of peers.values()) drain(Machine.peerElapsed(reflector, peer, now))
      drain(Machine.elapsed(reflector, now))
      continue
    }
    if (!peers.has(name)) {
      const opened = Machine.opened(reflector, `peer-${name}`, now)
      assert("session" in opened)
      peers.set(name, opened)
    }
    const peer = peers.get(name)!
    if (text === "(gone)") {
      drain(Machine.ended(reflector, peer, metalbondError("PeerClosed", ""), now))
      peers.delete(name)
    } else drain(Machine.received(reflector, peer, parse(text), now))
  }
  assert.deepStrictEqual(out, written, "at the end")
  return reflector
}

/** A v1 peer through its greeting, with an interval that tests do not reach. */
const v1 = (name: string) => `
  ${name}> HELLO 100
  ${name}< HELLO keepalive 100 server
  ${name}> KEEPALIVE
  ${name}< KEEPALIVE`
const named = (name: string, originator: string) => `
  ${name}> HELLO 100 restart 60 ${originator}
  ${name}< HELLO keepalive 100 server restart 120
  ${name}> KEEPALIVE
  ${name}< KEEPALIVE`
const patient = { keepaliveSeconds: 100 }

describe("a session", () => {
  it("greets, takes the smaller interval, and answers every KEEPALIVE", () => {
    converse(`
      1> HELLO 3
      1< HELLO keepalive 3 server
      1> KEEPALIVE
      1< KEEPALIVE
      1> KEEPALIVE
      1< KEEPALIVE
      2> HELLO 9
      2< HELLO keepalive 5 server
    `)
  })
  it("has 5 seconds for its HELLO and may say nothing before it", () => {
    converse(`
      1> ADD 23 10.0.0.1/32 via fd00::1
      1x HelloExpected
      2> KEEPALIVE
      2x HelloExpected
    `)
    const reflector = Machine.make(Machine.defaults, 0)
    const peer = Machine.opened(reflector, "silent", 0)
    assert("session" in peer)
    assert.deepStrictEqual(Machine.peerElapsed(reflector, peer, 4_999), [])
    const [action] = Machine.peerElapsed(reflector, peer, 5_000)
    assert(action?._tag === "Close")
    assert.strictEqual(action.error.reason, "HelloTimeout")
  })
  it("ends after 2.5 intervals of silence, and its routes with it", () => {
    converse(
      `${v1("9")}
      9> SUBSCRIBE 23
      1> HELLO 2
      1< HELLO keepalive 2 server
      1> KEEPALIVE
      1< KEEPALIVE
      1> ADD 23 10.0.0.1/32 via fd00::1
      9< ADD 23 10.0.0.1/32 via fd00::1
      -- 4.9 s
      -- 0.1 s
      1x KeepaliveTimeout
      9< REMOVE 23 10.0.0.1/32 via fd00::1
    `,
      patient,
    )
  })
  it("counts any frame as a sign of life once established, only KEEPALIVE before", () => {
    converse(`
      1> HELLO 2
      1< HELLO keepalive 2 server
      -- 4 s
      1> SUBSCRIBE 23
      -- 1 s
      1x KeepaliveTimeout
      2> HELLO 2
      2< HELLO keepalive 2 server
      2> KEEPALIVE
      2< KEEPALIVE
      -- 4 s
      2> SUBSCRIBE 23
      -- 4 s
      2> UNSUBSCRIBE 23
      -- 4 s
    `)
  })
  it("negotiates anew on a second HELLO, without a ratchet and without losing anything", () => {
    converse(
      `${v1("9")}
      9> SUBSCRIBE 23
      1> HELLO 1
      1< HELLO keepalive 1 server
      1> KEEPALIVE
      1< KEEPALIVE
      1> SUBSCRIBE 23
      1> HELLO 4
      1< HELLO keepalive 4 server
      9> ADD 23 10.0.0.9/32 via fd00::9
      1< ADD 23 10.0.0.9/32 via fd00::9
      -- 9 s
      1> KEEPALIVE
      1< KEEPALIVE
    `,
      patient,
    )
  })
  it("may not change its name, nor use what it did not negotiate", () => {
    converse(
      `${named("1", "host-1")}${v1("2")}
      1> HELLO 100 restart 60 host-2
      1x OriginatorChanged
      2> END_OF_TABLE 0
      2x NotNegotiated
    `,
      patient,
    )
  })
  it("is v1 to the byte when the reflector does not restart gracefully", () => {
    converse(
      `
      1> HELLO 3 restart 60 host-1
      1< HELLO keepalive 3 server
    `,
      { restartSeconds: 0 },
    )
  })
})

describe("routes", () => {
  it("are relayed to the subscribers of their VNI but not to their announcer", () => {
    converse(
      `${v1("1")}${v1("2")}${v1("3")}
      1> SUBSCRIBE 23
      2> SUBSCRIBE 23
      3> SUBSCRIBE 24
      1> ADD 23 10.0.0.1/32 via fd00::1
      2< ADD 23 10.0.0.1/32 via fd00::1
      1> REMOVE 23 10.0.0.1/32 via fd00::1
      2< REMOVE 23 10.0.0.1/32 via fd00::1
    `,
      patient,
    )
  })
  it("leave with their last announcer", () => {
    converse(
      `${v1("1")}${v1("2")}${v1("9")}
      9> SUBSCRIBE 23
      1> ADD 23 10.0.0.1/32 via fd00::1
      9< ADD 23 10.0.0.1/32 via fd00::1
      2> ADD 23 10.0.0.1/32 via fd00::1
      1> REMOVE 23 10.0.0.1/32 via fd00::1
      2> (gone)
      9< REMOVE 23 10.0.0.1/32 via fd00::1
    `,
      patient,
    )
  })
  it("that a second peer announces too are news to the first", () => {
    converse(
      `${v1("1")}${v1("2")}
      1> SUBSCRIBE 23
      1> ADD 23 10.0.0.1/32 via fd00::1
      2> ADD 23 10.0.0.1/32 via fd00::1
      1< ADD 23 10.0.0.1/32 via fd00::1
      2> REMOVE 23 10.0.0.1/32 via fd00::1
      1< REMOVE 23 10.0.0.1/32 via fd00::1
      2> ADD 23 10.0.0.1/32 via fd00::1
      1< ADD 23 10.0.0.1/32 via fd00::1
      1> REMOVE 23 10.0.0.1/32 via fd00::1
      1< ADD 23 10.0.0.1/32 via fd00::1
      2> (gone)
      1< REMOVE 23 10.0.0.1/32 via fd00::1
    `,
      patient,
    )
  })
  it("twice announced are relayed once, unknown withdrawals not at all", () => {
    converse(
      `${v1("1")}${v1("9")}
      9> SUBSCRIBE 23
      1> ADD 23 10.0.0.1/32 via fd00::1
      9< ADD 23 10.0.0.1/32 via fd00::1
      1> ADD 23 10.0.0.1/32 via fd00::1
      1> REMOVE 23 10.0.0.1/32 via fd00::2
      1> REMOVE 24 10.0.0.1/32 via fd00::1
      9> REMOVE 23 10.0.0.1/32 via fd00::1
    `,
      patient,
    )
  })
  it("to one destination with different NAT ranges are several routes", () => {
    converse(
      `${v1("1")}${v1("2")}
      1> SUBSCRIBE 23
      2> SUBSCRIBE 23
      1> ADD 23 203.0.113.7/32 via fd00::1 NAT 1-99
      2< ADD 23 203.0.113.7/32 via fd00::1 NAT 1-99
      2> ADD 23 203.0.113.7/32 via fd00::2 NAT 100-199
      1< ADD 23 203.0.113.7/32 via fd00::2 NAT 100-199
    `,
      patient,
    )
  })
  it("that flap while a peer does not read cost it one frame", () => {
    const reflector = Machine.make({ ...Machine.defaults, startupMillis: 0 }, 0)
    const [announcer, reader] = ["announcer", "reader"].map((name) => {
      const peer = Machine.opened(reflector, name, 0)
      assert("session" in peer)
      Machine.received(reflector, peer, Message.hello({ keepaliveSeconds: 5 }), 0)
      Machine.received(reflector, peer, Message.keepalive, 0)
      return peer
    }) as [Machine.Peer, Machine.Peer]
    Machine.received(reflector, reader, Message.subscribe(23), 0)
    Machine.take(reader, 100)
    const flapping = route(23, "10.0.0.1/32", "fd00::1")
    for (let i = 0; i < 1000; i++) {
      Machine.received(reflector, announcer, Message.announce(flapping), 0)
      Machine.received(reflector, announcer, Message.withdraw(flapping), 0)
    }
    assert.deepStrictEqual(Machine.take(reader, 100), Message.encode(Message.withdraw(flapping)))
    assert.isUndefined(Machine.take(reader, 100))
  })
})

describe("subscriptions", () => {
  it("begin with a dump; own announcements are in it, NAT hops excepted, for v1 peers", () => {
    converse(
      `${v1("1")}${v1("2")}
      1> ADD 23 10.0.0.1/32 via fd00::1
      1> ADD 23 203.0.113.7/32 via fd00::1 NAT 1-99
      2> ADD 23 10.0.0.2/32 via fd00::2
      1> SUBSCRIBE 23
      1< ADD 23 10.0.0.1/32 via fd00::1
      1< ADD 23 10.0.0.2/32 via fd00::2
    `,
      patient,
    )
  })
  it("take back what their dump showed of the peer's own", () => {
    converse(
      `${v1("1")}
      1> ADD 23 10.0.0.1/32 via fd00::1
      1> SUBSCRIBE 23
      1< ADD 23 10.0.0.1/32 via fd00::1
      1> ADD 23 10.0.0.2/32 via fd00::1
      1> REMOVE 23 10.0.0.1/32 via fd00::1
      1< REMOVE 23 10.0.0.1/32 via fd00::1
      1> REMOVE 23 10.0.0.2/32 via fd00::1
    `,
      patient,
    )
  })
  it("of peers with graceful restart have no own announcements and an end", () => {
    converse(
      `${named("1", "host-1")}${v1("2")}
      1> ADD 23 10.0.0.1/32 via fd00::1
      2> ADD 23 10.0.0.2/32 via fd00::2
      1> SUBSCRIBE 23
      1< ADD 23 10.0.0.2/32 via fd00::2
      1< END_OF_TABLE 23
      1> SUBSCRIBE 99
      1< END_OF_TABLE 99
    `,
      patient,
    )
  })
  it("are idempotent", () => {
    converse(
      `${v1("1")}${v1("2")}${named("3", "host-3")}
      2> ADD 23 10.0.0.2/32 via fd00::2
      1> SUBSCRIBE 23
      1< ADD 23 10.0.0.2/32 via fd00::2
      1> SUBSCRIBE 23
      3> SUBSCRIBE 23
      3< ADD 23 10.0.0.2/32 via fd00::2
      3< END_OF_TABLE 23
      3> SUBSCRIBE 23
      3< END_OF_TABLE 23
    `,
      patient,
    )
  })
  it("end delivery with UNSUBSCRIBE and nothing else", () => {
    converse(
      `${v1("1")}${v1("2")}
      2> SUBSCRIBE 23
      1> SUBSCRIBE 23
      1> ADD 23 10.0.0.1/32 via fd00::1
      2< ADD 23 10.0.0.1/32 via fd00::1
      1> UNSUBSCRIBE 23
      2> ADD 23 10.0.0.2/32 via fd00::2
      1> UNSUBSCRIBE 23
      1> SUBSCRIBE 23
      1< ADD 23 10.0.0.1/32 via fd00::1
      1< ADD 23 10.0.0.2/32 via fd00::2
    `,
      patient,
    )
  })
  it("take along what was not sent yet, of their VNI only", () => {
    const reflector = Machine.make({ ...Machine.defaults, startupMillis: 0 }, 0)
    const [announcer, reader] = ["announcer", "reader"].map((name) => {
      const peer = Machine.opened(reflector, name, 0)
      assert("session" in peer)
      Machine.received(
        reflector,
        peer,
        Message.hello({ keepaliveSeconds: 5, restartSeconds: 60, originator: name }),
        0,
      )
      Machine.received(reflector, peer, Message.keepalive, 0)
      Machine.take(peer, 100)
      return peer
    }) as [Machine.Peer, Machine.Peer]
    const gone = route(23, "10.0.0.1/32", "fd00::1")
    Machine.received(reflector, announcer, Message.announce(gone), 0)
    Machine.received(reflector, announcer, Message.announce(route(24, "10.0.0.2/32", "fd00::1")), 0)
    Machine.received(reflector, reader, Message.subscribe(24), 0)
    Machine.received(reflector, reader, Message.subscribe(23), 0)
    Machine.received(reflector, reader, Message.unsubscribe(23), 0)
    Machine.received(reflector, announcer, Message.withdraw(gone), 0)
    assert.deepStrictEqual(
      Message.decodeChunk(emptyDecoder, Machine.take(reader, 100)!).messages.map((message) =>
        Message.format(message),
      ),
      ["ADD 24 10.0.0.2/32 via fd00::1", "END_OF_TABLE 24"],
    )
    assert.isUndefined(Machine.take(reader, 100))
  })
  it("do not keep own routes that a dump showed", () => {
    const reflector = converse(
      `${v1("1")}
      1> ADD 23 10.0.0.1/32 via fd00::1
      1> SUBSCRIBE 23
      1< ADD 23 10.0.0.1/32 via fd00::1
      1> UNSUBSCRIBE 23
      1> REMOVE 23 10.0.0.1/32 via fd00::1
    `,
      patient,
    )
    assert.deepStrictEqual(
      [...reflector.peers.values()].map(({ shownOwn }) => shownOwn.size),
      [0],
    )
  })
  it("leave nothing behind", () => {
    const reflector = converse(
      `${v1("1")}${named("2", "host-2")}
      1> SUBSCRIBE 23
      2> SUBSCRIBE 24
      2< END_OF_TABLE 24
      1> ADD 23 10.0.0.1/32 via fd00::1
      1> (gone)
      2> (gone)
    `,
      patient,
    )
    assert.strictEqual(reflector.table.size, 0)
    assert.strictEqual(reflector.table.vnis.size, 0)
    assert.strictEqual(reflector.table.announcers.size, 0)
    assert.strictEqual(reflector.subscribers.size, 0)
    assert.strictEqual(reflector.byAnnouncer.size, 0)
    assert.strictEqual(reflector.held.size, 0)
  })
})

describe("graceful restart", () => {
  it("holds the routes of a lost peer until it is back and has told all", () => {
    converse(
      `${v1("9")}${named("1", "host-1")}
      9> SUBSCRIBE 23
      1> ADD 23 10.0.0.1/32 via fd00::1
      9< ADD 23 10.0.0.1/32 via fd00::1
      1> ADD 23 10.0.0.2/32 via fd00::1
      9< ADD 23 10.0.0.2/32 via fd00::1
      1> (gone)
      -- 50 s
      9> KEEPALIVE
      9< KEEPALIVE
      ${named("2", "host-1")}
      2> ADD 23 10.0.0.1/32 via fd00::1
      2> END_OF_TABLE 0
      9< REMOVE 23 10.0.0.2/32 via fd00::1
      -- 100 s
      2> (gone)
      -- 59 s
      -- 1 s
      9< REMOVE 23 10.0.0.1/32 via fd00::1
    `,
      patient,
    )
  })
  it("holds them for 120 seconds at most", () => {
    converse(
      `${v1("9")}
      9> SUBSCRIBE 23
      1> HELLO 100 restart 9999 host-1
      1< HELLO keepalive 100 server restart 120
      1> KEEPALIVE
      1< KEEPALIVE
      1> ADD 23 10.0.0.1/32 via fd00::1
      9< ADD 23 10.0.0.1/32 via fd00::1
      1> (gone)
      -- 119 s
      9> KEEPALIVE
      9< KEEPALIVE
      -- 1 s
      9< REMOVE 23 10.0.0.1/32 via fd00::1
    `,
      patient,
    )
  })
  it("ends the hold of what is not repeated even if the peer never says that it told all", () => {
    converse(
      `${v1("9")}${named("1", "host-1")}
      9> SUBSCRIBE 23
      1> ADD 23 10.0.0.1/32 via fd00::1
      9< ADD 23 10.0.0.1/32 via fd00::1
      1> (gone)
      -- 30 s
      ${named("2", "host-1")}
      2> ADD 23 10.0.0.2/32 via fd00::1
      9< ADD 23 10.0.0.2/32 via fd00::1
      2> (gone)
      -- 30 s
      9< REMOVE 23 10.0.0.1/32 via fd00::1
      -- 30 s
      9< REMOVE 23 10.0.0.2/32 via fd00::1
    `,
      patient,
    )
  })
  it("lets the second connection of a host supersede the first", () => {
    converse(
      `${v1("9")}${named("1", "host-1")}
      9> SUBSCRIBE 23
      1> ADD 23 10.0.0.1/32 via fd00::1
      9< ADD 23 10.0.0.1/32 via fd00::1
      2> HELLO 100 restart 60 host-1
      1x Superseded
      2< HELLO keepalive 100 server restart 120
      2> KEEPALIVE
      2< KEEPALIVE
      2> END_OF_TABLE 0
      9< REMOVE 23 10.0.0.1/32 via fd00::1
    `,
      patient,
    )
  })
  it("does not echo held routes to the host that they are of", () => {
    converse(
      `${named("1", "host-1")}
      1> ADD 23 10.0.0.1/32 via fd00::1
      1> (gone)
      ${named("2", "host-1")}
      2> SUBSCRIBE 23
      2< END_OF_TABLE 23
    `,
      patient,
    )
  })
  it("says END_OF_TABLE only when all hosts had time to come back to a reflector that started", () => {
    converse(
      `${named("1", "host-1")}
      1> SUBSCRIBE 23
      -- 5 s
      ${named("2", "host-2")}
      2> ADD 23 10.0.0.2/32 via fd00::2
      1< ADD 23 10.0.0.2/32 via fd00::2
      -- 10 s
      1< END_OF_TABLE 23
      2> SUBSCRIBE 23
      2< END_OF_TABLE 23
    `,
      { ...patient, startupMillis: 15_000 },
    )
  })
  it("says no END_OF_TABLE of a VNI that was unsubscribed before that", () => {
    converse(
      `${named("1", "host-1")}
      1> SUBSCRIBE 23
      1> SUBSCRIBE 24
      1> UNSUBSCRIBE 23
      -- 15 s
      1< END_OF_TABLE 24
    `,
      { ...patient, startupMillis: 15_000 },
    )
  })
})

describe("bounds", () => {
  it("on routes and subscriptions of a peer cost that peer its session", () => {
    converse(
      `${v1("1")}${v1("2")}${v1("9")}
      9> SUBSCRIBE 23
      1> ADD 23 10.0.0.1/32 via fd00::1
      9< ADD 23 10.0.0.1/32 via fd00::1
      1> ADD 23 10.0.0.2/32 via fd00::1
      1x TooManyRoutes
      9< REMOVE 23 10.0.0.2/32 via fd00::1
      9< REMOVE 23 10.0.0.1/32 via fd00::1
      2> SUBSCRIBE 23
      2> SUBSCRIBE 24
      2x TooManySubscriptions
    `,
      { ...patient, maxRoutesPerPeer: 1, maxSubscriptionsPerPeer: 1 },
    )
  })
  it("are not outlived by a hold", () => {
    const reflector = converse(
      `${named("1", "host-1")}
      1> ADD 23 10.0.0.1/32 via fd00::1
      1> ADD 23 10.0.0.2/32 via fd00::1
      1x TooManyRoutes
    `,
      { ...patient, maxRoutes: 1 },
    )
    assert.strictEqual(reflector.table.size, 0)
    assert.strictEqual(reflector.held.size, 0)
  })
  it("on a lagging peer cost it its session", () => {
    const reflector = Machine.make({ ...Machine.defaults, startupMillis: 0, maxPendingPerPeer: 10 }, 0)
    const peers = ["announcer", "reader"].map((name) => {
      const peer = Machine.opened(reflector, name, 0)
      assert("session" in peer)
      Machine.received(reflector, peer, Message.hello({ keepaliveSeconds: 5 }), 0)
      Machine.received(reflector, peer, Message.keepalive, 0)
      return peer
    })
    Machine.received(reflector, peers[1]!, Message.subscribe(23), 0)
    const actions = Array.from({ length: 12 }, (_, i) =>
      Machine.received(reflector, peers[0]!, Message.announce(route(23, `10.0.0.${i}/32`, "fd00::1")), 0),
    ).flat()
    assert.deepStrictEqual(
      actions.flatMap((action) => (action._tag === "Close" ? [action.error.reason] : [])),
      ["SlowReader"],
    )
    assert.isTrue(reflector.peers.has(peers[0]!.id))
  })
})
