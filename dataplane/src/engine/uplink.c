#include "engine/uplink.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/state.h"

static int open_port(struct ferrite_engine *engine, const struct port_spec *spec, struct port **port, char *error)
{
	switch (spec->kind) {
	case PORT_WIRE:
		return wire_open(engine, spec->device, port, error);
	case PORT_ETH:
		return eth_open_uplink(engine, spec, port, error);
	case PORT_VTAP:
		return vtap_open_uplink(engine, spec, port, error);
	case PORT_RING:
		return ring_open(engine, spec->device, port, error);
	case PORT_PCI:
		return pci_open_uplink(engine, spec, port, error);
	default:
		return port_error(error, EINVAL, "%s is no uplink", port_kind_name(spec->kind));
	}
}

/* How flows are divided from now on. */
static void divide(struct uplink_set *set)
{
	uint64_t weights[FERRITE_MAX_UPLINKS] = {0};
	bool any = false;
	for (unsigned i = 0; i < set->count; i++)
		any |= set->about[i].up;
	for (unsigned i = 0; i < set->count; i++)
		weights[i] = set->about[i].up || !any ? set->about[i].weight : 0;
	uint64_t all = weights[0] + weights[1];
	__atomic_store_n(&set->share, all == 0 ? 0 : (weights[0] << 32) / all, __ATOMIC_RELAXED);
}

static bool link_of(struct port *port)
{
	return port->ops->link == NULL || port->ops->link(port);
}

static int open_one(struct ferrite_engine *engine, const char *text, char *error)
{
	struct uplink_set *set = &engine->uplinks;
	struct port_spec spec;
	char why[FERRITE_ERROR_TEXT] = "";
	struct port *port = NULL;
	int status = port_spec_uplink(text, strlen(text), &spec, why);
	if (status == 0 && spec.kind == PORT_NONE)
		return 0;
	for (unsigned i = 0; status == 0 && i < set->count; i++)
		if (strcmp(set->about[i].name, spec.name) == 0)
			status = port_error(why, EINVAL, "another one has the name %s: say NAME=KIND:DEVICE", spec.name);
	if (status == 0)
		status = open_port(engine, &spec, &port, why);
	if (status < 0)
		return port_error(error, -status, "uplink \"%.64s\": %.180s", text, why);
	port->uplink = true;
	set->ports[set->count] = port;
	memcpy(set->about[set->count].name, spec.name, sizeof spec.name);
	set->about[set->count].weight = spec.weight;
	set->about[set->count].up = link_of(port);
	set->count++;
	if (port->mtu < (uint32_t)engine->mtu + IPV6_LENGTH)
		engine->mtu = (uint16_t)(port->mtu - IPV6_LENGTH);
	engine_watch(engine, port, true);
	return 0;
}

int uplinks_open(struct ferrite_engine *engine, const struct ferrite_engine_config *config, char *error)
{
	unsigned count = config->uplink_count;
	if (count > FERRITE_MAX_UPLINKS)
		return port_error(error, EINVAL, "%u uplinks: at most %d", count, FERRITE_MAX_UPLINKS);
	for (unsigned i = 0; i < (count > 0 ? count : 1); i++) {
		const char *text = count > 0 ? config->uplinks[i] : config->uplink;
		int status = text == NULL ? 0 : open_one(engine, text, error);
		if (status < 0)
			return status;
	}
	engine->uplink = engine->uplinks.ports[0];
	divide(&engine->uplinks);
	return 0;
}

void uplinks_close(struct ferrite_engine *engine)
{
	for (unsigned i = 0; i < engine->uplinks.count; i++)
		engine->uplinks.ports[i]->ops->close(engine->uplinks.ports[i]);
	engine->uplinks.count = 0;
}

void uplinks_tick(struct ferrite_engine *engine)
{
	struct uplink_set *set = &engine->uplinks;
	bool changed = false;
	for (unsigned i = 0; i < set->count; i++) {
		struct port *port = set->ports[i];
		if (port->ops->tick != NULL)
			port->ops->tick(port, engine->now_ms);
		bool up = link_of(port);
		if (up == set->about[i].up)
			continue;
		set->about[i].up = up;
		set->about[i].downs += !up;
		changed = true;
	}
	if (changed)
		divide(set);
}

struct prefixed {
	const char *name;
	void (*visit)(void *context, const char *name, uint64_t value);
	void *context;
};

static void visit_prefixed(void *context, const char *name, uint64_t value)
{
	const struct prefixed *prefixed = context;
	char full[PORT_NAME_TEXT + 80];
	(void)snprintf(full, sizeof full, "uplink.%s.%s", prefixed->name, name);
	prefixed->visit(prefixed->context, full, value);
}

void uplinks_counters_each(const struct ferrite_engine *engine,
			  void (*visit)(void *context, const char *name, uint64_t value), void *context)
{
	const struct uplink_set *set = &engine->uplinks;
	struct port_counters all = {0};
	if (set->count == 0)
		return;
	for (unsigned i = 0; i < set->count; i++) {
		const struct port *port = set->ports[i];
		struct prefixed prefixed = {set->about[i].name, visit, context};
		char prefix[PORT_NAME_TEXT + 8];
		(void)snprintf(prefix, sizeof prefix, "uplink.%s", set->about[i].name);
		port_counters_each(&port->counters, prefix, visit, context);
		port_counters_add(&all, &port->counters);
		visit_prefixed(&prefixed, "up", set->about[i].up);
		visit_prefixed(&prefixed, "downs", set->about[i].downs);
		visit_prefixed(&prefixed, "weight", set->about[i].weight);
		visit_prefixed(&prefixed, "mtu", port->mtu);
		if (port->ops->counters == NULL)
			continue;
		port->ops->counters(port, visit_prefixed, &prefixed);
		if (set->count == 1)
			port->ops->counters(port, visit, context);
	}
	port_counters_each(&all, "uplink", visit, context);
}
