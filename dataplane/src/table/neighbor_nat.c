#include "table/neighbor_nat.h"

#include <errno.h>
#include <stdlib.h>

#include "table/memory.h"

int neighbor_nat_init(struct neighbor_nat_table *table, struct rte_rcu_qsbr *rcu, uint64_t seed, uint32_t capacity)
{
	memset(table, 0, sizeof *table);
	table->rcu = rcu;
	table->seed = seed;
	table->capacity = capacity < FERRITE_MAX_NEIGHBOR_NATS ? capacity : FERRITE_MAX_NEIGHBOR_NATS;
	table->heads = table_memory(NEIGHBOR_NAT_HEADS * sizeof *table->heads, 0);
	return table->heads == NULL ? -ENOMEM : 0;
}

/* Frees what no worker can see any more; with `wait` at least one of them. */
static void limbo_reclaim(struct neighbor_nat_table *table, bool wait)
{
	while (table->limbo_tail != table->limbo_head) {
		uint32_t at = table->limbo_tail % NEIGHBOR_NAT_LIMBO;
		if (rte_rcu_qsbr_check(table->rcu, table->limbo[at].token, wait) != 1)
			return;
		free(table->limbo[at].group);
		table->limbo_tail++;
		wait = false;
	}
}

static void retire(struct neighbor_nat_table *table, struct neighbor_nat_group *group)
{
	limbo_reclaim(table, table->limbo_head - table->limbo_tail == NEIGHBOR_NAT_LIMBO);
	uint32_t at = table->limbo_head++ % NEIGHBOR_NAT_LIMBO;
	table->limbo[at].group = group;
	table->limbo[at].token = rte_rcu_qsbr_start(table->rcu);
}

void neighbor_nat_free(struct neighbor_nat_table *table)
{
	for (; table->limbo_tail != table->limbo_head; table->limbo_tail++)
		free(table->limbo[table->limbo_tail % NEIGHBOR_NAT_LIMBO].group);
	for (uint32_t i = 0; table->heads != NULL && i < NEIGHBOR_NAT_HEADS; i++) {
		for (struct neighbor_nat_group *group = table->heads[i], *next; group != NULL; group = next) {
			next = group->next;
			free(group);
		}
	}
	table_free(table->heads, NEIGHBOR_NAT_HEADS * sizeof *table->heads, 0);
	memset(table, 0, sizeof *table);
}

static struct neighbor_nat_group **link_of(const struct neighbor_nat_table *table, uint32_t vni, const uint8_t ip[4])
{
	struct neighbor_nat_group **link = &table->heads[neighbor_nat_head(table, vni, ip)];
	while (*link != NULL && ((*link)->vni != vni || raw32((*link)->ip) != raw32(ip)))
		link = &(*link)->next;
	return link;
}

/* The first range that ends above `port`, or the count. */
static uint32_t place_of(const struct neighbor_nat_group *group, uint32_t port)
{
	uint32_t low = 0, high = group->count;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (group->ranges[middle].max <= port)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct neighbor_nat_group *group_new(uint32_t vni, const uint8_t ip[4], uint32_t count)
{
	struct neighbor_nat_group *group = malloc(sizeof *group + count * sizeof group->ranges[0]);
	if (group == NULL)
		return NULL;
	*group = (struct neighbor_nat_group){.vni = vni, .count = count};
	memcpy(group->ip, ip, 4);
	return group;
}

/* Puts `group` (NULL: nothing) in the place of what `link` points to. */
static void publish(struct neighbor_nat_table *table, struct neighbor_nat_group **link,
		    struct neighbor_nat_group *group)
{
	struct neighbor_nat_group *old = *link, *next = old == NULL ? NULL : old->next;
	if (group != NULL)
		group->next = next;
	__atomic_store_n(link, group != NULL ? group : next, __ATOMIC_RELEASE);
	if (old != NULL)
		retire(table, old);
}

int neighbor_nat_add(struct neighbor_nat_table *table, const struct ferrite_neighbor_nat *entry)
{
	if (entry->min >= entry->max || entry->max > 65536)
		return -EINVAL;
	struct neighbor_nat_group **link = link_of(table, entry->vni, entry->ip.bytes), *old = *link;
	uint32_t count = old == NULL ? 0 : old->count, place = old == NULL ? 0 : place_of(old, entry->min);
	if (place < count && old->ranges[place].min < entry->max)
		return -EEXIST;
	if (table->count >= table->capacity)
		return -ENOSPC;
	struct neighbor_nat_group *group = group_new(entry->vni, entry->ip.bytes, count + 1);
	if (group == NULL)
		return -ENOSPC;
	if (count > 0) {
		memcpy(group->ranges, old->ranges, place * sizeof group->ranges[0]);
		memcpy(group->ranges + place + 1, old->ranges + place, (count - place) * sizeof group->ranges[0]);
	}
	group->ranges[place] = (struct neighbor_nat_range){.min = entry->min, .max = entry->max};
	memcpy(group->ranges[place].underlay, entry->underlay.bytes, 16);
	table->count++;
	publish(table, link, group);
	return 0;
}

int neighbor_nat_remove(struct neighbor_nat_table *table, const struct ferrite_neighbor_nat *entry)
{
	struct neighbor_nat_group **link = link_of(table, entry->vni, entry->ip.bytes), *old = *link, *group = NULL;
	uint32_t place = old == NULL ? 0 : place_of(old, entry->min);
	if (old == NULL || place == old->count || old->ranges[place].min != entry->min ||
	    old->ranges[place].max != entry->max)
		return -ENOENT;
	if (old->count > 1) {
		group = group_new(entry->vni, entry->ip.bytes, old->count - 1);
		if (group == NULL)
			return -ENOMEM;
		memcpy(group->ranges, old->ranges, place * sizeof group->ranges[0]);
		memcpy(group->ranges + place, old->ranges + place + 1,
		       (old->count - place - 1) * sizeof group->ranges[0]);
	}
	table->count--;
	publish(table, link, group);
	return 0;
}

void neighbor_nat_each(const struct neighbor_nat_table *table,
		       bool (*visit)(void *context, const struct ferrite_neighbor_nat *entry), void *context)
{
	for (uint32_t i = 0; i < NEIGHBOR_NAT_HEADS; i++) {
		for (const struct neighbor_nat_group *group = table->heads[i]; group != NULL; group = group->next) {
			for (uint32_t at = 0; at < group->count; at++) {
				struct ferrite_neighbor_nat entry = {.vni = group->vni, .min = group->ranges[at].min,
								     .max = group->ranges[at].max};
				memcpy(entry.ip.bytes, group->ip, 4);
				memcpy(entry.underlay.bytes, group->ranges[at].underlay, 16);
				if (!visit(context, &entry))
					return;
			}
		}
	}
}
