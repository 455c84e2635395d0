/* Load balancers and their targets. */
#include <assert.h>
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

static bool id_equal(const void *slots, uint32_t record, const void *id)
{
	return strcmp(((struct control_balancer_record *const *)slots)[record]->public.spec.id, id) == 0;
}

static uint32_t slot_of(const struct control *control, const char *id)
{
	return control_index_find(&control->balancers.by_id, id_hash(control, id), id_equal, control->balancers.slots, id);
}

static struct control_balancer_record *find(const struct control *control, const char *id)
{
	uint32_t at = slot_of(control, id);

	return at == CONTROL_INDEX_NONE ? NULL : control->balancers.slots[at];
}

static struct control_key key_of(const struct control_balancer_spec *spec)
{
	return control_key_of_address(spec->vni, spec->address.family, spec->address.bytes);
}

/* A free slot, low numbers first; CONTROL_INDEX_NONE: no memory. */
static uint32_t reserve_slot(struct control_balancer_table *table)
{
	uint32_t at = table->first_free;

	while (at < table->used && table->slots[at] != NULL)
		++at;
	table->first_free = at;
	if (at == table->capacity) {
		uint32_t capacity = at > 0 ? 2 * at : 16;
		struct control_balancer_record **slots = realloc(table->slots, capacity * sizeof *slots);

		if (slots == NULL)
			return CONTROL_INDEX_NONE;
		table->slots = slots;
		table->capacity = capacity;
	}
	return control_index_reserve(&table->by_id, table->by_id.count + 1) && control_key_reserve(&table->by_address)
		       ? at
		       : CONTROL_INDEX_NONE;
}

static bool address_taken(const struct control *control, const struct control_balancer_spec *wanted)
{
	struct control_key key = key_of(wanted);

	return control_key_find(&control->balancers.by_address, &key) != CONTROL_INDEX_NONE ||
	       control_key_find(&control->vip_owners, &key) != CONTROL_INDEX_NONE;
}

static enum control_status status_of_add(int failed)
{
	switch (-failed) {
	case EADDRINUSE:
	case EINVAL:
		return CONTROL_VNF_INSERT;
	case EEXIST:
		return CONTROL_ALREADY_EXISTS;
	default:
		return CONTROL_OUT_OF_MEMORY;
	}
}

static enum control_status start(struct control *control, struct control_balancer_record *record)
{
	const struct control_balancer_spec *spec = &record->public.spec;
	struct ferrite_balancer_config config = {
		.vni = spec->vni,
		.family = spec->address.family,
		.port_count = spec->port_count,
		.preferred_underlay = spec->preferred,
	};
	int failed;

	memcpy(config.address, spec->address.bytes, sizeof config.address);
	memcpy(config.ports, spec->ports, sizeof config.ports);
	failed = ferrite_balancer_add(control->engine, &config, &record->index, &record->public.underlay);
	return failed == 0 ? CONTROL_SUCCESS : status_of_add(failed);
}

static enum control_status add(struct control *control, const struct control_balancer_spec *wanted,
			       struct control_balancer_record **made)
{
	struct control_balancer_table *table = &control->balancers;
	struct control_balancer_record *record;
	struct control_key key = key_of(wanted);
	struct control_vni_record *vni;
	enum control_status status;
	uint32_t at;

	if (control_underlay_taken(control, &wanted->preferred))
		return CONTROL_VNF_INSERT;
	if (address_taken(control, wanted) || find(control, wanted->id) != NULL)
		return CONTROL_ALREADY_EXISTS;
	at = reserve_slot(table);
	record = calloc(1, sizeof *record);
	if (at == CONTROL_INDEX_NONE || record == NULL || !control_endpoint_reserve(control, &wanted->preferred)) {
		free(record);
		return CONTROL_OUT_OF_MEMORY;
	}
	vni = wanted->vni != 0 && wanted->vni < CONTROL_VNI_LIMIT
		      ? control_vni_acquire(&control->route_table, wanted->vni)
		      : NULL;
	record->public.spec = *wanted;
	status = vni == NULL ? CONTROL_VNI_INIT4 : start(control, record);
	if (status != CONTROL_SUCCESS) {
		if (vni != NULL)
			control_vni_release(&control->route_table, vni);
		free(record);
		return status;
	}
	table->slots[at] = record;
	if (at == table->used)
		table->used++;
	control_index_insert(&table->by_id, id_hash(control, wanted->id), at);
	control_key_put(&table->by_address, &key, at);
	control_endpoint_add(control, &record->public.underlay);
	control->digest ^= control_digest_balancer(&record->public);
	log_info("load balancer created", "id=%s vni=%u", wanted->id, wanted->vni);
	*made = record;
	return CONTROL_SUCCESS;
}

static void take_away(struct control *control, uint32_t at)
{
	struct control_balancer_table *table = &control->balancers;
	struct control_balancer_record *record = table->slots[at];
	const struct control_balancer_spec *spec = &record->public.spec;
	struct control_key key = key_of(spec);

	if (ferrite_balancer_remove(control->engine, record->index) != 0)
		log_error("engine lost a load balancer", "id=%s", spec->id);
	control_key_remove(&table->by_address, &key);
	control_index_remove(&table->by_id, id_hash(control, spec->id), at);
	control_endpoint_remove(control, &record->public.underlay);
	control->targets -= record->public.target_count;
	control->digest ^= control_digest_balancer(&record->public);
	control_vni_leave(control, spec->vni);
	log_info("load balancer deleted", "id=%s vni=%u", spec->id, spec->vni);
	table->slots[at] = NULL;
	if (at < table->first_free)
		table->first_free = at;
	free(record->public.targets);
	free(record);
}

/* Takes `targets` as its own on success; sorted, none twice. */
static enum control_status set_targets(struct control *control, struct control_balancer_record *record,
				       ferrite_ipv6 *targets, uint32_t count, uint32_t capacity)
{
	if (ferrite_balancer_targets(control->engine, record->index, targets, count) != 0)
		return CONTROL_BACKIP_ADD;
	control->digest ^= control_digest_balancer(&record->public);
	control->targets += count - record->public.target_count;
	if (targets != record->public.targets)
		free(record->public.targets);
	record->public.targets = targets;
	record->public.target_count = count;
	record->target_capacity = capacity;
	control->digest ^= control_digest_balancer(&record->public);
	return CONTROL_SUCCESS;
}

enum control_status control_balancer_create(struct control *control, const struct control_balancer_spec *wanted,
					    ferrite_ipv6 *underlay)
{
	struct control_balancer_record *record;
	enum control_status status = add(control, wanted, &record);

	if (status == CONTROL_SUCCESS)
		*underlay = record->public.underlay;
	return status;
}

static int target_order(const void *one, const void *other)
{
	return memcmp(one, other, sizeof(ferrite_ipv6));
}

static bool same_ports(const struct control_balancer_spec *one, const struct control_balancer_spec *other)
{
	if (one->port_count != other->port_count)
		return false;
	for (unsigned i = 0; i < one->port_count; ++i)
		if (one->ports[i].protocol != other->ports[i].protocol || one->ports[i].first != other->ports[i].first ||
		    one->ports[i].last != other->ports[i].last)
			return false;
	return true;
}

static enum control_status set_ports(struct control *control, struct control_balancer_record *record,
				     const struct control_balancer_spec *wanted)
{
	struct control_balancer_spec *spec = &record->public.spec;

	if (same_ports(spec, wanted))
		return CONTROL_SUCCESS;
	if (ferrite_balancer_ports(control->engine, record->index, wanted->ports, wanted->port_count) != 0)
		return CONTROL_OUT_OF_MEMORY;
	control->digest ^= control_digest_balancer(&record->public);
	memcpy(spec->ports, wanted->ports, sizeof spec->ports);
	spec->port_count = wanted->port_count;
	control->digest ^= control_digest_balancer(&record->public);
	return CONTROL_SUCCESS;
}

static bool same_identity(const struct control_balancer_spec *one, const struct control_balancer_spec *other)
{
	return one->vni == other->vni && one->address.family == other->address.family &&
	       memcmp(one->address.bytes, other->address.bytes, sizeof one->address.bytes) == 0 &&
	       memcmp(&one->preferred, &other->preferred, sizeof one->preferred) == 0;
}

/* One that is there under this id with another address: what refuses the new one is looked at while it is there. */
static enum control_status replace(struct control *control, uint32_t at, const struct control_balancer_spec *wanted,
				   struct control_balancer_record **record)
{
	const struct control_balancer *old = &control->balancers.slots[at]->public;
	struct control_key old_key = key_of(&old->spec), key = key_of(wanted);

	if (memcmp(&old->underlay, &wanted->preferred, sizeof old->underlay) != 0 &&
	    control_underlay_taken(control, &wanted->preferred))
		return CONTROL_VNF_INSERT;
	if (memcmp(&old_key, &key, sizeof key) != 0 && address_taken(control, wanted))
		return CONTROL_ALREADY_EXISTS;
	if (wanted->vni == 0 || wanted->vni >= CONTROL_VNI_LIMIT)
		return CONTROL_VNI_INIT4;
	take_away(control, at);
	return add(control, wanted, record);
}

/* Makes the record of the id be as wanted but for its targets. `made`: it was not there. */
static enum control_status shape(struct control *control, const struct control_balancer_spec *wanted,
				 struct control_balancer_record **record, bool *made)
{
	uint32_t at = slot_of(control, wanted->id);

	*made = at == CONTROL_INDEX_NONE;
	if (*made)
		return add(control, wanted, record);
	*record = control->balancers.slots[at];
	return same_identity(&(*record)->public.spec, wanted) ? set_ports(control, *record, wanted)
							      : replace(control, at, wanted, record);
}

enum control_status control_balancer_ensure(struct control *control, const struct control_balancer_spec *wanted,
					    const ferrite_ipv6 *targets, unsigned count, ferrite_ipv6 *underlay)
{
	struct control_balancer_record *record;
	enum control_status status;
	ferrite_ipv6 *sorted;
	bool made;

	if (count > FERRITE_MAX_TARGETS)
		return CONTROL_BACKIP_ADD;
	sorted = malloc((count > 0 ? count : 1) * sizeof *sorted);
	if (sorted == NULL)
		return CONTROL_OUT_OF_MEMORY;
	if (count > 0)
		memcpy(sorted, targets, count * sizeof *sorted);
	qsort(sorted, count, sizeof *sorted, target_order);
	status = shape(control, wanted, &record, &made);
	if (status != CONTROL_SUCCESS) {
		free(sorted);
		return status;
	}
	*underlay = record->public.underlay;
	if (record->public.target_count == count &&
	    (count == 0 || memcmp(record->public.targets, sorted, count * sizeof *sorted) == 0)) {
		free(sorted);
		return CONTROL_SUCCESS;
	}
	status = set_targets(control, record, sorted, count, count);
	if (status != CONTROL_SUCCESS) {
		free(sorted);
		if (made)
			take_away(control, slot_of(control, wanted->id));
	}
	return status;
}

enum control_status control_balancer_delete(struct control *control, const char *id)
{
	uint32_t at = slot_of(control, id);

	if (at == CONTROL_INDEX_NONE)
		return CONTROL_NOT_FOUND;
	take_away(control, at);
	return CONTROL_SUCCESS;
}

const struct control_balancer *control_balancer_find(const struct control *control, const char *id)
{
	const struct control_balancer_record *record = find(control, id);

	return record == NULL ? NULL : &record->public;
}

void control_balancer_each(const struct control *control,
			   void (*visit)(void *context, const struct control_balancer *balancer), void *context)
{
	for (uint32_t at = 0; at < control->balancers.used; ++at)
		if (control->balancers.slots[at] != NULL)
			visit(context, &control->balancers.slots[at]->public);
}

/* Where the target is or would be. */
static uint32_t position(const struct control_balancer *balancer, const uint8_t *target, bool *found)
{
	uint32_t low = 0, high = balancer->target_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (memcmp(balancer->targets[middle].bytes, target, 16) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*found = low < balancer->target_count && memcmp(balancer->targets[low].bytes, target, 16) == 0;
	return low;
}

enum control_status control_target_create(struct control *control, const char *balancer,
					  const struct control_address *target)
{
	struct control_balancer_record *record;
	ferrite_ipv6 *targets, address;
	uint32_t at, count;
	bool found;

	if (target->family != 6)
		return CONTROL_BAD_IPVER;
	record = find(control, balancer);
	if (record == NULL)
		return CONTROL_NO_LB;
	memcpy(address.bytes, target->bytes, sizeof address.bytes);
	count = record->public.target_count;
	at = position(&record->public, target->bytes, &found);
	/* As in dpservice, where a free place holds the zero address. */
	if (found || (control_ipv6_is_zero(&address) && count < FERRITE_MAX_TARGETS))
		return CONTROL_ALREADY_EXISTS;
	if (count == FERRITE_MAX_TARGETS)
		return CONTROL_BACKIP_ADD;
	targets = malloc((count + 1) * sizeof *targets);
	if (targets == NULL)
		return CONTROL_BACKIP_ADD;
	if (count > 0) {
		memcpy(targets, record->public.targets, at * sizeof *targets);
		memcpy(targets + at + 1, record->public.targets + at, (count - at) * sizeof *targets);
	}
	targets[at] = address;
	if (set_targets(control, record, targets, count + 1, count + 1) != CONTROL_SUCCESS) {
		free(targets);
		return CONTROL_BACKIP_ADD;
	}
	return CONTROL_SUCCESS;
}

enum control_status control_target_delete(struct control *control, const char *balancer,
					  const struct control_address *target)
{
	struct control_balancer_record *record;
	ferrite_ipv6 *targets;
	uint32_t at, count;
	bool found;

	if (target->family != 6)
		return CONTROL_BAD_IPVER;
	record = find(control, balancer);
	if (record == NULL)
		return CONTROL_NO_LB;
	at = position(&record->public, target->bytes, &found);
	if (!found)
		return CONTROL_NOT_FOUND;
	count = record->public.target_count;
	targets = malloc(count * sizeof *targets);
	if (targets == NULL)
		return CONTROL_BACKIP_DEL;
	memcpy(targets, record->public.targets, at * sizeof *targets);
	memcpy(targets + at, record->public.targets + at + 1, (count - at - 1) * sizeof *targets);
	if (set_targets(control, record, targets, count - 1, count) != CONTROL_SUCCESS) {
		free(targets);
		return CONTROL_BACKIP_DEL;
	}
	return CONTROL_SUCCESS;
}

void control_balancers_close(struct control *control)
{
	struct control_balancer_table *table = &control->balancers;

	for (uint32_t at = 0; at < table->used; ++at)
		if (table->slots[at] != NULL)
			take_away(control, at);
	free(table->slots);
	control_index_free(&table->by_id);
	control_key_close(&table->by_address);
}
