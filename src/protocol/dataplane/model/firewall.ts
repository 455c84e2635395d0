/**
 * The rules of an interface: of a direction the first one that matches a packet decides, in order of priority, then of
 * age; where none does, the direction's default.
 *
 * What a rule says of ports counts for TCP, UDP and SCTP only, what it says of ICMP for ICMP only, which is ICMPv6 in
 * an IPv6 rule. Protocol 0 is every packet of the rule's family.
 */
import { bytesOf, parsePrefix } from "./address.ts"
import { type Bytes, u8 } from "./bytes.ts"
import { protocols } from "./ip.ts"
import type { Tuple } from "./tuple.ts"

export type Default = "accept" | "drop" | "rules"

interface Range {
  readonly first: number
  readonly last: number
}

interface Match {
  readonly bytes: Bytes
  readonly length: number
}

/** Cardinality: one per rule, made when the rules are put. */
export interface Rule {
  readonly egress: boolean
  readonly accept: boolean
  /** `undefined`: both. */
  readonly family: 4 | 6 | undefined
  /** 0: every one. */
  readonly protocol: number
  readonly source: Match
  readonly destination: Match
  readonly sourcePorts: Range
  readonly destinationPorts: Range
  readonly icmpType: number | undefined
  readonly icmpCode: number | undefined
}

export interface Firewall {
  /** In the order in which they are tried. */
  readonly rules: ReadonlyArray<Rule>
  readonly ingress: Default
  readonly egress: Default
}

export const openFirewall: Firewall = { rules: [], ingress: "accept", egress: "accept" }

const every: Match = { bytes: new Uint8Array(0), length: 0 }
const allPorts: Range = { first: 0, last: 0xffff }

/** A rule as the control side has it: prefixes are CIDR text or empty. */
export interface RuleFields {
  readonly egress: boolean
  readonly accept: boolean
  readonly source: string
  readonly destination: string
  readonly protocol: number
  readonly sourcePorts: Range | undefined
  readonly destinationPorts: Range | undefined
  readonly icmpType: number | undefined
  readonly icmpCode: number | undefined
}

export const compileRule = (fields: RuleFields): Rule => {
  const source = fields.source === "" ? "address" : parsePrefix(fields.source)
  const destination = fields.destination === "" ? "address" : parsePrefix(fields.destination)
  const match = (prefix: typeof source): Match =>
    typeof prefix === "string" ? every : { bytes: bytesOf(prefix.address), length: prefix.length }
  const family =
    typeof source === "string"
      ? typeof destination === "string"
        ? undefined
        : destination.family
      : source.family
  return {
    egress: fields.egress,
    accept: fields.accept,
    family,
    protocol: fields.protocol,
    source: match(source),
    destination: match(destination),
    sourcePorts: fields.sourcePorts ?? allPorts,
    destinationPorts: fields.destinationPorts ?? allPorts,
    icmpType: fields.icmpType,
    icmpCode: fields.icmpCode,
  }
}

export const within = (address: Bytes, prefix: Match): boolean => {
  for (let bit = 0; bit < prefix.length; bit += 8) {
    const kept = Math.min(8, prefix.length - bit)
    const difference = u8(address, bit >>> 3) ^ u8(prefix.bytes, bit >>> 3)
    if (difference >>> (8 - kept) !== 0) return false
  }
  return true
}

const inside = (value: number, range: Range): boolean => value >= range.first && value <= range.last

const sctp = 132
const hasPorts = (protocol: number): boolean =>
  protocol === protocols.tcp || protocol === protocols.udp || protocol === sctp

const protocolMatches = (rule: Rule, tuple: Tuple): boolean => {
  if (rule.protocol === 0) return true
  const icmp = tuple.family === 4 ? protocols.icmp : protocols.icmpv6
  const wanted = rule.protocol === protocols.icmp ? icmp : rule.protocol
  if (wanted !== tuple.protocol) return false
  if (wanted === icmp)
    return (
      (rule.icmpType === undefined || rule.icmpType === tuple.icmpType) &&
      (rule.icmpCode === undefined || rule.icmpCode === tuple.icmpCode)
    )
  return (
    !hasPorts(wanted) ||
    (inside(tuple.sourcePort, rule.sourcePorts) && inside(tuple.destinationPort, rule.destinationPorts))
  )
}

/** Whether a packet of the direction may pass. */
export const accepts = (firewall: Firewall, tuple: Tuple, egress: boolean): boolean => {
  if (firewall.rules.length > 0) {
    const source = bytesOf(tuple.source)
    const destination = bytesOf(tuple.destination)
    for (const rule of firewall.rules)
      if (
        rule.egress === egress &&
        (rule.family === undefined || rule.family === tuple.family) &&
        protocolMatches(rule, tuple) &&
        within(source, rule.source) &&
        within(destination, rule.destination)
      )
        return rule.accept
  }
  const otherwise = egress ? firewall.egress : firewall.ingress
  if (otherwise !== "rules") return otherwise === "accept"
  return !firewall.rules.some((rule) => rule.egress === egress)
}
