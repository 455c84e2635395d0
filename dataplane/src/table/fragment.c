#include "table/fragment.h"

#include <errno.h>

#include "packet/mix.h"
#include "table/memory.h"

enum { NONE = UINT16_MAX, OWNER_BUCKETS = FRAGMENT_CAPACITY };

struct key {
	uint8_t addresses[32];
	uint64_t context;
	uint32_t id;
	uint8_t family, protocol;
	uint16_t spare;
};

/* Links are places in `entries`. Two orders by age, oldest first: of all, and of one owner. */
struct entry {
	struct key key;
	uint64_t time;
	uint32_t ports;
	uint16_t owner;         /* place in `owners` */
	uint16_t next;          /* in the bucket, or of the free ones */
	uint16_t older, newer;
	uint16_t own_older, own_newer;
};

struct owner {
	uint32_t number;
	uint16_t next;          /* in the bucket, or of the free ones */
	uint16_t oldest, newest, count;
};

struct fragment_memory {
	struct entry entries[FRAGMENT_CAPACITY];
	struct owner owners[FRAGMENT_CAPACITY];
	uint16_t buckets[FRAGMENT_BUCKETS];
	uint16_t owner_buckets[OWNER_BUCKETS];
	uint16_t free_entry, free_owner, oldest, newest;
};
_Static_assert(sizeof(struct fragment_memory) <= 448 * 1024, "as said in the header");

int fragment_table_init(struct fragment_table *table, uint64_t seed)
{
	struct fragment_memory *memory = table_memory(sizeof *memory, 0);
	*table = (struct fragment_table){.memory = memory, .seed = seed};
	if (memory == NULL)
		return -ENOMEM;
	memset(memory->buckets, 0xff, sizeof memory->buckets);
	memset(memory->owner_buckets, 0xff, sizeof memory->owner_buckets);
	for (uint16_t i = 0; i < FRAGMENT_CAPACITY; i++) {
		uint16_t next = i + 1 < FRAGMENT_CAPACITY ? (uint16_t)(i + 1) : NONE;
		memory->entries[i].next = next;
		memory->owners[i].next = next;
	}
	memory->oldest = memory->newest = NONE;
	return 0;
}

void fragment_table_free(struct fragment_table *table)
{
	table_free(table->memory, sizeof *table->memory, 0);
	*table = (struct fragment_table){0};
}

static void key_of(uint64_t context, const struct tuple *tuple, struct key *key)
{
	*key = (struct key){.context = context, .id = tuple->fragment_id, .family = tuple->family,
			    .protocol = tuple->protocol};
	memcpy(key->addresses, tuple->addresses, 32);
}

static uint16_t *bucket_of(const struct fragment_table *table, const struct key *key)
{
	uint64_t hash = mix(raw64(key->addresses) ^ table->seed, raw64(key->addresses + 8));
	hash = mix(hash ^ raw64(key->addresses + 16), raw64(key->addresses + 24));
	hash = mix(hash ^ key->context, (uint64_t)key->id << 16 | (uint64_t)key->family << 8 | key->protocol);
	return &table->memory->buckets[hash % FRAGMENT_BUCKETS];
}

static uint16_t *owner_bucket_of(const struct fragment_table *table, uint32_t number)
{
	return &table->memory->owner_buckets[mix(table->seed, number) % OWNER_BUCKETS];
}

static bool same(const struct key *a, const struct key *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

static uint16_t find(const struct fragment_table *table, const struct key *key)
{
	uint16_t at = *bucket_of(table, key);
	while (at != NONE && !same(&table->memory->entries[at].key, key))
		at = table->memory->entries[at].next;
	return at;
}

static uint16_t owner_find(const struct fragment_table *table, uint32_t number)
{
	uint16_t at = *owner_bucket_of(table, number);
	while (at != NONE && table->memory->owners[at].number != number)
		at = table->memory->owners[at].next;
	return at;
}

/* There are as many owners as entries, and each has at least one of them: one is always free when an entry is. */
static uint16_t owner_take(struct fragment_table *table, uint32_t number)
{
	struct fragment_memory *memory = table->memory;
	uint16_t at = owner_find(table, number);
	if (at != NONE)
		return at;
	uint16_t *bucket = owner_bucket_of(table, number);
	at = memory->free_owner;
	memory->free_owner = memory->owners[at].next;
	memory->owners[at] = (struct owner){.number = number, .next = *bucket, .oldest = NONE, .newest = NONE};
	*bucket = at;
	return at;
}

static void owner_drop(struct fragment_table *table, uint16_t at)
{
	struct fragment_memory *memory = table->memory;
	uint16_t *link = owner_bucket_of(table, memory->owners[at].number);
	while (*link != at)
		link = &memory->owners[*link].next;
	*link = memory->owners[at].next;
	memory->owners[at].next = memory->free_owner;
	memory->free_owner = at;
}

static void append(struct fragment_memory *memory, uint16_t at)
{
	struct entry *entry = &memory->entries[at];
	struct owner *owner = &memory->owners[entry->owner];
	entry->older = memory->newest;
	entry->own_older = owner->newest;
	entry->newer = entry->own_newer = NONE;
	*(entry->older == NONE ? &memory->oldest : &memory->entries[entry->older].newer) = at;
	*(entry->own_older == NONE ? &owner->oldest : &memory->entries[entry->own_older].own_newer) = at;
	memory->newest = at;
	owner->newest = at;
	owner->count++;
}

static void drop(struct fragment_table *table, uint16_t at)
{
	struct fragment_memory *memory = table->memory;
	struct entry *entry = &memory->entries[at];
	struct owner *owner = &memory->owners[entry->owner];
	uint16_t *link = bucket_of(table, &entry->key);
	while (*link != at)
		link = &memory->entries[*link].next;
	*link = entry->next;
	*(entry->older == NONE ? &memory->oldest : &memory->entries[entry->older].newer) = entry->newer;
	*(entry->newer == NONE ? &memory->newest : &memory->entries[entry->newer].older) = entry->older;
	*(entry->own_older == NONE ? &owner->oldest : &memory->entries[entry->own_older].own_newer) = entry->own_newer;
	*(entry->own_newer == NONE ? &owner->newest : &memory->entries[entry->own_newer].own_older) = entry->own_older;
	if (--owner->count == 0)
		owner_drop(table, entry->owner);
	entry->next = memory->free_entry;
	memory->free_entry = at;
	table->count--;
}

void fragment_remember(struct fragment_table *table, uint64_t context, const struct tuple *tuple, uint32_t owner,
		       uint64_t now_ms)
{
	struct fragment_memory *memory = table->memory;
	struct key key;
	if (tuple->fragment != FRAGMENT_FIRST)
		return;
	key_of(context, tuple, &key);
	uint16_t at = find(table, &key);
	if (at != NONE)
		drop(table, at);
	uint16_t own = owner_find(table, owner);
	if (own != NONE && memory->owners[own].count >= FRAGMENT_OWNED)
		drop(table, memory->owners[own].oldest);
	if (table->count == FRAGMENT_CAPACITY)
		drop(table, memory->oldest);
	uint16_t *bucket = bucket_of(table, &key);
	at = memory->free_entry;
	memory->free_entry = memory->entries[at].next;
	memory->entries[at] = (struct entry){.key = key, .time = now_ms, .ports = tuple->ports,
					     .owner = owner_take(table, owner), .next = *bucket};
	*bucket = at;
	append(memory, at);
	table->count++;
}

bool fragment_find(const struct fragment_table *table, uint64_t context, struct tuple *tuple, uint64_t now_ms)
{
	struct key key;
	key_of(context, tuple, &key);
	uint16_t at = find(table, &key);
	if (at == NONE || now_ms > table->memory->entries[at].time + FRAGMENT_MS)
		return false;
	tuple->ports = table->memory->entries[at].ports;
	return true;
}

void fragment_forget(struct fragment_table *table, uint32_t owner)
{
	uint16_t at = owner_find(table, owner);
	for (unsigned left = at == NONE ? 0 : table->memory->owners[at].count; left > 0; left--)
		drop(table, table->memory->owners[at].oldest);
}
