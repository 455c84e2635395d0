/** The version of this program, from package.json. */
import { createRequire } from "node:module"

const read: unknown = createRequire(import.meta.url)("../../../package.json")

export const version: string =
  typeof read === "object" && read !== null && "version" in read ? String(read.version) : "0.0.0"
