/* Stage "act": carries out the finished decision of a flow on a packet of it.
 *
 * Translation, then delivery, encapsulation or the plain way of virtual services. What is rare (NAT64, services) is out
 * of line. The caller has judged that the flow lives and that its decision still stands. Edges: `deliver`, `encap`, a
 * drop with its reason.
 */
#ifndef FERRITE_STAGE_ACT_H
#define FERRITE_STAGE_ACT_H

#include "stage/decide.h"
#include "stage/deliver.h"
#include "stage/encap.h"

/* What one burst did, added to the engine's counters at its end. */
struct tally {
	unsigned encap, deliver, translate;
};

/* Every other translation. False: dropped. */
bool act_translate(struct ferrite_engine *engine, struct rte_mbuf *buffer, const struct flow_entry *entry);
/* On to the endpoint of this host with this address: after what is in hand (engine/pipeline.c). */
void act_near(struct ferrite_engine *engine, struct rte_mbuf *buffer, const uint8_t address[16]);
/* What the packet says of itself after its translation, for the next endpoint. */
void act_anew(struct rte_mbuf *buffer);
/* To a virtual service. */
void act_plain(struct ferrite_engine *engine, struct rte_mbuf *buffer);

/* The tuple of a packet, from what classification left. */
static inline void packet_tuple(const struct rte_mbuf *buffer, struct tuple *tuple)
{
	const struct packet *packet = packet_of(buffer);
	const uint8_t *ip = packet_data(buffer) + packet->ip_offset;
	memset(tuple, 0, sizeof *tuple);
	tuple->family = packet->family;
	tuple->protocol = packet->protocol;
	tuple->fragment = packet->fragment;
	tuple->icmp = packet->icmp;
	tuple->ports = packet->ports;
	tuple->tcp_flags = packet->tcp_flags;
	tuple->l4_offset = (uint16_t)(packet->l4_offset - packet->ip_offset);
	tuple->ip_length = packet->ip_length;
	if (packet->family == 4)
		memcpy(tuple->addresses, ip + 12, 8);
	else
		memcpy(tuple->addresses, ip + 8, 32);
	if (tuple->icmp != ICMP_NONE) {
		tuple->icmp_type = ip[tuple->l4_offset];
		tuple->icmp_code = ip[tuple->l4_offset + 1];
	}
}

/* A packet of the flow passed: counts it and keeps the flow alive. */
static inline void flow_renew(const struct flow_table *flows, struct flow_entry *entry, const struct packet *packet)
{
	entry->last = flows->now;
	if (__builtin_expect(++entry->packets_low == 0, 0))
		entry->packets_high++;
	entry->bytes += packet->ip_length;
}

/* What translation adds to the length of a VM's packet. */
static inline int act_growth(const struct packet *packet, const struct flow_entry *entry)
{
	return entry->translate == FLOW_TO4 ? (int)IPV4_LENGTH - (int)(packet->l4_offset - packet->ip_offset) :
		entry->translate == FLOW_SERVE ? (int)IPV6_LENGTH - (int)IPV4_LENGTH : 0;
}

/* `sender`: the interface whose VM sent it; NULL: from the underlay. */
static inline void act(struct ferrite_engine *engine, struct interface *sender, struct rte_mbuf *buffer,
		       const struct flow_entry *entry, struct tally *tally)
{
	struct packet *packet = packet_of(buffer);
	if (sender != NULL) {
		int grows = 0;
		if (__builtin_expect(entry->translate > FLOW_REWRITE, 0))
			grows = act_growth(packet, entry);
		if (maybe_too_big(engine, buffer, grows) && too_big(engine, sender->port, sender, buffer, grows > 0))
			return;
		if (__builtin_expect((entry->bits & FLOW_PUBLIC) != 0 && sender->metered, 0) &&
		    !rate_take(&sender->public_rate, engine->now_ms, (uint64_t)(packet->ip_length + grows))) {
			DROP(engine, drop_meter_public, buffer);
			return;
		}
	}
	if (entry->translate != 0) {
		tally->translate++;
		uint8_t *data = packet_data(buffer);
		if (__builtin_expect(entry->translate == FLOW_REWRITE && packet->plain && packet->offload.needs_checksum == 0 &&
				     (packet->protocol == PROTOCOL_TCP || packet->protocol == PROTOCOL_UDP), 1))
			translate4_plain(data + packet->ip_offset, data + packet->l4_offset, packet->protocol == PROTOCOL_TCP,
					 &entry->rewrite);
		else if (!act_translate(engine, buffer, entry))
			return;
	}
	uint8_t hop[16];
	switch (entry->action) {
	case FLOW_DELIVER: {
		const struct interface *target = &engine->interfaces[raw32(entry->target)];
		if (__builtin_expect(__atomic_load_n(&target->state, __ATOMIC_ACQUIRE) == 0, 0)) {
			DROP(engine, drop_interface_gone, buffer);
			return;
		}
		tally->deliver++;
		deliver(engine, target, buffer, packet->family);
		return;
	}
	case FLOW_ROUTE:
		route_hop(&engine->routes.entries[raw32(entry->target)], hop);
		break;
	case FLOW_HOP:
		memcpy(hop, entry->hop, 16);
		break;
	case FLOW_NEAR:
		if (entry->translate != 0)
			act_anew(buffer);
		act_near(engine, buffer, entry->hop);
		return;
	default:
		act_plain(engine, buffer);
		return;
	}
	if (__builtin_expect(engine->uplinks.count == 0, 0)) {
		DROP(engine, drop_no_uplink, buffer);
		return;
	}
	tally->encap++;
	encap(engine, buffer, engine->endpoints.places[entry->source].underlay, hop);
}

static inline void tally_add(struct ferrite_engine *engine, const struct tally *tally)
{
	COUNT(engine, stage_encap, tally->encap);
	COUNT(engine, stage_deliver, tally->deliver);
	COUNT(engine, stage_translate, tally->translate);
}

#endif
