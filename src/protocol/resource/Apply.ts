/**
 * What an Apply makes of the stored manifest: merge, count generations, hold what may not change.
 *
 * Pure: the resource's actor calls it with what it read, and writes the outcome.
 */
import { Result } from "effect"
import { formatTime } from "./Conditions.ts"
import type { AppliedManifest } from "./Decode.ts"
import { isObject, type JsonObject, sameJson } from "./Json.ts"
import { kindOf } from "./Kinds.ts"
import type { Manifest, Metadata } from "./Resource.ts"
import { InvalidManifest, makeReport } from "./Violation.ts"

/** What an Apply makes of the stored manifest. `changed` false: nothing is to be written. */
export interface Applied {
  readonly manifest: Manifest
  readonly outcome: "Created" | "Configured" | "Unchanged"
  readonly changed: boolean
}

/** Whether the step from `stored` to `next` is allowed, beyond what `next` alone has to satisfy. */
export const validateUpdate = (stored: Manifest, next: Manifest): Result.Result<void, InvalidManifest> => {
  const report = makeReport()
  const kind = kindOf(next.kind)
  kind?.immutable(stored.spec, next.spec, report)
  const violations = report.violations()
  if (violations.length === 0) return Result.succeed(undefined)
  return Result.fail(new InvalidManifest({ subject: subjectOf(next), violations }))
}

const subjectOf = ({ kind, metadata }: Manifest): string =>
  `${kind} ${metadata.namespace === undefined ? "" : `${metadata.namespace}/`}${metadata.name}`

/**
 * The manifest to store: labels, annotations and spec are the applied ones, what the region sets stays. `nowMicros`
 * and `uid` are for a resource that is not there yet. Fails where something immutable would change, or where the
 * document names the uid of another resource.
 */
export const apply = (
  stored: Manifest | undefined,
  applied: AppliedManifest,
  nowMicros: number,
  uid: string,
): Result.Result<Applied, InvalidManifest> => {
  const { kind, namespace, name } = applied.key
  const definition = kindOf(kind)
  const spec: JsonObject = isObject(applied.spec) ? { ...applied.spec } : {}
  for (const field of definition?.keptFields ?? []) {
    const present = isObject(stored?.spec) ? stored.spec[field] : undefined
    if (spec[field] === undefined && present !== undefined) spec[field] = present
  }
  const specChanged = stored === undefined || !sameJson(stored.spec, spec)
  const before: Metadata = stored?.metadata ?? {
    name,
    ...(namespace === "" ? {} : { namespace }),
    uid,
    generation: 0,
    creationTimestamp: formatTime(nowMicros),
  }
  const { labels: _labels, annotations: _annotations, ...kept } = before
  const manifest: Manifest = {
    apiVersion: applied.apiVersion,
    kind,
    metadata: {
      ...kept,
      generation: before.generation + (specChanged ? 1 : 0),
      ...(isEmpty(applied.labels) ? {} : { labels: applied.labels }),
      ...(isEmpty(applied.annotations) ? {} : { annotations: applied.annotations }),
    },
    spec,
    status: stored?.status ?? definition?.initialStatus,
  }
  if (applied.uid !== undefined && applied.uid !== before.uid && stored !== undefined) {
    const message = `names ${applied.uid}, but the resource of this name is ${before.uid}; remove metadata.uid to change it`
    const violations = [{ field: "metadata.uid", reason: "Invalid" as const, message }]
    return Result.fail(new InvalidManifest({ subject: subjectOf(manifest), violations }))
  }
  const allowed = stored === undefined ? Result.succeed(undefined) : validateUpdate(stored, manifest)
  return Result.map(allowed, (): Applied => {
    const changed = stored === undefined || !sameJson(stored, manifest)
    return {
      manifest,
      outcome: stored === undefined ? "Created" : changed ? "Configured" : "Unchanged",
      changed,
    }
  })
}

const isEmpty = (map: Readonly<Record<string, string>>): boolean => Object.keys(map).length === 0
