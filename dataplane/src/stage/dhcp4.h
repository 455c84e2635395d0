/* DHCPv4 for one address that is known before the client asks (RFC 2131, 2132, 3442, 4578).
 *
 * Pure: message in, message out. The lease never ends, so nothing is kept. Network boot is by the message alone: UEFI
 * firmware (vendor class PXEClient:Arch:00007) is sent to the iPXE loader by TFTP, and iPXE (user class) to the boot
 * file by HTTP.
 */
#ifndef FERRITE_STAGE_DHCP4_H
#define FERRITE_STAGE_DHCP4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DHCP4_LIMIT = 576 };

struct dhcp4_lease {
	uint8_t address[4];
	uint8_t server[4];
	uint16_t mtu;
	const uint8_t *dns;   /* 4 bytes each */
	unsigned dns_count;   /* at most 8 */
	const char *hostname; /* may be empty */
	const char *pxe_server, *pxe_file; /* text of an IPv4 address and a path; NULL or empty: no network boot */
	bool virtual_services;             /* 169.254.1.0/24 is behind the gateway */
};

/* Answers a message (what stands after the UDP header). The length of the answer, at most DHCP4_LIMIT; 0: no answer.
 * `broadcast`: the client cannot take unicast yet, or must not know better (NAK). */
size_t dhcp4_answer(const struct dhcp4_lease *lease, const uint8_t *request, size_t length,
		    uint8_t answer[DHCP4_LIMIT], bool *broadcast);

#endif
