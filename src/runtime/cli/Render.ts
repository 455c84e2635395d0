/**
 * Resources as `get` prints them: tables by the columns of their kind, YAML, JSON or names.
 */
import * as Yaml from "yaml"
import type { AnyKind, Column } from "#protocol/resource/Kind.ts"
import type { Manifest } from "#protocol/resource/Resource.ts"
import { nameOf } from "./Targets.ts"
import type { Table } from "./Table.ts"

export const formats = ["wide", "json", "yaml", "name"] as const
export type Format = (typeof formats)[number] | "table"

/** The manifest of a resource in an answer of the gateway. */
export const manifestOf = (resource: { readonly json: string }): Manifest =>
  JSON.parse(resource.json) as Manifest

const columnsOf = (kind: AnyKind, wide: boolean, namespaces: boolean): ReadonlyArray<Column> => [
  ...(namespaces && kind.namespaced
    ? [{ name: "NAMESPACE", wide: false, value: ({ metadata }: Manifest) => metadata.namespace ?? "" }]
    : []),
  ...(kind.columns as ReadonlyArray<Column>).filter((column) => wide || !column.wide),
]

export const tableOf = (
  kind: AnyKind,
  manifests: ReadonlyArray<Manifest>,
  options: { readonly wide: boolean; readonly namespaces: boolean; readonly nowMicros: number },
): Table => {
  const columns = columnsOf(kind, options.wide, options.namespaces)
  return {
    columns: columns.map(({ name }) => name),
    rows: manifests.map((manifest) => columns.map(({ value }) => value(manifest, options.nowMicros))),
  }
}

/** One resource as itself, several as a List. */
const document = (manifests: ReadonlyArray<Manifest>, single: boolean): unknown =>
  single && manifests.length === 1 ? manifests[0] : { apiVersion: "v1", kind: "List", items: manifests }

export const toYaml = (value: unknown): string => Yaml.stringify(value, { lineWidth: 0 }).trimEnd()

/** A part of a stream: each object for itself, in JSON one a line, in YAML one a document. Empty where there is none. */
export const renderStream = (objects: ReadonlyArray<unknown>, format: "json" | "yaml"): string =>
  objects.map((object) => (format === "json" ? JSON.stringify(object) : `---\n${toYaml(object)}`)).join("\n")

/** As a watch shows it. What is gone says so, in the words of a route: it differs from what is still being deleted. */
export const sightingOf = (manifest: Manifest, gone: boolean): object =>
  gone ? { ...manifest, change: "deleted" } : manifest

export const renderManifests = (
  manifests: ReadonlyArray<Manifest>,
  format: "json" | "yaml" | "name",
  single: boolean,
): string => {
  switch (format) {
    case "json":
      return JSON.stringify(document(manifests, single), undefined, 2)
    case "yaml":
      return toYaml(document(manifests, single))
    case "name":
      return manifests.map(({ kind, metadata }) => nameOf({ kind, name: metadata.name })).join("\n")
  }
}
