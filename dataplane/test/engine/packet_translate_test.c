/* Addresses and ports of IPv4 packets, and of packets that errors quote. */
#include "engine/packet_world.h"
#include "packet/translate.h"

static uint8_t bytes[PACKET_ROOM];
static const struct offload none;

static struct rewrite any_rewrite(void)
{
	struct rewrite rewrite = {.set = (uint8_t)chance(16), .source_port = (uint16_t)chance(65536),
				  .destination_port = (uint16_t)chance(65536)};
	chance_bytes(rewrite.source, 4);
	chance_bytes(rewrite.destination, 4);
	return rewrite;
}

/* What the rewrite says, without any checksum. */
static void naive_rewrite(uint8_t *ip, const struct tuple *tuple, const struct rewrite *rewrite)
{
	uint8_t *l4 = ip + tuple->l4_offset;
	if (rewrite->set & 1)
		memcpy(ip + 12, rewrite->source, 4);
	if (rewrite->set & 2)
		memcpy(ip + 16, rewrite->destination, 4);
	if (tuple->fragment == FRAGMENT_LATER)
		return;
	if (tuple->icmp == ICMP_ECHO) {
		if (rewrite->set & 12)
			memcpy(l4 + 4, rewrite->set & 4 ? &rewrite->source_port : &rewrite->destination_port, 2);
		return;
	}
	if (rewrite->set & 4)
		memcpy(l4, &rewrite->source_port, 2);
	if (rewrite->set & 8)
		memcpy(l4 + 2, &rewrite->destination_port, 2);
}

static void zero_checksums(uint8_t *ip, const struct tuple *tuple)
{
	memset(ip + 10, 0, 2);
	memset(ip + tuple->l4_offset + (tuple->protocol == 6 ? 16 : tuple->protocol == 17 ? 6 : 2), 0, 2);
}

static void every_rewrite_keeps_all_checksums_true(void)
{
	static uint8_t wanted[PACKET_ROOM];
	for (unsigned i = 0; i < 30000; i++) {
		struct shape shape = any_shape(4, i % 50 == 0 ? 60000 : 60);
		uint32_t length = packet_make(bytes, &shape);
		struct tuple tuple = tuple_of(bytes, length);
		struct rewrite rewrite = any_rewrite();
		memcpy(wanted, bytes, length);
		naive_rewrite(wanted, &tuple, &rewrite);
		translate4(bytes, &tuple, &rewrite, &none);
		CHECK(packet_good(bytes, length));
		if (shape.protocol == PROTOCOL_UDP)
			CHECK_NUMBER(load16(bytes + tuple.l4_offset + 6) == 0, shape.no_checksum);
		zero_checksums(wanted, &tuple);
		zero_checksums(bytes, &tuple);
		CHECK(memcmp(bytes, wanted, length) == 0);
	}
}

static void a_packet_that_is_translated_back_is_the_same(void)
{
	static uint8_t before[PACKET_ROOM];
	for (unsigned i = 0; i < 10000; i++) {
		struct shape shape = any_shape(4, 60);
		uint32_t length = packet_make(bytes, &shape);
		struct tuple tuple = tuple_of(bytes, length);
		struct rewrite there = any_rewrite(), back = {.set = there.set};
		memcpy(before, bytes, length);
		memcpy(back.source, tuple.addresses, 4);
		memcpy(back.destination, tuple.addresses + 4, 4);
		memcpy(&back.source_port, &tuple.ports, 2);
		memcpy(&back.destination_port, (uint8_t *)&tuple.ports + 2, 2);
		translate4(bytes, &tuple, &there, &none);
		translate4(bytes, &tuple, &back, &none);
		CHECK(memcmp(bytes, before, length) == 0);
	}
}

static void a_checksum_left_to_the_device_comes_out_true(void)
{
	for (unsigned i = 0; i < 10000; i++) {
		struct shape shape = any_shape(4, 60);
		shape.no_checksum = false;
		uint32_t length = packet_make(bytes, &shape);
		struct tuple tuple = tuple_of(bytes, length);
		struct rewrite rewrite = any_rewrite();
		struct offload offload;
		packet_leave_checksum(bytes, length, &offload);
		translate4(bytes, &tuple, &rewrite, &offload);
		packet_device(bytes, length, &offload);
		CHECK(packet_good(bytes, length));
	}
}

static void a_checksum_of_a_packet_in_a_tunnel_is_not_mistaken_for_the_outer_one(void)
{
	struct shape shape = {.family = 4, .protocol = PROTOCOL_UDP, .payload = 60};
	uint32_t length = packet_make(bytes, &shape);
	struct tuple tuple = tuple_of(bytes, length);
	struct rewrite rewrite = {.set = 5, .source = {9, 9, 9, 9}, .source_port = 7};
	struct offload inner = {.needs_checksum = 1, .checksum_start = 60, .checksum_offset = 16};
	translate4(bytes, &tuple, &rewrite, &inner);
	CHECK(packet_good(bytes, length));
}

static void no_port_makes_the_checksum_of_udp_none(void)
{
	struct shape shape = {.family = 4, .protocol = PROTOCOL_UDP, .payload = 20};
	uint32_t length = packet_make(bytes, &shape);
	struct tuple tuple = tuple_of(bytes, length);
	for (uint32_t port = 0; port <= UINT16_MAX; port++) {
		struct rewrite rewrite = {.set = REWRITE_SOURCE_PORT, .source_port = (uint16_t)port};
		translate4(bytes, &tuple, &rewrite, &none);
		CHECK(load16(bytes + 26) != 0 && packet_good(bytes, length));
	}
}

static void a_wrong_checksum_stays_wrong(void)
{
	for (unsigned i = 0; i < 1000; i++) {
		struct shape shape = any_shape(4, 60);
		shape.no_checksum = false;
		uint32_t length = packet_make(bytes, &shape);
		struct tuple tuple = tuple_of(bytes, length);
		struct rewrite rewrite = any_rewrite();
		bytes[length - 1] ^= (uint8_t)(1 + chance(255));
		if (shape.payload == 0)
			continue;
		translate4(bytes, &tuple, &rewrite, &none);
		CHECK(!packet_good(bytes, length));
	}
}

static void of_a_later_fragment_only_the_addresses_change(void)
{
	struct shape shape = {.family = 4, .protocol = PROTOCOL_TCP, .payload = 20, .fragment = 0x2005};
	uint8_t before[60];
	struct rewrite rewrite = {.set = 15, .source = {1, 2, 3, 4}, .destination = {5, 6, 7, 8}, .source_port = 1};
	uint32_t length = packet_make(bytes, &shape);
	struct tuple tuple = tuple_of(bytes, length);
	memcpy(before, bytes, length);
	translate4(bytes, &tuple, &rewrite, &none);
	CHECK(memcmp(bytes + 12, "\1\2\3\4\5\6\7\10", 8) == 0);
	CHECK(memcmp(bytes + 20, before + 20, length - 20) == 0);
}

static void a_first_fragment_without_its_checksum_is_not_read_further(void)
{
	struct shape shape = {.family = 4, .protocol = PROTOCOL_TCP, .payload = 0, .fragment = 0x2000};
	struct rewrite rewrite = {.set = 15, .source_port = 0x1111, .destination_port = 0x2222};
	uint8_t before[40];
	(void)packet_make(bytes, &shape);
	store16(bytes + 2, 28);
	struct tuple tuple = tuple_of(bytes, 28);
	memcpy(before, bytes, 40);
	translate4(bytes, &tuple, &rewrite, &none);
	CHECK_NUMBER(load32(bytes + 20), 0x11112222);
	CHECK(memcmp(bytes + 24, before + 24, 16) == 0);
}

/* The whole first fragment of a packet whose checksum counts what follows: the difference is the same. */
static void the_checksum_of_a_fragmented_packet_stays_true(void)
{
	for (unsigned i = 0; i < 1000; i++) {
		struct shape shape = {.family = 4, .protocol = i % 2 ? PROTOCOL_TCP : PROTOCOL_UDP, .payload = 600};
		uint32_t length = packet_make(bytes, &shape);
		struct rewrite rewrite = any_rewrite();
		store16(bytes + 2, 220);
		store16(bytes + 6, 0x2000);
		struct tuple tuple = tuple_of(bytes, 220);
		CHECK_NUMBER(tuple.fragment, FRAGMENT_FIRST);
		translate4(bytes, &tuple, &rewrite, &none);
		CHECK_NUMBER(load16(bytes + 20 + (shape.protocol == 6 ? 16 : 6)), naive_checksum(bytes, length));
	}
}

static void an_echo_reply_of_zeros_has_the_one_checksum_that_fits(void)
{
	struct shape shape = {.family = 4, .protocol = PROTOCOL_ICMP, .payload = 6};
	uint32_t length = packet_make(bytes, &shape);
	memset(bytes + 20, 0, 14);
	bytes[25] = 5;
	store16(bytes + 22, naive_checksum(bytes, length));
	struct tuple tuple = tuple_of(bytes, length);
	struct rewrite rewrite = {.set = REWRITE_SOURCE_PORT, .source_port = 0};
	translate4(bytes, &tuple, &rewrite, &none);
	CHECK(packet_good(bytes, length));
}

static void an_error_and_what_it_quotes_are_rewritten(void)
{
	static uint8_t quoted[PACKET_ROOM], wanted[PACKET_ROOM];
	const uint8_t types[] = {3, 11, 12};
	for (unsigned i = 0; i < 20000; i++) {
		struct shape inner = any_shape(4, 1800), shape = {.family = 4, .protocol = PROTOCOL_ICMP, .quoted = quoted};
		uint32_t inner_length = packet_make(quoted, &inner);
		struct tuple inside = tuple_of(quoted, inner_length);
		uint32_t least = inside.l4_offset + 8u;
		shape.payload = chance(2) ? inner_length : least + chance(inner_length - least + 1);
		shape.icmp_type = types[chance(3)];
		shape.icmp_code = (uint8_t)chance(16);
		shape.options = (uint8_t)(chance(4) == 0 ? chance(11) : 0);
		uint32_t length = packet_make(bytes, &shape);
		CHECK(packet_good(bytes, length));
		struct tuple tuple = tuple_of(bytes, length);
		struct rewrite outer = any_rewrite(), rewrite = any_rewrite();
		outer.set &= 3;
		memcpy(wanted, bytes, length);
		naive_rewrite(wanted, &tuple, &outer);
		uint32_t at = tuple.l4_offset + 8u;
		naive_rewrite(wanted + at, &inside, &rewrite);
		struct rte_mbuf *buffer = packet_buffer(bytes, length, 40, chance(2) ? 0 : at + least + chance(100));
		CHECK(translate4_error(buffer, 40, &tuple, &outer, &rewrite));
		uint32_t got;
		uint8_t *ip = packet_taken(buffer, 40, &got);
		CHECK_NUMBER(got, length);
		bool whole = shape.payload == inner_length || buffer->nb_segs == 1;
		if (buffer->nb_segs == 1)
			CHECK(packet_good(ip, length));
		else
			CHECK_NUMBER(load16(ip + tuple.l4_offset + 2), naive_checksum(ip, length));
		uint32_t checksum = at + inside.l4_offset + (inside.protocol == 6 ? 16u : inside.protocol == 17 ? 6u : 2u);
		zero_checksums(wanted, &tuple);
		zero_checksums(ip, &tuple);
		memset(wanted + at + 10, 0, 2);
		memset(ip + at + 10, 0, 2);
		if (whole && checksum + 2 <= length) {
			memset(wanted + checksum, 0, 2);
			memset(ip + checksum, 0, 2);
		}
		if (whole)
			CHECK(memcmp(ip, wanted, length) == 0);
		rte_pktmbuf_free(buffer);
	}
	packet_no_leak();
}

static void an_error_that_quotes_nonsense_is_left_alone(void)
{
	uint8_t quoted[64], before[200];
	struct shape inner = {.family = 4, .protocol = PROTOCOL_UDP, .payload = 8};
	struct rewrite rewrite = {.set = 15};
	(void)packet_make(quoted, &inner);
	for (unsigned i = 0; i < 4; i++) {
		uint8_t damaged[64];
		memcpy(damaged, quoted, sizeof damaged);
		struct shape shape = {.family = 4, .protocol = PROTOCOL_ICMP, .icmp_type = 3, .quoted = damaged, .payload = 36};
		if (i == 0)
			shape.payload = 27; /* without its ports */
		if (i == 1)
			damaged[0] = 0x65;
		if (i == 2)
			damaged[0] = 0x44;
		uint32_t length = packet_make(bytes, &shape);
		if (i == 3)
			store16(bytes + 6, 0x2000); /* a fragment */
		struct tuple tuple = tuple_of(bytes, length);
		memcpy(before, bytes, length);
		struct rte_mbuf *buffer = packet_buffer(bytes, length, 14, 0);
		CHECK(!translate4_error(buffer, 14, &tuple, &rewrite, &rewrite));
		CHECK(memcmp(packet_data(buffer) + 14, before, length) == 0);
		rte_pktmbuf_free(buffer);
	}
}

int main(void)
{
	packet_world();
	packet_seed(2);
	RUN(every_rewrite_keeps_all_checksums_true);
	RUN(a_packet_that_is_translated_back_is_the_same);
	RUN(a_checksum_left_to_the_device_comes_out_true);
	RUN(a_checksum_of_a_packet_in_a_tunnel_is_not_mistaken_for_the_outer_one);
	RUN(no_port_makes_the_checksum_of_udp_none);
	RUN(a_wrong_checksum_stays_wrong);
	RUN(of_a_later_fragment_only_the_addresses_change);
	RUN(a_first_fragment_without_its_checksum_is_not_read_further);
	RUN(the_checksum_of_a_fragmented_packet_stays_true);
	RUN(an_echo_reply_of_zeros_has_the_one_checksum_that_fits);
	RUN(an_error_and_what_it_quotes_are_rewritten);
	RUN(an_error_that_quotes_nonsense_is_left_alone);
	return CHECK_RESULT();
}
