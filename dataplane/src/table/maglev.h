/* Maglev hashing (Eisenbud et al., NSDI 2016): which member of a set takes the n-th of `m` slots.
 *
 * Each member walks the slots in an order of its own, and in turns each takes its next free one until all are taken:
 * shares are even, and a member that comes or goes moves little but its own slots. The table is a function of the
 * members alone (sorted by address), so every host that has them has the same one. Shares of equal members differ by one
 * slot at the most. When one of n leaves, its 1/n of the slots moves, and of all slots some 0.5 to 5 % more (the most
 * where M is a small multiple of n; tests hold it under 6 %).
 *
 * Weights: a round has W steps, W the largest weight, and after s steps of it a member has taken ceil(s * weight / W)
 * turns. Weights of 1 are plain turns; and since turns are spread over the round, a round that the last slot cuts short
 * is as fair as a whole one, and everyone has a turn in the first step: no member is without a slot as long as there
 * are no more members than slots.
 *
 * Pure; the scratch is on the stack (4 bytes a member).
 */
#ifndef FERRITE_TABLE_MAGLEV_H
#define FERRITE_TABLE_MAGLEV_H

#include <stdint.h>

enum {
	MAGLEV_SMALL = 1021,  /* up to 64 members; hop sets always */
	MAGLEV_MEDIUM = 4093, /* up to 256 */
	MAGLEV_LARGE = 16381, /* up to MAGLEV_MEMBERS */
	MAGLEV_MEMBERS = 1024,
	MAGLEV_OFFSET_SEED = 0x5bd1e995,
};
#define MAGLEV_SKIP_SEED 0x9747b28cu

/* `m`: a prime of the three above; `members` sorted, 1 to MAGLEV_MEMBERS of them; `weights`: NULL is 1 each, 0 is
 * taken as 1. Slots are numbers of members. */
void maglev_build(uint16_t *slots, uint32_t m, const uint8_t (*members)[16], const uint16_t *weights, unsigned count);

static inline uint32_t maglev_size(unsigned count)
{
	return count <= 64 ? MAGLEV_SMALL : count <= 256 ? MAGLEV_MEDIUM : MAGLEV_LARGE;
}

#endif
