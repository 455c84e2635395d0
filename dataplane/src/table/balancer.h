/* Sets of which one is chosen by a hash: targets of a load balancer, next hops of a route.
 *
 * Immutable once built, in one piece of memory, published by pointer; who replaces one frees it after a grace period
 * (RCU). The choice is the Maglev table's (maglev.h), so the order of the input makes no difference, and a set that
 * changes by one of n members moves about 1/n of the slots.
 *
 * Memory: 16 bytes, 16 a member, 2 a slot: 3.1 KB for up to 64 members, at most 12.3 KB up to 256, 49 KB for 1,024.
 * 1,000 sets of 1,000 targets are 49 MB.
 */
#ifndef FERRITE_TABLE_BALANCER_H
#define FERRITE_TABLE_BALANCER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ferrite/engine.h"
#include "table/maglev.h"

/* Cardinality: one per load balancer, and one per route with several hops. */
struct balancer_set {
	uint32_t m;
	uint32_t count;
	uint64_t bytes;         /* of the whole */
	uint8_t members[][16];  /* sorted, each once; the slots are behind them */
};

/* Targets in any order; the same one twice is one. NULL: more than FERRITE_MAX_TARGETS, or no memory. */
struct balancer_set *balancer_set_build(const ferrite_ipv6 *targets, unsigned count);
/* Hops sorted by address (as the route lists them: members keep their places), M = 1021 always. NULL: more than
 * FERRITE_MAX_HOPS, or no memory. */
struct balancer_set *balancer_hops_build(const struct ferrite_hop *hops, unsigned count);
void balancer_set_free(struct balancer_set *set);

bool balancer_has(const struct balancer_set *set, const uint8_t target[16]);

static inline const uint16_t *balancer_slots(const struct balancer_set *set)
{
	return (const uint16_t *)(const void *)set->members[set->count];
}

/* The place of the member, which for hops is that in the route's list. The set is not empty. */
static inline unsigned balancer_choose(const struct balancer_set *set, uint32_t hash)
{
	return balancer_slots(set)[hash % set->m];
}

/* NULL: nobody is in the set. */
static inline const uint8_t *balancer_pick(const struct balancer_set *set, uint32_t hash)
{
	return set == NULL || set->count == 0 ? NULL : set->members[balancer_choose(set, hash)];
}

#endif
