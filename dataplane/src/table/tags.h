/* Compares the eight 16-bit tags of a bucket at once. */
#ifndef FERRITE_TABLE_TAGS_H
#define FERRITE_TABLE_TAGS_H

#include <stdint.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Two bits per matching slot: slot = ctz(mask) / 2; clear with `mask & (mask - 1)` twice. */
static inline uint32_t tags_match(const uint16_t tags[8], uint16_t tag)
{
#ifdef __SSE2__
	__m128i have = _mm_load_si128((const __m128i *)(const void *)tags);
	return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi16(have, _mm_set1_epi16((short)tag)));
#else
	uint32_t mask = 0;
	for (unsigned i = 0; i < 8; i++)
		mask |= (tags[i] == tag ? 3u : 0u) << (2 * i);
	return mask;
#endif
}

static inline unsigned tags_first(uint32_t mask)
{
	return (unsigned)__builtin_ctz(mask) / 2;
}

static inline uint32_t tags_next(uint32_t mask)
{
	mask &= mask - 1;
	return mask & (mask - 1);
}

#endif
