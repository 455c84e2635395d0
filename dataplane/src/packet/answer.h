/* Answers that are made from the packet being answered, in its own buffer.
 *
 * In: an IP packet at `ip_offset`, any number of segments. Out: the answer as the IP packet at `ip_offset` of the same
 * buffer, to the packet's source, TTL 64, no offload left; what stood before it still does (data_off may have moved).
 * False, and nothing is changed: there is no answer to such a packet. Callers limit the rate.
 */
#ifndef FERRITE_PACKET_ANSWER_H
#define FERRITE_PACKET_ANSWER_H

#include "packet/buffer.h"
#include "packet/parse.h"

enum {
	ANSWER_QUOTE4 = 548,  /* bytes of the quoted packet */
	ANSWER_QUOTE6 = 1232,
	ANSWER_TTL = 64,
};

/* A RST (RFC 9293 3.10.7.1). None to a RST, nor to a fragment. */
bool answer_reset(struct rte_mbuf *buffer, uint16_t ip_offset, const struct tuple *tuple);

/* An ICMP or ICMPv6 error from `source` (4 or 16 bytes) that quotes the packet; `rest`: the four bytes behind the
 * checksum. None about an error, a later fragment, or a packet from or to a group or from nobody. */
bool answer_unreachable(struct rte_mbuf *buffer, uint16_t ip_offset, const struct tuple *tuple, uint8_t type,
			uint8_t code, uint32_t rest, const uint8_t *source);

/* The reply to an echo request, header kept but for addresses and TTL. None to a fragment. All segments stay: a reply
 * is as long as its request. */
bool answer_echo(struct rte_mbuf *buffer, uint16_t ip_offset, const struct tuple *tuple);

#endif
