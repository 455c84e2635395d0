/* What an ICMP error quotes, cut anywhere. */
#include "packet_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > UINT16_MAX)
		return 0;
	uint8_t *ip = fuzz_copy(data, size, 0);
	struct tuple tuple, flipped;
	if (parse_quoted(ip, (uint32_t)size, &tuple) == PARSE_OK) {
		uint32_t needed = tuple.fragment == FRAGMENT_LATER ? 0 :
			tuple.ports != 0 || tuple.icmp != ICMP_NONE ? 8 : 0;
		must(tuple.l4_offset + needed <= size && tuple.l4_offset + needed <= tuple.ip_length);
		tuple_flip(&tuple, &flipped);
		tuple_flip(&flipped, &flipped);
		must(memcmp(&tuple, &flipped, sizeof tuple) == 0);
	}
	free(ip);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t limit)
{
	size_t size = fuzz_packet_seed(n, data, n % 2 ? 4 : 6, false);
	if (size == 0)
		return 0;
	memmove(data, data + 3, size - 3);
	return n % 4 < 2 ? size - 3 : 40 + n % 2 * 8;
}
