#include "control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	free(control);
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
	control->initialized = true;
}
