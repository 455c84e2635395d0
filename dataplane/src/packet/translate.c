#include "packet/translate.h"

#include "packet/segments.h"

static void translate_echo(uint8_t *l4, const struct rewrite *rewrite, bool partial)
{
	bool source = (rewrite->set & REWRITE_SOURCE_PORT) != 0;
	if (!source && (rewrite->set & REWRITE_DESTINATION_PORT) == 0)
		return;
	uint32_t delta = rewrite16(l4 + 4, source ? rewrite->source_port : rewrite->destination_port);
	if (!partial)
		checksum_apply_icmp(l4, delta);
}

/* L4 of which `have` bytes are there. `addresses`: what changed in the pseudo header. */
static inline void translate_l4(uint8_t *l4, uint32_t have, const struct tuple *tuple, const struct rewrite *rewrite,
				uint32_t addresses, bool partial)
{
	if (__builtin_expect(tuple->protocol == PROTOCOL_TCP, 1)) {
		uint32_t delta = addresses + rewrite_ports(l4, rewrite);
		if (have < 18)
			return;
		if (partial)
			checksum_apply_partial(l4 + 16, addresses);
		else
			checksum_apply(l4 + 16, delta);
	} else if (tuple->protocol == PROTOCOL_UDP) {
		uint32_t delta = addresses + rewrite_ports(l4, rewrite);
		if (partial)
			checksum_apply_partial(l4 + 6, addresses);
		else
			checksum_apply_udp(l4 + 6, delta);
	} else if (tuple->icmp == ICMP_ECHO) {
		translate_echo(l4, rewrite, partial);
	}
}

void translate4(uint8_t *ip, const struct tuple *tuple, const struct rewrite *rewrite, const struct offload *offload)
{
	uint32_t addresses = rewrite_addresses(ip, rewrite);
	/* A partial checksum elsewhere is that of a packet in a tunnel; the one here is complete then. */
	bool partial = offload->needs_checksum != 0 && offload->checksum_start == tuple->l4_offset;
	if (__builtin_expect(tuple->fragment != FRAGMENT_LATER, 1))
		translate_l4(ip + tuple->l4_offset, (uint32_t)tuple->ip_length - tuple->l4_offset, tuple, rewrite,
			     addresses, partial);
}

bool translate4_error(struct rte_mbuf *buffer, uint16_t ip_offset, const struct tuple *tuple,
		      const struct rewrite *outer, const struct rewrite *quoted)
{
	uint8_t *ip = packet_data(buffer) + ip_offset, *icmp = ip + tuple->l4_offset, *inner = icmp + ICMP_LENGTH;
	uint32_t length = (uint32_t)tuple->ip_length - tuple->l4_offset;
	uint32_t have = segment_have(buffer, ip_offset, tuple->ip_length), head = tuple->l4_offset + (uint32_t)ICMP_LENGTH;
	struct tuple inside;
	if (tuple->family != 4 || tuple->icmp != ICMP_ERROR || tuple->fragment != FRAGMENT_WHOLE || have < head ||
	    buffer->pkt_len < (uint32_t)ip_offset + tuple->ip_length ||
	    parse_quoted(inner, have - head, &inside) != PARSE_OK || inside.family != 4)
		return false;
	uint32_t there = have - head < inside.ip_length ? have - head : inside.ip_length;
	(void)rewrite_addresses(ip, outer);
	uint32_t addresses = rewrite_addresses(inner, quoted);
	if (inside.fragment != FRAGMENT_LATER)
		translate_l4(inner + inside.l4_offset, there - inside.l4_offset, &inside, quoted, addresses, false);
	uint64_t sum = 0;
	memset(icmp + 2, 0, 2);
	(void)checksum_segments(buffer, (uint32_t)ip_offset + tuple->l4_offset, length, &sum);
	checksum_put(icmp + 2, sum);
	packet_of(buffer)->offload.needs_checksum = 0;
	return true;
}
