/* Stage "classify": from an IP packet to a flow key.
 *
 * Reads the first segment only, which holds all headers. Writes what `struct packet` says of the inner packet, and the
 * hash; cuts off what a link padded. Family stays 0, with a reason, where there is no flow to look for.
 * Edges: flow lookup for IP, a `decide` for the rest.
 */
#ifndef FERRITE_STAGE_CLASSIFY_H
#define FERRITE_STAGE_CLASSIFY_H

#include "packet/segments.h"
#include "stage/stage.h"

enum { CLASSIFY_MALFORMED = 1, CLASSIFY_OTHER = 2 };

/* Cuts what follows the IP packet. False: it cannot be cut. */
static inline bool classify_trim(struct rte_mbuf *buffer, uint32_t wanted)
{
	if (__builtin_expect(buffer->pkt_len == wanted, 1))
		return true;
	return segments_trim(buffer, wanted);
}

/* The IP packet at `offset`. False: malformed. A fragment's ports are looked for later, by who is in its way. */
static inline bool classify_ip(struct rte_mbuf *buffer, uint32_t offset)
{
	struct packet *packet = packet_of(buffer);
	struct tuple tuple;
	if (parse_ip(packet_data(buffer) + offset, buffer->data_len - offset, buffer->pkt_len - offset, &tuple) != PARSE_OK ||
	    !classify_trim(buffer, offset + tuple.ip_length))
		return false;
	packet->protocol = tuple.protocol;
	packet->ports = tuple.ports;
	packet->ip_length = tuple.ip_length;
	packet->l4_offset = (uint16_t)(offset + tuple.l4_offset);
	packet->tcp_flags = tuple.tcp_flags;
	packet->fragment = tuple.fragment;
	packet->icmp = tuple.icmp;
	packet->family = tuple.family;
	packet->plain = tuple.icmp != ICMP_ERROR && tuple.fragment == FRAGMENT_WHOLE;
	return true;
}

/* What nearly every packet is: IPv4 without options or IPv6 without extension headers, TCP or UDP, whole, and nothing
 * behind it. False: `classify_ip` has to look. The packet is `plain` then: its flow says all about it. */
static inline bool classify_plain(struct rte_mbuf *buffer, struct packet *packet, const uint8_t *ip, uint32_t offset)
{
	uint32_t have = buffer->data_len - offset, all = buffer->pkt_len - offset, head, total;
	uint8_t protocol;
	if (__builtin_expect(ip[0] == 0x45 && have >= IPV4_LENGTH + UDP_LENGTH, 1)) {
		protocol = ip[9];
		total = load16(ip + 2);
		head = IPV4_LENGTH;
		if (__builtin_expect((load16(ip + 6) & 0x3fff) != 0, 0))
			return false;
		packet->family = 4;
	} else if (have >= IPV6_LENGTH + UDP_LENGTH && ip[0] >> 4 == 6) {
		protocol = ip[6];
		total = IPV6_LENGTH + (uint32_t)load16(ip + 4);
		head = IPV6_LENGTH;
		packet->family = 6;
	} else {
		return false;
	}
	uint32_t need = head + (protocol == PROTOCOL_TCP ? (uint32_t)TCP_LENGTH : (uint32_t)UDP_LENGTH);
	if (__builtin_expect((protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP) || total != all || total < need ||
			     have < need || total > UINT16_MAX, 0))
		return false;
	packet->protocol = protocol;
	packet->ports = raw32(ip + head);
	packet->ip_length = (uint16_t)total;
	packet->l4_offset = (uint16_t)(offset + head);
	packet->tcp_flags = protocol == PROTOCOL_TCP ? ip[head + 13] : 0;
	packet->fragment = FRAGMENT_WHOLE;
	packet->icmp = ICMP_NONE;
	packet->plain = 1;
	return true;
}

/* The key of a flow that came from (kind, index). */
static inline void classify_key(const struct ferrite_engine *engine, struct rte_mbuf *buffer, unsigned kind, uint32_t index)
{
	struct packet *packet = packet_of(buffer);
	const uint8_t *ip = packet_data(buffer) + packet->ip_offset;
	packet->context = flow_context(kind, index, packet->family, packet->protocol);
	packet->hash = packet->family == 4 ? flow_hash4(engine->flows.seed, packet->context, packet->ports, ip + 12) :
					     flow_hash6(engine->flows.seed, packet->context, packet->ports, ip + 8);
}

/* A frame of a VM. */
static inline void classify(struct ferrite_engine *engine, const struct interface *interface, struct rte_mbuf *buffer)
{
	struct packet *packet = packet_of(buffer);
	const uint8_t *data = packet_data(buffer);
	packet->plain = 0;
	packet->hash = 0;
	packet->reason = CLASSIFY_MALFORMED;
	packet->interface = interface->index;
	packet->sender = interface->index;
	packet->endpoint = 0;
	packet->passed = 0;
	packet->ip_offset = ETHERNET_LENGTH;
	packet->family = 0;
	if (__builtin_expect(buffer->data_len < ETHERNET_LENGTH + 1, 0))
		return;
	bool direct = (data[0] & 1) == 0 && interface->guest_known && raw32(data + 6) == raw32(interface->frame) &&
		load16(data + 10) == load16(interface->frame + 4);
	uint16_t type = load16(data + 12);
	uint8_t version = data[ETHERNET_LENGTH] >> 4;
	if (__builtin_expect((type == ETHERTYPE_IPV4 && version == 4) || (type == ETHERTYPE_IPV6 && version == 6), 1)) {
		if (__builtin_expect(!classify_plain(buffer, packet, data + ETHERNET_LENGTH, ETHERNET_LENGTH), 0)) {
			packet->family = 0;
			if (!classify_ip(buffer, ETHERNET_LENGTH))
				return;
		}
		packet->plain = packet->plain && direct;
		classify_key(engine, buffer, FLOW_FROM_VM, interface->index);
	} else if (type != ETHERTYPE_IPV4 && type != ETHERTYPE_IPV6) {
		packet->reason = CLASSIFY_OTHER;
	}
}

#endif
