#include "offload/rte_rule.h"

enum { FLAGS_SEEN_BY_US = 0x07 }; /* SYN, FIN, RST */

static void match(struct rte_rule *rule, enum rte_flow_item_type type, const void *spec, const void *mask)
{
	rule->items[rule->item_count++] = (struct rte_flow_item){.type = type, .spec = spec, .mask = mask};
}

static void act(struct rte_rule *rule, enum rte_flow_action_type type, const void *about)
{
	rule->actions[rule->action_count++] = (struct rte_flow_action){.type = type, .conf = about};
}

static void match_outer(struct rte_rule *rule, const struct offload_flow *flow)
{
	memcpy(rule->outer.hdr.dst_addr, flow->underlay, 16);
	memset(rule->outer_mask.hdr.dst_addr, 0xff, 16);
	rule->outer.hdr.proto = flow->tuple.family == 4 ? PROTOCOL_IPV4 : PROTOCOL_IPV6;
	rule->outer_mask.hdr.proto = 0xff;
	match(rule, RTE_FLOW_ITEM_TYPE_IPV6, &rule->outer, &rule->outer_mask);
}

static void match_inner(struct rte_rule *rule, const struct tuple *tuple)
{
	if (tuple->family == 4) {
		memcpy(&rule->inner4.hdr.src_addr, tuple->addresses, 4);
		memcpy(&rule->inner4.hdr.dst_addr, tuple->addresses + 4, 4);
		rule->inner4.hdr.next_proto_id = tuple->protocol;
		rule->inner4_mask.hdr.src_addr = rule->inner4_mask.hdr.dst_addr = UINT32_MAX;
		rule->inner4_mask.hdr.next_proto_id = 0xff;
		store16((uint8_t *)&rule->inner4_mask.hdr.fragment_offset, 0x3fff); /* offset and "more": both zero */
		match(rule, RTE_FLOW_ITEM_TYPE_IPV4, &rule->inner4, &rule->inner4_mask);
		return;
	}
	memcpy(rule->inner6.hdr.src_addr, tuple->addresses, 16);
	memcpy(rule->inner6.hdr.dst_addr, tuple->addresses + 16, 16);
	rule->inner6.hdr.proto = tuple->protocol;
	memset(rule->inner6_mask.hdr.src_addr, 0xff, 16);
	memset(rule->inner6_mask.hdr.dst_addr, 0xff, 16);
	rule->inner6_mask.hdr.proto = 0xff;
	match(rule, RTE_FLOW_ITEM_TYPE_IPV6, &rule->inner6, &rule->inner6_mask);
}

static void match_ports(struct rte_rule *rule, const struct tuple *tuple)
{
	uint16_t ports[2];
	memcpy(ports, &tuple->ports, sizeof ports); /* as in the packet, as rte_flow wants them */
	if (tuple->protocol == PROTOCOL_TCP) {
		rule->tcp.hdr.src_port = ports[0];
		rule->tcp.hdr.dst_port = ports[1];
		rule->tcp_mask.hdr.src_port = rule->tcp_mask.hdr.dst_port = UINT16_MAX;
		rule->tcp_mask.hdr.tcp_flags = FLAGS_SEEN_BY_US;
		match(rule, RTE_FLOW_ITEM_TYPE_TCP, &rule->tcp, &rule->tcp_mask);
		return;
	}
	rule->udp.hdr.src_port = ports[0];
	rule->udp.hdr.dst_port = ports[1];
	rule->udp_mask.hdr.src_port = rule->udp_mask.hdr.dst_port = UINT16_MAX;
	match(rule, RTE_FLOW_ITEM_TYPE_UDP, &rule->udp, &rule->udp_mask);
}

/* The headers as they come: only their kind and length matter to a device. */
static void take_headers(struct rte_rule *rule, const struct offload_flow *flow)
{
	bool v4 = flow->tuple.family == 4;
	store16(rule->taken + 12, flow->tunnelled || !v4 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
	if (flow->tunnelled) {
		rule->taken[14] = 0x60;
		rule->taken[14 + 6] = v4 ? PROTOCOL_IPV4 : PROTOCOL_IPV6;
		memcpy(rule->taken + 14 + 24, flow->underlay, 16);
	}
	rule->decap = (struct rte_flow_action_raw_decap){
		.data = rule->taken, .size = flow->tunnelled ? OFFLOAD_OUTER : ETHERNET_LENGTH,
	};
	act(rule, RTE_FLOW_ACTION_TYPE_RAW_DECAP, &rule->decap);
}

static void set_fields(struct rte_rule *rule, const struct rewrite *rewrite)
{
	if ((rewrite->set & REWRITE_SOURCE_ADDRESS) != 0) {
		memcpy(&rule->source.ipv4_addr, rewrite->source, 4);
		act(rule, RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC, &rule->source);
	}
	if ((rewrite->set & REWRITE_DESTINATION_ADDRESS) != 0) {
		memcpy(&rule->destination.ipv4_addr, rewrite->destination, 4);
		act(rule, RTE_FLOW_ACTION_TYPE_SET_IPV4_DST, &rule->destination);
	}
	if ((rewrite->set & REWRITE_SOURCE_PORT) != 0) {
		rule->source_port.port = rewrite->source_port;
		act(rule, RTE_FLOW_ACTION_TYPE_SET_TP_SRC, &rule->source_port);
	}
	if ((rewrite->set & REWRITE_DESTINATION_PORT) != 0) {
		rule->destination_port.port = rewrite->destination_port;
		act(rule, RTE_FLOW_ACTION_TYPE_SET_TP_DST, &rule->destination_port);
	}
}

void rte_rule_write(struct rte_rule *rule, const struct offload_flow *flow)
{
	memset(rule, 0, sizeof *rule);
	rule->attributes.transfer = 1; /* between devices of one switch */
	rule->from.port_id = flow->in;
	match(rule, RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT, &rule->from, &rte_flow_item_ethdev_mask);
	match(rule, RTE_FLOW_ITEM_TYPE_ETH, NULL, NULL);
	if (flow->tunnelled)
		match_outer(rule, flow);
	match_inner(rule, &flow->tuple);
	match_ports(rule, &flow->tuple);
	match(rule, RTE_FLOW_ITEM_TYPE_END, NULL, NULL);

	if (flow->idle_seconds > 0) {
		rule->age.timeout = flow->idle_seconds & 0xffffff;
		rule->age.context = flow->context;
		act(rule, RTE_FLOW_ACTION_TYPE_AGE, &rule->age);
	}
	act(rule, RTE_FLOW_ACTION_TYPE_COUNT, NULL);
	take_headers(rule, flow);
	set_fields(rule, &flow->rewrite);
	memcpy(rule->given, flow->header, OFFLOAD_OUTER);
	rule->encap = (struct rte_flow_action_raw_encap){
		.data = rule->given, .size = flow->encapsulate ? OFFLOAD_OUTER : ETHERNET_LENGTH,
	};
	act(rule, RTE_FLOW_ACTION_TYPE_RAW_ENCAP, &rule->encap);
	rule->to.port_id = flow->out;
	act(rule, RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, &rule->to);
	act(rule, RTE_FLOW_ACTION_TYPE_END, NULL);
}
