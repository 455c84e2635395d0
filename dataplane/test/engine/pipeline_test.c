/* Two hosts over an in-process uplink, VMs at both: what passes, what does not, and how it looks on the way. */
#include <errno.h>

#include "control/check.h"
#include "world.h"

static uint8_t sent[FRAME_ROOM], got[FRAME_ROOM];
static struct ferrite_engine *host1, *host2;
static struct vm vm1, vm2; /* VNI 200: on host 1 and 2 */

static void expect_delivered(struct vm *to, const uint8_t *frame, uint32_t length)
{
	uint32_t took = ring_take(to->end, got, sizeof got, NULL);
	CHECK_NUMBER(took, length);
	CHECK(took == length && memcmp(got + 12, frame + 12, length - 12) == 0);
	CHECK(memcmp(got + 6, to->gateway.bytes, 6) == 0);
}

static bool nothing(struct vm *vm)
{
	return ring_take(vm->end, got, sizeof got, NULL) == 0;
}

static void packets_of_both_families_pass_between_hosts_unchanged(void)
{
	for (uint32_t payload = 0; payload < 1400; payload += 173) {
		uint32_t length = frame_udp4(sent, &vm1, vm2.ipv4, payload, 7);
		CHECK(ring_put(vm1.end, sent, length, NULL));
		world_poll(host1, host2);
		expect_delivered(&vm2, sent, length);
		length = frame_udp6(sent, &vm2, vm1.ipv6, payload, 9);
		CHECK(ring_put(vm2.end, sent, length, NULL));
		world_poll(host1, host2);
		expect_delivered(&vm1, sent, length);
	}
	CHECK(nothing(&vm1) && nothing(&vm2));
}

static void a_learned_mac_is_the_destination_of_delivered_frames(void)
{
	uint32_t length = frame_udp4(sent, &vm1, vm2.ipv4, 10, 1);
	CHECK(ring_put(vm1.end, sent, length, NULL));
	world_poll(host1, host2);
	expect_delivered(&vm2, sent, length);
	CHECK(memcmp(got, vm2.mac, 6) == 0); /* it spoke in the test before */
}

static void the_outer_header_is_ip_in_ipv6_with_the_flow_in_its_label(void)
{
	struct ferrite_engine *host = world_engine(3, "ring:outer", 1500);
	struct ring_end *underlay = ring_join("outer");
	struct vm vm;
	world_vm(&vm, host, 3, 200, 1);
	world_route(host, 200, &vm2);
	uint32_t labels[2];
	for (unsigned i = 0; i < 2; i++) {
		uint32_t length = frame_udp4(sent, &vm, vm2.ipv4, 100, 1);
		store16(sent + 34, 1000 + i); /* another source port, another flow */
		CHECK(ring_put(vm.end, sent, length, NULL));
		world_poll(host, NULL);
		uint32_t took = ring_take(underlay, got, sizeof got, NULL);
		CHECK_NUMBER(took, length - 14 + 40);
		CHECK_NUMBER(got[0] >> 4, 6);
		CHECK_NUMBER(load16(got + 4), length - 14);
		CHECK_NUMBER(got[6], 4);
		CHECK_NUMBER(got[7], 64);
		CHECK(memcmp(got + 8, vm.underlay.bytes, 16) == 0);
		CHECK(memcmp(got + 24, vm2.underlay.bytes, 16) == 0);
		CHECK(memcmp(got + 40, sent + 14, length - 14) == 0);
		labels[i] = load32(got) & 0xfffff;
	}
	CHECK(labels[0] != labels[1]);
	uint32_t length = frame_udp6(sent, &vm, vm2.ipv6, 5, 1);
	CHECK(ring_put(vm.end, sent, length, NULL));
	world_poll(host, NULL);
	CHECK_NUMBER(ring_take(underlay, got, sizeof got, NULL), length - 14 + 40);
	CHECK_NUMBER(got[6], 41);
	world_vm_leave(&vm);
	ring_leave(underlay);
	ferrite_engine_stop(host);
}

static void a_spoofed_source_is_dropped(void)
{
	const uint8_t other4[4] = {10, 0, 0, 77}, other6[16] = {0x20, 1, 0x0d, 0xb8, [15] = 77};
	uint64_t before = world_counter(host1, "drop.spoof");
	struct vm liar = vm1;
	memcpy(liar.ipv4, other4, 4);
	memcpy(liar.ipv6, other6, 16);
	CHECK(ring_put(vm1.end, sent, frame_udp4(sent, &liar, vm2.ipv4, 10, 1), NULL));
	CHECK(ring_put(vm1.end, sent, frame_udp6(sent, &liar, vm2.ipv6, 10, 1), NULL));
	world_poll(host1, host2);
	CHECK(nothing(&vm2));
	CHECK_NUMBER(world_counter(host1, "drop.spoof") - before, 2);
}

static void equal_addresses_of_two_networks_never_meet(void)
{
	struct vm a, b, c;
	world_vm(&a, host1, 1, 300, 1); /* 10.0.0.1 and 10.0.0.2 again, in VNI 300 */
	world_vm(&b, host2, 2, 300, 2);
	world_vm(&c, host1, 1, 300, 2 + 1);
	world_route(host1, 300, &b);
	world_route(host2, 300, &a);
	uint32_t length = frame_udp4(sent, &a, b.ipv4, 20, 1);
	CHECK(ring_put(a.end, sent, length, NULL));
	world_poll(host1, host2);
	expect_delivered(&b, sent, length);
	CHECK(nothing(&vm2));
	/* A VM of one network has no way to an address that exists in the other only. */
	length = frame_udp4(sent, &vm1, c.ipv4, 20, 1);
	CHECK(ring_put(vm1.end, sent, length, NULL));
	world_poll(host1, host2);
	CHECK(nothing(&c) && nothing(&a) && nothing(&b));
	/* A wrong next hop reaches an interface that does not own the inner address: dropped there. */
	uint64_t before = world_counter(host2, "drop.inner_foreign");
	struct ferrite_route wrong = {.key = {.vni = 300, .family = 4, .length = 32, .prefix = {10, 0, 0, 9}},
				      .next_hop = b.underlay};
	CHECK_NUMBER(ferrite_route_put(host1, &wrong, false), 0);
	CHECK(ring_put(a.end, sent, frame_udp4(sent, &a, wrong.key.prefix, 20, 1), NULL));
	world_poll(host1, host2);
	CHECK(nothing(&b) && nothing(&vm2));
	CHECK_NUMBER(world_counter(host2, "drop.inner_foreign") - before, 1);
	CHECK_NUMBER(ferrite_route_clear(host1, 300), 3);
	world_vm_leave(&a);
	world_vm_leave(&b);
	world_vm_leave(&c);
	CHECK_NUMBER(ferrite_route_clear(host2, 300), 2);
}

static void a_stale_route_hits_nobody_after_its_interface_was_replaced(void)
{
	struct vm old, fresh;
	world_vm(&old, host2, 2, 200, 5);
	world_route(host1, 200, &old);
	uint32_t length = frame_udp4(sent, &vm1, old.ipv4, 20, 1);
	CHECK(ring_put(vm1.end, sent, length, NULL));
	world_poll(host1, host2);
	expect_delivered(&old, sent, length);
	uint32_t index = old.index;
	ferrite_ipv6 underlay = old.underlay;
	world_vm_leave(&old);
	host2->interface_hint = index - 1; /* the same index again */
	world_vm(&fresh, host2, 2, 200, 5);
	CHECK_NUMBER(fresh.index, index);
	CHECK(memcmp(fresh.underlay.bytes, underlay.bytes, 16) != 0);
	uint64_t before = world_counter(host2, "drop.outer_stale");
	CHECK(ring_put(vm1.end, sent, length, NULL));
	world_poll(host1, host2);
	CHECK(nothing(&fresh));
	CHECK_NUMBER(world_counter(host2, "drop.outer_stale") - before, 1);
	world_route(host1, 200, &fresh); /* the flow is decided anew */
	CHECK(ring_put(vm1.end, sent, length, NULL));
	world_poll(host1, host2);
	expect_delivered(&fresh, sent, length);
	world_vm_leave(&fresh);
	CHECK(ring_put(vm1.end, sent, length, NULL));
	world_poll(host1, host2);
	CHECK_NUMBER(world_counter(host2, "drop.outer_stale") - before, 2);
}

static void a_withdrawn_route_ends_its_flows(void)
{
	uint32_t length = frame_udp4(sent, &vm1, vm2.ipv4, 20, 1);
	struct ferrite_route_key key = {.vni = 200, .family = 4, .length = 32, .prefix = {10, 0, 0, 2}};
	CHECK_NUMBER(ferrite_route_remove(host1, &key), 0);
	uint64_t before = world_counter(host1, "drop.route_miss");
	CHECK(ring_put(vm1.end, sent, length, NULL));
	world_poll(host1, host2);
	CHECK(nothing(&vm2));
	CHECK_NUMBER(world_counter(host1, "drop.route_miss") - before, 1);
	world_route(host1, 200, &vm2);
	CHECK(ring_put(vm1.end, sent, length, NULL));
	world_poll(host1, host2);
	expect_delivered(&vm2, sent, length);
}

static void the_longest_prefix_wins_also_after_the_flow_exists(void)
{
	struct ferrite_route wide = {.key = {.vni = 200, .family = 4, .length = 0}};
	wide.next_hop.bytes[0] = 0xfd; /* nobody */
	CHECK_NUMBER(ferrite_route_put(host1, &wide, false), 0);
	uint32_t length = frame_udp4(sent, &vm1, vm2.ipv4, 20, 1);
	CHECK(ring_put(vm1.end, sent, length, NULL));
	world_poll(host1, host2);
	expect_delivered(&vm2, sent, length);
	CHECK_NUMBER(ferrite_route_remove(host1, &wide.key), 0);
}

static void neighbours_on_one_host_talk_without_the_uplink(void)
{
	struct vm near;
	world_vm(&near, host1, 1, 200, 8);
	uint64_t before = world_counter(host1, "uplink.tx_packets");
	for (unsigned i = 0; i < 2; i++) { /* decided, then found */
		uint32_t length = frame_udp4(sent, &vm1, near.ipv4, 20, (uint8_t)i);
		CHECK(ring_put(vm1.end, sent, length, NULL));
		world_poll(host1, host2);
		expect_delivered(&near, sent, length);
		length = frame_udp6(sent, &near, vm1.ipv6, 20, (uint8_t)i);
		CHECK(ring_put(near.end, sent, length, NULL));
		world_poll(host1, host2);
		expect_delivered(&vm1, sent, length);
	}
	CHECK_NUMBER(world_counter(host1, "uplink.tx_packets") - before, 0);
	world_vm_leave(&near);
}

static void a_too_long_packet_comes_back_as_an_error_that_quotes_it(void)
{
	host1->now_ms += 1000;
	uint32_t length = frame_udp4(sent, &vm1, vm2.ipv4, 1500, 1);
	store16(sent + 20, 0x4000);
	checksum_ipv4((struct ipv4_header *)(void *)(sent + 14), 20);
	CHECK(ring_put(vm1.end, sent, length, NULL));
	ferrite_engine_poll(host1);
	uint32_t took = ring_take(vm1.end, got, sizeof got, NULL);
	CHECK(took > 42 && frame_checks(got + 14, took - 14));
	CHECK(got[34] == 3 && got[35] == 4 && load16(got + 40) == 1500);
	CHECK(memcmp(got + 42, sent + 14, 28) == 0);
	host1->interfaces[vm1.index].errors_next_ms = 0;
	length = frame_udp6(sent, &vm1, vm2.ipv6, 1500, 1);
	CHECK(ring_put(vm1.end, sent, length, NULL));
	ferrite_engine_poll(host1);
	took = ring_take(vm1.end, got, sizeof got, NULL);
	CHECK(took > 62 && frame_checks(got + 14, took - 14));
	CHECK(got[54] == 2 && load32(got + 58) == 1500);
	world_poll(host1, host2);
	CHECK(nothing(&vm2));
}

static void a_super_packet_keeps_its_offload_from_vm_to_vm(void)
{
	struct offload offload = {.needs_checksum = 1, .gso = GSO_TCP4, .gso_size = 1448, .header_length = 52,
				  .checksum_start = 20, .checksum_offset = 16};
	uint32_t length = frame_udp4(sent, &vm1, vm2.ipv4, 60000, 3);
	struct packet packet;
	sent[14 + 9] = PROTOCOL_TCP;
	CHECK(ring_put(vm1.end, sent, length, &offload));
	world_poll(host1, host2);
	CHECK_NUMBER(ring_take(vm2.end, got, sizeof got, &packet), length);
	CHECK(memcmp(got + 14, sent + 14, length - 14) == 0);
	CHECK(memcmp(&packet.offload, &offload, sizeof offload) == 0);
	offload.header_length = 1000; /* a kernel counts payload that lies beside the headers */
	CHECK(ring_put(vm1.end, sent, length, &offload));
	world_poll(host1, host2);
	CHECK_NUMBER(ring_take(vm2.end, got, sizeof got, &packet), length);
	offload.gso_size = 1500; /* pieces that are too long for the path */
	host1->interfaces[vm1.index].errors_next_ms = 0;
	CHECK(ring_put(vm1.end, sent, length, &offload));
	world_poll(host1, host2);
	CHECK(nothing(&vm2));
	uint32_t took = ring_take(vm1.end, got, sizeof got, NULL);
	CHECK(took > 42 && got[34] == 3 && got[35] == 4);
}

static void an_address_that_others_chose_is_found(void)
{
	struct ferrite_interface_config config = {.vni = 200, .ipv4 = {{10, 0, 0, 30}}};
	struct ferrite_engine *host = host2;
	char error[FERRITE_ERROR_TEXT];
	uint32_t index;
	ferrite_ipv6 underlay;
	config.preferred_underlay = vm2.underlay;
	config.preferred_underlay.bytes[10] = 0x80;
	config.preferred_underlay.bytes[15] = 0xee;
	CHECK_NUMBER(ferrite_port_open(host, "ring:chosen", NULL, &config.port, error), 0);
	struct ring_end *end = ring_join("chosen");
	CHECK_NUMBER(ferrite_interface_add(host, &config, &index, &underlay), 0);
	CHECK(memcmp(underlay.bytes, config.preferred_underlay.bytes, 16) == 0);
	struct vm as_vm = {.underlay = underlay, .ipv4 = {10, 0, 0, 30}, .ipv6 = {0x20, 9}};
	world_route(host1, 200, &as_vm);
	uint32_t length = frame_udp4(sent, &vm1, as_vm.ipv4, 20, 1);
	CHECK(ring_put(vm1.end, sent, length, NULL));
	world_poll(host1, host2);
	CHECK_NUMBER(ring_take(end, got, sizeof got, NULL), length);
	struct ferrite_interface_config again = config;
	CHECK_NUMBER(ferrite_port_close(host, config.port), -EBUSY);
	CHECK_NUMBER(ferrite_port_open(host, "ring:chosen2", NULL, &again.port, error), 0);
	CHECK_NUMBER(ferrite_interface_add(host, &again, &index, &underlay), -EADDRINUSE);
	again.ipv4.bytes[3] = 31;
	CHECK_NUMBER(ferrite_interface_add(host, &again, &index, &underlay), -EEXIST);
	again.preferred_underlay.bytes[0] = 0x20; /* not in our /64 */
	CHECK_NUMBER(ferrite_interface_add(host, &again, &index, &underlay), -EINVAL);
	CHECK_NUMBER(ferrite_interface_remove(host, index), 0);
	CHECK(ring_put(vm1.end, sent, length, NULL));
	world_poll(host1, host2);
	CHECK_NUMBER(ring_take(end, got, sizeof got, NULL), 0);
	CHECK_NUMBER(ferrite_port_close(host, config.port), 0);
	CHECK_NUMBER(ferrite_port_close(host, again.port), 0);
	ring_leave(end);
}

static void an_address_of_ours_can_be_asked_for_again(void)
{
	struct vm vm;
	world_vm(&vm, host2, 2, 400, 6);
	struct ferrite_interface_config config = {.port = vm.port, .vni = 400, .preferred_underlay = vm.underlay};
	memcpy(config.ipv4.bytes, vm.ipv4, 4);
	CHECK_NUMBER(ferrite_interface_remove(host2, vm.index), 0);
	uint32_t index;
	ferrite_ipv6 underlay;
	CHECK_NUMBER(ferrite_interface_add(host2, &config, &index, &underlay), 0);
	CHECK_NUMBER(index, vm.index);
	CHECK(memcmp(underlay.bytes, vm.underlay.bytes, 16) == 0);
	world_vm_leave(&vm);
}

static void local_routes_belong_to_their_interface(void)
{
	struct ferrite_route route = {.key = {.vni = 200, .family = 4, .length = 32, .prefix = {10, 0, 0, 1}}};
	CHECK_NUMBER(ferrite_route_put(host1, &route, true), -EEXIST);
	CHECK_NUMBER(ferrite_route_remove(host1, &route.key), -EPERM);
	route.key.prefix[3] = 99;
	CHECK_NUMBER(ferrite_route_remove(host1, &route.key), -ENOENT);
}

static void malformed_frames_are_dropped_and_counted(void)
{
	uint64_t before = world_counter(host1, "drop.malformed");
	uint32_t length = frame_udp4(sent, &vm1, vm2.ipv4, 100, 1);
	CHECK(ring_put(vm1.end, sent, length - 1, NULL)); /* shorter than it says */
	sent[14] = 0x44;                                  /* header of 16 bytes */
	CHECK(ring_put(vm1.end, sent, length, NULL));
	sent[14] = 0x65;
	CHECK(ring_put(vm1.end, sent, length, NULL));
	length = frame_udp6(sent, &vm1, vm2.ipv6, 100, 1);
	CHECK(ring_put(vm1.end, sent, 40, NULL));
	world_poll(host1, host2);
	CHECK_NUMBER(world_counter(host1, "drop.malformed") - before, 4);
	CHECK(nothing(&vm2));
	length = frame_udp4(sent, &vm1, vm2.ipv4, 2, 1);
	memset(sent + length, 0, 60); /* a link's padding */
	CHECK(ring_put(vm1.end, sent, 60, NULL));
	world_poll(host1, host2);
	expect_delivered(&vm2, sent, length);
}

int main(void)
{
	host1 = world_engine(1, "ring:uplink", 1500);
	host2 = world_engine(2, "ring:uplink", 1500);
	world_vm(&vm1, host1, 1, 200, 1);
	world_vm(&vm2, host2, 2, 200, 2);
	world_route(host1, 200, &vm2);
	world_route(host2, 200, &vm1);
	RUN(packets_of_both_families_pass_between_hosts_unchanged);
	RUN(a_learned_mac_is_the_destination_of_delivered_frames);
	RUN(the_outer_header_is_ip_in_ipv6_with_the_flow_in_its_label);
	RUN(a_spoofed_source_is_dropped);
	RUN(equal_addresses_of_two_networks_never_meet);
	RUN(a_stale_route_hits_nobody_after_its_interface_was_replaced);
	RUN(a_withdrawn_route_ends_its_flows);
	RUN(the_longest_prefix_wins_also_after_the_flow_exists);
	RUN(neighbours_on_one_host_talk_without_the_uplink);
	RUN(a_too_long_packet_comes_back_as_an_error_that_quotes_it);
	RUN(a_super_packet_keeps_its_offload_from_vm_to_vm);
	RUN(an_address_that_others_chose_is_found);
	RUN(an_address_of_ours_can_be_asked_for_again);
	RUN(local_routes_belong_to_their_interface);
	RUN(malformed_frames_are_dropped_and_counted);
	world_vm_leave(&vm1);
	world_vm_leave(&vm2);
	ferrite_engine_stop(host1);
	ferrite_engine_stop(host2);
	CHECK_NUMBER(rte_mempool_in_use_count(buffers.small), 0);
	CHECK_NUMBER(rte_mempool_in_use_count(buffers.big), 0);
	return CHECK_RESULT();
}
