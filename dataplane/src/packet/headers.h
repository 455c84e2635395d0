/* The headers that the engine reads and writes, as they are on the wire, and unaligned big-endian access.
 *
 * Structures are packed and hold bytes or big-endian words; a pointer to one is only made after the length was
 * checked. Nothing here allocates or has state.
 */
#ifndef FERRITE_PACKET_HEADERS_H
#define FERRITE_PACKET_HEADERS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
	ETHERNET_LENGTH = 14,
	IPV4_LENGTH = 20,
	IPV6_LENGTH = 40,
	UDP_LENGTH = 8,
	TCP_LENGTH = 20,
	ICMP_LENGTH = 8,
	ARP_LENGTH = 28,

	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_ARP = 0x0806,
	ETHERTYPE_IPV6 = 0x86dd,

	PROTOCOL_ICMP = 1,
	PROTOCOL_IPV4 = 4, /* IPv4 in IPv6 */
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
	PROTOCOL_IPV6 = 41, /* IPv6 in IPv6 */
	PROTOCOL_FRAGMENT = 44,
	PROTOCOL_ICMPV6 = 58,
};

struct ethernet_header {
	uint8_t destination[6];
	uint8_t source[6];
	uint8_t type[2];
} __attribute__((packed));

struct ipv4_header {
	uint8_t version_ihl;
	uint8_t tos;
	uint8_t total_length[2];
	uint8_t id[2];
	uint8_t fragment[2]; /* 0x4000 don't fragment, 0x2000 more fragments, 13 bits offset */
	uint8_t ttl;
	uint8_t protocol;
	uint8_t checksum[2];
	uint8_t source[4];
	uint8_t destination[4];
} __attribute__((packed));

struct ipv6_header {
	uint8_t version_class_label[4];
	uint8_t payload_length[2];
	uint8_t next_header;
	uint8_t hop_limit;
	uint8_t source[16];
	uint8_t destination[16];
} __attribute__((packed));

struct udp_header {
	uint8_t source[2];
	uint8_t destination[2];
	uint8_t length[2];
	uint8_t checksum[2];
} __attribute__((packed));

struct tcp_header {
	uint8_t source[2];
	uint8_t destination[2];
	uint8_t sequence[4];
	uint8_t acknowledgement[4];
	uint8_t offset;
	uint8_t flags;
	uint8_t window[2];
	uint8_t checksum[2];
	uint8_t urgent[2];
} __attribute__((packed));

struct icmp_header {
	uint8_t type;
	uint8_t code;
	uint8_t checksum[2];
	uint8_t rest[4];
} __attribute__((packed));

struct arp_message {
	uint8_t hardware[2];
	uint8_t protocol[2];
	uint8_t hardware_length;
	uint8_t protocol_length;
	uint8_t operation[2];
	uint8_t sender_mac[6];
	uint8_t sender[4];
	uint8_t target_mac[6];
	uint8_t target[4];
} __attribute__((packed));

static inline uint16_t load16(const void *at)
{
	uint16_t value;
	memcpy(&value, at, sizeof value);
	return __builtin_bswap16(value);
}

static inline uint32_t load32(const void *at)
{
	uint32_t value;
	memcpy(&value, at, sizeof value);
	return __builtin_bswap32(value);
}

static inline void store16(void *at, uint32_t value)
{
	uint16_t big = __builtin_bswap16((uint16_t)value);
	memcpy(at, &big, sizeof big);
}

static inline void store32(void *at, uint32_t value)
{
	uint32_t big = __builtin_bswap32(value);
	memcpy(at, &big, sizeof big);
}

/* Words in memory order, for compares and hashes. */
static inline uint32_t raw32(const void *at)
{
	uint32_t value;
	memcpy(&value, at, sizeof value);
	return value;
}

static inline uint64_t raw64(const void *at)
{
	uint64_t value;
	memcpy(&value, at, sizeof value);
	return value;
}

static inline bool equal16(const void *a, const void *b)
{
	return ((raw64(a) ^ raw64(b)) | (raw64((const uint8_t *)a + 8) ^ raw64((const uint8_t *)b + 8))) == 0;
}

static inline bool zero16(const void *a)
{
	return (raw64(a) | raw64((const uint8_t *)a + 8)) == 0;
}

#endif
