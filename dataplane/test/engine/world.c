#include "world.h"

#include <stdio.h>
#include <stdlib.h>

static void require(int status, const char *what)
{
	if (status == 0)
		return;
	(void)fprintf(stderr, "%s: %s\n", what, strerror(-status));
	exit(1);
}

uint32_t world_seed;

struct ferrite_engine *world_engine(unsigned host, const char *uplink, uint16_t mtu)
{
	char error[FERRITE_ERROR_TEXT] = "";
	struct ferrite_engine_config config = {.name = "test", .uplink = uplink, .mtu = mtu,
					       .has_seed = world_seed != 0, .seed = world_seed};
	struct ferrite_engine *engine;
	const uint8_t prefix[8] = {0xfd, 0, 0, 0x0f, 0, (uint8_t)host};
	memcpy(config.underlay_prefix.bytes, prefix, 8);
	config.dns4_count = config.dns6_count = 1;
	memcpy(config.dns4[0].bytes, (const uint8_t[]){192, 0, 2, 53}, 4);
	config.dns6[0].bytes[0] = 0x20;
	int status = ferrite_engine_start(&config, &engine, error);
	if (status < 0) {
		(void)fprintf(stderr, "no engine: %s\n", error);
		exit(1);
	}
	return engine;
}

void world_vm(struct vm *vm, struct ferrite_engine *engine, unsigned host, uint32_t vni, unsigned number)
{
	char error[FERRITE_ERROR_TEXT], name[64];
	struct ferrite_interface_config config = {.vni = vni, .hostname = "tester"};
	struct ferrite_port_info info;
	*vm = (struct vm){.engine = engine, .mac = {2, 0, 0, 0, (uint8_t)vni, (uint8_t)number}};
	(void)snprintf(name, sizeof name, "ring:vm-%u-%u-%u", host, vni, number);
	memcpy(vm->ipv4, (const uint8_t[]){10, 0, 0, (uint8_t)number}, 4);
	memcpy(vm->ipv6, (const uint8_t[16]){0x20, 1, 0x0d, 0xb8, [15] = (uint8_t)number}, 16);
	memcpy(config.ipv4.bytes, vm->ipv4, 4);
	memcpy(config.ipv6.bytes, vm->ipv6, 16);
	require(ferrite_port_open(engine, name, NULL, &vm->port, error), "ferrite_port_open");
	config.port = vm->port;
	require(ferrite_interface_add(engine, &config, &vm->index, &vm->underlay), "ferrite_interface_add");
	require(ferrite_port_info(engine, vm->port, &info), "ferrite_port_info");
	vm->gateway = info.mac;
	vm->end = ring_join(name + 5);
	require(vm->end == NULL ? -1 : 0, "ring_join");
}

void world_vm_leave(struct vm *vm)
{
	require(ferrite_interface_remove(vm->engine, vm->index), "ferrite_interface_remove");
	require(ferrite_port_close(vm->engine, vm->port), "ferrite_port_close");
	ring_leave(vm->end);
}

void world_route(struct ferrite_engine *engine, uint32_t vni, const struct vm *to)
{
	struct ferrite_route route = {.key = {.vni = vni, .family = 4, .length = 32}, .next_hop = to->underlay};
	memcpy(route.key.prefix, to->ipv4, 4);
	require(ferrite_route_put(engine, &route, true), "ferrite_route_put");
	route.key.family = 6;
	route.key.length = 128;
	memcpy(route.key.prefix, to->ipv6, 16);
	require(ferrite_route_put(engine, &route, true), "ferrite_route_put");
}

void world_poll(struct ferrite_engine *one, struct ferrite_engine *other)
{
	unsigned idle = 0;
	while (idle < 10) {
		unsigned moved = ferrite_engine_poll(one) + (other != NULL ? ferrite_engine_poll(other) : 0);
		idle = moved > 0 ? 0 : idle + 1;
	}
}

struct search {
	const char *name;
	uint64_t value;
};

static void match(void *context, const char *name, uint64_t value)
{
	struct search *search = context;
	if (strcmp(search->name, name) == 0)
		search->value = value;
}

uint64_t world_counter(struct ferrite_engine *engine, const char *name)
{
	struct search search = {.name = name, .value = UINT64_MAX};
	ferrite_counters_each(engine, match, &search);
	return search.value;
}

uint32_t frame_wrap4(uint8_t *frame, const uint8_t mac_to[6], const uint8_t mac_from[6], const uint8_t from[4],
		     const uint8_t to[4], uint16_t source, uint16_t destination, const void *data, uint32_t length)
{
	struct ipv4_header *ip = (struct ipv4_header *)(void *)(frame + ETHERNET_LENGTH);
	struct udp_header *udp = (struct udp_header *)(void *)(ip + 1);
	memcpy(frame, mac_to, 6);
	memcpy(frame + 6, mac_from, 6);
	store16(frame + 12, ETHERTYPE_IPV4);
	*ip = (struct ipv4_header){.version_ihl = 0x45, .ttl = 64, .protocol = PROTOCOL_UDP};
	store16(ip->total_length, IPV4_LENGTH + UDP_LENGTH + length);
	memcpy(ip->source, from, 4);
	memcpy(ip->destination, to, 4);
	checksum_ipv4(ip, IPV4_LENGTH);
	store16(udp->source, source);
	store16(udp->destination, destination);
	store16(udp->length, UDP_LENGTH + length);
	memset(udp->checksum, 0, 2);
	memcpy(udp + 1, data, length);
	checksum_put_udp(udp->checksum, checksum_add(checksum_pseudo4(ip, PROTOCOL_UDP, UDP_LENGTH + length), udp,
						     UDP_LENGTH + length));
	return ETHERNET_LENGTH + IPV4_LENGTH + UDP_LENGTH + length;
}

uint32_t frame_wrap6(uint8_t *frame, const uint8_t mac_to[6], const uint8_t mac_from[6], const uint8_t from[16],
		     const uint8_t to[16], uint16_t source, uint16_t destination, const void *data, uint32_t length)
{
	struct ipv6_header *ip = (struct ipv6_header *)(void *)(frame + ETHERNET_LENGTH);
	struct udp_header *udp = (struct udp_header *)(void *)(ip + 1);
	memcpy(frame, mac_to, 6);
	memcpy(frame + 6, mac_from, 6);
	store16(frame + 12, ETHERTYPE_IPV6);
	*ip = (struct ipv6_header){.version_class_label = {0x60}, .hop_limit = 64, .next_header = PROTOCOL_UDP};
	store16(ip->payload_length, UDP_LENGTH + length);
	memcpy(ip->source, from, 16);
	memcpy(ip->destination, to, 16);
	store16(udp->source, source);
	store16(udp->destination, destination);
	store16(udp->length, UDP_LENGTH + length);
	memset(udp->checksum, 0, 2);
	memcpy(udp + 1, data, length);
	checksum_put_udp(udp->checksum, checksum_add(checksum_pseudo6(ip, PROTOCOL_UDP, UDP_LENGTH + length), udp,
						     UDP_LENGTH + length));
	return ETHERNET_LENGTH + IPV6_LENGTH + UDP_LENGTH + length;
}

static const uint8_t *pattern(uint32_t length, uint8_t seed)
{
	static uint8_t data[FRAME_ROOM];
	for (uint32_t i = 0; i < length; i++)
		data[i] = (uint8_t)(seed + i);
	return data;
}

uint32_t frame_udp4(uint8_t *frame, const struct vm *from, const uint8_t to[4], uint32_t payload, uint8_t seed)
{
	return frame_wrap4(frame, from->gateway.bytes, from->mac, from->ipv4, to, 1000, 2000, pattern(payload, seed),
			   payload);
}

uint32_t frame_udp6(uint8_t *frame, const struct vm *from, const uint8_t to[16], uint32_t payload, uint8_t seed)
{
	return frame_wrap6(frame, from->gateway.bytes, from->mac, from->ipv6, to, 1000, 2000, pattern(payload, seed),
			   payload);
}

bool frame_checks(const uint8_t *ip, uint32_t length)
{
	uint64_t pseudo;
	uint32_t header, total;
	uint8_t protocol;
	if (ip[0] >> 4 == 4) {
		header = (ip[0] & 15u) * 4;
		total = load16(ip + 2);
		protocol = ip[9];
		if (checksum_fold(checksum_add(0, ip, header)) != 0xffff || (load16(ip + 6) & 0x3fff) != 0)
			return false;
		pseudo = checksum_pseudo4((const struct ipv4_header *)(const void *)ip, protocol, total - header);
		if (protocol == PROTOCOL_ICMP)
			pseudo = 0;
	} else {
		header = IPV6_LENGTH;
		total = header + load16(ip + 4);
		protocol = ip[6];
		pseudo = checksum_pseudo6((const struct ipv6_header *)(const void *)ip, protocol, total - header);
	}
	return total <= length && checksum_fold(checksum_add(pseudo, ip + header, total - header)) == 0xffff;
}
