/* The compiled firewall against rules read one by one, bit by bit. */
#include <stdlib.h>

#include "control/check.h"
#include "packet/mix.h"
#include "table/firewall.h"

static uint64_t state = 1;

static uint32_t chance(uint32_t below)
{
	state = mix(state, 0x1234567);
	return (uint32_t)(state >> 20) % below;
}

/* The model */

static bool has_prefix(const uint8_t *address, const uint8_t *prefix, unsigned length)
{
	for (unsigned bit = 0; bit < length; bit++)
		if (((address[bit / 8] ^ prefix[bit / 8]) & (0x80 >> bit % 8)) != 0)
			return false;
	return true;
}

static bool is_icmp(const struct tuple *tuple)
{
	return tuple->protocol == (tuple->family == 4 ? 1 : 58);
}

static bool protocol_fits(const struct ferrite_rule *rule, const struct tuple *tuple)
{
	if (rule->protocol == 0)
		return true;
	return rule->protocol == 1 ? is_icmp(tuple) : rule->protocol == tuple->protocol;
}

static bool ports_fit(const struct ferrite_rule *rule, const struct tuple *tuple)
{
	if (rule->protocol != 6 && rule->protocol != 17 && rule->protocol != 132)
		return true;
	const uint8_t *ports = (const uint8_t *)&tuple->ports;
	unsigned source = ports[0] * 256u + ports[1], destination = ports[2] * 256u + ports[3];
	return source >= rule->source_first && source <= rule->source_last && destination >= rule->destination_first &&
	       destination <= rule->destination_last;
}

static bool icmp_fits(const struct ferrite_rule *rule, const struct tuple *tuple)
{
	if (rule->protocol == 0 || !is_icmp(tuple))
		return true;
	return (rule->icmp_type < 0 || rule->icmp_type == tuple->icmp_type) &&
	       (rule->icmp_code < 0 || rule->icmp_code == tuple->icmp_code);
}

static bool rule_fits(const struct ferrite_rule *rule, const struct tuple *tuple, bool egress)
{
	const uint8_t *destination = tuple->addresses + (tuple->family == 4 ? 4 : 16);
	return rule->egress == egress && (rule->family == 0 || rule->family == tuple->family) &&
	       has_prefix(tuple->addresses, rule->source, rule->source_length) &&
	       has_prefix(destination, rule->destination, rule->destination_length) && protocol_fits(rule, tuple) &&
	       ports_fit(rule, tuple) && icmp_fits(rule, tuple);
}

static int32_t model_find(const struct ferrite_rule *rules, unsigned count, const struct tuple *tuple, bool egress)
{
	for (unsigned i = 0; i < count; i++)
		if (rule_fits(&rules[i], tuple, egress))
			return (int32_t)i;
	return FIREWALL_DEFAULT;
}

/* Random rules and packets that are near them */

static const uint8_t protocols[] = {6, 17, 1, 58, 132, 47, 0, 255};

static void random_address(uint8_t *address, unsigned size)
{
	/* Few distinct bytes, so that prefixes nest, touch and collide. */
	static const uint8_t bytes[] = {0, 0xff, 0x80, 1, 0x7f, 10};
	for (unsigned i = 0; i < size; i++)
		address[i] = bytes[chance(chance(3) == 0 ? 6 : 2)];
}

static void random_prefix(uint8_t *prefix, uint8_t *length, unsigned family)
{
	unsigned width = family == 4 ? 32 : 128;
	*length = (uint8_t)(chance(3) == 0 ? 0 : chance(width + 1));
	random_address(prefix, width / 8);
	for (unsigned bit = *length; bit < 128; bit++)
		prefix[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
}

static uint16_t random_port(void)
{
	static const uint16_t ports[] = {0, 1, 53, 80, 443, 1023, 1024, 32768, 65534, 65535};
	return chance(2) == 0 ? ports[chance(10)] : (uint16_t)chance(65536);
}

static void random_ports(uint16_t *first, uint16_t *last)
{
	*first = chance(3) == 0 ? 0 : random_port();
	*last = chance(3) == 0 ? 65535 : chance(2) == 0 ? *first : random_port();
	if (*first > *last && chance(20) != 0) {
		uint16_t other = *first;
		*first = *last;
		*last = other;
	}
}

static struct ferrite_rule random_rule(void)
{
	static const uint8_t families[] = {0, 4, 4, 6, 6};
	struct ferrite_rule rule = {.egress = chance(2) == 0, .accept = chance(2) == 0, .family = families[chance(5)]};
	rule.protocol = chance(4) == 0 ? 0 : protocols[chance(6)];
	if (rule.family != 0) {
		random_prefix(rule.source, &rule.source_length, rule.family);
		random_prefix(rule.destination, &rule.destination_length, rule.family);
	}
	random_ports(&rule.source_first, &rule.source_last);
	random_ports(&rule.destination_first, &rule.destination_last);
	rule.icmp_type = (int16_t)(chance(2) == 0 ? -1 : (int)chance(4));
	rule.icmp_code = (int16_t)(chance(2) == 0 ? -1 : (int)chance(4));
	rule.tag = chance(500);
	return rule;
}

/* Something within the rule, or just outside of it. */
static void near_prefix(uint8_t *address, const uint8_t *prefix, unsigned length, unsigned size)
{
	random_address(address, size);
	for (unsigned bit = 0; bit < length; bit++)
		address[bit / 8] = (uint8_t)((address[bit / 8] & ~(0x80 >> bit % 8)) |
					     (prefix[bit / 8] & (0x80 >> bit % 8)));
	if (chance(8) == 0)
		address[chance(size)] ^= (uint8_t)(1 << chance(8));
}

static uint16_t near_range(uint16_t first, uint16_t last)
{
	switch (chance(5)) {
	case 0: return first;
	case 1: return last;
	case 2: return (uint16_t)(first - 1);
	case 3: return (uint16_t)(last + 1);
	default: return random_port();
	}
}

static struct tuple random_packet(const struct ferrite_rule *rule)
{
	struct tuple tuple = {.family = (uint8_t)(4 + 2 * chance(2))};
	if (rule->family != 0 && chance(10) != 0)
		tuple.family = rule->family;
	unsigned size = tuple.family == 4 ? 4 : 16;
	near_prefix(tuple.addresses, rule->source, rule->source_length, size);
	near_prefix(tuple.addresses + size, rule->destination, rule->destination_length, size);
	tuple.protocol = chance(4) == 0 ? protocols[chance(8)] : rule->protocol;
	if (rule->protocol == 1 && chance(4) != 0)
		tuple.protocol = tuple.family == 4 ? 1 : 58;
	store16(&tuple.ports, near_range(rule->source_first, rule->source_last));
	store16((uint8_t *)&tuple.ports + 2, near_range(rule->destination_first, rule->destination_last));
	tuple.icmp_type = (uint8_t)chance(5);
	tuple.icmp_code = (uint8_t)chance(5);
	return tuple;
}

static unsigned matched_ever, packets_ever;

static void compare(unsigned count, unsigned packets)
{
	static struct ferrite_rule rules[FERRITE_MAX_RULES];
	for (unsigned i = 0; i < count; i++)
		rules[i] = random_rule();
	struct firewall *firewall = firewall_build(rules, count, FERRITE_DROP, FERRITE_ACCEPT);
	CHECK(firewall != NULL);
	unsigned matched = 0;
	struct ferrite_rule none = {.source_last = 65535, .destination_last = 65535};
	for (unsigned i = 0; i < packets && check_failures < 10; i++) {
		struct tuple tuple = random_packet(count == 0 ? &none : &rules[chance(count)]);
		bool egress = chance(2) == 0;
		struct firewall_verdict verdict = firewall_check(firewall, &tuple, egress);
		int32_t rule = model_find(rules, count, &tuple, egress);
		CHECK_NUMBER(verdict.rule, rule);
		CHECK_NUMBER(verdict.accept, rule == FIREWALL_DEFAULT ? egress : rules[rule].accept);
		matched += rule != FIREWALL_DEFAULT;
	}
	matched_ever += matched;
	packets_ever += packets;
	firewall_free(firewall);
}

static void the_first_rule_that_matches_decides_however_many_there_are(void)
{
	static const unsigned counts[] = {
		0, 1, 2, 5, 31, 32, 33, 64, 65, 66, 70, 128, 200, 511, 512, 513, 1000, 1025, 1700, 4096,
	};
	for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++)
		for (unsigned round = 0; round < (counts[i] < 100 ? 60 : 4); round++)
			compare(counts[i], counts[i] < 100 ? 500 : 4000);
	CHECK(matched_ever > packets_ever / 5 && matched_ever < packets_ever / 10 * 9); /* else it says little */
}

/* Rules that match everything would hide the far ones: here the one that matches is anywhere. */
static void a_late_rule_is_found_behind_thousands_that_do_not_match(void)
{
	static struct ferrite_rule rules[FERRITE_MAX_RULES];
	for (unsigned i = 0; i < FERRITE_MAX_RULES; i++) {
		rules[i] = (struct ferrite_rule){
			.family = 4, .protocol = 6, .source_length = 32, .destination_length = 32, .source_last = 65535,
			.destination_first = (uint16_t)i, .destination_last = (uint16_t)i, .accept = i % 3 == 0,
		};
		store32(rules[i].source, 0x0a000000 + i * 7);
		store32(rules[i].destination, 0xc0a80000 + i % 100);
	}
	struct firewall *firewall = firewall_build(rules, FERRITE_MAX_RULES, FERRITE_DROP, FERRITE_DROP);
	for (unsigned i = 0; i < FERRITE_MAX_RULES; i++) {
		struct tuple tuple = {.family = 4, .protocol = 6};
		memcpy(tuple.addresses, rules[i].source, 4);
		memcpy(tuple.addresses + 4, rules[i].destination, 4);
		store32(&tuple.ports, 5000u << 16 | i);
		CHECK_NUMBER(firewall_check(firewall, &tuple, false).rule, i);
		store32(&tuple.ports, 5000u << 16 | (i + 1));
		CHECK_NUMBER(firewall_check(firewall, &tuple, false).rule, FIREWALL_DEFAULT);
	}
	CHECK(firewall_bytes(firewall) < (3u << 20));
	firewall_free(firewall);
}

static void the_default_decides_where_no_rule_does(void)
{
	struct ferrite_rule rule = {.egress = true, .accept = true, .family = 4, .protocol = 17};
	struct tuple tcp = {.family = 4, .protocol = 6};
	struct { enum ferrite_firewall_default which; unsigned count; bool egress, accept; } cases[] = {
		{FERRITE_ACCEPT, 1, true, true}, {FERRITE_ACCEPT, 1, false, true}, {FERRITE_DROP, 0, true, false},
		{FERRITE_RULES, 1, true, false}, {FERRITE_RULES, 1, false, true}, {FERRITE_RULES, 0, true, true},
	};
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct firewall *firewall = firewall_build(&rule, cases[i].count, cases[i].which, cases[i].which);
		struct firewall_verdict verdict = firewall_check(firewall, &tcp, cases[i].egress);
		CHECK_NUMBER(verdict.accept, cases[i].accept);
		CHECK_NUMBER(verdict.rule, FIREWALL_DEFAULT);
		firewall_free(firewall);
	}
	CHECK(firewall_check(NULL, &tcp, false).accept);
}

static void an_icmp_rule_means_icmpv6_in_ipv6(void)
{
	struct ferrite_rule rule = {.accept = true, .family = 0, .protocol = 1, .icmp_type = -1, .icmp_code = 3};
	struct firewall *firewall = firewall_build(&rule, 1, FERRITE_DROP, FERRITE_DROP);
	struct { uint8_t family, protocol, code; bool accept; } cases[] = {
		{4, 1, 3, true}, {4, 1, 2, false}, {6, 58, 3, true}, {6, 58, 4, false}, {6, 1, 3, false},
		{4, 58, 3, false},
	};
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tuple tuple = {.family = cases[i].family, .protocol = cases[i].protocol, .icmp_type = 9,
				      .icmp_code = cases[i].code};
		CHECK_NUMBER(firewall_check(firewall, &tuple, false).accept, cases[i].accept);
	}
	firewall_free(firewall);
}

static void counters_belong_to_a_rule_and_its_tag_carries_them_on(void)
{
	struct ferrite_rule rules[3] = {{.tag = 7}, {.tag = 8}, {.tag = 7}};
	struct firewall *before = firewall_build(rules, 3, FERRITE_DROP, FERRITE_DROP);
	*firewall_counter(before, 0) += 2;
	*firewall_counter(before, 1) += 10;
	*firewall_counter(before, 2) += 100;
	*firewall_counter(before, FIREWALL_DEFAULT) += 1000;
	CHECK_NUMBER(firewall_hits(before, 7), 102);
	CHECK_NUMBER(firewall_hits(before, 8), 10);
	CHECK_NUMBER(firewall_hits(before, 9), 0);
	struct firewall *after = firewall_build(rules, 3, FERRITE_DROP, FERRITE_DROP);
	*firewall_counter(after, 2) += 5;
	firewall_carry(after, before);
	firewall_free(before);
	CHECK_NUMBER(firewall_hits(after, 7), 107);
	CHECK_NUMBER(firewall_hits(after, 8), 10);
	firewall_free(after);
}

static void more_rules_than_the_limit_are_refused(void)
{
	static struct ferrite_rule rules[FERRITE_MAX_RULES + 1];
	CHECK(firewall_build(rules, FERRITE_MAX_RULES + 1, FERRITE_DROP, FERRITE_DROP) == NULL);
}

int main(int argc, char **argv)
{
	state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	RUN(the_first_rule_that_matches_decides_however_many_there_are);
	RUN(a_late_rule_is_found_behind_thousands_that_do_not_match);
	RUN(the_default_decides_where_no_rule_does);
	RUN(an_icmp_rule_means_icmpv6_in_ipv6);
	RUN(counters_belong_to_a_rule_and_its_tag_carries_them_on);
	RUN(more_rules_than_the_limit_are_refused);
	if (check_failures > 0)
		printf("seed: %s\n", argc > 1 ? argv[1] : "1");
	return CHECK_RESULT();
}
