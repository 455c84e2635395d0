/* What the targets of src/packet share. */
#ifndef FERRITE_FUZZ_PACKET_FUZZ_H
#define FERRITE_FUZZ_PACKET_FUZZ_H

#include <stdlib.h>

#include "engine/packet_world.h"
#include "target.h"

enum { FUZZ_BEFORE = 40, FUZZ_LIMIT = 60000 };

static inline void must(bool condition)
{
	if (!condition)
		abort();
}

static inline void fuzz_world(void)
{
	static bool started;
	if (!started)
		packet_world();
	started = true;
}

/* The packet in memory of exactly its size, of the family given. Free it. */
static inline uint8_t *fuzz_copy(const uint8_t *data, size_t size, uint8_t family)
{
	uint8_t *copy = malloc(size + (size == 0));
	memcpy(copy, data, size);
	if (size > 0 && family != 0)
		copy[0] = (uint8_t)(family << 4 | (copy[0] & 15));
	return copy;
}

/* What a packet that parses promises to whoever reads on. */
static inline void fuzz_promises(const struct tuple *tuple, uint32_t have, uint32_t length)
{
	uint32_t needed = tuple->fragment == FRAGMENT_LATER ? 0 : tuple->fragment == FRAGMENT_FIRST ? 8 :
		tuple->protocol == PROTOCOL_TCP ? 20 : tuple->protocol == PROTOCOL_UDP || tuple->icmp != ICMP_NONE ? 8 : 0;
	must(tuple->family == 4 || tuple->family == 6);
	must(tuple->l4_offset >= (tuple->family == 4 ? 20 : 40) && tuple->l4_offset <= have);
	must(tuple->ip_length >= tuple->l4_offset + needed && tuple->ip_length <= length);
	must(have >= tuple->l4_offset + needed);
	must(tuple->fragment != FRAGMENT_LATER || (tuple->ports == 0 && tuple->icmp == ICMP_NONE));
	must(tuple->fragment != FRAGMENT_WHOLE || tuple->fragment_id == 0);
	must(tuple->family == 6 || (zero16(tuple->addresses + 8) && raw64(tuple->addresses + 24) == 0));
}

/* A buffer by the input's first three bytes: where it is cut in two, what is left to a device; then the packet, of
 * the family given. What lies behind the first segment is poisoned until `fuzz_return`. NULL: no packet. */
struct fuzz_packet {
	struct rte_mbuf *buffer;
	struct tuple tuple;
	uint8_t *bytes;         /* what it was */
	uint32_t length;
	uint8_t *poisoned;
	size_t poisoned_length;
};

static inline bool fuzz_packet(struct fuzz_packet *packet, const uint8_t *data, size_t size, uint8_t family)
{
	fuzz_world();
	if (size < 4 || size > FUZZ_LIMIT)
		return false;
	packet->length = (uint32_t)size - 3;
	packet->bytes = fuzz_copy(data + 3, size - 3, family);
	uint32_t split = data[0] == 0 && size <= SMALL_ROOM - FUZZ_BEFORE ? 0 : 20 + data[0] * 7u;
	packet->buffer = packet_buffer(packet->bytes, packet->length, FUZZ_BEFORE, split);
	uint32_t have = (uint32_t)packet->buffer->data_len - FUZZ_BEFORE;
	if (parse_ip(packet_data(packet->buffer) + FUZZ_BEFORE, have, packet->length, &packet->tuple) != PARSE_OK ||
	    packet->tuple.ip_length != packet->length) { /* trimmed by whoever calls */
		rte_pktmbuf_free(packet->buffer);
		free(packet->bytes);
		return false;
	}
	fuzz_promises(&packet->tuple, have, packet->length);
	if ((data[1] & 1) != 0)
		packet_of(packet->buffer)->offload = (struct offload){
			.needs_checksum = 1, .gso = (uint8_t)(data[1] & 0x85), .gso_size = 100, .checksum_offset = 16,
			.checksum_start = data[2] == 0 ? packet->tuple.l4_offset : data[2], .header_length = data[2]};
	packet->poisoned = packet_data(packet->buffer) + packet->buffer->data_len;
	packet->poisoned_length = (size_t)((uint8_t *)packet->buffer->buf_addr + packet->buffer->buf_len - packet->poisoned);
	ASAN_POISON_MEMORY_REGION(packet->poisoned, packet->poisoned_length);
	return true;
}

static inline bool fuzz_unchanged(const struct fuzz_packet *packet)
{
	uint32_t length;
	return memcmp(packet_taken(packet->buffer, FUZZ_BEFORE, &length), packet->bytes, packet->length) == 0 &&
		length == packet->length;
}

static inline void fuzz_return(struct fuzz_packet *packet)
{
	ASAN_UNPOISON_MEMORY_REGION(packet->poisoned, packet->poisoned_length);
	rte_pktmbuf_free(packet->buffer);
	free(packet->bytes);
	must(check_failures == 0);
	must(rte_mempool_in_use_count(buffers.small) == 0 && rte_mempool_in_use_count(buffers.big) == 0);
}

/* Random packets of a family, the same each time; `n` counts kinds. Three bytes before it for `fuzz_packet`. */
static inline size_t fuzz_packet_seed(unsigned n, uint8_t *data, uint8_t family, bool errors)
{
	static uint8_t quoted[4096];
	if (n >= 24)
		return 0;
	packet_seed(n + 1);
	struct shape inner = any_shape(family, 200), shape = {.family = family, .protocol = PROTOCOL_ICMP, .quoted = quoted};
	const uint8_t types4[] = {3, 11, 12, 3}, types6[] = {1, 2, 3, 4};
	memset(data, 0, 3);
	if (n % 3 == 1)
		data[0] = (uint8_t)(20 + chance(20));
	if (n % 6 == 2)
		data[1] = family == 4 ? 1 : 5;
	if (!errors && n < 16)
		return 3 + packet_make(data + 3, &inner);
	shape.payload = packet_make(quoted, &inner);
	shape.icmp_type = family == 4 ? types4[n % 4] : types6[n % 4];
	shape.icmp_code = (uint8_t)(n % 4 == 3 ? 4 * (family == 4) : 0);
	shape.rest = family == 4 && n % 4 == 2 ? 8u << 24 : n % 4 == 3 ? 7 : 1400;
	return 3 + packet_make(data + 3, &shape);
}

#endif
