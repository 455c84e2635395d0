/* Rewrites of an IPv4 packet's addresses and ports, in place, with every checksum that depends on them.
 *
 * Pure: no table, no clock. Checksums are changed by the difference (RFC 1624, equation 3), so a wrong one stays wrong
 * and a packet's payload is never read. Where the checksum is still to be done (offload.needs_checksum) its field holds
 * the pseudo header's sum, and only the addresses change that. UDP's "none" (0) stays. Later fragments have no L4, and a
 * first fragment may be too short for its checksum: then the field is not touched.
 */
#ifndef FERRITE_PACKET_TRANSLATE_H
#define FERRITE_PACKET_TRANSLATE_H

#include "packet/buffer.h"
#include "packet/checksum.h"
#include "packet/parse.h"

enum {
	REWRITE_SOURCE_ADDRESS = 1,
	REWRITE_DESTINATION_ADDRESS = 2,
	REWRITE_SOURCE_PORT = 4,
	REWRITE_DESTINATION_PORT = 8,
};

/* One side of a translation, stored in a flow. 14 bytes. */
struct rewrite {
	uint8_t set;                            /* REWRITE_* */
	uint8_t source[4], destination[4];
	uint16_t source_port, destination_port; /* as in the packet; ICMP echo: identifier in source_port */
};

/* The packet's bytes at `ip` and its tuple, which is not changed. For ICMP echo the identifier is `source_port`, or
 * `destination_port` where only that is set. */
void translate4(uint8_t *ip, const struct tuple *tuple, const struct rewrite *rewrite, const struct offload *offload);

/* An ICMP error: addresses of the error itself by `outer`, addresses and ports of the packet that it quotes by `quoted`
 * (as they stand in it: its source by `source`). Quoted checksums are changed where they are quoted; the ICMP checksum
 * is made anew over all segments. False, and nothing is changed: a fragment, or the quoted packet is damaged. */
bool translate4_error(struct rte_mbuf *buffer, uint16_t ip_offset, const struct tuple *tuple,
		      const struct rewrite *outer, const struct rewrite *quoted);

/* What becomes of the sum of words: the old one out, the new one in; not folded. */
static inline uint32_t rewrite16(uint8_t *at, uint16_t value)
{
	uint16_t old;
	memcpy(&old, at, sizeof old);
	memcpy(at, &value, sizeof value);
	return (uint32_t)(uint16_t)~old + value;
}

static inline uint32_t rewrite32(uint8_t *at, const uint8_t value[4])
{
	uint32_t old = ~raw32(at), new = raw32(value);
	memcpy(at, &new, sizeof new);
	return (old & 0xffff) + (old >> 16) + (new & 0xffff) + (new >> 16);
}

static inline uint32_t rewrite_addresses(uint8_t *ip, const struct rewrite *rewrite)
{
	uint32_t delta = 0;
	if ((rewrite->set & REWRITE_SOURCE_ADDRESS) != 0)
		delta += rewrite32(ip + 12, rewrite->source);
	if ((rewrite->set & REWRITE_DESTINATION_ADDRESS) != 0)
		delta += rewrite32(ip + 16, rewrite->destination);
	checksum_apply(ip + 10, delta);
	return delta;
}

static inline uint32_t rewrite_ports(uint8_t *l4, const struct rewrite *rewrite)
{
	uint32_t delta = 0;
	if ((rewrite->set & REWRITE_SOURCE_PORT) != 0)
		delta += rewrite16(l4, rewrite->source_port);
	if ((rewrite->set & REWRITE_DESTINATION_PORT) != 0)
		delta += rewrite16(l4 + 2, rewrite->destination_port);
	return delta;
}

/* As `translate4`, of a whole packet of TCP or UDP, with IP header of `l4 - ip` bytes and all checksums done. */
static inline void translate4_plain(uint8_t *ip, uint8_t *l4, bool tcp, const struct rewrite *rewrite)
{
	uint32_t delta = rewrite_addresses(ip, rewrite) + rewrite_ports(l4, rewrite);
	if (tcp)
		checksum_apply(l4 + 16, delta);
	else
		checksum_apply_udp(l4 + 6, delta);
}

#endif
