/* Interfaces and routes, as the control layer changes them. */
#include <errno.h>

#include "engine/state.h"
#include "stage/decap.h"

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

/* An index for the wanted underlay address, which is written where it was not given. 0: see `code`. */
static uint32_t take_index(struct ferrite_engine *engine, const ferrite_ipv6 *preferred, uint8_t underlay[16], int *code)
{
	bool given = !zero16(preferred->bytes);
	if (given && raw64(preferred->bytes) != raw64(engine->prefix)) {
		*code = -EINVAL;
		return 0;
	}
	if (given && underlay_find(engine, preferred->bytes) != NULL) {
		*code = -EEXIST;
		return 0;
	}
	if (given && underlay_is_ours(preferred->bytes)) {
		/* One of ours from before, as when a controller restores a host: it comes back as it was. */
		uint32_t index = underlay_index(preferred->bytes);
		*code = index == 0 || index >= FERRITE_MAX_INTERFACES ? -EINVAL : -EEXIST;
		if (index == 0 || index >= FERRITE_MAX_INTERFACES || engine->interfaces[index].port != NULL)
			return 0;
		engine->generations[index] = load16(preferred->bytes + 11);
		memcpy(underlay, preferred->bytes, 16);
		return index;
	}
	uint32_t index = 0;
	for (uint32_t i = 0; i < FERRITE_MAX_INTERFACES - 1 && index == 0; i++) {
		uint32_t candidate = 1 + (engine->interface_hint + i) % (FERRITE_MAX_INTERFACES - 1);
		if (engine->interfaces[candidate].port == NULL)
			index = candidate;
	}
	*code = -ENOSPC;
	if (index == 0)
		return 0;
	engine->interface_hint = index;
	if (given) {
		memcpy(underlay, preferred->bytes, 16);
		return index;
	}
	memset(underlay, 0, 16);
	memcpy(underlay, engine->prefix, 8);
	underlay[8] = UNDERLAY_MARK;
	underlay[9] = UNDERLAY_TYPE_INTERFACE;
	store16(underlay + 11, ++engine->generations[index]);
	store32(underlay + 12, load32(underlay + 12) | index);
	return index;
}

static void link_external(struct ferrite_engine *engine, struct interface *interface)
{
	uint16_t *head = &engine->external_heads[external_head(interface->underlay)];
	interface->external_next = *head;
	__atomic_store_n(head, (uint16_t)interface->index, __ATOMIC_RELEASE);
}

static void unlink_external(struct ferrite_engine *engine, struct interface *interface)
{
	uint16_t *head = &engine->external_heads[external_head(interface->underlay)];
	if (*head == interface->index) {
		__atomic_store_n(head, (uint16_t)interface->external_next, __ATOMIC_RELEASE);
		return;
	}
	for (uint32_t at = *head; at != 0; at = engine->interfaces[at].external_next) {
		if (engine->interfaces[at].external_next == interface->index) {
			__atomic_store_n(&engine->interfaces[at].external_next, interface->external_next,
					 __ATOMIC_RELEASE);
			return;
		}
	}
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

static void fill(struct interface *interface, const struct ferrite_interface_config *config, struct port *port,
		 struct vni *vni, uint32_t index, const uint8_t underlay[16])
{
	memset(interface, 0, sizeof *interface);
	memcpy(interface->underlay, underlay, 16);
	memcpy(interface->ipv4, config->ipv4.bytes, 4);
	memcpy(interface->ipv6, config->ipv6.bytes, 16);
	interface->has4 = raw32(config->ipv4.bytes) != 0;
	interface->has6 = !zero16(config->ipv6.bytes);
	interface->vni = vni;
	interface->index = index;
	interface->outer[0] = 0x60;
	interface->outer[7] = 64; /* hop limit */
	memcpy(interface->outer + 8, underlay, 16);
	/* Until the guest speaks: the address of its device where the port knows it, else everybody. */
	static const uint8_t nobody[6];
	memset(interface->frame, 0xff, 6);
	if (memcmp(port->guest_mac, nobody, 6) != 0)
		memcpy(interface->frame, port->guest_mac, 6);
	memcpy(interface->frame + 6, port->mac, 6);
	memcpy(interface->hostname, config->hostname, sizeof interface->hostname - 1);
	interface->port = port;
}

int ferrite_interface_add(struct ferrite_engine *engine, const struct ferrite_interface_config *config,
			  uint32_t *result, ferrite_ipv6 *underlay)
{
	struct port *port = config->port < FERRITE_MAX_PORTS ? engine->ports[config->port] : NULL;
	uint8_t address[16];
	int status;
	if (port == NULL || config->port == 0 || config->vni == 0 || config->vni >= VNI_LIMIT)
		return -EINVAL;
	if (port->interface != NULL)
		return -EBUSY;
	bool has4 = raw32(config->ipv4.bytes) != 0, has6 = !zero16(config->ipv6.bytes);
	if ((has4 && routed(engine, config->vni, 4, config->ipv4.bytes)) ||
	    (has6 && routed(engine, config->vni, 6, config->ipv6.bytes)))
		return -EADDRINUSE;
	struct vni *vni = vni_take(&engine->routes, config->vni);
	if (vni == NULL)
		return -ENOSPC;
	uint32_t index = take_index(engine, &config->preferred_underlay, address, &status);
	if (index == 0)
		return status;
	struct interface *interface = &engine->interfaces[index];
	fill(interface, config, port, vni, index, address);
	vni->interfaces++;
	if (!underlay_is_ours(address))
		link_external(engine, interface);
	__atomic_store_n(&interface->state, 1, __ATOMIC_RELEASE);
	status = has4 ? put_local(engine, interface, 4) : 0;
	if (status == 0 && has6)
		status = put_local(engine, interface, 6);
	__atomic_store_n(&port->interface, interface, __ATOMIC_RELEASE);
	if (status < 0) {
		(void)ferrite_interface_remove(engine, index);
		return status;
	}
	*result = index;
	memcpy(underlay->bytes, address, 16);
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
	if (!underlay_is_ours(interface->underlay))
		unlink_external(engine, interface);
	vni_touch(&engine->routes, interface->vni);
	engine_quiesce(engine);
	interface->vni->interfaces--;
	interface->port = NULL;
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
