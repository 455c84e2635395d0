/**
 * Manifests from files, folders and standard input: YAML with many documents, JSON, `List`s of either.
 *
 * Reads and parses only; what a manifest means is the region's to judge. Each document remembers where it began,
 * so that an error can point there. Bounded: 16 MiB, 10,000 documents and a million tokens a file.
 */
import * as NodeStream from "@effect/platform-node/NodeStream"
import { Effect, FileSystem, Path, Schema, Stdio, Stream } from "effect"
import { createReadStream } from "node:fs"
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
/** What the parser takes apart: each becomes some hundred bytes of tree. A manifest has about a hundred. */
const maxTokens = 1_000_000
/** Each is looked up among all anchors of its document. */
const maxAliases = 1_000

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

interface Problem {
  /** Offset in the text. */
  readonly at: number | undefined
  readonly message: string
}

const atNode = (node: unknown): number | undefined => (Yaml.isNode(node) ? node.range?.[0] : undefined)

/** What YAML allows and no manifest can mean. Linear, where the parser's own check of keys is quadratic. */
const problemOf = (document: Yaml.Document.Parsed): Problem | undefined => {
  let found: Problem | undefined
  let aliases = 0
  const refuse = (at: number | undefined, message: string) => {
    found = { at, message }
    return Yaml.visit.BREAK
  }
  Yaml.visit(document, {
    Map: (_, map) => {
      const seen = new Set<string>()
      for (const { key } of map.items) {
        if (!Yaml.isScalar(key)) return refuse(atNode(key) ?? atNode(map), "a key must be plain text")
        const name = String(key.value)
        if (seen.has(name))
          return refuse(
            atNode(key),
            `the key ${JSON.stringify(name.slice(0, 80))} is there twice: keys must be unique`,
          )
        seen.add(name)
      }
      return undefined
    },
    Alias: (_, alias, path) => {
      if (++aliases > maxAliases) return refuse(atNode(alias), `more than ${maxAliases} aliases`)
      return path.some((node) => Yaml.isCollection(node) && node.anchor === alias.source)
        ? refuse(atNode(alias), `the alias *${alias.source} stands for something that it is a part of`)
        : undefined
    },
  })
  return found
}

function* tokensOf(text: string, lines: Yaml.LineCounter): Generator<Yaml.CST.Token, void> {
  const parser = new Yaml.Parser(lines.addNewLine)
  lines.addNewLine(0)
  let count = 0
  for (const lexeme of new Yaml.Lexer().lex(text)) {
    if (++count > maxTokens) throw new Error(`more than ${maxTokens} tokens: split it into several files`)
    yield* parser.next(lexeme)
  }
  yield* parser.end()
}

/** JSON is YAML as well; one parser keeps positions for both. Empty documents are left out. */
export const parseDocuments = (
  name: string,
  text: string,
): Effect.Effect<ReadonlyArray<ManifestDocument>, DocumentError> =>
  Effect.suspend(() => {
    const lines = new Yaml.LineCounter()
    const refuse = (at: number | undefined, message: string) => {
      const { line, col } = at === undefined ? { line: 0, col: 0 } : lines.linePos(at)
      const source = line === 0 ? name : `${name}:${line}:${col}`
      return Effect.fail(new DocumentError({ source, message }))
    }
    // Document by document: a text with too many of them is not read to its end.
    const composer = new Yaml.Composer({
      logLevel: "error",
      prettyErrors: false,
      uniqueKeys: false,
      version: "1.2",
    })
    const documents: Array<ManifestDocument> = []
    let read = 0
    let start: number | undefined
    try {
      for (const document of composer.compose(tokensOf(text, lines))) {
        start = document.contents?.range?.[0]
        if (++read > maxDocuments) return refuse(start, `more than ${maxDocuments} documents`)
        const [error] = document.errors
        if (error) {
          const deep = error.message.startsWith("Maximum call stack")
          return refuse(error.pos[0], deep ? tooDeep : `is no YAML: ${error.message}`)
        }
        const problem = problemOf(document)
        if (problem) return refuse(problem.at ?? start, problem.message)
        const source = start === undefined ? name : `${name}:${lines.linePos(start).line}`
        const value: unknown = document.toJS({ maxAliasCount: 100 })
        if (value !== null && value !== undefined) documents.push(...expand(source, value))
        if (documents.length > maxDocuments) return refuse(start, `more than ${maxDocuments} documents`)
      }
    } catch (cause) {
      if (cause instanceof RangeError) return refuse(start, tooDeep)
      return refuse(start, cause instanceof Error ? cause.message : String(cause))
    }
    return Effect.succeed(documents)
  })

const tooDeep = "it is nested too deeply to be read"

/** Reads no further than the limit: the source may be endless. */
const textOf = <E extends { readonly message: string }>(
  source: string,
  bytes: Stream.Stream<Uint8Array, E>,
): Effect.Effect<string, E | DocumentError> =>
  Effect.gen(function* () {
    const chunks: Array<Uint8Array> = []
    let size = 0
    yield* Stream.runForEachWhile(bytes, (chunk) =>
      Effect.sync(() => {
        chunks.push(chunk)
        size += chunk.length
        return size <= maxBytes
      }),
    )
    if (size > maxBytes) {
      return yield* new DocumentError({ source, message: `larger than ${maxBytes} bytes` })
    }
    return yield* Effect.try({
      try: () => new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks)),
      catch: () => new DocumentError({ source, message: "it is no UTF-8 text" }),
    })
  })

const standardInput = Effect.gen(function* () {
  const source = "standard input"
  const stdio = yield* Stdio.Stdio
  const text = yield* Effect.mapError(
    textOf(source, stdio.stdin),
    ({ message }) => new DocumentError({ source, message }),
  )
  return yield* parseDocuments(source, text)
})

const readFile = Effect.fnUntraced(function* (path: string) {
  // May be a pipe, as in `-f <(…)`: read in order, without positions.
  const bytes = NodeStream.fromReadable({
    evaluate: () => createReadStream(path),
    onError: (cause) =>
      new DocumentError({ source: path, message: cause instanceof Error ? cause.message : String(cause) }),
  })
  return yield* parseDocuments(path, yield* textOf(path, bytes))
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
        documents.push(...(yield* standardInput))
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
