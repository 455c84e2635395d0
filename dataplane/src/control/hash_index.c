#include "hash_index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static uint64_t slot_of(uint32_t hash, uint32_t record)
{
	return (uint64_t)hash << 32 | (record + 1);
}

static void place(struct control_index *index, uint64_t slot)
{
	uint32_t at = (uint32_t)(slot >> 32) & index->mask;

	while (index->slots[at] != 0)
		at = (at + 1) & index->mask;
	index->slots[at] = slot;
}

bool control_index_reserve(struct control_index *index, uint32_t count)
{
	struct control_index grown = {.count = index->count};
	uint64_t capacity = index->slots != NULL ? (uint64_t)index->mask + 1 : 16;

	while (capacity * 3 / 4 < count)
		capacity *= 2;
	if (index->slots != NULL && capacity == (uint64_t)index->mask + 1)
		return true;
	grown.slots = calloc(capacity, sizeof *grown.slots);
	if (grown.slots == NULL)
		return false;
	grown.mask = (uint32_t)(capacity - 1);
	if (index->slots != NULL)
		for (uint64_t at = 0; at <= index->mask; ++at)
			if (index->slots[at] != 0)
				place(&grown, index->slots[at]);
	free(index->slots);
	*index = grown;
	return true;
}

void control_index_free(struct control_index *index)
{
	free(index->slots);
	*index = (struct control_index){0};
}

uint32_t control_index_find(const struct control_index *index, uint32_t hash, control_index_equal equal,
			    const void *table, const void *key)
{
	if (index->slots == NULL)
		return CONTROL_INDEX_NONE;
	for (uint32_t at = hash & index->mask; index->slots[at] != 0; at = (at + 1) & index->mask) {
		uint32_t record = (uint32_t)index->slots[at] - 1;

		if ((uint32_t)(index->slots[at] >> 32) == hash && equal(table, record, key))
			return record;
	}
	return CONTROL_INDEX_NONE;
}

void control_index_insert(struct control_index *index, uint32_t hash, uint32_t record)
{
	assert(index->slots != NULL && index->count < index->mask);
	place(index, slot_of(hash, record));
	index->count++;
}

void control_index_remove(struct control_index *index, uint32_t hash, uint32_t record)
{
	uint32_t hole = hash & index->mask;

	while (index->slots[hole] != slot_of(hash, record)) {
		assert(index->slots[hole] != 0);
		hole = (hole + 1) & index->mask;
	}
	for (uint32_t at = (hole + 1) & index->mask; index->slots[at] != 0; at = (at + 1) & index->mask) {
		uint32_t home = (uint32_t)(index->slots[at] >> 32) & index->mask;

		/* It may move into the hole when that does not lie before its home. */
		if (((at - home) & index->mask) >= ((at - hole) & index->mask)) {
			index->slots[hole] = index->slots[at];
			hole = at;
		}
	}
	index->slots[hole] = 0;
	index->count--;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	__extension__ typedef unsigned __int128 wide;
	wide product = (wide)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint32_t control_hash(uint64_t seed, const void *bytes, size_t length)
{
	const unsigned char *at = bytes;
	uint64_t state = seed ^ (length * 0x9e3779b97f4a7c15u);

	while (length > 0) {
		uint64_t word = 0;
		size_t taken = length < sizeof word ? length : sizeof word;

		memcpy(&word, at, taken);
		state = mix(state ^ word, 0xd6e8feb86659fd93u ^ seed);
		at += taken;
		length -= taken;
	}
	state = mix(state ^ seed, 0xa0761d6478bd642fu);
	return (uint32_t)(state ^ state >> 32);
}

void control_random(void *bytes, size_t length)
{
	unsigned char *at = bytes;

	while (length > 0) {
		ssize_t got = getrandom(at, length, 0);

		if (got < 0)
			continue; /* EINTR only: the pool is ready long before a dataplane starts */
		at += got;
		length -= (size_t)got;
	}
}
