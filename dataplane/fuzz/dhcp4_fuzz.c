/* Any DHCP message of a VM. The first byte says what its lease has. */
#include <stdlib.h>
#include <string.h>

#include "stage/dhcp4.h"
#include "target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t dns[32] = {1};
	uint8_t answer[DHCP4_LIMIT];
	bool broadcast;
	if (size == 0)
		return 0;
	struct dhcp4_lease lease = {.address = {10, 0, 0, 1}, .server = {169, 254, 0, 1}, .mtu = 1500, .dns = dns,
				    .dns_count = data[0] & 7, .hostname = data[0] & 8 ? "a-name-of-a-host" : "",
				    .pxe_server = data[0] & 16 ? "192.0.2.1" : NULL, .pxe_file = data[0] & 32 ? "boot/loader.efi" : NULL,
				    .virtual_services = (data[0] & 64) != 0};
	uint8_t *copy = malloc(size);
	memcpy(copy, data + 1, size - 1);
	uint8_t *exact = realloc(copy, size > 1 ? size - 1 : 1);
	size_t length = dhcp4_answer(&lease, exact, size - 1, answer, &broadcast);
	if (length > DHCP4_LIMIT || (length > 0 && (answer[0] != 2 || memcmp(answer + 4, exact + 4, 4) != 0)))
		abort(); /* an answer is one, and to this message */
	free(exact);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *data, size_t limit)
{
	static const uint8_t message[281] = {0, 1, 1, 6, 0, 1, 2, 3, 4, [237] = 99, 130, 83, 99, 53, 1, 1, 50, 4, 10, 0, 0, 1, 61, 3, 1, 2, 3,
					     55, 4, 1, 3, 6, 121, 93, 2, 0, 7, 60, 9, 'P', 'X', 'E', 'C', 'l', 'i', 'e', 'n', 't', 255};
	if (n >= 8)
		return 0;
	memcpy(data, message, sizeof message);
	data[0] = (uint8_t)(n * 37);
	data[243] = (uint8_t)(1 + n);
	return sizeof message;
}
