/* The gateway answers echo, and tells a sender whose packet is too long for the path. */
#include "packet/segments.h"
#include "stage/service.h"

static void swap_macs(uint8_t *data, const struct interface *interface)
{
	memcpy(data, data + 6, 6);
	memcpy(data + 6, interface->port->mac, 6);
}

/* The sum over all that was asked with, which may lie in several segments. */
static void echo_finish(struct rte_mbuf *buffer, struct icmp_header *icmp, uint32_t length, uint64_t sum)
{
	struct packet *packet = packet_of(buffer);
	(void)checksum_segments(buffer, packet->l4_offset, length, &sum);
	checksum_put(icmp->checksum, sum);
	packet_no_offload(packet);
	packet->ip_offset = ETHERNET_LENGTH;
}

bool service_echo4(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	uint8_t *data = packet_data(buffer);
	struct ipv4_header *ip = (struct ipv4_header *)(void *)(data + ETHERNET_LENGTH);
	struct icmp_header *icmp = (struct icmp_header *)(void *)(data + packet->l4_offset);
	uint32_t header = (uint32_t)packet->l4_offset - ETHERNET_LENGTH, length = packet->ip_length - header;
	if (packet->protocol != PROTOCOL_ICMP || (load16(ip->fragment) & 0x3fff) != 0 || length < ICMP_LENGTH ||
	    icmp->type != 8 || icmp->code != 0)
		return false;
	swap_macs(data, interface);
	memcpy(ip->destination, ip->source, 4);
	memcpy(ip->source, GATEWAY4, 4);
	ip->ttl = 64;
	checksum_ipv4(ip, header);
	icmp->type = 0;
	memset(icmp->checksum, 0, 2);
	echo_finish(buffer, icmp, length, 0);
	COUNT(engine, stage_echo, 1);
	return true;
}

bool service_echo6(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	uint8_t *data = packet_data(buffer);
	struct ipv6_header *ip = (struct ipv6_header *)(void *)(data + ETHERNET_LENGTH);
	struct icmp_header *icmp = (struct icmp_header *)(void *)(data + packet->l4_offset);
	uint32_t length = (uint32_t)packet->ip_length - IPV6_LENGTH;
	/* Without extension headers, and so without fragments: an answer would have to be without them, too. */
	if (packet->protocol != PROTOCOL_ICMPV6 || packet->l4_offset != ETHERNET_LENGTH + IPV6_LENGTH ||
	    length < ICMP_LENGTH || icmp->type != 128 || icmp->code != 0 || zero16(ip->source))
		return false;
	swap_macs(data, interface);
	memcpy(ip->destination, ip->source, 16);
	memcpy(ip->source, GATEWAY6, 16);
	ip->hop_limit = 64;
	icmp->type = 129;
	memset(icmp->checksum, 0, 2);
	echo_finish(buffer, icmp, length, checksum_pseudo6(ip, PROTOCOL_ICMPV6, length));
	COUNT(engine, stage_echo, 1);
	return true;
}

/* No error about an error, nor about a fragment that is not the first. */
static bool may_answer(const struct packet *packet, const struct rte_mbuf *buffer)
{
	const uint8_t *data = packet_data(buffer);
	if (buffer->data_len <= packet->l4_offset)
		return false;
	uint8_t type = data[packet->l4_offset];
	if (packet->family == 4)
		return (load16(data + ETHERNET_LENGTH + 6) & 0x1fff) == 0 &&
			(packet->protocol != PROTOCOL_ICMP || type == 8 || type == 0);
	return packet->protocol != PROTOCOL_ICMPV6 || type >= 128;
}

bool service_too_big(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer)
{
	struct packet *packet = packet_of(buffer);
	bool v4 = packet->family == 4;
	if (!may_answer(packet, buffer))
		return false;
	/* The answer quotes the packet: keep its start where it is and put new headers before it. */
	uint8_t guest[6];
	memcpy(guest, packet_data(buffer) + 6, 6);
	if (buffer->nb_segs > 1) {
		rte_pktmbuf_free(buffer->next);
		buffer->next = NULL;
		buffer->nb_segs = 1;
		buffer->pkt_len = buffer->data_len;
	}
	uint32_t room = v4 ? 548 : 1232, header = v4 ? IPV4_LENGTH : IPV6_LENGTH;
	uint32_t quoted = (uint32_t)buffer->data_len - ETHERNET_LENGTH;
	quoted = quoted < room ? quoted : room;
	uint8_t *data = (uint8_t *)rte_pktmbuf_prepend(buffer, (uint16_t)(header + ICMP_LENGTH));
	if (data == NULL)
		return false;
	struct icmp_header *icmp = (struct icmp_header *)(void *)(data + ETHERNET_LENGTH + header);
	uint8_t *original = data + ETHERNET_LENGTH + header + ICMP_LENGTH;
	memcpy(data, guest, 6);
	memcpy(data + 6, interface->port->mac, 6);
	store16(data + 12, v4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
	memset(icmp, 0, sizeof *icmp);
	if (v4) {
		struct ipv4_header *ip = (struct ipv4_header *)(void *)(data + ETHERNET_LENGTH);
		*ip = (struct ipv4_header){.version_ihl = 0x45, .ttl = 64, .protocol = PROTOCOL_ICMP};
		store16(ip->total_length, IPV4_LENGTH + ICMP_LENGTH + quoted);
		memcpy(ip->source, GATEWAY4, 4);
		memcpy(ip->destination, original + 12, 4);
		checksum_ipv4(ip, IPV4_LENGTH);
		icmp->type = 3;
		icmp->code = 4;
		store16(icmp->rest + 2, engine->mtu);
		checksum_put(icmp->checksum, checksum_add(0, icmp, ICMP_LENGTH + quoted));
	} else {
		struct ipv6_header *ip = (struct ipv6_header *)(void *)(data + ETHERNET_LENGTH);
		*ip = (struct ipv6_header){.next_header = PROTOCOL_ICMPV6, .hop_limit = 64};
		ip->version_class_label[0] = 0x60;
		store16(ip->payload_length, ICMP_LENGTH + quoted);
		memcpy(ip->source, GATEWAY6, 16);
		memcpy(ip->destination, original + 8, 16);
		icmp->type = 2;
		store32(icmp->rest, engine->mtu);
		checksum_put(icmp->checksum, checksum_add(checksum_pseudo6(ip, PROTOCOL_ICMPV6, ICMP_LENGTH + quoted),
							  icmp, ICMP_LENGTH + quoted));
	}
	service_finish(buffer, ETHERNET_LENGTH + header + ICMP_LENGTH + quoted);
	return true;
}
