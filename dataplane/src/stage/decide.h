/* Stage "decide": what no live and finished flow decides, in the order of docs/packet-path.md.
 *
 * `decide_vm` takes a VM's frame, `decide_underlay` a packet that came to an endpoint of this host, both classified; each
 * looks for the flow again, so that the order of the rules is in one place. Under them, one lock shared by all
 * workers, `plan` decides a first packet and `refresh` decides a flow anew. Edges: all others.
 */
#ifndef FERRITE_STAGE_DECIDE_H
#define FERRITE_STAGE_DECIDE_H

#include "stage/stage.h"

void decide_vm(struct ferrite_engine *engine, struct port *port, struct interface *interface, struct rte_mbuf *buffer);
/* The packet's endpoint is known, and its inner packet is classified. */
void decide_underlay(struct ferrite_engine *engine, struct rte_mbuf *buffer);
/* A packet that is too long for the path (and becomes IPv6 on it). True: it was dropped and its sender told; false: send it all the same. */
bool too_big(struct ferrite_engine *engine, struct port *port, struct interface *interface, struct rte_mbuf *buffer,
	     bool becomes6);

/* The length of a super-packet's pieces, from its headers: what a kernel calls "header length" may hold payload. */
static inline uint32_t piece_length(const struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	uint32_t l4 = packet->l4_offset;
	uint32_t tcp = buffer->data_len >= l4 + TCP_LENGTH ? (packet_data(buffer)[l4 + 12] >> 4) * 4u : TCP_LENGTH;
	return l4 - packet->ip_offset + tcp + packet->offload.gso_size;
}

/* The cheap half of `too_big`, for a frame of a VM. `grows`: what translation adds. */
static inline bool maybe_too_big(const struct ferrite_engine *engine, const struct rte_mbuf *buffer, int grows)
{
	const struct packet *packet = packet_of(buffer);
	uint32_t length = __builtin_expect(packet->offload.gso == GSO_NONE, 1) ? packet->ip_length :
										 piece_length(buffer);
	return __builtin_expect((int)length + grows > (int)engine->mtu, 0);
}

#endif
