/* RST, unreachable and echo replies, made from the packet that they answer. */
#include "engine/packet_world.h"
#include "packet/answer.h"

static uint8_t bytes[PACKET_ROOM];
static const uint8_t source4[4] = {198, 51, 100, 1}, source6[16] = {0x20, 1, [15] = 0x77};

enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

static bool from_answered(const uint8_t *answer, const uint8_t *packet)
{
	unsigned at = answer[0] >> 4 == 4 ? 12 : 8, size = answer[0] >> 4 == 4 ? 4 : 16;
	return memcmp(answer + at, packet + at + size, size) == 0 && memcmp(answer + at + size, packet + at, size) == 0;
}

static void a_reset_fits_the_connection(void)
{
	for (unsigned i = 0; i < 10000; i++) {
		uint8_t family = i % 2 ? 4 : 6;
		struct shape shape = any_shape(family, i % 50 == 0 ? 60000 : 60);
		shape.protocol = PROTOCOL_TCP;
		shape.tcp_flags &= (uint8_t)~RST;
		uint32_t length = packet_make(bytes, &shape), got, header = family == 4 ? 20 : 40;
		struct tuple tuple = tuple_of(bytes, length);
		struct rte_mbuf *buffer = packet_buffer(bytes, length, 40, length > 1900 || chance(2) ? tuple.l4_offset + 20u : 0);
		packet_of(buffer)->offload = (struct offload){.needs_checksum = 1, .gso = GSO_TCP4, .gso_size = 100};
		CHECK(answer_reset(buffer, 40, &tuple));
		uint8_t *ip = packet_taken(buffer, 40, &got), *tcp = ip + header;
		const uint8_t *was = bytes + tuple.l4_offset;
		CHECK_NUMBER(got, header + 20);
		CHECK_NUMBER(buffer->nb_segs, 1);
		CHECK(packet_good(ip, got) && from_answered(ip, bytes));
		CHECK_NUMBER(ip[family == 4 ? 8 : 7], 64);
		CHECK(memcmp(tcp, was + 2, 2) == 0 && memcmp(tcp + 2, was, 2) == 0);
		if (shape.tcp_flags & ACK) {
			CHECK_NUMBER(tcp[13], RST);
			CHECK_NUMBER(load32(tcp + 4), load32(was + 8));
			CHECK_NUMBER(load32(tcp + 8), 0);
		} else {
			uint32_t taken = shape.payload + ((shape.tcp_flags & SYN) != 0) + ((shape.tcp_flags & FIN) != 0);
			CHECK_NUMBER(tcp[13], RST | ACK);
			CHECK_NUMBER(load32(tcp + 4), 0);
			CHECK_NUMBER(load32(tcp + 8), load32(was + 4) + taken);
		}
		CHECK_NUMBER(packet_of(buffer)->offload.needs_checksum, 0);
		CHECK_NUMBER(packet_of(buffer)->offload.gso, 0);
		rte_pktmbuf_free(buffer);
	}
	packet_no_leak();
}

static void a_reset_is_not_answered(void)
{
	struct shape shape = {.family = 4, .protocol = PROTOCOL_TCP, .tcp_flags = RST | ACK};
	for (unsigned i = 0; i < 4; i++) {
		shape.tcp_flags = i == 0 ? RST | ACK : SYN;
		shape.fragment = i == 1 ? 0x2000 : 0;
		uint32_t length = packet_make(bytes, &shape);
		if (i == 2)
			bytes[32] = 0x40; /* a header of sixteen bytes */
		if (i == 3)
			bytes[32] = 0xf0; /* of sixty, in forty */
		struct tuple tuple = tuple_of(bytes, length);
		struct rte_mbuf *buffer = packet_buffer(bytes, length, 14, 0);
		CHECK(!answer_reset(buffer, 14, &tuple));
		CHECK(memcmp(packet_data(buffer) + 14, bytes, length) == 0);
		rte_pktmbuf_free(buffer);
	}
}

static void an_error_quotes_what_it_is_about(void)
{
	for (unsigned i = 0; i < 10000; i++) {
		uint8_t family = i % 2 ? 4 : 6;
		struct shape shape = any_shape(family, i % 50 == 0 ? 60000 : 1800);
		uint32_t length = packet_make(bytes, &shape), got, header = family == 4 ? 20 : 40;
		struct tuple tuple = tuple_of(bytes, length);
		uint32_t split = length > 1900 || chance(2) ? 100u + chance(1500) : 0;
		split = split < tuple.l4_offset + 20u ? 0 : split;
		if (split == 0 && length > 1900)
			continue;
		uint32_t first = split == 0 || split > length ? length : split, limit = family == 4 ? 548 : 1232;
		struct rte_mbuf *buffer = packet_buffer(bytes, length, 14, split);
		CHECK(answer_unreachable(buffer, 14, &tuple, family == 4 ? 3 : 1, family == 4 ? 13 : 1, 0x01020304,
					 family == 4 ? source4 : source6));
		uint8_t *ip = packet_taken(buffer, 14, &got);
		uint32_t quoted = first < limit ? first : limit;
		CHECK_NUMBER(got, header + 8 + quoted);
		CHECK(memcmp(ip + header + 8, bytes, quoted) == 0);
		CHECK(packet_good(ip, got));
		CHECK(memcmp(ip + (family == 4 ? 12 : 8), family == 4 ? source4 : source6, family == 4 ? 4 : 16) == 0);
		CHECK(memcmp(ip + (family == 4 ? 16 : 24), bytes + (family == 4 ? 12 : 8), family == 4 ? 4 : 16) == 0);
		CHECK_NUMBER(ip[header], family == 4 ? 3 : 1);
		CHECK_NUMBER(ip[header + 1], family == 4 ? 13 : 1);
		CHECK_NUMBER(load32(ip + header + 4), 0x01020304);
		CHECK_NUMBER(ip[family == 4 ? 8 : 7], 64);
		rte_pktmbuf_free(buffer);
	}
	packet_no_leak();
}

static void there_is_no_error_about_an_error_a_later_fragment_or_a_group(void)
{
	for (unsigned i = 0; i < 10; i++) {
		uint8_t family = i % 2 ? 4 : 6;
		struct shape shape = {.family = family, .protocol = PROTOCOL_UDP, .payload = 50};
		if (i == 0 || i == 1) {
			shape.protocol = PROTOCOL_ICMP;
			shape.icmp_type = family == 4 ? 11 : 1;
		}
		shape.fragment = i == 3 ? 0x0010 : 0;
		uint32_t length = packet_make(bytes, &shape);
		if (i == 2) { /* an error of a kind yet unknown */
			bytes[6] = PROTOCOL_ICMPV6;
			bytes[40] = 100;
		}
		if (i == 4)
			bytes[24] = 0xff;
		if (i == 5)
			bytes[16] = 230;
		if (i == 6)
			memset(bytes + 8, 0, 16);
		if (i == 7)
			bytes[12] = 0;
		if (i == 8)
			bytes[8] = 0xff;
		if (i == 9)
			bytes[12] = 255;
		struct tuple tuple = tuple_of(bytes, length);
		struct rte_mbuf *buffer = packet_buffer(bytes, length, 14, 0);
		CHECK(!answer_unreachable(buffer, 14, &tuple, 3, 1, 0, source6));
		CHECK(buffer->pkt_len == length + 14 && memcmp(packet_data(buffer) + 14, bytes, length) == 0);
		rte_pktmbuf_free(buffer);
	}
	packet_no_leak();
}

static void an_echo_comes_back_with_all_that_was_sent(void)
{
	for (unsigned i = 0; i < 5000; i++) {
		uint8_t family = i % 2 ? 4 : 6;
		struct shape shape = {.family = family, .protocol = PROTOCOL_ICMP, .icmp_type = family == 4 ? 8 : 128,
				      .payload = chance(i % 50 == 0 ? 60000 : 100), .options = (uint8_t)chance(8)};
		uint32_t length = packet_make(bytes, &shape), got;
		struct tuple tuple = tuple_of(bytes, length);
		struct rte_mbuf *buffer = packet_buffer(bytes, length, 40, length > 1900 || chance(2) ? tuple.l4_offset + 8u + chance(30) : 0);
		CHECK(answer_echo(buffer, 40, &tuple));
		uint8_t *ip = packet_taken(buffer, 40, &got), *icmp = ip + tuple.l4_offset;
		CHECK_NUMBER(got, length);
		CHECK(packet_good(ip, got) && from_answered(ip, bytes));
		CHECK_NUMBER(icmp[0], family == 4 ? 0 : 129);
		CHECK_NUMBER(ip[family == 4 ? 8 : 7], 64);
		CHECK(memcmp(icmp + 4, bytes + tuple.l4_offset + 4, shape.payload + 4) == 0);
		rte_pktmbuf_free(buffer);
	}
	packet_no_leak();
}

static void only_a_whole_echo_request_is_answered(void)
{
	for (unsigned i = 0; i < 4; i++) {
		struct shape shape = {.family = i == 3 ? 6 : 4, .protocol = PROTOCOL_ICMP, .icmp_type = 8, .payload = 20};
		shape.icmp_type = i == 0 ? 0 : i == 3 ? 129 : 8;
		shape.icmp_code = i == 1;
		shape.fragment = i == 2 ? 0x2000 : 0;
		uint32_t length = packet_make(bytes, &shape);
		struct tuple tuple = tuple_of(bytes, length);
		struct rte_mbuf *buffer = packet_buffer(bytes, length, 14, 0);
		CHECK(!answer_echo(buffer, 14, &tuple));
		CHECK(memcmp(packet_data(buffer) + 14, bytes, length) == 0);
		rte_pktmbuf_free(buffer);
	}
}

int main(void)
{
	packet_world();
	packet_seed(4);
	RUN(a_reset_fits_the_connection);
	RUN(a_reset_is_not_answered);
	RUN(an_error_quotes_what_it_is_about);
	RUN(there_is_no_error_about_an_error_a_later_fragment_or_a_group);
	RUN(an_echo_comes_back_with_all_that_was_sent);
	RUN(only_a_whole_echo_request_is_answered);
	return CHECK_RESULT();
}
