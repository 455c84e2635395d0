/**
 * `ferrite test`: everything that says whether this checkout is good, one stage after the other, each with its own
 * output. All stages run; the verdict names those that failed.
 */
import { Clock, Console, Effect } from "effect"
import { spawn } from "node:child_process"
import { dirname } from "node:path"
import { failed } from "../Failure.ts"
import { repository } from "../Region.ts"
import * as Table from "../Table.ts"
import * as Build from "./DataplaneBuild.ts"
import * as Debian from "./Debian.ts"

interface Stage {
  readonly name: string
  readonly command: ReadonlyArray<string>
}

const checks: ReadonlyArray<Stage> = [
  { name: "types", command: ["sh", "-c", 'exec "$(effect-tsgo get-exe-path)" -p tsconfig.json'] },
  { name: "lint", command: ["oxlint", "--deny-warnings"] },
  { name: "format", command: ["oxfmt", "--check"] },
  { name: "protocols", command: ["buf", "lint"] },
]

const native: Stage = {
  name: "dataplane",
  command: ["meson", "test", "-C", "dataplane/build", "--print-errorlogs"].concat(
    Build.variants.flatMap(({ suite }) => ["--no-suite", suite]),
  ),
}

/** Fuzz targets for some seconds each under sanitizers, and the threads against each other. */
const watched = ({ folder, suite }: Build.Variant): Stage => ({
  name: suite,
  command: ["meson", "test", "-C", folder, "--print-errorlogs", "--suite", suite],
})

const suite = (args: ReadonlyArray<string>): Stage => ({ name: "tests", command: ["vitest", "run", ...args] })

/** Tools of the checkout, on the Node that runs this. */
const searchPath = [dirname(process.execPath), `${repository}/node_modules/.bin`, process.env["PATH"]].join(
  ":",
)

/** Runs a stage with its output on ours; whether it ended with status 0. */
const runStage = ({ command }: Stage): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const [program = "", ...args] = command
    const child = spawn(program, args, {
      cwd: repository,
      stdio: ["ignore", "inherit", "inherit"],
      // The VM's kernel is fetched and unpacked below .ferrite/cache, never installed.
      env: { ...process.env, PATH: searchPath, ...(Debian.isRoot() ? { FERRITE_TEST_VM: "1" } : {}) },
    })
    child.once("error", (error) => {
      process.stderr.write(`${program}: ${error.message}\n`)
      resume(Effect.succeed(false))
    })
    child.once("exit", (code) => resume(Effect.succeed(code === 0)))
    return Effect.sync(() => child.kill("SIGTERM"))
  })

/** One line a change, for a log as well as for a terminal. */
const sayOnce = () => {
  let said = ""
  return (doing: string) =>
    Effect.suspend(() => {
      const what = doing.replace(/ \(\d+ s\)$/, "")
      const compiling = /^compiling (\d+) of (\d+)$/.exec(what)
      const quiet = compiling !== null && Number(compiling[1]) % 10 !== 0 && compiling[1] !== compiling[2]
      if (what === said || quiet) return Effect.void
      said = what
      return Console.log(`  ${what}`)
    })
}

/** What the native tests need. Without root, what is missing stays missing, and those tests skip themselves. */
const prepare = Effect.gen(function* () {
  const packages = [...Debian.buildPackages, ...Debian.runPackages, ...Debian.testPackages]
  const missing = yield* Debian.missing(packages)
  if (missing.length > 0 && !Debian.isRoot()) {
    yield* Console.log(
      `Not root, and these packages are missing: ${missing.join(" ")}. Tests that need them skip.`,
    )
    return (yield* Debian.missing(Debian.buildPackages)).length === 0
  }
  yield* Debian.install(packages, sayOnce())
  return true
})

/** With arguments only the tests, filtered by them. */
export const run = (args: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const results: Array<{ readonly name: string; readonly good: boolean; readonly seconds: number }> = []
    const perform = Effect.fnUntraced(function* (name: string, work: Effect.Effect<boolean>) {
      const begun = yield* Clock.currentTimeMillis
      yield* Console.log(`\n== ${name}`)
      const good = yield* work
      results.push({ name, good, seconds: ((yield* Clock.currentTimeMillis) - begun) / 1000 })
      return good
    })
    const told = <E extends { readonly message: string; readonly details: ReadonlyArray<string> }, R>(
      work: Effect.Effect<boolean, E, R>,
    ) =>
      Effect.catch(work, ({ details, message }) =>
        Effect.as(
          Effect.forEach([message, ...details], (line) => Console.error(line), { discard: true }),
          false,
        ),
      )

    const services = yield* Effect.context<Effect.Services<ReturnType<typeof Build.buildAll>>>()
    const building = prepare.pipe(
      Effect.flatMap((able) => (able ? Build.buildAll(sayOnce()) : Effect.void)),
      Effect.as(true),
      Effect.provideContext(services),
    )
    yield* perform("build", told(building))
    if (args.length === 0) {
      for (const stage of checks) yield* perform(stage.name, runStage(stage))
      if (Build.isBuilt()) {
        yield* perform(native.name, runStage(native))
        for (const variant of Build.variants) {
          const built = Build.ensureVariant(variant, sayOnce()).pipe(
            Effect.as(true),
            Effect.provideContext(services),
          )
          yield* perform(
            variant.suite,
            Effect.flatMap(told(built), (good) =>
              good ? runStage(watched(variant)) : Effect.succeed(false),
            ),
          )
        }
      }
    }
    const tests = suite(args)
    yield* perform(tests.name, runStage(tests))

    yield* Console.log(
      `\n${Table.renderRows(results.map(({ good, name, seconds }) => [good ? "ok" : "FAILED", name, `${seconds.toFixed(1)} s`]))}`,
    )
    const bad = results.filter(({ good }) => !good).map(({ name }) => name)
    if (bad.length > 0) return yield* failed(`failed: ${bad.join(", ")}`)
  })
