/**
 * Parts of the fast path, one by one, in the engine and in the model: how packets are read, translated, answered, hashed
 * and filtered. Whole configurations meet most of it (differential.test.ts); here every field is met often.
 *
 * FERRITE_SEED=n begins with that seed, FERRITE_PACKETS=n calls each part so often.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { bytesOf } from "#protocol/dataplane/model/address.ts"
import { answerEcho, answerError, answerReset } from "#protocol/dataplane/model/answer.ts"
import { type Bytes, concat, empty, hex, put16, put32 } from "#protocol/dataplane/model/bytes.ts"
import { accepts, compileRule, type RuleFields } from "#protocol/dataplane/model/firewall.ts"
import { buildMaglev, byAddress } from "#protocol/dataplane/model/maglev.ts"
import { choiceHash, natHash } from "#protocol/dataplane/model/murmur.ts"
import { convert, type Side } from "#protocol/dataplane/model/nat64.ts"
import { type Rewrite, translate, translateError } from "#protocol/dataplane/model/translate.ts"
import { parseIp, parseQuoted, type Tuple } from "#protocol/dataplane/model/tuple.ts"
import { type Dice, dice as makeDice } from "./dice.ts"
import { missing, start } from "./engine.ts"
import { type Ends, read, sayIp } from "./packets.ts"
import { emptyPlan, rule } from "./plan.ts"
import { complaint, damaged, opening, pieces, type Situation } from "./traffic.ts"

interface Call {
  readonly bytes: Bytes
  readonly expected: Bytes
  readonly told: string
}

const four = ["10.0.0.1", "10.0.0.2", "198.51.100.1", "203.0.113.100", "10.1.0.9", "10.0.1.1"]
const six = ["fd00::1", "fd00::2", "2001:db8:99::1", "64:ff9b::c633:6401", "fd01::7"]

/** IP packets of every kind, some of them damaged. */
const packet = (dice: Dice, family: 4 | 6): Bytes => {
  const situation: Situation = { plan: emptyPlan([100]), dice, mtu: 400, services: [], emitted: [], sent: [] }
  const pool = family === 4 ? four : six
  const ends: Ends = { source: dice.pick(pool), destination: dice.pick(pool) }
  const plain = opening(situation, ends)
  const seen = read(plain)
  const made = dice.weighted([
    [6, plain],
    [3, seen === undefined ? plain : complaint(situation, seen)],
    [1, dice.pick([plain, ...pieces(situation, plain)])],
  ])
  return dice.oneIn(4) ? damaged(made, dice, 0) : made
}

/** Without what follows the IP packet in its frame: the engine cuts that off before it changes a packet. */
const bare = (bytes: Bytes): Bytes => bytes.subarray(0, parseIp(bytes)?.length ?? bytes.length)

const fragments = { whole: 0, first: 1, later: 2 } as const
const icmps = { none: 0, echo: 1, error: 2, other: 3 } as const

const tupleBytes = (tuple: Tuple | undefined): Bytes =>
  tuple === undefined
    ? empty
    : concat(
        [tuple.family, tuple.protocol, fragments[tuple.fragment], icmps[tuple.icmp]],
        put16(tuple.sourcePort),
        put16(tuple.destinationPort),
        put16(tuple.l4),
        put16(tuple.length),
        put32(tuple.fragmentId),
        [tuple.tcpFlags, tuple.icmpType, tuple.icmpCode],
      )

const rewriteBytes = (rewrite: Rewrite): Bytes =>
  concat(
    [
      (rewrite.source === undefined ? 0 : 1) |
        (rewrite.destination === undefined ? 0 : 2) |
        (rewrite.sourcePort === undefined ? 0 : 4) |
        (rewrite.destinationPort === undefined ? 0 : 8),
    ],
    bytesOf(rewrite.source ?? "0.0.0.0"),
    bytesOf(rewrite.destination ?? "0.0.0.0"),
    put16(rewrite.sourcePort ?? 0),
    put16(rewrite.destinationPort ?? 0),
  )

const somePort = (dice: Dice): number => (dice.oneIn(8) ? 0 : dice.below(65_536))

/** One side changes, as in a flow; or nothing. */
const someRewrite = (dice: Dice): Rewrite => {
  const address = dice.pick(four)
  const port = somePort(dice)
  return dice.pick<Rewrite>([
    { source: address },
    { destination: address },
    { source: address, sourcePort: port },
    { destination: address, destinationPort: port },
    { source: address, destination: dice.pick(four) },
  ])
}

const sideBytes = (side: Side): Bytes =>
  concat(
    [(side.sourcePort === undefined ? 0 : 4) | (side.destinationPort === undefined ? 0 : 8)],
    bytesOf(side.source),
    bytesOf(side.destination),
    put16(side.sourcePort ?? 0),
    put16(side.destinationPort ?? 0),
  )

const someSide = (dice: Dice, pool: ReadonlyArray<string>): Side => ({
  source: dice.pick(pool),
  destination: dice.pick(pool),
  ...(dice.oneIn(2) ? { sourcePort: somePort(dice) } : {}),
  ...(dice.oneIn(2) ? { destinationPort: somePort(dice) } : {}),
})

const letter = (text: string): Bytes => Uint8Array.of(text.charCodeAt(0))
const call = (kind: string, given: Bytes, bytes: Bytes, expected: Bytes): Call => ({
  bytes: concat(letter(kind), given, bytes),
  expected,
  told: `${kind} ${hex(given)} ${sayIp(bytes)} ${hex(bytes)}`,
})

/** What the model makes of a packet that it can read. */
const made = (bytes: Bytes, make: (tuple: Tuple) => Bytes | undefined): Bytes => {
  const tuple = parseIp(bytes)
  return tuple === undefined ? empty : (make(tuple) ?? empty)
}

const fields = (dice: Dice): RuleFields => {
  const one = rule(dice, 0) as unknown as {
    readonly egress: boolean
    readonly accept: boolean
    readonly source: string
    readonly destination: string
    readonly protocol: number
    readonly sourcePorts?: RuleFields["sourcePorts"]
    readonly destinationPorts?: RuleFields["destinationPorts"]
    readonly icmpType?: number
    readonly icmpCode?: number
  }
  return {
    ...one,
    sourcePorts: one.sourcePorts,
    destinationPorts: one.destinationPorts,
    icmpType: one.icmpType,
    icmpCode: one.icmpCode,
  }
}

const wide = (bytes: Bytes): Bytes => concat(bytes, new Uint8Array(16 - bytes.length))

const ruleBytes = (one: RuleFields): Bytes => {
  const { destination, family, source } = compileRule(one)
  return concat(
    [one.egress ? 1 : 0, one.accept ? 1 : 0, family ?? 0, one.protocol, source.length, destination.length],
    wide(source.bytes),
    wide(destination.bytes),
    put16(one.sourcePorts?.first ?? 0),
    put16(one.sourcePorts?.last ?? 0xffff),
    put16(one.destinationPorts?.first ?? 0),
    put16(one.destinationPorts?.last ?? 0xffff),
    put16(one.icmpType ?? 0xffff),
    put16(one.icmpCode ?? 0xffff),
  )
}

const defaults = ["accept", "drop", "rules"] as const

const parts: Readonly<Record<string, (dice: Dice) => Call>> = {
  "read a packet": (dice) => {
    const bytes = packet(dice, dice.pick([4, 6]))
    return call("p", empty, bytes, tupleBytes(parseIp(bytes)))
  },
  "read a quoted packet": (dice) => {
    const whole = packet(dice, dice.pick([4, 6]))
    const bytes = whole.subarray(0, dice.below(whole.length + 1))
    return call("q", empty, bytes, tupleBytes(parseQuoted(bytes)))
  },
  "translate IPv4": (dice) => {
    const any = packet(dice, 4)
    const bytes = parseIp(any)?.family === 4 ? any : empty
    const rewrite = someRewrite(dice)
    return call(
      "t",
      rewriteBytes(rewrite),
      bytes,
      made(bytes, (tuple) => translate(bytes, tuple, rewrite)),
    )
  },
  "translate an ICMP error": (dice) => {
    const bytes = packet(dice, 4)
    const outer = someRewrite(dice)
    const quoted = someRewrite(dice)
    const about = parseIp(bytes)
    const isError = about?.icmp === "error" && about.family === 4 && about.fragment === "whole"
    return call(
      "e",
      concat(rewriteBytes(outer), rewriteBytes(quoted)),
      isError ? bytes : empty,
      isError ? made(bytes, (tuple) => translateError(bytes, tuple, outer, quoted)) : empty,
    )
  },
  "translate IPv6 to IPv4": (dice) => {
    const bytes = bare(packet(dice, 6))
    const side = someSide(dice, four)
    const quoted = someSide(dice, four)
    return call(
      "d",
      concat(sideBytes(side), sideBytes(quoted)),
      bytes,
      made(bytes, (tuple) => (tuple.family === 6 ? convert(bytes, tuple, side, quoted) : undefined)),
    )
  },
  "translate IPv4 to IPv6": (dice) => {
    const bytes = bare(packet(dice, 4))
    const side = someSide(dice, six)
    const quoted = someSide(dice, six)
    return call(
      "w",
      concat(sideBytes(side), sideBytes(quoted)),
      bytes,
      made(bytes, (tuple) => (tuple.family === 4 ? convert(bytes, tuple, side, quoted) : undefined)),
    )
  },
  "answer with a reset": (dice) => {
    const bytes = packet(dice, dice.pick([4, 6]))
    const tcp = parseIp(bytes)?.protocol === 6 ? bytes : empty
    return call(
      "r",
      empty,
      tcp,
      made(tcp, (tuple) => answerReset(tcp, tuple)),
    )
  },
  "answer with an error": (dice) => {
    const family = dice.pick([4, 6] as const)
    const bytes = packet(dice, family)
    const there = parseIp(bytes)?.family ?? family
    const source = dice.pick(there === 4 ? four : six)
    const [type, code] = there === 4 ? ([3, 13] as const) : ([1, 1] as const)
    const rest = dice.below(2000)
    return call(
      "u",
      concat([type, code], put32(rest), wide(bytesOf(source))),
      bytes,
      made(bytes, (tuple) => answerError(bytes, tuple, { type, code, rest, source })),
    )
  },
  "answer an echo": (dice) => {
    const bytes = bare(packet(dice, dice.pick([4, 6])))
    return call(
      "o",
      empty,
      bytes,
      made(bytes, (tuple) => answerEcho(bytes, tuple)),
    )
  },
  "hash for a choice": (dice) => {
    const bytes = packet(dice, dice.pick([4, 6]))
    const seed = dice.below(0x1_0000_0000)
    return call(
      "h",
      concat(put32(seed)),
      bytes,
      made(bytes, (tuple) => concat(put32(choiceHash(tuple, seed)))),
    )
  },
  "hash for a NAT port": (dice) => {
    const bytes = packet(dice, dice.pick([4, 6]))
    const seed = dice.below(0x1_0000_0000)
    const vni = dice.below(1 << 24)
    return call(
      "n",
      concat(put32(seed), put32(vni)),
      bytes,
      made(bytes, (tuple) => concat(put32(natHash(vni, tuple, seed)))),
    )
  },
  filter: (dice) => {
    const bytes = packet(dice, dice.pick([4, 6]))
    const rules = Array.from({ length: dice.pick([0, 1, 2, 5, 31, 33, 60]) }, () => fields(dice))
    const egress = dice.oneIn(2)
    const [first, second] = [dice.below(3), dice.below(3)]
    const firewall = {
      rules: rules.map(compileRule),
      ingress: defaults[first] ?? "accept",
      egress: defaults[second] ?? "accept",
    }
    return call(
      "f",
      concat([egress ? 1 : 0, first, second], put16(rules.length), ...rules.map(ruleBytes)),
      bytes,
      made(bytes, (tuple) => Uint8Array.of(accepts(firewall, tuple, egress) ? 1 : 0)),
    )
  },
  "fill a Maglev table": (dice) => {
    const members = Array.from({ length: 1 + dice.below(dice.oneIn(4) ? 32 : 4) }, (_, i) => ({
      address: `fd00:f:${(70 + dice.below(20)).toString()}:${i}::${(1 + dice.below(99)).toString()}`,
      weight: dice.oneIn(2) ? 1 : 1 + dice.below(256),
    })).sort((a, b) => byAddress(a.address, b.address))
    const slots = dice.weighted([
      [8, 1021],
      [1, 4093],
    ])
    const table = buildMaglev(members, slots)
    return call(
      "m",
      concat(
        put32(slots),
        ...members.flatMap(({ address, weight }) => [bytesOf(address), Uint8Array.from(put16(weight))]),
      ),
      empty,
      concat(...[...table].map(put16)),
    )
  },
}

const firstSeed = Number(process.env["FERRITE_SEED"] ?? Math.floor(Math.random() * 1e9))
const count = Number(process.env["FERRITE_PACKETS"] ?? 1_000)

const lacking = missing()
describe("the parts of the model and of the native engine", () => {
  if (lacking === undefined)
    for (const [name, make] of Object.entries(parts))
      it.live(name, () =>
        Effect.scoped(
          Effect.gen(function* () {
            const engine = yield* start
            const calls = Array.from({ length: count }, (_, i) => make(makeDice(firstSeed + i)))
            const got = yield* engine.call(calls.map(({ bytes }) => bytes))
            for (const [i, { expected, told }] of calls.entries())
              assert.strictEqual(
                hex(got[i] ?? empty),
                hex(expected),
                `${told}\nreplay: FERRITE_SEED=${firstSeed + i} FERRITE_PACKETS=1 vitest run test/differential/pieces.test.ts`,
              )
          }),
        ),
      )
  else it.skip(`needs ${lacking}`, () => undefined)
})
