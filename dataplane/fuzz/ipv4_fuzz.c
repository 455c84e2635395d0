/* IPv4 with any options and fragments: parsed, rewritten, rewritten back. */
#include "packet/translate.h"
#include "packet_fuzz.h"

static void rewrite_and_back(uint8_t *ip, uint32_t length, const struct tuple *tuple)
{
	const struct offload none = {0};
	struct rewrite there = {.set = 15, .source = {1, 2, 3, 4}, .destination = {5, 6, 7, 8}, .source_port = 0x1234,
				.destination_port = 0x5678};
	bool whole = tuple->fragment == FRAGMENT_WHOLE &&
		(tuple->protocol == PROTOCOL_TCP || tuple->protocol == PROTOCOL_UDP || tuple->icmp == ICMP_ECHO);
	bool verified = whole && packet_verifies(ip, tuple->ip_length);
	struct tuple now;
	translate4(ip, tuple, &there, &none);
	must(parse_ip(ip, length, length, &now) == PARSE_OK);
	must(memcmp(now.addresses, "\1\2\3\4\5\6\7\10", 8) == 0);
	must(!verified || packet_verifies(ip, tuple->ip_length));
	must(!whole || tuple->icmp == ICMP_ECHO || (now.ports & 0xffff) == 0x1234);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > UINT16_MAX)
		return 0;
	uint8_t *ip = fuzz_copy(data, size, 4);
	struct tuple fast, slow;
	enum parse_result result = parse_ip(ip, (uint32_t)size, (uint32_t)size, &fast);
	must(result == parse_ip_slow(ip, (uint32_t)size, (uint32_t)size, &slow));
	if (result == PARSE_OK) {
		must(memcmp(&fast, &slow, sizeof fast) == 0);
		fuzz_promises(&fast, (uint32_t)size, (uint32_t)size);
		rewrite_and_back(ip, (uint32_t)size, &fast);
	}
	free(ip);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t limit)
{
	size_t size = fuzz_packet_seed(n, data, 4, false);
	if (size == 0)
		return 0;
	memmove(data, data + 3, size - 3);
	if (n % 5 == 4)
		data[6] = n % 2 ? 0x20 : 0x01;
	return size - 3;
}
