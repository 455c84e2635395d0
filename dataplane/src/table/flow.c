#include "table/flow.h"

#include <errno.h>

#include "table/memory.h"

int flow_table_init(struct flow_table *table, uint32_t capacity, uint64_t seed)
{
	uint32_t buckets = 1;
	while (buckets < capacity / 8)
		buckets *= 2;
	memset(table, 0, sizeof *table);
	table->mask = buckets - 1;
	table->seed = seed;
	table->now = 1;
	table->buckets = table_memory((size_t)buckets * sizeof(struct flow_bucket), 1);
	table->entries = table_memory((size_t)buckets * 8 * sizeof(struct flow_entry), 1);
	if (table->buckets == NULL || table->entries == NULL) {
		flow_table_free(table);
		return -ENOMEM;
	}
	return 0;
}

void flow_table_free(struct flow_table *table)
{
	table_free(table->buckets, ((size_t)table->mask + 1) * sizeof(struct flow_bucket), 1);
	table_free(table->entries, ((size_t)table->mask + 1) * 8 * sizeof(struct flow_entry), 1);
	memset(table, 0, sizeof *table);
}

static unsigned free_slots(uint32_t mask)
{
	return (unsigned)__builtin_popcount(mask) / 2;
}

/* A stale entry of the same flow, to be written anew. */
static struct flow_entry *flow_same(struct flow_table *table, uint64_t hash, const struct flow_entry *key)
{
	uint32_t at[2] = { flow_primary(table, hash), flow_secondary(table, hash) };
	for (unsigned choice = 0; choice < 2; choice++) {
		struct flow_bucket *bucket = &table->buckets[at[choice]];
		for (uint32_t mask = tags_match(bucket->tags, flow_tag(hash)); mask != 0; mask = tags_next(mask)) {
			struct flow_entry *entry = &table->entries[(size_t)at[choice] * 8 + tags_first(mask)];
			if (flow_equal(entry, key->context, key->ports, key->addresses, true)) {
				bucket->seen[tags_first(mask)] = table->now;
				return entry;
			}
		}
	}
	return NULL;
}

void flow_insert(struct flow_table *table, uint64_t hash, const struct flow_entry *entry)
{
	struct flow_entry *same = flow_same(table, hash, entry);
	if (same != NULL) {
		*same = *entry;
		return;
	}
	uint32_t at[2] = { flow_primary(table, hash), flow_secondary(table, hash) };
	struct flow_bucket *bucket = NULL;
	uint32_t place = 0;
	unsigned slot = 0;
	uint32_t empty[2] = { tags_match(table->buckets[at[0]].tags, 0), tags_match(table->buckets[at[1]].tags, 0) };
	/* The primary one, where a lookup ends sooner, unless it fills up and the other is clearly emptier. */
	unsigned choice = free_slots(empty[0]) <= 1 && free_slots(empty[1]) > free_slots(empty[0]) + 1;
	if (empty[choice] != 0) {
		bucket = &table->buckets[at[choice]];
		place = at[choice];
		slot = tags_first(empty[choice]);
	}
	if (bucket == NULL) {
		uint16_t oldest = 0;
		for (unsigned i = 0; i < 16; i++) {
			struct flow_bucket *candidate = &table->buckets[at[i / 8]];
			uint16_t age = (uint16_t)(table->now - candidate->seen[i % 8]);
			if (bucket == NULL || age > oldest) {
				bucket = candidate;
				place = at[i / 8];
				slot = i % 8;
				oldest = age;
			}
		}
		table->evicted++;
	}
	table->inserted++;
	bucket->tags[slot] = flow_tag(hash);
	bucket->seen[slot] = table->now;
	table->entries[(size_t)place * 8 + slot] = *entry;
}

uint64_t flow_count(const struct flow_table *table)
{
	uint64_t count = 0;
	for (uint32_t i = 0; i <= table->mask; i++)
		for (unsigned slot = 0; slot < 8; slot++)
			count += table->buckets[i].tags[slot] != 0 &&
				(uint16_t)(table->now - table->buckets[i].seen[slot]) <= FLOW_IDLE_SECONDS;
	return count;
}
