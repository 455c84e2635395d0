#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#include "control/address.h"

/* The macros of check.h count per file; failures of the world's own checks end the program. */
static void must(bool condition, const char *what)
{
	if (!condition) {
		fprintf(stderr, "not so: %s\n", what);
		abort();
	}
}

struct world world_open(void)
{
	struct ferrite_engine_config config = {
		.name = "test", .underlay_prefix = {{0xfd, 0, 0, 0x0f, 0, 1}}, .uplink = "none"};
	char error[FERRITE_ERROR_TEXT];
	struct world world;

	must(ferrite_engine_start(&config, &world.engine, error) == 0, "the engine starts");
	world.control = control_create(world.engine);
	must(world.control != NULL, "there is a control layer");
	control_configure(world.control, &(struct control_config){.underlay_prefix = config.underlay_prefix});
	for (int i = 0; i < 4; ++i) {
		char name[24], device[24];

		snprintf(name, sizeof name, "port%d", i);
		snprintf(device, sizeof device, "ring:r%d", i);
		must(control_port_add(world.control, name, device, NULL, error) == 0, "the port opens");
	}
	control_initialize(world.control);
	return world;
}

void world_close(struct world *world)
{
	control_destroy(world->control);
	must(fake_engine_ports(world->engine) == 0, "every port is closed");
	must(fake_engine_interfaces(world->engine) == 0, "every interface is removed");
	must(fake_engine_routes(world->engine) == 0, "every route is removed");
	must(fake_engine_endpoints(world->engine) == 0, "every endpoint is removed");
	must(fake_engine_neighbor_nats(world->engine) == 0, "every neighbour NAT is removed");
	ferrite_engine_stop(world->engine);
}

struct control_interface_spec world_spec(const char *id, uint32_t vni, const char *ipv4, const char *ipv6,
					 const char *device)
{
	struct control_interface_spec spec = {.vni = vni};

	snprintf(spec.id, sizeof spec.id, "%s", id);
	snprintf(spec.device, sizeof spec.device, "%s", device);
	must(ipv4 == NULL || control_ipv4_parse(ipv4, strlen(ipv4), &spec.ipv4), "an IPv4 address");
	must(ipv6 == NULL || control_ipv6_parse(ipv6, strlen(ipv6), &spec.ipv6), "an IPv6 address");
	return spec;
}

enum control_status world_create(struct world *world, const char *id, uint32_t vni, const char *ipv4,
				 const char *ipv6, const char *device)
{
	struct control_interface_spec spec = world_spec(id, vni, ipv4, ipv6, device);
	const struct control_interface *made;

	return control_interface_create(world->control, &spec, &made);
}

struct control_route world_route(uint32_t vni, const char *prefix, const char *next_hop)
{
	struct control_route route = {.key.vni = vni, .next_hop_vni = vni};

	must(control_prefix_parse(prefix, strlen(prefix), &route.key) == CONTROL_PREFIX_OK, "a prefix");
	must(control_ipv6_parse(next_hop, strlen(next_hop), &route.next_hop), "a next hop");
	return route;
}

enum control_status world_put(struct world *world, uint32_t vni, const char *prefix, bool replace)
{
	struct control_route route = world_route(vni, prefix, "fd00:f:2::1");

	return control_route_put(world->control, &route, replace);
}

enum control_status world_drop(struct world *world, uint32_t vni, const char *prefix)
{
	struct control_route route = world_route(vni, prefix, "::");

	return control_route_delete(world->control, &route.key);
}

static void count(void *context, const struct control_route *route)
{
	(void)route;
	++*(int *)context;
}

int world_listed(struct world *world, uint32_t vni)
{
	int routes = 0;

	return control_route_each(world->control, vni, count, &routes) == CONTROL_SUCCESS ? routes : -1;
}

struct control_state world_state(struct world *world)
{
	struct control_state state;

	control_read_state(world->control, &state);
	return state;
}
