/* From IPv6 to IPv4 and back (RFC 7915): TCP, UDP, echo, and ICMP errors with the packet that they quote.
 *
 * Pure but for the buffer: the IP header changes its size, so `data_off` and the lengths move; `packet->ip_offset` is
 * set to the same `ip_offset`, what stood before the header still does, and `tuple` says what the new packet is.
 * `packet->offload` is that of the new packet (GSO type, checksum start); the size of its segments stays, so they are
 * 20 bytes longer as IPv6. `packet`'s other fields are the caller's.
 *
 * New headers: traffic class = TOS, hop limit = TTL; IPv4: identification 0, DF; IPv6: flow label 0. Options and
 * extension headers are left out. Checksums are changed by the difference, but UDP's "none", which IPv6 does not
 * know, is computed. Fragments, other protocols and ICMP without a counterpart: false, and nothing is changed.
 * An error is at most 576 bytes long as IPv4, 1280 as IPv6: more of the quoted packet is cut, and so are
 * extensions (RFC 4884). "Too big" 1500 in IPv6 is 1480 in IPv4; in IPv6 it is at least 1280.
 */
#ifndef FERRITE_PACKET_NAT64_H
#define FERRITE_PACKET_NAT64_H

#include "packet/buffer.h"
#include "packet/parse.h"
#include "packet/translate.h"

/* What a packet becomes. Ports as in the packet, those whose bit is in `set` (REWRITE_SOURCE_PORT, REWRITE_DESTINATION_PORT):
 * 0 is a port like others. Echo: its identifier is the one that is set. */
struct nat64_side4 {
	uint8_t set;
	uint8_t source[4], destination[4];
	uint16_t source_port, destination_port;
};

struct nat64_side6 {
	uint8_t set;
	uint8_t source[16], destination[16];
	uint16_t source_port, destination_port;
};

/* A VM's packet, out through its NAT. An error's quoted packet came in the other direction: its source is the last 32
 * bits of what stands there, its destination becomes `source`, its destination port `new_source_port`. */
bool nat64_to4(struct rte_mbuf *buffer, uint16_t ip_offset, struct tuple *tuple, const uint8_t source[4],
	       const uint8_t destination[4], uint16_t new_source_port);
/* The way back. An error's quoted packet: its source becomes `destination`, its source port `new_destination_port`, its
 * destination the prefix (first 96 bits) of `source` and what stands there. */
bool nat64_to6(struct rte_mbuf *buffer, uint16_t ip_offset, struct tuple *tuple, const uint8_t source[16],
	       const uint8_t destination[16], uint16_t new_destination_port);

/* The same with both ports (virtual services), and the quoted packet's side given; NULL: an error is refused. */
bool nat64_make4(struct rte_mbuf *buffer, uint16_t ip_offset, struct tuple *tuple, const struct nat64_side4 *side,
		 const struct nat64_side4 *quoted);
bool nat64_make6(struct rte_mbuf *buffer, uint16_t ip_offset, struct tuple *tuple, const struct nat64_side6 *side,
		 const struct nat64_side6 *quoted);

#endif
