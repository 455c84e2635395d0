#include "table/firewall.h"

#include <stdlib.h>
#include <string.h>

#include "packet/mix.h"

enum { SOURCE, DESTINATION, SOURCE_PORT, DESTINATION_PORT, FIELDS };

/* An address or a port as a number. */
typedef ferrite_wide key;

/* A rule in one family: four intervals and a protocol. */
struct matcher {
	key first[FIELDS], last[FIELDS];
	int32_t rule;
	bool any_protocol;
	uint8_t protocol;
};

struct group {
	uint32_t count;
	struct matcher *matchers;
};

struct firewall {
	uint32_t count;
	bool accept[2];            /* by default: ingress, egress */
	struct group groups[2][2]; /* ingress, egress; IPv4, IPv6 */
	bool *accepts;             /* of each rule */
	uint32_t *tags;
	uint64_t *counters;        /* the default's is behind the last */
	uint64_t *carried;
	size_t bytes;
};

static key address_key(const uint8_t *address, unsigned family)
{
	if (family == 4)
		return load32(address);
	return (key)__builtin_bswap64(raw64(address)) << 64 | __builtin_bswap64(raw64(address + 8));
}

static uint8_t icmp_of(unsigned family)
{
	return family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
}

static void prefix_interval(struct matcher *matcher, unsigned field, const uint8_t *address, unsigned length,
			    unsigned family)
{
	unsigned width = family == 4 ? 32 : 128;
	key all = family == 4 ? UINT32_MAX : ~(key)0;
	key host = length == 0 ? all : length >= width ? 0 : ((key)1 << (width - length)) - 1;
	matcher->first[field] = address_key(address, family) & ~host & all;
	matcher->last[field] = matcher->first[field] | host;
}

static void port_interval(struct matcher *matcher, unsigned field, uint16_t first, uint16_t last)
{
	matcher->first[field] = first;
	matcher->last[field] = last;
}

static void icmp_interval(struct matcher *matcher, unsigned field, int16_t value)
{
	port_interval(matcher, field, value < 0 ? 0 : (uint16_t)value, value < 0 ? UINT16_MAX : (uint16_t)value);
}

static struct matcher matcher_of(const struct ferrite_rule *rule, unsigned family, int32_t index)
{
	struct matcher matcher = {.rule = index, .any_protocol = rule->protocol == 0, .protocol = rule->protocol};
	if (rule->protocol == PROTOCOL_ICMP)
		matcher.protocol = icmp_of(family);
	prefix_interval(&matcher, SOURCE, rule->source, rule->source_length, family);
	prefix_interval(&matcher, DESTINATION, rule->destination, rule->destination_length, family);
	port_interval(&matcher, SOURCE_PORT, 0, UINT16_MAX);
	port_interval(&matcher, DESTINATION_PORT, 0, UINT16_MAX);
	if (rule->protocol == PROTOCOL_TCP || rule->protocol == PROTOCOL_UDP || rule->protocol == PROTOCOL_SCTP) {
		port_interval(&matcher, SOURCE_PORT, rule->source_first, rule->source_last);
		port_interval(&matcher, DESTINATION_PORT, rule->destination_first, rule->destination_last);
	} else if (rule->protocol != 0 && matcher.protocol == icmp_of(family)) {
		icmp_interval(&matcher, SOURCE_PORT, rule->icmp_code);
		icmp_interval(&matcher, DESTINATION_PORT, rule->icmp_type);
	}
	return matcher;
}

static int group_build(struct group *group, const struct ferrite_rule *rules, unsigned count, bool egress,
		       unsigned family)
{
	unsigned fit = 0;
	for (unsigned i = 0; i < count; i++)
		fit += rules[i].egress == egress && (rules[i].family == 0 || rules[i].family == family);
	if (fit == 0)
		return 0;
	group->matchers = aligned_alloc(16, fit * sizeof *group->matchers);
	if (group->matchers == NULL)
		return -1;
	for (unsigned i = 0; i < count; i++)
		if (rules[i].egress == egress && (rules[i].family == 0 || rules[i].family == family))
			group->matchers[group->count++] = matcher_of(&rules[i], family, (int32_t)i);
	return 0;
}

static bool accepts_by_default(enum ferrite_firewall_default which, const struct ferrite_rule *rules, unsigned count,
			       bool egress)
{
	if (which != FERRITE_RULES)
		return which == FERRITE_ACCEPT;
	for (unsigned i = 0; i < count; i++)
		if (rules[i].egress == egress)
			return false;
	return true;
}

struct firewall *firewall_build(const struct ferrite_rule *rules, unsigned count, enum ferrite_firewall_default ingress,
				enum ferrite_firewall_default egress)
{
	struct firewall *firewall = count > FERRITE_MAX_RULES ? NULL : calloc(1, sizeof *firewall);
	if (firewall == NULL)
		return NULL;
	firewall->count = count;
	firewall->accept[0] = accepts_by_default(ingress, rules, count, false);
	firewall->accept[1] = accepts_by_default(egress, rules, count, true);
	firewall->accepts = calloc(count + 1, sizeof *firewall->accepts);
	firewall->tags = calloc(count + 1, sizeof *firewall->tags);
	firewall->counters = calloc(count + 1, sizeof *firewall->counters);
	firewall->carried = calloc(count + 1, sizeof *firewall->carried);
	bool failed = firewall->accepts == NULL || firewall->tags == NULL || firewall->counters == NULL ||
		      firewall->carried == NULL;
	for (unsigned i = 0; !failed && i < count; i++) {
		firewall->accepts[i] = rules[i].accept;
		firewall->tags[i] = rules[i].tag;
	}
	for (unsigned i = 0; !failed && i < 4; i++)
		failed = group_build(&firewall->groups[i / 2][i % 2], rules, count, i / 2 == 1, i % 2 == 0 ? 4 : 6) != 0;
	if (failed) {
		firewall_free(firewall);
		return NULL;
	}
	return firewall;
}

void firewall_free(struct firewall *firewall)
{
	if (firewall == NULL)
		return;
	for (unsigned i = 0; i < 4; i++)
		free(firewall->groups[i / 2][i % 2].matchers);
	free(firewall->accepts);
	free(firewall->tags);
	free(firewall->counters);
	free(firewall->carried);
	free(firewall);
}

size_t firewall_bytes(const struct firewall *firewall)
{
	return firewall->bytes;
}

static void tuple_keys(const struct tuple *tuple, key keys[FIELDS])
{
	unsigned size = tuple->family == 4 ? 4 : 16;
	keys[SOURCE] = address_key(tuple->addresses, tuple->family);
	keys[DESTINATION] = address_key(tuple->addresses + size, tuple->family);
	bool icmp = tuple->protocol == icmp_of(tuple->family);
	keys[SOURCE_PORT] = icmp ? tuple->icmp_code : load16(&tuple->ports);
	keys[DESTINATION_PORT] = icmp ? tuple->icmp_type : load16((const uint8_t *)&tuple->ports + 2);
}

static bool matches(const struct matcher *matcher, uint8_t protocol, const key keys[FIELDS])
{
	if (!matcher->any_protocol && matcher->protocol != protocol)
		return false;
	for (unsigned field = 0; field < FIELDS; field++)
		if (keys[field] < matcher->first[field] || keys[field] > matcher->last[field])
			return false;
	return true;
}

static int32_t group_find(const struct group *group, uint8_t protocol, const key keys[FIELDS])
{
	for (uint32_t i = 0; i < group->count; i++)
		if (matches(&group->matchers[i], protocol, keys))
			return group->matchers[i].rule;
	return FIREWALL_DEFAULT;
}

struct firewall_verdict firewall_check(const struct firewall *firewall, const struct tuple *tuple, bool egress)
{
	if (firewall == NULL)
		return (struct firewall_verdict){.accept = true, .rule = FIREWALL_DEFAULT};
	key keys[FIELDS];
	tuple_keys(tuple, keys);
	int32_t rule = group_find(&firewall->groups[egress][tuple->family == 6], tuple->protocol, keys);
	return (struct firewall_verdict){
		.accept = rule == FIREWALL_DEFAULT ? firewall->accept[egress] : firewall->accepts[rule],
		.rule = rule,
	};
}

uint64_t *firewall_counter(struct firewall *firewall, int32_t rule)
{
	return &firewall->counters[rule == FIREWALL_DEFAULT ? firewall->count : (uint32_t)rule];
}

uint64_t firewall_hits(const struct firewall *firewall, uint32_t tag)
{
	uint64_t hits = 0;
	for (uint32_t i = 0; i < firewall->count; i++)
		if (firewall->tags[i] == tag)
			hits += firewall->carried[i] + __atomic_load_n(&firewall->counters[i], __ATOMIC_RELAXED);
	return hits;
}

void firewall_carry(struct firewall *to, const struct firewall *from)
{
	for (uint32_t i = 0; i < to->count; i++)
		to->carried[i] += firewall_hits(from, to->tags[i]);
}
