#include "observe/observe.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "stage/trace.h"

/* Of every set of this process: starting and stopping are rare. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

unsigned ferrite_uplink_count(const struct ferrite_engine *engine)
{
	return engine->uplinks.count;
}

const char *ferrite_uplink_name(const struct ferrite_engine *engine, unsigned uplink)
{
	return uplink < engine->uplinks.count ? engine->uplinks.about[uplink].name : "";
}

int ferrite_port_guest(const struct ferrite_engine *engine, uint32_t handle, ferrite_mac *mac)
{
	static const uint8_t unknown[6];
	const struct port *port = handle > 0 && handle < FERRITE_MAX_PORTS ? engine->ports[handle] : NULL;
	if (port == NULL || memcmp(port->guest_mac, unknown, 6) == 0)
		return -ENOENT;
	memcpy(mac->bytes, port->guest_mac, 6);
	return 0;
}

uint64_t observe_now_ns(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint32_t observe_place(const struct ferrite_engine *engine, const struct port *port)
{
	if (!port->uplink)
		return port->handle;
	return FERRITE_MAX_PORTS + (port != engine->uplinks.ports[0]);
}

int observe_points_fill(struct observe_points *points, const struct ferrite_engine *engine,
			const struct ferrite_point *list, unsigned count)
{
	*points = (struct observe_points){0};
	for (unsigned i = 0; i < count; i++) {
		bool there = list[i].port > 0 ? list[i].port < FERRITE_MAX_PORTS && engine->ports[list[i].port] != NULL
					      : list[i].uplink < engine->uplinks.count;
		uint32_t place = list[i].port > 0 ? list[i].port : FERRITE_MAX_PORTS + list[i].uplink;
		if (!there)
			return -ENOENT;
		if (points->at[place] != 0 || i >= UINT16_MAX)
			return -EINVAL;
		points->at[place] = (uint16_t)(i + 1);
	}
	return 0;
}

static bool is_empty(const struct observer_set *set)
{
	return set->capture_count == 0 && set->live_count == 0 && set->mirror == NULL;
}

int observe_change(struct ferrite_engine *engine, int (*change)(struct observer_set *set, void *context), void *context)
{
	struct observer_set *next = calloc(1, sizeof *next), *old;
	if (next == NULL)
		return -ENOMEM;
	(void)pthread_mutex_lock(&lock);
	old = engine->observers;
	if (old != NULL)
		*next = *old;
	int status = change(next, context);
	if (status < 0 || is_empty(next)) {
		free(next);
		next = NULL;
	}
	if (status >= 0) {
		__atomic_store_n(&engine->observers, next, __ATOMIC_RELEASE);
		engine_quiesce(engine);
		free(old);
	}
	(void)pthread_mutex_unlock(&lock);
	return status;
}

void observe_burst(struct ferrite_engine *engine, struct port *port, struct rte_mbuf *const *burst, unsigned count,
		   bool out)
{
	const struct observer_set *set = __atomic_load_n(&engine->observers, __ATOMIC_ACQUIRE);
	if (set == NULL)
		return;
	uint32_t place = observe_place(engine, port);
	if (set->capture_count > 0) {
		uint64_t now_ns = observe_now_ns();
		for (unsigned i = 0; i < set->capture_count; i++)
			capture_packets(set->captures[i], port, place, burst, count, out, now_ns);
	}
	if (set->mirror != NULL && !out)
		mirror_packets(set->mirror, engine, port, place, burst, count);
}

/* Who follows a packet, as bits. */
static unsigned followers(const struct observer_set *set, uint32_t place, const struct rte_mbuf *buffer, bool outer)
{
	unsigned bits = 0;
	for (unsigned i = 0; i < set->live_count; i++)
		if (live_wants(set->lives[i], place, buffer, outer))
			bits |= 1u << i;
	return bits;
}

static void follow(struct ferrite_engine *engine, const struct observer_set *set, struct port *port, uint32_t place,
		   struct rte_mbuf *buffer, unsigned bits)
{
	static struct ferrite_live_seen seen; /* the worker's own */
	seen.time_ns = observe_now_ns();
	seen.length = buffer->pkt_len;
	seen.kept = buffer->data_len < FERRITE_LIVE_PACKET ? buffer->data_len : FERRITE_LIVE_PACKET;
	memcpy(seen.bytes, packet_data(buffer), seen.kept);
	trace_live(engine, port, buffer, &seen.trace);
	for (unsigned i = 0; i < set->live_count; i++)
		if ((bits & 1u << i) != 0)
			live_take(set->lives[i], place, &seen);
}

bool observe_burst_in(struct ferrite_engine *engine, struct port *port, struct rte_mbuf **burst, unsigned count)
{
	const struct observer_set *set = __atomic_load_n(&engine->observers, __ATOMIC_ACQUIRE);
	unsigned begin = 0;
	observe_burst(engine, port, burst, count, false);
	if (set == NULL || set->live_count == 0)
		return false;
	uint32_t place = observe_place(engine, port);
	/* In the order in which they came: what is before a followed one, that one, and so on. */
	for (unsigned i = 0; i < count; i++) {
		unsigned bits = followers(set, place, burst[i], port->uplink);
		if (bits == 0)
			continue;
		if (i > begin)
			pipeline(engine, port, burst + begin, i - begin);
		follow(engine, set, port, place, burst[i], bits);
		begin = i + 1;
	}
	if (begin < count)
		pipeline(engine, port, burst + begin, count - begin);
	return true;
}

void observe_forget(struct ferrite_engine *engine, uint32_t handle)
{
	(void)pthread_mutex_lock(&lock);
	const struct observer_set *set = engine->observers;
	for (unsigned i = 0; set != NULL && i < set->capture_count; i++)
		capture_forget(set->captures[i], handle);
	for (unsigned i = 0; set != NULL && i < set->live_count; i++)
		live_forget(set->lives[i], handle);
	if (set != NULL && set->mirror != NULL)
		mirror_forget(set->mirror, handle);
	(void)pthread_mutex_unlock(&lock);
}
