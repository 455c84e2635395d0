/* The engine's own state: tables, ports and counters, and which thread may touch what.
 *
 * Control thread: everything through engine.h. Worker thread: `flows`, `active`, `counters`, ports' receive and
 * transmit, an interface's learned MAC. Both meet at published pointers (ports' `interface`, interface `state`,
 * routes) and at `ports_version`; what is withdrawn is freed after the worker passed a quiescent state.
 */
#ifndef FERRITE_ENGINE_STATE_H
#define FERRITE_ENGINE_STATE_H

#include <pthread.h>

#include "engine/counters.h"
#include "engine/uplink.h"
#include "ferrite/engine.h"
#include "port/port.h"
#include "table/flow.h"
#include "table/route.h"

/* Bytes of an underlay address that we make (see contract: prefix, 0xd0, type, flags, generation, index). */
enum {
	UNDERLAY_MARK = 0xd0,
	UNDERLAY_TYPE_INTERFACE = 1,
	EXTERNAL_HEADS = 4096,
};

/* Cardinality: one per interface of this host, at its index. Lines are ordered by who reads them. */
struct interface {
	/* Decapsulation. */
	uint8_t underlay[16];
	uint8_t ipv6[16];
	uint8_t ipv4[4];
	uint32_t state;        /* 1: delivers; published last, withdrawn first */
	struct port *port;
	struct vni *vni;
	uint32_t index;
	uint32_t external_next; /* list of interfaces with an address that somebody else chose */
	/* Encapsulation and delivery: templates. */
	uint8_t outer[40] __attribute__((aligned(64)));
	uint8_t frame[12];     /* destination and source MAC of delivered frames */
	uint8_t guest_known;
	uint8_t has4, has6;
	uint64_t errors_next_ms; /* rate of ICMP errors */
	char hostname[FERRITE_HOSTNAME_TEXT];
} __attribute__((aligned(64)));

struct ferrite_engine {
	/* Read by the worker for each burst. */
	struct interface *interfaces; /* [FERRITE_MAX_INTERFACES] */
	struct port *uplink;          /* NULL: none; the first of `uplinks` */
	struct uplink_set uplinks;
	struct flow_table flows;
	struct route_table routes;
	uint8_t prefix[8];
	uint16_t mtu;
	uint64_t now_ms;
	struct observer_set *observers; /* NULL: nobody looks */
	struct counters counters;

	/* Worker. */
	struct port *active[FERRITE_MAX_PORTS];
	uint32_t active_handles[FERRITE_MAX_PORTS]; /* 0: an uplink */
	unsigned active_count;
	struct port *dirty[FERRITE_MAX_PORTS];
	unsigned dirty_count;
	uint32_t ports_seen;
	uint64_t tick_ms;
	unsigned turn;

	/* Shared. */
	uint32_t ports_version;
	bool stopping;
	int epoll;
	int wake;                     /* eventfd: ends the worker's sleep */
	struct rte_rcu_qsbr *rcu;
	uint16_t *external_heads;     /* [EXTERNAL_HEADS] interface indexes */

	/* Control thread. */
	bool has_worker;
	pthread_t worker;
	struct port *ports[FERRITE_MAX_PORTS]; /* from 1 */
	uint16_t *generations;
	uint32_t interface_hint;
	ferrite_ipv4 dns4[FERRITE_MAX_DNS];
	unsigned dns4_count;
	ferrite_ipv6 dns6[FERRITE_MAX_DNS];
	unsigned dns6_count;
	char name[64];
};

/* EAL and pools, once per process (engine/environment.c). */
int environment_start(char *error);
/* One more pool of small buffers, for a device's rings. NULL: no memory. It stays for as long as the process. */
struct rte_mempool *environment_pool(const char *name, unsigned count);
/* Lets a device reach every pool. Devices that need no such thing are content. */
struct rte_device;
int environment_map(struct rte_device *device);

/* Milliseconds of the monotonic clock (engine/worker.c); `now_ms` is its copy of this turn. */
uint64_t engine_clock_ms(void);
/* The worker's epoll set. */
void engine_watch(struct ferrite_engine *engine, struct port *port, bool on);
int worker_start(struct ferrite_engine *engine, char *error);
void worker_stop(struct ferrite_engine *engine);
/* Returns when no worker can still hold what was withdrawn before. */
void engine_quiesce(struct ferrite_engine *engine);

/* One burst from a port through the whole pipeline (engine/pipeline.c). */
void pipeline_access(struct ferrite_engine *engine, struct port *port, struct rte_mbuf **burst, unsigned count);
void pipeline_uplink(struct ferrite_engine *engine, struct port *port, struct rte_mbuf **burst, unsigned count);
void pipeline_flush(struct ferrite_engine *engine);

/* A burst came in, or is about to leave: told to whoever observes (observe/observe.h), and one branch while nobody does. */
void observe_burst(struct ferrite_engine *engine, struct port *port, struct rte_mbuf *const *burst, unsigned count,
		   bool out);
static inline void observe(struct ferrite_engine *engine, struct port *port, struct rte_mbuf *const *burst,
			   unsigned count, bool out)
{
	if (__builtin_expect(__atomic_load_n(&engine->observers, __ATOMIC_ACQUIRE) != NULL, 0))
		observe_burst(engine, port, burst, count, out);
}
/* A port was closed, and its handle will be another's. */
void observe_forget(struct ferrite_engine *engine, uint32_t handle);

/* Queues a packet for a port; ports are flushed once per turn. */
static inline void emit(struct ferrite_engine *engine, struct port *port, struct rte_mbuf *buffer)
{
	if (port->pending_count == PORT_PENDING) {
		observe(engine, port, port->pending, port->pending_count, true);
		port->ops->transmit(port, port->pending, port->pending_count);
		port->pending_count = 0;
	}
	if (!port->dirty) {
		port->dirty = true;
		engine->dirty[engine->dirty_count++] = port;
	}
	port->pending[port->pending_count++] = buffer;
}

/* The uplink of a flow (engine/uplink.h). NULL: there is none. */
static inline struct port *uplink_for(const struct ferrite_engine *engine, uint64_t hash)
{
	return __builtin_expect(engine->uplinks.count < 2, 1) ? engine->uplink : uplink_pick(&engine->uplinks, hash);
}

static inline uint32_t external_head(const uint8_t address[16])
{
	return (uint32_t)(mix(raw64(address), raw64(address + 8)) % EXTERNAL_HEADS);
}

#endif
