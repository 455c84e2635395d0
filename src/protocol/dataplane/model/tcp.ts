/**
 * One TCP connection of a model VM: handshake, a byte stream in one direction, and an orderly end.
 *
 * Reliable and in order, and no more: go-back-N over a window of 32 segments, no congestion control, no timers.
 * `retransmit` is called by whoever has time. Positions count from the SYN (0), data from 1, the FIN last.
 */
import { type Bytes, concat, empty, fnv1a64, fromAscii } from "./bytes.ts"
import type { Tcp } from "./transport.ts"

export interface Connection {
  readonly local: Peer
  readonly remote: Peer
  /** Opens with SYN; the other side answers one. */
  readonly active: boolean
  readonly initialSequence: number
  readonly data: Bytes
  /** Nothing more will be sent than `data`; a FIN follows it. */
  readonly closing: boolean
  /** Positions that the other side has acknowledged. */
  readonly acknowledged: number
  /** Where sending goes on; back at `acknowledged` when something is sent again. */
  readonly sent: number
  /** Positions that were sent at least once, and may be acknowledged. */
  readonly highest: number
  /** The next sequence that is expected; `undefined` before the other side's SYN. */
  readonly expected: number | undefined
  readonly received: ReadonlyArray<Bytes>
  readonly remoteClosed: boolean
  readonly reset: boolean
  readonly segmentBytes: number
}

export interface Peer {
  readonly address: string
  readonly port: number
}

export interface Turn {
  readonly connection: Connection
  readonly segments: ReadonlyArray<Tcp>
}

const windowSegments = 32
const receiveWindow = 65_535
const modulo = 0x1_0000_0000

/** The same for the same two ends, so that a run can be repeated. */
const sequenceOf = (local: Peer, remote: Peer): number =>
  Number(fnv1a64(fromAscii(`${local.address}|${local.port}|${remote.address}|${remote.port}`)) & 0xffff_ffffn)

const start = (local: Peer, remote: Peer, segmentBytes: number): Connection => ({
  local,
  remote,
  active: true,
  initialSequence: sequenceOf(local, remote),
  data: empty,
  closing: false,
  acknowledged: 0,
  sent: 0,
  highest: 0,
  expected: undefined,
  received: [],
  remoteClosed: false,
  reset: false,
  segmentBytes,
})

/** Opens a connection that sends `data` and closes. */
export const open = (local: Peer, remote: Peer, data: Bytes, segmentBytes: number): Turn =>
  flush({ ...start(local, remote, segmentBytes), data, closing: true })

/** Answers a SYN. */
export const accept = (local: Peer, remote: Peer, syn: Tcp, segmentBytes: number): Turn =>
  flush({ ...start(local, remote, segmentBytes), active: false, expected: (syn.sequence + 1) % modulo })

export const established = (connection: Connection): boolean =>
  connection.acknowledged > 0 && connection.expected !== undefined

/** Both sides have closed, and everything is acknowledged. */
export const finished = (connection: Connection): boolean =>
  connection.closing && connection.remoteClosed && connection.acknowledged === end(connection)

/** Position after the last byte and the FIN. */
const end = (connection: Connection): number => 1 + connection.data.length + (connection.closing ? 1 : 0)

const segment = (connection: Connection, position: number, payload: Bytes, more: Tcp["flags"]): Tcp => ({
  sourcePort: connection.local.port,
  destinationPort: connection.remote.port,
  sequence: (connection.initialSequence + position) % modulo,
  acknowledgement: connection.expected ?? 0,
  flags: { ...more, ack: connection.expected !== undefined },
  window: receiveWindow,
  payload,
})

const acknowledge = (connection: Connection): Tcp => segment(connection, connection.sent, empty, {})

/** Everything that may be sent now: the SYN, then data within the window, then the FIN. */
const flush = (connection: Connection): Turn => {
  const segments: Array<Tcp> = []
  let sent = connection.sent
  if (sent === 0) {
    segments.push(segment(connection, 0, empty, { syn: true }))
    sent = 1
  }
  if (established(connection)) {
    const limit = connection.acknowledged + windowSegments * connection.segmentBytes
    const dataEnd = 1 + connection.data.length
    while (sent < dataEnd && sent < limit) {
      const payload = connection.data.subarray(sent - 1, sent - 1 + connection.segmentBytes)
      segments.push(segment(connection, sent, payload, { psh: true }))
      sent += payload.length
    }
    if (connection.closing && sent === dataEnd) {
      segments.push(segment(connection, sent, empty, { fin: true }))
      sent++
    }
  }
  return { connection: { ...connection, sent, highest: Math.max(sent, connection.highest) }, segments }
}

/** Sends again from the first position that is not acknowledged. */
export const retransmit = (connection: Connection): Turn =>
  connection.reset || connection.acknowledged === end(connection)
    ? { connection, segments: [] }
    : flush({ ...connection, sent: connection.acknowledged })

/** What an arriving segment of this connection leads to. */
export const receive = (connection: Connection, arrived: Tcp): Turn => {
  if (connection.reset) return { connection, segments: [] }
  if (arrived.flags.rst === true) return { connection: { ...connection, reset: true }, segments: [] }
  let next = connection
  let answer = false
  if (arrived.flags.syn === true) {
    // Its SYN again, because ours in answer was lost, or the first one in answer to ours.
    next = { ...next, expected: next.expected ?? (arrived.sequence + 1) % modulo }
    if (arrived.flags.ack !== true && next.acknowledged === 0) next = { ...next, sent: 0 }
    answer = true
  }
  if (next.expected === undefined) return { connection: next, segments: [] }
  if (arrived.flags.ack === true) {
    const position = (arrived.acknowledgement - next.initialSequence + modulo) % modulo
    if (position > next.acknowledged && position <= next.highest)
      next = { ...next, acknowledged: position, sent: Math.max(next.sent, position) }
  }
  if (arrived.payload.length > 0 || arrived.flags.fin === true) {
    next = take(next, arrived, next.expected ?? 0)
    answer = true
  }
  const turn = flush(next)
  return turn.segments.length === 0 && answer
    ? { connection: turn.connection, segments: [acknowledge(turn.connection)] }
    : turn
}

/** Keeps what is new and in order; what is early is dropped and will be sent again. */
const take = (connection: Connection, arrived: Tcp, expected: number): Connection => {
  const known = (expected - arrived.sequence + modulo) % modulo
  if (known > arrived.payload.length || connection.remoteClosed) return connection
  const fresh = arrived.payload.subarray(known)
  const closed = arrived.flags.fin === true
  return {
    ...connection,
    received: fresh.length > 0 ? [...connection.received, fresh] : connection.received,
    expected: (expected + fresh.length + (closed ? 1 : 0)) % modulo,
    remoteClosed: closed,
    // A listener has nothing to say: it closes when the other side does.
    closing: connection.closing || closed,
  }
}

export const receivedBytes = (connection: Connection): Bytes => concat(...connection.received)
