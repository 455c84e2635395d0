/**
 * What the model and the engine must have in common: everything but what docs/packet-path.md leaves free, which is the
 * outer flow label, and the order of options and the padding of DHCPv4 messages.
 */
import { type Bytes, hex, u16, u8 } from "#protocol/dataplane/model/bytes.ts"
import { decodeDhcp4 } from "#protocol/dataplane/model/dhcp4.ts"
import type { Case, Observation, Outcome } from "./case.ts"
import { read } from "./packets.ts"

export interface Difference {
  /** Number of the command; that of the commands: what counters say in the end. */
  readonly at: number
  readonly model: ReadonlyArray<string>
  readonly engine: ReadonlyArray<string>
}

const unlabelled = (bytes: Bytes): Bytes => {
  const out = Uint8Array.from(bytes)
  out[1] = u8(out, 1) & 0xf0
  out.fill(0, 2, 4)
  return out
}

const lease = (frame: Bytes): string | undefined => {
  const seen = u16(frame, 12) === 0x0800 ? read(frame.subarray(14)) : undefined
  if (seen?.protocol !== 17 || seen.sourcePort !== 67 || seen.destinationPort !== 68) return undefined
  const message = decodeDhcp4(seen.l4.subarray(8))
  if (message === undefined) return undefined
  return `dhcp ${hex(frame.subarray(0, 14))} ${seen.source} ${seen.destination} ${seen.ttl} ${JSON.stringify({
    ...message,
    options: [...message.options].map(([key, value]) => [key, hex(value)]).sort(),
  })}`
}

const comparable = ({ bytes, port }: Observation["emitted"][number]): string =>
  port === "" ? `uplink ${hex(unlabelled(bytes))}` : `${port} ${lease(bytes) ?? hex(bytes)}`

/** Within a port in order; between ports there is none. */
const lines = ({ emitted, results }: Observation): ReadonlyArray<string> => [
  ...results.map(({ code, message }) => `${code} ${message}`),
  ...[...new Set(emitted.map(({ port }) => port))]
    .sort()
    .flatMap((port) => emitted.filter((one) => one.port === port))
    .map(comparable),
]

const dropped = (counters: ReadonlyMap<string, bigint>): ReadonlyArray<string> =>
  [...counters]
    .filter(([name, value]) => name.startsWith("drop.") && value > 0n)
    .map(([name, value]) => `${name} ${value}`)
    .sort()

const same = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): boolean =>
  a.length === b.length && a.every((line, i) => line === b[i])

/** The first one. */
export const difference = (one: Case, model: Outcome, engine: Outcome): Difference | undefined => {
  const nothing: Observation = { results: [], emitted: [] }
  for (let at = 0; at < one.commands.length; at++) {
    const expected = lines(model.observations[at] ?? nothing)
    const got = lines(engine.observations[at] ?? nothing)
    if (!same(expected, got)) return { at, model: expected, engine: got }
  }
  const expected = dropped(model.counters)
  const got = dropped(engine.counters)
  if (same(expected, got)) return undefined
  return {
    at: one.commands.length,
    model: expected.filter((line) => !got.includes(line)),
    engine: got.filter((line) => !expected.includes(line)),
  }
}
