#include "observe/pcapng.h"

#include <stdio.h>
#include <string.h>

enum {
	BLOCK_SECTION = 0x0a0d0d0a,
	BLOCK_INTERFACE = 1,
	BLOCK_STATISTICS = 5,
	BLOCK_PACKET = 6,
	BYTE_ORDER = 0x1a2b3c4d,

	OPTION_END = 0,
	OPTION_COMMENT = 1,
	SECTION_APPLICATION = 4,
	INTERFACE_NAME = 2,
	INTERFACE_DESCRIPTION = 3,
	INTERFACE_RESOLUTION = 9,
	INTERFACE_FILTER = 11,
	PACKET_FLAGS = 2,
	STATISTICS_BEGAN = 2,
	STATISTICS_ENDED = 3,
	STATISTICS_RECEIVED = 4,
	STATISTICS_DROPPED = 5,
	STATISTICS_ACCEPTED = 6,
	STATISTICS_DELIVERED = 8,

	NANOSECONDS = 9,
	FLAGS_IN = 1,
	FLAGS_OUT = 2,
};

/* A block in the making. What does not fit makes it void. */
struct block {
	uint8_t *out;
	size_t room, at;
};

static void put(struct block *block, const void *bytes, size_t length)
{
	size_t padded = (length + 3) & ~(size_t)3;
	if (block->at + padded > block->room) {
		block->room = 0;
		return;
	}
	if (length > 0)
		memcpy(block->out + block->at, bytes, length);
	memset(block->out + block->at + length, 0, padded - length);
	block->at += padded;
}

static void put32(struct block *block, uint32_t value)
{
	put(block, &value, sizeof value);
}

static void put_halves(struct block *block, uint16_t one, uint16_t other)
{
	const uint16_t both[2] = {one, other};
	put(block, both, sizeof both);
}

/* High half first, whatever the byte order. */
static void put_time(struct block *block, uint64_t ns)
{
	put32(block, (uint32_t)(ns >> 32));
	put32(block, (uint32_t)ns);
}

static void option(struct block *block, uint16_t code, const void *bytes, uint16_t length)
{
	put_halves(block, code, length);
	put(block, bytes, length);
}

static void option64(struct block *block, uint16_t code, uint64_t value)
{
	option(block, code, &value, sizeof value);
}

static void option_time(struct block *block, uint16_t code, uint64_t ns)
{
	put_halves(block, code, 8);
	put_time(block, ns);
}

static void option_text(struct block *block, uint16_t code, const char *text)
{
	size_t length = strnlen(text, PCAPNG_TEXT);
	if (length > 0)
		option(block, code, text, (uint16_t)length);
}

static struct block begin(uint8_t *out, size_t room, uint32_t type)
{
	struct block block = {out, room, 0};
	put32(&block, type);
	put32(&block, 0); /* its length, known at the end */
	return block;
}

static size_t finish(struct block *block)
{
	put_halves(block, OPTION_END, 0);
	uint32_t length = (uint32_t)block->at + 4;
	put32(block, length);
	if (block->room == 0)
		return 0;
	memcpy(block->out + 4, &length, sizeof length);
	return block->at;
}

size_t pcapng_section(uint8_t *out, size_t room, const char *application)
{
	struct block block = begin(out, room, BLOCK_SECTION);
	put32(&block, BYTE_ORDER);
	put_halves(&block, 1, 0);
	put32(&block, UINT32_MAX); /* length of the section: not said */
	put32(&block, UINT32_MAX);
	option_text(&block, SECTION_APPLICATION, application);
	return finish(&block);
}

size_t pcapng_interface(uint8_t *out, size_t room, uint16_t link_type, uint32_t snap_length, const char *name,
			const char *description, const char *filter)
{
	struct block block = begin(out, room, BLOCK_INTERFACE);
	const uint8_t resolution = NANOSECONDS;
	put_halves(&block, link_type, 0);
	put32(&block, snap_length);
	option_text(&block, INTERFACE_NAME, name);
	option_text(&block, INTERFACE_DESCRIPTION, description);
	option(&block, INTERFACE_RESOLUTION, &resolution, 1);
	if (filter[0] != 0) {
		char coded[PCAPNG_TEXT];
		coded[0] = 0; /* 0: the text of a filter follows */
		int length = snprintf(coded + 1, sizeof coded - 1, "%s", filter);
		option(&block, INTERFACE_FILTER, coded,
		       (uint16_t)(length < PCAPNG_TEXT - 2 ? length + 1 : PCAPNG_TEXT - 1));
	}
	return finish(&block);
}

size_t pcapng_packet(uint8_t *out, size_t room, const struct ferrite_captured *packet)
{
	struct block block = begin(out, room, BLOCK_PACKET);
	char comment[PCAPNG_TEXT];
	put32(&block, packet->point);
	put_time(&block, packet->time_ns);
	put32(&block, packet->kept);
	put32(&block, packet->length);
	put(&block, packet->bytes, packet->kept);
	if (packet->segment > 0) {
		(void)snprintf(comment, sizeof comment, "super-packet, segments of %u bytes", packet->segment);
		option_text(&block, OPTION_COMMENT, comment);
	} else if (packet->partial_checksum) {
		option_text(&block, OPTION_COMMENT, "checksum not finished yet");
	}
	const uint32_t flags = packet->out ? FLAGS_OUT : FLAGS_IN;
	option(&block, PACKET_FLAGS, &flags, sizeof flags);
	return finish(&block);
}

size_t pcapng_statistics(uint8_t *out, size_t room, uint32_t interface, uint64_t began_ns, uint64_t ended_ns,
			 const struct ferrite_capture_count *count)
{
	struct block block = begin(out, room, BLOCK_STATISTICS);
	put32(&block, interface);
	put_time(&block, ended_ns);
	option_time(&block, STATISTICS_BEGAN, began_ns);
	option_time(&block, STATISTICS_ENDED, ended_ns);
	option64(&block, STATISTICS_RECEIVED, count->seen);
	option64(&block, STATISTICS_DROPPED, count->lost);
	option64(&block, STATISTICS_ACCEPTED, count->accepted);
	option64(&block, STATISTICS_DELIVERED, count->accepted - count->lost);
	return finish(&block);
}
