/* An index from a hash to a record number, for tables whose records live in arrays of their own.
 *
 * Open addressing with linear probing over 8-byte slots (tag and number), at most three quarters full, removal
 * by shifting back. It grows by doubling and never shrinks. The hash of what clients send is seeded at start,
 * so that nobody can choose colliding keys.
 */
#ifndef FERRITE_CONTROL_HASH_INDEX_H
#define FERRITE_CONTROL_HASH_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONTROL_INDEX_NONE = UINT32_MAX };

struct control_index {
	uint64_t *slots; /* tag << 32 | record + 1; 0: free */
	uint32_t mask;
	uint32_t count;
};

typedef bool (*control_index_equal)(const void *table, uint32_t record, const void *key);

/* Room for `count` entries in all. False: no memory, and nothing changed. */
bool control_index_reserve(struct control_index *index, uint32_t count);
void control_index_free(struct control_index *index);
/* CONTROL_INDEX_NONE where there is none. */
uint32_t control_index_find(const struct control_index *index, uint32_t hash, control_index_equal equal,
			    const void *table, const void *key);
/* There must be room (control_index_reserve). */
void control_index_insert(struct control_index *index, uint32_t hash, uint32_t record);
void control_index_remove(struct control_index *index, uint32_t hash, uint32_t record);

/* Seeded hash of bytes. */
uint32_t control_hash(uint64_t seed, const void *bytes, size_t length);
/* Unpredictable, for seeds and identities. */
void control_random(void *bytes, size_t length);

#endif
