/* The gateway as a neighbour: ARP for 169.254.0.1, ND for fe80::1, router advertisements. Nothing else is answered:
 * a VM has no other neighbour. */
#include "stage/plan.h"
#include "stage/service.h"

enum { ROUTER_SOLICITATION = 133, ROUTER_ADVERTISEMENT = 134, NEIGHBOUR_SOLICITATION = 135, NEIGHBOUR_ADVERTISEMENT = 136 };

/* The message, if it is one for IPv4 over Ethernet; else NULL. */
static struct arp_message *arp_of(struct rte_mbuf *buffer)
{
	struct arp_message *arp = (struct arp_message *)(void *)(packet_data(buffer) + ETHERNET_LENGTH);
	if (buffer->data_len < ETHERNET_LENGTH + ARP_LENGTH || load16(arp->hardware) != 1 ||
	    load16(arp->protocol) != ETHERTYPE_IPV4 || arp->hardware_length != 6 || arp->protocol_length != 4)
		return NULL;
	return arp;
}

bool arp_is_spoofed(const struct ferrite_engine *engine, const struct interface *interface, struct rte_mbuf *buffer)
{
	const struct arp_message *arp = arp_of(buffer);
	if (arp == NULL || raw32(arp->sender) == 0 || interface->spoof_off)
		return false;
	return !interface_owns(engine, interface, 4, arp->sender);
}

bool service_arp(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer)
{
	uint8_t *data = packet_data(buffer);
	struct arp_message *arp = arp_of(buffer);
	if (arp == NULL || arp_is_spoofed(engine, interface, buffer))
		return false;
	if ((arp->sender_mac[0] & 1) == 0 && memcmp(data + 6, arp->sender_mac, 6) == 0) {
		memcpy(interface->frame, arp->sender_mac, 6);
		interface->guest_known = 1;
	}
	if (load16(arp->operation) != 1 || raw32(arp->target) != raw32(GATEWAY4))
		return false;
	memcpy(data, data + 6, 6);
	memcpy(data + 6, interface->port->mac, 6);
	store16(arp->operation, 2);
	memcpy(arp->target_mac, arp->sender_mac, 6);
	memcpy(arp->target, arp->sender, 4);
	memcpy(arp->sender_mac, interface->port->mac, 6);
	memcpy(arp->sender, GATEWAY4, 4);
	service_finish(buffer, ETHERNET_LENGTH + ARP_LENGTH);
	COUNT(engine, stage_arp, 1);
	return true;
}

/* Ethernet, IPv6 and ICMPv6 checksum around a message of `length` bytes that is already in place. */
static void finish_nd(struct interface *interface, struct rte_mbuf *buffer, const uint8_t destination[16],
		      uint32_t length)
{
	uint8_t *data = packet_data(buffer);
	struct ipv6_header *ip = (struct ipv6_header *)(void *)(data + ETHERNET_LENGTH);
	struct icmp_header *icmp = (struct icmp_header *)(void *)(data + ETHERNET_LENGTH + IPV6_LENGTH);
	uint8_t to[16];
	memcpy(to, destination, 16); /* it may lie in the header that is overwritten */
	if (to[0] == 0xff) {
		data[0] = data[1] = 0x33;
		memcpy(data + 2, to + 12, 4);
	} else {
		memcpy(data, data + 6, 6);
	}
	memcpy(data + 6, interface->port->mac, 6);
	store32(ip->version_class_label, 0x60000000u);
	store16(ip->payload_length, length);
	ip->next_header = PROTOCOL_ICMPV6;
	ip->hop_limit = 255;
	memcpy(ip->source, GATEWAY6, 16);
	memcpy(ip->destination, to, 16);
	memset(icmp->checksum, 0, 2);
	checksum_put(icmp->checksum, checksum_add(checksum_pseudo6(ip, PROTOCOL_ICMPV6, length), icmp, length));
	service_finish(buffer, ETHERNET_LENGTH + IPV6_LENGTH + length);
}

static bool advertise_router(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer)
{
	uint8_t *message = packet_data(buffer) + ETHERNET_LENGTH + IPV6_LENGTH;
	const uint8_t *source = packet_data(buffer) + ETHERNET_LENGTH + 8;
	const uint8_t advertisement[32] = {
		[0] = ROUTER_ADVERTISEMENT,
		[4] = 64,                     /* hop limit of the VM's packets */
		[5] = 0xc0,                   /* managed and other configuration: DHCPv6 */
		[6] = 0xff, [7] = 0xff,       /* seconds a router */
		[16] = 1, [17] = 1,           /* source link-layer address */
		[24] = 5, [25] = 1,           /* MTU */
	};
	const uint8_t *to = zero16(source) ? ALL_NODES : source;
	memcpy(message, advertisement, sizeof advertisement);
	memcpy(message + 18, interface->port->mac, 6);
	store32(message + 28, engine->mtu);
	finish_nd(interface, buffer, to, sizeof advertisement);
	return true;
}

bool service_nd(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	uint8_t *data = packet_data(buffer), *message = data + packet->l4_offset;
	const struct ipv6_header *ip = (const struct ipv6_header *)(const void *)(data + ETHERNET_LENGTH);
	uint32_t length = (uint32_t)packet->ip_length - IPV6_LENGTH;
	if (ip->hop_limit != 255 || length < ICMP_LENGTH || message[1] != 0)
		return false;
	if (message[0] == ROUTER_SOLICITATION) {
		COUNT(engine, stage_nd, 1);
		return advertise_router(engine, interface, buffer);
	}
	if (message[0] != NEIGHBOUR_SOLICITATION || length < 24 || !equal16(message + 8, GATEWAY6))
		return false;
	bool probe = zero16(ip->source);
	message[0] = NEIGHBOUR_ADVERTISEMENT;
	store32(message + 4, probe ? 0xa0000000u : 0xe0000000u); /* router, solicited, override */
	message[24] = 2;
	message[25] = 1;
	memcpy(message + 26, interface->port->mac, 6);
	finish_nd(interface, buffer, probe ? ALL_NODES : ip->source, 32);
	COUNT(engine, stage_nd, 1);
	return true;
}
