#include "control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "edge.h"
#include "log.h"
#include "state.h"

static void make_uuid(char text[CONTROL_UUID_TEXT])
{
	uint8_t random[16];
	size_t at = 0;

	control_random(random, sizeof random);
	random[6] = (uint8_t)((random[6] & 0x0f) | 0x40);
	random[8] = (uint8_t)((random[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < sizeof random; ++i) {
		static const char digits[] = "0123456789ABCDEF";

		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[at++] = '-';
		text[at++] = digits[random[i] >> 4];
		text[at++] = digits[random[i] & 15];
	}
	text[at] = 0;
}

struct control *control_create(struct ferrite_engine *engine)
{
	struct control *control = calloc(1, sizeof *control);

	if (control == NULL)
		return NULL;
	control->engine = engine;
	control_random(&control->seed, sizeof control->seed);
	make_uuid(control->uuid);
	control_key_open(&control->underlays, control->seed);
	control_key_open(&control->vip_owners, control->seed);
	control_key_open(&control->balancers.by_address, control->seed);
	control_nat_table_open(&control->nat_table, control->seed);
	if (!control_route_table_open(&control->route_table, control->seed) ||
	    !control_port_table_open(&control->ports, control->seed)) {
		control_route_table_close(&control->route_table);
		control_port_table_close(&control->ports);
		free(control);
		return NULL;
	}
	return control;
}

void control_destroy(struct control *control)
{
	if (control == NULL)
		return;
	if (control->capturing)
		control_capture_stop(control, NULL);
	control_neighbor_nats_clear(control, 0, true);
	control_balancers_close(control);
	control_edges_close(control);
	/* From the end, for a removed port on demand shortens the table. */
	for (uint32_t at = control->ports.used; at-- > 0;) {
		struct control_port *port = &control->ports.ports[at];

		if (port->handle == 0)
			continue;
		if (port->interface != NULL)
			control_interface_delete(control, port->interface->public.spec.id);
		if (port->handle != 0 && ferrite_port_close(control->engine, port->handle) != 0)
			log_warn("port did not close", "device=%s", port->device);
	}
	control_route_table_close(&control->route_table);
	control_port_table_close(&control->ports);
	control_index_free(&control->by_id);
	control_key_close(&control->underlays);
	control_key_close(&control->vip_owners);
	control_nat_table_close(&control->nat_table);
	free(control);
}

void control_configure(struct control *control, const struct control_config *config)
{
	control->config = *config;
}

const ferrite_ipv6 *control_underlay_prefix(const struct control *control)
{
	return &control->config.underlay_prefix;
}

bool control_uplink_add(struct control *control, const char *name)
{
	if (control->uplink_count == FERRITE_MAX_UPLINKS || strlen(name) >= CONTROL_DEVICE_NAME ||
	    control_port_find(&control->ports, name) != NULL)
		return false;
	for (unsigned at = 0; at < control->uplink_count; ++at)
		if (strcmp(control->uplinks[at], name) == 0)
			return false;
	strcpy(control->uplinks[control->uplink_count++], name);
	return true;
}

int control_port_add(struct control *control, const char *name, const char *device, const ferrite_mac *mac,
		     char error[FERRITE_ERROR_TEXT])
{
	struct control_port *port;
	uint32_t handle;
	int failed;

	if (strlen(name) >= CONTROL_DEVICE_NAME || strlen(device) >= FERRITE_DEVICE_TEXT) {
		snprintf(error, FERRITE_ERROR_TEXT, "the name or the device of port %.32s is too long", name);
		return -1;
	}
	if (control_port_find(&control->ports, name) != NULL || control_port_find(&control->ports, device) != NULL) {
		snprintf(error, FERRITE_ERROR_TEXT, "port %s or its device is there twice", name);
		return -1;
	}
	for (unsigned at = 0; at < control->uplink_count; ++at)
		if (strcmp(control->uplinks[at], name) == 0) {
			snprintf(error, FERRITE_ERROR_TEXT, "port %s has the name of an uplink", name);
			return -1;
		}
	port = control_port_reserve(&control->ports);
	if (port == NULL) {
		snprintf(error, FERRITE_ERROR_TEXT, "no room for port %s", name);
		return -1;
	}
	failed = ferrite_port_open(control->engine, device, mac, &handle, error);
	if (failed != 0)
		return failed;
	*port = (struct control_port){.handle = handle};
	memcpy(port->name, name, strlen(name));
	memcpy(port->device, device, strlen(device));
	control_port_insert(&control->ports, port);
	return 0;
}

void control_read_state(const struct control *control, struct control_state *state)
{
	*state = (struct control_state){
		.initialized = control->initialized,
		.digest = control->digest,
		.interfaces = control->by_id.count,
		.routes = control->routes,
	};
	memcpy(state->uuid, control->uuid, sizeof state->uuid);
}

bool control_initialized(const struct control *control)
{
	return control->initialized;
}

void control_initialize(struct control *control)
{
	for (uint32_t at = 0; at < control->route_table.vni_used; ++at)
		if (control->route_table.vnis[at].references != 0)
			control_routes_clear(control, control->route_table.vnis[at].vni);
	control_neighbor_nats_clear(control, 0, true);
	control->initialized = true;
}

bool control_underlay_taken(const struct control *control, const ferrite_ipv6 *address)
{
	struct control_key key = control_key_of_underlay(address);

	return !control_ipv6_is_zero(address) && control_key_find(&control->underlays, &key) != CONTROL_INDEX_NONE;
}

bool control_endpoint_reserve(struct control *control, const ferrite_ipv6 *preferred)
{
	return control->endpoints < FERRITE_MAX_ENDPOINTS && !control_underlay_taken(control, preferred) &&
	       control_key_reserve(&control->underlays);
}

void control_endpoint_add(struct control *control, const ferrite_ipv6 *underlay)
{
	struct control_key key = control_key_of_underlay(underlay);

	control_key_put(&control->underlays, &key, 0);
	control->endpoints++;
}

void control_endpoint_remove(struct control *control, const ferrite_ipv6 *underlay)
{
	struct control_key key = control_key_of_underlay(underlay);

	control_key_remove(&control->underlays, &key);
	control->endpoints--;
}

void control_tables(const struct control *control, struct control_table_use uses[CONTROL_TABLES])
{
	const struct control_table_use all[CONTROL_TABLES] = {
		{"interfaces", control->by_id.count, FERRITE_MAX_INTERFACES - 1},
		{"vnis", control->route_table.vni_count, CONTROL_MAX_VNIS},
		{"routes", control->routes, FERRITE_MAX_ROUTES},
		{"endpoints", control->endpoints, FERRITE_MAX_ENDPOINTS},
		{"alias_prefixes", control->prefixes[1], FERRITE_MAX_ENDPOINTS},
		{"balancer_prefixes", control->prefixes[0], FERRITE_MAX_ENDPOINTS},
		{"vips", control->vips, FERRITE_MAX_INTERFACES - 1},
		{"nats", control->nats, FERRITE_MAX_INTERFACES - 1},
		{"neighbor_nats", control->neighbor_nats, FERRITE_MAX_NEIGHBOR_NATS},
		{"load_balancers", control->balancers.by_id.count, FERRITE_MAX_ENDPOINTS},
		{"targets", control->targets, (uint64_t)FERRITE_MAX_ENDPOINTS * FERRITE_MAX_TARGETS},
		{"firewall_rules", control->rules, (uint64_t)(FERRITE_MAX_INTERFACES - 1) * FERRITE_MAX_RULES},
		{"edges", control->edge_count, FERRITE_MAX_EDGES},
	};

	memcpy(uses, all, sizeof all);
}
