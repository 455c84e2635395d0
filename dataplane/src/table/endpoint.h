/* Endpoints: whatever of this host has an underlay address of its own, found by the outer destination of a packet.
 *
 * Addresses that we make carry type, index and generation (docs/packet-path.md): an index finds the endpoint and all 16 bytes
 * verify it, so that what was replaced is not hit by old routes. Addresses that a client chose lie in a hash chain.
 * The control thread writes, workers read lock-free; a place is used again after a grace period.
 *
 * Capacity FERRITE_MAX_INTERFACES + FERRITE_MAX_ENDPOINTS: 80 k places of 32 bytes, 24 bytes more for prefixes, and an
 * index of 4 bytes per type: 6 MB when full, resident as far as touched.
 */
#ifndef FERRITE_TABLE_ENDPOINT_H
#define FERRITE_TABLE_ENDPOINT_H

#include <stdbool.h>

#include "ferrite/engine.h"
#include "packet/headers.h"
#include "packet/mix.h"

enum {
	UNDERLAY_MARK = 0xd0,
	UNDERLAY_CHOSEN = 0x80,  /* flags */
	UNDERLAY_SERVICE = 0x40,

	/* Types, which are the kinds of endpoints too. */
	ENDPOINT_NONE = 0,
	ENDPOINT_INTERFACE = 1,
	ENDPOINT_VIP = 2,
	ENDPOINT_NAT = 3,
	ENDPOINT_BALANCER = 4,
	ENDPOINT_BALANCER_PREFIX = 5,
	ENDPOINT_ALIAS_PREFIX = 6,
	ENDPOINT_EDGE = 7,
	ENDPOINT_TYPES = 8,
	UNDERLAY_TYPE_SERVICE = 0xff,

	ENDPOINT_PLACES = FERRITE_MAX_INTERFACES + FERRITE_MAX_ENDPOINTS,
	ENDPOINT_HEADS = 16384,
};

struct endpoint {
	uint8_t underlay[16];
	uint8_t kind;     /* published last, withdrawn first */
	uint8_t spare[3];
	uint32_t owner;   /* interface; load balancer; edge */
	uint32_t detail;  /* NAT: group of its address */
	uint32_t next;    /* of the same chain, or of the free list */
};
_Static_assert(sizeof(struct endpoint) == 32, "half a cache line");

/* Of an alias or load balancer prefix, at its endpoint's place. */
struct endpoint_prefix {
	uint8_t bytes[16];
	uint8_t family, length;
	uint8_t spare[2];
	uint32_t next;    /* of the same interface: alias before load balancer prefixes, long before short */
};

struct endpoint_table {
	struct endpoint *places;   /* from 1 */
	struct endpoint_prefix *prefixes;
	uint32_t *by_index[ENDPOINT_TYPES]; /* place; 0: none */
	uint16_t *generations[ENDPOINT_TYPES];
	uint32_t hints[ENDPOINT_TYPES];
	uint32_t *heads;
	uint8_t prefix[8];
	uint32_t free_first, used_high, count;
	uint32_t wanted;           /* place that the next one gets, when a predecessor's are restored; 0: any */
};

int endpoint_table_init(struct endpoint_table *table, const uint8_t prefix[8], uint64_t seed);
void endpoint_table_free(struct endpoint_table *table);

/* Control. A place with the address that is wanted (NULL or zero: one of ours is made); workers see it after
 * endpoint_publish. 0 with *code -EINVAL: not in the host's prefix, or of another type; -EEXIST: taken; -ENOSPC. */
uint32_t endpoint_take(struct endpoint_table *table, uint8_t kind, uint32_t index, const ferrite_ipv6 *preferred, int *code);
void endpoint_publish(struct endpoint_table *table, uint32_t place, uint8_t kind);
/* Nobody finds it any more. After a grace period: */
void endpoint_withdraw(struct endpoint_table *table, uint32_t place);
/* After places were wanted: those between them are free. */
void endpoint_settle(struct endpoint_table *table);
void endpoint_give(struct endpoint_table *table, uint32_t place);

static inline bool underlay_is_ours(const uint8_t address[16])
{
	return address[8] == UNDERLAY_MARK && address[10] == 0 && address[9] > 0 && address[9] < ENDPOINT_TYPES;
}

static inline uint32_t underlay_index(const uint8_t address[16])
{
	return load32(address + 12) & 0xffffff;
}

static inline uint32_t endpoint_limit(uint8_t kind)
{
	return kind == ENDPOINT_INTERFACE ? FERRITE_MAX_INTERFACES : FERRITE_MAX_ENDPOINTS;
}

static inline uint32_t endpoint_head(const uint8_t address[16])
{
	return (uint32_t)mix(raw64(address), raw64(address + 8)) & (ENDPOINT_HEADS - 1);
}

/* Where the endpoint with this address would be looked for first; to fetch ahead. */
static inline uint32_t endpoint_candidate(const struct endpoint_table *table, const uint8_t address[16])
{
	if (__builtin_expect(underlay_is_ours(address), 1)) {
		uint32_t index = underlay_index(address);
		return index < endpoint_limit(address[9]) ?
			__atomic_load_n(&table->by_index[address[9]][index], __ATOMIC_ACQUIRE) : 0;
	}
	return __atomic_load_n(&table->heads[endpoint_head(address)], __ATOMIC_ACQUIRE);
}

static inline bool endpoint_is(const struct endpoint *endpoint, const uint8_t address[16])
{
	return __atomic_load_n(&endpoint->kind, __ATOMIC_ACQUIRE) != ENDPOINT_NONE && equal16(endpoint->underlay, address);
}

/* The place of the endpoint that has this underlay address; 0: none (any more). */
static inline uint32_t endpoint_find(const struct endpoint_table *table, const uint8_t address[16])
{
	bool ours = underlay_is_ours(address);
	uint32_t place = endpoint_candidate(table, address);
	while (place != 0) {
		const struct endpoint *endpoint = &table->places[place];
		if (endpoint_is(endpoint, address))
			return place;
		place = ours ? 0 : __atomic_load_n(&endpoint->next, __ATOMIC_ACQUIRE);
	}
	return 0;
}

/* The same, where `candidate` is the place that was fetched ahead. */
static inline uint32_t endpoint_find_at(const struct endpoint_table *table, uint32_t candidate, const uint8_t address[16])
{
	return __builtin_expect(candidate != 0 && endpoint_is(&table->places[candidate], address), 1) ?
		candidate : endpoint_find(table, address);
}

/* What stands at a place, read once: it may be withdrawn at any moment, and must then be nothing, never half of it. Without
 * its address. */
static inline struct endpoint endpoint_seen(const struct endpoint_table *table, uint32_t place)
{
	const struct endpoint *endpoint = &table->places[place];
	return (struct endpoint){.kind = __atomic_load_n(&endpoint->kind, __ATOMIC_ACQUIRE), .owner = endpoint->owner,
				 .detail = endpoint->detail};
}

static inline bool prefix_holds(const struct endpoint_prefix *prefix, uint8_t family, const uint8_t *address)
{
	if (prefix->family != family)
		return false;
	unsigned whole = prefix->length / 8, rest = prefix->length % 8;
	return memcmp(prefix->bytes, address, whole) == 0 &&
		(rest == 0 || ((prefix->bytes[whole] ^ address[whole]) & (uint8_t)(0xff00u >> rest)) == 0);
}

#endif
