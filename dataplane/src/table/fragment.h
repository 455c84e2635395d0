/* The ports of fragmented packets: the first fragment leaves them, later ones take them.
 *
 * Cardinality: one per worker. FRAGMENT_CAPACITY packets, each for FRAGMENT_MS from its first fragment (a lookup at
 * exactly that age still finds it). When the table is full the oldest goes; when an owner (an interface) has
 * FRAGMENT_OWNED the oldest of its own goes. Memory is fixed, 448 KiB, taken at the start; every operation is O(1).
 *
 * A packet is known by `context` (where it came from: a port or an endpoint), addresses, protocol and identification.
 */
#ifndef FERRITE_TABLE_FRAGMENT_H
#define FERRITE_TABLE_FRAGMENT_H

#include "packet/parse.h"

enum {
	FRAGMENT_CAPACITY = 4096,
	FRAGMENT_OWNED = 256,
	FRAGMENT_MS = 30000,
	FRAGMENT_BUCKETS = 2 * FRAGMENT_CAPACITY,
};

struct fragment_memory;

struct fragment_table {
	struct fragment_memory *memory;
	uint64_t seed;
	uint32_t count;
};

/* -ENOMEM where there is none. */
int fragment_table_init(struct fragment_table *table, uint64_t seed);
void fragment_table_free(struct fragment_table *table);

/* Of a first fragment. One that is known already is replaced and is the newest again. */
void fragment_remember(struct fragment_table *table, uint64_t context, const struct tuple *tuple, uint32_t owner,
		       uint64_t now_ms);
/* Of a later fragment: fills tuple->ports. False: its first one is unknown or too long ago. */
bool fragment_find(const struct fragment_table *table, uint64_t context, struct tuple *tuple, uint64_t now_ms);
/* When an interface goes: at most FRAGMENT_OWNED steps. */
void fragment_forget(struct fragment_table *table, uint32_t owner);

#endif
