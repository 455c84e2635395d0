#include "table/endpoint.h"

#include <errno.h>
#include <stdlib.h>

#include "table/memory.h"

int endpoint_table_init(struct endpoint_table *table, const uint8_t prefix[8], uint64_t seed)
{
	memset(table, 0, sizeof *table);
	memcpy(table->prefix, prefix, 8);
	table->places = table_memory((ENDPOINT_PLACES + 1) * sizeof *table->places, 0);
	table->prefixes = table_memory((ENDPOINT_PLACES + 1) * sizeof *table->prefixes, 0);
	table->heads = calloc(ENDPOINT_HEADS, sizeof *table->heads);
	bool whole = table->places != NULL && table->prefixes != NULL && table->heads != NULL;
	for (uint8_t kind = 1; kind < ENDPOINT_TYPES; kind++) {
		uint32_t limit = endpoint_limit(kind);
		table->by_index[kind] = table_memory(limit * sizeof(uint32_t), 0);
		table->generations[kind] = malloc(limit * sizeof(uint16_t));
		whole = whole && table->by_index[kind] != NULL && table->generations[kind] != NULL;
		/* After a restart an index comes back under another generation, so that old routes hit nobody. */
		for (uint32_t i = 0; whole && i < limit; i++)
			table->generations[kind][i] = (uint16_t)mix(seed ^ kind, i);
	}
	if (!whole) {
		endpoint_table_free(table);
		return -ENOMEM;
	}
	return 0;
}

void endpoint_table_free(struct endpoint_table *table)
{
	table_free(table->places, (ENDPOINT_PLACES + 1) * sizeof *table->places, 0);
	table_free(table->prefixes, (ENDPOINT_PLACES + 1) * sizeof *table->prefixes, 0);
	free(table->heads);
	for (uint8_t kind = 1; kind < ENDPOINT_TYPES; kind++) {
		table_free(table->by_index[kind], endpoint_limit(kind) * sizeof(uint32_t), 0);
		free(table->generations[kind]);
	}
	memset(table, 0, sizeof *table);
}

static uint32_t free_index(struct endpoint_table *table, uint8_t kind)
{
	uint32_t limit = endpoint_limit(kind);
	for (uint32_t i = 0; i < limit - 1; i++) {
		uint32_t candidate = 1 + (table->hints[kind] + i) % (limit - 1);
		if (table->by_index[kind][candidate] == 0) {
			table->hints[kind] = candidate;
			return candidate;
		}
	}
	return 0;
}

static uint32_t free_place(struct endpoint_table *table)
{
	uint32_t place = table->wanted;
	if (place != 0) {
		table->wanted = 0;
		table->used_high = place > table->used_high ? place : table->used_high;
		return place;
	}
	place = table->free_first;
	if (place != 0)
		table->free_first = table->places[place].next;
	else if (table->used_high < ENDPOINT_PLACES)
		place = ++table->used_high;
	return place;
}

/* The index that an address of ours names, or 0 and why. */
static uint32_t wanted_index(struct endpoint_table *table, uint8_t kind, const uint8_t address[16], int *code)
{
	uint32_t index = underlay_index(address);
	*code = -EINVAL;
	if (address[9] != kind || index == 0 || index >= endpoint_limit(kind))
		return 0;
	*code = -EEXIST;
	if (table->by_index[kind][index] != 0)
		return 0;
	table->generations[kind][index] = load16(address + 11);
	return index;
}

uint32_t endpoint_take(struct endpoint_table *table, uint8_t kind, uint32_t index, const ferrite_ipv6 *preferred, int *code)
{
	bool given = preferred != NULL && !zero16(preferred->bytes);
	bool ours = !given || underlay_is_ours(preferred->bytes);
	*code = -EINVAL;
	if (given && raw64(preferred->bytes) != raw64(table->prefix))
		return 0;
	*code = -EEXIST;
	if (given && endpoint_find(table, preferred->bytes) != 0)
		return 0;
	*code = -ENOSPC;
	if (given && ours) {
		/* One of ours from before, as when a controller restores a host: it comes back as it was. */
		index = wanted_index(table, kind, preferred->bytes, code);
	} else if (!given && index == 0) {
		index = free_index(table, kind);
	}
	if (ours && index == 0)
		return 0;
	uint32_t place = free_place(table);
	if (place == 0) {
		*code = -ENOSPC;
		return 0;
	}
	struct endpoint *endpoint = &table->places[place];
	*endpoint = (struct endpoint){0};
	if (given) {
		memcpy(endpoint->underlay, preferred->bytes, 16);
	} else {
		memcpy(endpoint->underlay, table->prefix, 8);
		endpoint->underlay[8] = UNDERLAY_MARK;
		endpoint->underlay[9] = kind;
		store16(endpoint->underlay + 11, ++table->generations[kind][index]);
		endpoint->underlay[13] = (uint8_t)(index >> 16);
		store16(endpoint->underlay + 14, index);
	}
	if (ours)
		__atomic_store_n(&table->by_index[kind][index], place, __ATOMIC_RELEASE);
	table->count++;
	*code = 0;
	return place;
}

void endpoint_settle(struct endpoint_table *table)
{
	table->wanted = table->free_first = 0;
	for (uint32_t place = table->used_high; place > 0; place--) {
		if (table->places[place].kind != ENDPOINT_NONE)
			continue;
		table->places[place].next = table->free_first;
		table->free_first = place;
	}
}

void endpoint_publish(struct endpoint_table *table, uint32_t place, uint8_t kind)
{
	struct endpoint *endpoint = &table->places[place];
	if (!underlay_is_ours(endpoint->underlay)) {
		uint32_t *head = &table->heads[endpoint_head(endpoint->underlay)];
		endpoint->next = *head;
		__atomic_store_n(&endpoint->kind, kind, __ATOMIC_RELEASE);
		__atomic_store_n(head, place, __ATOMIC_RELEASE);
		return;
	}
	__atomic_store_n(&endpoint->kind, kind, __ATOMIC_RELEASE);
}

void endpoint_withdraw(struct endpoint_table *table, uint32_t place)
{
	struct endpoint *endpoint = &table->places[place];
	bool published = endpoint->kind != ENDPOINT_NONE;
	__atomic_store_n(&endpoint->kind, ENDPOINT_NONE, __ATOMIC_RELEASE);
	if (underlay_is_ours(endpoint->underlay)) {
		__atomic_store_n(&table->by_index[endpoint->underlay[9]][underlay_index(endpoint->underlay)], 0, __ATOMIC_RELEASE);
		return;
	}
	uint32_t *at = &table->heads[endpoint_head(endpoint->underlay)];
	while (published && *at != 0 && *at != place)
		at = &table->places[*at].next;
	if (published && *at == place)
		__atomic_store_n(at, endpoint->next, __ATOMIC_RELEASE);
}

void endpoint_give(struct endpoint_table *table, uint32_t place)
{
	table->places[place].next = table->free_first;
	table->free_first = place;
	table->count--;
}
