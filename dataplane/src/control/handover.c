#include "handover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "edge.h"
#include "ferrite/handover.h"
#include "log.h"
#include "state.h"

enum kind { KIND_STATE = 1, KIND_INTERFACE, KIND_PREFIX, KIND_VIP, KIND_NAT, KIND_FIREWALL, KIND_RULE, KIND_BALANCER, KIND_NEIGHBOR,
	    KIND_ROUTE, KIND_END, KIND_EDGE };

static const uint8_t magic[4] = {'F', 'e', 'H', 'o'};

/* Writes or reads, field by field, so that both are said once. */
struct codec {
	bool writing, failed;
	uint8_t *bytes;       /* written: grows */
	size_t length, room;
	const uint8_t *at, *end; /* read: the rest of the record */
};

static void grow(struct codec *codec, size_t more)
{
	size_t room = codec->room > 0 ? codec->room : 65536;
	uint8_t *bytes;

	if (codec->failed || codec->room - codec->length >= more)
		return;
	while (room - codec->length < more)
		room *= 2;
	bytes = realloc(codec->bytes, room);
	codec->failed = bytes == NULL;
	if (codec->failed)
		return;
	codec->bytes = bytes;
	codec->room = room;
}

static void raw(struct codec *codec, void *value, size_t size)
{
	if (size == 0)
		return;
	if (codec->writing) {
		grow(codec, size);
		if (codec->failed)
			return;
		memcpy(codec->bytes + codec->length, value, size);
		codec->length += size;
		return;
	}
	size_t have = (size_t)(codec->end - codec->at), take = have < size ? have : size;

	memset(value, 0, size);
	memcpy(value, codec->at, take);
	codec->at += take;
}

/* Numbers, little endian. */
static uint64_t number(struct codec *codec, uint64_t value, unsigned size)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < size; ++i)
		bytes[i] = (uint8_t)(value >> (8 * i));
	raw(codec, bytes, size);
	value = 0;
	for (unsigned i = 0; i < size; ++i)
		value |= (uint64_t)bytes[i] << (8 * i);
	return value;
}

#define NUMBER(codec, field) ((field) = (__typeof__(field))number((codec), (uint64_t)(field), sizeof(field)))
#define BYTES(codec, field) raw((codec), &(field), sizeof(field))

static void flag(struct codec *codec, bool *value)
{
	*value = number(codec, *value, 1) != 0;
}

/* A length byte and as many bytes. */
static void text(struct codec *codec, char *value, size_t room)
{
	size_t length = codec->writing ? strlen(value) : 0;
	uint8_t bytes[256];

	length = (size_t)number(codec, length, 1);
	memcpy(bytes, value, codec->writing ? length : 0);
	raw(codec, bytes, length);
	if (codec->writing)
		return;
	if (length >= room || memchr(bytes, 0, length) != NULL) {
		codec->failed = true;
		length = 0;
	}
	memcpy(value, bytes, length);
	memset(value + length, 0, room - length);
}

static void identity(struct codec *codec, struct ferrite_identity *value)
{
	NUMBER(codec, value->place);
	NUMBER(codec, value->index);
	NUMBER(codec, value->group);
	BYTES(codec, value->underlay);
}

static void address(struct codec *codec, struct control_address *value)
{
	NUMBER(codec, value->family);
	BYTES(codec, value->bytes);
}

static void key(struct codec *codec, struct ferrite_route_key *value)
{
	NUMBER(codec, value->vni);
	NUMBER(codec, value->family);
	NUMBER(codec, value->length);
	BYTES(codec, value->prefix);
}

static void state_fields(struct codec *codec, char uuid[CONTROL_UUID_TEXT], bool *initialized, uint64_t *digest, uint32_t *last_tag)
{
	text(codec, uuid, CONTROL_UUID_TEXT);
	flag(codec, initialized);
	NUMBER(codec, *digest);
	NUMBER(codec, *last_tag);
}

static void interface_fields(struct codec *codec, struct control_interface_spec *spec, struct ferrite_identity *who)
{
	identity(codec, who);
	text(codec, spec->id, sizeof spec->id);
	NUMBER(codec, spec->vni);
	BYTES(codec, spec->ipv4);
	BYTES(codec, spec->ipv6);
	text(codec, spec->device, sizeof spec->device);
	text(codec, spec->hostname, sizeof spec->hostname);
	BYTES(codec, spec->preferred_underlay);
	NUMBER(codec, spec->total_rate);
	NUMBER(codec, spec->public_rate);
	text(codec, spec->pxe_server, sizeof spec->pxe_server);
	text(codec, spec->pxe_file, sizeof spec->pxe_file);
	flag(codec, &spec->spoof_check_off);
	NUMBER(codec, spec->flow_limit);
	NUMBER(codec, spec->flow_rate);
}

/* Of the interface that stands before it, as VIPs, NATs and firewalls are. */
static void prefix_fields(struct codec *codec, struct control_prefix *prefix, struct ferrite_identity *who)
{
	identity(codec, who);
	key(codec, &prefix->key);
	flag(codec, &prefix->routed);
	BYTES(codec, prefix->preferred);
}

static void vip_fields(struct codec *codec, struct control_vip *vip, struct ferrite_identity *who)
{
	identity(codec, who);
	BYTES(codec, vip->ip);
	BYTES(codec, vip->preferred);
}

static void nat_fields(struct codec *codec, struct control_nat *nat, struct ferrite_identity *who)
{
	identity(codec, who);
	BYTES(codec, nat->ip);
	NUMBER(codec, nat->min);
	NUMBER(codec, nat->max);
	BYTES(codec, nat->preferred);
}

/* As many rules follow as `count` says. */
static void firewall_fields(struct codec *codec, struct control_firewall_record *firewall)
{
	uint8_t ingress = (uint8_t)firewall->ingress, egress = (uint8_t)firewall->egress;

	flag(codec, &firewall->stated);
	NUMBER(codec, ingress);
	NUMBER(codec, egress);
	NUMBER(codec, firewall->count);
	firewall->ingress = (enum ferrite_firewall_default)ingress;
	firewall->egress = (enum ferrite_firewall_default)egress;
}

static void rule_prefix(struct codec *codec, struct control_rule_prefix *prefix)
{
	NUMBER(codec, prefix->family);
	NUMBER(codec, prefix->length);
	BYTES(codec, prefix->bytes);
}

static void rule_ports(struct codec *codec, struct control_rule_ports *ports)
{
	flag(codec, &ports->any);
	NUMBER(codec, ports->first);
	NUMBER(codec, ports->last);
}

static void rule_fields(struct codec *codec, struct control_rule *rule)
{
	text(codec, rule->id, sizeof rule->id);
	flag(codec, &rule->egress);
	flag(codec, &rule->accept);
	NUMBER(codec, rule->priority);
	rule_prefix(codec, &rule->source);
	rule_prefix(codec, &rule->destination);
	NUMBER(codec, rule->protocol);
	rule_ports(codec, &rule->source_ports);
	rule_ports(codec, &rule->destination_ports);
	NUMBER(codec, rule->icmp_type);
	NUMBER(codec, rule->icmp_code);
	NUMBER(codec, rule->tag);
}

static void balancer_fields(struct codec *codec, struct control_balancer_spec *spec, struct ferrite_identity *who,
			    ferrite_ipv6 *targets, uint32_t *target_count)
{
	identity(codec, who);
	text(codec, spec->id, sizeof spec->id);
	NUMBER(codec, spec->vni);
	address(codec, &spec->address);
	BYTES(codec, spec->preferred);
	NUMBER(codec, spec->port_count);
	if (spec->port_count > FERRITE_MAX_BALANCER_PORTS) {
		codec->failed = true;
		return;
	}
	for (unsigned i = 0; i < spec->port_count; ++i) {
		NUMBER(codec, spec->ports[i].protocol);
		NUMBER(codec, spec->ports[i].first);
		NUMBER(codec, spec->ports[i].last);
	}
	NUMBER(codec, *target_count);
	if (*target_count > FERRITE_MAX_TARGETS) {
		codec->failed = true;
		return;
	}
	raw(codec, targets, *target_count * sizeof *targets);
}

static void edge_fields(struct codec *codec, struct control_edge_spec *spec, struct ferrite_identity *who)
{
	identity(codec, who);
	text(codec, spec->name, sizeof spec->name);
	NUMBER(codec, spec->vni);
	text(codec, spec->device, sizeof spec->device);
	BYTES(codec, spec->ipv4);
	BYTES(codec, spec->gateway4);
	BYTES(codec, spec->ipv6);
	BYTES(codec, spec->gateway6);
	NUMBER(codec, spec->length4);
	NUMBER(codec, spec->length6);
	BYTES(codec, spec->gateway_mac);
	BYTES(codec, spec->preferred);
}

static void neighbor_fields(struct codec *codec, struct ferrite_neighbor_nat *entry)
{
	BYTES(codec, entry->ip);
	NUMBER(codec, entry->vni);
	NUMBER(codec, entry->min);
	NUMBER(codec, entry->max);
	BYTES(codec, entry->underlay);
}

static void route_fields(struct codec *codec, struct control_route *route, struct ferrite_hop hops[FERRITE_MAX_HOPS])
{
	uint8_t count = (uint8_t)(route->hop_count < 2 ? 0 : route->hop_count);

	key(codec, &route->key);
	BYTES(codec, route->next_hop);
	NUMBER(codec, route->next_hop_vni);
	NUMBER(codec, count);
	if (count > FERRITE_MAX_HOPS) {
		codec->failed = true;
		return;
	}
	for (unsigned i = 0; i < count; ++i) {
		BYTES(codec, hops[i].address);
		NUMBER(codec, hops[i].vni);
		NUMBER(codec, hops[i].weight);
	}
	route->hop_count = count;
	route->hops = count > 0 ? hops : NULL;
}

/* --- Writing. */

struct writer {
	struct codec codec;
	const struct control *control;
	size_t record;
};

static struct codec *begin(struct writer *writer, enum kind kind)
{
	number(&writer->codec, (uint64_t)kind, 1);
	writer->record = writer->codec.length;
	number(&writer->codec, 0, 4);
	return &writer->codec;
}

static void put_number(uint8_t *at, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; ++i)
		at[i] = (uint8_t)(value >> (8 * i));
}

static void finish(struct writer *writer)
{
	if (!writer->codec.failed)
		put_number(writer->codec.bytes + writer->record, writer->codec.length - writer->record - 4, 4);
}

static struct ferrite_identity identity_of(const struct writer *writer, const ferrite_ipv6 *underlay)
{
	struct ferrite_identity who = {.underlay = *underlay};

	if (ferrite_identity_of(writer->control->engine, underlay, &who) != 0)
		log_error("engine lost an endpoint", "%s", "");
	return who;
}

static void save_firewall(struct writer *writer, const struct control_firewall_record *firewall)
{
	struct control_firewall_record copy = *firewall;

	if (!firewall->stated && firewall->count == 0)
		return;
	firewall_fields(begin(writer, KIND_FIREWALL), &copy);
	finish(writer);
	for (uint32_t i = 0; i < firewall->count; ++i) {
		struct control_rule rule = firewall->rules[i];

		rule_fields(begin(writer, KIND_RULE), &rule);
		finish(writer);
	}
}

static void save_interface(struct writer *writer, const struct control_interface_record *record)
{
	struct control_interface_spec spec = record->public.spec;
	struct ferrite_identity who = identity_of(writer, &record->public.underlay);

	interface_fields(begin(writer, KIND_INTERFACE), &spec, &who);
	finish(writer);
	for (uint32_t i = 0; i < record->prefix_count; ++i) {
		struct control_prefix prefix = record->prefixes[i].public;

		who = identity_of(writer, &prefix.underlay);
		prefix_fields(begin(writer, KIND_PREFIX), &prefix, &who);
		finish(writer);
	}
	if (record->has_vip) {
		struct control_vip vip = record->vip;

		who = identity_of(writer, &vip.underlay);
		vip_fields(begin(writer, KIND_VIP), &vip, &who);
		finish(writer);
	}
	if (record->has_nat) {
		struct control_nat nat = record->nat;

		who = identity_of(writer, &nat.underlay);
		nat_fields(begin(writer, KIND_NAT), &nat, &who);
		finish(writer);
	}
	save_firewall(writer, &record->firewall);
}

static void save_balancer(void *context, const struct control_balancer *balancer)
{
	struct writer *writer = context;
	struct control_balancer_spec spec = balancer->spec;
	struct ferrite_identity who = identity_of(writer, &balancer->underlay);
	uint32_t count = balancer->target_count;

	balancer_fields(begin(writer, KIND_BALANCER), &spec, &who, balancer->targets, &count);
	finish(writer);
}

static void save_edge(void *context, const struct control_edge *edge)
{
	struct writer *writer = context;
	struct control_edge_spec spec = edge->spec;
	struct ferrite_identity who = identity_of(writer, &edge->underlay);

	edge_fields(begin(writer, KIND_EDGE), &spec, &who);
	finish(writer);
}

static void save_neighbor(void *context, const struct ferrite_neighbor_nat *entry)
{
	struct writer *writer = context;
	struct ferrite_neighbor_nat copy = *entry;

	neighbor_fields(begin(writer, KIND_NEIGHBOR), &copy);
	finish(writer);
}

static void save_route(void *context, const struct control_route *route)
{
	struct writer *writer = context;
	struct control_route copy = *route;
	struct ferrite_hop hops[FERRITE_MAX_HOPS];

	if (route->hop_count >= 2)
		memcpy(hops, route->hops, route->hop_count * sizeof *hops);
	route_fields(begin(writer, KIND_ROUTE), &copy, hops);
	finish(writer);
}

static uint64_t hash_of(const uint8_t *bytes, size_t length)
{
	return (uint64_t)control_hash(0x68616e646f766572ULL, bytes, length) << 32 |
	       control_hash(0x66657272697465ULL, bytes, length);
}

void control_handover_seal(uint8_t *bytes, size_t length)
{
	memcpy(bytes, magic, sizeof magic);
	put_number(bytes + 4, CONTROL_HANDOVER_VERSION, 4);
	put_number(bytes + 8, length, 8);
	put_number(bytes + 16, hash_of(bytes + CONTROL_HANDOVER_HEADER, length - CONTROL_HANDOVER_HEADER), 8);
}

uint8_t *control_handover_save(const struct control *control, size_t *length)
{
	struct writer writer = {.codec.writing = true, .control = control};
	uint8_t header[CONTROL_HANDOVER_HEADER] = {0};
	char uuid[CONTROL_UUID_TEXT];
	bool initialized = control->initialized;
	uint64_t digest = control->digest;
	uint32_t last_tag = control->last_tag;

	memcpy(uuid, control->uuid, sizeof uuid);
	raw(&writer.codec, header, sizeof header);
	state_fields(begin(&writer, KIND_STATE), uuid, &initialized, &digest, &last_tag);
	finish(&writer);
	for (uint32_t at = 0; at < control->ports.used; ++at)
		if (control->ports.ports[at].interface != NULL)
			save_interface(&writer, control->ports.ports[at].interface);
	control_edge_each(control, save_edge, &writer);
	control_balancer_each(control, save_balancer, &writer);
	control_neighbor_nat_each(control, save_neighbor, &writer);
	(void)control_route_each(control, 0, save_route, &writer);
	(void)begin(&writer, KIND_END);
	if (writer.codec.failed) {
		free(writer.codec.bytes);
		return NULL;
	}
	control_handover_seal(writer.codec.bytes, writer.codec.length);
	*length = writer.codec.length;
	return writer.codec.bytes;
}

/* --- Reading. */

struct reader {
	struct control *control;
	const uint8_t *at, *end;
	struct control_interface_record *interface; /* the last one */
	char *error;
	bool failed;
	uint64_t digest;
};

static bool refuse(struct reader *reader, const char *what, const char *who, enum control_status status)
{
	if (!reader->failed)
		snprintf(reader->error, CONTROL_HANDOVER_ERROR, "%s %.63s: %s", what, who,
			 status == CONTROL_SUCCESS ? "cannot be" : control_status_name(status));
	reader->failed = true;
	return false;
}

static bool take(struct reader *reader, const char *what, const char *who, enum control_status status)
{
	return status == CONTROL_SUCCESS || refuse(reader, what, who, status);
}

static bool is(struct reader *reader, const struct ferrite_identity *who)
{
	return ferrite_identity_next(reader->control->engine, who) == 0;
}

static bool good_key(const struct ferrite_route_key *value)
{
	return (value->family == 4 || value->family == 6) && value->length <= control_family_width(value->family);
}

static bool read_state(struct reader *reader, struct codec *codec)
{
	bool initialized = false;

	state_fields(codec, reader->control->uuid, &initialized, &reader->digest,
		     &reader->control->last_tag);
	reader->control->initialized = initialized;
	return strlen(reader->control->uuid) == CONTROL_UUID_TEXT - 1 || refuse(reader, "the state", "", CONTROL_SUCCESS);
}

static bool read_interface(struct reader *reader, struct codec *codec)
{
	struct control_interface_spec spec = {.vni = 0};
	const struct control_interface *made;
	struct ferrite_identity who;

	interface_fields(codec, &spec, &who);
	if (codec->failed || spec.id[0] == 0 || spec.device[0] == 0 || !is(reader, &who))
		return refuse(reader, "interface", spec.id, CONTROL_SUCCESS);
	if (!take(reader, "interface", spec.id, control_interface_create(reader->control, &spec, &made)))
		return false;
	reader->interface = control_interface_record_find(reader->control, spec.id);
	return true;
}

static bool read_prefix(struct reader *reader, struct codec *codec)
{
	struct control_prefix prefix = {.interface = reader->interface->public.spec.id};
	struct ferrite_identity who;
	ferrite_ipv6 underlay;

	prefix_fields(codec, &prefix, &who);
	if (codec->failed || !good_key(&prefix.key) || !is(reader, &who))
		return refuse(reader, "a prefix of", prefix.interface, CONTROL_SUCCESS);
	return take(reader, "a prefix of", prefix.interface, control_prefix_create(reader->control, &prefix, &underlay));
}

static bool read_vip(struct reader *reader, struct codec *codec)
{
	struct control_vip vip = {.interface = reader->interface->public.spec.id};
	struct control_address ip = {.family = 4};
	struct ferrite_identity who;
	ferrite_ipv6 underlay;

	vip_fields(codec, &vip, &who);
	memcpy(ip.bytes, vip.ip.bytes, sizeof vip.ip.bytes);
	if (codec->failed || !is(reader, &who))
		return refuse(reader, "the VIP of", vip.interface, CONTROL_SUCCESS);
	return take(reader, "the VIP of", vip.interface,
		    control_vip_create(reader->control, vip.interface, &ip, &vip.preferred, &underlay));
}

static bool read_nat(struct reader *reader, struct codec *codec)
{
	struct control_nat nat = {.interface = reader->interface->public.spec.id};
	struct ferrite_identity who;
	ferrite_ipv6 underlay;

	nat_fields(codec, &nat, &who);
	if (codec->failed || nat.min >= nat.max || nat.max > 65536 || !is(reader, &who))
		return refuse(reader, "the NAT of", nat.interface, CONTROL_SUCCESS);

	struct control_nat_spec spec = {
		.interface = nat.interface, .ip.family = 4, .min = nat.min, .max = nat.max, .preferred = nat.preferred};

	memcpy(spec.ip.bytes, nat.ip.bytes, sizeof nat.ip.bytes);
	return take(reader, "the NAT of", nat.interface, control_nat_create(reader->control, &spec, &underlay));
}

/* The next record, of this kind or any (0); false: there is none that is whole. */
static bool next(struct reader *reader, enum kind *kind, struct codec *codec)
{
	uint64_t length = 0;

	if (reader->end - reader->at < 5)
		return false;
	*kind = (enum kind)reader->at[0];
	for (unsigned i = 0; i < 4; ++i)
		length |= (uint64_t)reader->at[1 + i] << (8 * i);
	reader->at += 5;
	if (length > (uint64_t)(reader->end - reader->at))
		return false;
	*codec = (struct codec){.at = reader->at, .end = reader->at + length};
	reader->at += length;
	return true;
}

static bool good_rule(const struct control_rule *rule)
{
	const struct control_rule_prefix *prefixes[2] = {&rule->source, &rule->destination};

	for (unsigned i = 0; i < 2; ++i) {
		uint8_t family = prefixes[i]->family;

		if ((family != 0 && family != 4 && family != 6) ||
		    prefixes[i]->length > (family == 0 ? 0 : control_family_width(family)))
			return false;
	}
	return rule->id[0] != 0 && rule->icmp_type >= -1 && rule->icmp_type <= 255 && rule->icmp_code >= -1 &&
	       rule->icmp_code <= 255;
}

static bool read_rules(struct reader *reader, struct control_firewall_record *firewall)
{
	for (uint32_t i = 0; i < firewall->count; ++i) {
		struct codec codec;
		enum kind kind;

		memset(&firewall->rules[i], 0, sizeof firewall->rules[i]);
		if (!next(reader, &kind, &codec) || kind != KIND_RULE)
			return false;
		rule_fields(&codec, &firewall->rules[i]);
		if (codec.failed || !good_rule(&firewall->rules[i]))
			return false;
	}
	return true;
}

static bool read_firewall(struct reader *reader, struct codec *codec)
{
	const char *id = reader->interface->public.spec.id;
	struct control_firewall_record firewall = {0};

	firewall_fields(codec, &firewall);
	if (firewall.count > FERRITE_MAX_RULES || firewall.ingress > FERRITE_RULES || firewall.egress > FERRITE_RULES)
		return refuse(reader, "the firewall of", id, CONTROL_SUCCESS);
	firewall.capacity = firewall.count > 0 ? firewall.count : 1;
	firewall.rules = malloc(firewall.capacity * sizeof *firewall.rules);
	if (firewall.rules == NULL || !read_rules(reader, &firewall)) {
		free(firewall.rules);
		return refuse(reader, "the firewall of", id, CONTROL_SUCCESS);
	}
	return take(reader, "the firewall of", id, control_firewall_restore(reader->control, reader->interface, &firewall));
}

static bool read_balancer(struct reader *reader, struct codec *codec)
{
	static ferrite_ipv6 targets[FERRITE_MAX_TARGETS];
	struct control_balancer_spec spec = {.vni = 0};
	struct ferrite_identity who;
	ferrite_ipv6 underlay;
	uint32_t count = 0;

	balancer_fields(codec, &spec, &who, targets, &count);
	if (codec->failed || spec.id[0] == 0 || (spec.address.family != 4 && spec.address.family != 6) || !is(reader, &who))
		return refuse(reader, "load balancer", spec.id, CONTROL_SUCCESS);
	return take(reader, "load balancer", spec.id,
		    control_balancer_ensure(reader->control, &spec, targets, count, &underlay));
}

static bool read_edge(struct reader *reader, struct codec *codec)
{
	struct control_edge_spec spec = {.vni = 0};
	struct ferrite_identity who;
	ferrite_ipv6 underlay;

	edge_fields(codec, &spec, &who);
	if (codec->failed || spec.name[0] == 0 || spec.device[0] == 0 || spec.length4 > 32 || spec.length6 > 128 ||
	    !is(reader, &who))
		return refuse(reader, "edge", spec.name, CONTROL_SUCCESS);
	return take(reader, "edge", spec.name, control_edge_ensure(reader->control, &spec, &underlay));
}

static bool read_neighbor(struct reader *reader, struct codec *codec)
{
	struct ferrite_neighbor_nat entry = {.vni = 0};

	neighbor_fields(codec, &entry);
	if (entry.min >= entry.max || entry.max > 65536)
		return refuse(reader, "a neighbour NAT", "", CONTROL_SUCCESS);
	return take(reader, "a neighbour NAT", "", control_neighbor_nat_create(reader->control, &entry));
}

static bool read_route(struct reader *reader, struct codec *codec)
{
	struct ferrite_hop hops[FERRITE_MAX_HOPS];
	struct control_route route = {.hop_count = 0};

	route_fields(codec, &route, hops);
	for (unsigned i = 0; !codec->failed && i < route.hop_count; ++i)
		codec->failed = hops[i].weight < 1 || hops[i].weight > 256 ||
				(i > 0 && memcmp(&hops[i - 1].address, &hops[i].address, sizeof hops[i].address) >= 0);
	if (codec->failed || !good_key(&route.key))
		return refuse(reader, "a route", "", CONTROL_SUCCESS);
	return take(reader, "a route", "", control_route_put(reader->control, &route, false));
}

static bool read_record(struct reader *reader, enum kind kind, struct codec *codec)
{
	switch (kind) {
	case KIND_STATE:
		return read_state(reader, codec);
	case KIND_INTERFACE:
		return read_interface(reader, codec);
	case KIND_BALANCER:
		return read_balancer(reader, codec);
	case KIND_EDGE:
		return read_edge(reader, codec);
	case KIND_NEIGHBOR:
		return read_neighbor(reader, codec);
	case KIND_ROUTE:
		return read_route(reader, codec);
	case KIND_PREFIX:
	case KIND_VIP:
	case KIND_NAT:
	case KIND_FIREWALL:
		if (reader->interface == NULL)
			break;
		return kind == KIND_PREFIX ? read_prefix(reader, codec)
		       : kind == KIND_VIP  ? read_vip(reader, codec)
		       : kind == KIND_NAT  ? read_nat(reader, codec)
					   : read_firewall(reader, codec);
	default:
		break;
	}
	return refuse(reader, "a record of a kind", "that is not known", CONTROL_SUCCESS);
}

static bool good_header(const uint8_t *bytes, size_t length, char *error)
{
	uint8_t wanted[CONTROL_HANDOVER_HEADER];

	memcpy(wanted, magic, sizeof magic);
	put_number(wanted + 4, CONTROL_HANDOVER_VERSION, 4);
	put_number(wanted + 8, length, 8);
	if (length < sizeof wanted || memcmp(bytes, wanted, 16) != 0) {
		snprintf(error, CONTROL_HANDOVER_ERROR, "the state is of another version, or not whole");
		return false;
	}
	put_number(wanted + 16, hash_of(bytes + sizeof wanted, length - sizeof wanted), 8);
	if (memcmp(bytes + 16, wanted + 16, 8) == 0)
		return true;
	snprintf(error, CONTROL_HANDOVER_ERROR, "the state is damaged");
	return false;
}

bool control_handover_restore(struct control *control, const uint8_t *bytes, size_t length,
			      char error[CONTROL_HANDOVER_ERROR])
{
	struct reader reader = {
		.control = control, .at = bytes + CONTROL_HANDOVER_HEADER, .end = bytes + length, .error = error};
	enum kind kind = KIND_STATE;
	struct codec codec;
	bool whole = false;

	error[0] = 0;
	if (!good_header(bytes, length, error))
		return false;
	while (!reader.failed && next(&reader, &kind, &codec)) {
		whole = kind == KIND_END && reader.at == reader.end;
		if (kind == KIND_END)
			break;
		(void)read_record(&reader, kind, &codec);
	}
	ferrite_identity_done(control->engine);
	if (!reader.failed && !whole)
		(void)refuse(&reader, "the state", "", CONTROL_SUCCESS);
	if (!reader.failed && control->digest != reader.digest)
		snprintf(error, CONTROL_HANDOVER_ERROR, "what was restored is not what was told");
	return error[0] == 0;
}

void control_watch_ports(struct control *control, void (*closed)(void *context, const char *device), void *context)
{
	control->port_closed = closed;
	control->port_context = context;
}
