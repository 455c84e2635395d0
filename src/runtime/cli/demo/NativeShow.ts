/**
 * The show on the native dataplane: real programs in the VMs' namespaces. Every failure becomes a check that is not
 * good; nothing here ends the demo.
 */
import { Effect, Schedule } from "effect"
import type { NetworkInterface } from "#protocol/resource/NetworkInterface.ts"
import { failed } from "../Failure.ts"
import { runWithin, vmNamespace, within } from "./Machines.ts"
import type { Processes } from "./Processes.ts"
import { type Check, formatRate } from "./Report.ts"
import { paths, twins } from "./Topology.ts"

export type Nics = ReadonlyMap<string, NetworkInterface>

const ipsOf = (nics: Nics, nic: string): ReadonlyArray<string> => nics.get(nic)?.status?.ips ?? []

interface PingResult {
  readonly received: number
  readonly sent: number
  readonly averageMillis: number | undefined
}

const ping = Effect.fnUntraced(function* (from: string, address: string, count = 3) {
  const { stdout } = yield* runWithin(
    vmNamespace(from),
    ["ping", "-n", "-q", "-c", String(count), "-i", "0.2", "-W", "2", address],
    { accept: [1, 2], timeout: "15 seconds" },
  )
  const [, sent = "0", received = "0"] = /(\d+) packets transmitted, (\d+)/.exec(stdout) ?? []
  const average = /= [\d.]+\/([\d.]+)\//.exec(stdout)?.[1]
  return {
    sent: Number(sent),
    received: Number(received),
    averageMillis: average === undefined ? undefined : Number(average),
  } satisfies PingResult
})

/** A check that could not be made is not good, and says why. */
const checked = <E extends { readonly message: string }, R>(
  base: Pick<Check, "what" | "path" | "address">,
  work: Effect.Effect<Pick<Check, "good" | "result">, E, R>,
): Effect.Effect<Check, never, R> =>
  Effect.match(work, {
    onFailure: (error) => ({ ...base, good: false, result: error.message }),
    onSuccess: (outcome) => ({ ...base, ...outcome }),
  })

export const pings = (nics: Nics): Effect.Effect<ReadonlyArray<Check>> =>
  Effect.forEach(
    paths.flatMap(({ from, path, to }) => ipsOf(nics, to).map((address) => ({ from, path, to, address }))),
    ({ address, from, path, to }) =>
      checked(
        { what: `${from} pings ${to}`, path, address },
        Effect.map(ping(from, address), ({ averageMillis, received, sent }) => ({
          good: sent > 0 && received === sent,
          result: `${received} of ${sent} answered${averageMillis === undefined ? "" : `, ${averageMillis} ms`}`,
        })),
      ),
  )

/** Seconds that one transfer sends. */
const transferSeconds = 2

interface IperfReport {
  /** iperf3 tells of most failures here, and ends with status 0. */
  readonly error?: string
  readonly end?: { readonly sum_received?: { readonly bits_per_second?: number; readonly bytes?: number } }
}

const iperfClient = Effect.fnUntraced(function* (from: string, address: string) {
  const { stdout } = yield* runWithin(
    vmNamespace(from),
    ["iperf3", "-c", address, "-t", String(transferSeconds), "-J", "--connect-timeout", "3000"],
    { timeout: "20 seconds", accept: [1] },
  )
  const report = JSON.parse(stdout) as IperfReport
  if (report.error !== undefined) return yield* failed(report.error)
  return report
})

const iperf = (processes: Processes, from: string, to: string, address: string) =>
  Effect.gen(function* () {
    const [command, args] = within(vmNamespace(to), ["iperf3", "-s", "-1", "-B", address])
    yield* processes.once({ name: `${to}-iperf3`, command, args })
    const { end } = yield* Effect.retry(iperfClient(from, address), {
      // The server may not listen yet.
      times: 50,
      schedule: Schedule.spaced("100 millis"),
      while: ({ message }) => message.includes("refused"),
    })
    const rate = end?.sum_received?.bits_per_second ?? 0
    const megabytes = (end?.sum_received?.bytes ?? 0) / 1e6
    return { good: rate > 0, result: `${formatRate(rate)}, ${megabytes.toFixed(0)} MB` }
  }).pipe(Effect.scoped)

/** One TCP stream for each path. */
export const transfers = (nics: Nics, processes: Processes): Effect.Effect<ReadonlyArray<Check>> =>
  Effect.forEach(
    paths.flatMap(({ from, path, to }) =>
      ipsOf(nics, to)
        .slice(0, 1)
        .map((address) => ({ from, path, to, address })),
    ),
    ({ address, from, path, to }) =>
      checked({ what: `${from} sends to ${to}`, path, address }, iperf(processes, from, to, address)),
  )

/** Echo requests that a VM's kernel has received, by family. */
const echoes = Effect.fnUntraced(function* (nic: string, family: 4 | 6) {
  if (family === 6) {
    const { stdout } = yield* runWithin(vmNamespace(nic), ["cat", "/proc/net/snmp6"])
    return Number(/^Icmp6InEchos\s+(\d+)/m.exec(stdout)?.[1] ?? Number.NaN)
  }
  const { stdout } = yield* runWithin(vmNamespace(nic), ["cat", "/proc/net/snmp"])
  const [names = "", values = ""] = stdout.split("\n").filter((line) => line.startsWith("Icmp: "))
  return Number(values.split(" ")[names.split(" ").indexOf("InEchos")] ?? Number.NaN)
})

/**
 * That equal addresses are kept apart: a VM asks for the address that two others have; the one in its network gets
 * every request, the one in the other network none. And that one in turn reaches nobody.
 */
export const isolation = (nics: Nics): Effect.Effect<ReadonlyArray<Check>> =>
  Effect.gen(function* () {
    const { asker, known, other } = twins
    const shared = ipsOf(nics, other).filter((address) => ipsOf(nics, known).includes(address))
    const kept = yield* Effect.forEach(shared, (address) =>
      checked(
        { what: `${asker} pings ${known}, not ${other}`, path: "equal address", address },
        Effect.gen(function* () {
          const family = address.includes(":") ? 6 : 4
          const before = [yield* echoes(known, family), yield* echoes(other, family)] as const
          const { received, sent } = yield* ping(asker, address)
          const meant = (yield* echoes(known, family)) - before[0]
          const strayed = (yield* echoes(other, family)) - before[1]
          return {
            good: received === sent && meant === sent && strayed === 0,
            result: `${received} of ${sent} answered; ${known} saw ${meant}, ${other} saw ${strayed}`,
          }
        }),
      ),
    )
    const mute = yield* Effect.forEach(
      ipsOf(nics, asker),
      (address) =>
        checked(
          { what: `${other} pings ${asker}`, path: "other network", address },
          Effect.map(ping(other, address, 2), ({ received, sent }) => ({
            good: received === 0,
            result: received === 0 ? "not reached, as it should be" : `${received} of ${sent} answered`,
          })),
        ),
      { concurrency: 2 },
    )
    return [...kept, ...mute]
  })
