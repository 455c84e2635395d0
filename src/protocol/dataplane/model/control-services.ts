/** Operations on load balancers and firewalls. */
import { HashMap } from "effect"
import {
  type BalancerPort,
  type FirewallRule,
  type FirewallSpec,
  type LoadBalancerSpec,
  type PortRange,
  statusCodes,
} from "../Dataplane.ts"
import { firewallDigest, loadBalancerDigest } from "../digest.ts"
import { format, parsePrefix, prefixText } from "./address.ts"
import { compileRule, type Firewall, openFirewall } from "./firewall.ts"
import { balancerSlots, buildMaglev, byAddress } from "./maglev.ts"
import { groupOf } from "./nat.ts"
import {
  badWanted,
  digested,
  done,
  failed,
  giveAddress,
  invalid,
  isInvalid,
  named,
  realAddress,
  type Step,
  takeAddress,
  wantedAddress,
} from "./result.ts"
import {
  type Balancer,
  emptyVni,
  find,
  type Interface,
  limits,
  type ModelConfig,
  type ModelState,
} from "./tables.ts"
import { endFlow } from "./turn.ts"
import { releaseVni } from "./vni.ts"

const maxVni = 0xff_ffff

/** Sorted; or what is wrong. A range without an end is one port. */
const checkPorts = (asked: ReadonlyArray<BalancerPort>): ReadonlyArray<BalancerPort> | string => {
  if (asked.length > limits.balancerPorts) return "Too many loadbalanced_ports"
  const ports = asked
    .map((port) => ({ ...port, last: port.last === 0 ? port.first : port.last }))
    .sort((a, b) => a.protocol - b.protocol || a.first - b.first)
  for (const { first, last, protocol } of ports) {
    if (first < 1 || last > 0xffff || last < first) return "Invalid loadbalanced_ports.port"
    if (protocol !== 6 && protocol !== 17) return "Invalid loadbalanced_ports.protocol"
  }
  const twice = ports.some((port, i) => {
    const next = ports[i + 1]
    return next !== undefined && next.protocol === port.protocol && next.first <= port.last
  })
  return twice ? "Duplicate loadbalanced_ports entry" : ports
}

const slotsOf = (targets: ReadonlyArray<string>): Uint16Array =>
  buildMaglev(
    targets.map((address) => ({ address, weight: 1 })),
    balancerSlots(targets.length),
  )

export const putBalancer = (state: ModelState, asked: LoadBalancerSpec): Step => {
  if (!named(asked.id, 1, 63)) return invalid(state, "Invalid loadbalancer_id")
  if (asked.vni > maxVni) return invalid(state, "VNI exceeds 24-bit range")
  const ip = realAddress(asked.ip)
  if (ip === undefined) return invalid(state, "Invalid loadbalanced_ip")
  const ports = checkPorts(asked.ports)
  if (typeof ports === "string") return invalid(state, ports)
  const parsed = asked.targets.map(realAddress)
  if (parsed.includes(undefined)) return invalid(state, "Invalid target_ip")
  const targets = parsed.flatMap((target) => (target === undefined ? [] : [format(target.bytes)]))
  if (new Set(targets).size !== targets.length) return invalid(state, "Duplicate target_ip")
  const wanted = wantedAddress(state, asked.underlayAddress)
  if (isInvalid(wanted)) return invalid(state, badWanted)
  if (parsed.some((target) => target?.family === 4)) return failed(state, statusCodes.BAD_IPVER)
  targets.sort(byAddress)
  const spec: LoadBalancerSpec = {
    id: asked.id,
    vni: asked.vni,
    ip: format(ip.bytes),
    ports,
    targets,
    ...(wanted === undefined ? {} : { underlayAddress: wanted }),
  }
  if (targets.length > limits.targets) return failed(state, statusCodes.BACKIP_ADD)
  const old = find(state.balancers, spec.id)
  return old === undefined ? addBalancer(state, spec, wanted) : changeBalancer(state, old, spec)
}

const addBalancer = (state: ModelState, spec: LoadBalancerSpec, wanted: string | undefined): Step => {
  const given = giveAddress(state, "balancer", wanted, { _tag: "Balancer", id: spec.id })
  if (given === undefined) return failed(state, statusCodes.VNF_INSERT)
  const name = groupOf(spec.vni, spec.ip)
  if (HashMap.has(state.addresses, name)) return failed(state, statusCodes.ALREADY_EXISTS)
  if (spec.vni < 1) return failed(state, statusCodes.VNI_INIT4)
  const table = find(state.vnis, spec.vni) ?? emptyVni
  const balancer: Balancer = { spec, underlayAddress: given.address, slots: slotsOf(spec.targets) }
  const next: ModelState = {
    ...given.state,
    vnis: HashMap.set(state.vnis, spec.vni, { ...table, references: table.references + 1 }),
    addresses: HashMap.set(state.addresses, name, { _tag: "Balancer", id: spec.id }),
    balancers: HashMap.set(state.balancers, spec.id, balancer),
  }
  return done(digested(next, loadBalancerDigest(spec)), given.address)
}

/** Ports and targets change in place; with another address it is another one of the same name. */
const changeBalancer = (state: ModelState, old: Balancer, spec: LoadBalancerSpec): Step => {
  const before = loadBalancerDigest(old.spec)
  const after = loadBalancerDigest(spec)
  if (before === after) return done(state, old.underlayAddress)
  if (
    old.spec.vni !== spec.vni ||
    old.spec.ip !== spec.ip ||
    old.spec.underlayAddress !== spec.underlayAddress
  ) {
    const again = addBalancer(removeBalancer(state, old), spec, spec.underlayAddress)
    return again.result.code === 0 ? again : failed(state, again.result.code)
  }
  const balancer: Balancer = { ...old, spec, slots: slotsOf(spec.targets) }
  const balancers = HashMap.set(state.balancers, spec.id, balancer)
  return done(digested({ ...state, balancers }, before, after), old.underlayAddress)
}

const removeBalancer = (state: ModelState, old: Balancer): ModelState => {
  const { id, ip, vni } = old.spec
  const freed = takeAddress(state, "balancer", old.underlayAddress)
  let left: ModelState = {
    ...freed,
    balancers: HashMap.remove(freed.balancers, id),
    addresses: HashMap.remove(freed.addresses, groupOf(vni, ip)),
  }
  for (const [flow, { translation }] of left.flows.all)
    if (translation._tag === "Balancer" && translation.id === id) left = endFlow(left, flow)
  return digested(releaseVni(left, vni), loadBalancerDigest(old.spec))
}

export const deleteBalancer = (state: ModelState, id: string): Step => {
  if (!named(id, 1, 63)) return invalid(state, "Invalid loadbalancer_id")
  const old = find(state.balancers, id)
  return old === undefined ? failed(state, statusCodes.NOT_FOUND) : done(removeBalancer(state, old))
}

const canonicalPrefix = (
  text: string | undefined,
  name: string,
): { readonly text: string | undefined } | string => {
  if (text === undefined || text === "") return { text: undefined }
  const prefix = parsePrefix(text)
  if (prefix === "address") return `Invalid ${name}.ip`
  if (prefix === "length") return `Invalid ${name}.length`
  if (prefix.length > (prefix.family === 4 ? 32 : 128))
    return prefix.family === 4 ? `Invalid ${name}.length` : `Invalid ip6 ${name}.length`
  return { text: prefixText(prefix) }
}

const badPorts = (range: PortRange | undefined): boolean =>
  range !== undefined && (range.first < 0 || range.last > 0xffff || range.last < range.first)

/** ICMPv6 is ICMP in an IPv6 rule: one number for both, so that a rule for every family can be said. */
const badProtocol = ({
  destinationPorts,
  icmpCode,
  icmpType,
  protocol,
  sourcePorts,
}: FirewallRule): boolean => {
  const hasPorts = sourcePorts !== undefined || destinationPorts !== undefined
  const hasIcmp = icmpType !== undefined || icmpCode !== undefined
  return (
    protocol > 0xff ||
    protocol === 58 ||
    (hasPorts && ![6, 17, 132].includes(protocol)) ||
    (hasIcmp && protocol !== 1)
  )
}

const checkRule = (rule: FirewallRule): FirewallRule | string => {
  if (!named(rule.id, 1, 63)) return "Invalid rule id"
  const source = canonicalPrefix(rule.source, "source_prefix")
  if (typeof source === "string") return source
  const destination = canonicalPrefix(rule.destination, "destination_prefix")
  if (typeof destination === "string") return destination
  const mixed =
    source.text !== undefined &&
    destination.text !== undefined &&
    source.text.includes(":") !== destination.text.includes(":")
  if (mixed) return "Invalid destination_prefix.ip.ipver"
  if (rule.priority > 0xffff) return "Invalid priority"
  if (badProtocol(rule)) return "Invalid protocol"
  if (badPorts(rule.sourcePorts)) return "Invalid source_ports"
  if (badPorts(rule.destinationPorts)) return "Invalid destination_ports"
  if ((rule.icmpType ?? 0) > 0xff) return "Invalid icmp.icmp_type"
  if ((rule.icmpCode ?? 0) > 0xff) return "Invalid icmp.icmp_code"
  const every = (other: string | undefined): string | undefined =>
    other === undefined ? undefined : other.includes(":") ? "::/0" : "0.0.0.0/0"
  return {
    ...rule,
    source: source.text ?? every(destination.text),
    destination: destination.text ?? every(source.text),
  }
}

const compiled = (spec: FirewallSpec): Firewall => ({
  ingress: spec.ingress,
  egress: spec.egress,
  rules: spec.rules
    .toSorted((a, b) => a.priority - b.priority)
    .map((rule) =>
      compileRule({
        egress: rule.egress,
        accept: rule.accept,
        source: rule.source ?? "",
        destination: rule.destination ?? "",
        protocol: rule.protocol,
        sourcePorts: rule.sourcePorts,
        destinationPorts: rule.destinationPorts,
        icmpType: rule.icmpType,
        icmpCode: rule.icmpCode,
      }),
    ),
})

/** Of an interface that nobody put a firewall for. */
export const defaultFirewall = (config: ModelConfig): Firewall => ({
  ...openFirewall,
  ...config.firewallDefault,
})

const withFirewall = (state: ModelState, entry: Interface): ModelState => ({
  ...state,
  interfaces: HashMap.set(state.interfaces, entry.spec.id, entry),
})

export const putFirewall = (state: ModelState, asked: FirewallSpec): Step => {
  if (!named(asked.interface, 1, 63)) return invalid(state, "Invalid interface_id")
  if (asked.rules.length > limits.rules) return invalid(state, "Too many rules")
  const rules: Array<FirewallRule> = []
  for (const rule of asked.rules) {
    const checked = checkRule(rule)
    if (typeof checked === "string") return invalid(state, checked)
    rules.push(checked)
  }
  const entry = find(state.interfaces, asked.interface)
  if (entry === undefined) return failed(state, statusCodes.NO_VM)
  if (new Set(rules.map(({ id }) => id)).size !== rules.length)
    return failed(state, statusCodes.ALREADY_EXISTS)
  const spec: FirewallSpec = {
    interface: asked.interface,
    ingress: asked.ingress,
    egress: asked.egress,
    rules,
  }
  const before = entry.firewallSpec === undefined ? 0n : firewallDigest(entry.firewallSpec)
  const after = firewallDigest(spec)
  if (entry.firewallSpec !== undefined && before === after) return done(state)
  const next = withFirewall(state, { ...entry, firewallSpec: spec, firewall: compiled(spec) })
  return done(digested(next, before, after))
}

export const deleteFirewall = (state: ModelState, id: string): Step => {
  if (!named(id, 1, 63)) return invalid(state, "Invalid interface_id")
  const entry = find(state.interfaces, id)
  if (entry === undefined) return failed(state, statusCodes.NO_VM)
  const { firewallSpec } = entry
  if (firewallSpec === undefined) return failed(state, statusCodes.NOT_FOUND)
  const firewall = defaultFirewall(state.config)
  const next = withFirewall(state, { ...entry, firewallSpec: undefined, firewall })
  return done(digested(next, firewallDigest(firewallSpec)))
}
