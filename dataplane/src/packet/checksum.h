/* Internet checksums (RFC 1071): partial sums over byte ranges, folded at the end.
 *
 * A sum is kept in memory order (not swapped), which is fine because one's complement addition commutes with byte
 * swapping. A range that starts at an odd offset of the summed whole is rotated by `checksum_add_odd`.
 */
#ifndef FERRITE_PACKET_CHECKSUM_H
#define FERRITE_PACKET_CHECKSUM_H

#include <stddef.h>

#include "packet/headers.h"

static inline uint64_t checksum_fold64(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	return sum;
}

/* Adds a range to a partial sum of 64 bits with end-around carry. */
static inline uint64_t checksum_add(uint64_t sum, const void *data, size_t length)
{
	const uint8_t *at = data;
	unsigned long long total = sum;
	while (length >= 32) {
		unsigned long long carry = 0;
		for (int i = 0; i < 4; i++) {
			unsigned long long word = raw64(at + 8 * i), out;
			unsigned long long c1 = __builtin_uaddll_overflow(total, word, &out);
			unsigned long long c2 = __builtin_uaddll_overflow(out, carry, &total);
			carry = c1 | c2;
		}
		total += carry; /* cannot overflow twice: total is small after a carry */
		if (total < carry)
			total += 1;
		at += 32;
		length -= 32;
	}
	uint64_t rest = checksum_fold64(total);
	while (length >= 4) {
		rest += raw32(at);
		at += 4;
		length -= 4;
	}
	uint32_t tail = 0;
	if (length > 0) {
		memcpy(&tail, at, length);
		rest += tail;
	}
	return checksum_fold64(rest);
}

static inline uint16_t checksum_fold(uint64_t sum)
{
	uint32_t low = (uint32_t)checksum_fold64(sum);
	low = (low & 0xffff) + (low >> 16);
	low = (low & 0xffff) + (low >> 16);
	return (uint16_t)low;
}

/* Adds a range whose first byte is at an odd offset of the whole. */
static inline uint64_t checksum_add_odd(uint64_t sum, const void *data, size_t length)
{
	uint16_t part = checksum_fold(checksum_add(0, data, length));
	return checksum_fold64(sum + __builtin_bswap16(part));
}

/* The value for the field, in memory order: store it with memcpy. */
static inline uint16_t checksum_finish(uint64_t sum)
{
	return (uint16_t)~checksum_fold(sum);
}

static inline void checksum_put(void *field, uint64_t sum)
{
	uint16_t value = checksum_finish(sum);
	memcpy(field, &value, sizeof value);
}

/* As `checksum_put`, with UDP's rule that zero means "none". */
static inline void checksum_put_udp(void *field, uint64_t sum)
{
	uint16_t value = checksum_finish(sum);
	value = value == 0 ? 0xffff : value;
	memcpy(field, &value, sizeof value);
}

static inline uint64_t checksum_pseudo4(const struct ipv4_header *ip, uint8_t protocol, uint32_t length)
{
	return checksum_add(0, (const uint8_t *)ip + 12, 8) + __builtin_bswap16(protocol) + __builtin_bswap32(length);
}

static inline uint64_t checksum_pseudo6(const struct ipv6_header *ip, uint8_t protocol, uint32_t length)
{
	return checksum_add(0, (const uint8_t *)ip + 8, 32) + (uint32_t)__builtin_bswap32(protocol) + __builtin_bswap32(length);
}

static inline void checksum_ipv4(struct ipv4_header *ip, size_t header_length)
{
	memset(ip->checksum, 0, 2);
	checksum_put(ip->checksum, checksum_add(0, ip, header_length));
}

/* Changes one 16-bit word under a checksum (RFC 1624). */
static inline void checksum_replace16(void *field, uint16_t old_raw, uint16_t new_raw)
{
	uint16_t now;
	memcpy(&now, field, sizeof now);
	uint32_t sum = (uint16_t)~now + (uint32_t)(uint16_t)~old_raw + new_raw;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	now = (uint16_t)~sum;
	memcpy(field, &now, sizeof now);
}

/* Of a sum of a few words. */
static inline uint16_t checksum_fold_small(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)(sum + (sum >> 16));
}

/* Changes of what is under a checksum (RFC 1624, equation 3). `delta`: complements of the old words and the new words,
 * added up; 0 is no change. */
static inline void checksum_apply(void *field, uint32_t delta)
{
	uint16_t now;
	memcpy(&now, field, sizeof now);
	if (delta == 0)
		return;
	now = (uint16_t)~checksum_fold_small((uint16_t)~now + delta);
	memcpy(field, &now, sizeof now);
}

/* As `checksum_apply`; "none" stays, and nothing becomes it. */
static inline void checksum_apply_udp(void *field, uint32_t delta)
{
	uint16_t now;
	memcpy(&now, field, sizeof now);
	if (now == 0 || delta == 0)
		return;
	now = (uint16_t)~checksum_fold_small((uint16_t)~now + delta);
	now = now == 0 ? 0xffff : now;
	memcpy(field, &now, sizeof now);
}

/* As `checksum_apply`, at an ICMP header of 8 bytes. ICMP is the one whose words may all be zero (an echo reply), and
 * then the checksum is 0xffff, which equation 3 never comes to. */
static inline void checksum_apply_icmp(uint8_t *icmp, uint32_t delta)
{
	checksum_apply(icmp + 2, delta);
	if (raw64(icmp) == 0)
		memset(icmp + 2, 0xff, 2);
}

/* A field that holds a pseudo header's sum, for a device that adds the rest. */
static inline void checksum_apply_partial(void *field, uint32_t delta)
{
	uint16_t now;
	memcpy(&now, field, sizeof now);
	now = checksum_fold_small(now + delta);
	memcpy(field, &now, sizeof now);
}

#endif
