/**
 * The order in which manifests are applied: what others refer to comes first, so that no interface waits for a
 * network that is further down in the same file.
 */
import { kinds } from "#protocol/resource/Kinds.ts"
import type { ManifestDocument } from "./Documents.ts"

const rankOf = ({ value }: ManifestDocument): number => {
  const named = (value as { readonly kind?: unknown } | null)?.kind
  const rank = kinds.findIndex(({ kind }) => kind === named)
  return rank === -1 ? kinds.length : rank
}

/** By kind; those of one kind as they were read. What has no known kind is last: the region refuses it. */
export const inApplyOrder = (documents: ReadonlyArray<ManifestDocument>): ReadonlyArray<ManifestDocument> =>
  documents.toSorted((a, b) => rankOf(a) - rankOf(b))
