/* Stage "decap": from an outer IPv6 packet to the endpoint that it names.
 *
 * The outer destination is the whole context: it finds the endpoint, all 16 bytes verify it, and the inner destination
 * must be the endpoint's, so that equal addresses of two networks never meet. The outer header stays until the packet is
 * delivered or sent on. Edges: flow lookup, or a drop with its reason.
 */
#ifndef FERRITE_STAGE_DECAP_H
#define FERRITE_STAGE_DECAP_H

#include "stage/classify.h"
#include "stage/plan.h"

/* Neither IPv4 nor IPv6 in IPv6: from a virtual service, perhaps. */
bool decap_plain(struct ferrite_engine *engine, struct rte_mbuf *buffer);
/* What is not as nearly every packet is, judged part by part. */
bool decap_unusual(struct ferrite_engine *engine, struct rte_mbuf *buffer);
/* Counts why and frees. Returns false. */
bool decap_refuse(struct ferrite_engine *engine, struct rte_mbuf *buffer, enum counter reason);
/* Nobody has this outer destination. */
bool decap_unknown(struct ferrite_engine *engine, struct rte_mbuf *buffer, const uint8_t destination[16]);

/* The inner packet is classified, and `packet->endpoint` the place where its endpoint is looked for first: what its endpoint makes of it. */
static inline bool decap_arrive(struct ferrite_engine *engine, struct rte_mbuf *buffer, const uint8_t underlay[16])
{
	struct packet *packet = packet_of(buffer);
	uint32_t place = endpoint_find_at(&engine->endpoints, packet->endpoint, underlay);
	if (__builtin_expect(place == 0, 0))
		return decap_unknown(engine, buffer, underlay);
	const struct endpoint seen = endpoint_seen(&engine->endpoints, place), *endpoint = &seen;
	const uint8_t *destination = packet_data(buffer) + IPV6_LENGTH + (packet->family == 4 ? 16 : 24);
	bool takes;
	if (__builtin_expect(endpoint->kind == ENDPOINT_INTERFACE && packet->family == 4, 1)) {
		const struct interface *interface = &engine->interfaces[endpoint->owner];
		takes = raw32(interface->ipv4) == raw32(destination) && interface->has4;
	} else if (endpoint->kind == ENDPOINT_NAT && packet->family == 4) {
		takes = raw32(engine->nat_groups[endpoint->detail].ip) == raw32(destination);
	} else {
		takes = endpoint_takes(engine, endpoint, place, packet->family, destination);
	}
	packet->interface = endpoint->kind == ENDPOINT_BALANCER || endpoint->kind == ENDPOINT_EDGE ? 0 : endpoint->owner;
	packet->endpoint = place;
	packet->ip_offset = IPV6_LENGTH;
	if (__builtin_expect(!takes, 0))
		return decap_refuse(engine, buffer, COUNTER_drop_inner_foreign);
	classify_key(engine, buffer, endpoint_kind(endpoint), endpoint_index(endpoint));
	return true;
}

/* What `decap` will look at, on its way. */
static inline void decap_fetch(const struct ferrite_engine *engine, struct rte_mbuf *buffer)
{
	struct packet *packet = packet_of(buffer);
	const struct ipv6_header *outer = (const struct ipv6_header *)(const void *)packet_data(buffer);
	packet->endpoint = 0;
	if (buffer->data_len < IPV6_LENGTH)
		return;
	packet->endpoint = endpoint_candidate(&engine->endpoints, outer->destination);
	rte_prefetch0(&engine->endpoints.places[packet->endpoint]);
	if (outer->destination[9] == ENDPOINT_INTERFACE) {
		uint32_t index = underlay_index(outer->destination);
		rte_prefetch0(&engine->interfaces[index < FERRITE_MAX_INTERFACES ? index : 0]);
	}
}

/* After `decap_fetch`. True: classified, the flow can be looked for. False: it is dropped. */
static inline bool decap(struct ferrite_engine *engine, struct rte_mbuf *buffer)
{
	struct packet *packet = packet_of(buffer);
	const struct ipv6_header *outer = (const struct ipv6_header *)(const void *)packet_data(buffer);
	const uint8_t *inner = packet_data(buffer) + IPV6_LENGTH;
	packet->interface = 0;
	packet->sender = 0;
	packet->passed = 0;
	/* Whole, and as long as all of its headers say: nearly every packet. */
	if (__builtin_expect(buffer->data_len >= IPV6_LENGTH + IPV4_LENGTH && outer->version_class_label[0] >> 4 == 6 &&
			     IPV6_LENGTH + (uint32_t)load16(outer->payload_length) == buffer->pkt_len &&
			     classify_plain(buffer, packet, inner, IPV6_LENGTH) &&
			     outer->next_header == (packet->family == 4 ? PROTOCOL_IPV4 : PROTOCOL_IPV6), 1))
		return decap_arrive(engine, buffer, outer->destination);
	return decap_unusual(engine, buffer);
}

#endif
