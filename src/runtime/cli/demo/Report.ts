/**
 * What the demo finds out and prints: who reaches whom, how fast, that equal addresses are kept apart, and how long
 * each interface took. Both kinds of dataplane fill the same report.
 */
import { Console, Effect } from "effect"
import type { NetworkInterface } from "#protocol/resource/NetworkInterface.ts"
import { formatMicros } from "../Micros.ts"
import * as Table from "../Table.ts"

export interface Check {
  readonly what: string
  readonly path: string
  readonly address: string
  readonly good: boolean
  readonly result: string
}

export const printChecks = (title: string, checks: ReadonlyArray<Check>) =>
  Console.log(
    `\n${title}\n${Table.render({
      columns: ["OK", "WHO", "PATH", "ADDRESS", "RESULT"],
      rows: checks.map(({ address, good, path, result, what }) => [
        good ? "✓" : "✗",
        what,
        path,
        address,
        result,
      ]),
    })}`,
  )

const between = (from: number | undefined, to: number | undefined): string =>
  from === undefined || to === undefined || to < from ? "unknown" : formatMicros(to - from)

/** How long each interface took from accepted, on its own host and everywhere. */
export const printLatencies = (nics: ReadonlyArray<NetworkInterface>) =>
  Effect.gen(function* () {
    const rows = nics.map(({ metadata, status }) => {
      const { acceptedMicros, node, programmedMicros, realisedMicros } = status?.attachment ?? {}
      return [
        metadata.name,
        node ?? "",
        between(acceptedMicros, realisedMicros),
        between(acceptedMicros, programmedMicros),
      ]
    })
    yield* Console.log(
      `\nFrom accepted to programmed\n${Table.render({ columns: ["NIC", "NODE", "OWN HOST", "ALL HOSTS"], rows })}`,
    )
  })

/** `4.2 Gbit/s`, `830 Mbit/s`. */
export const formatRate = (bitsPerSecond: number): string =>
  bitsPerSecond >= 1e9
    ? `${(bitsPerSecond / 1e9).toFixed(2)} Gbit/s`
    : `${(bitsPerSecond / 1e6).toFixed(0)} Mbit/s`
