/**
 * What the model and the engine must have in common: everything but what docs/packet-path.md leaves free, which is the
 * outer flow label, the order of options and the padding of DHCPv4 messages, and the checksum of a packet that is quoted
 * before its device has made it.
 */
import { type Bytes, hex, u16, u8 } from "#protocol/dataplane/model/bytes.ts"
import { decodeDhcp4 } from "#protocol/dataplane/model/dhcp4.ts"
import type { Case, Command, Observation, Outcome } from "./case.ts"
import { isIcmpError, read } from "./packets.ts"

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

/** Of an ICMP error without its checksum and that of the packet that it quotes. */
const unsummed = ({ bytes, port }: Observation["emitted"][number]): Observation["emitted"][number] => {
  const out = Uint8Array.from(bytes)
  const whole = read(out.subarray(port === "" ? 0 : 14))
  const tunnelled = whole?.protocol === 4 || whole?.protocol === 41
  const error = tunnelled ? read(whole.l4) : whole
  const about = error !== undefined && isIcmpError(error) ? read(error.l4.subarray(8)) : undefined
  if (about?.protocol !== 6 && about?.protocol !== 17) return { bytes, port }
  error?.l4.fill(0, 2, 4)
  const field = about.protocol === 6 ? 16 : 6
  about.l4.fill(0, field, field + 2)
  return { bytes: out, port }
}

/**
 * Within a port in order; between ports there is none. What is quoted of a packet whose checksum is left to its device is
 * quoted as it is.
 */
const lines = ({ emitted, results }: Observation, command: Command | undefined): ReadonlyArray<string> => {
  const left = command?._tag === "Frame" && (command.partial === true || command.segment !== undefined)
  return [
    ...results.map(({ code, message }) => `${code} ${message}`),
    ...[...new Set(emitted.map(({ port }) => port))]
      .sort()
      .flatMap((port) => emitted.filter((one) => one.port === port))
      .map((one) => comparable(left ? unsummed(one) : one)),
  ]
}

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
    const expected = lines(model.observations[at] ?? nothing, one.commands[at])
    const got = lines(engine.observations[at] ?? nothing, one.commands[at])
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
