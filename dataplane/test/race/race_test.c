/* Control against worker: a real worker forwards everything that there is to forward, while everything that can be
 * changed is changed at random.
 *
 *   race_test [SECONDS] [SEED] [WORKERS]
 *
 * Three threads. The worker is the engine's own. The traffic thread is every VM and the whole underlay: it sends what
 * it likes, turns round what leaves, and holds what is delivered against the one rule that must hold at any moment: a
 * packet of network A is never seen in network B, which has the same addresses. The control thread (main) makes and
 * unmakes; after an interface is gone nothing may be delivered to its port.
 *
 * Built with -Db_sanitize=thread it finds races too (run.sh). What the threads of the test tell each other goes by
 * relaxed atomics, which order nothing: a lock here would hide the races that are looked for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <rte_lcore.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>

#include "engine/world.h"
#include "ferrite/observe.h"
#include "race.h"

enum {
	NETWORKS = 2, VMS = 4, SLOTS = NETWORKS * VMS, /* slot: network + NETWORKS * number */
	KINDS = 7,  /* endpoints of a slot that the underlay can aim at, by type */
	REMOTES = 8,
	ROUTES = 64,
};

struct slot {
	/* Both threads, relaxed. */
	uint64_t aims[KINDS + 1]; /* low half of the underlay address by type; 0: none */
	uint64_t gateway;         /* MAC of the port; 0: closed */
	/* Traffic. */
	struct ring_end *end;
	/* Control. */
	uint32_t port, index;
	bool vip, nat, alias, balanced, firewall;
	uint64_t quiet;           /* frames that its port had delivered when the interface went */
};

static struct ferrite_engine *engine;
static struct slot slots[SLOTS];
static struct ring_end *underlay;
static uint64_t failures, delivered, left, stop;
static const uint8_t prefix[8] = {0xfd, 0, 0, 0x0f, 0, 1};

static uint64_t get(const uint64_t *value)
{
	return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static void put(uint64_t *value, uint64_t now)
{
	__atomic_store_n(value, now, __ATOMIC_RELAXED);
}

static void fail(const char *what, unsigned a, unsigned b)
{
	if (__atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED) <= 10)
		(void)fprintf(stderr, "not so: %s (%u, %u)\n", what, a, b);
}

struct dice { uint64_t state; };

static uint32_t roll(struct dice *dice, uint32_t sides)
{
	dice->state = dice->state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(((dice->state >> 32) * sides) >> 32);
}

static unsigned network_of(unsigned slot)
{
	return slot % NETWORKS;
}

static uint32_t vni_of(unsigned network)
{
	return 100 + network;
}

/* The same in every network. */
static void address4(unsigned slot, uint8_t address[4])
{
	memcpy(address, (const uint8_t[]){10, 0, 0, (uint8_t)(1 + slot / NETWORKS)}, 4);
}

static void address6(unsigned slot, uint8_t address[16])
{
	memset(address, 0, 16);
	memcpy(address, (const uint8_t[]){0x20, 1, 0x0d, 0xb8}, 4);
	address[15] = (uint8_t)(1 + slot / NETWORKS);
}

/* Somebody on another host; says of which network it is. */
static ferrite_ipv6 remote(unsigned network, unsigned number)
{
	return (ferrite_ipv6){{0xfd, 0, 0, 0x0f, 0, 9, 0, 0, 0xd0, 1, 0, 0, (uint8_t)(1 + network), 0, 0, (uint8_t)(1 + number)}};
}

static bool is_remote(const uint8_t address[16])
{
	return address[5] == 9;
}

/* --- Traffic. Every packet ends with a mark that says whose network it is of. */

static struct dice traffic_dice;
static uint8_t frame[FRAME_ROOM], taken[FRAME_ROOM];

static uint32_t chance(uint32_t sides)
{
	return roll(&traffic_dice, sides);
}

static uint32_t mark(uint8_t *end, unsigned network)
{
	memcpy(end, (const uint8_t[]){0xfe, 0xed, 0xac, (uint8_t)network}, 4);
	return 4;
}

/* The network that it is of, or -1: none can be told (an answer of the gateway, or cut short). */
static int marked(const uint8_t *packet, uint32_t length)
{
	if (length < 44 || memcmp(packet + length - 4, (const uint8_t[]){0xfe, 0xed, 0xac}, 3) != 0)
		return -1;
	return packet[length - 1];
}

/* An IP packet; what it is about is chosen at random. */
static uint32_t make4(uint8_t *ip, unsigned network, const uint8_t from[4], const uint8_t to[4], uint16_t source, uint16_t target)
{
	static const uint8_t protocols[8] = {17, 17, 17, 6, 6, 6, 1, 132};
	struct ipv4_header *header = (struct ipv4_header *)(void *)ip;
	uint8_t protocol = protocols[chance(8)], *l4 = ip + 20;
	uint32_t payload = 4 + chance(40), length;
	static uint16_t identification;
	memset(ip, 0, 20 + 20 + 64);
	*header = (struct ipv4_header){.version_ihl = 0x45, .ttl = 64, .protocol = protocol};
	memcpy(header->source, from, 4);
	memcpy(header->destination, to, 4);
	store16(l4, source);
	store16(l4 + 2, target);
	length = 28;
	if (protocol == 17) {
		store16(l4 + 4, 8 + payload);
	} else if (protocol == 6) {
		static const uint8_t flags[6] = {2, 16, 24, 18, 17, 4};
		l4[12] = 0x50;
		l4[13] = flags[chance(6)];
		length = 40;
	} else if (protocol == 1) {
		memcpy(l4, (const uint8_t[]){8, 0}, 2);
		memset(l4 + 2, 0, 2);
		store16(l4 + 4, source);
	}
	if (chance(40) == 0)
		payload += 1500;
	memset(ip + length, 0x55, payload);
	length += payload;
	(void)mark(ip + length - 4, network);
	store16(header->total_length, length);
	unsigned piece = chance(12);
	if (piece < 2) { /* a first fragment, then a later one */
		identification = (uint16_t)(identification + (piece == 0));
		store16(ip + 4, identification);
		store16(ip + 6, piece == 0 ? 0x2000 : 0x00b9);
	}
	checksum_ipv4(header, 20);
	return length;
}

static uint32_t make6(uint8_t *ip, unsigned network, const uint8_t from[16], const uint8_t to[16], uint16_t source, uint16_t target)
{
	struct ipv6_header *header = (struct ipv6_header *)(void *)ip;
	bool tcp = chance(2) == 0;
	uint32_t payload = 4 + chance(40), l4 = tcp ? 20 : 8;
	memset(ip, 0, 40 + 20 + 64);
	*header = (struct ipv6_header){.version_class_label = {0x60}, .hop_limit = 64, .next_header = tcp ? 6 : 17};
	memcpy(header->source, from, 16);
	memcpy(header->destination, to, 16);
	store16(ip + 40, source);
	store16(ip + 42, target);
	if (tcp) {
		ip[52] = 0x50;
		ip[53] = chance(2) == 0 ? 2 : 16;
	} else {
		store16(ip + 44, l4 + payload);
		ip[46] = 1;
	}
	(void)mark(ip + 40 + l4 + payload - 4, network);
	store16(header->payload_length, l4 + payload);
	return 40 + l4 + payload;
}

/* An ICMP error that quotes the packet, from somewhere on its way. */
static uint32_t make_error(uint8_t *ip, const uint8_t *quoted, uint32_t length, unsigned network)
{
	uint32_t keep = length < 200 ? length : 200;
	struct ipv4_header *header = (struct ipv4_header *)(void *)ip;
	uint8_t copy[200];
	memcpy(copy, quoted, keep);
	memset(ip, 0, 28);
	*header = (struct ipv4_header){.version_ihl = 0x45, .ttl = 60, .protocol = 1};
	memcpy(header->source, (const uint8_t[]){203, 0, 113, 9}, 4);
	memcpy(header->destination, copy + 12, 4);
	memcpy(ip + 20, (const uint8_t[]){3, 1}, 2);
	memcpy(ip + 28, copy, keep);
	keep += mark(ip + 28 + keep, network);
	store16(header->total_length, 28 + keep);
	checksum_ipv4(header, 20);
	checksum_put(ip + 22, checksum_add(0, ip + 20, 8 + keep));
	return 28 + keep;
}

static void send_underlay(const ferrite_ipv6 *from, uint64_t aim, const uint8_t *ip, uint32_t length)
{
	static uint8_t outer[FRAME_ROOM];
	memset(outer, 0, 40);
	outer[0] = 0x60;
	store16(outer + 4, length);
	outer[6] = ip[0] >> 4 == 4 ? 4 : 41;
	outer[7] = 64;
	memcpy(outer + 8, from->bytes, 16);
	memcpy(outer + 24, prefix, 8);
	memcpy(outer + 32, &aim, 8);
	memmove(outer + 40, ip, length);
	(void)ring_put(underlay, outer, 40 + length, NULL);
}

static void vip_of(unsigned slot, uint8_t address[4])
{
	memcpy(address, (const uint8_t[]){203, 0, 113, (uint8_t)(100 + slot / NETWORKS)}, 4);
}

static void balancer_of(unsigned slot, uint8_t address[4])
{
	memcpy(address, (const uint8_t[]){203, 0, 113, (uint8_t)(150 + slot / NETWORKS)}, 4);
}

static void alias_of(unsigned slot, uint8_t address[4])
{
	memcpy(address, (const uint8_t[]){10, 5, (uint8_t)(slot / NETWORKS), 9}, 4);
}

static const uint8_t nat_ip[4] = {198, 51, 100, 1};

/* From the VM of a slot, to whom it may want to talk. */
static void from_vm(unsigned slot)
{
	uint8_t own4[4], own6[16], to4[4], to6[16], *ip = frame + 14;
	uint64_t gateway = get(&slots[slot].gateway);
	unsigned network = network_of(slot), other = network + NETWORKS * chance(VMS);
	uint16_t source = (uint16_t)(1024 + chance(64)), target = (uint16_t)(chance(3) == 0 ? 80 : 8080 + chance(4));
	uint32_t length;
	if (gateway == 0)
		return;
	address4(slot, own4);
	address6(slot, own6);
	address4(other, to4);
	address6(other, to6);
	memcpy(frame, &gateway, 6);
	memcpy(frame + 6, (const uint8_t[]){2, 0, 0, 0, (uint8_t)slot, 1}, 6);
	store16(frame + 12, ETHERTYPE_IPV4);
	switch (chance(16)) {
	case 0: case 1: case 2: break;
	case 3: vip_of(other, to4); break;
	case 4: balancer_of(other, to4); break;
	case 5: alias_of(other, to4); break;
	case 6: memcpy(to4, (const uint8_t[]){10, 9, (uint8_t)chance(ROUTES), 1}, 4); break;
	case 7: memcpy(to4, (const uint8_t[]){169, 254, 1, 1}, 4); target = 80; break; /* a virtual service */
	case 8: memcpy(to4, nat_ip, 4); break;
	case 9: case 10: memcpy(to4, (const uint8_t[]){192, 0, 2, (uint8_t)chance(8)}, 4); break;
	case 11: alias_of(slot, own4); break;
	case 12: /* NAT64 */
		memcpy(to6, (const uint8_t[16]){0, 0x64, 0xff, 0x9b, [12] = 192, 0, 2, (uint8_t)chance(8)}, 16);
		/* fall through */
	case 13:
	case 14:
		store16(frame + 12, ETHERTYPE_IPV6);
		length = 14 + make6(ip, network, own6, to6, source, target);
		(void)ring_put(slots[slot].end, frame, length, NULL);
		return;
	default: /* the gateway: ARP, an echo, a lease */
		if (chance(2) == 0) {
			memset(frame + 12, 0, 42);
			memcpy(frame + 12, (const uint8_t[]){8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, 10);
			memcpy(frame + 22, frame + 6, 6);
			memcpy(frame + 28, own4, 4);
			memcpy(frame + 38, (const uint8_t[]){169, 254, 0, 1}, 4);
			(void)ring_put(slots[slot].end, frame, 42, NULL);
			return;
		}
		if (chance(2) == 0) {
			static const uint8_t nobody[4], everybody[6] = {255, 255, 255, 255, 255, 255};
			uint8_t ask[280] = {1, 1, 6, 0, 1, 2, 3, 4, [236] = 99, 130, 83, 99, 53, 1, 1, 255};
			length = frame_wrap4(frame, everybody, frame + 6, nobody, everybody, 68, 67, ask, sizeof ask);
			(void)ring_put(slots[slot].end, frame, length, NULL);
			return;
		}
		memcpy(to4, (const uint8_t[]){169, 254, 0, 1}, 4);
	}
	length = make4(ip, network, own4, to4, source, target);
	if (chance(12) == 0)
		length = make_error(ip, ip, length, network);
	(void)ring_put(slots[slot].end, frame, 14 + length, NULL);
}

/* From another host, to an endpoint of the slot that may be there or not any more. */
static void from_underlay(unsigned slot)
{
	static uint64_t old[SLOTS];
	uint8_t to[4], ip[2048], to6[16], from6[16];
	unsigned network = network_of(slot), kind = 1 + chance(6);
	ferrite_ipv6 sender = remote(network, chance(REMOTES));
	uint8_t from[4] = {10, 9, (uint8_t)chance(ROUTES), 1};
	uint64_t aim = get(&slots[slot].aims[kind]);
	address4(slot, to);
	if (kind == ENDPOINT_VIP)
		vip_of(slot, to);
	else if (kind == ENDPOINT_NAT)
		memcpy(to, nat_ip, 4);
	else if (kind == ENDPOINT_BALANCER)
		balancer_of(slot, to);
	else if (kind == ENDPOINT_ALIAS_PREFIX)
		alias_of(slot, to);
	else if (kind == ENDPOINT_BALANCER_PREFIX)
		balancer_of(network + NETWORKS * chance(VMS), to);
	else if (aim != 0 && chance(8) == 0)
		old[slot] = aim;
	if (kind == ENDPOINT_INTERFACE && chance(8) == 0)
		aim = old[slot]; /* of before */
	if (aim == 0)
		return;
	if (kind == ENDPOINT_INTERFACE && chance(4) == 0) {
		address6(slot, to6);
		memcpy(from6, to6, 16);
		from6[14] = 7;
		send_underlay(&sender, aim, ip, make6(ip, network, from6, to6, (uint16_t)(1024 + chance(64)), 80));
		return;
	}
	uint32_t length = make4(ip, network, from, to, (uint16_t)(1024 + chance(64)),
				(uint16_t)(kind == ENDPOINT_NAT ? 1024 + chance(4096) : 80));
	if (chance(12) == 0)
		length = make_error(ip, ip, length, network);
	send_underlay(&sender, aim, ip, length);
}

/* What a VM got must be of its network; half of it is answered. */
static void receive_vm(unsigned slot)
{
	uint32_t length;
	while ((length = ring_take(slots[slot].end, taken, sizeof taken, NULL)) > 0) {
		int network = marked(taken, length);
		put(&delivered, delivered + 1);
		if (network >= 0 && network != (int)network_of(slot))
			fail("what a VM gets is of its own network", slot, (unsigned)network);
	}
}

static void turn_round(uint8_t *ip)
{
	uint8_t swap[16];
	unsigned at = ip[0] >> 4 == 4 ? 12 : 8, size = ip[0] >> 4 == 4 ? 4 : 16, l4 = ip[0] >> 4 == 4 ? 20 : 40;
	memcpy(swap, ip + at, size);
	memmove(ip + at, ip + at + size, size);
	memcpy(ip + at + size, swap, size);
	uint8_t protocol = ip[0] >> 4 == 4 ? ip[9] : ip[6];
	if (protocol == 6 || protocol == 17) {
		memcpy(swap, ip + l4, 2);
		memmove(ip + l4, ip + l4 + 2, 2);
		memcpy(ip + l4 + 2, swap, 2);
	} else if (protocol == 1) {
		ip[20] = 0;
	}
	if (protocol == 6)
		ip[l4 + 13] |= 16;
}

/* What leaves must be of the network that its destination is of, and is turned round. */
static void receive_underlay(void)
{
	uint32_t length;
	while ((length = ring_take(underlay, taken, sizeof taken, NULL)) > 0) {
		int network = marked(taken, length);
		uint8_t *ip = taken + 40;
		put(&left, left + 1);
		if (length < 80 || network < 0 || network >= NETWORKS)
			continue;
		if (taken[6] != 4 && taken[6] != 41) { /* by a virtual service: both networks have the same one */
			turn_round(taken);
			(void)ring_put(underlay, taken, length, NULL);
			continue;
		}
		if (!is_remote(taken + 24))
			fail("what leaves goes to another host", taken[5], taken[29]);
		else if (taken[36] != network + 1)
			fail("what leaves goes to its own network", taken[36], (unsigned)network);
		unsigned slot = (unsigned)network + NETWORKS * chance(VMS);
		uint64_t aim;
		memcpy(&aim, taken + 16, 8); /* whose it was */
		if (ip[0] >> 4 == 4 && memcmp(ip + 12, nat_ip, 4) == 0)
			aim = get(&slots[slot].aims[ENDPOINT_NAT]);
		else if (ip[0] >> 4 == 4 && ip[12] == 203 && ip[15] < 150)
			aim = get(&slots[network + NETWORKS * ((ip[15] - 100) % VMS)].aims[ENDPOINT_VIP]);
		if (aim == 0 || taken[17] == ENDPOINT_BALANCER)
			continue;
		ferrite_ipv6 sender = remote((unsigned)network, 1);
		if (chance(10) == 0 && ip[0] >> 4 == 4) {
			uint8_t error[512];
			send_underlay(&sender, aim, error, make_error(error, ip, length - 40, (unsigned)network));
			continue;
		}
		turn_round(ip);
		send_underlay(&sender, aim, ip, length - 40);
	}
}

static void *traffic(void *unused)
{
	(void)rte_thread_register(); /* packet pools have a cache for it */
	while (get(&stop) == 0) {
		for (unsigned i = 0; i < 16; i++)
			from_vm(chance(SLOTS));
		for (unsigned i = 0; i < 16; i++)
			from_underlay(chance(SLOTS));
		for (unsigned slot = 0; slot < SLOTS; slot++)
			receive_vm(slot);
		receive_underlay();
		(void)sched_yield();
	}
	rte_thread_unregister();
	return NULL;
}

/* --- Control. */

static struct dice control_dice;

static uint32_t pick(uint32_t sides)
{
	return roll(&control_dice, sides);
}

static void aim_at(struct slot *slot, unsigned kind, const ferrite_ipv6 *underlay_address)
{
	uint64_t low = 0;
	if (underlay_address != NULL)
		memcpy(&low, underlay_address->bytes + 8, 8);
	put(&slot->aims[kind], low);
}

static void must(int status, const char *what)
{
	if (status != 0)
		fail(what, (unsigned)-status, 0);
}

static uint64_t delivered_by(unsigned slot)
{
	return __atomic_load_n(&engine->ports[slots[slot].port]->counters.tx_packets, __ATOMIC_RELAXED);
}

static void interface_join(unsigned number)
{
	struct slot *slot = &slots[number];
	struct ferrite_interface_config config = {.port = slot->port, .vni = vni_of(network_of(number)), .hostname = "racer"};
	ferrite_ipv6 at;
	if (delivered_by(number) != slot->quiet)
		fail("nothing is delivered to an interface that is gone", number, slot->index);
	address4(number, config.ipv4.bytes);
	address6(number, config.ipv6.bytes);
	config.total_rate = pick(4) == 0 ? 1000 : 0;
	config.flow_limit = pick(4) == 0 ? 50 : 0;
	int status = ferrite_interface_add(engine, &config, &slot->index, &at);
	must(status, "an interface is added");
	if (status == 0)
		aim_at(slot, ENDPOINT_INTERFACE, &at);
	else
		slot->index = 0;
}

static void interface_leave(unsigned number)
{
	struct slot *slot = &slots[number];
	must(ferrite_interface_remove(engine, slot->index), "an interface goes");
	slot->quiet = delivered_by(number);
	slot->index = 0;
	slot->vip = slot->nat = slot->alias = slot->firewall = false;
	for (unsigned kind = 1; kind <= KINDS; kind++) {
		/* The balancer is not its; most of the rest is still aimed at for a while, as old routes are. */
		if (kind != ENDPOINT_BALANCER && pick(2) == 0)
			aim_at(slot, kind, NULL);
	}
}

static void port_change(unsigned number, bool open)
{
	struct slot *slot = &slots[number];
	char error[FERRITE_ERROR_TEXT], name[32];
	struct ferrite_port_info info;
	uint64_t gateway = 0;
	if (!open) {
		put(&slot->gateway, 0);
		must(ferrite_port_close(engine, slot->port), "a port is closed");
		slot->port = 0;
		return;
	}
	(void)snprintf(name, sizeof name, "ring:race-%u", number);
	must(ferrite_port_open(engine, name, NULL, &slot->port, error), "a port is opened");
	must(ferrite_port_info(engine, slot->port, &info), "a port says what it is");
	memcpy(&gateway, info.mac.bytes, 6);
	slot->quiet = 0;
	put(&slot->gateway, gateway);
}

static void change_vip(unsigned number)
{
	struct slot *slot = &slots[number];
	ferrite_ipv4 vip;
	ferrite_ipv6 at;
	vip_of(number, vip.bytes);
	if (slot->vip)
		must(ferrite_vip_remove(engine, slot->index), "a VIP goes");
	else
		must(ferrite_vip_add(engine, slot->index, vip, NULL, &at), "a VIP is added");
	slot->vip = !slot->vip;
	aim_at(slot, ENDPOINT_VIP, slot->vip ? &at : NULL);
}

static void change_nat(unsigned number)
{
	struct slot *slot = &slots[number];
	ferrite_ipv4 ip;
	ferrite_ipv6 at;
	uint32_t min = 1024 + 1024 * (number / NETWORKS), max = min + 1024 - pick(800), used[3];
	memcpy(ip.bytes, nat_ip, 4);
	if (slot->nat && pick(2) == 0) {
		must(ferrite_nat_update(engine, slot->index, min + pick(100), max), "a NAT gets another range");
		ferrite_nat_usage(engine, slot->index, used);
		return;
	}
	if (slot->nat)
		must(ferrite_nat_remove(engine, slot->index), "a NAT goes");
	else
		must(ferrite_nat_add(engine, slot->index, ip, min, max, NULL, &at), "a NAT is added");
	slot->nat = !slot->nat;
	aim_at(slot, ENDPOINT_NAT, slot->nat ? &at : NULL);
}

static void change_alias(unsigned number)
{
	struct slot *slot = &slots[number];
	struct ferrite_route_key routed = {.family = 4, .length = 24}, balanced = {.family = 4, .length = 24};
	ferrite_ipv6 at, other;
	alias_of(number, routed.prefix);
	balancer_of(number, balanced.prefix);
	if (slot->alias) {
		must(ferrite_prefix_remove(engine, slot->index, &routed, true), "an alias prefix goes");
		must(ferrite_prefix_remove(engine, slot->index, &balanced, false), "a balancer prefix goes");
	} else {
		must(ferrite_prefix_add(engine, slot->index, &routed, true, NULL, &at), "an alias prefix is added");
		must(ferrite_prefix_add(engine, slot->index, &balanced, false, NULL, &other), "a balancer prefix is added");
	}
	slot->alias = !slot->alias;
	aim_at(slot, ENDPOINT_ALIAS_PREFIX, slot->alias ? &at : NULL);
	aim_at(slot, ENDPOINT_BALANCER_PREFIX, slot->alias ? &other : NULL);
}

static void change_firewall(unsigned number)
{
	struct ferrite_rule rules[48];
	unsigned count = pick(3) == 0 ? 0 : 1 + pick(48);
	for (unsigned i = 0; i < count; i++) {
		rules[i] = (struct ferrite_rule){.egress = pick(2) == 0, .accept = pick(3) > 0, .family = 4, .source_last = 65535,
						 .protocol = (uint8_t)(pick(2) == 0 ? 17 : 6), .destination_last = 65535,
						 .icmp_type = -1, .icmp_code = -1, .tag = i + 1};
		rules[i].destination_first = (uint16_t)pick(9000);
	}
	must(ferrite_firewall_set(engine, slots[number].index, rules, count, pick(4) == 0 ? FERRITE_DROP : FERRITE_ACCEPT,
				  FERRITE_ACCEPT), "a firewall is set");
	(void)ferrite_firewall_hits(engine, slots[number].index, 1 + pick(48));
}

static void change_settings(unsigned number)
{
	struct ferrite_interface_settings settings = {.total_rate = pick(3) * 500, .public_rate = pick(3) * 100,
						      .flow_limit = pick(2) * 100, .flow_rate = pick(2) * 10000,
						      .hostname = "changed", .pxe_server = "192.0.2.1", .pxe_file = "boot"};
	must(ferrite_interface_update(engine, slots[number].index, &settings), "an interface is changed in place");
}

static int by_address(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

/* Balancers are of the network; the slot only says which. */
static void change_balancer(unsigned number)
{
	static uint32_t indexes[SLOTS];
	struct slot *slot = &slots[number];
	struct ferrite_balancer_config config = {.vni = vni_of(network_of(number)), .family = 4, .port_count = 2,
						 .ports = {{6, 80, 80}, {17, 1, 65535}}};
	ferrite_ipv6 at, targets[REMOTES + VMS];
	if (indexes[number] == 0) {
		balancer_of(number, config.address);
		must(ferrite_balancer_add(engine, &config, &indexes[number], &at), "a balancer is added");
		aim_at(slot, ENDPOINT_BALANCER, &at);
	}
	if (pick(4) == 0) {
		must(ferrite_balancer_remove(engine, indexes[number]), "a balancer goes");
		aim_at(slot, ENDPOINT_BALANCER, NULL);
		indexes[number] = 0;
		return;
	}
	if (pick(4) == 0)
		must(ferrite_balancer_ports(engine, indexes[number], config.ports, 1 + pick(2)), "a balancer gets other ports");
	unsigned count = 0;
	for (unsigned i = 0; i < REMOTES; i++)
		if (pick(2) == 0)
			targets[count++] = remote(network_of(number), i);
	for (unsigned i = 0; i < VMS; i++) { /* and of this host, where there is a prefix for it */
		uint64_t low = get(&slots[network_of(number) + NETWORKS * i].aims[ENDPOINT_BALANCER_PREFIX]);
		if (low == 0)
			continue;
		memcpy(targets[count].bytes, prefix, 8);
		memcpy(targets[count++].bytes + 8, &low, 8);
	}
	qsort(targets, count, sizeof *targets, by_address);
	must(ferrite_balancer_targets(engine, indexes[number], targets, count), "a balancer gets other targets");
}

static void change_neighbor(unsigned number)
{
	static bool there[SLOTS];
	struct ferrite_neighbor_nat entry = {.vni = vni_of(network_of(number)), .min = 20000 + 100 * number,
					     .max = 20100 + 100 * number, .underlay = remote(network_of(number), 2)};
	memcpy(entry.ip.bytes, nat_ip, 4);
	must(there[number] ? ferrite_neighbor_nat_remove(engine, &entry) : ferrite_neighbor_nat_add(engine, &entry),
	     "a neighbour's NAT comes or goes");
	there[number] = !there[number];
}

/* Many at once, as when a peer comes or goes. */
static void storm(void)
{
	unsigned network = pick(NETWORKS);
	if (pick(8) == 0)
		(void)ferrite_route_clear(engine, vni_of(network));
	for (unsigned i = 0; i < ROUTES; i++) {
		struct ferrite_hop hops[REMOTES];
		struct ferrite_route route = {.key = {.vni = vni_of(network), .family = 4, .length = (uint8_t)(20 + pick(9)),
						      .prefix = {10, 9, (uint8_t)pick(ROUTES), 1}},
					      .next_hop = remote(network, pick(REMOTES)), .next_hop_vni = vni_of(network)};
		if (pick(4) == 0) {
			(void)ferrite_route_remove(engine, &route.key);
			continue;
		}
		if (pick(3) == 0) {
			route.hop_count = 2 + pick(REMOTES - 2);
			route.hops = hops;
			for (unsigned j = 0; j < route.hop_count; j++)
				hops[j] = (struct ferrite_hop){remote(network, j), vni_of(network), (uint16_t)(1 + pick(4))};
		}
		int status = ferrite_route_put(engine, &route, true);
		must(status == -EEXIST ? 0 : status, "a route is put");
	}
	struct ferrite_route route = {.key = {.vni = vni_of(network), .family = (uint8_t)(pick(2) == 0 ? 4 : 6)},
				      .next_hop = remote(network, pick(REMOTES))};
	if (pick(6) == 0)
		(void)ferrite_route_remove(engine, &route.key);
	else
		must(ferrite_route_put(engine, &route, true), "a default route is put");
}

static void ignore_counter(void *context, const char *name, uint64_t value)
{
	*(uint64_t *)context += value + (uint8_t)name[0];
}

static bool count_flow(void *context, const struct ferrite_flow *flow)
{
	*(uint64_t *)context += flow->about.packets[0];
	return true;
}

static bool count_route(void *context, const struct ferrite_route *route)
{
	*(uint64_t *)context += route->key.length;
	return true;
}

static struct ferrite_capture *capture;

/* Whatever only looks. */
static void look(unsigned number)
{
	static struct ferrite_flow_event events[256];
	static struct ferrite_trace_result result;
	struct ferrite_flow_query query = {0};
	struct ferrite_point points[2] = {{.port = slots[number].port}, {0}};
	struct ferrite_capture_config config = {.points = slots[number].port != 0 ? points : points + 1,
						.point_count = slots[number].port != 0 ? 2 : 1, .in = true, .out = true,
						.snap_length = 128};
	struct ferrite_captured packet;
	struct vm vm = {.mac = {2}};
	uint64_t sum = 0;
	uint8_t ask[256], to[4] = {192, 0, 2, 1};
	address4(number, vm.ipv4);
	switch (pick(8)) {
	case 0: ferrite_counters_each(engine, ignore_counter, &sum); break;
	case 1:
		if (slots[number].index != 0)
			must(ferrite_interface_counters(engine, slots[number].index, ignore_counter, &sum), "it has counters");
		break;
	case 2: must(ferrite_flow_each(engine, &query, count_flow, &sum), "flows are listed"); break;
	case 3: ferrite_route_each(engine, pick(2) == 0 ? 0 : 100, count_route, &sum); break;
	case 4:
		if (slots[number].port == 0)
			break;
		must(ferrite_trace_packet(engine, slots[number].port, ask, frame_udp4(ask, &vm, to, 20, 1), pick(2) == 0, &result),
		     "a packet is traced");
		break;
	case 5:
		if (capture == NULL) {
			must(ferrite_capture_start(engine, &config, &capture), "a capture begins");
			break;
		}
		while (ferrite_capture_next(capture, &packet))
			sum += packet.length + packet.bytes[0];
		if (pick(2) == 0) {
			ferrite_capture_stop(engine, capture);
			capture = NULL;
		}
		break;
	default:
		while (ferrite_flow_events(engine, events, 256) == 256)
			continue;
	}
}

static void change(unsigned number)
{
	struct slot *slot = &slots[number];
	unsigned what = pick(40);
	if (slot->port == 0) {
		port_change(number, true);
		return;
	}
	if (slot->index == 0) {
		if (what < 10)
			port_change(number, false);
		else
			interface_join(number);
		return;
	}
	switch (what) {
	case 0: case 1: interface_leave(number); break;
	case 2: case 3: case 4: change_vip(number); break;
	case 5: case 6: case 7: change_nat(number); break;
	case 8: case 9: case 10: change_alias(number); break;
	case 11: case 12: case 13: change_firewall(number); break;
	case 14: change_settings(number); break;
	case 15: case 16: case 17: change_balancer(number); break;
	case 18: change_neighbor(number); break;
	case 19: case 20: case 21: case 22: case 23: case 24: storm(); break;
	default: look(number);
	}
}

static struct ferrite_engine *start(uint32_t seed, unsigned workers)
{
	char error[FERRITE_ERROR_TEXT];
	struct ferrite_engine_config config = {.name = "race", .uplink = "ring:race-underlay", .mtu = 1500, .start_worker = true,
					       .flow_capacity = 4096, .flow_timeout_seconds = 1, .has_seed = true, .seed = seed,
					       .workers = workers};
	struct ferrite_virtual_service service = {.protocol = 6, .ip = {{169, 254, 1, 1}}, .port = 80,
						  .target = {{0x20, 1, 0x0d, 0xb8, 9}}, .target_port = 8080};
	struct ferrite_engine *made;
	memcpy(config.underlay_prefix.bytes, prefix, 8);
	int status = ferrite_engine_start(&config, &made, error);
	if (status < 0) {
		(void)fprintf(stderr, "no engine: %s\n", error);
		exit(1);
	}
	must(ferrite_virtual_service_add(made, &service), "a virtual service is added");
	service.protocol = 17;
	must(ferrite_virtual_service_add(made, &service), "a virtual service is added");
	return made;
}

static double seconds(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int count, char **arguments)
{
	double length = count > 1 ? atof(arguments[1]) : 3, end;
	uint32_t seed = count > 2 ? (uint32_t)strtoul(arguments[2], NULL, 0) : (uint32_t)time(NULL);
	pthread_t thread;
	uint64_t changes = 0;
	(void)printf("race_test %g %u\n", length, seed);
	(void)fflush(stdout);
	race_pools();
	control_dice.state = seed;
	traffic_dice.state = ~(uint64_t)seed;
	engine = start(seed, count > 3 ? (unsigned)atoi(arguments[3]) : 1);
	underlay = ring_join("race-underlay");
	for (unsigned i = 0; i < SLOTS; i++) {
		char name[32];
		(void)snprintf(name, sizeof name, "race-%u", i);
		slots[i].end = ring_join(name);
		port_change(i, true);
		interface_join(i);
	}
	if (pthread_create(&thread, NULL, traffic, NULL) != 0)
		return 1;
	for (end = seconds() + length; seconds() < end; changes++) {
		change(pick(SLOTS));
		if (pick(4) == 0)
			(void)usleep(pick(300));
	}
	put(&stop, 1);
	(void)pthread_join(thread, NULL);
	for (unsigned i = 0; i < SLOTS; i++)
		if (slots[i].index != 0)
			interface_leave(i);
	if (capture != NULL)
		ferrite_capture_stop(engine, capture);
	ferrite_engine_stop(engine);
	(void)printf("%llu changes, %llu packets delivered, %llu left the host, %llu failures\n", (unsigned long long)changes,
		     (unsigned long long)delivered, (unsigned long long)left, (unsigned long long)failures);
	if (delivered < 100 || left < 100)
		fail("traffic flows", (unsigned)delivered, (unsigned)left);
	return failures == 0 ? 0 : 1;
}
