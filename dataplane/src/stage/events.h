/* Flow events: what began, what ended and why, for whoever exports or audits them.
 *
 * A ring with one producer (whoever holds the decide lock) and one consumer (the control thread), made when it is first asked for.
 * What does not fit is counted and lost: no packet ever waits for a reader. FERRITE_FLOW_EVENTS events, 3 MB.
 */
#ifndef FERRITE_STAGE_EVENTS_H
#define FERRITE_STAGE_EVENTS_H

#include "engine/state.h"

struct event_ring {
	uint32_t head __attribute__((aligned(64))); /* producer's */
	uint64_t lost;
	uint32_t tail __attribute__((aligned(64))); /* consumer's */
	struct ferrite_flow_event events[FERRITE_FLOW_EVENTS] __attribute__((aligned(64)));
};

/* A flow as its events have it. Under the decide lock, or on the worker. */
void event_describe(struct ferrite_engine *engine, const struct flow_entry *original, struct ferrite_flow_event *event);

#endif
