#include "packet/answer.h"

#include "packet/segments.h"

enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

static uint8_t *ip_at(struct rte_mbuf *buffer, uint16_t ip_offset)
{
	return packet_data(buffer) + ip_offset;
}

/* A new IP header at `ip` before `length` bytes of `protocol`. The addresses may lie in the header that is gone. */
static void put_ip(uint8_t *ip, uint8_t family, uint8_t protocol, uint32_t length, const uint8_t *source,
		   const uint8_t *destination)
{
	if (family == 4) {
		struct ipv4_header header = {.version_ihl = 0x45, .ttl = ANSWER_TTL, .protocol = protocol};
		store16(header.total_length, IPV4_LENGTH + length);
		memcpy(header.source, source, 4);
		memcpy(header.destination, destination, 4);
		checksum_ipv4(&header, IPV4_LENGTH);
		memcpy(ip, &header, sizeof header);
	} else {
		struct ipv6_header header = {.version_class_label = {0x60}, .next_header = protocol, .hop_limit = ANSWER_TTL};
		store16(header.payload_length, length);
		memcpy(header.source, source, 16);
		memcpy(header.destination, destination, 16);
		memcpy(ip, &header, sizeof header);
	}
}

/* Sum of the pseudo header; ICMP in IPv4 has none. */
static uint64_t pseudo(const uint8_t *ip, uint8_t family, uint8_t protocol, uint32_t length)
{
	if (family == 6)
		return checksum_pseudo6((const struct ipv6_header *)(const void *)ip, protocol, length);
	return protocol == PROTOCOL_ICMP ? 0 :
					   checksum_pseudo4((const struct ipv4_header *)(const void *)ip, protocol, length);
}

static void finish(struct rte_mbuf *buffer, uint16_t ip_offset, uint32_t length)
{
	segments_cut(buffer, ip_offset + length);
	packet_of(buffer)->ip_offset = ip_offset;
}

bool answer_reset(struct rte_mbuf *buffer, uint16_t ip_offset, const struct tuple *tuple)
{
	uint8_t *ip = ip_at(buffer, ip_offset);
	const uint8_t *tcp = ip + tuple->l4_offset;
	uint32_t header = tuple->family == 4 ? IPV4_LENGTH : IPV6_LENGTH, size = tuple->family == 4 ? 4 : 16;
	uint32_t length = (uint32_t)tuple->ip_length - tuple->l4_offset;
	if (tuple->protocol != PROTOCOL_TCP || tuple->fragment != FRAGMENT_WHOLE || (tuple->tcp_flags & RST) != 0 ||
	    length < TCP_LENGTH)
		return false;
	uint32_t words = tcp[12] >> 4;
	if (words < 5 || words * 4 > length)
		return false;
	struct tcp_header reset = {.offset = 0x50, .flags = RST};
	memcpy(reset.source, (const uint8_t *)&tuple->ports + 2, 2);
	memcpy(reset.destination, &tuple->ports, 2);
	if ((tuple->tcp_flags & ACK) != 0) {
		memcpy(reset.sequence, tcp + 8, 4);
	} else {
		uint32_t taken = length - words * 4 + ((tuple->tcp_flags & SYN) != 0) + ((tuple->tcp_flags & FIN) != 0);
		store32(reset.acknowledgement, load32(tcp + 4) + taken);
		reset.flags = RST | ACK;
	}
	put_ip(ip, tuple->family, PROTOCOL_TCP, TCP_LENGTH, tuple->addresses + size, tuple->addresses);
	checksum_put(reset.checksum, checksum_add(pseudo(ip, tuple->family, PROTOCOL_TCP, TCP_LENGTH), &reset, sizeof reset));
	memcpy(ip + header, &reset, sizeof reset);
	finish(buffer, ip_offset, header + TCP_LENGTH);
	return true;
}

/* Whether an error may be sent about it (RFC 1122 3.2.2, RFC 4443 2.4 e). */
static bool may_tell(const struct tuple *tuple)
{
	const uint8_t *from = tuple->addresses;
	if (tuple->fragment == FRAGMENT_LATER || tuple->icmp == ICMP_ERROR)
		return false;
	if (tuple->family == 4)
		return from[0] != 0 && from[0] < 224 && from[4] < 224;
	if (tuple->icmp != ICMP_NONE && tuple->icmp_type < 128)
		return false; /* an error of a kind yet unknown */
	return from[0] != 0xff && from[16] != 0xff && !zero16(from);
}

bool answer_unreachable(struct rte_mbuf *buffer, uint16_t ip_offset, const struct tuple *tuple, uint8_t type,
			uint8_t code, uint32_t rest, const uint8_t *source)
{
	bool v4 = tuple->family == 4;
	uint8_t protocol = v4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
	uint32_t limit = v4 ? ANSWER_QUOTE4 : ANSWER_QUOTE6, header = v4 ? IPV4_LENGTH : IPV6_LENGTH;
	uint32_t quoted = segment_have(buffer, ip_offset, tuple->ip_length);
	uint8_t from[16]; /* `source` may be one in the headers that move */
	memcpy(from, source, v4 ? 4 : 16);
	quoted = quoted < limit ? quoted : limit;
	if (!may_tell(tuple) || !segment_resize(buffer, ip_offset, 0, header + ICMP_LENGTH))
		return false;
	uint8_t *ip = ip_at(buffer, ip_offset);
	uint32_t length = ICMP_LENGTH + quoted;
	struct icmp_header icmp = {.type = type, .code = code};
	store32(icmp.rest, rest);
	put_ip(ip, tuple->family, protocol, length, from, tuple->addresses);
	memcpy(ip + header, &icmp, sizeof icmp);
	checksum_put(ip + header + 2, checksum_add(pseudo(ip, tuple->family, protocol, length), ip + header, length));
	finish(buffer, ip_offset, header + length);
	return true;
}

bool answer_echo(struct rte_mbuf *buffer, uint16_t ip_offset, const struct tuple *tuple)
{
	bool v4 = tuple->family == 4;
	uint8_t *ip = ip_at(buffer, ip_offset), *icmp = ip + tuple->l4_offset;
	uint32_t length = (uint32_t)tuple->ip_length - tuple->l4_offset;
	if (tuple->icmp != ICMP_ECHO || tuple->icmp_type != (v4 ? 8 : 128) || tuple->icmp_code != 0 ||
	    tuple->fragment != FRAGMENT_WHOLE || buffer->pkt_len < (uint32_t)ip_offset + tuple->ip_length)
		return false;
	unsigned size = v4 ? 4 : 16, from = v4 ? 12 : 8;
	memcpy(ip + from, tuple->addresses + size, size);
	memcpy(ip + from + size, tuple->addresses, size);
	icmp[0] = v4 ? 0 : 129;
	memset(icmp + 2, 0, 2);
	if (v4) {
		ip[8] = ANSWER_TTL;
		checksum_ipv4((struct ipv4_header *)(void *)ip, tuple->l4_offset);
	} else {
		ip[7] = ANSWER_TTL;
	}
	uint64_t sum = pseudo(ip, tuple->family, v4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6, length);
	(void)checksum_segments(buffer, (uint32_t)ip_offset + tuple->l4_offset, length, &sum);
	checksum_put(icmp + 2, sum);
	packet_no_offload(packet_of(buffer));
	packet_of(buffer)->ip_offset = ip_offset;
	return true;
}
