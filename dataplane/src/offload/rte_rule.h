/* A decided flow in rte_flow's words: what to match, what to do. Pure; nothing here touches a device.
 *
 * Pattern: the device that it comes from; Ethernet; the outer IPv6 header, where there is one, by its destination; the
 * inner header by its addresses, whole packets only; ports, and for TCP no SYN, FIN or RST.
 * Actions: age; count; the old link header and, where there is one, the outer header off; rewrites; the new headers on;
 * out of the other device.
 */
#ifndef FERRITE_OFFLOAD_RTE_RULE_H
#define FERRITE_OFFLOAD_RTE_RULE_H

#include <rte_flow.h>

#include "offload/offload.h"

enum { RULE_ITEMS = 7, RULE_ACTIONS = 12 };

/* Points into itself: not to be copied. */
struct rte_rule {
	struct rte_flow_attr attributes;
	struct rte_flow_item items[RULE_ITEMS];
	struct rte_flow_action actions[RULE_ACTIONS];
	unsigned item_count, action_count;

	struct rte_flow_item_ethdev from;
	struct rte_flow_item_ipv6 outer, outer_mask, inner6, inner6_mask;
	struct rte_flow_item_ipv4 inner4, inner4_mask;
	struct rte_flow_item_tcp tcp, tcp_mask;
	struct rte_flow_item_udp udp, udp_mask;

	struct rte_flow_action_age age;
	struct rte_flow_action_raw_decap decap;
	struct rte_flow_action_raw_encap encap;
	struct rte_flow_action_set_ipv4 source, destination;
	struct rte_flow_action_set_tp source_port, destination_port;
	struct rte_flow_action_ethdev to;
	uint8_t taken[OFFLOAD_OUTER], given[OFFLOAD_OUTER];
};

/* `offload_needs(flow)` is not 0. */
void rte_rule_write(struct rte_rule *rule, const struct offload_flow *flow);

#endif
