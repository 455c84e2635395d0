/* The index against a plain array, under random insertions and removals of few distinct hashes. */
#include <stdlib.h>

#include "check.h"
#include "control/hash_index.h"

enum { KEYS = 600, STEPS = 200000 };

static bool equal(const void *table, uint32_t record, const void *key)
{
	(void)table;
	return record == *(const uint32_t *)key;
}

/* Many collisions, also of whole hashes. */
static uint32_t hash_of(uint32_t key)
{
	return key % 40 * 0x01000193u;
}

static void an_index_finds_what_was_inserted_and_not_removed(void)
{
	struct control_index index = {0};
	bool present[KEYS] = {false};
	uint32_t count = 0;

	srand(3);
	for (int step = 0; step < STEPS; ++step) {
		uint32_t key = (uint32_t)rand() % KEYS;

		if (!present[key]) {
			CHECK(control_index_reserve(&index, count + 1));
			control_index_insert(&index, hash_of(key), key);
			++count;
		} else {
			control_index_remove(&index, hash_of(key), key);
			--count;
		}
		present[key] = !present[key];
		CHECK_NUMBER(index.count, count);
		key = (uint32_t)rand() % KEYS;
		CHECK_NUMBER(control_index_find(&index, hash_of(key), equal, NULL, &key),
			     present[key] ? key : (uint32_t)CONTROL_INDEX_NONE);
	}
	control_index_free(&index);
}

static void an_empty_index_finds_nothing(void)
{
	struct control_index index = {0};
	uint32_t key = 1;

	CHECK_NUMBER(control_index_find(&index, 7, equal, NULL, &key), (uint32_t)CONTROL_INDEX_NONE);
}

static void the_hash_depends_on_every_byte_and_the_seed(void)
{
	char text[32] = {0};
	uint32_t before = control_hash(1, text, sizeof text);

	CHECK(control_hash(2, text, sizeof text) != before);
	CHECK(control_hash(1, text, sizeof text - 1) != before);
	for (size_t i = 0; i < sizeof text; ++i) {
		text[i] = 1;
		CHECK(control_hash(1, text, sizeof text) != before);
		text[i] = 0;
	}
}

int main(void)
{
	RUN(an_empty_index_finds_nothing);
	RUN(an_index_finds_what_was_inserted_and_not_removed);
	RUN(the_hash_depends_on_every_byte_and_the_seed);
	return CHECK_RESULT();
}
