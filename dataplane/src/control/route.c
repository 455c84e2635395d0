/* Routes and VNIs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "digest.h"
#include "log.h"
#include "state.h"

static uint64_t digest_of(const struct control_route_record *record)
{
	return record->hops != NULL ? control_digest_hops(&record->key, record->hops, record->hop_count)
				    : control_digest_route(&record->key, &record->next_hop, record->next_hop_vni);
}

/* The hops of a route, where they are several: a copy that is the record's own. False: no memory. */
static bool copy_hops(const struct control_route *route, struct ferrite_hop **hops)
{
	*hops = NULL;
	if (route->hop_count < 2)
		return true;
	*hops = malloc(route->hop_count * sizeof **hops);
	if (*hops != NULL)
		memcpy(*hops, route->hops, route->hop_count * sizeof **hops);
	return *hops != NULL;
}

static enum control_status check(struct control *control, const struct control_route *route,
				 const struct ferrite_route_key *key, bool replace,
				 struct control_route_record **record)
{
	if (control_vni_find(&control->route_table, key->vni) == NULL)
		return CONTROL_NO_VNI;
	if (key->length > control_family_width(key->family) || route->hop_count > FERRITE_MAX_HOPS)
		return CONTROL_ROUTE_INSERT;
	*record = control_route_find(&control->route_table, key);
	if (*record != NULL && ((*record)->local || !replace))
		return CONTROL_ROUTE_EXISTS;
	if (*record == NULL &&
	    (control->routes >= FERRITE_MAX_ROUTES || !control_route_table_reserve(&control->route_table, 1)))
		return CONTROL_ROUTE_INSERT;
	return CONTROL_SUCCESS;
}

enum control_status control_route_put(struct control *control, const struct control_route *route, bool replace)
{
	struct ferrite_route wanted = {
		.key = route->key, .next_hop = route->next_hop, .next_hop_vni = route->next_hop_vni % CONTROL_VNI_LIMIT /* 24 bits, as VNIs are */};
	struct control_route_record *record = NULL;
	struct ferrite_hop *hops;
	enum control_status status;
	int failed;

	control_prefix_mask(&wanted.key);
	status = check(control, route, &wanted.key, replace, &record);
	if (status != CONTROL_SUCCESS)
		return status;
	if (!copy_hops(route, &hops))
		return CONTROL_ROUTE_INSERT;
	wanted.hops = hops;
	wanted.hop_count = hops != NULL ? route->hop_count : 0;
	failed = ferrite_route_put(control->engine, &wanted, replace);
	if (failed != 0) {
		free(hops);
		return failed == -EEXIST ? CONTROL_ROUTE_EXISTS : CONTROL_ROUTE_INSERT;
	}
	if (record == NULL) {
		record = control_route_insert(&control->route_table, &wanted.key);
		control->routes++;
	} else {
		control->digest ^= digest_of(record);
		free(record->hops);
	}
	record->next_hop = wanted.next_hop;
	record->next_hop_vni = wanted.next_hop_vni;
	record->hops = hops;
	record->hop_count = (uint8_t)wanted.hop_count;
	control->digest ^= digest_of(record);
	return CONTROL_SUCCESS;
}

static void forget(struct control *control, struct control_route_record *record)
{
	control->digest ^= digest_of(record);
	control->routes--;
	control_route_erase(&control->route_table, record);
}

enum control_status control_route_delete(struct control *control, const struct ferrite_route_key *key)
{
	struct ferrite_route_key masked = *key;
	struct control_route_record *record;

	if (control_vni_find(&control->route_table, key->vni) == NULL)
		return CONTROL_NO_VNI;
	if (key->length > control_family_width(key->family))
		return CONTROL_ROUTE_NOT_FOUND;
	control_prefix_mask(&masked);
	record = control_route_find(&control->route_table, &masked);
	if (record == NULL)
		return CONTROL_ROUTE_NOT_FOUND;
	if (record->local)
		return CONTROL_ROUTE_BAD_PORT;
	if (ferrite_route_remove(control->engine, &masked) != 0)
		log_error("engine lost a route", "vni=%u", masked.vni);
	forget(control, record);
	return CONTROL_SUCCESS;
}

void control_routes_clear(struct control *control, uint32_t vni)
{
	struct control_vni_record *record = control_vni_find(&control->route_table, vni);
	uint32_t next = record != NULL ? record->first_route : CONTROL_INDEX_NONE;

	if (next == CONTROL_INDEX_NONE)
		return;
	ferrite_route_clear(control->engine, vni);
	while (next != CONTROL_INDEX_NONE) {
		struct control_route_record *route = &control->route_table.records[next];

		next = route->next;
		if (!route->local)
			forget(control, route);
	}
}

void control_vni_leave(struct control *control, uint32_t vni)
{
	struct control_vni_record *record = control_vni_find(&control->route_table, vni);

	if (record->references == 1) {
		control_routes_clear(control, vni);
		control_neighbor_nats_clear(control, vni, false);
	}
	control_vni_release(&control->route_table, record);
}

struct visitor {
	void (*visit)(void *context, const struct control_route *route);
	void *context;
};

static bool visit_route(void *context, const struct ferrite_route *route)
{
	const struct visitor *visitor = context;

	if (!route->local) {
		struct control_route seen = {
			.key = route->key,
			.next_hop = route->next_hop,
			.next_hop_vni = route->next_hop_vni,
			.hop_count = route->hop_count,
			.hops = route->hops,
		};

		visitor->visit(visitor->context, &seen);
	}
	return true;
}

enum control_status control_route_each(const struct control *control, uint32_t vni,
				       void (*visit)(void *context, const struct control_route *route), void *context)
{
	struct visitor visitor = {.visit = visit, .context = context};

	if (vni != 0 && control_vni_find(&control->route_table, vni) == NULL)
		return CONTROL_NO_VNI;
	ferrite_route_each(control->engine, vni, visit_route, &visitor);
	return CONTROL_SUCCESS;
}

bool control_vni_in_use(const struct control *control, uint32_t vni)
{
	return control_vni_find(&control->route_table, vni) != NULL;
}

void control_vni_reset(struct control *control, uint32_t vni)
{
	control_routes_clear(control, vni);
}
