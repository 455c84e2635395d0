/* What a packet says. */
#include <stdlib.h>

#include "engine/packet_world.h"
#include "packet/murmur.h"

static uint8_t bytes[PACKET_ROOM];

static void the_common_case_says_what_the_long_way_says(void)
{
	for (unsigned i = 0; i < 20000; i++) {
		struct shape shape = any_shape(i % 2 ? 4 : 6, 100);
		uint32_t length = packet_make(bytes, &shape), trailer = chance(20);
		struct tuple fast, slow;
		CHECK_NUMBER(parse_ip(bytes, length + trailer, length + trailer, &fast), PARSE_OK);
		CHECK_NUMBER(parse_ip_slow(bytes, length + trailer, length + trailer, &slow), PARSE_OK);
		CHECK(memcmp(&fast, &slow, sizeof fast) == 0);
		CHECK_NUMBER(fast.ip_length, length);
		CHECK_NUMBER(fast.family, shape.family);
		CHECK(memcmp(fast.addresses, bytes + (shape.family == 4 ? 12 : 8), shape.family == 4 ? 8 : 32) == 0);
		const uint8_t *l4 = bytes + fast.l4_offset;
		if (shape.protocol == PROTOCOL_ICMP) {
			CHECK_NUMBER(fast.icmp, ICMP_ECHO);
			CHECK(memcmp(&fast.ports, l4 + 4, 2) == 0 && memcmp((uint8_t *)&fast.ports + 2, l4 + 4, 2) == 0);
		} else {
			CHECK_NUMBER(fast.ports, raw32(l4));
			CHECK_NUMBER(fast.tcp_flags, shape.protocol == PROTOCOL_TCP ? shape.tcp_flags : 0);
		}
	}
}

/* Each cut in memory of exactly that size: a sanitizer sees a byte too many. */
static void a_packet_cut_anywhere_is_read_no_further(void)
{
	for (unsigned i = 0; i < 300; i++) {
		struct shape shape = any_shape(i % 2 ? 4 : 6, 10);
		uint32_t length = packet_make(bytes, &shape);
		for (uint32_t have = 0; have <= length; have++) {
			uint8_t *copy = malloc(have + (have == 0));
			struct tuple tuple;
			memcpy(copy, bytes, have);
			CHECK_NUMBER(parse_ip(copy, have, have, &tuple), have == length ? PARSE_OK : PARSE_MALFORMED);
			(void)parse_quoted(copy, have, &tuple);
			free(copy);
		}
	}
}

static void a_longer_packet_than_its_buffer_is_malformed(void)
{
	struct shape shape = {.family = 4, .protocol = PROTOCOL_UDP, .payload = 10};
	struct tuple tuple;
	uint32_t length = packet_make(bytes, &shape);
	store16(bytes + 2, length + 1);
	CHECK_NUMBER(parse_ip(bytes, length, length, &tuple), PARSE_MALFORMED);
	shape.family = 6;
	length = packet_make(bytes, &shape);
	store16(bytes + 4, length - IPV6_LENGTH + 1);
	CHECK_NUMBER(parse_ip(bytes, length, length, &tuple), PARSE_MALFORMED);
	store16(bytes + 4, UINT16_MAX);
	CHECK_NUMBER(parse_ip(bytes, sizeof bytes, sizeof bytes, &tuple), PARSE_MALFORMED);
}

static void a_header_that_is_shorter_than_it_must_be_is_malformed(void)
{
	const struct {
		uint8_t family, protocol, least;
	} cases[] = {{4, 6, 20}, {4, 17, 8}, {4, 132, 12}, {4, 1, 8}, {4, 58, 0}, {4, 47, 0},
		     {6, 6, 20}, {6, 17, 8}, {6, 132, 12}, {6, 58, 8}, {6, 1, 0}, {6, 50, 0}, {6, 51, 0}, {6, 59, 0}};
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct shape shape = {.family = cases[i].family, .protocol = PROTOCOL_TCP, .payload = 20};
		uint32_t header = cases[i].family == 4 ? 20 : 40;
		struct tuple tuple;
		(void)packet_make(bytes, &shape);
		bytes[shape.family == 4 ? 9 : 6] = cases[i].protocol;
		for (uint32_t l4 = 0; l4 < 30; l4++) {
			store16(bytes + (shape.family == 4 ? 2 : 4), shape.family == 4 ? header + l4 : l4);
			CHECK_NUMBER(parse_ip(bytes, header + l4, header + l4, &tuple),
				     l4 >= cases[i].least ? PARSE_OK : PARSE_MALFORMED);
			if (l4 >= cases[i].least && cases[i].least == 0)
				CHECK(tuple.ports == 0 && tuple.icmp == ICMP_NONE && tuple.protocol == cases[i].protocol);
		}
	}
}

static void icmp_is_echo_error_or_other(void)
{
	struct tuple tuple;
	for (unsigned type = 0; type < 256; type++) {
		struct shape four = {.family = 4, .protocol = PROTOCOL_ICMP, .icmp_type = (uint8_t)type};
		uint32_t length = packet_make(bytes, &four);
		bool error = type == 3 || type == 4 || type == 5 || type == 11 || type == 12, echo = type == 0 || type == 8;
		tuple = tuple_of(bytes, length);
		CHECK_NUMBER(tuple.icmp, echo ? ICMP_ECHO : error ? ICMP_ERROR : ICMP_OTHER);
		CHECK(echo || tuple.ports == 0);
		struct shape six = {.family = 6, .protocol = PROTOCOL_ICMP, .icmp_type = (uint8_t)type, .icmp_code = 7};
		length = packet_make(bytes, &six);
		tuple = tuple_of(bytes, length);
		CHECK_NUMBER(tuple.icmp, type == 128 || type == 129 ? ICMP_ECHO : type >= 1 && type <= 4 ? ICMP_ERROR : ICMP_OTHER);
		CHECK_NUMBER(tuple.icmp_type, type);
		CHECK_NUMBER(tuple.icmp_code, 7);
	}
}

/* IPv6 with the headers named, eight bytes each, then UDP. */
static uint32_t chain(const uint8_t *headers, unsigned count)
{
	struct shape shape = {.family = 6, .protocol = PROTOCOL_UDP, .payload = 8 * count};
	uint32_t length = packet_make(bytes, &shape);
	bytes[6] = count > 0 ? headers[0] : PROTOCOL_UDP;
	for (unsigned i = 0; i < count; i++)
		memcpy(bytes + 40 + 8 * i, (const uint8_t[8]){i + 1 < count ? headers[i + 1] : PROTOCOL_UDP}, 8);
	memcpy(bytes + 40 + 8 * count, (const uint8_t[8]){1, 2, 3, 4, 0, 8, 5, 5}, 8);
	store16(bytes + 4, 8 * count + 8);
	return length;
}

static void extension_headers_are_walked(void)
{
	const uint8_t all[] = {0, 60, 43, 44, 60};
	struct tuple tuple = tuple_of(bytes, chain(all, 5));
	CHECK_NUMBER(tuple.protocol, PROTOCOL_UDP);
	CHECK_NUMBER(tuple.l4_offset, 80);
	CHECK_NUMBER(tuple.fragment, FRAGMENT_WHOLE); /* a fragment header of a whole packet */
	CHECK_NUMBER(tuple.fragment_id, 0);
	CHECK(memcmp(&tuple.ports, (const uint8_t[]){1, 2, 3, 4}, 4) == 0);
	for (uint8_t end = PROTOCOL_ESP; end <= PROTOCOL_AH; end++) {
		const uint8_t secret[] = {0, end, 60};
		tuple = tuple_of(bytes, chain(secret, 3));
		CHECK_NUMBER(tuple.protocol, end);
		CHECK_NUMBER(tuple.l4_offset, 48);
		CHECK_NUMBER(tuple.ports, 0);
	}
}

static void a_chain_that_repeats_a_header_is_malformed(void)
{
	struct tuple tuple;
	const uint8_t once[] = {0, 43, 44};
	for (unsigned i = 0; i < 3; i++) {
		const uint8_t twice[] = {once[i], 60, once[i]};
		uint32_t length = chain(twice, 3);
		CHECK_NUMBER(parse_ip(bytes, length, length, &tuple), PARSE_MALFORMED);
	}
	const uint8_t thrice[] = {60, 60, 60};
	uint32_t length = chain(thrice, 2);
	CHECK_NUMBER(parse_ip(bytes, length, length, &tuple), PARSE_OK);
	length = chain(thrice, 3);
	CHECK_NUMBER(parse_ip(bytes, length, length, &tuple), PARSE_MALFORMED);
	length = chain(thrice, 1);
	bytes[41] = 1; /* sixteen bytes: over UDP */
	CHECK_NUMBER(parse_ip(bytes, length, length, &tuple), PARSE_MALFORMED);
}

static void a_first_fragment_has_ports_and_a_later_one_has_not(void)
{
	struct shape shape = {.family = 4, .protocol = PROTOCOL_UDP, .payload = 16, .fragment = 0x2000};
	uint32_t length = packet_make(bytes, &shape);
	struct tuple tuple = tuple_of(bytes, length);
	CHECK_NUMBER(tuple.fragment, FRAGMENT_FIRST);
	CHECK_NUMBER(tuple.fragment_id, load16(bytes + 4));
	CHECK_NUMBER(tuple.ports, raw32(bytes + 20));
	CHECK_NUMBER(tuple.more, 1);
	store16(bytes + 2, 27); /* less than eight bytes of L4 */
	CHECK_NUMBER(parse_ip(bytes, length, length, &tuple), PARSE_MALFORMED);
	store16(bytes + 2, 28);
	bytes[9] = PROTOCOL_TCP;
	tuple = tuple_of(bytes, length);
	CHECK_NUMBER(tuple.ports, raw32(bytes + 20));
	CHECK_NUMBER(tuple.tcp_flags, 0);
	store16(bytes + 6, 0x2001);
	store16(bytes + 2, 21);
	tuple = tuple_of(bytes, length);
	CHECK_NUMBER(tuple.fragment, FRAGMENT_LATER);
	CHECK_NUMBER(tuple.more, 1);
	CHECK_NUMBER(tuple.ports, 0);
	store16(bytes + 6, 0x1fff);
	CHECK_NUMBER(tuple_of(bytes, length).more, 0);

	const uint8_t headers[] = {0, 44, 60};
	length = chain(headers, 3);
	store16(bytes + 50, 0x0001);
	store32(bytes + 52, 0xdeadbeef);
	tuple = tuple_of(bytes, length);
	CHECK_NUMBER(tuple.fragment, FRAGMENT_FIRST);
	CHECK_NUMBER(tuple.fragment_id, 0xdeadbeef);
	CHECK_NUMBER(tuple.protocol, PROTOCOL_UDP);
	CHECK_NUMBER(tuple.l4_offset, 64);
	store16(bytes + 50, 0x0008); /* what follows is not a header now */
	tuple = tuple_of(bytes, length);
	CHECK_NUMBER(tuple.fragment, FRAGMENT_LATER);
	CHECK_NUMBER(tuple.protocol, 60);
	CHECK_NUMBER(tuple.l4_offset, 56);
	CHECK_NUMBER(tuple.ports, 0);
}

static void a_quoted_packet_needs_only_its_ports(void)
{
	for (unsigned i = 0; i < 4000; i++) {
		struct shape shape = any_shape(i % 2 ? 4 : 6, 600);
		uint32_t length = packet_make(bytes, &shape);
		struct tuple whole = tuple_of(bytes, length), quoted;
		uint32_t least = whole.l4_offset + 8u, cut = least + chance(length - least + 1);
		CHECK_NUMBER(parse_quoted(bytes, cut, &quoted), PARSE_OK);
		if (cut < whole.l4_offset + 14u)
			whole.tcp_flags = 0;
		CHECK(memcmp(&whole, &quoted, sizeof whole) == 0);
		CHECK_NUMBER(parse_quoted(bytes, least - 1, &quoted), PARSE_MALFORMED);
	}
}

static void a_flipped_tuple_is_that_of_the_answer(void)
{
	for (unsigned i = 0; i < 100; i++) {
		struct shape shape = any_shape(i % 2 ? 4 : 6, 0);
		uint32_t length = packet_make(bytes, &shape);
		struct tuple tuple = tuple_of(bytes, length), flipped, back;
		unsigned size = shape.family == 4 ? 4 : 16;
		tuple_flip(&tuple, &flipped);
		CHECK(memcmp(flipped.addresses, tuple.addresses + size, size) == 0);
		CHECK(memcmp(flipped.addresses + size, tuple.addresses, size) == 0);
		CHECK(memcmp(&flipped.ports, (uint8_t *)&tuple.ports + 2, 2) == 0);
		back = flipped;
		tuple_flip(&back, &back);
		CHECK(memcmp(&back, &tuple, sizeof back) == 0);
	}
}

static void murmur_is_the_one_of_its_author(void)
{
	CHECK_NUMBER(murmur3_32("", 0, 0), 0);
	CHECK_NUMBER(murmur3_32("", 0, 1), 0x514e28b7);
	CHECK_NUMBER(murmur3_32("", 0, 0xffffffff), 0x81f16f39);
	CHECK_NUMBER(murmur3_32("\xff\xff\xff\xff", 4, 0), 0x76293b50);
	CHECK_NUMBER(murmur3_32("\x21\x43\x65\x87", 4, 0), 0xf55b516b);
	CHECK_NUMBER(murmur3_32("\x21\x43\x65\x87", 4, 0x5082edee), 0x2362f9de);
	CHECK_NUMBER(murmur3_32("\x21\x43\x65", 3, 0), 0x7e4a8634);
	CHECK_NUMBER(murmur3_32("\x21\x43", 2, 0), 0xa0f7b07a);
	CHECK_NUMBER(murmur3_32("\x21", 1, 0), 0x72661cf4);
	CHECK_NUMBER(murmur3_32("Hello, world!", 13, 0x9747b28c), 0x24884cba);
	CHECK_NUMBER(murmur3_32("aaaa", 4, 0x9747b28c), 0x5a97808a);
}

static void a_choice_is_made_by_protocol_addresses_and_ports(void)
{
	struct tuple four = {.family = 4, .protocol = 6, .addresses = {10, 0, 0, 1, 10, 0, 0, 2}};
	memcpy(&four.ports, "\x12\x34\x00\x50", 4);
	const uint8_t words[] = {6, 10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, 0, 0x50};
	CHECK_NUMBER(choice_hash(&four, 7), murmur3_32(words, sizeof words, 7));
	const uint8_t start[] = {0, 0, 0, 200, 10, 0, 0, 1, 0x12, 0x34, 6};
	CHECK_NUMBER(nat_hash(200, &four, 7), murmur3_32(start, sizeof start, 7));
	struct tuple six = {.family = 6, .protocol = 17, .addresses = {0x20, [15] = 1, 0x20, [31] = 2}, .ports = four.ports};
	const uint8_t wide[] = {17, 0x20, [16] = 1, 0x20, [32] = 2, 0x12, 0x34, 0, 0x50};
	CHECK_NUMBER(choice_hash(&six, 7), murmur3_32(wide, sizeof wide, 7));
}

int main(void)
{
	packet_seed(1);
	RUN(the_common_case_says_what_the_long_way_says);
	RUN(a_packet_cut_anywhere_is_read_no_further);
	RUN(a_longer_packet_than_its_buffer_is_malformed);
	RUN(a_header_that_is_shorter_than_it_must_be_is_malformed);
	RUN(icmp_is_echo_error_or_other);
	RUN(extension_headers_are_walked);
	RUN(a_chain_that_repeats_a_header_is_malformed);
	RUN(a_first_fragment_has_ports_and_a_later_one_has_not);
	RUN(a_quoted_packet_needs_only_its_ports);
	RUN(a_flipped_tuple_is_that_of_the_answer);
	RUN(murmur_is_the_one_of_its_author);
	RUN(a_choice_is_made_by_protocol_addresses_and_ports);
	return CHECK_RESULT();
}
