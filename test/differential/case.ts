/**
 * A case: how a dataplane is started, and what is then done to it, in order. The same for the model and for the engine.
 *
 * Cases are data: generated from a seed, cut down while they still differ, kept in `cases/` as JSON.
 */
import type { JsonObject } from "@bufbuild/protobuf"
import { Schema } from "effect"
import type { FirewallDefault } from "#protocol/dataplane/Dataplane.ts"
import { type Bytes, hex } from "#protocol/dataplane/model/bytes.ts"
import type { VirtualService } from "#protocol/dataplane/model/tables.ts"
import { sayFrame, sayIp } from "./packets.ts"

export interface Options {
  /** Of choices by hash. */
  readonly seed: number
  readonly mtu: number
  readonly uplink: boolean
  readonly flowTimeoutSeconds: number
  readonly flowLimit?: number
  /** Of interfaces that nobody put a firewall for. */
  readonly firewallDefault?: { readonly ingress: FirewallDefault; readonly egress: FirewallDefault }
  /** Virtual services. */
  readonly services?: ReadonlyArray<VirtualService>
}

/** A `ferrite.dataplane.v1.Operation` as protobuf writes it in JSON: as { "putRoute": { "vni": 100, ... } }. */
export type Change = JsonObject

export type Command =
  | { readonly _tag: "Apply"; readonly operations: ReadonlyArray<Change> }
  /**
   * `partial`: a guest that leaves the checksum to its device, `segment`: and the cutting of a TCP packet into such
   * pieces. Both mean the same packet, so the model is not told.
   */
  | {
      readonly _tag: "Frame"
      readonly port: string
      readonly bytes: Bytes
      readonly partial?: boolean
      readonly segment?: number
    }
  | { readonly _tag: "Uplink"; readonly bytes: Bytes }
  | { readonly _tag: "Advance"; readonly milliseconds: number }

export interface Case {
  readonly options: Options
  readonly commands: ReadonlyArray<Command>
}

/** What came of one command: results of operations, and packets by port ("" the uplink), in order. */
export interface Observation {
  readonly results: ReadonlyArray<{ readonly code: number; readonly message: string }>
  readonly emitted: ReadonlyArray<{ readonly port: string; readonly bytes: Bytes }>
}

export interface Outcome {
  /** One per command. */
  readonly observations: ReadonlyArray<Observation>
  readonly counters: ReadonlyMap<string, bigint>
}

/** Of every case. */
export const host = {
  /** Milliseconds of the clock when a case begins. */
  start: 1_000_000,
  prefix: "fd00:f:71::",
  dns4: ["192.0.2.53", "192.0.2.54"],
  dns6: ["2001:db8::53"],
  ports: ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7"],
} as const

/** Of the gateway at a port. */
export const gatewayMac = (port: string): string => `02:ff:00:00:00:0${port.slice(1)}`

const Default = Schema.Literals(["accept", "drop", "rules"])

const Kept = Schema.Struct({
  options: Schema.Struct({
    seed: Schema.Finite,
    mtu: Schema.Finite,
    uplink: Schema.Boolean,
    flowTimeoutSeconds: Schema.Finite,
    flowLimit: Schema.optionalKey(Schema.Finite),
    firewallDefault: Schema.optionalKey(Schema.Struct({ ingress: Default, egress: Default })),
    services: Schema.optionalKey(
      Schema.Array(
        Schema.Struct({
          protocol: Schema.Finite,
          ip: Schema.String,
          port: Schema.Finite,
          target: Schema.String,
          targetPort: Schema.Finite,
        }),
      ),
    ),
  }),
  commands: Schema.Array(
    Schema.Union([
      Schema.Struct({ apply: Schema.Array(Schema.Unknown) }),
      Schema.Struct({
        frame: Schema.String,
        port: Schema.String,
        partial: Schema.optionalKey(Schema.Boolean),
        segment: Schema.optionalKey(Schema.Finite),
      }),
      Schema.Struct({ uplink: Schema.String }),
      Schema.Struct({ advance: Schema.Finite }),
    ]),
  ),
})

const unhex = (text: string): Bytes =>
  Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))

/** What is left to the device. */
const left = (frame: { readonly partial?: boolean; readonly segment?: number }) => ({
  ...(frame.partial === true ? { partial: true } : {}),
  ...(frame.segment === undefined ? {} : { segment: frame.segment }),
})

export const parseCase = (text: string): Case => {
  const kept = Schema.decodeUnknownSync(Kept)(JSON.parse(text))
  return {
    options: kept.options,
    commands: kept.commands.map((command): Command => {
      if ("apply" in command) return { _tag: "Apply", operations: command.apply as ReadonlyArray<Change> }
      if ("frame" in command)
        return {
          _tag: "Frame",
          port: command.port,
          bytes: unhex(command.frame),
          ...left(command),
        }
      if ("uplink" in command) return { _tag: "Uplink", bytes: unhex(command.uplink) }
      return { _tag: "Advance", milliseconds: command.advance }
    }),
  }
}

export const formatCase = ({ commands, options }: Case): string =>
  JSON.stringify(
    {
      options,
      commands: commands.map((command) => {
        switch (command._tag) {
          case "Apply":
            return { apply: command.operations }
          case "Frame":
            return {
              frame: hex(command.bytes),
              port: command.port,
              ...left(command),
            }
          case "Uplink":
            return { uplink: hex(command.bytes) }
          case "Advance":
            return { advance: command.milliseconds }
        }
      }),
    },
    undefined,
    1,
  )

const sayChange = (change: Change): string =>
  Object.entries(change)
    .map(([kind, value]) => `${kind} ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join()

/** One command, for people. */
export const say = (command: Command): string => {
  switch (command._tag) {
    case "Apply":
      return command.operations.map(sayChange).join("\n      ")
    case "Frame":
      return `${command.port} sends ${sayFrame(command.bytes)}${command.partial === true ? " (checksum left)" : ""}${command.segment === undefined ? "" : ` (to be cut into ${command.segment})`}`
    case "Uplink":
      return `underlay ${sayIp(command.bytes)}`
    case "Advance":
      return `${command.milliseconds} ms pass`
  }
}

export const sayObservation = ({ emitted, results }: Observation): ReadonlyArray<string> => [
  ...results.map(({ code, message }) => `result ${code} ${message}`),
  ...emitted.map(({ bytes, port }) =>
    port === "" ? `underlay gets ${sayIp(bytes)}` : `${port} gets ${sayFrame(bytes)}`,
  ),
]
