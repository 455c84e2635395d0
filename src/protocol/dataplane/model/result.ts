/** What an operation answers, and the checks that operations share. */
import { type OperationResult, statusCodes } from "../Dataplane.ts"
import { bytesOf, format, isZero, parseAddress, parseIpv6 } from "./address.ts"
import { find } from "./find.ts"
import { type Endpoint, giveIndex, limits, type ModelState, takeIndex } from "./tables.ts"
import { isOwnPrefix, underlayAddressOf, type UnderlayType } from "./underlay.ts"
import { HashMap } from "effect"

export interface Step {
  readonly state: ModelState
  readonly result: OperationResult
}

const codeNames: ReadonlyMap<number, string> = new Map(
  Object.entries(statusCodes).map(([name, code]) => [code, name]),
)

/** Message of a code: "Success", or its name. */
export const messageOf = (code: number): string =>
  code === 0 ? "Success" : (codeNames.get(code) ?? `${code}`)

export const done = (state: ModelState, underlayAddress?: string): Step => ({
  state,
  result: {
    code: 0,
    message: messageOf(0),
    ...(underlayAddress === undefined ? {} : { underlayAddress }),
  },
})
export const failed = (state: ModelState, code: number, message = messageOf(code)): Step => ({
  state,
  result: { code, message },
})
export const invalid = (state: ModelState, text: string): Step =>
  failed(state, statusCodes.INVALID_ARGUMENT, text)

/** Names are C strings in the native engine: bounded bytes, none of them zero. */
export const named = (text: string, least: number, most: number): boolean => {
  const size = new TextEncoder().encode(text).length
  return size >= least && size <= most && !text.includes("\0")
}

/** The underlay address that is wanted, canonical; `undefined`: any; "invalid": not one that a client may choose. */
export const wantedAddress = (
  state: ModelState,
  text: string | undefined,
): string | undefined | { readonly invalid: true } => {
  if (text === undefined || text === "") return undefined
  const bytes = parseIpv6(text)
  if (bytes === undefined) return { invalid: true }
  if (isZero(bytes)) return undefined
  const chosen = ((bytes[10] ?? 0) & 0x80) !== 0
  return chosen && isOwnPrefix(state, format(bytes)) ? format(bytes) : { invalid: true }
}

/** An address of either family that is one. */
export const realAddress = (text: string): ReturnType<typeof parseAddress> => {
  const address = parseAddress(text)
  return address === undefined || isZero(address.bytes) ? undefined : address
}

export const badWanted = "Invalid preferred_underlay_route"

/** An underlay address for an endpoint; `undefined`: taken, or none is free. */
export const giveAddress = (
  state: ModelState,
  type: UnderlayType,
  wanted: string | undefined,
  endpoint: Endpoint,
): { readonly state: ModelState; readonly address: string } | undefined => {
  const put = (from: ModelState, address: string) => ({
    state: { ...from, underlay: HashMap.set(from.underlay, address, endpoint) },
    address,
  })
  if (wanted !== undefined) return HashMap.has(state.underlay, wanted) ? undefined : put(state, wanted)
  const taken = takeIndex(state.indices[type], limits.endpoints)
  if (taken === undefined) return undefined
  return put(
    { ...state, indices: { ...state.indices, [type]: taken.indices } },
    underlayAddressOf(state.config, taken.index, taken.generation, type),
  )
}

/** Nobody has it any more. */
export const takeAddress = (state: ModelState, type: UnderlayType, address: string): ModelState => {
  const underlay = HashMap.remove(state.underlay, address)
  const bytes = bytesOf(address)
  if ((bytes[10] ?? 0) !== 0) return { ...state, underlay }
  const index = (bytes[13] ?? 0) * 0x1_0000 + (bytes[14] ?? 0) * 0x100 + (bytes[15] ?? 0)
  return {
    ...state,
    underlay,
    indices: { ...state.indices, [type]: giveIndex(state.indices[type], index) },
  }
}

/** A state with one more or one less entry in its digest. */
export const digested = (state: ModelState, ...entries: ReadonlyArray<bigint>): ModelState => ({
  ...state,
  digest: entries.reduce((sum, entry) => sum ^ entry, state.digest),
})

export const isInvalid = (value: unknown): value is { readonly invalid: true } =>
  typeof value === "object" && value !== null && "invalid" in value

export const interfaceNamed = (state: ModelState, id: string) => find(state.interfaces, id)
