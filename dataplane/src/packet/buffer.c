#include "packet/buffer.h"

#include <rte_memcpy.h>

struct buffer_pools buffers;

uint32_t packet_copy_out(const struct rte_mbuf *buffer, void *to, uint32_t limit)
{
	uint32_t done = 0;
	for (const struct rte_mbuf *at = buffer; at != NULL; at = at->next) {
		if (at->data_len > limit - done)
			return 0;
		rte_memcpy((uint8_t *)to + done, packet_data(at), at->data_len);
		done += at->data_len;
	}
	return done;
}

bool packet_copy_in(struct rte_mbuf *buffer, const void *from, uint32_t length)
{
	const uint8_t *at = from;
	uint32_t first = length < SMALL_ROOM ? length : SMALL_ROOM;
	uint32_t rest = length - first;
	if (rest > BIG_ROOM)
		return false;
	rte_memcpy(packet_data(buffer), at, first);
	buffer->data_len = (uint16_t)first;
	buffer->pkt_len = length;
	if (rest == 0)
		return true;
	struct rte_mbuf *spill = rte_pktmbuf_alloc(buffers.big);
	if (spill == NULL) {
		buffer->data_len = 0;
		buffer->pkt_len = 0;
		return false;
	}
	rte_memcpy(packet_data(spill), at + first, rest);
	spill->data_len = (uint16_t)rest;
	spill->pkt_len = rest;
	buffer->next = spill;
	buffer->nb_segs = 2;
	return true;
}
