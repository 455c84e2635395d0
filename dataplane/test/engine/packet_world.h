/* Packets for the tests of src/packet: made of random parts, and judged by a computation that is as plain as can be
 * (16-bit words, one after the other), so that it shares nothing with what it judges. */
#ifndef FERRITE_TEST_PACKET_WORLD_H
#define FERRITE_TEST_PACKET_WORLD_H

#include "control/check.h"
#include "packet/buffer.h"
#include "packet/parse.h"

enum { PACKET_ROOM = 70000 };

/* What a packet is to be. Addresses, ports, identifiers, class, TTL and payload are random. */
struct shape {
	uint8_t family, protocol;  /* PROTOCOL_ICMP is ICMPv6 in IPv6 */
	uint8_t icmp_type, icmp_code;
	uint8_t options;           /* IPv4: words of options; IPv6: bits of headers: 1 hop-by-hop, 2 routing, 4 destination */
	bool no_checksum;          /* UDP: none */
	uint8_t tcp_flags;
	uint16_t fragment;         /* IPv4: the word of flags and offset */
	uint32_t rest;             /* ICMP error */
	uint32_t payload;
	const uint8_t *quoted;     /* ICMP error: the packet; `payload` bytes of it */
};

/* DPDK's environment and the pools; ends the process where they do not start. */
void packet_world(void);
void packet_seed(uint64_t seed);
uint32_t chance(uint32_t below);
void chance_bytes(void *to, uint32_t length);
/* A random shape of TCP, UDP or echo with up to `payload` bytes. */
struct shape any_shape(uint8_t family, uint32_t payload);
uint32_t packet_make(uint8_t *to, const struct shape *shape);
/* All checksums fit, those of a quoted packet too where it is whole. */
bool packet_good(const uint8_t *ip, uint32_t length);
/* As a receiver judges it: sums over IPv4's header and over L4 come out even. For whole packets that parse. */
bool packet_verifies(const uint8_t *ip, uint32_t length);
/* The checksum of L4 as it should be, in host order, whatever the field holds. */
uint16_t naive_checksum(const uint8_t *ip, uint32_t length);
/* Leaves the checksum to a device: the field holds the pseudo header's sum. */
void packet_leave_checksum(uint8_t *ip, uint32_t length, struct offload *offload);
/* What the device does then. */
void packet_device(uint8_t *ip, uint32_t length, const struct offload *offload);
/* A buffer with `before` bytes of 0xe1, 0xe2... and the packet; a second segment from `split` bytes of it on (0: none). */
struct rte_mbuf *packet_buffer(const uint8_t *ip, uint32_t length, uint16_t before, uint32_t split);

/* Below: inline, because each test counts its own failures. */

/* The packet that is at `before`, in a place that holds until the next call; checks what stands before it. */
static inline uint8_t *packet_taken(const struct rte_mbuf *buffer, uint16_t before, uint32_t *length)
{
	static uint8_t bytes[PACKET_ROOM];
	*length = packet_copy_out(buffer, bytes, sizeof bytes) - before;
	CHECK_NUMBER(packet_of(buffer)->ip_offset, before);
	CHECK_NUMBER(buffer->pkt_len, *length + before);
	for (uint16_t i = 0; i < before; i++)
		CHECK_NUMBER(bytes[i], (uint8_t)(0xe1 + i));
	return bytes + before;
}

/* The tuple; a packet that is malformed fails the test. */
static inline struct tuple tuple_of(const uint8_t *ip, uint32_t length)
{
	struct tuple tuple;
	CHECK_NUMBER(parse_ip(ip, length, length, &tuple), PARSE_OK);
	return tuple;
}

static inline void packet_no_leak(void)
{
	CHECK_NUMBER(rte_mempool_in_use_count(buffers.small), 0);
	CHECK_NUMBER(rte_mempool_in_use_count(buffers.big), 0);
}

#endif
