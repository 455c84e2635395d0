#include "table/nat.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "packet/mix.h"
#include "packet/murmur.h"
#include "table/memory.h"

enum { GROUPS = (NAT_GROUPS + NAT_SERVICES) * NAT_PROTOCOLS, NAT_SEEN = 0x5a };

static size_t mappings_of(uint32_t capacity)
{
	return ((size_t)capacity + 1) * sizeof(struct nat_mapping);
}

static size_t mappings_bytes(const struct nat_table *table)
{
	return mappings_of(table->capacity);
}

static size_t bitmaps_bytes(void)
{
	return ((size_t)NAT_BITMAPS + 1) * sizeof(struct nat_bitmap);
}

static uint32_t heads_of(uint32_t capacity)
{
	uint32_t count = 1024;
	while (count < capacity)
		count *= 2;
	return count;
}

static uint32_t head_count(const struct nat_table *table)
{
	return heads_of(table->capacity);
}

int nat_table_init(struct nat_table *table, uint64_t seed, uint32_t capacity)
{
	memset(table, 0, sizeof *table);
	table->seed = seed;
	table->capacity = capacity < NAT_MAPPINGS ? capacity : NAT_MAPPINGS;
	table->mappings = table_memory(mappings_bytes(table), 0);
	table->heads = table_memory(head_count(table) * sizeof *table->heads, 0);
	table->bitmaps = table_memory(bitmaps_bytes(), 0);
	table->groups = table_memory(GROUPS * sizeof *table->groups, 0);
	if (table->mappings == NULL || table->heads == NULL || table->bitmaps == NULL || table->groups == NULL) {
		nat_table_free(table);
		return -ENOMEM;
	}
	/* A short range touches one page of its bitmap; a huge page would make it hundreds. */
	(void)madvise(table->bitmaps, bitmaps_bytes(), MADV_NOHUGEPAGE);
	return 0;
}

void nat_table_sizes(uint32_t capacity, size_t sizes[NAT_PARTS])
{
	capacity = capacity < NAT_MAPPINGS ? capacity : NAT_MAPPINGS;
	sizes[0] = mappings_of(capacity);
	sizes[1] = heads_of(capacity) * sizeof(uint32_t);
	sizes[2] = bitmaps_bytes();
	sizes[3] = GROUPS * sizeof(uint32_t);
}

void nat_table_place(struct nat_table *table, uint64_t seed, uint32_t capacity, void *const memory[NAT_PARTS])
{
	memset(table, 0, sizeof *table);
	table->seed = seed;
	table->capacity = capacity < NAT_MAPPINGS ? capacity : NAT_MAPPINGS;
	table->mappings = memory[0];
	table->heads = memory[1];
	table->bitmaps = memory[2];
	table->groups = memory[3];
	table->placed = true;
}

void nat_table_free(struct nat_table *table)
{
	if (table->placed) {
		memset(table, 0, sizeof *table);
		return;
	}
	table_free(table->mappings, mappings_bytes(table), 0);
	table_free(table->heads, head_count(table) * sizeof *table->heads, 0);
	table_free(table->bitmaps, bitmaps_bytes(), 0);
	table_free(table->groups, GROUPS * sizeof *table->groups, 0);
	memset(table, 0, sizeof *table);
}

/* Ports */

static uint32_t *group_of(const struct nat_table *table, uint32_t address, unsigned protocol)
{
	return &table->groups[(size_t)address * NAT_PROTOCOLS + protocol];
}

/* The lowest free word at or above `word` and below `end`, by the second level; else `end`. */
static uint32_t word_not_full(const struct nat_bitmap *bitmap, uint32_t word, uint32_t end)
{
	while (word < end) {
		uint64_t open = ~bitmap->full[word / 64] >> (word % 64);
		if (open != 0) {
			word += (uint32_t)__builtin_ctzll(open);
			return word < end ? word : end;
		}
		word = (word / 64 + 1) * 64;
	}
	return end;
}

/* The lowest free port in [from, to), else `to`. */
static uint32_t port_free_in(const struct nat_bitmap *bitmap, uint32_t from, uint32_t to)
{
	if (from >= to)
		return to;
	uint64_t open = ~bitmap->words[from / 64] >> (from % 64);
	if (open == 0) {
		uint32_t end = (to + 63) / 64, word = word_not_full(bitmap, from / 64 + 1, end);
		if (word >= end)
			return to;
		from = word * 64;
		open = ~bitmap->words[word];
	}
	uint32_t port = from + (uint32_t)__builtin_ctzll(open);
	return port < to ? port : to;
}

/* Upwards from `start` and around the range; `range->max`: none. */
static uint32_t port_search(const struct nat_table *table, const struct nat_range *range, unsigned protocol,
			    uint32_t start)
{
	uint32_t at = *group_of(table, range->address, protocol);
	if (at == 0)
		return start;
	const struct nat_bitmap *bitmap = &table->bitmaps[at];
	uint32_t port = port_free_in(bitmap, start, range->max);
	if (port < range->max)
		return port;
	port = port_free_in(bitmap, range->min, start);
	return port < start ? port : range->max;
}

/* A bitmap that was given back is all zero again, for its last port went. 0: none left. */
static uint32_t bitmap_take(struct nat_table *table)
{
	uint32_t at = table->bitmap_free;
	if (at != 0)
		table->bitmap_free = table->bitmaps[at].next;
	else if (table->bitmap_high < NAT_BITMAPS)
		at = ++table->bitmap_high;
	return at;
}

static bool port_take(struct nat_table *table, uint32_t address, unsigned protocol, uint16_t port)
{
	uint32_t *group = group_of(table, address, protocol);
	if (*group == 0)
		*group = bitmap_take(table);
	if (*group == 0)
		return false;
	struct nat_bitmap *bitmap = &table->bitmaps[*group];
	uint64_t *word = &bitmap->words[port / 64];
	assert((*word >> (port % 64) & 1) == 0);
	*word |= 1ULL << (port % 64);
	if (*word == UINT64_MAX)
		bitmap->full[port / 4096] |= 1ULL << (port / 64 % 64);
	bitmap->count++;
	return true;
}

static void port_return(struct nat_table *table, uint32_t address, unsigned protocol, uint16_t port)
{
	uint32_t *group = group_of(table, address, protocol);
	struct nat_bitmap *bitmap = &table->bitmaps[*group];
	assert(*group != 0 && (bitmap->words[port / 64] >> (port % 64) & 1) == 1);
	bitmap->words[port / 64] &= ~(1ULL << (port % 64));
	bitmap->full[port / 4096] &= ~(1ULL << (port / 64 % 64));
	if (--bitmap->count > 0)
		return;
	bitmap->next = table->bitmap_free;
	table->bitmap_free = *group;
	*group = 0;
}

/* Mappings */

/* What a mapping is found by; the interface is in it because a service's group is shared by many. */
struct key {
	uint8_t source[16];
	uint32_t interface, address;
	uint16_t port;
	uint8_t family, protocol;
};

static struct key key_of(const struct nat_range *range, const struct tuple *tuple, unsigned protocol)
{
	struct key key = {.interface = range->interface, .address = range->address, .family = tuple->family,
			  .protocol = (uint8_t)protocol};
	memcpy(key.source, tuple->addresses, tuple->family == 4 ? 4 : 16);
	memcpy(&key.port, &tuple->ports, 2);
	return key;
}

static uint32_t head_of(const struct nat_table *table, const struct key *key)
{
	uint64_t words = (uint64_t)key->interface << 32 | key->address;
	uint64_t rest = (uint64_t)key->port << 16 | (uint64_t)key->family << 8 | key->protocol;
	uint64_t hash = mix(mix(table->seed ^ words, raw64(key->source)), raw64(key->source + 8) ^ rest << 32 ^ rest);
	return (uint32_t)hash & (head_count(table) - 1);
}

static bool is(const struct nat_mapping *mapping, const struct key *key)
{
	return mapping->source_port == key->port && mapping->interface == key->interface &&
	       mapping->address == key->address && mapping->protocol == key->protocol &&
	       mapping->family == key->family && equal16(mapping->source, key->source);
}

static uint32_t find(const struct nat_table *table, uint32_t head, const struct key *key)
{
	uint32_t at = table->heads[head];
	while (at != 0 && !is(&table->mappings[at], key))
		at = table->mappings[at].next;
	return at;
}

/* A source has one mapping that is found; one that another has replaced stays for who has its number. */
static void hide(struct nat_table *table, uint32_t at)
{
	struct nat_mapping *mapping = &table->mappings[at];
	uint32_t *link = &table->heads[mapping->head];
	while (*link != at)
		link = &table->mappings[*link].next;
	*link = mapping->next;
	mapping->hidden = 1;
}

static bool counts(const struct nat_mapping *mapping)
{
	return mapping->address < NAT_SERVICE_GROUP;
}

static uint32_t mapping_take(struct nat_table *table)
{
	uint32_t at = table->free_first;
	if (at != 0)
		table->free_first = table->mappings[at].next;
	else if (table->used_high < table->capacity)
		at = ++table->used_high;
	return at;
}

static uint32_t mapping_add(struct nat_table *table, uint32_t head, const struct key *key, const struct nat_range *range,
			    uint16_t port)
{
	if (table->count == table->capacity || !port_take(table, range->address, key->protocol, port))
		return NAT_EXHAUSTED;
	uint32_t at = mapping_take(table);
	struct nat_mapping *mapping = &table->mappings[at];
	*mapping = (struct nat_mapping){
		.vni = range->vni, .address = range->address, .interface = range->interface, .uses = 1,
		.next = table->heads[head], .head = head, .source_port = key->port, .port = port,
		.family = key->family, .protocol = key->protocol,
	};
	memcpy(mapping->source, key->source, 16);
	memcpy(mapping->ip, range->ip, 4);
	table->heads[head] = at;
	table->count++;
	if (counts(mapping))
		table->used[mapping->interface][mapping->protocol]++;
	return at;
}

static bool valid(const struct nat_range *range)
{
	return range->min < range->max && range->max <= 65536 && range->interface < FERRITE_MAX_INTERFACES &&
	       range->address < NAT_GROUPS + NAT_SERVICES;
}

static bool is_taken(bool (*taken)(void *context, uint16_t port), void *context, uint32_t port)
{
	return taken != NULL && taken(context, (uint16_t)port);
}

static uint32_t share(const struct nat_range *range, uint32_t start, bool (*taken)(void *context, uint16_t port),
		      void *context, uint16_t *port)
{
	uint32_t size = range->max - range->min, at = start;
	for (uint32_t tried = 0; tried < size && tried < NAT_SHARE_TRIES; tried++) {
		if (!is_taken(taken, context, at)) {
			*port = (uint16_t)at;
			return NAT_SHARED;
		}
		at = at + 1 == range->max ? range->min : at + 1;
	}
	return NAT_EXHAUSTED;
}

uint32_t nat_map(struct nat_table *table, const struct nat_range *range, const struct tuple *tuple, uint32_t seed,
		 bool (*taken)(void *context, uint16_t port), void *context, uint16_t *port)
{
	int protocol = nat_protocol_index(tuple);
	if (protocol < 0 || !valid(range))
		return NAT_EXHAUSTED;
	struct key key = key_of(range, tuple, (unsigned)protocol);
	uint32_t head = head_of(table, &key), at = find(table, head, &key);
	uint32_t outside = at != 0 && !nat_mapping_in(table, at, range) ? at : 0;
	at = outside != 0 ? 0 : at;
	uint32_t start = range->min + nat_hash(range->vni, tuple, seed) % (range->max - range->min);
	uint32_t chosen = at != 0 ? table->mappings[at].port : port_search(table, range, key.protocol, start);
	if (chosen == range->max || is_taken(taken, context, chosen))
		return share(range, start, taken, context, port);
	if (at != 0)
		table->mappings[at].uses++;
	else
		at = mapping_add(table, head, &key, range, (uint16_t)chosen);
	if (at == NAT_EXHAUSTED)
		return NAT_EXHAUSTED;
	if (outside != 0)
		hide(table, outside);
	*port = (uint16_t)chosen;
	return at;
}

uint16_t nat_guess(const struct nat_table *table, const struct nat_range *range, const struct tuple *tuple, uint32_t seed)
{
	int protocol = nat_protocol_index(tuple);
	if (protocol < 0 || !valid(range))
		return 0;
	struct key key = key_of(range, tuple, (unsigned)protocol);
	uint32_t at = find(table, head_of(table, &key), &key);
	uint32_t start = range->min + nat_hash(range->vni, tuple, seed) % (range->max - range->min);
	return (uint16_t)(at != 0 ? table->mappings[at].port : port_search(table, range, key.protocol, start));
}

void nat_unmap(struct nat_table *table, uint32_t at)
{
	if (at == NAT_EXHAUSTED || at == NAT_SHARED)
		return;
	struct nat_mapping *mapping = &table->mappings[at];
	assert(at <= table->used_high && mapping->uses > 0);
	if (--mapping->uses > 0)
		return;
	if (!mapping->hidden)
		hide(table, at);
	if (counts(mapping))
		table->used[mapping->interface][mapping->protocol]--;
	port_return(table, mapping->address, mapping->protocol, mapping->port);
	mapping->next = table->free_first;
	table->free_first = at;
	table->count--;
}

void nat_hold(struct nat_table *table, uint32_t at)
{
	if (at == NAT_EXHAUSTED || at == NAT_SHARED)
		return;
	assert(table->mappings[at].uses > 0);
	table->mappings[at].uses++;
}

bool nat_mapping_in(const struct nat_table *table, uint32_t at, const struct nat_range *range)
{
	if (at == NAT_EXHAUSTED || at == NAT_SHARED)
		return false;
	const struct nat_mapping *mapping = &table->mappings[at];
	return mapping->interface == range->interface && mapping->address == range->address &&
	       mapping->vni == range->vni && raw32(mapping->ip) == raw32(range->ip) && mapping->port >= range->min &&
	       mapping->port < range->max;
}

uint16_t nat_mapping_port(const struct nat_table *table, uint32_t at)
{
	return table->mappings[at].port;
}

uint32_t nat_used(const struct nat_table *table, uint32_t interface, unsigned protocol)
{
	return interface < FERRITE_MAX_INTERFACES && protocol < NAT_PROTOCOLS ? table->used[interface][protocol] : 0;
}

uint32_t nat_group_used(const struct nat_table *table, uint32_t address)
{
	uint32_t used = 0;
	for (unsigned protocol = 0; address < NAT_GROUPS + NAT_SERVICES && protocol < NAT_PROTOCOLS; protocol++)
		if (*group_of(table, address, protocol) != 0)
			used += table->bitmaps[*group_of(table, address, protocol)].count;
	return used;
}

/* Punches the pages out of shared memory. */
static void wipe(void *at, size_t bytes)
{
	if (madvise(at, (bytes + 4095) & ~(size_t)4095, MADV_REMOVE) != 0)
		memset(at, 0, bytes);
}

/* A mark in `spare` says which mappings were seen. */
void nat_rebuild_begin(struct nat_table *table)
{
	wipe(table->heads, head_count(table) * sizeof *table->heads);
	wipe(table->bitmaps, bitmaps_bytes());
	wipe(table->groups, GROUPS * sizeof *table->groups);
	memset(table->used, 0, sizeof table->used);
	table->count = table->free_first = table->used_high = table->bitmap_free = table->bitmap_high = 0;
}

static bool believable(const struct nat_mapping *mapping, const uint8_t *source, uint16_t source_port)
{
	return mapping->protocol < NAT_PROTOCOLS && mapping->address < NAT_GROUPS + NAT_SERVICES &&
	       mapping->interface < FERRITE_MAX_INTERFACES && (mapping->family == 4 || mapping->family == 6) &&
	       mapping->source_port == source_port &&
	       memcmp(mapping->source, source, mapping->family == 4 ? 4 : 16) == 0;
}

bool nat_rebuild_add(struct nat_table *table, uint32_t at, const uint8_t *source, uint16_t source_port)
{
	if (at == NAT_SHARED || at > table->capacity)
		return false;
	struct nat_mapping *mapping = &table->mappings[at];
	if (!believable(mapping, source, source_port))
		return false;
	if (mapping->spare[0] == NAT_SEEN) {
		mapping->uses++;
		return true;
	}
	const struct nat_bitmap *bitmap = &table->bitmaps[*group_of(table, mapping->address, mapping->protocol)];
	if ((bitmap->words[mapping->port / 64] >> (mapping->port % 64) & 1) != 0 ||
	    !port_take(table, mapping->address, mapping->protocol, mapping->port))
		return false;
	mapping->spare[0] = NAT_SEEN;
	mapping->uses = 1;
	table->used_high = at > table->used_high ? at : table->used_high;
	table->count++;
	if (counts(mapping))
		table->used[mapping->interface][mapping->protocol]++;
	return true;
}

void nat_rebuild_end(struct nat_table *table)
{
	for (uint32_t at = table->used_high; at > 0; at--) {
		struct nat_mapping *mapping = &table->mappings[at];
		if (mapping->spare[0] != NAT_SEEN) {
			mapping->uses = 0;
			mapping->next = table->free_first;
			table->free_first = at;
			continue;
		}
		mapping->spare[0] = 0;
		if (mapping->hidden)
			continue;
		struct key key = {.interface = mapping->interface, .address = mapping->address, .port = mapping->source_port,
				  .family = mapping->family, .protocol = mapping->protocol};
		memcpy(key.source, mapping->source, 16);
		mapping->head = head_of(table, &key);
		mapping->next = table->heads[mapping->head];
		table->heads[mapping->head] = at;
	}
}
