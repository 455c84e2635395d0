/* Interfaces: made, found and removed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "digest.h"
#include "log.h"
#include "state.h"

static uint32_t id_hash(const struct control *control, const char *id)
{
	return control_hash(control->seed, id, strlen(id));
}

static bool id_equal(const void *ports, uint32_t record, const void *id)
{
	return strcmp(((const struct control_port_table *)ports)->ports[record].interface->public.spec.id, id) == 0;
}

struct control_interface_record *control_interface_record_find(const struct control *control, const char *id)
{
	uint32_t at = control_index_find(&control->by_id, id_hash(control, id), id_equal, &control->ports, id);

	return at == CONTROL_INDEX_NONE ? NULL : control->ports.ports[at].interface;
}

const struct control_interface *control_interface_find(const struct control *control, const char *id)
{
	struct control_interface_record *record = control_interface_record_find(control, id);

	return record == NULL ? NULL : &record->public;
}

void control_interface_each(const struct control *control,
			    void (*visit)(void *context, const struct control_interface *interface), void *context)
{
	for (uint32_t at = 0; at < control->ports.used; ++at)
		if (control->ports.ports[at].interface != NULL)
			visit(context, &control->ports.ports[at].interface->public);
}

static bool is_uplink(const struct control *control, const char *device)
{
	for (unsigned at = 0; at < control->uplink_count; ++at)
		if (strcmp(control->uplinks[at], device) == 0)
			return true;
	return false;
}

static bool rates_are_good(const struct control_interface_spec *spec)
{
	return !spec->rates_refused && spec->total_rate <= UINT32_MAX && spec->public_rate <= UINT32_MAX &&
	       (spec->total_rate == 0 || spec->public_rate <= spec->total_rate);
}

/* The /32 and /128 of an interface, as far as it has them. */
static unsigned primary_keys(const struct control_interface_spec *spec, struct ferrite_route_key keys[2])
{
	unsigned count = 0;

	memset(keys, 0, 2 * sizeof *keys);
	if (!control_ipv4_is_zero(&spec->ipv4)) {
		keys[count] = (struct ferrite_route_key){.vni = spec->vni, .family = 4, .length = 32};
		memcpy(keys[count++].prefix, spec->ipv4.bytes, sizeof spec->ipv4.bytes);
	}
	if (!control_ipv6_is_zero(&spec->ipv6)) {
		keys[count] = (struct ferrite_route_key){.vni = spec->vni, .family = 6, .length = 128};
		memcpy(keys[count++].prefix, spec->ipv6.bytes, sizeof spec->ipv6.bytes);
	}
	return count;
}

static enum control_status status_of_open(int failed)
{
	switch (-failed) {
	case ENODEV:
	case ENOENT:
	case ENXIO:
	case EINVAL:
		return CONTROL_NOT_FOUND;
	default:
		return CONTROL_PORT_START;
	}
}

static enum control_status status_of_add(int failed)
{
	switch (-failed) {
	case EEXIST:
	case ENOSPC:
		return CONTROL_VNF_INSERT;
	case ENOMEM:
		return CONTROL_VNI_INIT4;
	case EADDRINUSE:
		return CONTROL_ROUTE_EXISTS;
	default:
		return CONTROL_PORT_START;
	}
}

/* The checks that need no engine, in the order of the contract, and the memory that later steps take. */
static enum control_status check(struct control *control, const struct control_interface_spec *spec,
				 const struct control_port *port)
{
	struct ferrite_route_key keys[2];
	unsigned count = primary_keys(spec, keys);

	if (is_uplink(control, spec->device))
		return CONTROL_ALREADY_EXISTS;
	if (port == NULL && !control_port_on_demand(spec->device))
		return CONTROL_NOT_FOUND;
	if (port != NULL && (port->interface != NULL || port->edge))
		return CONTROL_ALREADY_EXISTS;
	if (control->by_id.count >= FERRITE_MAX_INTERFACES - 1 ||
	    control_underlay_taken(control, &spec->preferred_underlay))
		return CONTROL_VNF_INSERT;
	if (control_interface_record_find(control, spec->id) != NULL)
		return CONTROL_VM_HANDLE;
	if (spec->vni == 0 || spec->vni >= CONTROL_VNI_LIMIT ||
	    !control_route_table_reserve(&control->route_table, count) ||
	    !control_index_reserve(&control->by_id, control->by_id.count + 1) || !control_key_reserve(&control->underlays))
		return CONTROL_VNI_INIT4;
	for (unsigned i = 0; i < count; ++i)
		if (control_route_find(&control->route_table, &keys[i]) != NULL)
			return CONTROL_ROUTE_EXISTS;
	return rates_are_good(spec) ? CONTROL_SUCCESS : CONTROL_PORT_METER;
}

enum control_status control_port_open_on_demand(struct control *control, const char *device, struct control_port **opened)
{
	struct control_port *port = control_port_reserve(&control->ports);
	char error[FERRITE_ERROR_TEXT] = "";
	uint32_t handle;
	int failed;

	if (port == NULL)
		return CONTROL_VNF_INSERT;
	failed = ferrite_port_open(control->engine, device, NULL, &handle, error);
	if (failed != 0) {
		log_warn("port did not open", "device=%s error=\"%s\"", device, error);
		return status_of_open(failed);
	}
	*port = (struct control_port){.handle = handle, .on_demand = true};
	memcpy(port->name, device, strlen(device));
	memcpy(port->device, device, strlen(device));
	control_port_insert(&control->ports, port);
	*opened = port;
	return CONTROL_SUCCESS;
}

void control_port_close_on_demand(struct control *control, struct control_port *port)
{
	if (!port->on_demand)
		return;
	if (control->port_closed != NULL)
		control->port_closed(control->port_context, port->device);
	if (ferrite_port_close(control->engine, port->handle) != 0)
		log_warn("port did not close", "device=%s", port->device);
	control_port_erase(&control->ports, port);
}

/* Tells the engine; afterwards nothing can fail. */
static enum control_status start(struct control *control, struct control_interface_record *record,
				 struct control_port *port)
{
	struct control_interface *public = &record->public;
	struct ferrite_interface_config config = {
		.port = port->handle,
		.vni = public->spec.vni,
		.ipv4 = public->spec.ipv4,
		.ipv6 = public->spec.ipv6,
		.preferred_underlay = public->spec.preferred_underlay,
		.total_rate = public->spec.total_rate,
		.public_rate = public->spec.public_rate,
		.spoof_check_off = public->spec.spoof_check_off,
		.flow_limit = public->spec.flow_limit,
		.flow_rate = public->spec.flow_rate,
	};
	int failed;

	memcpy(config.hostname, public->spec.hostname, sizeof config.hostname);
	memcpy(config.pxe_server, public->spec.pxe_server, sizeof config.pxe_server);
	memcpy(config.pxe_file, public->spec.pxe_file, sizeof config.pxe_file);
	if (ferrite_port_info(control->engine, port->handle, &public->port) != 0)
		return CONTROL_PORT_START;
	failed = ferrite_interface_add(control->engine, &config, &record->index, &public->underlay);
	return failed == 0 ? CONTROL_SUCCESS : status_of_add(failed);
}

enum control_status control_interface_create(struct control *control, const struct control_interface_spec *spec,
					     const struct control_interface **made)
{
	struct control_port *port = control_port_find(&control->ports, spec->device);
	enum control_status status = check(control, spec, port);
	struct control_interface_record *record;
	struct ferrite_route_key keys[2];
	unsigned count = primary_keys(spec, keys);
	struct control_vni_record *vni;
	struct control_key underlay;

	if (status != CONTROL_SUCCESS)
		return status;
	record = calloc(1, sizeof *record);
	vni = record != NULL ? control_vni_acquire(&control->route_table, spec->vni) : NULL;
	if (vni == NULL) {
		free(record);
		return CONTROL_VNI_INIT4;
	}
	record->public.spec = *spec;
	if (port == NULL)
		status = control_port_open_on_demand(control, spec->device, &port);
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
	port->interface = record;
	control_index_insert(&control->by_id, id_hash(control, spec->id), record->port);
	underlay = control_key_of_underlay(&record->public.underlay);
	control_key_put(&control->underlays, &underlay, 0);
	for (unsigned i = 0; i < count; ++i)
		control_route_insert(&control->route_table, &keys[i])->local = true;
	control->digest ^= control_digest_interface(&record->public.spec);
	control_firewall_begin(control, record);
	log_info("interface created", "id=%s vni=%u device=%s", spec->id, spec->vni, record->public.port.device);
	*made = &record->public;
	return CONTROL_SUCCESS;
}

static bool same_identity(const struct control_interface_spec *one, const struct control_interface_spec *other)
{
	return strcmp(one->id, other->id) == 0 && one->vni == other->vni &&
	       memcmp(&one->ipv4, &other->ipv4, sizeof one->ipv4) == 0 &&
	       memcmp(&one->ipv6, &other->ipv6, sizeof one->ipv6) == 0 && strcmp(one->device, other->device) == 0 &&
	       memcmp(&one->preferred_underlay, &other->preferred_underlay, sizeof one->preferred_underlay) == 0;
}

static bool same_settings(const struct control_interface_spec *one, const struct control_interface_spec *other)
{
	return strcmp(one->hostname, other->hostname) == 0 && one->total_rate == other->total_rate &&
	       one->public_rate == other->public_rate && strcmp(one->pxe_server, other->pxe_server) == 0 &&
	       strcmp(one->pxe_file, other->pxe_file) == 0 && one->spoof_check_off == other->spoof_check_off &&
	       one->flow_limit == other->flow_limit && one->flow_rate == other->flow_rate;
}

static enum control_status update(struct control *control, struct control_interface_record *record,
				  const struct control_interface_spec *spec)
{
	struct ferrite_interface_settings settings = {
		.total_rate = spec->total_rate,
		.public_rate = spec->public_rate,
		.spoof_check_off = spec->spoof_check_off,
		.flow_limit = spec->flow_limit,
		.flow_rate = spec->flow_rate,
	};

	if (!rates_are_good(spec))
		return CONTROL_PORT_METER;
	memcpy(settings.hostname, spec->hostname, sizeof settings.hostname);
	memcpy(settings.pxe_server, spec->pxe_server, sizeof settings.pxe_server);
	memcpy(settings.pxe_file, spec->pxe_file, sizeof settings.pxe_file);
	if (ferrite_interface_update(control->engine, record->index, &settings) != 0)
		return CONTROL_PORT_START;
	control->digest ^= control_digest_interface(&record->public.spec);
	record->public.spec = *spec;
	control->digest ^= control_digest_interface(&record->public.spec);
	return CONTROL_SUCCESS;
}

enum control_status control_interface_ensure(struct control *control, const struct control_interface_spec *spec,
					     const struct control_interface **made)
{
	struct control_interface_record *present = control_interface_record_find(control, spec->id);
	enum control_status status = CONTROL_SUCCESS;

	if (present == NULL)
		return control_interface_create(control, spec, made);
	if (!same_identity(&present->public.spec, spec))
		return CONTROL_ALREADY_EXISTS;
	if (!same_settings(&present->public.spec, spec))
		status = update(control, present, spec);
	*made = &present->public;
	return status;
}

/* What stands around it goes before it; it is still in the engine. */
static void remove_services(struct control *control, struct control_interface_record *record)
{
	control_prefixes_remove(control, record);
	control_vip_remove(control, record);
	control_nat_remove(control, record);
	control_firewall_forget(control, record);
}

enum control_status control_interface_delete(struct control *control, const char *id)
{
	struct control_interface_record *record = control_interface_record_find(control, id);
	enum control_status status = CONTROL_SUCCESS;
	struct ferrite_route_key keys[2];
	struct control_port *port;
	struct control_key underlay;

	if (record == NULL)
		return CONTROL_NOT_FOUND;
	port = &control->ports.ports[record->port];
	remove_services(control, record);
	/* As dpservice: a failure to stop is told, and the interface is gone all the same. */
	if (ferrite_interface_remove(control->engine, record->index) != 0)
		status = CONTROL_PORT_STOP;
	for (unsigned i = primary_keys(&record->public.spec, keys); i-- > 0;)
		control_route_erase(&control->route_table, control_route_find(&control->route_table, &keys[i]));
	control_vni_leave(control, record->public.spec.vni);
	underlay = control_key_of_underlay(&record->public.underlay);
	control_key_remove(&control->underlays, &underlay);
	control->digest ^= control_digest_interface(&record->public.spec);
	control_index_remove(&control->by_id, id_hash(control, record->public.spec.id), record->port);
	log_info("interface deleted", "id=%s vni=%u", record->public.spec.id, record->public.spec.vni);
	port->interface = NULL;
	control_port_close_on_demand(control, port);
	free(record);
	return status;
}
