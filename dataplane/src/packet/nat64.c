#include "packet/nat64.h"

#include <assert.h>

#include "packet/segments.h"

enum {
	ERROR_LIMIT4 = 576,
	ERROR_LIMIT6 = 1280,
	MTU_LEAST6 = 1280,
	HEADER_GROWTH = IPV6_LENGTH - IPV4_LENGTH,
	NO_POINTER = 255,
};

/* Either kind of side. */
struct side {
	uint8_t family, set;
	uint8_t addresses[32]; /* as in a tuple */
	uint16_t source_port, destination_port;
};

static void side_of4(struct side *side, const struct nat64_side4 *from)
{
	*side = (struct side){.family = 4, .set = from->set, .source_port = from->source_port,
			       .destination_port = from->destination_port};
	memcpy(side->addresses, from->source, 4);
	memcpy(side->addresses + 4, from->destination, 4);
}

static void side_of6(struct side *side, const struct nat64_side6 *from)
{
	*side = (struct side){.family = 6, .set = from->set, .source_port = from->source_port,
			       .destination_port = from->destination_port};
	memcpy(side->addresses, from->source, 16);
	memcpy(side->addresses + 16, from->destination, 16);
}

static uint16_t sum_addresses(uint8_t family, const uint8_t *addresses)
{
	return checksum_fold(checksum_add(0, addresses, family == 4 ? 8 : 32));
}

/* Of the pseudo header of ICMPv6, which ICMP does not have. */
static uint16_t sum_pseudo_icmp(const uint8_t addresses[32], uint32_t length)
{
	return checksum_fold(checksum_add(0, addresses, 32) + __builtin_bswap32(PROTOCOL_ICMPV6) + __builtin_bswap32(length));
}

/* What the L4 checksum loses and gains by the other IP header. */
struct pseudo {
	uint16_t old, new;
};

static struct pseudo pseudo_of(const struct tuple *tuple, const struct side *side)
{
	uint32_t length = (uint32_t)tuple->ip_length - tuple->l4_offset;
	if (tuple->icmp == ICMP_NONE)
		return (struct pseudo){sum_addresses(tuple->family, tuple->addresses),
				       sum_addresses(side->family, side->addresses)};
	if (side->family == 4)
		return (struct pseudo){.old = sum_pseudo_icmp(tuple->addresses, length)};
	return (struct pseudo){.new = sum_pseudo_icmp(side->addresses, length)};
}

static uint32_t replace16(uint8_t *at, uint16_t value)
{
	uint16_t old;
	memcpy(&old, at, sizeof old);
	memcpy(at, &value, sizeof value);
	return (uint32_t)(uint16_t)~old + value;
}

static uint8_t echo_type(uint8_t type)
{
	switch (type) {
	case 8: return 128;
	case 0: return 129;
	case 128: return 8;
	default: return 0;
	}
}

/* The changed words of an echo's header. */
static uint32_t change_echo(uint8_t *l4, const struct side *side)
{
	uint16_t id = (side->set & REWRITE_SOURCE_PORT) != 0 ? side->source_port : side->destination_port, word;
	const uint8_t head[2] = {echo_type(l4[0]), l4[1]};
	memcpy(&word, head, sizeof word);
	uint32_t delta = replace16(l4, word);
	return (side->set & (REWRITE_SOURCE_PORT | REWRITE_DESTINATION_PORT)) == 0 ? delta : delta + replace16(l4 + 4, id);
}

static uint32_t change_ports(uint8_t *l4, const struct side *side)
{
	uint32_t delta = 0;
	if ((side->set & REWRITE_SOURCE_PORT) != 0)
		delta += replace16(l4, side->source_port);
	if ((side->set & REWRITE_DESTINATION_PORT) != 0)
		delta += replace16(l4 + 2, side->destination_port);
	return delta;
}

/* L4 of which `have` bytes are there, at least 8: ports, identifier, type, checksum. */
static void change_l4(uint8_t *l4, uint32_t have, const struct tuple *tuple, const struct side *side, bool partial)
{
	struct pseudo pseudo = pseudo_of(tuple, side);
	uint32_t address_delta = (uint32_t)(uint16_t)~pseudo.old + pseudo.new;
	bool echo = tuple->icmp == ICMP_ECHO;
	uint32_t delta = address_delta + (echo ? change_echo(l4, side) : change_ports(l4, side));
	uint8_t *field = l4 + (echo ? 2 : tuple->protocol == PROTOCOL_TCP ? 16 : 6);
	if (field + 2 > l4 + have)
		return;
	if (partial)
		checksum_apply_partial(field, address_delta);
	else if (tuple->protocol == PROTOCOL_UDP)
		checksum_apply_udp(field, delta);
	else if (echo && side->family == 4)
		checksum_apply_icmp(l4, delta);
	else
		checksum_apply(field, delta);
}

static uint8_t protocol_for(const struct tuple *tuple, uint8_t family)
{
	if (tuple->icmp == ICMP_NONE)
		return tuple->protocol;
	return family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
}

/* The other family's header: of `ip`, before `length` bytes. Where it goes may be where `ip` is. */
static void put_header(uint8_t *to, const uint8_t *ip, const struct tuple *tuple, const struct side *side, uint32_t length)
{
	if (side->family == 4) {
		struct ipv4_header header = {.version_ihl = 0x45, .fragment = {0x40}, .ttl = ip[7],
					     .protocol = protocol_for(tuple, 4)};
		header.tos = (uint8_t)(load16(ip) >> 4);
		store16(header.total_length, IPV4_LENGTH + length);
		memcpy(header.source, side->addresses, 4);
		memcpy(header.destination, side->addresses + 4, 4);
		checksum_ipv4(&header, IPV4_LENGTH);
		memcpy(to, &header, sizeof header);
	} else {
		struct ipv6_header header = {.next_header = protocol_for(tuple, 6), .hop_limit = ip[8]};
		store32(header.version_class_label, 0x60000000u | (uint32_t)ip[1] << 20);
		store16(header.payload_length, length);
		memcpy(header.source, side->addresses, 16);
		memcpy(header.destination, side->addresses + 16, 16);
		memcpy(to, &header, sizeof header);
	}
}

static uint32_t header_length(uint8_t family)
{
	return family == 4 ? IPV4_LENGTH : IPV6_LENGTH;
}

/* TCP, UDP or echo, whole. */
static bool translatable(const struct tuple *tuple)
{
	return tuple->fragment == FRAGMENT_WHOLE && (tuple->protocol == PROTOCOL_TCP || tuple->protocol == PROTOCOL_UDP ||
						     tuple->icmp == ICMP_ECHO);
}

/* A routing header that has addresses left to visit: the destination is not yet the packet's (RFC 7915 5.1). */
static bool has_segments_left(const uint8_t *ip, const struct tuple *tuple)
{
	uint8_t next = ip[6];
	uint32_t at = IPV6_LENGTH;
	while (tuple->family == 6 && at < tuple->l4_offset) {
		uint32_t size = next == PROTOCOL_FRAGMENT ? 8 : 8 + ip[at + 1] * 8u;
		if (next == PROTOCOL_ROUTING && ip[at + 3] != 0)
			return true;
		next = ip[at];
		at += size;
	}
	return false;
}

/* IPv6 has no UDP without checksum. */
static bool complete_udp(struct rte_mbuf *buffer, uint16_t ip_offset, const struct tuple *tuple)
{
	uint8_t *udp = packet_data(buffer) + ip_offset + tuple->l4_offset;
	uint32_t length = load16(udp + 4);
	if (length < UDP_LENGTH || length > (uint32_t)tuple->ip_length - tuple->l4_offset)
		return false;
	/* For the header that it has now; that is changed like any other. */
	uint64_t sum = (uint64_t)sum_addresses(4, tuple->addresses) + __builtin_bswap16(PROTOCOL_UDP) +
		__builtin_bswap16((uint16_t)length);
	if (!checksum_segments(buffer, (uint32_t)ip_offset + tuple->l4_offset, length, &sum))
		return false;
	checksum_put_udp(udp + 6, sum);
	return true;
}

static uint8_t gso_for(uint8_t gso, uint8_t family)
{
	uint8_t kind = gso & (uint8_t)~GSO_ECN;
	if (kind != GSO_TCP4 && kind != GSO_TCP6)
		return gso;
	return (uint8_t)((gso & GSO_ECN) | (family == 4 ? GSO_TCP4 : GSO_TCP6));
}

static void move_offload(struct offload *offload, uint32_t old, uint8_t family)
{
	uint32_t new = header_length(family);
	offload->gso = gso_for(offload->gso, family);
	if (offload->header_length >= old)
		offload->header_length = (uint16_t)(offload->header_length - old + new);
	if (offload->needs_checksum)
		offload->checksum_start = (uint16_t)(offload->checksum_start - old + new);
}

/* TCP, UDP, echo. */
static bool change_packet(struct rte_mbuf *buffer, uint16_t ip_offset, struct tuple *tuple, const struct side *side)
{
	struct packet *packet = packet_of(buffer);
	uint8_t *ip = packet_data(buffer) + ip_offset;
	uint32_t old = tuple->l4_offset, new = header_length(side->family), length = (uint32_t)tuple->ip_length - old;
	bool partial = packet->offload.needs_checksum && packet->offload.checksum_start == old;
	if (new + length > UINT16_MAX || new > old + rte_pktmbuf_headroom(buffer) || has_segments_left(ip, tuple) ||
	    (packet->offload.needs_checksum && packet->offload.checksum_start < old) ||
	    buffer->pkt_len < (uint32_t)ip_offset + tuple->ip_length)
		return false;
	if (side->family == 6 && tuple->protocol == PROTOCOL_UDP && !partial && load16(ip + old + 6) == 0 &&
	    !complete_udp(buffer, ip_offset, tuple))
		return false;
	change_l4(ip + old, segment_have(buffer, ip_offset, tuple->ip_length) - old, tuple, side, partial);
	uint8_t header[IPV6_LENGTH];
	put_header(header, ip, tuple, side, length);
	(void)segment_resize(buffer, ip_offset, old, new);
	memcpy(packet_data(buffer) + ip_offset, header, new);
	move_offload(&packet->offload, old, side->family);
	return true;
}

/* An error's type, code and the four bytes behind its checksum. */
struct error {
	uint8_t type, code;
	uint32_t rest;
	uint32_t quoted; /* bytes of the quoted packet when extensions follow it; 0: all that is there */
};

/* RFC 1191's plateaus, of which those below IPv6's least MTU are left out. */
static uint32_t plateau(uint32_t length)
{
	static const uint16_t plateaus[] = {65535, 32000, 17914, 8166, 4352, 2002, 1492};
	for (unsigned i = 0; i < sizeof plateaus / sizeof plateaus[0]; i++)
		if (plateaus[i] < length)
			return plateaus[i];
	return MTU_LEAST6;
}

/* RFC 7915 4.2. `length`: of the quoted packet by its header. */
static bool error_to6(struct error *error, uint32_t length)
{
	static const uint8_t unreachable[16] = {0, 0, NO_POINTER, 4, NO_POINTER, 0, 0, 0, 0, 1, 1, 0, 0, 1, NO_POINTER, 1};
	static const uint8_t pointers[20] = {0, 1, 4, 4, NO_POINTER, NO_POINTER, NO_POINTER, NO_POINTER, 7, 6, NO_POINTER,
					     NO_POINTER, 8, 8, 8, 8, 24, 24, 24, 24};
	uint32_t mtu = error->rest & 0xffff, pointer = error->rest >> 24;
	uint8_t type = error->type, code = error->code;
	if (type == 3 || type == 11 || type == 12)
		error->quoted = (error->rest >> 16 & 255) * 4;
	error->rest = 0;
	if (type == 3 && code == 2) { /* protocol: the field that named it */
		error->type = 4;
		error->code = 1;
		error->rest = 6;
	} else if (type == 3 && code == 4) {
		mtu = mtu == 0 ? plateau(length) : mtu + HEADER_GROWTH;
		error->type = 2;
		error->code = 0;
		error->rest = mtu < MTU_LEAST6 ? MTU_LEAST6 : mtu;
	} else if (type == 3) {
		if (code > 15 || unreachable[code] == NO_POINTER)
			return false;
		error->type = 1;
		error->code = unreachable[code];
	} else if (type == 11) {
		error->type = 3;
	} else if (type == 12 && (code == 0 || code == 2)) {
		if (pointer >= sizeof pointers || pointers[pointer] == NO_POINTER)
			return false;
		error->type = 4;
		error->code = 0;
		error->rest = pointers[pointer];
	} else {
		return false;
	}
	return true;
}

static uint8_t pointer_to4(uint32_t pointer)
{
	static const uint8_t first[8] = {0, 1, NO_POINTER, NO_POINTER, 2, 2, 9, 8};
	return pointer < 8 ? first[pointer] : pointer < 24 ? 12 : pointer < 40 ? 16 : NO_POINTER;
}

/* RFC 7915 5.2. */
static bool error_to4(struct error *error)
{
	static const uint8_t unreachable[5] = {1, 10, 1, 1, 3};
	uint32_t word = error->rest;
	uint8_t type = error->type, code = error->code;
	if (type == 1 || type == 3)
		error->quoted = (word >> 24) * 8;
	error->rest = 0;
	if (type == 1 && code < sizeof unreachable) {
		error->type = 3;
		error->code = unreachable[code];
	} else if (type == 2) {
		uint32_t mtu = word > HEADER_GROWTH ? word - HEADER_GROWTH : 0;
		error->type = 3;
		error->code = 4;
		error->rest = mtu < UINT16_MAX ? mtu : UINT16_MAX;
	} else if (type == 3) {
		error->type = 11;
	} else if (type == 4 && code == 0 && pointer_to4(word) != NO_POINTER) {
		error->type = 12;
		error->rest = (uint32_t)pointer_to4(word) << 24;
	} else if (type == 4 && code == 1) {
		error->type = 3;
		error->code = 2;
	} else {
		return false;
	}
	return true;
}

static void put_error(uint8_t *ip, const struct side *side, const struct error *error, uint32_t length)
{
	uint8_t *icmp = ip + header_length(side->family);
	icmp[0] = error->type;
	icmp[1] = error->code;
	memset(icmp + 2, 0, 2);
	store32(icmp + 4, error->rest);
	uint64_t sum = side->family == 4 ? 0 : sum_pseudo_icmp(side->addresses, length);
	checksum_put(icmp + 2, checksum_add(sum, icmp, length));
}

/* Outer header, ICMP header, quoted header: all new, before the quoted L4, which stays where it is. */
static bool change_error(struct rte_mbuf *buffer, uint16_t ip_offset, struct tuple *tuple, const struct side *side,
			 const struct side *quoted)
{
	uint8_t *ip = packet_data(buffer) + ip_offset, *icmp = ip + tuple->l4_offset;
	uint8_t heads[2 * IPV6_LENGTH + ICMP_LENGTH];
	uint32_t outer = header_length(side->family), head = tuple->l4_offset + (uint32_t)ICMP_LENGTH;
	uint32_t have = segment_have(buffer, ip_offset, tuple->ip_length) - head;
	struct error error = {.type = icmp[0], .code = icmp[1], .rest = load32(icmp + 4)};
	struct tuple inside;
	if (tuple->fragment != FRAGMENT_WHOLE || have < IPV4_LENGTH)
		return false;
	if (side->family == 4 ? !error_to4(&error) : !error_to6(&error, load16(icmp + ICMP_LENGTH + 2)))
		return false;
	if (error.quoted != 0 && error.quoted < have)
		have = error.quoted;
	if (parse_quoted(icmp + ICMP_LENGTH, have, &inside) != PARSE_OK || inside.family != tuple->family ||
	    !translatable(&inside))
		return false;
	uint32_t old = head + inside.l4_offset, new = 2 * outer + ICMP_LENGTH;
	uint32_t payload = (have < inside.ip_length ? have : inside.ip_length) - inside.l4_offset;
	uint32_t room = (side->family == 4 ? ERROR_LIMIT4 : ERROR_LIMIT6) - new;
	uint32_t said = (uint32_t)inside.ip_length - inside.l4_offset;
	if (new > old + rte_pktmbuf_headroom(buffer) || said + outer > UINT16_MAX)
		return false;
	change_l4(ip + old, payload, &inside, quoted, false);
	payload = payload < room ? payload : room;
	put_header(heads, ip, tuple, side, ICMP_LENGTH + outer + payload);
	put_header(heads + outer + ICMP_LENGTH, icmp + ICMP_LENGTH, &inside, quoted, said);
	(void)segment_resize(buffer, ip_offset, old, new);
	ip = packet_data(buffer) + ip_offset;
	memcpy(ip, heads, new);
	put_error(ip, side, &error, ICMP_LENGTH + outer + payload);
	segments_cut(buffer, ip_offset + new + payload);
	return true;
}

static bool change(struct rte_mbuf *buffer, uint16_t ip_offset, struct tuple *tuple, const struct side *side,
		   const struct side *quoted)
{
	if (tuple->icmp == ICMP_ERROR) {
		if (quoted == NULL || !change_error(buffer, ip_offset, tuple, side, quoted))
			return false;
	} else if (!translatable(tuple) || !change_packet(buffer, ip_offset, tuple, side)) {
		return false;
	}
	packet_of(buffer)->ip_offset = ip_offset;
	enum parse_result result = parse_ip(packet_data(buffer) + ip_offset, (uint32_t)buffer->data_len - ip_offset,
					    buffer->pkt_len - ip_offset, tuple);
	assert(result == PARSE_OK);
	(void)result;
	return true;
}

bool nat64_make4(struct rte_mbuf *buffer, uint16_t ip_offset, struct tuple *tuple, const struct nat64_side4 *side,
		 const struct nat64_side4 *quoted)
{
	struct side own, inside;
	if (tuple->family != 6)
		return false;
	side_of4(&own, side);
	if (quoted != NULL)
		side_of4(&inside, quoted);
	return change(buffer, ip_offset, tuple, &own, quoted == NULL ? NULL : &inside);
}

bool nat64_make6(struct rte_mbuf *buffer, uint16_t ip_offset, struct tuple *tuple, const struct nat64_side6 *side,
		 const struct nat64_side6 *quoted)
{
	struct side own, inside;
	if (tuple->family != 4)
		return false;
	side_of6(&own, side);
	if (quoted != NULL)
		side_of6(&inside, quoted);
	return change(buffer, ip_offset, tuple, &own, quoted == NULL ? NULL : &inside);
}

/* The header that an error quotes, or NULL when it is not all there. */
static const uint8_t *quoted_header(const struct rte_mbuf *buffer, uint16_t ip_offset, const struct tuple *tuple)
{
	uint32_t at = tuple->l4_offset + (uint32_t)ICMP_LENGTH;
	if (tuple->icmp != ICMP_ERROR ||
	    segment_have(buffer, ip_offset, tuple->ip_length) < at + header_length(tuple->family))
		return NULL;
	return packet_data(buffer) + ip_offset + at;
}

bool nat64_to4(struct rte_mbuf *buffer, uint16_t ip_offset, struct tuple *tuple, const uint8_t source[4],
	       const uint8_t destination[4], uint16_t new_source_port)
{
	struct nat64_side4 side = {.set = REWRITE_SOURCE_PORT, .source_port = new_source_port};
	struct nat64_side4 quoted = {.set = REWRITE_DESTINATION_PORT, .destination_port = new_source_port};
	const uint8_t *inner = quoted_header(buffer, ip_offset, tuple);
	memcpy(side.source, source, 4);
	memcpy(side.destination, destination, 4);
	if (inner != NULL)
		memcpy(quoted.source, inner + 8 + 12, 4);
	memcpy(quoted.destination, source, 4);
	return nat64_make4(buffer, ip_offset, tuple, &side, inner == NULL ? NULL : &quoted);
}

bool nat64_to6(struct rte_mbuf *buffer, uint16_t ip_offset, struct tuple *tuple, const uint8_t source[16],
	       const uint8_t destination[16], uint16_t new_destination_port)
{
	struct nat64_side6 side = {.set = REWRITE_DESTINATION_PORT, .destination_port = new_destination_port};
	struct nat64_side6 quoted = {.set = REWRITE_SOURCE_PORT, .source_port = new_destination_port};
	const uint8_t *inner = quoted_header(buffer, ip_offset, tuple);
	memcpy(side.source, source, 16);
	memcpy(side.destination, destination, 16);
	memcpy(quoted.source, destination, 16);
	memcpy(quoted.destination, source, 12);
	if (inner != NULL)
		memcpy(quoted.destination + 12, inner + 16, 4);
	return nat64_make6(buffer, ip_offset, tuple, &side, inner == NULL ? NULL : &quoted);
}
