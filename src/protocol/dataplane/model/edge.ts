/** Edges: ways out of the overlay, to a network outside. */
import type { Bytes } from "./bytes.ts"
import { drop, drops, type Packet, type Turn } from "./turn.ts"

/** A frame on a port that is no interface's. */
export const fromOutside = (turn: Turn, _device: string, _bytes: Bytes): void => drop(turn, drops.noInterface)

/** A packet of the overlay to an edge. */
export const arriveAtEdge = (turn: Turn, _packet: Packet, _name: string): void =>
  drop(turn, drops.edgeUnknown)
