#include "nat_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void control_nat_table_open(struct control_nat_table *table, uint64_t seed)
{
	*table = (struct control_nat_table){.free = CONTROL_INDEX_NONE};
	control_key_open(&table->by_address, seed);
}

void control_nat_table_close(struct control_nat_table *table)
{
	for (uint32_t at = 0; at < table->used; ++at)
		free(table->groups[at].ranges);
	free(table->groups);
	control_key_close(&table->by_address);
	control_nat_table_open(table, 0);
}

static struct control_nat_group *group_of(const struct control_nat_table *table, uint32_t vni, const ferrite_ipv4 *ip)
{
	struct control_key key = control_key_of_address(vni, 4, ip->bytes);
	uint32_t at = control_key_find(&table->by_address, &key);

	return at == CONTROL_INDEX_NONE ? NULL : &table->groups[at];
}

/* The first range that ends behind `port`. */
static uint32_t first_behind(const struct control_nat_group *group, uint32_t port)
{
	uint32_t low = 0, high = group->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (group->ranges[middle].max <= port)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct control_nat_range *control_nat_range_find(const struct control_nat_table *table, uint32_t vni,
						 const ferrite_ipv4 *ip, uint32_t min, uint32_t max)
{
	struct control_nat_group *group = group_of(table, vni, ip);
	uint32_t at = group != NULL ? first_behind(group, min) : 0;

	if (group == NULL || at == group->count || group->ranges[at].min != min || group->ranges[at].max != max)
		return NULL;
	return &group->ranges[at];
}

bool control_nat_overlaps(const struct control_nat_table *table, uint32_t vni, const ferrite_ipv4 *ip, uint32_t min,
			  uint32_t max, const struct control_nat_range *except)
{
	const struct control_nat_group *group = group_of(table, vni, ip);

	if (group == NULL)
		return false;
	for (uint32_t at = first_behind(group, min); at < group->count && group->ranges[at].min < max; ++at)
		if (&group->ranges[at] != except)
			return true;
	return false;
}

static bool reserve_group(struct control_nat_table *table)
{
	if (table->free == CONTROL_INDEX_NONE && table->used == table->capacity) {
		uint32_t capacity = table->capacity > 0 ? 2 * table->capacity : 16;
		struct control_nat_group *groups = realloc(table->groups, capacity * sizeof *groups);

		if (groups == NULL)
			return false;
		table->groups = groups;
		table->capacity = capacity;
	}
	return control_key_reserve(&table->by_address);
}

static struct control_nat_group *make_group(struct control_nat_table *table, uint32_t vni, const ferrite_ipv4 *ip)
{
	struct control_key key = control_key_of_address(vni, 4, ip->bytes);
	uint32_t at = table->free;

	if (!reserve_group(table))
		return NULL;
	if (at != CONTROL_INDEX_NONE)
		table->free = table->groups[at].next_free;
	else
		at = table->used++;
	table->groups[at] = (struct control_nat_group){.vni = vni, .ip = *ip, .used = true};
	control_key_put(&table->by_address, &key, at);
	return &table->groups[at];
}

static void drop_if_empty(struct control_nat_table *table, struct control_nat_group *group)
{
	struct control_key key = control_key_of_address(group->vni, 4, group->ip.bytes);

	if (group->count > 0)
		return;
	control_key_remove(&table->by_address, &key);
	free(group->ranges);
	*group = (struct control_nat_group){.next_free = table->free};
	table->free = (uint32_t)(group - table->groups);
}

bool control_nat_range_reserve(struct control_nat_table *table, uint32_t vni, const ferrite_ipv4 *ip)
{
	struct control_nat_group *group = group_of(table, vni, ip);

	if (group == NULL)
		group = make_group(table, vni, ip);
	if (group == NULL)
		return false;
	if (group->count == group->capacity) {
		uint32_t capacity = group->capacity > 0 ? 2 * group->capacity : 4;
		struct control_nat_range *ranges = realloc(group->ranges, capacity * sizeof *ranges);

		if (ranges == NULL) {
			drop_if_empty(table, group);
			return false;
		}
		group->ranges = ranges;
		group->capacity = capacity;
	}
	return true;
}

void control_nat_range_abandon(struct control_nat_table *table, uint32_t vni, const ferrite_ipv4 *ip)
{
	struct control_nat_group *group = group_of(table, vni, ip);

	if (group != NULL)
		drop_if_empty(table, group);
}

void control_nat_range_insert(struct control_nat_table *table, uint32_t vni, const ferrite_ipv4 *ip,
			      const struct control_nat_range *range)
{
	struct control_nat_group *group = group_of(table, vni, ip);
	uint32_t at;

	assert(group != NULL && group->count < group->capacity);
	at = first_behind(group, range->min);
	memmove(&group->ranges[at + 1], &group->ranges[at], (group->count - at) * sizeof *group->ranges);
	group->ranges[at] = *range;
	group->count++;
}

void control_nat_range_erase(struct control_nat_table *table, uint32_t vni, const ferrite_ipv4 *ip, uint32_t min,
			     uint32_t max)
{
	struct control_nat_range *range = control_nat_range_find(table, vni, ip, min, max);
	struct control_nat_group *group = group_of(table, vni, ip);
	uint32_t at;

	assert(range != NULL);
	at = (uint32_t)(range - group->ranges);
	group->count--;
	memmove(range, range + 1, (group->count - at) * sizeof *range);
	drop_if_empty(table, group);
}

static int range_order(const void *one, const void *other)
{
	const struct control_nat_range *a = one, *b = other;

	return a->min < b->min ? -1 : a->min > b->min;
}

void control_nat_range_sort(struct control_nat_table *table, uint32_t vni, const ferrite_ipv4 *ip)
{
	struct control_nat_group *group = group_of(table, vni, ip);

	qsort(group->ranges, group->count, sizeof *group->ranges, range_order);
}
