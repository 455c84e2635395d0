/**
 * `ironcore-net://<namespace>/<name>/<id>/<uid>`: how a resource says what realises it.
 *
 * Of a Network, `id` is its VNI; of a NetworkInterface, the node that it is attached to.
 */
import { dnsLabelProblem, dnsSubdomainProblem } from "./Names.ts"
import { maxVni, minVni } from "./Values.ts"

export interface ProviderId {
  readonly namespace: string
  readonly name: string
  readonly id: string
  readonly uid: string
}

const scheme = "ironcore-net://"

export const formatProviderId = ({ namespace, name, id, uid }: ProviderId): string =>
  `${scheme}${namespace}/${name}/${id}/${uid}`

/** Undefined where the text is of another provider, or none. */
export const parseProviderId = (text: string | undefined): ProviderId | undefined => {
  if (text === undefined || !text.startsWith(scheme) || text.length > 1024) return undefined
  const parts = text.slice(scheme.length).split("/")
  const [namespace = "", name = "", id = "", uid = ""] = parts
  if (parts.length !== 4 || dnsLabelProblem(namespace) !== undefined) return undefined
  if (dnsSubdomainProblem(name) !== undefined || !/^[0-9A-Za-z-]{1,64}$/.test(uid)) return undefined
  return { namespace, name, id, uid }
}

/** VNI in a Network's providerID; undefined where there is none in range. */
export const vniOf = (providerID: string | undefined): number | undefined => {
  const id = parseProviderId(providerID)?.id ?? ""
  const vni = /^[1-9][0-9]{0,7}$/.test(id) ? Number(id) : 0
  return vni >= minVni && vni <= maxVni ? vni : undefined
}

/** Node in a NetworkInterface's providerID; undefined where it is not attached by us. */
export const nodeOf = (providerID: string | undefined): string | undefined => {
  const id = parseProviderId(providerID)?.id
  return id !== undefined && dnsLabelProblem(id) === undefined ? id : undefined
}
