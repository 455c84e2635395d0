/* Stage "decide": the first packet of a flow, and everything that is no flow.
 *
 * In this order: services of the gateway (ARP, ND, DHCP, echo), anti-spoofing, destinations that are never routed,
 * the size, the route. A forwarded packet leaves a flow behind. Edges: `deliver`, `encap`, a reply to the sender, a
 * drop with its reason.
 */
#ifndef FERRITE_STAGE_DECIDE_H
#define FERRITE_STAGE_DECIDE_H

#include "stage/stage.h"

void decide(struct ferrite_engine *engine, struct port *port, struct interface *interface, struct rte_mbuf *buffer);
/* A packet that is too long for the path. True: it was dropped and its sender told; false: send it all the same. */
bool too_big(struct ferrite_engine *engine, struct port *port, struct interface *interface, struct rte_mbuf *buffer);

/* The length of a super-packet's pieces, from its headers: what a kernel calls "header length" may hold payload. */
static inline uint32_t piece_length(const struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	uint32_t l4 = packet->l4_offset;
	uint32_t tcp = buffer->data_len >= l4 + TCP_LENGTH ? (packet_data(buffer)[l4 + 12] >> 4) * 4u : TCP_LENGTH;
	return l4 - ETHERNET_LENGTH + tcp + packet->offload.gso_size;
}

/* The cheap half of `too_big`, for a frame of a VM. */
static inline bool maybe_too_big(const struct ferrite_engine *engine, const struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	uint32_t length = __builtin_expect(packet->offload.gso == GSO_NONE, 1) ? packet->ip_length :
										 piece_length(buffer);
	return __builtin_expect(length > engine->mtu, 0);
}

#endif
