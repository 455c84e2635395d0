/** What every layer of the store may be told: how much of the past it keeps. */
export interface StoreOptions {
  /** Changes that the feed keeps at least; older ones are compacted on the way. Default 100,000. */
  readonly keepChanges?: number
  /** Command results that are kept, the newest. Default 100,000. */
  readonly keepCommands?: number
}

export const resolveOptions = (options: StoreOptions | undefined): Required<StoreOptions> => ({
  keepChanges: options?.keepChanges ?? 100_000,
  keepCommands: options?.keepCommands ?? 100_000,
})

/** How far the feed may outgrow `keepChanges` before it is cut: many small cuts would cost more than one. */
export const feedSlack = (keepChanges: number): number => Math.max(1, Math.min(1_000, keepChanges / 10))
