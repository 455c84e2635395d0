/* Stage "encap": puts an outer IPv6 header before the IP packet, in the place of whatever stood there.
 *
 * The flow label is of the inner flow's hash, so that the underlay spreads flows of one pair of hosts. The caller
 * counts, a burst at a time where it can. Edge: an uplink, which adds its link header.
 */
#ifndef FERRITE_STAGE_ENCAP_H
#define FERRITE_STAGE_ENCAP_H

#include "stage/stage.h"

static inline void encap(struct ferrite_engine *engine, struct rte_mbuf *buffer, const uint8_t source[16],
			 const uint8_t next_hop[16])
{
	struct packet *packet = packet_of(buffer);
	const uint16_t grow = (uint16_t)(IPV6_LENGTH - packet->ip_offset); /* the headroom has it */
	buffer->data_off = (uint16_t)(buffer->data_off - grow);
	buffer->data_len = (uint16_t)(buffer->data_len + grow);
	buffer->pkt_len = buffer->pkt_len + IPV6_LENGTH - packet->ip_offset;
	packet->ip_offset = IPV6_LENGTH;
	struct ipv6_header *outer = (struct ipv6_header *)(void *)packet_data(buffer);
	uint64_t head = (uint64_t)__builtin_bswap32(0x60000000u | ((uint32_t)(packet->hash >> 16) & 0xfffff)) |
		(uint64_t)__builtin_bswap16(packet->ip_length) << 32 |
		(uint64_t)(packet->family == 4 ? PROTOCOL_IPV4 : PROTOCOL_IPV6) << 48 | 64ULL << 56;
	memcpy(outer, &head, 8); /* little endian, as the engine's vector code is */
	memcpy(outer->source, source, 16);
	memcpy(outer->destination, next_hop, 16);
	STEP(engine, .stage = FERRITE_STEP_SEND, .decision = 2);
	emit(engine, uplink_for(engine, packet->hash), buffer);
}

#endif
