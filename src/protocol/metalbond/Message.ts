/**
 * Messages of metalbond and their bytes, exact in both directions: fields in number order, zero values left
 * out, both sub-messages of an UPDATE always present, NAT ports only on NAT hops. A relayed route is encoded
 * anew from what we understood, so unknown fields end here.
 *
 * What comes in, row by row (existing reflectors either relay nonsense or die on it):
 *
 * | input                                   | here                                                          |
 * |-----------------------------------------|---------------------------------------------------------------|
 * | prefix or next hop not 4 or 16 bytes    | `BadAddressLength`, session ends                              |
 * | destination or next hop missing         | `MissingDestination`, `MissingNextHop`, session ends          |
 * | prefixLength over the address' bits     | `PrefixTooLong`, session ends                                 |
 * | NAT port over 65535                     | `BadNatPort`, session ends (never truncated)                  |
 * | keepaliveInterval 0                     | `KeepaliveZero`, session ends                                 |
 * | originator over 64 bytes                | `BadOriginator`, session ends                                 |
 * | payload that is not the message         | `MalformedPayload`, session ends                              |
 * | ipVersion against the number of bytes   | kept, part of the identity; the bytes decide the family       |
 * | host bits set                           | kept, part of the identity                                    |
 * | action other than REMOVE                | ADD                                                           |
 * | unknown next hop type                   | kept and relayed; clients leave such hops out                 |
 * | ports on a hop that is not NAT          | dropped before the identity is formed                         |
 * | NAT range with from > to                | kept: checked where it is programmed                          |
 * | vni 0, vni over 24 bits, targetVNI      | kept: opaque to distribution                                  |
 * | KEEPALIVE with a payload                | payload ignored                                               |
 * | unknown fields                          | ignored                                                       |
 */
import { create, fromBinary, toBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf"
import { Result } from "effect"
import {
  Action,
  HelloSchema,
  type IPVersion,
  type NextHopType,
  SubscriptionSchema,
  UpdateSchema,
} from "#gen/metalbond/metalbond_pb.ts"
import * as Frame from "./Frame.ts"
import { type MetalbondError, metalbondError, type Reason } from "./MetalbondError.ts"
import { formatRoute, hopType, type Route } from "./Route.ts"

export interface Hello {
  readonly _tag: "Hello"
  readonly keepaliveSeconds: number
  readonly isServer: boolean
  /** 0: a v1 peer, or one that wants no graceful restart. */
  readonly restartSeconds: number
  /** Empty: none. */
  readonly originator: string
}
export interface Keepalive {
  readonly _tag: "Keepalive"
}
export interface Subscribe {
  readonly _tag: "Subscribe"
  readonly vni: number
}
export interface Unsubscribe {
  readonly _tag: "Unsubscribe"
  readonly vni: number
}
export interface Update {
  readonly _tag: "Update"
  readonly remove: boolean
  readonly route: Route
}
/** From a reflector: the dump of this VNI is complete. From a client, vni 0: all announcements are made. */
export interface EndOfTable {
  readonly _tag: "EndOfTable"
  readonly vni: number
}
export type Message = Hello | Keepalive | Subscribe | Unsubscribe | Update | EndOfTable

export const maxOriginatorBytes = 64

export const hello = (fields: Partial<Omit<Hello, "_tag">> & Pick<Hello, "keepaliveSeconds">): Hello => ({
  _tag: "Hello",
  isServer: false,
  restartSeconds: 0,
  originator: "",
  ...fields,
})
export const keepalive: Keepalive = { _tag: "Keepalive" }
export const subscribe = (vni: number): Subscribe => ({ _tag: "Subscribe", vni })
export const unsubscribe = (vni: number): Unsubscribe => ({ _tag: "Unsubscribe", vni })
export const announce = (route: Route): Update => ({ _tag: "Update", remove: false, route })
export const withdraw = (route: Route): Update => ({ _tag: "Update", remove: true, route })
export const endOfTable = (vni: number): EndOfTable => ({ _tag: "EndOfTable", vni })

const payloadOf = (message: Message): readonly [number, Uint8Array] => {
  switch (message._tag) {
    case "Hello":
      return [
        Frame.type.hello,
        toBinary(
          HelloSchema,
          create(HelloSchema, {
            keepaliveInterval: message.keepaliveSeconds,
            isServer: message.isServer,
            restartSeconds: message.restartSeconds,
            originator: message.originator,
          }),
        ),
      ]
    case "Keepalive":
      return [Frame.type.keepalive, new Uint8Array(0)]
    case "Subscribe":
    case "Unsubscribe":
    case "EndOfTable": {
      const frameType =
        message._tag === "Subscribe"
          ? Frame.type.subscribe
          : message._tag === "Unsubscribe"
            ? Frame.type.unsubscribe
            : Frame.type.endOfTable
      return [frameType, toBinary(SubscriptionSchema, create(SubscriptionSchema, { vni: message.vni }))]
    }
    case "Update": {
      const { vni, destination, hop } = message.route
      const nat = hop.type === hopType.nat
      return [
        Frame.type.update,
        toBinary(
          UpdateSchema,
          create(UpdateSchema, {
            action: message.remove ? Action.REMOVE : Action.ADD,
            vni,
            destination: {
              ipVersion: destination.ipVersion as IPVersion,
              prefix: destination.prefix,
              prefixLength: destination.prefixLength,
            },
            nextHop: {
              targetAddress: hop.targetAddress,
              targetVNI: hop.targetVni,
              type: hop.type as NextHopType,
              natPortRangeFrom: nat ? hop.natPortFrom : 0,
              natPortRangeTo: nat ? hop.natPortTo : 0,
            },
          }),
        ),
      ]
    }
  }
}

/** A message as one whole frame. */
export const encode = (message: Message): Uint8Array => {
  const [frameType, payload] = payloadOf(message)
  return Frame.encode(frameType, payload)
}

const fail = (reason: Reason, detail: string) => Result.fail(metalbondError(reason, detail))

const parse = <D extends DescMessage>(
  schema: D,
  payload: Uint8Array,
): Result.Result<MessageShape<D>, MetalbondError> => {
  try {
    return Result.succeed(fromBinary(schema, payload))
  } catch (cause) {
    return fail(
      "MalformedPayload",
      `${schema.name}: ${cause instanceof Error ? cause.message : String(cause)}`,
    )
  }
}

const decodeHello = (payload: Uint8Array): Result.Result<Message, MetalbondError> => {
  const parsed = parse(HelloSchema, payload)
  if (Result.isFailure(parsed)) return Result.fail(parsed.failure)
  const { keepaliveInterval, isServer, restartSeconds, originator } = parsed.success
  if (keepaliveInterval === 0) return fail("KeepaliveZero", "HELLO.keepaliveInterval is 0, at least 1 s")
  if (new TextEncoder().encode(originator).length > maxOriginatorBytes)
    return fail("BadOriginator", `HELLO.originator exceeds ${maxOriginatorBytes} bytes`)
  return Result.succeed({
    _tag: "Hello",
    keepaliveSeconds: keepaliveInterval,
    isServer,
    restartSeconds,
    originator,
  })
}

const decodeUpdate = (payload: Uint8Array): Result.Result<Message, MetalbondError> => {
  const parsed = parse(UpdateSchema, payload)
  if (Result.isFailure(parsed)) return Result.fail(parsed.failure)
  const { action, vni, destination, nextHop } = parsed.success
  if (destination === undefined) return fail("MissingDestination", "UPDATE without destination")
  if (nextHop === undefined) return fail("MissingNextHop", "UPDATE without nextHop")
  const { prefix, prefixLength } = destination
  if (prefix.length !== 4 && prefix.length !== 16)
    return fail("BadAddressLength", `UPDATE.destination.prefix has ${prefix.length} bytes, 4 or 16`)
  if (nextHop.targetAddress.length !== 4 && nextHop.targetAddress.length !== 16)
    return fail(
      "BadAddressLength",
      `UPDATE.nextHop.targetAddress has ${nextHop.targetAddress.length} bytes, 4 or 16`,
    )
  if (prefixLength > prefix.length * 8)
    return fail(
      "PrefixTooLong",
      `UPDATE.destination.prefixLength ${prefixLength} of ${prefix.length * 8} bits`,
    )
  const type: number = nextHop.type
  const nat = type === hopType.nat
  if (nat && (nextHop.natPortRangeFrom > 65_535 || nextHop.natPortRangeTo > 65_535))
    return fail("BadNatPort", `UPDATE.nextHop ports ${nextHop.natPortRangeFrom}-${nextHop.natPortRangeTo}`)
  return Result.succeed({
    _tag: "Update",
    remove: action === Action.REMOVE,
    route: {
      vni,
      // protobuf-es may hand out views into the chunk: what a table keeps must own its bytes.
      destination: { ipVersion: destination.ipVersion, prefix: Uint8Array.from(prefix), prefixLength },
      hop: {
        targetAddress: Uint8Array.from(nextHop.targetAddress),
        targetVni: nextHop.targetVNI,
        type,
        natPortFrom: nat ? nextHop.natPortRangeFrom : 0,
        natPortTo: nat ? nextHop.natPortRangeTo : 0,
      },
    },
  })
}

/** The message of a frame, or why the session must end. Total, never throws. */
export const decode = (frame: Frame.Frame): Result.Result<Message, MetalbondError> => {
  switch (frame.type) {
    case Frame.type.hello:
      return decodeHello(frame.payload)
    case Frame.type.keepalive:
      return Result.succeed(keepalive)
    case Frame.type.update:
      return decodeUpdate(frame.payload)
    case Frame.type.subscribe:
    case Frame.type.unsubscribe:
    case Frame.type.endOfTable: {
      const parsed = parse(SubscriptionSchema, frame.payload)
      if (Result.isFailure(parsed)) return Result.fail(parsed.failure)
      const { vni } = parsed.success
      return Result.succeed(
        frame.type === Frame.type.subscribe
          ? subscribe(vni)
          : frame.type === Frame.type.unsubscribe
            ? unsubscribe(vni)
            : endOfTable(vni),
      )
    }
    default:
      return fail("UnknownType", `frame type ${frame.type}`)
  }
}

export interface DecodedMessages {
  readonly decoder: Frame.Decoder
  readonly messages: ReadonlyArray<Message>
  /** When set, the stream is over; the messages before it are valid. */
  readonly error: MetalbondError | undefined
}

/** Messages of the next chunk of a stream, up to its first error. */
export const decodeChunk = (decoder: Frame.Decoder, chunk: Uint8Array): DecodedMessages => {
  const decoded = Frame.decode(decoder, chunk)
  const messages: Array<Message> = []
  for (const frame of decoded.frames) {
    const message = decode(frame)
    if (Result.isFailure(message)) return { decoder: Frame.emptyDecoder, messages, error: message.failure }
    messages.push(message.success)
  }
  return { decoder: decoded.decoder, messages, error: decoded.error }
}

/** One line for people and transcripts. */
export const format = (message: Message): string => {
  switch (message._tag) {
    case "Hello":
      return [
        `HELLO keepalive ${message.keepaliveSeconds}`,
        ...(message.isServer ? ["server"] : []),
        ...(message.restartSeconds > 0 ? [`restart ${message.restartSeconds}`] : []),
        ...(message.originator === "" ? [] : [`originator ${message.originator}`]),
      ].join(" ")
    case "Keepalive":
      return "KEEPALIVE"
    case "Subscribe":
      return `SUBSCRIBE ${message.vni}`
    case "Unsubscribe":
      return `UNSUBSCRIBE ${message.vni}`
    case "Update":
      return `${message.remove ? "REMOVE" : "ADD"} ${formatRoute(message.route)}`
    case "EndOfTable":
      return `END_OF_TABLE ${message.vni}`
  }
}
