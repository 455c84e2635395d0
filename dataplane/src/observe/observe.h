/* Where the worker meets whoever observes it.
 *
 * `engine->observers` is NULL while nobody does, and then the hooks (engine/state.h) are one branch a burst. Else it is a
 * set that never changes: starting or stopping an observer publishes another, and frees the old one when the worker has passed a
 * quiescent state.
 */
#ifndef FERRITE_OBSERVE_OBSERVE_H
#define FERRITE_OBSERVE_OBSERVE_H

#include "engine/state.h"
#include "ferrite/observe.h"

/* What a point is called in a table: handles of ports first, then uplinks. */
enum { OBSERVE_PLACES = FERRITE_MAX_PORTS + FERRITE_MAX_UPLINKS };

/* Number of a point in its observer's list and one more, by place; 0: not observed. Cleared when a port closes. */
struct observe_points {
	uint16_t at[OBSERVE_PLACES];
};

struct observer_set {
	unsigned capture_count, live_count;
	struct ferrite_capture *captures[FERRITE_CAPTURES];
	struct ferrite_live *lives[FERRITE_LIVE_TRACES];
	struct mirror *mirror;
};

/* 0; -ENOENT: a point that is not there; -EINVAL: one twice. */
int observe_points_fill(struct observe_points *points, const struct ferrite_engine *engine,
			const struct ferrite_point *list, unsigned count);
/* Number and one more; 0: not observed. */
static inline unsigned observe_point(const struct observe_points *points, uint32_t place)
{
	return __atomic_load_n(&points->at[place], __ATOMIC_RELAXED);
}
uint32_t observe_place(const struct ferrite_engine *engine, const struct port *port);

/* Changes the set under the lock of all of them: `change` is called with a copy, and what it answers is given back; a
 * negative number leaves all as it was. */
int observe_change(struct ferrite_engine *engine, int (*change)(struct observer_set *set, void *context), void *context);

uint64_t observe_now_ns(void);

/* Worker, one observer and one burst. */
void capture_packets(struct ferrite_capture *capture, const struct port *port, uint32_t place,
		     struct rte_mbuf *const *burst, unsigned count, bool out, uint64_t now_ns);
void mirror_packets(struct mirror *mirror, struct ferrite_engine *engine, const struct port *port, uint32_t place,
		    struct rte_mbuf *const *burst, unsigned count);
/* Whether this one is to be followed, and what became of it. */
bool live_wants(const struct ferrite_live *live, uint32_t place, const struct rte_mbuf *buffer, bool outer);
void live_take(struct ferrite_live *live, uint32_t place, const struct ferrite_live_seen *seen);
void live_forget(struct ferrite_live *live, uint32_t place);
void capture_forget(struct ferrite_capture *capture, uint32_t place);
void mirror_forget(struct mirror *mirror, uint32_t place);

#endif
