/* Flows: what was decided for a tuple that came from somewhere, found again in one lookup.
 *
 * A set-associative table: buckets of eight 16-bit tags (16 bytes), two buckets to choose from per key, and one entry of
 * 128 bytes per tag at a fixed place, so that a lookup touches one bucket and one or two lines of one entry, all of which
 * can be fetched ahead. Both directions of a connection are entries of their own, linked by `peer`; what belongs to the
 * connection as a whole (owner, mapping, rule, times) stands in the original one. The first line is all that an IPv4
 * packet needs to be found, judged, translated, sent and counted; IPv6 has the rest of its addresses in the second.
 *
 * An entry holds a finished decision and the epoch under which it was made; see stage/refresh.c. Nothing in here
 * knows what a decision means: who ends a flow (NAT mappings, events) is told by `ended`.
 *
 * Default 2^20 entries, two a flow: 128 MB of entries and 2 MB of buckets, resident as far as touched.
 */
#ifndef FERRITE_TABLE_FLOW_H
#define FERRITE_TABLE_FLOW_H

#include <stdbool.h>
#include <stddef.h>

#include "packet/headers.h"
#include "packet/mix.h"
#include "packet/translate.h"
#include "table/tags.h"

enum {
	FLOW_CAPACITY = 1 << 20, /* entries */
	FLOW_TIMEOUT_SECONDS = 30,
	FLOW_BOTH_TIMES = 6, /* as long as T lives what was seen in both directions */
	FLOW_ESTABLISHED_SECONDS = 86400,
	FLOW_SWEEP_MS = 2000, /* within which the whole table is looked at */

	/* Where a packet came from: `kind` of a context. */
	FLOW_FROM_VM = 0,        /* index: interface */
	FLOW_FROM_INTERFACE = 1, /* the underlay, at an interface's address, a prefix's or the VIP of it; index: interface */
	FLOW_FROM_NAT = 3,       /* index: of the group of its (VNI, address) */
	FLOW_FROM_BALANCER = 4,  /* index: load balancer */
	FLOW_FROM_SERVICE = 5,   /* index: virtual service */
	FLOW_FROM_EDGE = 6,
	FLOW_FROM_NOWHERE = 7,   /* no reply direction */

	/* What is done, and what `target` says. */
	FLOW_ROUTE = 1,   /* encapsulation; index of the route entry, whose next hop it takes */
	FLOW_HOP = 2,     /* encapsulation; the next hop is `hop` */
	FLOW_DELIVER = 3, /* interface index */
	FLOW_PLAIN = 4,   /* by the uplink without encapsulation: to a virtual service */
	FLOW_NEAR = 5,    /* on to an endpoint of this host, as if it had arrived there; its address is `hop` */

	/* Translation. */
	FLOW_REWRITE = 1, /* IPv4, by `rewrite` */
	FLOW_TO4 = 2,     /* NAT64, by `rewrite` */
	FLOW_TO6 = 3,     /* its replies, by the peer's key */
	FLOW_SERVE = 4,   /* virtual service, IPv4 to IPv6 */
	FLOW_SERVED = 5,  /* its replies */

	/* Bits. */
	FLOW_REPLY = 1,        /* the other direction is the original one */
	FLOW_PUBLIC = 2,       /* leaves by a route of length 0 */
	FLOW_BALANCED = 4,     /* `balancer` says by which */
	FLOW_BY_NAT = 8,       /* the source is translated by the sender's NAT */
	FLOW_BY_VIP = 16,      /* or its VIP */
	FLOW_TO_VIP = 32,      /* the destination was the VIP of the interface that it is delivered to */
	FLOW_CLOSING = 64,     /* a FIN or RST was shown by either side */

	/* Timeouts, by `state`. */
	FLOW_BRIEF = 0, FLOW_BOTH = 1, FLOW_ESTABLISHED = 2, FLOW_STATES = 3,

	TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16,
	TCP_SHOWN = TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK,
};
#define FLOW_NONE UINT32_MAX
#define FLOW_NO_CONTEXT UINT32_MAX /* no packet's: of an entry that ended */

struct flow_bucket {
	uint16_t tags[8]; /* 0: empty */
} __attribute__((aligned(16)));

struct flow_entry {
	uint32_t context;
	uint32_t ports;
	uint32_t epoch;
	uint32_t last;         /* of this direction, milliseconds of flow_table.now */
	uint8_t target[4];     /* a number, or see `hop` */
	uint32_t source;       /* endpoint whose address is the outer source */
	uint64_t bytes;
	uint32_t packets_low;  /* flow_packets */
	uint8_t action;
	uint8_t translate;
	uint8_t bits;
	uint8_t shown;         /* TCP flags, of this direction; ICMP: type of the first packet */
	uint8_t state;         /* the same in both directions */
	uint8_t icmp_code;     /* of the first packet */
	struct rewrite rewrite;
	uint8_t addresses[32]; /* IPv4: source in [0..3], destination in [4..7], the rest zero and in the second line */
	uint32_t peer;         /* FLOW_NONE: no reply direction */
	/* Of the original direction. */
	uint32_t owner;        /* who is charged */
	uint32_t mapping;      /* NAT's; 0: none, or shared */
	uint32_t rule;         /* tag of the rule that let it pass */
	uint32_t began;
	uint16_t balancer;
	uint16_t packets_high;
	uint8_t hop[16];       /* FLOW_HOP, FLOW_NEAR */
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct flow_entry) == 128, "two cache lines");
_Static_assert(offsetof(struct flow_entry, addresses) == 56, "IPv4 addresses are in the first line");

/* What is looked up. */
struct flow_key {
	uint64_t hash;
	uint32_t context;
	uint32_t ports;
	uint8_t addresses[32];
};

struct flow_table {
	struct flow_bucket *buckets;
	struct flow_entry *entries;
	uint32_t mask;              /* of buckets */
	uint32_t now;               /* milliseconds; of 49 days the last */
	uint32_t limits[FLOW_STATES];
	uint64_t seed;
	/* Called for the original direction before both go. */
	void (*ended)(void *context, struct flow_entry *original, unsigned reason);
	void *context;
	uint32_t *owners;           /* flows of each, [owner_count] */
	uint32_t owner_count;
	uint32_t owners_used;       /* with a flow or more */
	uint64_t count;             /* flows */
	uint64_t inserted, evicted, refused, expired;
	uint32_t sweep_at;
	bool placed;                /* its memory is somebody else's */
};

/* Bytes of buckets, entries and owners, for who brings the memory. */
void flow_table_sizes(uint32_t capacity, uint32_t owners, size_t sizes[3]);
/* On memory that may hold flows already; they count once the caller says how many there are. */
void flow_table_place(struct flow_table *table, uint32_t capacity, uint32_t owners, uint32_t timeout, uint64_t seed,
		      void *const memory[3]);
/* `timeout`: T. */
int flow_table_init(struct flow_table *table, uint32_t capacity, uint32_t owners, uint32_t timeout, uint64_t seed);
void flow_table_free(struct flow_table *table);

/* Makes both entries of a flow; `reply` NULL: there is none. The original's index, or FLOW_NONE: the table is full. */
uint32_t flow_begin(struct flow_table *table, const struct flow_key *original, const struct flow_key *reply, uint32_t owner);
/* Ends the flow with this entry, of either direction. */
void flow_end(struct flow_table *table, uint32_t index, unsigned reason);
/* Not expired. */
bool flow_live(const struct flow_table *table, const struct flow_entry *entry);
/* A direction showed flags that it had not: the state of both is made anew. */
void flow_show(struct flow_table *table, struct flow_entry *entry, uint8_t flags);
/* Ends what expired in the next `buckets`. */
void flow_sweep(struct flow_table *table, uint32_t buckets);
/* Ends the flows of which `which` says so, in `buckets` from `first`. */
void flow_purge(struct flow_table *table, uint32_t first, uint32_t buckets,
		bool (*which)(const void *argument, const struct flow_entry *entry), const void *argument, unsigned reason);

/* For any thread: how many there are about now. */
static inline uint64_t flow_count(const struct flow_table *table)
{
	return __atomic_load_n(&table->count, __ATOMIC_RELAXED);
}

static inline uint32_t flow_context(unsigned kind, uint32_t index, uint8_t family, uint8_t protocol)
{
	return (family == 6 ? 1u << 31 : 0) | kind << 28 | index << 8 | protocol;
}

static inline unsigned flow_kind(uint32_t context)
{
	return context >> 28 & 7;
}

static inline uint32_t flow_index(uint32_t context)
{
	return context >> 8 & 0xfffff;
}

static inline bool flow_wide(uint32_t context)
{
	return context >> 31;
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

static inline void flow_key_of(struct flow_key *key, uint64_t seed, uint32_t context, const struct tuple *tuple)
{
	key->context = context;
	key->ports = tuple->ports;
	memset(key->addresses, 0, 32);
	memcpy(key->addresses, tuple->addresses, tuple->family == 6 ? 32 : 8);
	key->hash = tuple->family == 6 ? flow_hash6(seed, context, tuple->ports, tuple->addresses) :
					 flow_hash4(seed, context, tuple->ports, tuple->addresses);
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

static inline uint32_t flow_place(const struct flow_table *table, const struct flow_entry *entry)
{
	return (uint32_t)(entry - table->entries);
}

/* The first entry with the hash's tag in its primary bucket, which should be here; where there is none, the one that a
 * new flow would probably take. */
static inline struct flow_entry *flow_candidate(const struct flow_table *table, uint64_t hash)
{
	uint32_t bucket = flow_primary(table, hash);
	uint32_t mask = tags_match(table->buckets[bucket].tags, flow_tag(hash));
	if (__builtin_expect(mask == 0, 0)) {
		mask = tags_match(table->buckets[bucket].tags, 0) | 1u << 15;
		__builtin_prefetch(&table->buckets[flow_secondary(table, hash)]);
		__builtin_prefetch((const char *)&table->entries[(size_t)bucket * 8 + tags_first(mask)] + 64);
	}
	return &table->entries[(size_t)bucket * 8 + tags_first(mask)];
}

/* Fetches it. */
static inline void flow_prefetch(const struct flow_entry *entry, bool wide)
{
	__builtin_prefetch(entry, 1);
	if (wide)
		__builtin_prefetch((const char *)entry + 64);
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

/* NULL: not there. `addresses`: 8 or, with `wide`, 32 bytes as in the packet. It may have expired. */
static inline struct flow_entry *flow_find(const struct flow_table *table, uint64_t hash, uint32_t context, uint32_t ports,
					   const uint8_t *addresses, bool wide)
{
	uint32_t at = flow_primary(table, hash);
	for (unsigned choice = 0; choice < 2; choice++) {
		const struct flow_bucket *bucket = &table->buckets[at];
		for (uint32_t mask = tags_match(bucket->tags, flow_tag(hash)); mask != 0; mask = tags_next(mask)) {
			struct flow_entry *entry = &table->entries[(size_t)at * 8 + tags_first(mask)];
			if (__builtin_expect(flow_equal(entry, context, ports, addresses, wide), 1))
				return entry;
		}
		at = flow_secondary(table, hash);
	}
	return NULL;
}

static inline struct flow_entry *flow_find_key(const struct flow_table *table, const struct flow_key *key)
{
	return flow_find(table, key->hash, key->context, key->ports, key->addresses, flow_wide(key->context));
}

static inline struct flow_entry *flow_peer(const struct flow_table *table, const struct flow_entry *entry)
{
	return entry->peer == FLOW_NONE ? NULL : &table->entries[entry->peer];
}

static inline struct flow_entry *flow_original(const struct flow_table *table, struct flow_entry *entry)
{
	return (entry->bits & FLOW_REPLY) != 0 ? &table->entries[entry->peer] : entry;
}

static inline uint64_t flow_packets(const struct flow_entry *entry)
{
	return (uint64_t)entry->packets_high << 32 | entry->packets_low;
}

static inline void flow_aim(struct flow_entry *entry, const uint8_t target[16])
{
	memcpy(entry->target, target, 4);
	memcpy(entry->hop, target, 16);
}

/* The flags that a packet shows, as directions remember them. */
static inline uint8_t flow_flags(uint8_t tcp_flags)
{
	return (tcp_flags & TCP_RST) != 0 ? tcp_flags & (TCP_SHOWN & ~TCP_ACK) : tcp_flags & TCP_SHOWN;
}

/* The tuple that an entry is found by. */
static inline void flow_tuple(const struct flow_entry *entry, struct tuple *tuple)
{
	memset(tuple, 0, sizeof *tuple);
	tuple->family = flow_wide(entry->context) ? 6 : 4;
	tuple->protocol = (uint8_t)entry->context;
	tuple->icmp = tuple->protocol == PROTOCOL_ICMP || tuple->protocol == PROTOCOL_ICMPV6 ?
		(entry->ports != 0 ? ICMP_ECHO : ICMP_OTHER) : ICMP_NONE;
	tuple->ports = entry->ports;
	memcpy(tuple->addresses, entry->addresses, 32);
}

#endif
