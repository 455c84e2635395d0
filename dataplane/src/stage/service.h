/* What the gateway itself answers: ARP, IPv6 neighbour discovery, DHCP, echo, and errors about size.
 *
 * Each takes a classified frame of a VM in one segment and turns it into its answer in place. True: the buffer now
 * holds a frame for the VM. False: there is no answer; the caller drops it.
 */
#ifndef FERRITE_STAGE_SERVICE_H
#define FERRITE_STAGE_SERVICE_H

#include "stage/stage.h"

/* Whether an ARP message says to come from another address; 0.0.0.0, a probe (RFC 5227), is nobody's. */
bool arp_is_spoofed(const struct ferrite_engine *engine, const struct interface *interface, struct rte_mbuf *buffer);
bool service_arp(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer);
bool service_nd(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer);
bool service_dhcp4(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer);
bool service_dhcp6(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer);
bool service_echo4(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer);
bool service_echo6(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer);
/* ICMP "fragmentation needed" or ICMPv6 "packet too big". Any number of segments. */
bool service_too_big(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer);

/* Finishes an answer of `length` bytes that was written at the buffer's start. */
static inline void service_finish(struct rte_mbuf *buffer, uint32_t length)
{
	struct packet *packet = packet_of(buffer);
	buffer->data_len = (uint16_t)length;
	buffer->pkt_len = length;
	packet_no_offload(packet);
	packet->ip_offset = ETHERNET_LENGTH;
}

#endif
