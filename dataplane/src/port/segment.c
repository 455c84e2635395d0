#include "port/segment.h"

#include "packet/checksum.h"

/* Bytes [offset, offset + length) of the packet as slices; 0: it has no such bytes or too many parts. */
static unsigned slice(const struct rte_mbuf *buffer, uint32_t offset, uint32_t length, struct iovec slices[SEGMENT_SLICES])
{
	unsigned count = 0;
	for (const struct rte_mbuf *at = buffer; at != NULL && length > 0; at = at->next) {
		if (offset >= at->data_len) {
			offset -= at->data_len;
			continue;
		}
		uint32_t part = at->data_len - offset < length ? at->data_len - offset : length;
		if (count == SEGMENT_SLICES)
			return 0;
		slices[count++] = (struct iovec){packet_data(at) + offset, part};
		length -= part;
		offset = 0;
	}
	return length == 0 ? count : 0;
}

static uint64_t sum_slices(uint64_t sum, const struct iovec *slices, unsigned count)
{
	size_t done = 0;
	for (unsigned i = 0; i < count; i++) {
		sum = done % 2 == 0 ? checksum_add(sum, slices[i].iov_base, slices[i].iov_len) :
				      checksum_add_odd(sum, slices[i].iov_base, slices[i].iov_len);
		done += slices[i].iov_len;
	}
	return sum;
}

/* The field holds the pseudo header's sum; the rest of the sum is over all from `start`. */
static bool complete_checksum(struct rte_mbuf *buffer)
{
	struct packet *packet = packet_of(buffer);
	uint32_t start = (uint32_t)packet->ip_offset + packet->offload.checksum_start;
	uint32_t field = start + packet->offload.checksum_offset;
	struct iovec slices[SEGMENT_SLICES];
	if (field + 2 > buffer->data_len || start >= buffer->pkt_len)
		return false;
	unsigned count = slice(buffer, start, buffer->pkt_len - start, slices);
	if (count == 0)
		return false;
	checksum_put_udp(packet_data(buffer) + field, sum_slices(0, slices, count));
	packet->offload.needs_checksum = 0;
	return true;
}

static bool whole(struct rte_mbuf *buffer, segment_next *next, void *context)
{
	struct segment *piece = next(context);
	if (piece == NULL)
		return false;
	piece->head_length = 0;
	piece->slice_count = slice(buffer, 0, buffer->pkt_len, piece->slices);
	return piece->slice_count > 0;
}

/* Lengths in the header behind `prefix` bytes, of a packet of `length`, and in the outer one where there is one. */
static void set_lengths(uint8_t *head, uint32_t prefix, bool v4, uint32_t length)
{
	if (prefix == IPV6_LENGTH)
		store16(head + 4, length);
	if (v4)
		store16(head + prefix + 2, length);
	else
		store16(head + prefix + 4, length - IPV6_LENGTH);
}

/* The next piece: the packet's first `head` bytes, then `part` bytes of its payload from `done`. NULL: there is none. */
static struct segment *begin_piece(struct rte_mbuf *buffer, uint32_t head, uint32_t done, uint32_t part,
				   segment_next *next, void *context)
{
	struct segment *piece = next(context);
	if (piece == NULL)
		return NULL;
	memcpy(piece->head, packet_data(buffer), head);
	piece->head_length = head;
	piece->slice_count = slice(buffer, head + done, part, piece->slices);
	return piece->slice_count == 0 ? NULL : piece;
}

static bool cut_tcp(struct rte_mbuf *buffer, uint32_t limit, segment_next *next, void *context)
{
	const struct packet *packet = packet_of(buffer);
	uint32_t prefix = packet->ip_offset;
	const uint8_t *data = packet_data(buffer), *inner = data + prefix;
	bool v4 = (packet->offload.gso & ~GSO_ECN) == GSO_TCP4;
	uint32_t ip_header = IPV6_LENGTH;
	if (buffer->data_len < prefix + IPV6_LENGTH || inner[0] >> 4 != (v4 ? 4 : 6))
		return false;
	if (v4)
		ip_header = (inner[0] & 15u) * 4;
	uint32_t l4 = prefix + ip_header;
	if (ip_header < IPV4_LENGTH || inner[v4 ? 9 : 6] != PROTOCOL_TCP || buffer->data_len < l4 + TCP_LENGTH)
		return false;
	uint32_t tcp_header = (data[l4 + 12] >> 4) * 4u, head = l4 + tcp_header;
	if (tcp_header < TCP_LENGTH || buffer->data_len < head || head > SEGMENT_HEAD || buffer->pkt_len <= head)
		return false;
	uint32_t payload = buffer->pkt_len - head, size = packet->offload.gso_size;
	if (head + size > limit || (payload + size - 1) / size > SEGMENT_LIMIT)
		return false;
	uint32_t sequence = load32(data + l4 + 4);
	uint16_t id = load16(inner + 4);
	for (uint32_t done = 0; done < payload; done += size, id++) {
		uint32_t part = payload - done < size ? payload - done : size;
		struct segment *piece = begin_piece(buffer, head, done, part, next, context);
		if (piece == NULL)
			return false;
		set_lengths(piece->head, prefix, v4, ip_header + tcp_header + part);
		uint8_t *ip = piece->head + prefix, *tcp = piece->head + l4;
		uint64_t pseudo;
		if (v4) {
			store16(ip + 4, id);
			checksum_ipv4((struct ipv4_header *)(void *)ip, ip_header);
			pseudo = checksum_pseudo4((struct ipv4_header *)(void *)ip, PROTOCOL_TCP, tcp_header + part);
		} else {
			pseudo = checksum_pseudo6((struct ipv6_header *)(void *)ip, PROTOCOL_TCP, tcp_header + part);
		}
		store32(tcp + 4, sequence + done);
		if (done + part < payload)
			tcp[13] &= (uint8_t)~0x09; /* FIN, PSH: the last one only */
		if (done > 0)
			tcp[13] &= (uint8_t)~0x80; /* CWR: the first one only */
		memset(tcp + 16, 0, 2);
		uint64_t sum = checksum_add(pseudo, tcp, tcp_header);
		checksum_put(tcp + 16, sum_slices(sum, piece->slices, piece->slice_count));
	}
	return true;
}

static bool fragment(struct rte_mbuf *buffer, uint32_t limit, segment_next *next, void *context)
{
	uint32_t prefix = packet_of(buffer)->ip_offset;
	const uint8_t *data = packet_data(buffer), *inner = data + prefix;
	if (buffer->data_len < prefix + IPV4_LENGTH || inner[0] >> 4 != 4 || (load16(inner + 6) & 0x4000) != 0)
		return false;
	uint32_t ip_header = (inner[0] & 15u) * 4, head = prefix + ip_header;
	/* Options are repeated in each fragment, which is right for those that are marked so and harmless for others. */
	if (ip_header < IPV4_LENGTH || buffer->data_len < head || limit < head + 8)
		return false;
	uint32_t size = (limit - head) & ~7u, payload = buffer->pkt_len - head, flags = load16(inner + 6);
	for (uint32_t done = 0; done < payload; done += size) {
		uint32_t part = payload - done < size ? payload - done : size;
		struct segment *piece = begin_piece(buffer, head, done, part, next, context);
		if (piece == NULL)
			return false;
		set_lengths(piece->head, prefix, true, ip_header + part);
		uint32_t more = done + part < payload ? 0x2000 : flags & 0x2000;
		store16(piece->head + prefix + 6, more | ((flags & 0x1fff) + done / 8));
		checksum_ipv4((struct ipv4_header *)(void *)(piece->head + prefix), ip_header);
	}
	return true;
}

bool segment_packet(struct rte_mbuf *buffer, uint32_t limit, segment_next *next, void *context)
{
	const struct packet *packet = packet_of(buffer);
	if (packet->offload.gso != GSO_NONE)
		return cut_tcp(buffer, limit, next, context);
	if (packet->offload.needs_checksum && !complete_checksum(buffer))
		return false;
	if (buffer->pkt_len > limit)
		return fragment(buffer, limit, next, context);
	return whole(buffer, next, context);
}
