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
/* Counts why and frees. Returns false. */
bool decap_refuse(struct ferrite_engine *engine, struct rte_mbuf *buffer, enum counter reason);
/* Nobody has this outer destination. */
bool decap_unknown(struct ferrite_engine *engine, struct rte_mbuf *buffer, const uint8_t destination[16]);

/* UINT32_MAX where there is no IP packet of this version. */
static inline uint32_t inner_length(const uint8_t *inner, uint8_t family)
{
	if (family == 4) {
		uint32_t header = (inner[0] & 15u) * 4, total = load16(inner + 2);
		return inner[0] >> 4 == 4 && header >= IPV4_LENGTH && total >= header ? total : UINT32_MAX;
	}
	return inner[0] >> 4 == 6 ? IPV6_LENGTH + (uint32_t)load16(inner + 4) : UINT32_MAX;
}

/* True: classified, the flow can be looked for. False: it is dropped. */
static inline bool decap(struct ferrite_engine *engine, struct rte_mbuf *buffer)
{
	struct packet *packet = packet_of(buffer);
	const struct ipv6_header *outer = (const struct ipv6_header *)(const void *)packet_data(buffer);
	const uint8_t *inner = packet_data(buffer) + IPV6_LENGTH;
	uint32_t have = buffer->data_len;
	packet->interface = 0;
	packet->sender = 0;
	packet->endpoint = 0;
	packet->passed = 0;
	packet->family = 0;
	if (have < IPV6_LENGTH || outer->version_class_label[0] >> 4 != 6)
		return decap_refuse(engine, buffer, COUNTER_drop_outer_malformed);
	if (__builtin_expect(outer->next_header != PROTOCOL_IPV4 && outer->next_header != PROTOCOL_IPV6, 0))
		return decap_plain(engine, buffer);
	uint8_t family = outer->next_header == PROTOCOL_IPV4 ? 4 : 6;
	uint32_t length = load16(outer->payload_length);
	if (have < IPV6_LENGTH + (family == 4 ? (uint32_t)IPV4_LENGTH : (uint32_t)IPV6_LENGTH))
		return decap_refuse(engine, buffer, COUNTER_drop_outer_malformed);
	uint32_t total = inner_length(inner, family);
	if (__builtin_expect(total > length || IPV6_LENGTH + length > buffer->pkt_len, 0))
		return decap_refuse(engine, buffer, COUNTER_drop_outer_malformed);
	if (__builtin_expect(IPV6_LENGTH + total != buffer->pkt_len, 0) &&
	    (packet->offload.needs_checksum || !classify_trim(buffer, IPV6_LENGTH + total)))
		return decap_refuse(engine, buffer, COUNTER_drop_outer_malformed);
	if (__builtin_expect(!classify_plain(buffer, packet, inner, IPV6_LENGTH) && !classify_ip(buffer, IPV6_LENGTH), 0))
		return decap_refuse(engine, buffer, COUNTER_drop_malformed);
	uint32_t place = endpoint_find(&engine->endpoints, outer->destination);
	if (__builtin_expect(place == 0, 0))
		return decap_unknown(engine, buffer, outer->destination);
	const struct endpoint seen = endpoint_seen(&engine->endpoints, place), *endpoint = &seen;
	const uint8_t *destination = inner + (family == 4 ? 16 : 24);
	bool takes;
	if (__builtin_expect(endpoint->kind == ENDPOINT_INTERFACE && family == 4, 1)) {
		const struct interface *interface = &engine->interfaces[endpoint->owner];
		takes = raw32(interface->ipv4) == raw32(destination) && interface->has4;
	} else {
		takes = endpoint_takes(engine, endpoint, place, family, destination);
	}
	packet->interface = endpoint->kind == ENDPOINT_BALANCER || endpoint->kind == ENDPOINT_EDGE ? 0 : endpoint->owner;
	packet->endpoint = place;
	packet->ip_offset = IPV6_LENGTH;
	if (__builtin_expect(!takes, 0))
		return decap_refuse(engine, buffer, COUNTER_drop_inner_foreign);
	classify_key(engine, buffer, endpoint_kind(endpoint), endpoint_index(endpoint));
	return true;
}

#endif
