/* Port ranges of NAT addresses that other hosts hold: (VNI, address, port) to the underlay address to send it on to.
 *
 * The control thread adds and removes, workers look up lock-free. A hash finds the (VNI, address); its ranges are one
 * immutable array sorted by port, searched by halves. A change makes a new array, publishes it, and the old one is freed
 * after every worker passed a quiescent state.
 *
 * Capacity FERRITE_MAX_NEIGHBOR_NATS ranges, whatever the number of addresses. Memory: 1 MB of heads, 24 bytes a range
 * and about 64 an address: 13 MB when full of ranges each with an address of its own.
 */
#ifndef FERRITE_TABLE_NEIGHBOR_NAT_H
#define FERRITE_TABLE_NEIGHBOR_NAT_H

#include <rte_rcu_qsbr.h>

#include "ferrite/engine.h"
#include "packet/headers.h"
#include "packet/mix.h"

enum {
	NEIGHBOR_NAT_HEADS = FERRITE_MAX_NEIGHBOR_NATS,
	NEIGHBOR_NAT_LIMBO = 4096,
};

struct neighbor_nat_range {
	uint32_t min, max; /* [min, max) */
	uint8_t underlay[16];
};

/* Cardinality: one per (VNI, address) with a range; replaced whole by each change of its ranges. */
struct neighbor_nat_group {
	struct neighbor_nat_group *next; /* of the same head */
	uint32_t vni;
	uint8_t ip[4];
	uint32_t count;
	uint32_t spare;
	struct neighbor_nat_range ranges[];
};

/* Cardinality: one per engine. */
struct neighbor_nat_table {
	struct neighbor_nat_group **heads;
	struct rte_rcu_qsbr *rcu;
	uint64_t seed;
	uint32_t count;    /* of ranges */
	uint32_t capacity; /* FERRITE_MAX_NEIGHBOR_NATS; smaller in tests */
	uint32_t limbo_head, limbo_tail;
	struct { struct neighbor_nat_group *group; uint64_t token; } limbo[NEIGHBOR_NAT_LIMBO];
};

int neighbor_nat_init(struct neighbor_nat_table *table, struct rte_rcu_qsbr *rcu, uint64_t seed, uint32_t capacity);
/* No worker looks up any more. */
void neighbor_nat_free(struct neighbor_nat_table *table);

/* Control. -EEXIST: overlaps another of this VNI and address; -ENOSPC; -EINVAL: an empty range, or beyond 65536. */
int neighbor_nat_add(struct neighbor_nat_table *table, const struct ferrite_neighbor_nat *entry);
/* Control. -ENOENT unless exactly this VNI, address, min and max is there. */
int neighbor_nat_remove(struct neighbor_nat_table *table, const struct ferrite_neighbor_nat *entry);
/* Control. In no order of addresses, each address's by port. Return false to stop. */
void neighbor_nat_each(const struct neighbor_nat_table *table,
		       bool (*visit)(void *context, const struct ferrite_neighbor_nat *entry), void *context);

static inline uint32_t neighbor_nat_head(const struct neighbor_nat_table *table, uint32_t vni, const uint8_t ip[4])
{
	return (uint32_t)mix(table->seed ^ vni, raw32(ip)) & (NEIGHBOR_NAT_HEADS - 1);
}

/* Whether a neighbour has any port of the address. */
static inline bool neighbor_nat_has(const struct neighbor_nat_table *table, uint32_t vni, const uint8_t ip[4])
{
	const struct neighbor_nat_group *group =
		__atomic_load_n(&table->heads[neighbor_nat_head(table, vni, ip)], __ATOMIC_ACQUIRE);
	while (group != NULL && (group->vni != vni || raw32(group->ip) != raw32(ip)))
		group = __atomic_load_n(&group->next, __ATOMIC_ACQUIRE);
	return group != NULL && group->count > 0;
}

/* The underlay address, valid until the worker's next quiescent state; NULL: no neighbour has it. `port`: host order. */
static inline const uint8_t *neighbor_nat_find(const struct neighbor_nat_table *table, uint32_t vni,
					       const uint8_t ip[4], uint16_t port)
{
	const struct neighbor_nat_group *group =
		__atomic_load_n(&table->heads[neighbor_nat_head(table, vni, ip)], __ATOMIC_ACQUIRE);
	while (group != NULL && (group->vni != vni || raw32(group->ip) != raw32(ip)))
		group = __atomic_load_n(&group->next, __ATOMIC_ACQUIRE);
	if (group == NULL)
		return NULL;
	uint32_t low = 0, high = group->count; /* ranges below `low` end at or before the port */
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (group->ranges[middle].max <= port)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == group->count || group->ranges[low].min > port)
		return NULL;
	return group->ranges[low].underlay;
}

#endif
