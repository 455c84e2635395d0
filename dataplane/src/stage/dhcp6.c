#include "stage/dhcp6.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "stage/service.h"

enum {
	SOLICIT = 1, ADVERTISE = 2, REQUEST = 3, CONFIRM = 4, RENEW = 5, REBIND = 6, REPLY = 7, RELEASE = 8,
	DECLINE = 9, INFORMATION_REQUEST = 11,
	OPTION_CLIENT = 1, OPTION_SERVER = 2, OPTION_IA_NA = 3, OPTION_IA_TA = 4, OPTION_IAADDR = 5,
	OPTION_PREFERENCE = 7, OPTION_STATUS = 13, OPTION_RAPID_COMMIT = 14, OPTION_USER_CLASS = 15, OPTION_DNS = 23, OPTION_IA_PD = 25,
	OPTION_BOOT_FILE_URL = 59, OPTION_ARCHITECTURE = 61, ARCHITECTURE_EFI = 7,
	STATUS_SUCCESS = 0, STATUS_NO_ADDRESS = 2, STATUS_NOT_ON_LINK = 4, STATUS_NO_PREFIX = 6,
	MAX_ASSOCIATIONS = 4, MAX_DUID = 130,
};

struct association {
	uint16_t option;
	uint8_t id[4];
	const uint8_t *other; /* an address in it that is not the client's; 16 bytes, or NULL */
};

struct request {
	const uint8_t *client, *server;
	uint16_t client_length, server_length;
	bool rapid_commit;
	bool firmware, ipxe; /* it boots from the network, and in which step */
	bool any_address, foreign_address;
	unsigned associations;
	struct association association[MAX_ASSOCIATIONS];
};

/* The next option of [*at, end); false: no further whole one. */
static bool next_option(const uint8_t **at, const uint8_t *end, uint16_t *option, const uint8_t **value, uint16_t *size)
{
	if (end - *at < 4)
		return false;
	*option = load16(*at);
	*size = load16(*at + 2);
	*value = *at + 4;
	if (end - *value < *size)
		return false;
	*at = *value + *size;
	return true;
}

static void read_association(const struct dhcp6_lease *lease, uint16_t option, const uint8_t *value, uint16_t size,
			     struct request *request)
{
	uint16_t head = option == OPTION_IA_TA ? 4 : 12, inner, inner_size;
	if (size < head || request->associations == MAX_ASSOCIATIONS)
		return;
	struct association *association = &request->association[request->associations++];
	association->option = option;
	memcpy(association->id, value, 4);
	const uint8_t *at = value + head, *end = value + size, *data;
	while (next_option(&at, end, &inner, &data, &inner_size)) {
		if (inner != OPTION_IAADDR || inner_size < 24)
			continue;
		request->any_address = true;
		if (!lease->has_address || !equal16(data, lease->address)) {
			request->foreign_address = true;
			association->other = data;
		}
	}
}

static void read_request(const struct dhcp6_lease *lease, const uint8_t *at, const uint8_t *end,
			 struct request *request)
{
	uint16_t option, size;
	const uint8_t *value;
	while (next_option(&at, end, &option, &value, &size)) {
		if (option == OPTION_CLIENT && size <= MAX_DUID) {
			request->client = value;
			request->client_length = size;
		} else if (option == OPTION_SERVER) {
			request->server = value;
			request->server_length = size;
		} else if (option == OPTION_RAPID_COMMIT) {
			request->rapid_commit = true;
		} else if (option == OPTION_IA_NA || option == OPTION_IA_TA || option == OPTION_IA_PD) {
			read_association(lease, option, value, size, request);
		} else if (option == OPTION_USER_CLASS) {
			request->ipxe |= memmem(value, size, "iPXE", 4) != NULL;
		} else if (option == OPTION_ARCHITECTURE) {
			for (unsigned i = 0; i + 2 <= size; i += 2)
				request->firmware |= load16(value + i) == ARCHITECTURE_EFI;
		}
	}
}

static uint8_t *put(uint8_t *at, uint16_t option, const void *value, size_t size)
{
	store16(at, option);
	store16(at + 2, (uint32_t)size);
	memcpy(at + 4, value, size);
	return at + 4 + size;
}

static uint8_t *put_status(uint8_t *at, uint16_t status)
{
	uint8_t code[2];
	store16(code, status);
	return put(at, OPTION_STATUS, code, 2);
}

static uint8_t *put_address(uint8_t *at, const uint8_t address[16], uint8_t lifetimes)
{
	uint8_t value[24];
	memcpy(value, address, 16);
	memset(value + 16, lifetimes, 8); /* preferred and valid: all ones is for ever */
	return put(at, OPTION_IAADDR, value, sizeof value);
}

static uint8_t *put_association(uint8_t *at, const struct dhcp6_lease *lease, const struct association *association,
				uint8_t type)
{
	uint8_t *start = at;
	size_t head = association->option == OPTION_IA_TA ? 4 : 12;
	store16(at, association->option);
	memcpy(at + 4, association->id, 4);
	bool lives = association->option == OPTION_IA_NA && lease->has_address;
	memset(at + 8, lives ? 0xff : 0, head - 4); /* T1 and T2: no need to renew */
	at += 4 + head;
	if (lives)
		at = put_address(at, lease->address, 0xff);
	else
		at = put_status(at, association->option == OPTION_IA_PD ? STATUS_NO_PREFIX : STATUS_NO_ADDRESS);
	if (association->other != NULL && association->option == OPTION_IA_NA && (type == RENEW || type == REBIND))
		at = put_address(at, association->other, 0); /* give it up */
	store16(start + 2, (uint32_t)(at - start - 4));
	return at;
}

static uint8_t *put_boot(uint8_t *at, const struct dhcp6_lease *lease, const struct request *request)
{
	char url[192];
	struct in6_addr server;
	if ((!request->firmware && !request->ipxe) || lease->pxe_server == NULL ||
	    inet_pton(AF_INET6, lease->pxe_server, &server) != 1)
		return at;
	int length = request->ipxe ?
		snprintf(url, sizeof url, "http://[%s]/%s", lease->pxe_server, lease->pxe_file) :
		snprintf(url, sizeof url, "tftp://[%s]/ipxe/x86_64/ipxe.new", lease->pxe_server);
	return length > 0 && (size_t)length < sizeof url ? put(at, OPTION_BOOT_FILE_URL, url, (size_t)length) : at;
}

/* A message that names another server is not for us. One that ought to name a server or its client and does not is taken all
 * the same (RFC 8415 section 16 would have it left alone): nobody else is on this link, and loaders are careless. */
static bool addressed(const struct dhcp6_lease *lease, uint8_t type, const struct request *request)
{
	bool ours = request->server == NULL || (request->server_length == sizeof lease->server &&
		memcmp(request->server, lease->server, sizeof lease->server) == 0);
	switch (type) {
	case SOLICIT: case REQUEST: case CONFIRM: case RENEW: case REBIND: case RELEASE: case DECLINE:
	case INFORMATION_REQUEST:
		return ours;
	default:
		return false;
	}
}

size_t dhcp6_answer(const struct dhcp6_lease *lease, const uint8_t *message, size_t length, uint8_t answer[DHCP6_LIMIT])
{
	struct request request = {0};
	if (length < 4)
		return 0;
	uint8_t type = message[0];
	read_request(lease, message + 4, message + length, &request);
	if (!addressed(lease, type, &request) || (type == CONFIRM && !request.any_address))
		return 0;
	bool commit = type == SOLICIT && request.rapid_commit;
	answer[0] = type == SOLICIT && !commit ? ADVERTISE : REPLY;
	memcpy(answer + 1, message + 1, 3); /* transaction */
	uint8_t *at = put(answer + 4, OPTION_SERVER, lease->server, sizeof lease->server);
	if (request.client != NULL)
		at = put(at, OPTION_CLIENT, request.client, request.client_length);
	if (type == CONFIRM) {
		at = put_status(at, request.foreign_address ? STATUS_NOT_ON_LINK : STATUS_SUCCESS);
	} else if (type == RELEASE || type == DECLINE) {
		at = put_status(at, STATUS_SUCCESS);
	} else {
		const uint8_t preference = 255; /* don't wait for other servers */
		if (answer[0] == ADVERTISE)
			at = put(at, OPTION_PREFERENCE, &preference, 1);
		if (commit)
			at = put(at, OPTION_RAPID_COMMIT, "", 0);
		for (unsigned i = 0; type != INFORMATION_REQUEST && i < request.associations; i++)
			at = put_association(at, lease, &request.association[i], type);
		if (lease->dns_count > 0)
			at = put(at, OPTION_DNS, lease->dns, (size_t)lease->dns_count * 16);
		at = put_boot(at, lease, &request);
	}
	return (size_t)(at - answer);
}

bool service_dhcp6(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	uint8_t *data = packet_data(buffer), answer[DHCP6_LIMIT];
	uint32_t start = (uint32_t)packet->l4_offset + UDP_LENGTH, end = (uint32_t)packet->ip_length + ETHERNET_LENGTH;
	struct ipv6_header *ip = (struct ipv6_header *)(void *)(data + ETHERNET_LENGTH);
	if (end < start || end > buffer->data_len || zero16(ip->source))
		return false;
	struct dhcp6_lease lease = {
		.has_address = interface->has6 != 0, .server = {0, 3, 0, 1},
		.dns = engine->dns6[0].bytes, .dns_count = engine->dns6_count,
		.pxe_server = interface->pxe_server, .pxe_file = interface->pxe_file,
	};
	memcpy(lease.address, interface->ipv6, 16);
	memcpy(lease.server + 4, interface->port->mac, 6);
	size_t length = dhcp6_answer(&lease, data + start, end - start, answer);
	if (length == 0)
		return false;
	struct udp_header *udp = (struct udp_header *)(void *)(data + ETHERNET_LENGTH + IPV6_LENGTH);
	uint32_t udp_length = UDP_LENGTH + (uint32_t)length;
	memcpy(data, data + 6, 6);
	memcpy(data + 6, interface->port->mac, 6);
	store32(ip->version_class_label, 0x60000000u);
	store16(ip->payload_length, udp_length);
	ip->next_header = PROTOCOL_UDP;
	ip->hop_limit = 64;
	memcpy(ip->destination, ip->source, 16);
	memcpy(ip->source, GATEWAY6, 16);
	store16(udp->source, 547);
	store16(udp->destination, 546);
	store16(udp->length, udp_length);
	memset(udp->checksum, 0, 2);
	memcpy(udp + 1, answer, length);
	checksum_put_udp(udp->checksum, checksum_add(checksum_pseudo6(ip, PROTOCOL_UDP, udp_length), udp, udp_length));
	service_finish(buffer, ETHERNET_LENGTH + IPV6_LENGTH + udp_length);
	COUNT(engine, stage_dhcp6, 1);
	return true;
}
