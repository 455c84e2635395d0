/**
 * Manifests from files, folders and standard input: YAML with many documents, JSON, `List`s of either.
 *
 * Reads and parses only; what a manifest means is the region's to judge. Each document remembers where it began,
 * so that an error can point there. Bounded: 16 MiB a file, 10,000 documents a command.
 */
import { Effect, FileSystem, Path, Schema, Stdio, Stream } from "effect"
import * as Yaml from "yaml"

export interface ManifestDocument {
  /** `file:line`, or `standard input:line`. */
  readonly source: string
  readonly value: unknown
}

/** A file that can't be read or is no YAML or JSON. */
export class DocumentError extends Schema.TaggedError<DocumentError>()("DocumentError", {
  /** `file:line:column` where known. */
  source: Schema.String,
  message: Schema.String,
}) {}

const maxBytes = 16 * 1024 * 1024
const maxDocuments = 10_000

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** A Kubernetes `List` stands for its items. */
const expand = (source: string, value: unknown): ReadonlyArray<ManifestDocument> =>
  isRecord(value) &&
  typeof value["kind"] === "string" &&
  value["kind"].endsWith("List") &&
  Array.isArray(value["items"])
    ? value["items"].map((item, index) => ({ source: `${source} items[${index}]`, value: item }))
    : [{ source, value }]

/** JSON is YAML as well; one parser keeps positions for both. Empty documents are left out. */
export const parseDocuments = (
  name: string,
  text: string,
): Effect.Effect<ReadonlyArray<ManifestDocument>, DocumentError> =>
  Effect.suspend(() => {
    const lines = new Yaml.LineCounter()
    const parsed = Yaml.parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, version: "1.2" })
    const documents: Array<ManifestDocument> = []
    for (const document of Array.isArray(parsed) ? parsed : []) {
      const [error] = document.errors
      if (error) {
        const { line, col } = lines.linePos(error.pos[0])
        return Effect.fail(new DocumentError({ source: `${name}:${line}:${col}`, message: error.message }))
      }
      const start = document.contents?.range?.[0]
      const source = start === undefined ? name : `${name}:${lines.linePos(start).line}`
      let value: unknown
      try {
        value = document.toJS({ maxAliasCount: 100 })
      } catch (cause) {
        return Effect.fail(
          new DocumentError({ source, message: cause instanceof Error ? cause.message : String(cause) }),
        )
      }
      if (value !== null && value !== undefined) documents.push(...expand(source, value))
      if (documents.length > maxDocuments) {
        return Effect.fail(new DocumentError({ source, message: `more than ${maxDocuments} documents` }))
      }
    }
    return Effect.succeed(documents)
  })

const standardInput = Effect.gen(function* () {
  const stdio = yield* Stdio.Stdio
  const chunks = yield* Stream.runFold(
    stdio.stdin,
    () => ({ size: 0, chunks: [] as Array<Uint8Array> }),
    (all, chunk) => {
      all.size += chunk.length
      if (all.size <= maxBytes) all.chunks.push(chunk)
      return all
    },
  ).pipe(Effect.mapError((error) => new DocumentError({ source: "standard input", message: error.message })))
  if (chunks.size > maxBytes) {
    return yield* new DocumentError({ source: "standard input", message: `larger than ${maxBytes} bytes` })
  }
  return Buffer.concat(chunks.chunks).toString("utf8")
})

const readFile = Effect.fnUntraced(function* (path: string) {
  const files = yield* FileSystem.FileSystem
  const info = yield* files.stat(path)
  if (Number(info.size) > maxBytes) {
    return yield* new DocumentError({ source: path, message: `larger than ${maxBytes} bytes` })
  }
  return yield* parseDocuments(path, yield* files.readFileString(path))
})

/** Files of a folder by name; folders within it are not entered. */
const filesOf = Effect.fnUntraced(function* (path: string) {
  const files = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const names = yield* files.readDirectory(path)
  return names
    .filter((name) => /\.(ya?ml|json)$/.test(name))
    .sort()
    .map((name) => paths.join(path, name))
})

/** All documents of the named files and folders, in order. `-` is standard input. */
export const readDocuments = (sources: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const files = yield* FileSystem.FileSystem
    const documents: Array<ManifestDocument> = []
    for (const source of sources) {
      if (source === "-") {
        documents.push(...(yield* parseDocuments("standard input", yield* standardInput)))
        continue
      }
      const read = Effect.gen(function* () {
        const info = yield* files.stat(source)
        const paths = info.type === "Directory" ? yield* filesOf(source) : [source]
        return (yield* Effect.forEach(paths, readFile)).flat()
      }).pipe(
        Effect.catchTag("PlatformError", (error) =>
          Effect.fail(
            new DocumentError({
              source,
              message: error.reason._tag === "NotFound" ? "there is no such file or folder" : error.message,
            }),
          ),
        ),
      )
      documents.push(...(yield* read))
    }
    if (documents.length === 0) {
      return yield* new DocumentError({ source: sources.join(", "), message: "there is no manifest in it" })
    }
    return documents
  })
