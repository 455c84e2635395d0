#include <errno.h>
#include <stdlib.h>

#include "observe/filter.h"
#include "observe/observe.h"
#include "observe/record_ring.h"

/* Cardinality: one per TraceLive call. */
struct ferrite_live {
	bool ended;
	uint64_t left; /* UINT64_MAX: no limit */
	struct ferrite_filter *filter;
	struct record_ring ring;
	struct observe_points points;
};

bool live_wants(const struct ferrite_live *live, uint32_t place, const struct rte_mbuf *buffer, bool outer)
{
	return !live->ended && observe_point(&live->points, place) != 0 &&
		(live->filter == NULL || filter_matches(live->filter, buffer, outer));
}

void live_take(struct ferrite_live *live, uint32_t place, const struct ferrite_live_seen *seen)
{
	struct ferrite_live_seen *record = (struct ferrite_live_seen *)(void *)record_ring_reserve(&live->ring, sizeof *seen);
	if (record == NULL)
		return; /* the reader is behind: later ones will do */
	memcpy(record, seen, sizeof *seen);
	record->point = observe_point(&live->points, place) - 1;
	record_ring_publish(&live->ring, sizeof *seen);
	if (live->left != UINT64_MAX && --live->left == 0)
		__atomic_store_n(&live->ended, true, __ATOMIC_RELEASE);
}

void live_forget(struct ferrite_live *live, uint32_t place)
{
	__atomic_store_n(&live->points.at[place], 0, __ATOMIC_RELAXED);
}

static void release(struct ferrite_live *live)
{
	record_ring_close(&live->ring);
	ferrite_filter_free(live->filter);
	free(live);
}

static int add(struct observer_set *set, void *context)
{
	if (set->live_count == FERRITE_LIVE_TRACES)
		return -ENOSPC;
	set->lives[set->live_count++] = context;
	return 0;
}

static int take_out(struct observer_set *set, void *context)
{
	for (unsigned i = 0; i < set->live_count; i++) {
		if (set->lives[i] != context)
			continue;
		set->lives[i] = set->lives[--set->live_count];
		return 0;
	}
	return -ENOENT;
}

int ferrite_live_start(struct ferrite_engine *engine, const struct ferrite_live_config *config,
		       struct ferrite_live **result)
{
	for (unsigned i = 0; config->filter != NULL && i < config->point_count; i++)
		if (!filter_fits(config->filter, config->points[i].port == 0))
			return -EINVAL;
	struct ferrite_live *live = calloc(1, sizeof *live);
	if (live == NULL)
		return -ENOMEM;
	live->left = config->packet_limit > 0 ? config->packet_limit : UINT64_MAX;
	int status = observe_points_fill(&live->points, engine, config->points, config->point_count);
	if (status == 0 && !record_ring_open(&live->ring, FERRITE_LIVE_RING))
		status = -ENOMEM;
	if (status == 0) {
		live->filter = config->filter;
		status = observe_change(engine, add, live);
	}
	if (status < 0) {
		live->filter = NULL; /* the caller's still */
		release(live);
		return status;
	}
	*result = live;
	return 0;
}

const struct ferrite_live_seen *ferrite_live_next(struct ferrite_live *live)
{
	uint32_t length;
	return (const struct ferrite_live_seen *)(const void *)record_ring_read(&live->ring, &length);
}

bool ferrite_live_ended(const struct ferrite_live *live)
{
	return __atomic_load_n(&live->ended, __ATOMIC_ACQUIRE);
}

void ferrite_live_stop(struct ferrite_engine *engine, struct ferrite_live *live)
{
	if (observe_change(engine, take_out, live) == 0)
		release(live);
}
