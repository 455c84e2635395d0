/* Stage "decap": from an outer IPv6 packet to the interface that it names.
 *
 * The outer destination is the whole context: index and generation in its low bits find the interface, all 16 bytes
 * verify it, and the inner destination must be an address of that interface, so that equal addresses of two networks
 * never meet. Edges: `deliver`, or a drop with its reason.
 */
#ifndef FERRITE_STAGE_DECAP_H
#define FERRITE_STAGE_DECAP_H

#include "stage/deliver.h"

static inline bool underlay_is_ours(const uint8_t address[16])
{
	return address[8] == UNDERLAY_MARK && address[9] == UNDERLAY_TYPE_INTERFACE && address[10] == 0;
}

static inline uint32_t underlay_index(const uint8_t address[16])
{
	return load32(address + 12) & 0xffffff;
}

/* The interface that has this underlay address; NULL: none (any more). */
static inline struct interface *underlay_find(struct ferrite_engine *engine, const uint8_t address[16])
{
	uint32_t index = underlay_is_ours(address) ? underlay_index(address) :
		__atomic_load_n(&engine->external_heads[external_head(address)], __ATOMIC_ACQUIRE);
	while (index != 0 && index < FERRITE_MAX_INTERFACES) {
		struct interface *interface = &engine->interfaces[index];
		if (__atomic_load_n(&interface->state, __ATOMIC_ACQUIRE) != 0 && equal16(interface->underlay, address))
			return interface;
		index = underlay_is_ours(address) ? 0 : __atomic_load_n(&interface->external_next, __ATOMIC_ACQUIRE);
	}
	return NULL;
}

static inline bool interface_has(const struct interface *interface, uint8_t family, const void *address)
{
	if (family == 4)
		return interface->has4 && raw32(interface->ipv4) == raw32(address);
	return interface->has6 && equal16(interface->ipv6, address);
}

/* True: delivered. */
static inline bool decap(struct ferrite_engine *engine, struct rte_mbuf *buffer)
{
	struct packet *packet = packet_of(buffer);
	const struct ipv6_header *outer = (const struct ipv6_header *)(const void *)packet_data(buffer);
	uint32_t have = buffer->data_len;
	if (have < IPV6_LENGTH + IPV4_LENGTH || outer->version_class_label[0] >> 4 != 6) {
		DROP(engine, drop_outer_malformed, buffer);
		return false;
	}
	uint32_t length = load16(outer->payload_length), total;
	uint8_t family;
	const void *destination;
	const uint8_t *inner = packet_data(buffer) + IPV6_LENGTH;
	if (outer->next_header == PROTOCOL_IPV4) {
		family = 4;
		total = load16(inner + 2);
		destination = inner + 16;
		if (inner[0] >> 4 != 4 || (inner[0] & 15u) * 4 < IPV4_LENGTH || total < (inner[0] & 15u) * 4)
			total = UINT32_MAX;
	} else if (outer->next_header == PROTOCOL_IPV6 && have >= 2 * IPV6_LENGTH) {
		family = 6;
		total = IPV6_LENGTH + (uint32_t)load16(inner + 4);
		destination = inner + 24;
		if (inner[0] >> 4 != 6)
			total = UINT32_MAX;
	} else {
		DROP(engine, drop_outer_malformed, buffer);
		return false;
	}
	if (__builtin_expect(total > length || IPV6_LENGTH + length > buffer->pkt_len, 0)) {
		DROP(engine, drop_outer_malformed, buffer);
		return false;
	}
	if (__builtin_expect(IPV6_LENGTH + total != buffer->pkt_len, 0) &&
	    (packet->offload.needs_checksum || buffer->nb_segs != 1 ||
	     rte_pktmbuf_trim(buffer, (uint16_t)(buffer->pkt_len - IPV6_LENGTH - total)) != 0)) {
		DROP(engine, drop_outer_malformed, buffer);
		return false;
	}
	const struct interface *interface = underlay_find(engine, outer->destination);
	if (__builtin_expect(interface == NULL, 0)) {
		if (raw64(outer->destination) == raw64(engine->prefix) && underlay_is_ours(outer->destination))
			DROP(engine, drop_outer_stale, buffer);
		else
			DROP(engine, drop_outer_unknown, buffer);
		return false;
	}
	if (__builtin_expect(!interface_has(interface, family, destination), 0)) {
		DROP(engine, drop_inner_foreign, buffer);
		return false;
	}
	packet->ip_offset = IPV6_LENGTH;
	deliver(engine, interface, buffer, family);
	return true;
}

#endif
