/** A small case for each kind of change, which works where the kind is known. */
import type { Case, Change } from "./case.ts"
import type { Kind } from "./plan.ts"

const address = (type: number, index: number): string => `fd00:f:71:0:d00${type}:8000:100:${index}`

const vm: Change = {
  createInterface: {
    id: "vm0",
    vni: 100,
    ipv4: "10.0.0.1",
    ipv6: "fd00::1",
    device: "p0",
    underlayAddress: address(1, 1),
  },
}
const alias = { interface: "vm0", prefix: "10.1.0.0/24", underlayAddress: address(6, 2) }
const share = { interface: "vm0", prefix: "10.5.0.1/32", underlayAddress: address(5, 3) }
const vip = { interface: "vm0", ip: "203.0.113.1", underlayAddress: address(2, 4) }
const nat = {
  interface: "vm0",
  ip: "203.0.113.100",
  minPort: 1000,
  maxPort: 1100,
  underlayAddress: address(3, 5),
}
const neighbour = {
  vni: 100,
  ip: "203.0.113.100",
  minPort: 2000,
  maxPort: 2100,
  underlayAddress: "fd00:f:72::1",
}
const balancer = {
  id: "lb",
  vni: 100,
  ip: "203.0.113.50",
  ports: [{ protocol: 6, first: 80, last: 80 }],
  targets: ["fd00:f:72::1"],
  underlayAddress: address(4, 6),
}
const route = { vni: 100, prefix: "0.0.0.0/0", nextHop: "fd00:f:72::1", nextHopVni: 100 }
const firewall = {
  interface: "vm0",
  rules: [{ id: "r", egress: true, accept: true, priority: 1, protocol: 6 }],
}

const edge = {
  name: "edge",
  vni: 100,
  device: "p6",
  outsideIpv4: "192.0.2.254/24",
  gatewayIpv4: "192.0.2.1",
  underlayAddress: address(7, 7),
}

const changes: ReadonlyArray<readonly [Kind, ReadonlyArray<Change>]> = [
  ["addVm", []],
  ["removeVm", [{ deleteInterface: "vm0" }]],
  [
    "changeVm",
    [
      {
        createInterface: {
          id: "vm0",
          vni: 100,
          ipv4: "10.0.0.1",
          ipv6: "fd00::1",
          device: "p0",
          underlayAddress: address(1, 1),
          totalRate: "10",
          spoofCheckOff: true,
        },
      },
    ],
  ],
  ["addRoute", [{ putRoute: route }]],
  ["removeRoute", [{ putRoute: route }, { deleteRoute: { vni: 100, prefix: "0.0.0.0/0" } }]],
  ["resetVni", [{ putRoute: route }, { resetVni: 100 }]],
  ["addAlias", [{ putAliasPrefix: alias }]],
  ["removeAlias", [{ putAliasPrefix: alias }, { deleteAliasPrefix: alias }]],
  ["addShare", [{ putBalancerPrefix: share }]],
  ["removeShare", [{ putBalancerPrefix: share }, { deleteBalancerPrefix: share }]],
  ["addVip", [{ putVip: vip }]],
  ["removeVip", [{ putVip: vip }, { deleteVip: "vm0" }]],
  ["addNat", [{ putNat: nat }]],
  ["removeNat", [{ putNat: nat }, { deleteNat: "vm0" }]],
  ["addNeighbour", [{ putNeighborNat: neighbour }]],
  ["removeNeighbour", [{ putNeighborNat: neighbour }, { deleteNeighborNat: neighbour }]],
  ["addBalancer", [{ putLoadBalancer: balancer }]],
  ["removeBalancer", [{ putLoadBalancer: balancer }, { deleteLoadBalancer: "lb" }]],
  ["addFirewall", [{ putFirewall: firewall }]],
  ["addEdge", [{ putEdge: edge }]],
  ["removeEdge", [{ putEdge: edge }, { deleteEdge: "edge" }]],
  ["removeFirewall", [{ putFirewall: firewall }, { deleteFirewall: "vm0" }]],
]

export const probes: ReadonlyArray<readonly [Kind, Case]> = [
  ...changes.map(([kind, then]): readonly [Kind, Case] => [
    kind,
    {
      options: { seed: 1, mtu: 1450, uplink: true, flowTimeoutSeconds: 30 },
      commands: [{ _tag: "Apply", operations: [vm, ...then] }],
    },
  ]),
  ["nonsense", { options: { seed: 1, mtu: 1450, uplink: true, flowTimeoutSeconds: 30 }, commands: [] }],
]
