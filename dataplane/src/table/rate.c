#include "table/rate.h"

enum {
	BURST_MILLISECONDS = 50,
	BURST_LEAST = 128 << 10, /* two super-packets */
	BYTES_PER_MEGABIT = 125000,
};

void rate_set(struct rate *rate, uint64_t units_per_second, uint64_t burst)
{
	units_per_second = units_per_second < RATE_UNITS_LIMIT ? units_per_second : RATE_UNITS_LIMIT;
	burst = burst < RATE_UNITS_LIMIT ? burst : RATE_UNITS_LIMIT;
	if (rate->units_per_second == units_per_second && rate->full == burst * 1000)
		return;
	rate->units_per_second = units_per_second;
	rate->full = burst * 1000;
	rate->level = rate->full;
}

void rate_set_megabits(struct rate *rate, uint64_t megabits)
{
	uint64_t most = RATE_UNITS_LIMIT / BYTES_PER_MEGABIT;
	uint64_t bytes = (megabits < most ? megabits : most) * BYTES_PER_MEGABIT;
	uint64_t burst = bytes / (1000 / BURST_MILLISECONDS);
	rate_set(rate, bytes, burst > BURST_LEAST ? burst : BURST_LEAST);
}
