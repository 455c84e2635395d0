/* Start, stop, ports and counters: what the control layer calls, except interfaces and what is around them. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "engine/state.h"
#include "stage/events.h"
#include "stage/plan.h"
#include "table/memory.h"

static int make_tables(struct ferrite_engine *engine, const struct ferrite_engine_config *config, char *error)
{
	uint64_t seed[6];
	if (getrandom(seed, sizeof seed, 0) != sizeof seed)
		return port_error(error, EIO, "no random numbers");
	engine->seed = config->has_seed ? config->seed : (uint32_t)seed[0];
	if (config->has_seed) /* all of a run can be had again */
		for (unsigned i = 0; i < 6; i++)
			seed[i] = mix(config->seed, i);
	const char *flows = getenv("FERRITE_FLOWS"); /* entries; for benches */
	uint32_t capacity = config->flow_capacity != 0 ? config->flow_capacity :
		flows != NULL && atoi(flows) > 0 ? (uint32_t)atoi(flows) : (uint32_t)FLOW_CAPACITY;
	uint32_t timeout = config->flow_timeout_seconds != 0 ? config->flow_timeout_seconds : (uint32_t)FLOW_TIMEOUT_SECONDS;
	unsigned workers = config->workers > 1 ? config->workers : 1;
	size_t rcu_bytes = rte_rcu_qsbr_get_memsize(workers);
	engine->rcu = aligned_alloc(RTE_CACHE_LINE_SIZE, (rcu_bytes + 127) & ~(size_t)127);
	engine->interfaces = table_memory(sizeof(struct interface) * FERRITE_MAX_INTERFACES, 0);
	engine->interface_counters = table_memory(sizeof(struct counters) * FERRITE_MAX_INTERFACES, 0);
	engine->balancers = table_memory(sizeof *engine->balancers * FERRITE_MAX_ENDPOINTS, 0);
	engine->nat_groups = table_memory(sizeof *engine->nat_groups * NAT_GROUPS, 0);
	engine->nats = table_memory(sizeof *engine->nats, 0);
	engine->neighbor_nats = table_memory(sizeof *engine->neighbor_nats, 0);
	engine->services = calloc(MAX_VIRTUAL_SERVICES, sizeof *engine->services);
	if (engine->rcu == NULL || engine->interfaces == NULL || engine->interface_counters == NULL ||
	    engine->balancers == NULL || engine->nat_groups == NULL || engine->nats == NULL ||
	    engine->neighbor_nats == NULL || engine->services == NULL || rte_rcu_qsbr_init(engine->rcu, workers) != 0)
		return port_error(error, ENOMEM, "no memory for tables");
	uint64_t seeds[3] = {engine->seed, seed[0], seed[4]};
	int shared = handover_tables(engine, config, capacity, timeout, seeds, error);
	if (shared < 0)
		return shared;
	if ((shared == 0 && flow_table_init(&engine->flows, capacity, OWNERS, timeout, seed[0]) < 0) ||
	    route_table_init(&engine->routes, engine->rcu, seed[1], FERRITE_MAX_ROUTES) < 0 ||
	    endpoint_table_init(&engine->endpoints, engine->prefix, seed[2]) < 0 ||
	    fragment_table_init(&engine->fragments, seed[3]) < 0 ||
	    (shared == 0 && nat_table_init(engine->nats, seed[4], NAT_MAPPINGS) < 0) ||
	    neighbor_nat_init(engine->neighbor_nats, engine->rcu, seed[5], FERRITE_MAX_NEIGHBOR_NATS) < 0 ||
	    service_address_init(&engine->service_addresses) < 0)
		return port_error(error, ENOMEM, "no memory for tables");
	engine->routes.own = raw64(engine->prefix);
	handover_epochs(engine);
	engine->flows.ended = event_ended;
	engine->flows.context = engine;
	engine->flows.now = (uint32_t)engine->now_ms;
	engine->swept_ms = engine->now_ms;
	engine->default_flow_limit = config->flow_limit != 0 ? config->flow_limit : (engine->flows.mask + 1) * 2;
	engine->default_flow_rate = config->flow_rate;
	rte_spinlock_init(&engine->decide_lock);
	return 0;
}

static void free_engine(struct ferrite_engine *engine)
{
	flow_table_free(&engine->flows);
	if (engine->routes.entries != NULL)
		route_table_free(&engine->routes);
	if (engine->endpoints.places != NULL)
		endpoint_table_free(&engine->endpoints);
	if (engine->fragments.memory != NULL)
		fragment_table_free(&engine->fragments);
	if (engine->nats != NULL && engine->nats->mappings != NULL)
		nat_table_free(engine->nats);
	if (engine->neighbor_nats != NULL && engine->neighbor_nats->heads != NULL)
		neighbor_nat_free(engine->neighbor_nats);
	service_address_free(&engine->service_addresses);
	network_free(engine);
	edges_free(engine);
	handover_free(engine);
	free(engine->rcu);
	table_free(engine->interfaces, sizeof(struct interface) * FERRITE_MAX_INTERFACES, 0);
	table_free(engine->interface_counters, sizeof(struct counters) * FERRITE_MAX_INTERFACES, 0);
	table_free(engine->balancers, sizeof *engine->balancers * FERRITE_MAX_ENDPOINTS, 0);
	table_free(engine->nat_groups, sizeof *engine->nat_groups * NAT_GROUPS, 0);
	table_free(engine->nats, sizeof *engine->nats, 0);
	table_free(engine->neighbor_nats, sizeof *engine->neighbor_nats, 0);
	table_free(engine->events, sizeof *engine->events, 0);
	free(engine->services);
	if (engine->epoll >= 0)
		close(engine->epoll);
	if (engine->wake >= 0)
		close(engine->wake);
	free(engine);
}

static int prepare(struct ferrite_engine *engine, const struct ferrite_engine_config *config, char *error)
{
	int status = environment_start(error);
	if (status < 0)
		return status;
	status = make_tables(engine, config, error);
	if (status < 0)
		return status;
	engine->epoll = epoll_create1(EPOLL_CLOEXEC);
	engine->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN};
	if (engine->epoll < 0 || engine->wake < 0 ||
	    epoll_ctl(engine->epoll, EPOLL_CTL_ADD, engine->wake, &event) < 0)
		return port_error(error, errno, "cannot make the worker's event set: %s", strerror(errno));
	status = uplinks_open(engine, config, error);
	if (status < 0)
		return status;
	engine->ports_version = 1;
	return config->start_worker ? worker_start(engine, error) : 0;
}

int ferrite_engine_prepare(char error[FERRITE_ERROR_TEXT])
{
	error[0] = 0;
	return environment_start(error);
}

int ferrite_engine_start(const struct ferrite_engine_config *config, struct ferrite_engine **result,
			 char error[FERRITE_ERROR_TEXT])
{
	error[0] = 0;
	if (config->mtu < 576 || config->mtu > 9000 || config->dns4_count > FERRITE_MAX_DNS ||
	    config->dns6_count > FERRITE_MAX_DNS)
		return port_error(error, EINVAL, "mtu %u: say 576 to 9000; at most %d DNS servers of a family",
				  config->mtu, FERRITE_MAX_DNS);
	struct ferrite_engine *engine = calloc(1, sizeof *engine);
	if (engine == NULL)
		return -ENOMEM;
	engine->epoll = engine->wake = engine->handover.region.descriptor = -1;
	engine->mtu = config->mtu;
	engine->clock_ms = config->clock_ms != NULL ? config->clock_ms : engine_clock_ms;
	engine->virtual_clock = config->clock_ms != NULL;
	engine->now_ms = engine->clock_ms();
	memcpy(engine->prefix, config->underlay_prefix.bytes, 8);
	memcpy(engine->dns4, config->dns4, sizeof engine->dns4);
	memcpy(engine->dns6, config->dns6, sizeof engine->dns6);
	engine->dns4_count = config->dns4_count;
	engine->dns6_count = config->dns6_count;
	(void)snprintf(engine->name, sizeof engine->name, "%s", config->name != NULL ? config->name : "");
	int status = prepare(engine, config, error);
	if (status < 0) {
		ferrite_engine_stop(engine);
		return status;
	}
	*result = engine;
	return 0;
}

void ferrite_engine_stop(struct ferrite_engine *engine)
{
	if (engine == NULL)
		return;
	worker_stop(engine);
	for (uint32_t i = 1; i < FERRITE_MAX_PORTS; i++)
		if (engine->ports[i] != NULL)
			engine->ports[i]->ops->close(engine->ports[i]);
	uplinks_close(engine);
	free_engine(engine);
}

/* Locally administered, and the same each time for the same device. */
static void derive_mac(const char *device, uint8_t mac[6])
{
	uint64_t hash = 0;
	for (const char *at = device; *at != 0; at++)
		hash = mix(hash ^ (uint8_t)*at, 0x9e3779b97f4a7c15ULL);
	memcpy(mac, &hash, 6);
	mac[0] = 0x02;
}

static struct port *port_at(struct ferrite_engine *engine, uint32_t handle)
{
	return handle > 0 && handle < FERRITE_MAX_PORTS ? engine->ports[handle] : NULL;
}

int ferrite_port_open(struct ferrite_engine *engine, const char *device, const ferrite_mac *mac, uint32_t *handle,
		      char error[FERRITE_ERROR_TEXT])
{
	uint32_t place = 1;
	struct port *port = NULL;
	int status;
	error[0] = 0;
	while (place < FERRITE_MAX_PORTS && engine->ports[place] != NULL)
		place++;
	if (place == FERRITE_MAX_PORTS)
		return port_error(error, ENOSPC, "all %d ports are in use", FERRITE_MAX_PORTS - 1);
	if (strlen(device) >= FERRITE_DEVICE_TEXT)
		return port_error(error, EINVAL, "the device name is longer than %d", FERRITE_DEVICE_TEXT - 1);
	if (strncmp(device, "vtap:", 5) == 0)
		status = vtap_open(engine, device + 5, &port, error);
	else if (strncmp(device, "eth:", 4) == 0)
		status = eth_open_access(engine, device + 4, &port, error);
	else if (strncmp(device, "ring:", 5) == 0)
		status = ring_open(engine, device + 5, &port, error);
	else if (strncmp(device, "vhost:", 6) == 0)
		status = vhost_open(engine, device + 6, &port, error);
	else if (strncmp(device, "pci:", 4) == 0)
		status = pci_open_access(engine, device + 4, &port, error);
	else
		status = port_error(error, EINVAL, "device \"%s\": say vtap:NAME, eth:NAME, ring:NAME or pci:DEVICE", device);
	if (status < 0)
		return status;
	port->handle = place;
	if (mac != NULL)
		memcpy(port->mac, mac->bytes, 6);
	else
		derive_mac(device, port->mac);
	__atomic_store_n(&engine->ports[place], port, __ATOMIC_RELEASE);
	__atomic_add_fetch(&engine->ports_version, 1, __ATOMIC_ACQ_REL);
	engine_watch(engine, port, true);
	*handle = place;
	return 0;
}

int ferrite_port_info(struct ferrite_engine *engine, uint32_t handle, struct ferrite_port_info *info)
{
	const struct port *port = port_at(engine, handle);
	if (port == NULL)
		return -ENOENT;
	memcpy(info->device, port->device, sizeof info->device);
	memcpy(info->mac.bytes, port->mac, 6);
	return 0;
}

int ferrite_port_close(struct ferrite_engine *engine, uint32_t handle)
{
	struct port *port = port_at(engine, handle);
	if (port == NULL)
		return -ENOENT;
	if (port->interface != NULL || port->edge != NULL)
		return -EBUSY;
	/* The worker drops it from its list when it sees the version, before it is freed. */
	__atomic_store_n(&port->closing, true, __ATOMIC_RELEASE);
	__atomic_store_n(&engine->ports[handle], NULL, __ATOMIC_RELEASE);
	__atomic_add_fetch(&engine->ports_version, 1, __ATOMIC_ACQ_REL);
	engine_watch(engine, port, false);
	engine_quiesce(engine);
	observe_forget(engine, handle);
	port->ops->close(port);
	return 0;
}

static uint64_t peek(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static uint32_t peek32(const uint32_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

void ferrite_counters_each(struct ferrite_engine *engine,
			   void (*visit)(void *context, const char *name, uint64_t value), void *context)
{
#define X(field, name) visit(context, name, peek(&engine->counters.field));
	FERRITE_COUNTERS(X)
#undef X
	visit(context, "flows.active", peek(&engine->flows.count));
	visit(context, "flows.capacity", ((uint64_t)engine->flows.mask + 1) * 4);
	visit(context, "flows.inserted", peek(&engine->flows.inserted));
	visit(context, "flows.evicted", peek(&engine->flows.evicted));
	visit(context, "flows.refused", peek(&engine->flows.refused));
	visit(context, "flows.expired", peek(&engine->flows.expired));
	visit(context, "flows.owners", peek32(&engine->flows.owners_used));
	visit(context, "flows.events_lost", engine->events != NULL ? peek(&engine->events->lost) : 0);
	visit(context, "nat.mappings", peek32(&engine->nats->count));
	visit(context, "endpoints.count", engine->endpoints.count);
	visit(context, "routes.count", engine->routes.count);
	visit(context, "buffers.small_in_use", rte_mempool_in_use_count(buffers.small));
	visit(context, "buffers.big_in_use", rte_mempool_in_use_count(buffers.big));
	uplinks_counters_each(engine, visit, context);
	for (uint32_t i = 1; i < FERRITE_MAX_PORTS; i++) {
		char prefix[FERRITE_DEVICE_TEXT + 8];
		if (engine->ports[i] == NULL)
			continue;
		(void)snprintf(prefix, sizeof prefix, "port.%s", engine->ports[i]->device);
		port_counters_each(&engine->ports[i]->counters, prefix, visit, context);
		if (engine->ports[i]->ops->counters != NULL)
			engine->ports[i]->ops->counters(engine->ports[i], visit, context);
	}
}

int ferrite_interface_counters(struct ferrite_engine *engine, uint32_t index,
			       void (*visit)(void *context, const char *name, uint64_t value), void *context)
{
	const struct interface *interface = index > 0 && index < FERRITE_MAX_INTERFACES ? &engine->interfaces[index] : NULL;
	if (interface == NULL || interface->port == NULL)
		return -ENOENT;
	const struct port_counters *now = &interface->port->counters, *base = &interface->base;
	visit(context, "rx_packets", peek(&now->rx_packets) - base->rx_packets);
	visit(context, "rx_bytes", peek(&now->rx_bytes) - base->rx_bytes);
	visit(context, "tx_packets", peek(&now->tx_packets) - base->tx_packets);
	visit(context, "tx_bytes", peek(&now->tx_bytes) - base->tx_bytes);
	visit(context, "flows", peek32(&engine->flows.owners[index]));
	for (enum counter counter = COUNTER_drop_no_interface; counter < COUNTERS; counter++)
		visit(context, counter_name(counter), peek(counter_of(&engine->interface_counters[index], counter)));
	return 0;
}
