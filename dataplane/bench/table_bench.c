/* What the tables cost: `table_bench`, a few seconds, one line a number.
 *
 * Firewall: first packets of flows against 10, 32, 100, 1,000 and 4,096 rules, half of which match a rule, anywhere;
 * and building them. NAT: a new mapping and its return, in a range that is nearly empty, nearly full, and used up.
 * Balancer: building 1,000 targets, and the memory of 1,000 such sets. Neighbour NAT: look-ups in a full table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "packet/mix.h"
#include "packet/murmur.h"
#include "table/balancer.h"
#include "table/firewall.h"
#include "table/nat.h"
#include "table/neighbor_nat.h"
#include "table/rate.h"

static uint64_t state = 42;

static uint32_t chance(uint32_t below)
{
	state = mix(state, 0x1234567);
	return (uint32_t)(state >> 20) % below;
}

static uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double each_ns(uint64_t begun, unsigned count)
{
	return (double)(now_ns() - begun) / count;
}

/* Firewall */

enum { PACKETS = 4096, ROUNDS = 40 };

/* Of byte `at` of an address, what a prefix covers. */
static uint8_t mask_of(unsigned length, unsigned at)
{
	return (uint8_t)(length >= 8 * at + 8 ? 0xff : length <= 8 * at ? 0 : 0xff00 >> (length - 8 * at));
}

/* A rule as people write them: from a network to a host or network, TCP or UDP, to a port or a few. */
static struct ferrite_rule rule_of(unsigned family, uint32_t number)
{
	struct ferrite_rule rule = {.accept = true, .family = (uint8_t)family, .protocol = chance(3) == 0 ? 17 : 6,
				    .source_last = 65535, .tag = number};
	unsigned wide = family == 4 ? 0 : 96;
	rule.source_length = (uint8_t)(wide + 8 + chance(25));
	rule.destination_length = (uint8_t)(wide + 24 + chance(9));
	for (unsigned i = 0; i < 16; i++) {
		rule.source[i] = (uint8_t)(chance(256) & mask_of(rule.source_length, i));
		rule.destination[i] = (uint8_t)(chance(256) & mask_of(rule.destination_length, i));
	}
	rule.destination_first = (uint16_t)chance(60000);
	rule.destination_last = (uint16_t)(rule.destination_first + (chance(2) == 0 ? 0 : chance(1000)));
	return rule;
}

static void bench_firewall(unsigned family, unsigned count)
{
	static struct ferrite_rule rules[FERRITE_MAX_RULES];
	static struct tuple packets[PACKETS];
	for (unsigned i = 0; i < count; i++)
		rules[i] = rule_of(family, i);
	unsigned size = family == 4 ? 4 : 16;
	for (unsigned i = 0; i < PACKETS; i++) {
		const struct ferrite_rule *rule = &rules[chance(count)];
		packets[i] = (struct tuple){.family = (uint8_t)family, .protocol = rule->protocol};
		memcpy(packets[i].addresses, rule->source, size);
		memcpy(packets[i].addresses + size, rule->destination, size);
		store16(&packets[i].ports, chance(65536));
		uint32_t outside = rule->destination_last + 1u;
		store16((uint8_t *)&packets[i].ports + 2, i % 2 == 0 ? rule->destination_first : outside);
	}
	struct firewall *firewall = NULL;
	uint64_t best = UINT64_MAX;
	for (unsigned i = 0; i < 10; i++) {
		firewall_free(firewall);
		uint64_t begun = now_ns();
		firewall = firewall_build(rules, count, FERRITE_DROP, FERRITE_DROP);
		best = now_ns() - begun < best ? now_ns() - begun : best;
	}
	unsigned accepted = 0;
	uint64_t begun = now_ns();
	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < PACKETS; i++)
			accepted += firewall_check(firewall, &packets[i], false).accept;
	printf("firewall ipv%u %4u rules: %6.1f ns a packet (%2u %% match), built in %6.1f us, %zu KB\n", family, count,
	       each_ns(begun, ROUNDS * PACKETS), accepted / (ROUNDS * PACKETS / 100), (double)best / 1000,
	       firewall_bytes(firewall) / 1024);
	firewall_free(firewall);
}

/* NAT */

static bool always(void *context, uint16_t port)
{
	return true;
}

static struct tuple source_of(uint32_t number)
{
	struct tuple tuple = {.family = 4, .protocol = 6};
	store32(tuple.addresses, 0x0a000000 + number / 60000);
	store16(&tuple.ports, number % 60000);
	return tuple;
}

static void bench_nat(const char *name, uint32_t before, uint32_t size)
{
	static struct nat_table table;
	static uint32_t mappings[70000];
	struct nat_range range = {.interface = 1, .vni = 5, .min = 0, .max = size, .address = 1};
	uint16_t port;
	if (nat_table_init(&table, 1, NAT_MAPPINGS) != 0)
		abort();
	for (uint32_t i = 0; i < before; i++) {
		struct tuple tuple = source_of(i);
		mappings[i] = nat_map(&table, &range, &tuple, 1, NULL, NULL, &port);
	}
	uint32_t batch = size - before < 1000 ? size - before : 1000, count = 0;
	double making = 0, returning = 0;
	for (unsigned round = 0; round < 200; round++, count += batch) {
		uint64_t begun = now_ns();
		for (uint32_t i = 0; i < batch; i++) {
			struct tuple tuple = source_of(100000 + round * batch + i);
			mappings[before + i] = nat_map(&table, &range, &tuple, 1, NULL, NULL, &port);
		}
		making += (double)(now_ns() - begun);
		begun = now_ns();
		for (uint32_t i = 0; i < batch; i++)
			nat_unmap(&table, mappings[before + i]);
		returning += (double)(now_ns() - begun);
	}
	printf("nat %-28s %6.1f ns a new mapping, %6.1f ns its return\n", name, making / count, returning / count);
	struct tuple tuple = source_of(3);
	uint64_t begun = now_ns();
	for (unsigned i = 0; i < 20; i++)
		(void)nat_map(&table, &range, &tuple, 1, always, NULL, &port);
	printf("nat %-28s %6.1f us to find every reply key taken (%u asked)\n", "", each_ns(begun, 20) / 1000, size);
	nat_table_free(&table);
}

/* Balancer */

static void bench_balancer(unsigned count)
{
	static ferrite_ipv6 targets[FERRITE_MAX_TARGETS];
	for (uint32_t i = 0; i < count; i++)
		for (unsigned at = 0; at < 16; at++)
			targets[i].bytes[at] = (uint8_t)chance(256);
	uint64_t best = UINT64_MAX;
	struct balancer_set *set = NULL;
	for (unsigned i = 0; i < 20; i++) {
		balancer_set_free(set);
		uint64_t begun = now_ns();
		set = balancer_set_build(targets, count);
		best = now_ns() - begun < best ? now_ns() - begun : best;
	}
	uint32_t sum = 0;
	uint64_t begun = now_ns();
	for (uint32_t i = 0; i < 1000000; i++)
		sum += balancer_pick(set, i * 2654435761u)[15];
	printf("balancer %4u targets: built in %7.1f us, %5.1f ns a choice, %.1f MB for 1,000 sets (%u)\n", count,
	       (double)best / 1000, each_ns(begun, 1000000), (double)set->bytes * 1000 / (1 << 20), sum & 1);
	balancer_set_free(set);
}

/* Neighbour NAT */

static void bench_neighbor_nat(void)
{
	static struct neighbor_nat_table table;
	size_t size = (rte_rcu_qsbr_get_memsize(1) + 63) / 64 * 64;
	struct rte_rcu_qsbr *rcu = aligned_alloc(64, size);
	if (rcu == NULL || rte_rcu_qsbr_init(rcu, 1) != 0 || neighbor_nat_init(&table, rcu, 1, UINT32_MAX) != 0)
		abort();
	uint64_t begun = now_ns();
	for (uint32_t i = 0; i < FERRITE_MAX_NEIGHBOR_NATS; i++) {
		struct ferrite_neighbor_nat entry = {.vni = 1, .min = i % 64 * 1000, .max = i % 64 * 1000 + 1000};
		store32(entry.ip.bytes, i / 64);
		(void)neighbor_nat_add(&table, &entry);
	}
	printf("neighbor_nat: %6.1f ns to add a range (64 an address)\n", each_ns(begun, FERRITE_MAX_NEIGHBOR_NATS));
	unsigned found = 0;
	begun = now_ns();
	for (unsigned i = 0; i < 1000000; i++) {
		uint8_t ip[4];
		store32(ip, chance(2048));
		found += neighbor_nat_find(&table, 1, ip, (uint16_t)chance(64000)) != NULL;
	}
	printf("neighbor_nat: %6.1f ns a look-up among %u ranges (%u found)\n", each_ns(begun, 1000000), table.count,
	       found);
	neighbor_nat_free(&table);
	free(rcu);
}

static void bench_rate(void)
{
	struct rate rate = {0};
	rate_set_megabits(&rate, 1000);
	unsigned passed = 0;
	uint64_t begun = now_ns();
	for (unsigned i = 0; i < 10000000; i++)
		passed += rate_take(&rate, i / 100, 1500);
	printf("rate: %6.1f ns a packet (%u %% pass)\n", each_ns(begun, 10000000), passed / 100000);
}

int main(void)
{
	static const unsigned counts[] = {10, 32, 33, 100, 1000, 4096};
	for (unsigned i = 0; i < 2 * sizeof counts / sizeof *counts; i++)
		bench_firewall(i % 2 == 0 ? 4 : 6, counts[i / 2]);
	bench_nat("empty range", 0, 64512);
	bench_nat("range with 100 free", 64412, 64512);
	bench_balancer(32);
	bench_balancer(256);
	bench_balancer(1000);
	bench_neighbor_nat();
	bench_rate();
	return 0;
}
