/* Interfaces and routes, as the control layer changes them.
 *
 * What a first packet reads is changed under the decide lock; what every packet reads is published and withdrawn. */
#include <errno.h>

#include "engine/state.h"

static void host_key(struct ferrite_route_key *key, uint32_t vni, uint8_t family, const uint8_t *address)
{
	*key = (struct ferrite_route_key){.vni = vni, .family = family, .length = family == 4 ? 32 : 128};
	memcpy(key->prefix, address, family == 4 ? 4 : 16);
}

static bool routed(const struct ferrite_engine *engine, uint32_t vni, uint8_t family, const uint8_t *address)
{
	struct ferrite_route_key key;
	host_key(&key, vni, family, address);
	return route_find(&engine->routes, &key) != NULL;
}

/* The index that an interface with this wanted address gets; 0: none is free. */
static uint32_t take_index(struct ferrite_engine *engine, const ferrite_ipv6 *preferred)
{
	if (engine->handover.has_next) {
		uint32_t wanted = engine->handover.next.index;
		bool fits = !underlay_is_ours(preferred->bytes) || underlay_index(preferred->bytes) == wanted;
		return fits && wanted < FERRITE_MAX_INTERFACES && engine->interfaces[wanted].port == NULL ? wanted : 0;
	}
	if (raw64(preferred->bytes) == raw64(engine->prefix) && underlay_is_ours(preferred->bytes)) {
		uint32_t index = underlay_index(preferred->bytes);
		/* endpoint_take says what is wrong with it. */
		return index < FERRITE_MAX_INTERFACES && engine->interfaces[index].port == NULL ? index : FERRITE_MAX_INTERFACES;
	}
	for (uint32_t i = 0; i < FERRITE_MAX_INTERFACES - 1; i++) {
		uint32_t candidate = 1 + (engine->interface_hint + i) % (FERRITE_MAX_INTERFACES - 1);
		if (engine->interfaces[candidate].port == NULL && engine->endpoints.by_index[ENDPOINT_INTERFACE][candidate] == 0) {
			engine->interface_hint = candidate;
			return candidate;
		}
	}
	return 0;
}

static int put_local(struct ferrite_engine *engine, const struct interface *interface, uint8_t family)
{
	struct ferrite_route route = {.local = true, .interface = interface->index};
	host_key(&route.key, interface->vni->number, family, family == 4 ? interface->ipv4 : interface->ipv6);
	memcpy(route.next_hop.bytes, interface->underlay, 16);
	route.next_hop_vni = interface->vni->number;
	return route_put(&engine->routes, &route, false);
}

static void drop_local(struct ferrite_engine *engine, const struct interface *interface, uint8_t family)
{
	struct ferrite_route_key key;
	host_key(&key, interface->vni->number, family, family == 4 ? interface->ipv4 : interface->ipv6);
	(void)route_remove(&engine->routes, &key, true);
}

static void set_rates(struct ferrite_engine *engine, struct interface *interface, uint64_t total, uint64_t public_rate,
		      uint32_t flow_limit, uint32_t flow_rate)
{
	uint32_t rate = flow_rate != 0 ? flow_rate : engine->default_flow_rate;
	rate_set_megabits(&interface->total, total);
	rate_set_megabits(&interface->public_rate, public_rate);
	interface->metered = total != 0 || public_rate != 0;
	rate_set(&interface->flow_rate, rate, rate);
	interface->flow_limit = flow_limit;
}

static void fill(struct ferrite_engine *engine, struct interface *interface,
		 const struct ferrite_interface_config *config, struct port *port, struct vni *vni, uint32_t index)
{
	memset(interface, 0, sizeof *interface);
	memcpy(interface->ipv4, config->ipv4.bytes, 4);
	memcpy(interface->ipv6, config->ipv6.bytes, 16);
	interface->has4 = raw32(config->ipv4.bytes) != 0;
	interface->has6 = !zero16(config->ipv6.bytes);
	interface->vni = vni;
	interface->index = index;
	/* Until the guest speaks: the address of its device where the port knows it, else everybody. */
	static const uint8_t nobody[6];
	memset(interface->frame, 0xff, 6);
	if (memcmp(port->guest_mac, nobody, 6) != 0)
		memcpy(interface->frame, port->guest_mac, 6);
	memcpy(interface->frame + 6, port->mac, 6);
	memcpy(interface->hostname, config->hostname, sizeof interface->hostname - 1);
	memcpy(interface->pxe_server, config->pxe_server, sizeof interface->pxe_server - 1);
	memcpy(interface->pxe_file, config->pxe_file, sizeof interface->pxe_file - 1);
	interface->spoof_off = config->spoof_check_off;
	set_rates(engine, interface, config->total_rate, config->public_rate, config->flow_limit, config->flow_rate);
	for (unsigned i = 0; i < SERVICES; i++)
		rate_set(&interface->services[i], SERVICE_RATE, SERVICE_RATE);
	port_counters_add(&interface->base, &port->counters); /* it is zero */
	memset(&engine->interface_counters[index], 0, sizeof(struct counters));
	interface_touch(engine, interface);
	interface->port = port;
}

int ferrite_interface_add(struct ferrite_engine *engine, const struct ferrite_interface_config *config,
			  uint32_t *result, ferrite_ipv6 *underlay)
{
	struct port *port = config->port < FERRITE_MAX_PORTS ? engine->ports[config->port] : NULL;
	int status;
	if (port == NULL || config->port == 0 || config->vni == 0 || config->vni >= VNI_LIMIT)
		return -EINVAL;
	if (port->interface != NULL || port->edge != NULL)
		return -EBUSY;
	bool has4 = raw32(config->ipv4.bytes) != 0, has6 = !zero16(config->ipv6.bytes);
	if ((has4 && routed(engine, config->vni, 4, config->ipv4.bytes)) ||
	    (has6 && routed(engine, config->vni, 6, config->ipv6.bytes)))
		return -EADDRINUSE;
	struct vni *vni = vni_take(&engine->routes, config->vni);
	if (vni == NULL)
		return -ENOSPC;
	const ferrite_ipv6 *preferred = handover_underlay(engine, &config->preferred_underlay);
	uint32_t index = take_index(engine, preferred);
	if (index == 0)
		return -ENOSPC;
	uint32_t place = endpoint_take(&engine->endpoints, ENDPOINT_INTERFACE, index, preferred, &status);
	engine->handover.has_next = false;
	if (place == 0)
		return status;
	if (index == FERRITE_MAX_INTERFACES) {
		endpoint_withdraw(&engine->endpoints, place);
		endpoint_give(&engine->endpoints, place);
		return -EEXIST;
	}
	struct interface *interface = &engine->interfaces[index];
	fill(engine, interface, config, port, vni, index);
	interface->endpoint = place;
	memcpy(interface->underlay, engine->endpoints.places[place].underlay, 16);
	engine->endpoints.places[place].owner = index;
	vni->interfaces++;
	__atomic_store_n(&interface->state, 1, __ATOMIC_RELEASE);
	endpoint_publish(&engine->endpoints, place, ENDPOINT_INTERFACE);
	status = has4 ? put_local(engine, interface, 4) : 0;
	if (status == 0 && has6)
		status = put_local(engine, interface, 6);
	__atomic_store_n(&port->interface, interface, __ATOMIC_RELEASE);
	if (status < 0) {
		(void)ferrite_interface_remove(engine, index);
		return status;
	}
	*result = index;
	memcpy(underlay->bytes, interface->underlay, 16);
	return 0;
}

int ferrite_interface_remove(struct ferrite_engine *engine, uint32_t index)
{
	struct interface *interface = index > 0 && index < FERRITE_MAX_INTERFACES ? &engine->interfaces[index] : NULL;
	if (interface == NULL || interface->port == NULL)
		return -ENOENT;
	__atomic_store_n(&interface->state, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&interface->port->interface, NULL, __ATOMIC_RELEASE);
	if (interface->has4)
		drop_local(engine, interface, 4);
	if (interface->has6)
		drop_local(engine, interface, 6);
	endpoint_withdraw(&engine->endpoints, interface->endpoint);
	network_leave(engine, index);
	interface_touch(engine, interface);
	vni_touch(&engine->routes, interface->vni);
	engine_quiesce(engine);
	/* Nobody begins a flow with it any more. */
	engine_purge(engine, FLOW_FROM_VM, index);
	rte_spinlock_lock(&engine->decide_lock);
	fragment_forget(&engine->fragments, index);
	firewall_drop(interface);
	rte_spinlock_unlock(&engine->decide_lock);
	endpoint_give(&engine->endpoints, interface->endpoint);
	interface->vni->interfaces--;
	interface->port = NULL;
	return 0;
}

struct update {
	struct interface *interface;
	const struct ferrite_interface_settings *settings;
};

/* By the worker: it takes from the rates, and reads names into answers, without the lock. */
static bool update_step(struct ferrite_engine *engine, void *argument)
{
	const struct update *update = argument;
	const struct ferrite_interface_settings *settings = update->settings;
	struct interface *interface = update->interface;
	rte_spinlock_lock(&engine->decide_lock);
	set_rates(engine, interface, settings->total_rate, settings->public_rate, settings->flow_limit, settings->flow_rate);
	interface->spoof_off = settings->spoof_check_off;
	memcpy(interface->hostname, settings->hostname, sizeof interface->hostname - 1);
	memcpy(interface->pxe_server, settings->pxe_server, sizeof interface->pxe_server - 1);
	memcpy(interface->pxe_file, settings->pxe_file, sizeof interface->pxe_file - 1);
	rte_spinlock_unlock(&engine->decide_lock);
	return true;
}

int ferrite_interface_update(struct ferrite_engine *engine, uint32_t index,
			     const struct ferrite_interface_settings *settings)
{
	struct interface *interface = index > 0 && index < FERRITE_MAX_INTERFACES ? &engine->interfaces[index] : NULL;
	if (interface == NULL || interface->port == NULL)
		return -ENOENT;
	struct update update = {.interface = interface, .settings = settings};
	bool decides = interface->spoof_off != settings->spoof_check_off;
	engine_run(engine, update_step, &update);
	if (decides)
		interface_touch(engine, interface);
	return 0;
}

int ferrite_route_put(struct ferrite_engine *engine, const struct ferrite_route *route, bool replace)
{
	struct ferrite_route remote = *route;
	remote.local = false;
	remote.interface = 0;
	return route_put(&engine->routes, &remote, replace);
}

int ferrite_route_remove(struct ferrite_engine *engine, const struct ferrite_route_key *key)
{
	return route_remove(&engine->routes, key, false);
}

unsigned ferrite_route_clear(struct ferrite_engine *engine, uint32_t vni)
{
	return route_clear(&engine->routes, vni);
}

void ferrite_route_each(struct ferrite_engine *engine, uint32_t vni,
			bool (*visit)(void *context, const struct ferrite_route *route), void *context)
{
	route_each(&engine->routes, vni, visit, context);
}
