/* Token buckets under a virtual clock. */
#include <stdlib.h>

#include "control/check.h"
#include "packet/mix.h"
#include "table/rate.h"

static uint64_t state = 1;

static uint32_t chance(uint32_t below)
{
	state = mix(state, 0x1234567);
	return (uint32_t)(state >> 20) % below;
}

static void a_bucket_starts_full_and_gives_no_more_than_its_burst_at_once(void)
{
	struct rate rate = {0};
	rate_set(&rate, 100, 100);
	for (unsigned i = 0; i < 100; i++)
		CHECK(rate_take(&rate, 5000, 1));
	CHECK(!rate_take(&rate, 5000, 1));
	CHECK(!rate_take(&rate, 5009, 1));
	CHECK(rate_take(&rate, 5010, 1));
	CHECK(!rate_take(&rate, 5019, 1));
	CHECK(rate_take(&rate, 5020, 1));
}

static void what_is_refused_takes_nothing(void)
{
	struct rate rate = {0};
	rate_set(&rate, 1000, 10);
	CHECK(!rate_take(&rate, 0, 11));
	CHECK(rate_take(&rate, 0, 10));
	CHECK(!rate_take(&rate, 4, 5));
	CHECK(rate_take(&rate, 5, 5));
}

static void no_rate_is_no_limit_and_no_burst_lets_nothing_pass(void)
{
	struct rate rate = {0};
	CHECK(rate_take(&rate, 1, UINT64_MAX));
	rate_set(&rate, 1000, 0);
	CHECK(!rate_take(&rate, 1u << 30, 1));
	rate_set(&rate, 0, 0);
	CHECK(rate_take(&rate, 1, UINT64_MAX));
}

static void nothing_drifts_however_odd_the_rate_and_the_steps(void)
{
	for (unsigned round = 0; round < 50; round++) {
		struct rate rate = {0};
		uint64_t per_second = 1 + chance(100000), burst = 200 + chance(1000) + per_second;
		uint64_t now = chance(1000), begun = now, taken = 0;
		rate_set(&rate, per_second, burst);
		while (rate_take(&rate, now, 1))
			taken++;
		CHECK_NUMBER(taken, burst);
		while (now < begun + 100000) {
			now += 1 + chance(900); /* less than what fills it */
			while (rate_take(&rate, now, 1 + chance(2)))
				;
			while (rate_take(&rate, now, 1))
				;
		}
		/* All that came was taken but a part of one unit: level says which. */
		CHECK(rate.level < 1000);
		uint64_t last = rate.level;
		rate_fill(&rate, now + 1000);
		CHECK_NUMBER(rate.level - last, per_second * 1000);
	}
}

static void the_units_of_a_long_time_are_exactly_rate_times_time_and_burst(void)
{
	struct rate rate = {0};
	uint64_t now = 0, taken = 0;
	rate_set(&rate, 333, 50);
	while (rate_take(&rate, now, 1))
		taken++;
	for (unsigned i = 0; i < 300000; i++) {
		now += 1 + chance(100);
		while (rate_take(&rate, now, 1))
			taken++;
	}
	CHECK_NUMBER(taken, (50 * 1000 + now * 333) / 1000);
}

static void time_that_goes_back_adds_nothing(void)
{
	struct rate rate = {0};
	rate_set(&rate, 10, 1);
	CHECK(rate_take(&rate, 1000, 1));
	CHECK(!rate_take(&rate, 500, 1));
	CHECK(!rate_take(&rate, 1099, 1));
	CHECK(rate_take(&rate, 1100, 1));
}

static void an_idle_bucket_is_full_and_not_more_after_any_time(void)
{
	struct rate rate = {0};
	rate_set(&rate, RATE_UNITS_LIMIT, RATE_UNITS_LIMIT);
	CHECK(rate_take(&rate, 1, RATE_UNITS_LIMIT));
	CHECK(rate_take(&rate, UINT64_MAX, RATE_UNITS_LIMIT));
	CHECK(!rate_take(&rate, UINT64_MAX, 1));
}

static void the_same_numbers_change_nothing_and_others_begin_full(void)
{
	struct rate rate = {0};
	rate_set(&rate, 10, 5);
	CHECK(rate_take(&rate, 0, 5));
	rate_set(&rate, 10, 5);
	CHECK(!rate_take(&rate, 0, 1));
	rate_set(&rate, 10, 6);
	CHECK(rate_take(&rate, 0, 6));
}

static void an_interface_has_50_milliseconds_but_at_least_128_kibibytes(void)
{
	struct rate rate = {0};
	rate_set_megabits(&rate, 1);
	CHECK_NUMBER(rate.units_per_second, 125000);
	CHECK_NUMBER(rate.full, 131072 * 1000);
	rate_set_megabits(&rate, 10000);
	CHECK_NUMBER(rate.full / 1000, 1250000000ull / 20);
	rate_set_megabits(&rate, 21); /* 2,625,000 / 20 = 131,250 */
	CHECK_NUMBER(rate.full / 1000, 131250);
	rate_set_megabits(&rate, 0);
	CHECK(rate_take(&rate, 0, UINT64_MAX));
	rate_set_megabits(&rate, UINT64_MAX);
	CHECK(rate.units_per_second > 0 && rate.units_per_second <= RATE_UNITS_LIMIT);
}

int main(void)
{
	RUN(a_bucket_starts_full_and_gives_no_more_than_its_burst_at_once);
	RUN(what_is_refused_takes_nothing);
	RUN(no_rate_is_no_limit_and_no_burst_lets_nothing_pass);
	RUN(nothing_drifts_however_odd_the_rate_and_the_steps);
	RUN(the_units_of_a_long_time_are_exactly_rate_times_time_and_burst);
	RUN(time_that_goes_back_adds_nothing);
	RUN(an_idle_bucket_is_full_and_not_more_after_any_time);
	RUN(the_same_numbers_change_nothing_and_others_begin_full);
	RUN(an_interface_has_50_milliseconds_but_at_least_128_kibibytes);
	return CHECK_RESULT();
}
