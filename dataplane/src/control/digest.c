#include "digest.h"

#include <stdlib.h>
#include <string.h>

#include "address.h"

#define FNV_START 0xcbf29ce484222325u

struct text {
	uint64_t hash;
};

static void put_bytes(struct text *text, const char *bytes, size_t length)
{
	uint64_t hash = text->hash;

	for (size_t i = 0; i < length; ++i)
		hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
	text->hash = hash;
}

uint64_t control_fnv1a(const char *bytes, size_t length)
{
	struct text text = {FNV_START};

	put_bytes(&text, bytes, length);
	return text.hash;
}

static void put_char(struct text *text, char letter)
{
	put_bytes(text, &letter, 1);
}

static void put_string(struct text *text, const char *string)
{
	put_bytes(text, string, strlen(string));
}

static void put_number(struct text *text, uint64_t number)
{
	char digits[20];
	size_t at = sizeof digits;

	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number != 0);
	put_bytes(text, digits + at, sizeof digits - at);
}

static void put_ipv4(struct text *text, const ferrite_ipv4 *address)
{
	char formatted[CONTROL_ADDRESS_TEXT];

	put_bytes(text, formatted, control_ipv4_format(address->bytes, formatted));
}

static void put_ipv6(struct text *text, const ferrite_ipv6 *address)
{
	char formatted[CONTROL_ADDRESS_TEXT];

	put_bytes(text, formatted, control_ipv6_format(address->bytes, formatted));
}

/* Empty where there is none. */
static void put_wanted(struct text *text, const ferrite_ipv6 *address)
{
	if (!control_ipv6_is_zero(address))
		put_ipv6(text, address);
}

static void put_prefix(struct text *text, const struct ferrite_route_key *key)
{
	char formatted[CONTROL_PREFIX_TEXT];

	put_bytes(text, formatted, control_prefix_format(key, formatted));
}

static void put_masked(struct text *text, uint8_t family, uint8_t length, const uint8_t *bytes)
{
	struct ferrite_route_key key = {.family = family, .length = length};

	memcpy(key.prefix, bytes, family == 4 ? 4 : 16);
	control_prefix_mask(&key);
	put_prefix(text, &key);
}

/* "<letter>|<name>|" */
static struct text begin(char letter, const char *name)
{
	struct text text = {FNV_START};

	put_char(&text, letter);
	put_char(&text, '|');
	put_string(&text, name);
	put_char(&text, '|');
	return text;
}

static bool has_settings(const struct control_interface_spec *spec)
{
	return spec->total_rate != 0 || spec->public_rate != 0 || spec->pxe_server[0] != 0 || spec->pxe_file[0] != 0 ||
	       spec->spoof_check_off || spec->flow_limit != 0 || spec->flow_rate != 0 ||
	       !control_ipv6_is_zero(&spec->preferred_underlay);
}

uint64_t control_digest_interface(const struct control_interface_spec *spec)
{
	struct text text = begin('i', spec->id);

	put_number(&text, spec->vni);
	put_char(&text, '|');
	if (!control_ipv4_is_zero(&spec->ipv4))
		put_ipv4(&text, &spec->ipv4);
	put_char(&text, '|');
	if (!control_ipv6_is_zero(&spec->ipv6))
		put_ipv6(&text, &spec->ipv6);
	put_char(&text, '|');
	put_string(&text, spec->device);
	put_char(&text, '|');
	put_string(&text, spec->hostname);
	if (!has_settings(spec))
		return text.hash;
	put_char(&text, '|');
	put_number(&text, spec->total_rate);
	put_char(&text, '|');
	put_number(&text, spec->public_rate);
	put_char(&text, '|');
	put_string(&text, spec->pxe_server);
	put_char(&text, '|');
	put_string(&text, spec->pxe_file);
	put_string(&text, spec->spoof_check_off ? "|off|" : "|on|");
	put_number(&text, spec->flow_limit);
	put_char(&text, '|');
	put_number(&text, spec->flow_rate);
	put_char(&text, '|');
	put_wanted(&text, &spec->preferred_underlay);
	return text.hash;
}

static struct text begin_route(const struct ferrite_route_key *key)
{
	struct text text = {FNV_START};

	put_string(&text, "r|");
	put_number(&text, key->vni);
	put_char(&text, '|');
	put_prefix(&text, key);
	return text;
}

uint64_t control_digest_route(const struct ferrite_route_key *key, const ferrite_ipv6 *next_hop, uint32_t next_hop_vni)
{
	struct text text = begin_route(key);

	put_char(&text, '|');
	put_ipv6(&text, next_hop);
	put_char(&text, '|');
	put_number(&text, next_hop_vni);
	return text.hash;
}

uint64_t control_digest_hops(const struct ferrite_route_key *key, const struct ferrite_hop *hops, unsigned count)
{
	struct text text = begin_route(key);

	for (unsigned i = 0; i < count; ++i) {
		put_char(&text, '|');
		put_ipv6(&text, &hops[i].address);
		put_char(&text, '|');
		put_number(&text, hops[i].vni);
		put_char(&text, '|');
		put_number(&text, hops[i].weight);
	}
	return text.hash;
}

uint64_t control_digest_prefix(const struct control_prefix *prefix)
{
	struct text text = begin(prefix->routed ? 'a' : 'b', prefix->interface);

	put_masked(&text, prefix->key.family, prefix->key.length, prefix->key.prefix);
	put_char(&text, '|');
	put_wanted(&text, &prefix->preferred);
	return text.hash;
}

uint64_t control_digest_vip(const struct control_vip *vip)
{
	struct text text = begin('v', vip->interface);

	put_ipv4(&text, &vip->ip);
	put_char(&text, '|');
	put_wanted(&text, &vip->preferred);
	return text.hash;
}

static void put_range(struct text *text, const ferrite_ipv4 *ip, uint32_t min, uint32_t max)
{
	put_ipv4(text, ip);
	put_char(text, '|');
	put_number(text, min);
	put_char(text, '|');
	put_number(text, max);
	put_char(text, '|');
}

uint64_t control_digest_nat(const struct control_nat *nat)
{
	struct text text = begin('n', nat->interface);

	put_range(&text, &nat->ip, nat->min, nat->max);
	put_wanted(&text, &nat->preferred);
	return text.hash;
}

uint64_t control_digest_neighbor_nat(const struct ferrite_neighbor_nat *entry)
{
	struct text text = {FNV_START};

	put_string(&text, "g|");
	put_number(&text, entry->vni);
	put_char(&text, '|');
	put_range(&text, &entry->ip, entry->min, entry->max);
	put_ipv6(&text, &entry->underlay);
	return text.hash;
}

int control_balancer_port_order(const void *one, const void *other)
{
	const struct ferrite_balancer_port *a = one, *b = other;

	return a->protocol != b->protocol ? (int)a->protocol - (int)b->protocol : (int)a->first - (int)b->first;
}

uint64_t control_digest_balancer(const struct control_balancer *balancer)
{
	const struct control_balancer_spec *spec = &balancer->spec;
	struct ferrite_balancer_port ports[FERRITE_MAX_BALANCER_PORTS];
	struct text text = begin('l', spec->id);
	char formatted[CONTROL_ADDRESS_TEXT];

	put_number(&text, spec->vni);
	put_char(&text, '|');
	put_bytes(&text, formatted,
		  spec->address.family == 4 ? control_ipv4_format(spec->address.bytes, formatted)
					    : control_ipv6_format(spec->address.bytes, formatted));
	put_char(&text, '|');
	put_wanted(&text, &spec->preferred);
	memcpy(ports, spec->ports, sizeof ports);
	qsort(ports, spec->port_count, sizeof *ports, control_balancer_port_order);
	for (unsigned i = 0; i < spec->port_count; ++i) {
		put_char(&text, '|');
		put_number(&text, ports[i].protocol);
		put_char(&text, ':');
		put_number(&text, ports[i].first);
		put_char(&text, '-');
		put_number(&text, ports[i].last);
	}
	for (uint32_t i = 0; i < balancer->target_count; ++i) {
		put_char(&text, '|');
		put_ipv6(&text, &balancer->targets[i]);
	}
	return text.hash;
}

static void put_length(struct text *text, uint8_t length, uint8_t width)
{
	if (length == width)
		return;
	put_char(text, '/');
	put_number(text, length);
}

uint64_t control_digest_edge(const struct control_edge_spec *edge)
{
	static const ferrite_mac no_mac;
	struct text text = begin('e', edge->name);
	char formatted[CONTROL_MAC_TEXT];

	put_number(&text, edge->vni);
	put_char(&text, '|');
	put_string(&text, edge->device);
	put_char(&text, '|');
	if (!control_ipv4_is_zero(&edge->ipv4)) {
		put_ipv4(&text, &edge->ipv4);
		put_length(&text, edge->length4, 32);
	}
	put_char(&text, '|');
	if (!control_ipv6_is_zero(&edge->ipv6)) {
		put_ipv6(&text, &edge->ipv6);
		put_length(&text, edge->length6, 128);
	}
	put_char(&text, '|');
	if (!control_ipv4_is_zero(&edge->gateway4))
		put_ipv4(&text, &edge->gateway4);
	put_char(&text, '|');
	put_wanted(&text, &edge->gateway6);
	put_char(&text, '|');
	put_wanted(&text, &edge->preferred);
	if (memcmp(&edge->gateway_mac, &no_mac, sizeof no_mac) == 0)
		return text.hash;
	put_char(&text, '|');
	put_bytes(&text, formatted, control_mac_format(&edge->gateway_mac, formatted));
	return text.hash;
}

static const char *default_name(enum ferrite_firewall_default value)
{
	return value == FERRITE_ACCEPT ? "accept" : value == FERRITE_DROP ? "drop" : "rules";
}

static void put_rule_prefix(struct text *text, const struct control_rule_prefix *prefix)
{
	if (prefix->family != 0)
		put_masked(text, prefix->family, prefix->length, prefix->bytes);
	put_char(text, ',');
}

static void put_ports(struct text *text, const struct control_rule_ports *ports)
{
	if (!ports->any) {
		put_number(text, ports->first);
		put_char(text, '-');
		put_number(text, ports->last);
	}
	put_char(text, ',');
}

static void put_rule(struct text *text, const struct control_rule *rule)
{
	put_char(text, '|');
	put_string(text, rule->id);
	put_string(text, rule->egress ? ",egress," : ",ingress,");
	put_string(text, rule->accept ? "accept," : "drop,");
	put_number(text, rule->priority);
	put_char(text, ',');
	put_rule_prefix(text, &rule->source);
	put_rule_prefix(text, &rule->destination);
	put_number(text, rule->protocol);
	put_char(text, ',');
	put_ports(text, &rule->source_ports);
	put_ports(text, &rule->destination_ports);
	if (rule->icmp_type >= 0)
		put_number(text, (uint64_t)rule->icmp_type);
	put_char(text, ',');
	if (rule->icmp_code >= 0)
		put_number(text, (uint64_t)rule->icmp_code);
}

uint64_t control_digest_firewall(const struct control_firewall *firewall)
{
	struct text text = begin('f', firewall->interface);

	put_string(&text, default_name(firewall->ingress));
	put_char(&text, '|');
	put_string(&text, default_name(firewall->egress));
	for (unsigned i = 0; i < firewall->rule_count; ++i)
		put_rule(&text, &firewall->rules[i]);
	return text.hash;
}
