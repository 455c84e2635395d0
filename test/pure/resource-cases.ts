/** Short ways to decode documents in tests of resources. */
import { assert } from "@effect/vitest"
import { Result } from "effect"
import { readFileSync } from "node:fs"
import { parseAllDocuments } from "yaml"
import { apply } from "#protocol/resource/Apply.ts"
import { type AppliedManifest, decodeManifest } from "#protocol/resource/Decode.ts"
import type { Manifest } from "#protocol/resource/Resource.ts"
import type { Violation } from "#protocol/resource/Violation.ts"

export const networking = "networking.ironcore.dev/v1alpha1"

type Json = Record<string, unknown>

export const network = (spec?: Json, metadata: Json = {}): Json => ({
  apiVersion: networking,
  kind: "Network",
  metadata: { name: "blue", ...metadata },
  ...(spec === undefined ? {} : { spec }),
})

export const nic = (spec: Json = {}, metadata: Json = {}): Json => ({
  apiVersion: networking,
  kind: "NetworkInterface",
  metadata: { name: "nic-a", ...metadata },
  spec: { networkRef: { name: "blue" }, ipFamilies: ["IPv4"], ips: [{ value: "10.0.0.1" }], ...spec },
})

export const violationsOf = (document: unknown): ReadonlyArray<Violation> => {
  const decoded = decodeManifest(document)
  return Result.isFailure(decoded) ? decoded.failure.violations : []
}

/** `field reason`, in the order of the report. */
export const faults = (document: unknown): ReadonlyArray<string> =>
  violationsOf(document).map(({ field, reason }) => `${field} ${reason}`)

export const decoded = (document: unknown): AppliedManifest => {
  const result = decodeManifest(document)
  if (Result.isFailure(result)) return assert.fail(result.failure.message)
  return result.success
}

export const specOf = (document: unknown): Json => decoded(document).spec as Json

export const now = 1_700_000_000_000_000

export const stored = (document: unknown, before?: Manifest): Manifest => {
  const result = apply(before, decoded(document), now, "11111111-1111-4111-8111-111111111111")
  if (Result.isFailure(result)) return assert.fail(result.failure.message)
  return result.success.manifest
}

/** Faults of applying `next` where `first` is stored. */
export const updateFaults = (first: unknown, next: unknown): ReadonlyArray<string> => {
  const result = apply(stored(first), decoded(next), now, "unused")
  return Result.isFailure(result)
    ? result.failure.violations.map(({ field, reason }) => `${field} ${reason}`)
    : []
}

/** Documents of a YAML file, named from this folder. */
export const documentsOf = (path: string): ReadonlyArray<unknown> =>
  parseAllDocuments(readFileSync(new URL(path, import.meta.url), "utf8")).map((document) => document.toJS())

export const fixture = (name: string): ReadonlyArray<unknown> => documentsOf(`./fixtures/${name}`)
