/* How packets are decided (docs/packet-path.md): one host, VMs, and an underlay that the test plays. */
#include <errno.h>

#include "control/check.h"
#include "packet/murmur.h"
#include "world.h"

static uint8_t sent[FRAME_ROOM], got[FRAME_ROOM];
static struct ferrite_engine *host;
static struct ring_end *underlay;
static struct vm a, b; /* VNI 200, 10.0.0.1 and 10.0.0.2 */
static uint64_t clock_now = 1000000;
static const ferrite_ipv6 remote = {{0xfd, 0, 0, 0x0f, 0, 9, 0, 0, 0xd0, 1, 0, 0, 1, 0, 0, 1}};
static const ferrite_ipv6 elsewhere = {{0xfd, 0, 0, 0x0f, 0, 8, 0, 0, 0xd0, 1, 0, 0, 1, 0, 0, 1}};
static const uint8_t outside[4] = {192, 0, 2, 7};

static uint64_t virtual_clock(void)
{
	return clock_now;
}

static void pass(uint64_t milliseconds)
{
	clock_now += milliseconds;
	world_poll(host, NULL);
}

static uint64_t counter(const char *name)
{
	return world_counter(host, name);
}

/* TCP with the flags in place of UDP: the ports stand in the same place. */
static uint32_t tcp(const struct vm *from, const uint8_t to[4], uint16_t source, uint16_t destination, uint8_t flags)
{
	uint8_t rest[12] = {[4] = 0x50, [5] = flags}; /* behind the first 8 bytes */
	uint32_t length = frame_wrap4(sent, from->gateway.bytes, from->mac, from->ipv4, to, source, destination, rest, 12);
	struct ipv4_header *ip = (struct ipv4_header *)(void *)(sent + 14);
	ip->protocol = PROTOCOL_TCP;
	memset(sent + 38, 0, 8);
	sent[41] = 77;
	memset(sent + 50, 0, 2);
	checksum_ipv4(ip, 20);
	checksum_put(sent + 50, checksum_add(checksum_pseudo4(ip, PROTOCOL_TCP, 20), sent + 34, 20));
	return length;
}

static uint32_t udp(const struct vm *from, const uint8_t to[4], uint16_t source, uint16_t destination)
{
	return frame_wrap4(sent, from->gateway.bytes, from->mac, from->ipv4, to, source, destination, "payload", 7);
}

static void send_vm(const struct vm *vm, uint32_t length)
{
	CHECK(ring_put(vm->end, sent, length, NULL));
	world_poll(host, NULL);
}

/* The inner packet in `sent` + 14 arrives from `from` at an address of this host. */
static void arrive(const ferrite_ipv6 *from, const ferrite_ipv6 *at, uint32_t frame)
{
	static uint8_t outer[FRAME_ROOM];
	memset(outer, 0, 40);
	outer[0] = 0x60;
	store16(outer + 4, frame - 14);
	outer[6] = sent[14] >> 4 == 4 ? 4 : 41;
	outer[7] = 64;
	memcpy(outer + 8, from->bytes, 16);
	memcpy(outer + 24, at->bytes, 16);
	memcpy(outer + 40, sent + 14, frame - 14);
	CHECK(ring_put(underlay, outer, frame + 26, NULL));
	world_poll(host, NULL);
}

static uint32_t take_vm(const struct vm *vm)
{
	return ring_take(vm->end, got, sizeof got, NULL);
}

/* An outer packet; its inner one is at got + 40 and sound. */
static uint32_t take_out(void)
{
	uint32_t length = ring_take(underlay, got, sizeof got, NULL);
	if (length > 0 && (got[6] == 4 || got[6] == 41))
		CHECK(frame_checks(got + 40, length - 40));
	return length;
}

/* A packet with source and destination, as someone outside sends it. */
static uint32_t from_outside(const uint8_t source[4], const uint8_t destination[4], uint16_t from, uint16_t to)
{
	static const uint8_t mac[6] = {2};
	return frame_wrap4(sent, mac, mac, source, destination, from, to, "reply", 5);
}

static void default_route(bool there)
{
	struct ferrite_route route = {.key = {.vni = 200, .family = 4}, .next_hop = remote};
	if (there)
		CHECK_NUMBER(ferrite_route_put(host, &route, true), 0);
	else
		CHECK_NUMBER(ferrite_route_remove(host, &route.key), 0);
}

static struct ferrite_rule rule(bool egress, bool accept, uint8_t protocol, uint16_t port)
{
	return (struct ferrite_rule){.egress = egress, .accept = accept, .family = 4, .protocol = protocol, .source_last = 65535,
				     .destination_first = port, .destination_last = port == 0 ? 65535 : port, .icmp_type = -1,
				     .icmp_code = -1, .tag = port + 1};
}

static void an_egress_firewall_decides_the_first_packet_and_replies_pass(void)
{
	struct ferrite_rule rules[2] = {rule(true, false, 17, 53), rule(true, true, 17, 0)};
	CHECK_NUMBER(ferrite_firewall_set(host, a.index, rules, 2, FERRITE_DROP, FERRITE_RULES), 0);
	default_route(true);
	send_vm(&a, udp(&a, outside, 1000, 53));
	CHECK_NUMBER(counter("drop.firewall_egress"), 1);
	CHECK_NUMBER(take_out(), 0);
	send_vm(&a, udp(&a, outside, 1000, 80));
	CHECK(take_out() > 0);
	arrive(&remote, &a.underlay, from_outside(outside, a.ipv4, 80, 1000));
	CHECK(take_vm(&a) > 0); /* ingress drops all but replies */
	arrive(&remote, &a.underlay, from_outside(outside, a.ipv4, 81, 1000));
	CHECK_NUMBER(take_vm(&a), 0);
	CHECK_NUMBER(counter("drop.firewall_ingress"), 1);
	CHECK_NUMBER(ferrite_firewall_hits(host, a.index, 54), 1);
}

static void a_new_rule_ends_flows_that_it_denies(void)
{
	struct ferrite_rule rules[1] = {rule(true, false, 17, 80)};
	uint64_t before = counter("drop.firewall_egress"), flows = counter("flows.active");
	CHECK_NUMBER(ferrite_firewall_set(host, a.index, rules, 1, FERRITE_ACCEPT, FERRITE_ACCEPT), 0);
	arrive(&remote, &a.underlay, from_outside(outside, a.ipv4, 80, 1000)); /* a reply, but of a denied flow */
	CHECK_NUMBER(take_vm(&a), 0);
	CHECK_NUMBER(counter("drop.firewall_egress") - before, 1);
	CHECK_NUMBER(flows - counter("flows.active"), 1);
	CHECK_NUMBER(ferrite_firewall_set(host, a.index, NULL, 0, FERRITE_ACCEPT, FERRITE_ACCEPT), 0);
}

static void nat_translates_what_leaves_by_the_default_route_and_back(void)
{
	const ferrite_ipv4 ip = {{198, 51, 100, 1}};
	ferrite_ipv6 at;
	uint32_t used[3];
	CHECK_NUMBER(ferrite_nat_add(host, a.index, ip, 2000, 2002, NULL, &at), 0);
	CHECK(at.bytes[9] == 3);
	send_vm(&a, udp(&a, outside, 5555, 80));
	CHECK(take_out() > 0);
	CHECK(memcmp(got + 52, ip.bytes, 4) == 0 && memcmp(got + 56, outside, 4) == 0);
	uint16_t port = load16(got + 60);
	CHECK(port == 2000 || port == 2001);
	CHECK(memcmp(got + 8, a.underlay.bytes, 16) == 0);
	arrive(&remote, &at, from_outside(outside, ip.bytes, 80, port));
	uint32_t length = take_vm(&a);
	CHECK(length > 0 && frame_checks(got + 14, length - 14));
	CHECK(memcmp(got + 30, a.ipv4, 4) == 0 && load16(got + 36) == 5555);
	ferrite_nat_usage(host, a.index, used);
	CHECK(used[0] == 0 && used[1] == 1 && used[2] == 0);
	arrive(&remote, &at, from_outside(outside, ip.bytes, 81, port)); /* nobody asked */
	CHECK_NUMBER(take_vm(&a), 0);
	CHECK_NUMBER(counter("drop.nat_unknown"), 1);
	arrive(&remote, &at, from_outside(outside, a.ipv4, 80, port));
	CHECK_NUMBER(counter("drop.inner_foreign"), 1);
	/* Two ports, three sources to one destination: the third has none. */
	send_vm(&a, udp(&a, outside, 5556, 80));
	send_vm(&a, udp(&a, outside, 5557, 80));
	CHECK(take_out() > 0);
	CHECK_NUMBER(take_out(), 0);
	CHECK_NUMBER(counter("drop.nat_exhausted"), 1);
}

static void an_icmp_error_about_a_translated_flow_reaches_its_vm(void)
{
	const ferrite_ipv4 ip = {{198, 51, 100, 1}};
	const uint8_t router[4] = {203, 0, 113, 1};
	send_vm(&a, udp(&a, outside, 5555, 80));
	CHECK(take_out() > 0);
	uint8_t quoted[28], error[36] = {3, 1};
	memcpy(quoted, got + 40, 28);
	memcpy(error + 8, quoted, 28);
	const struct endpoint *nat = &host->endpoints.places[host->interfaces[a.index].nat_endpoint];
	ferrite_ipv6 at;
	memcpy(at.bytes, nat->underlay, 16);
	uint32_t length = frame_wrap4(sent, a.mac, a.mac, router, ip.bytes, 0, 0, error, 28);
	struct ipv4_header *header = (struct ipv4_header *)(void *)(sent + 14);
	header->protocol = PROTOCOL_ICMP;
	checksum_ipv4(header, 20);
	memcpy(sent + 34, error, 36);
	checksum_put(sent + 36, checksum_add(0, sent + 34, 36));
	arrive(&remote, &at, length);
	uint32_t took = take_vm(&a);
	CHECK(took == length && frame_checks(got + 14, took - 14));
	CHECK(memcmp(got + 26, router, 4) == 0 && memcmp(got + 30, a.ipv4, 4) == 0);
	CHECK(memcmp(got + 54, a.ipv4, 4) == 0 && load16(got + 62) == 5555); /* in the quoted packet */
}

static void a_nat_that_goes_ends_its_flows(void)
{
	uint64_t before = counter("drop.flow_ended");
	ferrite_ipv6 at;
	CHECK_NUMBER(ferrite_nat_remove(host, a.index), 0);
	send_vm(&a, udp(&a, outside, 5555, 80));
	CHECK_NUMBER(take_out(), 0);
	CHECK_NUMBER(counter("drop.flow_ended") - before, 1);
	send_vm(&a, udp(&a, outside, 5555, 80)); /* a new flow, untranslated */
	CHECK(take_out() > 0);
	CHECK(memcmp(got + 52, a.ipv4, 4) == 0);
	/* A range that moves: flows whose port is out of it end, others stay. */
	CHECK_NUMBER(ferrite_nat_add(host, a.index, (ferrite_ipv4){{198, 51, 100, 1}}, 3000, 3001, NULL, &at), 0);
	send_vm(&a, udp(&a, outside, 6000, 80));
	CHECK(take_out() > 0 && load16(got + 60) == 3000);
	CHECK_NUMBER(ferrite_nat_update(host, a.index, 3000, 3010), 0);
	send_vm(&a, udp(&a, outside, 6000, 80));
	CHECK(take_out() > 0 && load16(got + 60) == 3000);
	CHECK_NUMBER(ferrite_nat_update(host, a.index, 3001, 3010), 0);
	send_vm(&a, udp(&a, outside, 6000, 80));
	CHECK_NUMBER(take_out(), 0);
	CHECK_NUMBER(counter("drop.flow_ended") - before, 2);
	CHECK_NUMBER(ferrite_nat_remove(host, a.index), 0);
}

static void a_neighbour_gets_what_is_in_its_range(void)
{
	const ferrite_ipv4 ip = {{198, 51, 100, 1}};
	struct ferrite_neighbor_nat neighbor = {.ip = ip, .vni = 200, .min = 4000, .max = 5000, .underlay = elsewhere};
	ferrite_ipv6 at;
	CHECK_NUMBER(ferrite_nat_add(host, a.index, ip, 2000, 2002, NULL, &at), 0);
	CHECK_NUMBER(ferrite_neighbor_nat_add(host, &neighbor), 0);
	CHECK_NUMBER(ferrite_neighbor_nat_add(host, &neighbor), -EEXIST);
	arrive(&remote, &at, from_outside(outside, ip.bytes, 80, 4321));
	CHECK(take_out() > 0);
	CHECK(memcmp(got + 8, at.bytes, 16) == 0 && memcmp(got + 24, elsewhere.bytes, 16) == 0);
	CHECK(memcmp(got + 40, sent + 14, 33) == 0);
	CHECK_NUMBER(ferrite_neighbor_nat_remove(host, &neighbor), 0);
	CHECK_NUMBER(ferrite_nat_remove(host, a.index), 0);
}

static void a_vip_is_the_interface_both_ways(void)
{
	const ferrite_ipv4 vip = {{198, 51, 100, 2}};
	ferrite_ipv6 at;
	CHECK_NUMBER(ferrite_vip_add(host, b.index, vip, NULL, &at), 0);
	CHECK_NUMBER(ferrite_vip_add(host, b.index, vip, NULL, &at), -EEXIST);
	send_vm(&b, udp(&b, outside, 700, 80));
	CHECK(take_out() > 0 && memcmp(got + 52, vip.bytes, 4) == 0 && load16(got + 60) == 700);
	arrive(&remote, &at, from_outside(outside, vip.bytes, 900, 22));
	uint32_t length = take_vm(&b);
	CHECK(length > 0 && frame_checks(got + 14, length - 14) && memcmp(got + 30, b.ipv4, 4) == 0);
	send_vm(&b, udp(&b, outside, 22, 900)); /* its answer is from the VIP */
	CHECK(take_out() > 0 && memcmp(got + 52, vip.bytes, 4) == 0 && load16(got + 60) == 22);
	/* A VM beside it, and itself. */
	send_vm(&a, udp(&a, vip.bytes, 1, 2));
	CHECK(take_vm(&b) > 0 && memcmp(got + 30, b.ipv4, 4) == 0 && memcmp(got + 26, a.ipv4, 4) == 0);
	send_vm(&b, udp(&b, a.ipv4, 2, 1));
	CHECK(take_vm(&a) > 0 && memcmp(got + 26, vip.bytes, 4) == 0);
	send_vm(&b, udp(&b, vip.bytes, 3, 4));
	CHECK(take_vm(&b) > 0 && memcmp(got + 26, vip.bytes, 4) == 0 && memcmp(got + 30, b.ipv4, 4) == 0);
	send_vm(&b, udp(&b, vip.bytes, 4, 3));
	CHECK(take_vm(&b) > 0 && memcmp(got + 26, vip.bytes, 4) == 0);
	CHECK_NUMBER(ferrite_vip_remove(host, b.index), 0);
}

static uint32_t tcp_from_outside(const uint8_t to[4], uint16_t port)
{
	struct vm client = a;
	memcpy(client.ipv4, outside, 4);
	return tcp(&client, to, port, 80, TCP_SYN);
}

static void a_balancer_keeps_a_flow_on_its_target(void)
{
	struct ferrite_balancer_config config = {.vni = 200, .family = 4, .address = {10, 9, 9, 9}, .port_count = 1,
						 .ports = {{.protocol = 6, .first = 80, .last = 80}}};
	ferrite_ipv6 targets[2] = {elsewhere, remote}, at, prefix_at;
	struct ferrite_route_key key = {.family = 4, .length = 32, .prefix = {10, 9, 9, 9}};
	uint32_t index;
	CHECK_NUMBER(ferrite_balancer_add(host, &config, &index, &at), 0);
	uint32_t length = tcp_from_outside(config.address, 1111);
	arrive(&remote, &at, length);
	CHECK_NUMBER(counter("drop.balancer_empty"), 1);
	CHECK_NUMBER(ferrite_balancer_targets(host, index, targets, 2), 0);
	arrive(&remote, &at, length);
	CHECK(take_out() > 0 && memcmp(got + 8, at.bytes, 16) == 0);
	CHECK(memcmp(got + 40, sent + 14, length - 14) == 0);
	bool first = memcmp(got + 24, elsewhere.bytes, 16) == 0;
	struct tuple tuple = {.family = 4, .protocol = 6, .ports = raw32(sent + 34)};
	memcpy(tuple.addresses, sent + 26, 8);
	struct balancer_set *set = balancer_set_build(targets, 2);
	CHECK(memcmp(got + 24, balancer_pick(set, choice_hash(&tuple, 7)), 16) == 0);
	balancer_set_free(set);
	/* Its target goes: the sender is told, and comes back to the other. */
	CHECK_NUMBER(ferrite_balancer_targets(host, index, &targets[first], 1), 0);
	arrive(&elsewhere, &at, length);
	CHECK(take_out() > 0 && memcmp(got + 24, elsewhere.bytes, 16) == 0);
	CHECK(got[49] == 6 && (got[40 + 33] & TCP_RST) != 0 && memcmp(got + 56, outside, 4) == 0);
	arrive(&remote, &at, length);
	CHECK(take_out() > 0 && memcmp(got + 24, targets[first].bytes, 16) == 0);
	/* A target of this host: delivered through its prefix, and its answer passes. */
	CHECK_NUMBER(ferrite_prefix_add(host, b.index, &key, false, NULL, &prefix_at), 0);
	CHECK_NUMBER(ferrite_balancer_targets(host, index, &prefix_at, 1), 0);
	pass(20);
	length = tcp_from_outside(config.address, 2222);
	arrive(&remote, &at, length);
	CHECK_NUMBER(take_vm(&b), length);
	CHECK(memcmp(got + 30, config.address, 4) == 0);
	uint64_t before = counter("flows.active");
	struct vm as_balancer = b;
	memcpy(as_balancer.ipv4, config.address, 4);
	send_vm(&b, tcp(&as_balancer, outside, 80, 2222, TCP_SYN | TCP_ACK));
	CHECK(take_out() > 0 && memcmp(got + 52, config.address, 4) == 0);
	CHECK_NUMBER(counter("flows.active"), before); /* a reply, no new flow */
	/* A VM of this host. */
	send_vm(&a, tcp(&a, config.address, 3333, 80, TCP_SYN));
	CHECK(take_vm(&b) > 0);
	send_vm(&a, tcp(&a, config.address, 3333, 81, TCP_SYN));
	CHECK_NUMBER(counter("drop.balancer_port"), 1);
	CHECK_NUMBER(ferrite_balancer_remove(host, index), 0);
	CHECK_NUMBER(ferrite_prefix_remove(host, b.index, &key, false), 0);
}

static void an_alias_prefix_is_routed_and_may_be_spoken_from(void)
{
	struct ferrite_route_key key = {.family = 4, .length = 24, .prefix = {10, 7, 7, 0}};
	const uint8_t inside[4] = {10, 7, 7, 9};
	ferrite_ipv6 at;
	struct vm alias = b;
	uint64_t spoofed = counter("drop.spoof");
	memcpy(alias.ipv4, inside, 4);
	send_vm(&b, udp(&alias, a.ipv4, 1, 2));
	CHECK_NUMBER(counter("drop.spoof") - spoofed, 1);
	CHECK_NUMBER(ferrite_prefix_add(host, b.index, &key, true, NULL, &at), 0);
	CHECK(at.bytes[9] == 6);
	CHECK_NUMBER(ferrite_prefix_add(host, a.index, &key, true, NULL, &at), -EEXIST);
	send_vm(&a, udp(&a, inside, 1, 2));
	CHECK(take_vm(&b) > 0);
	arrive(&remote, &at, from_outside(outside, inside, 1, 2));
	CHECK(take_vm(&b) > 0);
	send_vm(&b, udp(&alias, a.ipv4, 2, 1));
	CHECK(take_vm(&a) > 0);
	uint64_t foreign = counter("drop.inner_foreign");
	arrive(&remote, &at, from_outside(outside, b.ipv4, 1, 2));
	CHECK_NUMBER(counter("drop.inner_foreign") - foreign, 1);
	CHECK_NUMBER(ferrite_prefix_remove(host, b.index, &key, true), 0);
	send_vm(&b, udp(&alias, a.ipv4, 2, 1)); /* a live flow, but no longer its address */
	CHECK_NUMBER(take_vm(&a), 0);
	CHECK_NUMBER(counter("drop.spoof") - spoofed, 2);
}

static void another_mac_is_spoofed_until_arp_teaches_it(void)
{
	uint64_t before = counter("drop.spoof");
	struct vm changed = a;
	changed.mac[5] ^= 0x40;
	send_vm(&a, udp(&changed, outside, 5, 6));
	CHECK_NUMBER(counter("drop.spoof") - before, 1);
	struct arp_message *message = (struct arp_message *)(void *)(sent + 14);
	memcpy(sent, changed.gateway.bytes, 6);
	memcpy(sent + 6, changed.mac, 6);
	store16(sent + 12, ETHERTYPE_ARP);
	*message = (struct arp_message){.hardware = {0, 1}, .protocol = {8, 0}, .hardware_length = 6, .protocol_length = 4,
					.operation = {0, 1}, .target = {169, 254, 0, 1}};
	memcpy(message->sender_mac, changed.mac, 6);
	memcpy(message->sender, a.ipv4, 4);
	send_vm(&a, 42);
	CHECK_NUMBER(take_vm(&a), 42);
	send_vm(&a, udp(&changed, outside, 5, 6));
	CHECK(take_out() > 0);
	a = changed;
	before = counter("drop.spoof");
	send_vm(&a, udp(&a, b.ipv4, 67, 68)); /* plays DHCP server */
	CHECK_NUMBER(counter("drop.spoof") - before, 1);
	sent[0] |= 1;
	(void)udp(&a, outside, 5, 7);
	sent[0] |= 1;
	send_vm(&a, 49);
	CHECK_NUMBER(counter("drop.not_gateway"), 1);
}

static void services_have_a_rate(void)
{
	uint64_t before = counter("drop.service_rate");
	pass(2000);
	for (unsigned i = 0; i < 130; i++) {
		const uint8_t gateway[4] = {169, 254, 0, 1};
		send_vm(&a, udp(&a, gateway, 1, 2)); /* counted, though not answered */
	}
	CHECK_NUMBER(counter("drop.service_rate") - before, 30);
}

static void limits_hold_flows_and_rates(void)
{
	struct ferrite_interface_settings settings = {.flow_limit = 3};
	pass(400000);
	CHECK_NUMBER(counter("flows.active"), 0);
	CHECK_NUMBER(ferrite_interface_update(host, a.index, &settings), 0);
	for (uint16_t i = 0; i < 5; i++)
		send_vm(&a, udp(&a, outside, (uint16_t)(100 + i), 80));
	CHECK_NUMBER(counter("drop.flow_limit"), 2);
	CHECK_NUMBER(counter("flows.active"), 3);
	pass(30001);
	send_vm(&a, udp(&a, outside, 200, 80));
	CHECK_NUMBER(counter("drop.flow_limit"), 2);
	settings = (struct ferrite_interface_settings){.flow_rate = 2};
	CHECK_NUMBER(ferrite_interface_update(host, a.index, &settings), 0);
	for (uint16_t i = 0; i < 5; i++)
		send_vm(&a, udp(&a, outside, (uint16_t)(300 + i), 80));
	CHECK_NUMBER(counter("drop.flow_rate"), 3);
	settings = (struct ferrite_interface_settings){.total_rate = 1, .public_rate = 2};
	CHECK_NUMBER(ferrite_interface_update(host, a.index, &settings), 0);
	for (unsigned i = 0; i < 100; i++)
		send_vm(&a, frame_udp4(sent, &a, b.ipv4, 1400, 1));
	CHECK_NUMBER(counter("drop.meter_total"), 100 - 128 * 1024 / 1428);
	settings = (struct ferrite_interface_settings){.public_rate = 1};
	CHECK_NUMBER(ferrite_interface_update(host, a.index, &settings), 0);
	for (unsigned i = 0; i < 100; i++)
		send_vm(&a, frame_udp4(sent, &a, outside, 1400, 1));
	CHECK_NUMBER(counter("drop.meter_public"), 100 - 128 * 1024 / 1428);
	settings = (struct ferrite_interface_settings){0};
	CHECK_NUMBER(ferrite_interface_update(host, a.index, &settings), 0);
	while (take_out() > 0 || take_vm(&b) > 0)
		continue;
}

static void a_flow_expires_by_its_state(void)
{
	pass(400000);
	CHECK_NUMBER(counter("flows.active"), 0);
	send_vm(&a, tcp(&a, outside, 10, 80, TCP_SYN));
	arrive(&remote, &a.underlay, (tcp(&a, outside, 10, 80, TCP_SYN | TCP_ACK),
				      from_outside(outside, a.ipv4, 80, 10)));
	CHECK_NUMBER(counter("flows.active"), 2); /* that was UDP */
	pass(30000);
	CHECK_NUMBER(counter("flows.active"), 2);
	pass(1);
	CHECK_NUMBER(counter("flows.active"), 0);
	send_vm(&a, udp(&a, outside, 11, 80));
	arrive(&remote, &a.underlay, from_outside(outside, a.ipv4, 80, 11));
	pass(180000);
	CHECK_NUMBER(counter("flows.active"), 1);
	pass(1);
	CHECK_NUMBER(counter("flows.active"), 0);
	while (take_out() > 0 || take_vm(&a) > 0)
		continue;
}

static void nat64_reaches_ipv4_from_ipv6(void)
{
	const ferrite_ipv4 ip = {{198, 51, 100, 1}};
	const uint8_t to[16] = {0, 0x64, 0xff, 0x9b, [12] = 192, 0, 2, 7};
	struct ferrite_route route = {.key = {.vni = 200, .family = 6}, .next_hop = remote};
	ferrite_ipv6 at;
	CHECK_NUMBER(ferrite_route_put(host, &route, true), 0);
	CHECK_NUMBER(ferrite_nat_add(host, a.index, ip, 2000, 3000, NULL, &at), 0);
	uint32_t length = frame_udp6(sent, &a, to, 30, 1);
	send_vm(&a, length);
	CHECK_NUMBER(take_out(), length - 14 + 40 - 20);
	CHECK(got[6] == 4 && memcmp(got + 52, ip.bytes, 4) == 0 && memcmp(got + 56, outside, 4) == 0);
	uint16_t port = load16(got + 60);
	arrive(&remote, &at, from_outside(outside, ip.bytes, 2000, port));
	uint32_t took = take_vm(&a);
	CHECK(took > 0 && frame_checks(got + 14, took - 14));
	CHECK(memcmp(got + 22, to, 16) == 0 && memcmp(got + 38, a.ipv6, 16) == 0 && load16(got + 56) == 1000);
	CHECK_NUMBER(ferrite_nat_remove(host, a.index), 0);
	CHECK_NUMBER(ferrite_route_remove(host, &route.key), 0);
}

static void a_virtual_service_is_reached_without_a_tunnel(void)
{
	const uint8_t service_ip[4] = {169, 254, 1, 1};
	send_vm(&a, udp(&a, service_ip, 900, 53));
	uint32_t length = take_out();
	CHECK_NUMBER(length, 40 + 8 + 7);
	CHECK(got[6] == 17 && got[24] == 0x20 && got[17] == 0xff && got[18] == 0x40 && load16(got + 42) == 5353);
	uint8_t answer[128];
	memcpy(answer, got, 55);
	memcpy(answer + 8, got + 24, 16);
	memcpy(answer + 24, got + 8, 16);
	memcpy(answer + 40, got + 42, 2);
	memcpy(answer + 42, got + 40, 2);
	CHECK(ring_put(underlay, answer, 55, NULL));
	world_poll(host, NULL);
	uint32_t took = take_vm(&a);
	CHECK(took == 14 + 20 + 8 + 7 && frame_checks(got + 14, took - 14));
	CHECK(memcmp(got + 26, service_ip, 4) == 0 && load16(got + 34) == 53 && load16(got + 36) == 900);
	answer[42] ^= 1; /* nobody's port */
	uint64_t before = counter("drop.nat_unknown");
	CHECK(ring_put(underlay, answer, 55, NULL));
	world_poll(host, NULL);
	CHECK_NUMBER(counter("drop.nat_unknown") - before, 1);
}

static void fragments_follow_their_first(void)
{
	uint32_t length = udp(&a, outside, 31, 32);
	struct ipv4_header *ip = (struct ipv4_header *)(void *)(sent + 14);
	store16(ip->id, 99);
	store16(ip->fragment, 0x0001); /* later */
	checksum_ipv4(ip, 20);
	uint64_t before = counter("drop.fragment");
	send_vm(&a, length);
	CHECK_NUMBER(counter("drop.fragment") - before, 1);
	store16(ip->fragment, 0x2000);
	checksum_ipv4(ip, 20);
	send_vm(&a, length);
	CHECK(ring_take(underlay, got, sizeof got, NULL) > 0);
	store16(ip->fragment, 0x0001);
	checksum_ipv4(ip, 20);
	send_vm(&a, length);
	CHECK(ring_take(underlay, got, sizeof got, NULL) > 0);
	CHECK_NUMBER(counter("drop.fragment") - before, 1);
}

static void several_hops_share_flows_by_weight(void)
{
	struct ferrite_hop hops[2] = {{.address = elsewhere, .weight = 1}, {.address = remote, .weight = 3}};
	struct ferrite_route route = {.key = {.vni = 200, .family = 4, .length = 16, .prefix = {10, 50}}, .hop_count = 2, .hops = hops};
	const uint8_t to[4] = {10, 50, 0, 1};
	unsigned shares[2] = {0};
	CHECK_NUMBER(ferrite_route_put(host, &route, false), 0);
	for (uint16_t i = 0; i < 400; i++) {
		send_vm(&a, udp(&a, to, (uint16_t)(1000 + i), 80));
		CHECK(take_out() > 0);
		shares[memcmp(got + 24, remote.bytes, 16) == 0]++;
	}
	CHECK(shares[0] > 60 && shares[0] < 140 && shares[0] + shares[1] == 400);
	CHECK_NUMBER(ferrite_route_remove(host, &route.key), 0);
}

static void events_tell_of_flows(void)
{
	static struct ferrite_flow_event events[64];
	CHECK_NUMBER(ferrite_flow_events(host, events, 64), 0); /* from now on */
	pass(400000);
	while (ferrite_flow_events(host, events, 64) > 0)
		continue;
	send_vm(&a, udp(&a, outside, 41, 42));
	CHECK(take_out() > 0);
	pass(40000);
	CHECK_NUMBER(ferrite_flow_events(host, events, 64), 2);
	CHECK(events[0].reason == FERRITE_FLOW_BEGUN && events[0].interface == a.index && events[0].from_vm);
	CHECK(events[0].ports[0] == 41 && events[0].ports[1] == 42 && memcmp(events[0].addresses, a.ipv4, 4) == 0);
	CHECK(events[1].reason == FERRITE_FLOW_EXPIRED && events[1].packets[0] == 1 && events[1].bytes[0] == 35);
}

static void a_question_changes_nothing_and_says_each_step(void)
{
	static struct ferrite_trace_result result;
	uint64_t flows = counter("flows.inserted"), packets = counter("stage.classify.packets");
	uint32_t length = udp(&a, outside, 51, 52);
	CHECK_NUMBER(ferrite_trace_packet(host, a.port, sent, length, false, &result), 0);
	CHECK_NUMBER(result.length, length + 26);
	CHECK(result.interface == 0 && memcmp(result.bytes + 40, sent + 14, length - 14) == 0);
	CHECK(result.step_count >= 4 && result.steps[0].stage == FERRITE_STEP_ARRIVE);
	bool routed = false, begun = false;
	for (unsigned i = 0; i < result.step_count; i++) {
		routed |= result.steps[i].stage == FERRITE_STEP_ROUTE && result.steps[i].decision == 2;
		begun |= result.steps[i].stage == FERRITE_STEP_FLOW && result.steps[i].decision == 3;
	}
	CHECK(routed && begun);
	CHECK_NUMBER(counter("flows.inserted"), flows);
	CHECK_NUMBER(counter("flows.active"), 0);
	CHECK_NUMBER(counter("stage.classify.packets"), packets);
	CHECK_NUMBER(take_out(), 0);
	CHECK_NUMBER(ferrite_trace_packet(host, a.port, sent, length, true, &result), 0);
	CHECK(take_out() > 0);
	CHECK_NUMBER(counter("flows.active"), 1);
	CHECK_NUMBER(ferrite_trace_packet(host, 999, sent, length, true, &result), -ENOENT);
}

static uint64_t drops_of_a;
static void see(void *context, const char *name, uint64_t value)
{
	if (strcmp(name, context) == 0)
		drops_of_a = value;
}

static void an_interface_has_counters_of_its_own(void)
{
	CHECK_NUMBER(ferrite_interface_counters(host, a.index, see, (void *)(uintptr_t)"drop.flow_limit"), 0);
	CHECK_NUMBER(drops_of_a, 2);
	CHECK_NUMBER(ferrite_interface_counters(host, b.index, see, (void *)(uintptr_t)"drop.flow_limit"), 0);
	CHECK_NUMBER(drops_of_a, 0);
	CHECK_NUMBER(ferrite_interface_counters(host, 77, see, NULL), -ENOENT);
}

int main(void)
{
	char error[FERRITE_ERROR_TEXT];
	struct ferrite_engine_config config = {.name = "test", .uplink = "ring:decide", .mtu = 1500, .has_seed = true, .seed = 7,
					       .clock_ms = virtual_clock, .flow_capacity = 65536,
					       .underlay_prefix = {{0xfd, 0, 0, 0x0f, 0, 1}}};
	struct ferrite_virtual_service service = {.protocol = 17, .ip = {{169, 254, 1, 1}}, .port = 53, .target = {{0x20, 9}},
						  .target_port = 5353};
	CHECK_NUMBER(ferrite_engine_start(&config, &host, error), 0);
	CHECK_NUMBER(ferrite_virtual_service_add(host, &service), 0);
	underlay = ring_join("decide");
	world_vm(&a, host, 1, 200, 1);
	world_vm(&b, host, 1, 200, 2);
	RUN(an_egress_firewall_decides_the_first_packet_and_replies_pass);
	RUN(a_new_rule_ends_flows_that_it_denies);
	RUN(nat_translates_what_leaves_by_the_default_route_and_back);
	RUN(an_icmp_error_about_a_translated_flow_reaches_its_vm);
	RUN(a_nat_that_goes_ends_its_flows);
	RUN(a_neighbour_gets_what_is_in_its_range);
	RUN(a_vip_is_the_interface_both_ways);
	RUN(a_balancer_keeps_a_flow_on_its_target);
	RUN(an_alias_prefix_is_routed_and_may_be_spoken_from);
	RUN(another_mac_is_spoofed_until_arp_teaches_it);
	RUN(services_have_a_rate);
	RUN(limits_hold_flows_and_rates);
	RUN(a_flow_expires_by_its_state);
	RUN(nat64_reaches_ipv4_from_ipv6);
	RUN(a_virtual_service_is_reached_without_a_tunnel);
	RUN(fragments_follow_their_first);
	RUN(several_hops_share_flows_by_weight);
	RUN(events_tell_of_flows);
	RUN(a_question_changes_nothing_and_says_each_step);
	RUN(an_interface_has_counters_of_its_own);
	default_route(false);
	world_vm_leave(&a);
	world_vm_leave(&b);
	ring_leave(underlay);
	ferrite_engine_stop(host);
	CHECK_NUMBER(rte_mempool_in_use_count(buffers.small), 0);
	return CHECK_RESULT();
}
