/**
 * Templates of resources that live and die with the one that holds them: a Prefix for an ephemeral address, a
 * VirtualIP for an ephemeral public address.
 *
 * Their metadata may hold labels and annotations only: name and namespace follow from the owner.
 */
import { Schema } from "effect"
import { parsePrefix, widthOf } from "../net/Address.ts"
import { LabelSelector } from "./LabelSelector.ts"
import { Annotations, DnsLabel, Labels, Uid } from "./Names.ts"
import { IpFamily, IpPrefix, LocalReference } from "./Values.ts"
import { forbids } from "./SchemaReport.ts"
import type { Partly, Path, Report } from "./Violation.ts"

const TemplateMetadata = Schema.Struct({
  labels: Schema.optionalKey(Labels),
  annotations: Schema.optionalKey(Annotations),
}).annotate({
  [forbids]:
    "may not be set in a template: only labels and annotations may; name and namespace follow from the owner",
})

/** Spec of a Prefix. With neither parent field it is a root and must say its prefix itself. */
export const PrefixSpec = Schema.Struct({
  ipFamily: Schema.optionalKey(IpFamily),
  prefix: Schema.optionalKey(IpPrefix),
  prefixLength: Schema.optionalKey(Schema.Int),
  parentRef: Schema.optionalKey(LocalReference),
  parentSelector: Schema.optionalKey(LabelSelector),
})
export type PrefixSpec = typeof PrefixSpec.Type

export const PrefixTemplate = Schema.Struct({
  metadata: Schema.optionalKey(TemplateMetadata),
  spec: PrefixSpec,
})
export type PrefixTemplate = typeof PrefixTemplate.Type

export const VirtualIpTemplate = Schema.Struct({
  metadata: Schema.optionalKey(TemplateMetadata),
  spec: Schema.Struct({
    type: Schema.Literals(["Public"]),
    ipFamily: IpFamily,
    targetRef: Schema.optionalKey(Schema.Struct({ name: DnsLabel, uid: Schema.optionalKey(Uid) })),
    /** Whether the VirtualIP outlives its owner. Omitted: Delete. */
    reclaimPolicy: Schema.optionalKey(Schema.Literals(["Retain", "Delete"])),
  }),
})

/** Rules of a Prefix's spec, at `path`. */
export const prefixSpecRules = (spec: Partly<PrefixSpec>, path: Path, report: Report): void => {
  const { ipFamily, prefixLength } = spec
  const prefix = spec.prefix === undefined ? undefined : parsePrefix(spec.prefix)
  if (ipFamily === undefined && !report.touched([...path, "ipFamily"])) {
    report.add([...path, "ipFamily"], "Required", "is missing; set IPv4 or IPv6")
  }
  if (prefix !== undefined && ipFamily !== undefined && prefix.family !== ipFamily) {
    report.add(
      [...path, "prefix"],
      "Invalid",
      `${spec.prefix} is ${prefix.family}, but ipFamily is ${ipFamily}`,
    )
  }
  const longest = ipFamily === undefined ? 128 : widthOf(ipFamily)
  if (prefixLength !== undefined && (prefixLength < 1 || prefixLength > longest)) {
    report.add([...path, "prefixLength"], "Invalid", `${prefixLength} must be 1 to ${longest}`)
  }
  if (spec.parentRef === undefined && spec.parentSelector === undefined) {
    if (report.touched([...path, "parentRef"]) || report.touched([...path, "parentSelector"])) return
    rootRules(spec, path, report)
  } else if (prefix === undefined && prefixLength === undefined) {
    if (!report.touched(path)) {
      report.add(path, "Required", "asks for nothing; set prefix, prefixLength or both")
    }
  } else if (prefix !== undefined && prefixLength !== undefined && prefix.length !== prefixLength) {
    report.add(
      [...path, "prefixLength"],
      "Invalid",
      `${prefixLength} contradicts prefix ${spec.prefix}; omit one`,
    )
  }
}

const rootRules = (spec: Partly<PrefixSpec>, path: Path, report: Report): void => {
  if (spec.prefix === undefined && !report.touched([...path, "prefix"])) {
    report.add(
      [...path, "prefix"],
      "Required",
      "is missing: without parentRef or parentSelector there is nothing to take it from; set one of the three",
    )
  }
  if (spec.prefixLength !== undefined && spec.prefix !== undefined) {
    report.add(
      [...path, "prefixLength"],
      "Invalid",
      "may not be set without a parent; the prefix has its length",
    )
  }
}

/** Whether a prefix is one address of its family. */
export const isSingle = (text: string): boolean => {
  const prefix = parsePrefix(text)
  return prefix !== undefined && prefix.length === widthOf(prefix.family)
}
