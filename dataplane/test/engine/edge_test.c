/* An edge over in-process rings: a neighbour outside, the overlay, and a VM of the edge's own host. */
#include <errno.h>
#include <stdlib.h>

#include "control/check.h"
#include "engine/world.h"
#include "stage/edge.h"

static const uint8_t GATEWAY_MAC[6] = {2, 9, 9, 9, 9, 9};
static const uint8_t OWN[4] = {198, 51, 100, 2}, GATEWAY[4] = {198, 51, 100, 1}, FAR[4] = {203, 0, 113, 7};
static const uint8_t VIP[4] = {198, 51, 100, 50}, SHARED[4] = {198, 51, 100, 60}, ROUTED[4] = {192, 0, 2, 9};
static const uint8_t HOP[16] = {0xfd, 0, 0, 15, 0, 5, [15] = 5}, OTHER_HOP[16] = {0xfd, 0, 0, 15, 0, 6, [15] = 6};

static struct ferrite_engine *engine;
static struct ring_end *underlay, *outside;
static uint32_t port, edge;
static ferrite_ipv6 address;
static uint8_t mac[6], frame[FRAME_ROOM], taken[FRAME_ROOM];

static void start(void)
{
	char error[FERRITE_ERROR_TEXT];
	struct ferrite_port_info info;
	engine = world_engine(14, "ring:edge-underlay", 1500);
	underlay = ring_join("edge-underlay");
	CHECK_NUMBER(ferrite_port_open(engine, "ring:edge-outside", NULL, &port, error), 0);
	outside = ring_join("edge-outside");
	CHECK_NUMBER(ferrite_port_info(engine, port, &info), 0);
	memcpy(mac, info.mac.bytes, 6);
}

static void make_edge(void)
{
	struct ferrite_edge_config config = {.port = port, .vni = 200, .length4 = 24, .length6 = 128};
	memcpy(config.ipv4.bytes, OWN, 4);
	memcpy(config.gateway4.bytes, GATEWAY, 4);
	CHECK_NUMBER(ferrite_edge_add(engine, &config, &edge, &address), 0);
	CHECK_NUMBER(ferrite_edge_add(engine, &config, &edge, &address), -EBUSY);
}

static void route(uint32_t vni, const uint8_t *prefix, uint8_t length, const uint8_t hop[16])
{
	struct ferrite_route one = {.key = {.vni = vni, .family = 4, .length = length}};
	memcpy(one.key.prefix, prefix, 4);
	memcpy(one.next_hop.bytes, hop, 16);
	CHECK_NUMBER(ferrite_route_put(engine, &one, true), 0);
}

static void poll_all(void)
{
	for (unsigned i = 0; i < 4; i++)
		(void)ferrite_engine_poll(engine);
}

/* What leaves by the ring after the frame came in from outside; 0: nothing. */
static uint32_t from_outside(uint32_t length, struct ring_end *end)
{
	CHECK(ring_put(outside, frame, length, NULL));
	poll_all();
	return ring_take(end, taken, sizeof taken, NULL);
}

static uint32_t arp(uint16_t operation, const uint8_t sender[4], const uint8_t target[4])
{
	struct arp_message message = {.hardware = {0, 1}, .protocol = {8, 0}, .hardware_length = 6, .protocol_length = 4};
	store16(message.operation, operation);
	memcpy(message.sender_mac, GATEWAY_MAC, 6);
	memcpy(message.sender, sender, 4);
	memcpy(message.target, target, 4);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, GATEWAY_MAC, 6);
	store16(frame + 12, ETHERTYPE_ARP);
	memcpy(frame + 14, &message, sizeof message);
	return 42;
}

/* A packet of the overlay to the edge. */
static void tunnel(const uint8_t from[4], const uint8_t to[4], uint16_t source)
{
	uint32_t length = frame_wrap4(frame + 26, mac, mac, from, to, source, 53, "hello", 5) - 14;
	struct ipv6_header outer = {.version_class_label = {0x60}, .next_header = PROTOCOL_IPV4, .hop_limit = 64};
	store16(outer.payload_length, length);
	memcpy(outer.source, HOP, 16);
	memcpy(outer.destination, address.bytes, 16);
	memcpy(frame, &outer, 40);
	CHECK(ring_put(underlay, frame, 40 + length, NULL));
	poll_all();
}

static void it_stands_for_what_it_finds_and_for_nobody_else(void)
{
	CHECK_NUMBER(from_outside(arp(1, GATEWAY, OWN), outside), 42);
	CHECK(memcmp(taken + 22, mac, 6) == 0 && memcmp(taken + 28, OWN, 4) == 0);
	CHECK_NUMBER(from_outside(arp(1, GATEWAY, VIP), outside), 0);
	route(200, VIP, 32, HOP);
	CHECK_NUMBER(from_outside(arp(1, GATEWAY, VIP), outside), 42);
	CHECK(memcmp(taken + 22, mac, 6) == 0 && memcmp(taken + 28, VIP, 4) == 0);
	const uint8_t segment[4] = {198, 51, 100, 0}, other[4] = {198, 51, 100, 51};
	route(200, segment, 24, HOP); /* no longer than the link's own: others of the segment are not ours */
	CHECK_NUMBER(from_outside(arp(1, GATEWAY, other), outside), 0);
	struct ferrite_route_key key = {.vni = 200, .family = 4, .length = 24};
	memcpy(key.prefix, segment, 4);
	CHECK_NUMBER(ferrite_route_remove(engine, &key), 0);
}

static void what_comes_in_goes_where_it_is_known_to_be_now(void)
{
	const uint8_t prefix[4] = {192, 0, 2, 0};
	uint32_t length = frame_wrap4(frame, mac, GATEWAY_MAC, FAR, ROUTED, 53, 1000, "hello", 5);
	CHECK_NUMBER(from_outside(length, underlay), 0);
	CHECK_NUMBER(world_counter(engine, "drop.edge_unknown"), 1);
	route(200, prefix, 24, HOP);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_NUMBER(from_outside(length, underlay), length - 14 + 40);
		CHECK(memcmp(taken + 8, address.bytes, 16) == 0 && memcmp(taken + 24, HOP, 16) == 0);
		CHECK_NUMBER(taken[40 + 8], 63);
		CHECK(frame_checks(taken + 40, length - 14));
	}
	route(200, prefix, 24, OTHER_HOP);
	CHECK_NUMBER(from_outside(length, underlay), length - 14 + 40);
	CHECK(memcmp(taken + 24, OTHER_HOP, 16) == 0);
	struct ferrite_neighbor_nat range = {.vni = 200, .min = 1000, .max = 1001};
	memcpy(range.ip.bytes, ROUTED, 4);
	memcpy(range.underlay.bytes, HOP, 16);
	CHECK_NUMBER(ferrite_neighbor_nat_add(engine, &range), 0);
	CHECK_NUMBER(from_outside(length, underlay), length - 14 + 40);
	CHECK(memcmp(taken + 24, HOP, 16) == 0);
	CHECK_NUMBER(ferrite_neighbor_nat_remove(engine, &range), 0);
	CHECK_NUMBER(from_outside(length, underlay), length - 14 + 40);
	CHECK(memcmp(taken + 24, OTHER_HOP, 16) == 0);
	frame[14 + 8] = 1; /* its header checksum is not asked for */
	CHECK(from_outside(length, outside) > 0);
	CHECK(memcmp(taken, GATEWAY_MAC, 6) == 0 && taken[34] == 11 && memcmp(taken + 26, OWN, 4) == 0);
}

static void what_goes_out_waits_for_the_gateway(void)
{
	struct ferrite_neighbor_nat range = {.vni = 200, .min = 1000, .max = 2000};
	memcpy(range.ip.bytes, SHARED, 4);
	memcpy(range.underlay.bytes, HOP, 16);
	CHECK_NUMBER(ferrite_neighbor_nat_add(engine, &range), 0);
	uint64_t before = world_counter(engine, "drop.edge_source");
	tunnel(SHARED, FAR, 2000);
	CHECK_NUMBER(world_counter(engine, "drop.edge_source"), before + 1);
	struct ferrite_edge_config config = {.length4 = 24, .length6 = 128};
	memcpy(config.ipv4.bytes, OWN, 4);
	memcpy(config.gateway4.bytes, GATEWAY, 4);
	CHECK_NUMBER(ferrite_edge_update(engine, edge, &config), 0); /* it knows nobody again */
	for (unsigned i = 0; i < OUTSIDE_HOLD + 3; i++)
		tunnel(SHARED, FAR, (uint16_t)(1000 + i));
	CHECK_NUMBER(ring_take(outside, taken, sizeof taken, NULL), 42);
	CHECK(memcmp(taken + 38, GATEWAY, 4) == 0);
	CHECK_NUMBER(ring_take(outside, taken, sizeof taken, NULL), 0); /* asked once */
	CHECK_NUMBER(world_counter(engine, "drop.edge_gateway"), 3);
	(void)arp(2, GATEWAY, OWN);
	CHECK(from_outside(42, outside) > 0);
	CHECK(memcmp(taken, GATEWAY_MAC, 6) == 0 && load16(taken + 34) == 1000 && taken[22] == 63);
	for (unsigned i = 1; i < OUTSIDE_HOLD; i++)
		CHECK(ring_take(outside, taken, sizeof taken, NULL) > 0 && load16(taken + 34) == 1000 + i);
	tunnel(SHARED, FAR, 1500);
	CHECK(ring_take(outside, taken, sizeof taken, NULL) > 0);
	CHECK(frame_checks(taken + 14, 33));
}

static void a_vm_of_its_own_host_goes_out_by_it_with_its_vip(void)
{
	const uint8_t any[4] = {0};
	ferrite_ipv6 vip_underlay;
	ferrite_ipv4 vip;
	struct vm vm;
	memcpy(vip.bytes, VIP, 4);
	world_vm(&vm, engine, 14, 100, 1);
	CHECK_NUMBER(ferrite_vip_add(engine, vm.index, vip, NULL, &vip_underlay), 0);
	route(200, VIP, 32, vip_underlay.bytes);
	route(100, any, 0, address.bytes);
	uint32_t length = frame_wrap4(frame, vm.gateway.bytes, vm.mac, vm.ipv4, FAR, 1234, 53, "hello", 5);
	for (unsigned i = 0; i < 2; i++) {
		CHECK(ring_put(vm.end, frame, length, NULL));
		poll_all();
		CHECK_NUMBER(ring_take(outside, taken, sizeof taken, NULL), length);
		CHECK(memcmp(taken + 26, VIP, 4) == 0 && frame_checks(taken + 14, length - 14));
	}
	length = frame_wrap4(frame, mac, GATEWAY_MAC, FAR, VIP, 53, 1234, "hello", 5);
	CHECK_NUMBER(from_outside(length, vm.end), length);
	CHECK(memcmp(taken + 30, vm.ipv4, 4) == 0 && frame_checks(taken + 14, length - 14));
	CHECK_NUMBER(ring_take(underlay, taken, sizeof taken, NULL), 0);
	length = frame_wrap4(frame, vm.gateway.bytes, vm.mac, vm.ipv4, FAR, 1234, 53, "hello", 5);
	frame[14 + 8] = 1; /* who is on the way: the edge, and it tells the VM */
	uint16_t sum = 0;
	memcpy(frame + 24, &sum, 2);
	checksum_put(frame + 24, checksum_add(0, frame + 14, 20));
	engine->edges[edge]->errors_next_ms = 0;
	CHECK(ring_put(vm.end, frame, length, NULL));
	poll_all();
	CHECK(ring_take(vm.end, taken, sizeof taken, NULL) > 0);
	CHECK(memcmp(taken + 26, OWN, 4) == 0 && memcmp(taken + 30, vm.ipv4, 4) == 0 && taken[34] == 11);
	CHECK(memcmp(taken + 34 + 8 + 12, vm.ipv4, 4) == 0 && frame_checks(taken + 14, sizeof taken - 14));
	world_vm_leave(&vm);
}

static uint64_t chance_state = 7;

static uint32_t chance(uint32_t below)
{
	chance_state = mix(chance_state, 0x1234567);
	return (uint32_t)(chance_state >> 20) % below;
}

static void damaged_frames_do_no_harm(void)
{
	for (unsigned i = 0; i < 20000; i++) {
		const uint8_t to6[16] = {0x20, 1, 0x0d, 0xb8, [15] = 2};
		uint32_t length = chance(3) == 0 ? arp((uint16_t)(1 + chance(2)), GATEWAY, chance(2) ? OWN : VIP) :
			chance(2) == 0 ? frame_wrap6(frame, mac, GATEWAY_MAC, to6, to6, 1, 2, taken, chance(100)) :
					 frame_wrap4(frame, mac, GATEWAY_MAC, FAR, chance(2) ? OWN : ROUTED, 53, 1000, taken, chance(100));
		if (chance(4) == 0 && length > 60) { /* neighbour discovery, echo, errors */
			frame[14 + (frame[12] == 8 ? 9 : 6)] = frame[12] == 8 ? 1 : 58;
			frame[frame[12] == 8 ? 34 : 54] = (uint8_t)chance(140);
			frame[21] = 255;
		}
		for (unsigned j = chance(6); j > 0; j--)
			frame[chance(length)] = (uint8_t)chance(256);
		CHECK(ring_put(outside, frame, chance(5) == 0 ? 1 + chance(length) : length, NULL));
		(void)ferrite_engine_poll(engine);
		while (ring_take(outside, taken, sizeof taken, NULL) > 0 || ring_take(underlay, taken, sizeof taken, NULL) > 0)
			continue;
	}
}

static void nothing_is_left_of_it(void)
{
	const uint8_t near[4] = {198, 51, 100, 77};
	tunnel(SHARED, near, 1600); /* waits for somebody who never answers */
	poll_all();
	CHECK_NUMBER(ferrite_port_close(engine, port), -EBUSY);
	CHECK_NUMBER(ferrite_edge_remove(engine, edge), 0);
	CHECK_NUMBER(ferrite_edge_remove(engine, edge), -ENOENT);
	while (ring_take(outside, taken, sizeof taken, NULL) > 0)
		continue;
	CHECK_NUMBER(rte_mempool_in_use_count(buffers.small), 0);
	tunnel(SHARED, FAR, 1600);
	CHECK_NUMBER(world_counter(engine, "drop.outer_stale"), 1);
	make_edge();
	CHECK_NUMBER(from_outside(arp(1, GATEWAY, OWN), outside), 42);
	CHECK_NUMBER(ferrite_edge_remove(engine, edge), 0);
}

int main(void)
{
	start();
	make_edge();
	RUN(it_stands_for_what_it_finds_and_for_nobody_else);
	RUN(what_comes_in_goes_where_it_is_known_to_be_now);
	RUN(what_goes_out_waits_for_the_gateway);
	RUN(a_vm_of_its_own_host_goes_out_by_it_with_its_vip);
	RUN(damaged_frames_do_no_harm);
	RUN(nothing_is_left_of_it);
	ring_leave(outside);
	ring_leave(underlay);
	ferrite_engine_stop(engine);
	return CHECK_RESULT();
}
