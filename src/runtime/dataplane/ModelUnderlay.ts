/**
 * The network between model dataplanes, and the one queue in which their packets wait.
 *
 * Deterministic: packets move in the order in which they were sent, one at a time, and all that a packet causes
 * has happened when the Effect that sent it returns. There is no time here; loss, partitions and reordering are
 * what the test says through `setFault` and `partition`.
 *
 * One per simulated region. Hosts attach with their underlay /64.
 */
import { Context, Effect, Layer } from "effect"
import { type Bytes, equal } from "#protocol/dataplane/model/bytes.ts"
import { bytesOf } from "#protocol/dataplane/model/address.ts"
import { decodeIpv6 } from "#protocol/dataplane/model/ip.ts"

export interface Carried {
  /** /64 of the host that sends and of the one that would receive. */
  readonly from: string
  readonly to: string
  readonly packet: Bytes
  /** From 0, over the life of the underlay. */
  readonly sequence: number
}

/** What happens to one packet. */
export type Fault = (carried: Carried) => "pass" | "drop" | "duplicate"

export interface UnderlayStatistics {
  readonly carried: number
  readonly dropped: number
  /** No host has the destination's /64. */
  readonly unroutable: number
  /** Work that was cut off because one cause had too many effects. */
  readonly overflowed: number
}

/** Packets that one call may cause before the rest is dropped: a loop of two echoing VMs ends here. */
const maxSteps = 1_000_000

export class ModelUnderlay extends Context.Service<
  ModelUnderlay,
  {
    /** The host of a /64 (CIDR text); the last one attached has it. */
    readonly attach: (prefix: string, receive: (packet: Bytes) => void) => void
    readonly detach: (prefix: string) => void
    /** Sends an IPv6 packet from the host of a /64. Delivered by `run`. */
    readonly send: (from: string, packet: Bytes) => void
    /** Puts work into the queue and, unless that is being done already, works until the queue is empty. */
    readonly run: (work: () => void) => void
    readonly setFault: (fault: Fault | undefined) => Effect.Effect<void>
    /** Nothing passes between the two hosts, in either direction, until `heal`. */
    readonly partition: (a: string, b: string) => Effect.Effect<void>
    readonly heal: Effect.Effect<void>
    readonly statistics: Effect.Effect<UnderlayStatistics>
  }
>()("ferrite/ModelUnderlay") {
  static readonly layer = Layer.sync(ModelUnderlay, () => make())
}

const upperHalf = (address: string): Bytes => bytesOf(address.split("/")[0] ?? "").subarray(0, 8)

/** An underlay of its own, for tests that use no layers. */
export const make = (): ModelUnderlay["Service"] => {
  const hosts = new Map<string, { readonly prefix: Bytes; readonly receive: (packet: Bytes) => void }>()
  const partitions = new Set<string>()
  let fault: Fault | undefined
  let queue: Array<() => void> = []
  let running = false
  let sequence = 0
  let statistics: UnderlayStatistics = { carried: 0, dropped: 0, unroutable: 0, overflowed: 0 }

  const run = (work: () => void): void => {
    queue.push(work)
    if (running) return
    running = true
    try {
      let steps = 0
      while (queue.length > 0) {
        const batch = queue
        queue = []
        for (const [done, next] of batch.entries()) {
          if (++steps > maxSteps) {
            statistics = {
              ...statistics,
              overflowed: statistics.overflowed + batch.length - done + queue.length,
            }
            queue = []
            return
          }
          next()
        }
      }
    } finally {
      running = false
    }
  }

  const send = (from: string, packet: Bytes): void => {
    const destination = decodeIpv6(packet)?.destination
    const half = destination === undefined ? undefined : upperHalf(destination)
    const found = [...hosts].find(([, host]) => half !== undefined && equal(host.prefix, half))
    if (found === undefined) {
      statistics = { ...statistics, unroutable: statistics.unroutable + 1 }
      return
    }
    const [to, host] = found
    const verdict = partitions.has(`${from} ${to}`)
      ? "drop"
      : (fault?.({ from, to, packet, sequence: sequence++ }) ?? "pass")
    if (verdict === "drop") {
      statistics = { ...statistics, dropped: statistics.dropped + 1 }
      return
    }
    const copies = verdict === "duplicate" ? 2 : 1
    statistics = { ...statistics, carried: statistics.carried + copies }
    for (let copy = 0; copy < copies; copy++) run(() => host.receive(packet))
  }

  return {
    attach: (prefix, receive) => {
      hosts.set(prefix, { prefix: upperHalf(prefix), receive })
    },
    detach: (prefix) => {
      hosts.delete(prefix)
    },
    send,
    run,
    setFault: (next) =>
      Effect.sync(() => {
        fault = next
      }),
    partition: (a, b) =>
      Effect.sync(() => {
        partitions.add(`${a} ${b}`).add(`${b} ${a}`)
      }),
    heal: Effect.sync(() => partitions.clear()),
    statistics: Effect.sync(() => statistics),
  }
}
