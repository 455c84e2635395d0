#include "table/flow.h"

#include <errno.h>
#include <stdlib.h>

#include "ferrite/engine.h"
#include "table/memory.h"

static uint32_t buckets_of(uint32_t capacity)
{
	uint32_t buckets = 1;
	while (buckets < capacity / 8)
		buckets *= 2;
	return buckets;
}

static void set_up(struct flow_table *table, uint32_t capacity, uint32_t owners, uint32_t timeout, uint64_t seed)
{
	memset(table, 0, sizeof *table);
	table->mask = buckets_of(capacity) - 1;
	table->seed = seed;
	table->limits[FLOW_BRIEF] = timeout * 1000;
	table->limits[FLOW_BOTH] = FLOW_BOTH_TIMES * table->limits[FLOW_BRIEF];
	table->limits[FLOW_ESTABLISHED] = FLOW_ESTABLISHED_SECONDS * 1000;
	table->owner_count = owners;
}

void flow_table_sizes(uint32_t capacity, uint32_t owners, size_t sizes[3])
{
	uint32_t buckets = buckets_of(capacity);
	sizes[0] = (size_t)buckets * sizeof(struct flow_bucket);
	sizes[1] = (size_t)buckets * 8 * sizeof(struct flow_entry);
	sizes[2] = (size_t)owners * sizeof(uint32_t);
}

void flow_table_place(struct flow_table *table, uint32_t capacity, uint32_t owners, uint32_t timeout, uint64_t seed,
		      void *const memory[3])
{
	set_up(table, capacity, owners, timeout, seed);
	table->buckets = memory[0];
	table->entries = memory[1];
	table->owners = memory[2];
	table->placed = true;
}

int flow_table_init(struct flow_table *table, uint32_t capacity, uint32_t owners, uint32_t timeout, uint64_t seed)
{
	uint32_t buckets = buckets_of(capacity);
	set_up(table, capacity, owners, timeout, seed);
	table->buckets = table_memory((size_t)buckets * sizeof(struct flow_bucket), 1);
	table->entries = table_memory((size_t)buckets * 8 * sizeof(struct flow_entry), 1);
	table->owners = calloc(owners, sizeof *table->owners);
	if (table->buckets == NULL || table->entries == NULL || table->owners == NULL) {
		flow_table_free(table);
		return -ENOMEM;
	}
	return 0;
}

void flow_table_free(struct flow_table *table)
{
	if (!table->placed) {
		table_free(table->buckets, ((size_t)table->mask + 1) * sizeof(struct flow_bucket), 1);
		table_free(table->entries, ((size_t)table->mask + 1) * 8 * sizeof(struct flow_entry), 1);
		free(table->owners);
	}
	memset(table, 0, sizeof *table);
}

/* Milliseconds since its last packet in either direction. */
static uint32_t idle_of(const struct flow_table *table, const struct flow_entry *entry)
{
	uint32_t idle = table->now - entry->last;
	if (entry->peer != FLOW_NONE) {
		uint32_t other = table->now - table->entries[entry->peer].last;
		idle = other < idle ? other : idle;
	}
	return idle;
}

bool flow_live(const struct flow_table *table, const struct flow_entry *entry)
{
	return idle_of(table, entry) <= table->limits[entry->state];
}

static uint16_t *tag_at(struct flow_table *table, uint32_t index)
{
	return &table->buckets[index / 8].tags[index % 8];
}

/* Who has fetched the entry ahead asks for nothing but its key. */
static void forget(struct flow_table *table, uint32_t index)
{
	*tag_at(table, index) = 0;
	table->entries[index].context = FLOW_NO_CONTEXT;
}

void flow_end(struct flow_table *table, uint32_t index, unsigned reason)
{
	struct flow_entry *original = flow_original(table, &table->entries[index]);
	if (table->ended != NULL)
		table->ended(table->context, original, reason);
	if (--table->owners[original->owner] == 0)
		table->owners_used--;
	table->count--;
	if (original->peer != FLOW_NONE)
		forget(table, original->peer);
	forget(table, flow_place(table, original));
}

static unsigned end_reason(const struct flow_entry *entry)
{
	return (entry->bits & FLOW_CLOSING) != 0 ? FERRITE_FLOW_CLOSED : FERRITE_FLOW_EXPIRED;
}

static uint32_t owner_of(struct flow_table *table, uint32_t index)
{
	return flow_original(table, &table->entries[index])->owner;
}

/* Who of the sixteen has to go; FLOW_NONE: nobody may. `keep`: the other entry of the flow that is being made. */
static uint32_t victim_of(struct flow_table *table, const uint32_t at[2], uint32_t keep, uint32_t owner)
{
	uint32_t share = (table->mask + 1) * 4 / (table->owners_used + (table->owners[owner] == 0));
	uint32_t victim = FLOW_NONE, oldest = 0;
	bool brief = false;
	for (unsigned i = 0; i < 16; i++) {
		uint32_t index = at[i / 8] * 8 + i % 8;
		const struct flow_entry *entry = &table->entries[index];
		if (index == keep || *tag_at(table, index) == 0)
			continue;
		if (!flow_live(table, entry))
			return index;
		if (table->owners[owner_of(table, index)] <= share)
			continue;
		bool candidate = entry->state != FLOW_ESTABLISHED;
		uint32_t idle = idle_of(table, entry);
		if (victim == FLOW_NONE || (candidate && !brief) || (candidate == brief && idle > oldest)) {
			victim = index;
			oldest = idle;
			brief = candidate;
		}
	}
	return victim;
}

static unsigned free_slots(uint32_t mask)
{
	return (unsigned)__builtin_popcount(mask) / 2;
}

static uint32_t slot_for(struct flow_table *table, uint64_t hash, uint32_t keep, uint32_t owner)
{
	uint32_t at[2] = { flow_primary(table, hash), flow_secondary(table, hash) };
	uint32_t empty[2] = { tags_match(table->buckets[at[0]].tags, 0), tags_match(table->buckets[at[1]].tags, 0) };
	/* The primary one, where a lookup ends sooner, unless it fills up and the other is clearly emptier. */
	unsigned choice = free_slots(empty[0]) <= 1 && free_slots(empty[1]) > free_slots(empty[0]) + 1;
	if (empty[choice] != 0)
		return at[choice] * 8 + tags_first(empty[choice]);
	if (empty[choice ^ 1] != 0)
		return at[choice ^ 1] * 8 + tags_first(empty[choice ^ 1]);
	uint32_t victim = victim_of(table, at, keep, owner);
	if (victim == FLOW_NONE)
		return FLOW_NONE;
	if (flow_live(table, &table->entries[victim])) {
		table->evicted++;
		flow_end(table, victim, FERRITE_FLOW_EVICTED);
	} else {
		table->expired++;
		flow_end(table, victim, end_reason(&table->entries[victim]));
	}
	return victim;
}

static struct flow_entry *place(struct flow_table *table, uint32_t index, const struct flow_key *key)
{
	struct flow_entry *entry = &table->entries[index];
	memset(entry, 0, sizeof *entry);
	entry->context = key->context;
	entry->ports = key->ports;
	memcpy(entry->addresses, key->addresses, 32);
	entry->peer = FLOW_NONE;
	entry->last = table->now;
	*tag_at(table, index) = flow_tag(key->hash);
	return entry;
}

uint32_t flow_begin(struct flow_table *table, const struct flow_key *original, const struct flow_key *reply, uint32_t owner)
{
	uint32_t first = slot_for(table, original->hash, FLOW_NONE, owner), second = FLOW_NONE;
	if (first == FLOW_NONE) {
		table->refused++;
		return FLOW_NONE;
	}
	struct flow_entry *entry = place(table, first, original);
	entry->owner = owner;
	if (reply != NULL) {
		second = slot_for(table, reply->hash, first, owner);
		if (second == FLOW_NONE) {
			forget(table, first);
			table->refused++;
			return FLOW_NONE;
		}
		struct flow_entry *peer = place(table, second, reply);
		peer->peer = first;
		peer->bits = FLOW_REPLY;
		entry->peer = second;
	}
	entry->began = table->now;
	if (table->owners[owner]++ == 0)
		table->owners_used++;
	table->count++;
	table->inserted++;
	return first;
}

void flow_show(struct flow_table *table, struct flow_entry *entry, uint8_t flags)
{
	struct flow_entry *peer = flow_peer(table, entry);
	entry->shown |= flags;
	uint8_t state = FLOW_BRIEF, either = entry->shown | (peer != NULL ? peer->shown : 0);
	bool closing = (either & (TCP_FIN | TCP_RST)) != 0;
	if (closing)
		state = FLOW_BRIEF;
	else if (peer == NULL)
		state = (flags & (TCP_ACK | TCP_SYN)) == TCP_ACK ? FLOW_ESTABLISHED : entry->state;
	else if ((entry->shown & peer->shown & TCP_ACK) != 0)
		state = FLOW_ESTABLISHED;
	entry->state = state;
	entry->bits |= closing ? FLOW_CLOSING : 0;
	if (peer != NULL) {
		peer->state = state;
		peer->bits |= closing ? FLOW_CLOSING : 0;
	}
}

void flow_sweep(struct flow_table *table, uint32_t buckets)
{
	for (uint32_t i = 0; i < buckets; i++) {
		uint32_t at = table->sweep_at++ & table->mask;
		const struct flow_bucket *bucket = &table->buckets[at];
		if ((raw64(bucket->tags) | raw64(bucket->tags + 4)) == 0)
			continue;
		for (unsigned slot = 0; slot < 8; slot++) {
			uint32_t index = at * 8 + slot;
			if (bucket->tags[slot] != 0 && !flow_live(table, &table->entries[index])) {
				table->expired++;
				flow_end(table, index, end_reason(&table->entries[index]));
			}
		}
	}
}

void flow_purge(struct flow_table *table, uint32_t first, uint32_t buckets,
		bool (*which)(const void *argument, const struct flow_entry *entry), const void *argument, unsigned reason)
{
	for (uint32_t i = first; i < first + buckets && i <= table->mask; i++)
		for (unsigned slot = 0; slot < 8; slot++)
			if (table->buckets[i].tags[slot] != 0 && which(argument, &table->entries[(size_t)i * 8 + slot]))
				flow_end(table, i * 8 + slot, reason);
}
