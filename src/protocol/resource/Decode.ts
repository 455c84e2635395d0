/**
 * From a document to an applied manifest: make it plain, fill in, check.
 *
 * Strict: a field that a kind does not have is refused. Status and metadata that the region sets are dropped, so that
 * what `get -o json` prints can be applied again. What comes out goes to the resource's actor, which merges it with
 * what is stored (`Apply.ts`).
 */
import { Result, Schema } from "effect"
import { isObject, type JsonObject, plain } from "./Json.ts"
import type { AnyKind } from "./Kind.ts"
import { kindOf, kinds } from "./Kinds.ts"
import { Annotations, DnsLabel, Labels } from "./Names.ts"
import type { ResourceKey } from "./Resource.ts"
import { reportIssue } from "./SchemaReport.ts"
import { InvalidManifest, makeReport, type Report } from "./Violation.ts"

/** A manifest as a user gave it, decoded, defaulted and checked. It carries no status. */
export interface AppliedManifest {
  readonly key: ResourceKey
  readonly apiVersion: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  /** Satisfies the kind's schema. */
  readonly spec: unknown
  /** Of the resource that is meant, where the document says it: another one is not changed. */
  readonly uid: string | undefined
  /** Revision of the store that the document was read at, where it says so: whoever writes compares. */
  readonly resourceVersion: string | undefined
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
  resourceVersion: Schema.optionalKey(Schema.String),
})

/** Set by the region, dropped from documents. */
const serverMetadata = [
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
  // For people and their terminals: no half characters, no control characters.
  const text = (value: unknown, fallback: string) =>
    typeof value === "string" && value !== ""
      ? value
          .slice(0, 100)
          .toWellFormed()
          .replaceAll(/\p{Cc}/gu, "\ufffd")
      : fallback
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

  // What is left of it is what the schema found good.
  const good = metadata as typeof AppliedMetadata.Type
  const { name, namespace } = good
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
    metadata: good,
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
  if (report.violations().length > 0) return failed()
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
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
    spec,
    uid: metadata.uid,
    resourceVersion: metadata.resourceVersion,
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
