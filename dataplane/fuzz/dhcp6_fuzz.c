/* Any DHCPv6 message of a VM. The first byte says what its lease has. */
#include <stdlib.h>
#include <string.h>

#include "stage/dhcp6.h"
#include "target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t dns[8 * 16] = {1};
	uint8_t answer[DHCP6_LIMIT];
	if (size == 0)
		return 0;
	struct dhcp6_lease lease = {.has_address = (data[0] & 64) != 0, .address = {0x20, 1}, .server = {0, 3, 0, 1}, .dns = dns,
				    .dns_count = data[0] & 7, .pxe_server = data[0] & 16 ? "2001:db8::1" : NULL,
				    .pxe_file = data[0] & 32 ? "boot/loader.efi" : NULL};
	uint8_t *copy = malloc(size);
	memcpy(copy, data + 1, size - 1);
	uint8_t *exact = realloc(copy, size > 1 ? size - 1 : 1);
	size_t length = dhcp6_answer(&lease, exact, size - 1, answer);
	if (length > DHCP6_LIMIT || (length > 0 && memcmp(answer + 1, exact + 1, 3) != 0))
		abort(); /* another message's transaction */
	free(exact);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t limit)
{
	static const uint8_t message[] = {0, 1, 1, 2, 3, 0, 1, 0, 2, 9, 9, 0, 3, 0, 40, 0, 0, 0, 7, [29] = 0, 5, 0, 24, [54] = 1, 0, 14, 0, 0,
					  0, 6, 0, 4, 0, 59, 0, 23};
	if (n >= 12)
		return 0;
	memcpy(data, message, sizeof message);
	data[0] = (uint8_t)(n * 53 | 64);
	data[1] = (uint8_t)(1 + n);
	return sizeof message;
}
