#include "pieces.h"

#include <stdlib.h>

#include "packet/answer.h"
#include "packet/murmur.h"
#include "packet/nat64.h"
#include "packet/translate.h"
#include "table/firewall.h"
#include "table/maglev.h"

enum { IP_OFFSET = 40, MOST_RULES = 64, MOST_MEMBERS = 64, MOST_SLOTS = 16381 };

/* What is left of a call. */
struct reader {
	const uint8_t *at;
	uint32_t left;
	bool broken;
};

static const uint8_t *take(struct reader *reader, uint32_t length)
{
	static const uint8_t nothing[64];
	if (reader->left < length) {
		reader->broken = true;
		return nothing;
	}
	const uint8_t *at = reader->at;
	reader->at += length;
	reader->left -= length;
	return at;
}

static uint8_t take8(struct reader *reader) { return take(reader, 1)[0]; }
static uint16_t take16(struct reader *reader) { return (uint16_t)load16(take(reader, 2)); }
static uint32_t take32(struct reader *reader) { return load32(take(reader, 4)); }

static uint16_t take_port(struct reader *reader)
{
	uint16_t port;
	memcpy(&port, take(reader, 2), 2);
	return port;
}

static struct rewrite take_rewrite(struct reader *reader)
{
	struct rewrite rewrite = {.set = take8(reader)};
	memcpy(rewrite.source, take(reader, 4), 4);
	memcpy(rewrite.destination, take(reader, 4), 4);
	rewrite.source_port = take_port(reader);
	rewrite.destination_port = take_port(reader);
	return rewrite;
}

static struct nat64_side4 take_side4(struct reader *reader)
{
	struct nat64_side4 side = {.set = take8(reader)};
	memcpy(side.source, take(reader, 4), 4);
	memcpy(side.destination, take(reader, 4), 4);
	side.source_port = take_port(reader);
	side.destination_port = take_port(reader);
	return side;
}

static struct nat64_side6 take_side6(struct reader *reader)
{
	struct nat64_side6 side = {.set = take8(reader)};
	memcpy(side.source, take(reader, 16), 16);
	memcpy(side.destination, take(reader, 16), 16);
	side.source_port = take_port(reader);
	side.destination_port = take_port(reader);
	return side;
}

static struct ferrite_rule take_rule(struct reader *reader)
{
	struct ferrite_rule rule = {.egress = take8(reader) != 0};
	rule.accept = take8(reader) != 0;
	rule.family = take8(reader);
	rule.protocol = take8(reader);
	rule.source_length = take8(reader);
	rule.destination_length = take8(reader);
	memcpy(rule.source, take(reader, 16), 16);
	memcpy(rule.destination, take(reader, 16), 16);
	rule.source_first = take16(reader);
	rule.source_last = take16(reader);
	rule.destination_first = take16(reader);
	rule.destination_last = take16(reader);
	rule.icmp_type = (int16_t)take16(reader);
	rule.icmp_code = (int16_t)take16(reader);
	return rule;
}

static uint32_t write_tuple(const struct tuple *tuple, uint8_t *out)
{
	const uint8_t head[4] = {tuple->family, tuple->protocol, tuple->fragment, tuple->icmp};
	memcpy(out, head, 4);
	memcpy(out + 4, &tuple->ports, 4);
	store16(out + 8, tuple->l4_offset);
	store16(out + 10, tuple->ip_length);
	store32(out + 12, tuple->fragment_id);
	out[16] = tuple->tcp_flags;
	out[17] = tuple->icmp_type;
	out[18] = tuple->icmp_code;
	return 19;
}

static uint32_t parse(struct reader *reader, bool quoted, uint8_t *out)
{
	struct tuple tuple;
	memset(&tuple, 0, sizeof tuple);
	enum parse_result result = quoted ? parse_quoted(reader->at, reader->left, &tuple) :
					    parse_ip(reader->at, reader->left, reader->left, &tuple);
	return result == PARSE_OK ? write_tuple(&tuple, out) : 0;
}

static uint32_t hashed(struct reader *reader, bool nat, uint8_t *out)
{
	uint32_t seed = take32(reader), vni = nat ? take32(reader) : 0;
	struct tuple tuple;
	if (parse_ip(reader->at, reader->left, reader->left, &tuple) != PARSE_OK)
		return 0;
	store32(out, nat ? nat_hash(vni, &tuple, seed) : choice_hash(&tuple, seed));
	return 4;
}

static uint32_t filled(struct reader *reader, uint8_t *out)
{
	static uint16_t slots[MOST_SLOTS];
	uint8_t members[MOST_MEMBERS][16];
	uint16_t weights[MOST_MEMBERS];
	uint32_t m = take32(reader);
	unsigned count = 0;
	for (; count < MOST_MEMBERS && reader->left >= 18; count++) {
		memcpy(members[count], take(reader, 16), 16);
		weights[count] = take16(reader);
	}
	if (m > MOST_SLOTS || count == 0)
		return 0;
	maglev_build(slots, m, (const uint8_t (*)[16])members, weights, count);
	for (uint32_t i = 0; i < m; i++)
		store16(out + 2 * (size_t)i, slots[i]);
	return 2 * m;
}

static uint32_t filtered(struct reader *reader, uint8_t *out)
{
	struct ferrite_rule rules[MOST_RULES];
	struct tuple tuple;
	bool egress = take8(reader) != 0;
	enum ferrite_firewall_default in = (enum ferrite_firewall_default)take8(reader);
	enum ferrite_firewall_default eg = (enum ferrite_firewall_default)take8(reader);
	unsigned count = take16(reader);
	for (unsigned i = 0; i < count && i < MOST_RULES; i++)
		rules[i] = take_rule(reader);
	if (reader->broken || count > MOST_RULES ||
	    parse_ip(reader->at, reader->left, reader->left, &tuple) != PARSE_OK)
		return 0;
	struct firewall *firewall = firewall_build(rules, count, in, eg);
	out[0] = firewall_check(firewall, &tuple, egress).accept;
	firewall_free(firewall);
	return 1;
}

/* Calls that change a packet: read what they need, then the packet into a buffer. */
static uint32_t changed(char kind, struct reader *reader, uint8_t *out)
{
	struct rewrite rewrite = {0}, quoted = {0};
	struct nat64_side4 side4 = {0}, quoted4 = {0};
	struct nat64_side6 side6 = {0}, quoted6 = {0};
	uint8_t type = 0, code = 0, source[16] = {0};
	uint32_t rest = 0;
	switch (kind) {
	case 'e':
		rewrite = take_rewrite(reader);
		quoted = take_rewrite(reader);
		break;
	case 't':
		rewrite = take_rewrite(reader);
		break;
	case 'd':
		side4 = take_side4(reader);
		quoted4 = take_side4(reader);
		break;
	case 'w':
		side6 = take_side6(reader);
		quoted6 = take_side6(reader);
		break;
	case 'u':
		type = take8(reader);
		code = take8(reader);
		rest = take32(reader);
		memcpy(source, take(reader, 16), 16);
		break;
	default:
		break;
	}
	struct tuple tuple;
	if (reader->broken || parse_ip(reader->at, reader->left, reader->left, &tuple) != PARSE_OK)
		return 0;
	static uint8_t whole[PIECES_ROOM];
	if (reader->left > sizeof whole - IP_OFFSET)
		return 0;
	memset(whole, 0, IP_OFFSET);
	memcpy(whole + IP_OFFSET, reader->at, reader->left);
	struct rte_mbuf *buffer = rte_pktmbuf_alloc(buffers.small);
	if (buffer == NULL || !packet_copy_in(buffer, whole, IP_OFFSET + reader->left)) {
		rte_pktmbuf_free(buffer);
		return 0;
	}
	*packet_of(buffer) = (struct packet){.ip_offset = IP_OFFSET};
	bool done = true;
	switch (kind) {
	case 't':
		translate4(packet_data(buffer) + IP_OFFSET, &tuple, &rewrite, &packet_of(buffer)->offload);
		break;
	case 'e':
		done = translate4_error(buffer, IP_OFFSET, &tuple, &rewrite, &quoted);
		break;
	case 'd':
		done = tuple.family == 6 && nat64_make4(buffer, IP_OFFSET, &tuple, &side4, &quoted4);
		break;
	case 'w':
		done = tuple.family == 4 && nat64_make6(buffer, IP_OFFSET, &tuple, &side6, &quoted6);
		break;
	case 'r':
		done = answer_reset(buffer, IP_OFFSET, &tuple);
		break;
	case 'u':
		done = answer_unreachable(buffer, IP_OFFSET, &tuple, type, code, rest, source);
		break;
	default:
		done = answer_echo(buffer, IP_OFFSET, &tuple);
		break;
	}
	uint32_t length = done ? packet_copy_out(buffer, whole, sizeof whole) - IP_OFFSET : 0;
	memcpy(out, whole + IP_OFFSET, length);
	rte_pktmbuf_free(buffer);
	return length;
}

bool pieces_call(const uint8_t *in, uint32_t length, uint8_t *out, uint32_t *written)
{
	if (length == 0)
		return false;
	struct reader reader = {in + 1, length - 1, false};
	char kind = (char)in[0];
	switch (kind) {
	case 'p':
	case 'q':
		*written = parse(&reader, kind == 'q', out);
		break;
	case 'h':
	case 'n':
		*written = hashed(&reader, kind == 'n', out);
		break;
	case 'm':
		*written = filled(&reader, out);
		break;
	case 'f':
		*written = filtered(&reader, out);
		break;
	case 't':
	case 'e':
	case 'd':
	case 'w':
	case 'r':
	case 'u':
	case 'o':
		*written = changed(kind, &reader, out);
		break;
	default:
		return false;
	}
	return !reader.broken;
}
