import { assert, describe, it } from "@effect/vitest"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

const root = path.resolve(import.meta.dirname, "../..")

const filesBelow = (folder: string, suffix: string): ReadonlyArray<string> =>
  fs
    .readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(suffix))
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)))
    .filter((file) => !file.startsWith("src/gen/"))
    .toSorted()

const layers = ["protocol", "actors", "runtime"]
const layerOf = (file: string) => layers.indexOf(file.split("/")[1] ?? "")

/** Targets of the import and export-from statements of a file, as paths from the root where they are ours. */
const importsOf = (file: string): ReadonlyArray<string> => {
  const text = fs.readFileSync(path.join(root, file), "utf8")
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map(([, target = ""]) =>
    target.startsWith("#")
      ? `src/${target.slice(1)}`
      : target.startsWith(".")
        ? path.normalize(path.join(path.dirname(file), target))
        : target,
  )
}

const lint = (file: string, source: string) => {
  const target = path.join(root, file)
  fs.writeFileSync(target, source)
  try {
    return childProcess.spawnSync(path.join(root, "node_modules/.bin/oxlint"), [target], {
      cwd: root,
      encoding: "utf8",
      env: { ...process.env, PATH: `${path.join(root, "node_modules/.bin")}:${process.env["PATH"]}` },
    }).stdout
  } finally {
    fs.rmSync(target)
  }
}

describe("the tree", () => {
  it("imports in one direction: runtime, actors, protocol", () => {
    const wrong = filesBelow("src", ".ts").flatMap((file) =>
      importsOf(file)
        .filter(
          (target) => target.startsWith("src/") && layerOf(target) > layerOf(file) && layerOf(file) >= 0,
        )
        .map((target) => `${file} imports ${target}`),
    )
    assert.deepStrictEqual(wrong, [])
  })

  it("keeps files short", () => {
    const long = filesBelow("src", ".ts")
      .map((file) => ({ file, lines: fs.readFileSync(path.join(root, file), "utf8").split("\n").length }))
      .filter(({ lines }) => lines > 420)
    assert.deepStrictEqual(long, [])
  })

  it("starts every module with what it is", () => {
    const silent = filesBelow("src", ".ts").filter(
      (file) => !fs.readFileSync(path.join(root, file), "utf8").trimStart().startsWith("/**"),
    )
    assert.deepStrictEqual(silent, [])
  })

  it("refuses the wall clock, ambient randomness and timers by lint", () => {
    const output = lint(
      "src/actors/tidy-probe.ts",
      "export const now = Date.now()\nexport const chance = Math.random()\nsetTimeout(() => {}, now)\n",
    )
    assert.include(output, "Take time from effect's Clock")
    assert.include(output, "Take randomness from effect's Random")
    assert.include(output, "Use Effect.sleep")
  })

  it("refuses imports against the direction by lint", () => {
    const output = lint("src/protocol/tidy-probe.ts", 'export * from "#actors/region/Plan.ts"\n')
    assert.include(output, "src/protocol says what is said")
  })
})
