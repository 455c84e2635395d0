/* Does in software what an uplink without offloads cannot: completes a partial checksum, cuts a super-packet into
 * TCP segments and a long IPv4 packet that may be fragmented into fragments, each in its own outer header.
 *
 * Pure but for completing checksums in place: hands out pieces as headers (copied and edited) and slices of the
 * payload (not copied). Bounded: SEGMENT_LIMIT pieces a packet; what would need more is refused.
 */
#ifndef FERRITE_PORT_SEGMENT_H
#define FERRITE_PORT_SEGMENT_H

#include <sys/uio.h>

#include "packet/buffer.h"

enum {
	SEGMENT_LIMIT = 256,
	SEGMENT_HEAD = 192, /* outer, inner and TCP header: at most 40 + 60 + 60 */
	SEGMENT_SLICES = 3,
};

struct segment {
	uint8_t head[SEGMENT_HEAD];
	uint32_t head_length;
	struct iovec slices[SEGMENT_SLICES];
	unsigned slice_count;
};

/* The place for the next piece; called again after each. NULL: no more room, the rest is dropped. */
typedef struct segment *segment_next(void *context);

/* `buffer`: an outer IPv6 packet (ip_offset 40), a frame (14) or a plain packet (0). `limit`: bytes of the longest
 * piece, all of it. False: it cannot be sent. */
bool segment_packet(struct rte_mbuf *buffer, uint32_t limit, segment_next *next, void *context);

#endif
