/**
 * From a document to a stored manifest: decode, fill in, check, merge with what is there.
 *
 * `decodeManifest` needs nothing but the document; `apply` is what the resource's actor does with the result. Both
 * are pure. Status and metadata that the region sets are dropped from a document, so that what `get -o json` prints
 * can be applied again. Strict: a field that a kind does not have is refused.
 */
import { Result, Schema } from "effect"
import { formatTime } from "./Conditions.ts"
import { isObject, type JsonObject, plain, sameJson } from "./Json.ts"
import type { AnyKind } from "./Kind.ts"
import { kindOf, kinds } from "./Kinds.ts"
import { Annotations, DnsLabel, Labels } from "./Names.ts"
import type { Manifest, Metadata, ResourceKey } from "./Resource.ts"
import { InvalidManifest, makeReport, type Report, reportIssue } from "./Violation.ts"

/** A manifest as a user may write it, decoded and defaulted. */
export interface AppliedManifest {
  readonly key: ResourceKey
  readonly apiVersion: string
  readonly labels: Readonly<Record<string, string>> | undefined
  readonly annotations: Readonly<Record<string, string>> | undefined
  readonly spec: JsonObject
  /** Of the resource that is meant, where the document says it: another one is not changed. */
  readonly uid: string | undefined
}

export interface DecodeOptions {
  /** For a manifest that names none. Omitted: `default`. */
  readonly namespace?: string
}

/** Documents of one request. */
export const maxManifests = 1000

const AppliedMetadata = Schema.Struct({
  name: Schema.optionalKey(Schema.String),
  namespace: Schema.optionalKey(DnsLabel),
  labels: Schema.optionalKey(Labels),
  annotations: Schema.optionalKey(Annotations),
  uid: Schema.optionalKey(Schema.String),
})

/** Set by the region, dropped from documents. */
const serverMetadata = [
  "resourceVersion",
  "generation",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "finalizers",
  "managedFields",
  "selfLink",
]

/** Known to Kubernetes, but given a meaning that the region does not keep. */
const refusedMetadata: ReadonlyArray<readonly [string, string]> = [
  ["generateName", "is not supported; set metadata.name"],
  ["ownerReferences", "is not supported: nothing is deleted with its owner; remove it"],
]

const strict = { errors: "all", onExcessProperty: "error" } as const

/** A wrong value hides what is around it once for each level of checks, of which no schema has more. */
const rounds = 4

/** Checks a part. What is wrong is reported and cut out of `json`. */
const checkPart = (
  schema: Schema.Codec<unknown>,
  json: unknown,
  path: ReadonlyArray<string>,
  report: Report,
): void => {
  for (let round = 0; round < rounds; round++) {
    const decoded = Schema.decodeUnknownResult(schema)(json, strict)
    if (Result.isSuccess(decoded) || !reportIssue(decoded.failure.issue, json, path, report)) return
  }
}

const describeSubject = (document: unknown): string => {
  const text = (value: unknown, fallback: string) =>
    typeof value === "string" && value !== "" ? value.slice(0, 100) : fallback
  if (!isObject(document)) return "document"
  const metadata = isObject(document["metadata"]) ? document["metadata"] : {}
  const namespace = typeof metadata["namespace"] === "string" ? `${text(metadata["namespace"], "")}/` : ""
  return `${text(document["kind"], "manifest")} ${namespace}${text(metadata["name"], "without name")}`
}

const findKindOf = (document: JsonObject, report: Report): AnyKind | undefined => {
  const { kind: name, apiVersion } = document
  const served = kinds.map(({ kind }) => kind).join(", ")
  const kind = typeof name === "string" ? kindOf(name) : undefined
  if (name === undefined || name === "") report.add(["kind"], "Required", `is missing; served are ${served}`)
  else if (typeof name !== "string") report.add(["kind"], "TypeInvalid", "must be a string")
  else if (kind === undefined) {
    report.add(
      ["kind"],
      "NotSupported",
      `${JSON.stringify(name.slice(0, 80))} is not served; served are ${served}`,
    )
  }
  const rule = kind === undefined ? "" : `; must be ${kind.apiVersion}`
  if (apiVersion === undefined || apiVersion === "")
    report.add(["apiVersion"], "Required", `is missing${rule}`)
  else if (typeof apiVersion !== "string")
    report.add(["apiVersion"], "TypeInvalid", `must be a string${rule}`)
  else if (kind !== undefined && apiVersion !== kind.apiVersion) {
    report.add(
      ["apiVersion"],
      "NotSupported",
      `${JSON.stringify(apiVersion.slice(0, 80))} is not served for ${kind.kind}${rule}`,
    )
  }
  return kind
}

const decodeMetadata = (document: JsonObject, kind: AnyKind, report: Report, options: DecodeOptions) => {
  const given = document["metadata"]
  const metadata: JsonObject = isObject(given) ? given : {}
  if (given === undefined) report.add(["metadata"], "Required", "is missing; set metadata.name")
  else if (!isObject(given)) report.add(["metadata"], "TypeInvalid", "must be an object")
  for (const field of serverMetadata) delete metadata[field]
  for (const [field, message] of refusedMetadata) {
    if (metadata[field] !== undefined) report.add(["metadata", field], "Forbidden", message)
    delete metadata[field]
  }
  checkPart(AppliedMetadata, metadata, ["metadata"], report)

  const { name, namespace } = metadata as { readonly name?: string; readonly namespace?: string }
  if (name === undefined || name === "") {
    if (isObject(given)) report.add(["metadata", "name"], "Required", "is missing")
  } else {
    const problem = kind.nameProblem(name)
    if (problem !== undefined)
      report.add(["metadata", "name"], "Invalid", `${JSON.stringify(name.slice(0, 300))} ${problem}`)
  }
  if (!kind.namespaced && namespace !== undefined) {
    report.add(
      ["metadata", "namespace"],
      "Forbidden",
      `may not be set: a ${kind.kind} has no namespace; remove it`,
    )
  }
  return {
    metadata,
    name: name ?? "",
    namespace: kind.namespaced ? (namespace ?? options.namespace ?? "default") : "",
  }
}

/**
 * One manifest from parsed JSON or YAML, with all that is wrong with it. The document is not changed.
 */
export const decodeManifest = (
  document: unknown,
  options: DecodeOptions = {},
): Result.Result<AppliedManifest, InvalidManifest> => {
  const report = makeReport()
  const failed = () =>
    Result.fail(new InvalidManifest({ subject: describeSubject(document), violations: report.violations() }))

  const json = plain(document, report)
  if (!isObject(json)) {
    report.add([], "TypeInvalid", "must be an object with apiVersion, kind, metadata and spec")
    return failed()
  }
  const kind = findKindOf(json, report)
  if (kind === undefined) return failed()

  const { metadata, name, namespace } = decodeMetadata(json, kind, report, options)
  for (const field of Object.keys(json)) {
    if (["apiVersion", "kind", "metadata", "spec", "status"].includes(field)) continue
    report.add([field], "NotSupported", "unknown field; known here: apiVersion, kind, metadata, spec, status")
  }
  const spec: unknown = json["spec"] ?? {}
  if (!isObject(spec)) {
    report.add(["spec"], "TypeInvalid", "must be an object")
    return failed()
  }
  kind.defaults(spec)
  checkPart(kind.spec, spec, ["spec"], report)
  kind.rules(spec, { namespace, name }, report)
  if (report.violations().length > 0) return failed()

  return Result.succeed({
    key: { kind: kind.kind, namespace, name },
    apiVersion: kind.apiVersion,
    labels: metadata["labels"] as AppliedManifest["labels"],
    annotations: metadata["annotations"] as AppliedManifest["annotations"],
    spec,
    uid: metadata["uid"] as string | undefined,
  })
}

/**
 * Documents of one file or request: each alone, or a `List` of them. Empty documents are left out. A document that
 * is not valid does not hide the others.
 */
export const decodeManifests = (
  documents: ReadonlyArray<unknown>,
  options: DecodeOptions = {},
): ReadonlyArray<Result.Result<AppliedManifest, InvalidManifest>> => {
  const flat = documents.flatMap((document) => {
    if (document === null || document === undefined) return []
    const isList = isObject(document) && document["kind"] === "List" && Array.isArray(document["items"])
    return isList ? (document["items"] as ReadonlyArray<unknown>) : [document]
  })
  if (flat.length > maxManifests) {
    const message = `has ${flat.length} manifests; must have at most ${maxManifests}`
    return [
      Result.fail(
        new InvalidManifest({
          subject: "documents",
          violations: [{ field: "", reason: "Invalid", message }],
        }),
      ),
    ]
  }
  return flat.map((document) => decodeManifest(document, options))
}

/** What an Apply makes of the stored manifest. `changed` false: nothing is to be written. */
export interface Outcome {
  readonly manifest: Manifest
  readonly outcome: "created" | "configured" | "unchanged"
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
): Result.Result<Outcome, InvalidManifest> => {
  const { kind, namespace, name } = applied.key
  const definition = kindOf(kind)
  const spec: JsonObject = { ...applied.spec }
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
  return Result.map(allowed, (): Outcome => {
    const changed = stored === undefined || !sameJson(stored, manifest)
    return {
      manifest,
      outcome: stored === undefined ? "created" : changed ? "configured" : "unchanged",
      changed,
    }
  })
}

const isEmpty = (map: Readonly<Record<string, string>> | undefined): map is undefined =>
  map === undefined || Object.keys(map).length === 0
