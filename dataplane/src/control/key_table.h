/* A map from short keys to record numbers: who has an underlay address, a service address, a NAT address.
 *
 * Keys are 24 bytes, zero behind what they say, so that equal keys have equal bytes. Entries live in one array that
 * doubles; an index finds them. What is reserved can be put without failing.
 */
#ifndef FERRITE_CONTROL_KEY_TABLE_H
#define FERRITE_CONTROL_KEY_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "ferrite/engine.h"
#include "hash_index.h"

struct control_key {
	uint8_t bytes[24];
};

struct control_key_entry {
	struct control_key key;
	uint32_t value;
	uint32_t next_free;
};

struct control_key_table {
	uint64_t seed;
	struct control_key_entry *entries;
	uint32_t capacity, used, free, count;
	struct control_index index;
};

void control_key_open(struct control_key_table *table, uint64_t seed);
void control_key_close(struct control_key_table *table);
/* Room for one more. False: no memory. */
bool control_key_reserve(struct control_key_table *table);
/* The key must not be there, and its place reserved. */
void control_key_put(struct control_key_table *table, const struct control_key *key, uint32_t value);
/* CONTROL_INDEX_NONE where there is none. */
uint32_t control_key_find(const struct control_key_table *table, const struct control_key *key);
void control_key_remove(struct control_key_table *table, const struct control_key *key);

struct control_key control_key_of_underlay(const ferrite_ipv6 *address);
/* An IPv4 address has zero behind its first 4 bytes. */
struct control_key control_key_of_address(uint32_t vni, uint8_t family, const uint8_t *bytes);

#endif
