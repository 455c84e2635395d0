#include "table/balancer.h"

#include <stdlib.h>
#include <string.h>

static struct balancer_set *set_new(unsigned count, uint32_t m)
{
	size_t bytes = sizeof(struct balancer_set) + (size_t)count * 16 + (count == 0 ? 0 : m * sizeof(uint16_t));
	struct balancer_set *set = malloc(bytes);
	if (set != NULL)
		*set = (struct balancer_set){.m = m, .count = count, .bytes = bytes};
	return set;
}

static void fill_slots(struct balancer_set *set, const uint16_t *weights)
{
	if (set->count > 0)
		maglev_build((uint16_t *)(void *)set->members[set->count], set->m, set->members, weights, set->count);
}

static int compare_address(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

struct balancer_set *balancer_set_build(const ferrite_ipv6 *targets, unsigned count)
{
	if (count > FERRITE_MAX_TARGETS)
		return NULL;
	uint8_t sorted[FERRITE_MAX_TARGETS][16];
	unsigned once = 0;
	if (count > 0)
		memcpy(sorted, targets, (size_t)count * 16);
	qsort(sorted, count, 16, compare_address);
	for (unsigned i = 0; i < count; i++)
		if (once == 0 || memcmp(sorted[once - 1], sorted[i], 16) != 0)
			memmove(sorted[once++], sorted[i], 16);
	struct balancer_set *set = set_new(once, maglev_size(once));
	if (set == NULL)
		return NULL;
	memcpy(set->members, sorted, (size_t)once * 16);
	fill_slots(set, NULL);
	return set;
}

struct balancer_set *balancer_hops_build(const struct ferrite_hop *hops, unsigned count)
{
	if (count > FERRITE_MAX_HOPS)
		return NULL;
	struct balancer_set *set = set_new(count, MAGLEV_SMALL);
	if (set == NULL)
		return NULL;
	uint16_t weights[FERRITE_MAX_HOPS];
	for (unsigned i = 0; i < count; i++) {
		memcpy(set->members[i], hops[i].address.bytes, 16);
		weights[i] = hops[i].weight;
	}
	fill_slots(set, weights);
	return set;
}

void balancer_set_free(struct balancer_set *set)
{
	free(set);
}

bool balancer_has(const struct balancer_set *set, const uint8_t target[16])
{
	return set != NULL && bsearch(target, set->members, set->count, 16, compare_address) != NULL;
}
