/* A token bucket: so many units a second, and at once no more than `burst`.
 *
 * Integer only. The level is kept in thousandths of a unit, and what a millisecond adds to it is then exactly
 * `units_per_second`: nothing is rounded, so nothing drifts, and under a virtual clock the same calls have the same
 * answers. A bucket starts full. Time that goes back adds nothing.
 *
 * 32 bytes, all zero is "no limit". One owner: who takes also sets; another thread that changes a rate tells the owner.
 */
#ifndef FERRITE_TABLE_RATE_H
#define FERRITE_TABLE_RATE_H

#include <stdbool.h>
#include <stdint.h>

#define RATE_UNITS_LIMIT (1ULL << 53) /* of a burst, and of a rate: larger ones are taken as this */

/* Cardinality: a few per interface. */
struct rate {
	uint64_t units_per_second; /* 0: no limit */
	uint64_t full;             /* the burst, in thousandths */
	uint64_t level;            /* in thousandths, at `at_ms` */
	uint64_t at_ms;
};
_Static_assert(sizeof(struct rate) == 32, "half a cache line");

/* The same numbers again change nothing; others begin with a full bucket. A burst of 0 lets nothing pass. */
void rate_set(struct rate *rate, uint64_t units_per_second, uint64_t burst);

/* Of interfaces: Mbit/s of IP bytes, a bucket of 50 ms but at least 128 KiB. */
void rate_set_megabits(struct rate *rate, uint64_t megabits);

static inline void rate_fill(struct rate *rate, uint64_t now_ms)
{
	if (now_ms <= rate->at_ms)
		return;
	uint64_t passed = now_ms - rate->at_ms, missing = rate->full - rate->level;
	rate->at_ms = now_ms;
	if (passed > missing / rate->units_per_second)
		rate->level = rate->full;
	else
		rate->level += passed * rate->units_per_second;
}

/* False: not so many now; nothing was taken. */
static inline bool rate_take(struct rate *rate, uint64_t now_ms, uint64_t units)
{
	if (rate->units_per_second == 0)
		return true;
	rate_fill(rate, now_ms);
	if (units > rate->level / 1000)
		return false;
	rate->level -= units * 1000;
	return true;
}

#endif
