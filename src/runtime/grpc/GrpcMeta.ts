/**
 * What every gRPC server of ours tells about itself: its services (reflection v1 and v1alpha) and its health.
 */
import { type DescFile, toBinary } from "@bufbuild/protobuf"
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt"
import type * as grpc from "@grpc/grpc-js"
import { ReflectionService } from "@grpc/reflection"
import { Effect } from "effect"
import { HealthImplementation } from "grpc-health-check"

const withDependencies = (files: ReadonlyArray<DescFile>): ReadonlyArray<DescFile> => {
  const seen = new Map<string, DescFile>()
  const add = (file: DescFile) => {
    if (seen.has(file.name)) return
    seen.set(file.name, file)
    file.dependencies.forEach(add)
  }
  files.forEach(add)
  return [...seen.values()]
}

/** Lets tools list and call the services of these files (and of what they import) by name. */
export const addReflection = (server: grpc.Server, files: ReadonlyArray<DescFile>): Effect.Effect<void> =>
  Effect.sync(() => {
    const fileDescriptorProtos = withDependencies(files).map((file) =>
      Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)),
    )
    // The service reads the encoded files and nothing else of a package definition.
    const definition = {
      files: { format: "Protocol Buffer 3 DescriptorProto", type: {}, fileDescriptorProtos },
    }
    new ReflectionService(
      definition as unknown as ConstructorParameters<typeof ReflectionService>[0],
    ).addToServer(server)
  })

/** `grpc.health.v1.Health`: SERVING for "" and the named services, until the returned effect says otherwise. */
export const addHealth = (
  server: grpc.Server,
  services: ReadonlyArray<string> = [],
): Effect.Effect<(serving: boolean) => Effect.Effect<void>> =>
  Effect.sync(() => {
    const names = ["", ...services]
    const health = new HealthImplementation(
      Object.fromEntries(names.map((name) => [name, "SERVING" as const])),
    )
    health.addToServer(server)
    return (serving) =>
      Effect.sync(() => {
        for (const name of names) health.setStatus(name, serving ? "SERVING" : "NOT_SERVING")
      })
  })
