import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { bashNames } from "#runtime/cli/CompletionNames.ts"

/** What bash offers for words, where the generated completion offers nothing and the region has what `names` says. */
const offered = (words: ReadonlyArray<string>, names = "") => {
  const script = `
_ferrite() { COMPREPLY=(); }
${bashNames()}
_ferrite_names() { [[ "$1" == "${names.split(":")[0]}" ]] && echo "${names.split(":")[1] ?? ""}"; }
COMP_WORDS=(${words.map((word) => `"${word}"`).join(" ")})
COMP_CWORD=${words.length - 1}
_ferrite_all
echo "\${COMPREPLY[*]}"`
  const { status, stdout, stderr } = spawnSync("bash", ["-c", script], { encoding: "utf8" })
  assert.strictEqual(status, 0, stderr)
  return stdout.trim().split(" ")
}

describe("completion in bash", () => {
  it("offers kinds, and routes where they can be asked for", () => {
    assert.includeMembers(offered(["ferrite", "get", ""]), ["networks", "nics", "nodes", "routes"])
    assert.notInclude(offered(["ferrite", "describe", ""]), "routes")
    assert.deepStrictEqual(offered(["ferrite", "get", "netw"]), ["networks", "networkinterfaces"])
  })

  it("offers the names that the region has", () => {
    assert.deepStrictEqual(offered(["ferrite", "get", "nics", "nic-"], "nics:nic-a nic-b host-1"), [
      "nic-a",
      "nic-b",
    ])
    assert.deepStrictEqual(offered(["ferrite", "attach", ""], "networkinterfaces:nic-a"), ["nic-a"])
    assert.deepStrictEqual(offered(["ferrite", "attach", "nic-a", "--node", ""], "nodes:host-1"), ["host-1"])
  })
})
