#include "fake_engine.h"

#include "ferrite/handover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAKE_PORTS = 64, FAKE_INTERFACES = 64, FAKE_ROUTES = 1 << 17 };

struct fake_port {
	bool used;
	bool busy;
	char device[FERRITE_DEVICE_TEXT];
};

struct fake_prefix {
	struct ferrite_route_key key;
	bool routed;
};

struct fake_interface {
	bool used;
	struct fake_prefix prefixes[16];
	unsigned prefix_count;
	bool has_vip, has_nat;
	struct ferrite_interface_settings settings;
	struct fake_firewall *firewall;
	struct ferrite_interface_config config;
	ferrite_ipv6 underlay;
	uint16_t generation;
};

enum { FAKE_BALANCERS = 64 };

struct ferrite_engine {
	ferrite_ipv6 prefix;
	unsigned endpoints, neighbor_nats;
	uint32_t next_underlay;
	bool balancers[FAKE_BALANCERS + 1];
	unsigned targets[FAKE_BALANCERS + 1];
	int fail[FAKE_CALLS];
	struct fake_port ports[FAKE_PORTS + 1];
	struct fake_interface interfaces[FAKE_INTERFACES + 1];
	struct ferrite_route routes[FAKE_ROUTES];
	unsigned route_count;
};

static int take_failure(struct ferrite_engine *engine, enum fake_call call)
{
	int error = engine->fail[call];

	engine->fail[call] = 0;
	return error;
}

void fake_engine_fail_next(struct ferrite_engine *engine, enum fake_call call, int error)
{
	engine->fail[call] = error;
}

unsigned fake_engine_ports(const struct ferrite_engine *engine)
{
	unsigned count = 0;

	for (unsigned i = 1; i <= FAKE_PORTS; ++i)
		count += engine->ports[i].used;
	return count;
}

unsigned fake_engine_interfaces(const struct ferrite_engine *engine)
{
	unsigned count = 0;

	for (unsigned i = 1; i <= FAKE_INTERFACES; ++i)
		count += engine->interfaces[i].used;
	return count;
}

unsigned fake_engine_routes(const struct ferrite_engine *engine)
{
	return engine->route_count;
}

int ferrite_engine_start(const struct ferrite_engine_config *config, struct ferrite_engine **engine,
			 char error[FERRITE_ERROR_TEXT])
{
	*engine = calloc(1, sizeof **engine);
	if (*engine == NULL) {
		snprintf(error, FERRITE_ERROR_TEXT, "no memory");
		return -ENOMEM;
	}
	(*engine)->prefix = config->underlay_prefix;
	return 0;
}

void ferrite_engine_stop(struct ferrite_engine *engine)
{
	for (unsigned i = 1; i <= FAKE_INTERFACES; ++i)
		free(engine->interfaces[i].firewall);
	free(engine);
}

unsigned ferrite_engine_poll(struct ferrite_engine *engine)
{
	(void)engine;
	return 0;
}

int ferrite_port_open(struct ferrite_engine *engine, const char *device, const ferrite_mac *mac, uint32_t *port,
		      char error[FERRITE_ERROR_TEXT])
{
	int failed = take_failure(engine, FAKE_PORT_OPEN);
	uint32_t at = 1;

	(void)mac;
	if (failed != 0) {
		snprintf(error, FERRITE_ERROR_TEXT, "as the test asked");
		return failed;
	}
	while (at <= FAKE_PORTS && engine->ports[at].used)
		++at;
	if (at > FAKE_PORTS) {
		snprintf(error, FERRITE_ERROR_TEXT, "no port free");
		return -ENOSPC;
	}
	engine->ports[at] = (struct fake_port){.used = true};
	snprintf(engine->ports[at].device, sizeof engine->ports[at].device, "%s", strchr(device, ':') + 1);
	*port = at;
	return 0;
}

int ferrite_port_info(struct ferrite_engine *engine, uint32_t port, struct ferrite_port_info *info)
{
	memset(info, 0, sizeof *info);
	memcpy(info->device, engine->ports[port].device, sizeof info->device);
	info->mac = (ferrite_mac){{0x02, 0, 0, 0, 0, (uint8_t)port}};
	return 0;
}

int ferrite_port_close(struct ferrite_engine *engine, uint32_t port)
{
	int failed = take_failure(engine, FAKE_PORT_CLOSE);

	if (failed != 0)
		return failed;
	if (engine->ports[port].busy)
		return -EBUSY;
	engine->ports[port].used = false;
	return 0;
}

static int key_order(const struct ferrite_route_key *one, const struct ferrite_route_key *other)
{
	int order;

	if (one->vni != other->vni)
		return one->vni < other->vni ? -1 : 1;
	if (one->family != other->family)
		return one->family < other->family ? -1 : 1;
	order = memcmp(one->prefix, other->prefix, sizeof one->prefix);
	return order != 0 ? order : (int)one->length - (int)other->length;
}

/* Where the key is or would be. */
static unsigned position(const struct ferrite_engine *engine, const struct ferrite_route_key *key, bool *found)
{
	unsigned at = 0, end = engine->route_count;

	while (at < end) {
		unsigned middle = at + (end - at) / 2;

		if (key_order(&engine->routes[middle].key, key) < 0)
			at = middle + 1;
		else
			end = middle;
	}
	*found = at < engine->route_count && key_order(&engine->routes[at].key, key) == 0;
	return at;
}

static void take_out(struct ferrite_engine *engine, unsigned at)
{
	engine->route_count--;
	memmove(&engine->routes[at], &engine->routes[at + 1],
		(engine->route_count - at) * sizeof *engine->routes);
}

static int put(struct ferrite_engine *engine, const struct ferrite_route *route, bool replace)
{
	bool found;
	unsigned at = position(engine, &route->key, &found);

	if (found && (!replace || engine->routes[at].local))
		return -EEXIST;
	if (!found && engine->route_count == FAKE_ROUTES)
		return -ENOSPC;
	if (!found) {
		memmove(&engine->routes[at + 1], &engine->routes[at],
			(engine->route_count - at) * sizeof *engine->routes);
		engine->route_count++;
	}
	engine->routes[at] = *route;
	return 0;
}

static struct ferrite_route local_route(const struct ferrite_interface_config *config, uint8_t family)
{
	struct ferrite_route route = {.key = {.vni = config->vni, .family = family}, .local = true};

	route.key.length = family == 4 ? 32 : 128;
	memcpy(route.key.prefix, family == 4 ? config->ipv4.bytes : config->ipv6.bytes, family == 4 ? 4 : 16);
	return route;
}

static bool is_zero(const uint8_t *bytes, size_t length)
{
	while (length > 0 && bytes[length - 1] == 0)
		--length;
	return length == 0;
}

int ferrite_interface_add(struct ferrite_engine *engine, const struct ferrite_interface_config *config,
			  uint32_t *index, ferrite_ipv6 *underlay)
{
	int failed = take_failure(engine, FAKE_INTERFACE_ADD);
	struct fake_interface *interface;
	struct ferrite_route route;
	uint32_t at = 1;

	if (failed != 0)
		return failed;
	while (at <= FAKE_INTERFACES && engine->interfaces[at].used)
		++at;
	if (at > FAKE_INTERFACES)
		return -ENOSPC;
	interface = &engine->interfaces[at];
	interface->used = true;
	interface->config = *config;
	interface->generation++;
	interface->underlay = config->preferred_underlay;
	if (is_zero(interface->underlay.bytes, 16)) {
		memcpy(interface->underlay.bytes, engine->prefix.bytes, 8);
		interface->underlay.bytes[8] = 0xd0;
		interface->underlay.bytes[9] = 1;
		interface->underlay.bytes[12] = (uint8_t)interface->generation;
		interface->underlay.bytes[15] = (uint8_t)at;
	}
	engine->ports[config->port].busy = true;
	route = local_route(config, 4);
	if (!is_zero(config->ipv4.bytes, 4))
		put(engine, &route, false);
	route = local_route(config, 6);
	if (!is_zero(config->ipv6.bytes, 16))
		put(engine, &route, false);
	*index = at;
	*underlay = interface->underlay;
	return 0;
}

int ferrite_interface_remove(struct ferrite_engine *engine, uint32_t index)
{
	struct fake_interface *interface = &engine->interfaces[index];
	bool found;

	for (uint8_t family = 4; family <= 6; family += 2) {
		struct ferrite_route route = local_route(&interface->config, family);
		unsigned at = position(engine, &route.key, &found);

		if (found && engine->routes[at].local)
			take_out(engine, at);
	}
	if (interface->prefix_count > 0 || interface->has_vip || interface->has_nat) {
		fprintf(stderr, "fake engine: an interface goes before what stands around it\n");
		abort();
	}
	free(interface->firewall);
	interface->firewall = NULL;
	interface->used = false;
	engine->ports[interface->config.port].busy = false;
	return take_failure(engine, FAKE_INTERFACE_REMOVE);
}

int ferrite_route_put(struct ferrite_engine *engine, const struct ferrite_route *route, bool replace)
{
	int failed = take_failure(engine, FAKE_ROUTE_PUT);

	return failed != 0 ? failed : put(engine, route, replace);
}

int ferrite_route_remove(struct ferrite_engine *engine, const struct ferrite_route_key *key)
{
	bool found;
	unsigned at = position(engine, key, &found);

	if (!found)
		return -ENOENT;
	if (engine->routes[at].local)
		return -EPERM;
	take_out(engine, at);
	return 0;
}

unsigned ferrite_route_clear(struct ferrite_engine *engine, uint32_t vni)
{
	unsigned removed = 0;

	for (unsigned at = engine->route_count; at-- > 0;)
		if (engine->routes[at].key.vni == vni && !engine->routes[at].local) {
			take_out(engine, at);
			++removed;
		}
	return removed;
}

void ferrite_route_each(struct ferrite_engine *engine, uint32_t vni,
			bool (*visit)(void *context, const struct ferrite_route *route), void *context)
{
	for (unsigned at = 0; at < engine->route_count; ++at)
		if ((vni == 0 || engine->routes[at].key.vni == vni) && !visit(context, &engine->routes[at]))
			return;
}

void ferrite_counters_each(struct ferrite_engine *engine,
			   void (*visit)(void *context, const char *name, uint64_t value), void *context)
{
	visit(context, "stage.encap.packets", fake_engine_interfaces(engine));
	visit(context, "drop.route_miss", 0);
}

unsigned fake_engine_endpoints(const struct ferrite_engine *engine)
{
	return engine->endpoints;
}

unsigned fake_engine_neighbor_nats(const struct ferrite_engine *engine)
{
	return engine->neighbor_nats;
}

const struct fake_firewall *fake_engine_firewall(const struct ferrite_engine *engine, uint32_t interface)
{
	return engine->interfaces[interface].firewall;
}

unsigned fake_engine_targets(const struct ferrite_engine *engine, uint32_t balancer)
{
	return engine->targets[balancer];
}

const struct ferrite_interface_settings *fake_engine_settings(const struct ferrite_engine *engine, uint32_t interface)
{
	return &engine->interfaces[interface].settings;
}

/* The wanted one, or one that no other endpoint has. */
static void take_underlay(struct ferrite_engine *engine, const ferrite_ipv6 *preferred, uint8_t type,
			  ferrite_ipv6 *underlay)
{
	uint32_t number = ++engine->next_underlay;

	engine->endpoints++;
	if (!is_zero(preferred->bytes, 16)) {
		*underlay = *preferred;
		return;
	}
	*underlay = engine->prefix;
	underlay->bytes[8] = 0xd0;
	underlay->bytes[9] = type;
	underlay->bytes[12] = (uint8_t)(number >> 24);
	underlay->bytes[13] = (uint8_t)(number >> 16);
	underlay->bytes[14] = (uint8_t)(number >> 8);
	underlay->bytes[15] = (uint8_t)number;
}

int ferrite_interface_update(struct ferrite_engine *engine, uint32_t index,
			     const struct ferrite_interface_settings *settings)
{
	int failed = take_failure(engine, FAKE_INTERFACE_UPDATE);

	if (failed == 0)
		engine->interfaces[index].settings = *settings;
	return failed;
}

static struct ferrite_route alias_route(const struct fake_interface *interface, const struct ferrite_route_key *key)
{
	struct ferrite_route route = {.key = *key, .local = true};

	route.key.vni = interface->config.vni;
	return route;
}

int ferrite_prefix_add(struct ferrite_engine *engine, uint32_t interface, const struct ferrite_route_key *key,
		       bool routed, const ferrite_ipv6 *preferred, ferrite_ipv6 *underlay)
{
	struct fake_interface *of = &engine->interfaces[interface];
	int failed = take_failure(engine, FAKE_PREFIX_ADD);
	struct ferrite_route route = alias_route(of, key);

	if (failed == 0 && of->prefix_count == 16)
		failed = -ENOSPC;
	if (failed == 0 && routed)
		failed = put(engine, &route, false);
	if (failed != 0)
		return failed;
	of->prefixes[of->prefix_count++] = (struct fake_prefix){.key = route.key, .routed = routed};
	take_underlay(engine, preferred, routed ? 6 : 5, underlay);
	return 0;
}

int ferrite_prefix_remove(struct ferrite_engine *engine, uint32_t interface, const struct ferrite_route_key *key,
			  bool routed)
{
	struct fake_interface *of = &engine->interfaces[interface];
	struct ferrite_route route = alias_route(of, key);
	bool found;

	for (unsigned i = 0; i < of->prefix_count; ++i) {
		if (of->prefixes[i].routed != routed || key_order(&of->prefixes[i].key, &route.key) != 0)
			continue;
		of->prefixes[i] = of->prefixes[--of->prefix_count];
		if (routed)
			take_out(engine, position(engine, &route.key, &found));
		engine->endpoints--;
		return 0;
	}
	return -ENOENT;
}

int ferrite_vip_add(struct ferrite_engine *engine, uint32_t interface, ferrite_ipv4 vip, const ferrite_ipv6 *preferred,
		    ferrite_ipv6 *underlay)
{
	int failed = take_failure(engine, FAKE_VIP_ADD);

	(void)vip;
	if (failed == 0 && engine->interfaces[interface].has_vip)
		failed = -EEXIST;
	if (failed != 0)
		return failed;
	engine->interfaces[interface].has_vip = true;
	take_underlay(engine, preferred, 2, underlay);
	return 0;
}

int ferrite_vip_remove(struct ferrite_engine *engine, uint32_t interface)
{
	if (!engine->interfaces[interface].has_vip)
		return -ENOENT;
	engine->interfaces[interface].has_vip = false;
	engine->endpoints--;
	return 0;
}

int ferrite_nat_add(struct ferrite_engine *engine, uint32_t interface, ferrite_ipv4 ip, uint32_t min, uint32_t max,
		    const ferrite_ipv6 *preferred, ferrite_ipv6 *underlay)
{
	int failed = take_failure(engine, FAKE_NAT_ADD);

	(void)ip;
	(void)min;
	(void)max;
	if (failed == 0 && engine->interfaces[interface].has_nat)
		failed = -EEXIST;
	if (failed != 0)
		return failed;
	engine->interfaces[interface].has_nat = true;
	take_underlay(engine, preferred, 3, underlay);
	return 0;
}

int ferrite_nat_update(struct ferrite_engine *engine, uint32_t interface, uint32_t min, uint32_t max)
{
	int failed = take_failure(engine, FAKE_NAT_UPDATE);

	(void)min;
	(void)max;
	return failed != 0 ? failed : engine->interfaces[interface].has_nat ? 0 : -ENOENT;
}

int ferrite_nat_remove(struct ferrite_engine *engine, uint32_t interface)
{
	if (!engine->interfaces[interface].has_nat)
		return -ENOENT;
	engine->interfaces[interface].has_nat = false;
	engine->endpoints--;
	return 0;
}

int ferrite_neighbor_nat_add(struct ferrite_engine *engine, const struct ferrite_neighbor_nat *entry)
{
	int failed = take_failure(engine, FAKE_NEIGHBOR_NAT_ADD);

	(void)entry;
	if (failed == 0)
		engine->neighbor_nats++;
	return failed;
}

int ferrite_neighbor_nat_remove(struct ferrite_engine *engine, const struct ferrite_neighbor_nat *entry)
{
	(void)entry;
	engine->neighbor_nats--;
	return 0;
}

int ferrite_balancer_add(struct ferrite_engine *engine, const struct ferrite_balancer_config *config, uint32_t *index,
			 ferrite_ipv6 *underlay)
{
	int failed = take_failure(engine, FAKE_BALANCER_ADD);
	uint32_t at = 1;

	while (at <= FAKE_BALANCERS && engine->balancers[at])
		++at;
	if (failed == 0 && at > FAKE_BALANCERS)
		failed = -ENOSPC;
	if (failed != 0)
		return failed;
	engine->balancers[at] = true;
	engine->targets[at] = 0;
	*index = at;
	take_underlay(engine, &config->preferred_underlay, 4, underlay);
	return 0;
}

int ferrite_balancer_remove(struct ferrite_engine *engine, uint32_t index)
{
	if (!engine->balancers[index])
		return -ENOENT;
	engine->balancers[index] = false;
	engine->endpoints--;
	return 0;
}

int ferrite_balancer_ports(struct ferrite_engine *engine, uint32_t index, const struct ferrite_balancer_port *ports,
			   unsigned count)
{
	(void)index;
	(void)ports;
	(void)count;
	return take_failure(engine, FAKE_BALANCER_PORTS);
}

int ferrite_balancer_targets(struct ferrite_engine *engine, uint32_t index, const ferrite_ipv6 *targets, unsigned count)
{
	int failed = take_failure(engine, FAKE_BALANCER_TARGETS);

	for (unsigned i = 1; i < count; ++i)
		if (memcmp(&targets[i - 1], &targets[i], sizeof *targets) >= 0)
			failed = -EINVAL;
	if (failed == 0)
		engine->targets[index] = count;
	return failed;
}

int ferrite_edge_add(struct ferrite_engine *engine, const struct ferrite_edge_config *config, uint32_t *index,
		     ferrite_ipv6 *underlay)
{
	int failed = take_failure(engine, FAKE_EDGE_ADD);

	if (failed != 0)
		return failed;
	*index = 1;
	take_underlay(engine, &config->preferred_underlay, 7, underlay);
	return 0;
}

int ferrite_edge_update(struct ferrite_engine *engine, uint32_t index, const struct ferrite_edge_config *config)
{
	(void)index;
	(void)config;
	return take_failure(engine, FAKE_EDGE_ADD);
}

int ferrite_edge_remove(struct ferrite_engine *engine, uint32_t index)
{
	(void)index;
	engine->endpoints--;
	return 0;
}

int ferrite_firewall_set(struct ferrite_engine *engine, uint32_t interface, const struct ferrite_rule *rules,
			 unsigned count, enum ferrite_firewall_default ingress, enum ferrite_firewall_default egress)
{
	int failed = take_failure(engine, FAKE_FIREWALL_SET);
	struct fake_interface *of = &engine->interfaces[interface];

	if (failed != 0)
		return failed;
	if (of->firewall == NULL)
		of->firewall = malloc(sizeof *of->firewall);
	if (of->firewall == NULL)
		return -ENOMEM;
	of->firewall->count = count;
	of->firewall->ingress = ingress;
	of->firewall->egress = egress;
	if (count > 0)
		memcpy(of->firewall->rules, rules, count * sizeof *rules);
	return 0;
}

uint64_t ferrite_firewall_hits(struct ferrite_engine *engine, uint32_t interface, uint32_t tag)
{
	(void)engine;
	(void)interface;
	return tag;
}

int ferrite_virtual_service_add(struct ferrite_engine *engine, const struct ferrite_virtual_service *service)
{
	(void)engine;
	(void)service;
	return 0;
}

int ferrite_interface_counters(struct ferrite_engine *engine, uint32_t interface,
			       void (*visit)(void *context, const char *name, uint64_t value), void *context)
{
	if (interface == 0 || interface > FAKE_INTERFACES || !engine->interfaces[interface].used)
		return -ENOENT;
	visit(context, "rx_packets", 0);
	return 0;
}

unsigned ferrite_flow_events(struct ferrite_engine *engine, struct ferrite_flow_event *events, unsigned limit)
{
	(void)engine;
	(void)events;
	(void)limit;
	return 0;
}

int ferrite_trace_packet(struct ferrite_engine *engine, uint32_t port, const uint8_t *bytes, uint32_t length, bool keep,
			 struct ferrite_trace_result *result)
{
	(void)engine;
	(void)port;
	(void)bytes;
	(void)length;
	(void)keep;
	(void)result;
	return -ENOENT;
}

/* A handover: places are not kept, underlay addresses and indexes are not forced. */

int ferrite_identity_of(const struct ferrite_engine *engine, const ferrite_ipv6 *underlay, struct ferrite_identity *identity)
{
	*identity = (struct ferrite_identity){.place = 1, .index = 1, .underlay = *underlay};
	return 0;
}

int ferrite_identity_next(struct ferrite_engine *engine, const struct ferrite_identity *identity)
{
	return identity->place == 0 ? -EINVAL : 0;
}

void ferrite_identity_done(struct ferrite_engine *engine)
{
}

int ferrite_engine_prepare(char error[FERRITE_ERROR_TEXT])
{
	return 0;
}

int ferrite_engine_begin(struct ferrite_engine *engine, char error[FERRITE_ERROR_TEXT])
{
	return 0;
}

uint64_t ferrite_handover_change(const struct ferrite_engine *engine)
{
	return 0;
}

int ferrite_handover_tables(const struct ferrite_engine *engine)
{
	return -1;
}

uint64_t ferrite_handover_layout(const struct ferrite_engine *engine)
{
	return 0;
}

bool ferrite_handover_inherits(const struct ferrite_engine *engine)
{
	return false;
}

unsigned ferrite_handover_devices(const struct ferrite_engine *engine, struct ferrite_handed *devices, unsigned limit)
{
	return 0;
}

const char *ferrite_handover_obstacle(const struct ferrite_engine *engine)
{
	return NULL;
}

void ferrite_handover_stop(struct ferrite_engine *engine)
{
}

void ferrite_handover_note(struct ferrite_engine *engine)
{
}

int ferrite_handover_resume(struct ferrite_engine *engine, char error[FERRITE_ERROR_TEXT])
{
	return 0;
}

unsigned ferrite_handover_wire(const struct ferrite_engine *engine, struct ferrite_wire_peer *peers, unsigned limit)
{
	return 0;
}

int ferrite_handover_wire_take(struct ferrite_engine *engine, const struct ferrite_wire_peer *peer)
{
	return -EINVAL;
}

int ferrite_handover_wire_listen(struct ferrite_engine *engine, char error[FERRITE_ERROR_TEXT])
{
	return 0;
}

uint64_t ferrite_handover_adopt(struct ferrite_engine *engine, bool after_crash, uint64_t *refused)
{
	*refused = 0;
	return 0;
}
