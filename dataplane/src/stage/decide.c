#include "stage/decide.h"

#include "stage/classify.h"
#include "stage/decap.h"
#include "stage/encap.h"
#include "stage/service.h"

enum { ICMP_ERROR_GAP_MS = 10 };

typedef bool service(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer);

static void learn(struct interface *interface, const uint8_t mac[6])
{
	if ((mac[0] & 1) != 0 || memcmp(interface->frame, mac, 6) == 0)
		return;
	memcpy(interface->frame, mac, 6);
	interface->guest_known = 1;
}

static void reply(struct ferrite_engine *engine, struct interface *interface, struct rte_mbuf *buffer, service *answer)
{
	COUNT(engine, stage_local, 1);
	if (buffer->nb_segs == 1 && answer(engine, interface, buffer))
		emit(engine, interface->port, buffer);
	else
		DROP(engine, drop_unhandled, buffer);
}

bool too_big(struct ferrite_engine *engine, struct port *port, struct interface *interface, struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	const struct ipv4_header *ip = (const struct ipv4_header *)(const void *)(packet_data(buffer) + ETHERNET_LENGTH);
	if (packet->family == 4 && packet->offload.gso == GSO_NONE && (load16(ip->fragment) & 0x4000) == 0)
		return false; /* the uplink fragments where its medium is too small */
	COUNT(engine, drop_too_big, 1);
	if (engine->now_ms < interface->errors_next_ms) {
		rte_pktmbuf_free(buffer);
		return true;
	}
	interface->errors_next_ms = engine->now_ms + ICMP_ERROR_GAP_MS;
	COUNT(engine, stage_too_big, 1);
	if (service_too_big(engine, interface, buffer))
		emit(engine, port, buffer);
	else
		rte_pktmbuf_free(buffer);
	return true;
}

/* Never routed: this network, loopback, link-local, multicast, reserved and broadcast. */
static bool unroutable4(const uint8_t address[4])
{
	return address[0] == 0 || address[0] == 127 || address[0] >= 224 || (address[0] == 169 && address[1] == 254);
}

static void route(struct ferrite_engine *engine, struct port *port, struct interface *interface,
		  struct rte_mbuf *buffer, uint32_t epoch)
{
	struct packet *packet = packet_of(buffer);
	const uint8_t *ip = packet_data(buffer) + ETHERNET_LENGTH;
	bool wide = packet->family == 6;
	const uint8_t *addresses = wide ? ip + 8 : ip + 12, *destination = wide ? ip + 24 : ip + 16;
	struct flow_entry flow = {.context = packet->context, .ports = packet->ports, .epoch = epoch};
	memcpy(flow.addresses, addresses, wide ? 32 : 8);

	const struct route_entry *found = wide ? route_lookup6(&engine->routes, interface->vni, destination) :
						 route_lookup4(&engine->routes, interface->vni, destination);
	if (found == NULL) {
		DROP(engine, drop_route_miss, buffer);
		return;
	}
	const struct interface *target = NULL;
	bool local = found->local != 0;
	if (local) {
		target = &engine->interfaces[found->interface];
	} else if (raw64(found->next_hop) == raw64(engine->prefix)) {
		/* A route to an interface of this host: no need to leave it. */
		local = true;
		target = underlay_find(engine, found->next_hop);
	}
	if (local && (target == NULL || target == interface || target->state == 0 ||
		      !interface_has(target, packet->family, destination))) {
		DROP(engine, drop_route_miss, buffer);
		return;
	}
	if (!local && engine->uplink == NULL) {
		DROP(engine, drop_no_uplink, buffer);
		return;
	}
	flow.kind = local ? FLOW_DELIVER : FLOW_ENCAP;
	if (local)
		memcpy(flow.target, &target->index, sizeof target->index);
	else
		memcpy(flow.target, found->next_hop, 16);
	flow_insert(&engine->flows, packet->hash, &flow);
	if (maybe_too_big(engine, buffer) && too_big(engine, port, interface, buffer))
		return;
	packet->ip_offset = ETHERNET_LENGTH;
	if (local) {
		COUNT(engine, stage_deliver, 1);
		deliver(engine, target, buffer, packet->family);
	} else {
		COUNT(engine, stage_encap, 1);
		encap(engine, interface, buffer, flow.target);
	}
}

static void decide4(struct ferrite_engine *engine, struct port *port, struct interface *interface,
		    struct rte_mbuf *buffer, uint32_t epoch)
{
	const struct packet *packet = packet_of(buffer);
	const uint8_t *data = packet_data(buffer);
	const struct ipv4_header *ip = (const struct ipv4_header *)(const void *)(data + ETHERNET_LENGTH);
	bool own = interface->has4 && raw32(ip->source) == raw32(interface->ipv4);
	bool to_gateway = raw32(ip->destination) == raw32(GATEWAY4);
	if (packet->protocol == PROTOCOL_UDP && packet->ports != 0 && load16(data + packet->l4_offset + 2) == 67 &&
	    (to_gateway || raw32(ip->destination) == UINT32_MAX) && (own || raw32(ip->source) == 0)) {
		learn(interface, data + 6);
		reply(engine, interface, buffer, service_dhcp4);
	} else if (!own) {
		DROP(engine, drop_spoof, buffer);
	} else if (to_gateway && packet->to_gateway) {
		learn(interface, data + 6);
		reply(engine, interface, buffer, service_echo4);
	} else if (unroutable4(ip->destination)) {
		DROP(engine, drop_multicast, buffer);
	} else if (!packet->to_gateway) {
		DROP(engine, drop_not_gateway, buffer);
	} else {
		learn(interface, data + 6);
		route(engine, port, interface, buffer, epoch);
	}
}

static void decide6(struct ferrite_engine *engine, struct port *port, struct interface *interface,
		    struct rte_mbuf *buffer, uint32_t epoch)
{
	const struct packet *packet = packet_of(buffer);
	const uint8_t *data = packet_data(buffer);
	const struct ipv6_header *ip = (const struct ipv6_header *)(const void *)(data + ETHERNET_LENGTH);
	bool own = interface->has6 && equal16(ip->source, interface->ipv6);
	bool link_local = link_local6(ip->source);
	bool to_gateway = equal16(ip->destination, GATEWAY6);
	uint8_t type = packet->protocol == PROTOCOL_ICMPV6 && buffer->data_len > packet->l4_offset ?
		data[packet->l4_offset] : 0;
	if (!own && !link_local && !zero16(ip->source)) {
		DROP(engine, drop_spoof, buffer);
	} else if (type >= 133 && type <= 137) {
		learn(interface, data + 6);
		reply(engine, interface, buffer, service_nd);
	} else if (packet->protocol == PROTOCOL_UDP && packet->ports != 0 &&
		   load16(data + packet->l4_offset + 2) == 547 && (to_gateway || ip->destination[0] == 0xff)) {
		learn(interface, data + 6);
		reply(engine, interface, buffer, service_dhcp6);
	} else if (to_gateway && packet->to_gateway) {
		reply(engine, interface, buffer, service_echo6);
	} else if (ip->destination[0] == 0xff || link_local6(ip->destination) || zero16(ip->destination)) {
		DROP(engine, drop_multicast, buffer);
	} else if (!own) {
		DROP(engine, drop_spoof, buffer);
	} else if (!packet->to_gateway) {
		DROP(engine, drop_not_gateway, buffer);
	} else {
		learn(interface, data + 6);
		route(engine, port, interface, buffer, epoch);
	}
}

void decide(struct ferrite_engine *engine, struct port *port, struct interface *interface, struct rte_mbuf *buffer)
{
	const struct packet *packet = packet_of(buffer);
	/* Before any lookup: what is decided below belongs to this epoch or to a newer one. */
	uint32_t epoch = vni_epoch(interface->vni);
	COUNT(engine, stage_decide, 1);
	FERRITE_TRACE(decide, buffer);
	if (packet->family == 4)
		decide4(engine, port, interface, buffer, epoch);
	else if (packet->family == 6)
		decide6(engine, port, interface, buffer, epoch);
	else if (packet->reason == CLASSIFY_MALFORMED)
		DROP(engine, drop_malformed, buffer);
	else if (load16(packet_data(buffer) + 12) == ETHERTYPE_ARP && arp_is_spoofed(interface, buffer))
		DROP(engine, drop_spoof, buffer);
	else if (load16(packet_data(buffer) + 12) == ETHERTYPE_ARP)
		reply(engine, interface, buffer, service_arp);
	else
		DROP(engine, drop_not_ip, buffer);
}
