/**
 * What server and client of the bridge share: the types that a protobuf-es service descriptor implies, and the
 * grpc-js definition made of it.
 */
import {
  type DescMessage,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf"
import type { GenService } from "@bufbuild/protobuf/codegenv2"
import type * as grpc from "@grpc/grpc-js"

export type Methods<Service> = Service extends GenService<infer M> ? M : never

export type Input<Method> = Method extends { input: infer I extends DescMessage } ? MessageShape<I> : never
export type InputInit<Method> = Method extends { input: infer I extends DescMessage }
  ? MessageInitShape<I>
  : never
export type Output<Method> = Method extends { output: infer O extends DescMessage } ? MessageShape<O> : never
export type OutputInit<Method> = Method extends { output: infer O extends DescMessage }
  ? MessageInitShape<O>
  : never

/** Messages of one method in flight between grpc-js and a stream of ours. */
export const streamBuffer = 256

export const definitionOf = (service: DescService): grpc.ServiceDefinition =>
  Object.fromEntries(
    service.methods.map((method) => [
      method.localName,
      {
        path: `/${service.typeName}/${method.name}`,
        requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
        responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
        requestSerialize: (value: any) => Buffer.from(toBinary(method.input, value)),
        requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
        responseSerialize: (value: any) => Buffer.from(toBinary(method.output, value)),
        responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
      },
    ]),
  )
