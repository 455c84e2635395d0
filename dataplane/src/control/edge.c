/* Edges: few, so a row of records is searched by name. */
#include "edge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "digest.h"
#include "log.h"
#include "state.h"

struct control_edge_record {
	struct control_edge public;
	uint32_t index; /* in the engine */
	uint32_t port;  /* record number in the port table */
};

static struct control_edge_record **slot_of(const struct control *control, const char *name)
{
	for (unsigned i = 0; i < control->edge_count; ++i)
		if (strcmp(control->edges[i]->public.spec.name, name) == 0)
			return (struct control_edge_record **)&control->edges[i];
	return NULL;
}

static bool is_uplink(const struct control *control, const char *device)
{
	for (unsigned i = 0; i < control->uplink_count; ++i)
		if (strcmp(control->uplinks[i], device) == 0)
			return true;
	return false;
}

static struct ferrite_edge_config config_of(const struct control_edge_spec *spec)
{
	return (struct ferrite_edge_config){
		.vni = spec->vni,
		.ipv4 = spec->ipv4,
		.ipv6 = spec->ipv6,
		.gateway4 = spec->gateway4,
		.gateway6 = spec->gateway6,
		.length4 = spec->length4,
		.length6 = spec->length6,
		.gateway_mac = spec->gateway_mac,
		.preferred_underlay = spec->preferred,
	};
}

static enum control_status start(struct control *control, struct control_edge_record *record,
				 const struct control_port *port)
{
	struct ferrite_edge_config config = config_of(&record->public.spec);
	int failed;

	config.port = port->handle;
	if (ferrite_port_info(control->engine, port->handle, &record->public.port) != 0)
		return CONTROL_PORT_START;
	failed = ferrite_edge_add(control->engine, &config, &record->index, &record->public.underlay);
	switch (-failed) {
	case 0:
		return CONTROL_SUCCESS;
	case EADDRINUSE:
	case EINVAL:
	case ENOSPC:
		return CONTROL_VNF_INSERT;
	default:
		return CONTROL_PORT_START;
	}
}

static enum control_status check(struct control *control, const struct control_edge_spec *wanted,
				 const struct control_port *port)
{
	if (is_uplink(control, wanted->device))
		return CONTROL_ALREADY_EXISTS;
	if (port == NULL && !control_port_on_demand(wanted->device))
		return CONTROL_NOT_FOUND;
	if (port != NULL && (port->interface != NULL || port->edge))
		return CONTROL_ALREADY_EXISTS;
	if (control->edge_count == FERRITE_MAX_EDGES || !control_endpoint_reserve(control, &wanted->preferred))
		return CONTROL_VNF_INSERT;
	return wanted->vni != 0 && wanted->vni < CONTROL_VNI_LIMIT ? CONTROL_SUCCESS : CONTROL_VNI_INIT4;
}

static enum control_status add(struct control *control, const struct control_edge_spec *wanted, ferrite_ipv6 *underlay)
{
	struct control_port *port = control_port_find(&control->ports, wanted->device);
	enum control_status status = check(control, wanted, port);
	struct control_edge_record *record;
	struct control_vni_record *vni;

	if (status != CONTROL_SUCCESS)
		return status;
	record = calloc(1, sizeof *record);
	vni = record != NULL ? control_vni_acquire(&control->route_table, wanted->vni) : NULL;
	if (vni == NULL) {
		free(record);
		return CONTROL_VNI_INIT4;
	}
	record->public.spec = *wanted;
	if (port == NULL)
		status = control_port_open_on_demand(control, wanted->device, &port);
	if (status == CONTROL_SUCCESS)
		status = start(control, record, port);
	if (status != CONTROL_SUCCESS) {
		if (port != NULL)
			control_port_close_on_demand(control, port);
		control_vni_release(&control->route_table, vni);
		free(record);
		return status;
	}
	record->port = (uint32_t)(port - control->ports.ports);
	port->edge = true;
	control->edges[control->edge_count++] = record;
	control_endpoint_add(control, &record->public.underlay);
	control->digest ^= control_digest_edge(wanted);
	log_info("edge created", "name=%s vni=%u device=%s", wanted->name, wanted->vni, record->public.port.device);
	*underlay = record->public.underlay;
	return CONTROL_SUCCESS;
}

static enum control_status change(struct control *control, struct control_edge_record *record,
				  const struct control_edge_spec *wanted)
{
	struct control_edge_spec *spec = &record->public.spec;
	struct ferrite_edge_config config = config_of(wanted);

	if (spec->vni != wanted->vni || strcmp(spec->device, wanted->device) != 0 ||
	    memcmp(&spec->preferred, &wanted->preferred, sizeof spec->preferred) != 0)
		return CONTROL_ALREADY_EXISTS;
	if (control_digest_edge(spec) == control_digest_edge(wanted))
		return CONTROL_SUCCESS;
	if (ferrite_edge_update(control->engine, record->index, &config) != 0)
		return CONTROL_PORT_START;
	control->digest ^= control_digest_edge(spec) ^ control_digest_edge(wanted);
	*spec = *wanted;
	return CONTROL_SUCCESS;
}

enum control_status control_edge_ensure(struct control *control, const struct control_edge_spec *wanted,
					ferrite_ipv6 *underlay)
{
	struct control_edge_record **slot = slot_of(control, wanted->name);

	if (slot == NULL)
		return add(control, wanted, underlay);
	*underlay = (*slot)->public.underlay;
	return change(control, *slot, wanted);
}

enum control_status control_edge_delete(struct control *control, const char *name)
{
	struct control_edge_record **slot = slot_of(control, name), *record;
	struct control_port *port;

	if (slot == NULL)
		return CONTROL_NOT_FOUND;
	record = *slot;
	port = &control->ports.ports[record->port];
	if (ferrite_edge_remove(control->engine, record->index) != 0)
		log_error("engine lost an edge", "name=%s", name);
	control_endpoint_remove(control, &record->public.underlay);
	control->digest ^= control_digest_edge(&record->public.spec);
	control_vni_leave(control, record->public.spec.vni);
	log_info("edge deleted", "name=%s vni=%u", name, record->public.spec.vni);
	port->edge = false;
	control_port_close_on_demand(control, port);
	*slot = control->edges[--control->edge_count];
	free(record);
	return CONTROL_SUCCESS;
}

static int by_name(const void *one, const void *other)
{
	return strcmp((*(struct control_edge_record *const *)one)->public.spec.name,
		      (*(struct control_edge_record *const *)other)->public.spec.name);
}

void control_edge_each(const struct control *control,
		       void (*visit)(void *context, const struct control_edge *edge), void *context)
{
	struct control_edge_record *sorted[FERRITE_MAX_EDGES];

	memcpy(sorted, control->edges, sizeof sorted);
	qsort(sorted, control->edge_count, sizeof *sorted, by_name);
	for (unsigned i = 0; i < control->edge_count; ++i)
		visit(context, &sorted[i]->public);
}

void control_edges_close(struct control *control)
{
	while (control->edge_count > 0)
		(void)control_edge_delete(control, control->edges[0]->public.spec.name);
}
