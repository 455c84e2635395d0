/* Alias prefixes, which are routed to their interface, and load balancer prefixes, which are not. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "digest.h"
#include "log.h"
#include "state.h"

static struct ferrite_route_key masked_key(const struct control_interface_record *record,
					   const struct ferrite_route_key *key)
{
	struct ferrite_route_key masked = *key;

	masked.vni = record->public.spec.vni;
	control_prefix_mask(&masked);
	return masked;
}

static bool key_equal(const struct ferrite_route_key *one, const struct ferrite_route_key *other)
{
	return one->family == other->family && one->length == other->length &&
	       memcmp(one->prefix, other->prefix, sizeof one->prefix) == 0;
}

/* NULL where there is none; `key` is masked. */
static struct control_prefix_record *find(const struct control_interface_record *record,
					  const struct ferrite_route_key *key, bool routed)
{
	for (uint32_t at = 0; at < record->prefix_count; ++at) {
		struct ferrite_route_key have = masked_key(record, &record->prefixes[at].public.key);

		if (record->prefixes[at].public.routed == routed && key_equal(&have, key))
			return &record->prefixes[at];
	}
	return NULL;
}

static bool reserve(struct control_interface_record *record)
{
	if (record->prefix_count == record->prefix_capacity) {
		uint32_t capacity = record->prefix_capacity > 0 ? 2 * record->prefix_capacity : 4;
		struct control_prefix_record *prefixes = realloc(record->prefixes, capacity * sizeof *prefixes);

		if (prefixes == NULL)
			return false;
		record->prefixes = prefixes;
		record->prefix_capacity = capacity;
	}
	return true;
}

static enum control_status check(struct control *control, const struct control_interface_record *record,
				 const struct control_prefix *wanted)
{
	struct ferrite_route_key key = masked_key(record, &wanted->key);
	bool too_long = key.length > control_family_width(key.family);

	if (wanted->routed) {
		if (too_long)
			return CONTROL_ROUTE_INSERT;
		if (control_route_find(&control->route_table, &key) != NULL)
			return CONTROL_ROUTE_EXISTS;
		if (!control_route_table_reserve(&control->route_table, 1))
			return CONTROL_ROUTE_INSERT;
	} else if (find(record, &key, false) != NULL) {
		return CONTROL_ALREADY_EXISTS;
	} else if (too_long) {
		return CONTROL_VNF_INSERT;
	}
	return control_endpoint_reserve(control, &wanted->preferred) ? CONTROL_SUCCESS : CONTROL_VNF_INSERT;
}

static enum control_status status_of_add(int failed, bool routed)
{
	switch (-failed) {
	case EEXIST:
		return routed ? CONTROL_ROUTE_EXISTS : CONTROL_ALREADY_EXISTS;
	case ENOMEM:
		return routed ? CONTROL_ROUTE_INSERT : CONTROL_VNF_INSERT;
	default:
		return CONTROL_VNF_INSERT;
	}
}

static enum control_status add(struct control *control, struct control_interface_record *record,
			       const struct control_prefix *wanted, ferrite_ipv6 *underlay)
{
	struct ferrite_route_key key = masked_key(record, &wanted->key);
	enum control_status status = check(control, record, wanted);
	struct control_prefix *made;
	int failed;

	if (status != CONTROL_SUCCESS)
		return status;
	if (!reserve(record))
		return CONTROL_VNF_INSERT;
	failed = ferrite_prefix_add(control->engine, record->index, &key, wanted->routed, &wanted->preferred, underlay);
	if (failed != 0)
		return status_of_add(failed, wanted->routed);
	made = &record->prefixes[record->prefix_count++].public;
	*made = *wanted;
	made->interface = record->public.spec.id;
	made->key.vni = key.vni;
	made->underlay = *underlay;
	if (wanted->routed) {
		struct control_route_record *route = control_route_insert(&control->route_table, &key);

		route->local = true;
		route->owner = record->port;
	}
	control_endpoint_add(control, underlay);
	control->prefixes[wanted->routed]++;
	control->digest ^= control_digest_prefix(made);
	return CONTROL_SUCCESS;
}

static void take_away(struct control *control, struct control_interface_record *record,
		      struct control_prefix_record *prefix)
{
	struct control_prefix gone = prefix->public;
	struct ferrite_route_key key = masked_key(record, &gone.key);

	if (ferrite_prefix_remove(control->engine, record->index, &key, gone.routed) != 0)
		log_error("engine lost a prefix", "interface=%s", record->public.spec.id);
	if (gone.routed)
		control_route_erase(&control->route_table, control_route_find(&control->route_table, &key));
	control_endpoint_remove(control, &gone.underlay);
	control->prefixes[gone.routed]--;
	control->digest ^= control_digest_prefix(&gone);
	record->prefix_count--;
	memmove(prefix, prefix + 1,
		(size_t)(&record->prefixes[record->prefix_count] - prefix) * sizeof *prefix);
}

enum control_status control_prefix_create(struct control *control, const struct control_prefix *wanted,
					  ferrite_ipv6 *underlay)
{
	struct control_interface_record *record = control_interface_record_find(control, wanted->interface);

	return record == NULL ? CONTROL_NO_VM : add(control, record, wanted, underlay);
}

enum control_status control_prefix_ensure(struct control *control, const struct control_prefix *wanted,
					  ferrite_ipv6 *underlay)
{
	struct control_interface_record *record = control_interface_record_find(control, wanted->interface);
	struct control_prefix_record *present;
	struct ferrite_route_key key;

	if (record == NULL)
		return CONTROL_NO_VM;
	key = masked_key(record, &wanted->key);
	present = find(record, &key, wanted->routed);
	if (present == NULL)
		return add(control, record, wanted, underlay);
	if (memcmp(&present->public.preferred, &wanted->preferred, sizeof wanted->preferred) != 0) {
		if (memcmp(&present->public.underlay, &wanted->preferred, sizeof wanted->preferred) != 0 &&
		    control_underlay_taken(control, &wanted->preferred))
			return CONTROL_VNF_INSERT;
		take_away(control, record, present);
		return add(control, record, wanted, underlay);
	}
	*underlay = present->public.underlay;
	return CONTROL_SUCCESS;
}

enum control_status control_prefix_delete(struct control *control, const char *interface,
					  const struct ferrite_route_key *key, bool routed)
{
	struct control_interface_record *record = control_interface_record_find(control, interface);
	struct control_prefix_record *prefix;
	struct ferrite_route_key masked;

	if (record == NULL)
		return CONTROL_NO_VM;
	masked = masked_key(record, key);
	if (routed) {
		const struct control_route_record *route =
			masked.length > control_family_width(masked.family)
				? NULL
				: control_route_find(&control->route_table, &masked);

		if (route == NULL)
			return CONTROL_ROUTE_NOT_FOUND;
		if (!route->local || (route->owner != CONTROL_INDEX_NONE && route->owner != record->port))
			return CONTROL_ROUTE_BAD_PORT;
	}
	prefix = find(record, &masked, routed);
	if (prefix == NULL)
		return CONTROL_NOT_FOUND;
	take_away(control, record, prefix);
	return CONTROL_SUCCESS;
}

static void visit_all(const struct control_interface_record *record, bool routed,
		      void (*visit)(void *context, const struct control_prefix *prefix), void *context)
{
	for (uint32_t at = 0; at < record->prefix_count; ++at)
		if (record->prefixes[at].public.routed == routed)
			visit(context, &record->prefixes[at].public);
}

enum control_status control_prefix_each(const struct control *control, const char *interface, bool routed,
					void (*visit)(void *context, const struct control_prefix *prefix),
					void *context)
{
	const struct control_interface_record *record;

	if (interface == NULL) {
		for (uint32_t at = 0; at < control->ports.used; ++at)
			if (control->ports.ports[at].interface != NULL)
				visit_all(control->ports.ports[at].interface, routed, visit, context);
		return CONTROL_SUCCESS;
	}
	record = control_interface_record_find(control, interface);
	if (record == NULL)
		return CONTROL_NO_VM;
	visit_all(record, routed, visit, context);
	return CONTROL_SUCCESS;
}

void control_prefixes_remove(struct control *control, struct control_interface_record *record)
{
	while (record->prefix_count > 0)
		take_away(control, record, &record->prefixes[record->prefix_count - 1]);
	free(record->prefixes);
	record->prefixes = NULL;
	record->prefix_capacity = 0;
}
