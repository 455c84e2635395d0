/* Flows for a device: what is asked of rte_flow, and what stays in software. */
#include <errno.h>

#include "control/check.h"
#include "offload/rte_rule.h"
#include "world.h"

static struct rte_rule rule;

/* A TCP flow of a VM to somewhere remote, by its NAT. */
static struct offload_flow nat_out(void)
{
	struct offload_flow flow = {.in = 3, .out = 1, .encapsulate = true, .idle_seconds = 30, .context = &rule};
	flow.tuple.family = 4;
	flow.tuple.protocol = PROTOCOL_TCP;
	memcpy(flow.tuple.addresses, (const uint8_t[8]){10, 0, 0, 1, 192, 0, 2, 7}, 8);
	memcpy(&flow.tuple.ports, (const uint8_t[4]){0x30, 0x39, 0x01, 0xbb}, 4);
	flow.rewrite.set = REWRITE_SOURCE_ADDRESS | REWRITE_SOURCE_PORT;
	memcpy(flow.rewrite.source, (const uint8_t[4]){203, 0, 113, 5}, 4);
	store16((uint8_t *)&flow.rewrite.source_port, 1024);
	for (unsigned i = 0; i < OFFLOAD_OUTER; i++)
		flow.header[i] = (uint8_t)i;
	return flow;
}

static void check_items(const enum rte_flow_item_type *wanted, unsigned count)
{
	CHECK_NUMBER(rule.item_count, count);
	for (unsigned i = 0; i < count && i < rule.item_count; i++)
		CHECK_NUMBER(rule.items[i].type, wanted[i]);
}

static void check_actions(const enum rte_flow_action_type *wanted, unsigned count)
{
	CHECK_NUMBER(rule.action_count, count);
	for (unsigned i = 0; i < count && i < rule.action_count; i++)
		CHECK_NUMBER(rule.actions[i].type, wanted[i]);
}

#define CHECK_ITEMS(...) \
	check_items((const enum rte_flow_item_type[]){__VA_ARGS__}, \
		    sizeof(const enum rte_flow_item_type[]){__VA_ARGS__} / sizeof(enum rte_flow_item_type))
#define CHECK_ACTIONS(...) \
	check_actions((const enum rte_flow_action_type[]){__VA_ARGS__}, \
		      sizeof(const enum rte_flow_action_type[]){__VA_ARGS__} / sizeof(enum rte_flow_action_type))

static void a_vms_flow_is_rewritten_and_encapsulated(void)
{
	struct offload_flow flow = nat_out();
	CHECK_NUMBER(offload_needs(&flow), OFFLOAD_FORWARD | OFFLOAD_ENCAP | OFFLOAD_ADDRESS | OFFLOAD_PORT | OFFLOAD_AGE);
	rte_rule_write(&rule, &flow);
	CHECK(rule.attributes.transfer);
	CHECK_ITEMS(RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT, RTE_FLOW_ITEM_TYPE_ETH, RTE_FLOW_ITEM_TYPE_IPV4,
		    RTE_FLOW_ITEM_TYPE_TCP, RTE_FLOW_ITEM_TYPE_END);
	CHECK_ACTIONS(RTE_FLOW_ACTION_TYPE_AGE, RTE_FLOW_ACTION_TYPE_COUNT, RTE_FLOW_ACTION_TYPE_RAW_DECAP,
		      RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC, RTE_FLOW_ACTION_TYPE_SET_TP_SRC, RTE_FLOW_ACTION_TYPE_RAW_ENCAP,
		      RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, RTE_FLOW_ACTION_TYPE_END);
	CHECK_NUMBER(((const struct rte_flow_item_ethdev *)rule.items[0].spec)->port_id, 3);
	const struct rte_flow_item_ipv4 *ip = rule.items[2].spec, *ip_mask = rule.items[2].mask;
	CHECK(memcmp(&ip->hdr.src_addr, flow.tuple.addresses, 8) == 0);
	CHECK_NUMBER(ip->hdr.next_proto_id, PROTOCOL_TCP);
	CHECK_NUMBER(rte_be_to_cpu_16(ip_mask->hdr.fragment_offset), 0x3fff);
	CHECK_NUMBER(ip->hdr.fragment_offset, 0);
	const struct rte_flow_item_tcp *tcp = rule.items[3].spec, *tcp_mask = rule.items[3].mask;
	CHECK_NUMBER(rte_be_to_cpu_16(tcp->hdr.src_port), 12345);
	CHECK_NUMBER(rte_be_to_cpu_16(tcp->hdr.dst_port), 443);
	CHECK_NUMBER(tcp->hdr.tcp_flags, 0); /* SYN, FIN and RST are ours to see */
	CHECK_NUMBER(tcp_mask->hdr.tcp_flags, 7);
	CHECK_NUMBER(((const struct rte_flow_action_age *)rule.actions[0].conf)->timeout, 30);
	CHECK(((const struct rte_flow_action_age *)rule.actions[0].conf)->context == &rule);
	CHECK_NUMBER(((const struct rte_flow_action_raw_decap *)rule.actions[2].conf)->size, 14);
	CHECK_NUMBER(rte_be_to_cpu_32(((const struct rte_flow_action_set_ipv4 *)rule.actions[3].conf)->ipv4_addr), 0xcb007105);
	CHECK_NUMBER(rte_be_to_cpu_16(((const struct rte_flow_action_set_tp *)rule.actions[4].conf)->port), 1024);
	const struct rte_flow_action_raw_encap *encap = rule.actions[5].conf;
	CHECK_NUMBER(encap->size, 54);
	CHECK(memcmp(encap->data, flow.header, 54) == 0);
	CHECK_NUMBER(((const struct rte_flow_action_ethdev *)rule.actions[6].conf)->port_id, 1);
}

static void the_reply_is_decapsulated_and_delivered(void)
{
	struct offload_flow flow = nat_out();
	flow.in = 1;
	flow.out = 3;
	flow.tunnelled = true;
	flow.encapsulate = false;
	flow.tuple.protocol = PROTOCOL_UDP;
	memcpy(flow.underlay, (const uint8_t[16]){0xfd, 0, 0, 0x0f, [8] = 0xd0, 3, [15] = 9}, 16);
	flow.rewrite.set = REWRITE_DESTINATION_ADDRESS | REWRITE_DESTINATION_PORT;
	CHECK_NUMBER(offload_needs(&flow), OFFLOAD_FORWARD | OFFLOAD_DECAP | OFFLOAD_ADDRESS | OFFLOAD_PORT | OFFLOAD_AGE);
	rte_rule_write(&rule, &flow);
	CHECK_ITEMS(RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT, RTE_FLOW_ITEM_TYPE_ETH, RTE_FLOW_ITEM_TYPE_IPV6,
		    RTE_FLOW_ITEM_TYPE_IPV4, RTE_FLOW_ITEM_TYPE_UDP, RTE_FLOW_ITEM_TYPE_END);
	CHECK_ACTIONS(RTE_FLOW_ACTION_TYPE_AGE, RTE_FLOW_ACTION_TYPE_COUNT, RTE_FLOW_ACTION_TYPE_RAW_DECAP,
		      RTE_FLOW_ACTION_TYPE_SET_IPV4_DST, RTE_FLOW_ACTION_TYPE_SET_TP_DST, RTE_FLOW_ACTION_TYPE_RAW_ENCAP,
		      RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, RTE_FLOW_ACTION_TYPE_END);
	const struct rte_flow_item_ipv6 *outer = rule.items[2].spec;
	CHECK(memcmp(outer->hdr.dst_addr, flow.underlay, 16) == 0);
	CHECK_NUMBER(outer->hdr.proto, PROTOCOL_IPV4);
	const struct rte_flow_action_raw_decap *decap = rule.actions[2].conf;
	CHECK_NUMBER(decap->size, 54);
	CHECK_NUMBER(load16(decap->data + 12), ETHERTYPE_IPV6);
	CHECK_NUMBER(((const struct rte_flow_action_raw_encap *)rule.actions[5].conf)->size, 14);
}

static void ipv6_and_plain_forwarding_need_less(void)
{
	struct offload_flow flow = nat_out();
	flow.tuple.family = 6;
	flow.rewrite.set = 0;
	flow.idle_seconds = 0;
	flow.encapsulate = false;
	CHECK_NUMBER(offload_needs(&flow), OFFLOAD_FORWARD | OFFLOAD_IPV6);
	rte_rule_write(&rule, &flow);
	CHECK_ITEMS(RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT, RTE_FLOW_ITEM_TYPE_ETH, RTE_FLOW_ITEM_TYPE_IPV6,
		    RTE_FLOW_ITEM_TYPE_TCP, RTE_FLOW_ITEM_TYPE_END);
	CHECK_ACTIONS(RTE_FLOW_ACTION_TYPE_COUNT, RTE_FLOW_ACTION_TYPE_RAW_DECAP, RTE_FLOW_ACTION_TYPE_RAW_ENCAP,
		      RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, RTE_FLOW_ACTION_TYPE_END);
}

static void the_longest_rule_has_room(void)
{
	struct offload_flow flow = nat_out();
	flow.tunnelled = flow.encapsulate = true;
	flow.rewrite.set = 15;
	rte_rule_write(&rule, &flow);
	CHECK(rule.item_count <= RULE_ITEMS && rule.action_count <= RULE_ACTIONS);
	CHECK_NUMBER(rule.actions[rule.action_count - 1].type, RTE_FLOW_ACTION_TYPE_END);
}

static void what_only_software_can_stays_there(void)
{
	struct offload_flow flow = nat_out();
	flow.tuple.protocol = PROTOCOL_ICMP;
	CHECK_NUMBER(offload_needs(&flow), 0);
	flow = nat_out();
	flow.tuple.fragment = FRAGMENT_FIRST;
	CHECK_NUMBER(offload_needs(&flow), 0);
	flow = nat_out();
	flow.tuple.family = 6; /* translated: NAT64 */
	CHECK_NUMBER(offload_needs(&flow), 0);
}

static uint64_t counted(const struct offloader *offloader)
{
	return offloader->added * 10000 + offloader->unsupported * 100 + offloader->failed;
}

static void a_device_without_flows_leaves_them_to_software(void)
{
	struct ferrite_engine *engine = world_engine(1, "ring:offload", 1500);
	struct offloader offloader;
	struct offload_handle *handle = NULL;
	struct offload_flow flow = nat_out();
	char error[FERRITE_ERROR_TEXT];
	uint32_t port;
	void *contexts[4];
	CHECK_NUMBER(ferrite_port_open(engine, "pci:net_null0", NULL, &port, error), 0);
	flow.in = flow.out = 0;
	/* The driver itself: what DPDK says of such a device. */
	CHECK_NUMBER(offload_rte.capabilities(0), 0);
	CHECK_NUMBER(offload_rte.add(&flow, &handle), -ENOTSUP);
	CHECK(handle == NULL);
	CHECK_NUMBER(offload_rte.aged(0, contexts, 4), 0);
	offload_init(&offloader, &offload_rte);
	for (unsigned i = 0; i < 3; i++)
		CHECK_NUMBER(offload_add(&offloader, &flow, &handle), -ENOTSUP);
	CHECK_NUMBER(counted(&offloader), 300);
	flow.in = 40; /* nobody's */
	CHECK_NUMBER(offload_add(&offloader, &flow, &handle), -ENOTSUP);
	offload_init(&offloader, NULL);
	CHECK_TEXT(offloader.driver->name, "null");
	CHECK_NUMBER(offload_add(&offloader, &flow, &handle), -ENOTSUP);
	CHECK_NUMBER(ferrite_port_close(engine, port), 0);
	ferrite_engine_stop(engine);
}

/* A driver for the rest of the interface. */
static int full;
static uint32_t fake_capabilities(uint16_t device)
{
	return device == 1 ? OFFLOAD_FORWARD | OFFLOAD_ENCAP | OFFLOAD_AGE : UINT32_MAX;
}
static int fake_add(const struct offload_flow *flow, struct offload_handle **handle)
{
	*handle = (struct offload_handle *)&full;
	return full ? -ENOSPC : 0;
}
static int fake_remove(struct offload_handle *handle)
{
	return 0;
}
static int fake_query(struct offload_handle *handle, struct offload_usage *usage)
{
	*usage = (struct offload_usage){5, 500};
	return 0;
}
static unsigned fake_aged(uint16_t device, void **contexts, unsigned limit)
{
	contexts[0] = &rule;
	return 1;
}

static void a_device_gets_what_it_can_and_no_more(void)
{
	const struct offload_driver fake = {"fake", fake_capabilities, fake_add, fake_remove, fake_query, fake_aged};
	struct offloader offloader;
	struct offload_handle *handle = NULL;
	struct offload_flow flow = nat_out();
	struct offload_usage usage;
	void *contexts[1];
	offload_init(&offloader, &fake);
	CHECK_NUMBER(offload_add(&offloader, &flow, &handle), 0);
	CHECK_NUMBER(offload_query(&offloader, handle, &usage), 0);
	CHECK_NUMBER(usage.bytes, 500);
	CHECK_NUMBER(offload_aged(&offloader, 3, contexts, 1), 1);
	CHECK(contexts[0] == &rule);
	offload_remove(&offloader, handle);
	flow.in = 1; /* cannot rewrite */
	CHECK_NUMBER(offload_add(&offloader, &flow, &handle), -ENOTSUP);
	flow.rewrite.set = 0;
	CHECK_NUMBER(offload_add(&offloader, &flow, &handle), 0);
	full = 1;
	CHECK_NUMBER(offload_add(&offloader, &flow, &handle), -ENOSPC);
	CHECK_NUMBER(counted(&offloader), 20101);
	CHECK_NUMBER(offloader.removed, 1);
	CHECK_NUMBER(offloader.aged, 1);
}

int main(void)
{
	RUN(a_vms_flow_is_rewritten_and_encapsulated);
	RUN(the_reply_is_decapsulated_and_delivered);
	RUN(ipv6_and_plain_forwarding_need_less);
	RUN(the_longest_rule_has_room);
	RUN(what_only_software_can_stays_there);
	RUN(a_device_without_flows_leaves_them_to_software);
	RUN(a_device_gets_what_it_can_and_no_more);
	return CHECK_RESULT();
}
