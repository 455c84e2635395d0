/**
 * Defaults and rules of a NetworkInterface's spec.
 *
 * Families follow from addresses and templates where they are not given, a template's family from its prefix first,
 * so that `prefix: 10.0.0.5/32` alone is enough. An ephemeral address is one address: /32 or /128.
 */
import {
  canonicalAddress,
  type Family,
  formatPrefix,
  parseAddress,
  parsePrefix,
  widthOf,
} from "../net/Address.ts"
import { isObject, type JsonObject } from "./Json.ts"
import type { Owner } from "./Kind.ts"
import { dnsSubdomainProblem } from "./Names.ts"
import type { IpSource, NetworkInterfaceSpec, PrefixSource } from "./NetworkInterface.ts"
import { prefixSpecRules } from "./Template.ts"
import { exactlyOne, type Partly, type Path, type Report } from "./Violation.ts"

const objectsIn = (list: unknown): ReadonlyArray<JsonObject> =>
  Array.isArray(list) ? list.filter(isObject) : []

const isFamily = (value: unknown): value is Family => value === "IPv4" || value === "IPv6"

/** The Prefix spec of an ephemeral source, where there is one. */
const templateOf = (source: unknown): JsonObject | undefined => {
  const ephemeral = isObject(source) ? source["ephemeral"] : undefined
  const template = isObject(ephemeral) ? ephemeral["prefixTemplate"] : undefined
  const spec = isObject(template) ? template["spec"] : undefined
  return isObject(spec) ? spec : undefined
}

/** Prefixes in their one form, and the family that a prefix implies. */
const completeTemplate = (template: JsonObject): void => {
  const prefix = typeof template["prefix"] === "string" ? parsePrefix(template["prefix"]) : undefined
  if (prefix === undefined) return
  template["prefix"] = formatPrefix(prefix)
  template["ipFamily"] ??= prefix.family
}

/** Family of a source. Of a wrong address the one that was probably meant, so that only the address is reported. */
const familyOf = (source: unknown): Family | undefined => {
  if (!isObject(source)) return undefined
  const value = source["value"]
  if (typeof value === "string") return parseAddress(value)?.family ?? (value.includes(":") ? "IPv6" : "IPv4")
  const family = templateOf(source)?.["ipFamily"]
  return isFamily(family) ? family : undefined
}

export const networkInterfaceDefaults = (spec: JsonObject): void => {
  if (spec["providerID"] === "") delete spec["providerID"]
  const ips: ReadonlyArray<unknown> = Array.isArray(spec["ips"]) ? spec["ips"] : []
  for (const source of objectsIn(ips)) {
    if (typeof source["value"] === "string")
      source["value"] = canonicalAddress(source["value"]) ?? source["value"]
    const template = templateOf(source)
    if (template !== undefined) completeTemplate(template)
  }
  for (const source of objectsIn(spec["prefixes"])) {
    const prefix = typeof source["value"] === "string" ? parsePrefix(source["value"]) : undefined
    if (prefix !== undefined) source["value"] = formatPrefix(prefix)
    const template = templateOf(source)
    if (template !== undefined) completeTemplate(template)
  }

  const given = spec["ipFamilies"]
  const families: ReadonlyArray<unknown> = Array.isArray(given) ? given : []
  if (families.length === ips.length) {
    families.forEach((family, i) => {
      const template = templateOf(ips[i])
      if (template !== undefined && isFamily(family)) template["ipFamily"] ??= family
    })
  }
  if (ips.length > 0 && families.length === 0 && (given === undefined || Array.isArray(given))) {
    const derived = ips.map(familyOf)
    if (derived.every(isFamily)) spec["ipFamilies"] = derived
  }
  for (const source of ips) {
    const template = templateOf(source)
    const family = template?.["ipFamily"]
    if (template !== undefined && isFamily(family) && template["prefix"] === undefined) {
      template["prefixLength"] ??= widthOf(family)
    }
  }
}

/** An address that a VM can have. */
const unusable = (text: string): string | undefined => {
  const address = parseAddress(text)
  if (address === undefined) return undefined
  const { family, value } = address
  const what = (range: string, name: string) => {
    const prefix = parsePrefix(range)
    const shift = prefix && BigInt(widthOf(family) - prefix.length)
    return prefix?.family === family && shift !== undefined && value >> shift === prefix.network >> shift
      ? name
      : undefined
  }
  return (
    what("0.0.0.0/32", "the unspecified address") ??
    what("::/128", "the unspecified address") ??
    what("127.0.0.0/8", "a loopback address") ??
    what("::1/128", "the loopback address") ??
    what("224.0.0.0/4", "a multicast address") ??
    what("ff00::/8", "a multicast address") ??
    what("255.255.255.255/32", "the broadcast address") ??
    what("::ffff:0:0/96", "an IPv4-mapped address")
  )
}

const ephemeralAddressRules = (source: Partly<IpSource>, path: Path, report: Report): void => {
  const spec = source.ephemeral?.prefixTemplate?.spec
  if (spec === undefined) return
  const at = [...path, "ephemeral", "prefixTemplate", "spec"]
  prefixSpecRules(spec, at, report)
  const prefix = spec.prefix === undefined ? undefined : parsePrefix(spec.prefix)
  if (prefix !== undefined && prefix.length !== widthOf(prefix.family)) {
    report.add(
      [...at, "prefix"],
      "Forbidden",
      `must be one address: ${prefix.family} needs /${widthOf(prefix.family)}`,
    )
  }
  const width = spec.ipFamily === undefined ? undefined : widthOf(spec.ipFamily)
  if (spec.prefixLength !== undefined && width !== undefined && spec.prefixLength !== width) {
    report.add([...at, "prefixLength"], "Forbidden", `must be one address: ${width} for ${spec.ipFamily}`)
  }
}

/** The name of an ephemeral source's Prefix follows from the interface's, which is checked elsewhere. */
const derivedName = (
  source: Partly<IpSource | PrefixSource>,
  owner: string,
  suffix: string,
  path: Path,
  report: Report,
): void => {
  const name = `${owner}${suffix}`
  if (source.ephemeral === undefined || dnsSubdomainProblem(owner) !== undefined) return
  if (dnsSubdomainProblem(name) === undefined) return
  report.add(path, "Invalid", `its Prefix would be ${name}, which is no DNS subdomain; shorten metadata.name`)
}

export const networkInterfaceRules = (
  spec: Partly<NetworkInterfaceSpec>,
  owner: Owner,
  report: Report,
): void => {
  const families = spec.ipFamilies ?? []
  const ips = spec.ips ?? []
  if (families.length === 0 && !report.touched(["spec", "ipFamilies"])) {
    report.add(["spec", "ipFamilies"], "Required", "is empty and can't be derived; list IPv4, IPv6 or both")
  }
  families.forEach((family, i) => {
    if (family !== undefined && families.indexOf(family) < i) {
      report.add(
        ["spec", "ipFamilies", i],
        "Duplicate",
        `${family} is there twice; an interface has one address per family`,
      )
    }
  })
  const compared = !report.touched(["spec", "ips"]) || spec.ips !== undefined
  if (families.length > 0 && compared && ips.length !== families.length) {
    report.add(
      ["spec", "ips"],
      ips.length === 0 ? "Required" : "Invalid",
      `has ${ips.length} addresses for ${families.length} ipFamilies; give one source per family, in the same order`,
    )
  }
  ips.forEach((source, i) => {
    if (source === undefined) return
    const path = ["spec", "ips", i]
    exactlyOne(source, ["value", "ephemeral"], path, report)
    const expected = families[i]
    const family = familyOf(source)
    if (expected !== undefined && family !== undefined && family !== expected) {
      const field =
        source.value === undefined ? ["ephemeral", "prefixTemplate", "spec", "ipFamily"] : ["value"]
      report.add([...path, ...field], "Invalid", `is ${family}, but spec.ipFamilies[${i}] is ${expected}`)
    }
    const problem = source.value === undefined ? undefined : unusable(source.value)
    if (problem !== undefined)
      report.add([...path, "value"], "Invalid", `${source.value} is ${problem}; use a unicast one`)
    ephemeralAddressRules(source, path, report)
    derivedName(source, owner.name, `-${i}`, path, report)
  })

  spec.prefixes?.forEach((source, i) => {
    if (source === undefined) return
    const path = ["spec", "prefixes", i]
    exactlyOne(source, ["value", "ephemeral"], path, report)
    const template = source.ephemeral?.prefixTemplate?.spec
    if (template !== undefined)
      prefixSpecRules(template, [...path, "ephemeral", "prefixTemplate", "spec"], report)
    derivedName(source, owner.name, `-pf-${i}`, path, report)
  })

  if (spec.virtualIP !== undefined) {
    exactlyOne(spec.virtualIP, ["virtualIPRef", "ephemeral"], ["spec", "virtualIP"], report)
  }
}
