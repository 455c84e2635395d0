/* Maglev tables and the sets that are made of them: fair, the same everywhere, and still when members come and go. */
#include <stdlib.h>

#include "control/check.h"
#include "packet/mix.h"
#include "packet/murmur.h"
#include "table/balancer.h"

static uint64_t state = 1;

static uint32_t chance(uint32_t below)
{
	state = mix(state, 0x1234567);
	return (uint32_t)(state >> 20) % below;
}

static ferrite_ipv6 target(uint32_t number)
{
	ferrite_ipv6 address = {{0xfc, 0, 0, 1}};
	store32(address.bytes + 4, murmur3_32(&number, 4, 1));
	address.bytes[8] = 0xd0;
	store32(address.bytes + 12, number);
	return address;
}

static void fill(ferrite_ipv6 *targets, unsigned count, uint32_t from)
{
	for (uint32_t i = 0; i < count; i++)
		targets[i] = target(from + i);
}

/* As docs/packet-path.md says it, without a thought for speed. */
static void slow_maglev(uint16_t *slots, uint32_t m, const uint8_t (*members)[16], const uint16_t *weights,
			unsigned count)
{
	uint64_t next[MAGLEV_MEMBERS] = {0};
	uint32_t filled = 0, largest = 1;
	for (uint32_t i = 0; i < m; i++)
		slots[i] = 0xffff;
	for (unsigned i = 0; i < count && weights != NULL; i++)
		largest = weights[i] > largest ? weights[i] : largest;
	for (uint32_t step = 1; filled < m; step = step % largest + 1) {
		for (unsigned i = 0; i < count && filled < m; i++) {
			uint32_t weight = weights == NULL ? 1 : weights[i], turns = 0;
			/* Turns after `step` steps: the least number that is not below step * weight / largest. */
			while (turns * largest < step * weight)
				turns++;
			uint32_t before = 0;
			while (before * largest < (step - 1) * weight)
				before++;
			if (turns == before)
				continue;
			uint64_t offset = murmur3_32(members[i], 16, 0x5bd1e995) % m;
			uint64_t skip = murmur3_32(members[i], 16, 0x9747b28c) % (m - 1) + 1;
			while (slots[(offset + next[i] * skip) % m] != 0xffff)
				next[i]++;
			slots[(offset + next[i] * skip) % m] = (uint16_t)i;
			filled++;
		}
	}
}

static void a_table_is_the_one_that_the_document_says(void)
{
	static uint16_t fast[MAGLEV_LARGE], slow[MAGLEV_LARGE];
	static const unsigned counts[] = {1, 2, 3, 7, 31, 64, 65, 256, 257, 1000, 1024};
	static uint8_t members[1024][16];
	for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
		uint32_t m = maglev_size(counts[i]);
		for (unsigned n = 0; n < counts[i]; n++)
			memcpy(members[n], target(chance(1u << 30)).bytes, 16);
		maglev_build(fast, m, members, NULL, counts[i]);
		slow_maglev(slow, m, members, NULL, counts[i]);
		CHECK(memcmp(fast, slow, m * sizeof *fast) == 0);
	}
	for (unsigned round = 0; round < 40; round++) {
		unsigned count = 1 + chance(32);
		uint16_t weights[32];
		for (unsigned n = 0; n < count; n++)
			weights[n] = (uint16_t)(1 + chance(round % 2 == 0 ? 4 : 256));
		maglev_build(fast, MAGLEV_SMALL, members, weights, count);
		slow_maglev(slow, MAGLEV_SMALL, members, weights, count);
		CHECK(memcmp(fast, slow, MAGLEV_SMALL * sizeof *fast) == 0);
	}
}

static void every_target_has_the_same_number_of_slots_but_one(void)
{
	static ferrite_ipv6 targets[1024];
	static const unsigned counts[] = {1, 2, 3, 10, 64, 65, 100, 256, 257, 999, 1024};
	for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
		fill(targets, counts[i], 50 * i);
		struct balancer_set *set = balancer_set_build(targets, counts[i]);
		unsigned shares[1024] = {0};
		for (uint32_t slot = 0; slot < set->m; slot++)
			shares[balancer_slots(set)[slot]]++;
		for (unsigned n = 0; n < counts[i]; n++)
			CHECK(shares[n] == set->m / counts[i] || shares[n] == set->m / counts[i] + 1);
		balancer_set_free(set);
	}
}

static void flows_spread_over_targets_within_a_few_percent(void)
{
	static ferrite_ipv6 targets[1024];
	static const unsigned counts[] = {3, 10, 64};
	for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
		unsigned count = counts[i], flows = count * 20000, shares[1024] = {0};
		fill(targets, count, 7);
		struct balancer_set *set = balancer_set_build(targets, count);
		for (unsigned n = 0; n < flows; n++) {
			struct tuple tuple = {.family = 4, .protocol = 6, .ports = n * 2654435761u};
			store32(tuple.addresses, 0x0a000000 + n / 1000);
			shares[balancer_choose(set, choice_hash(&tuple, 9))]++;
		}
		/* 16 slots or more a target: one slot is 6 %, chance some 2 % on top. */
		for (unsigned n = 0; n < count; n++)
			CHECK(shares[n] > 20000 * 0.91 && shares[n] < 20000 * 1.09);
		balancer_set_free(set);
	}
}

static void the_order_and_repetition_of_targets_make_no_difference(void)
{
	static ferrite_ipv6 targets[1024];
	for (unsigned round = 0; round < 30; round++) {
		unsigned count = 1 + chance(600);
		fill(targets, count, chance(1000));
		struct balancer_set *one = balancer_set_build(targets, count);
		for (unsigned i = 0; i < count; i++)
			targets[count + i % 300] = targets[i];
		unsigned total = count + (count < 300 ? count : 300);
		for (unsigned i = total - 1; i > 0; i--) {
			unsigned other = chance(i + 1);
			ferrite_ipv6 kept = targets[i];
			targets[i] = targets[other];
			targets[other] = kept;
		}
		struct balancer_set *two = balancer_set_build(targets, total);
		CHECK_NUMBER(two->count, count);
		CHECK(one->bytes == two->bytes && memcmp(one, two, one->bytes) == 0);
		balancer_set_free(one);
		balancer_set_free(two);
	}
}

/* Slots of others than the one that went which have another owner now, in thousandths of all slots. */
static unsigned moved(unsigned count, unsigned gone)
{
	static ferrite_ipv6 targets[1024];
	fill(targets, count, 3);
	struct balancer_set *before = balancer_set_build(targets, count);
	ferrite_ipv6 away = targets[gone];
	targets[gone] = targets[count - 1];
	struct balancer_set *after = balancer_set_build(targets, count - 1);
	unsigned other = 0;
	for (uint32_t slot = 0; slot < before->m && before->m == after->m; slot++) {
		const uint8_t *had = balancer_pick(before, slot), *has = balancer_pick(after, slot);
		other += memcmp(had, away.bytes, 16) != 0 && memcmp(had, has, 16) != 0;
		CHECK(memcmp(has, away.bytes, 16) != 0);
	}
	unsigned result = other * 1000 / before->m;
	balancer_set_free(before);
	balancer_set_free(after);
	return result;
}

static void a_target_that_leaves_moves_little_but_its_own_slots(void)
{
	static const unsigned counts[] = {3, 10, 64, 100, 256, 300, 1000};
	for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
		unsigned worst = 0, sum = 0;
		for (unsigned n = 0; n < 10; n++) {
			unsigned now = moved(counts[i], chance(counts[i]));
			worst = now > worst ? now : worst;
			sum += now;
		}
		printf("     %u targets: one leaves, of the others' slots move %u.%u %% (at most %u.%u %%)\n",
		       counts[i], sum / 100, sum / 10 % 10, worst / 10, worst % 10);
		CHECK(worst <= 60); /* 6 % of all slots, on top of the 1/n that must move */
	}
}

static void weights_are_shares_of_the_slots_and_no_hop_goes_without(void)
{
	for (unsigned round = 0; round < 200; round++) {
		struct ferrite_hop hops[FERRITE_MAX_HOPS] = {0};
		unsigned count = 2 + chance(FERRITE_MAX_HOPS - 1), total = 0, shares[FERRITE_MAX_HOPS] = {0};
		for (unsigned i = 0; i < count; i++) {
			hops[i].address = target(i);
			store32(hops[i].address.bytes, i); /* sorted */
			hops[i].weight = (uint16_t)(1 + chance(round % 3 == 0 ? 256 : 1 + round % 8));
			total += hops[i].weight;
		}
		struct balancer_set *set = balancer_hops_build(hops, count);
		CHECK_NUMBER(set->m, 1021);
		for (uint32_t slot = 0; slot < set->m; slot++)
			shares[balancer_choose(set, slot)]++;
		for (unsigned i = 0; i < count; i++) {
			double wanted = 1021.0 * hops[i].weight / total;
			CHECK(shares[i] >= 1);
			/* Rounding up gives each hop at most a turn too many, which the others lack. */
			CHECK(shares[i] <= wanted + 2 && shares[i] >= wanted * (1021 - count) / 1021 - 2);
		}
		balancer_set_free(set);
	}
}

static void a_set_knows_its_targets_and_an_empty_one_has_none(void)
{
	ferrite_ipv6 targets[20];
	fill(targets, 20, 1);
	struct balancer_set *set = balancer_set_build(targets, 19), *empty = balancer_set_build(NULL, 0);
	for (unsigned i = 0; i < 20; i++)
		CHECK(balancer_has(set, targets[i].bytes) == (i < 19));
	CHECK(balancer_pick(empty, 5) == NULL && balancer_pick(NULL, 5) == NULL);
	CHECK(!balancer_has(empty, targets[0].bytes) && !balancer_has(NULL, targets[0].bytes));
	CHECK(balancer_has(set, balancer_pick(set, UINT32_MAX)));
	balancer_set_free(set);
	balancer_set_free(empty);
	static ferrite_ipv6 many[FERRITE_MAX_TARGETS + 1];
	CHECK(balancer_set_build(many, FERRITE_MAX_TARGETS + 1) == NULL);
}

static void a_thousand_sets_of_a_thousand_targets_fit_in_64_megabytes(void)
{
	static ferrite_ipv6 targets[1000];
	fill(targets, 1000, 1);
	struct balancer_set *set = balancer_set_build(targets, 1000);
	CHECK(set->bytes * 1000 <= 64u << 20);
	balancer_set_free(set);
}

int main(void)
{
	RUN(a_table_is_the_one_that_the_document_says);
	RUN(every_target_has_the_same_number_of_slots_but_one);
	RUN(flows_spread_over_targets_within_a_few_percent);
	RUN(the_order_and_repetition_of_targets_make_no_difference);
	RUN(a_target_that_leaves_moves_little_but_its_own_slots);
	RUN(weights_are_shares_of_the_slots_and_no_hop_goes_without);
	RUN(a_set_knows_its_targets_and_an_empty_one_has_none);
	RUN(a_thousand_sets_of_a_thousand_targets_fit_in_64_megabytes);
	return CHECK_RESULT();
}
