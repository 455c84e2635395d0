/** The layers of `ResourceStore`, for whoever assembles a region. */
export { layer as layerMemory } from "./MemoryStore.ts"
export { layerSqlite, type SqliteStoreOptions } from "./SqlStore.ts"
export type { StoreOptions } from "./StoreOptions.ts"
