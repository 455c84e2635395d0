#include "packet/parse.h"

/* What there is of a packet: `have` bytes to read, `total` bytes by its header (or more than `have` when quoted). */
struct extent {
	uint32_t have, total;
	bool quoted;
};

/* Bytes of L4 that must be there. */
static uint32_t l4_needed(const struct tuple *tuple, bool quoted)
{
	bool icmp = tuple->protocol == (tuple->family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6);
	if (tuple->fragment == FRAGMENT_LATER)
		return 0;
	if (tuple->fragment == FRAGMENT_FIRST)
		return 8;
	switch (tuple->protocol) {
	case PROTOCOL_TCP: return quoted ? 8 : TCP_LENGTH;
	case PROTOCOL_SCTP: return quoted ? 8 : 12;
	case PROTOCOL_UDP: return UDP_LENGTH;
	default: return icmp ? ICMP_LENGTH : 0;
	}
}

static uint8_t icmp_kind(uint8_t family, uint8_t type)
{
	if (family == 4) {
		if (type == 0 || type == 8)
			return ICMP_ECHO;
		return (type >= 3 && type <= 5) || type == 11 || type == 12 ? ICMP_ERROR : ICMP_OTHER;
	}
	if (type == 128 || type == 129)
		return ICMP_ECHO;
	return type >= 1 && type <= 4 ? ICMP_ERROR : ICMP_OTHER;
}

static enum parse_result parse_l4(const uint8_t *ip, const struct extent *extent, struct tuple *tuple)
{
	uint32_t needed = tuple->l4_offset + l4_needed(tuple, extent->quoted);
	if (needed > extent->have || needed > extent->total)
		return PARSE_MALFORMED;
	tuple->ip_length = (uint16_t)extent->total;
	if (tuple->fragment == FRAGMENT_LATER)
		return PARSE_OK;
	const uint8_t *l4 = ip + tuple->l4_offset;
	uint32_t there = (extent->have < extent->total ? extent->have : extent->total) - tuple->l4_offset;
	if (tuple->protocol == PROTOCOL_TCP || tuple->protocol == PROTOCOL_UDP || tuple->protocol == PROTOCOL_SCTP) {
		tuple->ports = raw32(l4);
		if (tuple->protocol == PROTOCOL_TCP && there >= 14)
			tuple->tcp_flags = l4[13];
	} else if (tuple->protocol == (tuple->family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6)) {
		tuple->icmp_type = l4[0];
		tuple->icmp_code = l4[1];
		tuple->icmp = icmp_kind(tuple->family, l4[0]);
		if (tuple->icmp == ICMP_ECHO) {
			memcpy(&tuple->ports, l4 + 4, 2);
			memcpy((uint8_t *)&tuple->ports + 2, l4 + 4, 2);
		}
	}
	return PARSE_OK;
}

static void set_fragment(struct tuple *tuple, uint32_t offset, bool more, uint32_t id)
{
	tuple->more = more;
	if (offset != 0 || more) {
		tuple->fragment = offset != 0 ? FRAGMENT_LATER : FRAGMENT_FIRST;
		tuple->fragment_id = id;
	}
}

static enum parse_result parse4(const uint8_t *ip, struct extent *extent, struct tuple *tuple)
{
	if (extent->have < IPV4_LENGTH)
		return PARSE_MALFORMED;
	uint32_t header = (ip[0] & 15u) * 4, word = load16(ip + 6);
	extent->total = load16(ip + 2);
	if (header < IPV4_LENGTH || extent->have < header || extent->total < header)
		return PARSE_MALFORMED;
	tuple->family = 4;
	tuple->protocol = ip[9];
	memcpy(tuple->addresses, ip + 12, 8);
	tuple->l4_offset = (uint16_t)header;
	set_fragment(tuple, word & 0x1fff, (word & 0x2000) != 0, load16(ip + 4));
	return parse_l4(ip, extent, tuple);
}

/* How often an extension header may appear; 0: it is none, the walk ends. */
static unsigned times_allowed(uint8_t header)
{
	switch (header) {
	case PROTOCOL_HOP_BY_HOP:
	case PROTOCOL_ROUTING:
	case PROTOCOL_FRAGMENT: return 1;
	case PROTOCOL_DESTINATION: return 2;
	default: return 0;
	}
}

/* Each allowed number is at most 2, so a count of two bits for each of the four. */
static bool count_header(uint32_t *seen, uint8_t header)
{
	unsigned place = header == PROTOCOL_HOP_BY_HOP ? 0 : header == PROTOCOL_ROUTING ? 2 : header == PROTOCOL_FRAGMENT ? 4 : 6;
	*seen += 1u << place;
	return (*seen >> place & 3) <= times_allowed(header);
}

static enum parse_result parse6(const uint8_t *ip, struct extent *extent, struct tuple *tuple)
{
	if (extent->have < IPV6_LENGTH)
		return PARSE_MALFORMED;
	extent->total = IPV6_LENGTH + (uint32_t)load16(ip + 4);
	if (extent->total > UINT16_MAX)
		return PARSE_MALFORMED;
	tuple->family = 6;
	memcpy(tuple->addresses, ip + 8, 32);
	uint32_t at = IPV6_LENGTH, end = extent->have < extent->total ? extent->have : extent->total;
	uint32_t seen = 0;
	uint8_t next = ip[6];
	for (unsigned headers = 0; times_allowed(next) > 0 && tuple->fragment != FRAGMENT_LATER; headers++) {
		if (headers == EXTENSION_LIMIT || end - at < 8 || !count_header(&seen, next))
			return PARSE_MALFORMED;
		uint32_t size = 8;
		if (next == PROTOCOL_FRAGMENT)
			set_fragment(tuple, load16(ip + at + 2) >> 3, (ip[at + 3] & 1) != 0, load32(ip + at + 4));
		else
			size += ip[at + 1] * 8u;
		if (end - at < size)
			return PARSE_MALFORMED;
		next = ip[at];
		at += size;
	}
	tuple->protocol = next;
	tuple->l4_offset = (uint16_t)at;
	return parse_l4(ip, extent, tuple);
}

static enum parse_result parse(const uint8_t *ip, struct extent *extent, struct tuple *tuple)
{
	memset(tuple, 0, sizeof *tuple);
	if (extent->have == 0)
		return PARSE_MALFORMED;
	if (ip[0] >> 4 == 4)
		return parse4(ip, extent, tuple);
	return ip[0] >> 4 == 6 ? parse6(ip, extent, tuple) : PARSE_MALFORMED;
}

enum parse_result parse_ip_slow(const uint8_t *ip, uint32_t have, uint32_t length, struct tuple *tuple)
{
	struct extent extent = {.have = have};
	if (parse(ip, &extent, tuple) != PARSE_OK)
		return PARSE_MALFORMED;
	return extent.total <= length ? PARSE_OK : PARSE_MALFORMED;
}

enum parse_result parse_quoted(const uint8_t *ip, uint32_t have, struct tuple *tuple)
{
	struct extent extent = {.have = have, .quoted = true};
	return parse(ip, &extent, tuple);
}
