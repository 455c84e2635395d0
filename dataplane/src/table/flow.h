/* Flows: what was decided for a 5-tuple of an interface, found again in one lookup.
 *
 * A set-associative table, owned by one worker: 32-byte buckets with eight 16-bit tags and eight last-seen stamps,
 * two buckets to choose from per key, and one 64-byte entry per slot at a fixed place. An entry holds the finished
 * rewrite (local delivery or the outer destination) and the epoch of the VNI under which it was decided: a stale one
 * misses. Because every decision can be made again, a full set simply loses its least recently used entry, and
 * nothing has to age in the background; FLOW_IDLE_SECONDS only says when a slot counts as free in the numbers.
 *
 * Default 2^18 flows: 16 MB of entries, 1 MB of buckets.
 */
#ifndef FERRITE_TABLE_FLOW_H
#define FERRITE_TABLE_FLOW_H

#include <stdbool.h>

#include "packet/headers.h"
#include "packet/mix.h"
#include "table/tags.h"

enum {
	FLOW_CAPACITY = 1 << 18,
	FLOW_IDLE_SECONDS = 300,

	FLOW_ENCAP = 1,   /* target: outer destination, 16 bytes */
	FLOW_DELIVER = 2, /* target: interface index, 4 bytes */
};

struct flow_bucket {
	uint16_t tags[8]; /* 0: empty */
	uint16_t seen[8]; /* seconds, of the engine's clock */
} __attribute__((aligned(32)));

/* For IPv4: source in addresses[0..3], destination in [4..7], the rest zero. */
struct flow_entry {
	uint32_t context; /* interface index << 16 | family << 8 | protocol */
	uint32_t ports;
	uint8_t addresses[32];
	uint8_t target[16];
	uint32_t epoch;
	uint8_t kind;
	uint8_t spare[3];
};
_Static_assert(sizeof(struct flow_entry) == 64, "one cache line");

struct flow_table {
	struct flow_bucket *buckets;
	struct flow_entry *entries;
	uint32_t mask;    /* of buckets */
	uint16_t now;
	uint64_t seed;
	uint64_t inserted, evicted;
};

int flow_table_init(struct flow_table *table, uint32_t capacity, uint64_t seed);
void flow_table_free(struct flow_table *table);
/* Adds the flow, or renews the one with its key. */
void flow_insert(struct flow_table *table, uint64_t hash, const struct flow_entry *entry);
/* Slots in use and seen within FLOW_IDLE_SECONDS; walks the buckets. */
uint64_t flow_count(const struct flow_table *table);

static inline uint32_t flow_context(uint32_t interface, uint8_t family, uint8_t protocol)
{
	return interface << 16 | (uint32_t)family << 8 | protocol;
}

static inline uint64_t flow_hash4(uint64_t seed, uint32_t context, uint32_t ports, const uint8_t *addresses)
{
	return mix(seed ^ ((uint64_t)context << 32 | ports), raw64(addresses) ^ seed);
}

static inline uint64_t flow_hash6(uint64_t seed, uint32_t context, uint32_t ports, const uint8_t *addresses)
{
	uint64_t head = mix(seed ^ ((uint64_t)context << 32 | ports), raw64(addresses) ^ seed);
	return mix(head ^ raw64(addresses + 8), mix(raw64(addresses + 16) ^ seed, raw64(addresses + 24)));
}

static inline uint16_t flow_tag(uint64_t hash)
{
	return (uint16_t)(hash >> 48 | 1);
}

static inline uint32_t flow_primary(const struct flow_table *table, uint64_t hash)
{
	return (uint32_t)hash & table->mask;
}

static inline uint32_t flow_secondary(const struct flow_table *table, uint64_t hash)
{
	return (flow_primary(table, hash) ^ (uint32_t)((hash >> 48 | 1) * 0x5bd1e995u)) & table->mask;
}

/* What is worth fetching once the primary bucket is here: the entry with the tag, or else the secondary bucket. */
static inline const void *flow_candidate(const struct flow_table *table, uint64_t hash)
{
	uint32_t bucket = flow_primary(table, hash);
	uint32_t mask = tags_match(table->buckets[bucket].tags, flow_tag(hash));
	if (__builtin_expect(mask == 0, 0))
		return &table->buckets[flow_secondary(table, hash)];
	return &table->entries[(size_t)bucket * 8 + tags_first(mask)];
}

static inline bool flow_equal(const struct flow_entry *entry, uint32_t context, uint32_t ports,
			      const uint8_t *addresses, bool wide)
{
	if (entry->context != context || entry->ports != ports)
		return false;
	if (!wide)
		return raw64(entry->addresses) == raw64(addresses);
	return equal16(entry->addresses, addresses) && equal16(entry->addresses + 16, addresses + 16);
}

/* NULL: not there, or decided under another epoch. `addresses`: 8 or, with `wide`, 32 bytes as in the packet. */
static inline const struct flow_entry *flow_find(struct flow_table *table, uint64_t hash, uint32_t context,
						 uint32_t ports, const uint8_t *addresses, bool wide, uint32_t epoch)
{
	uint32_t at = flow_primary(table, hash);
	for (unsigned choice = 0; choice < 2; choice++) {
		struct flow_bucket *bucket = &table->buckets[at];
		for (uint32_t mask = tags_match(bucket->tags, flow_tag(hash)); mask != 0; mask = tags_next(mask)) {
			unsigned slot = tags_first(mask);
			const struct flow_entry *entry = &table->entries[(size_t)at * 8 + slot];
			if (__builtin_expect(flow_equal(entry, context, ports, addresses, wide) &&
					     entry->epoch == epoch, 1)) {
				if (__builtin_expect(bucket->seen[slot] != table->now, 0))
					bucket->seen[slot] = table->now;
				return entry;
			}
		}
		at = flow_secondary(table, hash);
	}
	return NULL;
}

#endif
