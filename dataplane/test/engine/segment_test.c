/* Software segmentation, fragmentation and checksums, and neighbour discovery of an eth uplink. */
#include "port/coalesce.h"
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

/* Cuts a packet, makes a buffer of each piece, and lets `change` spoil them before they are joined; how many remain. */
static unsigned rejoin(bool v4, uint32_t payload, void (*change)(struct rte_mbuf **burst, unsigned count),
		       struct rte_mbuf *burst[BURST])
{
	static uint8_t piece[FRAME_ROOM];
	struct rte_mbuf *buffer = tcp_packet(v4, payload, 1000);
	packet_data(buffer)[(v4 ? 60 : 80) + 13] = 0x18;
	out.count = 0;
	CHECK(segment_packet(buffer, 1600, next, NULL));
	unsigned count = out.count < BURST ? out.count : BURST;
	for (unsigned i = 0; i < count; i++) {
		burst[i] = rte_pktmbuf_alloc(buffers.small);
		CHECK(packet_copy_in(burst[i], piece, flatten(&out.pieces[i], piece)));
		packet_no_offload(packet_of(burst[i]));
		packet_of(burst[i])->ip_offset = 40;
	}
	rte_pktmbuf_free(buffer);
	if (change != NULL)
		change(burst, count);
	return coalesce(burst, count);
}

static void segments_of_a_burst_become_the_super_packet_again(void)
{
	static uint8_t whole[FRAME_ROOM];
	const uint32_t payloads[] = {1, 1000, 1001, 2999, 30000};
	for (unsigned i = 0; i < 10; i++) {
		struct rte_mbuf *burst[BURST];
		bool v4 = i % 2 == 0;
		uint32_t payload = payloads[i / 2], l4 = v4 ? 60 : 80;
		CHECK_NUMBER(rejoin(v4, payload, NULL, burst), 1);
		uint32_t length = packet_copy_out(burst[0], whole, sizeof whole);
		CHECK_NUMBER(length, l4 + 32 + payload);
		CHECK_NUMBER(load16(whole + 4), length - 40);
		CHECK(memcmp(whole + l4 + 32, plain + l4 + 32, payload) == 0);
		CHECK_NUMBER(whole[l4 + 13], 0x18);
		const struct offload *offload = &packet_of(burst[0])->offload;
		CHECK_NUMBER(offload->gso, payload <= 1000 ? GSO_NONE : v4 ? GSO_TCP4 : GSO_TCP6);
		if (payload > 1000) {
			CHECK(offload->gso_size == 1000 && offload->checksum_start == l4 - 40);
			/* The partial checksum is the pseudo header's: completing it makes it true. */
			uint64_t sum = checksum_add(0, whole + l4, length - l4);
			checksum_put(whole + l4 + 16, sum);
		}
		CHECK(frame_checks(whole + 40, length - 40));
		rte_pktmbuf_free(burst[0]);
	}
}

static void damage(struct rte_mbuf **burst, unsigned count)
{
	packet_data(burst[2])[200] ^= 1;
}

static void lose(struct rte_mbuf **burst, unsigned count)
{
	struct rte_mbuf *second = burst[1];
	burst[1] = burst[4];
	burst[4] = second;
}

static void acknowledge(struct rte_mbuf **burst, unsigned count)
{
	uint8_t *tcp = packet_data(burst[3]) + 60;
	tcp[11]++;
	checksum_replace16(tcp + 16, (uint16_t)(raw32(tcp + 10)) - 0x100, (uint16_t)raw32(tcp + 10));
}

static void segments_that_differ_are_not_joined(void)
{
	struct rte_mbuf *burst[BURST];
	const struct { void (*change)(struct rte_mbuf **, unsigned); unsigned remain; } cases[] = {
		{damage, 3},      /* 0-1, the damaged one, 3-4 */
		{lose, 4},        /* 0, 4 (the last, short), 2-3, 1 */
		{acknowledge, 3}, /* 0-2, 3, 4 */
	};
	for (unsigned i = 0; i < 3; i++) {
		unsigned count = rejoin(true, 4500, cases[i].change, burst);
		CHECK_NUMBER(count, cases[i].remain);
		rte_pktmbuf_free_bulk(burst, count);
	}
	CHECK_NUMBER(rte_mempool_in_use_count(buffers.small), 0);
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
	RUN(segments_of_a_burst_become_the_super_packet_again);
	RUN(segments_that_differ_are_not_joined);
	RUN(claims_that_cannot_be_are_refused);
	RUN(two_links_find_each_other);
	ferrite_engine_stop(host);
	return CHECK_RESULT();
}
