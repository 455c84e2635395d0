/* What a packet says: family, protocol, addresses, ports, and where its L4 begins.
 *
 * Pure: reads at most the bytes given, and writes a tuple, whole or not at all worth reading. A packet that is
 * PARSE_OK holds, in its first segment, all that the tuple speaks of: the IP header with options or extension headers,
 * and unless it is a later fragment the fixed header of TCP (20), UDP (8), SCTP (12), ICMP and ICMPv6 (8). Only a first
 * fragment may be shorter: it holds at least 8 bytes of L4, whatever the protocol. Who rewrites a packet checks for
 * that, and for nothing else.
 *
 * The common case (IPv4 without options, IPv6 without extension headers, TCP or UDP, no fragment) is inline; all else
 * is `parse_ip_slow`.
 */
#ifndef FERRITE_PACKET_PARSE_H
#define FERRITE_PACKET_PARSE_H

#include "packet/headers.h"

enum {
	PROTOCOL_HOP_BY_HOP = 0,
	PROTOCOL_ROUTING = 43,
	PROTOCOL_ESP = 50,
	PROTOCOL_AH = 51,
	PROTOCOL_NONE = 59,
	PROTOCOL_DESTINATION = 60,
	PROTOCOL_SCTP = 132,

	FRAGMENT_WHOLE = 0,
	FRAGMENT_FIRST = 1,
	FRAGMENT_LATER = 2,

	ICMP_NONE = 0,  /* not ICMP (nor ICMP of the other family), or a later fragment of it */
	ICMP_ECHO = 1,  /* request or reply */
	ICMP_ERROR = 2, /* 3, 4, 5, 11, 12; ICMPv6 1 to 4 */
	ICMP_OTHER = 3,

	EXTENSION_LIMIT = 8, /* IPv6 extension headers in all */
};

/* Cardinality: one per packet in work, on the stack. */
struct tuple {
	uint8_t family, protocol; /* protocol after IPv6 extension headers */
	uint8_t fragment;         /* FRAGMENT_* */
	uint8_t icmp;             /* ICMP_* */
	uint32_t ports;           /* as in the packet: source port, destination port; echo: identifier twice; 0 if none */
	uint8_t addresses[32];    /* IPv4: source [0..3], destination [4..7], rest zero; IPv6: source, destination */
	uint16_t l4_offset;       /* from the start of the IP header */
	uint16_t ip_length;       /* of the whole IP packet */
	uint32_t fragment_id;     /* of a fragment, host order; else 0 */
	uint8_t tcp_flags, icmp_type, icmp_code; /* 0 where there are none */
	uint8_t more;             /* more fragments follow */
	uint32_t spare;           /* 0 */
};
_Static_assert(sizeof(struct tuple) == 56, "as agreed");

enum parse_result { PARSE_OK, PARSE_MALFORMED };

enum parse_result parse_ip_slow(const uint8_t *ip, uint32_t have, uint32_t length, struct tuple *tuple);

/* The packet that an ICMP error quotes, usually cut short: `ip` points behind the ICMP header. Its `ip_length` is what
 * the header says, not what is there. At least the ports (8 bytes of L4) must be there. */
enum parse_result parse_quoted(const uint8_t *ip, uint32_t have, struct tuple *tuple);

/* `have`: bytes readable at `ip` (first segment); `length`: bytes of the packet (all segments), at least `have`. What
 * the header says may be less than `length` (a trailer), never more. */
static inline enum parse_result parse_ip(const uint8_t *ip, uint32_t have, uint32_t length, struct tuple *tuple)
{
	if (__builtin_expect(have >= IPV4_LENGTH + UDP_LENGTH && ip[0] == 0x45, 1)) {
		uint32_t total = load16(ip + 2), need = ip[9] == PROTOCOL_TCP ? 40 : 28;
		if (__builtin_expect((ip[9] == PROTOCOL_TCP || ip[9] == PROTOCOL_UDP) && (ip[6] & 0x3f) == 0 &&
				     ip[7] == 0 && total >= need && have >= need && total <= length, 1)) {
			memset(tuple, 0, sizeof *tuple);
			tuple->family = 4;
			tuple->protocol = ip[9];
			tuple->ports = raw32(ip + IPV4_LENGTH);
			memcpy(tuple->addresses, ip + 12, 8);
			tuple->l4_offset = IPV4_LENGTH;
			tuple->ip_length = (uint16_t)total;
			tuple->tcp_flags = need == 40 ? ip[IPV4_LENGTH + 13] : 0;
			return PARSE_OK;
		}
	} else if (have >= IPV6_LENGTH + UDP_LENGTH && ip[0] >> 4 == 6) {
		uint32_t total = IPV6_LENGTH + (uint32_t)load16(ip + 4), need = ip[6] == PROTOCOL_TCP ? 60 : 48;
		if (__builtin_expect((ip[6] == PROTOCOL_TCP || ip[6] == PROTOCOL_UDP) && total >= need && have >= need &&
				     total <= length && total <= UINT16_MAX, 1)) {
			memset(tuple, 0, 8);
			tuple->family = 6;
			tuple->protocol = ip[6];
			tuple->ports = raw32(ip + IPV6_LENGTH);
			memcpy(tuple->addresses, ip + 8, 32);
			tuple->l4_offset = IPV6_LENGTH;
			tuple->ip_length = (uint16_t)total;
			tuple->fragment_id = 0;
			tuple->tcp_flags = need == 60 ? ip[IPV6_LENGTH + 13] : 0;
			tuple->icmp_type = tuple->icmp_code = tuple->more = 0;
			tuple->spare = 0;
			return PARSE_OK;
		}
	}
	return parse_ip_slow(ip, have, length, tuple);
}

/* Source <-> destination. `out` may be `in`. */
static inline void tuple_flip(const struct tuple *in, struct tuple *out)
{
	struct tuple flipped = *in;
	unsigned size = in->family == 4 ? 4 : 16;
	memcpy(flipped.addresses, in->addresses + size, size);
	memcpy(flipped.addresses + size, in->addresses, size);
	flipped.ports = in->ports << 16 | in->ports >> 16;
	*out = flipped;
}

#endif
