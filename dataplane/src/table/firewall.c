#include "table/firewall.h"

#include <stdlib.h>
#include <string.h>

#include "packet/mix.h"

enum {
	SOURCE,
	DESTINATION,
	SOURCE_PORT,
	DESTINATION_PORT,
	FIELDS,
};

/* An address or a port as a number. */
typedef ferrite_wide key;

/* A rule in one family: four intervals and a protocol. */
struct matcher {
	key first[FIELDS], last[FIELDS];
	int32_t rule;
	bool any_protocol;
	uint8_t protocol;
};

/* The values of a field, cut where a rule begins or ends: intervals from a start up to the next one, each with one bit
 * per rule of the block. Starts are 32-bit numbers, but for IPv6 addresses. */
struct cuts {
	uint32_t count;
	bool wide;
	void *starts;
	uint64_t *vectors;
};

/* Cardinality: one per FIREWALL_BLOCK rules of a group that is not linear. */
struct block {
	uint32_t words;             /* of a vector */
	struct cuts cuts[FIELDS];
	uint64_t *protocols;        /* vectors; the first: of rules for any protocol */
	uint8_t protocol_vector[256];
	int32_t rules[FIREWALL_BLOCK];
};

/* The rules of a direction and family: either `matchers` or `blocks`. */
struct group {
	uint32_t count;
	struct matcher *matchers;
	struct block *blocks;
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

/* Where the bit of a rule turns on or off. */
struct event {
	key at;
	uint32_t rule;
};

/* Cardinality: one per build. */
struct scratch {
	struct matcher matchers[FERRITE_MAX_RULES];
	struct event events[2][2 * FIREWALL_BLOCK];
	size_t bytes; /* allocated so far */
};

static void *take(struct scratch *scratch, size_t bytes)
{
	size_t rounded = (bytes + 63) & ~(size_t)63;
	void *at = aligned_alloc(64, rounded);
	if (at == NULL)
		return NULL;
	scratch->bytes += rounded;
	return memset(at, 0, rounded);
}

/* By `at`, a byte at a time from the lowest; bytes that are the same in all are passed over. Returns the sorted one
 * of the two halves. */
static struct event *sort_events(struct scratch *scratch, unsigned count)
{
	struct event *from = scratch->events[0], *to = scratch->events[1];
	key differ = 0;
	for (unsigned i = 1; i < count; i++)
		differ |= from[i].at ^ from[0].at;
	for (unsigned shift = 0; shift < 128 && differ >> shift != 0; shift += 8) {
		if ((uint8_t)(differ >> shift) == 0)
			continue;
		uint16_t places[257] = {0};
		for (unsigned i = 0; i < count; i++)
			places[(uint8_t)(from[i].at >> shift) + 1]++;
		for (unsigned i = 1; i < 256; i++)
			places[i] = (uint16_t)(places[i] + places[i - 1]);
		for (unsigned i = 0; i < count; i++)
			to[places[(uint8_t)(from[i].at >> shift)]++] = from[i];
		struct event *other = from;
		from = to;
		to = other;
	}
	return from;
}

static bool never_matches(const struct matcher *matcher)
{
	for (unsigned field = 0; field < FIELDS; field++)
		if (matcher->first[field] > matcher->last[field])
			return true;
	return false;
}

/* Two events a rule: on at its first value, off behind its last. */
static unsigned events_of(struct scratch *scratch, const struct matcher *matchers, unsigned count, unsigned field,
			  key limit)
{
	unsigned events = 0;
	for (unsigned i = 0; i < count; i++) {
		if (never_matches(&matchers[i]))
			continue;
		scratch->events[0][events++] = (struct event){.at = matchers[i].first[field], .rule = i};
		if (matchers[i].last[field] != limit)
			scratch->events[0][events++] = (struct event){.at = matchers[i].last[field] + 1, .rule = i};
	}
	return events;
}

static void set_start(struct cuts *cuts, unsigned at, key start)
{
	if (cuts->wide)
		((key *)cuts->starts)[at] = start;
	else
		((uint32_t *)cuts->starts)[at] = (uint32_t)start;
}

static int cuts_build(struct cuts *cuts, struct scratch *scratch, const struct matcher *matchers, unsigned count,
		      unsigned field, unsigned family)
{
	bool address = field == SOURCE || field == DESTINATION;
	key limit = !address ? UINT16_MAX : family == 4 ? UINT32_MAX : ~(key)0;
	unsigned events = events_of(scratch, matchers, count, field, limit), words = (count + 63) / 64, intervals = 1;
	const struct event *sorted = sort_events(scratch, events);
	for (unsigned i = 0; i < events; i++)
		intervals += sorted[i].at != (i == 0 ? 0 : sorted[i - 1].at);
	cuts->count = intervals;
	cuts->wide = address && family == 6;
	cuts->starts = take(scratch, intervals * (cuts->wide ? sizeof(key) : sizeof(uint32_t)));
	cuts->vectors = take(scratch, (size_t)intervals * words * sizeof(uint64_t));
	if (cuts->starts == NULL || cuts->vectors == NULL)
		return -1;
	/* First what changes at each start, then the sums: a bit is on from its first event to its second. */
	uint64_t *vector = cuts->vectors;
	for (unsigned i = 0, at = 0; i < events; i++) {
		if (sorted[i].at != (i == 0 ? 0 : sorted[i - 1].at)) {
			set_start(cuts, ++at, sorted[i].at);
			vector += words;
		}
		vector[sorted[i].rule / 64] ^= 1ULL << (sorted[i].rule % 64);
	}
	for (size_t i = words; i < (size_t)intervals * words; i++)
		cuts->vectors[i] ^= cuts->vectors[i - words];
	return 0;
}

/* A vector for each protocol that a rule names, and one for all others; rules for any are in all of them. */
static int protocols_build(struct block *block, struct scratch *scratch, const struct matcher *matchers, unsigned count)
{
	unsigned distinct = 1;
	for (unsigned i = 0; i < count; i++)
		if (!matchers[i].any_protocol && block->protocol_vector[matchers[i].protocol] == 0)
			block->protocol_vector[matchers[i].protocol] = (uint8_t)distinct++;
	block->protocols = take(scratch, (size_t)distinct * block->words * sizeof(uint64_t));
	if (block->protocols == NULL)
		return -1;
	for (unsigned i = 0; i < count; i++) {
		unsigned first = matchers[i].any_protocol ? 0 : block->protocol_vector[matchers[i].protocol];
		unsigned last = matchers[i].any_protocol ? distinct - 1 : first;
		for (unsigned at = first; at <= last; at++)
			block->protocols[at * block->words + i / 64] |= 1ULL << (i % 64);
	}
	return 0;
}

static int block_build(struct block *block, struct scratch *scratch, const struct matcher *matchers, unsigned count,
		       unsigned family)
{
	block->words = (count + 63) / 64;
	for (unsigned i = 0; i < count; i++)
		block->rules[i] = matchers[i].rule;
	for (unsigned field = 0; field < FIELDS; field++)
		if (cuts_build(&block->cuts[field], scratch, matchers, count, field, family) != 0)
			return -1;
	return protocols_build(block, scratch, matchers, count);
}

static unsigned block_count(const struct group *group)
{
	return (group->count + FIREWALL_BLOCK - 1) / FIREWALL_BLOCK;
}

static int group_build(struct group *group, struct scratch *scratch, const struct ferrite_rule *rules, unsigned count,
		       bool egress, unsigned family)
{
	struct matcher *matchers = scratch->matchers;
	for (unsigned i = 0; i < count; i++)
		if (rules[i].egress == egress && (rules[i].family == 0 || rules[i].family == family))
			matchers[group->count++] = matcher_of(&rules[i], family, (int32_t)i);
	if (group->count <= FIREWALL_LINEAR) {
		if (group->count == 0)
			return 0;
		group->matchers = take(scratch, group->count * sizeof *matchers);
		if (group->matchers == NULL)
			return -1;
		memcpy(group->matchers, matchers, group->count * sizeof *matchers);
		return 0;
	}
	group->blocks = take(scratch, block_count(group) * sizeof *group->blocks);
	if (group->blocks == NULL)
		return -1;
	for (unsigned i = 0; i < block_count(group); i++) {
		unsigned left = group->count - i * FIREWALL_BLOCK;
		if (block_build(&group->blocks[i], scratch, matchers + i * FIREWALL_BLOCK,
				left < FIREWALL_BLOCK ? left : FIREWALL_BLOCK, family) != 0)
			return -1;
	}
	return 0;
}

static void group_free(struct group *group)
{
	for (unsigned i = 0; group->blocks != NULL && i < block_count(group); i++) {
		for (unsigned field = 0; field < FIELDS; field++) {
			free(group->blocks[i].cuts[field].starts);
			free(group->blocks[i].cuts[field].vectors);
		}
		free(group->blocks[i].protocols);
	}
	free(group->blocks);
	free(group->matchers);
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

static int arrays_build(struct firewall *firewall, struct scratch *scratch, const struct ferrite_rule *rules)
{
	unsigned count = firewall->count;
	firewall->accepts = take(scratch, (count + 1) * sizeof *firewall->accepts);
	firewall->tags = take(scratch, (count + 1) * sizeof *firewall->tags);
	firewall->counters = take(scratch, (count + 1) * sizeof *firewall->counters);
	firewall->carried = take(scratch, (count + 1) * sizeof *firewall->carried);
	if (firewall->accepts == NULL || firewall->tags == NULL || firewall->counters == NULL ||
	    firewall->carried == NULL)
		return -1;
	for (unsigned i = 0; i < count; i++) {
		firewall->accepts[i] = rules[i].accept;
		firewall->tags[i] = rules[i].tag;
	}
	return 0;
}

struct firewall *firewall_build(const struct ferrite_rule *rules, unsigned count, enum ferrite_firewall_default ingress,
				enum ferrite_firewall_default egress)
{
	struct scratch *scratch = count > FERRITE_MAX_RULES ? NULL : malloc(sizeof *scratch);
	if (scratch == NULL)
		return NULL;
	scratch->bytes = 0;
	struct firewall *firewall = take(scratch, sizeof *firewall);
	if (firewall != NULL) {
		firewall->count = count;
		firewall->accept[0] = accepts_by_default(ingress, rules, count, false);
		firewall->accept[1] = accepts_by_default(egress, rules, count, true);
		bool failed = arrays_build(firewall, scratch, rules) != 0;
		for (unsigned i = 0; !failed && i < 4; i++)
			failed = group_build(&firewall->groups[i / 2][i % 2], scratch, rules, count, i / 2 == 1,
					     i % 2 == 0 ? 4 : 6) != 0;
		firewall->bytes = scratch->bytes;
		if (failed) {
			firewall_free(firewall);
			firewall = NULL;
		}
	}
	free(scratch);
	return firewall;
}

void firewall_free(struct firewall *firewall)
{
	if (firewall == NULL)
		return;
	for (unsigned i = 0; i < 4; i++)
		group_free(&firewall->groups[i / 2][i % 2]);
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

/* The interval that holds the value: the last start that is not above it. Without a branch to guess. */
static uint32_t interval_narrow(const uint32_t *starts, uint32_t count, uint32_t value)
{
	uint32_t at = 0;
	while (count > 1) {
		uint32_t half = count / 2;
		at += starts[at + half] <= value ? half : 0;
		count -= half;
	}
	return at;
}

static uint32_t interval_wide(const key *starts, uint32_t count, key value)
{
	uint32_t at = 0;
	while (count > 1) {
		uint32_t half = count / 2;
		at += starts[at + half] <= value ? half : 0;
		count -= half;
	}
	return at;
}

static const uint64_t *cuts_find(const struct cuts *cuts, key value, uint32_t words)
{
	uint32_t at = cuts->wide ? interval_wide(cuts->starts, cuts->count, value) :
				   interval_narrow(cuts->starts, cuts->count, (uint32_t)value);
	return cuts->vectors + (size_t)at * words;
}

static int32_t block_find(const struct block *block, uint8_t protocol, const key keys[FIELDS])
{
	const uint64_t *vectors[FIELDS];
	const uint64_t *protocols = block->protocols + block->protocol_vector[protocol] * block->words;
	for (unsigned field = 0; field < FIELDS; field++)
		vectors[field] = cuts_find(&block->cuts[field], keys[field], block->words);
	for (uint32_t i = 0; i < block->words; i++) {
		uint64_t left = protocols[i] & vectors[0][i] & vectors[1][i] & vectors[2][i] & vectors[3][i];
		if (left != 0)
			return block->rules[i * 64 + (uint32_t)__builtin_ctzll(left)];
	}
	return FIREWALL_DEFAULT;
}

static int32_t group_find(const struct group *group, uint8_t protocol, const key keys[FIELDS])
{
	if (group->blocks == NULL) {
		for (uint32_t i = 0; i < group->count; i++)
			if (matches(&group->matchers[i], protocol, keys))
				return group->matchers[i].rule;
		return FIREWALL_DEFAULT;
	}
	for (uint32_t i = 0; i < block_count(group); i++) {
		int32_t rule = block_find(&group->blocks[i], protocol, keys);
		if (rule != FIREWALL_DEFAULT)
			return rule;
	}
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

enum { TAG_SLOTS = 4 * FERRITE_MAX_RULES };

/* Where the rule with this tag is in the slots, or would be. */
static uint32_t tag_slot(const struct firewall *firewall, const uint16_t *slots, uint32_t tag)
{
	uint32_t at = (uint32_t)mix(tag, 0) % TAG_SLOTS;
	while (slots[at] != 0 && firewall->tags[slots[at] - 1] != tag)
		at = (at + 1) % TAG_SLOTS;
	return at;
}

void firewall_carry(struct firewall *to, const struct firewall *from)
{
	uint16_t slots[TAG_SLOTS] = {0}; /* number of the first rule with a tag, from 1: it carries for all of them */
	for (uint32_t i = 0; i < to->count; i++) {
		uint32_t at = tag_slot(to, slots, to->tags[i]);
		slots[at] = slots[at] == 0 ? (uint16_t)(i + 1) : slots[at];
	}
	for (uint32_t i = 0; i < from->count; i++) {
		uint32_t at = tag_slot(to, slots, from->tags[i]);
		if (slots[at] != 0)
			to->carried[slots[at] - 1] += from->carried[i] + from->counters[i];
	}
}
