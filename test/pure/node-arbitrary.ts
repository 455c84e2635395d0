/**
 * Arbitrary values of the node protocol, for the property tests of its codec, its planners and its sessions.
 */
import { IpNetwork, NetAddress } from "effect/net"
import * as fc from "fast-check"
import type { HostInterface } from "#protocol/node/HostInterface.ts"
import type { AgentMessage, ControllerMessage, InterfaceReport } from "#protocol/node/NodeMessages.ts"

export const uid = fc.uuid({ version: 4 })
export const counter = fc.nat({ max: Number.MAX_SAFE_INTEGER })
export const vni = fc.integer({ min: 1, max: 0xff_ff_ff })
export const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/)
export const ipv4 = fc.ipV4().map((text) => NetAddress.formatIp(NetAddress.ipFromStringUnsafe(text)))
export const ipv6 = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((bytes) => NetAddress.formatIp(NetAddress.ipv6FromBytesUnsafe(bytes)))
export const prefix = fc
  .oneof(fc.tuple(ipv4, fc.nat({ max: 32 })), fc.tuple(ipv6, fc.nat({ max: 128 })))
  .map(([address, length]) =>
    IpNetwork.format(IpNetwork.fromAddressUnsafe(NetAddress.ipFromStringUnsafe(address), length)),
  )
const underlayPrefix = ipv6.map((text) =>
  IpNetwork.format(IpNetwork.fromAddressUnsafe(NetAddress.ipFromStringUnsafe(text), 64)),
)
const text = fc.string({ maxLength: 60 })
const shortText = fc.string({ maxLength: 20 })
const reason = fc.stringMatching(/^[A-Z][A-Za-z0-9]{0,20}$/)

export const hostInterface: fc.Arbitrary<HostInterface> = fc
  .record(
    {
      uid,
      namespace: label,
      name: label,
      generation: counter,
      vni,
      ipv4,
      ipv6,
      hostname: label,
      device: fc.stringMatching(/^vtap:[a-z0-9-]{1,15}$/),
      acceptedMicros: counter,
    },
    { requiredKeys: ["uid", "namespace", "name", "generation", "vni", "acceptedMicros"] },
  )
  .filter((value) => value.ipv4 !== undefined || value.ipv6 !== undefined)

const _tag = fc.constant("InterfaceReport" as const)
const interfaceReport: fc.Arbitrary<InterfaceReport> = fc.oneof(
  fc.record({
    _tag,
    uid,
    generation: counter,
    state: fc.constant("Pending" as const),
    reason,
    message: text,
  }),
  fc.record({
    _tag,
    uid,
    generation: counter,
    state: fc.constant("Realised" as const),
    underlayAddress: ipv6,
    device: fc.string({ minLength: 1, maxLength: 40 }),
    realisedMicros: counter,
  }),
  fc.record({ _tag, uid, generation: counter, state: fc.constant("Failed" as const), reason, message: text }),
  fc.record({ _tag, uid, generation: counter, state: fc.constant("Removed" as const) }),
)

export const agentMessage: fc.Arbitrary<AgentMessage> = fc.oneof(
  fc.record({
    _tag: fc.constant("Hello" as const),
    node: label,
    instance: fc.stringMatching(/^[A-Za-z0-9._:-]{1,64}$/),
    revision: counter,
    underlayPrefix,
    dataplane: fc.constantFrom("native" as const, "model" as const),
    version: shortText,
    regionUid: shortText,
  }),
  fc.record({ _tag: fc.constant("Heartbeat" as const), sequence: counter, settledRevision: counter }),
  interfaceReport,
  fc.record({
    _tag: fc.constant("RouteReport" as const),
    full: fc.boolean(),
    entries: fc.array(
      fc.record({ vni, prefix, nextHop: ipv6, removed: fc.boolean(), programmedMicros: counter }),
      { maxLength: 5 },
    ),
  }),
)

const millis = fc.integer({ min: 1, max: 3_600_000 })
export const controllerMessage: fc.Arbitrary<ControllerMessage> = fc.oneof(
  fc.record({
    _tag: fc.constant("Welcome" as const),
    heartbeatMillis: millis,
    leaseMillis: millis,
    regionUid: fc.string({ minLength: 1, maxLength: 36 }),
    full: fc.boolean(),
  }),
  fc.record({ _tag: fc.constant("Lease" as const), sequence: counter, leaseMillis: millis }),
  fc.record({ _tag: fc.constant("Upsert" as const), revision: counter, interface: hostInterface }),
  fc.record({ _tag: fc.constant("Removal" as const), revision: counter, uid }),
  fc.record({ _tag: fc.constant("CaughtUp" as const), revision: counter }),
)
