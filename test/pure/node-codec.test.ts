import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf"
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import {
  InterfaceState,
  type SessionRequest,
  SessionRequestSchema,
  type SessionResponse,
  SessionResponseSchema,
} from "#gen/ferrite/node/v1/node_pb.ts"
import { decodeHostInterface } from "#protocol/node/HostInterface.ts"
import {
  decodeAgentMessage,
  decodeControllerMessage,
  encodeAgentMessage,
  encodeControllerMessage,
} from "#protocol/node/NodeCodec.ts"
import { clip, maxMessageLength, maxRouteEntries } from "#protocol/node/NodeMessages.ts"
import * as arbitrary from "./node-arbitrary.ts"

const throughTheWire = (init: MessageInitShape<typeof SessionRequestSchema>): SessionRequest =>
  fromBinary(SessionRequestSchema, toBinary(SessionRequestSchema, create(SessionRequestSchema, init)))

const backThroughTheWire = (init: MessageInitShape<typeof SessionResponseSchema>): SessionResponse =>
  fromBinary(SessionResponseSchema, toBinary(SessionResponseSchema, create(SessionResponseSchema, init)))

const refusal = (init: MessageInitShape<typeof SessionRequestSchema>): string => {
  const decoded = decodeAgentMessage(throughTheWire(init))
  assert.isTrue(Result.isFailure(decoded), "was accepted")
  return Result.isFailure(decoded) ? decoded.failure.message : ""
}

const hello = {
  node: "host-1",
  instance: "i-1",
  revision: 3n,
  underlayPrefix: "fd00:f:1::/64",
  dataplane: "native",
  version: "0.1.0",
  regionUid: "",
}

const compiled = {
  uid: "00000000-0000-4000-8000-00000000000a",
  namespace: "default",
  name: "nic-a",
  generation: 1,
  vni: 200,
  ipv4: "10.0.0.1",
  acceptedMicros: 5,
}

describe("node messages", () => {
  it("every message of an agent comes out as it went in", () => {
    fc.assert(
      fc.property(arbitrary.agentMessage, (message) => {
        assert.deepStrictEqual(
          decodeAgentMessage(throughTheWire(encodeAgentMessage(message))),
          Result.succeed(message),
        )
      }),
    )
  })

  it("every message of a controller comes out as it went in", () => {
    fc.assert(
      fc.property(arbitrary.controllerMessage, (message) => {
        assert.deepStrictEqual(
          decodeControllerMessage(backThroughTheWire(encodeControllerMessage(message))),
          Result.succeed(message),
        )
      }),
    )
  })

  it("no bytes that protobuf can read make decoding throw", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const [schema, decode] of [
          [SessionRequestSchema, decodeAgentMessage],
          [SessionResponseSchema, decodeControllerMessage],
        ] as const) {
          try {
            fromBinary(schema, bytes)
          } catch {
            continue
          }
          decode(fromBinary(schema, bytes) as never)
        }
      }),
      { numRuns: 2000 },
    )
  })

  it("a mutated field is refused or decodes to something that encodes again", () => {
    fc.assert(
      fc.property(arbitrary.agentMessage, fc.nat(), fc.nat({ max: 255 }), (message, at, value) => {
        const bytes = toBinary(
          SessionRequestSchema,
          create(SessionRequestSchema, encodeAgentMessage(message)),
        )
        if (bytes.length === 0) return
        bytes[at % bytes.length] = value
        let mutated: SessionRequest
        try {
          mutated = fromBinary(SessionRequestSchema, bytes)
        } catch {
          return
        }
        const decoded = decodeAgentMessage(mutated)
        if (Result.isFailure(decoded)) return
        assert.deepStrictEqual(
          decodeAgentMessage(throughTheWire(encodeAgentMessage(decoded.success))),
          decoded,
        )
      }),
      { numRuns: 2000 },
    )
  })

  it("a refusal names the field and the rule", () => {
    const withField = (field: object) =>
      refusal({ message: { case: "hello", value: { ...hello, ...field } } })
    assert.match(withField({ node: "Host_1" }), /^hello: .*DNS label.*node/)
    assert.match(withField({ node: "" }), /node/)
    assert.match(withField({ instance: "a".repeat(65) }), /instance/)
    assert.match(withField({ underlayPrefix: "fd00:f:1::/48" }), /IPv6 \/64.*underlayPrefix/)
    assert.match(withField({ underlayPrefix: "fd00:f:1::1/64" }), /underlayPrefix/)
    assert.match(withField({ dataplane: "other" }), /dataplane/)
    assert.match(withField({ revision: 2n ** 60n }), /revision/)
    assert.match(refusal({}), /^message/)
  })

  it("an interface report without a state, or realised without an address, is refused", () => {
    const report = { uid: compiled.uid, generation: 1n, device: "tap0" }
    assert.match(refusal({ message: { case: "interfaceReport", value: report } }), /state/)
    const realised = { ...report, state: InterfaceState.REALISED, underlayAddress: "10.0.0.1" }
    assert.match(refusal({ message: { case: "interfaceReport", value: realised } }), /underlayAddress/)
  })

  it("a route report over its bound is refused before its entries are read", () => {
    const entries = Array.from({ length: maxRouteEntries + 1 }, () => ({ prefix: "nonsense" }))
    assert.match(
      refusal({ message: { case: "routeReport", value: { entries } } }),
      /4097 entries, at most 4096/,
    )
  })

  it("addresses come out canonical", () => {
    const decoded = decodeHostInterface({ ...compiled, ipv6: "FD00:0:0::A" })
    assert.deepStrictEqual(decoded, Result.succeed({ ...compiled, ipv6: "fd00::a" }))
  })

  it("empty text of a compiled interface means absent, and one address must be there", () => {
    assert.deepStrictEqual(
      decodeHostInterface({ ...compiled, ipv6: "", hostname: "", device: "" }),
      Result.succeed(compiled),
    )
    assert.isTrue(Result.isFailure(decodeHostInterface({ ...compiled, ipv4: "" })))
    assert.isTrue(Result.isFailure(decodeHostInterface({ ...compiled, vni: 0x1_00_00_00 })))
    assert.isTrue(Result.isFailure(decodeHostInterface({ ...compiled, uid: "nic-a" })))
    assert.isTrue(Result.isFailure(decodeHostInterface(undefined)))
  })

  it("a long text is cut to the bound of a message", () => {
    assert.strictEqual(clip("x".repeat(5000)).length, maxMessageLength)
    assert.strictEqual(clip("short"), "short")
  })
})
