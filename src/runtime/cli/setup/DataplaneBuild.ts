/**
 * Builds the native dataplane with meson and ninja, optimised as its meson.build says, and remembers of which sources: an unchanged
 * tree is not built again. One build at a time on this checkout.
 */
import { Effect, Stream } from "effect"
import { ChildProcess } from "effect/process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { failed } from "../Failure.ts"
import { repository } from "../Region.ts"

const source = `${repository}/dataplane`
const build = `${source}/build`
const stampFile = `${repository}/.ferrite/build-stamp`

export const program = `${build}/ferrite-dataplane`

/** Folders that the program is not made of. */
const apart = ["build", "test", "bench", "fuzz"]

/** Every file that the program is made of. */
const sourceFiles = (folder: string): ReadonlyArray<string> =>
  readdirSync(folder, { withFileTypes: true })
    .filter(({ name }) => !name.startsWith(".") && !apart.some((prefix) => name.startsWith(prefix)))
    .flatMap((entry) =>
      entry.isDirectory() ? sourceFiles(`${folder}/${entry.name}`) : [`${folder}/${entry.name}`],
    )

/** Hash over names and contents of the sources and the protocols that they include. */
const stampOf = (): string => {
  const hash = createHash("sha256")
  for (const file of [...sourceFiles(source), ...sourceFiles(`${repository}/proto`)].sort()) {
    hash.update(`${file.slice(repository.length)}\0${statSync(file).size}\0`).update(readFileSync(file))
  }
  return hash.digest("hex")
}

export const isBuilt = (): boolean => {
  try {
    return existsSync(program) && readFileSync(stampFile, "utf8") === stampOf()
  } catch {
    return false
  }
}

/** Runs one tool of the build; its lines go to `say` where they are progress, to the log in any case. */
const tool = (
  command: string,
  args: ReadonlyArray<string>,
  log: Array<string>,
  say: (doing: string) => Effect.Effect<void>,
) =>
  Effect.gen(function* () {
    const handle = yield* ChildProcess.make(command, args, {
      cwd: source,
      extendEnv: true,
      env: { NINJA_STATUS: "[%f/%t] " },
    })
    yield* handle.all.pipe(
      Stream.decodeText(),
      Stream.splitLines,
      Stream.runForEach((line) => {
        log.push(line)
        const progress = /^\[(\d+)\/(\d+)\]/.exec(line)
        return progress ? say(`compiling ${progress[1]} of ${progress[2]}`) : Effect.void
      }),
    )
    const exitCode = yield* handle.exitCode
    if (exitCode === 0) return
    return yield* failed("the dataplane can't be built", [
      ...log.slice(-25),
      `(${command} ${args.join(" ")})`,
    ])
  }).pipe(
    Effect.scoped,
    Effect.catchTag("PlatformError", (error) =>
      Effect.fail(failed(`${command} can't run: ${error.message}`)),
    ),
  )

const configure = (log: Array<string>, say: (doing: string) => Effect.Effect<void>) =>
  Effect.gen(function* () {
    yield* say("configuring")
    // The list of sources is made when meson configures, so that is done again whenever one of them changed.
    const again = existsSync(`${build}/build.ninja`) ? ["--reconfigure"] : []
    yield* tool("meson", ["setup", ...again, build, source], log, say)
  })

/** Builds the program where its sources changed since the last build. `say` hears of progress. */
export const ensureBuilt = (say: (doing: string) => Effect.Effect<void>) =>
  Effect.gen(function* () {
    if (isBuilt()) return
    const stamp = stampOf()
    const log: Array<string> = []
    yield* configure(log, say)
    yield* tool("ninja", ["-C", build, "ferrite-dataplane"], log, say)
    if (!existsSync(program)) {
      return yield* failed(`the build of the dataplane made no ${program}`)
    }
    mkdirSync(`${repository}/.ferrite`, { recursive: true })
    writeFileSync(stampFile, stamp)
  })

/** The engine again, with what looks over its shoulder: a build directory of its own and the tests that are run there. */
export interface Variant {
  readonly suite: string
  readonly folder: string
  readonly options: ReadonlyArray<string>
}

const sanitized = (suite: string, folder: string, sanitizers: string): Variant => ({
  suite,
  folder: `${source}/${folder}`,
  // Warnings differ with the optimisation and were errors in the usual build already.
  options: [`-Db_sanitize=${sanitizers}`, "-Db_lundef=false", "-Doptimization=1", "-Dwerror=false"],
})

export const variants: ReadonlyArray<Variant> = [
  sanitized("fuzz", "build-asan", "address,undefined"),
  sanitized("race", "build-race", "thread"),
]

/** Builds what the variant's suite runs; nothing else of it, and not the gRPC front. */
export const ensureVariant = (
  { folder, options, suite }: Variant,
  say: (doing: string) => Effect.Effect<void>,
) =>
  Effect.gen(function* () {
    const log: Array<string> = []
    if (!existsSync(`${folder}/build.ninja`)) {
      yield* say("configuring")
      yield* tool("meson", ["setup", ...options, folder, source], log, say)
    }
    yield* tool("ninja", ["-C", folder, `${suite}-tests`], log, say)
  })

/** The program, its tests and benches. */
export const buildAll = (say: (doing: string) => Effect.Effect<void>) =>
  Effect.gen(function* () {
    yield* ensureBuilt(say)
    const log: Array<string> = []
    yield* configure(log, say)
    yield* tool("ninja", ["-C", build], log, say)
  })
