/* The uplinks of an engine, one or two, and which of them a flow leaves by.
 *
 * A flow stays on one link: 32 bits made from its hash are held against `share`, so that weights are exact to 2^-32 and
 * IPv4 and IPv6 are treated alike. The bits are mixed anew, because the outer flow label is of the same hash, and what
 * the fabric spreads by it would else see only a part of the labels on each link. A link that is down gets nothing; with
 * none up they are used as if all were. State is looked at every tick (100 ms), by the worker.
 *
 * Cardinality: one set per engine; ports in it live as long as the engine.
 */
#ifndef FERRITE_ENGINE_UPLINK_H
#define FERRITE_ENGINE_UPLINK_H

#include "port/port.h"
#include "port/spec.h"

/* Lines are ordered by who reads them: the first is the worker's, for each packet. */
struct uplink_set {
	unsigned count;
	struct port *ports[FERRITE_MAX_UPLINKS];
	uint64_t share;                /* of 2^32: flows below it leave by the first */
	struct {
		char name[PORT_NAME_TEXT];
		uint32_t weight;
		bool up;
		uint64_t downs;        /* how often it went down */
	} about[FERRITE_MAX_UPLINKS];
};

/* Of two. */
static inline struct port *uplink_pick(const struct uplink_set *set, uint64_t hash)
{
	uint32_t draw = (uint32_t)((hash * 0x9e3779b97f4a7c15ULL) >> 32);
	return set->ports[draw >= __atomic_load_n(&set->share, __ATOMIC_RELAXED)];
}

/* Control thread. Opens what the configuration names, and lowers the engine's MTU to what all of them carry. */
int uplinks_open(struct ferrite_engine *engine, const struct ferrite_engine_config *config, char *error);
void uplinks_close(struct ferrite_engine *engine);
/* "uplink.rx_packets" of all together, "uplink.NAME.rx_packets", "uplink.NAME.up" and the like of each. */
void uplinks_counters_each(const struct ferrite_engine *engine,
			  void (*visit)(void *context, const char *name, uint64_t value), void *context);

/* Worker. Ticks the ports and looks at their links. */
void uplinks_tick(struct ferrite_engine *engine);

#endif
