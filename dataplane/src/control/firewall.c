/* Firewalls of interfaces: the rules by age, as they are listed; the engine gets them in the order of priority. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "digest.h"
#include "state.h"

/* As docs/packet-path.md says for dpdkironcore.v1, unless somebody said otherwise. */
static void effective(const struct control *control, const struct control_firewall_record *firewall,
		      enum ferrite_firewall_default *ingress, enum ferrite_firewall_default *egress)
{
	*ingress = firewall->count > 0 ? FERRITE_DROP : FERRITE_ACCEPT;
	*egress = firewall->count > 0 ? FERRITE_RULES : FERRITE_ACCEPT;
	if (control->config.has_firewall_defaults) {
		*ingress = control->config.ingress;
		*egress = control->config.egress;
	}
	if (firewall->stated) {
		*ingress = firewall->ingress;
		*egress = firewall->egress;
	}
}

static struct control_firewall view(const struct control *control, const struct control_interface_record *record)
{
	struct control_firewall firewall = {
		.interface = record->public.spec.id,
		.rule_count = record->firewall.count,
		.rules = record->firewall.rules,
	};

	effective(control, &record->firewall, &firewall.ingress, &firewall.egress);
	return firewall;
}

static bool is_listed(const struct control_firewall_record *firewall)
{
	return firewall->stated || firewall->count > 0;
}

static uint64_t digest_of(const struct control *control, const struct control_interface_record *record)
{
	struct control_firewall firewall = view(control, record);

	return is_listed(&record->firewall) ? control_digest_firewall(&firewall) : 0;
}

/* The engine's form. False: the two prefixes have nothing in common, so no packet matches. */
static bool engine_rule(const struct control_rule *rule, struct ferrite_rule *out)
{
	const struct control_rule_prefix *source = &rule->source, *destination = &rule->destination;
	struct ferrite_route_key keys[2] = {{.length = source->length}, {.length = destination->length}};
	/* A /0 of the other family says that every address will do. */
	uint8_t family = source->length > 0 ? source->family
			 : destination->length > 0 ? destination->family
			 : source->family != 0	   ? source->family
						   : destination->family;

	if (source->length > 0 && destination->length > 0 && source->family != destination->family)
		return false;
	*out = (struct ferrite_rule){
		.egress = rule->egress,
		.accept = rule->accept,
		.family = family,
		.protocol = rule->protocol,
		.source_length = source->length,
		.destination_length = destination->length,
		.source_first = rule->source_ports.any ? 0 : rule->source_ports.first,
		.source_last = rule->source_ports.any ? 65535 : rule->source_ports.last,
		.destination_first = rule->destination_ports.any ? 0 : rule->destination_ports.first,
		.destination_last = rule->destination_ports.any ? 65535 : rule->destination_ports.last,
		.icmp_type = rule->icmp_type,
		.icmp_code = rule->icmp_code,
		.tag = rule->tag,
	};
	keys[0].family = keys[1].family = family;
	memcpy(keys[0].prefix, source->bytes, sizeof source->bytes);
	memcpy(keys[1].prefix, destination->bytes, sizeof destination->bytes);
	control_prefix_mask(&keys[0]);
	control_prefix_mask(&keys[1]);
	memcpy(out->source, keys[0].prefix, sizeof out->source);
	memcpy(out->destination, keys[1].prefix, sizeof out->destination);
	return true;
}

static int rule_order(const void *one, const void *other)
{
	const struct control_rule *a = *(const struct control_rule *const *)one;
	const struct control_rule *b = *(const struct control_rule *const *)other;

	if (a->priority != b->priority)
		return a->priority < b->priority ? -1 : 1;
	return a < b ? -1 : a > b; /* they lie by age */
}

/* `rules` is resolved here: a rule that matches nothing counts too, and the engine does not get it. */
static enum ferrite_firewall_default resolved(enum ferrite_firewall_default value, bool any)
{
	return value == FERRITE_RULES ? (any ? FERRITE_DROP : FERRITE_ACCEPT) : value;
}

/* Tells the engine all of `firewall`. */
static enum control_status tell(struct control *control, uint32_t interface,
				const struct control_firewall_record *firewall)
{
	const struct control_rule **order = malloc((firewall->count + 1) * sizeof *order);
	struct ferrite_rule *rules = malloc((firewall->count + 1) * sizeof *rules);
	enum ferrite_firewall_default ingress, egress;
	bool any[2] = {false, false};
	unsigned count = 0;
	int failed = -ENOMEM;

	effective(control, firewall, &ingress, &egress);
	if (order != NULL && rules != NULL) {
		for (uint32_t i = 0; i < firewall->count; ++i) {
			order[i] = &firewall->rules[i];
			any[firewall->rules[i].egress] = true;
		}
		qsort(order, firewall->count, sizeof *order, rule_order);
		for (uint32_t i = 0; i < firewall->count; ++i)
			count += engine_rule(order[i], &rules[count]);
		failed = ferrite_firewall_set(control->engine, interface, rules, count, resolved(ingress, any[0]),
					      resolved(egress, any[1]));
	}
	free(order);
	free(rules);
	return failed == 0 ? CONTROL_SUCCESS : CONTROL_OUT_OF_MEMORY;
}

static struct control_rule *find(const struct control_firewall_record *firewall, const char *id)
{
	for (uint32_t i = 0; i < firewall->count; ++i)
		if (strcmp(firewall->rules[i].id, id) == 0)
			return &firewall->rules[i];
	return NULL;
}

static bool reserve(struct control_firewall_record *firewall)
{
	if (firewall->count == firewall->capacity) {
		uint32_t capacity = firewall->capacity > 0 ? 2 * firewall->capacity : 8;
		struct control_rule *rules = realloc(firewall->rules, capacity * sizeof *rules);

		if (rules == NULL)
			return false;
		firewall->rules = rules;
		firewall->capacity = capacity;
	}
	return true;
}

/* No two rules of any interface have one. What was restored comes with its own, so the first looks at all of them. */
static uint32_t next_tag(struct control *control, struct control_firewall_record *firewall)
{
	for (uint32_t at = 0; control->last_tag == 0 && at < control->ports.used; ++at) {
		const struct control_interface_record *record = control->ports.ports[at].interface;

		if (record != NULL && record->firewall.last_tag > control->last_restored_tag)
			control->last_restored_tag = record->firewall.last_tag;
	}
	if (control->last_tag < control->last_restored_tag)
		control->last_tag = control->last_restored_tag;
	firewall->last_tag = ++control->last_tag;
	return firewall->last_tag;
}

enum control_status control_rule_create(struct control *control, const char *interface,
					const struct control_rule *wanted)
{
	struct control_interface_record *record = control_interface_record_find(control, interface);
	struct control_firewall_record *firewall;
	enum control_status status;
	uint64_t before;

	if (record == NULL)
		return CONTROL_NO_VM;
	firewall = &record->firewall;
	if (find(firewall, wanted->id) != NULL)
		return CONTROL_ALREADY_EXISTS;
	if (firewall->count == FERRITE_MAX_RULES || !reserve(firewall))
		return CONTROL_OUT_OF_MEMORY;
	before = digest_of(control, record);
	firewall->rules[firewall->count] = *wanted;
	firewall->rules[firewall->count++].tag = next_tag(control, firewall);
	status = tell(control, record->index, firewall);
	if (status != CONTROL_SUCCESS) {
		firewall->count--;
		return status;
	}
	control->rules++;
	control->digest ^= before ^ digest_of(control, record);
	return CONTROL_SUCCESS;
}

enum control_status control_rule_get(const struct control *control, const char *interface, const char *id,
				     struct control_rule *rule)
{
	const struct control_interface_record *record = control_interface_record_find(control, interface);
	const struct control_rule *found = record != NULL ? find(&record->firewall, id) : NULL;

	if (record == NULL)
		return CONTROL_NO_VM;
	if (found == NULL)
		return CONTROL_NOT_FOUND;
	*rule = *found;
	return CONTROL_SUCCESS;
}

enum control_status control_rule_delete(struct control *control, const char *interface, const char *id)
{
	struct control_interface_record *record = control_interface_record_find(control, interface);
	struct control_firewall_record *firewall = record != NULL ? &record->firewall : NULL;
	struct control_rule *found = record != NULL ? find(firewall, id) : NULL;
	struct control_rule gone;
	enum control_status status;
	uint64_t before;
	size_t behind;

	if (record == NULL)
		return CONTROL_NO_VM;
	if (found == NULL)
		return CONTROL_NOT_FOUND;
	before = digest_of(control, record);
	gone = *found;
	firewall->count--;
	behind = (size_t)(firewall->rules + firewall->count - found);
	memmove(found, found + 1, behind * sizeof *found);
	status = tell(control, record->index, firewall);
	if (status != CONTROL_SUCCESS) {
		memmove(found + 1, found, behind * sizeof *found);
		*found = gone;
		firewall->count++;
		return status;
	}
	control->rules--;
	control->digest ^= before ^ digest_of(control, record);
	return CONTROL_SUCCESS;
}

enum control_status control_firewall_get(const struct control *control, const char *interface,
					 struct control_firewall *firewall)
{
	const struct control_interface_record *record = control_interface_record_find(control, interface);

	if (record == NULL)
		return CONTROL_NO_VM;
	*firewall = view(control, record);
	return CONTROL_SUCCESS;
}

static int id_order(const void *one, const void *other)
{
	return strcmp((*(const struct control_rule *const *)one)->id, (*(const struct control_rule *const *)other)->id);
}

/* SUCCESS, ALREADY_EXISTS, OUT_OF_MEMORY. */
static enum control_status ids_differ(const struct control_rule *rules, unsigned count)
{
	const struct control_rule **order = malloc((count + 1) * sizeof *order);
	bool twice = false;

	if (order == NULL)
		return CONTROL_OUT_OF_MEMORY;
	for (unsigned i = 0; i < count; ++i)
		order[i] = &rules[i];
	qsort(order, count, sizeof *order, id_order);
	for (unsigned i = 1; i < count; ++i)
		twice |= strcmp(order[i - 1]->id, order[i]->id) == 0;
	free(order);
	return twice ? CONTROL_ALREADY_EXISTS : CONTROL_SUCCESS;
}

/* Rules that stay as they were keep their counters. */
static void take_tags(struct control *control, const struct control_firewall_record *from,
		      struct control_firewall_record *to)
{
	to->last_tag = from->last_tag;
	for (uint32_t i = 0; i < to->count; ++i) {
		const struct control_rule *at_its_place =
			i < from->count && strcmp(from->rules[i].id, to->rules[i].id) == 0 ? &from->rules[i] : NULL;
		const struct control_rule *old = at_its_place != NULL ? at_its_place : find(from, to->rules[i].id);

		to->rules[i].tag = old != NULL ? old->tag : next_tag(control, to);
	}
}

enum control_status control_firewall_put(struct control *control, const struct control_firewall *wanted)
{
	struct control_interface_record *record = control_interface_record_find(control, wanted->interface);
	struct control_firewall_record next = {
		.stated = true, .ingress = wanted->ingress, .egress = wanted->egress, .count = wanted->rule_count};
	enum control_status status;
	uint64_t before, after;

	if (record == NULL)
		return CONTROL_NO_VM;
	if (wanted->rule_count > FERRITE_MAX_RULES)
		return CONTROL_OUT_OF_MEMORY;
	status = ids_differ(wanted->rules, wanted->rule_count);
	if (status != CONTROL_SUCCESS)
		return status;
	before = digest_of(control, record);
	after = control_digest_firewall(wanted);
	if (record->firewall.stated && before == after)
		return CONTROL_SUCCESS;
	next.capacity = next.count > 0 ? next.count : 1;
	next.rules = malloc(next.capacity * sizeof *next.rules);
	if (next.rules == NULL)
		return CONTROL_OUT_OF_MEMORY;
	if (next.count > 0)
		memcpy(next.rules, wanted->rules, next.count * sizeof *next.rules);
	take_tags(control, &record->firewall, &next);
	status = tell(control, record->index, &next);
	if (status != CONTROL_SUCCESS) {
		free(next.rules);
		return status;
	}
	control->rules += next.count - record->firewall.count;
	control->digest ^= before ^ after;
	free(record->firewall.rules);
	record->firewall = next;
	return CONTROL_SUCCESS;
}

enum control_status control_firewall_restore(struct control *control, struct control_interface_record *record,
					     const struct control_firewall_record *firewall)
{
	enum control_status status = ids_differ(firewall->rules, firewall->count);

	if (status == CONTROL_SUCCESS)
		status = tell(control, record->index, firewall);
	if (status != CONTROL_SUCCESS) {
		free(firewall->rules);
		return status;
	}
	control_firewall_forget(control, record);
	record->firewall = *firewall;
	control->rules += firewall->count;
	control->digest ^= digest_of(control, record);
	return CONTROL_SUCCESS;
}

enum control_status control_firewall_delete(struct control *control, const char *interface)
{
	struct control_interface_record *record = control_interface_record_find(control, interface);
	struct control_firewall_record next = {0};
	enum control_status status;

	if (record == NULL)
		return CONTROL_NO_VM;
	if (!is_listed(&record->firewall))
		return CONTROL_NOT_FOUND;
	next.last_tag = record->firewall.last_tag;
	status = tell(control, record->index, &next);
	if (status != CONTROL_SUCCESS)
		return status;
	control_firewall_forget(control, record);
	record->firewall = next;
	return CONTROL_SUCCESS;
}

void control_firewall_forget(struct control *control, struct control_interface_record *record)
{
	control->digest ^= digest_of(control, record);
	control->rules -= record->firewall.count;
	free(record->firewall.rules);
	record->firewall = (struct control_firewall_record){0};
}

void control_firewall_begin(struct control *control, struct control_interface_record *record)
{
	enum ferrite_firewall_default ingress, egress;

	effective(control, &record->firewall, &ingress, &egress);
	if (ingress == FERRITE_DROP || egress == FERRITE_DROP)
		tell(control, record->index, &record->firewall);
}

void control_firewall_each(const struct control *control,
			   void (*visit)(void *context, const struct control_firewall *firewall), void *context)
{
	for (uint32_t at = 0; at < control->ports.used; ++at) {
		const struct control_interface_record *record = control->ports.ports[at].interface;
		struct control_firewall firewall;

		if (record == NULL || !is_listed(&record->firewall))
			continue;
		firewall = view(control, record);
		visit(context, &firewall);
	}
}

uint64_t control_rule_hits(const struct control *control, const char *interface, const char *id)
{
	const struct control_interface_record *record = control_interface_record_find(control, interface);
	const struct control_rule *rule = record != NULL ? find(&record->firewall, id) : NULL;

	return rule == NULL ? 0 : ferrite_firewall_hits(control->engine, record->index, rule->tag);
}
