/* Stage "classify": from an IP packet to a flow key.
 *
 * Reads the first segment only, which holds all headers. Writes what `struct packet` says of the inner packet, and the
 * hash; cuts off what a link padded. Family stays 0, with a reason, where there is no flow to look for.
 * Edges: flow lookup for IP, a `decide` for the rest.
 */
#ifndef FERRITE_STAGE_CLASSIFY_H
#define FERRITE_STAGE_CLASSIFY_H

#include "stage/stage.h"

enum { CLASSIFY_MALFORMED = 1, CLASSIFY_OTHER = 2 };

/* Cuts what follows the IP packet. False: it cannot be cut. */
static inline bool classify_trim(struct rte_mbuf *buffer, uint32_t wanted)
{
	if (__builtin_expect(buffer->pkt_len == wanted, 1))
		return true;
	return buffer->pkt_len > wanted && buffer->nb_segs == 1 &&
		rte_pktmbuf_trim(buffer, (uint16_t)(buffer->pkt_len - wanted)) == 0;
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
	packet->family = 0;
	packet->hash = 0;
	packet->reason = CLASSIFY_MALFORMED;
	packet->interface = interface->index;
	packet->sender = interface->index;
	packet->endpoint = 0;
	packet->passed = 0;
	packet->ip_offset = ETHERNET_LENGTH;
	if (__builtin_expect(buffer->data_len < ETHERNET_LENGTH + 1, 0))
		return;
	packet->direct = (data[0] & 1) == 0 && interface->guest_known && raw32(data + 6) == raw32(interface->frame) &&
		load16(data + 10) == load16(interface->frame + 4);
	uint16_t type = load16(data + 12);
	uint8_t version = data[ETHERNET_LENGTH] >> 4;
	if (__builtin_expect((type == ETHERTYPE_IPV4 && version == 4) || (type == ETHERTYPE_IPV6 && version == 6), 1)) {
		if (__builtin_expect(classify_ip(buffer, ETHERNET_LENGTH), 1))
			classify_key(engine, buffer, FLOW_FROM_VM, interface->index);
	} else if (type != ETHERTYPE_IPV4 && type != ETHERTYPE_IPV6) {
		packet->reason = CLASSIFY_OTHER;
	}
}

#endif
