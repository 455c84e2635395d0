/* IPv6 with any chain of extension headers. */
#include "packet_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > UINT16_MAX)
		return 0;
	uint8_t *ip = fuzz_copy(data, size, 6);
	struct tuple fast, slow;
	enum parse_result result = parse_ip(ip, (uint32_t)size, (uint32_t)size, &fast);
	must(result == parse_ip_slow(ip, (uint32_t)size, (uint32_t)size, &slow));
	if (result == PARSE_OK) {
		must(memcmp(&fast, &slow, sizeof fast) == 0);
		fuzz_promises(&fast, (uint32_t)size, (uint32_t)size);
	}
	free(ip);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t limit)
{
	const uint8_t headers[] = {0, 60, 43, 44, 60, 51, 44, 44};
	size_t size;
	if (n < 8) { /* one header more each time, eight bytes each, then UDP */
		memset(data, 0, 40 + 8 * (n + 1) + 8);
		data[0] = 0x60;
		data[5] = (uint8_t)(8 * (n + 2));
		data[6] = headers[0];
		for (unsigned i = 0; i <= n; i++)
			data[40 + 8 * i] = i < n ? headers[i + 1] : PROTOCOL_UDP;
		return 40 + 8 * (n + 1) + 8;
	}
	size = fuzz_packet_seed(n - 8, data, 6, false);
	if (size == 0)
		return 0;
	memmove(data, data + 3, size - 3);
	return size - 3;
}
