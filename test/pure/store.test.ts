import { layerMemory, layerSqlite } from "#runtime/store/Store.ts"
import { storeContract } from "./store-contract.ts"

storeContract("memory", layerMemory)
storeContract("sqlite", (options) => layerSqlite({ ...options, filename: ":memory:" }))
