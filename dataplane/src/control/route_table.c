#include "route_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The key without padding, so that equal keys have equal bytes. */
struct packed_key {
	uint32_t vni;
	uint8_t family, length, prefix[16], zero[2];
};

static uint32_t key_hash(const struct control_route_table *table, const struct ferrite_route_key *key)
{
	struct packed_key packed = {.vni = key->vni, .family = key->family, .length = key->length};

	memcpy(packed.prefix, key->prefix, sizeof packed.prefix);
	return control_hash(table->seed, &packed, sizeof packed);
}

static bool key_equal(const void *table, uint32_t record, const void *wanted)
{
	const struct ferrite_route_key *have = &((const struct control_route_table *)table)->records[record].key;
	const struct ferrite_route_key *key = wanted;

	return have->vni == key->vni && have->family == key->family && have->length == key->length &&
	       memcmp(have->prefix, key->prefix, sizeof key->prefix) == 0;
}

static uint32_t vni_hash(const struct control_route_table *table, uint32_t vni)
{
	return control_hash(table->seed, &vni, sizeof vni);
}

static bool vni_equal(const void *table, uint32_t record, const void *vni)
{
	return ((const struct control_route_table *)table)->vnis[record].vni == *(const uint32_t *)vni;
}

bool control_route_table_open(struct control_route_table *table, uint64_t seed)
{
	*table = (struct control_route_table){.seed = seed, .free = CONTROL_INDEX_NONE};
	table->vnis = calloc(CONTROL_MAX_VNIS, sizeof *table->vnis);
	return table->vnis != NULL;
}

void control_route_table_close(struct control_route_table *table)
{
	for (uint32_t at = 0; at < table->used; ++at)
		free(table->records[at].hops);
	free(table->records);
	free(table->vnis);
	control_index_free(&table->by_key);
	control_index_free(&table->by_vni);
	*table = (struct control_route_table){.free = CONTROL_INDEX_NONE};
}

bool control_route_table_reserve(struct control_route_table *table, uint32_t count)
{
	uint32_t wanted = table->count + count;

	if (wanted > CONTROL_MAX_ROUTE_RECORDS)
		return false;
	if (wanted > table->capacity) {
		uint32_t capacity = table->capacity > 0 ? table->capacity : 64;
		struct control_route_record *records;

		while (capacity < wanted)
			capacity *= 2;
		if (capacity > CONTROL_MAX_ROUTE_RECORDS)
			capacity = CONTROL_MAX_ROUTE_RECORDS;
		records = realloc(table->records, capacity * sizeof *records);
		if (records == NULL)
			return false;
		table->records = records;
		table->capacity = capacity;
	}
	return control_index_reserve(&table->by_key, wanted);
}

struct control_route_record *control_route_find(const struct control_route_table *table,
						const struct ferrite_route_key *key)
{
	uint32_t at = control_index_find(&table->by_key, key_hash(table, key), key_equal, table, key);

	return at == CONTROL_INDEX_NONE ? NULL : &table->records[at];
}

struct control_route_record *control_route_insert(struct control_route_table *table,
						  const struct ferrite_route_key *key)
{
	struct control_vni_record *vni = control_vni_find(table, key->vni);
	struct control_route_record *record;
	uint32_t at;

	assert(vni != NULL && table->count < table->capacity);
	if (table->free != CONTROL_INDEX_NONE) {
		at = table->free;
		table->free = table->records[at].next;
	} else {
		at = table->used++;
	}
	record = &table->records[at];
	*record = (struct control_route_record){
		.key = *key, .owner = CONTROL_INDEX_NONE, .next = vni->first_route, .previous = CONTROL_INDEX_NONE};
	if (record->next != CONTROL_INDEX_NONE)
		table->records[record->next].previous = at;
	vni->first_route = at;
	control_index_insert(&table->by_key, key_hash(table, key), at);
	table->count++;
	return record;
}

void control_route_erase(struct control_route_table *table, struct control_route_record *record)
{
	uint32_t at = (uint32_t)(record - table->records);

	control_index_remove(&table->by_key, key_hash(table, &record->key), at);
	if (record->next != CONTROL_INDEX_NONE)
		table->records[record->next].previous = record->previous;
	if (record->previous != CONTROL_INDEX_NONE)
		table->records[record->previous].next = record->next;
	else
		control_vni_find(table, record->key.vni)->first_route = record->next;
	free(record->hops);
	record->hops = NULL;
	record->next = table->free;
	table->free = at;
	table->count--;
}

struct control_vni_record *control_vni_find(const struct control_route_table *table, uint32_t vni)
{
	uint32_t at = control_index_find(&table->by_vni, vni_hash(table, vni), vni_equal, table, &vni);

	return at == CONTROL_INDEX_NONE ? NULL : &table->vnis[at];
}

struct control_vni_record *control_vni_acquire(struct control_route_table *table, uint32_t vni)
{
	struct control_vni_record *record = control_vni_find(table, vni);
	uint32_t at = table->vni_first_free;

	if (record != NULL) {
		record->references++;
		return record;
	}
	if (table->vni_count == CONTROL_MAX_VNIS || !control_index_reserve(&table->by_vni, table->vni_count + 1))
		return NULL;
	while (at < table->vni_used && table->vnis[at].references != 0)
		++at;
	table->vni_first_free = at + 1;
	if (at == table->vni_used)
		table->vni_used++;
	record = &table->vnis[at];
	*record = (struct control_vni_record){.vni = vni, .references = 1, .first_route = CONTROL_INDEX_NONE};
	control_index_insert(&table->by_vni, vni_hash(table, vni), at);
	table->vni_count++;
	return record;
}

void control_vni_release(struct control_route_table *table, struct control_vni_record *record)
{
	assert(record->references > 0);
	if (--record->references > 0)
		return;
	assert(record->first_route == CONTROL_INDEX_NONE);
	control_index_remove(&table->by_vni, vni_hash(table, record->vni), (uint32_t)(record - table->vnis));
	table->vni_count--;
	if ((uint32_t)(record - table->vnis) < table->vni_first_free)
		table->vni_first_free = (uint32_t)(record - table->vnis);
}
