/* The worker: polls ports while there is work and sleeps when there is none.
 *
 * A port is polled while it gives packets. Ports that fell silent are found again by epoll: looked at every
 * POLL_TURNS turns while others are busy, and waited on when nobody is. A port that can be polled for free (shared
 * memory) asks to be woken only when the worker is about to sleep.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <rte_lcore.h>

#include "engine/state.h"

enum { POLL_TURNS = 8, EVENTS = 64, TICK_MS = 100, SLEEP_MS = 200, WORKER = 0, SPIN_TURNS = 16 };

uint64_t engine_clock_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void engine_watch(struct ferrite_engine *engine, struct port *port, bool on)
{
	if (port->fd < 0)
		return;
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = port};
	(void)epoll_ctl(engine->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, port->fd, &event);
}

void engine_quiesce(struct ferrite_engine *engine)
{
	uint64_t one = 1;
	if (engine->has_worker)
		(void)!write(engine->wake, &one, sizeof one);
	rte_rcu_qsbr_synchronize(engine->rcu, RTE_QSBR_THRID_INVALID);
}

/* Memory, not a system call: stays in the list. */
static bool polls_free(const struct port *port)
{
	return port->fd < 0 || port->ops->sleep != NULL;
}

static void activate(struct ferrite_engine *engine, struct port *port)
{
	if (port->active || __atomic_load_n(&port->closing, __ATOMIC_ACQUIRE))
		return;
	port->active = true;
	engine->active_handles[engine->active_count] = port->handle;
	engine->active[engine->active_count++] = port;
}

/* The control thread changed the set of ports. */
static void refresh(struct ferrite_engine *engine)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < engine->active_count; i++) {
		/* By handle: what was closed is freed by now, and a new port may have its address. */
		uint32_t handle = engine->active_handles[i];
		struct port *port = handle == 0 ? engine->active[i] : /* an uplink stays */
						  __atomic_load_n(&engine->ports[handle], __ATOMIC_ACQUIRE);
		if (port == NULL || port != engine->active[i] || !port->active)
			continue;
		engine->active[kept] = port;
		engine->active_handles[kept++] = handle;
	}
	engine->active_count = kept;
	for (uint32_t i = 1; i < FERRITE_MAX_PORTS; i++) {
		struct port *port = __atomic_load_n(&engine->ports[i], __ATOMIC_ACQUIRE);
		if (port != NULL && polls_free(port))
			activate(engine, port);
	}
	for (unsigned i = 0; i < engine->uplinks.count; i++)
		if (polls_free(engine->uplinks.ports[i]))
			activate(engine, engine->uplinks.ports[i]);
}

static void refresh_when_changed(struct ferrite_engine *engine)
{
	uint32_t version = __atomic_load_n(&engine->ports_version, __ATOMIC_ACQUIRE);
	if (version == engine->ports_seen)
		return;
	engine->ports_seen = version;
	refresh(engine);
}

static void collect(struct ferrite_engine *engine)
{
	struct epoll_event events[EVENTS];
	int count = epoll_wait(engine->epoll, events, EVENTS, 0);
	for (int i = 0; i < count; i++) {
		struct port *port = events[i].data.ptr;
		if (port == NULL) {
			uint64_t value;
			(void)!read(engine->wake, &value, sizeof value);
			continue;
		}
		if (port->ops->event != NULL)
			port->ops->event(port);
		activate(engine, port);
	}
}

static void tick(struct ferrite_engine *engine)
{
	engine->tick_ms = engine->now_ms + TICK_MS;
	for (uint32_t i = 1; i < FERRITE_MAX_PORTS; i++) {
		struct port *port = __atomic_load_n(&engine->ports[i], __ATOMIC_ACQUIRE);
		if (port != NULL && port->ops->tick != NULL && !__atomic_load_n(&port->closing, __ATOMIC_ACQUIRE))
			port->ops->tick(port, engine->now_ms);
	}
	uplinks_tick(engine);
}

/* Looks at the next part of the flow table, at a pace that has all of it every FLOW_SWEEP_MS. */
static void sweep(struct ferrite_engine *engine, uint32_t most)
{
	uint64_t buckets = (uint64_t)engine->flows.mask + 1, passed = engine->now_ms - engine->swept_ms;
	uint64_t due = passed * buckets / FLOW_SWEEP_MS;
	if (passed == 0 || (due == 0 && !engine->virtual_clock))
		return;
	rte_spinlock_lock(&engine->decide_lock);
	if (due > buckets)
		due = buckets;
	if (engine->virtual_clock) /* where time leaps, what expired is gone at once */
		due = most = (uint32_t)buckets;
	engine->swept_ms = due <= most ? engine->now_ms : engine->swept_ms + most * (uint64_t)FLOW_SWEEP_MS / buckets;
	flow_sweep(&engine->flows, (uint32_t)(due <= most ? due : most));
	rte_spinlock_unlock(&engine->decide_lock);
}

static void look_at_clock(struct ferrite_engine *engine)
{
	engine->now_ms = engine->clock_ms();
	engine->flows.now = (uint32_t)engine->now_ms;
	if (engine->now_ms >= engine->tick_ms)
		tick(engine);
	sweep(engine, engine->active_count > 1 ? 512 : 4096);
}

static void do_job(struct ferrite_engine *engine)
{
	struct job *job = __atomic_load_n(&engine->job, __ATOMIC_ACQUIRE);
	if (job == NULL || !job->step(engine, job->argument))
		return;
	__atomic_store_n(&engine->job, NULL, __ATOMIC_RELEASE);
	__atomic_store_n(&job->done, 1, __ATOMIC_RELEASE);
}

void engine_run(struct ferrite_engine *engine, bool (*step)(struct ferrite_engine *engine, void *argument), void *argument)
{
	struct job job = {.step = step, .argument = argument};
	uint64_t one = 1;
	if (!engine->has_worker) {
		while (!step(engine, argument))
			continue;
		return;
	}
	__atomic_store_n(&engine->job, &job, __ATOMIC_RELEASE);
	(void)!write(engine->wake, &one, sizeof one);
	while (!__atomic_load_n(&job.done, __ATOMIC_ACQUIRE))
		(void)usleep(20);
}

enum { PURGE_BUCKETS = 4096 };

struct purge {
	unsigned kind;
	uint32_t index, at;
	unsigned reason;
};

static bool belongs(const void *argument, const struct flow_entry *entry)
{
	const struct purge *purge = argument;
	unsigned kind = flow_kind(entry->context);
	if (purge->kind != FLOW_FROM_VM)
		return kind == purge->kind && flow_index(entry->context) == purge->index;
	return (kind <= FLOW_FROM_INTERFACE && flow_index(entry->context) == purge->index) ||
		(entry->action == FLOW_DELIVER && raw32(entry->target) == purge->index);
}

static bool purge_step(struct ferrite_engine *engine, void *argument)
{
	struct purge *purge = argument;
	rte_spinlock_lock(&engine->decide_lock);
	flow_purge(&engine->flows, purge->at, PURGE_BUCKETS, belongs, purge, purge->reason);
	rte_spinlock_unlock(&engine->decide_lock);
	purge->at += PURGE_BUCKETS;
	return purge->at > engine->flows.mask;
}

void engine_purge(struct ferrite_engine *engine, unsigned kind, uint32_t index)
{
	struct purge purge = {.kind = kind, .index = index, .reason = kind == FLOW_FROM_VM ? FERRITE_FLOW_INTERFACE_GONE :
							     kind == FLOW_FROM_BALANCER ? FERRITE_FLOW_TARGET_GONE :
											  FERRITE_FLOW_TRANSLATION_GONE};
	if (flow_count(&engine->flows) > 0)
		engine_run(engine, purge_step, &purge);
}

unsigned ferrite_engine_poll(struct ferrite_engine *engine)
{
	struct rte_mbuf *burst[BURST];
	unsigned moved = 0;
	refresh_when_changed(engine);
	if (engine->turn++ % POLL_TURNS == 0 || engine->active_count <= 1)
		collect(engine);
	if (engine->turn % POLL_TURNS == 0 || engine->virtual_clock)
		look_at_clock(engine);
	do_job(engine);
	for (unsigned i = 0; i < engine->active_count;) {
		struct port *port = engine->active[i];
		unsigned count = port->ops->receive(port, burst, BURST);
		if (count > 0) {
			if (!observe_in(engine, port, burst, count))
				pipeline(engine, port, burst, count);
			pipeline_flush(engine);
			moved += count;
		}
		if (count == 0 && !polls_free(port)) {
			port->active = false; /* epoll finds it again */
			engine->active[i] = engine->active[--engine->active_count];
			engine->active_handles[i] = engine->active_handles[engine->active_count];
			continue;
		}
		i++;
	}
	return moved;
}

static bool ports_sleep(struct ferrite_engine *engine, bool asleep)
{
	bool work = false;
	refresh_when_changed(engine); /* what was closed meanwhile is freed */
	for (unsigned i = 0; i < engine->active_count; i++)
		if (engine->active[i]->ops->sleep != NULL)
			work |= engine->active[i]->ops->sleep(engine->active[i], asleep);
	return work;
}

static void *worker_main(void *argument)
{
	struct ferrite_engine *engine = argument;
	(void)pthread_setname_np(pthread_self(), "ferrite-worker");
	/* With an lcore id the packet pools have a cache for this thread. */
	bool registered = rte_thread_register() == 0;
	unsigned idle = 0;
	rte_rcu_qsbr_thread_register(engine->rcu, WORKER);
	rte_rcu_qsbr_thread_online(engine->rcu, WORKER);
	while (!__atomic_load_n(&engine->stopping, __ATOMIC_ACQUIRE)) {
		idle = ferrite_engine_poll(engine) > 0 ? 0 : idle + 1;
		rte_rcu_qsbr_quiescent(engine->rcu, WORKER);
		if (idle < SPIN_TURNS)
			continue;
		if (!ports_sleep(engine, true)) {
			struct epoll_event unused;
			rte_rcu_qsbr_thread_offline(engine->rcu, WORKER);
			/* Only waits: events are fetched again when the worker counts as a reader. */
			(void)epoll_wait(engine->epoll, &unused, 1, SLEEP_MS);
			rte_rcu_qsbr_thread_online(engine->rcu, WORKER);
			look_at_clock(engine);
		}
		(void)ports_sleep(engine, false);
		idle = 0;
		engine->turn = 0;
	}
	rte_rcu_qsbr_thread_offline(engine->rcu, WORKER);
	rte_rcu_qsbr_thread_unregister(engine->rcu, WORKER);
	if (registered)
		rte_thread_unregister();
	return NULL;
}

int worker_start(struct ferrite_engine *engine, char *error)
{
	int status = pthread_create(&engine->worker, NULL, worker_main, engine);
	if (status != 0)
		return port_error(error, status, "cannot start the worker thread: %s", strerror(status));
	engine->has_worker = true;
	return 0;
}

void worker_stop(struct ferrite_engine *engine)
{
	if (!engine->has_worker)
		return;
	uint64_t one = 1;
	__atomic_store_n(&engine->stopping, true, __ATOMIC_RELEASE);
	(void)!write(engine->wake, &one, sizeof one);
	(void)pthread_join(engine->worker, NULL);
	engine->has_worker = false;
}
