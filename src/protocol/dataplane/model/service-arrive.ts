/** Replies of virtual services: plain IPv6 packets to the underlay address of the service. */
import type { Bytes } from "./bytes.ts"
import { followLive } from "./live.ts"
import { serviceContext } from "./service.ts"
import { drop, drops, type Turn } from "./turn.ts"
import { parseIp } from "./tuple.ts"

export const arriveAtService = (turn: Turn, bytes: Bytes, service: number): void => {
  const tuple = parseIp(bytes)
  if (tuple === undefined) return drop(turn, drops.outerMalformed)
  if (tuple.fragment !== "whole") return drop(turn, drops.fragment)
  const packet = {
    bytes: bytes.subarray(0, tuple.length),
    tuple,
    context: serviceContext(service),
    vm: undefined,
    outer: { source: tuple.source, destination: tuple.destination },
    passed: 0,
  }
  if (!followLive(turn, packet)) drop(turn, drops.natUnknown)
}
