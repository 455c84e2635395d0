/* Stage "deliver": an IP packet to a local interface, as a frame from its gateway.
 *
 * Reads the interface's frame template. The caller counts. Edge: the interface's port.
 */
#ifndef FERRITE_STAGE_DELIVER_H
#define FERRITE_STAGE_DELIVER_H

#include "stage/stage.h"

/* `packet->ip_offset` bytes before the IP header are replaced by an Ethernet header (the headroom has what is missing). */
static inline void deliver(struct ferrite_engine *engine, const struct interface *interface, struct rte_mbuf *buffer,
			   uint8_t family)
{
	struct packet *packet = packet_of(buffer);
	int cut = (int)packet->ip_offset - ETHERNET_LENGTH;
	buffer->data_off = (uint16_t)(buffer->data_off + cut);
	buffer->data_len = (uint16_t)(buffer->data_len - cut);
	buffer->pkt_len -= (uint32_t)cut;
	packet->ip_offset = ETHERNET_LENGTH;
	uint8_t *frame = packet_data(buffer);
	memcpy(frame, interface->frame, 12);
	frame[12] = family == 4 ? 0x08 : 0x86;
	frame[13] = family == 4 ? 0x00 : 0xdd;
	STEP(engine, .stage = FERRITE_STEP_SEND, .decision = 1, .interface = interface->index);
	emit(engine, interface->port, buffer);
}

#endif
