/* IPv6 to IPv4 and back. */
#include "engine/packet_world.h"
#include "packet/nat64.h"

static uint8_t bytes[PACKET_ROOM], quoted_bytes[PACKET_ROOM];
static const uint8_t nat[4] = {198, 51, 100, 7}, server4[4] = {192, 0, 2, 33};
static const uint8_t server6[16] = {0, 0x64, 0xff, 0x9b, [12] = 192, 0, 2, 33}, vm6[16] = {0x20, 1, 0xd, 0xb8, [15] = 9};

enum { BEFORE = 14 };

static uint16_t any_port(void)
{
	return (uint16_t)(chance(4) == 0 ? 0 : 1 + chance(65535));
}

/* What is behind the IP header but ports, type and checksum. */
static void payload_is_kept(const uint8_t *a, const uint8_t *b, uint32_t length, uint8_t protocol)
{
	uint32_t head = protocol == PROTOCOL_TCP ? 20 : 8;
	CHECK(memcmp(a + head, b + head, length - head) == 0);
	if (protocol == PROTOCOL_TCP)
		CHECK(memcmp(a + 4, b + 4, 12) == 0 && memcmp(a + 18, b + 18, 2) == 0);
	if (protocol == PROTOCOL_UDP)
		CHECK(memcmp(a + 4, b + 4, 2) == 0);
	if (protocol == PROTOCOL_ICMP)
		CHECK(a[1] == b[1] && memcmp(a + 6, b + 6, 2) == 0);
}

static void a_packet_to_ipv4_has_true_checksums_and_the_header_of_its_ipv6(void)
{
	for (unsigned i = 0; i < 20000; i++) {
		struct shape shape = any_shape(6, i % 50 == 0 ? 60000 : 60);
		uint32_t length = packet_make(bytes, &shape), got;
		struct tuple tuple = tuple_of(bytes, length), was = tuple;
		uint16_t port = any_port();
		bool split = length > SMALL_ROOM - BEFORE || chance(3) == 0;
		struct rte_mbuf *buffer = packet_buffer(bytes, length, BEFORE, split ? was.l4_offset + 20u + chance(50) : 0);
		CHECK(nat64_to4(buffer, BEFORE, &tuple, nat, server4, port));
		uint8_t *ip = packet_taken(buffer, BEFORE, &got);
		CHECK_NUMBER(got, length - was.l4_offset + IPV4_LENGTH);
		CHECK(packet_good(ip, got));
		CHECK_NUMBER(ip[0], 0x45);
		CHECK_NUMBER(ip[1], load16(bytes) >> 4 & 255);
		CHECK_NUMBER(load16(ip + 4), 0);
		CHECK_NUMBER(load16(ip + 6), 0x4000);
		CHECK_NUMBER(ip[8], bytes[7]);
		CHECK_NUMBER(ip[9], shape.protocol);
		CHECK(memcmp(ip + 12, nat, 4) == 0 && memcmp(ip + 16, server4, 4) == 0);
		payload_is_kept(bytes + was.l4_offset, ip + 20, got - 20, shape.protocol);
		struct tuple found = tuple_of(ip, got);
		CHECK(memcmp(&found, &tuple, sizeof found) == 0);
		CHECK(memcmp(&found.ports, &port, 2) == 0); /* 0 is a port, too */
		if (shape.protocol == PROTOCOL_ICMP)
			CHECK_NUMBER(ip[20], shape.icmp_type == 128 ? 8 : 0);
		else
			CHECK(memcmp((uint8_t *)&found.ports + 2, (uint8_t *)&was.ports + 2, 2) == 0);
		rte_pktmbuf_free(buffer);
	}
	packet_no_leak();
}

static void a_packet_to_ipv6_has_true_checksums_and_the_header_of_its_ipv4(void)
{
	for (unsigned i = 0; i < 20000; i++) {
		struct shape shape = any_shape(4, i % 50 == 0 ? 60000 : 60);
		uint32_t length = packet_make(bytes, &shape), got;
		struct tuple tuple = tuple_of(bytes, length), was = tuple;
		uint16_t port = any_port();
		bool split = length > SMALL_ROOM - BEFORE || chance(3) == 0;
		struct rte_mbuf *buffer = packet_buffer(bytes, length, BEFORE, split ? was.l4_offset + 20u + chance(50) : 0);
		CHECK(nat64_to6(buffer, BEFORE, &tuple, server6, vm6, port));
		uint8_t *ip = packet_taken(buffer, BEFORE, &got);
		CHECK_NUMBER(got, length - was.l4_offset + IPV6_LENGTH);
		CHECK(packet_good(ip, got)); /* UDP without a checksum has one now */
		CHECK_NUMBER(load32(ip), 0x60000000u | (uint32_t)bytes[1] << 20);
		CHECK_NUMBER(ip[7], bytes[8]);
		CHECK(memcmp(ip + 8, server6, 16) == 0 && memcmp(ip + 24, vm6, 16) == 0);
		payload_is_kept(bytes + was.l4_offset, ip + 40, got - 40, shape.protocol);
		struct tuple found = tuple_of(ip, got);
		CHECK(memcmp(&found, &tuple, sizeof found) == 0);
		CHECK(memcmp((uint8_t *)&found.ports + 2, &port, 2) == 0);
		rte_pktmbuf_free(buffer);
	}
	packet_no_leak();
}

static void there_and_back_is_the_same_packet(void)
{
	for (unsigned i = 0; i < 10000; i++) {
		struct shape shape = any_shape(6, 60);
		shape.options = 0;
		(void)packet_make(bytes, &shape);
		memset(bytes + 1, 0, 3); /* no flow label */
		memcpy(bytes + 24, server6, 16);
		uint32_t length = tuple_of(bytes, PACKET_ROOM / 2).ip_length, got;
		struct tuple tuple = tuple_of(bytes, length);
		uint16_t own;
		memcpy(&own, &tuple.ports, 2);
		uint32_t field = 40 + (shape.protocol == 6 ? 16u : shape.protocol == 17 ? 6u : 2u);
		store16(bytes + field, naive_checksum(bytes, length));
		struct rte_mbuf *buffer = packet_buffer(bytes, length, BEFORE, 0);
		const struct nat64_side4 there = {.set = REWRITE_SOURCE_PORT, .source = {198, 51, 100, 7}, .destination = {192, 0, 2, 33},
						  .source_port = 4444};
		CHECK(nat64_make4(buffer, BEFORE, &tuple, &there, NULL));
		struct nat64_side6 back = {.set = REWRITE_SOURCE_PORT, .source_port = own};
		memcpy(back.source, bytes + 8, 16);
		memcpy(back.destination, server6, 16);
		CHECK(nat64_make6(buffer, BEFORE, &tuple, &back, NULL));
		uint8_t *ip = packet_taken(buffer, BEFORE, &got);
		CHECK(got == length && memcmp(ip, bytes, length) == 0);
		rte_pktmbuf_free(buffer);
	}
	packet_no_leak();
}

static void a_super_packet_changes_its_kind_and_where_its_checksum_is(void)
{
	for (unsigned i = 0; i < 2000; i++) {
		bool to4 = i % 2 == 0;
		struct shape shape = any_shape(to4 ? 6 : 4, 3000);
		shape.no_checksum = false;
		uint32_t length = packet_make(bytes, &shape), got;
		struct tuple tuple = tuple_of(bytes, length);
		struct offload offload;
		packet_leave_checksum(bytes, length, &offload);
		if (shape.protocol == PROTOCOL_TCP) {
			offload.gso = (uint8_t)((to4 ? GSO_TCP6 : GSO_TCP4) | (chance(2) ? GSO_ECN : 0));
			offload.gso_size = 1000;
			offload.header_length = (uint16_t)(tuple.l4_offset + 20);
		}
		struct rte_mbuf *buffer = packet_buffer(bytes, length, BEFORE, tuple.l4_offset + 20u + chance(40));
		packet_of(buffer)->offload = offload;
		CHECK(to4 ? nat64_to4(buffer, BEFORE, &tuple, nat, server4, 99) : nat64_to6(buffer, BEFORE, &tuple, server6, vm6, 99));
		const struct offload *now = &packet_of(buffer)->offload;
		uint8_t *ip = packet_taken(buffer, BEFORE, &got);
		CHECK_NUMBER(now->checksum_start, to4 ? 20 : 40);
		CHECK_NUMBER(now->gso & GSO_ECN, offload.gso & GSO_ECN);
		if (shape.protocol == PROTOCOL_TCP) {
			CHECK_NUMBER(now->gso & ~GSO_ECN, to4 ? GSO_TCP4 : GSO_TCP6);
			CHECK_NUMBER(now->header_length, to4 ? 40 : 60);
		}
		packet_device(ip, got, now);
		CHECK(packet_good(ip, got));
		rte_pktmbuf_free(buffer);
	}
	packet_no_leak();
}

static void both_ports_of_a_virtual_service_change(void)
{
	struct shape shape = {.family = 4, .protocol = PROTOCOL_UDP, .payload = 30};
	uint32_t length = packet_make(bytes, &shape), got;
	struct tuple tuple = tuple_of(bytes, length);
	const struct nat64_side6 side = {.set = REWRITE_SOURCE_PORT | REWRITE_DESTINATION_PORT, .source = {0xfd, 1},
					.destination = {0xfd, 2}, .source_port = 0x1111, .destination_port = 0x2222};
	struct rte_mbuf *buffer = packet_buffer(bytes, length, 40, 0);
	CHECK(nat64_make6(buffer, 40, &tuple, &side, NULL));
	uint8_t *ip = packet_taken(buffer, 40, &got);
	CHECK(packet_good(ip, got));
	CHECK_NUMBER(load32(ip + 40), 0x11112222);
	rte_pktmbuf_free(buffer);
}

static void what_cannot_be_translated_is_left_alone(void)
{
	for (unsigned i = 0; i < 9; i++) {
		bool to4 = i % 2 == 0;
		struct shape shape = {.family = to4 ? 6 : 4, .protocol = PROTOCOL_UDP, .payload = 30};
		if (i == 0)
			shape.options = 2; /* a routing header */
		if (i == 1)
			shape.fragment = 0x2000;
		if (i == 2 || i == 3) {
			shape.protocol = PROTOCOL_ICMP;
			shape.icmp_type = to4 ? 135 : 13;
		}
		uint32_t length = packet_make(bytes, &shape);
		if (i == 0)
			bytes[43] = 1;
		if (i == 4 || i == 5)
			bytes[to4 ? 6 : 9] = 47;
		if (i == 7) { /* no checksum, and nonsense for a length */
			store16(bytes + 26, 0);
			store16(bytes + 24, 40);
		}
		struct tuple tuple = tuple_of(bytes, length), was = tuple;
		struct rte_mbuf *buffer = packet_buffer(bytes, length, BEFORE, 0);
		if (i == 8)
			packet_of(buffer)->offload = (struct offload){.needs_checksum = 1, .checksum_start = 10};
		if (i == 6)
			tuple.family = 0;
		CHECK(!(to4 ? nat64_to4(buffer, BEFORE, &tuple, nat, server4, 9) : nat64_to6(buffer, BEFORE, &tuple, server6, vm6, 9)));
		if (i != 6)
			CHECK(memcmp(&tuple, &was, sizeof was) == 0);
		CHECK(buffer->pkt_len == length + BEFORE && memcmp(packet_data(buffer) + BEFORE, bytes, length) == 0);
		rte_pktmbuf_free(buffer);
	}
	packet_no_leak();
}

/* An error about what a server sent to a VM, on its way from the VM; or about what a VM sent, on its way to it. */
static struct rte_mbuf *make_error(bool to4, uint8_t type, uint8_t code, uint32_t rest, struct shape *inner, uint32_t cut,
				   uint32_t *inner_length, uint32_t *length)
{
	struct shape shape = {.family = to4 ? 6 : 4, .protocol = PROTOCOL_ICMP, .icmp_type = type, .icmp_code = code, .rest = rest,
			      .quoted = quoted_bytes};
	*inner_length = packet_make(quoted_bytes, inner);
	shape.payload = cut < *inner_length ? cut : *inner_length;
	*length = packet_make(bytes, &shape);
	return packet_buffer(bytes, *length, BEFORE, 0);
}

static void an_error_is_translated_with_what_it_quotes(void)
{
	for (unsigned i = 0; i < 20000; i++) {
		bool to4 = i % 2 == 0;
		struct shape inner = any_shape(to4 ? 6 : 4, 1600);
		uint32_t inner_length, length, got;
		struct rte_mbuf *buffer = make_error(to4, to4 ? 1 : 3, to4 ? 4 : 3, 0, &inner, 140 + chance(1700), &inner_length, &length);
		struct tuple tuple = tuple_of(bytes, length), was, inside = tuple_of(quoted_bytes, inner_length);
		uint16_t port = any_port();
		was = tuple;
		CHECK(to4 ? nat64_to4(buffer, BEFORE, &tuple, nat, server4, port) : nat64_to6(buffer, BEFORE, &tuple, server6, vm6, port));
		uint8_t *ip = packet_taken(buffer, BEFORE, &got), *quoted = ip + (to4 ? 28 : 48);
		CHECK_NUMBER(buffer->nb_segs, 1);
		CHECK(got <= (to4 ? 576 : 1280));
		uint32_t there = length - was.l4_offset - 8u - inside.l4_offset, now = got - (to4 ? 48 : 88);
		CHECK_NUMBER(now, there < (to4 ? 528u : 1192u) ? there : (to4 ? 528u : 1192u));
		if (to4 || !inner.no_checksum || inner.protocol != PROTOCOL_UDP) /* a quoted packet's "none" stays */
			CHECK(packet_good(ip, got));
		else
			CHECK_NUMBER(load16(ip + 42), naive_checksum(ip, got));
		CHECK_NUMBER(ip[to4 ? 20 : 40], to4 ? 3 : 1);
		CHECK_NUMBER(ip[to4 ? 21 : 41], to4 ? 3 : 4);
		struct tuple found;
		CHECK_NUMBER(parse_quoted(quoted, got - (to4 ? 28 : 48), &found), PARSE_OK);
		CHECK_NUMBER(found.ip_length, inside.ip_length - inside.l4_offset + (to4 ? 20 : 40));
		if (to4) {
			CHECK(memcmp(found.addresses, quoted_bytes + 20, 4) == 0 && memcmp(found.addresses + 4, nat, 4) == 0);
			CHECK_NUMBER(load16(quoted + 6), 0x4000);
		} else {
			CHECK(memcmp(found.addresses, vm6, 16) == 0 && memcmp(found.addresses + 16, server6, 12) == 0);
			CHECK(memcmp(found.addresses + 28, quoted_bytes + 16, 4) == 0);
		}
		CHECK(memcmp((uint8_t *)&found.ports + (to4 ? 2 : 0), &port, 2) == 0);
		rte_pktmbuf_free(buffer);
	}
	packet_no_leak();
}

static void types_codes_and_numbers_of_errors_have_their_counterparts(void)
{
	const struct {
		uint8_t to4, type, code;
		uint32_t rest;
		bool ok;
		uint8_t new_type, new_code;
		uint32_t new_rest;
	} cases[] = {
		{0, 3, 0, 0, true, 1, 0, 0}, {0, 3, 1, 0, true, 1, 0, 0}, {0, 3, 2, 0, true, 4, 1, 6}, {0, 3, 3, 0, true, 1, 4, 0},
		{0, 3, 4, 1400, true, 2, 0, 1420}, {0, 3, 4, 1000, true, 2, 0, 1280}, {0, 3, 4, 0, true, 2, 0, 1492},
		{0, 3, 5, 0, true, 1, 0, 0}, {0, 3, 9, 0, true, 1, 1, 0}, {0, 3, 13, 0, true, 1, 1, 0}, {0, 3, 14, 0, false, 0, 0, 0},
		{0, 3, 15, 0, true, 1, 1, 0}, {0, 3, 16, 0, false, 0, 0, 0}, {0, 4, 0, 0, false, 0, 0, 0}, {0, 5, 0, 0, false, 0, 0, 0},
		{0, 11, 0, 0, true, 3, 0, 0}, {0, 11, 1, 0, true, 3, 1, 0}, {0, 12, 0, 9u << 24, true, 4, 0, 6},
		{0, 12, 0, 2u << 24, true, 4, 0, 4}, {0, 12, 2, 16u << 24, true, 4, 0, 24}, {0, 12, 0, 4u << 24, false, 0, 0, 0},
		{0, 12, 1, 0, false, 0, 0, 0}, {0, 12, 0, 20u << 24, false, 0, 0, 0},
		{1, 1, 0, 0, true, 3, 1, 0}, {1, 1, 1, 0, true, 3, 10, 0}, {1, 1, 2, 0, true, 3, 1, 0}, {1, 1, 3, 0, true, 3, 1, 0},
		{1, 1, 4, 0, true, 3, 3, 0}, {1, 1, 5, 0, false, 0, 0, 0}, {1, 2, 0, 1500, true, 3, 4, 1480},
		{1, 2, 0, 10, true, 3, 4, 0}, {1, 2, 0, 0xfffffff0, true, 3, 4, 65535}, {1, 3, 0, 0, true, 11, 0, 0},
		{1, 3, 1, 0, true, 11, 1, 0}, {1, 4, 0, 7, true, 12, 0, 8u << 24}, {1, 4, 0, 39, true, 12, 0, 16u << 24},
		{1, 4, 0, 2, false, 0, 0, 0}, {1, 4, 0, 40, false, 0, 0, 0}, {1, 4, 1, 6, true, 3, 2, 0}, {1, 4, 2, 0, false, 0, 0, 0},
	};
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		bool to4 = cases[i].to4 != 0;
		struct shape inner = {.family = to4 ? 6 : 4, .protocol = PROTOCOL_UDP, .payload = 1500};
		uint32_t inner_length, length, got;
		struct rte_mbuf *buffer = make_error(to4, cases[i].type, cases[i].code, cases[i].rest, &inner, 200, &inner_length, &length);
		struct tuple tuple = tuple_of(bytes, length);
		bool done = to4 ? nat64_to4(buffer, BEFORE, &tuple, nat, server4, 9) : nat64_to6(buffer, BEFORE, &tuple, server6, vm6, 9);
		if (done != cases[i].ok)
			(void)fprintf(stderr, "type %u code %u\n", cases[i].type, cases[i].code);
		CHECK_NUMBER(done, cases[i].ok);
		uint8_t *ip = packet_taken(buffer, BEFORE, &got), *icmp = ip + (to4 ? 20 : 40);
		if (done) {
			CHECK(packet_good(ip, got));
			CHECK_NUMBER(icmp[0], cases[i].new_type);
			CHECK_NUMBER(icmp[1], cases[i].new_code);
			CHECK_NUMBER(load32(icmp + 4), cases[i].new_rest);
		} else {
			CHECK(got == length && memcmp(ip, bytes, length) == 0);
		}
		rte_pktmbuf_free(buffer);
	}
	packet_no_leak();
}

static void extensions_of_an_error_are_cut(void)
{
	for (unsigned to4 = 0; to4 < 2; to4++) {
		struct shape inner = {.family = to4 ? 6 : 4, .protocol = PROTOCOL_UDP, .payload = 500};
		uint32_t inner_length, length, got, rest = to4 ? 16u << 24 : 32u << 16; /* 128 bytes either way */
		struct rte_mbuf *buffer = make_error(to4, to4 ? 1 : 3, 0, rest, &inner, 180, &inner_length, &length);
		struct tuple tuple = tuple_of(bytes, length);
		CHECK(to4 ? nat64_to4(buffer, BEFORE, &tuple, nat, server4, 9) : nat64_to6(buffer, BEFORE, &tuple, server6, vm6, 9));
		uint8_t *ip = packet_taken(buffer, BEFORE, &got);
		CHECK_NUMBER(got, to4 ? 28 + 128 - 20 : 48 + 128 + 20);
		CHECK_NUMBER(load32(ip + (to4 ? 24 : 44)), 0);
		CHECK_NUMBER(load16(ip + (to4 ? 22 : 42)), naive_checksum(ip, got));
		rte_pktmbuf_free(buffer);
	}
}

int main(void)
{
	packet_world();
	packet_seed(3);
	RUN(a_packet_to_ipv4_has_true_checksums_and_the_header_of_its_ipv6);
	RUN(a_packet_to_ipv6_has_true_checksums_and_the_header_of_its_ipv4);
	RUN(there_and_back_is_the_same_packet);
	RUN(a_super_packet_changes_its_kind_and_where_its_checksum_is);
	RUN(both_ports_of_a_virtual_service_change);
	RUN(what_cannot_be_translated_is_left_alone);
	RUN(an_error_is_translated_with_what_it_quotes);
	RUN(types_codes_and_numbers_of_errors_have_their_counterparts);
	RUN(extensions_of_an_error_are_cut);
	return CHECK_RESULT();
}
