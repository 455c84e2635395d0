/* Software segmentation, fragmentation and checksums, and neighbour discovery of an eth uplink. */
#include "port/link.h"
#include "port/segment.h"
#include "control/check.h"
#include "world.h"

static uint8_t plain[FRAME_ROOM];
static struct {
	struct segment pieces[SEGMENT_LIMIT + 1];
	unsigned count;
} out;

static struct segment *next(void *context)
{
	return out.count == SEGMENT_LIMIT ? NULL : &out.pieces[out.count++];
}

static uint32_t flatten(const struct segment *piece, uint8_t *to)
{
	uint32_t at = piece->head_length;
	memcpy(to, piece->head, at);
	for (unsigned i = 0; i < piece->slice_count; i++) {
		memcpy(to + at, piece->slices[i].iov_base, piece->slices[i].iov_len);
		at += (uint32_t)piece->slices[i].iov_len;
	}
	return at;
}

/* An outer packet around TCP with `payload` bytes; checksum left to the device, as a guest does it. */
static struct rte_mbuf *tcp_packet(bool v4, uint32_t payload, uint16_t gso_size)
{
	uint32_t header = v4 ? 20 : 40, l4 = 40 + header, total = l4 + 32 + payload;
	memset(plain, 0, l4 + 32);
	store32(plain, 0x60012345);
	store16(plain + 4, total - 40);
	plain[6] = v4 ? 4 : 41;
	plain[7] = 64;
	uint8_t *ip = plain + 40;
	if (v4) {
		memcpy(ip, (const uint8_t[]){0x45, 0, 0, 0, 1, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}, 20);
		store16(ip + 2, total - 40);
		checksum_ipv4((struct ipv4_header *)(void *)ip, 20);
	} else {
		ip[0] = 0x60;
		store16(ip + 4, 32 + payload);
		ip[6] = 6;
		ip[8] = ip[24] = 0x20;
	}
	store32(plain + l4 + 4, 0xfffffff0); /* the sequence wraps */
	plain[l4 + 12] = 0x80;
	plain[l4 + 13] = 0x99; /* CWR ACK PSH FIN */
	for (uint32_t i = 0; i < payload; i++)
		plain[l4 + 32 + i] = (uint8_t)(i * 7);
	uint64_t pseudo = v4 ? checksum_pseudo4((struct ipv4_header *)(void *)ip, 6, 32 + payload) :
			       checksum_pseudo6((struct ipv6_header *)(void *)ip, 6, 32 + payload);
	uint16_t partial = checksum_fold(pseudo);
	memcpy(plain + l4 + 16, &partial, 2);
	struct rte_mbuf *buffer = rte_pktmbuf_alloc(buffers.small);
	CHECK(packet_copy_in(buffer, plain, total));
	packet_of(buffer)->ip_offset = 40;
	packet_of(buffer)->offload = (struct offload){
		.needs_checksum = 1, .gso = gso_size == 0 ? GSO_NONE : v4 ? GSO_TCP4 : GSO_TCP6, .gso_size = gso_size,
		.checksum_start = (uint16_t)header, .checksum_offset = 16,
	};
	return buffer;
}

static void a_super_packet_becomes_segments_that_add_up(void)
{
	static uint8_t piece[FRAME_ROOM];
	const uint32_t payloads[] = {1, 1448, 1449, 2896, 10001, 60000};
	for (unsigned i = 0; i < 12; i++) {
		bool v4 = i % 2 == 0;
		uint32_t payload = payloads[i / 2], l4 = v4 ? 60 : 80, done = 0;
		struct rte_mbuf *buffer = tcp_packet(v4, payload, 1428);
		out.count = 0;
		CHECK(segment_packet(buffer, 1600, next, NULL));
		CHECK_NUMBER(out.count, (payload + 1427) / 1428);
		for (unsigned j = 0; j < out.count; j++) {
			uint32_t length = flatten(&out.pieces[j], piece), part = length - l4 - 32;
			bool last = j + 1 == out.count;
			CHECK_NUMBER(part, last ? payload - done : 1428);
			CHECK_NUMBER(load16(piece + 4), length - 40);
			CHECK(frame_checks(piece + 40, length - 40));
			CHECK_NUMBER(load32(piece + l4 + 4), (uint32_t)(0xfffffff0u + done));
			CHECK_NUMBER(piece[l4 + 13], (j == 0 ? 0x80 : 0) | 0x10 | (last ? 0x09 : 0));
			CHECK(memcmp(piece + l4 + 32, plain + l4 + 32 + done, part) == 0);
			done += part;
		}
		CHECK_NUMBER(done, payload);
		rte_pktmbuf_free(buffer);
	}
}

static void a_partial_checksum_is_completed(void)
{
	static uint8_t piece[FRAME_ROOM];
	for (uint32_t payload = 0; payload < 1400; payload += 77) {
		struct rte_mbuf *buffer = tcp_packet(payload % 2 == 0, payload, 0);
		out.count = 0;
		CHECK(segment_packet(buffer, 1600, next, NULL));
		CHECK_NUMBER(out.count, 1);
		uint32_t length = flatten(&out.pieces[0], piece);
		CHECK(frame_checks(piece + 40, length - 40));
		rte_pktmbuf_free(buffer);
	}
}

static void a_long_packet_that_may_be_fragmented_is(void)
{
	static uint8_t piece[FRAME_ROOM], whole[FRAME_ROOM];
	struct rte_mbuf *buffer = tcp_packet(true, 5000, 0);
	packet_data(buffer)[40 + 6] = 0; /* may be fragmented */
	out.count = 0;
	CHECK(segment_packet(buffer, 1500, next, NULL));
	CHECK_NUMBER(out.count, 4);
	uint32_t done = 0;
	for (unsigned i = 0; i < out.count; i++) {
		uint32_t length = flatten(&out.pieces[i], piece), flags = load16(piece + 46);
		CHECK(length <= 1500);
		CHECK_NUMBER((flags & 0x1fff) * 8, done);
		CHECK_NUMBER(flags & 0x2000, i + 1 < out.count ? 0x2000 : 0);
		CHECK_NUMBER(checksum_fold(checksum_add(0, piece + 40, 20)), 0xffff);
		memcpy(whole + 60 + done, piece + 60, length - 60);
		done += length - 60;
	}
	CHECK_NUMBER(done, 5032);
	memcpy(whole + 40, plain + 40, 20);
	store16(whole + 46, 0);
	checksum_ipv4((struct ipv4_header *)(void *)(whole + 40), 20);
	CHECK(frame_checks(whole + 40, 20 + done));
	rte_pktmbuf_free(buffer);
	buffer = tcp_packet(true, 5000, 0); /* must not be */
	CHECK(!segment_packet(buffer, 1500, next, NULL));
	rte_pktmbuf_free(buffer);
}

static void claims_that_cannot_be_are_refused(void)
{
	struct rte_mbuf *buffer = tcp_packet(true, 60000, 1);
	out.count = 0;
	CHECK(!segment_packet(buffer, 1600, next, NULL)); /* too many pieces */
	packet_of(buffer)->offload.gso_size = 9000;
	CHECK(!segment_packet(buffer, 1600, next, NULL)); /* a piece too long for the link */
	packet_of(buffer)->offload.gso_size = 1000;
	packet_data(buffer)[60 + 12] = 0x10;
	CHECK(!segment_packet(buffer, 1600, next, NULL)); /* a TCP header of four bytes */
	CHECK_NUMBER(out.count, 0);
	rte_pktmbuf_free(buffer);
	struct offload offload;
	struct vnet_header vnet = {.flags = 1, .checksum_start = 100, .checksum_offset = 16};
	CHECK(!offload_read(&offload, &vnet, 14, 117));
	CHECK(offload_read(&offload, &vnet, 14, 118));
	vnet.checksum_start = 13;
	CHECK(!offload_read(&offload, &vnet, 14, 118));
	vnet = (struct vnet_header){.gso_type = 1, .gso_size = 1000};
	CHECK(!offload_read(&offload, &vnet, 14, 118));
}

static void two_links_find_each_other(void)
{
	static struct link_table a, b;
	uint8_t frame[LINK_FRAME], answer[LINK_FRAME];
	struct link_entry *resolved;
	a.prefix[1] = 1;
	b.prefix[1] = 2;
	memcpy(a.mac, (const uint8_t[]){2, 0, 0, 0, 0, 1}, 6);
	memcpy(b.mac, (const uint8_t[]){2, 0, 0, 0, 0, 2}, 6);
	const uint8_t at_b[16] = {0, 2, [15] = 7};
	struct link_entry *entry = link_find(&a, at_b, 0);
	CHECK(entry != NULL && !entry->known);
	CHECK_NUMBER(link_solicit(&a, entry, 10, frame), LINK_FRAME);
	CHECK_NUMBER(link_solicit(&a, entry, 11, answer), 0); /* not again so soon */
	CHECK_NUMBER(link_input(&b, frame, LINK_FRAME, 10, answer, &resolved), LINK_FRAME);
	CHECK(memcmp(answer, a.mac, 6) == 0);
	CHECK_NUMBER(link_input(&a, frame, LINK_FRAME, 10, frame, &resolved), 0); /* not asked for us */
	answer[62]++; /* damaged: the checksum does not fit */
	CHECK_NUMBER(link_input(&a, answer, LINK_FRAME, 10, frame, &resolved), 0);
	CHECK(resolved == NULL);
	answer[62]--;
	(void)link_input(&a, answer, LINK_FRAME, 10, frame, &resolved);
	CHECK(resolved == entry && entry->known && memcmp(entry->mac, b.mac, 6) == 0);
	uint64_t now = 10;
	for (unsigned i = 0; i <= LINK_TRIES; i++) { /* it is gone: asked again, then forgotten */
		now += LINK_REFRESH_MS;
		CHECK_NUMBER(link_solicit(&a, entry, now, frame), LINK_FRAME);
	}
	CHECK(!entry->known);
}

int main(void)
{
	struct ferrite_engine *host = world_engine(1, "none", 1500);
	RUN(a_super_packet_becomes_segments_that_add_up);
	RUN(a_partial_checksum_is_completed);
	RUN(a_long_packet_that_may_be_fragmented_is);
	RUN(claims_that_cannot_be_are_refused);
	RUN(two_links_find_each_other);
	ferrite_engine_stop(host);
	return CHECK_RESULT();
}
