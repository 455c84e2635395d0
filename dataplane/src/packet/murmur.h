/* MurmurHash3 x86 32-bit (Austin Appleby, public domain): the hash of every choice that must be the same everywhere
 * (the model in TypeScript, the other host): which target, which hop, where a search for a port begins.
 *
 * Not for hash tables: those use mix.h, which is faster and keyed.
 */
#ifndef FERRITE_PACKET_MURMUR_H
#define FERRITE_PACKET_MURMUR_H

#include "packet/parse.h"

static inline uint32_t murmur_rotate(uint32_t value, unsigned by)
{
	return value << by | value >> (32 - by);
}

static inline uint32_t murmur_scramble(uint32_t word)
{
	return murmur_rotate(word * 0xcc9e2d51u, 15) * 0x1b873593u;
}

static inline uint32_t murmur_word(uint32_t hash, uint32_t word)
{
	return murmur_rotate(hash ^ murmur_scramble(word), 13) * 5 + 0xe6546b64u;
}

static inline uint32_t murmur_finish(uint32_t hash, uint32_t length)
{
	hash ^= length;
	hash = (hash ^ hash >> 16) * 0x85ebca6bu;
	hash = (hash ^ hash >> 13) * 0xc2b2ae35u;
	return hash ^ hash >> 16;
}

static inline uint32_t murmur3_32(const void *bytes, uint32_t length, uint32_t seed)
{
	const uint8_t *at = bytes;
	uint32_t hash = seed, left = length;
	for (; left >= 4; left -= 4, at += 4)
		hash = murmur_word(hash, raw32(at));
	uint32_t tail = 0;
	switch (left) {
	case 3: tail |= (uint32_t)at[2] << 16; /* fallthrough */
	case 2: tail |= (uint32_t)at[1] << 8;  /* fallthrough */
	case 1: hash ^= murmur_scramble(tail | at[0]);
	}
	return murmur_finish(hash, length);
}

/* Over protocol, source, destination, source port, destination port: which target of a load balancer, which hop. The
 * bytes are not laid down anywhere: the protocol moves each word by one byte, and the last one stands alone. */
static inline uint32_t choice_hash(const struct tuple *tuple, uint32_t seed)
{
	uint32_t size = tuple->family == 4 ? 8 : 32, hash = seed, carry = tuple->protocol, word;
	for (uint32_t i = 0; i < size; i += 4) {
		word = raw32(tuple->addresses + i);
		hash = murmur_word(hash, carry | word << 8);
		carry = word >> 24;
	}
	hash = murmur_word(hash, carry | tuple->ports << 8);
	return murmur_finish(hash ^ murmur_scramble(tuple->ports >> 24), 1 + size + 4);
}

/* Over VNI (big-endian), source address, source port, protocol: where the search for a NAT port begins. */
static inline uint32_t nat_hash(uint32_t vni, const struct tuple *tuple, uint32_t seed)
{
	uint8_t bytes[4 + 16 + 2 + 1];
	uint32_t size = tuple->family == 4 ? 4 : 16;
	store32(bytes, vni);
	memcpy(bytes + 4, tuple->addresses, size);
	memcpy(bytes + 4 + size, &tuple->ports, 2);
	bytes[4 + size + 2] = tuple->protocol;
	return murmur3_32(bytes, 4 + size + 2 + 1, seed);
}

#endif
