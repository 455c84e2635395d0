import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as fc from "fast-check"
import { Clock, Effect, Exit, FileSystem } from "effect"
import { parseDocuments, readDocuments } from "#runtime/cli/Documents.ts"

const repeated = (count: number, line: (n: number) => string, separator = "\n") =>
  Array.from({ length: count }, (_, n) => line(n)).join(separator)

/** Most take milliseconds; a quadratic one of these sizes takes minutes. */
const patienceMillis = 15_000

const refused = (text: string) =>
  Effect.gen(function* () {
    const before = yield* Clock.currentTimeMillis
    const error = yield* Effect.flip(parseDocuments("x.yaml", text))
    assert.isBelow((yield* Clock.currentTimeMillis) - before, patienceMillis)
    assert.strictEqual(error._tag, "DocumentError")
    return `${error.source}: ${error.message}`
  })

const accepted = (text: string) =>
  Effect.gen(function* () {
    const before = yield* Clock.currentTimeMillis
    const documents = yield* parseDocuments("x.yaml", text)
    assert.isBelow((yield* Clock.currentTimeMillis) - before, patienceMillis)
    return documents.map(({ value }) => value)
  })

describe("a hostile document", () => {
  it.live("that is nested without end is refused where it gets too deep", () =>
    Effect.gen(function* () {
      assert.match(yield* refused("[".repeat(20_000)), /^x\.yaml:1:\d+: .*nested too deeply/)
      assert.match(yield* refused("{a: ".repeat(20_000)), /nested too deeply/)
      assert.match(
        yield* refused(repeated(3_000, (n) => `${" ".repeat(n)}a:`)),
        /^x\.yaml:\d+:\d+: .*nested too deeply/,
      )
    }),
  )

  it.live("that contains itself is refused, also far away from the anchor", () =>
    Effect.gen(function* () {
      assert.match(yield* refused("a: &a\n  b: *a\n"), /^x\.yaml:2:6: the alias \*a .* part of/)
      assert.match(yield* refused("&a [*a]\n"), /^x\.yaml:1:5: /)
      assert.match(yield* refused("a: &a\n  b:\n    - c: [1, *a]\n"), /^x\.yaml:3:14: /)
      assert.deepStrictEqual(yield* accepted("a: &a {b: 1}\nc: *a\n"), [{ a: { b: 1 }, c: { b: 1 } }])
    }),
  )

  it.live("that grows by aliases is refused", () =>
    Effect.gen(function* () {
      const laughs = repeated(12, (n) => `l${n + 1}: &l${n + 1} [${`*l${n},`.repeat(10)}]`)
      assert.match(yield* refused(`l0: &l0 [x]\n${laughs}\n`), /alias/)
      assert.match(yield* refused(repeated(20_000, (n) => `- &a${n} x\n- *a${n}`)), /more than 1000 aliases/)
      assert.match(yield* refused("a: *nobody\n"), /nobody/)
    }),
  )

  it.live("with a key twice is refused by its place, and many keys take linear time", () =>
    Effect.gen(function* () {
      assert.match(
        yield* refused("kind: A\nspec: 1\nkind: B\n"),
        /^x\.yaml:3:1: the key "kind" is there twice/,
      )
      assert.match(yield* refused('{"a": {"b": 1, "b": 2}}'), /^x\.yaml:1:16: /)
      assert.match(yield* refused("? {a: b}\n: c\n"), /^x\.yaml:1:3: a key must be plain text/)
      const [keys] = yield* accepted(repeated(20_000, (n) => `key${n}: 1`))
      assert.lengthOf(Object.keys(keys as object), 20_000)
    }),
  )

  it.live("of too many documents or tokens is not read to its end", () =>
    Effect.gen(function* () {
      assert.match(yield* refused(repeated(12_000, (n) => `a: ${n}`, "\n---\n")), /more than 10000 documents/)
      assert.match(yield* refused(`[${"1,".repeat(1_000_000)}1]`), /more than 1000000 tokens/)
      assert.match(
        yield* refused(`kind: List\nitems: [${"{},".repeat(10_001)}]`),
        /more than 10000 documents/,
      )
    }),
  )

  it.live("with a tab for indentation is refused by line and column", () =>
    Effect.gen(function* () {
      assert.match(yield* refused("a:\n\tb: 1\n"), /^x\.yaml:2:1: .*[Tt]abs/)
    }),
  )

  it.live("with a byte order mark is read, and text of another encoding is refused", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* accepted("\uFEFFa: 1"), [{ a: 1 }])
      const files = yield* FileSystem.FileSystem
      const folder = yield* files.makeTempDirectoryScoped()
      const read = (name: string, bytes: Uint8Array) =>
        Effect.andThen(
          files.writeFile(`${folder}/${name}`, bytes),
          Effect.result(readDocuments([`${folder}/${name}`])),
        )
      assert.propertyVal(yield* read("bom.yaml", Buffer.from("\uFEFFa: 1")), "_tag", "Success")
      for (const [name, bytes] of [
        ["utf16.yaml", Buffer.from("\uFEFFa: 1", "utf16le")],
        ["latin1.yaml", Buffer.from("a: \xe9", "latin1")],
        ["half.yaml", Buffer.from([0x61, 0x3a, 0x20, 0xf0, 0x9f])],
      ] as const) {
        const error = yield* Effect.flip(Effect.flatMap(read(name, bytes), Effect.fromResult))
        assert.match(error.message, /no UTF-8/, name)
      }
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)),
  )

  it.live("without an end is read up to the limit, and a pipe like a file", () =>
    Effect.gen(function* () {
      const endless = yield* Effect.flip(readDocuments(["/dev/zero"]))
      assert.match(endless.message, /larger than/)
      const files = yield* FileSystem.FileSystem
      const pipe = `${yield* files.makeTempDirectoryScoped()}/pipe`
      childProcess.execFileSync("mkfifo", [pipe])
      const writer = fs.promises.writeFile(pipe, "a: 1\n---\nb: 2\n")
      assert.lengthOf(yield* readDocuments([pipe]), 2)
      yield* Effect.promise(() => writer)
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)),
  )

  it("of any bytes gives documents that JSON can carry, or an error with its place", () => {
    const word = fc.constantFrom(
      ..."- : ? ! & * | > % @ ` \" ' # , [ ] { } \n \t \r \0 \uFEFF \u2028 \x85 \ud83d".split(" "),
      "a",
      "&a ",
      "*a",
      "---\n",
      "...\n",
      "!!map ",
      "!!binary ",
      "<<: ",
      "%YAML 1.2\n",
      "  ",
      "a: ",
      "- ",
    )
    fc.assert(
      fc.property(fc.array(word, { maxLength: 40 }), (words) => {
        const exit = Effect.runSyncExit(parseDocuments("x.yaml", words.join("")))
        if (Exit.isSuccess(exit)) {
          for (const { value } of exit.value) assert.isString(JSON.stringify(value))
          return
        }
        for (const reason of exit.cause.reasons) {
          assert(reason._tag === "Fail", `a defect: ${JSON.stringify(reason)}`)
          assert.match(reason.error.source, /^x\.yaml/)
        }
      }),
      { numRuns: 1_500 },
    )
  })
})
