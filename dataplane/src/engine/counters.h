/* Every counter of the engine, by stage and by reason of a drop.
 *
 * The worker adds with plain stores; the control thread reads whenever it likes.
 */
#ifndef FERRITE_ENGINE_COUNTERS_H
#define FERRITE_ENGINE_COUNTERS_H

#include <stdint.h>

#define FERRITE_COUNTERS(X) \
	X(stage_classify, "stage.classify.packets") \
	X(stage_decide, "stage.decide.packets") \
	X(stage_encap, "stage.encap.packets") \
	X(stage_decap, "stage.decap.packets") \
	X(stage_deliver, "stage.deliver.packets") \
	X(stage_local, "stage.local.packets") \
	X(stage_arp, "stage.arp.packets") \
	X(stage_nd, "stage.nd.packets") \
	X(stage_dhcp4, "stage.dhcp4.packets") \
	X(stage_dhcp6, "stage.dhcp6.packets") \
	X(stage_echo, "stage.echo.packets") \
	X(stage_too_big, "stage.too_big.packets") \
	X(stage_flow_begin, "stage.flow_begin.packets") \
	X(stage_flow_refresh, "stage.flow_refresh.packets") \
	X(stage_translate, "stage.translate.packets") \
	X(stage_icmp_error, "stage.icmp_error.packets") \
	X(stage_relay, "stage.relay.packets") \
	X(stage_answer, "stage.answer.packets") \
	X(stage_virtual_service, "stage.virtual_service.packets") \
	X(stage_edge_in, "stage.edge_in.packets") \
	X(stage_edge_out, "stage.edge_out.packets") \
	X(stage_edge_held, "stage.edge_held.packets") \
	X(stage_edge_arp, "stage.edge_arp.packets") \
	X(stage_edge_nd, "stage.edge_nd.packets") \
	X(stage_edge_echo, "stage.edge_echo.packets") \
	X(stage_edge_error, "stage.edge_error.packets") \
	X(drop_no_interface, "drop.no_interface") \
	X(drop_malformed, "drop.malformed") \
	X(drop_not_ip, "drop.not_ip") \
	X(drop_not_gateway, "drop.not_gateway") \
	X(drop_spoof, "drop.spoof") \
	X(drop_multicast, "drop.multicast") \
	X(drop_unhandled, "drop.unhandled") \
	X(drop_route_miss, "drop.route_miss") \
	X(drop_too_big, "drop.too_big") \
	X(drop_no_uplink, "drop.no_uplink") \
	X(drop_outer_malformed, "drop.outer_malformed") \
	X(drop_outer_unknown, "drop.outer_unknown") \
	X(drop_outer_stale, "drop.outer_stale") \
	X(drop_inner_foreign, "drop.inner_foreign") \
	X(drop_interface_gone, "drop.interface_gone") \
	X(drop_no_memory, "drop.no_memory") \
	X(drop_service_rate, "drop.service_rate") \
	X(drop_fragment, "drop.fragment") \
	X(drop_firewall_egress, "drop.firewall_egress") \
	X(drop_firewall_ingress, "drop.firewall_ingress") \
	X(drop_flow_limit, "drop.flow_limit") \
	X(drop_flow_rate, "drop.flow_rate") \
	X(drop_flow_table, "drop.flow_table") \
	X(drop_flow_ended, "drop.flow_ended") \
	X(drop_meter_total, "drop.meter_total") \
	X(drop_meter_public, "drop.meter_public") \
	X(drop_nat_protocol, "drop.nat_protocol") \
	X(drop_nat_exhausted, "drop.nat_exhausted") \
	X(drop_nat_unknown, "drop.nat_unknown") \
	X(drop_balancer_port, "drop.balancer_port") \
	X(drop_balancer_empty, "drop.balancer_empty") \
	X(drop_edge_unknown, "drop.edge_unknown") \
	X(drop_edge_source, "drop.edge_source") \
	X(drop_edge_ttl, "drop.edge_ttl") \
	X(drop_edge_gateway, "drop.edge_gateway")

struct counters {
#define X(field, name) uint64_t field;
	FERRITE_COUNTERS(X)
#undef X
};

/* The same by number, to hand a reason on. 0, a stage, is "no reason". */
enum counter {
#define X(field, name) COUNTER_##field,
	FERRITE_COUNTERS(X)
#undef X
	COUNTERS,
};
_Static_assert(sizeof(struct counters) == COUNTERS * sizeof(uint64_t), "counters are an array");
#define NO_DROP COUNTER_stage_classify

#define COUNT(engine, field, n) ((engine)->counters.field += (n))


#endif
