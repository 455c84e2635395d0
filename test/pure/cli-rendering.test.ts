import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { Cause } from "effect"
import { NetworkInterfaceKind } from "#protocol/resource/NetworkInterface.ts"
import { NetworkKind } from "#protocol/resource/Network.ts"
import type { Manifest } from "#protocol/resource/Resource.ts"
import { failed, misused, renderProblem, verdictOf } from "#runtime/cli/Failure.ts"
import { parseDuration } from "#runtime/cli/Flags.ts"
import { formatMicros } from "#runtime/cli/Micros.ts"
import { renderManifests, tableOf } from "#runtime/cli/Render.ts"
import { expandShortFlags } from "#runtime/cli/ShortFlags.ts"
import * as Table from "#runtime/cli/Table.ts"
import { GatewayProblem } from "#runtime/gateway/GatewayStatus.ts"
import { formatLine } from "#runtime/telemetry/Logging.ts"

const network = (name: string, namespace = "default"): Manifest => ({
  apiVersion: "networking.ironcore.dev/v1alpha1",
  kind: "Network",
  metadata: { name, namespace, uid: `uid-${name}`, generation: 1, creationTimestamp: "2026-01-01T00:00:00Z" },
  spec: {},
  status: { state: "Available" },
})

const nowMicros = 1_767_225_600_000_000 + 90_000_000

describe("a table", () => {
  it("has a line of capitals, columns three spaces apart and no trailing blanks", () => {
    const table = tableOf(NetworkKind, [network("blue"), network("a-longer-name")], {
      wide: false,
      namespaces: false,
      nowMicros,
    })
    assert.strictEqual(
      Table.render(table),
      [
        "NAME            STATE       PROVIDERID   AGE",
        "blue            Available   <none>       90s",
        "a-longer-name   Available   <none>       90s",
      ].join("\n"),
    )
  })

  it("shows the namespace over all namespaces, more columns when wide, no header when told", () => {
    const options = { wide: true, namespaces: true, nowMicros }
    const table = tableOf(NetworkKind, [network("blue", "prod")], options)
    assert.deepStrictEqual(table.columns.slice(0, 2), ["NAMESPACE", "NAME"])
    assert.include(table.columns, "VNI")
    assert.isTrue(Table.render(table, false).startsWith("prod   blue"))
    assert.include(tableOf(NetworkInterfaceKind, [], options).columns, "NODE")
  })

  it("keeps later rows in the columns of the first", () => {
    const least = Table.widths([
      ["NAME", "STATE"],
      ["blue", "Available"],
    ])
    assert.strictEqual(Table.renderRows([["x", "y"]], least), "x      y")
  })

  it("renders any text as one line a row, without control characters", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.string(), { minLength: 2, maxLength: 2 }), { minLength: 1, maxLength: 5 }),
        (rows) => {
          const text = Table.renderRows(rows)
          // oxlint-disable-next-line no-control-regex
          assert.isFalse(/[\u0000-\u0009\u000b-\u001f\u007f]/.test(text))
          assert.strictEqual(text.split("\n").length, rows.length)
        },
      ),
    )
  })
})

describe("other formats", () => {
  it("print one resource as itself and several as a List", () => {
    assert.strictEqual(JSON.parse(renderManifests([network("blue")], "json", true)).kind, "Network")
    const list = JSON.parse(renderManifests([network("blue"), network("red")], "json", false))
    assert.deepStrictEqual([list.kind, list.items.length], ["List", 2])
    assert.include(renderManifests([network("blue")], "yaml", true), "kind: Network\nmetadata:\n  name: blue")
    assert.strictEqual(
      renderManifests([network("blue"), network("red")], "name", false),
      "network/blue\nnetwork/red",
    )
  })
})

describe("an error", () => {
  const problem = (fields: Partial<GatewayProblem>) =>
    new GatewayProblem({
      status: "INTERNAL",
      message: "",
      violations: [],
      reason: "",
      resource: "",
      ...fields,
    })

  it("names the file, the fields, the rules and the fixes", () => {
    const lines = renderProblem(
      problem({
        status: "INVALID_ARGUMENT",
        message: "NetworkInterface default/nic-a is not valid: spec.ips[0].value: …",
        violations: [{ field: "spec.ips[0].value", reason: "Invalid", message: "must be an IP address" }],
      }),
      "nic.yaml:12",
    )
    assert.deepStrictEqual(lines, [
      "nic.yaml:12: NetworkInterface default/nic-a is not valid",
      "  spec.ips[0].value: must be an IP address (Invalid)",
    ])
  })

  it("ends with status 1 where the region refuses, 2 where the command line is wrong, 130 on Ctrl-C", () => {
    assert.strictEqual(verdictOf(Cause.fail(failed("no"))).exitCode, 1)
    assert.strictEqual(verdictOf(Cause.fail(problem({ message: "no" }))).exitCode, 1)
    assert.strictEqual(verdictOf(Cause.fail(misused("what?"))).exitCode, 2)
    assert.strictEqual(verdictOf(Cause.interrupt()).exitCode, 130)
    assert.deepStrictEqual(verdictOf(Cause.fail(failed("a", ["b"]))).lines, ["Error: a", "b"])
  })

  it("is called a defect of ferrite when it is one", () => {
    const { exitCode, lines } = verdictOf(Cause.die(new TypeError("x is not a function")))
    assert.strictEqual(exitCode, 1)
    assert.include(lines[0], "defect")
  })
})

describe("small texts", () => {
  it("takes short flags with their value attached, as kubectl does", () => {
    assert.deepStrictEqual(expandShortFlags(["get", "nics", "-owide", "-nprod", "-w", "-f-"]), [
      "get",
      "nics",
      "-o",
      "wide",
      "-n",
      "prod",
      "-w",
      "-f",
      "-",
    ])
    assert.deepStrictEqual(expandShortFlags(["-o=json", "--output", "x", "--", "-owide"]), [
      "-o=json",
      "--output",
      "x",
      "--",
      "-owide",
    ])
  })

  it("reads durations with a unit, and bare numbers as seconds", () => {
    for (const wrong of ["", "x", "-1s", "1d", "1.5s"]) assert.isUndefined(parseDuration(wrong))
    assert.strictEqual(Number(parseDuration("500ms") && 500), 500)
    assert.isDefined(parseDuration("30"))
  })

  it("writes microseconds in the unit that reads best", () => {
    assert.deepStrictEqual([850, 12_400, 1_250_000].map(formatMicros), ["850 µs", "12.4 ms", "1.25 s"])
  })

  it("logs one line an entry, whatever it holds", () => {
    fc.assert(
      fc.property(fc.string(), fc.anything(), fc.string(), (message, value, annotation) => {
        const line = formatLine({
          time: "2026-01-01T00:00:00.000Z",
          level: "Info",
          messages: [message, { value }],
          annotations: { annotation },
          cause: "",
        })
        assert.isFalse(line.includes("\n"))
        assert.isAtMost(line.length, 4096)
      }),
    )
    const line = formatLine({
      time: "T",
      level: "Warn",
      messages: ["a peer left", { peer: "x y" }],
      annotations: {},
      cause: "",
    })
    assert.strictEqual(line, 'T WARN  a peer left peer="x y"')
  })
})
