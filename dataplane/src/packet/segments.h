/* Sums and cuts over a buffer that may have several segments. */
#ifndef FERRITE_PACKET_SEGMENTS_H
#define FERRITE_PACKET_SEGMENTS_H

#include "packet/buffer.h"
#include "packet/checksum.h"

/* Adds `length` bytes from `offset` of the packet. False: it has less. */
static inline bool checksum_segments(const struct rte_mbuf *buffer, uint32_t offset, uint32_t length, uint64_t *sum)
{
	uint32_t done = 0;
	for (const struct rte_mbuf *at = buffer; at != NULL && done < length; at = at->next) {
		if (offset >= at->data_len) {
			offset -= at->data_len;
			continue;
		}
		uint32_t part = at->data_len - offset < length - done ? at->data_len - offset : length - done;
		const uint8_t *data = packet_data(at) + offset;
		*sum = done % 2 == 0 ? checksum_add(*sum, data, part) : checksum_add_odd(*sum, data, part);
		done += part;
		offset = 0;
	}
	return done == length;
}

/* Bytes of an IP packet of `ip_length` that are in the first segment. */
static inline uint32_t segment_have(const struct rte_mbuf *buffer, uint32_t ip_offset, uint32_t ip_length)
{
	uint32_t have = buffer->data_len > ip_offset ? buffer->data_len - ip_offset : 0;
	return have < ip_length ? have : ip_length;
}

/* Leaves the first `length` bytes, all in the first segment, with no offload. */
static inline void segments_cut(struct rte_mbuf *buffer, uint32_t length)
{
	if (buffer->next != NULL)
		rte_pktmbuf_free(buffer->next);
	buffer->next = NULL;
	buffer->nb_segs = 1;
	buffer->data_len = (uint16_t)length;
	buffer->pkt_len = length;
	packet_no_offload(packet_of(buffer));
}

/* Cuts off what is behind `length` bytes. False: there are not so many. */
static inline bool segments_trim(struct rte_mbuf *buffer, uint32_t length)
{
	struct rte_mbuf *last = buffer;
	uint32_t left = length;
	uint16_t count = 1;
	for (; left > last->data_len && last->next != NULL; count++) {
		left -= last->data_len;
		last = last->next;
	}
	if (left > last->data_len)
		return false;
	rte_pktmbuf_free(last->next);
	last->next = NULL;
	last->data_len = (uint16_t)left;
	buffer->nb_segs = count;
	buffer->pkt_len = length;
	return true;
}

/* Makes room for `new` bytes of headers at `ip_offset` where there are `old` ones; what stands before them moves along.
 * False, and nothing is changed: no room. */
static inline bool segment_resize(struct rte_mbuf *buffer, uint16_t ip_offset, uint32_t old, uint32_t new)
{
	uint8_t *data = packet_data(buffer);
	if (new > old + rte_pktmbuf_headroom(buffer))
		return false;
	memmove(data + old - new, data, ip_offset);
	buffer->data_off = (uint16_t)(buffer->data_off + old - new);
	buffer->data_len = (uint16_t)(buffer->data_len + new - old);
	buffer->pkt_len += new - old;
	return true;
}

#endif
