/**
 * What the normal run must reach, and how often at least: with its seed, 10,000 packets over 200 configurations.
 *
 * Every reason of a drop and every stage that packets can come by is here, and nowhere else. A run that reaches one of
 * them less often compares less than it seems to: the generator is to be mended, not the number.
 */
export const seed = 20_000

export const wanted: Readonly<Record<string, number>> = {
  "drop.balancer_empty": 3,
  "drop.balancer_port": 20,
  "drop.edge_gateway": 5,
  "drop.edge_source": 5,
  "drop.edge_ttl": 5,
  "drop.edge_unknown": 5,
  "drop.firewall_egress": 50,
  "drop.firewall_ingress": 50,
  "drop.flow_ended": 5,
  "drop.flow_limit": 20,
  "drop.flow_rate": 20,
  "drop.fragment": 50,
  "drop.inner_foreign": 50,
  "drop.malformed": 50,
  "drop.meter_public": 5,
  "drop.meter_total": 5,
  "drop.multicast": 20,
  "drop.nat_exhausted": 5,
  "drop.nat_protocol": 5,
  "drop.nat_unknown": 50,
  "drop.no_interface": 5,
  "drop.no_uplink": 5,
  "drop.not_gateway": 20,
  "drop.not_ip": 10,
  "drop.outer_malformed": 20,
  "drop.outer_stale": 10,
  "drop.outer_unknown": 20,
  "drop.route_miss": 100,
  "drop.service_rate": 5,
  "drop.spoof": 50,
  "drop.too_big": 20,
  "drop.unhandled": 100,
  "stage.answer.packets": 20,
  "stage.arp.packets": 10,
  "stage.decide.packets": 1000,
  "stage.deliver.packets": 500,
  "stage.dhcp4.packets": 5,
  "stage.dhcp6.packets": 5,
  "stage.echo.packets": 10,
  "stage.edge_arp.packets": 3,
  "stage.edge_echo.packets": 3,
  "stage.edge_error.packets": 3,
  "stage.edge_held.packets": 5,
  "stage.edge_in.packets": 20,
  "stage.edge_nd.packets": 5,
  "stage.edge_out.packets": 20,
  "stage.encap.packets": 500,
  "stage.flow_begin.packets": 500,
  "stage.flow_refresh.packets": 200,
  "stage.icmp_error.packets": 20,
  "stage.nd.packets": 20,
  "stage.relay.packets": 3,
  "stage.too_big.packets": 20,
  "stage.translate.packets": 100,
  "stage.virtual_service.packets": 20,
  // Flows that began, by how they are translated (the model says).
  "begun.Balancer": 20,
  "begun.Nat": 50,
  "begun.Nat shared": 3,
  "begun.Nat64": 10,
  "begun.Nat64 shared": 2,
  "begun.None": 500,
  "begun.Service": 10,
  "begun.VipIn": 10,
  "begun.VipOut": 10,
}

/** Reasons that no packet of these cases can meet, and why. */
export const unreached: Readonly<Record<string, string>> = {
  "drop.flow_table": "no case has as many flows as the smallest table",
  "drop.interface_gone": "only between a worker and a control thread",
  "drop.no_memory": "the pools are larger than a case",
}

/** Names of what was reached too seldom, with how often; and reasons that nobody has decided about. */
export const lacking = (counts: ReadonlyMap<string, bigint>): ReadonlyArray<string> => [
  ...Object.entries(wanted)
    .filter(([name, least]) => (counts.get(name) ?? 0n) < BigInt(least))
    .map(([name, least]) => `${name} ${counts.get(name) ?? 0n} of ${least}`),
  ...[...counts.keys()]
    .filter((name) => name.startsWith("drop.") && !(name in wanted) && !(name in unreached))
    .map((name) => `${name} is neither wanted nor known not to be reached`),
]
