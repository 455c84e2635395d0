/* What a traced packet meets, step by step; nothing at all while nobody looks.
 *
 * Steps are structs without text. Cardinality: one tracer, while ferrite_trace_packet runs, on the worker.
 */
#ifndef FERRITE_STAGE_TRACE_H
#define FERRITE_STAGE_TRACE_H

#include "engine/state.h"

struct tracer {
	struct ferrite_trace_result *result;
	bool keep;
	uint32_t begun; /* the flow that this packet began; FLOW_NONE: none */
};

static inline void trace_step(struct ferrite_engine *engine, const struct ferrite_trace_step *step)
{
	struct ferrite_trace_result *result = engine->trace->result;
	if (result->step_count < FERRITE_TRACE_STEPS)
		result->steps[result->step_count++] = *step;
}

/* STEP(engine, .stage = FERRITE_STEP_FLOW, .decision = 1) */
#define STEP(engine, ...) \
	do { \
		if (__builtin_expect((engine)->trace != NULL, 0)) \
			trace_step(engine, &(const struct ferrite_trace_step){__VA_ARGS__}); \
	} while (0)

/* A packet that came in, followed on its way; it passes as any. (engine/trace.c) */
void trace_live(struct ferrite_engine *engine, struct port *port, struct rte_mbuf *buffer,
		struct ferrite_trace_result *result);

/* The name of a counter. */
const char *counter_name(enum counter counter);

#endif
