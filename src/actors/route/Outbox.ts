/**
 * What one peer is still to be sent. One per session, lives as long as it, owned by it (changed in place).
 *
 * Not a queue of messages but a map of pending changes by route: a route that flaps a thousand times while a
 * peer is not reading costs that peer one frame. Session messages (HELLO, KEEPALIVE) go first, so that a large
 * table never delays a keepalive. The frames are shared: each change is encoded once for all its receivers.
 *
 * Bounds: answers to KEEPALIVE are a number; other session frames at most `maxControl`; pending changes at most
 * what the caller allows (`size`), in practice the number of routes of the subscribed VNIs.
 */
import { encode, keepalive } from "#protocol/metalbond/Message.ts"

/** A frame that replaces any earlier pending one with the same key. */
export interface Change {
  readonly key: string
  readonly vni: number
  readonly frame: Uint8Array
}

export interface Outbox {
  readonly control: Array<Uint8Array>
  keepalives: number
  readonly pending: Map<string, Change>
}

export const maxControl = 16
const keepaliveFrame = encode(keepalive)

export const make = (): Outbox => ({ control: [], keepalives: 0, pending: new Map() })

/** False when the peer made us owe it more than `maxControl` session frames: it does not read. */
export const pushControl = (outbox: Outbox, frame: Uint8Array): boolean =>
  outbox.control.length < maxControl && outbox.control.push(frame) > 0

export const oweKeepalive = (outbox: Outbox): void => {
  outbox.keepalives++
}

/** Keeps the place of an earlier change of the same route. */
export const push = (outbox: Outbox, change: Change): void => {
  outbox.pending.set(change.key, change)
}

/** Goes behind everything that is pending now. */
export const pushLast = (outbox: Outbox, change: Change): void => {
  outbox.pending.delete(change.key)
  outbox.pending.set(change.key, change)
}

export const dropVni = (outbox: Outbox, vni: number): void => {
  for (const change of outbox.pending.values()) if (change.vni === vni) outbox.pending.delete(change.key)
}

export const size = (outbox: Outbox): number => outbox.pending.size
export const isEmpty = (outbox: Outbox): boolean =>
  outbox.control.length === 0 && outbox.keepalives === 0 && outbox.pending.size === 0

/** Joins frames into one write. */
export const concat = (frames: ReadonlyArray<Uint8Array>): Uint8Array => {
  if (frames.length === 1) return frames[0]!
  let length = 0
  for (const frame of frames) length += frame.length
  const bytes = new Uint8Array(length)
  let at = 0
  for (const frame of frames) {
    bytes.set(frame, at)
    at += frame.length
  }
  return bytes
}

/** Takes up to `maxFrames` whole frames as one write; undefined when there is nothing to say. */
export const take = (outbox: Outbox, maxFrames: number): Uint8Array | undefined => {
  if (isEmpty(outbox)) return undefined
  const frames: Array<Uint8Array> = outbox.control.splice(0, maxFrames)
  for (; outbox.keepalives > 0 && frames.length < maxFrames; outbox.keepalives--) frames.push(keepaliveFrame)
  if (frames.length < maxFrames)
    for (const change of outbox.pending.values()) {
      outbox.pending.delete(change.key)
      frames.push(change.frame)
      if (frames.length >= maxFrames) break
    }
  return concat(frames)
}
