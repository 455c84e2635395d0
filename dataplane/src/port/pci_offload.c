/* From a packet's offloads to what DPDK asks a device for.
 *
 * A frame begins with its Ethernet header here, and packet->ip_offset counts from there: 14 is a plain frame, more one
 * with an outer IPv6 header.
 */
#include <rte_ip.h>

#include "packet/checksum.h"
#include "port/pci.h"

enum { TCP_FIELD = 16, UDP_FIELD = 6 };

static const uint64_t TUNNELS = RTE_ETH_TX_OFFLOAD_IPIP_TNL_TSO | RTE_ETH_TX_OFFLOAD_IP_TNL_TSO;

/* What the device must have. */
static uint64_t needs(const struct rte_mbuf *frame, bool tunnel, bool v4)
{
	const struct offload *offload = &packet_of(frame)->offload;
	uint64_t all = frame->nb_segs > 1 ? RTE_ETH_TX_OFFLOAD_MULTI_SEGS : 0;
	if (offload->gso != GSO_NONE)
		return all | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | (v4 ? RTE_ETH_TX_OFFLOAD_IPV4_CKSUM : 0) |
			(tunnel ? 0 : RTE_ETH_TX_OFFLOAD_TCP_TSO);
	return all | (offload->checksum_offset == TCP_FIELD ? RTE_ETH_TX_OFFLOAD_TCP_CKSUM : RTE_ETH_TX_OFFLOAD_UDP_CKSUM);
}

/* The sum that DPDK wants in the field: of the pseudo header, without the length where the device cuts. */
static void put_pseudo(uint8_t *ip, bool v4, uint8_t *field, uint64_t flags)
{
	uint16_t sum = v4 ? rte_ipv4_phdr_cksum((const struct rte_ipv4_hdr *)(const void *)ip, flags) :
			    rte_ipv6_phdr_cksum((const struct rte_ipv6_hdr *)(const void *)ip, flags);
	memcpy(field, &sum, 2);
}

bool pci_offload(struct rte_mbuf *frame, uint64_t capabilities)
{
	const struct packet *packet = packet_of(frame);
	const struct offload *offload = &packet->offload;
	bool tunnel = packet->ip_offset > ETHERNET_LENGTH, cut = offload->gso != GSO_NONE;
	uint8_t *ip = packet_data(frame) + packet->ip_offset;
	uint32_t l4 = (uint32_t)packet->ip_offset + offload->checksum_start;
	if (!offload->needs_checksum)
		return frame->nb_segs == 1 || (capabilities & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0;
	if (frame->data_len < packet->ip_offset + IPV4_LENGTH || offload->checksum_start < IPV4_LENGTH ||
	    l4 + TCP_LENGTH > frame->data_len ||
	    (offload->checksum_offset != TCP_FIELD && offload->checksum_offset != UDP_FIELD) ||
	    (cut && offload->checksum_offset != TCP_FIELD))
		return false;
	bool v4 = ip[0] >> 4 == 4;
	uint64_t wanted = needs(frame, tunnel, v4);
	/* Without cutting, a checksum inside a tunnel is cheaper here than a promise that devices keep differently. */
	if ((capabilities & wanted) != wanted || (tunnel && (!cut || (capabilities & TUNNELS) == 0)))
		return false;
	uint64_t flags = v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
	flags |= offload->checksum_offset == TCP_FIELD ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
	frame->l2_len = tunnel ? 0 : ETHERNET_LENGTH;
	frame->l3_len = offload->checksum_start & 0x1ffu;
	frame->l4_len = offload->checksum_offset == TCP_FIELD ? (uint8_t)((packet_data(frame)[l4 + 12] >> 4) * 4) : 8;
	if (cut) {
		flags |= RTE_MBUF_F_TX_TCP_SEG | (v4 ? RTE_MBUF_F_TX_IP_CKSUM : 0);
		frame->tso_segsz = offload->gso_size;
		if (v4)
			memset(ip + 10, 0, 2);
	}
	if (tunnel) {
		flags |= RTE_MBUF_F_TX_OUTER_IPV6 | ((capabilities & RTE_ETH_TX_OFFLOAD_IPIP_TNL_TSO) != 0 ?
			RTE_MBUF_F_TX_TUNNEL_IPIP : RTE_MBUF_F_TX_TUNNEL_IP);
		frame->outer_l2_len = ETHERNET_LENGTH;
		frame->outer_l3_len = IPV6_LENGTH;
	}
	frame->ol_flags |= flags;
	put_pseudo(ip, v4, packet_data(frame) + l4 + offload->checksum_offset, flags);
	return true;
}
