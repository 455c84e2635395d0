/**
 * Names, labels and annotations, by the syntax of Kubernetes.
 *
 * Each `...Problem` answers undefined for a good value and otherwise the rule, to be put after the value.
 */
import { Schema } from "effect"

type Check = (text: string) => string | undefined

const label = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/
const qualified = /^[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?$/

export const dnsLabelProblem: Check = (text) =>
  text.length <= 63 && label.test(text)
    ? undefined
    : "must be a DNS label: at most 63 of a-z, 0-9 and '-', first and last a letter or digit"

export const dnsSubdomainProblem: Check = (text) =>
  text.length <= 253 && text.split(".").every((part) => label.test(part))
    ? undefined
    : "must be a DNS subdomain: at most 253 of a-z, 0-9, '-' and '.', first and last of each part a letter or digit"

/** `[prefix/]name`, as keys of labels are. */
export const qualifiedNameProblem: Check = (text) => {
  const slash = text.indexOf("/")
  const name = text.slice(slash + 1)
  const prefixGood = slash < 0 || dnsSubdomainProblem(text.slice(0, slash)) === undefined
  return prefixGood && name.length <= 63 && qualified.test(name)
    ? undefined
    : "must be [prefix/]name: prefix a DNS subdomain, name at most 63 of A-Z, a-z, 0-9, '-', '_', '.', first and last a letter or digit"
}

export const labelValueProblem: Check = (text) =>
  text === "" || (text.length <= 63 && qualified.test(text))
    ? undefined
    : "must be empty or at most 63 of A-Z, a-z, 0-9, '-', '_', '.', first and last a letter or digit"

/** A string that satisfies a check. */
export const checked = (check: Check) =>
  Schema.String.check(Schema.makeFilter((text: string) => check(text) ?? true))

export const DnsLabel = checked(dnsLabelProblem)
export const DnsSubdomain = checked(dnsSubdomainProblem)

/** RFC 4122, any version, as Kubernetes gives them. */
export const Uid = checked((text) =>
  /^[0-9a-zA-Z-]{1,64}$/.test(text) ? undefined : "must be a uid: at most 64 of 0-9, a-z, A-Z and '-'",
)

/** A map of strings with a bound on entries and checks on keys and values. */
export const stringMap = (options: { readonly most: number; readonly key: Check; readonly value: Check }) =>
  Schema.Record(Schema.String, Schema.String).check(
    Schema.makeFilter((map: Readonly<Record<string, string>>) => {
      const keys = Object.keys(map)
      if (keys.length > options.most) return `has ${keys.length} entries; must have at most ${options.most}`
      return keys.flatMap((key) => {
        const keyProblem = options.key(key)
        if (keyProblem !== undefined)
          return [{ path: [key], issue: `key ${JSON.stringify(key.slice(0, 80))} ${keyProblem}` }]
        const valueProblem = options.value(map[key] ?? "")
        return valueProblem === undefined
          ? []
          : [{ path: [key], issue: `value ${JSON.stringify((map[key] ?? "").slice(0, 80))} ${valueProblem}` }]
      })
    }),
  )

export const Labels = stringMap({ most: 256, key: qualifiedNameProblem, value: labelValueProblem })

/** Keys as those of labels, in any case; values are free, the manifest's size bounds them. */
export const Annotations = stringMap({
  most: 256,
  key: (key) => qualifiedNameProblem(key.toLowerCase()),
  value: () => undefined,
})
