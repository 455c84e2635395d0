/* Routes of all VNIs: one hash keyed (VNI, family, length, prefix), and per VNI a bitmap of the lengths in use.
 *
 * The control thread writes, workers look up lock-free; an entry that left the table is reused after every worker
 * passed a quiescent state. Each VNI has an epoch, drawn from one counter so that no two VNIs ever share a value:
 * it changes after every change to the VNI's routes, and a flow decided under another epoch is decided anew.
 * Readers take the epoch before they look up. One next hop that takes another's place is the exception: it is written
 * into the entry, and flows, which know the entry, go there with their next packet.
 *
 * Capacity FERRITE_MAX_ROUTES entries of 48 bytes and two buckets of 32 bytes to choose from per key, half full at the
 * most: 56 MB, resident only as far as touched. FERRITE_MAX_VNIS VNIs of about 1 KB.
 */
#ifndef FERRITE_TABLE_ROUTE_H
#define FERRITE_TABLE_ROUTE_H

#include <stdatomic.h>

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include <rte_rcu_qsbr.h>

#include "ferrite/engine.h"
#include "packet/headers.h"
#include "packet/mix.h"
#include "table/balancer.h"

/* ThreadSanitizer takes a vector for a plain access: it is shown the same in words. */
#if defined __AVX2__ && !defined __SANITIZE_THREAD__
#define ROUTE_VECTORS
#endif

enum {
	FERRITE_MAX_VNIS = 65536,
	VNI_LIMIT = 1 << 24,
	VNI_PAGE_BITS = 12,
	ROUTE_BUCKETS = FERRITE_MAX_ROUTES / 4, /* eight slots each: half full at capacity */
	ROUTE_LIMBO = 8192,
	ROUTE_SPARE = 64, /* entries above the capacity, so that a full table can still replace */
};

/* Cardinality: one per VNI with a route or an interface. The first line is for readers. */
struct vni {
	uint32_t epoch;
	uint32_t number;
	uint64_t lengths4;     /* bit n: there is a /n */
	uint64_t lengths6[3];
	/* Control thread only. */
	uint32_t counts4[33];
	uint32_t counts6[129];
	uint32_t routes;       /* of any kind */
	uint32_t interfaces;
	uint32_t first;        /* list of its routes */
} __attribute__((aligned(64)));

/* Several next hops. Immutable, freed with the entry. */
struct route_hops {
	struct balancer_set *set;
	unsigned count;
	struct ferrite_hop hops[];
};

/* The next hop is first: what packets of live flows read lies in one line. */
struct route_entry {
	uint8_t next_hop[16];  /* read and replaced as a whole: route_hop; several: a pointer to them, route_hops_of */
	uint8_t prefix[16];
	uint32_t vni : 24, length : 8;
	union {
		struct { uint32_t next_hop_vni : 24, family : 4, local : 1, several : 1; };
		struct { uint32_t interface : 24; }; /* of a local route, in the place of next_hop_vni */
	};
	/* Control thread only. */
	uint32_t next, previous;
} __attribute__((aligned(16)));
_Static_assert(sizeof(struct route_entry) == 48, "a million are 48 MB");

enum { ROUTE_INDEX_BITS = 21, ROUTE_INDEX = (1 << ROUTE_INDEX_BITS) - 1 };
_Static_assert(FERRITE_MAX_ROUTES + ROUTE_SPARE < ROUTE_INDEX, "an entry's number fits beside its tag");

/* Eight places: the entry's number, and above it the upper bits of its key's hash. 0: free. */
struct route_bucket {
	uint32_t places[8];
} __attribute__((aligned(32)));

struct route_table {
	struct route_bucket *buckets;
	struct route_entry *entries; /* from 1 */
	struct vni ***pages;
	struct rte_rcu_qsbr *rcu;
	uint64_t seed;
	uint32_t free_first;         /* list of free entries, through `next` */
	uint32_t used_high;          /* entries above it were never used */
	uint32_t count;
	uint32_t capacity;           /* FERRITE_MAX_ROUTES; smaller in tests */
	uint32_t epoch;
	uint32_t vnis;
	uint64_t own;                /* the host's prefix: next hops in it are not replaced in place */
	uint32_t limbo_head, limbo_tail;
	struct { uint32_t entry; uint64_t token; } limbo[ROUTE_LIMBO];
};

int route_table_init(struct route_table *table, struct rte_rcu_qsbr *rcu, uint64_t seed, uint32_t capacity);
void route_table_free(struct route_table *table);

/* Control thread. The VNI is made when it is missing; NULL: too many. */
struct vni *vni_take(struct route_table *table, uint32_t number);
/* Frees VNIs without routes and interfaces; waits for workers. */
void vni_sweep(struct route_table *table);
/* Flows of the VNI are decided anew. */
void vni_touch(struct route_table *table, struct vni *vni);

int route_put(struct route_table *table, const struct ferrite_route *route, bool replace);
/* `local`: which kind may go; -EPERM when it is the other. */
int route_remove(struct route_table *table, const struct ferrite_route_key *key, bool local);
unsigned route_clear(struct route_table *table, uint32_t vni);
const struct route_entry *route_find(const struct route_table *table, const struct ferrite_route_key *key);
void route_each(const struct route_table *table, uint32_t vni,
		bool (*visit)(void *context, const struct ferrite_route *route), void *context);

static inline struct vni *vni_find(const struct route_table *table, uint32_t number)
{
	if (number >= VNI_LIMIT)
		return NULL;
	struct vni **page = __atomic_load_n(&table->pages[number >> VNI_PAGE_BITS], __ATOMIC_ACQUIRE);
	return page == NULL ? NULL : __atomic_load_n(&page[number & ((1u << VNI_PAGE_BITS) - 1)], __ATOMIC_ACQUIRE);
}

static inline uint32_t vni_epoch(const struct vni *vni)
{
	return __atomic_load_n(&vni->epoch, __ATOMIC_ACQUIRE);
}

/* Sixteen bytes at once: aligned vector loads and stores are whole on every processor with AVX. */
static inline void route_hop(const struct route_entry *entry, uint8_t hop[16])
{
#ifdef ROUTE_VECTORS
	_mm_storeu_si128((__m128i *)(void *)hop, _mm_load_si128((const __m128i *)(const void *)entry->next_hop));
#else
	for (unsigned i = 0; i < 16; i += 8) {
		uint64_t half = __atomic_load_n((const uint64_t *)(const void *)(entry->next_hop + i), __ATOMIC_RELAXED);
		memcpy(hop + i, &half, 8);
	}
#endif
}

static inline void route_hop_set(struct route_entry *entry, const uint8_t hop[16])
{
#ifdef ROUTE_VECTORS
	_mm_store_si128((__m128i *)(void *)entry->next_hop, _mm_loadu_si128((const __m128i *)(const void *)hop));
#else
	for (unsigned i = 0; i < 16; i += 8)
		__atomic_store_n((uint64_t *)(void *)(entry->next_hop + i), raw64(hop + i), __ATOMIC_RELAXED);
#endif
}

static inline struct route_hops *route_hops_of(const struct route_entry *entry)
{
	struct route_hops *hops = NULL;
	if (entry->several)
		memcpy(&hops, entry->next_hop, sizeof hops);
	return hops;
}

static inline uint64_t route_hash(const struct route_table *table, uint32_t vni, uint8_t family, uint8_t length,
				  uint64_t high, uint64_t low)
{
	uint64_t head = table->seed ^ vni ^ ((uint64_t)length << 32) ^ ((uint64_t)family << 40);
	return mix(mix(head, high), low ^ table->seed);
}

/* Keeps the first `length` bits of 128, as two raw words. */
static inline void prefix_mask(const uint8_t from[16], unsigned length, uint64_t *high, uint64_t *low)
{
	uint64_t h = __builtin_bswap64(raw64(from)), l = __builtin_bswap64(raw64(from + 8));
	if (length <= 64) {
		h = length == 0 ? 0 : h & (~0ULL << (64 - length));
		l = 0;
	} else if (length < 128) {
		l &= ~0ULL << (128 - length);
	}
	*high = __builtin_bswap64(h);
	*low = __builtin_bswap64(l);
}

static inline uint32_t route_tag(uint64_t hash)
{
	return (uint32_t)(hash >> 32) & ~(uint32_t)ROUTE_INDEX;
}

/* A bit for each place with the tag, all of them compared at once. */
static inline uint32_t route_match(const struct route_bucket *bucket, uint32_t tag)
{
#ifdef ROUTE_VECTORS
	__m256i have = _mm256_load_si256((const __m256i *)(const void *)bucket->places);
	__m256i tags = _mm256_and_si256(have, _mm256_set1_epi32((int)~(uint32_t)ROUTE_INDEX));
	return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(tags, _mm256_set1_epi32((int)tag))));
#else
	uint32_t mask = 0;
	for (unsigned i = 0; i < 8; i++)
		mask |= (uint32_t)((__atomic_load_n(&bucket->places[i], __ATOMIC_RELAXED) & ~(uint32_t)ROUTE_INDEX) == tag) << i;
	return mask;
#endif
}

static inline const struct route_entry *route_exact(const struct route_table *table, uint32_t vni, uint8_t family,
						    uint8_t length, uint64_t high, uint64_t low)
{
	uint64_t hash = route_hash(table, vni, family, length, high, low);
	uint32_t at[2] = { (uint32_t)hash & (ROUTE_BUCKETS - 1), (uint32_t)(hash >> 24) & (ROUTE_BUCKETS - 1) };
	for (unsigned choice = 0; choice < 2; choice++) {
		const struct route_bucket *bucket = &table->buckets[at[choice]];
		for (uint32_t mask = route_match(bucket, route_tag(hash)); mask != 0; mask &= mask - 1) {
			uint32_t place = __atomic_load_n(&bucket->places[__builtin_ctz(mask)], __ATOMIC_ACQUIRE);
			const struct route_entry *entry = &table->entries[place & ROUTE_INDEX];
			if (place != 0 && entry->vni == vni && entry->length == length && entry->family == family &&
			    raw64(entry->prefix) == high && raw64(entry->prefix + 8) == low)
				return entry;
		}
	}
	return NULL;
}

/* Longest match. Workers call it for the first packet of a flow. */
static inline const struct route_entry *route_lookup4(const struct route_table *table, const struct vni *vni,
						      const uint8_t address[4])
{
	uint8_t wide[16] = {address[0], address[1], address[2], address[3]};
	uint64_t lengths = __atomic_load_n(&vni->lengths4, __ATOMIC_RELAXED);
	while (lengths != 0) {
		unsigned length = 63 - (unsigned)__builtin_clzll(lengths);
		uint64_t high, low;
		prefix_mask(wide, length, &high, &low);
		const struct route_entry *entry = route_exact(table, vni->number, 4, (uint8_t)length, high, low);
		if (entry != NULL)
			return entry;
		lengths &= ~(1ULL << length);
	}
	return NULL;
}

/* Fetches what a lookup begins with: the buckets of the two longest lengths. */
static inline void route_fetch4(const struct route_table *table, const struct vni *vni, const uint8_t address[4])
{
	uint8_t wide[16] = {address[0], address[1], address[2], address[3]};
	uint64_t lengths = __atomic_load_n(&vni->lengths4, __ATOMIC_RELAXED);
	for (unsigned tries = 0; tries < 2 && lengths != 0; tries++) {
		unsigned length = 63 - (unsigned)__builtin_clzll(lengths);
		uint64_t high, low;
		prefix_mask(wide, length, &high, &low);
		uint64_t hash = route_hash(table, vni->number, 4, (uint8_t)length, high, low);
		__builtin_prefetch(&table->buckets[(uint32_t)hash & (ROUTE_BUCKETS - 1)]);
		__builtin_prefetch(&table->buckets[(uint32_t)(hash >> 24) & (ROUTE_BUCKETS - 1)]);
		lengths &= ~(1ULL << length);
	}
}

static inline const struct route_entry *route_lookup6(const struct route_table *table, const struct vni *vni,
						      const uint8_t address[16])
{
	for (int word = 2; word >= 0; word--) {
		uint64_t lengths = __atomic_load_n(&vni->lengths6[word], __ATOMIC_RELAXED);
		while (lengths != 0) {
			unsigned bit = 63 - (unsigned)__builtin_clzll(lengths);
			unsigned length = (unsigned)word * 64 + bit;
			uint64_t high, low;
			prefix_mask(address, length, &high, &low);
			const struct route_entry *entry =
				route_exact(table, vni->number, 6, (uint8_t)length, high, low);
			if (entry != NULL)
				return entry;
			lengths &= ~(1ULL << bit);
		}
	}
	return NULL;
}

#endif
