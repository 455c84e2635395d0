#include "stage/dhcp4.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "stage/service.h"

enum {
	FIXED = 240, /* up to and with the magic cookie */
	MINIMUM = 300,
	DISCOVER = 1, OFFER = 2, REQUEST = 3, ACK = 5, NAK = 6, INFORM = 8,
	SIADDR = 20, FILE_NAME = 108, FILE_LENGTH = 128,
	OPTION_SUBNET = 1, OPTION_ROUTER = 3, OPTION_DNS = 6, OPTION_HOSTNAME = 12, OPTION_MTU = 26, OPTION_REQUESTED = 50,
	OPTION_LEASE = 51, OPTION_TYPE = 53, OPTION_SERVER = 54, OPTION_VENDOR_CLASS = 60, OPTION_CLIENT = 61,
	OPTION_USER_CLASS = 77, OPTION_ROUTES = 121,
};

static const char PXE_LOADER[] = "ipxe/x86_64/ipxe.new";

/* What boots from the network, as it says of itself. */
enum booter { BOOTS_NOT, BOOTS_FIRMWARE, BOOTS_IPXE };

struct request {
	uint8_t type;
	enum booter booter;
	const uint8_t *requested; /* 4 bytes, or NULL */
	const uint8_t *server;
	const uint8_t *client;    /* identifier: echoed (RFC 6842) */
	uint8_t client_length;
};

/* iPXE asks after the firmware's own class is still there: the user class counts more. */
static void read_class(struct request *request, uint8_t option, const uint8_t *value, size_t size)
{
	static const char firmware[] = "PXEClient:Arch:00007", ipxe[] = "iPXE";
	if (option == OPTION_USER_CLASS && memmem(value, size, ipxe, sizeof ipxe - 1) != NULL)
		request->booter = BOOTS_IPXE;
	else if (option == OPTION_VENDOR_CLASS && request->booter == BOOTS_NOT &&
		 memmem(value, size, firmware, sizeof firmware - 1) != NULL)
		request->booter = BOOTS_FIRMWARE;
}

static bool read_options(const uint8_t *at, size_t length, struct request *request)
{
	size_t i = 0;
	while (i < length && at[i] != 255) {
		if (at[i] == 0) {
			i++;
			continue;
		}
		if (i + 2 > length || i + 2 + at[i + 1] > length)
			return false;
		const uint8_t *value = at + i + 2;
		uint8_t size = at[i + 1];
		if (at[i] == OPTION_TYPE && size == 1)
			request->type = value[0];
		else if (at[i] == OPTION_REQUESTED && size == 4)
			request->requested = value;
		else if (at[i] == OPTION_SERVER && size == 4)
			request->server = value;
		else if (at[i] == OPTION_CLIENT && size >= 2 && size <= 64) {
			request->client = value;
			request->client_length = size;
		} else {
			read_class(request, at[i], value, size);
		}
		i += 2u + size;
	}
	return request->type != 0;
}

static uint8_t *put(uint8_t *at, uint8_t option, const void *value, size_t size)
{
	at[0] = option;
	at[1] = (uint8_t)size;
	memcpy(at + 2, value, size);
	return at + 2 + size;
}

static uint8_t answer_type(const struct dhcp4_lease *lease, const uint8_t *message, const struct request *request)
{
	if (request->type == DISCOVER)
		return OFFER;
	if (request->type == INFORM)
		return ACK;
	if (request->type != REQUEST || (request->server != NULL && raw32(request->server) != raw32(lease->server)))
		return 0;
	const uint8_t *asked = request->requested != NULL ? request->requested : message + 12; /* or ciaddr */
	return raw32(asked) == raw32(lease->address) || raw32(asked) == 0 ? ACK : NAK;
}

/* Server and file, and the router for loaders that know no classless routes. */
static uint8_t *put_boot(uint8_t *at, const struct dhcp4_lease *lease, enum booter booter, uint8_t *answer)
{
	if (booter == BOOTS_NOT || lease->pxe_server == NULL ||
	    inet_pton(AF_INET, lease->pxe_server, answer + SIADDR) != 1)
		return at;
	char *file = (char *)answer + FILE_NAME;
	if (booter == BOOTS_IPXE)
		(void)snprintf(file, FILE_LENGTH, "http://%s/%s", lease->pxe_server, lease->pxe_file);
	else
		(void)snprintf(file, FILE_LENGTH, "%s", PXE_LOADER);
	return put(at, OPTION_ROUTER, lease->server, 4);
}

size_t dhcp4_answer(const struct dhcp4_lease *lease, const uint8_t *request, size_t length,
		    uint8_t answer[DHCP4_LIMIT], bool *broadcast)
{
	static const uint8_t cookie[4] = {99, 130, 83, 99};
	struct request asked = {0};
	/* A request, Ethernet, no relay. */
	if (length < FIXED || request[0] != 1 || request[1] != 1 || request[2] != 6 ||
	    memcmp(request + 236, cookie, 4) != 0 || raw32(request + 24) != 0 ||
	    !read_options(request + FIXED, length - FIXED, &asked))
		return 0;
	uint8_t type = answer_type(lease, request, &asked);
	if (type == 0)
		return 0;
	memset(answer, 0, DHCP4_LIMIT);
	answer[0] = 2;
	answer[1] = 1;
	answer[2] = 6;
	memcpy(answer + 4, request + 4, 4);    /* transaction */
	memcpy(answer + 10, request + 10, 2);  /* flags */
	memcpy(answer + 28, request + 28, 16); /* hardware address */
	memcpy(answer + 236, cookie, 4);
	*broadcast = type == NAK || ((request[10] & 0x80) != 0 && raw32(request + 12) == 0);
	uint8_t *at = put(answer + FIXED, OPTION_TYPE, &type, 1);
	at = put(at, OPTION_SERVER, lease->server, 4);
	if (asked.client != NULL)
		at = put(at, OPTION_CLIENT, asked.client, asked.client_length);
	if (type != NAK) {
		static const uint8_t forever[4] = {255, 255, 255, 255}, host_mask[4] = {255, 255, 255, 255};
		/* 169.254.0.0/16 on link, then 0/0 and the virtual services by the gateway. */
		uint8_t mtu[2], routes[] = {16, 169, 254, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 169, 254, 1, 0, 0, 0, 0};
		store16(mtu, lease->mtu);
		memcpy(routes + 8, lease->server, 4);
		memcpy(routes + 16, lease->server, 4);
		memcpy(answer + 12, request + 12, 4);
		if (asked.type != INFORM) {
			memcpy(answer + 16, lease->address, 4);
			at = put(at, OPTION_LEASE, forever, 4);
		}
		at = put(at, OPTION_SUBNET, host_mask, 4);
		at = put(at, OPTION_MTU, mtu, 2);
		at = put(at, OPTION_ROUTES, routes, lease->virtual_services ? sizeof routes : 12);
		if (lease->dns_count > 0)
			at = put(at, OPTION_DNS, lease->dns, (size_t)lease->dns_count * 4);
		size_t name = strnlen(lease->hostname, 64);
		if (name > 0)
			at = put(at, OPTION_HOSTNAME, lease->hostname, name);
		at = put_boot(at, lease, asked.booter, answer);
	}
	*at++ = 255;
	size_t used = (size_t)(at - answer);
	return used < MINIMUM ? MINIMUM : used;
}

bool service_dhcp4(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	uint8_t *data = packet_data(buffer), answer[DHCP4_LIMIT];
	uint32_t start = (uint32_t)packet->l4_offset + UDP_LENGTH, end = (uint32_t)packet->ip_length + ETHERNET_LENGTH;
	bool broadcast;
	if (!interface->has4 || end < start || end > buffer->data_len)
		return false;
	struct dhcp4_lease lease = {
		.mtu = engine->mtu, .dns = engine->dns4[0].bytes, .dns_count = engine->dns4_count,
		.hostname = interface->hostname, .pxe_server = interface->pxe_server, .pxe_file = interface->pxe_file,
		.virtual_services = engine->service_count > 0,
	};
	memcpy(lease.address, interface->ipv4, 4);
	memcpy(lease.server, GATEWAY4, 4);
	size_t length = dhcp4_answer(&lease, data + start, end - start, answer, &broadcast);
	if (length == 0)
		return false;
	struct ipv4_header *ip = (struct ipv4_header *)(void *)(data + ETHERNET_LENGTH);
	struct udp_header *udp = (struct udp_header *)(void *)(data + ETHERNET_LENGTH + IPV4_LENGTH);
	uint32_t udp_length = UDP_LENGTH + (uint32_t)length;
	memcpy(data, answer + 28, 6);
	if (broadcast)
		memset(data, 0xff, 6);
	memcpy(data + 6, interface->port->mac, 6);
	*ip = (struct ipv4_header){.version_ihl = 0x45, .ttl = 64, .protocol = PROTOCOL_UDP};
	store16(ip->total_length, IPV4_LENGTH + udp_length);
	memcpy(ip->source, GATEWAY4, 4);
	memcpy(ip->destination, interface->ipv4, 4);
	if (broadcast)
		memset(ip->destination, 0xff, 4);
	checksum_ipv4(ip, IPV4_LENGTH);
	store16(udp->source, 67);
	store16(udp->destination, 68);
	store16(udp->length, udp_length);
	memset(udp->checksum, 0, 2);
	memcpy(udp + 1, answer, length);
	checksum_put_udp(udp->checksum, checksum_add(checksum_pseudo4(ip, PROTOCOL_UDP, udp_length), udp, udp_length));
	service_finish(buffer, ETHERNET_LENGTH + IPV4_LENGTH + udp_length);
	COUNT(engine, stage_dhcp4, 1);
	return true;
}
