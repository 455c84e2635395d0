/* What the control layer knows of every route: which prefixes of a VNI are taken, by whom, and where they lead.
 *
 * The engine holds the same routes in the form that packets want; this table answers for the status codes, for
 * the digest and for the removal of a VNI. One per dataplane. Records are 72 bytes in one array that doubles up to
 * FERRITE_MAX_ROUTES (plus the local routes of interfaces and their prefixes); an index finds them by key and a list
 * threads those of one VNI.
 */
#ifndef FERRITE_CONTROL_ROUTE_TABLE_H
#define FERRITE_CONTROL_ROUTE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "control.h"
#include "hash_index.h"

enum {
	/* Non-local routes, the primary addresses of all interfaces and their alias prefixes. */
	CONTROL_MAX_ROUTE_RECORDS = FERRITE_MAX_ROUTES + 2 * FERRITE_MAX_INTERFACES + FERRITE_MAX_ENDPOINTS,
};

struct control_route_record {
	struct ferrite_route_key key;
	ferrite_ipv6 next_hop;
	uint32_t next_hop_vni;
	uint32_t owner;             /* of an alias prefix: the port of its interface; else CONTROL_INDEX_NONE */
	struct ferrite_hop *hops;   /* of its own; NULL: `next_hop` is all */
	uint8_t hop_count;
	bool local;
	uint32_t next; /* of the same VNI, or CONTROL_INDEX_NONE; of the free list when free */
	uint32_t previous;
};

struct control_vni_record {
	uint32_t vni;
	uint32_t references; /* interfaces and load balancers in it; 0: free */
	uint32_t first_route;
};

struct control_route_table {
	uint64_t seed;
	struct control_route_record *records;
	uint32_t capacity, used, free, count;
	struct control_index by_key;
	struct control_vni_record *vnis; /* CONTROL_MAX_VNIS: a VNI is here while something is in it */
	uint32_t vni_used, vni_count, vni_first_free;
	struct control_index by_vni;
};

bool control_route_table_open(struct control_route_table *table, uint64_t seed);
void control_route_table_close(struct control_route_table *table);

/* Makes the next `count` insertions certain. False: no memory, or the bound is reached. */
bool control_route_table_reserve(struct control_route_table *table, uint32_t count);

/* NULL where there is none. A record's address holds until the next reservation. */
struct control_route_record *control_route_find(const struct control_route_table *table,
						const struct ferrite_route_key *key);
/* Its VNI must be here and its place reserved. */
struct control_route_record *control_route_insert(struct control_route_table *table,
						  const struct ferrite_route_key *key);
void control_route_erase(struct control_route_table *table, struct control_route_record *record);

struct control_vni_record *control_vni_find(const struct control_route_table *table, uint32_t vni);
/* Counts one more user in; makes the record with the first. NULL: no memory, or the bound is reached. */
struct control_vni_record *control_vni_acquire(struct control_route_table *table, uint32_t vni);
/* Counts one out. The last takes the record away; its routes must be gone by then. */
void control_vni_release(struct control_route_table *table, struct control_vni_record *record);

#endif
