/** The dataplane contract, against the native engine: two processes, a wire, and TAP devices. */
import { describe, it } from "vitest"
import { dataplaneContract } from "../contract/dataplane.ts"
import { layerNativeHosts, missing } from "./native-hosts.ts"

const lacking = missing()
if (lacking === undefined) dataplaneContract("the native engine", layerNativeHosts)
else
  describe("the native engine", () => {
    it.skip(`needs ${lacking}`, () => undefined)
  })
