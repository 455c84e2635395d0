#include "key_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static uint32_t hash_of(const struct control_key_table *table, const struct control_key *key)
{
	return control_hash(table->seed, key->bytes, sizeof key->bytes);
}

static bool equal(const void *entries, uint32_t record, const void *key)
{
	return memcmp(&((const struct control_key_entry *)entries)[record].key, key, sizeof(struct control_key)) == 0;
}

static uint32_t position(const struct control_key_table *table, const struct control_key *key)
{
	return control_index_find(&table->index, hash_of(table, key), equal, table->entries, key);
}

void control_key_open(struct control_key_table *table, uint64_t seed)
{
	*table = (struct control_key_table){.seed = seed, .free = CONTROL_INDEX_NONE};
}

void control_key_close(struct control_key_table *table)
{
	free(table->entries);
	control_index_free(&table->index);
	control_key_open(table, table->seed);
}

bool control_key_reserve(struct control_key_table *table)
{
	if (table->free == CONTROL_INDEX_NONE && table->used == table->capacity) {
		uint32_t capacity = table->capacity > 0 ? 2 * table->capacity : 64;
		struct control_key_entry *entries = realloc(table->entries, capacity * sizeof *entries);

		if (entries == NULL)
			return false;
		table->entries = entries;
		table->capacity = capacity;
	}
	return control_index_reserve(&table->index, table->count + 1);
}

void control_key_put(struct control_key_table *table, const struct control_key *key, uint32_t value)
{
	uint32_t at = table->free;

	if (at != CONTROL_INDEX_NONE)
		table->free = table->entries[at].next_free;
	else
		at = table->used++;
	assert(at < table->capacity);
	table->entries[at] = (struct control_key_entry){.key = *key, .value = value};
	control_index_insert(&table->index, hash_of(table, key), at);
	table->count++;
}

uint32_t control_key_find(const struct control_key_table *table, const struct control_key *key)
{
	uint32_t at = position(table, key);

	return at == CONTROL_INDEX_NONE ? CONTROL_INDEX_NONE : table->entries[at].value;
}

void control_key_remove(struct control_key_table *table, const struct control_key *key)
{
	uint32_t at = position(table, key);

	assert(at != CONTROL_INDEX_NONE);
	control_index_remove(&table->index, hash_of(table, key), at);
	table->entries[at].next_free = table->free;
	table->free = at;
	table->count--;
}

struct control_key control_key_of_underlay(const ferrite_ipv6 *address)
{
	struct control_key key = {{0}};

	memcpy(key.bytes, address->bytes, sizeof address->bytes);
	return key;
}

struct control_key control_key_of_address(uint32_t vni, uint8_t family, const uint8_t *bytes)
{
	struct control_key key = {{0}};

	memcpy(key.bytes, &vni, sizeof vni);
	key.bytes[4] = family;
	memcpy(key.bytes + 5, bytes, family == 4 ? 4 : 16);
	return key;
}
