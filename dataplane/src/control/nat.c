/* NATs of interfaces, and the ranges of neighbours: no port of an address is anybody's twice in a VNI. */
#include <errno.h>
#include <string.h>

#include "address.h"
#include "digest.h"
#include "log.h"
#include "state.h"

static enum control_status status_of_add(int failed)
{
	switch (-failed) {
	case EADDRINUSE:
	case ENOSPC:
	case EINVAL:
		return CONTROL_VNF_INSERT;
	case EEXIST:
		return CONTROL_SNAT_EXISTS;
	default:
		return CONTROL_SNAT_CREATE;
	}
}

static enum control_status add(struct control *control, struct control_interface_record *record,
			       const struct control_nat_spec *wanted, ferrite_ipv6 *underlay)
{
	struct control_nat nat = {
		.interface = record->public.spec.id,
		.vni = record->public.spec.vni,
		.primary = record->public.spec.ipv4,
		.min = wanted->min,
		.max = wanted->max,
		.preferred = wanted->preferred,
	};
	struct control_nat_range range = {.min = wanted->min, .max = wanted->max, .local = true};
	int failed;

	memcpy(nat.ip.bytes, wanted->ip.bytes, sizeof nat.ip.bytes);
	if (!control_endpoint_reserve(control, &wanted->preferred))
		return CONTROL_VNF_INSERT;
	if (record->has_nat)
		return CONTROL_SNAT_EXISTS;
	if (control_nat_overlaps(&control->nat_table, nat.vni, &nat.ip, nat.min, nat.max, NULL))
		return CONTROL_ALREADY_EXISTS;
	if (!control_nat_range_reserve(&control->nat_table, nat.vni, &nat.ip))
		return CONTROL_SNAT_CREATE;
	failed = ferrite_nat_add(control->engine, record->index, nat.ip, nat.min, nat.max, &nat.preferred, &nat.underlay);
	if (failed != 0) {
		control_nat_range_abandon(&control->nat_table, nat.vni, &nat.ip);
		return status_of_add(failed);
	}
	control_nat_range_insert(&control->nat_table, nat.vni, &nat.ip, &range);
	record->nat = nat;
	record->has_nat = true;
	control_endpoint_add(control, &nat.underlay);
	control->nats++;
	control->digest ^= control_digest_nat(&nat);
	*underlay = nat.underlay;
	return CONTROL_SUCCESS;
}

void control_nat_remove(struct control *control, struct control_interface_record *record)
{
	const struct control_nat *nat = &record->nat;

	if (!record->has_nat)
		return;
	if (ferrite_nat_remove(control->engine, record->index) != 0)
		log_error("engine lost a NAT", "interface=%s", record->public.spec.id);
	control_nat_range_erase(&control->nat_table, nat->vni, &nat->ip, nat->min, nat->max);
	control_endpoint_remove(control, &nat->underlay);
	control->nats--;
	control->digest ^= control_digest_nat(nat);
	record->has_nat = false;
}

enum control_status control_nat_create(struct control *control, const struct control_nat_spec *wanted,
				       ferrite_ipv6 *underlay)
{
	struct control_interface_record *record = control_interface_record_find(control, wanted->interface);

	if (record == NULL)
		return CONTROL_NO_VM;
	if (wanted->ip.family != 4)
		return CONTROL_BAD_IPVER;
	return add(control, record, wanted, underlay);
}

/* Another range of the same address. */
static enum control_status move_range(struct control *control, struct control_interface_record *record, uint32_t min,
				      uint32_t max)
{
	struct control_nat_range range = {.min = min, .max = max, .local = true};
	struct control_nat *nat = &record->nat;

	if (ferrite_nat_update(control->engine, record->index, min, max) != 0)
		return CONTROL_SNAT_CREATE;
	control->digest ^= control_digest_nat(nat);
	*control_nat_range_find(&control->nat_table, nat->vni, &nat->ip, nat->min, nat->max) = range;
	control_nat_range_sort(&control->nat_table, nat->vni, &nat->ip);
	nat->min = min;
	nat->max = max;
	control->digest ^= control_digest_nat(nat);
	return CONTROL_SUCCESS;
}

enum control_status control_nat_ensure(struct control *control, const struct control_nat_spec *wanted,
				       ferrite_ipv6 *underlay)
{
	struct control_interface_record *record = control_interface_record_find(control, wanted->interface);
	const struct control_nat_range *own;
	bool same_ip, same_underlay;
	ferrite_ipv4 ip;

	if (record == NULL || wanted->ip.family != 4 || !record->has_nat)
		return control_nat_create(control, wanted, underlay);
	memcpy(ip.bytes, wanted->ip.bytes, sizeof ip.bytes);
	same_ip = memcmp(&record->nat.ip, &ip, sizeof ip) == 0;
	same_underlay = memcmp(&record->nat.preferred, &wanted->preferred, sizeof wanted->preferred) == 0;
	*underlay = record->nat.underlay;
	if (same_ip && same_underlay && record->nat.min == wanted->min && record->nat.max == wanted->max)
		return CONTROL_SUCCESS;
	if (!same_underlay && memcmp(&record->nat.underlay, &wanted->preferred, sizeof wanted->preferred) != 0 &&
	    control_underlay_taken(control, &wanted->preferred))
		return CONTROL_VNF_INSERT;
	own = same_ip ? control_nat_range_find(&control->nat_table, record->nat.vni, &ip, record->nat.min,
					       record->nat.max)
		      : NULL;
	if (control_nat_overlaps(&control->nat_table, record->nat.vni, &ip, wanted->min, wanted->max, own))
		return CONTROL_ALREADY_EXISTS;
	if (same_ip && same_underlay)
		return move_range(control, record, wanted->min, wanted->max);
	control_nat_remove(control, record);
	return add(control, record, wanted, underlay);
}

enum control_status control_nat_get(const struct control *control, const char *interface, struct control_nat *nat)
{
	const struct control_interface_record *record = control_interface_record_find(control, interface);

	if (record == NULL)
		return CONTROL_NO_VM;
	if (!record->has_nat)
		return CONTROL_SNAT_NO_DATA;
	*nat = record->nat;
	return CONTROL_SUCCESS;
}

enum control_status control_nat_delete(struct control *control, const char *interface)
{
	struct control_interface_record *record = control_interface_record_find(control, interface);

	if (record == NULL)
		return CONTROL_NO_VM;
	if (!record->has_nat)
		return CONTROL_SNAT_NO_DATA;
	control_nat_remove(control, record);
	return CONTROL_SUCCESS;
}

void control_nat_each(const struct control *control, void (*visit)(void *context, const struct control_nat *nat),
		      void *context)
{
	for (uint32_t at = 0; at < control->ports.used; ++at) {
		const struct control_interface_record *record = control->ports.ports[at].interface;

		if (record != NULL && record->has_nat)
			visit(context, &record->nat);
	}
}

enum control_status control_neighbor_nat_create(struct control *control, const struct ferrite_neighbor_nat *wanted)
{
	struct control_nat_range range = {.min = wanted->min, .max = wanted->max, .underlay = wanted->underlay};
	int failed;

	if (control_nat_overlaps(&control->nat_table, wanted->vni, &wanted->ip, wanted->min, wanted->max, NULL))
		return CONTROL_ALREADY_EXISTS;
	if (control->neighbor_nats >= FERRITE_MAX_NEIGHBOR_NATS ||
	    !control_nat_range_reserve(&control->nat_table, wanted->vni, &wanted->ip))
		return CONTROL_DNAT_CREATE;
	failed = ferrite_neighbor_nat_add(control->engine, wanted);
	if (failed != 0) {
		control_nat_range_abandon(&control->nat_table, wanted->vni, &wanted->ip);
		return failed == -EEXIST ? CONTROL_ALREADY_EXISTS : CONTROL_DNAT_CREATE;
	}
	control_nat_range_insert(&control->nat_table, wanted->vni, &wanted->ip, &range);
	control->neighbor_nats++;
	control->digest ^= control_digest_neighbor_nat(wanted);
	return CONTROL_SUCCESS;
}

static void forget_neighbor(struct control *control, const struct ferrite_neighbor_nat *entry)
{
	if (ferrite_neighbor_nat_remove(control->engine, entry) != 0)
		log_error("engine lost a neighbour NAT", "vni=%u", entry->vni);
	control_nat_range_erase(&control->nat_table, entry->vni, &entry->ip, entry->min, entry->max);
	control->neighbor_nats--;
	control->digest ^= control_digest_neighbor_nat(entry);
}

enum control_status control_neighbor_nat_ensure(struct control *control, const struct ferrite_neighbor_nat *wanted)
{
	const struct control_nat_range *present = control_nat_range_find(&control->nat_table, wanted->vni, &wanted->ip,
									 wanted->min, wanted->max);

	if (present != NULL && !present->local) {
		struct ferrite_neighbor_nat old = *wanted;

		old.underlay = present->underlay;
		if (memcmp(&old.underlay, &wanted->underlay, sizeof old.underlay) == 0)
			return CONTROL_SUCCESS;
		forget_neighbor(control, &old);
	}
	return control_neighbor_nat_create(control, wanted);
}

enum control_status control_neighbor_nat_delete(struct control *control, const struct ferrite_neighbor_nat *wanted)
{
	const struct control_nat_range *present = control_nat_range_find(&control->nat_table, wanted->vni, &wanted->ip,
									 wanted->min, wanted->max);
	struct ferrite_neighbor_nat old = *wanted;

	if (present == NULL || present->local)
		return CONTROL_NOT_FOUND;
	old.underlay = present->underlay;
	forget_neighbor(control, &old);
	return CONTROL_SUCCESS;
}

static struct ferrite_neighbor_nat entry_of(const struct control_nat_group *group, uint32_t at)
{
	return (struct ferrite_neighbor_nat){
		.ip = group->ip,
		.vni = group->vni,
		.min = group->ranges[at].min,
		.max = group->ranges[at].max,
		.underlay = group->ranges[at].underlay,
	};
}

void control_neighbor_nat_each(const struct control *control,
			       void (*visit)(void *context, const struct ferrite_neighbor_nat *entry), void *context)
{
	for (uint32_t i = 0; i < control->nat_table.used; ++i) {
		const struct control_nat_group *group = &control->nat_table.groups[i];

		for (uint32_t at = 0; at < group->count; ++at) {
			struct ferrite_neighbor_nat entry = entry_of(group, at);

			if (!group->ranges[at].local)
				visit(context, &entry);
		}
	}
}

void control_neighbor_nats_clear(struct control *control, uint32_t vni, bool every_vni)
{
	for (uint32_t i = 0; control->neighbor_nats > 0 && i < control->nat_table.used; ++i) {
		const struct control_nat_group *group = &control->nat_table.groups[i];

		if (!group->used || (!every_vni && group->vni != vni))
			continue;
		for (uint32_t at = group->count; at-- > 0;) {
			struct ferrite_neighbor_nat entry = entry_of(group, at);

			/* The last one takes the group along, whose count is then 0. */
			if (!group->ranges[at].local)
				forget_neighbor(control, &entry);
		}
	}
}
