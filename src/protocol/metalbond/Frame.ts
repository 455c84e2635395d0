/**
 * Frames of the metalbond byte stream: `u8 version = 1 | u16 length (big endian, payload only) | u8 type |
 * payload`.
 *
 * TCP gives bytes, not frames: the decoder holds what is left of an unfinished frame and takes chunks of any
 * size, so the result never depends on where the network cut. It is a reducer over chunks; after its first
 * error a stream has no further frames (nothing behind a bad header can be trusted).
 *
 * Limits. We send at most 1188 bytes of payload (what existing peers send: 1280 minus IPv6 and TCP headers).
 * We accept 16 KiB: existing peers do not check what they receive, the largest message of v1 has about 60
 * bytes, and future fields need room. A longer length ends the session as soon as its header is read, so a
 * decoder holds at most 16 KiB + 3 bytes between chunks.
 */
import { type MetalbondError, metalbondError } from "./MetalbondError.ts"

export const version = 1
export const headerBytes = 4
export const maxPayloadSent = 1188
export const maxPayloadReceived = 16_384

/** Frame types. 6 is Ferrite's and only spoken where both HELLOs carried `restartSeconds`. */
export const type = {
  hello: 1,
  keepalive: 2,
  subscribe: 3,
  unsubscribe: 4,
  update: 5,
  endOfTable: 6,
} as const

export interface Frame {
  readonly type: number
  readonly payload: Uint8Array
}

/** One frame as bytes. A payload over the limit is a defect of ours: no message of ours can grow that far. */
export const encode = (frameType: number, payload: Uint8Array): Uint8Array => {
  if (payload.length > maxPayloadSent)
    throw new RangeError(`metalbond payload of ${payload.length} bytes exceeds ${maxPayloadSent}`)
  const bytes = new Uint8Array(headerBytes + payload.length)
  bytes[0] = version
  bytes[1] = payload.length >> 8
  bytes[2] = payload.length & 0xff
  bytes[3] = frameType
  bytes.set(payload, headerBytes)
  return bytes
}

/** The unfinished tail of the stream; owns its bytes, never a view into a chunk. */
export interface Decoder {
  readonly rest: Uint8Array
}

const nothing = new Uint8Array(0)
export const emptyDecoder: Decoder = { rest: nothing }

export interface Decoded {
  readonly decoder: Decoder
  /** Payloads are views into the chunk: read them before the next one. */
  readonly frames: ReadonlyArray<Frame>
  /** When set, the stream is over; frames before it are valid. */
  readonly error: MetalbondError | undefined
}

const join = (left: Uint8Array, right: Uint8Array): Uint8Array => {
  if (left.length === 0) return right
  const bytes = new Uint8Array(left.length + right.length)
  bytes.set(left)
  bytes.set(right, left.length)
  return bytes
}

/** Takes one chunk of any size; total, never throws. */
export const decode = (decoder: Decoder, chunk: Uint8Array): Decoded => {
  const bytes = join(decoder.rest, chunk)
  const frames: Array<Frame> = []
  const fail = (error: MetalbondError): Decoded => ({ decoder: emptyDecoder, frames, error })
  let at = 0
  while (at < bytes.length) {
    if (bytes[at] !== version)
      return fail(metalbondError("BadVersion", `frame version ${bytes[at]}, expected ${version}`))
    if (bytes.length - at < headerBytes) break
    const length = (bytes[at + 1]! << 8) | bytes[at + 2]!
    if (length > maxPayloadReceived)
      return fail(metalbondError("FrameTooLong", `payload of ${length} bytes, limit ${maxPayloadReceived}`))
    const frameType = bytes[at + 3]!
    if (frameType < type.hello || frameType > type.endOfTable)
      return fail(metalbondError("UnknownType", `frame type ${frameType}`))
    const end = at + headerBytes + length
    if (end > bytes.length) break
    frames.push({ type: frameType, payload: bytes.subarray(at + headerBytes, end) })
    at = end
  }
  return { decoder: at === bytes.length ? emptyDecoder : { rest: bytes.slice(at) }, frames, error: undefined }
}
