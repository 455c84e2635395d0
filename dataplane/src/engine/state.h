/* The engine's own state: tables, ports and counters, and which thread may touch what.
 *
 * Control thread: everything through engine.h. Worker thread: `flows`, `active`, `counters`, ports' receive and
 * transmit, an interface's learned MAC. Both meet at published pointers (ports' `interface`, interface `state`,
 * routes) and at `ports_version`; what is withdrawn is freed after the worker passed a quiescent state.
 */
#ifndef FERRITE_ENGINE_STATE_H
#define FERRITE_ENGINE_STATE_H

#include <pthread.h>

#include <rte_spinlock.h>

#include "engine/counters.h"
#include "engine/handover.h"
#include "engine/uplink.h"
#include "ferrite/engine.h"
#include "port/port.h"
#include "table/balancer.h"
#include "table/endpoint.h"
#include "table/firewall.h"
#include "table/flow.h"
#include "table/fragment.h"
#include "table/nat.h"
#include "table/neighbor_nat.h"
#include "table/rate.h"
#include "table/route.h"
#include "table/service_address.h"

enum {
	SERVICES_ARP, SERVICES_ND, SERVICES_DHCP, SERVICES_ECHO, SERVICES, /* kinds with a bucket of answers each */
	SERVICE_RATE = 100,      /* answers a second, and at once */
	ICMP_ERROR_GAP_MS = 10,
	OWNER_BALANCER = FERRITE_MAX_INTERFACES, /* owners of flows: interfaces, then load balancers */
	OWNERS = FERRITE_MAX_INTERFACES + FERRITE_MAX_ENDPOINTS,
	MAX_VIRTUAL_SERVICES = 256,
	NEAR_LIMIT = 2 * BURST,
	EDGE_FRAGMENTS = OWNERS, /* owners of fragments: edges come behind load balancers */
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
	uint32_t epoch;        /* changes with whatever is said of this interface; see flow epochs below */
	uint32_t index;
	/* Delivery and what a VM's packet is held against. */
	uint8_t frame[12] __attribute__((aligned(64))); /* destination and source MAC of delivered frames */
	uint8_t guest_known;   /* its destination is the VM's own */
	uint8_t has4, has6;
	uint8_t spoof_off;
	uint8_t metered;       /* total or public has a limit */
	uint8_t has_vip, has_nat;
	uint8_t vip[4];
	uint32_t endpoint;     /* its place */
	uint32_t vip_endpoint, nat_endpoint;
	uint32_t prefixes;     /* the first one's place, see endpoint_prefix */
	uint64_t errors_next_ms; /* rate of ICMP errors */
	/* First packets: under the decide lock. */
	struct nat_range nat;
	uint32_t flow_limit;
	struct rate total, public_rate, flow_rate, services[SERVICES];
	struct firewall *firewall;
	uint32_t *tags;        /* of its rules */
	struct port_counters base; /* of the port when it was added */
	char hostname[FERRITE_HOSTNAME_TEXT];
	char pxe_server[FERRITE_PXE_TEXT], pxe_file[FERRITE_PXE_TEXT];
} __attribute__((aligned(64)));

/* Cardinality: one per (VNI, address) that a NAT of this host has. */
struct nat_group {
	uint32_t vni;
	uint8_t ip[4];
	uint32_t users;
};

/* Cardinality: one per load balancer of this host. */
struct balancer {
	uint32_t vni;
	uint32_t epoch;
	uint32_t endpoint;
	uint8_t family;
	uint8_t address[16];
	unsigned port_count;
	struct ferrite_balancer_port ports[FERRITE_MAX_BALANCER_PORTS];
	struct balancer_set *set;
	uint64_t answers_next_ms;
};

struct virtual_service {
	struct ferrite_virtual_service about;
	uint8_t underlay[16];
};

struct edge;
struct edge_cached;
struct event_ring;
struct tracer;

struct ferrite_engine {
	/* Read by the worker for each burst. */
	struct interface *interfaces; /* [FERRITE_MAX_INTERFACES] */
	struct port *uplink;          /* NULL: none; the first of `uplinks` */
	struct uplink_set uplinks;
	struct flow_table flows;
	struct route_table routes;
	struct endpoint_table endpoints;
	struct balancer **balancers;  /* [FERRITE_MAX_ENDPOINTS] */
	struct nat_group *nat_groups; /* [NAT_GROUPS], from 1 */
	struct counters *interface_counters; /* [FERRITE_MAX_INTERFACES]; 0: what has no interface */
	struct tracer *trace;         /* NULL: nobody looks */
	struct edge *edges[FERRITE_MAX_EDGES + 1]; /* from 1 */
	struct edge_cached *edge_cache; /* [EDGE_CACHE], made with the first edge */
	uint32_t edge_epoch;          /* changes with what edges find beside routes: neighbour NATs, service addresses */
	uint8_t prefix[8];
	uint16_t mtu;
	uint32_t seed;
	uint64_t now_ms;
	struct observer_set *observers; /* NULL: nobody looks */
	struct counters counters;

	/* First packets; the control thread changes what they read under the lock. */
	rte_spinlock_t decide_lock;
	struct fragment_table fragments;
	struct nat_table *nats;
	struct neighbor_nat_table *neighbor_nats;
	struct service_address_table service_addresses;
	struct virtual_service *services; /* [MAX_VIRTUAL_SERVICES] */
	unsigned service_count;
	struct event_ring *events;    /* NULL: nobody asked for them */
	uint64_t (*clock_ms)(void);
	bool virtual_clock;           /* a test's: may leap */
	uint64_t swept_ms;

	/* Worker. */
	struct port *active[FERRITE_MAX_PORTS];
	uint32_t active_handles[FERRITE_MAX_PORTS]; /* 0: an uplink */
	unsigned active_count;
	struct port *dirty[FERRITE_MAX_PORTS];
	unsigned dirty_count;
	struct rte_mbuf *near[NEAR_LIMIT]; /* handed from one endpoint to another, to be looked at after the burst */
	unsigned near_count;
	uint32_t ports_seen;
	uint64_t tick_ms;
	unsigned turn;

	/* Shared. */
	uint32_t ports_version;
	bool stopping;
	int epoll;
	int wake;                     /* eventfd: ends the worker's sleep */
	struct rte_rcu_qsbr *rcu;
	struct job *job;              /* what the control thread wants done by the worker */

	/* Control thread. */
	bool has_worker;
	pthread_t worker;
	struct port *ports[FERRITE_MAX_PORTS]; /* from 1 */
	uint32_t interface_hint;
	uint32_t epoch;               /* the last one given */
	uint32_t nat_group_high;
	uint32_t balancer_hint;
	uint32_t default_flow_limit, default_flow_rate;
	ferrite_ipv4 dns4[FERRITE_MAX_DNS];
	unsigned dns4_count;
	ferrite_ipv6 dns6[FERRITE_MAX_DNS];
	unsigned dns6_count;
	char name[64];
	struct handover handover;
};

/* To the ledger, what a successor must know before it restores anything (engine/handover.c). */
void handover_note(struct ferrite_engine *engine);
void handover_epochs(struct ferrite_engine *engine);

/* EAL and pools, once per process (engine/environment.c). */
int environment_start(char *error);
/* What firewalls and load balancers hold, at the end (engine/network.c). */
void network_free(struct ferrite_engine *engine);
/* Firewall of an interface that goes; no worker has it. */
void firewall_drop(struct interface *interface);
/* VIP, NAT and prefixes of an interface that goes. */
void network_leave(struct ferrite_engine *engine, uint32_t interface);
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
static inline void pipeline(struct ferrite_engine *engine, struct port *port, struct rte_mbuf **burst, unsigned count)
{
	if (port->uplink)
		pipeline_uplink(engine, port, burst, count);
	else
		pipeline_access(engine, port, burst, count);
}

/* A burst is about to leave, or came in: told to whoever observes (observe/observe.h), and one branch while nobody does.
 * True: somebody follows single packets of it, and it has been through the pipeline. */
void observe_burst(struct ferrite_engine *engine, struct port *port, struct rte_mbuf *const *burst, unsigned count,
		   bool out);
static inline void observe(struct ferrite_engine *engine, struct port *port, struct rte_mbuf *const *burst,
			   unsigned count, bool out)
{
	if (__builtin_expect(__atomic_load_n(&engine->observers, __ATOMIC_ACQUIRE) != NULL, 0))
		observe_burst(engine, port, burst, count, out);
}
bool observe_burst_in(struct ferrite_engine *engine, struct port *port, struct rte_mbuf **burst, unsigned count);
static inline bool observe_in(struct ferrite_engine *engine, struct port *port, struct rte_mbuf **burst, unsigned count)
{
	return __builtin_expect(__atomic_load_n(&engine->observers, __ATOMIC_ACQUIRE) != NULL, 0) &&
		observe_burst_in(engine, port, burst, count);
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

/* Epochs of flows. What an entry was decided under is a sum of epochs, each times an odd constant of its own, so that sums
 * of different epochs differ: of the VM's VNI and interface where it came from a VM, of the interface that it is
 * delivered to, of the load balancer that chose its target. */
static inline uint32_t epoch_of_vm(const struct interface *interface)
{
	return vni_epoch(interface->vni) + __atomic_load_n(&interface->epoch, __ATOMIC_ACQUIRE) * 0x9e3779b1u;
}

static inline uint32_t epoch_of(const struct ferrite_engine *engine, uint32_t base, const struct flow_entry *entry)
{
	if (entry->action == FLOW_DELIVER)
		base += __atomic_load_n(&engine->interfaces[raw32(entry->target)].epoch, __ATOMIC_ACQUIRE) * 0x85ebca77u;
	if (__builtin_expect((entry->bits & FLOW_BALANCED) != 0, 0)) {
		const struct balancer *balancer = __atomic_load_n(&engine->balancers[entry->balancer], __ATOMIC_ACQUIRE);
		base += balancer == NULL ? 0 : __atomic_load_n(&balancer->epoch, __ATOMIC_ACQUIRE) * 0xc2b2ae3du;
	}
	return base;
}

/* What the worker does for the control thread between two bursts; returns when it is done. False from `step`: again. */
struct job {
	bool (*step)(struct ferrite_engine *engine, void *argument);
	void *argument;
	uint32_t at;   /* of `step`; 0 at first */
	uint32_t done;
};
void engine_run(struct ferrite_engine *engine, bool (*step)(struct ferrite_engine *engine, void *argument), void *argument);
/* Ends every flow that came from (kind, index) or is delivered to the interface. */
void engine_purge(struct ferrite_engine *engine, unsigned kind, uint32_t index);
/* Edges look anew for what is no route. Control, after the change. */
static inline void edges_touch(struct ferrite_engine *engine)
{
	(void)__atomic_add_fetch(&engine->edge_epoch, 1, __ATOMIC_ACQ_REL);
}
void edges_free(struct ferrite_engine *engine);

/* Decides flows of the interface anew. Control. */
static inline void interface_touch(struct ferrite_engine *engine, struct interface *interface)
{
	__atomic_store_n(&interface->epoch, ++engine->epoch, __ATOMIC_RELEASE);
}

#endif
