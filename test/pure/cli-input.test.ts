import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { Effect, Exit, FileSystem } from "effect"
import { inApplyOrder } from "#runtime/cli/ApplyOrder.ts"
import { parseDocuments, readDocuments } from "#runtime/cli/Documents.ts"
import { keyIn, nameOf, parseTargets } from "#runtime/cli/Targets.ts"
import { NodeKind } from "#protocol/resource/Node.ts"

const parse = (text: string) => parseDocuments("x.yaml", text)

describe("manifests", () => {
  it.effect("are read from YAML with many documents, each with the line where it begins", () =>
    Effect.gen(function* () {
      const documents = yield* parse("# first\nkind: A\n---\n---\n\nkind: B\nspec: {a: [1]}\n")
      assert.deepStrictEqual(
        documents.map(({ source, value }) => [source, value]),
        [
          ["x.yaml:2", { kind: "A" }],
          ["x.yaml:6", { kind: "B", spec: { a: [1] } }],
        ],
      )
    }),
  )

  it.effect("are read from JSON and out of Lists", () =>
    Effect.gen(function* () {
      const documents = yield* parse('{"kind": "NetworkList", "items": [{"kind": "A"}, {"kind": "B"}]}')
      assert.deepStrictEqual(
        documents.map(({ value }) => value),
        [{ kind: "A" }, { kind: "B" }],
      )
    }),
  )

  it.effect("that are no YAML are refused with line and column", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(parse("kind: A\nspec: [1, 2\nmore: {"))
      assert.match(error.source, /^x\.yaml:\d+:\d+$/)
      const twice = yield* Effect.flip(parse("kind: A\nkind: B\n"))
      assert.include(twice.message, "unique")
    }),
  )

  it.effect("do not blow up by aliases", () =>
    Effect.gen(function* () {
      const levels = Array.from({ length: 12 }, (_, n) => `l${n + 1}: &l${n + 1} [${`*l${n},`.repeat(10)}]`)
      const error = yield* Effect.flip(parse(`l0: &l0 [x]\n${levels.join("\n")}\n`))
      assert.include(error.message, "alias")
    }),
  )

  it.effect("of any text give documents or an error, never a defect", () =>
    Effect.sync(() =>
      fc.assert(
        fc.property(
          fc.oneof(fc.string(), fc.json(), fc.string({ unit: fc.constantFrom(..."-:{}[]&*!|>'\"\n \tab") })),
          (text) => {
            const exit = Effect.runSyncExit(parse(text))
            assert.isTrue(Exit.isSuccess(exit) || exit.cause.reasons.every(({ _tag }) => _tag === "Fail"))
          },
        ),
        { numRuns: 300 },
      ),
    ),
  )

  it("are applied after what they refer to, else as they were read", () => {
    const kinds = ["NetworkInterface", "Pod", "Network", "NetworkInterface", "Node", "Network", undefined]
    const read = kinds.map((kind, index) => ({ source: String(index), value: { kind } }))
    const order = inApplyOrder([...read, { source: "7", value: null }, { source: "8", value: "text" }])
    assert.strictEqual(order.map(({ source }) => source).join(""), "425031678")
  })

  it.effect("are taken from files and folders in the order of their names", () =>
    Effect.gen(function* () {
      const files = yield* FileSystem.FileSystem
      const folder = yield* files.makeTempDirectoryScoped()
      yield* files.writeFileString(`${folder}/b.yaml`, "kind: B")
      yield* files.writeFileString(`${folder}/a.json`, '{"kind": "A"}')
      yield* files.writeFileString(`${folder}/notes.txt`, "kind: C")
      const documents = yield* readDocuments([folder, `${folder}/notes.txt`])
      assert.deepStrictEqual(
        documents.map(({ value }) => (value as { kind: string }).kind),
        ["A", "B", "C"],
      )
      const missing = yield* Effect.flip(readDocuments([`${folder}/none.yaml`]))
      assert.include(missing.message, "no such file")
      yield* files.writeFileString(`${folder}/empty.yaml`, "# nothing\n")
      assert.include((yield* Effect.flip(readDocuments([`${folder}/empty.yaml`]))).message, "no manifest")
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)),
  )
})

describe("what a command is about", () => {
  const parsed = (...words: ReadonlyArray<string>) =>
    Effect.map(parseTargets(words), (targets) =>
      targets.map(({ kind, names }) => [kind.kind, ...names].join(" ")),
    )

  it.effect("is named by plural, singular, short name, list or kind/name", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* parsed("nics"), ["NetworkInterface"])
      assert.deepStrictEqual(yield* parsed("nic", "a", "b"), ["NetworkInterface a b"])
      assert.deepStrictEqual(yield* parsed("networks,nodes"), ["Network", "Node"])
      assert.deepStrictEqual(yield* parsed("nic/a", "network/blue", "nic/b"), [
        "NetworkInterface a b",
        "Network blue",
      ])
      assert.strictEqual((yield* parsed("all")).length, 3)
    }),
  )

  it.effect("is refused as misuse where it is ambiguous or unknown", () =>
    Effect.gen(function* () {
      for (const words of [["pods"], ["nics,nodes", "a"], ["nic", "a/b"], ["nic/"], ["nic/a/b"], [","]]) {
        assert.strictEqual((yield* Effect.flip(parsed(...words))).exitCode, 2, words.join(" "))
      }
    }),
  )

  it.effect("is told where its kind is unknown, routes too", () =>
    Effect.gen(function* () {
      const { details } = yield* Effect.flip(parsed("pods"))
      assert.match(details.join(), /networks.*routes/)
      assert.include((yield* Effect.flip(parsed("nics,routes"))).message, "ferrite get routes")
    }),
  )

  it("has no namespace where its kind has none", () => {
    assert.strictEqual(keyIn(NodeKind, "default", "host-1").namespace, "")
    assert.strictEqual(nameOf({ kind: "NetworkInterface", name: "nic-a" }), "networkinterface/nic-a")
  })
})
