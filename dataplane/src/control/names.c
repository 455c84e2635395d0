#include "names.h"

#include <stdio.h>
#include <string.h>

#include "state.h"

static struct control_point view(const struct control_port *port)
{
	const struct control_interface_record *record = port->interface;

	return (struct control_point){
		.interface = record != NULL ? record->public.spec.id : NULL,
		.port = port->name,
		.device = port->device,
		.index = record != NULL ? record->index : 0,
		.handle = port->handle,
	};
}

bool control_point_find(const struct control *control, const char *name, struct control_point *point)
{
	const struct control_interface_record *record = control_interface_record_find(control, name);
	const struct control_port *port =
		record != NULL ? &control->ports.ports[record->port] : control_port_find(&control->ports, name);

	if (port != NULL)
		*point = view(port);
	return port != NULL;
}

void control_point_each(const struct control *control,
			void (*visit)(void *context, const struct control_point *point), void *context)
{
	for (uint32_t i = 0; i < control->ports.used; ++i) {
		struct control_point point = view(&control->ports.ports[i]);

		if (point.handle != 0)
			visit(context, &point);
	}
}

static const char *rule_of(const struct control_interface_record *record, uint32_t tag)
{
	for (uint32_t i = 0; record != NULL && i < record->firewall.count; ++i)
		if (record->firewall.rules[i].tag == tag)
			return record->firewall.rules[i].id;
	return NULL;
}

const char *control_rule_name(const struct control *control, const char *interface, uint32_t tag)
{
	const char *name =
		interface != NULL ? rule_of(control_interface_record_find(control, interface), tag) : NULL;

	for (uint32_t i = 0; name == NULL && i < control->ports.used; ++i)
		if (control->ports.ports[i].handle != 0)
			name = rule_of(control->ports.ports[i].interface, tag);
	return name;
}

const char *control_balancer_name(const struct control *control, uint32_t index)
{
	for (uint32_t i = 0; i < control->balancers.used; ++i) {
		const struct control_balancer_record *record = control->balancers.slots[i];

		if (record != NULL && record->index == index)
			return record->public.spec.id;
	}
	return NULL;
}

static bool same(const ferrite_ipv6 *one, const ferrite_ipv6 *other)
{
	return memcmp(one, other, sizeof *one) == 0;
}

static bool record_has(const struct control_interface_record *record, const ferrite_ipv6 *address, char *text,
		       size_t room)
{
	const char *id = record->public.spec.id;

	if (same(&record->public.underlay, address))
		return snprintf(text, room, "interface %s", id) > 0;
	if (record->has_vip && same(&record->vip.underlay, address))
		return snprintf(text, room, "the VIP of %s", id) > 0;
	if (record->has_nat && same(&record->nat.underlay, address))
		return snprintf(text, room, "the NAT of %s", id) > 0;
	for (uint32_t i = 0; i < record->prefix_count; ++i)
		if (same(&record->prefixes[i].public.underlay, address))
			return snprintf(text, room, "%s prefix of %s",
					record->prefixes[i].public.routed ? "an alias" : "a load balancer", id) > 0;
	return false;
}

bool control_underlay_name(const struct control *control, const ferrite_ipv6 *address, char *text, size_t room)
{
	for (uint32_t i = 0; i < control->ports.used; ++i)
		if (control->ports.ports[i].handle != 0 && control->ports.ports[i].interface != NULL &&
		    record_has(control->ports.ports[i].interface, address, text, room))
			return true;
	for (uint32_t i = 0; i < control->balancers.used; ++i) {
		const struct control_balancer_record *record = control->balancers.slots[i];

		if (record != NULL && same(&record->public.underlay, address))
			return snprintf(text, room, "load balancer %s", record->public.spec.id) > 0;
	}
	return false;
}
