/**
 * What a kind has to say about itself, so that everything else works on any kind: decoding, applying, tables.
 *
 * A kind file (Network.ts, …) defines one; `Kinds.ts` registers all. The parts run in this order on an applied
 * manifest: `defaults` on the plain JSON of its spec, `spec` as schema, `rules` on what the schema found good, and
 * `immutable` against what is stored.
 */
import { DateTime, Option, type Schema } from "effect"
import type { JsonObject } from "./Json.ts"
import type { Manifest, ResourceKey } from "./Resource.ts"
import type { Partly, Report } from "./Violation.ts"

/** A column of `get`. `value` is total; it gets the manifest as stored and the present time. */
export interface Column<M = Manifest> {
  readonly name: string
  /** Shown with `-o wide` only. */
  readonly wide: boolean
  readonly value: (manifest: M, nowMicros: number) => string
}

export interface Owner {
  readonly namespace: string
  readonly name: string
}

export interface Kind<Spec extends object, M extends Manifest & { readonly spec: Spec }> {
  readonly kind: string
  readonly apiVersion: string
  readonly plural: string
  readonly singular: string
  readonly shortNames: ReadonlyArray<string>
  readonly namespaced: boolean
  /** Rule that a name breaks, or undefined. */
  readonly nameProblem: (name: string) => string | undefined
  readonly spec: Schema.Codec<Spec>
  /** A manifest as it is kept. */
  readonly manifest: Schema.Codec<M>
  /** Fills in what may be left out, and writes addresses in their one form. Changes its argument; takes anything. */
  readonly defaults: (spec: JsonObject) => void
  /** How values must fit together. */
  readonly rules: (spec: Partly<Spec>, owner: Owner, report: Report) => void
  /** What may not change from the stored spec to the next. */
  readonly immutable: (stored: Spec, next: Spec, report: Report) => void
  /** Fields of spec that the region sets: a manifest that omits them leaves them as they are. */
  readonly keptFields: ReadonlyArray<string>
  readonly initialStatus: M["status"]
  /** What it names, whether that exists or not; without duplicates. */
  readonly references: (manifest: M) => ReadonlyArray<ResourceKey>
  readonly columns: ReadonlyArray<Column<M>>
}

/** Checks a definition; kinds are handled as `AnyKind` afterwards. */
export const defineKind = <Spec extends object, M extends Manifest & { readonly spec: Spec }>(
  kind: Kind<Spec, M>,
): Kind<Spec, M> => kind

// oxlint-disable-next-line typescript/no-explicit-any
export type AnyKind = Kind<any, any>

/** Seconds since the epoch; 0 where the text is no time. */
/** Age of an RFC 3339 timestamp, in seconds; 0 where the text is none. */
const ageOf = (timestamp: string, nowMicros: number): number =>
  Option.match(DateTime.make(timestamp), {
    onNone: () => 0,
    onSome: (since) => Math.floor(nowMicros / 1_000_000) - Math.floor(DateTime.toEpochMillis(since) / 1000),
  })

/** `95s`, `4m10s`, `5h`, `3d4h`: coarser with age, as kubectl prints it. */
export const formatAge = (seconds: number): string => {
  const pair = (n: number, big: string, m: number, small: string) =>
    m === 0 ? `${n}${big}` : `${n}${big}${m}${small}`
  const minutes = Math.floor(seconds / 60)
  const hours = Math.floor(seconds / 3600)
  const days = Math.floor(seconds / 86_400)
  if (seconds < 120) return `${Math.max(0, Math.floor(seconds))}s`
  if (minutes < 10) return pair(minutes, "m", Math.floor(seconds % 60), "s")
  if (minutes < 180) return `${minutes}m`
  if (hours < 8) return pair(hours, "h", minutes % 60, "m")
  if (hours < 48) return `${hours}h`
  if (days < 8) return pair(days, "d", hours % 24, "h")
  if (days < 730) return `${days}d`
  return `${Math.floor(days / 365)}y`
}

export const nameColumn: Column = { name: "NAME", wide: false, value: ({ metadata }) => metadata.name }

export const ageColumn: Column = {
  name: "AGE",
  wide: false,
  value: ({ metadata }, nowMicros) => formatAge(ageOf(metadata.creationTimestamp, nowMicros)),
}

/** `status.state`, or that the resource is on its way out. */
export const stateColumn: Column = {
  name: "STATE",
  wide: false,
  value: ({ metadata, status }) =>
    metadata.deletionTimestamp === undefined
      ? ((status as { readonly state?: string } | undefined)?.state ?? "<unknown>")
      : "Deleting",
}
