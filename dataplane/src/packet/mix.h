/* The keyed hash of all tables: multiply and fold, a few cycles for a 16-byte key.
 *
 * The seed is drawn once per process, so a guest cannot aim at a bucket.
 */
#ifndef FERRITE_PACKET_MIX_H
#define FERRITE_PACKET_MIX_H

#include <stdint.h>

__extension__ typedef unsigned __int128 ferrite_wide;

static inline uint64_t mix(uint64_t a, uint64_t b)
{
	ferrite_wide product = (ferrite_wide)(a ^ 0xa0761d6478bd642fULL) * (b ^ 0xe7037ed1a0b428dbULL);
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

#endif
