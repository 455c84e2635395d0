/**
 * One host of the model with a clock of its own, for tests of what becomes of single packets.
 *
 * Every packet that leaves is checked by a naive computation of all its checksums, which shares nothing with the
 * model's arithmetic: it sums whole packets from scratch.
 */
import { assert } from "@effect/vitest"
import { HashMap } from "effect"
import type { InterfaceSpec, Operation, OperationResult } from "#protocol/dataplane/Dataplane.ts"
import { bytesOf } from "#protocol/dataplane/model/address.ts"
import { type Bytes, concat, fromAscii, put16, u16, u8 } from "#protocol/dataplane/model/bytes.ts"
import { operate } from "#protocol/dataplane/model/control.ts"
import { encodeEthernet, etherTypes } from "#protocol/dataplane/model/ethernet.ts"
import { encodeIpv4, encodeIpv6, protocols } from "#protocol/dataplane/model/ip.ts"
import { encapsulate, step } from "#protocol/dataplane/model/pipeline.ts"
import { initial, type ModelConfig, type ModelState } from "#protocol/dataplane/model/tables.ts"
import {
  encodeEcho4,
  encodeEcho6,
  encodeTcp,
  encodeUdp,
  type TcpFlags,
} from "#protocol/dataplane/model/transport.ts"
import { parseIp, type Tuple } from "#protocol/dataplane/model/tuple.ts"

export const hostPrefix = "fd00:f:1::"
export const router = "fd00:f:9::1"

/** What left: to the VM on a port, or into the underlay. */
export interface Left {
  readonly to: string
  readonly outer: { readonly source: string; readonly destination: string } | undefined
  readonly bytes: Bytes
  readonly tuple: Tuple
}

/** Sum of 16-bit words, end-around, from nothing. */
const naiveSum = (bytes: Bytes): number => {
  let sum = 0
  for (let i = 0; i < bytes.length; i++) sum += i % 2 === 0 ? u8(bytes, i) * 256 : u8(bytes, i)
  return sum % 0xffff
}

/** Whether all checksums of a whole IP packet are right. */
export const isIntact = (bytes: Bytes, tuple: Tuple): boolean => {
  const { l4, length } = tuple
  if (tuple.family === 4 && naiveSum(bytes.subarray(0, l4)) !== 0) return false
  if (tuple.fragment !== "whole") return true
  const message = bytes.subarray(l4, length)
  const pseudo = concat(
    bytesOf(tuple.source),
    bytesOf(tuple.destination),
    [0, tuple.protocol],
    put16(length - l4),
  )
  switch (tuple.protocol) {
    case protocols.udp:
      return (tuple.family === 4 && u16(message, 6) === 0) || naiveSum(concat(pseudo, message)) === 0
    case protocols.tcp:
    case protocols.icmpv6:
      return naiveSum(concat(pseudo, message)) === 0
    case protocols.icmp:
      return naiveSum(message) === 0
    default:
      return true
  }
}

const read = (bytes: Bytes): Tuple => {
  const tuple = parseIp(bytes)
  assert.isDefined(tuple)
  if (tuple === undefined) throw new Error("unreachable")
  return tuple
}

export const world = (options: Partial<ModelConfig> = {}) => {
  let state: ModelState = {
    ...initial({
      uuid: "00000000-0000-4000-8000-000000000001",
      underlayPrefix: `${hostPrefix}/64`,
      mtu: 1_500,
      dns4: [],
      dns6: [],
      ports: new Map(),
      macs: new Map(),
      version: "model",
      routeCapacity: 1_024,
      ...options,
    }),
    initialized: true,
  }
  let now = 0
  let checked = true
  const left = (outputs: ReturnType<typeof step>["outputs"]): ReadonlyArray<Left> =>
    outputs.map((output) => {
      if (output._tag === "ToPort") {
        const bytes = output.frame.subarray(14)
        const tuple = read(bytes)
        assert.isTrue(isIntact(bytes, tuple), `a checksum on its way to ${output.device}`)
        return { to: output.device.slice(5), outer: undefined, bytes, tuple }
      }
      const outer = read(output.packet)
      const tunnelled = outer.protocol === protocols.ipv4 || outer.protocol === protocols.ipv6
      const bytes = tunnelled ? output.packet.subarray(40) : output.packet
      const tuple = read(bytes)
      assert.isTrue(isIntact(bytes, tuple), "a checksum on its way into the underlay")
      const { destination, source } = outer
      return { to: "underlay", outer: tunnelled ? { source, destination } : undefined, bytes, tuple }
    })
  const feed = (input: Parameters<typeof step>[1]): ReadonlyArray<Left> => {
    const next = step(state, input, now)
    state = next.state
    return checked ? left(next.outputs) : []
  }
  const world = {
    state: () => state,
    /** Time passes. */
    wait: (seconds: number): void => {
      now += Math.round(seconds * 1_000)
    },
    try: (operation: Operation): OperationResult => {
      const next = operate(state, operation)
      state = next.state
      return next.result
    },
    /** Must be done; its underlay address. */
    apply: (operation: Operation): string => {
      const result = world.try(operation)
      assert.strictEqual(result.code, 0, `${operation._tag}: ${result.message}`)
      return result.interface?.underlayAddress ?? result.underlayAddress ?? ""
    },
    /** An interface on vtap:ID; its underlay address. */
    create: (id: string, spec: Partial<InterfaceSpec> = {}): string =>
      world.apply({
        _tag: "CreateInterface",
        spec: {
          id,
          vni: 100,
          ipv4: undefined,
          ipv6: undefined,
          device: `vtap:${id}`,
          hostname: undefined,
          ...spec,
        },
      }),
    route: (prefix: string, nextHop = router, vni = 100): void => {
      world.apply({ _tag: "PutRoute", route: { vni, prefix, nextHop, nextHopVni: vni } })
    },
    /** A VM sends an IP packet. */
    send: (
      id: string,
      packet: Bytes,
      mac = `52:54:00:00:00:${id.charCodeAt(0).toString(16)}`,
    ): ReadonlyArray<Left> =>
      feed({
        _tag: "FromPort",
        device: `vtap:${id}`,
        frame: encodeEthernet({
          destination: "02:00:00:00:00:01",
          source: mac,
          type: u8(packet, 0) >>> 4 === 4 ? etherTypes.ipv4 : etherTypes.ipv6,
          payload: packet,
        }),
      }),
    frame: (id: string, frame: Bytes): ReadonlyArray<Left> =>
      feed({ _tag: "FromPort", device: `vtap:${id}`, frame }),
    /** An IP packet arrives for an underlay address. */
    arrive: (destination: string, packet: Bytes, source = router): ReadonlyArray<Left> =>
      feed({ _tag: "FromUnderlay", packet: encapsulate(source, destination, packet) }),
    /** A plain packet of the underlay. */
    plain: (packet: Bytes): ReadonlyArray<Left> => feed({ _tag: "FromUnderlay", packet }),
    /** Does things without a look at what leaves: what came damaged leaves damaged. */
    blindly: (act: () => void): void => {
      checked = false
      act()
      checked = true
    },
    dropped: (reason: string): number =>
      Number(HashMap.toEntries(state.counters).find(([name]) => name === `drop.${reason}`)?.[1] ?? 0n),
  }
  return world
}

export type World = ReturnType<typeof world>

interface Path {
  readonly source: string
  readonly destination: string
}

/** "10.0.0.1:80", "[fd00::1]:80". */
const parts = (text: string): { readonly address: string; readonly port: number } => {
  const at = text.lastIndexOf(":")
  return { address: text.slice(0, at).replace(/[[\]]/g, ""), port: Number(text.slice(at + 1)) }
}

export const ip = (path: Path, protocol: number, payload: Bytes, more = {}): Bytes =>
  path.source.includes(":")
    ? encodeIpv6({ ...path, protocol, payload, ...more })
    : encodeIpv4({ ...path, protocol, payload, ...more })

export const udp = (from: string, to: string, text = "datagram"): Bytes => {
  const [a, b] = [parts(from), parts(to)]
  const path = { source: a.address, destination: b.address }
  return ip(
    path,
    protocols.udp,
    encodeUdp(path, { sourcePort: a.port, destinationPort: b.port, payload: fromAscii(text) }),
  )
}

export const tcp = (
  from: string,
  to: string,
  flags: TcpFlags,
  text = "",
  numbers = { sequence: 1_000, acknowledgement: 0 },
): Bytes => {
  const [a, b] = [parts(from), parts(to)]
  const path = { source: a.address, destination: b.address }
  return ip(
    path,
    protocols.tcp,
    encodeTcp(path, {
      sourcePort: a.port,
      destinationPort: b.port,
      ...numbers,
      flags,
      window: 1_000,
      payload: fromAscii(text),
    }),
  )
}

export const echo = (from: string, to: string, identifier = 7, reply = false): Bytes => {
  const path = { source: from, destination: to }
  const value = { reply, identifier, sequence: 1, data: fromAscii("ping") }
  return from.includes(":")
    ? ip(path, protocols.icmpv6, encodeEcho6(path, value))
    : ip(path, protocols.icmp, encodeEcho4(value))
}

/** "source:port > destination:port", as it left. */
export const said = (one: Left | undefined): string | undefined =>
  one === undefined
    ? undefined
    : `${one.to} ${one.tuple.source}:${one.tuple.sourcePort} > ${one.tuple.destination}:${one.tuple.destinationPort}`

/** What left, and where to. */
export const all = (left: ReadonlyArray<Left>): ReadonlyArray<string> =>
  left.map((one) => `${said(one)}${one.outer === undefined ? "" : ` by ${one.outer.destination}`}`)
