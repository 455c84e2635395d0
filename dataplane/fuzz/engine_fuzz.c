/* A whole engine with everything configured, and a sequence of what may happen to it: frames of VMs, packets of the
 * underlay, replies and errors to what it sent, time that passes, configuration that changes.
 *
 * Input: events of (what, length in 16 bits, bytes). `what`: 0 to 2 a frame of that VM; 3 to 10 an outer packet, whose
 * destination becomes one of the endpoints; 11 an outer packet as it is; 12 `length` milliseconds, without bytes; 13 a
 * change; 14 what was sent last comes back, turned round; 15 an ICMP error about it. Each input meets the engine as the
 * first one did: what it changed is changed back, and by then all flows have expired.
 *
 * What must hold: VMs of another network than the one that a packet came from get nothing; no buffer is lost.
 */
#include <stdlib.h>

#include "engine/world.h"
#include "target.h"

enum { VMS = 3, ENDPOINTS = 8, CHANGES = 6, NETWORKS = 2 };

static struct ferrite_engine *engine;
static struct ring_end *underlay;
static struct vm vms[VMS]; /* 0 and 1 are of network 0, 2 of network 1, with the addresses of 0 */
static ferrite_ipv6 endpoints[ENDPOINTS];
static const unsigned endpoint_network[ENDPOINTS] = {0, 0, 0, 0, 0, 0, 0, 1};
static uint64_t now = 1000000;
static uint32_t balancer;
static bool changed[CHANGES];
static uint8_t last[FRAME_ROOM];
static uint32_t last_length;
static int last_network;

static uint64_t virtual_clock(void)
{
	return now;
}

static void must(int status)
{
	if (status != 0)
		abort();
}

static ferrite_ipv6 remote(unsigned network, unsigned number)
{
	return (ferrite_ipv6){{0xfd, 0, 0, 0x0f, 0, 9, 0, 0, 0xd0, 1, 0, 0, (uint8_t)(1 + network), 0, 0, (uint8_t)(1 + number)}};
}

static struct ferrite_route_key key4(uint8_t a, uint8_t b, uint8_t length)
{
	return (struct ferrite_route_key){.family = 4, .length = length, .prefix = {a, b}};
}

static void routes(unsigned network)
{
	struct ferrite_hop hops[3];
	struct ferrite_route route = {.key = key4(10, 9, 16), .hop_count = 3, .hops = hops};
	for (unsigned i = 0; i < 3; i++)
		hops[i] = (struct ferrite_hop){remote(network, i), 100 + network, 1};
	route.key.vni = 100 + network;
	must(ferrite_route_put(engine, &route, true));
	route = (struct ferrite_route){.key = {.vni = 100 + network, .family = 4}, .next_hop = remote(network, 0)};
	must(ferrite_route_put(engine, &route, true));
	route.key.family = 6;
	must(ferrite_route_put(engine, &route, true));
}

static void firewall(uint32_t index, unsigned count)
{
	struct ferrite_rule rules[40];
	for (unsigned i = 0; i < count; i++)
		rules[i] = (struct ferrite_rule){.egress = i % 2 == 0, .accept = i % 3 != 0, .family = i % 5 == 0 ? 6 : 4,
						 .protocol = i % 2 == 0 ? 6 : 17, .source_last = 65535,
						 .destination_first = (uint16_t)(100 * i), .destination_last = (uint16_t)(100 * i + 50),
						 .icmp_type = -1, .icmp_code = -1, .tag = i + 1};
	must(ferrite_firewall_set(engine, index, rules, count, FERRITE_ACCEPT, FERRITE_ACCEPT));
}

static void targets(bool all)
{
	ferrite_ipv6 list[3] = {endpoints[5], remote(0, 0), remote(0, 1)};
	must(ferrite_balancer_targets(engine, balancer, list, all ? 3 : 1));
}

/* Undone by calling it again. */
static void change(unsigned what)
{
	bool to = changed[what] = !changed[what];
	struct ferrite_route_key key = {.vni = 100, .family = 4};
	struct ferrite_interface_settings settings = {.total_rate = 1, .public_rate = to, .flow_limit = to ? 3 : 0};
	switch (what) {
	case 0: must(ferrite_nat_update(engine, vms[1].index, to ? 1060 : 1024, 1088)); return;
	case 1: firewall(vms[1].index, to ? 40 : 5); return;
	case 2:
		if (to)
			must(ferrite_route_remove(engine, &key));
		else
			routes(0);
		return;
	case 3: targets(!to); return;
	case 4: must(ferrite_interface_update(engine, vms[1].index, &settings)); return;
	default: {
		const ferrite_ipv6 as_before = endpoints[2];
		if (to)
			must(ferrite_vip_remove(engine, vms[0].index));
		else
			must(ferrite_vip_add(engine, vms[0].index, (ferrite_ipv4){{203, 0, 113, 1}}, &as_before, &endpoints[2]));
	}
	}
}

static void more(void)
{
	struct ferrite_balancer_config config = {.vni = 100, .family = 4, .address = {203, 0, 113, 150}, .port_count = 2,
						 .ports = {{6, 80, 80}, {17, 1, 65535}}};
	struct ferrite_neighbor_nat neighbor = {.ip = {{198, 51, 100, 1}}, .vni = 100, .min = 2000, .max = 3000,
						.underlay = remote(0, 2)};
	struct ferrite_route_key alias = key4(10, 5, 16), balanced = {.family = 4, .length = 32, .prefix = {203, 0, 113, 150}};
	must(ferrite_vip_add(engine, vms[0].index, (ferrite_ipv4){{203, 0, 113, 1}}, NULL, &endpoints[2]));
	must(ferrite_nat_add(engine, vms[1].index, (ferrite_ipv4){{198, 51, 100, 1}}, 1024, 1088, NULL, &endpoints[3]));
	must(ferrite_prefix_add(engine, vms[0].index, &alias, true, NULL, &endpoints[4]));
	must(ferrite_prefix_add(engine, vms[0].index, &balanced, false, NULL, &endpoints[5]));
	must(ferrite_balancer_add(engine, &config, &balancer, &endpoints[6]));
	must(ferrite_neighbor_nat_add(engine, &neighbor));
	targets(true);
	firewall(vms[1].index, 5);
}

static void start(void)
{
	char error[FERRITE_ERROR_TEXT];
	struct ferrite_engine_config config = {.name = "fuzz", .uplink = "ring:fuzz", .mtu = 1500, .has_seed = true, .seed = 1,
					       .clock_ms = virtual_clock, .flow_capacity = 1024};
	struct ferrite_virtual_service service = {.protocol = 6, .ip = {{169, 254, 1, 1}}, .port = 80,
						  .target = {{0x20, 1, 0x0d, 0xb8, 9}}, .target_port = 8080};
	const uint8_t prefix[8] = {0xfd, 0, 0, 0x0f, 0, 1};
	memcpy(config.underlay_prefix.bytes, prefix, 8);
	must(ferrite_engine_start(&config, &engine, error));
	must(ferrite_virtual_service_add(engine, &service));
	service.protocol = 17;
	must(ferrite_virtual_service_add(engine, &service));
	underlay = ring_join("fuzz");
	world_vm(&vms[0], engine, 1, 100, 1);
	world_vm(&vms[1], engine, 1, 100, 2);
	world_vm(&vms[2], engine, 1, 101, 1);
	endpoints[0] = vms[0].underlay;
	endpoints[1] = vms[1].underlay;
	endpoints[7] = vms[2].underlay;
	more();
	for (unsigned i = 0; i < NETWORKS; i++)
		routes(i);
}

/* What comes out after something of this network (-1: it can't be told). */
static void collect(int network)
{
	static uint8_t taken[FRAME_ROOM];
	uint32_t length;
	world_poll(engine, NULL);
	for (unsigned i = 0; i < VMS; i++)
		while (ring_take(vms[i].end, taken, sizeof taken, NULL) > 0)
			if (network >= 0 && network != (i == 2))
				abort();
	while ((length = ring_take(underlay, taken, sizeof taken, NULL)) > 0) {
		memcpy(last, taken, length);
		last_length = length;
		last_network = network;
	}
}

static void arrive(const uint8_t *outer, uint32_t length, const ferrite_ipv6 *at, int network)
{
	static uint8_t copy[FRAME_ROOM];
	memcpy(copy, outer, length);
	if (at != NULL && length >= 40)
		memcpy(copy + 24, at->bytes, 16);
	(void)ring_put(underlay, copy, length, NULL);
	collect(network);
}

/* Inner addresses and ports change places, and the outer ones too; a source that several have goes where it came from. */
static void turn_round(uint8_t *outer, uint32_t length)
{
	uint8_t swap[16], *ip = outer + (outer[6] == 4 || outer[6] == 41 ? 40 : 0);
	bool wide = ip[0] >> 4 == 6;
	unsigned at = wide ? 8 : 12, size = wide ? 16 : 4, l4 = wide ? 40 : 20;
	memcpy(swap, outer + 8, 16);
	memmove(outer + 8, outer + 24, 16);
	memcpy(outer + 24, swap, 16);
	if (ip != outer && memcmp(ip + 12, (const uint8_t[]){198, 51, 100, 1}, 4) == 0)
		memcpy(outer + 24, endpoints[3].bytes, 16);
	if (ip != outer && memcmp(ip + 12, (const uint8_t[]){203, 0, 113, 1}, 4) == 0)
		memcpy(outer + 24, endpoints[2].bytes, 16);
	if (outer + length < ip + l4 + 8)
		return;
	if (ip != outer) {
		memcpy(swap, ip + at, size);
		memmove(ip + at, ip + at + size, size);
		memcpy(ip + at + size, swap, size);
	}
	if (ip[wide ? 6 : 9] == 6 || ip[wide ? 6 : 9] == 17) {
		memcpy(swap, ip + l4, 2);
		memmove(ip + l4, ip + l4 + 2, 2);
		memcpy(ip + l4 + 2, swap, 2);
	} else if (!wide && ip[9] == 1) {
		ip[20] = 0;
	}
}

static void complain(void)
{
	uint8_t error[40 + 28 + 128] = {[0] = 0x60, [6] = 4, [7] = 64, [40] = 0x45, [48] = 60, 1, [60] = 3, 1};
	uint32_t keep = last_length - 40 < 128 ? last_length - 40 : 128;
	if (last_length < 40 + 28 || last[6] != 4)
		return;
	memcpy(error + 8, last + 24, 16);
	memcpy(error + 24, memcmp(last + 52, (const uint8_t[]){198, 51, 100, 1}, 4) == 0 ? endpoints[3].bytes : last + 8, 16);
	memcpy(error + 52, (const uint8_t[]){192, 0, 2, 254}, 4);
	memcpy(error + 56, last + 52, 4);
	memcpy(error + 68, last + 40, keep);
	store16(error + 4, 28 + keep);
	store16(error + 42, 28 + keep);
	checksum_ipv4((struct ipv4_header *)(void *)(error + 40), 20);
	checksum_put(error + 62, checksum_add(0, error + 60, 8 + keep));
	arrive(error, 68 + keep, NULL, last_network);
}

static void happen(unsigned what, const uint8_t *data, uint32_t length)
{
	if (what < VMS) {
		(void)ring_put(vms[what].end, data, length, NULL);
		collect(what == 2);
	} else if (what < 11) {
		arrive(data, length, &endpoints[what - 3], (int)endpoint_network[what - 3]);
	} else if (what == 11) {
		arrive(data, length, NULL, -1);
	} else if (what == 13) {
		if (length > 0)
			change(data[0] % CHANGES);
	} else if (what == 14 && last_length >= 40) {
		turn_round(last, last_length);
		arrive(last, last_length, NULL, -1);
	} else if (what == 15) {
		complain();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (engine == NULL)
		start();
	now += 90000000;
	collect(-1);
	last_length = 0;
	while (size >= 3) {
		uint32_t what = data[0] % 16, length = data[1] + data[2] * 256u;
		data += 3;
		size -= 3;
		if (what == 12) {
			now += length;
			collect(-1);
			continue;
		}
		length = length < size ? length : (uint32_t)size;
		happen(what, data, length);
		data += length;
		size -= length;
	}
	for (unsigned i = 0; i < CHANGES; i++)
		if (changed[i])
			change(i);
	if (rte_mempool_in_use_count(buffers.small) != 0 || rte_mempool_in_use_count(buffers.big) != 0)
		abort(); /* a leak */
	return 0;
}

/* --- Seeds: a line of events each. */

struct writer { uint8_t *at; size_t size; };

static void event(struct writer *to, unsigned what, const uint8_t *data, uint32_t length)
{
	to->at[to->size] = (uint8_t)what;
	to->at[to->size + 1] = (uint8_t)length;
	to->at[to->size + 2] = (uint8_t)(length >> 8);
	if (what != 12)
		memcpy(to->at + to->size + 3, data, length);
	to->size += 3 + (what != 12 ? length : 0);
}

static uint32_t frame_of(uint8_t *frame, unsigned vm, const uint8_t to[4], uint8_t protocol, uint8_t flags, uint16_t port)
{
	uint8_t rest[16] = {[4] = 0x50, [5] = flags};
	uint32_t length = frame_wrap4(frame, vms[vm].gateway.bytes, vms[vm].mac, vms[vm].ipv4, to, 1000, port, rest, 16);
	frame[23] = protocol;
	if (protocol == 1)
		memcpy(frame + 34, (const uint8_t[]){8, 0, 0, 0, 3, 0xe8, 0, 1}, 8);
	checksum_ipv4((struct ipv4_header *)(void *)(frame + 14), 20);
	return length;
}

/* The frame's packet, to an endpoint of the host. */
static void outer_event(struct writer *to, unsigned what, const uint8_t *frame, uint32_t length)
{
	uint8_t outer[2048] = {0x60, [7] = 64};
	ferrite_ipv6 from = remote(what == 10, 0);
	store16(outer + 4, length - 14);
	outer[6] = frame[14] >> 4 == 4 ? 4 : 41;
	memcpy(outer + 8, from.bytes, 16);
	memcpy(outer + 40, frame + 14, length - 14);
	event(to, what, outer, length + 26);
}

static void conversation(struct writer *to, unsigned vm, const uint8_t peer[4], uint8_t protocol, uint16_t port)
{
	uint8_t frame[2048];
	event(to, vm, frame, frame_of(frame, vm, peer, protocol, 2, port));
	event(to, 14, frame, 0);
	event(to, vm, frame, frame_of(frame, vm, peer, protocol, 16, port));
	event(to, 15, frame, 0);
	event(to, 12, NULL, 40000);
	event(to, vm, frame, frame_of(frame, vm, peer, protocol, 17, port));
	event(to, 14, frame, 0);
}

static void knocks(struct writer *to, unsigned what, const uint8_t address[4])
{
	const struct vm someone = {.ipv4 = {192, 0, 2, 9}};
	uint8_t frame[2048];
	uint32_t length = frame_udp4(frame, &someone, address, 20, 1);
	outer_event(to, what, frame, length);
	event(to, 13, (const uint8_t[]){3}, 1);
	outer_event(to, what, frame, length);
	store16(frame + 20, 0x2000); /* the same, in pieces */
	checksum_ipv4((struct ipv4_header *)(void *)(frame + 14), 20);
	outer_event(to, what, frame, length);
	store16(frame + 20, 4);
	checksum_ipv4((struct ipv4_header *)(void *)(frame + 14), 20);
	outer_event(to, what, frame, length);
	event(to, 14, frame, 0);
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t limit)
{
	static const uint8_t peers[8][4] = {{10, 0, 0, 2}, {10, 0, 0, 1}, {192, 0, 2, 1}, {203, 0, 113, 1}, {203, 0, 113, 150},
					    {169, 254, 1, 1}, {10, 9, 0, 1}, {10, 5, 0, 1}};
	static const uint8_t places[8][4] = {{10, 0, 0, 1}, {10, 0, 0, 2}, {203, 0, 113, 1}, {198, 51, 100, 1}, {10, 5, 0, 1},
					     {203, 0, 113, 150}, {203, 0, 113, 150}, {10, 0, 0, 1}};
	static const uint8_t far6[16] = {0x20, 1, 0x0d, 0xb8, [15] = 77}, far64[16] = {0, 0x64, 0xff, 0x9b, [12] = 192, 0, 2, 1};
	static const uint8_t protocols[3] = {6, 17, 1};
	struct writer to = {.at = data};
	uint8_t frame[2048];
	if (engine == NULL)
		start();
	if (n < 24) {
		conversation(&to, n % 2, peers[n / 3], protocols[n % 3], 80);
		event(&to, 13, (const uint8_t[]){(uint8_t)n}, 1);
		conversation(&to, n % 2, peers[n / 3], protocols[n % 3], 80);
	} else if (n < 32) {
		knocks(&to, 3 + n - 24, places[n - 24]);
	} else if (n < 36) {
		uint32_t length = frame_udp6(frame, &vms[1], n % 2 == 0 ? far6 : far64, n < 34 ? 30 : 1480, 1);
		event(&to, 1, frame, length);
		event(&to, 14, frame, 0);
		event(&to, 15, frame, 0);
		event(&to, 1, frame, length);
	} else {
		return 0;
	}
	return to.size < limit ? to.size : 0;
}
