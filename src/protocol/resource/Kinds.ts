/** The kinds that are served, found by any of their names. */
import { type AnyKind } from "./Kind.ts"
import { NetworkKind } from "./Network.ts"
import { NetworkInterfaceKind } from "./NetworkInterface.ts"
import { NodeKind } from "./Node.ts"
import type { Manifest, ResourceKey } from "./Resource.ts"

/** In the order in which manifests are best applied and listed. */
export const kinds: ReadonlyArray<AnyKind> = [NodeKind, NetworkKind, NetworkInterfaceKind]

const byName = new Map<string, AnyKind>()
for (const kind of kinds) {
  for (const name of [kind.kind, kind.plural, kind.singular, ...kind.shortNames])
    byName.set(name.toLowerCase(), kind)
}

const byKind = new Map(kinds.map((kind) => [kind.kind, kind]))

/** By the kind of manifests, exactly. */
export const kindOf = (kind: string): AnyKind | undefined => byKind.get(kind)

/** By kind, plural, singular or short name, in any case, as people type it; a group may follow (`nics.networking…`). */
export const findKind = (name: string): AnyKind | undefined => {
  const [first = "", ...group] = name.toLowerCase().split(".")
  const kind = byName.get(first)
  const groupGood = group.length === 0 || kind?.apiVersion.split("/")[0] === group.join(".")
  return groupGood ? kind : undefined
}

/** All names that `findKind` takes, for completion and help. */
export const kindNames: ReadonlyArray<string> = [...byName.keys()]

/** What a manifest refers to; nothing for a kind that is not served. */
export const references = (manifest: Manifest): ReadonlyArray<ResourceKey> =>
  kindOf(manifest.kind)?.references(manifest) ?? []

export const keyOf = ({
  kind,
  metadata,
}: Pick<Manifest, "kind"> & {
  readonly metadata: { readonly name: string; readonly namespace?: string }
}): ResourceKey => ({
  kind,
  namespace: metadata.namespace ?? "",
  name: metadata.name,
})
