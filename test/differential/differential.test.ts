/**
 * The same operations, packets and times through the model and through the native engine: results, every byte that is
 * emitted and the reasons of drops must be the same.
 *
 * The normal run has a fixed seed, and must reach what coverage.ts lists. FERRITE_SEED=n begins with another one,
 * FERRITE_PACKETS=n runs more or less, and FERRITE_COVERAGE=1 prints what was reached; the line printed with a difference
 * replays it. A case that differed once stays in `cases/`.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Case, formatCase, parseCase, say, sayObservation } from "./case.ts"
import * as coverage from "./coverage.ts"
import { type Difference, difference } from "./compare.ts"
import { type Engine, missing, start } from "./engine.ts"
import { generate } from "./generate.ts"
import { run as runModel } from "./model.ts"
import { type Kind, kinds } from "./plan.ts"
import { probes } from "./probe.ts"
import { shrink } from "./shrink.ts"

const perCase = 50
const isNormal = process.env["FERRITE_SEED"] === undefined && process.env["FERRITE_PACKETS"] === undefined
const firstSeed = Number(process.env["FERRITE_SEED"] ?? coverage.seed)
const packets = Number(process.env["FERRITE_PACKETS"] ?? 10_000)
const folder = new URL("cases/", import.meta.url).pathname

/** An engine that ends is a difference, too. */
const differenceOf = Effect.fnUntraced(function* (engine: Engine, one: Case, expected = runModel(one)) {
  const got = yield* Effect.result(engine.run(one))
  if (got._tag === "Success") return difference(one, expected, got.success)
  return { at: one.commands.length, model: ["goes on"], engine: [got.failure.message] } satisfies Difference
})

/** Long lines that are the same for long, from where they are not. */
const shortened = (lines: ReadonlyArray<string>, others: ReadonlyArray<string>): ReadonlyArray<string> =>
  lines.map((line, i) => {
    const other = others[i] ?? ""
    let same = 0
    while (same < line.length && line[same] === other[same]) same++
    const from = Math.max(0, same - 40)
    if (line.length < 300) return `        ${line}`
    return `        ${line.slice(0, 100)} ... from character ${from} of ${line.length}: ${line.slice(from, from + 160)}`
  })

const story = (one: Case, found: Difference): string => {
  const { observations } = runModel(one)
  const told = one.commands.slice(0, found.at + 1).map((command, i) => {
    const heard = i < found.at ? (observations[i] === undefined ? [] : sayObservation(observations[i])) : []
    return [`${i}`.padStart(4), " ", say(command), ...heard.map((line) => `\n        ${line}`)].join("")
  })
  const where = found.at < one.commands.length ? `command ${found.at}` : "counters in the end"
  return [
    JSON.stringify(one.options),
    ...told,
    `${where}: the model`,
    ...shortened(found.model, found.engine),
    "the engine",
    ...shortened(found.engine, found.model),
  ].join("\n")
}

/** Cuts the case down and fails with its story. */
const fail = Effect.fnUntraced(function* (engine: Engine, one: Case, seed: number) {
  const small = yield* shrink(one, (smaller) =>
    Effect.map(differenceOf(engine, smaller), (still) => still !== undefined),
  )
  const found = yield* differenceOf(engine, small)
  const path = join(tmpdir(), `ferrite-differs-${seed}.json`)
  writeFileSync(path, formatCase(small))
  assert.fail(
    `${found === undefined ? "it differs only sometimes" : story(small, found)}\n\n` +
      `replay: FERRITE_SEED=${seed} FERRITE_PACKETS=${perCase} vitest run test/differential\n` +
      `the case alone: ${path} (keep it: cp it to test/differential/cases/)`,
  )
})

/** Which kinds of changes both sides know. */
const known = Effect.fnUntraced(function* (engine: Engine) {
  const allowed = new Set<Kind>()
  for (const [kind, one] of probes) {
    const model = yield* Effect.result(Effect.try(() => runModel(one)))
    const native = yield* Effect.result(engine.run(one))
    if (model._tag === "Failure" || native._tag === "Failure") continue
    const done = [model.success, native.success].every(({ observations }) =>
      observations.every(({ results }) => results.every(({ code }) => code === 0)),
    )
    if (done) allowed.add(kind)
  }
  return allowed
})

const summary = (counts: ReadonlyMap<string, bigint>): string =>
  [...counts]
    .filter(([name]) => /^(drop|stage|service|flow|begun)\./.test(name))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${value === 0n ? "!" : " "} ${name} ${value}`)
    .join("\n")

const all = Effect.gen(function* () {
  const engine = yield* start
  const allowed = yield* known(engine)
  const counts = new Map<string, bigint>()
  for (let i = 0; i < Math.ceil(packets / perCase); i++) {
    const seed = firstSeed + i
    const made = generate(seed, perCase, allowed)
    const got = yield* Effect.result(engine.run(made.case))
    if (got._tag === "Failure" || difference(made.case, made.model, got.success) !== undefined)
      return yield* fail(engine, made.case, seed)
    const begun = [...made.model.counters].filter(([name]) => name.startsWith("begun."))
    for (const [name, value] of [...got.success.counters, ...begun])
      counts.set(name, (counts.get(name) ?? 0n) + value)
  }
  const unknown = Object.keys(kinds).filter((kind) => !allowed.has(kind as Kind))
  if (process.env["FERRITE_COVERAGE"] !== undefined)
    process.stderr.write(
      `seed ${firstSeed}, ${packets} packets, not known by both: ${unknown.join(" ")}\n${summary(counts)}\n`,
    )
  const seldom = coverage.lacking(counts)
  if (isNormal && seldom.length > 0)
    assert.fail(`seed ${firstSeed}, ${packets} packets: reached too seldom\n${seldom.join("\n")}`)
})

const lacking = missing()
describe("the model and the native engine", () => {
  if (lacking === undefined) {
    it.live("do the same with random packets in random configurations", () => Effect.scoped(all), 600_000)
    for (const name of readdirSync(folder).filter((file) => file.endsWith(".json")))
      it.live(`agree on ${name.slice(0, -5).replaceAll("-", " ")}`, () =>
        Effect.scoped(
          Effect.gen(function* () {
            const one = parseCase(readFileSync(join(folder, name), "utf8"))
            const found = yield* differenceOf(yield* start, one)
            if (found !== undefined) assert.fail(story(one, found))
          }),
        ),
      )
  } else it.skip(`needs ${lacking}`, () => undefined)
})
