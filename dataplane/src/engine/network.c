/* What the control layer adds around interfaces: prefixes, VIPs, NATs, load balancers, firewalls, virtual services.
 *
 * A change of what decides first packets is made under the decide lock and touches the interface's (or balancer's)
 * epoch, so that its flows are decided anew; memory that workers may still read is freed after a grace period.
 */
#include <errno.h>
#include <stdlib.h>

#include "engine/state.h"

static struct interface *interface_at(struct ferrite_engine *engine, uint32_t index)
{
	struct interface *interface = index > 0 && index < FERRITE_MAX_INTERFACES ? &engine->interfaces[index] : NULL;
	return interface != NULL && interface->port != NULL ? interface : NULL;
}

static void lock(struct ferrite_engine *engine)
{
	rte_spinlock_lock(&engine->decide_lock);
}

static void unlock(struct ferrite_engine *engine)
{
	rte_spinlock_unlock(&engine->decide_lock);
}

/* A place for something that is not an interface; a taken address is -EADDRINUSE here. */
static uint32_t take_place(struct ferrite_engine *engine, uint8_t kind, uint32_t owner, const ferrite_ipv6 *preferred,
			   ferrite_ipv6 *underlay, int *status)
{
	uint32_t place = endpoint_take(&engine->endpoints, kind, 0, handover_underlay(engine, preferred), status);
	engine->handover.has_next = false;
	if (place == 0) {
		*status = *status == -EEXIST ? -EADDRINUSE : *status;
		return 0;
	}
	engine->endpoints.places[place].owner = owner;
	memcpy(underlay->bytes, engine->endpoints.places[place].underlay, 16);
	return place;
}

/* One that nobody has seen yet. */
static int return_place(struct ferrite_engine *engine, uint32_t place, int status)
{
	endpoint_withdraw(&engine->endpoints, place);
	endpoint_give(&engine->endpoints, place);
	return status;
}

static void free_place(struct ferrite_engine *engine, uint32_t place)
{
	endpoint_withdraw(&engine->endpoints, place);
	engine_quiesce(engine);
	endpoint_give(&engine->endpoints, place);
}

/* Prefixes. */

static bool same_prefix(const struct endpoint_prefix *prefix, const struct ferrite_route_key *key)
{
	return prefix->family == key->family && prefix->length == key->length &&
		memcmp(prefix->bytes, key->prefix, key->family == 4 ? 4 : 16) == 0;
}

/* With its host bits cleared, and of this VNI. */
static bool whole_key(const struct ferrite_route_key *from, uint32_t vni, struct ferrite_route_key *key)
{
	uint64_t high, low;
	uint8_t wide[16] = {0};
	if ((from->family != 4 && from->family != 6) || from->length > (from->family == 4 ? 32 : 128))
		return false;
	memcpy(wide, from->prefix, from->family == 4 ? 4 : 16);
	prefix_mask(wide, from->length, &high, &low);
	*key = (struct ferrite_route_key){.vni = vni, .family = from->family, .length = from->length};
	memcpy(key->prefix, &high, 8);
	memcpy(key->prefix + 8, &low, 8);
	return true;
}

/* Where the number of the prefix's place stands; NULL: the interface has no such prefix. */
static uint32_t *prefix_link(struct ferrite_engine *engine, struct interface *interface, const struct ferrite_route_key *key,
			     uint8_t kind)
{
	for (uint32_t *at = &interface->prefixes; *at != 0; at = &engine->endpoints.prefixes[*at].next)
		if (engine->endpoints.places[*at].kind == kind && same_prefix(&engine->endpoints.prefixes[*at], key))
			return at;
	return NULL;
}

/* Alias before load balancer prefixes, long before short. */
static bool prefix_before(const struct endpoint_table *table, uint32_t a, uint8_t kind, uint8_t length)
{
	if (table->places[a].kind != kind)
		return table->places[a].kind == ENDPOINT_ALIAS_PREFIX;
	return table->prefixes[a].length >= length;
}

int ferrite_prefix_add(struct ferrite_engine *engine, uint32_t index, const struct ferrite_route_key *given,
		       bool routed, const ferrite_ipv6 *preferred, ferrite_ipv6 *underlay)
{
	struct interface *interface = interface_at(engine, index);
	struct endpoint_table *endpoints = &engine->endpoints;
	uint8_t kind = routed ? ENDPOINT_ALIAS_PREFIX : ENDPOINT_BALANCER_PREFIX;
	struct ferrite_route_key key;
	int status;
	if (interface == NULL)
		return -ENOENT;
	if (!whole_key(given, interface->vni->number, &key))
		return -EINVAL;
	if (prefix_link(engine, interface, &key, kind) != NULL || (routed && route_find(&engine->routes, &key) != NULL))
		return -EEXIST;
	uint32_t place = take_place(engine, kind, index, preferred, underlay, &status);
	if (place == 0)
		return status;
	struct endpoint_prefix *prefix = &endpoints->prefixes[place];
	*prefix = (struct endpoint_prefix){.family = key.family, .length = key.length};
	memcpy(prefix->bytes, key.prefix, 16);
	lock(engine);
	endpoint_publish(endpoints, place, kind);
	uint32_t *at = &interface->prefixes;
	while (*at != 0 && prefix_before(endpoints, *at, kind, key.length))
		at = &endpoints->prefixes[*at].next;
	prefix->next = *at;
	__atomic_store_n(at, place, __ATOMIC_RELEASE);
	interface_touch(engine, interface);
	unlock(engine);
	if (!routed)
		return 0;
	struct ferrite_route route = {.key = key, .local = true, .interface = index, .next_hop_vni = key.vni};
	memcpy(route.next_hop.bytes, endpoints->places[place].underlay, 16);
	status = route_put(&engine->routes, &route, false);
	if (status < 0)
		(void)ferrite_prefix_remove(engine, index, &key, true);
	return status;
}

int ferrite_prefix_remove(struct ferrite_engine *engine, uint32_t index, const struct ferrite_route_key *given, bool routed)
{
	struct interface *interface = interface_at(engine, index);
	struct ferrite_route_key key;
	if (interface == NULL)
		return -ENOENT;
	if (!whole_key(given, interface->vni->number, &key))
		return -EINVAL;
	uint32_t *at = prefix_link(engine, interface, &key, routed ? ENDPOINT_ALIAS_PREFIX : ENDPOINT_BALANCER_PREFIX);
	if (at == NULL)
		return -ENOENT;
	uint32_t place = *at;
	const struct route_entry *route = route_find(&engine->routes, &key);
	if (routed && route != NULL && route->local && route->interface == index)
		(void)route_remove(&engine->routes, &key, true);
	lock(engine);
	__atomic_store_n(at, engine->endpoints.prefixes[place].next, __ATOMIC_RELEASE);
	endpoint_withdraw(&engine->endpoints, place);
	interface_touch(engine, interface);
	unlock(engine);
	engine_quiesce(engine);
	endpoint_give(&engine->endpoints, place);
	return 0;
}

/* VIPs. */

int ferrite_vip_add(struct ferrite_engine *engine, uint32_t index, ferrite_ipv4 vip, const ferrite_ipv6 *preferred,
		    ferrite_ipv6 *underlay)
{
	struct interface *interface = interface_at(engine, index);
	int status;
	if (interface == NULL)
		return -ENOENT;
	if (interface->has_vip)
		return -EEXIST;
	uint32_t place = take_place(engine, ENDPOINT_VIP, index, preferred, underlay, &status);
	if (place == 0)
		return status;
	lock(engine);
	status = service_address_add(&engine->service_addresses, interface->vni->number, 4, vip.bytes, place);
	if (status == 0) {
		memcpy(interface->vip, vip.bytes, 4);
		interface->vip_endpoint = place;
		__atomic_store_n(&interface->has_vip, 1, __ATOMIC_RELAXED);
		endpoint_publish(&engine->endpoints, place, ENDPOINT_VIP);
		interface_touch(engine, interface);
		edges_touch(engine);
	}
	unlock(engine);
	return status == 0 ? 0 : return_place(engine, place, status);
}

int ferrite_vip_remove(struct ferrite_engine *engine, uint32_t index)
{
	struct interface *interface = interface_at(engine, index);
	if (interface == NULL || !interface->has_vip)
		return -ENOENT;
	lock(engine);
	service_address_remove(&engine->service_addresses, interface->vni->number, 4, interface->vip);
	__atomic_store_n(&interface->has_vip, 0, __ATOMIC_RELAXED);
	interface_touch(engine, interface);
	edges_touch(engine);
	unlock(engine);
	free_place(engine, interface->vip_endpoint);
	return 0;
}

/* NATs. */

static bool is_unused(struct ferrite_engine *engine, uint32_t group)
{
	if (engine->nat_groups[group].users > 0)
		return false;
	lock(engine);
	bool unused = nat_group_used(engine->nats, group) == 0;
	unlock(engine);
	return unused;
}

static uint32_t group_of(struct ferrite_engine *engine, uint32_t vni, const uint8_t ip[4])
{
	uint32_t unused = engine->handover.has_next ? engine->handover.next.group : 0;
	if (unused != 0) { /* flows know it by this number */
		struct nat_group *group = &engine->nat_groups[unused];
		if (group->users > 0 && (group->vni != vni || raw32(group->ip) != raw32(ip)))
			return 0;
		group->vni = vni;
		memcpy(group->ip, ip, 4);
		engine->nat_group_high = unused > engine->nat_group_high ? unused : engine->nat_group_high;
		return unused;
	}
	for (uint32_t i = 1; i <= engine->nat_group_high; i++) {
		const struct nat_group *group = &engine->nat_groups[i];
		if (group->vni == vni && raw32(group->ip) == raw32(ip))
			return i;
		if (unused == 0 && is_unused(engine, i))
			unused = i;
	}
	if (unused == 0 && engine->nat_group_high < NAT_GROUPS - 1)
		unused = ++engine->nat_group_high;
	else if (unused != 0) /* of its last address; shared ports have no mapping */
		engine_purge(engine, FLOW_FROM_NAT, unused);
	if (unused != 0) {
		engine->nat_groups[unused] = (struct nat_group){.vni = vni};
		memcpy(engine->nat_groups[unused].ip, ip, 4);
	}
	return unused;
}

int ferrite_nat_add(struct ferrite_engine *engine, uint32_t index, ferrite_ipv4 ip, uint32_t min, uint32_t max,
		    const ferrite_ipv6 *preferred, ferrite_ipv6 *underlay)
{
	struct interface *interface = interface_at(engine, index);
	int status;
	if (interface == NULL)
		return -ENOENT;
	if (min >= max || max > 65536)
		return -EINVAL;
	if (interface->has_nat)
		return -EEXIST;
	uint32_t group = group_of(engine, interface->vni->number, ip.bytes);
	if (group == 0)
		return -ENOSPC;
	uint32_t place = take_place(engine, ENDPOINT_NAT, index, preferred, underlay, &status);
	if (place == 0)
		return status;
	engine->endpoints.places[place].detail = group;
	lock(engine);
	engine->nat_groups[group].users++;
	interface->nat = (struct nat_range){.interface = index, .vni = interface->vni->number, .min = min, .max = max,
					    .address = group};
	memcpy(interface->nat.ip, ip.bytes, 4);
	interface->nat_endpoint = place;
	interface->has_nat = 1;
	endpoint_publish(&engine->endpoints, place, ENDPOINT_NAT);
	interface_touch(engine, interface);
	unlock(engine);
	return 0;
}

int ferrite_nat_update(struct ferrite_engine *engine, uint32_t index, uint32_t min, uint32_t max)
{
	struct interface *interface = interface_at(engine, index);
	if (interface == NULL || !interface->has_nat)
		return -ENOENT;
	if (min >= max || max > 65536)
		return -EINVAL;
	lock(engine);
	interface->nat.min = min;
	interface->nat.max = max;
	interface_touch(engine, interface);
	unlock(engine);
	return 0;
}

int ferrite_nat_remove(struct ferrite_engine *engine, uint32_t index)
{
	struct interface *interface = interface_at(engine, index);
	if (interface == NULL || !interface->has_nat)
		return -ENOENT;
	lock(engine);
	engine->nat_groups[interface->nat.address].users--;
	interface->has_nat = 0;
	interface_touch(engine, interface);
	unlock(engine);
	free_place(engine, interface->nat_endpoint);
	return 0;
}

void ferrite_nat_usage(struct ferrite_engine *engine, uint32_t interface, uint32_t used[3])
{
	lock(engine);
	for (unsigned i = 0; i < NAT_PROTOCOLS; i++)
		used[i] = interface < FERRITE_MAX_INTERFACES ? nat_used(engine->nats, interface, i) : 0;
	unlock(engine);
}

int ferrite_neighbor_nat_add(struct ferrite_engine *engine, const struct ferrite_neighbor_nat *entry)
{
	int status = neighbor_nat_add(engine->neighbor_nats, entry);
	edges_touch(engine);
	return status;
}

int ferrite_neighbor_nat_remove(struct ferrite_engine *engine, const struct ferrite_neighbor_nat *entry)
{
	int status = neighbor_nat_remove(engine->neighbor_nats, entry);
	edges_touch(engine);
	return status;
}

/* Load balancers. */

static struct balancer *balancer_at(struct ferrite_engine *engine, uint32_t index)
{
	return index > 0 && index < FERRITE_MAX_ENDPOINTS ? engine->balancers[index] : NULL;
}

static void balancer_touch(struct ferrite_engine *engine, struct balancer *balancer)
{
	__atomic_store_n(&balancer->epoch, ++engine->epoch, __ATOMIC_RELEASE);
}

static uint32_t balancer_index(struct ferrite_engine *engine)
{
	if (engine->handover.has_next) {
		uint32_t wanted = engine->handover.next.index;
		return engine->balancers[wanted] == NULL ? wanted : 0;
	}
	for (uint32_t i = 0; i < FERRITE_MAX_ENDPOINTS - 1; i++) {
		uint32_t candidate = 1 + (engine->balancer_hint + i) % (FERRITE_MAX_ENDPOINTS - 1);
		if (engine->balancers[candidate] == NULL) {
			engine->balancer_hint = candidate;
			return candidate;
		}
	}
	return 0;
}

int ferrite_balancer_add(struct ferrite_engine *engine, const struct ferrite_balancer_config *config, uint32_t *result,
			 ferrite_ipv6 *underlay)
{
	int status;
	if ((config->family != 4 && config->family != 6) || config->vni == 0 || config->vni >= VNI_LIMIT ||
	    config->port_count > FERRITE_MAX_BALANCER_PORTS)
		return -EINVAL;
	uint32_t index = balancer_index(engine);
	struct balancer *balancer = calloc(1, sizeof *balancer);
	if (index == 0 || balancer == NULL) {
		free(balancer);
		return -ENOSPC;
	}
	uint32_t place = take_place(engine, ENDPOINT_BALANCER, index, &config->preferred_underlay, underlay, &status);
	if (place == 0) {
		free(balancer);
		return status;
	}
	balancer->vni = config->vni;
	balancer->family = config->family;
	memcpy(balancer->address, config->address, config->family == 4 ? 4 : 16);
	balancer->endpoint = place;
	balancer->port_count = config->port_count;
	memcpy(balancer->ports, config->ports, config->port_count * sizeof balancer->ports[0]);
	balancer_touch(engine, balancer);
	lock(engine);
	status = service_address_add(&engine->service_addresses, config->vni, config->family, config->address, place);
	if (status == 0) {
		__atomic_store_n(&engine->balancers[index], balancer, __ATOMIC_RELEASE);
		endpoint_publish(&engine->endpoints, place, ENDPOINT_BALANCER);
		edges_touch(engine);
	}
	unlock(engine);
	if (status < 0) {
		free(balancer);
		return return_place(engine, place, status);
	}
	*result = index;
	return 0;
}

int ferrite_balancer_remove(struct ferrite_engine *engine, uint32_t index)
{
	struct balancer *balancer = balancer_at(engine, index);
	if (balancer == NULL)
		return -ENOENT;
	lock(engine);
	service_address_remove(&engine->service_addresses, balancer->vni, balancer->family, balancer->address);
	endpoint_withdraw(&engine->endpoints, balancer->endpoint);
	__atomic_store_n(&engine->balancers[index], NULL, __ATOMIC_RELEASE);
	edges_touch(engine);
	unlock(engine);
	engine_quiesce(engine);
	engine_purge(engine, FLOW_FROM_BALANCER, index);
	endpoint_give(&engine->endpoints, balancer->endpoint);
	balancer_set_free(balancer->set);
	free(balancer);
	return 0;
}

int ferrite_balancer_ports(struct ferrite_engine *engine, uint32_t index, const struct ferrite_balancer_port *ports,
			   unsigned count)
{
	struct balancer *balancer = balancer_at(engine, index);
	if (balancer == NULL)
		return -ENOENT;
	if (count > FERRITE_MAX_BALANCER_PORTS)
		return -ENOSPC;
	lock(engine);
	memcpy(balancer->ports, ports, count * sizeof *ports);
	balancer->port_count = count;
	balancer_touch(engine, balancer);
	unlock(engine);
	return 0;
}

int ferrite_balancer_targets(struct ferrite_engine *engine, uint32_t index, const ferrite_ipv6 *targets, unsigned count)
{
	struct balancer *balancer = balancer_at(engine, index);
	if (balancer == NULL)
		return -ENOENT;
	if (count > FERRITE_MAX_TARGETS)
		return -ENOSPC;
	struct balancer_set *set = count > 0 ? balancer_set_build(targets, count) : NULL, *old = balancer->set;
	if (count > 0 && set == NULL)
		return -ENOMEM;
	lock(engine);
	balancer->set = set;
	balancer_touch(engine, balancer);
	unlock(engine);
	/* Only read under the lock: nobody has the old one. */
	balancer_set_free(old);
	return 0;
}

/* Firewalls: only read under the lock, too. */

int ferrite_firewall_set(struct ferrite_engine *engine, uint32_t index, const struct ferrite_rule *rules,
			 unsigned count, enum ferrite_firewall_default ingress, enum ferrite_firewall_default egress)
{
	struct interface *interface = interface_at(engine, index);
	if (interface == NULL)
		return -ENOENT;
	if (count > FERRITE_MAX_RULES)
		return -ENOSPC;
	struct firewall *firewall = NULL, *old = interface->firewall;
	uint32_t *tags = NULL, *old_tags = interface->tags;
	if (count > 0 || ingress == FERRITE_DROP || egress == FERRITE_DROP) {
		firewall = firewall_build(rules, count, ingress, egress);
		tags = calloc(count + 1, sizeof *tags);
		if (firewall == NULL || tags == NULL) {
			firewall_free(firewall);
			free(tags);
			return -ENOMEM;
		}
	}
	for (unsigned i = 0; i < count; i++)
		tags[i] = rules[i].tag;
	lock(engine);
	interface->firewall = firewall;
	interface->tags = tags;
	interface_touch(engine, interface);
	if (firewall != NULL && old != NULL)
		firewall_carry(firewall, old);
	unlock(engine);
	firewall_free(old);
	free(old_tags);
	return 0;
}

uint64_t ferrite_firewall_hits(struct ferrite_engine *engine, uint32_t index, uint32_t tag)
{
	const struct interface *interface = interface_at(engine, index);
	lock(engine);
	uint64_t hits = interface != NULL && interface->firewall != NULL ? firewall_hits(interface->firewall, tag) : 0;
	unlock(engine);
	return hits;
}

void firewall_drop(struct interface *interface)
{
	firewall_free(interface->firewall);
	free(interface->tags);
	interface->firewall = NULL;
	interface->tags = NULL;
}

/* Virtual services. */

int ferrite_virtual_service_add(struct ferrite_engine *engine, const struct ferrite_virtual_service *service)
{
	if (engine->service_count == MAX_VIRTUAL_SERVICES)
		return -ENOSPC;
	if (service->protocol != PROTOCOL_TCP && service->protocol != PROTOCOL_UDP)
		return -EINVAL;
	struct virtual_service *made = &engine->services[engine->service_count];
	*made = (struct virtual_service){.about = *service};
	memcpy(made->underlay, engine->prefix, 8);
	made->underlay[8] = UNDERLAY_MARK;
	made->underlay[9] = UNDERLAY_TYPE_SERVICE;
	made->underlay[10] = UNDERLAY_SERVICE;
	store16(made->underlay + 14, engine->service_count);
	lock(engine);
	engine->service_count++;
	unlock(engine);
	return 0;
}

/* What goes with an interface. */

void network_leave(struct ferrite_engine *engine, uint32_t index)
{
	struct interface *interface = &engine->interfaces[index];
	(void)ferrite_vip_remove(engine, index);
	(void)ferrite_nat_remove(engine, index);
	while (interface->prefixes != 0) {
		const struct endpoint_prefix *prefix = &engine->endpoints.prefixes[interface->prefixes];
		struct ferrite_route_key key = {.family = prefix->family, .length = prefix->length};
		memcpy(key.prefix, prefix->bytes, 16);
		(void)ferrite_prefix_remove(engine, index, &key,
					    engine->endpoints.places[interface->prefixes].kind == ENDPOINT_ALIAS_PREFIX);
	}
}

void network_free(struct ferrite_engine *engine)
{
	for (uint32_t i = 1; engine->interfaces != NULL && i < FERRITE_MAX_INTERFACES; i++)
		if (engine->interfaces[i].firewall != NULL)
			firewall_drop(&engine->interfaces[i]);
	for (uint32_t i = 1; engine->balancers != NULL && i < FERRITE_MAX_ENDPOINTS; i++) {
		if (engine->balancers[i] == NULL)
			continue;
		balancer_set_free(engine->balancers[i]->set);
		free(engine->balancers[i]);
	}
}
