/* Stage "classify": from a VM's frame to a flow key.
 *
 * Reads the first segment only, which holds all headers. Writes family, protocol, ports, lengths and the hash; leaves
 * family 0 and a reason when the frame is no well-formed IP packet. Trims what a link padded.
 * Edges: flow lookup for IP, `decide` for the rest.
 */
#ifndef FERRITE_STAGE_CLASSIFY_H
#define FERRITE_STAGE_CLASSIFY_H

#include "stage/stage.h"

enum { CLASSIFY_MALFORMED = 1, CLASSIFY_OTHER = 2 };

static inline uint32_t ports_at(const uint8_t *l4, uint8_t protocol)
{
	return protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP ? raw32(l4) : 0;
}

/* Cuts what follows the IP packet. False: the packet is longer than the frame. */
static inline bool classify_trim(struct rte_mbuf *buffer, uint32_t wanted)
{
	if (__builtin_expect(buffer->pkt_len == wanted, 1))
		return true;
	return buffer->pkt_len > wanted && buffer->nb_segs == 1 &&
		rte_pktmbuf_trim(buffer, (uint16_t)(buffer->pkt_len - wanted)) == 0;
}

static inline void classify(const struct port *port, const struct interface *interface, uint64_t seed,
			    struct rte_mbuf *buffer)
{
	struct packet *packet = packet_of(buffer);
	const uint8_t *data = packet_data(buffer);
	uint32_t have = buffer->data_len;
	packet->family = 0;
	packet->reason = CLASSIFY_MALFORMED;
	if (have < ETHERNET_LENGTH)
		return;
	packet->to_gateway = raw32(data) == raw32(port->mac) && load16(data + 4) == load16(port->mac + 4);
	uint16_t type = load16(data + 12);
	if (__builtin_expect(type == ETHERTYPE_IPV4, 1)) {
		const struct ipv4_header *ip = (const struct ipv4_header *)(const void *)(data + ETHERNET_LENGTH);
		if (have < ETHERNET_LENGTH + IPV4_LENGTH)
			return;
		uint32_t header = (ip->version_ihl & 15u) * 4, total = load16(ip->total_length);
		if (ip->version_ihl >> 4 != 4 || header < IPV4_LENGTH || total < header ||
		    have < ETHERNET_LENGTH + header || !classify_trim(buffer, ETHERNET_LENGTH + total))
			return;
		bool fragment = (load16(ip->fragment) & 0x3fff) != 0;
		packet->protocol = ip->protocol;
		packet->l4_offset = (uint16_t)(ETHERNET_LENGTH + header);
		packet->ports = fragment || total < header + 4 || have < ETHERNET_LENGTH + header + 4 ?
			0 : ports_at(data + packet->l4_offset, ip->protocol);
		packet->ip_length = (uint16_t)total;
		packet->context = flow_context(interface->index, 4, ip->protocol);
		packet->hash = flow_hash4(seed, packet->context, packet->ports, data + ETHERNET_LENGTH + 12);
		packet->family = 4;
	} else if (type == ETHERTYPE_IPV6) {
		const struct ipv6_header *ip = (const struct ipv6_header *)(const void *)(data + ETHERNET_LENGTH);
		if (have < ETHERNET_LENGTH + IPV6_LENGTH)
			return;
		uint32_t total = IPV6_LENGTH + (uint32_t)load16(ip->payload_length);
		if (ip->version_class_label[0] >> 4 != 6 || total > UINT16_MAX ||
		    !classify_trim(buffer, ETHERNET_LENGTH + total))
			return;
		packet->protocol = ip->next_header;
		packet->l4_offset = ETHERNET_LENGTH + IPV6_LENGTH;
		packet->ports = total < IPV6_LENGTH + 4 || have < ETHERNET_LENGTH + IPV6_LENGTH + 4 ?
			0 : ports_at(data + packet->l4_offset, ip->next_header);
		packet->ip_length = (uint16_t)total;
		packet->context = flow_context(interface->index, 6, ip->next_header);
		packet->hash = flow_hash6(seed, packet->context, packet->ports, data + ETHERNET_LENGTH + 8);
		packet->family = 6;
	} else {
		packet->reason = CLASSIFY_OTHER;
	}
}

#endif
