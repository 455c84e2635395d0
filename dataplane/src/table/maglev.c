#include "table/maglev.h"

#include <assert.h>
#include <string.h>

#include "packet/murmur.h"

enum { NOBODY = 0xffff };

struct walk { uint16_t at, skip; };

static void begin_walks(struct walk *walks, uint32_t m, const uint8_t (*members)[16], unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		walks[i].at = (uint16_t)(murmur3_32(members[i], 16, MAGLEV_OFFSET_SEED) % m);
		walks[i].skip = (uint16_t)(murmur3_32(members[i], 16, MAGLEV_SKIP_SEED) % (m - 1) + 1);
	}
}

/* Takes the member's next free slot. M is prime, so the walk passes all of them. */
static void take_turn(uint16_t *slots, uint32_t m, struct walk *walk, uint16_t member)
{
	uint32_t at = walk->at;
	while (slots[at] != NOBODY) {
		at += walk->skip;
		at -= at >= m ? m : 0;
	}
	slots[at] = member;
	walk->at = (uint16_t)at;
}

static uint32_t weight_of(const uint16_t *weights, unsigned member)
{
	return weights == NULL || weights[member] == 0 ? 1 : weights[member];
}

/* How many turns of a round a member has had: ceil(steps * weight / largest). */
static uint32_t turns_after(uint32_t steps, uint32_t weight, uint32_t largest)
{
	return (steps * weight + largest - 1) / largest;
}

void maglev_build(uint16_t *slots, uint32_t m, const uint8_t (*members)[16], const uint16_t *weights, unsigned count)
{
	assert(count > 0 && count <= MAGLEV_MEMBERS && m <= MAGLEV_LARGE);
	struct walk walks[MAGLEV_MEMBERS];
	uint32_t largest = 1;
	for (unsigned i = 0; i < count; i++)
		largest = weight_of(weights, i) > largest ? weight_of(weights, i) : largest;
	begin_walks(walks, m, members, count);
	memset(slots, 0xff, m * sizeof *slots);
	uint32_t left = m;
	for (uint32_t step = 0;; step = step + 1 == largest ? 0 : step + 1) {
		for (unsigned i = 0; i < count; i++) {
			uint32_t weight = weight_of(weights, i);
			if (turns_after(step, weight, largest) == turns_after(step + 1, weight, largest))
				continue;
			take_turn(slots, m, &walks[i], (uint16_t)i);
			if (--left == 0)
				return;
		}
	}
}
