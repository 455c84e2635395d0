#include "engine/packet_world.h"

#include <stdlib.h>

#include <rte_eal.h>

static uint64_t state = 1;

void packet_world(void)
{
	char line[] = "packet-test --no-huge --no-shconf --file-prefix packet-test -m 64 --lcores 0@0 --no-pci --no-telemetry --log-level=*:error";
	static char text[sizeof line];
	static char *arguments[24];
	int count = 0;
	memcpy(text, line, sizeof line);
	for (char *save, *word = strtok_r(text, " ", &save); word != NULL && count < 23; word = strtok_r(NULL, " ", &save))
		arguments[count++] = word;
	if (rte_eal_init(count, arguments) < 0)
		exit(2);
	buffers.small = rte_pktmbuf_pool_create("small", 63, 0, sizeof(struct packet), SMALL_ROOM + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
	buffers.big = rte_pktmbuf_pool_create("big", 15, 0, sizeof(struct packet), UINT16_MAX, SOCKET_ID_ANY);
	if (buffers.small == NULL || buffers.big == NULL)
		exit(2);
}

void packet_seed(uint64_t seed)
{
	state = seed * 0x9e3779b97f4a7c15ULL + 1;
}

uint32_t chance(uint32_t below)
{
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(state >> 33) % below;
}

void chance_bytes(void *to, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		((uint8_t *)to)[i] = (uint8_t)chance(256);
}

struct shape any_shape(uint8_t family, uint32_t payload)
{
	const uint8_t protocols[] = {PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMP};
	struct shape shape = {.family = family, .protocol = protocols[chance(3)], .payload = chance(payload + 1)};
	shape.icmp_type = (uint8_t)((family == 4 ? 0 : 128) + chance(2) * (family == 4 ? 8 : 1));
	shape.options = (uint8_t)(chance(3) == 0 ? chance(family == 4 ? 11 : 8) : 0);
	shape.no_checksum = family == 4 && chance(4) == 0;
	shape.tcp_flags = (uint8_t)chance(256);
	return shape;
}

static uint32_t words(uint32_t sum, const uint8_t *at, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++) {
		sum += i % 2 == 0 ? (uint32_t)at[i] << 8 : at[i];
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

static uint32_t extension(uint8_t *at, uint8_t kind, uint8_t next)
{
	uint32_t size = 8 + 8 * chance(3);
	chance_bytes(at, size);
	at[0] = next;
	at[1] = (uint8_t)(size / 8 - 1);
	if (kind == PROTOCOL_ROUTING)
		at[3] = 0;
	return size;
}

static uint32_t make_ip(uint8_t *to, const struct shape *shape, uint8_t protocol)
{
	if (shape->family == 4) {
		uint32_t header = IPV4_LENGTH + shape->options * 4u;
		chance_bytes(to, header);
		to[0] = (uint8_t)(0x40 | header / 4);
		store16(to + 6, shape->fragment);
		to[9] = protocol;
		to[12] = 10;
		to[16] = 20;
		return header;
	}
	chance_bytes(to, IPV6_LENGTH);
	to[0] = (uint8_t)(0x60 | (to[0] & 15));
	to[8] = to[24] = 0x20;
	const uint8_t kinds[] = {PROTOCOL_HOP_BY_HOP, PROTOCOL_ROUTING, PROTOCOL_DESTINATION};
	uint8_t *link = to + 6;
	uint32_t at = IPV6_LENGTH;
	for (unsigned i = 0; i < 3; i++) {
		if ((shape->options >> i & 1) == 0)
			continue;
		*link = kinds[i];
		link = to + at;
		at += extension(to + at, kinds[i], 0);
	}
	*link = protocol;
	return at;
}

uint32_t packet_make(uint8_t *to, const struct shape *shape)
{
	uint8_t protocol = shape->protocol == PROTOCOL_ICMP && shape->family == 6 ? PROTOCOL_ICMPV6 : shape->protocol;
	uint32_t header = make_ip(to, shape, protocol);
	uint32_t l4 = protocol == PROTOCOL_TCP ? TCP_LENGTH : UDP_LENGTH, length = header + l4 + shape->payload;
	chance_bytes(to + header, l4 + shape->payload);
	if (protocol == PROTOCOL_TCP) {
		to[header + 12] = 0x50;
		to[header + 13] = shape->tcp_flags;
	} else if (protocol == PROTOCOL_UDP) {
		store16(to + header + 4, l4 + shape->payload);
	} else {
		to[header] = shape->icmp_type;
		to[header + 1] = shape->icmp_code;
		if (shape->quoted != NULL) {
			store32(to + header + 4, shape->rest);
			memcpy(to + header + 8, shape->quoted, shape->payload);
		}
	}
	store16(to + (shape->family == 4 ? 2 : 4), shape->family == 4 ? length : length - IPV6_LENGTH);
	if (shape->family == 4) {
		memset(to + 10, 0, 2);
		store16(to + 10, (uint16_t)~words(0, to, header));
	}
	uint32_t field = header + (protocol == PROTOCOL_TCP ? 16 : protocol == PROTOCOL_UDP ? 6 : 2);
	store16(to + field, protocol == PROTOCOL_UDP && shape->no_checksum ? 0 : naive_checksum(to, length));
	return length;
}

/* Where L4 is and which; by a walk of its own. */
static uint32_t l4_of(const uint8_t *ip, uint8_t *protocol)
{
	if (ip[0] >> 4 == 4) {
		*protocol = ip[9];
		return (ip[0] & 15u) * 4;
	}
	uint32_t at = IPV6_LENGTH;
	*protocol = ip[6];
	while (*protocol == 0 || *protocol == 43 || *protocol == 60 || *protocol == 44) {
		uint32_t size = *protocol == 44 ? 8 : 8 + 8u * ip[at + 1];
		*protocol = ip[at];
		at += size;
	}
	return at;
}

static uint32_t naive_pseudo(const uint8_t *ip, uint32_t length, uint8_t protocol)
{
	if (protocol == PROTOCOL_ICMP)
		return 0;
	uint32_t sum = ip[0] >> 4 == 4 ? words(0, ip + 12, 8) : words(0, ip + 8, 32);
	sum += protocol + length;
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint32_t field_of(uint8_t protocol)
{
	return protocol == PROTOCOL_TCP ? 16 : protocol == PROTOCOL_UDP ? 6 : 2;
}

uint16_t naive_checksum(const uint8_t *ip, uint32_t length)
{
	static uint8_t copy[PACKET_ROOM];
	uint8_t protocol;
	uint32_t l4 = l4_of(ip, &protocol);
	memcpy(copy, ip, length);
	memset(copy + l4 + field_of(protocol), 0, 2);
	uint16_t found = (uint16_t)~words(naive_pseudo(ip, length - l4, protocol), copy + l4, length - l4);
	return protocol == PROTOCOL_UDP && found == 0 ? 0xffff : found;
}

bool packet_verifies(const uint8_t *ip, uint32_t length)
{
	uint8_t protocol;
	uint32_t l4 = l4_of(ip, &protocol), sum;
	if (ip[0] >> 4 == 4 && words(0, ip, l4) != 0xffff)
		return false;
	if (protocol == PROTOCOL_UDP && ip[0] >> 4 == 4 && load16(ip + l4 + 6) == 0)
		return true;
	sum = words(naive_pseudo(ip, length - l4, protocol), ip + l4, length - l4);
	return (sum & 0xffff) + (sum >> 16) == 0xffff;
}

bool packet_good(const uint8_t *ip, uint32_t length)
{
	uint8_t protocol;
	uint32_t l4 = l4_of(ip, &protocol), said = ip[0] >> 4 == 4 ? load16(ip + 2) : IPV6_LENGTH + (uint32_t)load16(ip + 4);
	if (said != length || (ip[0] >> 4 == 4 && words(0, ip, l4) != 0xffff))
		return false;
	uint16_t field = load16(ip + l4 + field_of(protocol));
	if (!(protocol == PROTOCOL_UDP && field == 0 && ip[0] >> 4 == 4) && field != naive_checksum(ip, length))
		return false;
	bool error = protocol == PROTOCOL_ICMP ? ip[l4] == 3 || ip[l4] == 11 || ip[l4] == 12 :
						 protocol == PROTOCOL_ICMPV6 && ip[l4] < 128;
	if (!error)
		return true;
	const uint8_t *quoted = ip + l4 + ICMP_LENGTH;
	uint32_t there = length - l4 - ICMP_LENGTH;
	uint32_t whole = quoted[0] >> 4 == 4 ? load16(quoted + 2) : IPV6_LENGTH + (uint32_t)load16(quoted + 4);
	if (quoted[0] >> 4 == 4 && words(0, quoted, (quoted[0] & 15u) * 4) != 0xffff)
		return false;
	return whole > there || packet_good(quoted, whole);
}

void packet_leave_checksum(uint8_t *ip, uint32_t length, struct offload *offload)
{
	uint8_t protocol;
	uint32_t l4 = l4_of(ip, &protocol);
	*offload = (struct offload){.needs_checksum = 1, .checksum_start = (uint16_t)l4,
				    .checksum_offset = (uint16_t)field_of(protocol)};
	store16(ip + l4 + field_of(protocol), naive_pseudo(ip, length - l4, protocol));
}

void packet_device(uint8_t *ip, uint32_t length, const struct offload *offload)
{
	uint16_t sum = (uint16_t)~words(0, ip + offload->checksum_start, length - offload->checksum_start);
	store16(ip + offload->checksum_start + offload->checksum_offset, sum == 0 && offload->checksum_offset == 6 ? 0xffff : sum);
}

struct rte_mbuf *packet_buffer(const uint8_t *ip, uint32_t length, uint16_t before, uint32_t split)
{
	struct rte_mbuf *buffer = rte_pktmbuf_alloc(buffers.small);
	uint32_t first = split == 0 || split > length ? length : split;
	if (buffer == NULL || first + before > SMALL_ROOM)
		abort();
	for (uint16_t i = 0; i < before; i++)
		packet_data(buffer)[i] = (uint8_t)(0xe1 + i);
	memcpy(packet_data(buffer) + before, ip, first);
	buffer->data_len = (uint16_t)(before + first);
	buffer->pkt_len = before + length;
	packet_no_offload(packet_of(buffer));
	packet_of(buffer)->ip_offset = before;
	if (first < length) {
		struct rte_mbuf *second = rte_pktmbuf_alloc(buffers.big);
		if (second == NULL)
			abort();
		memcpy(packet_data(second), ip + first, length - first);
		second->data_len = (uint16_t)(length - first);
		second->pkt_len = length - first;
		buffer->next = second;
		buffer->nb_segs = 2;
	}
	return buffer;
}
