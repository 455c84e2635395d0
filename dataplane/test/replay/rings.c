#include "rings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packet/checksum.h"
#include "port/ring.h"

enum {
	PACKET_ROOM = 70000,
	MAX_TURNS = 4096, /* of one packet; more is a loop */
	STEPS = 200,      /* of a long time */
	TICK_MS = 100,
	START_MS = 1000000,
};

static uint64_t clock_ms = START_MS;
static unsigned joined;
static struct { char name[RINGS_NAME]; struct ring_end *end; bool uplink; } far[RINGS_PORTS];

uint64_t rings_clock_ms(void)
{
	return clock_ms;
}

void rings_clock_reset(void)
{
	clock_ms = START_MS;
}

bool rings_join(const char *name, const char *ring)
{
	if (joined == RINGS_PORTS || strlen(name) >= RINGS_NAME)
		return false;
	struct ring_end *end = ring_join(ring);
	if (end == NULL)
		return false;
	strcpy(far[joined].name, name);
	far[joined].uplink = name[0] == 0;
	far[joined++].end = end;
	return true;
}

void rings_leave(void)
{
	while (joined > 0)
		ring_leave(far[--joined].end);
}

void rings_settle(struct ferrite_engine *engine)
{
	unsigned turns = 0;
	for (unsigned idle = 0; idle < 2 && turns < MAX_TURNS; turns++)
		idle = ferrite_engine_poll(engine) > 0 ? 0 : idle + 1;
}

void rings_advance(struct ferrite_engine *engine, uint64_t milliseconds)
{
	uint64_t end = clock_ms + milliseconds;
	uint64_t step = milliseconds / STEPS > TICK_MS ? milliseconds / STEPS : TICK_MS;
	do {
		clock_ms = end - clock_ms > step ? clock_ms + step : end;
		/* The engine looks at its clock once in several turns. */
		for (unsigned turn = 0; turn < 16; turn++)
			(void)ferrite_engine_poll(engine);
	} while (clock_ms < end);
}

/* Where the L4 checksum of a whole TCP or UDP packet is, when it is right, and the sum of its pseudo-header; 0: none. */
static uint32_t checksum_place(const uint8_t *ip, uint32_t length, uint32_t *l4, uint64_t *pseudo)
{
	uint32_t end;
	uint8_t protocol;
	if (length >= IPV4_LENGTH && ip[0] == 0x45 && (load16(ip + 6) & 0x3fff) == 0) {
		*l4 = IPV4_LENGTH;
		end = load16(ip + 2);
		protocol = ip[9];
	} else if (length >= IPV6_LENGTH && ip[0] >> 4 == 6) {
		*l4 = IPV6_LENGTH;
		end = load16(ip + 4) + (uint32_t)IPV6_LENGTH;
		protocol = ip[6];
	} else {
		return 0;
	}
	uint32_t place = protocol == PROTOCOL_TCP ? 16 : protocol == PROTOCOL_UDP ? 6 : 0;
	if (place == 0 || end > length || *l4 + place + 2 > end || load16(ip + *l4 + place) == 0)
		return 0;
	*pseudo = ip[0] >> 4 == 4 ?
		checksum_pseudo4((const struct ipv4_header *)(const void *)ip, protocol, end - *l4) :
		checksum_pseudo6((const struct ipv6_header *)(const void *)ip, protocol, end - *l4);
	return checksum_fold(checksum_add(*pseudo, ip + *l4, end - *l4)) == 0xffff ? place : 0;
}

/* Marks of a packet of which the last part of sending is left to the receiver. */
static struct offload left_over(uint8_t *ip, uint32_t length, uint16_t segment)
{
	uint32_t l4, place;
	uint64_t pseudo;
	if ((place = checksum_place(ip, length, &l4, &pseudo)) == 0)
		return (struct offload){0};
	struct offload offload = {.needs_checksum = 1, .checksum_start = (uint16_t)l4, .checksum_offset = (uint16_t)place};
	uint16_t sum = checksum_fold(pseudo);
	memcpy(ip + l4 + place, &sum, sizeof sum);
	if (segment > 0 && place == 16) {
		offload.gso = ip[0] >> 4 == 4 ? GSO_TCP4 : GSO_TCP6;
		offload.gso_size = segment;
		offload.header_length = (uint16_t)(l4 + (ip[l4 + 12] >> 4) * 4u);
	}
	return offload;
}

bool rings_send(struct ferrite_engine *engine, const char *name, const void *data, uint32_t length, bool partial,
		uint16_t segment)
{
	static uint8_t copy[PACKET_ROOM];
	for (unsigned i = 0; i < joined; i++) {
		if (strcmp(far[i].name, name) != 0)
			continue;
		struct offload offload = {0};
		uint32_t frame = far[i].uplink ? IPV6_LENGTH : ETHERNET_LENGTH;
		if (length > sizeof copy)
			return false;
		memcpy(copy, data, length);
		if (partial && length > frame)
			offload = left_over(copy + frame, length - frame, segment);
		if (!ring_put(far[i].end, copy, length, &offload))
			return false;
		rings_settle(engine);
		return true;
	}
	return false;
}

/* A super-packet is TCP, of the family that its marks say, with headers as long as they say. */
static void must_be_its_own(const uint8_t *ip, uint32_t length, const struct offload *offload)
{
	bool wide = ip[0] >> 4 == 6;
	uint32_t l4 = wide ? IPV6_LENGTH : (ip[0] & 15u) * 4;
	bool right = offload->gso == (wide ? GSO_TCP6 : GSO_TCP4) && offload->gso_size > 0 && offload->needs_checksum &&
		length > l4 + 20 && (wide ? ip[6] : ip[9]) == PROTOCOL_TCP && offload->checksum_start == l4 &&
		offload->header_length == l4 + (ip[l4 + 12] >> 4) * 4u;
	if (right)
		return;
	(void)fprintf(stderr, "ferrite-replay: a packet of IPv%d with segmentation of kind %u, headers of %u bytes\n", wide ? 6 : 4,
		      offload->gso, offload->header_length);
	exit(2);
}

static void complete(uint8_t *data, uint32_t length, const struct packet *packet)
{
	const struct offload *offload = &packet->offload;
	if (offload->gso != GSO_NONE)
		must_be_its_own(data + packet->ip_offset, length - packet->ip_offset, offload);
	if (!offload->needs_checksum)
		return;
	uint32_t start = (uint32_t)packet->ip_offset + offload->checksum_start;
	if (start + offload->checksum_offset + 2 > length)
		return;
	/* The pseudo-header's sum is in the field already. A trailer of the frame is none of it. */
	const uint8_t *ip = data + packet->ip_offset;
	uint32_t end = packet->ip_offset + (ip[0] >> 4 == 4 ? load16(ip + 2) : load16(ip + 4) + (uint32_t)IPV6_LENGTH);
	uint64_t sum = checksum_add(0, data + start, (end < length ? end : length) - start);
	if (offload->checksum_offset == 6)
		checksum_put_udp(data + start + offload->checksum_offset, sum);
	else
		checksum_put(data + start + offload->checksum_offset, sum);
}

void rings_drain(void (*visit)(void *context, const char *name, const uint8_t *data, size_t length), void *context)
{
	static uint8_t data[PACKET_ROOM];
	for (unsigned i = 0; i < joined; i++) {
		struct packet packet;
		uint32_t length;
		while ((length = ring_take(far[i].end, data, sizeof data, &packet)) > 0) {
			complete(data, length, &packet);
			visit(context, far[i].name, data, length);
		}
	}
}
