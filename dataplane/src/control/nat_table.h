/* Which ports of which NAT addresses are whose: ranges of interfaces here and of neighbours, that never overlap.
 *
 * One group per (VNI, address); its ranges are sorted, so a port, a range or an overlap is found in O(log n) of that
 * address. Groups live in an array with a free list, in the order in which they were made as far as places allow.
 */
#ifndef FERRITE_CONTROL_NAT_TABLE_H
#define FERRITE_CONTROL_NAT_TABLE_H

#include "key_table.h"

struct control_nat_range {
	uint32_t min, max; /* [min, max) */
	bool local;        /* of an interface of this host; else a neighbour's */
	ferrite_ipv6 underlay; /* of a neighbour */
};

struct control_nat_group {
	uint32_t vni;
	ferrite_ipv4 ip;
	struct control_nat_range *ranges;
	uint32_t count, capacity;
	bool used;
	uint32_t next_free;
};

struct control_nat_table {
	struct control_nat_group *groups;
	uint32_t capacity, used, free;
	struct control_key_table by_address;
};

void control_nat_table_open(struct control_nat_table *table, uint64_t seed);
void control_nat_table_close(struct control_nat_table *table);

/* Exactly this one, or NULL; valid until the next insertion. */
struct control_nat_range *control_nat_range_find(const struct control_nat_table *table, uint32_t vni,
						 const ferrite_ipv4 *ip, uint32_t min, uint32_t max);
/* Whether any but `except` (NULL: none is excepted) has a port of [min, max). */
bool control_nat_overlaps(const struct control_nat_table *table, uint32_t vni, const ferrite_ipv4 *ip, uint32_t min,
			  uint32_t max, const struct control_nat_range *except);
/* Makes the next insertion for this address certain. False: no memory. */
bool control_nat_range_reserve(struct control_nat_table *table, uint32_t vni, const ferrite_ipv4 *ip);
/* Reserved and without overlap. */
void control_nat_range_insert(struct control_nat_table *table, uint32_t vni, const ferrite_ipv4 *ip,
			      const struct control_nat_range *range);
void control_nat_range_erase(struct control_nat_table *table, uint32_t vni, const ferrite_ipv4 *ip, uint32_t min,
			     uint32_t max);
/* After the range of an entry was changed in its place. */
void control_nat_range_sort(struct control_nat_table *table, uint32_t vni, const ferrite_ipv4 *ip);
/* Takes back a reservation that nothing came of. */
void control_nat_range_abandon(struct control_nat_table *table, uint32_t vni, const ferrite_ipv4 *ip);

#endif
