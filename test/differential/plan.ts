/**
 * Configurations: what is there, as the generator knows it, and changes to it.
 *
 * Addresses come from few pools, so that things meet: both VNIs use the same ones, prefixes nest, NAT ranges touch.
 * Every underlay address is one that the generator chose: the model and the engine then have the same.
 */
import type { JsonObject } from "@bufbuild/protobuf"
import { formatIpv6 } from "#protocol/dataplane/model/address.ts"
import { type Change, gatewayMac, host } from "./case.ts"
import type { Dice } from "./dice.ts"

export interface Vm {
  readonly id: string
  readonly port: string
  readonly mac: string
  readonly vni: number
  readonly ipv4: string | undefined
  readonly ipv6: string | undefined
  readonly underlay: string
  readonly spec: JsonObject
}

/** Anything else that has an underlay address. */
export interface Endpoint {
  readonly kind: "alias" | "share" | "vip" | "nat" | "balancer"
  /** Id of the interface, or of the load balancer. */
  readonly owner: string
  readonly vni: number
  /** An address of it. */
  readonly address: string
  readonly underlay: string
  /** NAT: its range. Load balancer: its ports. */
  readonly ports: ReadonlyArray<readonly [number, number]>
}

export interface Peer {
  readonly vni: number
  readonly address: string
  readonly underlay: string
}

/** A way out of the overlay, and what is outside. */
export interface Edge {
  readonly name: string
  readonly port: string
  readonly vni: number
  readonly underlay: string
  readonly spec: JsonObject
}

export interface Plan {
  readonly vnis: ReadonlyArray<number>
  readonly vms: Array<Vm>
  readonly endpoints: Array<Endpoint>
  readonly routes: Array<{ readonly vni: number; readonly prefix: string }>
  readonly neighbours: Array<JsonObject>
  readonly firewalls: Set<string>
  readonly edges: Array<Edge>
  /** Given out so far: indexes of underlay addresses, ids. */
  next: number
}

export const emptyPlan = (vnis: ReadonlyArray<number>): Plan => ({
  vnis,
  vms: [],
  endpoints: [],
  routes: [],
  neighbours: [],
  firewalls: new Set(),
  edges: [],
  next: 1,
})

/** A change, and what the plan is once it is done. */
export interface Step {
  readonly change: Change
  readonly done: () => void
}

const types = { interface: 1, vip: 2, nat: 3, balancer: 4, share: 5, alias: 6, edge: 7 } as const

const underlay = (plan: Plan, type: keyof typeof types): string => {
  const index = plan.next++
  return formatIpv6(
    Uint8Array.of(
      0xfd,
      0,
      0,
      0xf,
      0,
      0x71,
      0,
      0,
      0xd0,
      types[type],
      0x80,
      0,
      1,
      0,
      index >>> 8,
      index & 0xff,
    ),
  )
}

/** Hosts elsewhere; they have VMs, load balancer targets and ways out. */
export const remotes = ["fd00:f:72::1", "fd00:f:72::2", "fd00:f:73::1", "fd00:f:73:0:d001:1:0:7"] as const
export const outside = [
  "198.51.100.1",
  "198.51.100.2",
  "192.0.2.9",
  "2001:db8:99::1",
  "2001:db8:99::2",
] as const
export const peers: ReadonlyArray<readonly [string, string]> = [
  ["10.0.1.1", remotes[0]],
  ["10.0.1.2", remotes[1]],
  ["10.0.1.3", remotes[2]],
  ["fd00:1::1", remotes[0]],
  ["fd00:1::2", remotes[3]],
]
/** Reached by VMs of every VNI, with or without a route. */
export const services = [
  { protocol: 17, ip: "10.96.0.10", port: 53, target: "2001:db8:53::53", targetPort: 53 },
  { protocol: 6, ip: "10.96.0.10", port: 80, target: "2001:db8:53::80", targetPort: 8080 },
  { protocol: 6, ip: "169.254.169.254", port: 80, target: "2001:db8:53::81", targetPort: 80 },
] as const
const natAddresses = ["203.0.113.100", "203.0.113.101"] as const
const vips = ["203.0.113.1", "203.0.113.2", "203.0.113.3"] as const
export const balancerAddresses = ["203.0.113.50", "10.5.0.1", "2001:db8:50::1"] as const
const aliasPrefixes = [
  "10.1.0.0/24",
  "10.1.0.8/30",
  "10.1.1.7/32",
  "fd01::/64",
  "fd01:0:0:1::5/128",
  "10.2.0.0/16",
] as const
export const servicePorts = [80, 443, 53, 8080, 1000] as const

const put = (kind: string, value: JsonObject | string | number): Change => ({ [kind]: value })

export const addVm = (plan: Plan, dice: Dice): Step | undefined => {
  const port = dice.maybe(host.ports.slice(0, 6).filter((one) => !plan.vms.some((vm) => vm.port === one)))
  if (port === undefined) return undefined
  const last = dice.oneIn(12) ? 1 + dice.below(6) : Number(port.slice(1)) + 1
  const family = dice.weighted([
    [6, "dual"],
    [2, "v4"],
    [2, "v6"],
  ] as const)
  const vni = dice.pick(plan.vnis)
  const ipv4 = family === "v6" ? undefined : `10.0.0.${last}`
  const ipv6 = family === "v4" ? undefined : `fd00::${last}`
  const address = underlay(plan, "interface")
  const spec: JsonObject = {
    id: `vm${port.slice(1)}`,
    vni,
    ...(ipv4 === undefined ? {} : { ipv4 }),
    ...(ipv6 === undefined ? {} : { ipv6 }),
    device: port,
    ...(dice.oneIn(2) ? { hostname: `host-${port}` } : {}),
    underlayAddress: address,
    ...settings(dice),
  }
  const vm: Vm = {
    id: `vm${port.slice(1)}`,
    port,
    mac: `02:00:00:00:00:1${port.slice(1)}`,
    vni,
    ipv4,
    ipv6,
    underlay: address,
    spec,
  }
  return { change: put("createInterface", spec), done: () => void plan.vms.push(vm) }
}

/** What of an interface may change while it is there. */
const settings = (dice: Dice): JsonObject => ({
  ...(dice.oneIn(6) ? { totalRate: `${dice.pick([1, 5, 30])}` } : {}),
  ...(dice.oneIn(5) ? { publicRate: `${dice.pick([1, 2])}` } : {}),
  ...(dice.oneIn(6) ? { spoofCheckOff: true } : {}),
  ...(dice.oneIn(8) ? { flowLimit: dice.pick([1, 3, 8]) } : {}),
  ...(dice.oneIn(8) ? { flowRate: dice.pick([1, 2, 5]) } : {}),
  ...(dice.oneIn(10) ? { pxeServer: "fd00::99", pxeFile: "boot.efi" } : {}),
})

const changeVm = (plan: Plan, dice: Dice): Step | undefined => {
  const vm = dice.maybe(plan.vms)
  if (vm === undefined) return undefined
  const { id, vni, device } = vm.spec
  const spec: JsonObject = {
    ...(id === undefined ? {} : { id }),
    ...(vni === undefined ? {} : { vni }),
    ...(vm.ipv4 === undefined ? {} : { ipv4: vm.ipv4 }),
    ...(vm.ipv6 === undefined ? {} : { ipv6: vm.ipv6 }),
    ...(device === undefined ? {} : { device }),
    underlayAddress: vm.underlay,
    ...settings(dice),
  }
  return {
    change: put("createInterface", spec),
    done: () => void plan.vms.splice(plan.vms.indexOf(vm), 1, { ...vm, spec }),
  }
}

const removeVm = (plan: Plan, dice: Dice): Step | undefined => {
  const vm = dice.maybe(plan.vms)
  if (vm === undefined) return undefined
  return {
    change: put("deleteInterface", vm.id),
    done: () => {
      plan.vms.splice(plan.vms.indexOf(vm), 1)
      keep(plan.endpoints, (one) => one.kind === "balancer" || one.owner !== vm.id)
      plan.firewalls.delete(vm.id)
    },
  }
}

const keep = <A>(list: Array<A>, wanted: (one: A) => boolean): void => {
  list.splice(0, list.length, ...list.filter(wanted))
}

export const addRoute = (plan: Plan, dice: Dice): Step | undefined => {
  const used = plan.vms.map((vm) => vm.vni)
  const vni = dice.oneIn(30) ? dice.pick(plan.vnis) : (dice.maybe(used) ?? dice.pick(plan.vnis))
  const prefix = dice.pick([
    "0.0.0.0/0",
    "::/0",
    "0.0.0.0/0",
    "::/0",
    "0.0.0.0/0",
    "198.51.100.0/24",
    "10.0.1.0/24",
    "10.0.0.0/16",
    "fd00:1::/64",
    "2001:db8:99::1/128",
    "192.0.2.0/25",
    ...peers.map(([address]) => `${address}/${address.includes(":") ? 128 : 32}`),
  ])
  const exact = peers.find(([address]) => prefix.startsWith(`${address}/`))?.[1]
  const own = [...plan.vms.map((vm) => vm.underlay), ...plan.endpoints.map((one) => one.underlay)]
  const edge = plan.edges.find((one) => one.vni === vni)
  const hop = dice.weighted<string>([
    [12, exact ?? dice.pick(remotes)],
    [1, dice.pick(remotes)],
    [2, dice.maybe(own) ?? remotes[0]],
    [1, `${host.prefix}d001:80:0:99`],
    [edge === undefined || exact !== undefined ? 0 : 8, edge?.underlay ?? ""],
  ])
  const several = dice.oneIn(6)
  return {
    change: put("putRoute", {
      vni,
      prefix,
      nextHop: hop,
      nextHopVni: dice.oneIn(10) ? vni + 1 : vni,
      ...(several
        ? {
            hops: remotes.slice(0, 1 + dice.below(4)).map((address) => ({
              address,
              vni,
              weight: dice.pick([1, 1, 2, 7, 256]),
            })),
          }
        : {}),
    }),
    done: () => void plan.routes.push({ vni, prefix }),
  }
}

/** The way out of a VNI. */
export const addDefault = (plan: Plan, dice: Dice, vni: number, prefix: "0.0.0.0/0" | "::/0"): Step => ({
  change: put("putRoute", { vni, prefix, nextHop: dice.pick(remotes), nextHopVni: vni }),
  done: () => void plan.routes.push({ vni, prefix }),
})

const removeRoute = (plan: Plan, dice: Dice): Step | undefined => {
  const route = dice.maybe(plan.routes)
  if (route === undefined) return undefined
  return {
    change: put("deleteRoute", { ...route }),
    done: () => keep(plan.routes, (one) => one.vni !== route.vni || one.prefix !== route.prefix),
  }
}

const resetVni = (plan: Plan, dice: Dice): Step => {
  const vni = dice.pick(plan.vnis)
  return { change: put("resetVni", vni), done: () => keep(plan.routes, (one) => one.vni !== vni) }
}

const firstOf = (prefix: string): string => prefix.slice(0, prefix.indexOf("/"))

const addPrefix = (plan: Plan, dice: Dice, kind: "alias" | "share"): Step | undefined => {
  const vm = dice.maybe(plan.vms)
  if (vm === undefined) return undefined
  const prefix =
    kind === "alias"
      ? dice.pick(aliasPrefixes)
      : dice.pick(balancerAddresses.map((address) => `${address}/${address.includes(":") ? 128 : 32}`))
  const address = underlay(plan, kind)
  return {
    change: put(kind === "alias" ? "putAliasPrefix" : "putBalancerPrefix", {
      interface: vm.id,
      prefix,
      underlayAddress: address,
    }),
    done: () =>
      void plan.endpoints.push({
        kind,
        owner: vm.id,
        vni: vm.vni,
        address: firstOf(prefix),
        underlay: address,
        ports: [],
      }),
  }
}

const removePrefix = (plan: Plan, dice: Dice, kind: "alias" | "share"): Step | undefined => {
  const one = dice.maybe(plan.endpoints.filter((endpoint) => endpoint.kind === kind))
  if (one === undefined) return undefined
  const list: ReadonlyArray<string> = [
    ...aliasPrefixes,
    ...balancerAddresses.flatMap((a) => [`${a}/32`, `${a}/128`]),
  ]
  return {
    change: put(kind === "alias" ? "deleteAliasPrefix" : "deleteBalancerPrefix", {
      interface: one.owner,
      prefix: list.find((prefix) => firstOf(prefix) === one.address && fits(prefix)) ?? "",
    }),
    done: () => keep(plan.endpoints, (other) => other !== one),
  }
}

const fits = (prefix: string): boolean =>
  prefix.includes(":") || Number(prefix.slice(prefix.indexOf("/") + 1)) <= 32

const addVip = (plan: Plan, dice: Dice): Step | undefined => {
  const vm = dice.maybe(plan.vms.filter(({ ipv4 }) => ipv4 !== undefined || dice.oneIn(8)))
  if (vm === undefined) return undefined
  const ip = dice.pick(vips)
  const address = underlay(plan, "vip")
  return {
    change: put("putVip", { interface: vm.id, ip, underlayAddress: address }),
    done: () => {
      keep(plan.endpoints, (one) => one.kind !== "vip" || one.owner !== vm.id)
      plan.endpoints.push({
        kind: "vip",
        owner: vm.id,
        vni: vm.vni,
        address: ip,
        underlay: address,
        ports: [],
      })
    },
  }
}

const addNat = (plan: Plan, dice: Dice): Step | undefined => {
  const vm = dice.maybe(plan.vms.filter(({ ipv4 }) => ipv4 !== undefined || dice.oneIn(8)))
  if (vm === undefined) return undefined
  const old = plan.endpoints.find((one) => one.kind === "nat" && one.owner === vm.id)
  const ip = old !== undefined && dice.oneIn(2) ? old.address : dice.pick(natAddresses)
  const [min, max] = range(dice)
  const address = old !== undefined && old.address === ip ? old.underlay : underlay(plan, "nat")
  return {
    change: put("putNat", { interface: vm.id, ip, minPort: min, maxPort: max, underlayAddress: address }),
    done: () => {
      keep(plan.endpoints, (one) => one.kind !== "nat" || one.owner !== vm.id)
      plan.endpoints.push({
        kind: "nat",
        owner: vm.id,
        vni: vm.vni,
        address: ip,
        underlay: address,
        ports: [[min, max]],
      })
    },
  }
}

const range = (dice: Dice): readonly [number, number] => {
  const min = dice.pick([0, 1, 1000, 1001, 1004, 2000, 30000, 65532])
  return [min, Math.min(dice.pick([65535, 65536]), min + dice.pick([1, 1, 2, 3, 4, 16, 1000, 30000]))]
}

const removeOwned = (plan: Plan, dice: Dice, kind: "vip" | "nat"): Step | undefined => {
  const one = dice.maybe(plan.endpoints.filter((endpoint) => endpoint.kind === kind))
  if (one === undefined) return undefined
  return {
    change: put(kind === "vip" ? "deleteVip" : "deleteNat", one.owner),
    done: () => keep(plan.endpoints, (other) => other !== one),
  }
}

const addNeighbour = (plan: Plan, dice: Dice): Step => {
  const [minPort, maxPort] = range(dice)
  const spec = {
    vni: dice.pick(plan.vnis),
    ip: dice.pick(natAddresses),
    minPort,
    maxPort,
    underlayAddress: dice.pick(remotes),
  }
  return { change: put("putNeighborNat", spec), done: () => void plan.neighbours.push(spec) }
}

const removeNeighbour = (plan: Plan, dice: Dice): Step | undefined => {
  const one = dice.maybe(plan.neighbours)
  if (one === undefined) return undefined
  return {
    change: put("deleteNeighborNat", one),
    done: () => keep(plan.neighbours, (other) => other !== one),
  }
}

const addBalancer = (plan: Plan, dice: Dice): Step => {
  const old = dice.maybe(plan.endpoints.filter(({ kind }) => kind === "balancer"))
  const again = old !== undefined && dice.oneIn(2) ? old : undefined
  const vni = again?.vni ?? dice.pick(plan.vnis)
  const ip = again?.address ?? dice.pick(balancerAddresses)
  const id = again?.owner ?? `lb${plan.next}`
  const address = again?.underlay ?? underlay(plan, "balancer")
  const ports: Array<readonly [number, number]> = dice.pick<Array<readonly [number, number]>>([
    [[80, 80]],
    [
      [80, 80],
      [443, 443],
    ],
    [[50, 90]],
    [[1000, 1010]],
    [[53, 53]],
    [],
  ])
  const local = plan.endpoints
    .filter((one) => one.kind === "share" && one.address === ip)
    .map((one) => one.underlay)
  const targets = [
    ...remotes.slice(0, dice.below(4)),
    ...local.filter(() => dice.oneIn(2)),
    ...(dice.oneIn(8) ? plan.vms.slice(0, 1).map((vm) => vm.underlay) : []),
  ]
  return {
    change: put("putLoadBalancer", {
      id,
      vni,
      ip,
      ports: ports.flatMap(([first, last]) =>
        (dice.oneIn(6) ? [6] : dice.oneIn(5) ? [17] : [6, 17]).map((protocol) => ({ protocol, first, last })),
      ),
      targets,
      underlayAddress: address,
    }),
    done: () => {
      keep(plan.endpoints, (one) => one.kind !== "balancer" || one.owner !== id)
      plan.endpoints.push({ kind: "balancer", owner: id, vni, address: ip, underlay: address, ports })
    },
  }
}

const removeBalancer = (plan: Plan, dice: Dice): Step | undefined => {
  const one = dice.maybe(plan.endpoints.filter(({ kind }) => kind === "balancer"))
  if (one === undefined) return undefined
  return {
    change: put("deleteLoadBalancer", one.owner),
    done: () => keep(plan.endpoints, (other) => other !== one),
  }
}

/** Outside of an edge: two ports that no VM has. */
export const edgePorts = ["p6", "p7"] as const
export const edgeOutside = {
  own4: ["192.0.2.254/24", "198.51.100.254", "192.0.2.254/25"],
  own6: ["2001:db8:99::fe/64", "2001:db8:99::fe"],
  gateways4: ["192.0.2.1", "198.51.100.1"],
  gateways6: ["2001:db8:99::1", "fe80::99"],
  mac: "02:00:00:00:00:99",
} as const

const addEdge = (plan: Plan, dice: Dice): Step => {
  const old = dice.maybe(plan.edges)
  const again = old !== undefined && dice.oneIn(2) ? old : undefined
  const port = again?.port ?? dice.pick(edgePorts)
  const name = again?.name ?? `edge-${port}`
  const vni = again?.vni ?? dice.pick(plan.vnis)
  const address = again?.underlay ?? underlay(plan, "edge")
  const spec: JsonObject = {
    name,
    vni,
    device: port,
    ...(dice.oneIn(8) ? {} : { outsideIpv4: dice.pick(edgeOutside.own4) }),
    ...(dice.oneIn(4) ? {} : { outsideIpv6: dice.pick(edgeOutside.own6) }),
    ...(dice.oneIn(6) ? {} : { gatewayIpv4: dice.pick(edgeOutside.gateways4) }),
    ...(dice.oneIn(4) ? {} : { gatewayIpv6: dice.pick(edgeOutside.gateways6) }),
    ...(dice.oneIn(3) ? { gatewayMac: edgeOutside.mac } : {}),
    underlayAddress: address,
  }
  return {
    change: put("putEdge", spec),
    done: () => {
      keep(plan.edges, (one) => one.name !== name)
      plan.edges.push({ name, port, vni, underlay: address, spec })
    },
  }
}

const removeEdge = (plan: Plan, dice: Dice): Step | undefined => {
  const one = dice.maybe(plan.edges)
  if (one === undefined) return undefined
  return { change: put("deleteEdge", one.name), done: () => keep(plan.edges, (other) => other !== one) }
}

export const rule = (dice: Dice, id: number): JsonObject => {
  const family = dice.weighted([
    [4, "4"],
    [2, "6"],
    [2, ""],
  ] as const)
  const prefixes: ReadonlyArray<string> =
    family === "4"
      ? [
          "",
          "0.0.0.0/0",
          "10.0.0.0/24",
          "10.0.1.0/24",
          "198.51.100.0/24",
          "10.0.0.2/32",
          "203.0.113.0/24",
          "10.1.0.8/30",
        ]
      : family === "6"
        ? ["", "::/0", "fd00::/64", "fd00::2/128", "2001:db8:99::/48", "fd00:1::/64"]
        : [""]
  const source = dice.pick(prefixes)
  const destination = dice.pick(prefixes)
  const protocol = dice.pick([0, 0, 6, 17, 1, 132])
  const ports = (): JsonObject | undefined =>
    dice.pick([
      undefined,
      undefined,
      { first: 80, last: 80 },
      { first: 0, last: 1023 },
      { first: 1000, last: 1005 },
    ])
  const sourcePorts = protocol === 6 || protocol === 17 ? ports() : undefined
  const destinationPorts = protocol === 6 || protocol === 17 || protocol === 132 ? ports() : undefined
  const type = protocol === 1 ? dice.pick([undefined, 8, 0, 128, 129, 3]) : undefined
  return {
    id: `r${id}`,
    egress: dice.oneIn(2),
    accept: dice.oneIn(2),
    priority: dice.pick([0, 1, 100, 100, 65535]),
    source,
    destination,
    protocol,
    ...(sourcePorts === undefined ? {} : { sourcePorts }),
    ...(destinationPorts === undefined ? {} : { destinationPorts }),
    ...(type === undefined ? {} : { icmpType: type, ...(dice.oneIn(3) ? { icmpCode: dice.below(4) } : {}) }),
  }
}

const addFirewall = (plan: Plan, dice: Dice): Step | undefined => {
  const vm = dice.maybe(plan.vms)
  if (vm === undefined) return undefined
  const count = dice.weighted([
    [2, 0],
    [4, 1],
    [4, 3],
    [2, 8],
    [1, 40],
  ])
  const defaults = [
    "FIREWALL_DEFAULT_ACCEPT",
    "FIREWALL_DEFAULT_ACCEPT",
    "FIREWALL_DEFAULT_DROP",
    "FIREWALL_DEFAULT_RULES",
  ]
  return {
    change: put("putFirewall", {
      interface: vm.id,
      ingress: dice.pick(defaults),
      egress: dice.pick(defaults),
      rules: Array.from({ length: count }, (_, id) => rule(dice, id)),
    }),
    done: () => void plan.firewalls.add(vm.id),
  }
}

const removeFirewall = (plan: Plan, dice: Dice): Step | undefined => {
  const id = dice.maybe([...plan.firewalls])
  if (id === undefined) return undefined
  return { change: put("deleteFirewall", id), done: () => void plan.firewalls.delete(id) }
}

/** Asks for what must be refused, or is done already. */
const nonsense = (plan: Plan, dice: Dice): Step => ({
  change: dice.pick<Change>([
    put("deleteInterface", "nobody"),
    put("deleteRoute", { vni: 100, prefix: "10.99.0.0/16" }),
    put("putRoute", { vni: 999, prefix: "10.99.0.0/16", nextHop: remotes[0], nextHopVni: 999 }),
    put("putRoute", { vni: 100, prefix: "10.0.0.1/32", nextHop: remotes[0], nextHopVni: 100 }),
    put("putRoute", { vni: 100, prefix: "10.99.0.0/33", nextHop: remotes[0], nextHopVni: 100 }),
    put("putRoute", { vni: 100, prefix: "10.99.0.0/16", nextHop: "10.0.0.1", nextHopVni: 100 }),
    put("createInterface", { id: "vm0", vni: 100, device: "p0" }),
    put("createInterface", { id: "vm9", vni: 0, ipv4: "10.0.0.99", device: "p7" }),
    put("createInterface", { id: "vm9", vni: 100, ipv4: "10.0.0.99", device: "nothing" }),
  ]),
  done: () => undefined,
})

export type Kind = keyof typeof kinds

/** Kinds of changes, and how often each is tried. */
export const kinds = {
  addVm: [6, addVm],
  changeVm: [3, changeVm],
  removeVm: [2, removeVm],
  addRoute: [10, addRoute],
  removeRoute: [3, removeRoute],
  resetVni: [1, resetVni],
  addAlias: [4, (plan: Plan, dice: Dice) => addPrefix(plan, dice, "alias")],
  removeAlias: [2, (plan: Plan, dice: Dice) => removePrefix(plan, dice, "alias")],
  addShare: [4, (plan: Plan, dice: Dice) => addPrefix(plan, dice, "share")],
  removeShare: [2, (plan: Plan, dice: Dice) => removePrefix(plan, dice, "share")],
  addVip: [4, addVip],
  removeVip: [2, (plan: Plan, dice: Dice) => removeOwned(plan, dice, "vip")],
  addNat: [6, addNat],
  removeNat: [2, (plan: Plan, dice: Dice) => removeOwned(plan, dice, "nat")],
  addNeighbour: [3, addNeighbour],
  removeNeighbour: [1, removeNeighbour],
  addBalancer: [5, addBalancer],
  removeBalancer: [1, removeBalancer],
  addFirewall: [5, addFirewall],
  removeFirewall: [2, removeFirewall],
  addEdge: [3, addEdge],
  removeEdge: [1, removeEdge],
  nonsense: [1, nonsense],
} as const satisfies Record<string, readonly [number, (plan: Plan, dice: Dice) => Step | undefined]>

/** One change of any of these kinds; `undefined`: there is nothing to change so. */
export const anyChange = (plan: Plan, dice: Dice, allowed: ReadonlySet<Kind>): Step | undefined => {
  const list = (Object.entries(kinds) as ReadonlyArray<[Kind, (typeof kinds)[Kind]]>).filter(([kind]) =>
    allowed.has(kind),
  )
  return dice.weighted(list.map(([, [weight, make]]) => [weight, make] as const))(plan, dice)
}

/** A change that ends flows where there are some: of translations and of targets. */
export const disturb = (plan: Plan, dice: Dice, allowed: ReadonlySet<Kind>): Step | undefined => {
  const kind = dice.pick(["addNat", "addVip", "addBalancer", "removeNat", "removeVip"] as const)
  return allowed.has(kind) ? kinds[kind][1](plan, dice) : undefined
}

export const macOfGateway = (vm: Vm): string => gatewayMac(vm.port)
