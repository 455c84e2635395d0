/* DHCPv6 for one address that is known before the client asks (RFC 8415, 3646, 5970).
 *
 * Pure: message in, message out. Lifetimes never end, so nothing is kept. Network boot as in stage/dhcp4.h, by the client's
 * architecture (7) and user class.
 */
#ifndef FERRITE_STAGE_DHCP6_H
#define FERRITE_STAGE_DHCP6_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DHCP6_LIMIT = 1024 };

struct dhcp6_lease {
	bool has_address;
	uint8_t address[16];
	uint8_t server[10];   /* DUID-LL of the gateway */
	const uint8_t *dns;   /* 16 bytes each */
	unsigned dns_count;   /* at most 8 */
	const char *pxe_server, *pxe_file; /* text of an IPv6 address and a path; NULL or empty: no network boot */
};

/* Answers a message (what stands after the UDP header). The length of the answer, at most DHCP6_LIMIT; 0: none. */
size_t dhcp6_answer(const struct dhcp6_lease *lease, const uint8_t *request, size_t length,
		    uint8_t answer[DHCP6_LIMIT]);

#endif
