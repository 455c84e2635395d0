/* Stage "encap": puts the outer IPv6 header where the Ethernet header was.
 *
 * Writes the sender interface's template, the length, the flow label (from the inner flow's hash, so that the underlay
 * spreads flows of one pair of hosts) and the next hop. The caller counts, a burst at a time where it can.
 * Edge: the uplink, which adds its link header.
 */
#ifndef FERRITE_STAGE_ENCAP_H
#define FERRITE_STAGE_ENCAP_H

#include "stage/stage.h"

static inline void encap(struct ferrite_engine *engine, const struct interface *interface, struct rte_mbuf *buffer,
			 const uint8_t next_hop[16])
{
	struct packet *packet = packet_of(buffer);
	const uint16_t grow = IPV6_LENGTH - ETHERNET_LENGTH; /* the headroom has it */
	buffer->data_off = (uint16_t)(buffer->data_off - grow);
	buffer->data_len = (uint16_t)(buffer->data_len + grow);
	buffer->pkt_len += grow;
	packet->ip_offset = IPV6_LENGTH;
	struct ipv6_header *outer = (struct ipv6_header *)(void *)packet_data(buffer);
	memcpy(outer, interface->outer, 24); /* up to the source */
	memcpy(outer->destination, next_hop, 16);
	store32(outer->version_class_label, 0x60000000u | ((uint32_t)(packet->hash >> 16) & 0xfffff));
	store16(outer->payload_length, packet->ip_length);
	outer->next_header = packet->family == 4 ? PROTOCOL_IPV4 : PROTOCOL_IPV6;
	FERRITE_TRACE(encap, buffer);
	emit(engine, uplink_for(engine, packet->hash), buffer);
}

#endif
