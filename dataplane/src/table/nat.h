/* Ports of NAT addresses in use: (protocol, source address, source port) of an interface to its port outside.
 *
 * Owned by one worker, like the flows that use the mappings: a mapping lives as long as a flow uses it, and all
 * destinations share it. What is free in an address is a bitmap per (address group, protocol) with a second level of
 * "this word is full" above it, so that the next free port upwards is found in a few words however full it is.
 *
 * The order of choices is that of docs/packet-path.md: the mapping that is there; else the first port without a mapping,
 * from a start by hash and around the range; where there is none, or where the reply key with that port is a live
 * flow's, the first port from the same start whose reply key is free, shared and without a mapping. That last search
 * asks `taken` up to once per port of the range: it is the one thing here that is not O(1). It is long only where
 * nearly all ports of a range have flows to one remote address and port.
 *
 * The same table serves virtual services: a service is an address group from NAT_SERVICE_GROUP on, with the range
 * 1024 to 65535.
 *
 * Capacity NAT_MAPPINGS; beyond, a new one is NAT_EXHAUSTED. Memory: 64 bytes a mapping and 4 MB of heads, 8.2 KB per
 * (group, protocol) in use, less for short ranges, all resident only as far as touched: 68 MB of mappings when full, and
 * at most 410 MB of bitmaps if each of 16,384 interfaces had an address of its own and used all of its ports.
 */
#ifndef FERRITE_TABLE_NAT_H
#define FERRITE_TABLE_NAT_H

#include "ferrite/engine.h"
#include "packet/parse.h"

enum {
	NAT_MAPPINGS = 1 << 20,
	NAT_PROTOCOLS = 3, /* TCP, UDP, ICMP echo */
	NAT_SHARE_TRIES = 1024, /* ports that are tried to be shared: a flow's first packet has a bounded cost */
	NAT_GROUPS = 1 << 16,
	NAT_SERVICES = 256,
	NAT_SERVICE_GROUP = NAT_GROUPS, /* first number of a virtual service's group; not counted in nat_used */
	NAT_BITMAPS = FERRITE_MAX_INTERFACES * NAT_PROTOCOLS + NAT_SERVICES,
	NAT_EXHAUSTED = 0,
};
#define NAT_SHARED UINT32_MAX

struct nat_range {
	uint32_t interface, vni;
	uint8_t ip[4];
	uint32_t min, max; /* [min, max), at most 65536 */
	uint32_t address;  /* group number of the (VNI, IP): below NAT_GROUPS, or a service's. May be used for another
			    * address only when nat_group_used is 0 */
};

struct nat_mapping {
	uint8_t source[16];
	uint8_t ip[4];
	uint32_t vni, address, interface;
	uint32_t uses;
	uint32_t next;     /* of the same head, or of the free list */
	uint32_t head;
	uint16_t source_port, port;
	uint8_t family, protocol; /* index */
	uint8_t hidden;    /* no longer found: replaced as it was out of the range; kept for its flows */
	uint8_t spare[13];
};
_Static_assert(sizeof(struct nat_mapping) == 64, "one cache line");

struct nat_bitmap {
	uint64_t words[1024];
	uint64_t full[16]; /* bit n: words[n] has no zero */
	uint32_t count, next;
	uint64_t spare[7];
};

/* Cardinality: one per worker. 200 KB itself: not for the stack. */
struct nat_table {
	struct nat_mapping *mappings; /* from 1 */
	uint32_t *heads;
	struct nat_bitmap *bitmaps;   /* from 1 */
	uint32_t *groups;             /* of [group][protocol]: number of its bitmap; 0: nothing is used */
	uint64_t seed;
	uint32_t capacity;            /* NAT_MAPPINGS; smaller in tests */
	uint32_t count;
	uint32_t free_first, used_high;
	uint32_t bitmap_free, bitmap_high;
	uint32_t used[FERRITE_MAX_INTERFACES][NAT_PROTOCOLS];
	bool placed;                  /* its memory is somebody else's */
};

/* After a crash: what is free, found and counted is made anew from the mappings that flows have. */
void nat_rebuild_begin(struct nat_table *table);
/* A flow of this source has the mapping. False: it cannot have. */
bool nat_rebuild_add(struct nat_table *table, uint32_t mapping, const uint8_t *source, uint16_t source_port);
void nat_rebuild_end(struct nat_table *table);

enum { NAT_PARTS = 4 };
/* Bytes of mappings, heads, bitmaps and groups, for who brings the memory. */
void nat_table_sizes(uint32_t capacity, size_t sizes[NAT_PARTS]);
/* On memory that may hold mappings already; what the rest of the table says of them is the caller's to bring. */
void nat_table_place(struct nat_table *table, uint64_t seed, uint32_t capacity, void *const memory[NAT_PARTS]);

int nat_table_init(struct nat_table *table, uint64_t seed, uint32_t capacity);
void nat_table_free(struct nat_table *table);

/* -1: not TCP, UDP or an echo: not translated. */
static inline int nat_protocol_index(const struct tuple *tuple)
{
	if (tuple->protocol == PROTOCOL_TCP)
		return 0;
	if (tuple->protocol == PROTOCOL_UDP)
		return 1;
	return tuple->icmp == ICMP_ECHO ? 2 : -1;
}

/* The port that a source has or will probably get, from a look that changes nothing. */
uint16_t nat_guess(const struct nat_table *table, const struct nat_range *range, const struct tuple *tuple, uint32_t seed);

/* `taken` (NULL: none is) says whether the reply key with this port is a live flow's. Returns the number of the mapping,
 * with one more use; NAT_SHARED; or NAT_EXHAUSTED, and then `port` is as it was. `seed`: the engine's. The hash of the
 * start is over the tuple as it is: IPv6 sources have 16 bytes, ICMPv6 is protocol 58. */
uint32_t nat_map(struct nat_table *table, const struct nat_range *range, const struct tuple *tuple, uint32_t seed,
		 bool (*taken)(void *context, uint16_t port), void *context, uint16_t *port);
/* One use less; at none the port is free. NAT_SHARED and NAT_EXHAUSTED are no mappings and may be given. */
void nat_unmap(struct nat_table *table, uint32_t mapping);
/* Another flow uses it (one that moves from table to table, say). */
void nat_hold(struct nat_table *table, uint32_t mapping);
/* Is it still one of this interface, address and range? */
bool nat_mapping_in(const struct nat_table *table, uint32_t mapping, const struct nat_range *range);
uint16_t nat_mapping_port(const struct nat_table *table, uint32_t mapping);

/* Mappings of NAT (not of virtual services) of an interface, and of any kind in a group. */
uint32_t nat_used(const struct nat_table *table, uint32_t interface, unsigned protocol_index);
uint32_t nat_group_used(const struct nat_table *table, uint32_t address);

#endif
